"""`chainrule runs`: list, compare, delete, restore; nothing is lost on the way."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule
from chainrule.errors import StoreError
from chainrule.train import Store, open_run, trash
from chainrule.train.findings import Finding


@pytest.fixture
def two_runs(command, tmp_path, monkeypatch) -> Path:
    """Train the runs `slow` and `quick` on a small table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAINRULE_HOME", "kept")
    rows = [f"{np.sin(k):.3f},{'b' if np.sin(k) > 0.2 else 'a'}" for k in range(40)]
    Path("t.csv").write_text("\n".join(["x,kind", *rows]) + "\n")
    words = ("train", "t.csv", "--target", "kind", "--epochs", 4, "--engine", "numpy")
    assert command(*words, "--run", "slow")[0] == 0
    assert command(*words, "--run", "quick", "--lr", 0.05, "--hidden", "4,4")[0] == 0
    return tmp_path


def test_runs_are_listed_as_text_and_as_a_document(command, two_runs):
    status, out, _ = command("runs")
    assert status == 0
    assert re.search(r"^slow +finished +4 ", out, re.M)
    assert command("runs", "list")[1] == out
    found = json.loads(command("runs", "--json")[1])
    assert [run["name"] for run in found["runs"]] == ["slow", "quick"]
    assert found["runs"][0]["last"]["loss"] > 0
    assert found["runs"][1]["config"]["hidden"] == "4,4"
    assert found["deleted"] == []


def test_runs_are_compared_side_by_side(command, two_runs):
    status, out, _ = command("runs", "compare", "slow", "quick")
    assert status == 0
    assert re.search(r"^ +slow +quick$", out, re.M)
    assert re.search(r"^optimizer\.lr +0\.003 +0\.05$", out, re.M)
    assert re.search(r"^hidden +32 +4,4$", out, re.M)
    assert re.search(r"^validation_accuracy +[\d.]+ +[\d.]+$", out, re.M)
    assert "batch size" not in out  # the same in both
    found = json.loads(command("runs", "compare", "slow", "quick", "--json")[1])
    assert found["settings"]["optimizer.lr"] == ["0.003", "0.05"]
    assert found["epochs"] == [4, 4]
    assert found["last"]["loss"][0] == open_run("slow").history["loss"][-1]
    assert "no setting differs" in command("runs", "compare", "slow", "slow")[1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("compare", "slow", "quik"), "did you mean 'quick'?"),
        (("compare", "slow"), "two runs or more"),
        (("delete", "none"), "there is no run 'none'"),
        (("restore", "slow"), "no run 'slow' was deleted here"),
        (("--json", "delete", "slow"), "behind the command"),
        (("burn", "slow"), "burn"),
    ],
)
def test_wrong_words_change_nothing(command, two_runs, words, expected):
    status, out, err = command("runs", *words)
    assert (status, out) == (2, "")
    assert expected in err
    assert len(json.loads(command("runs", "--json")[1])["runs"]) == 2


def test_a_deleted_run_comes_back_whole(command, two_runs):
    before = open_run("slow")
    before.record_findings([Finding("dead-units", "warning", "0", {"share": 0.5}, "why", "do")])
    found = before.findings()
    weights = before.state_dict()
    status, out, _ = command("runs", "delete", "slow")
    assert status == 0
    assert "chainrule runs restore slow" in out
    listed = command("runs")[1]
    assert not re.search(r"^slow", listed, re.M)
    assert "deleted: slow" in listed
    assert command("predict", "slow", "t.csv")[0] == 2
    assert command("resume", "slow")[0] == 2

    assert command("runs", "restore", "slow")[0] == 0
    after = open_run("slow")
    assert after.history.keys() == before.history.keys()
    for name, series in before.history.items():
        assert after.history[name].tobytes() == series.tobytes()
    assert after.findings() == found
    assert (after.config, after.seconds, after.status) == (
        before.config,
        before.seconds,
        "finished",
    )
    for name, array in weights.items():
        assert after.state_dict()[name].tobytes() == array.tobytes()
    assert command("predict", "slow", "t.csv")[0] == 0
    assert command("resume", "slow", "--epochs", 6)[0] == 0
    assert open_run("slow").epochs == 6


def test_a_name_used_again_loses_neither(command, two_runs):
    words = ("train", "t.csv", "--target", "kind", "--engine", "numpy", "--run", "slow")
    command("runs", "delete", "slow")
    assert command(*words, "--epochs", 2)[0] == 0
    status, _, err = command("runs", "restore", "slow")
    assert status == 2
    assert "chainrule runs restore slow --as NEW-NAME" in err
    assert "chainrule runs restore 'slow (2)'" in command("runs", "delete", "slow")[1]
    assert command("runs", "restore", "slow", "--as", "old")[0] == 0
    assert command("runs", "restore", "slow (2)", "--as", "new")[0] == 0
    assert (open_run("old").epochs, open_run("new").epochs) == (4, 2)
    assert command("predict", "new", "t.csv")[0] == 0


def test_a_taken_name_does_not_change_the_recipe_of_the_run_that_has_it(command, two_runs):
    kept = {path: path.read_bytes() for path in Path("kept").glob("*/*.json")}
    status, _, err = command("train", "t.csv", "--target", "kind", "--run", "slow", "--lr", 1)
    assert status == 2
    assert "`chainrule resume slow` goes on with it" in err
    assert {path: path.read_bytes() for path in Path("kept").glob("*/*.json")} == kept


def test_a_run_that_is_being_trained_stays(command, two_runs):
    script = (
        "import sys; from chainrule.train import Store\n"
        "store = Store('kept'); run = store.find('slow')\n"
        "with store.lock(run.id, 'slow'): print('held', flush=True); sys.stdin.read()"
    )
    command_line = [sys.executable, "-c", script]
    here = os.environ | {"PYTHONPATH": str(Path(chainrule.__file__).parents[1])}
    pipe = subprocess.PIPE
    with subprocess.Popen(command_line, stdin=pipe, stdout=pipe, env=here) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        status, _, err = command("runs", "delete", "slow")
        holder.communicate(b"", timeout=20)
    assert status == 2
    assert "is being trained by another process" in err
    assert open_run("slow").epochs == 4


def test_a_run_that_cannot_be_copied_stays_where_it_was(two_runs, monkeypatch):
    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device", target)

    monkeypatch.setattr(trash, "_link", full)
    with pytest.raises(StoreError):
        trash.delete_run("slow")
    assert open_run("slow").state_dict()
    assert trash.trashed_runs() == []
    monkeypatch.undo()


def test_a_read_only_store_says_so_and_keeps_the_run(command, two_runs, unwritable):
    with unwritable(two_runs / "kept"):
        status, _, err = command("runs", "delete", "slow")
    assert status != 0
    assert "error: " in err
    assert "Traceback" not in err
    with Store("kept", read_only=True) as store:
        assert store.find("slow") is not None


def test_a_process_killed_between_copy_and_removal_loses_nothing(two_runs, monkeypatch):
    def killed(self: Store, run: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            trash.delete_run("slow")
    assert open_run("slow").state_dict()
    assert trash.delete_run("slow") == "slow (2)"
    assert trash.restore_run("slow (2)", "slow") == "slow"
    assert open_run("slow").epochs == 4


# Documents and exit codes

DOCUMENTS = [
    (("derive", "a*b", "a=[1,2]", "b=3"), None),
    (("derive", "sum(a*b)", "a=[1,2]", "b=3"), "variables"),
    (("derive", "log(x)", "x=0"), "value"),
    (("train", "t.csv", "--target", "kind", "--epochs", 1, "--engine", "numpy"), "findings"),
    (("resume", "slow", "--epochs", 5), "last"),
    (("data", "t.csv"), "columns"),
    (("predict", "slow", "t.csv"), "predictions"),
    (("predict", "slow", "t.csv", "--out", "out.csv"), "out"),
    (("runs",), "runs"),
    (("runs", "compare", "slow", "quick"), "settings"),
    (("runs", "delete", "slow"), "restore"),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("words", "key"), DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_json_is_one_strict_document_and_nothing_else(command, two_runs, words, key):
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    status, out, err = command(*words, "--json")
    if key is None:  # an error has no document
        assert (status, out) == (2, "")
        assert err.startswith("error: the result is an array")
        return
    assert status == 0, err
    assert key in json.loads(out, parse_constant=refuse)


CODES = [
    (0, ("data", "t.csv")),
    (2, ("data",)),
    (2, ("data", "none.csv")),
    (2, ("data", ".")),
    (2, ("data", "t.csv", "--tareget", "kind")),
    (2, ("trane",)),
    (2, ("predict", "none", "t.csv")),
    (2, ("train", "t.csv", "--target", "kind", "--epochs", "many")),
    (2, ("resume", "none")),
    (2, ("report", "none")),
    (2, ("derive", "3*")),
    (2, ("derive", "3*x", "x=1", "--save", "a.xyz")),
    (2, ("report", "slow", "--out", "none/a.html")),
    (1, ("predict", "cut.safetensors", "t.csv")),
]


@pytest.mark.parametrize(("code", "words"), CODES, ids=range(len(CODES)))
def test_exit_codes_are_as_the_help_says(command, two_runs, code, words):
    Path("cut.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    assert "0 done, 1 failed, 2 asked for wrongly" in command("--help")[1]
    status, out, err = command(*words)
    assert status == code, err
    assert (code == 0) == (err == "")
    assert code == 0 or out == "" or words[0] == "derive"  # its numbers come before the picture
    assert "Traceback" not in err
