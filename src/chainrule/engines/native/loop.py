"""Training loops as one native function: many steps and epochs between two visits of Python."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...dtypes import int32
from ...errors import EngineError, ShapeError
from ...graph.node import Node
from ..program import Step
from .explain import explain
from .lower.buffers import Buffer, buffer_for
from .lower.driver import STOP, TABLE_ENTRIES
from .lower.gathers import data_buffer, gather_task
from .lower.plan import Planned, prepare
from .lower.tasks import Task
from .machine import Built, Workshop
from .profile import Profile, profile

Array = np.ndarray[Any, Any]


def compile_loop(
    steps: Sequence[Step], data: Sequence[Array], *, threads: int | None = None
) -> Loop:
    """Compile a training loop: one native function over all steps and epochs.

    Args:
        steps: the variants of the step (a full batch, the remainder, an evaluation); they share
            their state, in order, and their kernels.
        data: arrays whose rows the batches are gathered from; they are read in place and must not
            change while the loop runs. Data of another dtype than the step's is converted as it is
            gathered.
        threads: how many threads; by default as many as the work is worth.

    Raises:
        EngineError: when an op has no form on this engine, naming the op, its layer and its line.
        ShapeError: when the data or the variants do not fit each other.
    """
    return Loop(_Planner(steps, data, threads).build())


class _Planner:
    """Plans the variants of a loop on what they share."""

    def __init__(self, steps: Sequence[Step], data: Sequence[Array], threads: int | None) -> None:
        self.steps = list(steps)
        self.data = [np.ascontiguousarray(array) for array in data]
        self.workshop = Workshop(threads)
        self.state: list[Buffer] = []
        self.scalars: list[Buffer] = []
        self.sources = [data_buffer(array, k) for k, array in enumerate(self.data)]
        self.indices = Buffer("indices", (1 << 40,), int32, (1,), pointer="indices")
        self._check()

    def _check(self) -> None:
        if not self.steps:
            raise EngineError("a loop needs at least one step")
        first = self.steps[0]
        for step in self.steps:
            if len(step.state) != len(first.state) or len(step.sums) != len(first.sums):
                raise EngineError("the steps of a loop must share their state and their sums")
            if len(step.batch) > len(self.data):
                raise EngineError(
                    f"a step takes {len(step.batch)} batch inputs but there are"
                    f" {len(self.data)} data arrays"
                )
        if len(self.data) > TABLE_ENTRIES:
            raise EngineError(f"a loop takes at most {TABLE_ENTRIES} data arrays")

    def build(self) -> Built:
        """Plan all variants and compile them."""
        planned = [self._plan(step) for step in self.steps]
        rows = [_rows(step) for step in self.steps]
        outside = {source.pointer or "": k for k, source in enumerate(self.sources)}
        return self.workshop.build(
            planned,
            rows,
            len(self.steps[0].sums),
            self.state,
            self.scalars,
            outside,
            self.data,
        )

    def _shared(self, known: list[Buffer], number: int, node: Node, label: str) -> Buffer:
        """The buffer of the state (or number) of a position, the same for all steps."""
        if number == len(known):
            known.append(buffer_for(node, node.name or f"{label} {number}", kept=True))
        buffer = known[number]
        if buffer.shape != node.shape or buffer.dtype is not node.dtype:
            raise ShapeError(
                f"the steps of a loop do not share {label} {number}.\n"
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
            leaves[node] = self._shared(self.state, number, node, "state")
        for number, source in enumerate(step.scalars):
            node = graph.inputs[source]
            leaves[node] = self._shared(self.scalars, number, node, "number")
        first = [
            self._gather(graph.inputs[source], number, leaves)
            for number, source in enumerate(step.batch)
        ]
        updates = [
            (graph.inputs[source], prepared.outputs[output])
            for source, output in step.state
            if output in owned
        ]
        sums = [prepared.outputs[output] for output in step.sums]
        return self.workshop.plan(prepared, rewrites, graph, leaves, updates, {}, first, sums)

    def _gather(self, node: Node, number: int, leaves: dict[Node, Buffer]) -> Task:
        leaves[node] = buffer_for(node, node.name or f"batch {number}")
        return gather_task(
            self.workshop.module, node, number, self.sources[number], self.indices, leaves[node]
        )


def _changes(step: Step, source: int, output: int) -> bool:
    return output >= 0 and step.graph.outputs[output] is not step.graph.inputs[source]


def _rows(step: Step) -> int:
    """How many indices a step takes."""
    lengths = {step.graph.inputs[position].shape[0] for position in step.batch}
    if len(lengths) > 1:
        raise ShapeError(f"the batch inputs of a step have different numbers of rows: {lengths}")
    return lengths.pop() if lengths else 0


def _check_range(rows: Array, length: int) -> None:
    low, high = int(rows.min()), int(rows.max())
    if low < 0 or high >= length:
        raise ShapeError(f"index {low if low < 0 else high} is outside of data with {length} rows")


class Loop:
    """A compiled training loop and its state.

    Made by :func:`compile_loop`.
    """

    def __init__(self, built: Built) -> None:
        self._built = built
        self._kinds = [(array.shape, array.dtype) for array in built.data]
        self._lock = threading.Lock()

    @property
    def compile_seconds(self) -> float:
        """What planning and compiling took."""
        return self._built.compile_seconds

    @property
    def threads(self) -> int:
        """How many threads run a step."""
        return self._built.threads

    def run(self, indices: Array, plan: Array, scalars: Sequence[float] | Array = ()) -> Array:
        """Run steps natively, one after the other.

        Args:
            indices: which rows of the data, int32; each step takes its rows where the one before
                stopped.
            plan: which variant each step is, int32.
            scalars: the run-time numbers, in the order of ``Step.scalars``.

        Returns:
            float64 of shape (steps, sums); fewer rows when :meth:`stop` was called meanwhile.

        Raises:
            ShapeError: when the indices do not suffice, or a number is missing.
        """
        steps = np.ascontiguousarray(plan, np.int32)
        rows = np.ascontiguousarray(indices, np.int32)
        self._check(rows, steps, scalars)
        with self._lock:
            return self._built.run(rows, steps, [float(number) for number in scalars])

    def _check(self, rows: Array, steps: Array, scalars: Sequence[float] | Array) -> None:
        built = self._built
        if steps.size and not 0 <= int(steps.min()) <= int(steps.max()) < len(built.rows):
            raise ShapeError(
                f"the plan names a step that does not exist; there are {len(built.rows)}"
            )
        needed = int(np.asarray(built.rows)[steps].sum()) if steps.size else 0
        if rows.size < needed:
            raise ShapeError(f"the plan takes {needed} indices but {rows.size} were given")
        if len(built.data) != len(self._kinds):
            raise EngineError("this loop was released.\n  fix: bind(data) gives it data again")
        if needed and built.data:
            _check_range(rows[:needed], min(len(array) for array in built.data))
        if len(scalars) != len(built.scalars):
            raise ShapeError(
                f"the loop takes {len(built.scalars)} run-time numbers"
                f" but {len(scalars)} were given"
            )

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

    def read(self, number: int) -> Array:
        """A copy of one state, by its position in ``Step.state``."""
        with self._lock:
            return self._built.state[number].view(self._built.arena).copy()

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
            buffer.view(self._built.arena)[...] = given

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
        steps = np.ascontiguousarray(plan, np.int32)
        rows = np.ascontiguousarray(indices, np.int32)
        self._check(rows, steps, scalars)
        with self._lock:
            return profile(self._built, rows, steps, [float(number) for number in scalars])

    def llvm_ir(self) -> str:
        """The whole module in LLVM's language."""
        return self._built.machine.ir
