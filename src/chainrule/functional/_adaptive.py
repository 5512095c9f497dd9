"""Pooling into a given number of windows, whose lengths follow from the input's.

Window t of T over an axis of length S reaches from ⌊t S / T⌋ to ⌈(t + 1) S / T⌉, as in PyTorch.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import OptionError
from ..ops import ARGMAX, apply, constant_array
from ..tensor import Tensor
from ._common import located
from ._windows import AXES, Ints, images, one_or_many


def _sizes(output_size: Any, size: Ints, function: str) -> Ints:
    """Return the lengths asked for; None keeps the input's."""
    rank = len(size)
    several = isinstance(output_size, (tuple, list))
    given = tuple(output_size) if several else (output_size,) * rank
    if len(given) != rank or any(
        n is not None and (not hasattr(n, "__index__") or n < 1) for n in given
    ):
        raise located(
            OptionError,
            f"{function}: output_size={output_size!r} was given.\n"
            f"  expected: 1 or more, None for the input's own length, or {rank} of them"
            f" ({AXES[rank]})",
        )
    return tuple(
        n if wanted is None else int(wanted) for wanted, n in zip(given, size, strict=True)
    )


@lru_cache(maxsize=256)
def windows_of(size: int, places: int) -> tuple[Any, Any]:
    """Return (places, longest) indices of each window's elements, and which of them belong to it.

    >>> [one.tolist() for one in windows_of(3, 2)]
    [[[0, 1], [1, 2]], [[True, True], [True, True]]]
    """
    starts = np.arange(places) * size // places
    stops = -(-(np.arange(1, places + 1) * size) // places)
    index = starts[:, None] + np.arange((stops - starts).max(initial=1))
    return np.minimum(index, stops[:, None] - 1), index < stops[:, None]


def _even(size: Ints, wanted: Ints) -> bool:
    return all(n % t == 0 for n, t in zip(size, wanted, strict=True))


def _plain(size: Ints, wanted: Ints) -> dict[str, Any]:
    """Return the windows of an even parting, as the ops take them."""
    window = tuple(n // t for n, t in zip(size, wanted, strict=True))
    rank = len(window)
    return {
        "window": window,
        "stride": window,
        "padding": ((0, 0),) * rank,
        "dilation": (1,) * rank,
    }


def _average(rank: int, input: Tensor, output_size: Any) -> Tensor:
    function = f"adaptive_avg_pool{rank}d"
    x, single = images(input, rank, function)
    size = x.shape[2:]
    wanted = _sizes(output_size, size, function)
    if prod(wanted) == 1:
        y = x.sum(tuple(range(2, x.ndim)), True) / max(prod(size), 1)
    elif _even(size, wanted):
        at = _plain(size, wanted)
        y = x.window_sum(**at) / prod(at["window"])
    else:
        y = x
        for axis, places in enumerate(wanted, 2):
            y = _average_axis(y, axis, places)
    return Tensor(one_or_many(y, single))


def _average_axis(x: Any, axis: int, places: int) -> Any:
    if x.shape[axis] == places:
        return x
    index, inside = windows_of(x.shape[axis], places)
    behind = (1,) * (x.ndim - axis - 1)
    taken = x.take(constant_array(index, dtypes.int64), axis)
    if not inside.all():
        # What a longer window would hold is left out rather than multiplied by 0: it may be NaN.
        own: Any = constant_array(inside.reshape((*inside.shape, *behind)), dtypes.bool_)
        taken = own.where(taken, 0)
    counts = inside.sum(1).astype(x.dtype.np).reshape((places, *behind))
    return taken.sum((axis + 1,), False) / constant_array(counts, x.dtype)


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Return the means of a given number of windows; see :func:`adaptive_avg_pool2d`.

    >>> import chainrule as cr
    >>> adaptive_avg_pool1d(cr.tensor([[3.0, 1.0, 2.0, 4.0]]), 2).tolist()
    [[2.0, 3.0]]
    """
    return _average(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Return the means of as many windows as asked for.

    Args:
        input: (N, C, H, W) or (C, H, W).
        output_size: how many windows; a number, or one for each axis, None for the input's length.

    Returns:
        (N, C, *output_size) or (C, *output_size).

    Raises:
        OptionError: for sizes below 1 or too many of them.

    >>> import chainrule as cr
    >>> adaptive_avg_pool2d(cr.tensor([[[1.0, 2.0], [4.0, 3.0]]]), (1, None)).tolist()
    [[[2.5, 2.5]]]
    """
    return _average(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Return the means of a given number of windows; see :func:`adaptive_avg_pool2d`.

    >>> import chainrule as cr
    >>> adaptive_avg_pool3d(cr.arange(8.0).reshape(1, 2, 2, 2), 1).tolist()
    [[[[3.5]]]]
    """
    return _average(3, input, output_size)


def _largest(rank: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    function = f"adaptive_max_pool{rank}d"
    x, single = images(input, rank, function)
    size = x.shape[2:]
    wanted = _sizes(output_size, size, function)
    if _even(size, wanted):
        at = _plain(size, wanted)
        y = x.max_pool(**at)
        index = x.max_pool_index(**at) if return_indices else None
    else:
        y, index = _uneven(x, size, wanted)
    result = Tensor(one_or_many(y, single))
    return (result, Tensor(one_or_many(index, single))) if return_indices else result


def _uneven(x: Any, size: Ints, wanted: Ints) -> tuple[Any, Any]:
    """Return the largest elements and their places, for windows of several lengths."""
    numbers, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
    for n, places in zip(size, wanted, strict=True):
        index, these = windows_of(n, places)
        rows = len(numbers) * places
        numbers = (numbers[:, None, :, None] * n + index[None, :, None, :]).reshape(rows, -1)
        inside = (inside[:, None, :, None] & these[None, :, None, :]).reshape(rows, -1)
    lead = x.shape[:2]
    flat = x.reshape((*lead, prod(size)))
    taken = flat.detach().take(constant_array(numbers, dtypes.int64), 2)
    own: Any = constant_array(inside, dtypes.bool_)
    taken = own.where(taken, float("-inf"))
    best = apply(ARGMAX, taken, axis=3, keepdims=True)
    table: Any = constant_array(numbers[None, None], dtypes.int64)
    index = table.expand(taken.shape).gather(best, 3).reshape((*lead, prod(wanted)))
    shape = (*lead, *wanted)
    return flat.gather(index, 2).reshape(shape), index.reshape(shape)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest elements of a given number of windows; see :func:`adaptive_max_pool2d`.

    >>> import chainrule as cr
    >>> adaptive_max_pool1d(cr.tensor([[3.0, 1.0, 2.0]]), 2).tolist()
    [[3.0, 2.0]]
    """
    return _largest(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest elements of as many windows as asked for.

    Args:
        input: (N, C, H, W) or (C, H, W).
        output_size: how many windows; a number, or one for each axis, None for the input's length.
        return_indices: whether their places in the flat image are returned too.

    Returns:
        (N, C, *output_size) or (C, *output_size); with `return_indices` a pair of such tensors.

    Raises:
        OptionError: for sizes below 1 or too many of them.

    >>> import chainrule as cr
    >>> adaptive_max_pool2d(cr.tensor([[[1.0, 2.0], [4.0, 3.0]]]), 1).tolist()
    [[[4.0]]]
    """
    return _largest(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest elements of a given number of windows; see :func:`adaptive_max_pool2d`.

    >>> import chainrule as cr
    >>> adaptive_max_pool3d(cr.arange(8.0).reshape(1, 2, 2, 2), 1).tolist()
    [[[[7.0]]]]
    """
    return _largest(3, input, output_size, return_indices)
