"""Sorting and running sums: short axes with comparisons and masked sums, long ones by a kernel.

The short forms compare every element of an axis with every other, which for a few (classes,
features) is less work than a sort would be on vectors, and fuses with what is around it. Longer
axes are brought to the form that the kernels of ``kernels/ordered.py`` take.
"""

from __future__ import annotations

from math import prod

from .... import dtypes
from ....graph.node import Node
from ....ops import elementwise as e
from ....ops import shape
from .build import Builder

SHORT = 32  # longest axis on which all pairs are compared


def _pairs(b: Builder, node: Node) -> tuple[Node, Node, tuple[int, ...], int]:
    """The axis brought to the end, against itself: elements i [..., n, 1] and j [..., 1, n]."""
    x, axis = node.inputs[0], node.attrs["axis"]
    length = x.shape[axis]
    order = (*(k for k in range(x.ndim) if k != axis), axis)
    turned = b.permute(x, order)
    rest = turned.shape[:-1]
    return b.reshape(turned, (*rest, length, 1)), b.reshape(turned, (*rest, 1, length)), rest, axis


def _back(b: Builder, node: Node, made: Node, axis: int) -> Node:
    """The result [..., n, 1] with its axis where it was."""
    flat = b.reshape(made, made.shape[:-1])
    last = flat.ndim - 1
    return b.permute(flat, (*range(axis), last, *range(axis, last)))


def _line(b: Builder, length: int, along: int) -> Node:
    """0, 1, 2, ... along one of two axes: int32 [n, n]."""
    return b.make(shape.IOTA, shape=(length, length), axis=along, dtype=dtypes.int32)


def _sorted_rows(b: Builder, node: Node, x: Node, axis: int) -> Node | None:
    if x.ndim == 2 and axis == 1:
        return None
    turned = b.permute(x, (*(k for k in range(x.ndim) if k != axis), axis))
    flat = b.reshape(turned, (prod(turned.shape[:-1]), turned.shape[-1]))
    made = b.reshape(b.make(node.op, flat, **dict(node.attrs) | {"axis": 1}), turned.shape)
    last = x.ndim - 1
    return b.permute(made, (*range(axis), last, *range(axis, last)))


def running_sum(b: Builder, node: Node) -> Node | None:
    """cumsum(x)[i] = sum over j of (x[j] if j <= i else 0); a long axis is the middle of three."""
    x, axis = node.inputs[0], node.attrs["axis"]
    if x.shape[axis] > SHORT:
        middle = (prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :]))
        if x.shape == middle and axis == 1:
            return None
        return b.reshape(b.make(node.op, b.reshape(x, middle), axis=1), x.shape)
    _, theirs, _, axis = _pairs(b, node)
    length = theirs.shape[-1]
    before = b.make(e.LE, _line(b, length, 1), _line(b, length, 0))
    terms = b.where(before, theirs, b.constant(0, node.dtype))
    return _back(b, node, b.sum(terms, (terms.ndim - 1,), True), axis)


def order_by_rank(b: Builder, node: Node) -> Node | None:
    """argsort(x)[k] = the i whose rank is k; a rank counts the elements that come before.

    Equal elements keep their order; not-a-number is larger than everything. A long axis becomes the
    last of two.
    """
    x, axis = node.inputs[0], node.attrs["axis"]
    if x.shape[axis] > SHORT:
        return _sorted_rows(b, node, x, axis)
    mine, theirs, rest, axis = _pairs(b, node)
    length = theirs.shape[-1]
    first, second = (theirs, mine) if not node.attrs["descending"] else (mine, theirs)
    less = b.make(e.LT, first, second)
    same = b.make(e.EQ, mine, theirs)
    if node.inputs[0].dtype.is_float:
        odd_first, odd_second = (b.make(e.NE, x, x) for x in (first, second))
        larger = b.make(e.LOGICAL_AND, odd_second, b.make(e.LOGICAL_NOT, odd_first))
        less = b.make(e.LOGICAL_OR, less, larger)
        same = b.make(e.LOGICAL_OR, same, b.make(e.LOGICAL_AND, odd_first, odd_second))
    earlier = b.make(e.LT, _line(b, length, 1), _line(b, length, 0))
    before = b.make(e.LOGICAL_OR, less, b.make(e.LOGICAL_AND, same, earlier))
    rank = b.sum(b.cast(before, dtypes.int32), (before.ndim - 1,), True)
    hit = b.make(e.EQ, b.reshape(rank, (*rest, 1, length)), _line(b, length, 0))
    chosen = b.where(hit, _line(b, length, 1), b.constant(0, dtypes.int32))
    made = b.sum(chosen, (chosen.ndim - 1,), True)
    return b.cast(_back(b, node, made, axis), dtypes.int64)
