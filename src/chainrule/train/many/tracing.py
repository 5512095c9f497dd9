"""The training step and the evaluation step as graphs over one list of state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...engines import Step
from ...errors import OptionError
from ...graph.graph import Graph
from ...graph.node import INPUT, NO_ATTRS
from ...ops import Expr
from ..compiled import TracedLoop, trace_loop
from ..eager import evaluating
from ..examples import Batching, Examples
from ..layout import Layout

COLLECTS = (
    "fit_many cannot measure {name}: it needs every example's score at once.\n"
    "  expected: metrics that are means or sums over batches, such as accuracy, f1, rmse\n"
    "  fix: Trainer(..., metrics=[...]) without it, and measure it on runs.model(i)"
)


@dataclass(frozen=True)
class Pass:
    """One way through data: the steps of an epoch, or of an evaluation.

    Attributes:
        steps: one for each batch size.
        batching: how the examples are cut.
        layout: what the numbers of a step are.
        examples: the data.
    """

    steps: tuple[Step, ...]
    batching: Batching
    layout: Layout
    examples: Examples

    def weights(self, variant: int) -> tuple[float, ...]:
        """By what each number of a step is multiplied before an epoch's are added up."""
        rows = float(self.batching.sizes[variant])
        return tuple(
            rows if reading.weighted else 1.0
            for reading in self.layout.readings
            for _ in range(reading.columns)
        )


@dataclass(frozen=True)
class Passes:
    """The training and what evaluates it.

    Attributes:
        train: the training pass.
        check: the evaluation pass, or None.
        handles: the tensors whose values are the state.
        written: for each of them, whether the training changes it.
        getters: give the run-time numbers.
    """

    train: Pass
    check: Pass | None
    handles: tuple[Any, ...]
    written: tuple[bool, ...]
    getters: tuple[Callable[[], float], ...]

    @property
    def data(self) -> list[Any]:
        """The arrays of both."""
        arrays = list(self.train.examples.arrays)
        return arrays if self.check is None else arrays + list(self.check.examples.arrays)


def trace_passes(
    trainer: Any, examples: Examples, batching: Batching, validation: Examples | None, rows: int
) -> Passes:
    """Trace a trainer's steps.

    Args:
        trainer: has the steps.
        examples, batching: of the training.
        validation: what is evaluated, or None.
        rows: examples in a step of the evaluation, at most.

    Raises:
        OptionError: a metric that collects rows.
        TraceError: a step asks for values while it runs.
    """
    step, evaluation = trainer._step, trainer._evaluation
    train = _traced(step, examples, batching)
    if validation is None:
        return Passes(
            Pass(train.steps, batching, step.layout, examples), None, train.handles, train.written,
            train.getters,
        )  # fmt: skip
    cut = Batching(len(validation), rows, shuffle=False)
    with evaluating(trainer.model):
        check = _traced(evaluation, validation, cut)
    handles = tuple({id(handle): handle for handle in (*train.handles, *check.handles)}.values())
    changed = {
        id(handle) for handle, written in zip(train.handles, train.written, strict=True) if written
    }
    steps = tuple(_over(one, train, handles) for one in train.steps)
    arrays = len(examples.arrays)
    checks = tuple(replace(_over(one, check, handles), data=arrays) for one in check.steps)
    return Passes(
        Pass(steps, batching, step.layout, examples),
        Pass(checks, cut, evaluation.layout, validation),
        handles,
        tuple(id(handle) in changed for handle in handles),
        train.getters,
    )


def _traced(step: Any, examples: Examples, batching: Batching) -> TracedLoop:
    step.layout.reset(0)
    traced = trace_loop(step, examples, batching.sizes)
    for reading in step.layout.readings:
        if reading.finish_rows is not None:
            raise OptionError(COLLECTS.format(name=reading.name))
    return traced


def _over(step: Step, traced: TracedLoop, handles: Sequence[Any]) -> Step:
    """The same step over a longer list of state."""
    inputs, pairs = list(step.graph.inputs), []
    known = dict(zip(map(id, traced.handles), step.state, strict=True))
    for handle in handles:
        pair = known.get(id(handle))
        if pair is None:
            pair = len(inputs), -1
            inputs.append(Expr(INPUT, (), NO_ATTRS, handle._node.aval))
        pairs.append(pair)
    return replace(step, graph=Graph(tuple(inputs), step.graph.outputs), state=tuple(pairs))
