"""Pooling: the largest element or the mean of windows that move over signals, images, volumes.

Source: Goodfellow, Bengio, Courville, Deep Learning, section 9.3.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import OptionError, ShapeError
from ..ops import constant_array
from ..tensor import Tensor
from ..xp.numpy_ import window_sum
from ._common import located, node_of
from ._windows import Ints, Pairs, both_sides, each_axis, images, one_or_many

HALF = (
    "{function}: padding={padding!r} is more than half of the window {window}.\n"
    "  expected: at most {half}: a window over the border alone has nothing to pool"
)


def _place(
    function: str, size: Ints, window: Ints, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> dict[str, Any]:
    """Return where windows lie, as the ops take it: border and stride for each axis."""
    rank = len(size)
    steps = window if stride is None else each_axis(stride, rank, function, "stride", 1)
    around = each_axis(padding, rank, function, "padding", 0)
    gaps = each_axis(dilation, rank, function, "dilation", 1)
    if any(2 * p > k for p, k in zip(around, window, strict=True)):
        half = tuple(k // 2 for k in window)
        text = HALF.format(function=function, padding=padding, window=window, half=half)
        raise located(OptionError, text)
    pairs = both_sides(around)
    if ceil:
        rows = zip(size, window, steps, gaps, around, strict=True)
        pairs = tuple((p, _behind(n, k, step, gap, p)) for n, k, step, gap, p in rows)
    return {"window": window, "stride": steps, "padding": pairs, "dilation": gaps}


def _behind(n: int, k: int, step: int, gap: int, p: int) -> int:
    """The border behind an axis that lets the last window begin inside of it, if not end there."""
    reach = gap * (k - 1) + 1
    places = -(-(n + 2 * p - reach) // step) + 1
    if (places - 1) * step >= n + p:
        places -= 1
    return max((places - 1) * step + reach - n - p, 0)


def _max_pool(
    rank: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    function = f"max_pool{rank}d"
    x, single = images(input, rank, function)
    window = each_axis(kernel_size, rank, function, "kernel_size", 1)
    at = _place(function, x.shape[2:], window, stride, padding, dilation, ceil_mode)
    y = Tensor(one_or_many(x.max_pool(**at), single))
    if not return_indices:
        return y
    return y, Tensor(one_or_many(x.max_pool_index(**at), single))


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window; arguments as for :func:`max_pool2d`.

    >>> import chainrule as cr
    >>> max_pool1d(cr.tensor([[3.0, 1.0, 2.0, 5.0]]), 2).tolist()
    [[3.0, 5.0]]
    """
    at = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return _max_pool(1, input, *at)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window; NaN wins.

    The derivative goes to that element, the first of equal ones.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the window's lengths; a number, or one for each axis.
        stride: steps between two windows; the window's lengths unless given.
        padding: a border that is never the largest, at most half of the window.
        dilation: steps between two elements of the window.
        ceil_mode: whether a last window that begins inside but ends outside counts.
        return_indices: whether the places of the largest elements are returned too, as numbers in
            the flat image.

    Returns:
        (N, C, TH, TW) or (C, TH, TW); with `return_indices` a pair of such tensors.

    Raises:
        ShapeError: when the window is larger than the padded input.
        OptionError: for more padding than half of the window.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[1.0, 2.0], [4.0, 3.0]]])
    >>> [one.tolist() for one in max_pool2d(x, 2, return_indices=True)]
    [[[[4.0]]], [[[2]]]]
    """
    at = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return _max_pool(2, input, *at)


def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window; arguments as for :func:`max_pool2d`.

    >>> import chainrule as cr
    >>> max_pool3d(cr.arange(8.0).reshape(1, 2, 2, 2), 2).tolist()
    [[[[7.0]]]]
    """
    at = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return _max_pool(3, input, *at)


def _avg_pool(
    rank: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    function = f"avg_pool{rank}d"
    x, single = images(input, rank, function)
    window = each_axis(kernel_size, rank, function, "kernel_size", 1)
    at = _place(function, x.shape[2:], window, stride, padding, 1, ceil_mode)
    if divisor_override is not None and divisor_override < 1:
        raise located(
            OptionError, f"{function}: divisor_override={divisor_override} must be 1 or more"
        )
    total = x.window_sum(**at)
    divisor = divisor_override or _counts(x, at, padding, rank, count_include_pad)
    return Tensor(one_or_many(total / divisor, single))


def _counts(x: Any, at: dict[str, Any], padding: Any, rank: int, whole: bool) -> Any:
    """Return how many elements each window holds: one number where all hold as many."""
    pairs: Pairs = at["padding"]
    if whole:
        own = both_sides(each_axis(padding, rank, "avg_pool", "padding", 0))
        # The border of ceil_mode counts for nothing; a border cut short by it does not matter.
        sizes = [
            n + low + min(high, most)
            for n, (low, high), (_, most) in zip(x.shape[2:], pairs, own, strict=True)
        ]
        rest = tuple(
            (0, max(high - most, 0)) for (_, high), (_, most) in zip(pairs, own, strict=True)
        )
    else:
        sizes, rest = list(x.shape[2:]), pairs
    if not any(amount for pair in rest for amount in pair):
        return prod(at["window"])
    ones = np.ones((1, 1, *sizes), x.dtype.np)
    return constant_array(
        window_sum(ones, at["window"], at["stride"], rest, at["dilation"]), x.dtype
    )


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean of each window; arguments as for :func:`avg_pool2d`.

    >>> import chainrule as cr
    >>> avg_pool1d(cr.tensor([[3.0, 1.0, 2.0, 5.0]]), 2).tolist()
    [[2.0, 3.5]]
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the window's lengths; a number, or one for each axis.
        stride: steps between two windows; the window's lengths unless given.
        padding: a border of zeros, at most half of the window.
        ceil_mode: whether a last window that begins inside but ends outside counts.
        count_include_pad: whether the border's zeros count as elements.
        divisor_override: what sums are divided by, instead of the number of elements.

    Returns:
        (N, C, TH, TW) or (C, TH, TW).

    Raises:
        ShapeError: when the window is larger than the padded input.
        OptionError: for more padding than half of the window, or a divisor below 1.

    >>> import chainrule as cr
    >>> avg_pool2d(cr.tensor([[[1.0, 2.0], [4.0, 3.0]]]), 2).tolist()
    [[[2.5]]]
    """
    at = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool(2, input, *at)


def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window; arguments as for :func:`avg_pool2d`.

    >>> import chainrule as cr
    >>> avg_pool3d(cr.arange(8.0).reshape(1, 2, 2, 2), 2).tolist()
    [[[[3.5]]]]
    """
    at = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool(3, input, *at)


def _lp_pool(
    rank: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Tensor:
    function = f"lp_pool{rank}d"
    x, single = images(input, rank, function)
    window = each_axis(kernel_size, rank, function, "kernel_size", 1)
    at = _place(function, x.shape[2:], window, stride, 0, 1, ceil_mode)
    total = (x**norm_type).window_sum(**at)
    if any(high for _, high in at["padding"]):
        # PyTorch's own definition: the mean of what lies inside, times a whole window's count.
        total = total / _counts(x, at, 0, rank, False) * prod(window)
    return Tensor(one_or_many(total.relu() ** (1.0 / norm_type), single))


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Return (Σ x^p)^(1/p) of each window; arguments as for :func:`lp_pool2d`.

    >>> import chainrule as cr
    >>> lp_pool1d(cr.tensor([[3.0, 4.0]]), 2, 2).tolist()
    [[5.0]]
    """
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Return (Σ x^p)^(1/p) of each window.

    Args:
        input: (N, C, H, W) or (C, H, W).
        norm_type: p.
        kernel_size, stride, ceil_mode: as for :func:`avg_pool2d`.

    >>> import chainrule as cr
    >>> lp_pool2d(cr.tensor([[[3.0, 0.0], [0.0, 4.0]]]), 2, 2).tolist()
    [[[5.0]]]
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Return (Σ x^p)^(1/p) of each window; arguments as for :func:`lp_pool2d`.

    >>> import chainrule as cr
    >>> lp_pool3d(cr.tensor([[[[3.0, 4.0]]]]), 2, (1, 1, 2)).tolist()
    [[[[5.0]]]]
    """
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


def _unpool(
    rank: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> Tensor:
    function = f"max_unpool{rank}d"
    x, single = images(input, rank, function)
    index = node_of(indices, function, "indices")
    own = x.shape[1:] if single else x.shape
    if index.shape != own or not index.dtype.is_int:
        raise located(
            ShapeError,
            f"{function}: indices must be whole numbers of the input's shape {own}; given"
            f" {index.aval!r}.\n  fix: take them from max_pool{rank}d(..., return_indices=True)",
        )
    window = each_axis(kernel_size, rank, function, "kernel_size", 1)
    steps = window if stride is None else each_axis(stride, rank, function, "stride", 1)
    around = each_axis(padding, rank, function, "padding", 0)
    usual = tuple(
        (t - 1) * s - 2 * p + k
        for t, s, p, k in zip(x.shape[2:], steps, around, window, strict=True)
    )
    size = unpooled_size(usual, steps, output_size, function)
    lead, count, length = x.shape[:2], prod(x.shape[2:]), prod(size)
    places = index.reshape((*lead, count))
    flat = x.reshape((*lead, count)).scatter_add(places, 2, length)
    # Windows that overlap name an element several times, with its value each time.
    if any(s < k for s, k in zip(steps, window, strict=True)):
        ones: Any = constant_array(np.ones((*lead, count), x.dtype.np), x.dtype)
        flat = flat / ones.scatter_add(places, 2, length).maximum(1)
    return Tensor(one_or_many(flat.reshape((*lead, *size)), single))


def unpooled_size(usual: Ints, steps: Ints, output_size: Any, function: str) -> Ints:
    """Return the lengths asked for, of the last axes, if they are possible.

    >>> unpooled_size((4, 4), (2, 2), (1, 3, 5, 4), "max_unpool2d")
    (5, 4)
    """
    if output_size is None:
        return usual
    asked = tuple(int(n) for n in output_size)[-len(usual) :]
    if len(asked) != len(usual) or any(
        not n - s < m < n + s for m, n, s in zip(asked, usual, steps, strict=True)
    ):
        raise located(
            ShapeError,
            f"{function}: output_size={tuple(output_size)} is not possible.\n"
            f"  expected: less than one stride {steps} away from {usual}",
        )
    return asked


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Put pooled elements back where they came from; arguments as for :func:`max_unpool2d`.

    >>> import chainrule as cr
    >>> y, places = max_pool1d(cr.tensor([[3.0, 1.0, 2.0, 5.0]]), 2, return_indices=True)
    >>> max_unpool1d(y, places, 2).tolist()
    [[3.0, 0.0, 0.0, 5.0]]
    """
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Put pooled elements back where they came from, zeros elsewhere.

    Args:
        input: (N, C, TH, TW) or (C, TH, TW).
        indices: their places in the flat image, as :func:`max_pool2d` returns them. Elements that
            name the same place, as overlapping windows do, are averaged.
        kernel_size, stride, padding: what the pooling had.
        output_size: the image's lengths, where several lead to the same pooled ones.

    Raises:
        ShapeError: when indices or output_size do not fit.
        IndexRangeError: when an index lies outside of the image.

    >>> import chainrule as cr
    >>> y, places = max_pool2d(cr.tensor([[[1.0, 2.0], [4.0, 3.0]]]), 2, return_indices=True)
    >>> max_unpool2d(y, places, 2).tolist()
    [[[0.0, 0.0], [4.0, 0.0]]]
    """
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Put pooled elements back where they came from; arguments as for :func:`max_unpool2d`.

    >>> import chainrule as cr
    >>> y, places = max_pool3d(cr.arange(4.0).reshape(1, 1, 2, 2), (1, 2, 2), return_indices=True)
    >>> max_unpool3d(y, places, (1, 2, 2)).tolist()
    [[[[0.0, 0.0], [0.0, 3.0]]]]
    """
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)
