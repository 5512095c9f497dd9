"""Writes one step by lanes: each element of each node is a vector over trainings.

The rules of the ops are written on :meth:`Writer.each`, :meth:`Writer.fold` and
:meth:`Writer.value`, and know nothing of lanes, loops and memory. What is read once is computed
where it is read; the rest is kept in memory, ``[element][lane]``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ....graph.node import CONSTANT, Node
from ....ops import shape
from ..emit.body import Emitter
from ..emit.ir import Function
from ..emit.types import Value
from ..lower.views import axes_under, dense, layout_of, under
from .cells import Flat, Memory

Index = tuple[Flat, ...]
Place = tuple[Node, Index]
UNROLLED = 4  # turns of an inner loop that are written one after the other


class Writer:
    """Writes a step's nodes into a function.

    Args:
        function: where to write.
        lanes: trainings in a vector.
        varies: the nodes that differ between trainings.
    """

    def __init__(self, function: Function, lanes: int, varies: set[Node]) -> None:
        self.function, self.lanes, self.varies = function, lanes, varies
        self.e = Emitter(function, lanes)
        self.cells: dict[Node, Memory] = {}

    # -- numbers that may be known now --
    def plus(self, a: Flat, b: Flat) -> Flat:
        """a + b."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        return self.function.add(a, b)

    def times(self, a: Flat, b: int) -> Flat:
        """a times a number."""
        return a * b if isinstance(a, int) else self.function.mul(a, b)

    def flat(self, index: Index, strides: Sequence[int], offset: int = 0) -> Flat:
        """The place that an index means."""
        place: Flat = 0
        for part, stride in zip(index, strides, strict=True):
            if stride:
                place = self.plus(place, self.times(part, stride))
        return self.plus(place, offset)

    # -- loops --
    def each(self, extents: Sequence[int], body: Callable[[Index], None]) -> None:
        """Run a body for every index."""
        if 0 not in extents:
            self._nested(list(extents), (), body)

    def _nested(self, extents: list[int], index: Index, body: Callable[[Index], None]) -> None:
        if not extents:
            body(index)
            return
        first, rest = extents[0], extents[1:]
        width = 1 if any(n > 1 for n in rest) else _divisor(first, UNROLLED)

        def turn(at: Flat) -> None:
            for k in range(width):
                self._nested(rest, (*index, self.plus(at, k)), body)

        self.count(first, width, turn)

    def count(self, extent: int, step: int, body: Callable[[Flat], None]) -> None:
        """Run a body at 0, step, 2 step, ... below an extent."""
        if extent <= step:
            for at in range(0, extent, step):
                body(at)
            return
        self.function.loop(0, extent, step, [], lambda at, _: body(at))

    def tiled(self, extent: int, width: int, body: Callable[[Flat, int], None]) -> None:
        """Run a body on pieces of an axis: whole ones of a width, then the rest."""
        width = min(width, extent)
        whole = extent - extent % width
        if whole:
            self.count(whole, width, lambda at: body(at, width))
        if extent - whole:
            body(whole, extent - whole)

    def fold(
        self,
        extents: Sequence[int],
        start: list[Value],
        body: Callable[[Index, list[Value]], list[Value]],
    ) -> list[Value]:
        """Carry values through every index, in row-major order."""
        return self._folded(list(extents), (), start, body)

    def _folded(
        self,
        extents: list[int],
        index: Index,
        carried: list[Value],
        body: Callable[[Index, list[Value]], list[Value]],
    ) -> list[Value]:
        if not extents:
            return body(index, carried)
        if extents[0] == 1:
            return self._folded(extents[1:], (*index, 0), carried, body)

        def turn(at: Value, now: list[Value]) -> list[Value]:
            return self._folded(extents[1:], (*index, at), now, body)

        return self.function.loop(0, extents[0], 1, carried, turn)

    def zero(self, node: Node, number: float | int = 0) -> Value:
        """A number of a node's type, in every lane where the node differs between trainings."""
        value = self.e.const(number, node.dtype)
        return self.e.splat(value) if node in self.varies else value

    # -- values --
    def value(self, node: Node, index: Index) -> Value:
        """An element of a node: read where it is kept, else computed here."""
        top = self._resolved(node, index)
        known: dict[Place, Value] = {}
        needs: dict[Place, list[Place]] = {}  # found once: naming a place may write code
        waiting = [top]
        while waiting:
            place = waiting[-1]
            base, at = place
            made = known.get(place) or self._read(base, at)
            if made is None:
                if place not in needs:
                    needs[place] = [self._resolved(x, _broadcast(x, at)) for x in base.inputs]
                    waiting += needs[place]
                    continue
                assert base.op.scalar is not None
                inputs = [known[one] for one in needs[place]]
                made = base.op.scalar(self.e, *inputs, **base.attrs)
            known[place] = made
            waiting.pop()
        return known[top]

    def _resolved(self, node: Node, index: Index) -> Place:
        """The node under the views, and the place in it: one number where it is kept."""
        base = under(node)
        if base in self.cells:
            layout = layout_of(node, dense(base.shape))
            assert layout is not None, f"a view was not settled: {node.describe()}"
            return base, (self.flat(index, layout[1], layout[0]),)
        if base.size == 1:
            return base, (0,) * base.ndim
        axes = axes_under(node, tuple(range(node.ndim)))
        assert axes is not None, f"a view of what is not kept: {node.describe()}"
        return base, tuple(0 if axis is None else index[axis] for axis in axes)

    def _read(self, base: Node, at: Index) -> Value | None:
        if base in self.cells:
            return self.cells[base].get(self.e, at[0])
        if base.op is CONSTANT and base.size == 1:
            return self.e.const(np.asarray(base.value()).reshape(()).item(), base.dtype)
        return self._counted(base, at) if base.op is shape.IOTA else None

    def compute(self, node: Node, index: Index) -> Value:
        """An element of an elementwise node that is about to be kept."""
        if node.op is shape.IOTA:
            return self._counted(node, index)
        assert node.op.scalar is not None
        inputs = [self.value(x, _broadcast(x, index)) for x in node.inputs]
        made: Value = node.op.scalar(self.e, *inputs, **node.attrs)
        return made

    def _counted(self, node: Node, index: Index) -> Value:
        place = index[node.attrs["axis"]]
        if isinstance(place, int):
            return self.e.const(place, node.dtype)
        return self.e.cast(place, node.dtype)

    def keep(self, node: Node, index: Index, value: Value) -> None:
        """Write an element of a node that is kept."""
        self.cells[node].set(self.e, self.flat(index, dense(node.shape)), value)


def _broadcast(source: Node, index: Index) -> Index:
    """The place in an operand that broadcasts to the place of an index."""
    lead = len(index) - source.ndim
    return tuple(0 if n == 1 else index[lead + d] for d, n in enumerate(source.shape))


def _divisor(extent: int, most: int) -> int:
    return next(width for width in range(min(most, extent), 0, -1) if extent % width == 0)
