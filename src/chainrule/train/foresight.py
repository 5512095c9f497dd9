"""Learning rates of epochs to come, asked of the schedule before they are run.

The library's own schedules follow from the epoch's number alone, so a plan of many epochs takes its
rates along as a table. A schedule that follows what is measured, or the user's code, is asked after
each epoch instead.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import OptionError
from ..io.arrays import Array
from ..optim import lr_scheduler as schedules

FORESEEN = (
    schedules.StepLR,
    schedules.MultiStepLR,
    schedules.ConstantLR,
    schedules.LinearLR,
    schedules.ExponentialLR,
    schedules.PolynomialLR,
    schedules.CosineAnnealingLR,
    schedules.CosineAnnealingWarmRestarts,
    schedules.OneCycleLR,
    schedules.CyclicLR,
)
_COMPOSED = (schedules.SequentialLR, schedules.ChainedScheduler)


def is_foreseen(scheduler: Any) -> bool:
    """Whether the rates of a schedule are known before the epochs are run.

    Example:
        >>> import chainrule as cr
        >>> optimizer = cr.optim.SGD([cr.zeros(1, requires_grad=True)], lr=1.0)
        >>> is_foreseen(schedules.StepLR(optimizer, 2))
        True
        >>> is_foreseen(schedules.LambdaLR(optimizer, lambda epoch: 0.5))
        False
    """
    if type(scheduler) in _COMPOSED:
        return all(map(is_foreseen, scheduler.schedulers))
    return type(scheduler) in FORESEEN


class Foresight:
    """Moves a schedule ahead over the epochs of a plan, and back where fewer were run.

    Args:
        scheduler: one that :func:`is_foreseen`.
        read: gives the present run-time numbers.

    Example:
        >>> import chainrule as cr
        >>> optimizer = cr.optim.SGD([cr.zeros(1, requires_grad=True)], lr=1.0)
        >>> ahead = Foresight(
        ...     schedules.ExponentialLR(optimizer, 0.5),
        ...     lambda: [optimizer.param_groups[0]["lr"]])
        >>> ahead.table(3).tolist()
        [[1.0], [0.5], [0.25]]
        >>> ahead.go_to(1)
        >>> optimizer.param_groups[0]["lr"]
        0.5
    """

    def __init__(self, scheduler: Any, read: Callable[[], Sequence[float]]) -> None:
        self._scheduler, self._read = scheduler, read
        self._groups = scheduler.optimizer.param_groups
        self._before = (
            copy.deepcopy(scheduler.state_dict()),
            [{k: v for k, v in group.items() if k != "params"} for group in self._groups],
        )
        self._at = 0  # epochs that the schedule stands ahead of the plan's beginning

    def table(self, epochs: int) -> Array:
        """float64[epochs, numbers]: the run-time numbers of each of the next epochs.

        There are fewer where the schedule ends before: it says so when it is moved on.
        """
        rows = [self._read()]
        try:
            for _ in range(epochs - 1):
                self._scheduler.step()
                rows.append(self._read())
        except OptionError:
            self._at = epochs
            self.go_to(len(rows) - 1)
        self._at = len(rows) - 1
        return np.array(rows, np.float64)

    def go_to(self, epochs: int) -> None:
        """Put the schedule to where it stands after so many of the epochs."""
        if epochs < self._at:
            state, settings = self._before
            self._scheduler.load_state_dict(copy.deepcopy(state))
            for group, before in zip(self._groups, settings, strict=True):
                group.update(before)
            self._at = 0
        for _ in range(epochs - self._at):
            self._scheduler.step()
        self._at = epochs
