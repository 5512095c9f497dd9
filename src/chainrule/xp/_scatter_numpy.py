"""Slices added up at the places of an index, over NumPy."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

Array = Any
# Elements; below it NumPy's own, element by element, is sooner done.
_SMALL = 4096
# Beyond so many slices for one place they are added up in order of places instead.
_ROUNDS = 16


def take_add(g: Array, index: Array, axis: int, size: int) -> Array:
    """The transpose of take: each slice of g added where it was taken from, in their order."""
    before, after = g.shape[:axis], g.shape[axis + index.ndim :]
    shape = (*before, size, *after)
    if g.size <= _SMALL:
        out = np.zeros(shape, g.dtype)
        add: Any = np.add
        add.at(out, (slice(None),) * axis + (index,), g)
        return out
    places = index.reshape(-1)
    rows = g.reshape(prod(before), places.size, prod(after))
    return _added(rows, places, size).reshape(shape)


def _added(rows: Array, places: Array, size: int) -> Array:
    """Rows (lead, n, tail) added up into (lead, size, tail)."""
    out = np.zeros((rows.shape[0], size, rows.shape[2]), rows.dtype)
    order = np.argsort(places, kind="stable")
    sorted_places = places[order]
    starts = np.flatnonzero(np.diff(sorted_places, prepend=sorted_places[0] - 1))
    counts = np.diff(starts, append=places.size)
    most = int(counts.max())
    if most > _ROUNDS:
        add: Any = np.add
        out[:, sorted_places[starts]] = add.reduceat(rows[:, order], starts, axis=1)
        return out
    # One round for each place's first slice, one for its second, and so on: none meets another.
    for number in range(most):
        own = order[starts[counts > number] + number]
        if number:
            out[:, places[own]] += rows[:, own]
        else:
            out[:, places[own]] = rows[:, own]
    return out
