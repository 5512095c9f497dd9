"""Sorting and running sums along one axis, of any length."""

from __future__ import annotations

from ....dtypes import int64
from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import memory_type
from ..emit.types import INT64, Value
from .common import Bound, Kernel, Operand, lanes_for, parameters


def sort_rows(
    module: Module, *, count: int, keys: Operand, order: Operand, descending: bool
) -> Kernel:
    """Add a kernel that finds the order of each row's elements.

    A merge sort from the bottom, without branches inside (Knuth, The Art of Computer Programming 3,
    5.2.4). Equal elements keep their order; not-a-number is larger than everything.

    Args:
        module: where to add it.
        count: elements of a row, at least 2.
        keys: strides along (rows, elements).
        order: int64, strides along (rows, elements).
        descending: whether the largest comes first.

    Returns:
        The kernel: pointers keys, order, scratch; split along rows.
    """
    names = ["keys", "order", "scratch"]

    def write(function: Function) -> None:
        scratch, start, stop = function.params[2:]
        sorter = _Sorter(function, count, keys, descending)
        halves = [scratch, function.offset(scratch, count, "i64")]
        out = Bound(function, [order], function.params[1:2])
        e = Emitter(function, 0)

        def row(at: Value, _: list[Value]) -> None:
            made = sorter.sorted(Bound(function, [keys], function.params[:1]), at, halves)

            def give(i: Value, _: list[Value]) -> None:
                chosen = function.load(function.offset(made, i, "i64"), INT64)
                out.store(e, 0, chosen, [at, i], 1)

            function.loop(0, count, 1, [], give)

        function.loop(start, stop, 1, [], row, guard=True)
        function.ret()

    name = module.shared("sort", parameters(names, ()), write)
    return Kernel(name, tuple(names), (), "rows", scratch=2 * count * int64.itemsize)


class _Sorter:
    """Writes the merging of ever longer runs."""

    def __init__(self, function: Function, count: int, keys: Operand, descending: bool) -> None:
        self.function, self.count, self.descending = function, count, descending
        self.type = memory_type(keys.dtype)
        self.e = Emitter(function, 0)

    def sorted(self, keys: Bound, row: Value, halves: list[Value]) -> Value:
        """Sort one row; returns where the order lies, one of the two halves."""
        function = self.function
        self.keys, self.row = keys, row

        def number(i: Value, _: list[Value]) -> None:
            function.store(i, function.offset(halves[0], i, "i64"))

        def level(_: Value, carried: list[Value]) -> list[Value]:
            source, target, width = carried
            both = function.mul(width, 2)

            def merge(begin: Value, _: list[Value]) -> None:
                self._merge(source, target, begin, width, both)

            function.loop(0, self.count, both, [], merge)
            return [target, source, both]

        function.loop(0, self.count, 1, [], number)
        levels = (self.count - 1).bit_length()
        return function.loop(0, levels, 1, [*halves, function.i64(1)], level)[0]

    def _merge(self, source: Value, target: Value, begin: Value, width: Value, both: Value) -> None:
        function, count = self.function, self.count
        middle = function.min(function.add(begin, width), count)
        end = function.min(function.add(begin, both), count)

        def place(at: Value, carried: list[Value]) -> list[Value]:
            left, right = carried
            first, second = (self._number(source, each) for each in carried)
            before = self.e.land(
                function.compare("lt", right, end),
                self._before(self._key(second), self._key(first)),
            )
            later = self.e.lor(function.compare("ge", left, middle), before)
            chosen = function.select(later, second, first)
            function.store(chosen, function.offset(target, at, "i64"))
            step = function.value(f"zext i1 {later.text} to i64", INT64)
            return [function.add(left, function.sub(1, step)), function.add(right, step)]

        function.loop(begin, end, 1, [begin, middle], place)

    def _number(self, source: Value, at: Value) -> Value:
        held = self.function.min(at, self.count - 1)
        return self.function.load(self.function.offset(source, held, "i64"), INT64)

    def _key(self, number: Value) -> Value:
        return self.function.load(self.keys.at(0, [self.row, number]), self.type)

    def _before(self, a: Value, b: Value) -> Value:
        """Whether a comes before b, strictly."""
        e = self.e
        small, large = (b, a) if self.descending else (a, b)
        less = e.lt(small, large)
        if not self.type.is_float:
            return less
        odd = e.land(e.ne(large, large), e.eq(small, small))
        return e.lor(less, odd)


def running_sums(
    module: Module, *, outer: int, count: int, inner: int, source: Operand, output: Operand
) -> Kernel:
    """Add a kernel of running sums along the middle one of three axes.

    Each sum is that of its element and the sum before it, so the bits are those of plain addition
    in order.

    Args:
        module: where to add it.
        outer, count, inner: extents of the axes; count at least 1.
        source: strides along them.
        output: strides along them.

    Returns:
        The kernel: pointers source, output; split along the outer axis, or where that is 1 along
        the inner one.
    """
    names = ["source", "output"]
    by_columns = outer == 1

    def write(function: Function) -> None:
        bound = Bound(function, [source, output], function.params[:2])
        start, stop = function.params[2:]
        lanes = lanes_for(module, [source.dtype, output.dtype])

        def run(width: int, place: Value | int, column: Value) -> None:
            e = Emitter(function, width)

            def add(at: Value | int, sums: list[Value]) -> list[Value]:
                x = e.splat(bound.load(e, 0, [place, at, column], 2))
                made = e.add(sums[0], x) if sums else x
                bound.store(e, 1, made, [place, at, column], 2)
                return [made]

            function.loop(1, count, 1, add(0, []), add)

        def columns(place: Value | int, low: Value, high: Value) -> None:
            whole = function.udiv(function.sub(high, low), lanes)
            middle = function.add(low, function.mul(whole, lanes))
            if inner >= lanes:
                function.loop(
                    low, middle, lanes, [], lambda at, _: run(lanes, place, at), guard=True
                )
            else:
                middle = low
            function.loop(middle, high, 1, [], lambda at, _: run(0, place, at), guard=True)

        if by_columns:
            columns(0, start, stop)
        else:
            low, high = function.i64(0), function.i64(inner)
            function.loop(start, stop, 1, [], lambda at, _: columns(at, low, high), guard=True)
        function.ret()

    name = module.shared("sums", parameters(names, ()), write)
    return Kernel(name, tuple(names), (), "columns" if by_columns else "rows")
