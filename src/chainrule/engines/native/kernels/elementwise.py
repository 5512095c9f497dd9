"""Elementwise work over strided arrays: fused chains, casts, copies, permutations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import Part, first_lanes
from ..emit.types import Value
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
from .turned import Turned, across

# Vectors of a row that are written out one after another instead of in a loop.
_WRITTEN_OUT = 8
# Vectors a turn of a long loop handles.
_UNROLL = 2


@dataclass(frozen=True)
class Domain:
    """Axes after merging: axis 0 has a run-time extent, ``factor`` points for each row asked."""

    factor: int
    inner: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]


def elementwise(
    module: Module,
    inner: Sequence[int],
    operands: Sequence[Operand],
    outputs: Sequence[Operand],
    body: Body,
) -> Kernel:
    """Add a kernel that computes a body at every point of a domain.

    Args:
        module: where to add it.
        inner: extents of the domain's axes after the first; that one, rows, is a run-time number.
        operands: what the body takes; strides along (rows, *inner).
        outputs: what it gives; an output may be the same buffer as an operand of equal strides.
        body: ``body(e, *values)`` returns one value for each output.

    Returns:
        The kernel: pointers operands then outputs, split along rows.
    """
    names = [*numbered("in", len(operands)), *numbered("out", len(outputs))]

    def write(function: Function, merge: bool) -> bool:
        return _write(function, tuple(inner), operands, outputs, body, merge)

    # A body that asks for its point's index needs the axes as they were.
    trial = Function(module, "trial", parameters(names, ()))
    merge = not write(trial, True)
    name = module.shared("elementwise", parameters(names, ()), lambda f: write(f, merge))
    grain = 1 if inner else lanes_for(module, [each.dtype for each in (*operands, *outputs)])
    return Kernel(name, tuple(names), (), "rows", grain)


def _write(
    function: Function,
    inner: tuple[int, ...],
    operands: Sequence[Operand],
    outputs: Sequence[Operand],
    body: Body,
    merge: bool,
) -> bool:
    """Write the kernel; returns whether the body asked for an index."""
    every = [*operands, *outputs]
    domain = merged(inner, [each.strides for each in every], merge)
    lanes = lanes_for(function.module, [each.dtype for each in every])
    bound = Bound(
        function,
        [Operand(o.dtype, s) for o, s in zip(every, domain.strides, strict=True)],
        function.params[: len(every)],
    )
    point = _Points(function, bound, len(operands), body)
    start, stop = (function.mul(each, domain.factor) for each in function.params[-2:])
    axis = vector_axis(domain, len(operands))
    extents = [None, *domain.inner]
    over = across(bound.operands, len(operands), extents, axis, lanes) if merge else None
    if over is not None:
        turned = Turned(
            function,
            bound,
            len(operands),
            body,
            (axis, over),
            lanes,
            lambda place: point(0, place, axis),
            point.asked,
        )
        sizes = [(function.i64(0), function.i64(extent)) for extent in domain.inner]
        turned.write([(start, stop), *sizes])
    elif axis == 0:
        _along_rows(function, point, domain, lanes, start, stop)
    else:
        _inside_rows(function, point, domain, lanes, axis, start, stop)
    function.ret()
    return point.indexed


def merged(
    inner: tuple[int, ...], strides: Sequence[tuple[int, ...]], merge: bool = True
) -> Domain:
    """Merge axes that every array runs through as one; axes of one point vanish.

    Example:
        >>> merged((3, 4), [(12, 4, 1), (0, 4, 1)])
        Domain(factor=1, inner=(12,), strides=((12, 1), (0, 1)))
    """
    axes = [(1, tuple(each[0] for each in strides))]
    for place, extent in enumerate(inner):
        along = tuple(each[place + 1] for each in strides)
        if merge and extent == 1:
            continue
        before, outer = axes[-1]
        if merge and all(o == s * extent for o, s in zip(outer, along, strict=True)):
            axes[-1] = (before * extent, along)
        else:
            axes.append((extent, along))
    return Domain(
        factor=axes[0][0],
        inner=tuple(extent for extent, _ in axes[1:]),
        strides=tuple(zip(*(along for _, along in axes), strict=True)) if strides else (),
    )


def vector_axis(domain: Domain, first_output: int) -> int:
    """The axis whose points are neighbours in most arrays, the outputs first."""
    rank = len(domain.inner) + 1

    def neighbours(axis: int) -> tuple[int, int, int]:
        outputs = sum(each[axis] == 1 for each in domain.strides[first_output:])
        inputs = sum(each[axis] == 1 for each in domain.strides[:first_output])
        return outputs, inputs, axis

    return max(range(rank), key=neighbours)


class _Points:
    """Computes the body at the points of one vector."""

    def __init__(self, function: Function, bound: Bound, inputs: int, body: Body) -> None:
        self.function, self.bound, self.inputs, self.body = function, bound, inputs, body
        self.indexed = False

    def asked(self, _: int) -> Value:
        """Note that an index is wanted, where none is known: this text will not be used."""
        self.indexed = True
        return self.function.i64(0)

    def __call__(
        self, lanes: int, places: Sequence[Value | int], axis: int, part: Part = None
    ) -> None:
        def index(which: int) -> Value:
            self.indexed = True
            here = self.function.i64(places[which] if which < len(places) else 0)
            return e.add(here, e.counting()) if which == axis else here

        e = Emitter(self.function, lanes, index)
        bound = self.bound
        values = [bound.load(e, i, places, axis, part) for i in range(self.inputs)]
        outputs = len(bound.operands) - self.inputs
        for i, made in enumerate(results(self.body(e, *values), outputs)):
            bound.store(e, self.inputs + i, made, places, axis, part)


def _along_rows(
    function: Function, point: _Points, domain: Domain, lanes: int, start: Value, stop: Value
) -> None:
    """Vectors along the run-time axis, everything else in loops around."""

    def innermost(places: list[Value]) -> None:
        _run(
            function,
            lambda width, at, part: point(width, [at, *places], 0, part),
            lanes,
            start,
            stop,
            _can_mask(function, domain, 0),
        )

    _nest(function, list(domain.inner), innermost)


def _can_mask(function: Function, domain: Domain, axis: int) -> bool:
    return function.target.has_masks and all(each[axis] in (0, 1) for each in domain.strides)


def _run(
    function: Function,
    point: Callable[[int, Value, Part], None],
    lanes: int,
    start: Value,
    stop: Value,
    masked: bool,
) -> None:
    """Points of a run-time range: turns of several vectors, single vectors, the rest."""
    step = lanes * _UNROLL
    count = function.sub(stop, start)
    long = function.add(start, function.mul(function.udiv(count, step), step))

    def several(at: Value, _: list[Value]) -> None:
        for turn in range(_UNROLL):
            point(lanes, function.add(at, turn * lanes), None)

    function.loop(start, long, step, [], several, guard=True)
    if masked:

        def some(at: Value, _: list[Value]) -> None:
            e = Emitter(function, lanes)
            point(lanes, at, first_lanes(e, function.sub(stop, at)))

        function.loop(long, stop, lanes, [], some, guard=True)
        return

    def one(at: Value, _: list[Value]) -> None:
        point(0, at, None)

    function.loop(long, stop, 1, [], one, guard=True)


def _nest(function: Function, extents: list[int], inside: Callable[[list[Value]], None]) -> None:
    """Loops over static extents, the last innermost."""

    def level(done: list[Value]) -> None:
        if len(done) == len(extents):
            inside(done)
            return
        function.loop(0, extents[len(done)], 1, [], lambda at, _: level([*done, at]))

    level([])


def _inside_rows(
    function: Function,
    point: _Points,
    domain: Domain,
    lanes: int,
    axis: int,
    start: Value,
    stop: Value,
) -> None:
    """Vectors along a static axis inside each row."""
    extent = domain.inner[axis - 1]
    around = [each for place, each in enumerate(domain.inner, 1) if place != axis]

    def vectors(row: Value, others: list[Value]) -> None:
        def at(column: Value | int) -> list[Value | int]:
            places: list[Value | int] = [row, *others]
            places.insert(axis, column)
            return places

        lanes_here = min(lanes, power_above(extent))
        pieces = spans(0, extent, lanes_here)
        full = extent // lanes_here
        if full > _WRITTEN_OUT:
            _looped(function, lambda column: point(lanes_here, at(column), axis), full, lanes_here)
            pieces = pieces[full:]
        for span in pieces:
            point(span.lanes, at(span.start), axis, span.part)

    def rows(row: Value, _: list[Value]) -> None:
        _nest(function, around, lambda others: vectors(row, others))

    function.loop(start, stop, 1, [], rows, guard=True)


def _looped(
    function: Function, point: Callable[[Value | int], None], count: int, lanes: int
) -> None:
    """Full vectors of a long row: turns of several, then what is left."""
    turns = count // _UNROLL

    def several(at: Value, _: list[Value]) -> None:
        for turn in range(_UNROLL):
            point(function.add(at, turn * lanes))

    function.loop(0, turns * _UNROLL * lanes, _UNROLL * lanes, [], several)
    for left in range(turns * _UNROLL, count):
        point(left * lanes)
