"""Ops that bring many elements together."""

from __future__ import annotations

from typing import Any

from ..dtypes import int64
from ..errors import DTypeError, ShapeError
from ..graph.node import Aval, Op, make_aval
from ._infer import normal_axes


def reduced_shape(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """The shape after the axes are gone, or have become 1.

    Example:
        >>> reduced_shape((2, 3, 4), (1,), False), reduced_shape((2, 3), (1,), True)
        ((2, 4), (2, 1))
    """
    if keepdims:
        return tuple(1 if k in axes else n for k, n in enumerate(shape))
    return tuple(n for k, n in enumerate(shape) if k not in axes)


def _infer_sum(x: Aval, *, axes: tuple[int, ...], keepdims: bool) -> Aval:
    normal_axes(axes, x.ndim, "sum")
    if not (x.dtype.is_float or x.dtype.is_int):
        raise DTypeError("the op sum takes numbers; cast booleans to int64 first")
    return make_aval(reduced_shape(x.shape, axes, keepdims), x.dtype)


def _infer_amax(x: Aval, *, axes: tuple[int, ...], keepdims: bool) -> Aval:
    normal_axes(axes, x.ndim, "amax")
    _refuse_empty(x, axes, "amax")
    return make_aval(reduced_shape(x.shape, axes, keepdims), x.dtype)


def _infer_argmax(x: Aval, *, axis: int, keepdims: bool) -> Aval:
    normal_axes((axis,), x.ndim, "argmax")
    _refuse_empty(x, (axis,), "argmax")
    return make_aval(reduced_shape(x.shape, (axis,), keepdims), int64)


def _refuse_empty(x: Aval, axes: tuple[int, ...], what: str) -> None:
    if any(x.shape[axis] == 0 for axis in axes):
        raise ShapeError(
            f"{what} over an axis of length 0 has no result.\n  given: shape {x.shape}, axes {axes}"
        )


def _kept(node: Any, x: Any, axes: tuple[int, ...]) -> Any:
    return node.reshape(reduced_shape(x.shape, axes, True))


def _sum_rule(g: Any, y: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    # Axes that went from the front come back by broadcasting alone.
    if axes != tuple(range(len(axes))):
        g = _kept(g, x, axes)
    return g.expand(x.shape)


def _amax_rule(g: Any, y: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The gradient goes to the largest element, in equal parts where several are."""
    largest = x.eq(_kept(y, x, axes)).cast(x.dtype)
    return _kept(g, x, axes) * (largest / largest.sum(axes, True))


SUM = Op(
    name="sum",
    infer=_infer_sum,
    array=lambda xp, x, *, axes, keepdims: xp.sum(x, axes, keepdims),
    vjps=(_sum_rule,),
    text="Σ {0}",
    tex=r"\sum {0}",
)
AMAX = Op(
    name="amax",
    infer=_infer_amax,
    array=lambda xp, x, *, axes, keepdims: xp.amax(x, axes, keepdims),
    vjps=(_amax_rule,),
    text="max {0}",
    tex=r"\max {0}",
)
ARGMAX = Op(
    name="argmax",
    infer=_infer_argmax,
    array=lambda xp, x, *, axis, keepdims: xp.argmax(x, axis, keepdims),
    vjps=(None,),
    text="argmax {0}",
    tex=r"\arg\max {0}",
)

ALL = (SUM, AMAX, ARGMAX)
