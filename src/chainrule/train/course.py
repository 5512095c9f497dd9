"""The steps of an epoch in order: those that train, then those that measure validation data.

Both kinds are steps of one plan, so that an engine runs many epochs in one call, and may be left
after any step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..io.arrays import Array
from .examples import Batching, Examples

EVALUATION_ROWS = 1000
STEP_WORK = 30.0  # rows that a step is as much work as, besides its own
TRAINS, CHECKS, LOOKS = 0, 1, 2


@dataclass(frozen=True)
class Plan:
    """Steps to run, one after the other.

    Attributes:
        order: int32, the rows that they take: of the training data, or of the validation data.
        variants: int32[steps], the kind of each step; see :class:`Course`.
        turns: int32[steps], in which epoch of the plan each is, from 0.
        numbers: float64[epochs, numbers], the run-time numbers (learning rates) of each epoch; None
            for the present ones.
        go_to: puts the learning rate's schedule to an epoch of the plan; None where nothing was
            foreseen.
    """

    order: Array
    variants: Array
    turns: Array
    numbers: Array | None = None
    go_to: Callable[[int], None] | None = None

    def head(self, steps: int) -> Plan:
        """The plan of the first steps alone."""
        return self.only(slice(0, steps))

    def only(self, steps: Any) -> Plan:
        """The plan of some steps; those that are left out must take no rows, or stand last."""
        return replace(self, variants=self.variants[steps], turns=self.turns[steps])


@dataclass(frozen=True)
class Outcome:
    """What the steps of a plan gave; fewer than were planned after a stop.

    Attributes:
        trained: float64[training steps, columns].
        checked: float64[validation steps, columns].
        trained_rows: what metrics collected of the training steps, (examples, values) each.
        checked_rows: the same of the validation steps.
        watched: float64[looks, statistics].
    """

    trained: Array
    checked: Array
    trained_rows: list[Array]
    checked_rows: list[Array]
    watched: Array


class Course:
    """How an epoch is cut into steps.

    A step's variant says its kind: the numbers below :attr:`first_check` are the batch sizes of
    training, those from there on the batch sizes of validation, and the last one is a look at the
    training step that follows it.

    Args:
        examples: the training data.
        batching: how they are cut into batches.
        validation: the validation data, walked through after the training; None for none.
        every: training steps from one look to the next; None for none.

    Attributes:
        training: steps of an epoch that train.
        checking: steps of an epoch that measure validation data.
        sizes: int64, the rows that each variant takes from the order.
        kinds: int64, for each variant :data:`TRAINS`, :data:`CHECKS` or :data:`LOOKS`.
        work: float64, about how much work each variant is, to tell how long steps will take: a row
            that is trained is three that are measured, and a step by itself is some rows.

    Example:
        >>> train, held = Examples((np.zeros((5, 2)),)), Examples((np.zeros((3, 2)),))
        >>> course = Course(train, Batching(5, 2, shuffle=False), held)
        >>> plan = course.part(course.orders(np.zeros(2, np.uint32), 0, 1)[0], 1, 4)
        >>> plan.variants.tolist(), plan.order.tolist()
        ([0, 1, 2], [2, 3, 4, 0, 1, 2])
    """

    def __init__(
        self,
        examples: Examples,
        batching: Batching,
        validation: Examples | None,
        every: int | None = None,
    ) -> None:
        self.examples, self.batching, self.validation = examples, batching, validation
        self.checks = None if validation is None else evaluation_batching(len(validation))
        checks = self.checks
        self.training = batching.steps
        self.checking = 0 if checks is None else checks.steps
        self.first_check = len(batching.sizes)
        self.every = every
        self.sizes, self.kinds, self.variants, self._ends = _steps(batching, checks)
        self.work, self._work_ends = _work(batching, checks)

    def __len__(self) -> int:
        """Steps of an epoch."""
        return len(self.variants)

    @property
    def epoch_work(self) -> float:
        """The work of an epoch."""
        return float(self._work_ends[-1])

    def work_of(self, plan: Plan) -> float:
        """The work of a plan."""
        return float(np.bincount(plan.variants, minlength=len(self.work)) @ self.work)

    def reach(self, start: int, work: float) -> int:
        """The step of an epoch to which so much work leads, from `start` on; at least the next."""
        before = self._work_ends[start - 1] if start else 0.0
        # Sums of the same terms in another order may differ in the last digits.
        stop = int(np.searchsorted(self._work_ends, (before + work) * (1 + 1e-12), "right"))
        return max(stop, start + 1)

    @property
    def rows(self) -> int:
        """Rows that an epoch takes."""
        return int(self._ends[-1])

    def orders(self, key: Array, counter: int, epochs: int) -> Array:
        """The rows of each of the next epochs: int32[epochs, rows]; see :meth:`Batching.orders`."""
        order = self.batching.orders(key, counter, epochs, self.examples.rows)
        if self.validation is None:
            return order
        held = self.validation.rows
        count = len(self.validation)
        rows = np.arange(count, dtype=np.int32) if held is None else held
        return np.hstack([order, np.broadcast_to(rows, (epochs, count))])

    def part(self, order: Array, start: int, stop: int) -> Plan:
        """Some steps of the epoch that has this order."""
        rows = np.ascontiguousarray(order[self._ends[start] : self._ends[stop]])
        return Plan(rows, self.variants[start:stop], np.zeros(stop - start, np.int32))

    def epochs(self, orders: Array) -> Plan:
        """Whole epochs, of these orders."""
        count = len(orders)
        if count == 1:
            return self.part(orders[0], 0, len(self))
        return Plan(
            np.ascontiguousarray(orders).reshape(-1),
            np.tile(self.variants, count),
            np.repeat(np.arange(count, dtype=np.int32), len(self)),
        )

    def with_looks(self, plan: Plan, done: int) -> tuple[Plan, Array]:
        """A plan with a look before each training step that is due.

        A step of fewer rows than a full batch is not looked at: the next one is, in its place.

        Args:
            plan: the steps, without looks.
            done: training steps done before them.

        Returns:
            The plan, and the numbers of the steps that are looked at, int64.

        Example:
            >>> course = Course(Examples((np.zeros((5, 2)),)), Batching(5, 2), None, every=2)
            >>> plan, steps = course.with_looks(
            ...     course.epochs(course.orders(np.zeros(2, np.uint32), 0, 2)), 0)
            >>> plan.variants.tolist(), steps.tolist()
            ([2, 0, 0, 1, 2, 0, 2, 0, 1], [0, 3, 4])
        """
        if self.every is None:
            return plan, np.zeros(0, np.int64)
        places = None
        count = len(plan.variants)
        if self.checking:
            places = np.flatnonzero(self.kinds[plan.variants] == TRAINS)
            count = len(places)
        # One due before the plan may have been put off to its first step.
        steps = np.arange((done - 1) // self.every * self.every, done + count, self.every)
        if len(self.batching.sizes) > 1:
            steps = steps + (steps % self.training == self.training - 1)
        steps = np.unique(steps[(steps >= done) & (steps < done + count)])
        at = steps - done if places is None else places[steps - done]
        looks = len(self.sizes) - 1
        inserted = replace(
            plan,
            variants=np.insert(plan.variants, at, np.int32(looks)),
            turns=np.insert(plan.turns, at, plan.turns[at]),
        )
        return inserted, steps


@functools.lru_cache(maxsize=32)
def _steps(batching: Batching, checks: Batching | None) -> tuple[Array, Array, Array, Array]:
    """Rows and kind of each variant, the variant of each step, where each step's rows begin."""
    both = [batching] if checks is None else [batching, checks]
    sizes = np.array([*(size for each in both for size in each.sizes), 0])
    kinds = [kind for kind, each in enumerate(both) for _ in each.sizes]
    firsts = (0, len(batching.sizes))
    variants = np.concatenate(
        [
            each.variant_of_step() + np.int32(first)
            for each, first in zip(both, firsts, strict=False)
        ]
    )
    ends = np.concatenate([[0], np.cumsum(sizes[variants])])
    return sizes, np.array([*kinds, LOOKS]), variants, ends


@functools.lru_cache(maxsize=32)
def _work(batching: Batching, checks: Batching | None) -> tuple[Array, Array]:
    """The work of each variant, and of an epoch up to each of its steps."""
    sizes, kinds, variants, _ = _steps(batching, checks)
    work = sizes * np.where(kinds == TRAINS, 3.0, 1.0) + STEP_WORK
    return work, np.cumsum(work[variants])


def evaluation_batching(count: int) -> Batching:
    """One pass over `count` examples, :data:`EVALUATION_ROWS` at a time."""
    return Batching(count, EVALUATION_ROWS, shuffle=False)
