"""The training step and the evaluation step as graphs over one list of state."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from ...engines import Step
from ...errors import OptionError
from ..compiled import Part, trace_parts
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
    step.layout.reset(0)
    parts = [Part(step, examples, batching.sizes)]
    cut = None
    if validation is not None:
        evaluation.layout.reset(0)
        cut = Batching(len(validation), rows, shuffle=False)
        # What an evaluation changes is forgotten.
        parts.append(
            Part(evaluation, validation, cut.sizes, data=len(examples.arrays), keeps=tuple)
        )
    traced = trace_parts(
        parts,
        lambda part: evaluating(trainer.model) if part.function is evaluation else nullcontext(),
    )
    first = len(batching.sizes)
    check = None
    if validation is not None and cut is not None:
        check = Pass(traced.steps[first:], cut, evaluation.layout, validation)
    train = Pass(traced.steps[:first], batching, step.layout, examples)
    for part in (train, check):
        for reading in () if part is None else part.layout.readings:
            if reading.finish_rows is not None:
                raise OptionError(COLLECTS.format(name=reading.name))
    return Passes(train, check, traced.handles, traced.written, traced.getters)
