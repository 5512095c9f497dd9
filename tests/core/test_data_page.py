"""The page about data: its code runs and prints what it says, and its names exist."""

import re
from pathlib import Path

import pytest

import chainrule as cr

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_code_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(compile(code, "data.md", "exec"), names)  # noqa: S102 - our own text
        said = [line[2:] for line in code.splitlines() if line.startswith("# ")]
        assert capsys.readouterr().out.splitlines() == said


def test_the_names_exist() -> None:
    for path in set(re.findall(r"`data\.([\w.]+)", PAGE)):
        found: object = cr.data
        for part in path.split("."):
            found = getattr(found, part)
    for file in re.findall(r"`((?:tests|docs|src)/[\w/]+\.\w+)`", PAGE):
        assert (Path(__file__).resolve().parents[2] / file).exists()
