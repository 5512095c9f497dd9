"""Ops that read and write at places given by an index tensor, and random bits."""

from __future__ import annotations

from typing import Any

from ..dtypes import uint32
from ..errors import DTypeError, ShapeError
from ..graph.node import Aval, Op, make_aval
from ._infer import normal_axes


def _check_index(index: Aval, what: str) -> None:
    if not index.dtype.is_int:
        raise DTypeError(
            f"{what} needs whole numbers as indices.\n  given: {index!r}\n"
            "  expected: int64 (or int32)\n  fix: index.long()"
        )


def _infer_take(x: Aval, index: Aval, *, axis: int) -> Aval:
    normal_axes((axis,), x.ndim, "take")
    _check_index(index, "take")
    return make_aval((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x.dtype)


def _infer_take_add(g: Aval, index: Aval, *, axis: int, size: int) -> Aval:
    _check_index(index, "take_add")
    if g.shape[axis : axis + index.ndim] != index.shape:
        raise ShapeError(f"take_add: index {index.shape} does not lie at axis {axis} of {g.shape}")
    return make_aval((*g.shape[:axis], size, *g.shape[axis + index.ndim :]), g.dtype)


def _same_but(a: tuple[int, ...], b: tuple[int, ...], axis: int) -> bool:
    return len(a) == len(b) and a[:axis] == b[:axis] and a[axis + 1 :] == b[axis + 1 :]


def _infer_gather(x: Aval, index: Aval, *, axis: int) -> Aval:
    normal_axes((axis,), x.ndim, "gather")
    _check_index(index, "gather")
    if not _same_but(x.shape, index.shape, axis):
        raise ShapeError(
            f"gather: the index has shape {index.shape}, the tensor {x.shape}.\n"
            f"  expected: equal lengths on every axis but {axis}"
        )
    return make_aval(index.shape, x.dtype)


def _infer_scatter_add(g: Aval, index: Aval, *, axis: int, size: int) -> Aval:
    _check_index(index, "scatter_add")
    if g.shape != index.shape:
        raise ShapeError(f"scatter_add: values {g.shape} and index {index.shape} differ in shape")
    return make_aval((*g.shape[:axis], size, *g.shape[axis + 1 :]), g.dtype)


def _infer_bits(key: Aval, counter: Aval, *, shape: tuple[int, ...]) -> Aval:
    if key.shape != (2,) or key.dtype is not uint32 or counter.shape != ():
        raise ShapeError("random_bits takes a key of two uint32 and a 0-d counter")
    return make_aval(shape, uint32)


def _take_rule(g: Any, y: Any, x: Any, index: Any, *, axis: int) -> Any:
    return g.take_add(index, axis, x.shape[axis])


def _gather_rule(g: Any, y: Any, x: Any, index: Any, *, axis: int) -> Any:
    return g.scatter_add(index, axis, x.shape[axis])


TAKE = Op(
    name="take",
    infer=_infer_take,
    array=lambda xp, x, index, *, axis: xp.take(x, index, axis),
    vjps=(_take_rule, None),
    text="{0}[{1}]",
    tex="{0}_{{{1}}}",
)
TAKE_ADD = Op(
    name="take_add",
    infer=_infer_take_add,
    array=lambda xp, g, index, *, axis, size: xp.take_add(g, index, axis, size),
    vjps=(lambda g, y, x, index, *, axis, size: g.take(index, axis), None),
    text="{0} added at {1}",
    tex="{0}",
)
GATHER = Op(
    name="gather",
    infer=_infer_gather,
    array=lambda xp, x, index, *, axis: xp.gather(x, index, axis),
    vjps=(_gather_rule, None),
    text="{0} at {1}",
    tex="{0}_{{{1}}}",
)
SCATTER_ADD = Op(
    name="scatter_add",
    infer=_infer_scatter_add,
    array=lambda xp, g, index, *, axis, size: xp.scatter_add(g, index, axis, size),
    vjps=(lambda g, y, x, index, *, axis, size: g.gather(index, axis), None),
    text="{0} added at {1}",
    tex="{0}",
)
RANDOM_BITS = Op(
    name="random_bits",
    infer=_infer_bits,
    array=lambda xp, key, counter, *, shape: xp.random_bits(key, counter, shape),
    vjps=(None, None),
    text="random bits",
    tex="r",
)

ALL = (TAKE, TAKE_ADD, GATHER, SCATTER_ADD, RANDOM_BITS)
