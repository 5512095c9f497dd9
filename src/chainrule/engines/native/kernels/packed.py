"""The packed form of a product: panels of B are copied side by side, then multiplied.

For each panel of columns and each block of rows: the sums of the block live in scratch memory; for
each block of k the panel of B is copied to scratch and a small product adds to the sums; at the end
the body runs over the sums. So any strides of A and B are taken, and B is read from the
second-level cache, however large the problem is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.shuffle import transpose
from ..emit.types import INT64, PTR, Value, literal, of
from .broadcast import Broadcast, accumulate
from .common import Kernel, Operand, Span, parameters, spans
from .tiles import Ending, Problem, Tile, over_rows

# Rows whose sums are kept in scratch, and the depth of B that is copied at once.
_ROWS = 384
_DEPTH = 256
_PANELS_TO_SHARE = 4

_Visit = Callable[[Emitter, Value, Value, Value, Span], None]


def tile_for(module: Module, problem: Problem) -> Tile:
    """The register tile: wide, because both operands stream."""
    registers, lanes = module.target.registers, module.target.lanes(problem.dtype)
    rows, vectors = (6, 4) if registers >= 32 else (6, 2)
    needed = -(-problem.n // lanes)
    if needed < vectors:
        vectors = needed
        rows = min(14, (registers - 2 - vectors) // vectors)
    return Tile(rows, vectors * lanes)


def add(module: Module, problem: Problem, names: list[str]) -> Kernel:
    """Add the kernel; see :func:`chainrule.engines.native.kernels.product.product`."""
    tile = tile_for(module, problem)
    names = [*names, "scratch"]
    copy = _copy_function(module, problem, tile)
    multiply = _multiply_function(module, problem, tile)

    # Few panels cannot be shared: then the rows are, and every thread copies for itself.
    by_rows = -(-problem.n // tile.columns) < _PANELS_TO_SHARE
    extents = ("k",) if by_rows else ("m", "k")

    def write(function: Function) -> None:
        _Driver(function, problem, tile, copy, multiply, by_rows).write()

    name = module.shared("packed", parameters(names, extents), write)
    scratch = (_ROWS + _DEPTH) * tile.columns * problem.dtype.itemsize
    axis, grain = ("rows", tile.rows) if by_rows else ("columns", tile.columns)
    return Kernel(
        name, tuple(names), extents, axis, grain, scratch=scratch, form="packed", tile=tile.shape
    )


class _Driver:
    """Writes the loops around the copy and the small product."""

    def __init__(
        self,
        function: Function,
        problem: Problem,
        tile: Tile,
        copy: str,
        multiply: str,
        by_rows: bool,
    ) -> None:
        self.function, self.problem, self.tile = function, problem, tile
        self.copy, self.multiply = copy, multiply
        count = len(problem.tailing)
        params = function.params
        self.a, self.b = params[:2]
        self.ending = Ending(function, problem, params[2 : 2 + count])
        scratch, *rows, self.depth, start, stop = params[2 + count :]
        zero = function.i64(0)
        self.rows = (start, stop) if by_rows else (zero, rows[0])
        self.columns = (zero, function.i64(problem.n)) if by_rows else (start, stop)
        self.sums = scratch
        self.element = of(problem.dtype).element
        self.panel = function.offset(scratch, _ROWS * tile.columns, self.element)

    def write(self) -> None:
        """Panels of columns, blocks of rows, blocks of depth."""
        function, width = self.function, self.tile.columns

        def panel(column: Value, _: list[Value]) -> None:
            many = function.min(function.sub(self.columns[1], column), width)
            # The sums of one panel do not depend on where a split begins: lanes are columns.
            function.loop(
                *self.rows,
                _ROWS,
                [],
                lambda row, _: self._block(row, column, many),
                guard=True,
            )

        function.loop(*self.columns, width, [], panel, guard=True)
        function.ret()

    def _block(self, row: Value, column: Value, many: Value) -> None:
        function, problem = self.function, self.problem
        rows = function.min(function.sub(self.rows[1], row), _ROWS)
        self._begin(row, rows, column, many)
        b_depth, b_column = problem.b.strides
        a_row, a_depth = problem.a.strides

        def deeper(k: Value, _: list[Value]) -> None:
            deep = function.min(function.sub(self.depth, k), _DEPTH)
            at_b = function.add(function.mul(k, b_depth), function.mul(column, b_column))
            at_a = function.add(function.mul(k, a_depth), function.mul(row, a_row))
            from_b = function.offset(self.b, at_b, self.element)
            from_a = function.offset(self.a, at_a, self.element)
            function.call(self.copy, [from_b, self.panel, deep, many])
            function.call(self.multiply, [from_a, self.panel, self.sums, deep, rows])

        function.loop(0, self.depth, _DEPTH, [], deeper)
        self._end(row, rows, column, many)

    def _begin(self, row: Value, rows: Value, column: Value, many: Value) -> None:
        def start(e: Emitter, at: Value, place: Value, offset: Value, span: Span) -> None:
            self.ending.begin(place, self.function.add(column, offset))
            value = self.ending.start(e, 0, span)
            self.function.store(e.splat(value), at)

        self._over(row, rows, many, start, whole=not self.problem.bias)

    def _end(self, row: Value, rows: Value, column: Value, many: Value) -> None:
        def finish(e: Emitter, at: Value, place: Value, offset: Value, span: Span) -> None:
            c = self.function.load(at, of(self.problem.dtype, e.lanes))
            self.ending.begin(place, self.function.add(column, offset))
            self.ending.finish(e, c, 0, span)

        self._over(row, rows, many, finish, whole=False)

    def _over(self, row: Value, rows: Value, many: Value, visit: _Visit, whole: bool) -> None:
        """Visit the sums of a block: full vectors of each row, then single columns."""
        function, width = self.function, self.tile.columns
        lanes = function.target.lanes(self.problem.dtype)

        def along(r: Value, _: list[Value]) -> None:
            place = function.add(row, r)
            line = function.offset(self.sums, function.mul(r, width), self.element)

            def vector(offset: Value, _: list[Value]) -> None:
                at = function.offset(line, offset, self.element)
                visit(Emitter(function, lanes), at, place, offset, Span(0, lanes, lanes))

            def single(offset: Value, _: list[Value]) -> None:
                at = function.offset(line, offset, self.element)
                visit(Emitter(function, 0), at, place, offset, Span(0, 0, 0))

            if whole:
                function.loop(0, width, lanes, [], vector)
                return
            full = function.mul(function.udiv(many, lanes), lanes)
            function.loop(0, full, lanes, [], vector, guard=True)
            function.loop(full, many, 1, [], single, guard=True)

        function.loop(0, rows, 1, [], along)


def _multiply_function(module: Module, problem: Problem, tile: Tile) -> str:
    """sums[rows, width] += A[rows, deep] panel[deep, width], in register tiles."""
    width = tile.columns
    inner = replace(problem, n=width, b=Operand(problem.dtype, (width, 1)))
    type = of(problem.dtype)

    def write(function: Function) -> None:
        a, panel, sums, deep, rows = function.params
        form = Broadcast(function, inner, None, a, panel, deep)
        pieces = spans(0, width, form.lanes)

        def block(row: Value, count: int) -> None:
            line = function.offset(sums, function.mul(row, width), type.element)
            places = [(r * width + s.start, s.lanes) for r in range(count) for s in pieces]
            start = [function.load(line, type.with_lanes(w), at) for at, w in places]
            done = accumulate(form, row, count, 0, pieces, start)
            for (at, _), value in zip(places, done, strict=True):
                function.store(value, line, at)

        over_rows(function, tile.rows, function.i64(0), rows, block)
        function.ret()

    params = [("a", PTR), ("panel", PTR), ("sums", PTR), ("deep", INT64), ("rows", INT64)]
    return module.shared("product.add", params, write)


def _copy_function(module: Module, problem: Problem, tile: Tile) -> str:
    """panel[deep, width] = B[deep, many], and 0 in the columns that B does not have."""

    def write(function: Function) -> None:
        b, panel, deep, many = function.params
        copy = _Copy(function, problem, tile.columns, b, panel)
        whole = function.compare("eq", many, tile.columns)
        short = function.compare("ne", many, tile.columns)
        function.when(whole, lambda: copy.whole(deep))
        function.when(short, lambda: copy.some(deep, many))
        function.ret()

    params = [("b", PTR), ("panel", PTR), ("deep", INT64), ("many", INT64)]
    return module.shared("panel", params, write)


class _Copy:
    """Ways to copy a block of B into a panel."""

    def __init__(
        self, function: Function, problem: Problem, width: int, b: Value, panel: Value
    ) -> None:
        self.function, self.width, self.b, self.panel = function, width, b, panel
        self.strides = problem.b.strides
        self.type = of(problem.dtype)
        self.lanes = function.target.lanes(problem.dtype)

    def _at(self, k: Value | int, column: Value | int) -> Value:
        function = self.function
        depth, along = self.strides
        offset = function.add(function.mul(k, depth), function.mul(column, along))
        return function.offset(self.b, offset, self.type.element)

    def _to(self, k: Value | int, column: Value | int) -> Value:
        function = self.function
        offset = function.add(function.mul(k, self.width), column)
        return function.offset(self.panel, offset, self.type.element)

    def whole(self, deep: Value) -> None:
        """A panel of full width."""
        function = self.function
        if self.strides[1] == 1:
            function.loop(0, deep, 1, [], lambda k, _: self._line(k))
        elif self.strides[0] == 1:
            full = function.mul(function.udiv(deep, self.lanes), self.lanes)
            function.loop(0, full, self.lanes, [], lambda k, _: self._squares(k), guard=True)
            width = function.i64(self.width)
            function.loop(full, deep, 1, [], lambda k, _: self._single(k, width), guard=True)
        else:
            width = function.i64(self.width)
            function.loop(0, deep, 1, [], lambda k, _: self._single(k, width))

    def some(self, deep: Value, many: Value) -> None:
        """A panel at the edge of B."""
        self.function.loop(0, deep, 1, [], lambda k, _: self._edge(k, many))

    def _line(self, k: Value) -> None:
        source, target = self._at(k, 0), self._to(k, 0)
        for span in spans(0, self.width, self.lanes):
            vector = self.type.with_lanes(span.lanes)
            self.function.store(self.function.load(source, vector, span.start), target, span.start)

    def _squares(self, k: Value) -> None:
        """Squares of lanes by lanes are turned over in registers."""
        function, lanes = self.function, self.lanes
        e = Emitter(function, lanes)

        def square(column: Value, _: list[Value]) -> None:
            source = self._at(k, column)
            vector = self.type.with_lanes(lanes)
            rows = [function.load(source, vector, c * self.strides[1]) for c in range(lanes)]
            for i, turned in enumerate(transpose(e, rows)):
                function.store(turned, self._to(function.add(k, i), column))

        function.loop(0, self.width, lanes, [], square)

    def _single(self, k: Value, many: Value) -> None:
        function = self.function

        def one(column: Value, _: list[Value]) -> None:
            value = function.load(self._at(k, column), self.type)
            function.store(value, self._to(k, column))

        function.loop(0, many, 1, [], one)

    def _edge(self, k: Value, many: Value) -> None:
        self._single(k, many)
        zero = literal(0.0, self.type)

        def empty(column: Value, _: list[Value]) -> None:
            self.function.store(zero, self._to(k, column))

        self.function.loop(many, self.width, 1, [], empty)
