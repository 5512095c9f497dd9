"""What the numbers of a step are: which columns belong to which number of the history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..graph.trace import outside
from ..io.arrays import Array
from ..tensor import Tensor
from ..tensor._functions import cat
from ..tensor._grad import no_grad


@dataclass(frozen=True)
class Reading:
    """One number of the history and where a step reports it.

    Attributes:
        name: its name in the history.
        columns: how many 0-d numbers each step reports for it; 0 where rows are collected.
        weighted: whether those are means over the batch; otherwise sums over it.
        finish: from an epoch's means, float64[epochs, columns], to float64[epochs]; None where the
            mean itself is the number.
        finish_rows: from the collected rows of an epoch, (examples, values), to the number.
    """

    name: str
    columns: int = 1
    weighted: bool = True
    finish: Callable[[Array], Array] | None = None
    finish_rows: Callable[[Array], float] | None = None


class Layout:
    """The readings of a step, settled when it first runs or is traced, and its collected rows.

    Rows (a score and a label for each example) are what a metric needs that no sum tells. They are
    kept in registers: tensors of a fixed length to whose end each step appends its batch while the
    oldest rows fall off, so that a compiled loop can run several steps before it is read.

    Args:
        names: what is known of the readings before the first step.

    Example:
        >>> layout = Layout(["loss"])
        >>> layout.keep(0, Tensor(np.array([[1.0], [2.0]])))
        >>> layout.keep(0, Tensor(np.array([[3.0]])))
        >>> layout.registers[0].tolist()
        [[2.0], [3.0]]
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.readings: tuple[Reading, ...] = tuple(Reading(name) for name in names)
        self.registers: list[Tensor] = []
        self._length = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The readings' names, in order."""
        return tuple(reading.name for reading in self.readings)

    @property
    def columns(self) -> int:
        """How many numbers a step reports."""
        return sum(reading.columns for reading in self.readings)

    def reset(self, length: int) -> None:
        """Forget the registers; new ones hold `length` rows, or the first batch's if that is 0."""
        self.registers, self._length = [], length

    def keep(self, place: int, rows: Tensor) -> None:
        """Append a batch's rows (batch, values) to register number `place`."""
        count = rows.shape[0]
        if place == len(self.registers):
            with outside():
                shape = (max(self._length, count), rows.shape[1])
                self.registers.append(Tensor(np.zeros(shape, rows.dtype.np)))
        register = self.registers[place]
        with no_grad():
            found = rows.detach()
            if count < register.shape[0]:
                found = cat([register[count:], found])
            register._rebind(found[-register.shape[0] :].node)
