"""Rows of the next batch, asked of memory while a product keeps the processor busy.

Rows of a shuffled data set lie anywhere, so that gathering them waits for memory at each. A product
computes from near caches meanwhile: each of its tiles asks for the part of the next batch that its
place stands for. The axis that threads share stands for the batch's rows, so that each thread asks
for those that it will gather; the other axis stands for the bytes of a row. A tile asks a little in
each turn of its inner loop, because the lines that may be on their way at once are few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..emit.ir import Function
from ..emit.types import INT32, INT64, PTR, Value

_ENOUGH = 0.05  # of a row, that may be left out
_SHIFT = 16  # bits behind the point of the bytes that a turn goes on by
_NULL = Value("null", PTR, fixed=True)
Ratio = tuple[int, int]


@dataclass(frozen=True)
class Ahead:
    """What a product asks for.

    Attributes:
        stride: bytes from one row of the data to the next.
        first, last: the bytes of each row that this product asks for.
        by_rows, by_columns: (times, over): so many rows of the batch for so many rows, or columns,
            of the product, where it is split among threads along them.
    """

    stride: int
    first: int
    last: int
    by_rows: Ratio
    by_columns: Ratio


@dataclass(frozen=True)
class Asked:
    """Bytes behind each of some places, to be asked for during a tile's inner loop."""

    function: Function
    starts: Sequence[Value]
    span: int

    def turn(self, k: Value, depth: int) -> None:
        """Ask for what the place ``k`` of ``depth`` stands for."""
        function = self.function
        scale = round((self.span << _SHIFT) / depth)
        at = function.value(f"lshr i64 {function.mul(k, scale).text}, {_SHIFT}", INT64)
        for start in self.starts:
            function.prefetch(function.offset(start, at))


class Asking:
    """Writes what a kernel's tiles ask for.

    Args:
        function: the kernel.
        ahead: what it asks for.
        sizes: rows and columns of the product, as they are expected.
        pointers: the data array; the numbers of the next rows (int32), or null.
        by_columns: whether threads share the columns instead of the rows.
    """

    def __init__(
        self,
        function: Function,
        ahead: Ahead,
        sizes: tuple[int, int],
        pointers: Sequence[Value],
        by_columns: bool,
    ) -> None:
        self.function, self.ahead, self.by_columns = function, ahead, by_columns
        self.data, self.chosen = pointers
        self.times, self.over = ahead.by_columns if by_columns else ahead.by_rows
        self.extent = sizes[0] if by_columns else sizes[1]

    def tile(self, row: Value, rows: int, column: Value | int, columns: int) -> Asked:
        """What a tile asks for: a piece of one row, or some whole rows.

        A strip of tiles stands for ``many`` rows, a tile for ``share`` of a row. Pieces are so wide
        that in each of them some tile begins, so that the rounding leaves nothing out.
        """
        function, ahead = self.function, self.ahead
        shared: tuple[Value | int, int] = (row, rows)
        other: tuple[Value | int, int] = (column, columns)
        if self.by_columns:
            shared, other = other, shared
        many = max(1, round(shared[1] * self.times / self.over))
        share = max(1, other[1]) * many / self.extent
        pieces, count = max(1, int(1 / share)), max(1, math.ceil(share - _ENOUGH))
        size = -(-(ahead.last - ahead.first) // pieces)

        def begin() -> list[Value]:
            first = function.udiv(function.mul(shared[0], self.times), self.over)
            along = function.mul(other[0], many)
            number = function.udiv(along, self.extent)
            rest = function.sub(along, function.mul(number, self.extent))
            piece = function.udiv(function.mul(rest, pieces), self.extent)
            inside = function.add(function.mul(piece, size), ahead.first)
            chosen = function.offset(self.chosen, function.add(first, number), "i32")
            return [self._row(function.load(chosen, INT32, each), inside) for each in range(count)]

        given = function.compare("ne", self.chosen, _NULL)
        return Asked(function, function.choose(given, begin, [self.data] * count), size)

    def _row(self, which: Value, inside: Value) -> Value:
        """Pointer to a byte of a row of the data."""
        function = self.function
        wide = function.value(f"sext i32 {which.text} to i64", INT64)
        start = function.offset(self.data, function.mul(wide, self.ahead.stride))
        return function.offset(start, inside)
