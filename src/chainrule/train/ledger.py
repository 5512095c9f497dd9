"""From each step's numbers to each epoch's means: the same bits however steps are grouped.

A sum over an epoch is made one step after the other, so it does not matter at which steps the loop
returned to Python, or whether the training was interrupted there and resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..io.arrays import Array
from .examples import Batching


class Ledger:
    """Adds up what the steps report, and keeps the means of finished epochs.

    Args:
        names: what the numbers of a step are called, in their order.
        weighted: for each number, whether it is a mean over the batch (then it counts with the
            batch's size) or already a sum over it.
        batching: how an epoch is cut into steps.

    Example:
        >>> ledger = Ledger(["loss"], [True], Batching(5, 2))
        >>> ledger.add(np.array([[1.0], [2.0], [3.0]]))
        1
        >>> ledger.series("loss")  # (2 * 1 + 2 * 2 + 1 * 3) / 5
        array([1.8])
    """

    def __init__(self, names: Sequence[str], weighted: Sequence[bool], batching: Batching) -> None:
        self.names = tuple(names)
        self.step = 0  # steps done of the epoch that is under way
        self.epochs = 0  # epochs finished
        self.carry = np.zeros(len(names))  # sums of the epoch that is under way
        self.batching = batching
        self._steps = batching.steps
        self._count = batching.used
        rows = batching.rows_of_step()
        self._weights = np.where(np.asarray(weighted, bool), rows[:, None], 1).astype(np.float64)
        self._chunks: list[Array] = []

    def resume(self, means: Mapping[str, Array], step: int, carry: Array) -> None:
        """Go on from recorded epochs and the sums of one that was under way."""
        past = np.stack([means.get(name, np.zeros(0)) for name in self.names], axis=1)
        self._chunks, self.epochs = [past], len(past)
        self.step, self.carry = step, np.array(carry, np.float64)

    def add(self, numbers: Array) -> int:
        """Take the numbers of the next steps: float64[steps, names]; returns epochs finished."""
        finished = []
        if self.step:
            head, numbers = np.split(numbers, [self._steps - self.step])
            finished += self._partial(head)
        whole = len(numbers) // self._steps
        if whole:
            block = numbers[: whole * self._steps].reshape(whole, self._steps, -1) * self._weights
            finished.append(_added_up(block) / self._count)
        finished += self._partial(numbers[whole * self._steps :])
        self._chunks += finished
        done = sum(map(len, finished))
        self.epochs += done
        return done

    def _partial(self, numbers: Array) -> list[Array]:
        """Part of an epoch; returns its mean if this part ends it."""
        if not len(numbers):
            return []
        stop = self.step + len(numbers)
        terms = numbers * self._weights[self.step : stop]
        self.carry = np.add.accumulate(np.vstack([self.carry, terms]), axis=0)[-1]
        self.step = stop
        if stop < self._steps:
            return []
        mean = (self.carry / self._count)[None]
        self.step, self.carry = 0, np.zeros_like(self.carry)
        return [mean]

    def means(self) -> Array:
        """float64[epochs, names]: the means of all finished epochs."""
        if len(self._chunks) != 1:
            empty = np.zeros((0, len(self.names)))
            self._chunks = [np.concatenate([empty, *self._chunks])]
        return self._chunks[0]

    def series(self, name: str) -> Array:
        """float64[epochs]: one of them."""
        return self.means()[:, self.names.index(name)].copy()

    def newest(self) -> dict[str, float]:
        """The means of the epoch that was finished last; empty before the first."""
        if not self._chunks or not self.epochs:
            return {}
        last = self._chunks[-1][-1]
        return {name: float(number) for name, number in zip(self.names, last, strict=True)}


def _added_up(block: Array) -> Array:
    """The sums over the middle axis, one step after the other, by the shorter way."""
    epochs, steps, _ = block.shape
    if steps > epochs:
        total: Array = np.add.accumulate(block, axis=1)[:, -1]
        return total
    total = block[:, 0]
    for step in range(1, steps):
        total = total + block[:, step]
    return total
