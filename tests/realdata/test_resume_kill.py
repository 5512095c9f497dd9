"""Trainings on real digits, killed with SIGKILL and resumed: the bits of the unbroken run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "kill_resume.py"
SOURCE = SCRIPT.parents[1] / "src"


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize(("engine", "epochs"), [("numpy", 15), ("native", 1500)])
def test_killed_and_resumed_gives_the_same_bits(engine: str, epochs: int) -> None:
    pytest.importorskip("sklearn")
    command = [sys.executable, str(SCRIPT), "--kills", "3", "--engine", engine]
    command += ["--epochs", str(epochs), "--seed", "7"]
    path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.splitlines()[-1]
    assert "3 of 3 resumed to the same bits" in summary
    killed = re.search(r"(\d+) kills", summary)
    assert killed is not None
    assert int(killed[1]) >= 2
