"""Folds over many rows of few columns: parts of the rows are folded apart, by whole rows.

``columns.py`` shares columns between threads; where there are few of them, each thread would read
every row for a part of it. Here the number of parts is fixed, so the bits are the same for any
number of threads; a fold over the parts follows.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....dtypes import DType
from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import store_points
from ..emit.types import Value, of
from .common import Body, Bound, Kernel, Operand, Span, numbered, parameters, results, spans
from .folds import Fold
from .windows import lanes_of

# Accumulators that are kept together.
_TOGETHER = 8


def fold_parts(
    module: Module,
    *,
    cols: int,
    parts: int,
    kinds: tuple[str, ...],
    dtype: DType,
    operands: Sequence[Operand],
    pre: Body,
) -> Kernel:
    """Add a kernel that folds each column over each part of the rows.

    Args:
        module: where to add it.
        cols: how many columns.
        parts: how many parts of the rows.
        kinds: ``sum`` or ``max``, for each value of ``pre``.
        dtype: of the folded values.
        operands: what is folded, strides along (row, column).
        pre: ``pre(e, *values)`` returns the values to fold.

    Returns:
        The kernel: pointers operands, out, which is [parts][kinds][cols]; extent rows; split along
        parts.
    """
    names = [*numbered("in", len(operands)), *numbered("out", 1)]

    def write(function: Function) -> None:
        _Tall(function, cols, parts, kinds, dtype, operands, pre).write()

    name = module.shared("tall", parameters(names, ("rows",)), write)
    return Kernel(name, tuple(names), ("rows",), "parts")


class _Tall:
    """Writes one kernel."""

    def __init__(
        self,
        function: Function,
        cols: int,
        parts: int,
        kinds: tuple[str, ...],
        dtype: DType,
        operands: Sequence[Operand],
        pre: Body,
    ) -> None:
        self.function, self.cols, self.parts, self.pre = function, cols, parts, pre
        self.folds, self.dtype = [Fold(kind) for kind in kinds], dtype
        count = len(operands)
        self.bound = Bound(function, operands, function.params[:count])
        self.out = function.params[count]
        self.rows, self.start, self.stop = function.params[count + 1 :]
        self.lanes = lanes_of(function.target, dtype, cols)

    def write(self) -> None:
        """Parts, and in each the columns, as many at once as registers take."""
        function, size = self.function, len(self.folds) * self.cols
        together = max(1, _TOGETHER // len(self.folds))
        width = together * self.lanes
        full = self.cols // width * width

        def part(number: Value, _: list[Value]) -> None:
            first = function.udiv(function.mul(number, self.rows), self.parts)
            after = function.mul(function.add(number, 1), self.rows)
            last = function.udiv(after, self.parts)
            out = function.offset(self.out, function.mul(number, size), of(self.dtype).element)
            whole = spans(0, width, self.lanes)
            function.loop(
                0, full, width, [], lambda at, _: self._columns(at, whole, first, last, out)
            )
            if full < self.cols:
                rest = spans(0, self.cols - full, self.lanes)
                self._columns(function.i64(full), rest, first, last, out)

        function.loop(self.start, self.stop, 1, [], part, guard=True)
        function.ret()

    def _columns(
        self, column: Value, pieces: list[Span], first: Value, last: Value, out: Value
    ) -> None:
        """Fold some columns over the rows of a part and store what comes out."""
        function, folds = self.function, self.folds
        emitters = [Emitter(function, span.lanes) for span in pieces]
        places = [function.add(column, span.start) for span in pieces]
        repeated = [
            {
                i: self.bound.load(e, i, [0, place], 1, span.part)
                for i, each in enumerate(self.bound.operands)
                if not each.strides[0]
            }
            for e, place, span in zip(emitters, places, pieces, strict=True)
        ]
        sample = Value("", of(self.dtype))
        start = [fold.begin(e, sample)[0] for e in emitters for fold in folds]

        def turn(row: Value, sums: list[Value]) -> list[Value]:
            done = []
            for number, (e, place, span) in enumerate(zip(emitters, places, pieces, strict=True)):
                known = repeated[number]
                values = [
                    known[i] if i in known else self.bound.load(e, i, [row, place], 1, span.part)
                    for i in range(len(self.bound.operands))
                ]
                made = results(self.pre(e, *values), len(folds))
                kept = sums[number * len(folds) : (number + 1) * len(folds)]
                done += [
                    fold.combine(e, a, e.splat(value))
                    for fold, a, value in zip(folds, kept, made, strict=True)
                ]
            return done

        sums = function.loop(first, last, 1, start, turn, guard=True)
        element = of(self.dtype).element
        for number, value in enumerate(sums):
            piece, fold = divmod(number, len(folds))
            at = function.add(places[piece], fold * self.cols)
            part = pieces[piece].part
            store_points(
                emitters[piece], value, function.offset(out, at, element), self.dtype, 1, part
            )
