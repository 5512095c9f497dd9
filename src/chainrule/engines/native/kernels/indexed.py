"""Elements chosen by index arrays: gather, and scatter with addition.

An index array says, at each point of a domain, which place along one axis of the data is meant; the
other axes of the data run with the domain. Choosing rows, choosing along any axis, and one choice
for each element are this with different strides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....dtypes import DType
from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import Part, load_points, memory_type, store_points
from ..emit.types import Value, of
from .common import (
    Body,
    Bound,
    Kernel,
    Operand,
    lanes_for,
    numbered,
    parameters,
    power_above,
    results,
    spans,
)

# Rows that are asked of memory before they are needed, when the data is too large for a cache.
_AHEAD = 2
# Vectors of a row that are written out one after another instead of in a loop.
_WRITTEN_OUT = 8
Place = list[Value | int]


def gather(
    module: Module,
    *,
    inner: Sequence[int],
    size: int,
    step: int,
    data: Operand,
    index: Operand,
    outputs: Sequence[Operand],
    operands: Sequence[Operand] = (),
    body: Body | None = None,
) -> Kernel:
    """Add a kernel that reads elements by index and sends them through a body.

    Args:
        module: where to add it.
        inner: extents of the domain's axes after the first; the first, rows, is given at run time.
        size: extent of the data's indexed axis. An index below 0 counts from the end; one out of
            range is held to the nearest place, so that no other memory is read.
        step: elements of data from one place of the indexed axis to the next.
        data: strides along the domain; 0 where only the index moves.
        index: int32 or int64, strides along the domain; 0 where the index stays.
        outputs: strides along the domain.
        operands: what the body takes besides, strides along the domain.
        body: ``body(e, chosen, *operands)`` returns one value for each output; None stores them.

    Returns:
        The kernel: pointers data, index, operands, outputs; split along rows of the domain.
    """
    names = ["data", "index", *numbered("in", len(operands)), *numbered("out", len(outputs))]
    every = [data, *operands, *outputs]

    def write(function: Function) -> None:
        source, indices, *others = function.params[: len(names)]
        indexing = _Indexing(function, index, indices, size, step)
        bound = Bound(function, [*operands, *outputs], others)
        base = Bound(function, [data], [source])

        far = size * abs(step) * data.dtype.itemsize > module.target.second_cache
        ahead = far and len(inner) == 1 and index.strides[-1] == 0
        stop = function.params[-1]

        def visit(lanes: int, place: Place, chosen: Value, part: Part) -> None:
            e = indexing.emitter(lanes, place)
            at = base.at(0, place)
            element = memory_type(data.dtype).element
            if ahead:
                _fetch(function, function.offset(at, indexing.ahead(place, stop), element))
            at = function.offset(at, chosen, element)
            values = [load_points(e, at, data.dtype, data.strides[-1], part)]
            last = len(place) - 1
            values += [bound.load(e, k, place, last, part) for k in range(len(operands))]
            made = body(e, *values) if body else values[0]
            for k, value in enumerate(results(made, len(outputs))):
                bound.store(e, len(operands) + k, value, place, last, part)

        start, stop = function.params[-2:]
        indexing.walk(inner, _lanes(module, every, inner), (start, stop), None, visit)
        function.ret()

    name = module.shared("gather", parameters(names, ()), write)
    return Kernel(name, tuple(names), (), "rows")


def scatter_add(
    module: Module,
    *,
    inner: Sequence[int],
    size: int,
    step: int,
    values: Operand,
    index: Operand,
    output: Operand,
) -> Kernel:
    """Add a kernel that adds values to the places that an index array chooses.

    Where several points choose one place they are added in the domain's order.

    Args:
        module: where to add it.
        inner: extents of the domain's axes after the first; the first, rows, is given at run time.
        size: extent of the output's indexed axis; see :func:`gather` for indices out of range.
        step: elements of the output from one place of the indexed axis to the next.
        values: strides along the domain.
        index: int32 or int64, strides along the domain.
        output: strides along the domain, 0 where only the index moves. It is added to, so it must
            hold something: zeros, as a rule.

    Returns:
        The kernel: pointers values, index, output. Rows, or else columns (extent rows), are shared
        among threads if the output runs with them; otherwise it is ``whole``.
    """
    names = ["values", "index", "output"]
    axis = "rows" if output.strides[0] else "columns" if output.strides[-1] else "whole"
    extents = ("rows",) if axis == "columns" else ()

    def write(function: Function) -> None:
        source, indices, target = function.params[:3]
        start, stop = function.params[-2:]
        indexing = _Indexing(function, index, indices, size, step)
        bound = Bound(function, [values, output], [source, target])
        element = memory_type(output.dtype).element

        def visit(lanes: int, place: Place, chosen: Value, part: Part) -> None:
            e = indexing.emitter(lanes, place)
            at = function.offset(bound.at(1, place), chosen, element)
            added = e.cast(bound.load(e, 0, place, len(place) - 1, part), output.dtype)
            stride = output.strides[-1]
            before = load_points(e, at, output.dtype, stride, part)
            store_points(e, e.add(before, added), at, output.dtype, stride, part)

        by_columns = axis == "columns"
        rows = (function.i64(0), function.params[3]) if by_columns else (start, stop)
        columns = (start, stop) if by_columns else None
        # Points of one vector must be different places.
        lanes = _lanes(module, [values, output], inner) if output.strides[-1] else 0
        indexing.walk(inner, lanes, rows, columns, visit)
        function.ret()

    name = module.shared("scatter", parameters(names, extents), write)
    return Kernel(name, tuple(names), extents, axis)


def gather_rows(
    module: Module,
    *,
    cols: int,
    size: int,
    data: Operand,
    index: DType,
    outputs: Sequence[Operand],
    operands: Sequence[Operand] = (),
    body: Body | None = None,
) -> Kernel:
    """As :func:`gather`, for rows: ``data`` has strides along (its rows, columns).

    The indices lie one after another; outputs and operands have strides along (row, column).
    """
    return gather(
        module,
        inner=(cols,),
        size=size,
        step=data.strides[0],
        data=Operand(data.dtype, (0, data.strides[1])),
        index=Operand(index, (1, 0)),
        outputs=outputs,
        operands=operands,
        body=body,
    )


def scatter_add_rows(
    module: Module, *, cols: int, size: int, values: Operand, index: DType, output: Operand
) -> Kernel:
    """As :func:`scatter_add`, for rows: ``output`` has strides along (its rows, columns)."""
    return scatter_add(
        module,
        inner=(cols,),
        size=size,
        step=output.strides[0],
        values=values,
        index=Operand(index, (1, 0)),
        output=Operand(output.dtype, (0, output.strides[1])),
    )


def _fetch(function: Function, pointer: Value) -> None:
    """Ask memory for what will be read soon."""
    function.module.declare(
        "declare void @llvm.prefetch.p0(ptr, i32 immarg, i32 immarg, i32 immarg)"
    )
    function.line(f"call void @llvm.prefetch.p0(ptr {pointer.text}, i32 0, i32 3, i32 1)")


def _lanes(module: Module, every: Sequence[Operand], inner: Sequence[int]) -> int:
    lanes = lanes_for(module, [each.dtype for each in every])
    return min(lanes, max(2, power_above(inner[-1]))) if inner else 0


class _Indexing:
    """Walks a domain and reads its indices."""

    def __init__(
        self, function: Function, index: Operand, pointer: Value, size: int, step: int
    ) -> None:
        self.function, self.index, self.size, self.step = function, index, size, step
        self.bound = Bound(function, [index], [pointer])
        self._ahead: tuple[Value, Value] | None = None

    def emitter(self, lanes: int, place: Place) -> Emitter:
        """An emitter that knows its place; vectors run along the last axis."""
        function, last = self.function, len(place) - 1

        def at(axis: int) -> Value:
            here = function.i64(place[axis])
            return e.add(here, e.counting()) if axis == last else here

        e = Emitter(function, lanes, at)
        return e

    def chosen(self, place: Place) -> Value:
        """Elements from the start of the data to the chosen place."""
        function, dtype = self.function, self.index.dtype
        e = Emitter(function, 0)
        raw = e.cast_to(function.load(self.bound.at(0, place), of(dtype)), "int64")
        wrapped = e.add(raw, e.select(e.lt(raw, 0), self.size, e.const(0, raw)))
        held = e.min(e.max(wrapped, 0), max(0, self.size - 1))
        return function.mul(held, self.step)

    def ahead(self, place: Place, stop: Value) -> Value:
        """As :meth:`chosen`, for the row that comes some turns later."""
        row = self.function.i64(place[0])
        if self._ahead is None or self._ahead[0] is not row:
            last = self.function.sub(stop, 1)
            later = self.function.min(self.function.add(row, _AHEAD), last)
            self._ahead = (row, self.chosen([later, 0]))
        return self._ahead[1]

    def walk(
        self,
        inner: Sequence[int],
        lanes: int,
        rows: tuple[Value, Value],
        columns: tuple[Value, Value] | None,
        visit: Callable[[int, Place, Value, Part], None],
    ) -> None:
        """Visit all points in order, in vectors where the index stays along the last axis."""
        function = self.function
        vectors = lanes > 0 and self.index.strides[-1] == 0

        def level(place: Place) -> None:
            axis = len(place)
            if axis <= len(inner) and not (axis == len(inner) and vectors):
                low, high = (0, inner[axis - 1]) if axis else rows
                if axis and axis == len(inner) and columns:
                    low, high = columns
                function.loop(low, high, 1, [], lambda at, _: level([*place, at]), guard=True)
                return
            if not vectors:
                visit(0, place, self.chosen(place), None)
                return
            chosen = self.chosen([*place, 0])
            self._vectors(
                inner[-1], lanes, columns, lambda n, at, part: visit(n, [*place, at], chosen, part)
            )

        level([])

    def _vectors(
        self,
        extent: int,
        lanes: int,
        columns: tuple[Value, Value] | None,
        visit: Callable[[int, Value | int, Part], None],
    ) -> None:
        function = self.function
        if columns:
            low, high = columns
            count = function.udiv(function.sub(high, low), lanes)
            full = function.add(low, function.mul(count, lanes))
            function.loop(low, full, lanes, [], lambda at, _: visit(lanes, at, None), guard=True)
            function.loop(full, high, 1, [], lambda at, _: visit(0, at, None), guard=True)
            return
        full_count = extent // lanes
        pieces = spans(0, extent, lanes)
        if full_count > _WRITTEN_OUT:
            function.loop(0, full_count * lanes, lanes, [], lambda at, _: visit(lanes, at, None))
            pieces = pieces[full_count:]
        for span in pieces:
            visit(span.lanes, span.start, span.part)
