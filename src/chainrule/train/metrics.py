"""What is measured beside the loss, in graph code: an engine computes it inside its loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import OptionError, ShapeError
from ..nn import BCEWithLogitsLoss, CrossEntropyLoss
from ..tensor import Tensor

Measure = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Metric:
    """One number of a batch.

    Attributes:
        name: its name in the history.
        measure: ``(output, target) -> 0-d tensor``.
        weighted: whether it is a mean over the batch; otherwise a sum over it.
    """

    name: str
    measure: Measure
    weighted: bool = True


def correct(output: Tensor, target: Tensor, *, threshold: float = 0.5) -> Tensor:
    """How many of a batch are right, as a 0-d float.

    Args:
        output: (batch, classes) scores with class numbers as target, or the target's own shape.
        target: class numbers (batch,), or zeros and ones of the output's shape.
        threshold: where an output of the target's shape counts as one: 0 for logits.

    Returns:
        Examples whose largest score is that of their class; with several outputs an example, the
        mean of the outputs that are on the right side of the threshold.

    Raises:
        ShapeError: shapes that fit neither form.

    Example:
        >>> import chainrule as cr
        >>> scores = cr.tensor([[2.0, 1.0], [0.0, 3.0]])
        >>> correct(scores, cr.tensor([0, 0])).item()
        1.0
    """
    if output.ndim == target.ndim + 1 and output.shape[0] == target.shape[0]:
        if output.ndim != 2:
            raise _no_accuracy(output, target)
        count: Tensor = (output.argmax(1) == target).to(output.dtype).sum()
        return count
    if output.shape != target.shape:
        raise _no_accuracy(output, target)
    right: Tensor = ((output > threshold) == (target > 0.5)).to(output.dtype).sum()
    each = output.numel() // max(output.shape[0], 1)
    return right if each <= 1 else right / each


def choose_metrics(metrics: Sequence[Any] | None, loss: Any) -> tuple[Metric, ...]:
    """The metrics that a Trainer's argument means.

    Args:
        metrics: names ("accuracy") and functions of (output, target) that return a mean over the
            batch; None is accuracy where the loss is one of classification.
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
        classifies = isinstance(loss, (CrossEntropyLoss, BCEWithLogitsLoss))
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
    if metric == "accuracy":
        threshold = 0.0 if isinstance(loss, BCEWithLogitsLoss) else 0.5
        return Metric("accuracy", lambda o, t: correct(o, t, threshold=threshold), weighted=False)
    if callable(metric):
        return Metric(getattr(metric, "__name__", type(metric).__name__), metric)
    raise OptionError(
        f"there is no metric {metric!r}.\n"
        "  expected: 'accuracy', or a function (output, target) -> 0-d tensor"
    )


def _no_accuracy(output: Tensor, target: Tensor) -> ShapeError:
    return ShapeError(
        "accuracy does not know how to compare these.\n"
        f"  given: output {tuple(output.shape)}, target {tuple(target.shape)}\n"
        "  expected: output (batch, classes) with target (batch,), or equal shapes\n"
        "  fix: reshape one of them, or leave 'accuracy' out of metrics"
    )
