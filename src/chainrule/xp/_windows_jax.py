"""Convolution and pooling over JAX; transposes are those that JAX derives of linear functions."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = Any
Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def convolution(
    x: Array, w: Array, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Array:
    """Cross-correlation of (N, C, \\*S) with (O, C / groups, \\*K): (N, O, \\*T)."""
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=stride,
        padding=padding,
        rhs_dilation=dilation,
        feature_group_count=groups,
        precision=lax.Precision.HIGHEST,
    )


def _transposed(linear: Any, shape: Ints, g: Array) -> Array:
    (result,) = jax.linear_transpose(linear, jax.ShapeDtypeStruct(shape, g.dtype))(g)
    return result


def convolution_input(
    g: Array,
    w: Array,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    size: Ints,
) -> Array:
    """The transpose of convolution from (N, O, \\*T) to (N, C, \\*size)."""
    shape = (g.shape[0], w.shape[1] * groups, *size)
    return _transposed(lambda x: convolution(x, w, stride, padding, dilation, groups), shape, g)


def convolution_weight(
    x: Array,
    g: Array,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    kernel: Ints,
) -> Array:
    """The transpose of convolution from (N, O, \\*T) to (O, C / groups, \\*kernel)."""
    shape = (g.shape[1], x.shape[1] // groups, *kernel)
    return _transposed(lambda w: convolution(x, w, stride, padding, dilation, groups), shape, g)


def _fold(
    x: Array, start: Any, how: Any, window: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> Array:
    return lax.reduce_window(
        x,
        np.asarray(start, x.dtype),  # a literal, by which JAX knows a sum
        how,
        (1, 1, *window),
        (1, 1, *stride),
        ((0, 0), (0, 0), *padding),
        window_dilation=(1, 1, *dilation),
    )


def max_pool(x: Array, window: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Array:
    """The largest element of each window; NaN wins."""
    return _fold(x, -jnp.inf, lax.max, window, stride, padding, dilation)


def max_pool_index(x: Array, window: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Array:
    """Where in the flat image the largest element of each window stands: int64."""
    size, around = x.shape[2:], ((0, 0), (0, 0), *padding)
    bordered = [(low, high, 0) for low, high in around]
    padded = lax.pad(x, jnp.asarray(-jnp.inf, x.dtype), bordered)
    number = jnp.arange(prod(size), dtype=jnp.int64).reshape((1, 1, *size))
    numbers = lax.pad(number, jnp.asarray(-1, jnp.int64), bordered)
    best: Any = None
    found: Any = None
    for offset in product(*map(range, window)):
        at = tuple(
            slice(k * gap, n - gap * (length - 1 - k), step)
            for k, n, step, gap, length in zip(
                offset, padded.shape[2:], stride, dilation, window, strict=True
            )
        )
        values, here = padded[(..., *at)], numbers[(..., *at)]
        if best is None:
            best, found = values, jnp.broadcast_to(here, values.shape)
            continue
        # On the padding nothing is better; a first element there gives way to any.
        better = ((values > best) | (values != values) | (found < 0)) & (here >= 0)
        best, found = jnp.where(better, values, best), jnp.where(better, here, found)
    return found


def max_pool_input(
    g: Array,
    index: Array,
    window: Ints,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    size: Ints,
) -> Array:
    """Each value added to the element of the flat image that its place says: (N, C, \\*size)."""
    lead, count = prod(g.shape[:2]), prod(g.shape[2:])
    rows = jnp.arange(lead)[:, None]
    out = jnp.zeros((lead, prod(size)), g.dtype)
    flat = out.at[rows, index.reshape(lead, count)].add(g.reshape(lead, count))
    return flat.reshape((*g.shape[:2], *size))


def window_sum(x: Array, window: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Array:
    """The sum of each window."""
    return _fold(x, 0, lax.add, window, stride, padding, dilation)


def window_spread(
    g: Array, window: Ints, stride: Ints, padding: Pairs, dilation: Ints, size: Ints
) -> Array:
    """The transpose of window_sum: each value added to all elements of its window."""
    shape = (*g.shape[:2], *size)
    return _transposed(lambda x: window_sum(x, window, stride, padding, dilation), shape, g)
