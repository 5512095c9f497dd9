"""One step of the loop as a function: its memory, its inputs, its nodes, what it hands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....dtypes import DType, int32, of_numpy
from ....graph.graph import Graph
from ....graph.node import CONSTANT, Node
from ....ops import shape
from ...program import Step
from ..emit.ir import Module
from ..emit.memory import extract, memory_type
from ..emit.shuffle import fold_lanes, vector_of
from ..emit.types import FLOAT64, INT64, PTR, Value, literal
from ..lower.buffers import ALIGNMENT, Buffer
from ..lower.checks import is_check
from ..lower.memory import place
from ..lower.support import form
from ..lower.views import axes_under, dense, under
from .cells import Memory
from .structured import write_node
from .writer import Index, Writer

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Block:
    """Where a state or a run-time number lies in the memory of a group of trainings.

    Attributes:
        offset: bytes from the group's beginning.
        shape, dtype: what it is for one training.
        lanes: trainings side by side; 0 where it is one for all.
    """

    offset: int
    shape: tuple[int, ...]
    dtype: DType
    lanes: int

    @property
    def bytes(self) -> int:
        """Bytes of the block."""
        size = int(np.prod(self.shape, dtype=np.int64)) * max(1, self.lanes)
        return -(-max(size, 1) * memory_type(self.dtype).bytes // ALIGNMENT) * ALIGNMENT


@dataclass
class Variant:
    """A step that is to be written.

    Attributes:
        step: positions of inputs and outputs.
        graph: simplified and settled.
        own_batch: whether each training takes its own rows of the data.
        weights: for each sum, by what it is multiplied before it is added to its total.
        first: the number of the total that the first sum is added to.
    """

    step: Step
    graph: Graph
    own_batch: bool
    weights: Sequence[float]
    first: int

    @property
    def rows(self) -> int:
        """Examples in a batch."""
        return self.graph.inputs[self.step.batch[0]].shape[0] if self.step.batch else 0


@dataclass
class Scratch:
    """A thread's private memory: totals, constants, then what the steps compute.

    Attributes:
        fixed: bytes of totals, note and constants.
        note: where two int64 tell of a bad index: which check it failed, from 1, and the index.
        constants: offset and content of each constant array.
        checks: the checks of indices, as they are numbered.
        bytes: all of it.
    """

    fixed: int
    note: int = 0
    checks: list[Node] = field(default_factory=list)
    constants: dict[Node, tuple[int, Array]] = field(default_factory=dict)
    bytes: int = 0

    def add_constants(self, graph: Graph) -> None:
        """Give the constant arrays of a graph their places."""
        for node in graph.nodes():
            if node.op is CONSTANT and node.size > 1 and node not in self.constants:
                content = np.ascontiguousarray(node.value(), node.dtype.np)
                self.constants[node] = self.fixed, content
                self.fixed += -(-content.nbytes // ALIGNMENT) * ALIGNMENT


class StepWriter:
    """Writes ``step(state, scratch, data, rows)``.

    Args:
        module: where the function goes.
        name: its name.
        variant: what it does.
        lanes: trainings in a vector.
        varies: the nodes that differ between trainings.
        blocks: where states and run-time numbers lie, in their order.
        data: the arrays that rows are gathered from.
        scratch: the thread's memory; grows to what this step needs.
    """

    def __init__(
        self,
        module: Module,
        name: str,
        variant: Variant,
        lanes: int,
        varies: set[Node],
        blocks: tuple[Sequence[Block], Sequence[Block]],
        data: Sequence[Array],
        scratch: Scratch,
    ) -> None:
        names = ("state", "scratch", "data", "rows")
        self.function = module.function(name, [(each, PTR) for each in names])
        self.state, self.scratch, self.data, self.rows = self.function.params
        self.writer = Writer(self.function, lanes, varies)
        self.variant, self.blocks, self.arrays, self.memory = variant, blocks, data, scratch
        self.nodes = [node for node in variant.graph.nodes() if form(node) not in ("leaf", "view")]

    def write(self) -> None:
        """Write the function."""
        self._place_leaves()
        kept = self._kept()
        self._place_in_memory(kept)
        self._gather()
        for node in kept:
            write_node(self.writer, node)
        self._note_bad_indices()
        self._report()
        self._update()
        self.function.ret()

    # -- inputs --
    def _place_leaves(self) -> None:
        step, cells, inputs = self.variant.step, self.writer.cells, self.variant.graph.inputs
        places = [place for place, _ in step.state], list(step.scalars)
        for positions, blocks in zip(places, self.blocks, strict=True):
            # A step that only evaluates reads no run-time numbers.
            for position, block in zip(positions, blocks, strict=False):
                cells[inputs[position]] = Memory(self.state, block.offset, block.dtype, block.lanes)
        for node, (offset, _) in self.memory.constants.items():
            cells[node] = Memory(self.scratch, offset, node.dtype, 0)

    def _gather(self) -> None:
        """Copy the batch's rows into memory by lanes."""
        w, inputs = self.writer, self.variant.graph.inputs
        for number, position in enumerate(self.variant.step.batch):
            node = inputs[position]
            rows = _Rows(self, number, node)

            def one(index: Index, node: Node = node, rows: _Rows = rows) -> None:
                pointers = rows.pointers(index[0])
                w.each(
                    (rows.columns,),
                    lambda c: w.cells[node].set(
                        w.e,
                        w.plus(w.times(index[0], rows.columns), c[0]),
                        rows.element(pointers, c[0]),
                    ),
                )

            w.each((node.shape[0],), one)

    # -- what is kept --
    def _kept(self) -> list[Node]:
        """The computed nodes that are kept, in order; others are computed where they are used."""
        outputs = {under(node) for node in self.variant.graph.outputs}
        uses: dict[Node, list[tuple[Node, Node]]] = {}
        for node in self.nodes:
            for source in node.inputs:
                uses.setdefault(under(source), []).append((node, source))
        return [
            node
            for node in self.nodes
            if node in outputs or not _computed_where_used(node, uses.get(node, []))
        ]

    def _place_in_memory(self, kept: list[Node]) -> None:
        """Give kept nodes and the batch their places; equal ones serve nodes of different times."""
        w, graph = self.writer, self.variant.graph
        batch = [graph.inputs[position] for position in self.variant.step.batch]
        buffers = {node: self._buffer(node, number) for number, node in enumerate(batch + kept)}
        position = {node: number for number, node in enumerate(kept, len(batch))}
        for node, number in position.items():
            for source in self._sources(node, buffers):
                buffers[source].touch(number)
        for output in graph.outputs:
            if under(output) in buffers:
                buffers[under(output)].touch(len(buffers))
        self.memory.bytes = max(self.memory.bytes, place(list(buffers.values()), self.memory.fixed))
        for node, buffer in buffers.items():
            lanes = w.lanes if node in w.varies else 0
            w.cells[node] = Memory(self.scratch, buffer.offset, node.dtype, lanes)

    def _buffer(self, node: Node, number: int) -> Buffer:
        lanes = self.writer.lanes if node in self.writer.varies else 1
        return Buffer(
            node.op.name, (node.size, lanes), node.dtype, (lanes, 1), first=number, last=number
        )

    def _sources(self, node: Node, kept: Mapping[Node, Buffer]) -> list[Node]:
        """The kept nodes that a node reads, through those computed on the way."""
        found, waiting = [], list(node.inputs)
        while waiting:
            base = under(waiting.pop())
            if base in kept:
                found.append(base)
            else:
                waiting += base.inputs
        return found

    # -- outputs --
    def _note_bad_indices(self) -> None:
        """Leave a note where an index was outside of its axis; the loop then ends."""
        w, e = self.writer, self.writer.e
        for check in filter(is_check, self.variant.graph.outputs):
            self.memory.checks.append(check)
            flag, bad = (w.value(check, (place,)) for place in range(2))
            bad = e.select(e.ne(flag, 0), bad, -(1 << 63))
            if bad.lanes:
                flag, bad = fold_lanes(e, e.max, flag), fold_lanes(e, e.max, bad)

            def tell(number: int = len(self.memory.checks), bad: Value = bad) -> None:
                self.function.store(literal(number, INT64), self.scratch, self.memory.note // 8)
                self.function.store(bad, self.scratch, self.memory.note // 8 + 1)

            self.function.when(e.ne(flag, 0), tell)

    def _report(self) -> None:
        """Add the step's sums, as float64, to their totals."""
        w, e = self.writer, self.writer.e
        for number, output in enumerate(self.variant.step.sums):
            node = self.variant.graph.outputs[output]
            value = e.splat(e.cast_to(w.value(node, ()), "float64"))
            at = self.function.offset(self.scratch, 8 * w.lanes * (self.variant.first + number))
            total = self.function.load(at, FLOAT64.with_lanes(w.lanes))
            weight = literal(self.variant.weights[number], value.type)
            # Rounded after the product, as the numbers of a single training are added up.
            term = e.op(f"fmul {value.type.text} {{0}}, {{1}}", value.type, value, weight)
            self.function.store(
                e.op(f"fadd {term.type.text} {{0}}, {{1}}", term.type, total, term), at
            )

    def _update(self) -> None:
        """Let the new states take the places of the old ones, which nobody reads any more."""
        w, step, graph = self.writer, self.variant.step, self.variant.graph
        for (source, output), block in zip(step.state, self.blocks[0], strict=True):
            if output < 0 or graph.outputs[output] is graph.inputs[source]:
                continue
            node = graph.outputs[output]
            memory = Memory(self.state, block.offset, block.dtype, block.lanes)
            strides = dense(node.shape)

            def one(
                index: Index,
                node: Node = node,
                memory: Memory = memory,
                strides: tuple[int, ...] = strides,
            ) -> None:
                memory.set(w.e, w.flat(index, strides), w.value(node, index))

            w.each(node.shape, one)


class _Rows:
    """The rows of one data array that a batch takes."""

    def __init__(self, owner: StepWriter, number: int, node: Node) -> None:
        self.owner, self.node = owner, node
        number += owner.variant.step.data
        array = owner.arrays[number]
        self.columns = int(np.prod(node.shape[1:], dtype=np.int64))
        self.kind = memory_type(of_numpy(array.dtype))
        function = owner.function
        self.base = function.load(function.offset(owner.data, 8 * number), PTR)

    def pointers(self, row: int | Value) -> list[Value]:
        """The address of a row of the batch: one, or one for each lane."""
        w, function = self.owner.writer, self.owner.function
        lanes = w.lanes if self.owner.variant.own_batch else 0
        number = Memory(self.owner.rows, 0, int32, lanes).get(w.e, row)
        numbers = [extract(w.e, number, lane) for lane in range(lanes)] if lanes else [number]
        step = self.columns * self.kind.bytes
        return [
            function.offset(self.base, function.mul(w.e.cast_to(one, "int64"), step))
            for one in numbers
        ]

    def element(self, pointers: list[Value], column: int | Value) -> Value:
        """An element of a row, in the type that the step takes."""
        w, function = self.owner.writer, self.owner.function
        found = []
        for pointer in pointers:
            at = function.offset(pointer, w.times(column, self.kind.bytes))
            found.append(function.load(at, self.kind))
        value = found[0] if len(found) == 1 else vector_of(w.e, found, w.lanes)
        return w.e.cast(value, self.node.dtype)


def _computed_where_used(node: Node, uses: list[tuple[Node, Node]]) -> bool:
    """Whether an elementwise node is read once, element by element, by a loop over its places."""
    if form(node) != "map" or node.size == 1:
        return False
    if any(form(user) not in ("map", "reduce") for user, _ in uses):
        return False
    if any(axes_under(seen, tuple(range(seen.ndim))) is None for _, seen in uses):
        return False
    if node.op is shape.IOTA:
        return True
    return len(uses) == 1 and all(
        (user.size if form(user) == "map" else seen.size) == node.size for user, seen in uses
    )
