"""`chainrule predict`, `data`: a model meets tables that it was not trained on."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.cli.predict import predict_file
from chainrule.cli.table_model import KEY, open_model
from chainrule.errors import ChainruleError, StoreError
from chainrule.io import write_arrays


def write_flowers(path: Path, *, rows: int = 80, seed: int = 0) -> Path:
    draw = np.random.default_rng(seed)
    lines = ["width,colour,kind"]
    for k in range(rows):
        width = f"{draw.normal(4 * (k % 2), 1):.3f}" if k != 7 else ""
        colour = draw.choice(["red", "blue", "white"]) if k != 9 else ""
        lines.append(f"{width},{colour},{'rose' if k % 2 else 'lily'}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def trained(command, tmp_path, monkeypatch) -> Path:
    """Train the run `first`, write its model beside it, and remove the table."""
    monkeypatch.chdir(tmp_path)
    table = write_flowers(tmp_path / "flowers.csv")
    words = ["--epochs", 40, "--hidden", "8,4", "--engine", "numpy", "--model", "m.safetensors"]
    status, out, err = command("train", table, "--target", "kind", "--run", "first", *words)
    assert status == 0, err
    assert "model: m.safetensors" in out
    assert "chainrule predict first NEW.csv" in out
    table.unlink()
    return tmp_path


def table_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("model", ["first", "m.safetensors"])
def test_labels_and_probabilities_without_the_target(command, trained, model):
    (trained / "new.csv").write_text("colour,width\nred,-1\nblue,5\nwhite,\n")
    status, out, err = command("predict", model, "new.csv")
    assert (status, err) == (0, "")
    rows = table_of(out)
    assert [row["predicted kind"] for row in rows[:2]] == ["lily", "rose"]
    assert [row["line"] for row in rows] == ["2", "3", "4"]
    for row in rows:
        shares = [float(row[f"probability of {name}"]) for name in ("lily", "rose")]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert (shares[1] > shares[0]) == (row["predicted kind"] == "rose")


def test_a_run_and_its_file_answer_alike_and_as_the_network_does(command, trained):
    write_flowers(trained / "new.csv", seed=3)
    status, out, err = command("predict", "first", "new.csv")
    assert command("predict", "m.safetensors", "new.csv") == (status, out, err)
    assert "accuracy" in err
    assert "80 rows that have a label" in err
    model = open_model("first")
    encoder, state = model.encoder, model.state
    hidden = encoder.inputs(cr.data.read_csv("new.csv")).astype(np.float64)
    for layer in (0, 2, 4):
        hidden = hidden @ state[f"{layer}.weight"].T + state[f"{layer}.bias"]
        hidden = hidden if layer == 4 else np.maximum(hidden, 0)
    shares = np.exp(hidden) / np.exp(hidden).sum(1, keepdims=True)
    given = [float(row["probability of rose"]) for row in table_of(out)]
    np.testing.assert_allclose(given, shares[:, 1], atol=2e-6)


def test_unknown_categories_become_missing_and_are_counted(command, trained):
    (trained / "a.csv").write_text("width,colour\n1,pink\n1,pink\n1,grey\n1,\n1,red\n")
    status, out, err = command("predict", "first", "a.csv")
    assert status == 0
    assert "colour: 3 cells with a text that training did not have ('grey', 'pink')" in err
    rows = table_of(out)
    assert rows[0]["probability of rose"] == rows[3]["probability of rose"]
    assert rows[0]["probability of rose"] != rows[4]["probability of rose"]


MISFITS = [
    (
        "wdth,colour\n1,red\n",
        ["missing: 'width' (is it 'wdth'?)", "not known to the model: 'wdth'"],
    ),
    ("colour\nred\n", ["missing: 'width'", "expected: width, colour", "fix: give the table"]),
    ("width,colour,id,x\n1,red,7,8\n", ["not known to the model: 'id', 'x'", "--drop 'id'"]),
    ("width,colour\nwide,red\n", ["line 2: column 'width' holds numbers, and 'wide'"]),
    ("", ["is empty"]),
    ("width,colour\n", ["no rows"]),
    ("width,colour\n1\n", ["line 2", "has 1 cells"]),
]


@pytest.mark.parametrize(("text", "expected"), MISFITS, ids=range(len(MISFITS)))
def test_tables_that_do_not_fit_are_refused(command, trained, text, expected):
    (trained / "new.csv").write_text(text)
    status, out, err = command("predict", "first", "new.csv")
    assert (status, out) == (2, "")
    for part in expected:
        assert part in err


def test_other_columns_can_be_dropped(command, trained):
    (trained / "new.csv").write_text("id,width,colour\n9,1,red\n")
    assert command("predict", "first", "new.csv", "--drop", "id")[0] == 0
    status, _, err = command("predict", "first", "new.csv", "--drop", "name")
    assert status == 2
    assert "no column 'name' to leave out" in err


def test_answers_go_into_a_file_or_a_document(command, trained):
    (trained / "new.csv").write_text("width,colour,kind\n-1,red,lily\n6,blue,\n")
    status, plain, _ = command("predict", "first", "new.csv")
    status, out, _ = command("predict", "first", "new.csv", "--out", "answers.csv")
    assert status == 0
    assert "2 rows predicted: answers.csv" in out
    assert (trained / "answers.csv").read_text() == plain
    status, out, err = command("predict", "first", "new.csv", "--json")
    found = json.loads(out)
    assert [each["predicted"] for each in found["predictions"]] == ["lily", "rose"]
    assert found["score"] == {"rows": 1.0, "accuracy": 1.0}
    assert "accuracy 100.00 %" in err


def test_numbers_come_back_in_their_own_unit(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"{a:.4f},{1000 + 300 * a:.3f}" for a in np.linspace(0, 1, 60)]
    Path("p.csv").write_text("\n".join(["size,price", *rows]) + "\n")
    words = ("--target", "price", "--epochs", 200, "--lr", 0.01, "--hidden", "none")
    command("train", "p.csv", *words, "--engine", "numpy", "--run", "price")
    Path("n.csv").write_text("size\n0.5\n1\n")
    status, out, err = command("predict", "price", "n.csv")
    assert (status, err) == (0, "")
    values = [float(row["predicted price"]) for row in table_of(out)]
    assert values == pytest.approx([1150, 1300], abs=10)
    _, out, err = command("predict", "price", "p.csv", "--json")
    assert json.loads(out)["score"]["root_mean_square_error"] < 10
    assert "root mean square" in err
    Path("t.csv").write_text("size,price\n0.5,much\n")
    assert "not scored: price holds no numbers here" in command("predict", "price", "t.csv")[2]


def test_a_table_that_changed_does_not_change_what_the_run_has_learned(command, trained):
    (trained / "new.csv").write_text("colour,width\nred,-1\nblue,5\n")
    before = command("predict", "first", "new.csv")
    write_flowers(trained / "flowers.csv", rows=60, seed=5)
    command("resume", "first", "--epochs", 41)
    assert command("predict", "first", "new.csv") == before


def test_semicolons_parquet_and_another_order_answer_alike(command, trained):
    polars = pytest.importorskip("polars")
    write_flowers(trained / "new.csv", seed=3)
    expected = [
        row["predicted kind"] for row in table_of(command("predict", "first", "new.csv")[1])
    ]
    frame = polars.read_csv("new.csv").select("colour", "width")
    frame.write_csv("semicolon.csv", separator=";")
    frame.write_parquet("new.parquet")
    for name in ("semicolon.csv", "new.parquet"):
        status, out, err = command("predict", "first", name)
        assert (status, err) == (0, "")
        assert [row["predicted kind"] for row in table_of(out)] == expected
    status, out, _ = command("data", "new.parquet", "--json")
    assert json.loads(out)["rows"] == 80
    frame.drop("width").write_parquet("new.parquet")
    status, _, err = command("predict", "first", "new.parquet")
    assert status == 2
    assert "missing: 'width'" in err


def test_what_is_no_model_is_refused(command, trained):
    (trained / "new.csv").write_text("width,colour\n1,red\n")
    status, _, err = command("predict", "frst", "new.csv")
    assert status == 2
    assert "there is no run 'frst'" in err
    assert "did you mean 'first'?" in err
    assert command("predict", "none.safetensors", "new.csv")[0] == 2
    write_arrays("weights.safetensors", {"0.weight": np.zeros((2, 2))})
    status, _, err = command("predict", "weights.safetensors", "new.csv")
    assert status == 2
    assert "holds no model of a table: it says nothing of columns" in err
    Path("cut.safetensors").write_bytes(Path("m.safetensors").read_bytes()[:-5])
    status, _, err = command("predict", "cut.safetensors", "new.csv")
    assert status == 1
    assert "is not a whole safetensors file" in err


def test_a_model_whose_parts_do_not_fit_is_refused(trained):
    whole = open_model("m.safetensors")
    text = json.dumps({"columns": list(whole.columns), "encoder": whole.encoder.to_plain()})
    state = dict(whole.state)
    for broken in (
        state | {"0.weight": np.zeros((8, 9), np.float32)},
        state | {"4.weight": np.zeros((3, 4), np.float32), "4.bias": np.zeros(3, np.float32)},
        state | {"2.bias": np.zeros(9, np.float32)},
        state | {"0.weight": state["0.weight"].astype(np.int64)},
        {"a": np.zeros(2)},
        {},
    ):
        write_arrays("b.safetensors", broken, {KEY: text})
        with pytest.raises(StoreError, match="holds no model of a table"):
            open_model("b.safetensors")
    for lie in ("{", "[]", "{}", text.replace('"numbers"', '"n"'), text.replace('"mean"', '"m"')):
        write_arrays("b.safetensors", state, {KEY: lie})
        with pytest.raises(StoreError, match="cannot be read"):
            open_model("b.safetensors")


def _leaves(plain, path=()):
    """Yield the path to every leaf, and to every branch, of nested lists and dictionaries."""
    if path:
        yield path
    inner = plain.items() if isinstance(plain, dict) else enumerate(plain)
    for key, value in inner if isinstance(plain, (dict, list)) else ():
        if isinstance(value, (dict, list)):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key)


ODD = [None, True, -1, 3, 1e400, "x", [], {}, [[1]], {"a": 1}, 10**400]


def test_a_model_of_which_any_part_was_changed_is_refused_or_used(trained):
    whole = open_model("m.safetensors")
    table = write_flowers(trained / "new.csv", rows=12)
    plain = {"columns": list(whole.columns), "encoder": whole.encoder.to_plain()}
    cases = refused = 0
    for path in list(_leaves(plain)):
        for odd in ODD:
            changed = json.loads(json.dumps(plain))
            place = changed
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = odd
            write_arrays("b.safetensors", whole.state, {KEY: json.dumps(changed)})
            cases += 1
            try:
                predict_file(open_model("b.safetensors"), table)
            except ChainruleError:
                refused += 1
    assert cases > 250
    assert refused > cases / 2


def test_data_says_what_a_file_holds_and_what_is_wrong(command, tmp_path):
    draw = np.random.default_rng(1)
    rows = []
    for k in range(96):
        alive = k % 8 == 0
        rows.append(
            f"{draw.normal():.3f},{'yes' if alive else 'no'},x,{'' if k % 3 else 1},{alive:d}"
        )
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["x,alive,same,rare,survived", *rows, rows[0]]) + "\n")
    status, out, err = command("data", path, "--target", "survived")
    assert (status, err) == (0, "")
    assert "t.csv: 97 rows, 5 columns" in out
    assert "64 of 97 rows have a gap" in out
    assert "classes of survived: 0 86.6 %, 1 13.4 %" in out
    for line in (
        "error  leaking-feature in alive",
        "warning  class-imbalance in survived",
        "warning  constant-column in same",
        "warning  mostly-missing in rare",
        "info  repeated-rows",
    ):
        assert f"  {line}\n" in out
    assert out.index("leaking") < out.index("constant-column") < out.index("repeated-rows")
    assert "--target survived --drop alive" in out
    found = json.loads(command("data", path, "--target", "survived", "--json")[1])
    assert found["classes"] == {"0": 84, "1": 13}
    of_name = {column["name"]: column for column in found["columns"]}
    assert of_name["rare"]["missing"] == 64
    assert of_name["alive"]["most_common"] == {"no": 84, "yes": 13}
    assert of_name["x"]["kind"] == "number"
    assert of_name["same"]["use"] == "left out: one value only"
    assert {each["kind"] for each in found["findings"]} >= {"leaking-feature", "class-imbalance"}


def test_data_without_a_target_and_with_a_wrong_one(command, tmp_path):
    path = write_flowers(tmp_path / "f.csv")
    status, out, _ = command("data", path)
    assert status == 0
    assert "2 of 80 rows have a gap" in out
    assert "no findings." in out
    assert f"chainrule data {path} --target kind" in out
    status, _, err = command("data", path, "--target", "knd")
    assert status == 2
    assert "did you mean 'kind'?" in err
    path.write_text("a,b\n1,2\n2,2\n3,2\n")
    status, out, _ = command("data", path, "--target", "b")
    assert status == 0
    assert "error  cannot-be-trained-on in b" in out
    assert "one value only" in out
