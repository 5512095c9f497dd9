"""`chainrule report RUN --step N`: the examples of a step and what each cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chainrule.cli import main


def write_csv(path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = ["width,height,kind"]
    for number in range(60):
        kind = number % 2
        width, height = draw.normal(size=2) + 3 * kind
        if number == 10:
            width = 400.0  # the example that makes the spike
        rows.append(f"{width:.3f},{height:.3f},{'ab'[kind]}")
    path.write_text("\n".join(rows) + "\n")


def test_a_step_of_a_kept_run_names_its_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAINRULE_HOME", str(tmp_path / "store"))
    write_csv(tmp_path / "kinds.csv")

    def call(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["chainrule", *words])
        try:
            main()
        except SystemExit as leaving:
            return int(leaving.code or 0)
        return 0

    command = ["train", "kinds.csv", "--target", "kind", "--epochs", "3", "--run", "a"]
    assert call(*command, "--batch-size", "16") == 0
    capsys.readouterr()
    found = []
    for step in range(3):
        assert call("report", "a", "--step", str(step)) == 0
        text = capsys.readouterr().out
        assert f"step {step} (epoch 1): 16 training examples, mean loss " in text
        assert ", target a, answer " in text
        found.append(text)
    spike = next(text for text in found if "width +6" in text or "width +7" in text)
    assert "and 6 more" in spike
    assert call("report", "a", "--step", "99") != 0
    assert "no step 99 in this run" in capsys.readouterr().err
