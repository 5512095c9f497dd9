"""The deep form of a product: sums over many rows of two matrices, as in a weight's gradient.

C[m, n] = sum over k of A[k, m] B[k, n], where k is long and A lies along m. Walking down k, each
step of a register tile would touch new cache lines of both. So blocks of both are copied into the
order in which tiles read them (Goto and van de Geijn, Anatomy of high-performance matrix
multiplication, 2008), and the sums of a block of C wait in scratch memory for the next block of k.
Each sum runs through k in order, whatever the split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.types import INT64, PTR, Value, of
from ..target import Target
from .broadcast import Broadcast, accumulate
from .common import Kernel, Operand, Span, parameters, spans
from .tiles import Ending, Problem, Tile

# Rows and columns of C whose sums are kept in scratch, and the depth that is copied at once.
_ROWS = 192
_COLUMNS = 512
_DEPTH = 192
# From which sizes on copying pays.
_LEAST_DEPTH = 512
_LEAST_ROWS = 24
# Tiles of rows that are copied side by side.
_TILES_TOGETHER = 4
# Elements between the copies of two tiles, so that they do not fall onto the same cache lines.
_GAP = 16


def is_deep(target: Target, problem: Problem) -> bool:
    """Whether a product should take this form."""
    lies = problem.a.strides[0] == 1 and problem.b.strides[1] == 1 and problem.a.strides[1] > 1
    wide = problem.n >= target.lanes(problem.dtype) and problem.rows >= _LEAST_ROWS
    return lies and wide and problem.depth >= _LEAST_DEPTH


def depth_class(depth: int) -> bool:
    """Equal for depths for which the same form is chosen."""
    return depth >= _LEAST_DEPTH


def add(module: Module, problem: Problem, names: list[str]) -> Kernel:
    """Add the kernel; see :func:`chainrule.engines.native.kernels.product.product`."""
    registers, lanes = module.target.registers, module.target.lanes(problem.dtype)
    tile = Tile(6, (4 if registers >= 32 else 2) * lanes)
    blocks = _Blocks(problem, tile)
    names = [*names, "scratch"]
    copies = _copy_left(module, problem, tile), _copy_right(module, problem, tile)
    multiply = {width: _multiply(module, blocks, width) for width in blocks.widths(lanes)}

    def write(function: Function) -> None:
        _Driver(function, blocks, copies, multiply).write()

    name = module.shared("deep", parameters(names, ("k",)), write)
    return Kernel(name, tuple(names), ("k",), "rows", tile.rows, blocks.bytes, form="deep")


class _Blocks:
    """Sizes of the parts of the scratch memory, in elements: sums, copies of A, copy of B."""

    def __init__(self, problem: Problem, tile: Tile) -> None:
        self.problem, self.tile = problem, tile
        needed = -(-problem.n // tile.columns) * tile.columns
        self.width = min(needed, max(1, _COLUMNS // tile.columns) * tile.columns)
        self.rows = max(1, _ROWS // tile.rows) * tile.rows
        self.left = self.rows * self.width
        self.right = self.left + self.rows // tile.rows * tile_stride(tile)
        self.bytes = (self.right + _DEPTH * tile.columns) * problem.dtype.itemsize

    def widths(self, lanes: int) -> list[int]:
        """Columns of the panels: whole ones, and what the last one needs."""
        last = -(-(self.problem.n % self.tile.columns) // lanes) * lanes
        whole = [self.tile.columns] if self.problem.n >= self.tile.columns else []
        return [*whole, *([last] if last and last not in whole else [])]


def tile_stride(tile: Tile) -> int:
    """Elements from the copy of one tile's rows of A to that of the next."""
    return _DEPTH * tile.rows + _GAP


class _Driver:
    """Writes the loops around the copies and the small product."""

    def __init__(
        self, function: Function, blocks: _Blocks, copies: tuple[str, str], multiply: dict[int, str]
    ) -> None:
        self.function, self.blocks, self.copies, self.multiply = function, blocks, copies, multiply
        problem = self.problem = blocks.problem
        self.tile = blocks.tile
        count = len(problem.tailing)
        self.a, self.b = function.params[:2]
        self.ending = Ending(function, problem, function.params[2 : 2 + count])
        self.sums, self.depth, self.start, self.stop = function.params[2 + count :]
        self.element = of(problem.dtype).element
        self.lanes = function.target.lanes(problem.dtype)
        self.left = function.offset(self.sums, blocks.left, self.element)
        self.right = function.offset(self.sums, blocks.right, self.element)

    def write(self) -> None:
        """Blocks of columns, blocks of rows."""
        function, problem, width = self.function, self.problem, self.blocks.width
        full = problem.n // width * width

        def columns(column: Value | int, many: int) -> None:
            function.loop(
                self.start, self.stop, self.blocks.rows, [],
                lambda row, _: self._block(row, column, many), guard=True,
            )  # fmt: skip

        function.loop(0, full, width, [], lambda column, _: columns(column, width))
        if full < problem.n:
            columns(full, problem.n - full)
        function.ret()

    def _panels(self, many: int) -> list[tuple[int, int, int]]:
        """(first column, columns, columns of the panel) of a block of columns, alike ones once."""
        width = self.tile.columns
        full = many // width * width
        rest = many - full
        found = [(0, full, width)] if full else []
        if rest:
            found.append((full, rest, -(-rest // self.lanes) * self.lanes))
        return found

    def _block(self, row: Value, column: Value | int, many: int) -> None:
        function, element = self.function, self.element
        rows = function.min(function.sub(self.stop, row), self.blocks.rows)
        self._over(row, rows, column, many, begin=True)
        a_depth, b_depth = self.problem.a.strides[1], self.problem.b.strides[0]

        def deeper(k: Value, _: list[Value]) -> None:
            deep = function.min(function.sub(self.depth, k), _DEPTH)
            from_a = function.add(function.mul(k, a_depth), row)
            function.call(
                self.copies[0], [function.offset(self.a, from_a, element), self.left, deep, rows]
            )
            from_b = function.add(function.mul(k, b_depth), column)
            line = function.offset(self.b, from_b, element)
            for first, here, width in self._panels(many):

                def panel(
                    at: Value | int, _: object, count: int = min(here, width), width: int = width
                ) -> None:
                    source = function.offset(line, at, element)
                    function.call(self.copies[1], [source, self.right, deep, function.i64(count)])
                    sums = function.offset(self.sums, at, element)
                    function.call(self.multiply[width], [self.left, self.right, sums, deep, rows])

                if here > width:
                    function.loop(first, first + here, width, [], panel)
                else:
                    panel(first, None)

        function.loop(0, self.depth, _DEPTH, [], deeper)
        self._over(row, rows, column, many, begin=False)

    def _over(self, row: Value, rows: Value, column: Value | int, many: int, begin: bool) -> None:
        """Visit the sums of a block: fill them, or send them through the body."""
        function, ending, type = self.function, self.ending, of(self.problem.dtype)

        def visit(line: Value, place: Value, at: Value | int, span: Span) -> None:
            e = Emitter(function, span.lanes)
            ending.begin(place, function.add(function.i64(column), at))
            pointer = function.offset(line, at, self.element)
            if begin:
                function.store(e.splat(ending.start(e, 0, span)), pointer)
            else:
                ending.finish(e, function.load(pointer, type.with_lanes(span.lanes)), 0, span)

        def along(r: Value, _: list[Value]) -> None:
            place = function.add(row, r)
            line = function.offset(self.sums, function.mul(r, self.blocks.width), self.element)
            pieces = spans(0, many, self.lanes)
            full = [span for span in pieces if span.part is None and span.lanes == self.lanes]
            if full:
                end = len(full) * self.lanes
                whole = Span(0, self.lanes, self.lanes)
                function.loop(0, end, self.lanes, [], lambda at, _: visit(line, place, at, whole))
            for span in pieces[len(full) :]:
                visit(line, place, span.start, replace(span, start=0))

        function.loop(0, rows, 1, [], along)


def _multiply(module: Module, blocks: _Blocks, width: int) -> str:
    """sums[rows, width] += copied A times copied B; rows are filled up to whole tiles."""
    problem, tile = blocks.problem, blocks.tile
    type = of(problem.dtype)
    inner = replace(
        problem,
        n=width,
        a=Operand(problem.dtype, (1, tile.rows)),
        b=Operand(problem.dtype, (tile.columns, 1)),
    )

    def write(function: Function) -> None:
        left, right, sums, deep, rows = function.params
        tiles = function.udiv(function.add(rows, tile.rows - 1), tile.rows)
        lanes = function.target.lanes(problem.dtype)
        pieces = spans(0, width, lanes)
        zero = function.i64(0)

        def block(number: Value, _: list[Value]) -> None:
            copied = function.offset(left, function.mul(number, tile_stride(tile)), type.element)
            form = Broadcast(function, inner, None, copied, right, deep)
            line = function.offset(
                sums, function.mul(number, tile.rows * blocks.width), type.element
            )
            places = [
                (r * blocks.width + s.start, s.lanes) for r in range(tile.rows) for s in pieces
            ]
            start = [function.load(line, type.with_lanes(w), at) for at, w in places]
            done = accumulate(form, zero, tile.rows, 0, pieces, start)
            for (at, _width), value in zip(places, done, strict=True):
                function.store(value, line, at)

        function.loop(0, tiles, 1, [], block)
        function.ret()

    params = [("left", PTR), ("right", PTR), ("sums", PTR), ("deep", INT64), ("rows", INT64)]
    return module.shared("deep.add", params, write)


def _copy_left(module: Module, problem: Problem, tile: Tile) -> str:
    """Rows of A as tiles read them: for each tile, its rows at every k; what is missing stays."""
    type = of(problem.dtype)

    def write(function: Function) -> None:
        a, left, deep, rows = function.params
        full = function.udiv(rows, tile.rows)
        together = function.udiv(full, _TILES_TOGETHER)
        sizes = _powers(tile.rows)

        def tiles(first: Value, count: int) -> None:
            source = function.offset(a, function.mul(first, tile.rows), type.element)
            target = function.offset(left, function.mul(first, tile_stride(tile)), type.element)

            def line(k: Value, _: list[Value]) -> None:
                along = function.mul(k, problem.a.strides[1])
                read = function.anchor(function.offset(source, along, type.element))
                write = function.anchor(
                    function.offset(target, function.mul(k, tile.rows), type.element)
                )
                for number in range(count):
                    at = 0
                    for size in sizes:
                        value = function.load(read, type.with_lanes(size), number * tile.rows + at)
                        function.store(value, write, number * tile_stride(tile) + at)
                        at += size

            function.loop(0, deep, 1, [], line)

        def several(number: Value, _: list[Value]) -> None:
            tiles(function.mul(number, _TILES_TOGETHER), _TILES_TOGETHER)

        function.loop(0, together, 1, [], several, guard=True)
        begun = function.mul(together, _TILES_TOGETHER)
        function.loop(begun, full, 1, [], lambda number, _: tiles(number, 1), guard=True)
        _some_rows(function, problem, tile, function.mul(full, tile.rows), full)
        function.ret()

    params = [("a", PTR), ("left", PTR), ("deep", INT64), ("rows", INT64)]
    return module.shared("deep.left", params, write)


def _some_rows(
    function: Function, problem: Problem, tile: Tile, begun: Value, number: Value
) -> None:
    """The rows that are no whole tile, one element at a time."""
    type = of(problem.dtype)
    a, left, deep, rows = function.params
    source = function.offset(a, begun, type.element)
    target = function.offset(left, function.mul(number, tile_stride(tile)), type.element)

    def line(k: Value, _: list[Value]) -> None:
        read = function.offset(source, function.mul(k, problem.a.strides[1]), type.element)
        write = function.offset(target, function.mul(k, tile.rows), type.element)

        def one(r: Value, _: list[Value]) -> None:
            value = function.load(function.offset(read, r, type.element), type)
            function.store(value, function.offset(write, r, type.element))

        function.loop(0, function.sub(rows, begun), 1, [], one, guard=True)

    function.loop(0, deep, 1, [], line)


def _copy_right(module: Module, problem: Problem, tile: Tile) -> str:
    """Columns of B side by side: whole vectors where there are, else one at a time."""
    type = of(problem.dtype)

    def write(function: Function) -> None:
        b, right, deep, many = function.params
        lanes = function.target.lanes(problem.dtype)
        b_depth = problem.b.strides[0]

        def at(k: Value) -> tuple[Value, Value]:
            source = function.offset(b, function.mul(k, b_depth), type.element)
            target = function.offset(right, function.mul(k, tile.columns), type.element)
            return function.anchor(source), function.anchor(target)

        def whole(k: Value, _: list[Value]) -> None:
            source, target = at(k)
            for span in spans(0, tile.columns, lanes):
                value = function.load(source, type.with_lanes(span.lanes), span.start)
                function.store(value, target, span.start)

        def some(k: Value, _: list[Value]) -> None:
            source, target = at(k)

            def one(column: Value, _: list[Value]) -> None:
                value = function.load(function.offset(source, column, type.element), type)
                function.store(value, function.offset(target, column, type.element))

            function.loop(0, many, 1, [], one)

        def each(line: Callable[[Value, list[Value]], None]) -> None:
            function.loop(0, deep, 1, [], line)

        wide = function.compare("eq", many, tile.columns)
        narrow = function.compare("ne", many, tile.columns)
        function.when(wide, lambda: each(whole))
        function.when(narrow, lambda: each(some))
        function.ret()

    params = [("b", PTR), ("right", PTR), ("deep", INT64), ("many", INT64)]
    return module.shared("deep.right", params, write)


def _powers(count: int) -> list[int]:
    """Powers of two that add up to a count, the largest first.

    Example:
        >>> _powers(6)
        [4, 2]
    """
    return [1 << bit for bit in reversed(range(count.bit_length())) if count >> bit & 1]
