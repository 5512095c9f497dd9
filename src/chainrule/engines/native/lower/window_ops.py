"""Convolution and pooling as ops on matrices of rows, which the engine's kernels compute.

An image (N, C, *S) is the matrix [N S, C] here: the channels of a place are neighbours. So
elementwise ops and sums over all but the channels are those of matrices. Weights are packed as
[outputs / panel][window][channels of a group][panel].
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from ....dtypes import int64
from ....graph.node import Aval, Op, make_aval
from ..kernels.channels import code_type
from ..kernels.windows import Windows

Array = Any


# -- shapes --------------------------------------------------------------------------------------
def _convolved(x: Aval, w: Aval, *, at: Windows, groups: int) -> Aval:
    assert x.shape[0] == at.images * at.rows, (x, at)
    return make_aval((at.images * at.outputs, w.shape[0] * w.shape[-1]), x.dtype)


def _weights(x: Aval, g: Aval, *, at: Windows, groups: int, parts: int) -> Aval:
    assert g.shape[0] == at.images * at.outputs, (g, at)
    return make_aval((parts, *at.window, x.shape[1] // groups, g.shape[1]), x.dtype)


def _pooled(x: Aval, *, at: Windows, what: str) -> Aval:
    kind = {"code": code_type(at), "place": int64}.get(what, x.dtype)
    return make_aval((at.images * at.outputs, x.shape[1]), kind)


def _pooled_convolution(
    x: Aval, w: Aval, *, at: Windows, pool: Windows, groups: int, what: str
) -> Aval:
    return _pooled(_convolved(x, w, at=at, groups=groups), at=pool, what=what)


def _spread(g: Aval, *codes: Aval, at: Windows) -> Aval:
    assert g.shape[0] == at.images * at.outputs, (g, at)
    return make_aval((at.images * at.rows, g.shape[1]), g.dtype)


# -- meanings, over NumPy ------------------------------------------------------------------------
def _slots(at: Windows) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The elements of an image that are in its frame, and where they are there."""
    found = [at.inside(axis) for axis in range(3)]
    image = tuple(slice(first, first + count) for first, count, _ in found)
    frame = tuple(
        slice(begin, begin + max(0, (count - 1) * gap + 1), gap) if count else slice(0, 0)
        for (_, count, begin), gap in zip(found, at.spread, strict=True)
    )
    return image, frame


def _frames(x: Array, at: Windows, fill: float = 0.0) -> Array:
    image, frame = _slots(at)
    made = np.full((at.images, *at.frame, x.shape[1]), fill, x.dtype)
    made[(slice(None), *frame)] = x.reshape(at.images, *at.size, x.shape[1])[(slice(None), *image)]
    return made


def _taps(at: Windows) -> Any:
    for k in product(*map(range, at.window)):
        yield (
            slice(None),
            *(
                slice(a * d, a * d + (t - 1) * s + 1, s)
                for a, d, t, s in zip(k, at.dilation, at.places, at.stride, strict=True)
            ),
        )


def _convolve(xp: Any, x: Array, w: Array, *, at: Windows, groups: int) -> Array:
    frames = _frames(x, at)
    outputs = w.shape[0] * w.shape[-1]
    packed = np.moveaxis(w, 0, -2).reshape(at.taps, -1, groups, outputs // groups)
    total = np.zeros((at.images * at.outputs, groups, outputs // groups), x.dtype)
    for tap, each in zip(_taps(at), packed, strict=True):
        rows = frames[tap].reshape(at.images * at.outputs, groups, -1)
        total += np.einsum("rgc,cgo->rgo", rows, each)
    return total.reshape(-1, outputs)


def _weigh(xp: Any, x: Array, g: Array, *, at: Windows, groups: int, parts: int) -> Array:
    frames = _frames(x, at)
    values = g.reshape(at.images, at.outputs, groups, -1)
    made = np.zeros((parts, at.taps, x.shape[1] // groups, g.shape[1]), x.dtype)
    for part in range(parts):
        images = slice(part * at.images // parts, (part + 1) * at.images // parts)
        for number, tap in enumerate(_taps(at)):
            rows = frames[images][tap].reshape(-1, at.outputs, groups, x.shape[1] // groups)
            sums = np.einsum("npgc,npgo->cgo", rows, values[images])
            made[part, number] = sums.reshape(made.shape[2:])
    return made.reshape(parts, *at.window, *made.shape[2:])


def _pool(xp: Any, x: Array, *, at: Windows, what: str) -> Array:
    frames = _frames(x, at, 0.0 if what == "sum" else -np.inf)
    terms = np.stack([frames[tap] for tap in _taps(at)])
    if what == "sum":
        return terms.sum(0, dtype=x.dtype).reshape(-1, x.shape[1])
    best, code = terms[0], np.zeros(terms[0].shape, np.int64)
    for number, term in enumerate(terms[1:], 1):
        better = (term > best) | np.isnan(term)
        best, code = np.where(better, term, best), np.where(better, number, code)
    if what == "place":
        code = _places(code, at)
    made = best if what == "value" else code.astype(code_type(at).np if what == "code" else "i8")
    return made.reshape(-1, x.shape[1])


def _convolve_pool(
    xp: Any, x: Array, w: Array, *, at: Windows, pool: Windows, groups: int, what: str
) -> Array:
    return _pool(xp, _convolve(xp, x, w, at=at, groups=groups), at=pool, what=what)


def _places(code: Array, at: Windows) -> Array:
    total = np.zeros_like(code)
    taps = np.unravel_index(code, at.window)
    for axis in range(3):
        shape = [-1 if a == axis + 1 else 1 for a in range(5)]
        begin = (np.arange(at.places[axis]) * at.stride[axis] - at.low[axis]).reshape(shape)
        total = total * at.size[axis] + begin + taps[axis] * at.dilation[axis]
    return total


def _spread_back(xp: Any, g: Array, *codes: Array, at: Windows) -> Array:
    lengths = [max(f, a + n) for f, a, n in zip(at.frame, at.low, at.size, strict=True)]
    frames = np.zeros((at.images, *lengths, g.shape[1]), g.dtype)
    values = g.reshape(at.images, *at.places, -1)
    for number, tap in enumerate(_taps(at)):
        term = values
        if codes:
            term = np.where(codes[0].reshape(values.shape) == number, values, 0)
        frames[tap] += term
    inside = tuple(slice(a, a + n) for a, n in zip(at.low, at.size, strict=True))
    return frames[(slice(None), *inside)].reshape(-1, g.shape[1])


CONVOLVE = Op(name="convolve_rows", infer=_convolved, array=_convolve, text="{0} ⋆ {1}")
WEIGH = Op(name="weigh_rows", infer=_weights, array=_weigh, text="Σ {0} ⋆ {1}")
POOL = Op(name="pool_rows", infer=_pooled, array=_pool, text="windows of {0}")
SPREAD = Op(name="spread_rows", infer=_spread, array=_spread_back, text="{0} over its windows")


def _weights_placed(
    x: Aval, g: Aval, code: Aval, *, at: Windows, pool: Windows, parts: int
) -> Aval:
    return make_aval((parts, g.shape[1], *at.window, x.shape[1]), x.dtype)


def _input_placed(g: Aval, code: Aval, w: Aval, *, at: Windows, pool: Windows) -> Aval:
    return make_aval((at.images * at.rows, w.shape[-1]), g.dtype)


def _weigh_placed(
    xp: Any, x: Array, g: Array, code: Array, *, at: Windows, pool: Windows, parts: int
) -> Array:
    whole = _spread_back(xp, g, code, at=pool)
    return np.moveaxis(_weigh(xp, x, whole, at=at, groups=1, parts=parts), -1, 1)


def _convolve_placed(
    xp: Any, g: Array, code: Array, w: Array, *, at: Windows, pool: Windows
) -> Array:
    whole = _spread_back(xp, g, code, at=pool).reshape(at.images, *at.places, -1)
    lengths = [max(f, a + n) for f, a, n in zip(at.frame, at.low, at.size, strict=True)]
    frames = np.zeros((at.images, *lengths, w.shape[-1]), g.dtype)
    for tap, each in zip(_taps(at), w.reshape(w.shape[0], at.taps, -1).swapaxes(0, 1), strict=True):
        frames[tap] += whole @ each
    inside = tuple(slice(a, a + n) for a, n in zip(at.low, at.size, strict=True))
    return frames[(slice(None), *inside)].reshape(-1, w.shape[-1])


WEIGH_PLACES = Op(
    name="weigh_places", infer=_weights_placed, array=_weigh_placed, text="Σ {0} ⋆ {1} at {2}"
)
CONVOLVE_PLACES = Op(
    name="convolve_places", infer=_input_placed, array=_convolve_placed, text="{0} at {1} ⋆ᵀ {2}"
)
CONVOLVE_POOL = Op(
    name="convolve_pool",
    infer=_pooled_convolution,
    array=_convolve_pool,
    text="max of windows of {0} ⋆ {1}",
)

ALL = (CONVOLVE_POOL, WEIGH_PLACES, CONVOLVE_PLACES, CONVOLVE, WEIGH, POOL, SPREAD)
