"""Threads that share independent pieces of work; which thread does a piece changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PIECE_SECONDS = 0.1  # a piece of work lasts about so long, so that all threads end together
WAIT_SECONDS = 0.05  # between two looks of the waiting thread, in which Ctrl-C is noticed


class Shares:
    """Hands out ranges of things to do, as long as is good for the threads that ask.

    Args:
        count: how many things there are.
        threads: how many threads ask.

    Example:
        >>> shares = Shares(3, 1)
        >>> [shares.next() for _ in range(4)]
        [(0, 1), (1, 2), (2, 3), (3, 3)]
    """

    def __init__(self, count: int, threads: int) -> None:
        self._count, self._threads = count, threads
        self._next, self._done, self._seconds = 0, 0, 0.0
        self._lock = threading.Lock()

    def next(self) -> tuple[int, int]:
        """The next range; an empty one when all are given away."""
        with self._lock:
            left = self._count - self._next
            size = max(1, min(self._wished(), left // (2 * self._threads)))
            first = self._next
            self._next = min(self._count, first + size)
            return first, self._next

    def _wished(self) -> int:
        if not self._done:
            return 1
        return int(PIECE_SECONDS * self._done / max(self._seconds, 1e-9))

    def note(self, count: int, seconds: float) -> None:
        """Tell that so many were done in a time."""
        with self._lock:
            self._done += count
            self._seconds += seconds

    def stop(self) -> None:
        """Give nothing away any more."""
        with self._lock:
            self._next = self._count

    @property
    def share_done(self) -> float:
        """The part that is done, from 0 to 1."""
        return self._done / self._count if self._count else 1.0


def share_out(
    shares: Shares,
    threads: int,
    work: Callable[[int, int, int], bool],
    watch: Callable[[float], None],
) -> None:
    """Let threads work until nothing is left; the calling thread waits.

    Args:
        shares: hands out the ranges.
        threads: how many.
        work: ``work(thread, first, last)`` does a range; returns whether it was done to its end.
        watch: told a few times a second, on the calling thread, which part is done.

    Raises:
        BaseException: the first error of a thread; the others end after what they are at.
    """
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            first, last = shares.next()
            while first < last:
                started = time.perf_counter()
                if not work(number, first, last):
                    return
                shares.note(last - first, time.perf_counter() - started)
                first, last = shares.next()
        except BaseException as error:
            errors.append(error)
            shares.stop()

    crew = [
        threading.Thread(target=run, args=(number,), name=f"chainrule-crew-{number}", daemon=True)
        for number in range(threads)
    ]
    for thread in crew:
        thread.start()
    try:
        for thread in crew:
            while thread.is_alive():
                thread.join(WAIT_SECONDS)
                watch(shares.share_done)
    finally:
        shares.stop()
        for thread in crew:
            thread.join()
    watch(shares.share_done)
    if errors:
        raise errors[0]
