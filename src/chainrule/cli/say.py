"""What the commands print: plain lines, findings, the next commands to try."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..explain._view import plain
from ..train import Finding

WIDTH = 96


@contextlib.contextmanager
def document(wanted: bool) -> Iterator[Callable[[Any], None]]:
    """Run a command for a program that reads: one JSON document out, all that is said to errors.

    Args:
        wanted: whether `--json` was given; otherwise nothing changes and no document is written.

    Yields:
        What to call with the document, at most once; numbers that JSON lacks become "nan", "inf".
    """
    if not wanted:
        yield lambda _: None
        return
    out = sys.stdout

    def write(content: Any) -> None:
        print(json.dumps(plain(content), indent=1, ensure_ascii=False), file=out, flush=True)

    with contextlib.redirect_stdout(sys.stderr):
        yield write


def say(text: str) -> None:
    """Print at once, also where the output is a pipe."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Print a message that is no part of the result."""
    print(text, file=sys.stderr, flush=True)


def findings_text(found: Sequence[Finding]) -> str:
    """Write findings for reading: the kind and place, why, and what to do.

    Example:
        >>> half = Finding("dead-units", "warning", "0", {}, "Half are.", "Lower lr.")
        >>> print(findings_text([half]))
        1 finding:
          warning  dead-units in 0
            Half are.
            Lower lr.
        >>> findings_text([])
        'no findings.'
    """
    if not found:
        return "no findings."
    lines = [f"{len(found)} finding{'s' if len(found) > 1 else ''}:"]
    for each in found:
        place = f" in {each.where}" if each.where else ""
        lines.append(f"  {each.severity}  {each.kind}{place}")
        for sentence in (each.why, each.remedy):
            lines += textwrap.wrap(sentence, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def next_commands(commands: Sequence[tuple[str, str]]) -> None:
    """Print commands to try next, each with its reason."""
    if commands:
        say("next:")
    for command, reason in commands:
        if command.startswith("chainrule "):
            command = program() + command.removeprefix("chainrule")
        say(f"  {command}\n      {reason}")


def program() -> str:
    """Name this program as the user can call it: by its path where it is not on the PATH."""
    here = Path(sys.argv[0])
    if here.name != "chainrule" or shutil.which("chainrule"):
        return "chainrule"
    return os.path.relpath(here)
