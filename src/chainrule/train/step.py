"""One training step and one evaluation step, as Python code on tensors.

The same code runs batch after batch on the numpy engine, and once in a trace for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ShapeError
from ..tensor import Tensor
from ..tensor._grad import no_grad
from .metrics import Metric


class TrainingStep:
    """Forward, loss, backward, update, metrics.

    Args:
        model: called with the inputs of a batch.
        loss: called with the output and the target; returns a 0-d tensor.
        optimizer: has ``zero_grad`` and ``step``.
        metrics: what is measured beside the loss, on the output before the update.
    """

    def __init__(self, model: Any, loss: Any, optimizer: Any, metrics: Sequence[Metric]) -> None:
        self._model, self._loss, self._optimizer = model, loss, optimizer
        self._metrics = tuple(metrics)

    def __call__(self, *batch: Tensor) -> list[Tensor]:
        """Take one step on a batch: inputs, then the target; returns the loss and the metrics."""
        *inputs, target = batch
        self._optimizer.zero_grad()
        output = self._model(*inputs)
        loss = scalar(self._loss(output, target), "the loss")
        loss.backward()
        self._optimizer.step()
        # Compiled loops keep no gradients; to leave none here either makes the engines alike.
        self._optimizer.zero_grad()
        return [loss.detach(), *measure(self._metrics, output, target)]


class EvaluationStep:
    """Forward, loss and metrics, without derivatives; the model must be in evaluation mode."""

    def __init__(self, model: Any, loss: Any, metrics: Sequence[Metric]) -> None:
        self._model, self._loss, self._metrics = model, loss, tuple(metrics)

    def __call__(self, *batch: Tensor) -> list[Tensor]:
        """The loss and the metrics of a batch: inputs, then the target."""
        *inputs, target = batch
        with no_grad():
            output = self._model(*inputs)
            loss = scalar(self._loss(output, target), "the loss")
            return [loss, *measure(self._metrics, output, target)]


def measure(metrics: Sequence[Metric], output: Tensor, target: Tensor) -> list[Tensor]:
    """The metrics of a batch: 0-d tensors."""
    with no_grad():
        found = output.detach()
        return [
            scalar(metric.measure(found, target), f"the metric {metric.name!r}")
            for metric in metrics
        ]


def scalar(value: Any, what: str) -> Tensor:
    """`value`, if it is one number.

    Raises:
        ShapeError: it has several elements, or is no tensor.

    Example:
        >>> scalar(Tensor([1.0, 2.0]), "the loss")
        Traceback (most recent call last):
        ...
        chainrule.errors.ShapeError: the loss must be one number for a batch.
          given: a tensor of shape (2,)
          fix: take the mean over the batch, for example reduction='mean' or .mean()
    """
    if isinstance(value, Tensor) and value.numel() == 1:
        return value if value.ndim == 0 else value.reshape(())
    given = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
    raise ShapeError(
        f"{what} must be one number for a batch.\n  given: {given}\n"
        "  fix: take the mean over the batch, for example reduction='mean' or .mean()"
    )
