"""Folds over rows: one result for each column, such as a bias gradient with its update."""

from __future__ import annotations

from collections.abc import Sequence

from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import Part, first_lanes
from ..emit.types import Type, Value
from .common import (
    Body,
    Bound,
    Kernel,
    Operand,
    lanes_for,
    numbered,
    parameters,
    power_above,
    results,
)
from .folds import Fold

# Rows that are folded side by side, so that sums do not wait for each other.
_UNROLL = 2


def reduce_columns(
    module: Module,
    *,
    cols: int,
    kind: str | tuple[str, ...],
    operands: Sequence[Operand],
    pre: Body,
    outputs: Sequence[Operand],
    after: Sequence[Operand] = (),
    post: Body | None = None,
) -> Kernel:
    """Add a kernel that folds each column over the rows.

    Args:
        module: where to add it.
        cols: number of columns.
        kind: ``sum``, ``prod``, ``max``, ``min``, ``any`` or ``all``, for each value of ``pre``.
        operands: what is folded, strides along (row, column).
        pre: ``pre(e, *values)`` returns the values to fold.
        outputs: stride along the columns.
        after: what ``post`` takes besides the folded values, stride along the columns.
        post: ``post(e, *folded, *after)`` returns one value for each output; None stores the folds.

    Returns:
        The kernel: pointers operands, after, outputs; extent rows; split along columns. Without
        rows the result is what the fold starts from.
    """
    kinds = (kind,) if isinstance(kind, str) else kind
    names = [*numbered("in", len(operands)), *numbered("after", len(after))]
    names += numbered("out", len(outputs))
    lanes = lanes_for(module, [each.dtype for each in (*operands, *outputs)])

    def write(function: Function) -> None:
        work = _Columns(function, kinds, operands, pre, after, outputs, post)
        work.write(max(2, min(lanes, power_above(cols))))

    name = module.shared("columns", parameters(names, ("rows",)), write)
    return Kernel(name, tuple(names), ("rows",), "columns", lanes)


class _Columns:
    """Writes one fold over rows."""

    def __init__(
        self,
        function: Function,
        kinds: tuple[str, ...],
        operands: Sequence[Operand],
        pre: Body,
        after: Sequence[Operand],
        outputs: Sequence[Operand],
        post: Body | None,
    ) -> None:
        self.function, self.folds = function, [Fold(kind) for kind in kinds]
        self.pre, self.post = pre, post or (lambda e, *values: values)
        params = function.params
        first = len(operands)
        last = first + len(after) + len(outputs)
        self.inputs = Bound(function, operands, params[:first])
        ends = [*after, *outputs]
        self.ends = Bound(function, ends, params[first:last])
        self.after, self.outputs = len(after), len(outputs)
        self.rows, self.start, self.stop = params[last:]

    def write(self, lanes: int) -> None:
        """Vectors of columns: all under a mask, or full ones and then the rest one by one."""
        function = self.function
        every = [*self.inputs.operands, *self.ends.operands]
        if function.target.has_masks and all(each.strides[-1] in (0, 1) for each in every):

            def some(at: Value, _: list[Value]) -> None:
                e = Emitter(function, lanes)
                self._vector(lanes, at, first_lanes(e, function.sub(self.stop, at)))

            function.loop(self.start, self.stop, lanes, [], some, guard=True)
        else:
            count = function.sub(self.stop, self.start)
            full = function.add(self.start, function.mul(function.udiv(count, lanes), lanes))
            function.loop(
                self.start, full, lanes, [], lambda at, _: self._vector(lanes, at), guard=True
            )
            function.loop(full, self.stop, 1, [], lambda at, _: self._vector(0, at), guard=True)
        function.ret()

    def _vector(self, lanes: int, column: Value, part: Part = None) -> None:
        function = self.function
        e = Emitter(function, lanes)
        start = [
            fold.begin(e, Value("", type))[0]
            for fold, type in zip(self.folds, self._types(lanes), strict=True)
        ]

        def fold(row: Value, sums: Sequence[Value]) -> list[Value]:
            made = self._values(lanes, row, column, part)
            return [
                each.combine(e, kept, e.splat(value))
                for each, kept, value in zip(self.folds, sums, made, strict=True)
            ]

        size = len(self.folds)

        def turn(row: Value, carried: list[Value]) -> list[Value]:
            done: list[Value] = []
            for number in range(_UNROLL):
                kept = carried[number * size : (number + 1) * size]
                done += fold(function.add(row, number), kept)
            return done

        long = function.mul(function.udiv(self.rows, _UNROLL), _UNROLL)
        carried = function.loop(0, long, _UNROLL, start * _UNROLL, turn, guard=True)
        pairs = [carried[i * size : (i + 1) * size] for i in range(_UNROLL)]
        while len(pairs) > 1:
            pairs = [self._merge(e, pairs[i], pairs[i + 1]) for i in range(0, len(pairs), 2)]
        sums = function.loop(long, self.rows, 1, pairs[0], fold, guard=True)
        self._end(e, sums, column, part)

    def _values(self, lanes: int, row: Value, column: Value, part: Part) -> list[Value]:
        def index(axis: int) -> Value:
            return row if axis == 0 else e.add(column, e.counting())

        e = Emitter(self.function, lanes, index)
        count = len(self.inputs.operands)
        values = [self.inputs.load(e, i, [row, column], 1, part) for i in range(count)]
        return results(self.pre(e, *values), len(self.folds))

    def _types(self, lanes: int) -> list[Type]:
        """Types of the folded values, found by writing the body where it is thrown away."""
        aside = Function(self.function.module, "aside", [])
        e = Emitter(aside, lanes, lambda _: aside.i64(0))
        values = [
            Value("%sample", Type(each.dtype.name, lanes if each.strides[1] else 0))
            for each in self.inputs.operands
        ]
        return [each.type for each in results(self.pre(e, *values), len(self.folds))]

    def _merge(self, e: Emitter, a: Sequence[Value], b: Sequence[Value]) -> list[Value]:
        return [f.combine(e, x, y) for f, x, y in zip(self.folds, a, b, strict=True)]

    def _end(self, e: Emitter, sums: Sequence[Value], column: Value, part: Part) -> None:
        ends = self.ends
        after = [ends.load(e, i, [column], 0, part) for i in range(self.after)]
        made = results(self.post(e, *sums, *after), self.outputs)
        for i, value in enumerate(made):
            ends.store(e, self.after + i, value, [column], 0, part)
