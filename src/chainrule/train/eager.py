"""The numpy engine's way to run training steps: Python, one batch after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from ..engines.numpy import compile_graph
from ..graph.trace import Traced
from ..io.arrays import Array
from ..tensor import Tensor, trace
from ..tensor._watch import watch
from .checkpoint import Tree
from .course import (
    EVALUATION_ROWS,
    LOOKS,
    TRAINS,
    Course,
    Outcome,
    Plan,
    evaluation_batching,
)
from .examples import Examples
from .layout import Layout
from .ledger import Ledger
from .state import collect_state, restore_state
from .watching import Columns, Watch


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
        course: the steps of an epoch and their data.
        watch: what looks report of; None for nothing.
    """

    first_steps = 1
    seconds = 0.0
    chunk_factor = 1
    engine = "numpy"
    foresees = False  # the step reads the optimizer's settings when it runs

    def __init__(
        self,
        step: Step,
        evaluation: Step,
        model: Any,
        optimizer: Any,
        course: Course,
        watch: Watch | None = None,
    ) -> None:
        self._step, self._evaluation, self._model = step, evaluation, model
        self._optimizer, self._course = optimizer, course
        self._stopped = False
        self._looker = None if watch is None else Looker(step, model, watch)
        step.layout.reset(0)
        evaluation.layout.reset(0)

    def run(self, plan: Plan) -> Outcome:
        """Run steps; see :class:`session.Runner`."""
        course = self._course
        trained, checked, looks = _Told(), _Told(), _Told()
        start = 0
        for variant in plan.variants:
            stop = start + int(course.sizes[variant])
            rows = plan.order[start:stop]
            kind = course.kinds[variant]
            if kind == TRAINS:
                trained.take(self._step, course.examples.gather(rows))
            elif kind == LOOKS:
                assert self._looker is not None
                ahead = plan.order[start : start + course.batching.sizes[0]]
                looks.numbers.append(self._looker(course.examples.gather(ahead)))
            else:
                assert course.validation is not None
                with evaluating(self._model):
                    checked.take(self._evaluation, course.validation.gather(rows))
            start = stop
            if self._stopped:
                break
        return Outcome(
            trained.array(), checked.array(), joined(trained.rows), joined(checked.rows),
            looks.array(),
        )  # fmt: skip

    @property
    def columns(self) -> Columns:
        """What a look reports."""
        return () if self._looker is None else self._looker.columns

    def learn(self, seconds: float) -> None:
        """A training by Python begins with one step each time."""

    def numbers(self) -> list[float]:
        """None: the step reads the settings itself."""
        return []

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

    def is_finite(self) -> bool:
        """Whether all numbers that the steps write are finite."""
        return all(
            np.isfinite(tensor.detach().numpy()).all()
            for tensor in self._model.state_dict().values()
            if tensor.dtype.is_float
        )

    def settle(self) -> None:
        """Nothing is looked at; see ``nonfinite``."""

    def refresh(self) -> None:
        """The user's tensors are what the steps read."""

    def close(self) -> None:
        """Nothing is held."""


class Looker:
    """Looks at a step without taking it: its graph, traced once, is run beside it.

    Args:
        step: the training step.
        model: gives the names of parameters.
        watch: what is reported.

    Attributes:
        columns: what is reported, once it has looked.
    """

    def __init__(self, step: Step, model: Any, watch: Watch) -> None:
        self._step, self._model, self._watch = step, model, watch
        self._known: tuple[Any, Traced] | None = None
        self.columns: Columns = ()

    def __call__(self, arrays: Sequence[Array]) -> list[float]:
        """The statistics of the step that this batch would make.

        Raises:
            TraceError: the step asks for values while it runs, so that it has no graph.
        """
        if self._known is None:
            traced = trace(self._step, *map(Tensor, arrays))
            names = {id(handle): name for name, handle in self._model.named_parameters()}
            found = watch(traced, names, self._watch.nodes)
            self.columns = found.names
            self._known = compile_graph(found.traced.graph), found.traced
        program, traced = self._known
        inputs = [handle._node.value() for handle in traced.captured]
        inputs += [np.asarray(getter(), np.float64) for getter in traced.getters]
        return [float(number) for number in program(*arrays, *inputs)]


class _Told:
    """What steps of one kind report, one after the other."""

    def __init__(self) -> None:
        self.numbers: list[list[float]] = []
        self.rows: list[list[Array]] = []

    def take(self, step: Step, arrays: Sequence[Array]) -> None:
        self.numbers.append(call(step, arrays))
        self.rows.append(newest_rows(step.layout, len(arrays[-1])))

    def array(self) -> Array:
        return np.array(self.numbers, np.float64) if self.numbers else np.zeros((0, 0))


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
    ledger = Ledger(evaluation.layout, evaluation_batching(len(examples)))
    evaluation.layout.reset(0)
    for start in range(0, len(examples), EVALUATION_ROWS):
        arrays = examples.block(start, start + EVALUATION_ROWS)
        numbers = np.array([call(evaluation, arrays)])
        ledger.add(numbers, newest_rows(evaluation.layout, len(arrays[0])))
    return ledger.newest()


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
