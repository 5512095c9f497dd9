"""How far a training has come, on the terminal: at most ten times a second, silent elsewhere.

Showing never changes what is computed; without a terminal it costs nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

VALIDATION = "validation_"
INTERVAL = 0.1  # seconds between two drawings


class Progress(Protocol):
    """Somebody who is told how far a training has come."""

    def update(self, epoch: float, step: int, numbers: Mapping[str, float]) -> None:
        """Tell epochs done (with a fraction), steps done in all, and the newest numbers."""

    def note(self, text: str) -> None:
        """Say something worth a line of its own."""

    def close(self) -> None:
        """Draw the last state and leave the terminal as it was."""


class Silent:
    """Shows nothing.

    Example:
        >>> Silent().update(1, 10, {"loss": 0.5})
    """

    def update(self, epoch: float, step: int, numbers: Mapping[str, float]) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Nothing is open."""


class Throttled:
    """Passes on to a drawer what is new, at most every :data:`INTERVAL` seconds.

    Args:
        drawer: has ``draw(epoch, step, numbers)``, ``note(text)`` and ``close()``.
        clock: gives seconds; for tests.

    Example:
        >>> class Drawer:
        ...     def draw(self, epoch, step, numbers): print(epoch, numbers)
        ...     def close(self): print("end")
        >>> now = iter([0.0, 0.01, 0.02, 0.2])
        >>> shown = Throttled(Drawer(), clock=lambda: next(now))
        >>> for epoch in range(1, 4):
        ...     shown.update(epoch, 10 * epoch, {"loss": 1 / epoch})
        1 {'loss': 1.0}
        >>> shown.close()
        3 {'loss': 0.3333333333333333}
        end
    """

    def __init__(self, drawer: Any, clock: Any = time.monotonic) -> None:
        self._drawer = drawer
        self._clock = clock
        self._last = float("-inf")
        self._waiting: tuple[float, int, Mapping[str, float]] | None = None

    def update(self, epoch: float, step: int, numbers: Mapping[str, float]) -> None:
        """Draw, or keep for later when the last drawing was a moment ago."""
        now = self._clock()
        self._waiting = (epoch, step, numbers)
        if now - self._last >= INTERVAL:
            self._draw(now)

    def note(self, text: str) -> None:
        """Say something at once."""
        self._drawer.note(text)

    def close(self) -> None:
        """Draw what is waiting and end."""
        if self._waiting is not None:
            self._draw(self._last)
        self._drawer.close()

    def _draw(self, now: float) -> None:
        assert self._waiting is not None
        self._drawer.draw(*self._waiting)
        self._last, self._waiting = now, None


def make_progress(wanted: bool, epochs: int) -> Progress:
    """A bar on the terminal, or silence where there is none or none is wanted.

    Example:
        >>> type(make_progress(False, 10)).__name__
        'Silent'
    """
    if not wanted or not sys.stderr.isatty():
        return Silent()
    # rich takes longer to import than a small training lasts, so only a terminal pays for it.
    from .bar import Bar

    return Throttled(Bar(epochs))


def describe(numbers: Mapping[str, float]) -> str:
    """The newest numbers in one line; those of the validation data stand behind their own.

    Example:
        >>> describe({"loss": 0.123456, "accuracy": 0.9725, "validation_loss": 12345.6})
        'loss 0.1235 (val. 1.235e+04)  accuracy 97.25 %'
    """
    parts = []
    for name, number in numbers.items():
        if name.startswith(VALIDATION):
            continue
        part = f"{name.replace('_', ' ')} {_number(name, number)}"
        behind = numbers.get(VALIDATION + name)
        parts.append(part if behind is None else f"{part} (val. {_number(name, behind)})")
    return "  ".join(parts)


def _number(name: str, number: float) -> str:
    return f"{100 * number:.2f} %" if name.endswith("accuracy") else f"{number:.4g}"
