"""The page about ways of training: its code runs and prints what it says, and its names exist."""

import re
from pathlib import Path

import pytest

import chainrule as cr

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "regimes.md").read_text(encoding="utf-8")


def test_the_code_runs_and_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "page"}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(compile(code, "regimes.md", "exec"), names)  # noqa: S102 - our own text
        said = [line[2:] for line in code.splitlines() if line.startswith("# ")]
        assert capsys.readouterr().out.splitlines() == said


def test_the_names_exist() -> None:
    for path in set(re.findall(r"`((?:data|train|nn)\.[\w.]+)", PAGE)):
        found: object = cr
        for part in path.split("."):
            found = getattr(found, part)
    for file in re.findall(r"`((?:tests|docs|src)/[\w/]+\.\w+)`", PAGE):
        assert (ROOT / file).exists()
