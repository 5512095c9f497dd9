"""Layers of kernels that move over signals, images and volumes, and their transposes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from .. import functional as F
from ..errors import OptionError, ShapeError
from ..tensor import Tensor
from . import init
from ._module import Module
from ._parameter import Parameter

MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """What convolutions and their transposes share: settings, weight and bias."""

    rank: ClassVar[int] = 0
    transposed: ClassVar[bool] = False
    weight: Parameter
    bias: Parameter | None

    def _build(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if in_channels < 1 or out_channels < 1:
            raise OptionError(
                f"{name}: in_channels and out_channels must be 1 or more;"
                f" {in_channels} and {out_channels} were given"
            )
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise OptionError(
                f"{name}: groups={groups} must divide in_channels={in_channels} and"
                f" out_channels={out_channels}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = F.each_axis(kernel_size, self.rank, name, "kernel_size", 1)
        self.stride = F.each_axis(stride, self.rank, name, "stride", 1)
        self.dilation = F.each_axis(dilation, self.rank, name, "dilation", 1)
        self.padding = self._padding(padding)
        self.output_padding = (0,) * self.rank
        self.groups = groups
        self.padding_mode = self._mode(padding_mode)
        outer, inner = out_channels, in_channels // groups
        if self.transposed:
            outer, inner = in_channels, out_channels // groups
        shape = (outer, inner, *self.kernel_size)
        self.weight = Parameter(init.blank(shape, device, dtype))
        held = Parameter(init.blank((out_channels,), device, dtype)) if bias else None
        self.register_parameter("bias", held)
        self.reset_parameters()

    def _padding(self, padding: Any) -> Any:
        """Return numbers for each axis, or one of the two words."""
        name = type(self).__name__
        if not isinstance(padding, str):
            return F.each_axis(padding, self.rank, name, "padding", 0)
        if padding not in ("same", "valid") or self.transposed:
            words = "" if self.transposed else ", 'same' or 'valid'"
            raise OptionError(
                f"{name}: padding={padding!r} does not exist.\n  expected: numbers{words}"
            )
        if padding == "same" and max(self.stride) > 1:
            raise OptionError(
                f"{name}: padding='same' needs a stride of 1; {self.stride} was given.\n"
                "  fix: padding in numbers"
            )
        return padding

    def _mode(self, padding_mode: str) -> str:
        allowed = ("zeros",) if self.transposed else MODES
        if padding_mode not in allowed:
            raise OptionError(
                f"{type(self).__name__}: padding_mode={padding_mode!r} does not exist.\n"
                f"  expected: {', '.join(map(repr, allowed))}"
            )
        return padding_mode

    def reset_parameters(self) -> None:
        """Draw weight and bias anew: uniform within `1 / sqrt(inputs)` of zero."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(init.fans(self.weight)[0])
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """Name the settings that are not the usual ones."""
        none = (0,) * self.rank
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        usual = {"padding": none, "dilation": (1,) * self.rank, "output_padding": none, "groups": 1}
        parts += [
            f"{name}={getattr(self, name)}"
            for name, value in usual.items()
            if getattr(self, name) != value
        ]
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Convolution(_Conv):
    """A convolution of some number of axes; see `Conv2d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self._build(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return the kernels' sums over `input`, plus the bias."""
        function = (F.conv1d, F.conv2d, F.conv3d)[self.rank - 1]
        at = (self.stride, self.padding, self.dilation, self.groups)
        if self.padding_mode != "zeros":
            return F.padded_conv(function, self.padding_mode, input, self.weight, self.bias, at)
        return function(input, self.weight, self.bias, *at)


class Conv1d(_Convolution):
    """Kernels that move over signals; arguments as for `Conv2d`.

    Shapes: (N, C, L) or (C, L) becomes (N, O, T) or (O, T).

    >>> import chainrule as cr
    >>> tuple(cr.nn.Conv1d(2, 8, 3, padding="same")(cr.zeros(5, 2, 10)).shape)
    (5, 8, 10)
    """

    rank = 1


class Conv2d(_Convolution):
    """Kernels that move over images in two directions, each summing over all channels.

    The sum is PyTorch's cross-correlation; `chainrule.nn.functional.convolve` flips the kernel.
    Weight and bias start uniform within `1 / sqrt(in_channels / groups · KH · KW)` of zero.

    Args:
        in_channels: the number of channels C of the input.
        out_channels: the number of kernels O.
        kernel_size: the kernels' lengths; a number, or one for each axis.
        stride: steps between two places of the kernel.
        padding: how much is added on both sides; numbers, "valid" (nothing) or "same" (as much as
            keeps the lengths).
        dilation: steps between two elements of the kernel.
        groups: into how many groups the channels are parted, each with kernels of its own;
            in_channels makes a depthwise convolution.
        bias: whether there is a bias.
        padding_mode: what is added: "zeros", "reflect", "replicate" or "circular".
        device: accepted for PyTorch's sake.
        dtype: of weight and bias; the default dtype unless given.

    Shapes: (N, C, H, W) or (C, H, W) becomes (N, O, TH, TW) or (O, TH, TW), where
    T = ⌊(S + 2 padding - dilation (K - 1) - 1) / stride⌋ + 1; weight (O, C / groups, KH, KW).

    Raises:
        OptionError: for settings that do not exist or do not fit each other.
        ShapeError: for an input of other channels, or smaller than the kernel.

    >>> import chainrule as cr
    >>> layer = cr.nn.Conv2d(1, 16, kernel_size=5, stride=1, padding=2)
    >>> tuple(layer(cr.zeros(100, 1, 28, 28)).shape), tuple(layer.weight.shape)
    ((100, 16, 28, 28), (16, 1, 5, 5))
    """

    rank = 2


class Conv3d(_Convolution):
    """Kernels that move over volumes, or over images in time; arguments as for `Conv2d`.

    Shapes: (N, C, D, H, W) or (C, D, H, W) becomes (N, O, TD, TH, TW) or (O, TD, TH, TW).

    >>> import chainrule as cr
    >>> tuple(cr.nn.Conv3d(1, 4, 3)(cr.zeros(2, 1, 8, 8, 8)).shape)
    (2, 4, 6, 6, 6)
    """

    rank = 3


class _Transposed(_Conv):
    """A transposed convolution of some number of axes; see `ConvTranspose2d`."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self._build(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        name = type(self).__name__
        self.output_padding = F.each_axis(output_padding, self.rank, name, "output_padding", 0)

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """Return what all elements of `input` add, of the lengths `output_size` if given."""
        functions = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
        return functions[self.rank - 1](
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self._missing(input, output_size),
            self.groups,
            self.dilation,
        )

    def _missing(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        """Return the output padding that gives the lengths asked for."""
        if output_size is None:
            return self.output_padding
        asked = tuple(int(n) for n in output_size)[-self.rank :]
        sizes = tuple(input.shape)[-self.rank :]
        least = tuple(
            (t - 1) * s - 2 * p + d * (k - 1) + 1
            for t, s, p, d, k in zip(
                sizes, self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        )
        missing = tuple(n - low for n, low in zip(asked, least, strict=False))
        fits = all(0 <= m < s for m, s in zip(missing, self.stride, strict=False))
        if len(asked) != self.rank or not fits:
            most = tuple(low + s - 1 for low, s in zip(least, self.stride, strict=True))
            raise ShapeError(
                f"{type(self).__name__}: output_size={tuple(output_size)} is not possible for an"
                f" input of lengths {sizes}.\n  expected: from {least} to {most}"
            )
        return missing


class ConvTranspose1d(_Transposed):
    """Transpose of `Conv1d`; arguments as for `ConvTranspose2d`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.ConvTranspose1d(3, 2, 4, stride=2)(cr.zeros(1, 3, 5)).shape)
    (1, 2, 12)
    """

    rank = 1


class ConvTranspose2d(_Transposed):
    """Transpose of `Conv2d`: each element of the input adds its multiple of the kernels.

    Args:
        in_channels: the number of channels C of the input.
        out_channels: the number of channels O of the output.
        kernel_size: the kernels' lengths; a number, or one for each axis.
        stride: steps between what two neighbours add.
        padding: how much is cut off on both sides.
        output_padding: rows added behind, below the stride or the dilation.
        groups: into how many groups the channels are parted.
        bias: whether there is a bias.
        dilation: steps between two elements of the kernel.
        padding_mode: only "zeros".
        device: accepted for PyTorch's sake.
        dtype: of weight and bias; the default dtype unless given.

    Shapes: (N, C, H, W) or (C, H, W) becomes (N, O, SH, SW) or (O, SH, SW), where
    S = (T - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1; weight
    (C, O / groups, KH, KW).

    Raises:
        OptionError: for settings that do not exist or do not fit each other.
        ShapeError: for an input of other channels, or an `output_size` that is not possible.

    >>> import chainrule as cr
    >>> layer = cr.nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1)
    >>> x = cr.zeros(1, 8, 5, 5)
    >>> tuple(layer(x).shape), tuple(layer(x, output_size=(10, 10)).shape)
    ((1, 4, 9, 9), (1, 4, 10, 10))
    """

    rank = 2


class ConvTranspose3d(_Transposed):
    """Transpose of `Conv3d`; arguments as for `ConvTranspose2d`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.ConvTranspose3d(2, 1, 2, stride=2)(cr.zeros(1, 2, 3, 3, 3)).shape)
    (1, 1, 6, 6, 6)
    """

    rank = 3
