"""One training step and one evaluation step, as Python code on tensors.

The same code runs batch after batch on the numpy engine, and once in a trace for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import OptionError, ShapeError
from ..nn.utils import clip_grad_norm_
from ..tensor import Tensor
from ..tensor._grad import no_grad
from .layout import Layout, Reading
from .metrics import Metric, Rows, Sums
from .weights import WeightedLoss, ratio

CustomStep = Callable[[Any, tuple[Tensor, ...]], Any]


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
        custom: called with `owner` and the batch in the place of model and loss.
        owner: the trainer.
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        optimizer: Any,
        metrics: Sequence[Metric],
        clip: float | None = None,
        penalty: Callable[[Any], Any] | None = None,
        custom: CustomStep | None = None,
        owner: Any = None,
    ) -> None:
        self._model, self._loss, self._optimizer = model, loss, optimizer
        self._metrics = tuple(metrics)
        self._clip, self._penalty = clip, penalty
        self._custom, self._owner = custom, owner
        self.layout = Layout(["loss", *(() if custom else (metric.name for metric in metrics))])
        self._weighted: WeightedLoss | None = None
        # Of the newest output; known before the first step where steps are traced.
        self.output_shape: tuple[int, ...] | None = None

    def expect_weights(self, expected: bool) -> None:
        """Say whether batches hold a weight of each example before the target.

        Raises:
            OptionError: the loss is not one of each example.
        """
        if expected and self._custom is not None:
            raise OptionError(
                "sample_weight and class_weight do not reach into a step of your own.\n"
                "  fix: give the weights as an input, fit((x, weights, y)), and use them in step"
            )
        self._weighted = WeightedLoss(self._loss) if expected else None

    def __call__(self, *batch: Tensor) -> list[Tensor]:
        """Take one step on a batch: inputs, then the target; returns the numbers of the layout."""
        self._optimizer.zero_grad()
        if self._custom is not None:
            return self._take_custom(batch)
        inputs, target = batch[: -1 if self._weighted is None else -2], batch[-1]
        output = self._model(*inputs)
        self.output_shape = tuple(output.shape) if isinstance(output, Tensor) else None
        if self._weighted is None:
            loss = scalar(self._loss(output, target), "the loss")
            readings, numbers = [Reading("loss")], [loss.detach()]
        else:
            parts = self._weighted(output, target, batch[-2])
            loss = ratio(*parts)
            finish = None if parts[1] is None else _quotient
            numbers = [part.detach() for part in parts if part is not None]
            readings = [Reading("loss", len(numbers), finish is None, finish)]
        self._minimise(loss)
        return report(self.layout, readings, numbers, self._metrics, output, target)

    def loss_of(self, *batch: Tensor) -> Tensor:
        """The loss that a step on this batch minimises, penalty included; nothing is updated."""
        if self._custom is not None:
            loss = _named(self._custom(self._owner, batch))["loss"]
        elif self._weighted is not None:
            loss = ratio(*self._weighted(self._model(*batch[:-2]), batch[-1], batch[-2]))
        else:
            loss = scalar(self._loss(self._model(*batch[:-1]), batch[-1]), "the loss")
        return self._with_penalty(loss)

    def _with_penalty(self, loss: Tensor) -> Tensor:
        if self._penalty is None:
            return loss
        total: Tensor = loss + scalar(self._penalty(self._model), "the penalty")
        return total

    def _take_custom(self, batch: tuple[Tensor, ...]) -> list[Tensor]:
        assert self._custom is not None
        values = _named(self._custom(self._owner, batch))
        output = values.pop("output", None)
        loss = values["loss"]
        # A step that does its own backward passes and updates returns losses without history.
        if loss.requires_grad:
            self._minimise(loss)
        readings = [Reading(name) for name in values]
        numbers = [value.detach() for value in values.values()]
        metrics = self._metrics if output is not None else ()
        return report(self.layout, readings, numbers, metrics, output, batch[-1])

    def _minimise(self, loss: Tensor) -> None:
        self._with_penalty(loss).backward()
        if self._clip is not None:
            clip_grad_norm_(self._trained(), self._clip)
        self._optimizer.step()
        # Compiled loops keep no gradients; to leave none here either makes the engines alike.
        self._optimizer.zero_grad()

    def _trained(self) -> list[Tensor]:
        return [
            parameter for group in self._optimizer.param_groups for parameter in group["params"]
        ]


class EvaluationStep:
    """Forward, loss and metrics, without derivatives; the model must be in evaluation mode.

    Args:
        model, loss, metrics: as for :class:`TrainingStep`.
        custom: used where there is no loss.
        owner: the trainer.
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        metrics: Sequence[Metric],
        custom: CustomStep | None = None,
        owner: Any = None,
    ) -> None:
        self._model, self._loss, self._metrics = model, loss, tuple(metrics)
        self._custom, self._owner = custom, owner
        self.layout = Layout(["loss", *(metric.name for metric in metrics)])

    def __call__(self, *batch: Tensor) -> list[Tensor]:
        """The numbers of a batch: inputs, then the target."""
        *inputs, target = batch
        with no_grad():
            if self._loss is None and self._custom is not None:
                values = _named(self._custom(self._owner, batch))
                output = values.pop("output", None)
            else:
                output = self._model(*inputs)
                values = {"loss": scalar(self._loss(output, target), "the loss")}
            readings = [Reading(name) for name in values]
            metrics = self._metrics if output is not None else ()
            return report(self.layout, readings, [*values.values()], metrics, output, target)


def _quotient(means: Any) -> Any:
    """The mean loss from the means of weighted losses and of weights."""
    return means[:, 0] / means[:, 1]


def _named(values: Any) -> dict[str, Tensor]:
    """What a step of the user returned, as numbers by name; "output" stays what it is."""
    if isinstance(values, Tensor):
        values = {"loss": values}
    if not isinstance(values, dict) or "loss" not in values:
        given = f"a dict of {', '.join(map(str, values))}" if isinstance(values, dict) else values
        raise OptionError(
            f"step must return the loss, or a dict with 'loss' in it.\n  given: {given!r}\n"
            "  expected: a 0-d tensor, or {'loss': ..., 'other': ...} of 0-d tensors; 'output' may "
            "hold the model's output, for the metrics"
        )
    return {
        name: value if name == "output" else scalar(value, f"step's {name!r}")
        for name, value in values.items()
    }


def report(
    layout: Layout,
    readings: Sequence[Reading],
    numbers: Sequence[Tensor],
    metrics: Sequence[Metric],
    output: Any,
    target: Tensor,
) -> list[Tensor]:
    """A step's numbers with those of the metrics behind them; settles the layout."""
    found, columns = list(readings), list(numbers)
    registers = 0
    with no_grad():
        for metric in metrics:
            measured = metric.measure(output.detach(), target)
            if isinstance(measured, Rows):
                layout.keep(registers, measured.values)
                registers += 1
                found.append(Reading(metric.name, 0, finish_rows=measured.finish))
            elif isinstance(measured, Sums):
                columns += measured.numbers
                width = len(measured.numbers)
                found.append(Reading(metric.name, width, False, measured.finish))
            else:
                columns.append(scalar(measured, f"the metric {metric.name!r}"))
                found.append(Reading(metric.name))
    layout.readings = tuple(found)
    return columns


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
