"""Elementwise work between arrays that lie across each other: squares turn over in registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..emit.body import Emitter
from ..emit.ir import Function
from ..emit.memory import load_points, memory_type, store_points
from ..emit.shuffle import transpose
from ..emit.types import Value
from .common import Body, Bound, Operand, results

Range = tuple[Value, Value]
Place = list[Value | int]


def across(
    operands: Sequence[Operand], inputs: int, extents: Sequence[int | None], axis: int, lanes: int
) -> int | None:
    """The axis that some inputs have neighbours along while the vectors run along ``axis``.

    Args:
        operands: inputs, then outputs, with strides along the domain.
        inputs: how many are inputs.
        extents: of the domain's axes; None where it is known at run time only.
        axis: where vectors run.
        lanes: lanes of a vector.

    Returns:
        The axis, or None when there is none or it is too short for a square.
    """
    for each in operands[:inputs]:
        if each.dtype.itemsize < 4 or each.strides[axis] in (0, 1) or 1 not in each.strides:
            continue
        other = each.strides.index(1)
        if all(extent is None or extent >= lanes for extent in (extents[axis], extents[other])):
            return other
    return None


class Turned:
    """Writes the loops over squares of two axes, and over what no square covers.

    Args:
        function: where to write.
        bound: inputs, then outputs.
        inputs: how many are inputs.
        body: computes the outputs.
        axes: the axis of the vectors and the one across.
        lanes: lanes of a vector, the side of a square.
        single: ``single(place)`` computes one point.
        index: what bodies get that ask for an index.
    """

    def __init__(
        self,
        function: Function,
        bound: Bound,
        inputs: int,
        body: Body,
        axes: tuple[int, int],
        lanes: int,
        single: Callable[[Place], None],
        index: Callable[[int], Value],
    ) -> None:
        self.function, self.bound, self.inputs, self.body = function, bound, inputs, body
        self.axes, self.lanes, self.single, self.index = axes, lanes, single, index

    def write(self, ranges: Sequence[Range]) -> None:
        """All points of the ranges, one for each axis."""
        function = self.function
        along, over = self.axes

        def level(place: Place, axis: int) -> None:
            if axis == len(ranges):
                self._plane(place, ranges[along], ranges[over])
            elif axis in self.axes:
                level([*place, 0], axis + 1)
            else:
                function.loop(
                    *ranges[axis], 1, [], lambda at, _: level([*place, at], axis + 1), guard=True
                )

        level([], 0)

    def _plane(self, place: Place, along: Range, over: Range) -> None:
        function, lanes = self.function, self.lanes

        def whole(range: Range) -> Value:
            low, high = range
            count = function.udiv(function.sub(high, low), lanes)
            return function.add(low, function.mul(count, lanes))

        def nest(first: Range, second: Range, step: int, visit: Callable[[Place], None]) -> None:
            def inner(p: Value, _: list[Value]) -> None:
                function.loop(
                    *second, step, [], lambda q, _: visit(self._at(place, q, p)), guard=True
                )

            function.loop(*first, step, [], inner, guard=True)

        middle, last = whole(along), whole(over)
        nest((over[0], last), (along[0], middle), lanes, self._square)
        nest((over[0], last), (middle, along[1]), 1, self.single)
        nest((last, over[1]), along, 1, self.single)

    def _at(self, place: Place, along: Value, over: Value) -> Place:
        made = list(place)
        made[self.axes[0]], made[self.axes[1]] = along, over
        return made

    def _square(self, place: Place) -> None:
        function, bound, lanes = self.function, self.bound, self.lanes
        e = Emitter(function, lanes, self.index)
        bases = [
            None if each.is_single else function.anchor(bound.at(i, place))
            for i, each in enumerate(bound.operands)
        ]
        columns = [self._columns(e, i, bases[i]) for i in range(self.inputs)]
        for line in range(lanes):
            values = [each[line] for each in columns]
            made = results(self.body(e, *values), len(bound.operands) - self.inputs)
            for i, value in enumerate(made, self.inputs):
                operand, base = bound.operands[i], bases[i]
                assert base is not None
                at = self._line(operand, base, line)
                store_points(e, value, at, operand.dtype, operand.strides[self.axes[0]])

    def _line(self, operand: Operand, base: Value, line: int) -> Value:
        element = memory_type(operand.dtype).element
        return self.function.offset(base, line * operand.strides[self.axes[1]], element)

    def _columns(self, e: Emitter, which: int, base: Value | None) -> list[Value]:
        """The vectors of an input in a square, one for each line."""
        operand = self.bound.operands[which]
        along, over = (operand.strides[axis] for axis in self.axes)
        if base is None:
            return [self.bound.single(e, which)] * self.lanes
        if over == 1 and along not in (0, 1) and operand.dtype.itemsize >= 4:
            element = memory_type(operand.dtype).element
            pointers = [self.function.offset(base, i * along, element) for i in range(self.lanes)]
            return transpose(e, [load_points(e, at, operand.dtype, 1) for at in pointers])
        return [
            load_points(e, self._line(operand, base, i), operand.dtype, along)
            for i in range(self.lanes)
        ]
