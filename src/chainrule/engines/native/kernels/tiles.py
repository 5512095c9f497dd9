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
from ..emit.types import Value
from ..target import Target
from .common import Body, Bound, Operand, Span, results

# Independent multiply-adds that keep the units busy.
_IN_FLIGHT = 8
# What folding an accumulator across lanes costs in the dot form, in multiply-adds.
_FOLD_COST = 4
# What storing a vector of the result and starting its sum cost, in multiply-adds.
_STORE_COST = 2


@dataclass(frozen=True)
class Problem:
    """A product to be written: layouts, body, and the sizes to expect."""

    n: int
    a: Operand
    b: Operand
    bias: Operand | None
    operands: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    body: Body
    rows: int
    depth: int

    @property
    def dtype(self) -> DType:
        """Element type of the sums."""
        return self.a.dtype

    @property
    def tailing(self) -> list[Operand]:
        """The operands that end a tile: bias, operands, outputs."""
        return [*([self.bias] if self.bias else []), *self.operands, *self.outputs]


@dataclass(frozen=True)
class Tile:
    """Rows and columns of C that are in registers together."""

    rows: int
    columns: int


def choose_broadcast(target: Target, problem: Problem) -> Tile:
    """The tile that finishes the expected size soonest in the broadcast form."""
    lanes = target.lanes(problem.dtype)
    vectors = -(-problem.n // lanes)

    def panel(rows: int, width: int) -> float:
        turn = max(rows * width, width + rows / 2, _IN_FLIGHT if rows > 1 else _IN_FLIGHT / 2)
        return turn * problem.depth + _STORE_COST * rows * width

    def cost(tile: tuple[int, int]) -> tuple[float, int]:
        rows, width = tile
        total = 0.0
        for part, times in _parts(vectors, width):
            full, rest = divmod(problem.rows, rows)
            total += times * (full * panel(rows, part) + rest * panel(1, part))
        return total, -rows * width

    best = min(_fitting(target, vectors, problem.rows), key=cost)
    return Tile(best[0], best[1] * lanes)


def choose_dot(target: Target, problem: Problem) -> Tile:
    """The tile that finishes the expected size soonest in the dot form."""
    lanes = target.lanes(problem.dtype)
    turns = -(-problem.depth // lanes)

    def block(rows: int, width: int) -> float:
        turn = max(rows * width, width + rows, _IN_FLIGHT if rows * width > 1 else 4)
        return turn * turns + _FOLD_COST * rows * width

    def cost(tile: tuple[int, int]) -> tuple[float, int]:
        rows, width = tile
        full, rest = divmod(problem.rows, rows)
        total = 0.0
        for part, times in _parts(problem.n, width):
            total += times * (full * block(rows, part) + rest * block(1, part))
        return total, -rows * width

    fitting = _fitting(target, min(problem.n, lanes), problem.rows)
    best = min(fitting, key=cost)
    return Tile(best[0], best[1])


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
        self._shared: dict[tuple[int, int, int], Value] = {}

    def begin(self) -> None:
        """Forget what was loaded for the last tile."""
        self._shared.clear()

    def start(self, e: Emitter, place: tuple[Value, int], column: Value | int, span: Span) -> Value:
        """What the sums of a vector of C start from."""
        if not self.problem.bias:
            return e.splat(e.const(0.0, self.problem.dtype))
        return e.splat(e.cast(self._load(e, 0, place, column, span), self.problem.dtype))

    def finish(
        self, e: Emitter, c: Value, place: tuple[Value, int], column: Value | int, span: Span
    ) -> None:
        """Send a vector of C through the body and store what comes out."""
        problem = self.problem
        last = self._first + len(problem.operands)
        values = [self._load(e, i, place, column, span) for i in range(self._first, last)]
        made = results(problem.body(e, c, *values), len(problem.outputs))
        for i, value in enumerate(made):
            row = self._row(place)
            self.bound.store(e, last + i, value, [row, column], 1, span.part)

    def _row(self, place: tuple[Value, int]) -> Value:
        row, more = place
        return self.function.add(row, more)

    def _load(
        self, e: Emitter, which: int, place: tuple[Value, int], column: Value | int, span: Span
    ) -> Value:
        """Load an operand; what rows or columns of a tile share is loaded once for them."""
        row_stride, column_stride = self.bound.operands[which].strides
        key = (
            which,
            place[1] if row_stride else -1,
            (column if isinstance(column, int) else span.start) if column_stride else -1,
        )
        known = self._shared.get(key)
        if known is None or known.lanes not in (0, e.lanes):
            known = self.bound.load(e, which, [self._row(place), column], 1, span.part)
            self._shared[key] = known
        return known


RowTile = Callable[[Value, int], None]


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
