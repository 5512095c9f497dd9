"""What the README shows is what happens."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chainrule.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, re.S))
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - our own text
    printed = capsys.readouterr().out
    assert float(printed.splitlines()[0]) > 0.95
    assert "∂" in printed
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_derivation_of_the_readme_is_what_is_printed():
    shown = re.search(r"\$ chainrule derive \"(.*?)\" (.*?)\n(.*?)```", README, re.S)
    assert shown is not None
    formula, values, expected = shown.groups()
    result = CliRunner().invoke(app, ["derive", formula, *values.split()])
    assert result.output.strip() == expected.strip()


def test_every_command_of_the_readme_is_there():
    help_text = CliRunner().invoke(app, ["--help"]).output
    for command in set(
        re.findall(r"`?chainrule (derive|train|predict|data|runs|resume|report|demo)\b", README)
    ):
        assert command in help_text


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_files_that_the_pages_name_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert ((ROOT / page).parent / link).exists(), link
    for path in re.findall(
        r"`((?:src|tests|docs|benchmarks|engines|graph|tools)/[\w./-]+\.py)`", text
    ):
        assert (ROOT / path).exists() or (ROOT / "src/chainrule" / path).exists(), path
