"""Borders around images: a value, the image reflected, its edge repeated, or its other side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import OptionError, ShapeError
from ..ops import constant_array
from ..tensor import Tensor
from ._common import located, node_of

MODES = ("constant", "reflect", "replicate", "circular")


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Add a border, beginning with the last axis.

    Args:
        input: any shape.
        pad: (before, behind) of the last axis, then of the one before it, and so on; negative
            amounts cut off.
        mode: "constant", "reflect" (the edge itself is not repeated), "replicate" or "circular".
        value: what a constant border holds; 0 unless given.

    Raises:
        OptionError: for an odd number of amounts, an unknown mode, or a value with another mode.
        ShapeError: for more amounts than axes, or more border than the mode can make.

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0, 2.0, 3.0])
    >>> pad(x, (1, 2)).tolist(), pad(x, (2, 1), "reflect").tolist()
    ([0.0, 1.0, 2.0, 3.0, 0.0, 0.0], [3.0, 2.0, 1.0, 2.0, 3.0, 2.0])
    """
    x = node_of(input, "pad")
    amounts = _check(x, pad, mode, value)
    if mode == "constant":
        return Tensor(_constant(x, amounts, value))
    for axis, (low, high) in amounts.items():
        if low or high:
            x = x.take(_places(x.shape[axis], low, high, mode), axis)
    return Tensor(x)


def _check(x: Any, pad: Any, mode: str, value: Any) -> dict[int, tuple[int, int]]:
    """Return the amounts of each axis that has some."""
    amounts = [int(one) for one in pad]
    if mode not in MODES:
        raise located(
            OptionError,
            f"pad: mode={mode!r} does not exist.\n  expected: one of {', '.join(MODES)}",
        )
    if value is not None and mode != "constant":
        raise located(OptionError, f"pad: a value means nothing to mode={mode!r}; leave it out")
    if len(amounts) % 2:
        raise located(
            OptionError,
            f"pad: {len(amounts)} amounts were given.\n"
            "  expected: two for each axis, (before, behind), the last axis first",
        )
    if len(amounts) > 2 * x.ndim:
        raise located(
            ShapeError, f"pad: {len(amounts)} amounts for an input with {x.ndim} axes, {x.shape}"
        )
    pairs = zip(amounts[::2], amounts[1::2], strict=True)
    found = {x.ndim - 1 - number: pair for number, pair in enumerate(pairs)}
    for axis, (low, high) in found.items():
        _check_axis(x.shape, axis, low, high, mode)
    return found


def _check_axis(shape: Any, axis: int, low: int, high: int, mode: str) -> None:
    length = shape[axis]
    if length + low + high < 0 or min(low, high) < -length:
        raise located(
            ShapeError,
            f"pad: ({low}, {high}) cuts off more than axis {axis} of {shape} has",
        )
    most = {"reflect": length - 1, "circular": length, "replicate": low + high if length else 0}
    if mode in most and max(low, high) > max(most[mode], 0):
        raise located(
            ShapeError,
            f"pad: mode={mode!r} makes a border of at most {max(most[mode], 0)} on an axis of"
            f" length {length}; ({low}, {high}) was given for axis {axis} of {shape}",
        )


def _places(length: int, low: int, high: int, mode: str) -> Any:
    """Return the index of the element that stands at each place."""
    line = np.arange(-low, length + high)
    if mode == "replicate":
        line = line.clip(0, length - 1)
    elif mode == "circular":
        line %= length
    else:
        line = np.abs(line)
        line = np.where(line >= length, 2 * (length - 1) - line, line)
    return constant_array(line.astype(np.int64), dtypes.int64)


def _constant(x: Any, amounts: dict[int, tuple[int, int]], value: Any) -> Any:
    lows = tuple(amounts.get(axis, (0, 0))[0] for axis in range(x.ndim))
    highs = tuple(amounts.get(axis, (0, 0))[1] for axis in range(x.ndim))
    if min((*lows, *highs, 0)) < 0:
        starts = tuple(max(-low, 0) for low in lows)
        stops = tuple(n - max(-high, 0) for n, high in zip(x.shape, highs, strict=True))
        x = x.slice(starts, stops, (1,) * x.ndim)
    low, high = tuple(max(n, 0) for n in lows), tuple(max(n, 0) for n in highs)
    if not any((*low, *high)):
        return x
    y = x.pad(low, high, (0,) * x.ndim)
    if not value:
        return y
    # The inside of the border, of length 1 on axes that have none.
    around = [a + b for a, b in zip(low, high, strict=True)]
    shape = [n if more else 1 for n, more in zip(y.shape, around, strict=True)]
    inside = np.zeros(shape, bool)
    inside[tuple(slice(a, n - b) for a, b, n in zip(low, high, shape, strict=True))] = True
    # The value takes the input's dtype, as in PyTorch.
    value = x.dtype.np.type(value).item()
    mask: Any = constant_array(inside, dtypes.bool_)
    return mask.where(y, value)
