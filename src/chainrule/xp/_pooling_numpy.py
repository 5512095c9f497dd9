"""Pooling over NumPy: one axis after the other, the last one first.

The largest of a window is the largest of its rows' largest elements. Going from the last axis to
the first, a strict comparison keeps the first of equal elements in row-major order, as PyTorch
does, and one that lets NaN through keeps the last NaN. Sums of windows are taken in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ._borders_numpy import Array, Ints, Pairs, inside, offsets, padded

# Bytes of images that are pooled at once: what lies between then stays in the cache.
_BLOCK = 1 << 18


def _in_blocks(function: Callable[[Array], Array], x: Array) -> Array:
    """A function of images, computed for some of them at a time."""
    count = max(1, _BLOCK // max(x[:1].nbytes, 1))
    if len(x) <= count:
        return function(x)
    first = function(x[:count])
    out = np.empty((len(x), *first.shape[1:]), first.dtype)
    out[:count] = first
    for start in range(count, len(x), count):
        out[start : start + count] = function(x[start : start + count])
    return out


def _counts(lengths: Ints, window: Ints, stride: Ints, dilation: Ints) -> Ints:
    return tuple(
        (n - gap * (k - 1) - 1) // step + 1
        for n, k, step, gap in zip(lengths, window, stride, dilation, strict=True)
    )


def _parts(x: Array, axis: int, k: int, count: int, step: int, gap: int) -> list[Array]:
    """What the elements of a window meet on one spatial axis, at all places."""
    lead = (slice(None),) * (axis + 2)
    return [x[(*lead, slice(i * gap, i * gap + (count - 1) * step + 1, step))] for i in range(k)]


def _fold(x: Array, combine: Any, window: Ints, stride: Ints, dilation: Ints) -> Array:
    """Combine the elements of windows of a padded image, axis by axis."""
    counts = _counts(x.shape[2:], window, stride, dilation)
    for axis in reversed(range(len(window))):
        parts = _parts(x, axis, window[axis], counts[axis], stride[axis], dilation[axis])
        if len(parts) == 1:
            x = parts[0]
            continue
        x = combine(parts[0], parts[1])
        for part in parts[2:]:
            combine(x, part, out=x)
    return x


def _whole(x: Array, window: Ints, padding: Pairs) -> bool:
    """Whether one window covers the image."""
    return window == x.shape[2:] and not any(amount for pair in padding for amount in pair)


def max_pool(x: Array, window: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Array:
    """The largest element of each window; NaN wins."""
    if _whole(x, window, padding):
        return x.max(tuple(range(2, x.ndim)), keepdims=True)

    def pooled(part: Array) -> Array:
        return _fold(padded(part, padding, -np.inf), np.maximum, window, stride, dilation)

    found = _in_blocks(pooled, x)
    return found.copy() if np.may_share_memory(found, x) else found


def max_pool_index(x: Array, window: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Array:
    """Where in the flat image the largest element of each window stands: int64."""
    return _in_blocks(lambda part: _index(part, window, stride, padding, dilation), x)


def _index(x: Array, window: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Array:
    size = x.shape[2:]
    best = padded(x, padding, -np.inf)
    counts = _counts(best.shape[2:], window, stride, dilation)
    spoiled = bool(np.isnan(x.max(initial=-np.inf)))
    # An image's own -inf is larger than the border's, which it equals.
    careful = best is not x and bool(spoiled or x.min(initial=np.inf) == -np.inf)
    own = padded(np.ones((1, 1, *size), bool), padding, False) if careful else None
    code: Array = None
    kind = np.dtype(np.uint8 if prod(window) <= 256 else np.int32)
    for axis in reversed(range(len(window))):
        at = (axis, window[axis], counts[axis], stride[axis], dilation[axis])
        codes = None if code is None else _parts(code, *at)
        ours = None if own is None else _parts(own, *at)
        width = prod(window[axis + 1 :])
        best, code = _best(_parts(best, *at), codes, ours, width, spoiled, kind)
        own = None if ours is None else _any(ours)
    table = np.array([_number(k, window, dilation, size) for k in range(prod(window))], np.int64)
    found = np.take(table, code)
    found += _starts(counts, stride, padding, size)
    return np.clip(found, 0, max(prod(size) - 1, 0), out=found) if careful else found


def _best(
    values: list[Array],
    codes: list[Array] | None,
    ours: list[Array] | None,
    width: int,
    spoiled: bool,
    kind: Any,
) -> tuple[Array, Array]:
    """The largest over one axis, and its number in the window.

    Args:
        values: what the elements of the window on this axis meet.
        codes: their numbers in the part of the window behind this axis; None for 0.
        ours: whether they lie on the image; None where it does not matter.
        width: how far the number moves with each element.
        spoiled: whether there is a NaN.
        kind: the dtype of numbers.
    """
    best = values[0].copy()
    code = np.zeros(best.shape, kind) if codes is None else codes[0].copy()
    held = None if ours is None else np.broadcast_to(ours[0], best.shape).copy()
    for i in range(1, len(values)):
        better = values[i] > best
        if spoiled:
            better |= values[i] != values[i]
        if ours is not None and held is not None:
            better |= ours[i] & ~held
            better &= ours[i]
            held |= ours[i]
        # A later element's number is larger than any before: the choice is a maximum.
        mask = np.negative(better.view(np.uint8) if kind.itemsize == 1 else better.astype(kind))
        mask &= kind.type(i * width) if codes is None else codes[i] + kind.type(i * width)
        np.maximum(code, mask, out=code)
        np.maximum(best, values[i], out=best)
    return best, code


def _number(code: int, window: Ints, dilation: Ints, size: Ints) -> int:
    """How far an element of the window, by its number, is from the first in the flat image."""
    place = np.unravel_index(code, window)
    number = 0
    for one, gap, length in zip(place, dilation, size, strict=True):
        number = number * length + int(one) * gap
    return number


def _any(parts: list[Array]) -> Array:
    total = parts[0].copy()
    for part in parts[1:]:
        total |= part
    return total


def _starts(counts: Ints, stride: Ints, padding: Pairs, size: Ints) -> Array:
    """The number of the first element of the window at each place: int64."""
    total: Array = np.zeros(counts, np.int64)
    for axis, (n, step, (low, _)) in enumerate(zip(counts, stride, padding, strict=True)):
        line = (np.arange(n) * step - low) * prod(size[axis + 1 :])
        total += line.reshape([-1 if k == axis else 1 for k in range(len(counts))])
    return total


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
    lead, count, length = prod(g.shape[:2]), prod(g.shape[2:]), prod(size)
    flat = (index.reshape(lead, count) + np.arange(lead)[:, None] * length).reshape(-1)
    disjoint = all(s >= d * (k - 1) + 1 for k, s, d in zip(window, stride, dilation, strict=True))
    if disjoint:
        out: Array = np.zeros(lead * length, g.dtype)
        out[flat] = g.reshape(-1)
    else:
        out = np.bincount(flat, g.reshape(-1), lead * length).astype(g.dtype)
    return out.reshape(*g.shape[:2], *size)


def window_sum(x: Array, window: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Array:
    """The sum of each window."""
    if _whole(x, window, padding):
        return x.sum(tuple(range(2, x.ndim)), keepdims=True)

    def pooled(part: Array) -> Array:
        return _fold(padded(part, padding), np.add, window, stride, dilation)

    found = _in_blocks(pooled, x)
    return found.copy() if np.may_share_memory(found, x) else found


def window_spread(
    g: Array, window: Ints, stride: Ints, padding: Pairs, dilation: Ints, size: Ints
) -> Array:
    """The transpose of window_sum: each value added to all elements of its window."""
    lengths = [n + low + high for n, (low, high) in zip(size, padding, strict=True)]
    out: Array = np.zeros((*g.shape[:2], *lengths), g.dtype)
    disjoint = all(s >= d * (k - 1) + 1 for k, s, d in zip(window, stride, dilation, strict=True))
    for at in offsets(window, g.shape[2:], stride, dilation):
        if disjoint:
            out[(..., *at)] = g
        else:
            out[(..., *at)] += g
    cropped: Array = out[(..., *inside(size, padding))]
    return cropped
