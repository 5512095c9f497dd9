"""`chainrule train`, `runs`, `resume`, `report` on small tables."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from chainrule.cli.recipe import Recipe
from chainrule.errors import OptionError, StoreError


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Write a table that is easy to learn, with a missing cell and a category."""
    draw = np.random.default_rng(0)
    lines = ["width,colour,kind"]
    for k in range(80):
        kind = k % 2
        width = f"{draw.normal(4 * kind, 1):.3f}" if k != 7 else ""
        lines.append(
            f"{width},{draw.choice(['red', 'blue', 'white'])},{'rose' if kind else 'lily'}"
        )
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def train(command, file, *words):
    return command("train", file, "--target", "kind", "--epochs", 30, "--hidden", 8, *words)


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_a_table_is_learned(command, flowers, engine):
    status, out, err = train(command, flowers, "--engine", engine)
    assert (status, err) == (0, "")
    assert "flowers.csv: 80 rows, 3 columns" in out
    assert re.search(r"kind +category  2 values: lily, rose  <- target, classification", out)
    assert "1 missing" in out
    assert "64 rows to train on, 16 to validate; network 5 -> 8 -> 2, 66 parameters" in out
    found = re.search(r"validation accuracy ([\d.]+) %", out)
    assert found is not None
    assert float(found[1]) > 85
    assert "always answering" in out
    assert "finding" in out
    assert "chainrule train" in out[out.index("next:") :]


def test_a_number_is_learned_in_its_own_unit(command, tmp_path):
    x = np.linspace(0, 1, 60)
    rows = [f"{a:.4f},{1000 + 300 * a:.3f}" for a in x]
    path = tmp_path / "price.csv"
    path.write_text("\n".join(["size,price", *rows]) + "\n")
    words = ("--target", "price", "--epochs", 200, "--lr", 0.01, "--hidden", "none")
    status, out, _ = command("train", path, *words, "--engine", "numpy")
    assert status == 0
    found = re.search(r"validation error of price: ([\d.]+) root mean square", out)
    assert found is not None
    assert float(found[1]) < 10
    assert "network 1 -> 1, 2 parameters" in out


def test_a_leaking_column_is_found_unasked_and_can_be_dropped(command, tmp_path):
    draw = np.random.default_rng(1)
    rows = [f"{draw.normal():.3f},{'yes' if k % 2 else 'no'},{k % 2}" for k in range(60)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["x,alive,survived", *rows]) + "\n")
    status, out, _ = command("train", path, "--target", "survived", "--engine", "numpy")
    assert status == 0
    assert re.search(r"error  leaking-feature in alive", out)
    assert "--drop alive" in out[out.index("next:") :]
    status, out, _ = command(
        "train", path, "--target", "survived", "--drop", "alive", "--engine", "numpy"
    )
    assert status == 0
    assert "leaking-feature" not in out
    assert "left out: --drop" in out


WRONG = [
    (["--target", "knd"], ["no column 'knd'", "did you mean 'kind'?"]),
    (["--target", "kind", "--drop", "colr"], ["no column 'colr'", "did you mean 'colour'?"]),
    (["--target", "kind", "--hidden", "a,b"], ["--hidden takes", "given: a,b"]),
    (["--target", "kind", "--engine", "jvm"], ["no engine 'jvm'"]),
    (["--target", "kind", "--task", "regression"], ["holds texts"]),
    (["--target", "kind", "--task", "ranking"], ["classification or regression"]),
    (["--target", "kind", "--lr", "-1"], ["-1"]),
    (["--target", "kind", "--epochs", "0"], ["epochs"]),
    ([], ["--target"]),
]


@pytest.mark.parametrize(("words", "expected"), WRONG, ids=range(len(WRONG)))
def test_wrong_options_say_what_is_wrong(command, flowers, words, expected):
    status, _, err = command("train", flowers, *words)
    assert status == 2
    for part in expected:
        assert part in err
    assert "Traceback" not in err


def test_a_missing_file_and_an_unreadable_row(command, tmp_path):
    status, _, err = command("train", tmp_path / "none.csv", "--target", "a")
    assert status == 2
    assert "none.csv: No such file" in err
    path = tmp_path / "broken.csv"
    path.write_text("a,b\n1,2\n3,4\n5\n")
    status, _, err = command("train", path, "--target", "a")
    assert status == 2
    assert "broken.csv, line 4: the row cannot be read: it has 1 cells" in err


def test_a_kept_run_is_listed_resumed_and_reported(command, flowers, tmp_path, monkeypatch):
    status, out, _ = command("runs")
    assert status == 0
    assert "no runs" in out
    status, out, _ = train(command, flowers, "--run", "first", "--engine", "numpy")
    assert status == 0
    _, out, _ = command("runs")
    assert re.search(r"first +finished +30 ", out)

    status, _, err = train(command, flowers, "--run", "first", "--engine", "numpy")
    assert status == 2
    assert "there is already a run 'first'" in err

    status, out, _ = command("resume", "first", "--epochs", 40)
    assert status == 0
    _, out, _ = command("runs")
    assert re.search(r"first +finished +40 ", out)

    page = tmp_path / "page.html"
    status, out, _ = command("report", "first", "--out", page)
    assert status == 0
    assert f"report: {page}" in out
    assert "<svg" in page.read_text(encoding="utf-8")


def test_resuming_what_is_not_there_says_what_is(command, flowers):
    status, _, err = command("resume", "none")
    assert status == 2
    assert "no recipe for the run 'none'" in err
    assert "there are: none" in err
    train(command, flowers, "--run", "first", "--engine", "numpy")
    _, _, err = command("report", "other")
    assert "there are: first" in err


def test_a_recipe_comes_back_and_a_damaged_one_is_refused(tmp_path):
    recipe = Recipe("a.csv", "kind", drop=("x", "y"), lr=0.5)
    recipe.save("odd/name: 1")
    assert Recipe.load("odd/name: 1", "resumed") == recipe
    folder = Path(tmp_path / "chainrule-runs" / "recipes")
    (path,) = folder.iterdir()
    plain = json.loads(path.read_text())
    path.write_text(json.dumps(plain | {"from_a_later_version": 1}))
    assert Recipe.load("odd/name: 1", "resumed") == recipe
    path.write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        Recipe.load("odd/name: 1", "resumed")


def test_hidden_units():
    from chainrule.cli.train import hidden_units

    assert hidden_units(" 8, 4 ") == [8, 4]
    with pytest.raises(OptionError):
        hidden_units("8,-4")


def test_version_and_help(command):
    import chainrule

    assert command("--version")[1] == f"chainrule {chainrule.__version__}\n"
    assert "derive" in command("--help")[1]
