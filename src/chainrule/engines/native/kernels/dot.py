"""The dot form of a product: A and B both have neighbours along k."""

from __future__ import annotations

from dataclasses import replace

from ..emit.body import Emitter
from ..emit.ir import Function
from ..emit.memory import Part, load_points, store_points
from ..emit.shuffle import fold_many, take_lanes
from ..emit.types import INT32, INT64, PTR, Value, of
from .ahead import Asking
from .common import Operand, Span, power_above, spans
from .tiles import LONG_BODY, Ending, Problem, RowTiles, Tile, cover, dot_lanes
from .turns import Block, finish

# Sums that a kernel keeps until a long body runs over them, and the most rows of them.
_KEPT = 8192
_ROWS_KEPT = 16


def write_dot(function: Function, problem: Problem, tile: Tile) -> None:
    """Write the kernel, split along rows."""
    a, b = function.params[:2]
    tailing = len(problem.tailing)
    ending = Ending(function, problem, function.params[2 : 2 + tailing])
    start, stop = function.params[-2:]
    width = -(-problem.n // function.target.lanes(problem.dtype)) * function.target.lanes(
        problem.dtype
    )
    chunk = _KEPT // width // tile.rows * tile.rows
    if ending.lines() > LONG_BODY and chunk:
        _in_chunks(function, problem, ending, tile, min(chunk, _ROWS_KEPT), width)
    else:
        _write_rows(_Dot(function, problem, ending, a, b), tile, (start, stop))
    function.ret()


def _write_rows(form: _Dot, tile: Tile, rows: tuple[Value, Value]) -> None:
    """All columns of some rows."""
    function, problem = form.function, form.problem

    def columns(first: int, last: int, width: int, rows: RowTiles) -> None:
        def block(column: Value, count: int, fill: bool = False) -> None:
            rows(lambda row, many: form.tile(row, many, column, count, fill))

        if problem.gathered:
            # Whoever reads a row first finds it among the data.
            count = min(width, last - first)
            block(function.i64(first), count, fill=True)
            first += count
        full = first + (last - first) // width * width
        function.loop(first, full, width, [], lambda column, _: block(column, width))
        if full < last:
            block(function.i64(full), last - full)

    cover(function, problem, tile, 1, rows, columns)


def _in_chunks(
    function: Function, problem: Problem, ending: Ending, tile: Tile, chunk: int, width: int
) -> None:
    """Sums of some rows into a buffer, then the body over them.

    A tile's sums are a few short pieces of rows: a long body would wait for each piece, where it
    can work on one full vector of a row while the next is on its way.
    """
    a, b = function.params[:2]
    start, stop = function.params[-2:]
    type, lanes = of(problem.dtype), function.target.lanes(problem.dtype)
    kept = function.entry_value(f"alloca [{chunk * width} x {type.element}], align 64", PTR)
    raw = replace(
        problem,
        bias=None,
        operands=(),
        outputs=(Operand(problem.dtype, (width, 1)),),
        body=lambda _, c: c,
    )

    def rows(first: Value, _: list[Value]) -> None:
        last = function.min(function.add(first, chunk), stop)
        origin = function.offset(kept, function.mul(first, -width), type.element)
        sums = _Dot(function, raw, Ending(function, raw, [origin]), a, b)
        _write_rows(sums, tile, (first, last))

        count = function.sub(last, first)
        block = Block(kept, width, first, count, 0, spans(0, problem.n, lanes))
        finish(function, ending, block, add_bias=problem.bias is not None)

    function.loop(start, stop, chunk, [], rows, guard=True)


class _Dot:
    """Writes tiles of one product."""

    def __init__(
        self,
        function: Function,
        problem: Problem,
        ending: Ending,
        a: Value,
        b: Value,
    ) -> None:
        self.function, self.problem, self.ending = function, problem, ending
        self.a, self.b = a, b
        self.lanes = dot_lanes(function.target, problem)
        self.type = of(problem.dtype)
        self.asking: Asking | None = None
        *pointers, _, _ = function.params
        if problem.ahead:
            asked = pointers[-2:]
            del pointers[-2:]
            self.asking = Asking(function, problem.ahead, problem.sizes, asked, False)
        self.source = pointers[-2:]

    def tile(self, row: Value, rows: int, column: Value, columns: int, fill: bool = False) -> None:
        """``rows`` rows from ``row`` on, ``columns`` columns from ``column`` on.

        With ``fill`` the rows of A are read from the data and stored.
        """
        self.ending.begin(row, column)
        sums = self._sums(row, rows, column, columns, fill)
        # A row's sums take a power of two of lanes, so that they can be cut out again.
        wide = power_above(columns)
        group = max(1, self.lanes // wide)
        for first in range(0, rows, group):
            here = range(first, min(first + group, rows))
            self._finish(sums, here, columns, wide)

    def _finish(
        self,
        sums: list[Value],
        rows: range,
        columns: int,
        wide: int,
    ) -> None:
        function, ending = self.function, self.ending
        across = Emitter(function, self.lanes)
        listed: list[Value | None] = []
        for r in rows:
            listed += sums[r * columns : (r + 1) * columns]
            listed += [None] * (wide - columns)
        folded = fold_many(across, across.add, listed)
        if len(rows) > 1 and len(rows) * wide == self.lanes:
            # Short pieces of several rows go through the body as one full vector.
            span = Span(0, wide, columns)
            if self.problem.bias:
                folded = across.add(folded, ending.start_rows(across, rows, span))
            ending.finish_rows(across, folded, rows, span)
            return
        span = Span(0, max(2, wide), columns)
        e = Emitter(function, span.lanes)
        for i, r in enumerate(rows):
            c = take_lanes(e, folded, i * wide, wide, span.lanes)
            if self.problem.bias:
                c = e.add(c, ending.start(e, r, span))
            ending.finish(e, c, r, span)

    def _chosen(self, row: Value) -> Value:
        """The row of the data that becomes a row of A."""
        function, size = self.function, self.problem.gathered
        source, indices = self.source
        index = function.load(function.offset(indices, row, "i32"), INT32)
        wide = function.value(f"sext i32 {index.text} to i64", INT64)
        held = function.min(function.max(wide, 0), size - 1)
        return function.offset(source, function.mul(held, self.problem.depth), self.type.element)

    def _sums(self, row: Value, rows: int, column: Value, columns: int, fill: bool) -> list[Value]:
        """Run k over a tile: one vector of partial sums for each element of C."""
        function, problem = self.function, self.problem
        element, a_row, b_column = self.type.element, problem.a.strides[0], problem.b.strides[1]
        first_a = function.offset(self.a, function.mul(row, a_row), element)
        first_b = function.offset(self.b, function.mul(column, b_column), element)
        e = Emitter(function, self.lanes)
        asked = self.asking and self.asking.tile(row, rows, column, columns)
        chosen = [self._chosen(function.add(row, r)) for r in range(rows)] if fill else []

        def turn(k: Value, sums: list[Value], part: Part = None) -> list[Value]:
            at_a = function.anchor(function.offset(first_a, k, element))
            at_b = function.anchor(function.offset(first_b, k, element))

            def vector(pointer: Value, offset: int) -> Value:
                at = function.offset(pointer, offset, element)
                return load_points(e, at, problem.dtype, 1, part)

            of_b = [vector(at_b, s * b_column) for s in range(columns)]
            if asked and part is None:
                asked.turn(k, problem.depth)
            done = []
            for r in range(rows):
                if fill:
                    of_a = vector(function.offset(chosen[r], k, element), 0)
                    store_points(
                        e, of_a, function.offset(at_a, r * a_row, element), problem.dtype, 1, part
                    )
                else:
                    of_a = vector(at_a, r * a_row)
                done += [e.fma(of_a, of_b[s], sums[r * columns + s]) for s in range(columns)]
            return done

        zero = [e.splat(e.const(0.0, problem.dtype))] * (rows * columns)
        whole = problem.depth // self.lanes * self.lanes
        sums = function.loop(0, whole, self.lanes, zero, turn)
        rest = problem.depth - whole
        return turn(function.i64(whole), sums, rest) if rest else sums
