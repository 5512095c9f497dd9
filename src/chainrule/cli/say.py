"""What the commands print: plain lines, findings, the next commands to try."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

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
        say(f"  {command}\n      {reason}")
