"""Convolution of each channel by itself over NumPy: shifted images, multiplied and added.

With one input channel a group a matrix product has one row and nothing to gain. Instead each
element of the window multiplies the whole image, shifted. At stride 1 the shift is one number in
the flat padded image; places where a row runs into the next are computed and left out, or hold 0.

Notation: G groups of one channel, m outputs each.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from ._borders_numpy import Array, Ints, Pairs, inside, offsets, padded

# Bytes of one operand that is worked on at once, as measured.
_BLOCK = 1 << 20
# Beyond so many outputs a group a product has rows enough.
_MOST = 4


def fits(groups: int, inputs: int, outputs: int) -> bool:
    """Whether a convolution is done this way."""
    return groups > 1 and inputs == 1 and outputs <= _MOST


def _blocks(x: Array) -> Iterator[slice]:
    """Ranges of images that stay in the cache."""
    count = max(1, _BLOCK // max(x[:1].nbytes, 1))
    for start in range(0, len(x), count):
        yield slice(start, min(start + count, len(x)))


class _Shifts:
    """How the elements of a window meet padded images (n, G, \\*P)."""

    def __init__(
        self,
        size: Ints,
        window: Ints,
        stride: Ints,
        padding: Pairs,
        dilation: Ints,
        finite: bool = True,
    ) -> None:
        self.full = tuple(n + low + high for n, (low, high) in zip(size, padding, strict=True))
        self.counts = tuple(
            (n - gap * (k - 1) - 1) // step + 1
            for n, k, step, gap in zip(self.full, window, stride, dilation, strict=True)
        )
        # Zeros may stand for what is left out only where nothing infinite meets them.
        self.flat = finite and prod(stride) == 1
        self.slices = list(offsets(window, self.counts, stride, dilation))
        self.places: Any = (..., *(slice(n) for n in self.counts))

    def starts(self) -> list[int]:
        """Where each element of the window begins in the flat image."""
        return [
            int(np.ravel_multi_index([one.start for one in at], self.full)) for at in self.slices
        ]

    def views(self, x: Array) -> list[Array]:
        """What each element of the window meets, a view of the padded images."""
        if not self.flat:
            return [x[(..., *at)] for at in self.slices]
        starts = self.starts()
        lines = x.reshape(*x.shape[:2], -1)
        length = lines.shape[2] - max(starts)
        return [lines[:, :, start : start + length] for start in starts]

    def spread(self, g: Array) -> Array:
        """Values at their places, as the views are laid out: zeros where none is."""
        if not self.flat:
            return g
        out: Array = np.zeros((*g.shape[:2], *self.full), g.dtype)
        out[self.places] = g
        lines = out.reshape(*g.shape[:2], -1)
        return lines[:, :, : lines.shape[2] - max(self.starts())]

    def room(self, n: int, groups: int, kind: Any) -> tuple[Array, Array]:
        """Memory laid out as the views are, and the places in it that are results."""
        if not self.flat:
            out = np.empty((n, groups, *self.counts), kind)
            return out, out
        whole = np.empty((n, groups, *self.full), kind)
        lines = whole.reshape(n, groups, -1)
        return lines[:, :, : lines.shape[2] - max(self.starts())], whole[self.places]


def _factors(w: Array, groups: int, rank: int) -> Array:
    """The weight as (elements of the window, m, G, 1 ...): one factor a channel."""
    parts = w.reshape(groups, w.shape[0] // groups, -1).transpose(2, 1, 0)
    return np.ascontiguousarray(parts).reshape(*parts.shape, *(1,) * rank)


def convolution(
    x: Array, w: Array, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Array:
    """Cross-correlation of (N, G, \\*S) with (G m, 1, \\*K): (N, G m, \\*T)."""
    shifts = _Shifts(x.shape[2:], w.shape[2:], stride, padding, dilation)
    more = w.shape[0] // groups
    out = np.empty((len(x), groups, more, *shifts.counts), x.dtype)
    bordered = np.ascontiguousarray(padded(x, padding))
    factors = _factors(w, groups, 1 if shifts.flat else len(stride))
    for part in _blocks(bordered):
        views = shifts.views(bordered[part])
        total, found = shifts.room(len(views[0]), groups, x.dtype)
        term = np.empty(total.shape, x.dtype)
        for way in range(more):
            np.multiply(views[0], factors[0, way], out=total)
            for view, factor in zip(views[1:], factors[1:, way], strict=True):
                np.multiply(view, factor, out=term)
                total += term
            out[part, :, way] = found
    return out.reshape(len(x), groups * more, *shifts.counts)


def convolution_input(
    g: Array,
    w: Array,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    size: Ints,
) -> Array:
    """The transpose of convolution from (N, G m, \\*T) to (N, G, \\*size)."""
    finite = bool(np.isfinite(w).all())
    shifts = _Shifts(size, w.shape[2:], stride, padding, dilation, finite)
    more = w.shape[0] // groups
    out: Array = np.zeros((len(g), groups, *shifts.full), g.dtype)
    factors = _factors(w, groups, 1 if shifts.flat else len(stride))
    values = g.reshape(len(g), groups, more, *shifts.counts)
    for part in _blocks(out):
        views = shifts.views(out[part])
        for way in range(more):
            own = shifts.spread(values[part][:, :, way])
            term = np.empty(own.shape, g.dtype)
            for view, factor in zip(views, factors[:, way], strict=True):
                np.multiply(own, factor, out=term)
                view += term
    cropped: Array = out[(..., *inside(size, padding))]
    return cropped


def convolution_weight(
    x: Array,
    g: Array,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    kernel: Ints,
) -> Array:
    """The transpose of convolution from (N, G m, \\*T) to (G m, 1, \\*kernel)."""
    finite = bool(np.isfinite(x).all())
    shifts = _Shifts(x.shape[2:], kernel, stride, padding, dilation, finite)
    more = g.shape[1] // groups
    out = np.zeros((prod(kernel), more, groups), x.dtype)
    bordered = np.ascontiguousarray(padded(x, padding))
    values = g.reshape(len(g), groups, more, *shifts.counts)
    letters = "nc" + "xyz"[: len(kernel)]
    rule: Any = f"{letters},{letters}->c"
    for part in _blocks(bordered):
        views = shifts.views(bordered[part])
        for way in range(more):
            own = shifts.spread(values[part][:, :, way])
            for total, view in zip(out[:, way], views, strict=True):
                if shifts.flat:
                    total += np.vecdot(view, own).sum(0)
                else:
                    total += np.einsum(rule, view, own)
    return out.transpose(2, 1, 0).reshape(groups * more, 1, *kernel)
