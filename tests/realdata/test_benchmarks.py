"""The benchmark suite: it runs, its sides train the same, and its page says what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIDES = ("PyTorch eager", "chainrule step", "chainrule fit")


def rows(*words: str) -> list[dict]:
    """What a process of the suite prints."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed.worker", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_sides_take_turns_on_the_same_training(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.speed import page

    words = ("training", "--only", "xor 2-4-1, 3,000", "--rounds", "1", "--sides", *SIDES)
    (row,) = rows(*words)
    assert set(row["sides"]) == set(SIDES)
    losses = [each["loss"] for each in row["sides"].values()]
    assert max(losses) - min(losses) < 1e-5
    text = page.page(
        {
            "heading": "a processor, 2 cores, a date",
            "versions": {"torch": "2"},
            "training": [row],
            "sizes": [row],
            "inference": [],
            "memory": [{"case": "xor", "side": side, "bytes": 1e6} for side in SIDES],
        }
    )
    assert text.splitlines()[2] == "a processor, 2 cores, a date"
    ratio = row["sides"]["PyTorch eager"]["median"] / row["sides"]["chainrule fit"]["median"]
    assert f"**{page.number(ratio)}**" in text
