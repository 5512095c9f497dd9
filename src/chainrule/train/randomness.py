"""A seeded trainer's own random numbers: apart from what others draw, before, while and after."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..tensor._random import Generator, default_generator

# Far from where weights are drawn from the same seed.
START = 1 << 40


class OwnRandomness:
    """Puts a trainer's stream into the default generator while it trains.

    Args:
        seed: the trainer's; None leaves the default generator alone, and draws from it.

    Example:
        >>> import chainrule as cr
        >>> own, other = OwnRandomness(3), OwnRandomness(3)
        >>> with own.active():
        ...     first = cr.rand(2)
        ...     with own.paused():
        ...         elsewhere = cr.rand(2)
        ...     second = cr.rand(2)
        >>> with other.active():
        ...     cr.rand(2).tolist() == first.tolist(), cr.rand(2).tolist() == second.tolist()
        (True, True)
    """

    def __init__(self, seed: int | None) -> None:
        self._own = seed is not None
        idle = Generator()
        idle.set_state({"seed": seed or 0, "counter": START})
        self._idle = idle.place()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """The default generator draws from this stream inside the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Inside :meth:`active`: the default generator is as it was outside."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        if self._own:
            self._idle = default_generator().exchange(self._idle)
