"""Convolution of signals, images and volumes, and its transpose.

Notation: an input (N, C, *S), a weight (O, C / groups, *K); PyTorch's convolution is the
cross-correlation Σ x[t + k] w[k], in which the kernel is not flipped.
"""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError, OptionError, ShapeError
from ..tensor import Tensor
from ._common import located, node_of
from ._padding import pad as pad_tensor
from ._windows import AXES, Pairs, both_sides, each_axis, images, one_or_many

WRONG_CHANNELS = (
    "{function}: the weight takes {wanted} channels, the input has {given}.\n"
    "  given: input {input}, weight {weight}, groups {groups}\n"
    "  expected: input (N, {wanted}, {axes})\n"
    "  fix: {fix}"
)
MIXED_DTYPES = (
    "{function}: the input is {given}, the weight {wanted}.\n"
    "  expected: equal dtypes\n"
    "  fix: input.type({wanted!r}), or convert the module, for example model.double()"
)
SAME_STRIDE = (
    "{function}: padding='same' needs a stride of 1; {stride} was given.\n"
    "  fix: padding in numbers, for example padding={half}"
)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate signals with a kernel; arguments as for :func:`conv2d`.

    Shapes: input (N, C, L) or (C, L), weight (O, C / groups, K); (N, O, T) or (O, T) out.

    >>> import chainrule as cr
    >>> conv1d(cr.tensor([[1.0, 2.0, 4.0]]), cr.tensor([[[1.0, -1.0]]])).tolist()
    [[-1.0, -2.0]]
    """
    return _convolve(1, "conv1d", input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate images with a kernel.

    y[o, t] = b[o] + Σ_{c,k} x[c, t · stride + k · dilation] w[o, c, k].
    Source: Goodfellow, Bengio, Courville, Deep Learning, eq. 9.6.

    Args:
        input: (N, C, H, W) or (C, H, W).
        weight: (O, C / groups, KH, KW).
        bias: (O,), or None.
        stride: steps between two places of the kernel; a number, or one for each axis.
        padding: zeros added on both sides; a number, one for each axis, "valid" (none) or "same"
            (as many as keep the lengths, at stride 1; the odd one behind).
        dilation: steps between two elements of the kernel.
        groups: into how many groups the channels are parted, each with outputs of its own.

    Returns:
        (N, O, TH, TW) or (O, TH, TW), T = ⌊(S + 2 padding - dilation (K - 1) - 1) / stride⌋ + 1.

    Raises:
        ShapeError: when channels, groups or bias do not fit, or the kernel is larger than the
            padded input.
        OptionError: for a padding, stride or dilation that does not exist.

    >>> import chainrule as cr
    >>> x = cr.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d(x, cr.ones(1, 1, 2, 2)).tolist()
    [[[[8.0, 12.0], [20.0, 24.0]]]]
    """
    return _convolve(2, "conv2d", input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate volumes with a kernel; arguments as for :func:`conv2d`.

    Shapes: input (N, C, D, H, W) or (C, D, H, W), weight (O, C / groups, KD, KH, KW).

    >>> import chainrule as cr
    >>> conv3d(cr.ones(1, 1, 2, 2, 2), cr.ones(1, 1, 2, 2, 2)).tolist()
    [[[[[8.0]]]]]
    """
    return _convolve(3, "conv3d", input, weight, bias, stride, padding, dilation, groups)


def convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve in the mathematical sense, with the kernel flipped: Σ_k x[t - k] w[k].

    It is what :func:`conv1d` and its kin give for the kernel reversed on each spatial axis; the two
    are equal for symmetric kernels. With the kernel flipped the operation is commutative. Source:
    Goodfellow, Bengio, Courville, Deep Learning, eqs. 9.4 to 9.6.

    Args:
        input, weight, bias, stride, padding, dilation, groups: as for :func:`conv2d`; the weight's
            axes say how many dimensions there are.

    >>> import chainrule as cr
    >>> signal, kernel = cr.tensor([[1.0, 0.0, 0.0]]), cr.tensor([[[1.0, 2.0]]])
    >>> convolve(signal, kernel, padding=1).tolist(), conv1d(signal, kernel, padding=1).tolist()
    ([[1.0, 2.0, 0.0, 0.0]], [[2.0, 1.0, 0.0, 0.0]])
    """
    w = node_of(weight, "convolve", "weight")
    rank = w.ndim - 2
    if rank not in AXES:
        raise located(
            ShapeError,
            f"convolve: the weight's shape is {w.shape}.\n"
            "  expected: (O, C / groups, *K) with one to three axes K",
        )
    flipped = Tensor(w.flip(tuple(range(2, w.ndim))))
    return _convolve(rank, "convolve", input, flipped, bias, stride, padding, dilation, groups)


def _convolve(
    rank: int,
    function: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    x, single = images(input, rank, function)
    w = _kernel(weight, x, rank, function)
    steps = each_axis(stride, rank, function, "stride", 1)
    gaps = each_axis(dilation, rank, function, "dilation", 1)
    around = _amounts(padding, w.shape[2:], steps, gaps, function)
    _check_groups(function, w.shape[0], groups, "output")
    if w.shape[1] * groups != x.shape[1]:
        raise located(ShapeError, _channel_fault(function, x.shape, w.shape, groups, single))
    y = x.convolution(w, stride=steps, padding=around, dilation=gaps, groups=groups)
    return Tensor(one_or_many(_biased(y, bias, function), single))


def _kernel(weight: Tensor, x: Any, rank: int, function: str) -> Any:
    w = node_of(weight, function, "weight")
    if x.dtype is not w.dtype:
        text = MIXED_DTYPES.format(function=function, given=x.dtype.name, wanted=w.dtype.name)
        raise located(DTypeError, text)
    if w.ndim != rank + 2:
        raise located(
            ShapeError, f"{function}: the weight must have {rank + 2} axes; its shape is {w.shape}"
        )
    return w


def _check_groups(function: str, channels: int, groups: int, which: str) -> None:
    if groups < 1 or channels % groups:
        raise located(
            ShapeError,
            f"{function}: {channels} {which} channels do not part into groups={groups}.\n"
            "  fix: a number of groups that divides the channels",
        )


def _amounts(padding: Any, window: Any, steps: Any, gaps: Any, function: str) -> Pairs:
    """Return the zeros before and behind each axis."""
    rank = len(window)
    if padding == "valid":
        return ((0, 0),) * rank
    if padding == "same":
        totals = [gap * (k - 1) for k, gap in zip(window, gaps, strict=True)]
        if max(steps) > 1:
            half = tuple(total // 2 for total in totals)
            text = SAME_STRIDE.format(function=function, stride=steps, half=half)
            raise located(OptionError, text)
        return tuple((total // 2, total - total // 2) for total in totals)
    if isinstance(padding, str):
        raise located(
            OptionError,
            f"{function}: padding={padding!r} does not exist.\n"
            "  expected: numbers, 'same' or 'valid'",
        )
    return both_sides(each_axis(padding, rank, function, "padding", 0))


def _channel_fault(function: str, x: Any, w: Any, groups: int, single: bool) -> str:
    wanted, axes = w[1] * groups, AXES[len(w) - 2]
    given = x[1:] if single else x
    if single and wanted == 1:
        fix = "input.unsqueeze(1): one image a row, one channel each"
    elif given[-1] == wanted:
        order = (*(() if single else (0,)), len(given) - 1, *range(not single, len(given) - 1))
        fix = f"input.permute{order}, as the channels come last"
    else:
        fix = f"build the layer for {x[1]} input channels, or give it {wanted}"
    return WRONG_CHANNELS.format(
        function=function,
        wanted=wanted,
        given=x[1],
        input=given,
        weight=w,
        groups=groups,
        axes=axes,
        fix=fix,
    )


def _biased(y: Any, bias: Tensor | None, function: str) -> Any:
    if bias is None:
        return y
    b = node_of(bias, function, "bias")
    if b.shape != (y.shape[1],):
        raise located(
            ShapeError,
            f"{function}: the bias must be ({y.shape[1]},), one an output channel; its shape is"
            f" {b.shape}",
        )
    return y + b.reshape((1, y.shape[1], *(1,) * (y.ndim - 2)))


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transpose of :func:`conv1d`; arguments as for :func:`conv_transpose2d`.

    >>> import chainrule as cr
    >>> conv_transpose1d(cr.tensor([[1.0, 2.0]]), cr.tensor([[[1.0, 10.0]]]), stride=2).tolist()
    [[1.0, 10.0, 2.0, 20.0]]
    """
    at = (stride, padding, output_padding, groups, dilation)
    return _transposed(1, "conv_transpose1d", input, weight, bias, *at)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transpose of :func:`conv2d`: each input element adds its multiple of the kernel.

    It is the derivative of a convolution with respect to its input (Dumoulin and Visin, A guide to
    convolution arithmetic, 2016).

    Args:
        input: (N, C, H, W) or (C, H, W).
        weight: (C, O / groups, KH, KW).
        bias: (O,), or None.
        stride: steps between what two neighbours add.
        padding: how much the convolution that this transposes pads: so much is cut off.
        output_padding: rows added behind, below the stride or the dilation: a convolution with a
            stride gives inputs of several lengths the same output.
        groups: into how many groups the channels are parted.
        dilation: steps between two elements of the kernel.

    Returns:
        (N, O, SH, SW), S = (T - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.

    Raises:
        ShapeError: when channels, groups or bias do not fit, or nothing is left.
        OptionError: for an output_padding that is too large.

    >>> import chainrule as cr
    >>> conv_transpose2d(cr.ones(1, 2, 2), cr.ones(1, 1, 2, 2)).tolist()
    [[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]]
    """
    at = (stride, padding, output_padding, groups, dilation)
    return _transposed(2, "conv_transpose2d", input, weight, bias, *at)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transpose of :func:`conv3d`; arguments as for :func:`conv_transpose2d`.

    >>> import chainrule as cr
    >>> conv_transpose3d(cr.ones(1, 1, 1, 1), cr.ones(1, 1, 1, 1, 2)).tolist()
    [[[[1.0, 1.0]]]]
    """
    at = (stride, padding, output_padding, groups, dilation)
    return _transposed(3, "conv_transpose3d", input, weight, bias, *at)


def _transposed(
    rank: int,
    function: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    g, single = images(input, rank, function)
    w = _kernel(weight, g, rank, function)
    steps = each_axis(stride, rank, function, "stride", 1)
    gaps = each_axis(dilation, rank, function, "dilation", 1)
    cut = each_axis(padding, rank, function, "padding", 0)
    added = each_axis(output_padding, rank, function, "output_padding", 0)
    _check_groups(function, w.shape[0], groups, "input")
    if w.shape[0] != g.shape[1]:
        # The weight's first axis is what the input's channels must be.
        kernel = (w.shape[1], w.shape[0], *w.shape[2:])
        raise located(ShapeError, _channel_fault(function, g.shape, kernel, 1, single))
    sizes, pads, missing = [], [], []
    for t, k, s, d, p, o in zip(g.shape[2:], w.shape[2:], steps, gaps, cut, added, strict=True):
        if o >= max(s, d):
            raise located(
                OptionError,
                f"{function}: output_padding={output_padding!r} must be below the stride or the"
                f" dilation ({s} and {d})",
            )
        # The convolution is given the length of which it makes t places; whole strides more than
        # that are less padding, and zeros where there is no padding left.
        whole = o // s * s
        length = (t - 1) * s - 2 * p + d * (k - 1) + o + 1
        sizes.append(length - max(whole - p, 0))
        pads.append((p, max(p - whole, 0)))
        missing.append(max(whole - p, 0))
        if sizes[-1] < 1:
            raise located(
                ShapeError,
                f"{function}: nothing is left of an axis of length {t}: padding={padding!r} cuts"
                " off more than there is",
            )
    y = g.convolution_input(
        w, stride=steps, padding=tuple(pads), dilation=gaps, groups=groups, size=tuple(sizes)
    )
    if any(missing):
        none = (0,) * y.ndim
        y = y.pad(none, (0, 0, *missing), none)
    return Tensor(one_or_many(_biased(y, bias, function), single))


def padded_conv(
    function: Any, mode: str, input: Tensor, weight: Tensor, bias: Tensor | None, at: Any
) -> Tensor:
    """Convolve with a border that is made of the image itself.

    Args:
        function: :func:`conv1d`, :func:`conv2d` or :func:`conv3d`.
        mode: "reflect", "replicate" or "circular", as :func:`pad` has them.
        input, weight, bias: as for :func:`conv2d`.
        at: stride, padding, dilation and groups.
    """
    stride, padding, dilation, groups = at
    name, rank = function.__name__, weight.ndim - 2
    steps = each_axis(stride, rank, name, "stride", 1)
    gaps = each_axis(dilation, rank, name, "dilation", 1)
    amounts = _amounts(padding, tuple(weight.shape[2:]), steps, gaps, name)
    flat = [amount for pair in reversed(amounts) for amount in pair]
    bordered = pad_tensor(input, flat, mode)
    result: Tensor = function(bordered, weight, bias, steps, 0, gaps, groups)
    return result
