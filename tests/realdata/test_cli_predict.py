"""`train`, `data`, `predict`, `runs` on real tables, one after the other, as a user would."""

import csv
import io
import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chainrule.cli.app import app


def call(*words: object) -> tuple[str, str]:
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def cut(source: Path, first: Path, second: Path, share: float = 0.8) -> None:
    """Cut a table in two, its rows mixed, the header in both."""
    header, *rows = source.read_text().splitlines()
    random.Random(0).shuffle(rows)
    at = int(share * len(rows))
    first.write_text("\n".join([header, *rows[:at]]) + "\n")
    second.write_text("\n".join([header, *rows[at:]]) + "\n")


@pytest.mark.parametrize(
    ("name", "target", "drop", "least"),
    [
        ("iris", "species", (), 0.9),
        ("penguins_palmer", "species", (), 0.95),
        ("titanic", "survived", ("alive",), 0.75),
        ("winequality-red", "quality", (), 0.5),
    ],
)
def test_classes_of_rows_that_training_never_saw(
    shared_data, tmp_path, monkeypatch, name, target, drop, least
):
    monkeypatch.chdir(tmp_path)
    cut(shared_data(f"tabular/{name}.csv"), Path("a.csv"), Path("b.csv"))
    drops = [word for column in drop for word in ("--drop", column)]
    words = ("--target", target, *drops, "--epochs", 60, "--run", "first", "--json")
    trained = json.loads(call("train", "a.csv", *words)[0])
    out, err = call("predict", "first", "b.csv", "--json")
    found = json.loads(out)
    assert found["score"]["accuracy"] >= least
    assert found["classes"] == trained["classes"]
    assert {each["predicted"] for each in found["predictions"]} <= set(found["classes"])
    for each in found["predictions"]:
        assert sum(each["probabilities"].values()) == pytest.approx(1)
    assert f"accuracy {100 * found['score']['accuracy']:.2f} %" in err


@pytest.mark.parametrize(
    ("name", "target", "share"),
    [("mpg", "mpg", 0.6), ("california_housing", "median_house_value", 0.7)],
)
def test_numbers_of_rows_that_training_never_saw(
    shared_data, tmp_path, monkeypatch, name, target, share
):
    monkeypatch.chdir(tmp_path)
    cut(shared_data(f"tabular/{name}.csv"), Path("a.csv"), Path("b.csv"))
    words = ("--target", target, "--epochs", 40, "--batch-size", 64, "--model", "m.safetensors")
    trained = json.loads(call("train", "a.csv", *words, "--json")[0])
    score = json.loads(call("predict", "m.safetensors", "b.csv", "--json")[0])["score"]
    constant = trained["validation"]["constant_root_mean_square_error"]
    assert score["root_mean_square_error"] < share * constant
    answers = list(csv.DictReader(io.StringIO(call("predict", "m.safetensors", "b.csv")[0])))
    assert len(answers) == score["rows"]


def test_titanic_without_its_target_and_with_a_new_port(shared_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = shared_data("tabular/titanic.csv")
    words = ("--target", "survived", "--drop", "alive", "--epochs", 10, "--run", "first")
    call("train", file, *words)
    with file.open(newline="") as source:
        rows = list(csv.DictReader(source))
    for row in rows:
        del row["survived"]
    for row in rows[:3]:
        row["embark_town"] = "Belfast"
    with Path("new.csv").open("w", newline="") as target:
        writer = csv.DictWriter(target, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    out, err = call("predict", "first", "new.csv")
    assert out.count("\n") == 892
    assert "embark_town: 3 cells with a text that training did not have ('Belfast')" in err
    assert "accuracy" not in err


def test_what_data_says_of_titanic_is_what_train_finds(shared_data):
    out, _ = call("data", shared_data("tabular/titanic.csv"), "--target", "survived", "--json")
    found = json.loads(out)
    assert found["rows"] == 891
    assert found["classes"] == {"0": 549, "1": 342}
    missing = {each["name"]: each["missing"] for each in found["columns"] if each["missing"]}
    assert missing == {"age": 177, "embarked": 2, "deck": 688, "embark_town": 2}
    leaks = [each["where"] for each in found["findings"] if each["kind"] == "leaking-feature"]
    assert leaks == ["alive"]


@pytest.mark.parametrize("name", ["iris", "mpg", "penguins_palmer", "winequality-red"])
def test_data_reads_every_table(shared_data, name):
    file = shared_data(f"tabular/{name}.csv")
    found = json.loads(call("data", file, "--json")[0])
    lines = [line for line in file.read_text().splitlines() if line.strip()]
    assert found["rows"] == len(lines) - 1
    assert len(found["columns"]) > 3
