"""The array namespace over jax.numpy; imported only by the xla engine."""

from __future__ import annotations

from builtins import slice as _slice
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ._windows_jax import convolution as convolution
from ._windows_jax import convolution_input as convolution_input
from ._windows_jax import convolution_weight as convolution_weight
from ._windows_jax import max_pool as max_pool
from ._windows_jax import max_pool_index as max_pool_index
from ._windows_jax import max_pool_input as max_pool_input
from ._windows_jax import window_spread as window_spread
from ._windows_jax import window_sum as window_sum

Array = Any

add, subtract, multiply, divide = jnp.add, jnp.subtract, jnp.multiply, jnp.divide
negative, abs, sign, floor, sqrt = jnp.negative, jnp.abs, jnp.sign, jnp.floor, jnp.sqrt
exp, expm1, log, log1p = jnp.exp, jnp.expm1, jnp.log, jnp.log1p
sin, cos, tanh = jnp.sin, jnp.cos, jnp.tanh
maximum, minimum = jnp.maximum, jnp.minimum
equal, not_equal, less, less_equal = jnp.equal, jnp.not_equal, jnp.less, jnp.less_equal
greater, greater_equal = jnp.greater, jnp.greater_equal
logical_and, logical_or, logical_not = jnp.logical_and, jnp.logical_or, jnp.logical_not
right_shift, where = jnp.right_shift, jnp.where
reshape, transpose, broadcast_to, flip = jnp.reshape, jnp.transpose, jnp.broadcast_to, jnp.flip
stack, zeros, as_array = jnp.stack, jnp.zeros, jnp.asarray
erf = jax.scipy.special.erf
# The gradient of a maximum at a tie is ours to say, so JAX never differentiates these.
sigmoid = jax.nn.sigmoid


def matmul(a: Array, b: Array) -> Array:
    """The matrix product at the inputs' own precision."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def power(a: Array, b: Array) -> Array:
    """a to the power b; whole numbers to negative powers are cut towards zero."""
    if a.dtype.kind == "f":
        return jnp.power(a, b)
    found = jnp.power(a, jnp.maximum(b, 0))
    if a.dtype.kind == "u":
        return found
    sign = jnp.where(b % 2 == 0, 1, a)
    return jnp.where(b < 0, jnp.where(jnp.abs(a) == 1, sign, 0), found).astype(a.dtype)


def integer_divide(a: Array, b: Array) -> Array:
    """Whole-number division towards minus infinity; by zero it gives 0."""
    return jnp.where(b == 0, 0, jnp.floor_divide(a, jnp.where(b == 0, 1, b))).astype(a.dtype)


def relu(x: Array) -> Array:
    """max(x, 0); NaN stays NaN."""
    return jnp.maximum(x, 0)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)) without overflow."""
    return jnp.logaddexp(x, jnp.zeros((), x.dtype))


def cast(x: Array, dtype: Any) -> Array:
    """The elements as another type; float to int cuts towards zero (see NumPy's)."""
    if x.dtype.kind == "f" and dtype.kind == "u":
        x = x.astype(jnp.int32 if dtype.itemsize == 1 else jnp.int64)
    return x.astype(dtype)


def sum(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The sum over axes, in the elements' own type."""
    return jnp.sum(x, axis=axes, dtype=x.dtype, keepdims=keepdims)


def amax(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The largest element over axes; NaN wins."""
    return jnp.max(x, axis=axes, keepdims=keepdims)


def argmax(x: Array, axis: int, keepdims: bool) -> Array:
    """The first place of the largest element along an axis: int64."""
    return jnp.argmax(x, axis=axis, keepdims=keepdims).astype(jnp.int64)


def argsort(x: Array, axis: int, descending: bool) -> Array:
    """The order that sorts an axis, equal elements keeping theirs: int64; NaN is the largest."""
    if not descending:
        return jnp.argsort(x, axis, stable=True).astype(jnp.int64)
    last = x.shape[axis] - 1
    order = jnp.argsort(jnp.flip(x, axis), axis, stable=True).astype(jnp.int64)
    return jnp.flip(last - order, axis)


def cumsum(x: Array, axis: int) -> Array:
    """Running sums along an axis, in the elements' own type."""
    return jnp.cumsum(x, axis, dtype=x.dtype)


def concatenate(arrays: tuple[Array, ...], axis: int) -> Array:
    """The arrays one after the other along an axis."""
    return jnp.concatenate(arrays, axis)


def slice(x: Array, starts: Any, stops: Any, steps: Any) -> Array:
    """The elements start, start + step ... below stop, on each axis."""
    return x[tuple(map(_slice, starts, stops, steps))]


def pad(x: Array, low: Any, high: Any, interior: Any) -> Array:
    """Zeros before, after and between the elements of each axis."""
    return lax.pad(x, jnp.zeros((), x.dtype), list(zip(low, high, interior, strict=True)))


def iota(shape: tuple[int, ...], axis: int, dtype: Any) -> Array:
    """The index along one axis, at every place."""
    return lax.broadcasted_iota(dtype, shape, axis)


def take(x: Array, index: Array, axis: int) -> Array:
    """Slices of x along an axis, in the places of the index array."""
    return jnp.take(x, index, axis=axis, mode="clip")


def take_add(g: Array, index: Array, axis: int, size: int) -> Array:
    """The transpose of take: each slice of g added where it was taken from."""
    before, after = g.shape[:axis], g.shape[axis + index.ndim :]
    out = jnp.zeros((*before, size, *after), g.dtype)
    return out.at[(_slice(None),) * axis + (index,)].add(g)


def gather(x: Array, index: Array, axis: int) -> Array:
    """The element of x at the index along one axis, all other indices being equal."""
    return jnp.take_along_axis(x, index, axis, mode="clip")


def scatter_add(g: Array, index: Array, axis: int, size: int) -> Array:
    """The transpose of gather: each element of g added where it was gathered from."""
    out = jnp.zeros((*g.shape[:axis], size, *g.shape[axis + 1 :]), g.dtype)
    grid = list(jnp.indices(index.shape, sparse=True))
    grid[axis] = index
    return out.at[tuple(grid)].add(g)


def random_bits(key: Array, counter: Array, shape: tuple[int, ...]) -> Array:
    """Philox words (see :mod:`chainrule.random`): uint32 of the shape."""
    size = 1
    for length in shape:
        size *= length
    blocks = -(-size // 4)
    number = jnp.arange(blocks, dtype=jnp.uint64) + counter.astype(jnp.uint64)
    c0 = (number & 0xFFFFFFFF).astype(jnp.uint32)
    c1 = (number >> 32).astype(jnp.uint32)
    c2 = c3 = jnp.zeros_like(c0)
    k0, k1 = key[0], key[1]
    for _ in range(10):
        wide0 = c0.astype(jnp.uint64) * 0xD2511F53
        wide1 = c2.astype(jnp.uint64) * 0xCD9E8D57
        high0, low0 = (wide0 >> 32).astype(jnp.uint32), wide0.astype(jnp.uint32)
        high1, low1 = (wide1 >> 32).astype(jnp.uint32), wide1.astype(jnp.uint32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + jnp.uint32(0x9E3779B9), k1 + jnp.uint32(0xBB67AE85)
    return jnp.stack([c0, c1, c2, c3], axis=1).reshape(-1)[:size].reshape(shape)


def scan(
    step: Any, carry: list[Array], xs: list[Array], stacked: Any, length: int, reverse: bool
) -> tuple[Array, ...]:
    """The loop ``carry, ys = step(carry, [x[t] for x in xs])`` over t; ys stacked."""
    last, ys = lax.scan(step, carry, xs, length=length, reverse=reverse)
    return (*last, *ys)
