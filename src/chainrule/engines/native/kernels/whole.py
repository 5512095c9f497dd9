"""Folds of a whole array into one number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import Part, first_lanes
from ..emit.types import Type, Value
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
)
from .elementwise import Domain, merged, vector_axis
from .folds import Fold

# Vectors a turn handles, each with sums of its own.
_UNROLL = 2
Sums = list[Value]


def reduce_all(
    module: Module,
    *,
    inner: Sequence[int],
    kind: str | tuple[str, ...],
    operands: Sequence[Operand],
    pre: Body,
    outputs: Sequence[Operand],
    after: Sequence[Operand] = (),
    post: Body | None = None,
) -> Kernel:
    """Add a kernel that folds a whole domain into single numbers.

    Args:
        module: where to add it.
        inner: extents of the domain's axes after the first; that one, rows, is a run-time number.
        kind: ``sum``, ``prod``, ``max``, ``min``, ``any`` or ``all``, for each value of ``pre``.
        operands: what is folded, strides along (rows, *inner).
        pre: ``pre(e, *values)`` returns the values to fold.
        outputs: strides ``()``.
        after: what ``post`` takes besides, strides ``()``.
        post: ``post(e, *folded, *after)`` returns one value for each output; None stores the folds.

    Returns:
        The kernel: pointers operands, after, outputs; it is ``whole``: one thread calls it with 0
        and the number of rows.
    """
    kinds = (kind,) if isinstance(kind, str) else kind
    names = [*numbered("in", len(operands)), *numbered("after", len(after))]
    names += numbered("out", len(outputs))

    def write(function: Function) -> None:
        _Whole(function, tuple(inner), kinds, operands, pre).write(after, outputs, post)

    name = module.shared("whole", parameters(names, ()), write)
    return Kernel(name, tuple(names), (), "whole")


class _Whole:
    """Writes one fold of everything."""

    def __init__(
        self,
        function: Function,
        inner: tuple[int, ...],
        kinds: tuple[str, ...],
        operands: Sequence[Operand],
        pre: Body,
    ) -> None:
        self.function, self.pre = function, pre
        self.folds = [Fold(kind) for kind in kinds]
        strides = [each.strides for each in operands]
        self.domain: Domain = merged(inner, strides or [(0,) * (len(inner) + 1)])
        self.bound = Bound(
            function,
            [Operand(o.dtype, s) for o, s in zip(operands, self.domain.strides, strict=False)],
            function.params[: len(operands)],
        )
        self.axis = vector_axis(self.domain, len(operands))
        lanes = lanes_for(function.module, [each.dtype for each in operands])
        if self.axis:
            lanes = min(lanes, max(2, power_above(self.domain.inner[self.axis - 1])))
        self.lanes = lanes
        self.masked = function.target.has_masks and all(
            each.strides[self.axis] in (0, 1) for each in self.bound.operands
        )

    def write(
        self, after: Sequence[Operand], outputs: Sequence[Operand], post: Body | None
    ) -> None:
        """Fold everything, then the body behind it."""
        function, e = self.function, Emitter(self.function, self.lanes)
        types = self._types()
        vectors = [f.begin(e, Value("", t))[0] for f, t in zip(self.folds, types, strict=True)]
        narrow = Emitter(function, 0)
        scalars = [
            f.begin(narrow, Value("", t.with_lanes(0)))[0]
            for f, t in zip(self.folds, types, strict=True)
        ]
        sums = self._nest([], vectors * _UNROLL + scalars)
        size = len(self.folds)
        sets = [sums[i * size : (i + 1) * size] for i in range(_UNROLL)]
        while len(sets) > 1:
            sets = [self._merge(e, sets[i], sets[i + 1]) for i in range(0, len(sets), 2)]
        folded = [f.across(e, [s]) for f, s in zip(self.folds, sets[0], strict=True)]
        folded = self._merge(narrow, folded, sums[_UNROLL * size :])
        self._end(narrow, folded, after, outputs, post)
        function.ret()

    def _end(
        self,
        e: Emitter,
        folded: Sums,
        after: Sequence[Operand],
        outputs: Sequence[Operand],
        post: Body | None,
    ) -> None:
        first = len(self.bound.operands)
        count = first + len(after) + len(outputs)
        # The one point of the result, as an axis that everything repeats along.
        ends = [Operand(each.dtype, (0,)) for each in (*after, *outputs)]
        bound = Bound(self.function, ends, self.function.params[first:count])
        values = [bound.load(e, i, [0], 0) for i in range(len(after))]
        made = post(e, *folded, *values) if post else folded
        for i, value in enumerate(results(made, len(outputs))):
            bound.store(e, len(after) + i, value, [0], 0)

    def _merge(self, e: Emitter, a: Sums, b: Sums) -> Sums:
        return [f.combine(e, x, y) for f, x, y in zip(self.folds, a, b, strict=True)]

    def _types(self) -> list[Type]:
        aside = Function(self.function.module, "aside", [])
        e = Emitter(aside, self.lanes)
        values = [
            Value("%sample", Type(each.dtype.name, self.lanes if each.strides[self.axis] else 0))
            for each in self.bound.operands
        ]
        return [each.type for each in results(self.pre(e, *values), len(self.folds))]

    def _nest(self, places: list[Value | int], sums: Sums) -> Sums:
        """Loops over all axes but the vectors'; the accumulators are carried through."""
        depth = len(places)
        if depth == len(self.domain.inner) + 1:
            return self._along(places, sums)
        if depth == self.axis:
            return self._nest([*places, 0], sums)
        function = self.function
        if depth:
            return function.loop(
                0,
                self.domain.inner[depth - 1],
                1,
                sums,
                lambda at, carried: self._nest([*places, at], carried),
            )
        start, stop = self._rows()
        return function.loop(
            start, stop, 1, sums, lambda at, carried: self._nest([at], carried), guard=True
        )

    def _rows(self) -> tuple[Value, Value]:
        start, stop = self.function.params[-2:]
        factor = self.domain.factor
        return self.function.mul(start, factor), self.function.mul(stop, factor)

    def _along(self, places: list[Value | int], sums: Sums) -> Sums:
        """Vectors along the chosen axis at one place of the others."""

        def at(column: Value | int) -> list[Value | int]:
            return [column if i == self.axis else place for i, place in enumerate(places)]

        if self.axis:
            return self._static(at, self.domain.inner[self.axis - 1], sums)
        return self._dynamic(at, *self._rows(), sums)

    def _add(self, sums: Sums, turn: int, lanes: int, place: list[Value | int], part: Part) -> Sums:
        """Fold one vector into the accumulators of a turn (of the scalars without lanes)."""
        size = len(self.folds)
        e = Emitter(self.function, lanes)
        values = [
            self.bound.load(e, i, place, self.axis, part) for i in range(len(self.bound.operands))
        ]
        made = results(self.pre(e, *values), size)
        done = list(sums)
        for i, (fold, value) in enumerate(zip(self.folds, made, strict=True), turn * size):
            done[i] = fold.include(e, [sums[i]], value, self.function.i64(0), part)[0]
        return done

    def _turns(
        self, at: Callable[[Value | int], list[Value | int]], first: Value, sums: Sums
    ) -> Sums:
        for turn in range(_UNROLL):
            place = at(self.function.add(first, turn * self.lanes))
            sums = self._add(sums, turn, self.lanes, place, None)
        return sums

    def _static(
        self, at: Callable[[Value | int], list[Value | int]], extent: int, sums: Sums
    ) -> Sums:
        lanes = self.lanes
        width = lanes * _UNROLL
        long = extent // width * width
        sums = self.function.loop(
            0, long, width, sums, lambda here, carried: self._turns(at, here, carried)
        )
        for turn, here in enumerate(range(long, extent, lanes)):
            count = min(lanes, extent - here)
            sums = self._add(sums, turn, lanes, at(here), None if count == lanes else count)
        return sums

    def _dynamic(
        self,
        at: Callable[[Value | int], list[Value | int]],
        start: Value,
        stop: Value,
        sums: Sums,
    ) -> Sums:
        function, lanes = self.function, self.lanes
        width = lanes * _UNROLL
        count = function.sub(stop, start)
        long = function.add(start, function.mul(function.udiv(count, width), width))
        sums = function.loop(
            start,
            long,
            width,
            sums,
            lambda here, carried: self._turns(at, here, carried),
            guard=True,
        )
        if self.masked:

            def some(here: Value, carried: Sums) -> Sums:
                part = first_lanes(Emitter(function, lanes), function.sub(stop, here))
                return self._add(carried, 0, lanes, at(here), part)

            return function.loop(long, stop, lanes, sums, some, guard=True)
        return function.loop(
            long,
            stop,
            1,
            sums,
            lambda here, carried: self._add(carried, _UNROLL, 0, at(here), None),
            guard=True,
        )
