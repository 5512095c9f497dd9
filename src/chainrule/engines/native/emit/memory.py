"""Loads and stores of the points that a vector of lanes stands for."""

from __future__ import annotations

from ....dtypes import DType
from .body import Emitter
from .ir import Function
from .shuffle import take_lanes
from .types import BOOL, INT64, PTR, Type, Value, literal, of, vector_literal

# Which lanes take part: all (None), the first few (int), or a mask.
Part = int | Value | None


def memory_type(dtype: DType, lanes: int = 0) -> Type:
    """The type that elements have in memory: a mask is a byte there."""
    return Type("uint8" if dtype.name == "bool" else dtype.name, lanes)


def load_points(e: Emitter, pointer: Value, dtype: DType, stride: int, part: Part = None) -> Value:
    """Load ``e.lanes`` elements that lie ``stride`` elements apart, or one when stride is 0.

    Args:
        e: the emitter.
        pointer: the first element.
        dtype: their type in memory.
        stride: elements from one to the next.
        part: the lanes that may be read; the others hold 0.

    Returns:
        A vector, or a scalar for stride 0 or an emitter without lanes; masks for ``bool``.
    """
    function, lanes = e.function, e.lanes
    type = memory_type(dtype, lanes if stride else 0)
    if not stride or not lanes:
        loaded = function.load(pointer, type)
    elif stride != 1:
        loaded = _load_apart(e, pointer, type, stride, part)
    elif part is None:
        loaded = function.load(pointer, type)
    else:
        loaded = _load_masked(function, pointer, type, part)
    return e.cast_to(loaded, "bool") if dtype.name == "bool" else loaded


def store_points(
    e: Emitter, value: Value, pointer: Value, dtype: DType, stride: int, part: Part = None
) -> None:
    """Store ``e.lanes`` elements ``stride`` apart; see :func:`load_points`."""
    function, lanes = e.function, e.lanes
    value = e.cast_to(value, dtype.name)
    if dtype.name == "bool":
        value = e.cast_to(value, "uint8")
    if not stride or not lanes:
        function.store(value if not value.lanes else extract(e, value, 0), pointer)
        return
    value = e.splat(value)
    if stride != 1:
        count = part if isinstance(part, int) else lanes
        assert not isinstance(part, Value), "points apart cannot be masked"
        for lane in range(count):
            function.store(extract(e, value, lane), pointer, lane * stride)
    elif part is None:
        function.store(value, pointer)
    elif isinstance(part, int) and not function.target.has_masks:
        # Masked stores are dozens of instructions inside some processors without mask registers.
        _store_pieces(e, value, pointer, part)
    else:
        _store_masked(function, value, pointer, part)


def extract(e: Emitter, value: Value, lane: int) -> Value:
    """One lane of a vector."""
    type = value.type.with_lanes(0)
    return e.op(f"extractelement {value.type.text} {{0}}, i32 {lane}", type, value)


def first_lanes(e: Emitter, count: Value) -> Value:
    """The mask of the lanes before a run-time count (int64)."""
    numbers = e.counting()
    return e.lt(numbers, e.splat(count))


def mask_of(part: Part, lanes: int) -> Value:
    """The mask that a part of the lanes means."""
    if isinstance(part, Value):
        return part
    count = lanes if part is None else part
    return vector_literal([int(lane < count) for lane in range(lanes)], Type("bool", lanes))


def _load_masked(function: Function, pointer: Value, type: Type, part: Part) -> Value:
    name = f"llvm.masked.load.{type.suffix}.p0"
    mask = mask_of(part, type.lanes)
    function.module.declare(
        f"declare {type.text} @{name}(ptr, i32 immarg, {mask.type.text}, {type.text})"
    )
    return function.value(
        f"call {type.text} @{name}(ptr {pointer.text}, i32 {type.bytes}, {mask!r}, "
        f"{type.text} zeroinitializer)",
        type,
    )


def _store_masked(function: Function, value: Value, pointer: Value, part: Part) -> None:
    type = value.type
    name = f"llvm.masked.store.{type.suffix}.p0"
    mask = mask_of(part, type.lanes)
    function.module.declare(f"declare void @{name}({type.text}, ptr, i32 immarg, {mask.type.text})")
    function.line(f"call void @{name}({value!r}, ptr {pointer.text}, i32 {type.bytes}, {mask!r})")


def _store_pieces(e: Emitter, value: Value, pointer: Value, count: int) -> None:
    """Store the first lanes in pieces of powers of two."""
    at = 0
    while at < count:
        size = 1 << (count - at).bit_length() - 1
        piece = extract(e, value, at) if size == 1 else take_lanes(e, value, at, size, size)
        e.function.store(piece, pointer, at)
        at += size


def _load_apart(e: Emitter, pointer: Value, type: Type, stride: int, part: Part) -> Value:
    assert not isinstance(part, Value), "points apart cannot be masked"
    count = part if isinstance(part, int) else type.lanes
    made = literal(0, type)
    for lane in range(count):
        one = e.function.load(pointer, type.with_lanes(0), lane * stride)
        made = e.op(
            f"insertelement {type.text} {{0}}, {one.type.text} {{1}}, i32 {lane}", type, made, one
        )
    return made


__all__ = [
    "BOOL",
    "INT64",
    "PTR",
    "Part",
    "extract",
    "first_lanes",
    "load_points",
    "mask_of",
    "memory_type",
    "of",
    "store_points",
]
