"""Moving lanes: sums across lanes, several at once, and parts of vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .body import Emitter
from .types import Type, Value

Combine = Callable[[Value, Value], Value]


def shuffle(e: Emitter, a: Value, b: Value | None, lanes: Sequence[int]) -> Value:
    """A vector of chosen lanes: those of ``a`` count from 0, those of ``b`` follow; -1 is any."""
    type = a.type.with_lanes(len(lanes))
    listed = ", ".join("i32 poison" if lane < 0 else f"i32 {lane}" for lane in lanes)
    mask = f"<{len(lanes)} x i32> <{listed}>"
    parts = [a] if b is None else [a, b]
    other = "poison" if b is None else "{1}"
    text = f"shufflevector {a.type.text} {{0}}, {a.type.text} {other}, {mask}"
    return e.op(text, type, *parts)


def take_lanes(e: Emitter, value: Value, first: int, count: int, lanes: int) -> Value:
    """``count`` neighbouring lanes as a vector of ``lanes``; the rest is anything."""
    chosen = [first + lane if lane < count else -1 for lane in range(lanes)]
    if chosen == list(range(value.lanes)):
        return value
    return shuffle(e, value, None, chosen)


def fold_lanes(e: Emitter, combine: Combine, value: Value) -> Value:
    """All lanes combined into a scalar, halves first."""
    while value.lanes > 1:
        half = value.lanes // 2
        low = take_lanes(e, value, 0, half, half)
        high = take_lanes(e, value, half, half, half)
        value = combine(low, high)
    return e.op(f"extractelement {value.type.text} {{0}}, i32 0", value.type.with_lanes(0), value)


def fold_many(e: Emitter, combine: Combine, values: Sequence[Value | None]) -> Value:
    """Fold several vectors at once: lane i of the result is the fold of vector i.

    A tree in which each step halves the number of vectors and combines lanes that lie twice as far
    apart, so all of it costs about three instructions a vector.

    Args:
        e: the emitter.
        combine: combines two vectors; must not depend on the order.
        values: at most as many vectors as each has lanes, the first given; None leaves a lane out.

    Returns:
        One vector; lanes left out and from ``len(values)`` on are anything.
    """
    assert values[0] is not None
    lanes = values[0].lanes
    current: list[Value | None] = [*values, *[None] * (lanes - len(values))]
    apart = 1
    while apart < lanes:
        current = [
            _fold_pair(e, combine, current[i], current[i + 1], apart)
            for i in range(0, len(current), 2)
        ]
        apart *= 2
    assert current[0] is not None
    return current[0]


def _fold_pair(
    e: Emitter, combine: Combine, a: Value | None, b: Value | None, apart: int
) -> Value | None:
    if a is None:
        return None
    lanes = a.lanes
    if b is None:
        swapped = shuffle(e, a, None, [lane ^ apart for lane in range(lanes)])
        return combine(a, swapped)
    near = [lane if not lane & apart else lanes + lane - apart for lane in range(lanes)]
    far = [lane + apart if not lane & apart else lanes + lane for lane in range(lanes)]
    return combine(shuffle(e, a, b, near), shuffle(e, a, b, far))


def transpose(e: Emitter, rows: Sequence[Value]) -> list[Value]:
    """The columns of a square of vectors: as many vectors as each has lanes.

    Args:
        e: the emitter.
        rows: vectors of n lanes, n of them, n a power of two.
    """
    lanes = len(rows)
    current = list(rows)
    apart = lanes // 2
    while apart:
        done = list(current)
        for i in range(lanes):
            if not i & apart:
                a, b = current[i], current[i + apart]
                low = [x if not x & apart else lanes + x - apart for x in range(lanes)]
                high = [x + apart if not x & apart else lanes + x for x in range(lanes)]
                done[i], done[i + apart] = shuffle(e, a, b, low), shuffle(e, a, b, high)
        current = done
        apart //= 2
    return current


def vector_of(e: Emitter, scalars: Sequence[Value], lanes: int) -> Value:
    """Scalars as the first lanes of a vector."""
    type: Type = scalars[0].type.with_lanes(lanes)
    made = Value("poison", type, fixed=True)
    for lane, scalar in enumerate(scalars):
        made = e.op(
            f"insertelement {type.text} {{0}}, {scalar.type.text} {{1}}, i32 {lane}",
            type,
            made,
            scalar,
        )
    return made
