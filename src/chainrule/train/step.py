"""One training step and one evaluation step, as Python code on tensors.

The same code runs batch after batch on the numpy engine, and once in a trace for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ShapeError
from ..nn.utils import clip_grad_norm_
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
        clip: the largest norm that all gradients together may have; None for any.
        penalty: called with the model; what it returns is added to the loss that is minimised, and
            not to the loss that is reported.
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        optimizer: Any,
        metrics: Sequence[Metric],
        clip: float | None = None,
        penalty: Callable[[Any], Any] | None = None,
    ) -> None:
        self._model, self._loss, self._optimizer = model, loss, optimizer
        self._metrics = tuple(metrics)
        self._clip, self._penalty = clip, penalty
        # Of the newest output; known before the first step where steps are traced.
        self.output_shape: tuple[int, ...] | None = None

    def __call__(self, *batch: Tensor) -> list[Tensor]:
        """Take one step on a batch: inputs, then the target; returns the loss and the metrics."""
        *inputs, target = batch
        self._optimizer.zero_grad()
        output = self._model(*inputs)
        self.output_shape = tuple(output.shape) if isinstance(output, Tensor) else None
        loss = scalar(self._loss(output, target), "the loss")
        self._minimised(loss).backward()
        if self._clip is not None:
            clip_grad_norm_(self._trained(), self._clip)
        self._optimizer.step()
        # Compiled loops keep no gradients; to leave none here either makes the engines alike.
        self._optimizer.zero_grad()
        return [loss.detach(), *measure(self._metrics, output, target)]

    def _minimised(self, loss: Tensor) -> Tensor:
        if self._penalty is None:
            return loss
        total: Tensor = loss + scalar(self._penalty(self._model), "the penalty")
        return total

    def _trained(self) -> list[Tensor]:
        return [
            parameter for group in self._optimizer.param_groups for parameter in group["params"]
        ]


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
