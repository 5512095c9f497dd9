"""Layers that resize images, and images as columns of their windows."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..tensor import Tensor
from ._module import Module


class Upsample(Module):
    """Resize signals, images or volumes.

    Args:
        size: the new lengths; a number, or one for each axis.
        scale_factor: what the lengths are multiplied by, instead of `size`.
        mode: "nearest", "linear", "bilinear", "bicubic" or "trilinear".
        align_corners: whether the corner elements' middles stay where they are.
        recompute_scale_factor: whether the scale is that of the rounded lengths.

    >>> import chainrule as cr
    >>> cr.nn.Upsample(scale_factor=2)(cr.tensor([[[1.0, 2.0]]])).tolist()
    [[[1.0, 1.0, 2.0, 2.0]]]
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple(float(one) for one in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` resized."""
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        """Name the size and the mode."""
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor!r}, mode={self.mode!r}"
        return f"size={self.size!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Resize images by their nearest element.

    >>> import chainrule as cr
    >>> cr.nn.UpsamplingNearest2d(2)(cr.tensor([[[[1.0]]]])).tolist()
    [[[[1.0, 1.0], [1.0, 1.0]]]]
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """Resize images bilinearly, corners aligned.

    >>> import chainrule as cr
    >>> cr.nn.UpsamplingBilinear2d((1, 3))(cr.tensor([[[[1.0, 3.0]]]])).tolist()
    [[[[1.0, 2.0, 3.0]]]]
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)


class Unfold(Module):
    """Images as columns, one for each place of a window.

    Args:
        kernel_size, dilation, padding, stride: where windows lie, as for `Conv2d`.

    Shapes: (N, C, H, W) becomes (N, C · KH · KW, places).

    >>> import chainrule as cr
    >>> tuple(cr.nn.Unfold((2, 3))(cr.zeros(2, 5, 3, 4)).shape)
    (2, 30, 4)
    """

    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """Return the windows of `input`."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )


class Fold(Module):
    """Columns added up to images: the transpose of `Unfold`.

    Args:
        output_size: the images' lengths.
        kernel_size, dilation, padding, stride: what `Unfold` had.

    Shapes: (N, C · KH · KW, places) becomes (N, C, H, W).

    >>> import chainrule as cr
    >>> tuple(cr.nn.Fold((3, 4), (2, 3))(cr.zeros(2, 30, 4)).shape)
    (2, 5, 3, 4)
    """

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """Return the images."""
        return F.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )


class PixelShuffle(Module):
    """Turn r² channels into images r times as long and wide.

    >>> import chainrule as cr
    >>> tuple(cr.nn.PixelShuffle(3)(cr.zeros(1, 9, 4, 4)).shape)
    (1, 1, 12, 12)
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Return the larger images."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        """Name the factor."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """The reverse of `PixelShuffle`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.PixelUnshuffle(3)(cr.zeros(1, 1, 12, 12)).shape)
    (1, 9, 4, 4)
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Return the smaller images."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        """Name the factor."""
        return f"downscale_factor={self.downscale_factor}"
