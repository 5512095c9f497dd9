"""The loop over groups of trainings, epochs and steps, and the memory that it works on."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....graph.graph import Graph
from ...program import Step
from .. import jit
from ..emit.driver import flush_denormals
from ..emit.ir import Module
from ..emit.types import FLOAT64, INT32, INT64, PTR, Value, literal
from ..lower.buffers import ALIGNMENT
from ..lower.checks import refuse
from ..lower.plan import prepare
from ..target import Target
from .cost import Estimate, estimate
from .step import Block, Scratch, StepWriter, Variant
from .vary import Differences, varying

Array = np.ndarray[Any, Any]
_POINTERS = (
    "states", "scratch", "data", "orders", "evaluation", "plan", "slots", "targets", "stop",
)  # fmt: skip
_NUMBERS = ("first", "last", "stride", "epochs", "each", "short", "long")


@dataclass(frozen=True)
class Kind:
    """One variant of the step, as :func:`compile_lanes` is given it.

    Attributes:
        step: the traced step.
        weights: for each sum, by what it is multiplied before it is added to its total.
        trains: whether it takes its rows from a training's own order; else it evaluates.
        count: by what the totals of its sums are divided when an epoch is over.
    """

    step: Step
    weights: tuple[float, ...]
    trains: bool
    count: int


def compile_lanes(
    kinds: Sequence[Kind],
    data: Sequence[Array],
    differences: Differences,
    *,
    target: Target | None = None,
) -> LaneLoop:
    """Compile a training loop that runs as many trainings at once as a vector has lanes.

    Args:
        kinds: the variants of the step, those that train first; they share their state.
        data: arrays whose rows the batches are gathered from, read in place.
        differences: what differs between the trainings of a vector.
        target: the processor; None is this one.

    Raises:
        EngineError: an op has no form on the native engine.
    """
    started = time.perf_counter()
    target = target or Target.host()
    graphs = [prepared(kind.step) for kind in kinds]
    plan = estimate([kind.step for kind in kinds], graphs, target)
    own = [kind.trains and differences.batch for kind in kinds]
    steps = [kind.step for kind in kinds]
    varies, state_varies = varying(steps, graphs, own, differences)
    blocks = _blocks(steps[0], plan.lanes, state_varies, differences.scalars)
    firsts = [0 if kind.trains else len(kinds[0].step.sums) for kind in kinds]
    columns = max(first + len(kind.step.sums) for first, kind in zip(firsts, kinds, strict=True))
    totals = -(-8 * plan.lanes * columns // ALIGNMENT) * ALIGNMENT
    scratch = Scratch(totals + ALIGNMENT, note=totals)
    for graph in graphs:
        scratch.add_constants(graph)
    scratch.bytes = scratch.fixed
    module = Module(target)
    variants = []
    for number, (kind, graph) in enumerate(zip(kinds, graphs, strict=True)):
        variants.append(Variant(kind.step, graph, own[number], kind.weights, firsts[number]))
        StepWriter(
            module, f"step.{number}", variants[-1], plan.lanes, varies, blocks, data, scratch,
        ).write()  # fmt: skip
    counts = [0] * columns
    for first, kind in zip(firsts, kinds, strict=True):
        for number in range(len(kind.step.sums)):
            counts[first + number] = kind.count
    _Driver(module, plan.lanes, kinds, variants, counts, scratch).write()
    machine = jit.compile(module.text(), target)
    seconds = time.perf_counter() - started
    return LaneLoop(machine, plan, blocks, scratch, columns, list(data), seconds)


def prepared(step: Step) -> Graph:
    """A step's graph, simplified and settled, its outputs in memory of their own."""
    owned = {
        output
        for source, output in step.state
        if output >= 0 and step.graph.outputs[output] is not step.graph.inputs[source]
    }
    return prepare(step.graph, owned | set(step.sums))[0]


def _blocks(
    step: Step, lanes: int, state_varies: Sequence[bool], scalar_varies: Sequence[bool]
) -> tuple[list[Block], list[Block]]:
    """The places of states and run-time numbers in a group's memory."""
    offset = 0
    found: tuple[list[Block], list[Block]] = ([], [])
    inputs = step.graph.inputs
    states = [inputs[place] for place, _ in step.state]
    numbers = [inputs[place] for place in step.scalars]
    for nodes, differ, into in zip(
        (states, numbers), (state_varies, scalar_varies), found, strict=True
    ):
        for node, varies in zip(nodes, differ, strict=True):
            block = Block(offset, node.shape, node.dtype, lanes if varies else 0)
            offset += block.bytes
            into.append(block)
    return found


class _Driver:
    """Writes ``run``: groups of trainings, epochs, steps, and the history at the epochs' ends."""

    def __init__(
        self,
        module: Module,
        lanes: int,
        kinds: Sequence[Kind],
        variants: Sequence[Variant],
        counts: Sequence[int],
        scratch: Scratch,
    ) -> None:
        self.memory = scratch
        self.lanes, self.kinds, self.variants, self.counts = lanes, kinds, variants, counts
        params = [(name, PTR) for name in _POINTERS] + [(name, INT64) for name in _NUMBERS]
        self.function = module.function("run", params, exported=True)
        named = dict(zip((*_POINTERS, *_NUMBERS), self.function.params, strict=True))
        self.given = named

    def write(self) -> None:
        """Write the function."""
        function, given = self.function, self.given
        self.restore = flush_denormals(function)
        self.leave = function.fresh("leave")
        function.loop(given["first"], given["last"], 1, [], lambda g, _: self._group(g), guard=True)
        self.restore()
        function.ret()
        function.block(self.leave)
        self.restore()
        function.ret()

    def _group(self, group: Value) -> None:
        function, given = self.function, self.given
        state = function.offset(given["states"], function.mul(group, given["stride"]))
        order = function.load(function.offset(given["orders"], group, "ptr"), PTR)
        self._clear()

        def epoch(number: Value, _: list[Value]) -> None:
            rows = function.offset(order, function.mul(number, given["each"]))
            slot = function.load(function.offset(given["slots"], number, "i32"), INT32)
            kept = function.compare("ge", slot, 0)
            steps = function.select(kept, given["long"], given["short"])
            start = [rows, given["evaluation"]]
            function.loop(0, steps, 1, start, lambda at, now: self._step(state, at, now))
            function.when(kept, lambda: self._write_history(group, slot))
            self._clear()

        function.loop(0, given["epochs"], 1, [], epoch)

    def _clear(self) -> None:
        zero = literal(0, FLOAT64.with_lanes(self.lanes))
        for column in range(len(self.counts)):
            self.function.store(zero, self._total(column))

    def _total(self, column: int) -> Value:
        return self.function.offset(self.given["scratch"], 8 * self.lanes * column)

    def _step(self, state: Value, at: Value, pointers: list[Value]) -> list[Value]:
        """Run the step that the plan names, and look whether to stop."""
        function, given = self.function, self.given
        which = function.load(function.offset(given["plan"], at, "i32"), INT32)
        moved: list[Value] = [function.i64(0), function.i64(0)]
        for number, (kind, variant) in enumerate(zip(self.kinds, self.variants, strict=True)):
            lane = 0 if kind.trains else 1
            arguments = [state, given["scratch"], given["data"], pointers[lane]]
            size = 4 * variant.rows * (self.lanes if variant.own_batch else 1)
            if len(self.kinds) == 1:
                function.call(f"step.{number}", arguments)
                moved[lane] = function.i64(size)
                continue
            chosen = function.compare("eq", which, number)
            moved[lane] = function.select(chosen, size, moved[lane])
            self._called(chosen, number, arguments)
        self._look()
        return [function.offset(p, m) for p, m in zip(pointers, moved, strict=True)]

    def _called(self, chosen: Value, number: int, arguments: list[Value]) -> None:
        self.function.when(chosen, lambda: self.function.call(f"step.{number}", arguments))

    def _look(self) -> None:
        """Leave when the stop word is set."""
        function = self.function
        asked = function.value(f"load volatile i64, ptr {self.given['stop'].text}, align 8", INT64)
        if self.memory.checks:
            note = function.load(self.given["scratch"], INT64, self.memory.note // 8)
            asked = function.value(f"or i64 {asked.text}, {note.text}", INT64)
        going = function.fresh("going")
        stop = function.compare("ne", asked, 0)
        function.line(f"br i1 {stop.text}, label %{self.leave}, label %{going}")
        function.block(going)

    def _write_history(self, group: Value, slot: Value) -> None:
        """Each training's means into its own row of the history."""
        function, lanes = self.function, self.lanes
        vector = FLOAT64.with_lanes(lanes)
        row = function.value(f"sext i32 {slot.text} to i64", INT64)
        start = function.mul(row, 8 * len(self.counts))
        targets = function.offset(self.given["targets"], function.mul(group, 8 * lanes))
        means = []
        for column, count in enumerate(self.counts):
            total = function.load(self._total(column), vector)
            by = literal(float(count), vector)
            means.append(function.value(f"fdiv {total!r}, {by.text}", vector))
        for lane in range(lanes):
            base = function.load(function.offset(targets, 8 * lane), PTR)
            at = function.offset(base, start)
            for column, mean in enumerate(means):
                text = f"extractelement {mean!r}, i32 {lane}"
                function.store(function.value(text, FLOAT64), at, column)


@dataclass
class LaneLoop:
    """A compiled loop over groups of trainings. Made by :func:`compile_lanes`.

    Attributes:
        machine: the code.
        plan: what it costs, and how it is written.
        blocks: where states and run-time numbers lie in a group's memory.
        scratch: what a thread needs.
        columns: numbers that an epoch reports: of the training steps, then of those that evaluate.
        data: the arrays that rows are gathered from.
        compile_seconds: what compiling took.
    """

    machine: jit.Machine
    plan: Estimate
    blocks: tuple[list[Block], list[Block]]
    scratch: Scratch
    columns: int
    data: list[Array]
    compile_seconds: float
    _function: Any = field(default=None, repr=False)

    @property
    def lanes(self) -> int:
        """Trainings in a group."""
        return self.plan.lanes

    @property
    def stride(self) -> int:
        """Bytes of a group's states and run-time numbers."""
        return max(ALIGNMENT, sum(block.bytes for part in self.blocks for block in part))

    def groups(self, count: int) -> Array:
        """Zeroed memory for so many groups: uint8 (count, stride), aligned."""
        return aligned(count * self.stride).reshape(count, self.stride)

    def write(self, memory: Array, which: int, number: int, values: Array) -> None:
        """Set a state (which 0) or a run-time number (which 1) of every training.

        Args:
            memory: of :meth:`groups`.
            which, number: which of the blocks.
            values: (trainings, ...), lane by lane; or of one training, for all.
        """
        block = self.blocks[which][number]
        shared = values.ndim == len(block.shape)
        part = self._view(memory, block)
        if shared:
            part[...] = values.reshape(1, part.shape[1], 1)
        elif block.lanes:
            part[...] = values.reshape(len(memory), self.lanes, part.shape[1]).transpose(0, 2, 1)
        else:
            part[...] = values.reshape(len(memory), self.lanes, part.shape[1])[:, 0, :, None]

    def read(self, memory: Array, number: int) -> Array:
        """A state of every training: (trainings, ...)."""
        block = self.blocks[0][number]
        part = self._view(memory, block).transpose(0, 2, 1)
        if not block.lanes:
            part = np.broadcast_to(part, (len(memory), self.lanes, part.shape[2]))
        return part.reshape(len(memory) * self.lanes, *block.shape)

    def _view(self, memory: Array, block: Block) -> Array:
        """A block in every group: (groups, elements, lanes)."""
        size = int(np.prod(block.shape, dtype=np.int64))
        length = size * max(1, block.lanes) * block.dtype.itemsize
        part = memory[:, block.offset : block.offset + length].view(block.dtype.np)
        return part.reshape(len(memory), size, max(1, block.lanes))

    def private(self) -> Array:
        """A thread's own memory, with the constants in it."""
        memory = aligned(max(ALIGNMENT, self.scratch.bytes))
        for offset, content in self.scratch.constants.values():
            flat = content.reshape(-1)
            memory[offset : offset + flat.nbytes].view(flat.dtype)[...] = flat
        return memory

    def run(
        self,
        groups: tuple[int, int],
        memory: Array,
        private: Array,
        orders: Array,
        each: int,
        evaluation: Array,
        plan: Array,
        short: int,
        slots: Array,
        targets: Array,
        stop: Array,
    ) -> bool:
        """Run epochs of some groups, on the calling thread, without the interpreter's lock.

        Args:
            groups: the first, and the one after the last.
            memory: of :meth:`groups`.
            private: of :meth:`private`, used by this thread alone.
            orders: int64 (groups,): where each group's rows of the data are written.
            each: bytes of an order from one epoch to the next; 0 where all are the same.
            evaluation: int32, the rows that an evaluation takes.
            plan: int32, the kind of each step of an epoch, evaluations last.
            short: how many of them an epoch takes that is not kept in the history.
            slots: int32 (epochs,): the place of each epoch in the history, -1 for none.
            targets: int64 (groups * lanes,): where each training's history is, float64
                (slots, columns).
            stop: int64 (1,): set to end after the step that runs.

        Returns:
            Whether it came to its end.

        Raises:
            IndexRangeError: an index was outside of its axis; the op is named.
        """
        if self._function is None:
            kinds = [ctypes.c_void_p] * len(_POINTERS) + [ctypes.c_int64] * len(_NUMBERS)
            self._function = ctypes.CFUNCTYPE(None, *kinds)(self.machine.address("run"))
        table = np.array([array.ctypes.data for array in self.data], np.int64)
        arrays = (memory, private, table, orders, evaluation, plan, slots, targets, stop)
        pointers = [array.ctypes.data for array in arrays]
        numbers = (*groups, self.stride, len(slots), each, short, len(plan))
        self._function(*pointers, *numbers)
        note = private[self.scratch.note : self.scratch.note + 16].view(np.int64)
        if note[0]:
            refuse(self.scratch.checks[int(note[0]) - 1], int(note[1]))
        return not stop[0]


def aligned(size: int) -> Array:
    """Zeroed bytes that begin at a cache line."""
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]
