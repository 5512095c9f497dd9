"""Reading CSV files: types, separators, missing cells, and errors that name the line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data import read_csv
from chainrule.errors import DataError


@pytest.fixture
def write(tmp_path: Path):
    def put(content: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return put


def test_types_and_missing_cells_are_found(write):
    table = read_csv(write("pet,age,note\ncat, 3,\ndog,NA,\ncat,5.5,\n"))
    assert table.names == ("pet", "age", "note")
    assert table["pet"].kind == "category"
    assert table["pet"].categories == ("cat", "dog")
    assert table["pet"].values.tolist() == [0, 1, 0]
    assert table["age"].kind == "number"
    np.testing.assert_equal(table["age"].values, [3.0, np.nan, 5.5])
    assert table["note"].missing.all()
    assert table.lines.tolist() == [2, 3, 4]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(write, separator):
    rows = ["a b", "1 x", "2 y"]
    table = read_csv(write("\n".join(row.replace(" ", separator) for row in rows)))
    assert table.names == ("a", "b")
    assert len(table) == 2


def test_a_comma_inside_cells_does_not_win_over_the_separator(write):
    table = read_csv(write("name;price\n'a, b';3\n'c, d';4\n"))
    assert table.names == ("name", "price")


def test_quotes_line_ends_and_byte_order_mark(write):
    table = read_csv(write('\ufeffname,n\r\n"Smith, ""J""",1\r\n"two\nlines",2\r\n\r\nx,3\r\n'))
    assert table.names == ("name", "n")
    assert 'Smith, "J"' in table["name"].categories
    assert "two\nlines" in table["name"].categories
    assert table.lines.tolist() == [2, 3, 6]


def test_unusual_line_separators_stay_inside_cells(write):
    table = read_csv(write("a,b\nx\u2028y,1\nz,2\n"))
    assert len(table) == 2


def test_a_file_without_a_header_gets_numbered_columns(write):
    table = read_csv(write("1,x\n2,y\n"))
    assert table.names == ("column_1", "column_2")
    assert len(table) == 2
    assert read_csv(write("1,x\n2,y\n"), header=True).names == ("1", "x")


def test_a_code_with_an_underscore_is_no_number(write):
    table = read_csv(write("code\n1_000\n2_000\n"))
    assert table["code"].kind == "category"


ERRORS = {
    "a,b\n1,2\n3\n": ["table.csv, line 3", "it has 1 cells", "expected: 2 cells (a, b)"],
    "a,b\n1,2\n3,4,5\n": ["line 3", "it has 3 cells"],
    'a,b\n1,2\n"3,4\n': ["line 3", "quotes that open and close"],
    'a,b\n"x"y,2\n': ["line 2", "cannot be read"],
    "": ["table.csv is empty"],
    "a,b\n": ["a header and no rows"],
    "a,a\n1,2\n": ["line 1", "names 'a' twice"],
    b"a,b\n1,2\n\xff\xfe,3\n": ["line 3", "byte 0xff is not utf-8", "latin-1"],
    b"a,b\n1,\x00\n": ["line 2", "a zero byte"],
    "n\n" + "1\n" * 60 + "12a\n": ["line 62", "column 'n' holds numbers", "'12a'", "kinds="],
    "n\n" + "1\n" * 60 + "inf\n": ["line 62", "not a finite one"],
}


@pytest.mark.parametrize("content", ERRORS, ids=range(len(ERRORS)))
def test_errors_name_the_line_and_the_fix(write, content):
    with pytest.raises(DataError) as caught:
        read_csv(write(content))
    for words in ERRORS[content]:
        assert words in str(caught.value)


def test_guesses_can_be_overruled(write):
    path = write("n\n" + "1\n" * 60 + "12a\n")
    assert read_csv(path, missing={"", "12a"})["n"].missing.sum() == 1
    assert read_csv(path, kinds={"n": "category"})["n"].categories == ("1", "12a")
    with pytest.raises(DataError, match="no column 'm'"):
        read_csv(path, kinds={"n": "category", "m": "number"})
    latin = write("name\ncaf\xe9\n".encode("latin-1"))
    assert read_csv(latin, encoding="latin-1")["name"].categories == ("café",)


def test_a_missing_column_names_the_nearest(write):
    table = read_csv(write("survived,Age\n1,2\n"))
    with pytest.raises(DataError, match=r"did you mean 'survived'\?") as caught:
        table["surived"]
    assert "its columns: survived, Age" in str(caught.value)
    with pytest.raises(DataError, match="did you mean 'Age'"):
        table["age"]


def test_a_missing_file_is_the_usual_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_csv(tmp_path / "none.csv")


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=["Cc"]))


@given(st.lists(st.tuples(CELL, st.integers(-(10**9), 10**9)), min_size=1, max_size=12))
def test_any_text_that_is_quoted_comes_back(tmp_path_factory, rows):
    import csv

    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["text", "number"])
        writer.writerows(rows)
    table = read_csv(path, separator=",", kinds={"text": "category"}, missing={""})
    assert table["number"].values.tolist() == [number for _, number in rows]
    column = table["text"]
    back = [column.categories[code] if code >= 0 else "" for code in column.values]
    assert back == [text.strip() for text, _ in rows]


def test_real_tables(shared_data):
    titanic = read_csv(shared_data("tabular/titanic.csv"))
    assert len(titanic) == 891
    assert len(titanic.names) == 15
    assert int(titanic["age"].missing.sum()) == 177
    assert titanic["alive"].categories == ("no", "yes")
    wine = read_csv(shared_data("tabular/winequality-red.csv"))
    assert wine.names[0] == "fixed acidity"
    assert all(column.kind == "number" for column in wine.columns)
    penguins = read_csv(shared_data("tabular/penguins_palmer.csv"))
    assert int(penguins["sex"].missing.sum()) == 11
