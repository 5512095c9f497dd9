"""Convolution and pooling over NumPy: windows as strided views, sums as matrix products."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np

Array = Any
Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
# Bytes of windows that are laid out side by side at once, whatever the number of images.
_WORKSPACE = 1 << 21


def _padded(x: Array, padding: Pairs, fill: Any = 0) -> Array:
    """An image with a border; itself where there is none."""
    if not any(low or high for low, high in padding):
        return x
    sizes = [n + low + high for n, (low, high) in zip(x.shape[2:], padding, strict=True)]
    out: Array = np.full((*x.shape[:2], *sizes), fill, x.dtype)
    out[(..., *_inside(x.shape[2:], padding))] = x
    return out


def _inside(size: Ints, padding: Pairs) -> tuple[slice, ...]:
    return tuple(slice(low, low + n) for n, (low, _) in zip(size, padding, strict=True))


def _views(x: Array, window: Ints, stride: Ints, dilation: Ints) -> Array:
    """All windows of a padded image without copying: (N, C, \\*K, \\*T)."""
    steps = x.strides[2:]
    counts = tuple(
        (n - gap * (k - 1) - 1) // step + 1
        for n, k, step, gap in zip(x.shape[2:], window, stride, dilation, strict=True)
    )
    strides = [
        *x.strides[:2],
        *(a * b for a, b in zip(steps, dilation, strict=True)),
        *(a * b for a, b in zip(steps, stride, strict=True)),
    ]
    shape = (*x.shape[:2], *window, *counts)
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)


def _offsets(window: Ints, counts: Ints, stride: Ints, dilation: Ints) -> Any:
    """For each element of the window, what it meets at all places: slices of the padded image."""
    for offset in product(*map(range, window)):
        yield tuple(
            slice(k * gap, k * gap + (n - 1) * step + 1, step)
            for k, n, step, gap in zip(offset, counts, stride, dilation, strict=True)
        )


def _chunks(images: int, bytes_each: int) -> Any:
    """Ranges of images whose windows fit the workspace."""
    count = max(1, min(images, _WORKSPACE // max(bytes_each, 1)))
    for start in range(0, images, count):
        yield slice(start, min(start + count, images))


def convolution(
    x: Array, w: Array, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Array:
    """Cross-correlation of (N, C, \\*S) with (O, C / groups, \\*K): (N, O, \\*T)."""
    images, channels = x.shape[:2]
    outputs, window = w.shape[0], w.shape[2:]
    views = _views(_padded(x, padding), window, stride, dilation)
    counts = views.shape[2 + len(window) :]
    depth, places = w[0].size, prod(counts)
    rows = w.reshape(groups, outputs // groups, depth)
    out = np.empty((images, groups, outputs // groups, places), x.dtype)
    for part in _chunks(images, channels * prod(window) * places * x.itemsize):
        columns = views[part].reshape(-1, groups, depth, places)
        np.matmul(rows, columns, out=out[part])
    return out.reshape(images, outputs, *counts)


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
    images, outputs, counts, window = g.shape[0], g.shape[1], g.shape[2:], w.shape[2:]
    channels, places = w.shape[1] * groups, prod(counts)
    rows = w.reshape(groups, outputs // groups, -1).swapaxes(1, 2)
    values = g.reshape(images, groups, outputs // groups, places)
    padded = [n + low + high for n, (low, high) in zip(size, padding, strict=True)]
    out: Array = np.zeros((images, channels, *padded), g.dtype)
    for part in _chunks(images, channels * prod(window) * places * g.itemsize):
        columns = np.matmul(rows, values[part])
        terms = columns.reshape(len(columns), channels, prod(window), *counts)
        target = out[part]
        for k, at in enumerate(_offsets(window, counts, stride, dilation)):
            target[(..., *at)] += terms[:, :, k]
    return out[(..., *_inside(size, padding))]


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
    images, channels = x.shape[:2]
    outputs, places = g.shape[1], prod(g.shape[2:])
    depth = channels // groups * prod(kernel)
    views = _views(_padded(x, padding), kernel, stride, dilation)
    values = g.reshape(images, groups, outputs // groups, places)
    out = np.zeros((groups, outputs // groups, depth), x.dtype)
    for part in _chunks(images, channels * prod(kernel) * places * x.itemsize):
        columns = views[part].reshape(-1, groups, depth, places)
        out += np.matmul(values[part], columns.swapaxes(2, 3)).sum(0)
    return out.reshape(outputs, channels // groups, *kernel)


def max_pool(x: Array, window: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Array:
    """The largest element of each window; NaN wins."""
    padded = _padded(x, padding, -np.inf)
    counts = _views(padded, window, stride, dilation).shape[2 + len(window) :]
    slices = _offsets(window, counts, stride, dilation)
    out = padded[(..., *next(slices))].copy()
    for at in slices:
        np.maximum(out, padded[(..., *at)], out=out)
    return out


def max_pool_index(x: Array, window: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Array:
    """Where in the flat image the largest element of each window stands: int64.

    Of equal elements it is the first; of several NaN the last.
    """
    padded = _padded(x, padding, -np.inf)
    counts = _views(padded, window, stride, dilation).shape[2 + len(window) :]
    best = max_pool(x, window, stride, padding, dilation)
    slices = list(_offsets(window, counts, stride, dilation))
    codes = np.zeros(best.shape, np.uint8 if len(slices) <= 256 else np.int64)
    # Where -inf is the largest, the border must not be taken for it.
    image = None
    if padded is not x and (best == -np.inf).any():
        image = _padded(np.ones((1, 1, *x.shape[2:]), bool), padding, False)
    for k in reversed(range(len(slices))):
        same = padded[(..., *slices[k])] == best
        if image is not None:
            same &= image[(..., *slices[k])]
        np.copyto(codes, k, where=same)
    if np.isnan(best.min(initial=0)):
        for k, at in enumerate(slices):
            np.copyto(codes, k, where=np.isnan(padded[(..., *at)]))
    size = x.shape[2:]
    table = [_flat(offset, dilation, size) for offset in product(*map(range, window))]
    found = np.take(np.array(table, np.int64), codes)
    found += _starts(counts, stride, padding, size)
    # A window that lies on the border alone has no place: any will do for its -inf.
    return found if image is None else np.clip(found, 0, prod(size) - 1, out=found)


def _flat(place: Ints, step: Ints, size: Ints) -> int:
    """The number in row-major order of a place, in an image of a size."""
    number = 0
    for one, gap, length in zip(place, step, size, strict=True):
        number = number * length + one * gap
    return number


def _starts(counts: Ints, stride: Ints, padding: Pairs, size: Ints) -> Array:
    """The number of the first element of the window at each place."""
    total = np.zeros(counts, np.int64)
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
    flat = index.reshape(lead, count) + np.arange(lead)[:, None] * length
    disjoint = all(s >= d * (k - 1) + 1 for k, s, d in zip(window, stride, dilation, strict=True))
    if disjoint:
        out = np.zeros(lead * length, g.dtype)
        out[flat.reshape(-1)] = g.reshape(-1)
    else:
        out = np.bincount(flat.reshape(-1), g.reshape(-1), lead * length).astype(g.dtype)
    return out.reshape(*g.shape[:2], *size)


def window_sum(x: Array, window: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Array:
    """The sum of each window."""
    padded = _padded(x, padding)
    counts = _views(padded, window, stride, dilation).shape[2 + len(window) :]
    slices = _offsets(window, counts, stride, dilation)
    out = padded[(..., *next(slices))].copy()
    for at in slices:
        out += padded[(..., *at)]
    return out


def window_spread(
    g: Array, window: Ints, stride: Ints, padding: Pairs, dilation: Ints, size: Ints
) -> Array:
    """The transpose of window_sum: each value added to all elements of its window."""
    padded = [n + low + high for n, (low, high) in zip(size, padding, strict=True)]
    out: Array = np.zeros((*g.shape[:2], *padded), g.dtype)
    for at in _offsets(window, g.shape[2:], stride, dilation):
        out[(..., *at)] += g
    return out[(..., *_inside(size, padding))]
