"""Copies of blocks of a product's factors, in the order in which register tiles read them."""

from __future__ import annotations

from collections.abc import Sequence

from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.shuffle import transpose
from ..emit.types import INT64, PTR, Value, literal, of
from .common import spans
from .tiles import Problem, Tile

# Bytes of depth that are copied at once.
_DEPTH_BYTES = 1024
# Elements between the copies of two tiles, so that they do not fall onto the same cache lines, and
# the last vector of one may reach beyond its end.
_GAP = 16
# Tiles of rows, and panels of columns, that are copied side by side.
_TOGETHER = 4
# Squares that are turned over in registers have at most so many rows.
_SQUARE = 8
_PARAMETERS = [
    ("source", PTR),
    ("target", PTR),
    ("apart", INT64),
    ("deep", INT64),
    ("count", INT64),
]


def depth_of(problem: Problem) -> int:
    """The depth that is copied at once."""
    return _DEPTH_BYTES // problem.dtype.itemsize


def left_stride(problem: Problem, tile: Tile) -> int:
    """Elements from the copy of one tile's rows of A to that of the next."""
    return depth_of(problem) * tile.rows + _GAP


def right_stride(problem: Problem, tile: Tile) -> int:
    """Elements from the copy of one panel of B to that of the next."""
    return depth_of(problem) * tile.columns + _GAP


def distance(across: int, depth: int) -> int:
    """The stride that a copy is told; the other one is 1, or part of its text."""
    return depth if across == 1 else across


def copy_left(module: Module, problem: Problem, tile: Tile) -> str:
    """Add ``copy(a, left, apart, deep, rows)``: for each tile, its rows at every k.

    Rows that A does not have stay as they are. ``apart`` is what :func:`distance` gives for A.

    Returns:
        The function's name.
    """

    def write(function: Function) -> None:
        _Left(function, problem, tile).write()

    return module.shared("left", _PARAMETERS, write)


def copy_right(module: Module, problem: Problem, tile: Tile) -> str:
    """Add ``copy(b, right, apart, deep, many)``: for each panel, its columns at every k.

    Columns that B does not have become 0. ``apart`` is what :func:`distance` gives for B.

    Returns:
        The function's name.
    """

    def write(function: Function) -> None:
        _Right(function, problem, tile).write()

    return module.shared("right", _PARAMETERS, write)


class _Copy:
    """What copies of both factors share.

    Along ``across`` lie the rows of A or the columns of B, along ``depth`` k.
    """

    def __init__(
        self, function: Function, problem: Problem, size: int, strides: tuple[int, int], apart: int
    ) -> None:
        self.function, self.size, self.apart = function, size, apart
        self.source, self.target, told, self.deep, self.count = function.params
        # What the strides are is told, so that one text serves many products.
        self.along = 0 if strides[0] == 1 else 1 if strides[1] == 1 else None
        self.across: Value | int = told if self.along != 0 else 1
        self.depth: Value | int = told if self.along == 0 else strides[1]
        self.type = of(problem.dtype)
        self.lanes = function.target.lanes(problem.dtype)

    def write(self) -> None:
        """Whole parts as the layout asks for, then the rest."""
        function = self.function
        full = function.udiv(self.count, self.size)
        if self.along == 0:
            self._lines(full)
        elif self.along == 1:
            function.loop(0, full, 1, [], lambda i, _: self._squares(i), guard=True)
        else:
            size = function.i64(self.size)
            function.loop(0, full, 1, [], lambda i, _: self._singles(i, size), guard=True)
        rest = function.sub(self.count, function.mul(full, self.size))
        function.when(function.compare("gt", rest, 0), lambda: self._rest(full, rest))
        function.ret()

    def _rest(self, number: Value, count: Value) -> None:
        self._singles(number, count)

    def _from(self, number: Value, place: Value | int, k: Value | int) -> Value:
        function = self.function
        across = function.mul(function.add(function.mul(number, self.size), place), self.across)
        offset = function.add(across, function.mul(k, self.depth))
        return function.offset(self.source, offset, self.type.element)

    def _to(self, number: Value, place: Value | int, k: Value | int) -> Value:
        function = self.function
        offset = function.add(function.mul(number, self.apart), function.mul(k, self.size))
        return function.offset(self.target, function.add(offset, place), self.type.element)

    def _lines(self, full: Value) -> None:
        """Neighbours lie across: at each k a line, cut into the pieces of parts."""
        function = self.function
        pieces = _pieces(self.size, self.lanes)
        together = function.mul(function.udiv(full, _TOGETHER), _TOGETHER)

        def line(k: Value, _: list[Value]) -> None:
            def parts(first: Value, count: int) -> None:
                read = function.anchor(self._from(first, 0, k))
                write = function.anchor(self._to(first, 0, k))
                for part in range(count):
                    at = 0
                    for size in pieces:
                        value = function.load(
                            read, self.type.with_lanes(size), part * self.size + at
                        )
                        function.store(value, write, part * self.apart + at)
                        at += size

            function.loop(0, together, _TOGETHER, [], lambda i, _: parts(i, _TOGETHER), guard=True)
            function.loop(together, full, 1, [], lambda i, _: parts(i, 1), guard=True)

        function.loop(0, self.deep, 1, [], line)

    def _squares(self, number: Value) -> None:
        """Neighbours lie along k: squares are turned over in registers."""
        function, side = self.function, min(_SQUARE, self.lanes)
        full = function.mul(function.udiv(self.deep, side), side)

        def down(first: Value | int, groups: Sequence[range]) -> None:
            function.loop(
                0, full, side, [],
                lambda k, _: self._square(number, first, k, groups, side), guard=True,
            )  # fmt: skip

        if self.size % side:
            # A vector that reaches beyond its line must be followed by the next line at once.
            ends = range(0, self.size, side)
            down(0, [range(at, min(at + side, self.size)) for at in ends])
        else:
            # One square after the other goes down k, so that few lines of the source are in use.
            whole = [range(side)]
            function.loop(0, self.size, side, [], lambda first, _: down(first, whole))
        self._singles(number, function.i64(self.size), full)

    def _square(
        self, number: Value, first: Value | int, k: Value, groups: Sequence[range], side: int
    ) -> None:
        function, vector = self.function, self.type.with_lanes(side)
        read = self._from(number, first, k)
        write = function.anchor(self._to(number, first, k))
        turned = []
        for rows in groups:
            loaded = []
            for row in rows:
                at = function.offset(read, function.mul(self.across, row), self.type.element)
                loaded.append(function.load(at, vector))
            loaded += [loaded[-1]] * (side - len(rows))
            turned.append(transpose(Emitter(function, side), loaded))
        for i in range(side):
            for rows, lines in zip(groups, turned, strict=True):
                function.store(lines[i], write, i * self.size + rows[0])

    def _singles(self, number: Value, count: Value, first: Value | int = 0) -> None:
        """One element at a time."""
        function = self.function

        def line(k: Value, _: list[Value]) -> None:
            def one(place: Value, _: list[Value]) -> None:
                value = function.load(self._from(number, place, k), self.type)
                function.store(value, self._to(number, place, k))

            function.loop(0, count, 1, [], one)

        function.loop(first, self.deep, 1, [], line, guard=True)


class _Left(_Copy):
    """Rows of A."""

    def __init__(self, function: Function, problem: Problem, tile: Tile) -> None:
        across, depth = problem.a.strides
        apart = left_stride(problem, tile)
        super().__init__(function, problem, tile.rows, (across, depth), apart)


class _Right(_Copy):
    """Columns of B."""

    def __init__(self, function: Function, problem: Problem, tile: Tile) -> None:
        depth, across = problem.b.strides
        apart = right_stride(problem, tile)
        super().__init__(function, problem, tile.columns, (across, depth), apart)

    def _rest(self, number: Value, count: Value) -> None:
        super()._rest(number, count)
        function, zero = self.function, literal(0.0, self.type)

        def line(k: Value, _: list[Value]) -> None:
            def empty(place: Value, _: list[Value]) -> None:
                function.store(zero, self._to(number, place, k))

            function.loop(count, self.size, 1, [], empty)

        function.loop(0, self.deep, 1, [], line)


def _pieces(count: int, lanes: int) -> list[int]:
    """Vectors that add up to a count, the largest first.

    Example:
        >>> _pieces(6, 8), _pieces(16, 8)
        ([4, 2], [8, 8])
    """
    found = [span.lanes for span in spans(0, count // lanes * lanes, lanes)]
    rest = count % lanes
    return found + [1 << bit for bit in reversed(range(rest.bit_length())) if rest >> bit & 1]
