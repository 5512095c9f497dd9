"""Dates, free text, data frames and Parquet in tables: what is found, said and refused."""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data import TableEncoder, from_frame, read_csv, read_parquet, split_table
from chainrule.data._dates import ambiguous, date_text, days_of
from chainrule.errors import DataError

polars = pytest.importorskip("polars")
pytest.importorskip("narwhals")


def written(folder: Path, text: str) -> Path:
    path = folder / "t.csv"
    path.write_text(text, encoding="utf-8")
    return path


@given(
    moment=st.datetimes(
        datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31), allow_imaginary=False
    ),
    form=st.sampled_from(
        ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d", "%d.%m.%Y", "%Y-%m-%dT%H:%MZ"]
    ),
)
def test_dates_become_days(moment: datetime.datetime, form: str) -> None:
    text = moment.strftime(form)
    year = f"{moment.year:04}"
    text = (
        text.replace(str(moment.year), year, 1) if moment.year < 1000 and year not in text else text
    )
    found = days_of([text], set())
    assert found is not None and not found[1]
    exact = (moment - datetime.datetime(1970, 1, 1)).total_seconds() / 86400
    kept = {"%Y-%m-%d %H:%M:%S": 1, "%Y-%m-%dT%H:%MZ": 60}.get(form, 86400)
    assert 0 <= (exact - found[0][0]) * 86400 < kept + 1e-2
    assert date_text(found[0][0]).startswith(f"{year}-{moment.month:02}-{moment.day:02}")


def test_which_part_is_the_day() -> None:
    def first(*texts: str) -> Any:
        found = days_of(texts, {""})
        return None if found is None or found[1] else date_text(found[0][0])

    assert first("03/04/2024", "13/04/2024") == "2024-04-03"
    assert first("03/04/2024", "04/13/2024") == "2024-03-04"
    assert first("03/04/2024", "") is None and ambiguous(["03/04/2024"])
    assert first("03.04.2024") == "2024-04-03" and first("2024/04/03") == "2024-04-03"
    assert first("13/04/2024", "04/13/2024") is None and first("31.02.2024") is None
    assert first("2024-04-03T10:00+02:00") == "2024-04-03 08:00:00"
    assert first("1/2", "a") is None and first("2024") is None and first("1.2.3") is None
    assert date_text(1e9) == "day 1e+09"


def test_dates_in_tables_are_said_used_and_kept(tmp_path: Path) -> None:
    rows = "".join(f"2024-{k % 12 + 1:02}-05,{k % 12}.5,{k % 3}\n" for k in range(60))
    table = read_csv(written(tmp_path, "when,value,other\n" + rows + ",3.5,1\n"))
    assert "when   date      2024-01-05 to 2024-12-05  1 missing" in str(table)
    train, _, encoder = split_table(table, "value", task="regression")
    assert encoder.said == {"when": "as days since 1970-01-01"}
    days = train.inputs[:, encoder.feature_names.index("when")]
    assert np.corrcoef(days, train.targets[:, 0])[0, 1] > 0.99
    again = TableEncoder.from_plain(json.loads(json.dumps(encoder.to_plain())))
    np.testing.assert_array_equal(again.inputs(table), encoder.inputs(table))
    texts = read_csv(written(tmp_path, "when,value,other\nsoon,1,1\nlater,2,2\n"))
    with pytest.raises(DataError, match=r"held dates in training and holds texts here(.|\n)*soon"):
        encoder.inputs(texts)
    numbers = read_csv(written(tmp_path, "when,value,other\n5,1,1\n6,2,2\n"))
    with pytest.raises(DataError, match=r"held dates in training and holds numbers(.|\n)*given: 5"):
        encoder.inputs(numbers)
    with pytest.raises(DataError, match="the target 'when' holds dates, which are not predicted"):
        split_table(table, "when")


def test_dates_that_are_mistakes_or_uncertain(tmp_path: Path) -> None:
    rows = [f"2024-01-{k + 1:02},{k}.5,{k % 2}" for k in range(28)]
    rows[7] = "2024-02-31,7,1"
    text = "when,value,y\n" + "\n".join(rows)
    with pytest.raises(DataError) as error:
        read_csv(written(tmp_path, text))
    assert "t.csv, line 9: column 'when' holds dates, and '2024-02-31' is none." in str(error.value)
    assert "kinds={'when': \"category\"}" in str(error.value)
    table = read_csv(tmp_path / "t.csv", missing={"", "2024-02-31"})
    assert table["when"].kind == "date" and table["when"].missing.sum() == 1
    assert read_csv(tmp_path / "t.csv", kinds={"when": "category"})["when"].kind == "category"
    with pytest.raises(DataError, match=r"column 'value' holds dates, and '0\.5' is none"):
        read_csv(tmp_path / "t.csv", kinds={"value": "date"}, missing={"", "2024-02-31"})
    rows = [f"{k % 12 + 1:02}/{k // 12 + 1:02}/2024,{k}.5,{k % 2}" for k in range(60)]
    table = read_csv(written(tmp_path, "when,value,y\n" + "\n".join(rows)))
    encoder = split_table(table, "y")[2]
    assert (
        "day and month cannot be told apart; write them as 2024-03-31" in (encoder.left_out["when"])
    )


def test_free_text_is_counted_and_names_are_left_out(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    good, bad = ["lovely", "great", "warm"], ["awful", "cold", "rude"]
    rows = []
    for k in range(200):
        words = draw.choice(good if k % 2 else bad, 2).tolist()
        said = f"the food was {words[0]} and it's {words[1]} in room {k}"
        rows.append(f'"{said}",guest {k},{k % 2}')
    rows[3] = ",guest 3,1"
    table = read_csv(written(tmp_path, "said,who,liked\n" + "\n".join(rows)))
    train, validation, encoder = split_table(table, "liked")
    assert encoder.said["said"].startswith("free text: 6 words counted")
    assert set(encoder.feature_names) == {f"said: {word}" for word in good + bad}
    assert encoder.left_out == {"who": "160 different texts in 160 rows"}
    column = encoder.feature_names.index("said: cold")
    assert set(np.expm1(train.inputs[:, column]).round(3).tolist()) <= {0.0, 1.0, 2.0}
    assert train.inputs[train.targets == 1, column].max() == 0 and len(validation) == 40
    again = TableEncoder.from_plain(json.loads(json.dumps(encoder.to_plain())))
    np.testing.assert_array_equal(again.inputs(table), encoder.inputs(table))
    few = read_csv(written(tmp_path, "said,who\nthe room was cold,x\n,y\n"))
    assert again.inputs(few)[:, column].tolist() == pytest.approx([np.log(2), 0])


def test_scaling_is_learned_from_the_training_rows_alone(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    text = "x,y\n" + "".join(f"{v:.4f},{k % 2}\n" for k, v in enumerate(draw.normal(9, 4, 300)))
    table = read_csv(written(tmp_path, text))
    train, validation, encoder = split_table(table, "y", seed=3)
    assert abs(train.inputs.mean()) < 1e-6 and abs(train.inputs.std() - 1) < 1e-6
    assert abs(validation.inputs.mean()) > 1e-4
    assert encoder.to_plain()["numbers"][0]["mean"] == pytest.approx(9, abs=1)


COLUMNS: dict[str, list[Any]] = {
    "whole": [1, None, 3],
    "real": [1.5, 2.5, None],
    "text": ["x", None, "y"],
    "truth": [True, False, None],
    "day": [datetime.date(2020, 1, 1), None, datetime.date(2020, 1, 3)],
    "time": [datetime.datetime(2020, 1, 1, 12), None, datetime.datetime(2021, 1, 1)],
    "iso": ["2020-01-01", "2020-01-02", None],
}
DESCRIBED = """the data frame: 3 rows, 7 columns
  whole  number    1 to 3  1 missing
  real   number    1.5 to 2.5  1 missing
  text   category  2 values: x, y  1 missing
  truth  category  2 values: False, True  1 missing
  day    date      2020-01-01 to 2020-01-03  1 missing
  time   date      2020-01-01 12:00:00 to 2021-01-01  1 missing
  iso    date      2020-01-01 to 2020-01-02  1 missing"""


def frame_of(kind: str) -> Any:
    if kind == "polars":
        return polars.DataFrame(COLUMNS)
    if kind == "pyarrow":
        return pytest.importorskip("pyarrow").table(COLUMNS)
    frame = pytest.importorskip("pandas").DataFrame(COLUMNS)
    return frame.convert_dtypes() if kind == "pandas, own types" else frame


@pytest.mark.parametrize("kind", ["polars", "pandas", "pandas, own types", "pyarrow"])
def test_data_frames(kind: str) -> None:
    assert str(from_frame(frame_of(kind))) == DESCRIBED


@pytest.mark.parametrize("mark", [polars.Categorical, polars.Enum(["x", "y"])])
def test_categories_of_frames(mark: Any) -> None:
    table = from_frame(polars.DataFrame({"c": ["x", None, "y"]}, schema={"c": mark}))
    assert table["c"].categories == ("x", "y") and table["c"].values.tolist() == [0, -1, 1]


def test_frames_that_cannot_be_used() -> None:
    def refused(frame: Any, text: str) -> None:
        with pytest.raises(DataError, match=text):
            from_frame(frame)

    refused([1, 2], r"no data frame that narwhals knows(.|\n)*given: list")
    refused(polars.DataFrame(COLUMNS).lazy(), r"given: LazyFrame(.|\n)*\.collect\(\)")
    refused(polars.DataFrame(), "has 0 rows and 0 columns")
    refused(polars.DataFrame({"x": [[1], [2]]}), r"column 'x' holds List\(Int64\)(.|\n)*leave the")
    refused(polars.DataFrame({"x": [b"1"]}), "column 'x' holds Binary")
    refused(polars.DataFrame({"x": [datetime.timedelta(1)]}), "column 'x' holds Duration")
    refused(polars.DataFrame({"x": [1.0, np.inf]}), "row 2: column 'x' is infinite")
    pandas = pytest.importorskip("pandas")
    refused(pandas.DataFrame({"x": [1, "a", None]}), "column 'x' holds Object")
    refused(pandas.DataFrame([[1, 2]], columns=["a", "a"]), "'a'")


def test_parquet_files(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    polars.DataFrame(COLUMNS).write_parquet(path)
    assert str(read_parquet(path)) == DESCRIBED.replace("the data frame", "t.parquet")
    assert read_parquet(path, columns=["day"]).names == ("day",)
    with pytest.raises(DataError, match=r"has no column 'dya'(.|\n)*its columns: whole, real"):
        read_parquet(path, columns=["dya"])
    with pytest.raises(FileNotFoundError):
        read_parquet(tmp_path / "none.parquet")
    content = path.read_bytes()
    for torn in (b"", b"PAR1", content[:-20], content[20:], b"a,b\n1,2\n"):
        path.write_bytes(torn)
        with pytest.raises(DataError, match=r"t\.parquet cannot be read as Parquet"):
            read_parquet(path)


def test_frames_are_split_and_encoded_as_they_are() -> None:
    frame = polars.DataFrame(
        {"size": [k / 2 for k in range(40)], "pet": ["cat" if k < 20 else "dog" for k in range(40)]}
    )
    train, validation, encoder = split_table(frame, "pet")
    assert (len(train), len(validation), encoder.target.classes) == (32, 8, ("cat", "dog"))
    assert encoder.inputs(frame[:3]).shape == (3, 1)
    assert encoder.targets(frame[18:22]).tolist() == [0, 0, 1, 1]
    assert len(encoder.dataset(frame)) == 40
    assert TableEncoder.fit(frame, "pet").feature_names == ["size"]
    with pytest.raises(DataError, match="no data frame that narwhals knows"):
        split_table(np.ones((3, 2)), "x")
