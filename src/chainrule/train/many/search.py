"""Searches: settings drawn at random, trained side by side at equal budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...errors import OptionError
from ...random import stream_key, uniforms
from .runs import Runs


class Draw(Protocol):
    """A way to draw a setting."""

    def values(self, uniform: np.ndarray[Any, Any]) -> list[Any]:
        """Settings, one for each of numbers that are uniform in [0, 1)."""


@dataclass(frozen=True)
class Uniform:
    """Numbers between two ends, every one as likely.

    Raises:
        OptionError: the ends are not in order.

    Example:
        >>> Uniform(0.0, 2.0).values(np.array([0.0, 0.5]))
        [0.0, 1.0]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_ends("Uniform", self.low, self.high, -math.inf)

    def values(self, uniform: np.ndarray[Any, Any]) -> list[Any]:
        """Settings, one for each of numbers that are uniform in [0, 1)."""
        found: list[Any] = (self.low + (self.high - self.low) * uniform).tolist()
        return found


@dataclass(frozen=True)
class LogUniform:
    """Numbers between two ends above 0 whose logarithm is uniform: each power of ten as likely.

    Source: Bergstra and Bengio, Random Search for Hyper-Parameter Optimization (JMLR 2012).

    Raises:
        OptionError: the ends are not in order, or not above 0.

    Example:
        >>> [round(value, 6) for value in LogUniform(0.01, 100.0).values(np.array([0.0, 0.5]))]
        [0.01, 1.0]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_ends("LogUniform", self.low, self.high, 0.0)

    def values(self, uniform: np.ndarray[Any, Any]) -> list[Any]:
        """Settings, one for each of numbers that are uniform in [0, 1)."""
        ends = math.log(self.low), math.log(self.high)
        found: list[Any] = np.exp(ends[0] + (ends[1] - ends[0]) * uniform).tolist()
        return found


@dataclass(frozen=True)
class Choice:
    """One of several values, each as likely.

    Example:
        >>> Choice([0.0, 0.9]).values(np.array([0.1, 0.7]))
        [0.0, 0.9]
    """

    of: Sequence[Any]

    def values(self, uniform: np.ndarray[Any, Any]) -> list[Any]:
        """Settings, one for each of numbers that are uniform in [0, 1)."""
        return [self.of[int(number * len(self.of))] for number in uniform]


def _check_ends(what: str, low: float, high: float, least: float) -> None:
    if not (least < low < high < math.inf):
        above = " above 0" if least == 0 else ""
        raise OptionError(
            f"{what} takes two ends{above}, the smaller first.\n  given: {low}, {high}"
        )


def search(
    trainer: Any,
    train: Any,
    validation: Any = None,
    *,
    trials: int,
    draw_seed: int = 0,
    **given: Any,
) -> Runs:
    """Random search: draw settings, train with all of them at once, at equal budget.

    Args:
        trainer: whose ``fit_many`` trains.
        train, validation: as ``fit_many`` takes them.
        trials: how many settings are drawn.
        draw_seed: of the draws; the first settings of a longer search are those of a shorter one.
        given: options of the optimizer as :class:`Uniform`, :class:`LogUniform` or
            :class:`Choice`; everything else goes to ``fit_many`` as it is.

    Returns:
        The runs; ``runs.best("validation_loss")`` is the best of them.

    Raises:
        OptionError: nothing is drawn, or ``fit_many`` refuses a setting.

    Example:
        >>> import chainrule as cr
        >>> from chainrule.train import LogUniform, search
        >>> _ = cr.manual_seed(0)
        >>> model = cr.nn.Linear(1, 1)
        >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), optimizer, progress=False)
        >>> x = np.linspace(0, 1, 8)[:, None]
        >>> runs = search(trainer, (x, 2 * x), trials=16, epochs=20, lr=LogUniform(1e-3, 1.0))
        >>> bool(runs.settings["lr"][runs.best()] > 0.1)
        True
    """
    if isinstance(trials, bool) or not isinstance(trials, (int, np.integer)) or trials < 1:
        raise OptionError(f"trials must be a whole number of 1 or more.\n  given: {trials!r}")
    drawn = {
        name: each.values(
            uniforms(stream_key(draw_seed, f"search {name}"), 0, int(trials)).astype(np.float64)
        )
        for name, each in given.items()
        if isinstance(each, (Uniform, LogUniform, Choice))
    }
    if not drawn:
        raise OptionError(
            "search was given nothing to draw.\n  fix: search(..., lr=LogUniform(1e-4, 1.0))"
        )
    runs: Runs = trainer.fit_many(train, validation, **{**given, **drawn})
    return runs
