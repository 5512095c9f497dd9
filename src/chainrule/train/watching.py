"""What is watched while a training runs: statistics of layers, parameters and gradients."""

from __future__ import annotations

from typing import Any

from ..tensor._watching import Columns as Columns
from ..tensor._watching import Watch as Watch
from ..tensor._watching import Watched as Watched
from ..tensor._watching import as_watch as as_watch
from ..tensor._watching import interval_of


def interval(watch: Watch | None, model: Any, inputs: int) -> int | None:
    """Steps from one look to the next; None where nothing is watched.

    Args:
        watch: what is watched.
        model: its size decides where `watch` does not.
        inputs: numbers in a batch of inputs.

    Example:
        >>> import chainrule as cr
        >>> interval(Watch(), cr.nn.Linear(2, 4), 8), interval(Watch(), cr.nn.Linear(784, 100), 784)
        (1000, 100)
    """
    if watch is None:
        return None
    return interval_of(watch, inputs + sum(one.numel() for one in model.parameters()))
