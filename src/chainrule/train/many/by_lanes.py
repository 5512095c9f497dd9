"""Trainings in the lanes of vectors: groups of them, in memory ``[element][lane]``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engines.native import crew, lanes
from ...engines.native.target import Target
from ...io.arrays import Array
from .job import Job, model_states, pieces
from .starts import orders_of

ORDER_BYTES = 4 << 20  # of a piece of the orders that a thread holds
WASTE = 1.25  # lanes that may stay empty so that the trainings of a group share their rows


def compose(seeds: Array, size: int, apart: bool) -> tuple[Array, bool]:
    """Put trainings into groups.

    Args:
        seeds: int64 (trainings,), which seed each has.
        size: trainings in a group.
        apart: whether trainings of one seed share more, so that they should stand together.

    Returns:
        int64 (groups, size), numbers of trainings, the last repeated where there are too few; and
        whether every group has one seed alone.

    Example:
        >>> compose(np.array([0, 1, 0, 1]), 2, True)
        (array([[0, 2],
               [1, 3]]), True)
    """
    count = len(seeds)
    least = -(-count // size)
    kinds, counts = np.unique(seeds, return_counts=True)
    if apart and len(kinds) > 1 and (-(-counts // size)).sum() <= WASTE * least:
        order = np.argsort(seeds, kind="stable")
        parts = np.split(order, np.cumsum(counts)[:-1])
        return np.concatenate([_padded(part, size) for part in parts]), True
    return _padded(np.arange(count), size), len(kinds) == 1


def _padded(numbers: Array, size: int) -> Array:
    missing = -len(numbers) % size
    return np.append(numbers, np.repeat(numbers[-1:], missing)).reshape(-1, size)


class LaneRunner:
    """Runs a job by lanes.

    Args:
        job: the trainings.
        model: whose weights are read at the end.

    Raises:
        EngineError: an op has no form on the native engine.
    """

    def __init__(self, job: Job, model: Any) -> None:
        self.job, self.model = job, model
        train, check = job.passes.train, job.passes.check
        self.shuffles = train.batching.blocks > 0
        seeded = any(each.index is not None for each in job.initial)
        size = lanes.lanes_of(train.steps[0], Target.host())
        members, alike = compose(job.seeds, size, self.shuffles or seeded)
        self.members = members
        self.own = self.shuffles and not alike
        kinds = [
            lanes.Kind(step, train.weights(k), True, train.batching.used)
            for k, step in enumerate(train.steps)
        ]
        if check is not None:
            kinds += [
                lanes.Kind(step, check.weights(k), False, check.batching.used)
                for k, step in enumerate(check.steps)
            ]
        differences = lanes.Differences(
            tuple(self._differs(each.index) for each in job.initial),
            tuple(bool((column != column[0]).any()) for column in job.numbers.T),
            self.own,
        )
        self.loop = lanes.compile_lanes(kinds, job.passes.data, differences)
        self.compile_seconds = self.loop.compile_seconds

    def _differs(self, index: Array | None) -> bool:
        if index is None:
            return False
        inside = index[self.members]
        return bool((inside != inside[:, :1]).any())

    def run(self) -> None:
        """Run all trainings, or until the stop word is set."""
        job, loop = self.job, self.loop
        raw = self._raw()
        self.memory = self._memory()
        self.targets = self._targets(raw)
        self.done = np.zeros(len(self.members), bool)
        self.plan, self.short = self._plan()
        check = job.passes.check
        self.evaluation = self._evaluation(check)
        threads = min(job.threads, len(self.members))
        private = [loop.private() for _ in range(threads)]
        shares = crew.Shares(len(self.members), threads)

        def work(thread: int, first: int, last: int) -> bool:
            return self._range(private[thread], first, last)

        crew.share_out(shares, threads, work, job.watch)
        self._finish(raw)

    # -- what the loop works on --
    def _raw(self) -> Array:
        """The memory of the history's columns: the table itself where each is a name."""
        columns, table = self.loop.columns, self.job.table
        layouts = [self.job.passes.train.layout]
        if self.job.passes.check is not None:
            layouts.append(self.job.passes.check.layout)
        plain = all(r.finish is None for layout in layouts for r in layout.readings)
        if plain and columns == table.shape[2]:
            return table
        return np.full((len(self.job.runs), table.shape[1], columns), np.nan)

    def _memory(self) -> Array:
        job, loop = self.job, self.loop
        memory = loop.groups(len(self.members))
        every = self.members.reshape(-1)
        for number, each in enumerate(job.initial):
            values = each.values[0] if each.index is None else each.values[each.index[every]]
            loop.write(memory, 0, number, values)
        for number, column in enumerate(job.numbers.T):
            loop.write(memory, 1, number, column[every])
        return memory

    def _targets(self, raw: Array) -> Array:
        """The address of each training's history; what only fills a group writes elsewhere."""
        every = self.members.reshape(-1)
        rows = self.job.runs[every] if raw is self.job.table else every
        targets = raw.ctypes.data + rows * raw.strides[0]
        self.unused = np.zeros(raw.shape[1:])
        _, first = np.unique(every, return_index=True)
        repeated = np.ones(len(every), bool)
        repeated[first] = False
        targets[repeated] = self.unused.ctypes.data
        return np.ascontiguousarray(targets, np.int64)

    def _plan(self) -> tuple[Array, int]:
        """The variants of an epoch's steps, the evaluation behind them."""
        train, check = self.job.passes.train, self.job.passes.check
        plan = train.batching.variant_of_step()
        short = len(plan)
        if check is not None:
            plan = np.append(plan, check.batching.variant_of_step() + len(train.steps))
        return np.ascontiguousarray(plan, np.int32), short

    def _evaluation(self, check: Any) -> Array:
        if check is None:
            return np.zeros(1, np.int32)
        return orders_of(
            check.batching, self.job.starts.shuffles[:1], 0, 1, check.examples.rows
        ).reshape(-1)

    # -- running --
    def _range(self, private: Array, first: int, last: int) -> bool:
        """All epochs of some groups."""
        job, batching = self.job, self.job.passes.train.batching
        held = batching.used * 4 * self._orders_held(first, last)
        most = ORDER_BYTES // held if self.shuffles else job.epochs
        addresses = np.zeros(len(self.members), np.int64)
        for begin, end in pieces(job.epochs, most):
            kept = self._orders(first, last, begin, end, addresses)
            each = batching.used * 4 * (self.loop.lanes if self.own else 1) if self.shuffles else 0
            ended = self.loop.run(
                (first, last), self.memory, private, addresses, each, self.evaluation, self.plan,
                self.short, np.ascontiguousarray(job.slots[begin:end]), self.targets, job.stop,
            )  # fmt: skip
            del kept  # the addresses were those of this array
            if not ended:
                return False
        self.done[first:last] = True
        return True

    def _orders_held(self, first: int, last: int) -> int:
        """How many orders a range of groups holds at a time."""
        if self.own:
            return (last - first) * self.loop.lanes
        return len(np.unique(self.job.seeds[self.members[first:last, 0]]))

    def _orders(self, first: int, last: int, begin: int, end: int, into: Array) -> Array:
        """The orders of some epochs; their addresses are written for each group."""
        train, keys = self.job.passes.train, self.job.starts.shuffles
        if not self.shuffles:
            made = orders_of(train.batching, keys[:1], 0, 1, train.examples.rows)
            into[first:last] = made.ctypes.data
            return made
        whose = self.job.seeds[self.members[first:last]]
        kinds, place = np.unique(whose if self.own else whose[:, 0], return_inverse=True)
        made = orders_of(train.batching, keys[kinds], begin, end - begin, train.examples.rows)
        if self.own:
            # From (trainings, epochs, rows) to (groups, epochs, rows, lanes).
            apart = made[place.reshape(whose.shape)]
            made = np.ascontiguousarray(apart.transpose(0, 2, 3, 1))
            place = np.arange(len(made))
        into[first:last] = made.ctypes.data + place.reshape(-1) * made.strides[0]
        return made

    # -- results --
    def _finish(self, raw: Array) -> None:
        job = self.job
        inside = np.zeros(len(job.runs), bool)
        inside[self.members[self.done].reshape(-1)] = True
        job.finished[job.runs[inside]] = True
        job.table[job.runs[~inside]] = np.nan
        if raw is not job.table:
            self._name(raw)
        every = self.members.reshape(-1)
        for name, place in model_states(job.passes, self.model).items():
            into = job.weights[name]
            if isinstance(place, int):
                into[job.runs[every]] = self.loop.read(self.memory, place)
            else:
                into[job.runs] = place

    def _name(self, raw: Array) -> None:
        """Fill the table with what the columns mean."""
        job, column, name = self.job, 0, 0
        shape = (len(job.runs), raw.shape[1])
        for part in (job.passes.train, job.passes.check):
            for reading in () if part is None else part.layout.readings:
                means = raw[:, :, column : column + reading.columns].reshape(-1, reading.columns)
                found = means[:, 0] if reading.finish is None else reading.finish(means)
                job.table[job.runs, :, name] = np.reshape(found, shape)
                column, name = column + reading.columns, name + 1
