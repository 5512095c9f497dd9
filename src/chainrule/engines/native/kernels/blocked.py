"""The blocked form of a product: blocks of both factors are copied, then multiplied.

Both factors are copied into the order in which register tiles read them (Goto and van de Geijn,
Anatomy of high-performance matrix multiplication, 2008): a panel of B stays in the first-level
cache while the rows of a block of A pass by from the second. The sums wait in scratch memory for
the next block of k, and the body runs over those of a panel while they are near. So any strides of
A and B are taken. Each sum runs through k in order, whatever the split.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import memory_type
from ..emit.types import INT64, PTR, Value, of
from .broadcast import Broadcast, accumulate
from .common import Kernel, Operand, Span, parameters, spans
from .copies import copy_left, copy_right, depth_of, distance, left_stride, right_stride
from .tiles import Ending, Problem, Tile

# Rows of A that are copied at once; rows and columns of C whose sums wait for the next block of k.
_ROWS = 192
_ROWS_WAITING = 384
_COLUMNS = 1024
# Elements between the sums of two panels, so that they do not fall onto the same cache lines.
_GAP = 16

# What copying and waiting cost, in shares of the product: sizes whose inverses add up to no more
# than this are worth it, by how the other forms would read the factors.
_GAIN_OVER_BROADCAST = 0.0165
_GAIN_OVER_DOT = 0.014
_GAIN_OVER_POOR = 0.03
# The dot form folds its sums across lanes, which is much of a short sum.
_SHORT_SUM = 300
# B of so many bytes comes from the second-level cache or beyond for each tile of rows.
_LARGE = 1 << 18
_LONG_SUM = 256
_LONG_COLUMN = 512
_LEAST_ROWS = 24
# First-level caches keep eight lines of equal place in so many bytes. Lines that lie a large part
# of that apart push each other out, however few there are.
_WAYS = 8
_WAY_BYTES = 4096

_Place = tuple[Value, Value]
_Visit = Callable[[Emitter, Value, Span], None]


def add(module: Module, problem: Problem, names: list[str]) -> Kernel:
    """Add the kernel; see :func:`chainrule.engines.native.kernels.product.product`."""
    registers, lanes = module.target.registers, module.target.lanes(problem.dtype)
    tile = Tile(6, (4 if registers >= 32 else 2) * lanes)
    blocks = _Blocks(problem, tile, lanes)
    names = [*names, "scratch"]
    copies = copy_left(module, problem, tile), copy_right(module, problem, tile)
    multiply = {width: _multiply(module, problem, tile, width) for width in blocks.widths}
    by_columns = problem.n > problem.rows
    extents = ("m", "k") if by_columns else ("k",)

    def write(function: Function) -> None:
        _Driver(function, blocks, copies, multiply, by_columns).write()

    name = module.shared("blocked", parameters(names, extents), write)
    axis, grain = ("columns", tile.columns) if by_columns else ("rows", tile.rows)
    return Kernel(
        name, tuple(names), extents, axis, grain, blocks.bytes, form="blocked", tile=tile.shape
    )


def pays(sizes: tuple[int, int, int], a: Operand, b: Operand) -> bool:
    """Whether copying blocks is faster than the forms that read the factors where they lie.

    Args:
        sizes: rows, columns and depth.
        a, b: the factors, strides along (m, k) and (k, n).
    """
    rows, columns, depth = sizes
    cost = _cost(sizes)
    if a.strides[1] == 1 and b.strides[0] == 1 and (columns == 1 or b.strides[1] != 1):
        return cost <= (_GAIN_OVER_POOR if depth < _SHORT_SUM else _GAIN_OVER_DOT)
    if rows < _LEAST_ROWS or columns < _LEAST_ROWS:
        return False
    size = b.dtype.itemsize
    poor = _crowded(a.strides[1] * size, depth) or _crowded(b.strides[0] * size, depth)
    poor |= depth >= _LONG_SUM and depth * columns * size >= _LARGE
    # Walking down a long sum, each step touches new lines of both factors.
    down = a.strides[0] == 1 and a.strides[1] > 1 and depth >= _LONG_COLUMN
    return down or cost <= (_GAIN_OVER_POOR if poor else _GAIN_OVER_BROADCAST)


def is_large(sizes: tuple[int, int, int]) -> bool:
    """Whether copying blocks is faster in any layout of the factors."""
    return _cost(sizes) <= _GAIN_OVER_DOT


def _cost(sizes: tuple[int, int, int]) -> float:
    return sum(1 / max(1, size) for size in sizes)


def _crowded(apart: int, lines: int) -> bool:
    """Whether so many lines, so many bytes apart, share so few places that they are lost."""
    places = _WAY_BYTES // math.gcd(apart, _WAY_BYTES)
    return places <= 4 and lines > _WAYS * places


class _Blocks:
    """Sizes of the parts of the scratch memory, in elements: sums, copies of A, copies of B.

    Attributes:
        columns: columns of C whose sums wait, which are whole panels.
        apart: from the sums of one panel to those of the next.
        left, right: where the copies begin.
        bytes: all of it.
        widths: columns that are multiplied together: a whole panel's, and what the last one needs.
    """

    def __init__(self, problem: Problem, tile: Tile, lanes: int) -> None:
        self.problem, self.tile = problem, tile
        panels = min(-(-problem.n // tile.columns), _COLUMNS // tile.columns)
        self.columns = panels * tile.columns
        self.apart = _ROWS_WAITING * tile.columns + _GAP
        self.left = panels * self.apart
        self.right = self.left + _ROWS // tile.rows * left_stride(problem, tile)
        self.bytes = (self.right + panels * right_stride(problem, tile)) * problem.dtype.itemsize
        last = -(-(problem.n % tile.columns) // lanes) * lanes
        self.widths = [tile.columns, *([last] if 0 < last < tile.columns else [])]


class _Driver:
    """Writes the loops around the copies and the small product."""

    def __init__(
        self,
        function: Function,
        blocks: _Blocks,
        copies: tuple[str, str],
        multiply: dict[int, str],
        by_columns: bool,
    ) -> None:
        self.function, self.blocks, self.copies, self.multiply = function, blocks, copies, multiply
        problem = self.problem = blocks.problem
        self.tile, self.deepest = blocks.tile, depth_of(problem)
        count = len(problem.tailing)
        self.a, self.b = function.params[:2]
        self.ending = Ending(function, problem, function.params[2 : 2 + count])
        self.sums, *extents, start, stop = function.params[2 + count :]
        self.depth = extents[-1]
        zero, columns = function.i64(0), function.i64(problem.n)
        self.rows = (zero, extents[0]) if by_columns else (start, stop)
        self.columns = (start, stop) if by_columns else (zero, columns)
        self.type = of(problem.dtype)
        self.lanes = function.target.lanes(problem.dtype)
        self.left = function.offset(self.sums, blocks.left, self.type.element)
        self.right = function.offset(self.sums, blocks.right, self.type.element)

    def write(self) -> None:
        """Blocks of rows whose sums wait, blocks of columns, blocks of depth."""
        function, blocks = self.function, self.blocks
        # Where k is one block, sums wait for nothing, and there may be any number of rows.
        once = function.compare("le", self.depth, self.deepest)
        step = function.select(once, function.max(self.rows[1], 1), _ROWS_WAITING)

        def rows(first: Value, _: list[Value]) -> None:
            last = function.min(function.add(first, step), self.rows[1])

            def columns(column: Value, _: list[Value]) -> None:
                many = function.min(function.sub(self.columns[1], column), blocks.columns)

                def deeper(k: Value, _: list[Value]) -> None:
                    self._deeper((first, last), (column, many), k, once)

                function.loop(0, self.depth, self.deepest, [], deeper)

            function.loop(*self.columns, blocks.columns, [], columns, guard=True)

        function.loop(*self.rows, step, [], rows, guard=True)
        function.ret()

    def _deeper(self, rows: _Place, columns: _Place, k: Value, once: Value) -> None:
        """A block of depth: copy B, then block after block of A."""
        function = self.function
        deep = function.min(function.sub(self.depth, k), self.deepest)
        column, many = columns
        from_b = self._at(self.b, self.problem.b, (k, column))
        apart = function.i64(distance(*reversed(self.problem.b.strides)))
        function.call(self.copies[1], [from_b, self.right, apart, deep, many])

        def block(row: Value, _: list[Value]) -> None:
            here = function.min(function.sub(rows[1], row), _ROWS)
            from_a = self._at(self.a, self.problem.a, (row, k))
            apart = function.i64(distance(*self.problem.a.strides))
            function.call(self.copies[0], [from_a, self.left, apart, deep, here])
            skipped = function.mul(function.sub(row, rows[0]), self.tile.columns)
            waiting = function.offset(self.sums, skipped, self.type.element)

            def panel(at: Value, _: list[Value]) -> None:
                number = function.udiv(at, self.tile.columns)
                place = function.mul(number, self.blocks.apart)
                sums = function.offset(waiting, place, self.type.element)
                sums = function.select(once, self.sums, sums)
                place = function.mul(number, right_stride(self.problem, self.tile))
                right = function.offset(self.right, place, self.type.element)
                wide = function.min(function.sub(many, at), self.tile.columns)
                self._panel((row, function.add(column, at)), (here, wide), (sums, right), k, deep)

            function.loop(0, many, self.tile.columns, [], panel)

        function.loop(*rows, _ROWS, [], block)

    def _at(self, pointer: Value, operand: Operand, place: _Place) -> Value:
        function = self.function
        offsets = [function.mul(p, s) for p, s in zip(place, operand.strides, strict=True)]
        return function.offset(pointer, function.add(*offsets), self.type.element)

    def _panel(self, first: _Place, size: _Place, parts: _Place, k: Value, deep: Value) -> None:
        """Multiply a block of A with a panel of B.

        Args:
            first: where the block of C begins.
            size: its rows and columns.
            parts: where its sums and the copies of B are.
            k, deep: where the block of depth begins and how deep it is.
        """
        function = self.function
        (sums, right), (rows, wide) = parts, size
        begins = function.compare("eq", k, 0)
        ends = function.compare("ge", function.add(k, self.deepest), self.depth)
        function.when(begins, lambda: self._begin(sums, first, size))
        last = self.ending.bound.at(len(self.problem.tailing) - 1, first)
        output = self.problem.outputs[-1]
        apart = output.strides[0] * memory_type(output.dtype).bytes
        arguments = [self.left, right, sums, last, function.i64(apart), deep, rows]
        narrow = min(self.multiply)
        if len(self.multiply) == 1:
            function.call(self.multiply[narrow], arguments)
        else:
            wider = self.multiply[self.tile.columns]
            fits, exceeds = (function.compare(kind, wide, narrow) for kind in ("le", "gt"))
            function.when(fits, lambda: function.call(self.multiply[narrow], arguments))
            function.when(exceeds, lambda: function.call(wider, arguments))
        function.when(ends, lambda: self._end(sums, first, size))

    def _begin(self, sums: Value, first: _Place, size: _Place) -> None:
        def start(e: Emitter, at: Value, span: Span) -> None:
            self.function.store(e.splat(self.ending.start(e, 0, span)), at)

        if self.problem.bias is None:
            size = size[0], self.function.i64(self.tile.columns)
        self._over(sums, first, size, start)

    def _end(self, sums: Value, first: _Place, size: _Place) -> None:
        def finish(e: Emitter, at: Value, span: Span) -> None:
            self.ending.finish(e, self.function.load(at, self.type.with_lanes(e.lanes)), 0, span)

        self._over(sums, first, size, finish)

    def _over(self, sums: Value, first: _Place, size: _Place, visit: _Visit) -> None:
        """Visit the sums of a panel: full vectors of each row, then single columns."""
        function, lanes = self.function, self.lanes
        rows, wide = size
        full = function.mul(function.udiv(wide, lanes), lanes)

        def along(r: Value, _: list[Value]) -> None:
            row = function.add(first[0], r)
            line = function.offset(sums, function.mul(r, self.tile.columns), self.type.element)

            def one(offset: Value, lanes: int) -> None:
                self.ending.begin(row, function.add(first[1], offset))
                at = function.offset(line, offset, self.type.element)
                visit(Emitter(function, lanes), at, Span(0, lanes, lanes))

            function.loop(0, full, lanes, [], lambda at, _: one(at, lanes), guard=True)
            if full.number is None:
                function.loop(full, wide, 1, [], lambda at, _: one(at, 0), guard=True)

        function.loop(0, rows, 1, [], along)


def _multiply(module: Module, problem: Problem, tile: Tile, width: int) -> str:
    """sums[rows, width] += copied A times copied B; rows are filled up to whole tiles.

    Meanwhile the lines of the last output are asked for, which lie ``apart`` bytes apart.
    """
    type = of(problem.dtype)
    inner = replace(
        problem,
        n=width,
        a=Operand(problem.dtype, (1, tile.rows)),
        b=Operand(problem.dtype, (tile.columns, 1)),
    )

    def write(function: Function) -> None:
        left, right, sums, last, apart, deep, rows = function.params
        tiles = function.udiv(function.add(rows, tile.rows - 1), tile.rows)
        pieces = spans(0, width, function.target.lanes(problem.dtype))
        zero = function.i64(0)
        places = [(r * tile.columns + s.start, s.lanes) for r in range(tile.rows) for s in pieces]

        def block(number: Value, _: list[Value]) -> None:
            skipped = function.mul(number, left_stride(problem, tile))
            copied = function.offset(left, skipped, type.element)
            form = Broadcast(function, inner, None, copied, right, deep)
            skipped = function.mul(number, tile.rows * tile.columns)
            line = function.offset(sums, skipped, type.element)
            ask(number)
            start = [function.load(line, type.with_lanes(lanes), at) for at, lanes in places]
            done = accumulate(form, zero, tile.rows, 0, pieces, start)
            for (at, _lanes), value in zip(places, done, strict=True):
                function.store(value, line, at)

        def ask(number: Value) -> None:
            row = function.mul(number, tile.rows)
            for r in range(tile.rows):
                function.prefetch(
                    function.offset(last, function.mul(function.add(row, r), apart)), write=True
                )

        function.loop(0, tiles, 1, [], block)
        function.ret()

    pointers = [(name, PTR) for name in ("left", "right", "sums", "last")]
    numbers = [(name, INT64) for name in ("apart", "deep", "rows")]
    return module.shared("blocked.add", [*pointers, *numbers], write)
