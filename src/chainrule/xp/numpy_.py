"""The array namespace over NumPy."""

from __future__ import annotations

from builtins import slice as _slice
from typing import Any

import numpy as np

from .. import random as _random
from ..errors import IndexRangeError
from ._convolution_numpy import convolution as convolution
from ._convolution_numpy import convolution_input as convolution_input
from ._convolution_numpy import convolution_weight as convolution_weight
from ._erf import erf as erf
from ._pooling_numpy import max_pool as max_pool
from ._pooling_numpy import max_pool_index as max_pool_index
from ._pooling_numpy import max_pool_input as max_pool_input
from ._pooling_numpy import window_spread as window_spread
from ._pooling_numpy import window_sum as window_sum
from ._scatter_numpy import take_add as _take_add

# Arrays are NumPy's; its stubs leave reductions with computed axes untyped.
Array = Any
_add: Any = np.add
# Elements; below it copying costs less than NumPy's making of a strided view.
_SMALL = 2048
_maximum: Any = np.maximum

add, subtract, multiply, divide = np.add, np.subtract, np.multiply, np.divide
negative, abs, sign, floor, sqrt = np.negative, np.abs, np.sign, np.floor, np.sqrt
exp, expm1, log, log1p = np.exp, np.expm1, np.log, np.log1p
sin, cos, tanh = np.sin, np.cos, np.tanh
maximum, minimum = np.maximum, np.minimum
equal, not_equal, less, less_equal = np.equal, np.not_equal, np.less, np.less_equal
greater, greater_equal = np.greater, np.greater_equal
logical_and, logical_or, logical_not = np.logical_and, np.logical_or, np.logical_not
right_shift = np.right_shift
flip, stack, zeros = np.flip, np.stack, np.zeros
matmul, as_array = np.matmul, np.asarray


def reshape(x: Array, shape: tuple[int, ...]) -> Array:
    """The same elements in another shape."""
    return x.reshape(shape)


def transpose(x: Array, axes: tuple[int, ...]) -> Array:
    """The axes in another order."""
    return x.transpose(axes)


def broadcast_to(x: Array, shape: tuple[int, ...]) -> Array:
    """The array with axes of length 1 stretched; small ones are copied, which is sooner done."""
    size = 1
    for length in shape:
        size *= length
    if size > _SMALL:
        return np.broadcast_to(x, shape)
    out = np.empty(shape, x.dtype)
    out[...] = x
    return out


_BITS: dict[int, Any] = {4: np.dtype(np.int32), 8: np.dtype(np.int64)}


def where(condition: Array, yes: Array, no: Array) -> Array:
    """Elements of ``yes`` where the condition holds, of ``no`` elsewhere."""
    large = condition.shape == yes.shape and yes.size > _SMALL
    if large and no.ndim == 0 and yes.dtype.kind == "f":
        kind = _BITS.get(yes.itemsize)
        if kind is not None and no.dtype == yes.dtype and not no.view(kind).item():
            # Zero elsewhere: bits taken or left, many times as fast as NumPy's choice.
            mask = condition.astype(kind)
            np.negative(mask, out=mask)
            mask &= np.ascontiguousarray(yes).view(kind)
            return mask.view(yes.dtype)
    return np.where(condition, yes, no)


def power(a: Array, b: Array) -> Array:
    """a to the power b; whole numbers to negative powers are cut towards zero."""
    if a.dtype.kind == "f":
        return np.power(a, b)
    found = np.power(a, np.maximum(b, 0))
    if a.dtype.kind == "u":
        return found
    # Of the whole numbers only 1 and -1 have a reciprocal that is one.
    sign = np.where(b % 2 == 0, 1, a)
    return np.where(b < 0, np.where(np.abs(a) == 1, sign, 0), found).astype(a.dtype)


def integer_divide(a: Array, b: Array) -> Array:
    """Whole-number division towards minus infinity; by zero it gives 0."""
    return np.where(b == 0, 0, np.floor_divide(a, np.where(b == 0, 1, b))).astype(a.dtype)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), exact at the ends."""
    return 1.0 / (1.0 + np.exp(-x))


def relu(x: Array) -> Array:
    """max(x, 0); NaN stays NaN."""
    return np.maximum(x, 0)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)) without overflow."""
    return np.logaddexp(x, x.dtype.type(0))


def cast(x: Array, dtype: Any) -> Array:
    """The elements as another type; float to int cuts towards zero.

    Where a float is out of range the nearest whole number is taken, and 0 for NaN; for unsigned
    types that holds of the wider signed type whose low bits they take.
    """
    if x.dtype.kind != "f" or dtype.kind not in "iu":
        return x.astype(dtype)
    middle = np.int32 if dtype.itemsize == 1 or dtype == np.int32 else np.int64
    low, high = np.iinfo(middle).min, np.iinfo(middle).max
    whole = x.astype(middle)
    if x.size and not np.abs(x).max() < -float(low):
        whole = np.where(x >= -float(low), high, np.where(x < low, low, whole))
        whole = np.where(x != x, 0, whole)
    return whole.astype(dtype)


def sum(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The sum over axes, in the elements' own type."""
    return _add.reduce(x, axes, x.dtype, None, keepdims)


def amax(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The largest element over axes; NaN wins."""
    return _maximum.reduce(x, axes, None, None, keepdims)


def argmax(x: Array, axis: int, keepdims: bool) -> Array:
    """The first place of the largest element along an axis: int64."""
    return np.argmax(x, axis, keepdims=keepdims)


def argsort(x: Array, axis: int, descending: bool) -> Array:
    """The order that sorts an axis, equal elements keeping theirs: int64; NaN is the largest."""
    if not descending:
        return np.argsort(x, axis, kind="stable")
    # Sorting the reversed axis and reading it backwards keeps equal elements in order.
    last = x.shape[axis] - 1
    return np.flip(last - np.argsort(np.flip(x, axis), axis, kind="stable"), axis)


def cumsum(x: Array, axis: int) -> Array:
    """Running sums along an axis, in the elements' own type."""
    return np.cumsum(x, axis, x.dtype)


def concatenate(arrays: tuple[Array, ...], axis: int) -> Array:
    """The arrays one after the other along an axis."""
    return np.concatenate(arrays, axis)


def slice(x: Array, starts: Any, stops: Any, steps: Any) -> Array:
    """The elements start, start + step ... below stop, on each axis."""
    return x[tuple(map(_slice, starts, stops, steps))]


def pad(x: Array, low: Any, high: Any, interior: Any) -> Array:
    """Zeros before, after and between the elements of each axis."""
    spread = [(n - 1) * (gap + 1) + 1 if n else 0 for n, gap in zip(x.shape, interior, strict=True)]
    shape = [a + n + b for a, n, b in zip(low, spread, high, strict=True)]
    out = np.zeros(shape, x.dtype)
    at = tuple(_slice(a, a + n, gap + 1) for a, n, gap in zip(low, spread, interior, strict=True))
    out[at] = x
    return out


def iota(shape: tuple[int, ...], axis: int, dtype: Any) -> Array:
    """The index along one axis, at every place."""
    line = np.arange(shape[axis], dtype=dtype)
    return np.broadcast_to(line.reshape([-1 if k == axis else 1 for k in range(len(shape))]), shape)


def check_index(index: Array, size: int, op: str) -> None:
    """Refuse indices outside ``[0, size)``: NumPy would count negative ones from the end."""
    if index.size and (index.min() < 0 or index.max() >= size):
        bad = index[(index < 0) | (index >= size)].ravel()[0]
        raise IndexRangeError(
            f"{op}: index {bad} is outside of an axis of length {size}.\n"
            f"  given: indices from {index.min()} to {index.max()}\n"
            f"  expected: 0 to {size - 1}"
        )


def take(x: Array, index: Array, axis: int) -> Array:
    """Slices of x along an axis, in the places of the index array."""
    check_index(index, x.shape[axis], "take")
    return np.take(x, index, axis)


def take_add(g: Array, index: Array, axis: int, size: int) -> Array:
    """The transpose of take: each slice of g added where it was taken from."""
    check_index(index, size, "take_add")
    return _take_add(g, index, axis, size)


def gather(x: Array, index: Array, axis: int) -> Array:
    """The element of x at the index along one axis, all other indices being equal."""
    check_index(index, x.shape[axis], "gather")
    return np.take_along_axis(x, index, axis)


def scatter_add(g: Array, index: Array, axis: int, size: int) -> Array:
    """The transpose of gather: each element of g added where it was gathered from."""
    check_index(index, size, "scatter_add")
    shape = (*g.shape[:axis], size, *g.shape[axis + 1 :])
    out = np.zeros(shape, g.dtype)
    if index.shape[axis] == 1:
        np.put_along_axis(out, index, g, axis)
        return out
    grid: list[Any] = list(np.indices(index.shape, sparse=True))
    grid[axis] = index
    _add.at(out, tuple(grid), g)
    return out


def random_bits(key: Array, counter: Array, shape: tuple[int, ...]) -> Array:
    """Philox words (see :mod:`chainrule.random`): uint32 of the shape."""
    size = 1
    for length in shape:
        size *= length
    return _random.bits(key, int(counter), size).reshape(shape)


def scan(
    step: Any, carry: list[Array], xs: list[Array], stacked: Any, length: int, reverse: bool
) -> tuple[Array, ...]:
    """The loop ``carry, ys = step(carry, [x[t] for x in xs])`` over t; ys stacked.

    Args:
        step: takes and gives lists of arrays.
        carry: what the first step takes.
        xs: arrays whose first axis is time.
        stacked: (shape, dtype) of one step's part of each y.
        length: the number of steps.
        reverse: whether the last step comes first.
    """
    outs = [np.empty((length, *shape), dtype) for shape, dtype in stacked]
    for t in reversed(range(length)) if reverse else range(length):
        carry, ys = step(carry, [as_array(x[t]) for x in xs])
        for out, y in zip(outs, ys, strict=True):
            out[t] = y
    return (*carry, *outs)
