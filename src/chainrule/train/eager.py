"""The numpy engine's way to run training steps: Python, one batch after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from ..io.arrays import Array
from ..tensor import Tensor
from .checkpoint import Tree
from .examples import Batching, Examples
from .layout import Layout
from .ledger import Ledger
from .state import collect_state, restore_state

EVALUATION_ROWS = 1000


class Step(Protocol):
    """A training or evaluation step: takes a batch's tensors, returns 0-d tensors."""

    layout: Layout

    def __call__(self, *batch: Tensor) -> list[Tensor]:
        """The numbers of the layout."""


class EagerRunner:
    """Runs the steps with NumPy, every value at hand.

    Args:
        step: the training step.
        evaluation: the same without training.
        model: switched to evaluation mode while it is evaluated.
        optimizer: what the training step updates by.
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
        optimizer: Any,
        examples: Examples,
        batching: Batching,
    ) -> None:
        self._step, self._evaluation, self._model = step, evaluation, model
        self._optimizer = optimizer
        self._examples, self._sizes = examples, batching.sizes
        self._stopped = False
        self._rows: list[list[Array]] = []
        step.layout.reset(0)

    def run(self, order: Array, variants: Array) -> Array:
        """Run steps; see :class:`session.Runner`."""
        numbers = []
        start = 0
        for variant in variants:
            stop = start + self._sizes[variant]
            numbers.append(call(self._step, self._examples.gather(order[start:stop])))
            self._rows.append(newest_rows(self._step.layout, stop - start))
            start = stop
            if self._stopped:
                break
        return np.array(numbers, np.float64)

    def take_rows(self) -> list[Array]:
        """The rows collected since the last call; see :class:`session.Runner`."""
        taken = joined(self._rows)
        self._rows = []
        return taken

    def stop(self) -> None:
        """End after the present step."""
        self._stopped = True

    def sync(self) -> None:
        """The user's tensors are what the steps write to."""

    def snapshot(self) -> Tree:
        """The state that the steps have reached, for :meth:`restore`."""
        return collect_state(self._model, self._optimizer)

    def restore(self, snapshot: Tree) -> None:
        """Go back to a snapshot."""
        restore_state(snapshot, self._model, self._optimizer)

    def arrays(self) -> list[Array]:
        """The arrays of numbers that the steps write."""
        return [
            tensor.detach().numpy()
            for tensor in self._model.state_dict().values()
            if tensor.dtype.is_float
        ]

    def refresh(self) -> None:
        """The user's tensors are what the steps read."""

    def close(self) -> None:
        """Nothing is held."""

    def evaluate(self, examples: Examples) -> dict[str, float]:
        """Loss and metrics over `examples`."""
        with evaluating(self._model):
            return evaluate_eagerly(self._evaluation, examples)


def call(step: Step, arrays: Sequence[Array]) -> list[float]:
    """Run a step on one batch of arrays; returns its numbers."""
    return [float(number.item()) for number in step(*map(Tensor, arrays))]


def newest_rows(layout: Layout, count: int) -> list[Array]:
    """The last `count` rows of each register."""
    return [register.numpy()[-count:].copy() for register in layout.registers]


def joined(parts: Sequence[Sequence[Array]]) -> list[Array]:
    """Rows of several steps, one after the other, for each register."""
    return [np.concatenate(rows) for rows in zip(*parts, strict=True)]


def evaluate_eagerly(evaluation: Step, examples: Examples) -> dict[str, float]:
    """Loss and metrics over `examples`, a thousand rows at a time."""
    ledger = evaluation_ledger(evaluation, len(examples))
    evaluation.layout.reset(0)
    for start in range(0, len(examples), EVALUATION_ROWS):
        arrays = examples.block(start, start + EVALUATION_ROWS)
        numbers = np.array([call(evaluation, arrays)])
        ledger.add(numbers, newest_rows(evaluation.layout, len(arrays[0])))
    return ledger.newest()


def evaluation_ledger(evaluation: Step, count: int) -> Ledger:
    """A ledger of one pass over `count` examples, :data:`EVALUATION_ROWS` at a time."""
    return Ledger(evaluation.layout, Batching(count, EVALUATION_ROWS, shuffle=False))


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
