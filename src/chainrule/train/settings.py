"""Whether a run is gone on with under the settings that it began with."""

from __future__ import annotations

from typing import Any

from ..errors import StoreError


def check_same(before: dict[str, Any], now: dict[str, Any], name: str) -> None:
    """Refuse to go on with other settings than those that the run began with.

    Args:
        before: the recorded settings.
        now: the present ones; only what decides the bits is compared.
        name: the run's name.

    Raises:
        StoreError: lists what differs.

    Example:
        >>> check_same({"batch size": 10}, {"batch size": 10}, "a")
        >>> check_same({"batch size": 10}, {"batch size": 20}, "a")
        Traceback (most recent call last):
        ...
        chainrule.errors.StoreError: run 'a' was begun with other settings, ...
          batch size: was 10, is 20
          fix: set them as they were, or train under another name
    """
    lines = [
        f"  {key}: was {before[key]}, is {now[key]}"
        for key in now
        if key in before and before[key] != now[key]
    ]
    if lines:
        raise StoreError(
            f"run {name!r} was begun with other settings, so going on would not continue it.\n"
            + "\n".join(lines)
            + "\n  fix: set them as they were, or train under another name"
        )
