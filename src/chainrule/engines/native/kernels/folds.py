"""Ways to fold many values into one: sum, product, extremes, any, all, place of the maximum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ....errors import EngineError
from ..emit.body import Emitter
from ..emit.memory import Part, mask_of
from ..emit.shuffle import fold_lanes
from ..emit.types import Type, Value, literal, vector_literal

KINDS = ("sum", "prod", "max", "min", "any", "all", "argmax")
_NONE = 2**31 - 1  # greater than any column


@dataclass(frozen=True)
class Fold:
    """One kind of folding.

    An accumulator is a tuple of values: one, or for ``argmax`` the largest so far and its column.
    """

    kind: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise EngineError(f"no fold {self.kind!r}.\n  expected: one of {', '.join(KINDS)}")

    def identity(self, type: Type) -> float | int:
        """What changes nothing when it is folded in."""
        if self.kind in ("sum", "any"):
            return 0
        if self.kind in ("prod", "all"):
            return 1
        sign = -1 if self.kind in ("max", "argmax") else 1
        if type.is_float:
            return sign * math.inf
        if type.name == "bool":
            return int(sign > 0)
        bits = 8 * type.bytes - (1 if type.is_signed else 0)
        if sign > 0:
            return (1 << bits) - 1
        return -(1 << bits) if type.is_signed else 0

    def begin(self, e: Emitter, like: Value) -> list[Value]:
        """An accumulator of as many lanes as the emitter has."""
        type = like.type.with_lanes(e.lanes)
        start = [literal(self.identity(type), type)]
        if self.kind == "argmax":
            start.append(literal(_NONE, Type("int32", e.lanes)))
        return start

    def combine(self, e: Emitter, a: Value, b: Value) -> Value:
        """Two values folded into one (of the values, for ``argmax``)."""
        if self.kind in ("sum", "prod"):
            return e.add(a, b) if self.kind == "sum" else e.mul(a, b)
        if self.kind in ("any", "all"):
            return e.lor(a, b) if self.kind == "any" else e.land(a, b)
        if a.type.name == "bool":
            return e.land(a, b) if self.kind == "min" else e.lor(a, b)
        return e.min(a, b) if self.kind == "min" else e.max(a, b)

    def include(
        self, e: Emitter, sums: Sequence[Value], value: Value, column: Value, part: Part = None
    ) -> list[Value]:
        """Fold a vector into an accumulator of vectors; ``column`` is its first column."""
        value = self._only(e, e.splat(value), part)
        if self.kind != "argmax":
            return [self.combine(e, sums[0], value)]
        best, place = sums
        better = e.gt(value, best)
        if value.type.is_float:
            first_nan = e.land(e.ne(value, value), e.eq(best, best))
            better = e.lor(better, first_nan)
        # The first column wins even where nothing is above the identity.
        better = e.lor(better, e.land(e.eq(value, best), e.eq(place, _NONE)))
        here = _columns(e, column)
        better = better if part is None else e.land(better, mask_of(part, e.lanes))
        return [e.select(better, value, best), e.select(better, here, place)]

    def merge(self, e: Emitter, a: Sequence[Value], b: Sequence[Value]) -> list[Value]:
        """Two accumulators folded into one."""
        if self.kind != "argmax":
            return [self.combine(e, a[0], b[0])]
        best = e.max(a[0], b[0])
        first, second = (self._candidate(e, each, best) for each in (a, b))
        return [best, e.min(first, second)]

    def across(self, e: Emitter, sums: Sequence[Value]) -> Value:
        """The lanes of an accumulator folded into the scalar result."""
        best = sums[0]
        if best.lanes:
            best = fold_lanes(e, lambda a, b: self.combine(e, a, b), best)
        if self.kind != "argmax":
            return best
        candidates = self._candidate(e, sums, best)
        if candidates.lanes:
            candidates = fold_lanes(e, e.min, candidates)
        return e.cast_to(candidates, "int64")

    def _candidate(self, e: Emitter, sums: Sequence[Value], best: Value) -> Value:
        value, place = sums
        same = e.eq(value, best)
        if value.type.is_float:
            same = e.lor(same, e.ne(value, value))
        return e.select(same, place, _NONE)

    def _only(self, e: Emitter, value: Value, part: Part) -> Value:
        if part is None:
            return value
        return e.select(mask_of(part, e.lanes), value, self.identity(value.type))


def _columns(e: Emitter, first: Value) -> Value:
    column = e.cast_to(first, "int32")
    if not e.lanes:
        return column
    return e.add(column, vector_literal(list(range(e.lanes)), Type("int32", e.lanes)))
