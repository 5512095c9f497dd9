"""Windows of which the largest element or the sum is taken.

The largest elements come as two ops, the values and where they stand, so that values alone cost no
index. The place is the element's number in its flat image of S, as PyTorch counts. An element on
the padding is never the largest; of equal ones the first is, of several NaN the last (PyTorch's).

``max_pool``'s derivative is ``max_pool_input``, which adds each value where its place says; that
one's is a ``gather`` along the flat image. ``window_sum`` and ``window_spread`` are each other's.
"""

from __future__ import annotations

from math import prod
from typing import Any

from ..dtypes import int64
from ..errors import DTypeError, ShapeError
from ..graph.node import Aval, Op, make_aval
from ._windows import Ints, Pairs, check_image, check_places, check_window


def _infer_pool(what: str, kind: Any = None) -> Any:
    """The rule of an op that makes one element of each window."""

    def infer(x: Aval, *, window: Ints, **at: Any) -> Aval:
        check_image(what, x)
        found = check_window(what, x.shape[2:], window, **at)
        return make_aval((*x.shape[:2], *found), kind or x.dtype)

    return infer


def _infer_back(g: Aval, index: Aval, *, window: Ints, size: Ints, **at: Any) -> Aval:
    check_image("max_pool_input", g)
    if index.dtype is not int64:
        raise DTypeError(f"max_pool_input takes places of int64; given {index!r}")
    if index.shape != g.shape:
        raise ShapeError(f"max_pool_input: values {g.shape} and places {index.shape} differ")
    found = check_window("max_pool_input", size, window, **at)
    check_places("max_pool_input", g.shape[2:], size, found)
    return make_aval((*g.shape[:2], *size), g.dtype)


def _infer_spread(g: Aval, *, window: Ints, size: Ints, **at: Any) -> Aval:
    check_image("window_spread", g)
    found = check_window("window_spread", size, window, **at)
    check_places("window_spread", g.shape[2:], size, found)
    return make_aval((*g.shape[:2], *size), g.dtype)


def _pool(name: str) -> Any:
    """The meaning of an op that makes one element of each window, by its name in ``xp``."""

    def array(
        xp: Any, x: Any, *, window: Ints, stride: Ints, padding: Pairs, dilation: Ints
    ) -> Any:
        return getattr(xp, name)(x, window, stride, padding, dilation)

    return array


def _back(
    xp: Any,
    g: Any,
    index: Any,
    *,
    window: Ints,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    size: Ints,
) -> Any:
    return xp.max_pool_input(g, index, window, stride, padding, dilation, size)


def _spread(
    xp: Any,
    g: Any,
    *,
    window: Ints,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    size: Ints,
) -> Any:
    return xp.window_spread(g, window, stride, padding, dilation, size)


def _max_rule(g: Any, y: Any, x: Any, **at: Any) -> Any:
    return g.max_pool_input(x.max_pool_index(**at), size=x.shape[2:], **at)


def _picked(h: Any, y: Any, g: Any, index: Any, *, size: Ints, **at: Any) -> Any:
    """The gradient of each value is that of the element it was added to."""
    lead, count = g.shape[:2], prod(g.shape[2:])
    flat = h.reshape((*lead, prod(size)))
    return flat.gather(index.reshape((*lead, count)), 2).reshape(g.shape)


MAX_POOL = Op(
    name="max_pool",
    infer=_infer_pool("max_pool"),
    array=_pool("max_pool"),
    vjps=(_max_rule,),
    text="max of windows of {0}",
    tex=r"\max_{{\text{{window}}}} {0}",
)
MAX_POOL_INDEX = Op(
    name="max_pool_index",
    infer=_infer_pool("max_pool_index", int64),
    array=_pool("max_pool_index"),
    vjps=(None,),
    text="argmax of windows of {0}",
    tex=r"\arg\max_{{\text{{window}}}} {0}",
)
MAX_POOL_INPUT = Op(
    name="max_pool_input",
    infer=_infer_back,
    array=_back,
    vjps=(_picked, None),
    text="{0} added at {1}",
    tex="{0}",
)
WINDOW_SUM = Op(
    name="window_sum",
    infer=_infer_pool("window_sum"),
    array=_pool("window_sum"),
    vjps=(lambda g, y, x, **at: g.window_spread(size=x.shape[2:], **at),),
    text="Σ of windows of {0}",
    tex=r"\sum_{{\text{{window}}}} {0}",
)
WINDOW_SPREAD = Op(
    name="window_spread",
    infer=_infer_spread,
    array=_spread,
    vjps=(lambda h, y, g, *, size, **at: h.window_sum(**at),),
    text="{0} over its windows",
    tex="{0}",
)

ALL = (MAX_POOL, MAX_POOL_INDEX, MAX_POOL_INPUT, WINDOW_SUM, WINDOW_SPREAD)
