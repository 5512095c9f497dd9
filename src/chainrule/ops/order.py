"""Ops that depend on the order of elements along an axis: sorting and running sums."""

from __future__ import annotations

from typing import Any

from ..dtypes import int64
from ..errors import DTypeError
from ..graph.node import Aval, Op, make_aval
from ._infer import normal_axes


def _infer_argsort(x: Aval, *, axis: int, descending: bool) -> Aval:
    normal_axes((axis,), x.ndim, "sort")
    return make_aval(x.shape, int64)


def _infer_cumsum(x: Aval, *, axis: int) -> Aval:
    normal_axes((axis,), x.ndim, "cumsum")
    if not (x.dtype.is_float or x.dtype.is_int):
        raise DTypeError("the op cumsum takes numbers; cast booleans to int64 first")
    return x


def _running_rule(g: Any, y: Any, x: Any, *, axis: int) -> Any:
    """Element i is in every sum from i on, so its gradient is the sum of theirs."""
    return g.flip((axis,)).cumsum(axis).flip((axis,))


ARGSORT = Op(
    name="argsort",
    infer=_infer_argsort,
    array=lambda xp, x, *, axis, descending: xp.argsort(x, axis, descending),
    vjps=(None,),
    text="order of {0}",
    tex=r"\operatorname{{argsort}} {0}",
)
CUMSUM = Op(
    name="cumsum",
    infer=_infer_cumsum,
    array=lambda xp, x, *, axis: xp.cumsum(x, axis),
    vjps=(_running_rule,),
    text="running sum of {0}",
    tex=r"\operatorname{{cumsum}} {0}",
)

ALL = (ARGSORT, CUMSUM)
