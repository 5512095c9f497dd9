"""The shape of a product's register tile, chosen by a small model of the processor.

A turn of the inner loop costs the larger of its multiply-adds, its loads, and the time that a
multiply-add's result takes; a tile must fit the registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ....dtypes import DType
from ..emit.body import Emitter
from ..emit.ir import Function
from ..emit.memory import load_points, memory_type, store_points
from ..emit.shuffle import shuffle, take_lanes
from ..emit.types import Type, Value
from ..target import Target
from .ahead import Ahead
from .common import Body, Bound, Operand, Span, power_above, results

# Independent multiply-adds that keep the units busy.
_IN_FLIGHT = 8
# What folding an accumulator across lanes costs in the dot form, in multiply-adds.
_FOLD_COST = 4
# What storing a vector of the result and starting its sum cost, in multiply-adds.
_STORE_COST = 2
# What an accumulator that is written out costs to compile, in multiply-adds a call, when a kernel
# is called some thousands of times.
_CODE_COST = 60
# Lines of a body that are too many to be written for each vector of a tile.
LONG_BODY = 14
# Rows that are worth sharing between threads.
_ROWS_TO_SHARE = 16


@dataclass(frozen=True)
class Problem:
    """A product to be written: layouts, body, and the sizes to expect.

    ``ahead`` is what it asks memory for; ``gathered`` how many rows the data have from which it
    fills A, 0 where A is there already.
    """

    n: int
    a: Operand
    b: Operand
    bias: Operand | None
    operands: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    body: Body
    rows: int
    depth: int
    ahead: Ahead | None = None
    gathered: int = 0

    @property
    def dtype(self) -> DType:
        """Element type of the sums."""
        return self.a.dtype

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows and columns to expect."""
        return self.rows, self.n

    @property
    def tailing(self) -> list[Operand]:
        """The operands that end a tile: bias, operands, outputs."""
        return [*([self.bias] if self.bias else []), *self.operands, *self.outputs]


@dataclass(frozen=True)
class Tile:
    """Rows and columns of C that are in registers together."""

    rows: int
    columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """Both numbers."""
        return self.rows, self.columns


def choose_broadcast(target: Target, problem: Problem) -> Tile:
    """The tile that finishes the expected size soonest in the broadcast form."""
    lanes = target.lanes(problem.dtype)
    vectors = -(-problem.n // lanes)

    def panel(rows: int, width: int) -> float:
        loads = width + rows / 2
        turn = max(rows * width, loads, _IN_FLIGHT if rows > 1 else _IN_FLIGHT / 2)
        return (turn + loads / 32) * problem.depth + _STORE_COST * rows * width

    rows, width = _soonest(target, problem.rows, vectors, vectors, panel)
    return Tile(rows, width * lanes)


def dot_lanes(target: Target, problem: Problem) -> int:
    """Lanes of the dot form's vectors: no more than the depth fills."""
    return max(2, min(target.lanes(problem.dtype), power_above(problem.depth)))


def choose_dot(target: Target, problem: Problem) -> Tile:
    """The tile that finishes the expected size soonest in the dot form."""
    lanes = dot_lanes(target, problem)
    turns = -(-problem.depth // lanes)

    def block(rows: int, width: int) -> float:
        # Rows of A come from the second-level cache again for each block of columns.
        loads = width + 2 * rows
        turn = max(rows * width, loads, _IN_FLIGHT if rows * width > 1 else 4)
        return (turn + loads / 8) * turns + _FOLD_COST * rows * width

    return Tile(*_soonest(target, problem.rows, problem.n, min(problem.n, lanes), block))


def shares(rows: int) -> list[int]:
    """How rows are likely to be shared among threads."""
    return [rows] if rows < _ROWS_TO_SHARE else [rows // 2, rows - rows // 2]


def is_even(rows: int, height: int) -> bool:
    """Whether tiles of a height leave no rows over, in one thread or in two."""
    return all(share % height == 0 for share in [rows, *shares(rows)])


def _soonest(
    target: Target,
    rows: int,
    whole: int,
    widest: int,
    time: Callable[[int, int], float],
) -> tuple[int, int]:
    """The tile (rows, width) that covers ``rows`` by ``whole`` soonest; ``time`` times one tile."""

    def cost(tile: tuple[int, int]) -> tuple[float, int]:
        height, width = tile
        parts = _parts(whole, width)
        written = sum(part * (height + (not is_even(rows, height))) for part, _ in parts)
        total = float(_CODE_COST * written)
        for share in shares(rows):
            full, rest = divmod(share, height)
            for part, times in parts:
                total += times * (full * time(height, part) + rest * time(1, part))
        return total, -height * width

    return min(_fitting(target, widest, rows), key=cost)


def _parts(whole: int, width: int) -> list[tuple[int, int]]:
    """(size, how often): full parts, then the rest."""
    full, rest = divmod(whole, width)
    return [(size, times) for size, times in ((width, full), (rest, 1)) if size and times]


def _fitting(target: Target, widest: int, rows: int) -> list[tuple[int, int]]:
    """(rows, vectors) whose accumulators, one row of B and one element of A fit the registers."""
    budget = target.registers - 1 if target.registers > 16 else target.registers
    return [
        (r, v)
        for v in range(1, widest + 1)
        for r in range(1, min(14, max(1, rows)) + 1)
        if r * v + v + 1 <= budget
    ]


def split_columns(problem: Problem, tile: Tile) -> bool:
    """Whether there are too few tiles of rows to share, and more panels of columns."""
    row_tiles = -(-problem.rows // tile.rows)
    return row_tiles < 4 and -(-problem.n // tile.columns) > row_tiles


class Ending:
    """Bias in front of a tile and the body behind it."""

    def __init__(self, function: Function, problem: Problem, pointers: Sequence[Value]) -> None:
        self.function, self.problem = function, problem
        self.bound = Bound(function, problem.tailing, pointers)
        self._first = 1 if problem.bias else 0
        self._place: tuple[Value, Value | int] = (function.i64(0), 0)
        self._bases: dict[int, Value] = {}
        self._shared: dict[tuple[int, int, int], Value] = {}

    def begin(self, row: Value, column: Value | int) -> None:
        """A new tile begins at a row and a column."""
        self._place = (row, column)
        self._bases.clear()
        self._shared.clear()

    def start(self, e: Emitter, row: int, span: Span) -> Value:
        """What the sums of a vector of C start from; rows and columns count from the tile's."""
        if not self.problem.bias:
            return e.splat(e.const(0.0, self.problem.dtype))
        return e.splat(e.cast(self._load(e, 0, row, span), self.problem.dtype))

    def finish(self, e: Emitter, c: Value, row: int, span: Span) -> None:
        """Send a vector of C through the body and store what comes out."""
        problem = self.problem
        last = self._first + len(problem.operands)
        values = [self._load(e, i, row, span) for i in range(self._first, last)]
        made = results(problem.body(e, c, *values), len(problem.outputs))
        for i, value in enumerate(made, last):
            operand = self.bound.operands[i]
            pointer = self._at(i, row, span)
            store_points(e, value, pointer, operand.dtype, operand.strides[1], span.part)

    def start_rows(self, e: Emitter, rows: Sequence[int], span: Span) -> Value:
        """What the sums of some rows start from, side by side in one vector."""
        return e.splat(e.cast(self._load_rows(e, 0, rows, span), self.problem.dtype))

    def finish_rows(self, e: Emitter, c: Value, rows: Sequence[int], span: Span) -> None:
        """As :meth:`finish`, for short pieces of some rows that lie side by side in one vector."""
        problem = self.problem
        last = self._first + len(problem.operands)
        values = [self._load_rows(e, i, rows, span) for i in range(self._first, last)]
        made = results(problem.body(e, c, *values), len(problem.outputs))
        piece = Emitter(self.function, span.lanes)
        for i, value in enumerate(made, last):
            operand, whole = self.bound.operands[i], e.splat(value)
            for place, row in enumerate(rows):
                part = take_lanes(piece, whole, place * span.lanes, span.lanes, span.lanes)
                pointer = self._at(i, row, span)
                store_points(piece, part, pointer, operand.dtype, operand.strides[1], span.part)

    def _load_rows(self, e: Emitter, which: int, rows: Sequence[int], span: Span) -> Value:
        """Pieces of an operand's rows, side by side."""
        operand = self.bound.operands[which]
        if operand.is_single:
            return self._single(e, which)
        piece = Emitter(self.function, span.lanes)
        parts = [piece.splat(self._load(piece, which, row, span)) for row in rows]
        while len(parts) > 1:
            both = range(2 * parts[0].lanes)
            parts = [shuffle(e, *pair, both) for pair in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    def lines(self) -> int:
        """How many instructions the body is for one vector, found by writing it aside."""
        aside = Function(self.function.module, "aside", [])
        aside.params = self.function.params
        lanes = self.function.target.lanes(self.problem.dtype)
        ending = Ending(aside, self.problem, self.bound.pointers)
        c = Value("%sample", Type(self.problem.dtype.name, lanes))
        ending.finish(Emitter(aside, lanes), c, 0, Span(0, lanes, lanes))
        return aside.length()

    def _at(self, which: int, row: int, span: Span) -> Value:
        """Pointer to an operand's element: from the tile's first by a known distance."""
        if which not in self._bases:
            self._bases[which] = self.function.anchor(self.bound.at(which, self._place))
        operand = self.bound.operands[which]
        distance = row * operand.strides[0] + span.start * operand.strides[1]
        element = memory_type(operand.dtype).element
        return self.function.offset(self._bases[which], distance, element)

    def _load(self, e: Emitter, which: int, row: int, span: Span) -> Value:
        """Load an operand; what rows or columns of a tile share is loaded once for them."""
        operand = self.bound.operands[which]
        if operand.is_single:
            return self._single(e, which)
        row_stride, column_stride = operand.strides
        key = (which, row if row_stride else -1, span.start if column_stride else -1)
        known = self._shared.get(key)
        if known is None or known.lanes not in (0, e.lanes):
            pointer = self._at(which, row, span)
            known = load_points(e, pointer, operand.dtype, column_stride, span.part)
            self._shared[key] = known
        return known

    def _single(self, e: Emitter, which: int) -> Value:
        """The one element that all points share, loaded where it is used.

        From the function's entry on it would take a register from the sums of the inner loop.
        """
        key = (which, -1, -1)
        if key not in self._shared:
            dtype = self.bound.operands[which].dtype
            pointer = self.bound.pointers[which]
            self._shared[key] = load_points(e, pointer, dtype, 0)
        return self._shared[key]


RowTile = Callable[[Value, int], None]
RowTiles = Callable[[RowTile], None]


def cover(
    function: Function,
    problem: Problem,
    tile: Tile,
    least: int,
    rows: tuple[Value, Value],
    columns: Callable[[int, int, int, RowTiles], None],
) -> None:
    """Cover a range of rows and all columns by tiles, and the rows left over by smaller ones.

    Rows that the expected number leaves over get tiles as wide as the others; rows that a split in
    unexpected parts leaves over get the narrowest, because each width is code to compile.

    Args:
        function: where to write.
        problem: the product.
        tile: the tile.
        least: the narrowest tile.
        rows: first row, and the row after the last.
        columns: ``columns(first, last, width, rows)`` writes tiles of a width over columns; for
            each it calls ``rows`` with what writes a tile of some rows.
    """
    start, stop = rows
    height = tile.rows
    count = function.sub(stop, start)
    full = function.add(start, function.mul(function.udiv(count, height), height))

    def tall(write: RowTile) -> None:
        function.loop(start, full, height, [], lambda row, _: write(row, height), guard=True)

    def both(write: RowTile) -> None:
        tall(write)
        single(write)

    def single(write: RowTile) -> None:
        function.loop(full, stop, 1, [], lambda row, _: write(row, 1), guard=True)

    if height == 1 or not is_even(problem.rows, height):
        columns(0, problem.n, tile.columns, tall if height == 1 else both)
        return
    columns(0, problem.n, tile.columns, tall)
    columns(0, problem.n, min(least, problem.n), single)


def over_rows(function: Function, rows: int, start: Value, stop: Value, tile: RowTile) -> None:
    """Cover rows from ``start`` to ``stop`` by tiles of ``rows`` and then single rows.

    Args:
        function: where to write.
        rows: rows of a full tile.
        start: first row.
        stop: the row after the last.
        tile: ``tile(first, count)`` writes a tile of ``count`` rows.
    """
    if rows == 1:
        function.loop(start, stop, 1, [], lambda row, _: tile(row, 1), guard=True)
        return
    count = function.sub(stop, start)
    full = function.add(start, function.mul(function.udiv(count, rows), rows))
    function.loop(start, full, rows, [], lambda row, _: tile(row, rows), guard=True)
    function.loop(full, stop, 1, [], lambda row, _: tile(row, 1), guard=True)
