"""What the commands print: plain lines, findings, the next commands to try."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from ..train import Finding

WIDTH = 96


def say(text: str) -> None:
    """Print at once, also where the output is a pipe."""
    print(text, flush=True)


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
