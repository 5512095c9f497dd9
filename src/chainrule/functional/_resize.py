"""Images in other sizes, and images as columns of their windows.

Notation: place t of the output lies at s(t) of the input; linear interpolation mixes the elements
⌊s⌋ and ⌊s⌋ + 1, cubic interpolation ⌊s⌋ - 1 to ⌊s⌋ + 2 (Keys, Cubic convolution interpolation,
1981, with a = -0.75).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, prod
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import OptionError, ShapeError
from ..ops import constant_array
from ..ops._windows import places as window_places
from ..tensor import Tensor
from ._adaptive import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from ._common import float_node, located, node_of
from ._windows import Ints, each_axis, images, one_or_many

Array = np.ndarray[Any, Any]
# Mode: the numbers of spatial axes it is defined for.
RANKS = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
    "area": (1, 2, 3),
}
ALIGNING = ("linear", "bilinear", "bicubic", "trilinear")


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Return signals, images or volumes in another size.

    Args:
        input: (N, C, L), (N, C, H, W) or (N, C, D, H, W).
        size: the new lengths; a number, or one for each axis.
        scale_factor: what the lengths are multiplied by, instead of `size`.
        mode: "nearest", "nearest-exact", "linear" (signals), "bilinear", "bicubic" (images),
            "trilinear" (volumes) or "area" (the mean of what falls together).
        align_corners: whether the corner elements' middles stay where they are, rather than the
            corners; for the linear and cubic modes.
        recompute_scale_factor: whether the scale is that of the rounded lengths.
        antialias: not there; only False is accepted.

    Returns:
        (N, C, *size).

    Raises:
        OptionError: for a mode that does not fit the input, or both or neither of size and scale.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[1.0, 3.0]]])
    >>> interpolate(x, 4).tolist(), interpolate(x, 3, mode="linear", align_corners=True).tolist()
    ([[[1.0, 1.0, 3.0, 3.0]]], [[[1.0, 2.0, 3.0]]])
    """
    x = float_node(input, "interpolate")
    _check_mode(x, mode, align_corners, antialias)
    sizes, scales = _asked(x, size, scale_factor, bool(recompute_scale_factor))
    if mode == "area":
        pool = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[x.ndim - 3]
        return pool(input, sizes)
    for axis, (wanted, scale) in enumerate(zip(sizes, scales, strict=True), 2):
        x = _resized(x, axis, wanted, scale, mode, bool(align_corners))
    return Tensor(x)


def _check_mode(x: Any, mode: str, align_corners: bool | None, antialias: bool) -> None:
    rank = x.ndim - 2
    if rank not in RANKS.get(mode, ()):
        fitting = ", ".join(repr(name) for name, ranks in RANKS.items() if rank in ranks)
        expected = f"one of {fitting}" if fitting else "an input (N, C, *S) of 1 to 3 axes S"
        raise located(
            OptionError,
            f"interpolate: mode={mode!r} is not there for an input of shape {x.shape}.\n"
            f"  expected: {expected}",
        )
    if align_corners is not None and mode not in ALIGNING:
        raise located(
            OptionError,
            f"interpolate: align_corners means nothing to mode={mode!r}.\n"
            f"  expected: it left out, or a mode of {', '.join(ALIGNING)}",
        )
    if antialias:
        raise located(
            OptionError,
            "interpolate: antialias=True is not there.\n"
            '  fix: mode="area" averages what falls together when an image shrinks',
        )


def _asked(x: Any, size: Any, scale_factor: Any, recompute: bool) -> tuple[Ints, list[Any]]:
    """Return the new lengths, and for each the scale that the user named, or None."""
    own = x.shape[2:]
    if (size is None) == (scale_factor is None):
        raise located(
            OptionError,
            "interpolate: either size or scale_factor is needed;"
            f" size={size!r}, scale_factor={scale_factor!r} were given",
        )
    if size is not None:
        return each_axis(size, len(own), "interpolate", "size", 1), [None] * len(own)
    several = isinstance(scale_factor, Sequence)
    scales = list(scale_factor) if several else [scale_factor] * len(own)
    sizes = tuple(floor(n * scale) for n, scale in zip(own, scales, strict=False))
    if len(scales) != len(own) or min(sizes) < 1:
        raise located(
            OptionError,
            f"interpolate: scale_factor={scale_factor!r} does not fit the lengths {own}.\n"
            f"  expected: one number, or {len(own)}, that leave lengths of 1 or more",
        )
    return sizes, [None] * len(own) if recompute else scales


def _resized(x: Any, axis: int, wanted: int, scale: Any, mode: str, align: bool) -> Any:
    """Resize one axis."""
    length = x.shape[axis]
    if mode.startswith("nearest"):
        index = _nearest(length, wanted, scale, mode)
        return x if np.array_equal(index, np.arange(length)) else x.take(_constant(index), axis)
    taps = _taps(length, wanted, scale, mode, align, x.dtype.np)
    if wanted == length and all((w == (k == 0)).all() for k, (_, w) in enumerate(taps)):
        return x
    total = None
    for index, weight in taps:
        column = weight.reshape((wanted, *(1,) * (x.ndim - axis - 1)))
        term = x.take(_constant(index), axis) * constant_array(column, x.dtype)
        total = term if total is None else total + term
    return total


def _constant(index: Array) -> Any:
    return constant_array(index.astype(np.int64), dtypes.int64)


def _nearest(length: int, wanted: int, scale: Any, mode: str) -> Array:
    step = np.float32(1.0 / scale) if scale else np.float32(length) / np.float32(wanted)
    shift = np.float32(0.5 if mode == "nearest-exact" else 0.0)
    at = np.floor((np.arange(wanted, dtype=np.float32) + shift) * step)
    found: Array = np.minimum(at.astype(np.int64), length - 1)
    return found


def _taps(
    length: int, wanted: int, scale: Any, mode: str, align: bool, kind: Any
) -> list[tuple[Array, Array]]:
    """Return what each place of the output mixes: once for each tap, elements and weights."""
    line = np.arange(wanted, dtype=kind)
    if align:
        at = line * kind.type((length - 1) / (wanted - 1) if wanted > 1 else 0.0)
    else:
        step = kind.type(1.0 / scale if scale else length / wanted)
        at = (line + kind.type(0.5)) * step - kind.type(0.5)
    if mode != "bicubic":
        at = np.maximum(at, 0) if not align else at
        low = np.minimum(np.floor(at).astype(np.int64), length - 1)
        part = np.clip(at - low, 0, 1).astype(kind)
        return [(low, 1 - part), (np.minimum(low + 1, length - 1), part)]
    low = np.floor(at).astype(np.int64)
    part = (at - low).astype(kind)
    weights = (_far(part + 1), _near(part), _near(1 - part), _far(2 - part))
    order = (1, 0, 2, 3)  # the element itself first
    return [((low - 1 + k).clip(0, length - 1), np.asarray(weights[k], dtype=kind)) for k in order]


def _near(t: Array) -> Array:
    a = -0.75
    return ((a + 2) * t - (a + 3)) * t * t + 1


def _far(t: Array) -> Array:
    a = -0.75
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a


def _columns(size: Ints, window: Ints, stride: Ints, dilation: Ints) -> tuple[Array, Ints]:
    """Return the numbers, in the flat padded image, of what windows meet: (elements, places)."""
    counts = window_places(size, window, stride, ((0, 0),) * len(size), dilation)
    numbers = np.zeros((1, 1), np.int64)
    for n, k, t, step, gap in zip(size, window, counts, stride, dilation, strict=True):
        own = np.arange(k)[:, None] * gap + np.arange(max(t, 0)) * step
        rows, columns = numbers.shape[0] * k, numbers.shape[1] * max(t, 0)
        numbers = numbers[:, None, :, None] * n + own[None, :, None, :]
        numbers = numbers.reshape(rows, columns)
    return numbers, counts


def _check_places(function: str, counts: Ints, size: Ints, window: Ints) -> None:
    if min(counts) < 1:
        raise located(
            ShapeError,
            f"{function}: the window {window} is larger than the padded image {size}.\n"
            "  fix: a smaller window or dilation, or more padding",
        )


def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Return the windows of images as columns.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size, dilation, padding, stride: where windows lie, as for :func:`conv2d`.

    Returns:
        (N, C · KH · KW, places): each column one window, or the same without N.

    Raises:
        ShapeError: when the window is larger than the padded image.

    >>> import chainrule as cr
    >>> unfold(cr.tensor([[[1.0, 2.0, 3.0]]]), (1, 2)).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    x, single = images(input, 2, "unfold")
    window = each_axis(kernel_size, 2, "unfold", "kernel_size", 1)
    gaps = each_axis(dilation, 2, "unfold", "dilation", 1)
    around = each_axis(padding, 2, "unfold", "padding", 0)
    steps = each_axis(stride, 2, "unfold", "stride", 1)
    none = (0,) * 4
    if any(around):
        x = x.pad((0, 0, *around), (0, 0, *around), none)
    index, counts = _columns(x.shape[2:], window, steps, gaps)
    _check_places("unfold", counts, x.shape[2:], window)
    lead, (rows, places) = x.shape[:2], index.shape
    columns = x.reshape((*lead, prod(x.shape[2:]))).take(_constant(index), 2)
    return Tensor(one_or_many(columns.reshape((lead[0], lead[1] * rows, places)), single))


def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Add columns up to images: the transpose of :func:`unfold`.

    Args:
        input: (N, C · KH · KW, places) or (C · KH · KW, places).
        output_size: the images' lengths (H, W).
        kernel_size, dilation, padding, stride: what :func:`unfold` had.

    Returns:
        (N, C, H, W) or (C, H, W).

    Raises:
        ShapeError: when columns or their length do not fit.

    >>> import chainrule as cr
    >>> fold(cr.ones(2, 2), (1, 3), (1, 2)).tolist()
    [[[1.0, 2.0, 1.0]]]
    """
    x = float_node(input, "fold")
    single = x.ndim == 2
    if single:
        x = x.reshape((1, *x.shape))
    size = each_axis(output_size, 2, "fold", "output_size", 1)
    window = each_axis(kernel_size, 2, "fold", "kernel_size", 1)
    gaps = each_axis(dilation, 2, "fold", "dilation", 1)
    around = each_axis(padding, 2, "fold", "padding", 0)
    steps = each_axis(stride, 2, "fold", "stride", 1)
    padded = tuple(n + 2 * p for n, p in zip(size, around, strict=True))
    index, counts = _columns(padded, window, steps, gaps)
    _check_places("fold", counts, padded, window)
    rows, places = index.shape
    if x.ndim != 3 or x.shape[1] % rows or x.shape[2] != places:
        raise located(
            ShapeError,
            f"fold: the input's shape is {tuple(input.shape)}.\n"
            f"  expected: (N, C · {rows}, {places}), as output_size={size}, kernel_size={window},"
            f" padding={around}, stride={steps}, dilation={gaps} give {places} windows",
        )
    lead = (x.shape[0], x.shape[1] // rows)
    flat = x.reshape((*lead, rows, places)).take_add(_constant(index), 2, prod(padded))
    y = flat.reshape((*lead, *padded))
    if any(around):
        stops = tuple(p + n for p, n in zip(around, size, strict=True))
        y = y.slice((0, 0, *around), (*lead, *stops), (1,) * 4)
    return Tensor(one_or_many(y, single))


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Turn r² channels into images r times as long and wide.

    Source: Shi et al., Real-Time Single Image and Video Super-Resolution (2016).

    Shapes: (..., C r², H, W) becomes (..., C, H r, W r).

    >>> import chainrule as cr
    >>> pixel_shuffle(cr.arange(4.0).reshape(4, 1, 1), 2).tolist()
    [[[0.0, 1.0], [2.0, 3.0]]]
    """
    x, r = node_of(input, "pixel_shuffle"), upscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-3] % (r * r):
        raise located(
            ShapeError,
            f"pixel_shuffle: the channels must part into groups of {r}² = {r * r};"
            f" the input's shape is {x.shape}",
        )
    *lead, channels, high, wide = x.shape
    own = channels // (r * r)
    parted = x.reshape((prod(lead), own, r, r, high, wide)).permute((0, 1, 4, 2, 5, 3))
    return Tensor(parted.reshape((*lead, own, high * r, wide * r)))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """The reverse of :func:`pixel_shuffle`.

    Shapes: (..., C, H r, W r) becomes (..., C r², H, W).

    >>> import chainrule as cr
    >>> pixel_unshuffle(cr.arange(4.0).reshape(1, 2, 2), 2).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    x, r = node_of(input, "pixel_unshuffle"), downscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-1] % r or x.shape[-2] % r:
        raise located(
            ShapeError,
            f"pixel_unshuffle: height and width must be multiples of {r};"
            f" the input's shape is {x.shape}",
        )
    *lead, own, high, wide = x.shape
    parted = x.reshape((prod(lead), own, high // r, r, wide // r, r)).permute((0, 1, 3, 5, 2, 4))
    return Tensor(parted.reshape((*lead, own * r * r, high // r, wide // r)))


def upsampled(input: Tensor, size: Any, scale_factor: Any, mode: str) -> Tensor:
    """Resize images as PyTorch's older modules do: "bilinear" with aligned corners."""
    align = True if mode == "bilinear" else None
    return interpolate(input, size, scale_factor, mode, align)
