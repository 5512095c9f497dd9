"""The numpy engine's way to run training steps: Python, one batch after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..io.arrays import Array
from ..tensor import Tensor
from .examples import Batching, Examples
from .ledger import Ledger
from .metrics import Metric

EVALUATION_ROWS = 1000

Step = Callable[..., list[Tensor]]


class EagerRunner:
    """Runs the steps with NumPy, every value at hand.

    Args:
        step: takes a batch's tensors; returns 0-d tensors.
        evaluation: the same without training.
        model: switched to evaluation mode while it is evaluated.
        metrics: what the steps report behind the loss.
        examples: the training data.
        batching: how an epoch is cut into steps.
    """

    first_chunk = 1
    engine = "numpy"

    def __init__(
        self,
        step: Step,
        evaluation: Step,
        model: Any,
        metrics: Sequence[Metric],
        examples: Examples,
        batching: Batching,
    ) -> None:
        self._step, self._evaluation, self._model = step, evaluation, model
        self._metrics = tuple(metrics)
        self._examples, self._sizes = examples, batching.sizes
        self._stopped = False

    def run(self, order: Array, variants: Array) -> Array:
        """Run steps; see :class:`session.Runner`."""
        rows = np.zeros((len(variants), 1 + len(self._metrics)))
        start = 0
        for number, variant in enumerate(variants):
            stop = start + self._sizes[variant]
            rows[number] = call(self._step, self._examples.gather(order[start:stop]))
            start = stop
            if self._stopped:
                return rows[: number + 1]
        return rows

    def stop(self) -> None:
        """End after the present step."""
        self._stopped = True

    def sync(self) -> None:
        """The user's tensors are what the steps write to."""

    def refresh(self) -> None:
        """The user's tensors are what the steps read."""

    def close(self) -> None:
        """Nothing is held."""

    def evaluate(self, examples: Examples) -> dict[str, float]:
        """Loss and metrics over `examples`."""
        with evaluating(self._model):
            return evaluate_eagerly(self._evaluation, self._metrics, examples)


def call(step: Step, arrays: Sequence[Array]) -> list[float]:
    """Run a step on one batch of arrays; returns its numbers."""
    return [float(number.item()) for number in step(*map(Tensor, arrays))]


def evaluate_eagerly(
    evaluation: Step, metrics: Sequence[Metric], examples: Examples
) -> dict[str, float]:
    """Loss and metrics over `examples`, a thousand rows at a time."""
    ledger = evaluation_ledger(metrics, len(examples))
    for start in range(0, len(examples), EVALUATION_ROWS):
        arrays = examples.block(start, start + EVALUATION_ROWS)
        ledger.add(np.array([call(evaluation, arrays)]))
    return ledger.newest()


def evaluation_ledger(metrics: Sequence[Metric], count: int) -> Ledger:
    """A ledger of one pass over `count` examples, :data:`EVALUATION_ROWS` at a time."""
    names = ["loss", *(metric.name for metric in metrics)]
    weighted = [True, *(metric.weighted for metric in metrics)]
    return Ledger(names, weighted, Batching(count, EVALUATION_ROWS, shuffle=False))


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """The model in evaluation mode; every module is put back as it was."""
    modules = list(model.modules()) if hasattr(model, "modules") else []
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
