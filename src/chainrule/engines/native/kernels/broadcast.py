"""The broadcast form of a product: vectors of B times single elements of A."""

from __future__ import annotations

from ..emit.body import Emitter
from ..emit.ir import Function
from ..emit.memory import load_points
from ..emit.types import Value, of
from .common import Span, spans
from .tiles import Ending, Problem, Tile, over_rows


def write_broadcast(function: Function, problem: Problem, tile: Tile, by_columns: bool) -> None:
    """Write the kernel, split along rows or along columns."""
    a, b = function.params[:2]
    tailing = len(problem.tailing)
    ending = Ending(function, problem, function.params[2 : 2 + tailing])
    *extents, start, stop = function.params[2 + tailing :]
    form = Broadcast(function, problem, ending, a, b, extents[-1])
    if by_columns:
        _columns(function, form, tile, extents[0], start, stop)
    else:
        _rows(function, form, tile, start, stop)
    function.ret()


def _rows(function: Function, form: Broadcast, tile: Tile, start: Value, stop: Value) -> None:
    """All panels of columns, each for the rows asked for."""
    n, lanes = form.problem.n, form.lanes
    full, rest = divmod(n, tile.columns)

    def panel(column: Value | int, pieces: list[Span]) -> None:
        over_rows(
            function,
            tile.rows,
            start,
            stop,
            lambda row, count: form.tile(row, count, column, pieces),
        )

    if full:
        pieces = spans(0, tile.columns, lanes)
        function.loop(
            0, full * tile.columns, tile.columns, [], lambda column, _: panel(column, pieces)
        )
    if rest:
        panel(function.i64(full * tile.columns), spans(0, rest, lanes))


def _columns(
    function: Function, form: Broadcast, tile: Tile, rows: Value, start: Value, stop: Value
) -> None:
    """The panels that begin in the range of columns asked for, each for all rows.

    A range that does not end at a panel's end is finished by single vectors, then by columns.
    """
    zero = function.i64(0)

    def panels(first: Value, last: Value, width: int, guard: bool = True) -> Value:
        pieces = spans(0, width, form.lanes)
        count = function.udiv(function.sub(last, first), width)
        end = function.add(first, function.mul(count, width))

        def panel(column: Value, _: list[Value]) -> None:
            over_rows(
                function,
                tile.rows,
                zero,
                rows,
                lambda row, many: form.tile(row, many, column, pieces),
            )

        function.loop(first, end, width, [], panel, guard=guard)
        return end

    place = start
    widths = [tile.columns, form.lanes, 1]
    for width in sorted({w for w in widths if w <= problem_width(form)}, reverse=True):
        place = panels(place, stop, width)


def problem_width(form: Broadcast) -> int:
    """Columns of the product."""
    return form.problem.n


class Broadcast:
    """Writes tiles of one product."""

    def __init__(
        self,
        function: Function,
        problem: Problem,
        ending: Ending | None,
        a: Value,
        b: Value,
        depth: Value,
    ) -> None:
        self.function, self.problem, self.ending = function, problem, ending
        self.a, self.b, self.depth = a, b, depth
        self.lanes = function.target.lanes(problem.dtype)
        self.type = of(problem.dtype)

    def tile(self, row: Value, rows: int, column: Value | int, pieces: list[Span]) -> None:
        """``rows`` rows from ``row`` on, the vectors of ``pieces`` from ``column`` on."""
        function, ending = self.function, self.ending
        assert ending is not None
        ending.begin()
        emitters = {span.lanes: Emitter(function, span.lanes) for span in pieces}
        places = [(r, span) for r in range(rows) for span in pieces]
        start = [
            ending.start(emitters[s.lanes], (row, r), function.add(column, s.start), s)
            for r, s in places
        ]
        sums = accumulate(self, row, rows, column, pieces, start)
        for (r, span), c in zip(places, sums, strict=True):
            e = emitters[span.lanes]
            ending.finish(e, c, (row, r), function.add(column, span.start), span)


def accumulate(
    form: Broadcast,
    row: Value,
    rows: int,
    column: Value | int,
    pieces: list[Span],
    start: list[Value],
) -> list[Value]:
    """Run k over a tile; returns its sums, row by row."""
    function, problem = form.function, form.problem
    (a_row, a_depth), (b_depth, b_column) = problem.a.strides, problem.b.strides
    element = form.type.element
    first = function.offset(form.a, function.mul(row, a_row), element)
    panel = function.offset(form.b, function.mul(column, b_column), element)

    def turn(k: Value, sums: list[Value]) -> list[Value]:
        along_a = function.offset(first, function.mul(k, a_depth), element)
        along_b = function.offset(panel, function.mul(k, b_depth), element)
        done = []
        vectors = []
        for span in pieces:
            e = Emitter(function, span.lanes)
            at = function.offset(along_b, span.start * b_column, element)
            # With one column B may have any stride; it is one element then.
            stride = b_column if problem.n > 1 else 1
            vectors.append(e.splat(load_points(e, at, problem.dtype, stride, span.part)))
        for r in range(rows):
            single = function.load(along_a, form.type, r * a_row)
            for i, span in enumerate(pieces):
                e = Emitter(function, span.lanes)
                done.append(e.fma(e.splat(single), vectors[i], sums[r * len(pieces) + i]))
        return done

    return function.loop(0, form.depth, 1, start, turn)
