"""How many threads run: all of them, or one while others use the processors.

A neighbour on one of the processors makes a team wait for its slowest member, so that one thread
alone is faster. The bits are the same for any number, so it may be chosen while the loop runs: by
the clock, and by how much of that time the team's members were let run at all. The second tells a
busy neighbour from a slow moment at once, whatever the machine did before.

Steps are run in pieces of a fifth of a second at most. Between two of them Python sees signals, so
Ctrl-C ends a long plan soon, with the state as a step left it.
"""

from __future__ import annotations

TRIAL_SECONDS = 0.003  # a first piece, long enough to be judged
PIECE_SECONDS = 0.2  # the longest piece
_FIRST_STEPS = 4  # of a loop whose speed is not known yet
_SHARE = 0.75  # a member that gets less of its processor shares it with others
_REST = (0.02, 0.5)  # seconds that one thread runs after that, the first time and at most
_WINDOW = 0.03  # seconds over which a hindered team is judged: one late step says little
_AGAIN = 2.0  # seconds after which one thread is tried again, though all is well


class Pace:
    """Chooses between all threads and one.

    Args:
        threads: the most threads.
        fixed: whether to use that number always.

    Attributes:
        pinned: whether each member should keep to a processor of its own. A team that must run
            beside others finds out by trying which way it is hindered less.

    Example:
        >>> pace = Pace(2, fixed=False)
        >>> pace.next(1000)
        (2, 4)
        >>> pace.note(2, 4, 0.004)  # cold: says only how long a trial should be
        >>> pace.next(1000)
        (2, 3)
        >>> pace.note(2, 3, 0.0015)
        >>> pace.next(1000)
        (1, 3)
        >>> pace.note(1, 3, 0.003)
        >>> pace.next(1000)
        (2, 12)
        >>> pace.note(2, 12, 0.030, share=0.4)  # somebody else runs on our processors
        >>> pace.next(1000)
        (1, 20)
    """

    def __init__(self, threads: int, fixed: bool) -> None:
        self.counts = (threads,) if fixed or threads == 1 else (threads, 1)
        self.pinned = True
        self._seconds: dict[int, float] = {}  # a step's, by the number of threads
        self._warm = False
        self._piece = TRIAL_SECONDS
        self._left = 0.0  # seconds that one thread shall still run
        self._rest = _REST[0]
        self._since = 0.0  # seconds since one thread was tried
        self._recent = 0.0, 0.0  # seconds and steps of the team, the older ones halved

    def next(self, steps: int) -> tuple[int, int]:
        """How many threads to use, and for how many of the steps that are left."""
        most = self.counts[0]
        if len(self.counts) == 1:
            return most, self._fitting(most, PIECE_SECONDS, steps)
        if self._left > 0:
            return 1, self._fitting(1, min(self._left, PIECE_SECONDS), steps)
        if self._warm and (1 not in self._seconds or self._since > _AGAIN):
            return 1, self._fitting(1, TRIAL_SECONDS, steps)
        return most, self._fitting(most, self._piece, steps)

    def note(self, threads: int, steps: int, seconds: float, share: float = 1.0) -> None:
        """Take in what a piece took.

        Args:
            threads, steps: what ran.
            seconds: how long.
            share: the part of that time that the most hindered member was let run.
        """
        if not steps:
            return
        each = seconds / steps
        if len(self.counts) == 1:
            self.pinned ^= share < _SHARE
            self._seconds[threads] = each
            return
        if threads == 1:
            self._note_one(each, seconds)
            return
        cold = threads not in self._seconds
        self._seconds[threads] = each
        if cold and share >= _SHARE:
            return
        self._warm = True
        self._since += seconds
        spent, ran = self._recent[0] + seconds, self._recent[1] + steps
        shrink = 0.5 if spent > _WINDOW else 1.0
        self._recent = shrink * spent, shrink * ran
        # A team that is hindered may still be faster than one thread, which others hinder too.
        if share < _SHARE:
            slower = spent / ran > self._seconds.get(1, 0.0)
        else:
            slower = each > self._seconds.get(1, each)
        if slower:
            self._left, self._piece, self._recent = self._rest, TRIAL_SECONDS, (0.0, 0.0)
            self._rest = min(2 * self._rest, _REST[1])
        else:
            self._rest = max(self._rest / 2, _REST[0])
            self._piece = min(2 * self._piece, PIECE_SECONDS)

    def _note_one(self, each: float, seconds: float) -> None:
        known = self._seconds.get(1, each)
        self._seconds[1] = 0.5 * (known + each) if self._left > 0 else each
        self._left -= seconds
        self._since = 0.0

    def _fitting(self, threads: int, seconds: float, steps: int) -> int:
        """The steps that fit into a time, at least one."""
        known = self._seconds.get(threads)
        if known is None and threads == 1 and self._seconds:
            known = 2 * self._seconds[self.counts[0]]
        count = _FIRST_STEPS if known is None else int(seconds / known + 0.5)
        return max(1, min(steps, count))
