"""Training loops as one native function: many steps and epochs between two visits of Python."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...dtypes import float64, int32
from ...errors import EngineError, ShapeError
from ...graph.node import Node
from ..program import Step
from .explain import explain
from .lower.ahead import Gathered, worth_asking
from .lower.buffers import Buffer, buffer_for
from .lower.driver import STOP, TABLE_ENTRIES
from .lower.gathers import data_buffer, gather_task
from .lower.plan import Planned, prepare
from .lower.tasks import Task
from .machine import Built, Workshop
from .profile import Profile, profile

Array = np.ndarray[Any, Any]


def compile_loop(
    steps: Sequence[Step],
    data: Sequence[Array],
    *,
    threads: int | None = None,
    guards: bool | None = None,
) -> Loop:
    """Compile a training loop: one native function over all steps and epochs.

    Args:
        steps: the variants of the step (a full batch, the remainder, an evaluation); they share
            their state and their run-time numbers, in order, and their kernels.
        data: arrays whose rows the batches are gathered from; they are read in place and must not
            change while the loop runs. Data of another dtype than the step's is converted as it is
            gathered.
        threads: how many threads; by default as many as the work is worth.
        guards: whether to look for writes outside of arrays after each task, a debug mode; None: as
            ``CHAINRULE_GUARDS`` in the environment says.

    Raises:
        EngineError: when an op has no form on this engine, naming the op, its layer and its line.
        ShapeError: when the data or the variants do not fit each other.
    """
    return Loop(_Planner(steps, data, threads, guards).build(), steps)


class _Planner:
    """Plans the variants of a loop on what they share."""

    def __init__(
        self,
        steps: Sequence[Step],
        data: Sequence[Array],
        threads: int | None,
        guards: bool | None,
    ) -> None:
        self.steps = list(steps)
        self.data = [np.ascontiguousarray(array) for array in data]
        self.workshop = Workshop(threads, guards)
        self.state: list[Buffer] = []
        self.sources = [data_buffer(array, k) for k, array in enumerate(self.data)]
        self.indices = Buffer("indices", (1 << 40,), int32, (1,), pointer="indices")
        self._check()

    def _check(self) -> None:
        if not self.steps:
            raise EngineError("a loop needs at least one step")
        first = self.steps[0]
        for step in self.steps:
            if len(step.state) != len(first.state):
                raise EngineError("the steps of a loop must share their state")
            if step.data + len(step.batch) > len(self.data):
                raise EngineError(
                    f"a step takes {len(step.batch)} batch inputs but there are"
                    f" {len(self.data) - step.data} data arrays"
                )
        if len(self.data) > TABLE_ENTRIES:
            raise EngineError(f"a loop takes at most {TABLE_ENTRIES} data arrays")

    def build(self) -> Built:
        """Plan all variants and compile them."""
        training = [step for step in self.steps if _trains(step)]
        self.usual = max(_rows(step) for step in training or self.steps)
        planned = [self._plan(step) for step in self.steps]
        rows = [0 if step.peeks else _rows(step) for step in self.steps]
        outside = {source.pointer or "": k for k, source in enumerate(self.sources)}
        return self.workshop.build(
            planned,
            rows,
            [len(step.sums) for step in self.steps],
            self.state,
            max(len(step.scalars) for step in self.steps),
            outside,
            self.data,
            # A step's kernels read as many of the next indices as the usual step has.
            asks=[
                int(count >= self.usual and each.asks)
                for count, each in zip(rows, planned, strict=True)
            ],
        )

    def _shared(self, number: int, node: Node) -> Buffer:
        """The buffer of the state of a position, the same for all steps."""
        if number == len(self.state):
            self.state.append(buffer_for(node, node.name or f"state {number}", kept=True))
        buffer = self.state[number]
        if buffer.shape != node.shape or buffer.dtype is not node.dtype:
            raise ShapeError(
                f"the steps of a loop do not share state {number}.\n"
                f"  given: {node.aval!r}\n  expected: {buffer.dtype.name}{list(buffer.shape)}"
            )
        return buffer

    def _plan(self, step: Step) -> Planned:
        started = time.perf_counter()
        graph = step.graph
        owned = {output for source, output in step.state if _changes(step, source, output)}
        prepared, rewrites = prepare(graph, owned | set(step.sums))
        self.workshop.add_time("simplify", started)
        leaves: dict[Node, Buffer] = {}
        for number, (source, _) in enumerate(step.state):
            node = graph.inputs[source]
            leaves[node] = self._shared(number, node)
        for number, source in enumerate(step.scalars):
            leaves[graph.inputs[source]] = _number(number, graph.inputs[source])
        first = [
            self._gather(graph.inputs[source], number, leaves)
            for number, source in enumerate(step.batch, step.data)
        ]
        updates = [
            (graph.inputs[source], prepared.outputs[output])
            for source, output in step.state
            if output in owned
        ]
        sums = [prepared.outputs[output] for output in step.sums]
        gathers = self._gathered(step, leaves)
        return self.workshop.plan(
            prepared, rewrites, graph, leaves, updates, {}, first, sums, gathers
        )

    def _gathered(self, step: Step, leaves: dict[Node, Buffer]) -> Gathered | None:
        """The largest rows that a step gathers, if they are worth asking for a step ahead."""
        batch = [leaves[step.graph.inputs[source]] for source in step.batch]
        found = [
            Gathered(data, into, self.indices, _rows(step), self.usual)
            for data, into in zip(self.sources[step.data :], batch, strict=False)
        ]
        largest = max(found, key=lambda each: each.row_bytes, default=None)
        target = self.workshop.module.target
        return largest if largest and worth_asking(largest, target) else None

    def _gather(self, node: Node, number: int, leaves: dict[Node, Buffer]) -> Task:
        leaves[node] = buffer_for(node, node.name or f"batch {number}")
        return gather_task(
            self.workshop.module, node, number, self.sources[number], self.indices, leaves[node]
        )


def _number(number: int, node: Node) -> Buffer:
    """A run-time number: a place in the row of the table that the step is given."""
    if node.dtype is not float64 or node.shape:
        raise ShapeError(
            f"a run-time number must be one of float64.\n  given: {node.aval!r}\n"
            "  fix: read it as float64 and cast it in the step"
        )
    label = node.name or f"number {number}"
    return buffer_for(node, label, pointer="numbers", offset=8 * number)


def _changes(step: Step, source: int, output: int) -> bool:
    return output >= 0 and step.graph.outputs[output] is not step.graph.inputs[source]


def _trains(step: Step) -> bool:
    return not step.peeks and any(_changes(step, *each) for each in step.state)


def _rows(step: Step) -> int:
    """How many indices a step takes."""
    lengths = {step.graph.inputs[position].shape[0] for position in step.batch}
    if len(lengths) > 1:
        raise ShapeError(f"the batch inputs of a step have different numbers of rows: {lengths}")
    return lengths.pop() if lengths else 0


class _Reach:
    """Which rows the steps of a plan read, and of how long data.

    Args:
        steps: the variants.
        data: the data arrays.
    """

    def __init__(self, steps: Sequence[Step], data: Sequence[Array]) -> None:
        self._reads = np.array([_rows(step) for step in steps])
        self._takes = np.where([step.peeks for step in steps], 0, self._reads)
        lengths = [
            [len(array) for array in data[step.data : step.data + len(step.batch)]]
            for step in steps
        ]
        self._lengths = np.array([min(each, default=0) for each in lengths])
        self._shortest = int(self._lengths.min())
        self._looks = bool((self._takes < self._reads).any())

    def check(self, rows: Array, plan: Array) -> None:
        """Refuse a plan that takes more rows than are given, or rows that the data do not have.

        Raises:
            ShapeError: naming the number or the index.
        """
        if not plan.size:
            return
        if plan.view(np.uint32).max() >= len(self._reads):  # negative numbers are large ones there
            raise ShapeError(
                f"the plan names a step that does not exist; there are {len(self._reads)}"
            )
        counts = np.bincount(plan, minlength=len(self._reads))
        needed = self._needed(plan, counts)
        if rows.size < needed:
            raise ShapeError(f"the plan takes {needed} indices but {rows.size} were given")
        if needed:
            self._check_range(rows[:needed], plan, np.flatnonzero(counts))

    def _needed(self, plan: Array, counts: Array) -> int:
        """How many rows the plan reads."""
        if not self._looks:
            return int(counts @ self._takes)
        for variant in np.flatnonzero((self._takes < self._reads) & (counts > 0)):
            # A step that only looks reads rows of the steps after it, of the next one as a rule.
            places = np.flatnonzero(plan == variant)
            after = plan[np.minimum(places + 1, plan.size - 1)]
            if (self._takes[after] < self._reads[variant]).any():
                ends = np.cumsum(self._takes[plan])
                return int((ends - self._takes[plan] + self._reads[plan]).max())
        return int(counts @ self._takes)

    def _check_range(self, rows: Array, plan: Array, used: Array) -> None:
        if rows.view(np.uint32).max() < self._shortest:
            return
        low, high = int(rows.min()), int(rows.max())
        short, long = int(self._lengths[used].min()), int(self._lengths[used].max())
        if low >= 0 and high < short:
            return
        limits = np.repeat(self._lengths[plan], self._takes[plan])
        beyond = np.flatnonzero(rows[: len(limits)] >= limits)
        if low < 0 or high >= long or len(beyond):
            index = low if low < 0 else int(rows[beyond[0]]) if len(beyond) else high
            length = int(limits[beyond[0]]) if len(beyond) else short
            raise ShapeError(f"index {index} is outside of data with {length} rows")


def _apart(report: Array, steps: Array, widths: Sequence[int]) -> list[Array]:
    """What each variant reported, from what all steps reported one behind the other."""
    if len(set(widths)) == 1:
        rows = report[: steps.size * widths[0]].reshape(steps.size, widths[0])
        return [rows] if len(widths) == 1 else [rows[steps == k] for k in range(len(widths))]
    counts = np.bincount(steps, minlength=len(widths))
    usual = int(counts.argmax())
    others = np.flatnonzero(steps != usual)
    kinds = steps[others]
    wider = np.asarray(widths)[kinds] - widths[usual]
    # Where the unusual steps begin: each lies behind the steps before it, most of them usual.
    starts = others * widths[usual] + np.cumsum(wider) - wider
    found = [np.zeros((0, width)) for width in widths]
    for variant in np.unique(kinds):
        places = starts[kinds == variant][:, None] + np.arange(widths[variant])
        found[variant] = report[places]
    told = report[: int(counts @ np.asarray(widths))]
    ends = (starts + np.asarray(widths)[kinds]).tolist()
    pairs = zip([0, *ends], [*starts.tolist(), told.size], strict=True)
    found[usual] = np.concatenate([told[a:b] for a, b in pairs]).reshape(-1, widths[usual])
    return found


class Loop:
    """A compiled training loop and its state.

    Made by :func:`compile_loop`.
    """

    def __init__(self, built: Built, steps: Sequence[Step]) -> None:
        self._built = built
        self._steps = tuple(steps)
        self._reach = _Reach(steps, built.data)
        self._kinds = [(array.shape, array.dtype) for array in built.data]
        self._lock = threading.Lock()
        self._views: dict[int, Array] = {}

    @property
    def compile_seconds(self) -> float:
        """What planning and compiling took."""
        return self._built.compile_seconds

    @property
    def threads(self) -> int:
        """How many threads run a step."""
        return self._built.threads

    def run(
        self,
        indices: Array,
        plan: Array,
        scalars: Sequence[float] | Array = (),
        turns: Array | None = None,
    ) -> Array:
        """Run steps natively, one after the other.

        Args:
            indices: which rows of the data, int32; each step takes its rows where the one before
                stopped.
            plan: which variant each step is, int32.
            scalars: the run-time numbers, in the order of ``Step.scalars``; or a table of them,
                (turns, numbers), such as the learning rate of each epoch.
            turns: which row of that table each step reads, int32; None is the first for all.

        Returns:
            float64 of shape (steps, sums); fewer rows when :meth:`stop` was called meanwhile.

        Raises:
            ShapeError: when the indices do not suffice, or a number is missing.
            IndexRangeError: when a step met an index outside of its axis; the state is that before
                the step.
            EngineError: when the variants report different numbers of sums: :meth:`reports`.
        """
        widths = set(self._built.sums)
        if len(widths) > 1:
            raise EngineError(
                f"the variants of this loop report different numbers of sums: {sorted(widths)}.\n"
                "  fix: loop.reports(...) gives those of each variant apart"
            )
        report, done = self._run(*self._checked(indices, plan, scalars, turns))
        width = widths.pop()
        return report[: done * width].reshape(done, width)

    def reports(
        self,
        indices: Array,
        plan: Array,
        scalars: Sequence[float] | Array = (),
        turns: Array | None = None,
    ) -> tuple[int, list[Array]]:
        """Run steps as :meth:`run` does, and give what each variant reported apart.

        Returns:
            How many steps were run; and for each variant float64 of shape (times, sums).
        """
        rows, steps, numbers, which = self._checked(indices, plan, scalars, turns)
        report, done = self._run(rows, steps, numbers, which)
        return done, _apart(report, steps[:done], self._built.sums)

    def _run(self, rows: Array, steps: Array, numbers: Array, turns: Array) -> tuple[Array, int]:
        with self._lock:
            return self._built.run(rows, steps, numbers, turns)

    def _checked(
        self, indices: Array, plan: Array, scalars: Sequence[float] | Array, turns: Array | None
    ) -> tuple[Array, Array, Array, Array]:
        """A plan as the native loop takes it."""
        steps = np.ascontiguousarray(plan, np.int32)
        rows = np.ascontiguousarray(indices, np.int32)
        if len(self._built.data) != len(self._kinds):
            raise EngineError("this loop was released.\n  fix: bind(data) gives it data again")
        self._reach.check(rows, steps)
        numbers = np.ascontiguousarray(scalars, np.float64)
        numbers = numbers[None] if numbers.ndim == 1 else numbers
        if numbers.ndim != 2 or numbers.shape[1] != self._built.numbers:
            raise ShapeError(
                f"the loop takes {self._built.numbers} run-time numbers"
                f" but {numbers.shape[-1]} were given"
            )
        if turns is None:
            return rows, steps, numbers, np.zeros(steps.size, np.int32)
        which = np.ascontiguousarray(turns, np.int32)
        if which.shape != steps.shape or (
            which.size and not 0 <= int(which.min()) <= int(which.max()) < len(numbers)
        ):
            raise ShapeError(
                f"turns must name one of {len(numbers)} rows of numbers for each of"
                f" {steps.size} steps.\n  given: {which}"
            )
        return rows, steps, numbers, which

    def bind(self, data: Sequence[Array]) -> None:
        """Read other data from now on; nothing is compiled anew.

        Args:
            data: arrays of the shapes and dtypes that the loop was compiled with, read in place.

        Raises:
            ShapeError: an array of another shape or dtype.
        """
        built = self._built
        given = [np.ascontiguousarray(array) for array in data]
        kinds = [(array.shape, array.dtype) for array in given]
        if kinds != self._kinds:
            raise ShapeError(
                "a loop can only be given data of the kind it was compiled with.\n"
                f"  given: {kinds}\n  expected: {self._kinds}"
            )
        with self._lock:
            built.bind(given)

    def release(self) -> None:
        """Let go of the data and of waiting threads; after :meth:`bind` it can be run again."""
        with self._lock:
            self._built.release()

    def twin(self) -> Loop:
        """A loop of the same code and data with memory of its own."""
        with self._lock:
            return Loop(self._built.twin(), self._steps)

    def read(self, number: int) -> Array:
        """A copy of one state, by its position in ``Step.state``."""
        with self._lock:
            return self._view(number).copy()

    def _view(self, number: int) -> Array:
        """One state where it lies in the arena, which stays where it is."""
        view = self._views.get(number)
        if view is None:
            view = self._views[number] = self._built.state[number].view(self._built.arena)
        return view

    def is_finite(self, number: int) -> bool:
        """Whether all numbers of one state are finite; nothing is copied."""
        with self._lock:
            view = self._view(number)
            # A sum is finite only if all its terms are; a large one may overflow by itself.
            total = np.add.reduce(view, axis=None)
            return bool(np.isfinite(total)) or bool(np.isfinite(view).all())

    def write(self, number: int, array: Array) -> None:
        """Set one state.

        Raises:
            ShapeError: when the array has another shape.
        """
        buffer = self._built.state[number]
        given = np.asarray(array)
        if given.shape != buffer.shape:
            raise ShapeError(
                f"state {number} ({buffer.label}) has shape {buffer.shape}; given {given.shape}"
            )
        with self._lock:
            self._view(number)[...] = given

    def stop(self) -> None:
        """Ask a running loop to stop after the step it is at; may be called from any thread."""
        self._built.arena[STOP : STOP + 8].view(np.int64)[0] = 1

    def explain(self) -> str:
        """What was fused, which kernels run, how much memory and time it takes."""
        return explain(self._built)

    def profile(
        self, indices: Array, plan: Array, scalars: Sequence[float] | Array = ()
    ) -> Profile:
        """Where the time of the steps goes: each task's share, as the first thread sees it.

        The steps run on a copy of the state, with a clock around each task.

        Args:
            indices, plan, scalars: as for :meth:`run`.

        Raises:
            EngineError: on processors whose clock programs may not read.
        """
        checked = self._checked(indices, plan, scalars, None)
        with self._lock:
            return profile(self._built, *checked)

    def llvm_ir(self) -> str:
        """The whole module in LLVM's language."""
        return self._built.machine.ir
