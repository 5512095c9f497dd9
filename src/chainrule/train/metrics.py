"""What is measured beside the loss, in graph code: an engine computes it inside its loop.

A metric that is a mean, or a formula of sums (counts of right and wrong answers, sums of squares),
is added up step by step. One that is not (the area under the ROC curve) has its rows collected and
is computed exactly at the end of the epoch. Definitions and averages are scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import OptionError
from ..io.arrays import Array
from ..nn import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss
from ..tensor import Tensor


@dataclass(frozen=True)
class Sums:
    """Sums over a batch, 0-d tensors.

    `finish` takes them divided by the number of examples, float64[epochs, sums].
    """

    numbers: tuple[Tensor, ...]
    finish: Callable[[Array], Array] | None = None


@dataclass(frozen=True)
class Rows:
    """Values of each example, (batch, values); `finish` takes those of a whole epoch."""

    values: Tensor
    finish: Callable[[Array], float]


Measured = Tensor | Sums | Rows
Measure = Callable[[Tensor, Tensor], Measured]


@dataclass(frozen=True)
class Metric:
    """One number of a training or an evaluation.

    Attributes:
        name: its name in the history.
        measure: ``(output, target)`` -> :class:`Sums`, :class:`Rows`, or a 0-d tensor, which is
            the mean over the batch.

    Example:
        >>> import chainrule as cr
        >>> Metric("largest", lambda output, target: output.max()).name
        'largest'
    """

    name: str
    measure: Measure

    def __call__(self, output: Tensor, target: Tensor) -> Measured:
        """Measure one batch."""
        return self.measure(output, target)


def choose_metrics(metrics: Sequence[Any] | None, loss: Any) -> tuple[Metric, ...]:
    """The metrics that a Trainer's argument means.

    Args:
        metrics: names, :class:`Metric`\\ s, and functions of (output, target) that return a mean
            over the batch; None is accuracy where the loss is one of classification.
        loss: the loss function, which says where "one" begins.

    Raises:
        OptionError: a name that is not known, or two metrics of one name.

    Example:
        >>> import chainrule as cr
        >>> [metric.name for metric in choose_metrics(None, cr.nn.CrossEntropyLoss())]
        ['accuracy']
        >>> choose_metrics(None, cr.nn.MSELoss())
        ()
    """
    if metrics is None:
        classifies = isinstance(loss, (CrossEntropyLoss, BCEWithLogitsLoss, BCELoss))
        metrics = ("accuracy",) if classifies else ()
    if isinstance(metrics, str) or callable(metrics):
        metrics = (metrics,)
    chosen = tuple(_metric(metric, loss) for metric in metrics)
    names = ["loss", *(metric.name for metric in chosen)]
    if len(set(names)) < len(names):
        raise OptionError(
            f"every metric needs its own name.\n  given: {', '.join(names[1:])} (and 'loss')\n"
            "  fix: give the functions different __name__s"
        )
    return chosen


def _metric(metric: Any, loss: Any) -> Metric:
    # The measures are written with Sums and Rows, so they are imported here.
    from .measures import BY_NAME

    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str) and metric in BY_NAME:
        return BY_NAME[metric](0.0 if isinstance(loss, BCEWithLogitsLoss) else 0.5)
    if callable(metric):
        return Metric(getattr(metric, "__name__", type(metric).__name__), metric)
    raise OptionError(
        f"there is no metric {metric!r}.\n"
        f"  expected: one of {', '.join(BY_NAME)}, or a function (output, target) -> 0-d tensor"
    )
