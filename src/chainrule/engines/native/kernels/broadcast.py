"""The broadcast form of a product: vectors of B times single elements of A."""

from __future__ import annotations

from collections.abc import Callable

from ..emit.body import Emitter
from ..emit.ir import Function
from ..emit.memory import first_lanes, load_points
from ..emit.types import PTR, Value, of
from .ahead import Asking
from .common import Span, spans
from .tiles import LONG_BODY, Ending, Problem, RowTiles, Tile, cover, over_rows
from .turns import Block, finish

# B of so many bytes is far enough away that its next panel is asked for ahead of time.
_FAR = 1 << 16
Pieces = Callable[[Value], list[Span]]


def write_broadcast(function: Function, problem: Problem, tile: Tile, by_columns: bool) -> None:
    """Write the kernel, split along rows or along columns."""
    a, b = function.params[:2]
    tailing = len(problem.tailing)
    ending = Ending(function, problem, function.params[2 : 2 + tailing])
    *asked, start, stop = function.params[2 + tailing :]
    extents = asked[2:] if problem.ahead else asked
    form = Broadcast(function, problem, ending, a, b, extents[-1])
    if problem.ahead:
        form.asking = Asking(function, problem.ahead, problem.sizes, asked[:2], by_columns)
    apart = problem.b.strides[1] == 1 and problem.b.strides[0] > tile.columns
    if apart and problem.depth * problem.n * problem.dtype.itemsize > _FAR:
        form.width = tile.columns
    if by_columns:
        _columns(function, form, tile, extents[0], start, stop)
    else:
        _rows(function, form, tile, start, stop)
    function.ret()


def _rows(function: Function, form: Broadcast, tile: Tile, start: Value, stop: Value) -> None:
    """All panels of columns, each for the rows asked for."""

    def columns(first: int, last: int, width: int, rows: RowTiles) -> None:
        def panel(column: Value, count: int) -> None:
            pieces = spans(0, count, form.lanes)
            rows(lambda row, many: form.tile(row, many, column, pieces))

        full = first + (last - first) // width * width
        function.loop(first, full, width, [], lambda column, _: panel(column, width))
        if full < last:
            panel(function.i64(full), last - full)

    cover(function, form.problem, tile, form.lanes, (start, stop), columns)


def _columns(
    function: Function, form: Broadcast, tile: Tile, rows: Value, start: Value, stop: Value
) -> None:
    """The range of columns asked for, each panel for all rows: panels, vectors, the rest."""
    zero = function.i64(0)

    def panels(first: Value, last: Value, width: int, pieces: Pieces) -> None:
        def panel(column: Value, _: list[Value]) -> None:
            here = pieces(column)
            over_rows(
                function,
                tile.rows,
                zero,
                rows,
                lambda row, many: form.tile(row, many, column, here),
            )

        function.loop(first, last, width, [], panel, guard=True)

    def whole(first: Value, width: int) -> Value:
        count = function.udiv(function.sub(stop, first), width)
        end = function.add(first, function.mul(count, width))
        panels(first, end, width, lambda _: spans(0, width, form.lanes))
        return end

    place = whole(start, tile.columns) if tile.columns <= form.problem.n else start
    if form.lanes < tile.columns and form.lanes <= form.problem.n:
        place = whole(place, form.lanes)
    tailing = [form.problem.b, *form.problem.tailing]
    if function.target.has_masks and all(each.strides[1] in (0, 1) for each in tailing):

        def some(column: Value) -> list[Span]:
            left = first_lanes(Emitter(function, form.lanes), function.sub(stop, column))
            return [Span(0, form.lanes, 0, left)]

        panels(place, stop, form.lanes, some)
    else:
        panels(place, stop, 1, lambda _: spans(0, 1, form.lanes))


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
        # Columns from one panel to the next, where the panels' lines lie apart.
        self.width = 0
        self.asking: Asking | None = None
        self._buffer: Value | None = None
        if ending is not None and ending.lines() > LONG_BODY:
            size = function.target.registers * self.lanes
            text = f"alloca [{size} x {self.type.element}], align 64"
            self._buffer = function.entry_value(text, PTR)

    def tile(self, row: Value, rows: int, column: Value | int, pieces: list[Span]) -> None:
        """``rows`` rows from ``row`` on, the vectors of ``pieces`` from ``column`` on."""
        function, ending = self.function, self.ending
        assert ending is not None
        ending.begin(row, column)
        emitters = {span.lanes: Emitter(function, span.lanes) for span in pieces}
        places = [(r, span) for r in range(rows) for span in pieces]
        start = [ending.start(emitters[span.lanes], r, span) for r, span in places]
        sums = self.sums(row, rows, column, pieces, start)
        if self._buffer is not None and len(places) > 2:
            self._finish_in_turns(row, rows, column, pieces, sums)
            return
        for (r, span), c in zip(places, sums, strict=True):
            ending.finish(emitters[span.lanes], c, r, span)

    def sums(
        self,
        row: Value,
        rows: int,
        column: Value | int,
        pieces: list[Span],
        start: list[Value],
    ) -> list[Value]:
        """The sums of a tile, row by row."""
        return accumulate(self, row, rows, column, pieces, start)

    def _finish_in_turns(
        self, row: Value, rows: int, column: Value | int, pieces: list[Span], sums: list[Value]
    ) -> None:
        """A long body is written once, in a loop over the sums, not once for each of them."""
        function, ending = self.function, self.ending
        assert ending is not None and self._buffer is not None
        buffer = self._buffer
        width = sum(span.lanes for span in pieces)
        for i, c in enumerate(sums):
            r, place = divmod(i, len(pieces))
            function.store(c, buffer, r * width + pieces[place].start)
        finish(function, ending, Block(buffer, width, row, rows, column, pieces))


def accumulate(
    form: Broadcast,
    row: Value,
    rows: int,
    column: Value | int,
    pieces: list[Span],
    start: list[Value],
    ahead: int = 0,
) -> list[Value]:
    """Run k over a tile; returns its sums, row by row.

    Args:
        form: the product.
        row, rows, column, pieces: the tile.
        start: what the sums start from.
        ahead: columns from this panel of B to one that is asked for meanwhile; 0 for none.
    """
    function, problem = form.function, form.problem
    (a_row, a_depth), (b_depth, b_column) = problem.a.strides, problem.b.strides
    element = form.type.element
    first = function.offset(form.a, function.mul(row, a_row), element)
    panel = function.offset(form.b, function.mul(column, b_column), element)
    width = sum(span.count for span in pieces)
    asked = form.asking and form.asking.tile(row, rows, column, width)

    def turn(k: Value, sums: list[Value]) -> list[Value]:
        along_a = function.anchor(function.offset(first, function.mul(k, a_depth), element))
        along_b = function.anchor(function.offset(panel, function.mul(k, b_depth), element))
        done = []
        vectors = []
        if asked:
            asked.turn(k, problem.depth)
        if ahead:
            function.prefetch(function.offset(along_b, ahead, element))
        for span in pieces:
            e = Emitter(function, span.lanes)
            at = function.offset(along_b, span.start * b_column, element)
            # With one column B may have any stride; it is one element then.
            stride = b_column if problem.n > 1 else 1
            vectors.append(e.splat(load_points(e, at, problem.dtype, stride, span.part)))
        for r in range(rows):
            single = function.load(along_a, form.type, r * a_row)
            spread = {s.lanes: Emitter(function, s.lanes).splat(single) for s in pieces}
            for i, span in enumerate(pieces):
                e = Emitter(function, span.lanes)
                done.append(e.fma(spread[span.lanes], vectors[i], sums[r * len(pieces) + i]))
        return done

    return function.loop(0, form.depth, 1, start, turn)
