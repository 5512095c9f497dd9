"""Two processes that train one name, or two names, in one store at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.train import open_run

SOURCE = Path(cr.__file__).resolve().parents[1]
PROGRAM = textwrap.dedent("""
    import sys
    import numpy as np
    import chainrule as cr

    cr.manual_seed(0)
    model = cr.nn.Linear(2, 1)
    trainer = cr.Trainer(
        model, cr.nn.MSELoss(), cr.optim.SGD(model.parameters(), lr=0.01), engine="numpy", seed=0
    )
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        run = trainer.fit((x, x[:, :1]), epochs=30, batch_size=8, run=sys.argv[1], resume=True)
    except cr.errors.StoreError as error:
        print(error)
        sys.exit(3)
    print(run.status)
""")


def together(folder: Path, *names: str) -> list[tuple[int, str]]:
    """Train these names in processes that begin at one moment: exit status and output of each."""
    environment = os.environ | {"CHAINRULE_HOME": str(folder), "PYTHONPATH": str(SOURCE)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, name], env=environment, **pipes)
        for name in names
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    return [(p.returncode, text) for p, text in zip(processes, outputs, strict=True)]


def test_one_name_is_trained_once_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = together(tmp_path, "a", "a")
    assert any(status == 0 for status, _ in ended), ended
    for status, text in ended:
        refused = "is being trained by another process" in text or "already a run 'a'" in text
        assert (status == 0 and "finished" in text) or (status == 3 and refused), text
    monkeypatch.setenv("CHAINRULE_HOME", str(tmp_path))
    run = open_run("a")
    assert run.status == "finished" and run.epochs == 30
    assert len(run.history["loss"]) == 30 and np.isfinite(run.history["loss"]).all()
    assert run.state_dict()["weight"].shape == (1, 2)


def test_two_names_share_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [status for status, _ in together(tmp_path, "a", "b")] == [0, 0]
    monkeypatch.setenv("CHAINRULE_HOME", str(tmp_path))
    np.testing.assert_array_equal(open_run("a").history["loss"], open_run("b").history["loss"])
