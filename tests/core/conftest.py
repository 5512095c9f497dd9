"""The command line; full disks and folders that cannot be written, for real where allowed."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chainrule.cli import main

Command = Callable[..., tuple[int, str, str]]
Unwritable = Callable[[Path], contextlib.AbstractContextManager[None]]


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where this process may make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    if not _run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)):
        pytest.skip("making a small file system needs root")
    yield folder
    assert _run("umount", "-l", str(folder))


@pytest.fixture
def unwritable() -> Unwritable:
    """`with unwritable(folder):` nothing in the folder can be written, not even by root."""

    @contextlib.contextmanager
    def protect(folder: Path) -> Iterator[None]:
        if hasattr(os, "geteuid") and os.geteuid() != 0:
            folder.chmod(0o500)
            try:
                yield
            finally:
                folder.chmod(0o700)
            return
        if not _run("mount", "--bind", "-o", "ro", str(folder), str(folder)):
            pytest.skip("root may write anywhere, and a read-only mount is not allowed here")
        try:
            yield
        finally:
            assert _run("umount", "-l", str(folder))

    return protect


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Give `command(words...)`, which runs chainrule: (exit status, output, errors)."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["chainrule", *map(str, words)])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = stop.code or 0  # type: ignore[assignment]
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
