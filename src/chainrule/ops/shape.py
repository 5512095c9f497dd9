"""Ops that move elements without changing them."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

from ..dtypes import DType
from ..errors import DTypeError, ShapeError
from ..graph.node import Aval, Op, make_aval
from ._infer import normal_axes

Ints = tuple[int, ...]


def _infer_reshape(x: Aval, *, shape: Ints) -> Aval:
    if prod(shape) != x.size or any(n < 0 for n in shape):
        raise ShapeError(
            f"a tensor of shape {x.shape} ({x.size} elements) cannot be reshaped to {shape}"
            f" ({prod(shape)} elements)"
        )
    return make_aval(shape, x.dtype)


def _infer_permute(x: Aval, *, axes: Ints) -> Aval:
    normal_axes(axes, x.ndim, "permute")
    if len(axes) != x.ndim:
        raise ShapeError(f"permute names {len(axes)} axes of a tensor with {x.ndim} dimensions")
    return make_aval(tuple(x.shape[axis] for axis in axes), x.dtype)


def _inverse(axes: Ints) -> Ints:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def _infer_expand(x: Aval, *, shape: Ints) -> Aval:
    lead = len(shape) - x.ndim
    if lead < 0 or any(n not in (1, m) for n, m in zip(x.shape, shape[lead:], strict=True)):
        raise ShapeError(
            f"a tensor of shape {x.shape} cannot be expanded to {shape}.\n"
            "  expected: each axis, counted from the last, of the same length or of length 1"
        )
    return make_aval(shape, x.dtype)


def sum_to(g: Any, shape: Ints) -> Any:
    """Sum a gradient over the axes that broadcasting added or stretched.

    Args:
        g: a node.
        shape: a shape that broadcasts to that of ``g``.
    """
    if g.aval.shape == shape:
        return g
    axes = _added_axes(g.aval.shape, shape)
    return g.sum(axes, False).reshape(shape)


@lru_cache(maxsize=4096)
def _added_axes(full: Ints, shape: Ints) -> Ints:
    lead = len(full) - len(shape)
    stretched = tuple(lead + k for k, n in enumerate(shape) if n == 1 and full[lead + k] != 1)
    return tuple(range(lead)) + stretched


def _infer_slice(x: Aval, *, starts: Ints, stops: Ints, steps: Ints) -> Aval:
    if not len(starts) == len(stops) == len(steps) == x.ndim or any(step < 1 for step in steps):
        raise ShapeError("slice takes a start, a stop and a positive step for each axis")
    shape = tuple(len(range(*part)) for part in zip(starts, stops, steps, strict=True))
    return make_aval(shape, x.dtype)


def _slice_rule(g: Any, y: Any, x: Any, *, starts: Ints, stops: Ints, steps: Ints) -> Any:
    if 0 in y.shape:
        return x * 0
    ends = [
        n - start - (m - 1) * step - 1
        for n, m, start, step in zip(x.shape, y.shape, starts, steps, strict=True)
    ]
    return g.pad(tuple(starts), tuple(ends), tuple(step - 1 for step in steps))


def _infer_pad(x: Aval, *, low: Ints, high: Ints, interior: Ints) -> Aval:
    if not len(low) == len(high) == len(interior) == x.ndim or min((*low, *high, *interior, 0)) < 0:
        raise ShapeError("pad takes amounts of 0 or more, three for each axis")
    shape = tuple(
        a + ((n - 1) * (gap + 1) + 1 if n else 0) + b
        for a, n, b, gap in zip(low, x.shape, high, interior, strict=True)
    )
    return make_aval(shape, x.dtype)


def _pad_rule(g: Any, y: Any, x: Any, *, low: Ints, high: Ints, interior: Ints) -> Any:
    ends = tuple(
        a + (n - 1) * (gap + 1) + 1 if n else a
        for a, n, gap in zip(low, x.shape, interior, strict=True)
    )
    return g.slice(low, ends, tuple(gap + 1 for gap in interior))


def _infer_flip(x: Aval, *, axes: Ints) -> Aval:
    normal_axes(axes, x.ndim, "flip")
    return x


def _infer_concat(*parts: Aval, axis: int) -> Aval:
    first = parts[0]
    normal_axes((axis,), first.ndim, "cat")
    for part in parts[1:]:
        same = part.ndim == first.ndim and all(
            a == b
            for k, (a, b) in enumerate(zip(part.shape, first.shape, strict=True))
            if k != axis
        )
        if not same:
            raise ShapeError(
                f"tensors of shapes {first.shape} and {part.shape} cannot be joined along axis"
                f" {axis}.\n  expected: equal lengths on every other axis"
            )
        if part.dtype is not first.dtype:
            raise DTypeError(f"cat joins one dtype; given {first.dtype} and {part.dtype}")
    length = sum(part.shape[axis] for part in parts)
    return make_aval((*first.shape[:axis], length, *first.shape[axis + 1 :]), first.dtype)


def _concat_rule(g: Any, y: Any, *parts: Any, slot: int, axis: int) -> Any:
    start = sum([part.aval.shape[axis] for part in parts[:slot]])
    stop = start + parts[slot].shape[axis]
    starts = tuple(start if k == axis else 0 for k in range(g.ndim))
    stops = tuple(stop if k == axis else n for k, n in enumerate(g.shape))
    return g.slice(starts, stops, (1,) * g.ndim)


RESHAPE = Op(
    name="reshape",
    infer=_infer_reshape,
    array=lambda xp, x, *, shape: xp.reshape(x, shape),
    vjps=(lambda g, y, x, *, shape: g.reshape(x.shape),),
    text="{0}",
    tex="{0}",
)
PERMUTE = Op(
    name="permute",
    infer=_infer_permute,
    array=lambda xp, x, *, axes: xp.transpose(x, axes),
    vjps=(lambda g, y, x, *, axes: g.permute(_inverse(axes)),),
    text="{0}ᵀ",
    tex="{0}^T",
)
EXPAND = Op(
    name="expand",
    infer=_infer_expand,
    array=lambda xp, x, *, shape: xp.broadcast_to(x, shape),
    vjps=(lambda g, y, x, *, shape: sum_to(g, x.shape),),
    text="{0}",
    tex="{0}",
)
SLICE = Op(
    name="slice",
    infer=_infer_slice,
    array=lambda xp, x, *, starts, stops, steps: xp.slice(x, starts, stops, steps),
    vjps=(_slice_rule,),
    text="part of {0}",
    tex="{0}",
)
PAD = Op(
    name="pad",
    infer=_infer_pad,
    array=lambda xp, x, *, low, high, interior: xp.pad(x, low, high, interior),
    vjps=(_pad_rule,),
    text="{0} with zeros around",
    tex="{0}",
)
FLIP = Op(
    name="flip",
    infer=_infer_flip,
    array=lambda xp, x, *, axes: xp.flip(x, axes),
    vjps=(lambda g, y, x, *, axes: g.flip(axes),),
    text="{0} reversed",
    tex="{0}",
)
CONCAT = Op(
    name="concat",
    infer=_infer_concat,
    array=lambda xp, *parts, axis: xp.concatenate(parts, axis),
    vjps=(_concat_rule,),
    variadic=True,
    text="parts joined",
    tex="[{0}, \\dots]",
)


def _infer_iota(*, shape: Ints, axis: int, dtype: DType) -> Aval:
    return make_aval(shape, dtype)


IOTA = Op(
    name="iota",
    infer=_infer_iota,
    array=lambda xp, *, shape, axis, dtype: xp.iota(shape, axis, dtype.np),
    text="index",
    tex="i",
)

ALL = (RESHAPE, PERMUTE, EXPAND, SLICE, PAD, FLIP, CONCAT, IOTA)
