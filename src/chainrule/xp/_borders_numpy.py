"""Borders around images, and what a window's elements meet, over NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

Array = Any
Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def padded(x: Array, padding: Pairs, fill: Any = 0) -> Array:
    """An image with a border; itself where there is none."""
    if not any(low or high for low, high in padding):
        return x
    sizes = [n + low + high for n, (low, high) in zip(x.shape[2:], padding, strict=True)]
    out: Array = np.full((*x.shape[:2], *sizes), fill, x.dtype)
    out[(..., *inside(x.shape[2:], padding))] = x
    return out


def inside(size: Ints, padding: Pairs) -> tuple[slice, ...]:
    """Where the image stands in its border."""
    return tuple(slice(low, low + n) for n, (low, _) in zip(size, padding, strict=True))


def offsets(
    window: Ints, counts: Ints, stride: Ints, dilation: Ints
) -> Iterator[tuple[slice, ...]]:
    """For each element of the window, what it meets at all places: slices of the padded image."""
    for offset in product(*map(range, window)):
        yield tuple(
            slice(k * gap, k * gap + (n - 1) * step + 1, step)
            for k, n, step, gap in zip(offset, counts, stride, dilation, strict=True)
        )
