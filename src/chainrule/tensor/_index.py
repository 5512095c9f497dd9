"""Indexing: what a key means, in ops.

A key of ints, slices, None and an ellipsis is a slice and a reshape. One integer tensor is a take.
Integer tensors of a trace on several axes, which have no values yet, are a take of the array
whose axes they are one. Every other key is resolved on the host into flat positions, of which one
take gathers them all.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..config import STATE
from ..dtypes import bool_, int64
from ..errors import DTypeError, IndexRangeError, ShapeError, TraceError
from ..graph.node import INPUT, NO_ATTRS, Node, make_aval
from ..ops import LOGICAL_AND, TAKE, WHERE, Expr, apply, cast_node
from ..ops._apply import constant_array
from ._handle import TensorHandle

BASIC = (int, np.integer, slice, type(None), type(Ellipsis))
_PLAIN = frozenset((int, slice, type(None), type(Ellipsis)))


def get_view(node: Node, key: Any) -> Expr | None:
    """The node of ``x[key]`` as NumPy's own view, where nobody needs its history.

    A loop over batches takes two slices a step, so this way costs a tenth of the usual one.

    Returns:
        None where :func:`get_item` has to say what the key means: in a trace, for a history that is
        kept, for other keys than ints, slices, None and an ellipsis, for indices out of range, and
        for a key that names the whole tensor.
    """
    value, state = node._value, STATE.__dict__
    if type(value) is not np.ndarray or state["trace"] is not None or state["recording"]:
        return None
    if node.requires_grad and state["grad_enabled"]:
        return None
    if type(key) is not slice:
        keys = key if type(key) is tuple else (key,)
        if not _PLAIN.issuperset(map(type, keys)):
            return None
        if Ellipsis not in keys:
            key = (*keys, Ellipsis)  # so that one element is an array too
    try:
        view = value[key]
    except IndexError:
        return None
    if view.shape == value.shape:
        return None
    return Expr(INPUT, (), NO_ATTRS, make_aval(view.shape, node.aval.dtype), view)


def get_item(node: Expr, key: Any) -> tuple[Expr, bool]:
    """The node of ``x[key]``, and whether it is a view of x."""
    keys = key if isinstance(key, tuple) else (key,)
    if all(isinstance(one, BASIC) and not isinstance(one, bool) for one in keys):
        return _basic(node, keys), True
    axis = _single_index(node, keys)
    if axis is not None:
        index: Any = keys[axis].node
        size = node.shape[axis]
        if index.has_value:
            index = constant_array(_positive(index.value(), size), int64)
        elif not index.dtype.name.startswith("u"):
            index = _wrapped(index, size)
        result: Expr = apply(TAKE, node, index, axis=axis)
        return result, False
    if STATE.trace is not None and any(map(_is_traced_integer, keys)):
        return _several_indices(node, keys), False
    positions = constant_array(_positions(node, keys), int64)
    flat = node.reshape((node.size,))
    result = apply(TAKE, flat, positions, axis=0)
    return result, False


def set_item(node: Expr, key: Any, value: Expr) -> Expr:
    """The node of x after ``x[key] = value``."""
    keys = key if isinstance(key, tuple) else (key,)
    value = _fitting(node, value)
    if len(keys) == 1 and isinstance(keys[0], TensorHandle) and keys[0]._node.dtype is bool_:
        mask = keys[0].node
        if mask.shape == node.shape and value.size == 1:
            masked: Expr = apply(WHERE, mask, value.reshape(()), node)
            return masked
    positions = _positions(node, tuple(map(_host_key, keys)))
    if positions.size == 0:
        return node
    spread = value if value.shape == positions.shape else _spread(value, positions.shape)
    inside = np.zeros(node.size, bool)
    inside[positions.reshape(-1)] = True
    # Where a position stands twice the last value wins, as in NumPy: each place of x asks for the
    # last of the values that were sent to it.
    source = np.zeros(node.size, np.int64)
    source[positions.reshape(-1)] = np.arange(positions.size)
    flat = spread.reshape((positions.size,))
    sent: Expr = apply(TAKE, flat, constant_array(source, int64), axis=0)
    written = constant_array(inside.reshape(node.shape), bool_)
    result: Expr = apply(WHERE, written, sent.reshape(node.shape), node)
    return result


def _fitting(node: Expr, value: Expr) -> Expr:
    if value.dtype.category > node.dtype.category:
        raise DTypeError(
            f"item assignment: values of {value.dtype} do not fit a tensor of {node.dtype}.\n"
            "  fix: convert the tensor or the values first"
        )
    result: Expr = cast_node(value, node.dtype)
    return result


def _spread(value: Expr, shape: tuple[int, ...]) -> Expr:
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = value.reshape(value.shape[1:])
    try:
        return value.expand(shape)
    except ShapeError:
        raise ShapeError(
            f"item assignment: values of shape {value.shape} do not fit the places, of shape"
            f" {shape}"
        ) from None


def _host_key(key: Any) -> Any:
    """A key with its tensors as arrays."""
    if isinstance(key, TensorHandle):
        if STATE.trace is not None and not key.node.has_value:
            raise TraceError(
                "a compiled function cannot index by a traced tensor in this way: the shape would"
                " depend on its values.\n  fix: use cr.where(mask, a, b), x.gather or"
                " x.index_select"
            )
        return key.node.value()
    return np.asarray(key) if isinstance(key, list) else key


def _positions(node: Expr, keys: tuple[Any, ...]) -> np.ndarray[Any, Any]:
    every = np.arange(node.size, dtype=np.int64).reshape(node.shape)
    try:
        return np.ascontiguousarray(every[tuple(map(_host_key, keys))])
    except IndexError as error:
        raise IndexRangeError(
            f"the index does not fit a tensor of shape {node.shape}: {error}"
        ) from None


def _positive(index: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    if index.size and (index.min() < -size or index.max() >= size):
        bad = index[(index < -size) | (index >= size)].reshape(-1)[0]
        raise IndexRangeError(f"index {bad} is outside of an axis of length {size}")
    wide = index.astype(np.int64)
    return np.where(wide < 0, wide + size, wide)


def _single_index(node: Expr, keys: tuple[Any, ...]) -> int | None:
    """The axis of the only key that is not a full slice, where that key is an integer tensor."""
    special = [
        k for k, one in enumerate(keys) if not (isinstance(one, slice) and one == slice(None))
    ]
    if len(special) != 1 or len(keys) > node.ndim or not isinstance(keys[special[0]], TensorHandle):
        return None
    return special[0] if keys[special[0]]._node.dtype.is_int else None


def _is_traced_integer(key: Any) -> bool:
    return isinstance(key, TensorHandle) and key._node.dtype.is_int and not key.node.has_value


def _several_indices(node: Expr, keys: tuple[Any, ...]) -> Expr:
    """Integers and integer tensors on several axes, and slices on the others.

    As in NumPy the indices broadcast, and their dimensions stand where the indexed axes stood, or
    in front where slices lie between these. A place outside of any axis becomes -1, which the take
    refuses.
    """
    if any(one is None or one is Ellipsis for one in keys):
        raise TraceError(
            "a compiled function takes indices, integers and slices in one key, no None and no"
            " ellipsis beside traced tensors.\n  fix: x.unsqueeze, or : for each axis"
        )
    keys = (*keys, *[slice(None)] * (node.ndim - len(keys)))
    if len(keys) > node.ndim:
        raise IndexRangeError(f"{len(keys)} indices for a tensor of {node.ndim} dimensions")
    axes = [k for k, one in enumerate(keys) if not isinstance(one, slice)]
    node = _basic(node, tuple(one if isinstance(one, slice) else slice(None) for one in keys))
    rest = [k for k in range(node.ndim) if k not in axes]
    place, inside = _joined([_index_node(keys[k]) for k in axes], [node.shape[k] for k in axes])
    rows = prod(node.shape[k] for k in axes)
    turned = node.permute((*axes, *rest)).reshape((rows, *(node.shape[k] for k in rest)))
    taken: Expr = apply(TAKE, turned, inside.where(place, -1), axis=0)
    at = axes[0] if axes == list(range(axes[0], axes[-1] + 1)) else 0
    count = place.ndim
    order = (*range(count, count + at), *range(count), *range(count + at, taken.ndim))
    return taken.permute(order)


def _index_node(key: Any) -> Any:
    if isinstance(key, TensorHandle):
        if not key._node.dtype.is_int:
            _host_key(key)  # a mask: refused
        return cast_node(key.node, int64)
    return constant_array(np.asarray(key, np.int64), int64)


def _wrapped(index: Expr, size: int) -> Expr:
    """Indices from -size to -1 count from the end."""
    below: Expr = apply(LOGICAL_AND, index < 0, index >= -size)
    return below.where(index + size, index)


def _joined(indices: list[Expr], sizes: list[int]) -> tuple[Expr, Expr]:
    """The row-major place that indices name together, and whether each is inside of its axis."""
    place, inside = None, None
    for index, size in zip(indices, sizes, strict=True):
        good = apply(LOGICAL_AND, index >= -size, index < size)
        inside = good if inside is None else apply(LOGICAL_AND, inside, good)
        index = _wrapped(index, size)
        place = index if place is None else place * size + index
    assert place is not None and inside is not None
    return place, inside


def _basic(node: Expr, keys: tuple[Any, ...]) -> Expr:
    given = sum(1 for one in keys if one is not None and one is not Ellipsis)
    if given > node.ndim:
        raise IndexRangeError(
            f"{given} indices for a tensor of {node.ndim} dimensions, shape {node.shape}"
        )
    fill = (slice(None),) * (node.ndim - given)
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys = keys[:at] + fill + keys[at + 1 :]
    else:
        keys = keys + fill
    starts, stops, steps, flips, shape = [], [], [], [], []
    axis = 0
    for one in keys:
        if one is None:
            shape.append(1)
            continue
        length = node.shape[axis]
        if isinstance(one, slice):
            span = range(*one.indices(length))
            if span.step < 0:
                flips.append(axis)
                span = range(length - 1 - span.start, length - 1 - span.stop, -span.step)
            start, stop, step = span.start, max(span.stop, span.start), span.step
            shape.append(len(range(start, stop, step)))
        else:
            place = int(one)
            if not -length <= place < length:
                raise IndexRangeError(
                    f"index {place} is outside of axis {axis} of length {length}, in a tensor of"
                    f" shape {node.shape}"
                )
            start = place % length
            stop, step = start + 1, 1
        starts.append(start)
        stops.append(stop)
        steps.append(step)
        axis += 1
    if flips:
        node = node.flip(tuple(flips))
    whole = all(
        a == 0 and b == n and c == 1
        for a, b, c, n in zip(starts, stops, steps, node.shape, strict=True)
    )
    if not whole:
        node = node.slice(tuple(starts), tuple(stops), tuple(steps))
    return node.reshape(tuple(shape))
