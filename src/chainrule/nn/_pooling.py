"""Pooling layers: the largest element or the mean of windows, and back."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import functional as F
from ..tensor import Tensor
from ._module import Module


class _MaxPool(Module):
    """What the layers of window maxima share; see `MaxPool2d`."""

    rank: ClassVar[int] = 0

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        """Return the largest elements, with their places if `return_indices`."""
        function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[self.rank - 1]
        return function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of each window of signals; arguments as for `MaxPool2d`.

    >>> import chainrule as cr
    >>> cr.nn.MaxPool1d(2)(cr.tensor([[3.0, 1.0, 2.0, 5.0]])).tolist()
    [[3.0, 5.0]]
    """

    rank = 1


class MaxPool2d(_MaxPool):
    """The largest element of each window of images.

    Args:
        kernel_size: the window's lengths; a number, or one for each axis.
        stride: steps between two windows; the window's lengths unless given.
        padding: a border that is never the largest, at most half of the window.
        dilation: steps between two elements of the window.
        return_indices: whether places are returned too, for `MaxUnpool2d`.
        ceil_mode: whether a last window that begins inside but ends outside counts.

    Shapes: (N, C, H, W) or (C, H, W) becomes (N, C, TH, TW) or (C, TH, TW).

    >>> import chainrule as cr
    >>> tuple(cr.nn.MaxPool2d(kernel_size=2)(cr.zeros(1, 16, 28, 28)).shape)
    (1, 16, 14, 14)
    """

    rank = 2


class MaxPool3d(_MaxPool):
    """The largest element of each window of volumes; arguments as for `MaxPool2d`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.MaxPool3d(2)(cr.zeros(1, 2, 8, 8, 8)).shape)
    (1, 2, 4, 4, 4)
    """

    rank = 3


class _AvgPool(Module):
    """What the layers of window means share; see `AvgPool2d`."""

    rank: ClassVar[int] = 0

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Return the means."""
        function = F.avg_pool2d if self.rank == 2 else F.avg_pool3d
        return function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The mean of each window of signals; arguments as for `AvgPool2d`, without a divisor.

    >>> import chainrule as cr
    >>> cr.nn.AvgPool1d(2)(cr.tensor([[3.0, 1.0, 2.0, 5.0]])).tolist()
    [[2.0, 3.5]]
    """

    rank = 1

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        window = F.each_axis(kernel_size, 1, "AvgPool1d", "kernel_size", 1)
        steps = window if stride is None else F.each_axis(stride, 1, "AvgPool1d", "stride", 1)
        around = F.each_axis(padding, 1, "AvgPool1d", "padding", 0)
        super().__init__(window, steps, around, ceil_mode, count_include_pad)

    def forward(self, input: Tensor) -> Tensor:
        """Return the means."""
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )


class AvgPool2d(_AvgPool):
    """The mean of each window of images.

    Args:
        kernel_size: the window's lengths; a number, or one for each axis.
        stride: steps between two windows; the window's lengths unless given.
        padding: a border of zeros, at most half of the window.
        ceil_mode: whether a last window that begins inside but ends outside counts.
        count_include_pad: whether the border's zeros count as elements.
        divisor_override: what sums are divided by, instead of the number of elements.

    Shapes: (N, C, H, W) or (C, H, W) becomes (N, C, TH, TW) or (C, TH, TW).

    >>> import chainrule as cr
    >>> cr.nn.AvgPool2d(2)(cr.tensor([[[1.0, 2.0], [4.0, 3.0]]])).tolist()
    [[[2.5]]]
    """

    rank = 2


class AvgPool3d(_AvgPool):
    """The mean of each window of volumes; arguments as for `AvgPool2d`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.AvgPool3d(2)(cr.zeros(1, 2, 4, 4, 4)).shape)
    (1, 2, 2, 2, 2)
    """

    rank = 3


class _LPPool(Module):
    """What the layers of window norms share; see `LPPool2d`."""

    rank: ClassVar[int] = 0

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """Return the norms."""
        function = (F.lp_pool1d, F.lp_pool2d, F.lp_pool3d)[self.rank - 1]
        return function(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """(Σ x^p)^(1/p) of each window of signals; arguments as for `LPPool2d`.

    >>> import chainrule as cr
    >>> cr.nn.LPPool1d(2, 2)(cr.tensor([[3.0, 4.0]])).tolist()
    [[5.0]]
    """

    rank = 1


class LPPool2d(_LPPool):
    """(Σ x^p)^(1/p) of each window of images.

    Args:
        norm_type: p.
        kernel_size: the window's lengths; a number, or one for each axis.
        stride: steps between two windows; the window's lengths unless given.
        ceil_mode: whether a last window that begins inside but ends outside counts.

    >>> import chainrule as cr
    >>> cr.nn.LPPool2d(2, (1, 2))(cr.tensor([[[3.0, 4.0]]])).tolist()
    [[[5.0]]]
    """

    rank = 2


class LPPool3d(_LPPool):
    """(Σ x^p)^(1/p) of each window of volumes; arguments as for `LPPool2d`.

    >>> import chainrule as cr
    >>> cr.nn.LPPool3d(2, (1, 1, 2))(cr.tensor([[[[3.0, 4.0]]]])).tolist()
    [[[[5.0]]]]
    """

    rank = 3


class _Adaptive(Module):
    """What the layers of a given number of windows share; see `AdaptiveAvgPool2d`."""

    rank: ClassVar[int] = 0

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Any:
        """Return the means."""
        functions = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
        return functions[self.rank - 1](input, self.output_size)

    def extra_repr(self) -> str:
        """Name the size."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """The means of a given number of windows; see `AdaptiveAvgPool2d`.

    >>> import chainrule as cr
    >>> cr.nn.AdaptiveAvgPool1d(2)(cr.tensor([[3.0, 1.0, 2.0, 4.0]])).tolist()
    [[2.0, 3.0]]
    """

    rank = 1


class AdaptiveAvgPool2d(_Adaptive):
    """The means of as many windows as asked for, whatever the images' lengths.

    Args:
        output_size: how many windows; a number, or one for each axis, None for the input's length.

    Shapes: (N, C, H, W) or (C, H, W) becomes (N, C, *output_size) or (C, *output_size).

    >>> import chainrule as cr
    >>> tuple(cr.nn.AdaptiveAvgPool2d((5, None))(cr.zeros(1, 64, 8, 9)).shape)
    (1, 64, 5, 9)
    """

    rank = 2


class AdaptiveAvgPool3d(_Adaptive):
    """The means of a given number of windows; see `AdaptiveAvgPool2d`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.AdaptiveAvgPool3d(1)(cr.zeros(1, 2, 3, 4, 5)).shape)
    (1, 2, 1, 1, 1)
    """

    rank = 3


class _AdaptiveMax(_Adaptive):
    """What the layers of the largest elements share; see `AdaptiveMaxPool2d`."""

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """Return the largest elements, with their places if `return_indices`."""
        functions = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)
        return functions[self.rank - 1](input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The largest elements of a given number of windows; see `AdaptiveMaxPool2d`.

    >>> import chainrule as cr
    >>> cr.nn.AdaptiveMaxPool1d(2)(cr.tensor([[3.0, 1.0, 2.0, 4.0]])).tolist()
    [[3.0, 4.0]]
    """

    rank = 1


class AdaptiveMaxPool2d(_AdaptiveMax):
    """The largest elements of as many windows as asked for, whatever the images' lengths.

    Args:
        output_size: how many windows; a number, or one for each axis, None for the input's length.
        return_indices: whether places are returned too.

    Shapes: (N, C, H, W) or (C, H, W) becomes (N, C, *output_size) or (C, *output_size).

    >>> import chainrule as cr
    >>> tuple(cr.nn.AdaptiveMaxPool2d((5, None))(cr.zeros(1, 64, 8, 9)).shape)
    (1, 64, 5, 9)
    """

    rank = 2


class AdaptiveMaxPool3d(_AdaptiveMax):
    """The largest elements of a given number of windows; see `AdaptiveMaxPool2d`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.AdaptiveMaxPool3d(1)(cr.zeros(1, 2, 3, 4, 5)).shape)
    (1, 2, 1, 1, 1)
    """

    rank = 3


class _MaxUnpool(Module):
    """What the layers that undo a pooling share; see `MaxUnpool2d`."""

    rank: ClassVar[int] = 0

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        name, rank = type(self).__name__, self.rank
        self.kernel_size = F.each_axis(kernel_size, rank, name, "kernel_size", 1)
        given = self.kernel_size if stride is None else stride
        self.stride = F.each_axis(given, rank, name, "stride", 1)
        self.padding = F.each_axis(padding, rank, name, "padding", 0)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """Return images with the elements of `input` at the places `indices`."""
        function = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[self.rank - 1]
        return function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Put pooled elements back where they came from; arguments as for `MaxUnpool2d`.

    >>> import chainrule as cr
    >>> y, places = cr.nn.MaxPool1d(2, return_indices=True)(cr.tensor([[3.0, 1.0, 2.0, 5.0]]))
    >>> cr.nn.MaxUnpool1d(2)(y, places).tolist()
    [[3.0, 0.0, 0.0, 5.0]]
    """

    rank = 1


class MaxUnpool2d(_MaxUnpool):
    """Put pooled elements back where they came from, zeros elsewhere.

    Args:
        kernel_size, stride, padding: what the pooling had.

    >>> import chainrule as cr
    >>> pool = cr.nn.MaxPool2d(2, return_indices=True)
    >>> y, places = pool(cr.tensor([[[1.0, 2.0], [4.0, 3.0]]]))
    >>> cr.nn.MaxUnpool2d(2)(y, places).tolist()
    [[[0.0, 0.0], [4.0, 0.0]]]
    """

    rank = 2


class MaxUnpool3d(_MaxUnpool):
    """Put pooled elements back where they came from; arguments as for `MaxUnpool2d`.

    >>> import chainrule as cr
    >>> y, places = cr.nn.MaxPool3d(2, return_indices=True)(cr.arange(8.0).reshape(1, 2, 2, 2))
    >>> cr.nn.MaxUnpool3d(2)(y, places).sum().item()
    7.0
    """

    rank = 3
