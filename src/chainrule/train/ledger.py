"""From each step's numbers to each epoch's: the same bits however steps are grouped.

A sum over an epoch is made one step after the other, so it does not matter at which steps the loop
returned to Python, or whether the training was interrupted there and resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..io.arrays import Array
from .examples import Batching
from .layout import Layout


class Ledger:
    """Adds up what the steps report, and keeps the numbers of finished epochs.

    Args:
        layout: what the numbers of a step are; settled by the time that numbers come.
        batching: how an epoch is cut into steps.

    Example:
        >>> ledger = Ledger(Layout(["loss"]), Batching(5, 2))
        >>> ledger.add(np.array([[1.0], [2.0], [3.0]]))
        1
        >>> ledger.series("loss")  # (2 * 1 + 2 * 2 + 1 * 3) / 5
        array([1.8])
    """

    def __init__(self, layout: Layout, batching: Batching) -> None:
        self.step = 0  # steps done of the epoch that is under way; all of them while it is held
        self.epochs = 0  # epochs finished
        self.carry = np.zeros(0)  # sums of the epoch that is under way
        self.rows: list[Array] = []  # collected rows of the epoch that is under way
        self.batching = batching
        self._layout = layout
        self._steps = batching.steps
        self._count = batching.used
        self._weights: Array | None = None
        self._before: dict[str, Array] = {}  # of epochs of earlier sittings
        self._earlier = 0
        self._chunks: list[Array] = []

    @property
    def names(self) -> tuple[str, ...]:
        """What the numbers are called, and those of earlier sittings."""
        return tuple(dict.fromkeys((*self._layout.names, *self._before)))

    @property
    def has_numbers(self) -> bool:
        """Whether any epoch was measured, in this sitting or before."""
        return bool(self._chunks or self._before)

    def resume(
        self,
        past: Mapping[str, Array],
        step: int,
        carry: Array,
        rows: Sequence[Array] = (),
        epochs: int | None = None,
    ) -> None:
        """Go on from recorded epochs, and from the sums and rows of one that was under way.

        Args:
            past: the series of the recorded epochs, by name.
            step: steps done of the epoch under way.
            carry: their sums.
            rows: their collected rows.
            epochs: how many were recorded; None is as many as the series have numbers.
        """
        self._before = {name: np.asarray(series) for name, series in past.items()}
        longest = max(map(len, self._before.values()), default=0)
        self._earlier = self.epochs = longest if epochs is None else epochs
        self.step, self.carry = step, np.array(carry, np.float64)
        self.rows = [np.asarray(part) for part in rows]

    def add(self, numbers: Array, rows: Sequence[Array] = (), *, hold: bool = False) -> int:
        """Take what the next steps report.

        Args:
            numbers: float64[steps, columns].
            rows: the collected rows of these steps, (examples, values) for each reading that has
                such.
            hold: leave an epoch that these steps end unfinished, until :meth:`finish`.

        Returns:
            How many epochs that finished.
        """
        if self._weights is None:
            self._weights = self._column_weights()
        if not len(self.carry):
            self.carry = np.zeros(self._weights.shape[1])
        if rows:
            kept = self.rows or [part[:0] for part in rows]
            self.rows = [np.concatenate(pair) for pair in zip(kept, rows, strict=True)]
        finished = []
        if self.step:
            head, numbers = np.split(numbers, [self._steps - self.step])
            finished += self._partial(head, hold and not len(numbers))
        whole = len(numbers) // self._steps
        if hold and whole and not len(numbers) % self._steps:
            whole -= 1
        if whole:
            block = numbers[: whole * self._steps].reshape(whole, self._steps, -1) * self._weights
            finished.append(_added_up(block) / self._count)
        finished += self._partial(numbers[whole * self._steps :], hold)
        return self._close(finished)

    def finish(self) -> int:
        """Finish the epoch that is held; returns 1."""
        assert self.step == self._steps
        return self._close(self._end())

    def _close(self, finished: list[Array]) -> int:
        done = sum(map(len, finished))
        self._chunks += [self._finish(means) for means in finished]
        self.epochs += done
        return done

    def _end(self) -> list[Array]:
        mean = (self.carry / self._count)[None]
        self.step, self.carry = 0, np.zeros_like(self.carry)
        return [mean]

    def _partial(self, numbers: Array, hold: bool) -> list[Array]:
        """Part of an epoch; returns its means if this part ends it and it is not held."""
        if not len(numbers):
            return []
        assert self._weights is not None
        stop = self.step + len(numbers)
        terms = numbers * self._weights[self.step : stop]
        self.carry = np.add.accumulate(np.vstack([self.carry, terms]), axis=0)[-1]
        self.step = stop
        return [] if hold or stop < self._steps else self._end()

    def _column_weights(self) -> Array:
        """float64[steps, columns]: means over a batch count with the batch's size."""
        weighted = [
            reading.weighted for reading in self._layout.readings for _ in range(reading.columns)
        ]
        rows = self.batching.rows_of_step()
        return np.where(np.asarray(weighted, bool), rows[:, None], 1).astype(np.float64)

    def _finish(self, means: Array) -> Array:
        """From means of columns, [epochs, columns], to the readings' numbers, [epochs, names]."""
        readings = self._layout.readings
        if not any(reading.finish or reading.finish_rows for reading in readings):
            return means
        numbers = np.empty((len(means), len(readings)))
        column = register = 0
        for place, reading in enumerate(readings):
            found = means[:, column : column + reading.columns]
            column += reading.columns
            if reading.finish_rows is not None:
                for epoch in range(len(means)):
                    part = self.rows[register][epoch * self._count : (epoch + 1) * self._count]
                    numbers[epoch, place] = reading.finish_rows(part)
                register += 1
            else:
                numbers[:, place] = found[:, 0] if reading.finish is None else reading.finish(found)
        self.rows = [part[len(means) * self._count :] for part in self.rows]
        return numbers

    def means(self) -> Array:
        """float64[epochs, names]: the numbers of the epochs of this sitting."""
        if len(self._chunks) != 1:
            empty = np.zeros((0, len(self._layout.readings)))
            self._chunks = [np.concatenate([empty, *self._chunks])]
        return self._chunks[0]

    def series(self, name: str) -> Array:
        """float64[epochs]: one of the numbers, NaN for epochs in which it was not measured."""
        if not self._earlier and name in self._layout.names:
            return self.means()[:, self._layout.names.index(name)].copy()
        past = self._before.get(name, np.zeros(0))
        gap = np.full(self._earlier - len(past), np.nan)
        names = self._layout.names
        if name in names:
            fresh = self.means()[:, names.index(name)]
        else:
            fresh = np.full(self.epochs - self._earlier, np.nan)
        return np.concatenate([past, gap, fresh])

    def newest(self) -> dict[str, float]:
        """The numbers of the epoch that was finished last; empty before the first."""
        if not self._chunks or not len(self._chunks[-1]):
            return {name: float(series[-1]) for name, series in self._before.items() if len(series)}
        last = self._chunks[-1][-1]
        return {name: float(number) for name, number in zip(self._layout.names, last, strict=True)}


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


def training_apart(
    history: dict[str, Array], epochs: int
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The series of the training, and those of the validation data without their prefix."""
    prefix = "validation_"
    training = {k: v for k, v in history.items() if not k.startswith(prefix)}
    return training, {
        name.removeprefix(prefix): series[:epochs]
        for name, series in history.items()
        if name.startswith(prefix)
    }
