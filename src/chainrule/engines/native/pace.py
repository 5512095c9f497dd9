"""How many threads run: chosen by what the last steps took.

A neighbour on one of the processors makes a team wait for its slowest member, so that one thread
alone is faster. The bits are the same for any number, so it may be chosen by the clock.
"""

from __future__ import annotations

TRIAL_SECONDS = 0.003  # how long each number of threads is tried
PIECE_SECONDS = 0.2  # how long the better one runs before both are tried again
_FIRST_STEPS = 4  # of a loop whose speed is not known yet


class Pace:
    """Chooses between all threads and one.

    Args:
        threads: the most threads.
        fixed: whether to use that number always.

    Example:
        >>> pace = Pace(2, fixed=False)
        >>> pace.next(1000)
        (2, 4)
        >>> pace.note(2, 4, 0.004)  # cold: says only how long a trial should be
        >>> pace.next(1000)
        (2, 3)
        >>> pace.note(2, 3, 0.003)
        >>> pace.next(1000)
        (1, 4)
        >>> pace.note(1, 4, 0.002)
        >>> pace.next(1000)
        (1, 6)
        >>> pace.note(1, 6, 0.003)
        >>> pace.next(1000)
        (1, 400)
    """

    def __init__(self, threads: int, fixed: bool) -> None:
        self.counts = (threads,) if fixed or threads == 1 else (threads, 1)
        self._seconds: dict[int, float] = {}
        self._untried: list[int] = list(self.counts)

    def next(self, steps: int) -> tuple[int, int]:
        """How many threads to use, and for how many of the steps that are left."""
        if len(self.counts) == 1:
            return self.counts[0], steps
        if self._untried:
            return self._untried[0], self._fitting(self._untried[0], TRIAL_SECONDS, steps)
        best = min(self.counts, key=self._seconds.__getitem__)
        return best, self._fitting(best, PIECE_SECONDS, steps)

    def note(self, threads: int, steps: int, seconds: float) -> None:
        """Take in what a piece took."""
        if len(self.counts) == 1 or not steps:
            return
        each = seconds / steps
        cold = threads not in self._seconds
        if threads in self._untried:
            # The newest trial counts alone: neighbours come and go.
            self._seconds[threads] = each
            if not cold:
                self._untried.remove(threads)
            return
        self._seconds[threads] = 0.5 * (self._seconds[threads] + each)
        if seconds > PIECE_SECONDS / 2:
            self._untried = list(self.counts)

    def _fitting(self, threads: int, seconds: float, steps: int) -> int:
        """The steps that fit into a time, at least one."""
        known = self._seconds.get(threads)
        count = _FIRST_STEPS if known is None else int(seconds / known + 0.5)
        return max(1, min(steps, count))
