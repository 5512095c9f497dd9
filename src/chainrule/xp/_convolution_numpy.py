"""Convolution over NumPy: windows laid out side by side, and few large matrix products.

The windows of some images at a time are copied into a matrix (elements of the window, places), so
that a convolution is one product with the weight. Where the window has several axes and channels
are not few, the copy spans all axes but the first, and one product is made for each element of the
first: the places of neighbouring elements are then the same matrix, read from another column on.
That keeps copies to a K-th of what they were, for which the products' results are added up.

Notation: N images, G groups of C channels and O outputs, the window's first axis (outer) and its
others (inner); a step of the first axis is stored by its phase, so that a stride leaves no gaps.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from . import _depthwise_numpy as depthwise
from ._borders_numpy import Array, Ints, Pairs, inside, offsets, padded

# Bytes of windows that are laid out at once, whatever the number of images.
_WORKSPACE = 1 << 20


class _Layout:
    """How the windows of a convolution are laid out: lengths, and which images at a time."""

    def __init__(
        self,
        size: Ints,
        window: Ints,
        stride: Ints,
        padding: Pairs,
        dilation: Ints,
        channels: Ints,
        itemsize: int,
    ) -> None:
        self.groups, self.inputs, self.outputs = channels
        self.window, self.stride, self.dilation = window, stride, dilation
        self.padding, self.size = padding, size
        lengths = [n + low + high for n, (low, high) in zip(size, padding, strict=True)]
        self.counts = tuple(
            (n - gap * (k - 1) - 1) // step + 1
            for n, k, step, gap in zip(lengths, window, stride, dilation, strict=True)
        )
        self.outer = window[0] if self._splits() else 1
        first = 1 if self.outer > 1 else 0
        self.inner = window[first:]
        self.depth = self.inputs * prod(self.inner)
        # The first axis: phases of the stride, and steps of each.
        self.phases = stride[0] if first else 1
        self.steps = -(-lengths[0] // self.phases) if first else 1
        self.first = self.counts[0] if first else 1
        self.rest = self.counts[first:]
        self.first_length = self.steps * self.phases if first else lengths[0]
        self.across = tuple(lengths[first:])
        self.bytes = itemsize * self.groups * self.depth * self.phases * self.steps
        self.bytes *= prod(self.rest)

    def _splits(self) -> bool:
        """Whether one product for each element of the first axis saves more copies than it adds."""
        first, inner = self.window[0], self.inputs * prod(self.window[1:])
        return len(self.window) > 1 and inner * (first - 1) > self.outputs * first

    def chunks(self, images: int) -> Iterator[slice]:
        """Ranges of images whose windows fit the workspace."""
        count = max(1, min(images, _WORKSPACE // max(self.bytes, 1)))
        for start in range(0, images, count):
            yield slice(start, min(start + count, images))

    def border(self, x: Array) -> Array:
        """The images with their border, the first axis filled up to whole strides."""
        more = self.first_length - (self.size[0] + sum(self.padding[0]))
        (low, high), *others = self.padding
        return padded(x, ((low, high + more), *others))

    def columns(self, x: Array) -> Array:
        """The windows of bordered images: (G, depth, phases, steps · n · places), a copy."""
        n = len(x)
        parts = x.reshape(n, self.groups, self.inputs, *x.shape[2:])
        strides, at = parts.strides, len(self.window) - len(self.inner)
        moves = strides[3 + at :]
        shape = (
            *(self.groups, self.inputs, *self.inner),
            *(self.phases, self.steps, n, *self.rest),
        )
        first = (strides[3], strides[3] * self.phases) if at else (0, 0)
        steps = (
            *(strides[1], strides[2]),
            *(a * gap for a, gap in zip(moves, self.dilation[at:], strict=True)),
            *(*first, strides[0]),
            *(a * step for a, step in zip(moves, self.stride[at:], strict=True)),
        )
        view = np.lib.stride_tricks.as_strided(parts, shape, steps, writeable=False)
        copied = np.ascontiguousarray(view)
        return copied.reshape(self.groups, self.depth, self.phases, -1)

    def meets(self, n: int) -> Iterator[tuple[int, slice]]:
        """For each element of the first axis: the phase and the columns that its places have."""
        width = n * prod(self.rest)
        for k in range(self.outer):
            start, phase = divmod(k * self.dilation[0], self.phases) if self.outer > 1 else (0, 0)
            yield phase, slice(start * width, (start + self.first) * width)

    def moved(self) -> Iterator[tuple[slice, ...]]:
        """What each element of the inner axes meets, on those axes."""
        skipped = len(self.window) - len(self.inner)
        return offsets(self.inner, self.rest, self.stride[skipped:], self.dilation[skipped:])

    def place_images(self, out: Array, total: Array) -> None:
        """Write bordered images (channels, phases, steps, n, \\*inner axes) to their places."""
        turned = total.transpose(3, 0, 1, 2, *range(4, total.ndim))
        if self.outer == 1:
            out[...] = turned[:, :, 0, 0][(..., *inside(self.size, self.padding))]
            return
        rest = inside(self.size[1:], self.padding[1:])
        low = self.padding[0][0]
        for phase in range(self.phases):
            # The first step of this phase that lies on the image, and where it lies.
            start = -(-(low - phase) // self.phases)
            own = out[:, :, start * self.phases + phase - low :: self.phases]
            steps = slice(start, start + own.shape[2])
            own[...] = turned[(slice(None), slice(None), phase, steps, *rest)]

    def weight(self, w: Array) -> Array:
        """The weight as a matrix for each element of the first axis: (outer, G, O, depth)."""
        parts = w.reshape(self.groups, self.outputs, self.inputs, self.outer, -1)
        return np.ascontiguousarray(parts.transpose(3, 0, 1, 2, 4)).reshape(
            self.outer, self.groups, self.outputs, self.depth
        )

    def values(self, g: Array) -> Array:
        """Values of some images, as the products make and take them: (G, O, first · n · places)."""
        n = len(g)
        parts = g.reshape(n, self.groups, self.outputs, self.first, -1)
        return np.ascontiguousarray(parts.transpose(1, 2, 3, 0, 4)).reshape(
            self.groups, self.outputs, -1
        )

    def place(self, out: Array, rows: Array) -> None:
        """The reverse of `values`, into the images' own places."""
        n = len(out)
        parts = rows.reshape(self.groups, self.outputs, self.first, n, -1)
        out.reshape(n, self.groups, self.outputs, self.first, -1)[...] = parts.transpose(
            3, 0, 1, 2, 4
        )


def _layout(x: Ints, w: Ints, g: int, at: Any, groups: int, itemsize: int) -> _Layout:
    stride, padding, dilation = at
    channels = (groups, w[1], g // groups)
    return _Layout(x, w[2:], stride, padding, dilation, channels, itemsize)


def convolution(
    x: Array, w: Array, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Array:
    """Cross-correlation of (N, C, \\*S) with (O, C / groups, \\*K): (N, O, \\*T)."""
    at = (stride, padding, dilation)
    if depthwise.fits(groups, w.shape[1], w.shape[0] // groups):
        return depthwise.convolution(x, w, *at, groups)
    lay = _layout(x.shape[2:], w.shape, w.shape[0], at, groups, x.itemsize)
    out = np.empty((len(x), w.shape[0], *lay.counts), x.dtype)
    rows, bordered = lay.weight(w), lay.border(x)
    for part in lay.chunks(len(x)):
        n = part.stop - part.start
        columns = lay.columns(bordered[part])
        total = None
        for row, (phase, own) in zip(rows, lay.meets(n), strict=True):
            if total is None:
                total = np.matmul(row, columns[:, :, phase, own])
                term = np.empty_like(total) if lay.outer > 1 else total
            else:
                np.matmul(row, columns[:, :, phase, own], out=term)
                total += term
        lay.place(out[part], total)
    return out


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
    at = (stride, padding, dilation)
    if depthwise.fits(groups, w.shape[1], w.shape[0] // groups):
        return depthwise.convolution_input(g, w, *at, groups, size)
    lay = _layout(size, w.shape, w.shape[0], at, groups, g.itemsize)
    channels, rows = w.shape[1] * groups, lay.weight(w).swapaxes(2, 3)
    out = np.empty((len(g), channels, *size), g.dtype)
    for part in lay.chunks(len(g)):
        n = part.stop - part.start
        columns = _columns_of(rows, lay.values(g[part]), lay, n)
        terms = columns.reshape(channels, prod(lay.inner), lay.phases, lay.steps, n, *lay.rest)
        total: Array = np.zeros((channels, *terms.shape[2:5], *lay.across), g.dtype)
        for k, where in enumerate(lay.moved()):
            total[(..., *where)] += terms[:, k]
        lay.place_images(out[part], total)
    return out


def _columns_of(rows: Array, values: Array, lay: _Layout, n: int) -> Array:
    """The transpose of the products: what values give to each element of their windows."""
    if lay.outer == 1:
        return np.matmul(rows[0], values)
    width = lay.steps * n * prod(lay.rest)
    columns: Array = np.zeros((lay.groups, lay.depth, lay.phases, width), values.dtype)
    term = np.empty((lay.groups, lay.depth, values.shape[2]), values.dtype)
    for row, (phase, own) in zip(rows, lay.meets(n), strict=True):
        np.matmul(row, values, out=term)
        columns[:, :, phase, own] += term
    return columns


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
    at = (stride, padding, dilation)
    if depthwise.fits(groups, x.shape[1] // groups, g.shape[1] // groups):
        return depthwise.convolution_weight(x, g, *at, groups, kernel)
    shape = (g.shape[1], x.shape[1] // groups, *kernel)
    lay = _layout(x.shape[2:], shape, g.shape[1], at, groups, x.itemsize)
    out = np.zeros((lay.outer, groups, lay.outputs, lay.depth), x.dtype)
    bordered = lay.border(x)
    for part in lay.chunks(len(x)):
        n = part.stop - part.start
        columns, values = lay.columns(bordered[part]), lay.values(g[part])
        for total, (phase, own) in zip(out, lay.meets(n), strict=True):
            total += np.matmul(values, columns[:, :, phase, own].swapaxes(1, 2))
    parts = out.reshape(lay.outer, *out.shape[1:3], lay.inputs, -1).transpose(1, 2, 3, 0, 4)
    return parts.reshape(shape)
