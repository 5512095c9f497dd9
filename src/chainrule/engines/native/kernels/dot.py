"""The dot form of a product: A and B both have neighbours along k."""

from __future__ import annotations

from ..emit.body import Emitter
from ..emit.ir import Function
from ..emit.memory import Part, first_lanes, load_points
from ..emit.shuffle import fold_many, take_lanes
from ..emit.types import Value, of
from .common import Span, power_above
from .tiles import Ending, Problem, Tile, over_rows


def write_dot(function: Function, problem: Problem, tile: Tile) -> None:
    """Write the kernel, split along rows."""
    a, b = function.params[:2]
    tailing = len(problem.tailing)
    ending = Ending(function, problem, function.params[2 : 2 + tailing])
    depth, start, stop = function.params[2 + tailing :]
    form = _Dot(function, problem, ending, a, b, depth)
    full, rest = divmod(problem.n, tile.columns)

    def block(column: Value, columns: int) -> None:
        over_rows(
            function,
            tile.rows,
            start,
            stop,
            lambda row, count: form.tile(row, count, column, columns),
        )

    if full:
        function.loop(
            0,
            full * tile.columns,
            tile.columns,
            [],
            lambda column, _: block(column, tile.columns),
        )
    if rest:
        block(function.i64(full * tile.columns), rest)
    function.ret()


class _Dot:
    """Writes tiles of one product."""

    def __init__(
        self,
        function: Function,
        problem: Problem,
        ending: Ending,
        a: Value,
        b: Value,
        depth: Value,
    ) -> None:
        self.function, self.problem, self.ending = function, problem, ending
        self.a, self.b, self.depth = a, b, depth
        self.lanes = function.target.lanes(problem.dtype)
        self.type = of(problem.dtype)
        whole = function.udiv(depth, self.lanes)
        self.whole = function.mul(whole, self.lanes)

    def tile(self, row: Value, rows: int, column: Value, columns: int) -> None:
        """``rows`` rows from ``row`` on, ``columns`` columns from ``column`` on."""
        self.ending.begin()
        sums = self._sums(row, rows, column, columns)
        # A row's sums take a power of two of lanes, so that they can be cut out again.
        wide = power_above(columns)
        group = max(1, self.lanes // wide)
        for first in range(0, rows, group):
            here = range(first, min(first + group, rows))
            self._finish(sums, here, (row, column), columns, wide)

    def _finish(
        self,
        sums: list[Value],
        rows: range,
        place: tuple[Value, Value],
        columns: int,
        wide: int,
    ) -> None:
        function, ending = self.function, self.ending
        row, column = place
        across = Emitter(function, self.lanes)
        listed: list[Value | None] = []
        for r in rows:
            listed += sums[r * columns : (r + 1) * columns]
            listed += [None] * (wide - columns)
        folded = fold_many(across, across.add, listed)
        span = Span(0, max(2, wide), columns)
        e = Emitter(function, span.lanes)
        for i, r in enumerate(rows):
            c = take_lanes(e, folded, i * wide, wide, span.lanes)
            if self.problem.bias:
                c = e.add(c, ending.start(e, (row, r), column, span))
            ending.finish(e, c, (row, r), column, span)

    def _sums(self, row: Value, rows: int, column: Value, columns: int) -> list[Value]:
        """Run k over a tile: one vector of partial sums for each element of C."""
        function, problem = self.function, self.problem
        element, a_row, b_column = self.type.element, problem.a.strides[0], problem.b.strides[1]
        first_a = function.offset(self.a, function.mul(row, a_row), element)
        first_b = function.offset(self.b, function.mul(column, b_column), element)
        e = Emitter(function, self.lanes)

        def turn(k: Value, sums: list[Value], part: Part = None) -> list[Value]:
            at_a = function.offset(first_a, k, element)
            at_b = function.offset(first_b, k, element)

            def vector(pointer: Value, offset: int) -> Value:
                at = function.offset(pointer, offset, element)
                return load_points(e, at, problem.dtype, 1, part)

            of_b = [vector(at_b, s * b_column) for s in range(columns)]
            done = []
            for r in range(rows):
                of_a = vector(at_a, r * a_row)
                done += [e.fma(of_a, of_b[s], sums[r * columns + s]) for s in range(columns)]
            return done

        zero = [e.splat(e.const(0.0, problem.dtype))] * (rows * columns)
        sums = function.loop(0, self.whole, self.lanes, zero, turn, guard=True)
        if function.target.has_masks:

            def some(k: Value, sums: list[Value]) -> list[Value]:
                return turn(k, sums, first_lanes(e, function.sub(self.depth, k)))

            return function.loop(self.whole, self.depth, self.lanes, sums, some, guard=True)
        return function.loop(
            self.whole, self.depth, 1, sums, lambda k, sums: turn(k, sums, 1), guard=True
        )
