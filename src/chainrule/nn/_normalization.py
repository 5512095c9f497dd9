"""Normalisation layers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import functional as F
from ..config import set_state
from ..dtypes import float64
from ..errors import OptionError, ShapeError
from ..tensor import Tensor, tensor
from . import init
from ._module import Module
from ._parameter import Parameter


class _BatchNorm(Module):
    """What the layers that normalise over the batch share; see `BatchNorm1d`."""

    ranks: ClassVar[tuple[int, ...]] = ()
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        shape = (num_features,)
        for name, present in (("weight", affine), ("bias", affine and bias)):
            held = Parameter(init.blank(shape, device, dtype)) if present else None
            self.register_parameter(name, held)
        for name in ("running_mean", "running_var"):
            kept = init.blank(shape, device, dtype) if track_running_stats else None
            self.register_buffer(name, kept)
        count = tensor(np.zeros((), np.int64)) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Start the running statistics anew: mean 0, variance 1, no batches seen."""
        if self.running_mean is not None and self.running_var is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Start anew: weight 1, bias 0, and the running statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the standardised `input`; in training move the running statistics."""
        if input.ndim not in self.ranks:
            expected = " or ".join(f"{rank} axes" for rank in self.ranks)
            raise ShapeError(
                f"{type(self).__name__}: the input must have {expected}, (N, C, ...); "
                f"its shape is {tuple(input.shape)}"
            )
        if input.shape[1] != self.num_features:
            raise ShapeError(
                f"{type(self).__name__}: the input has {input.shape[1]} channels (axis 1), the "
                f"layer {self.num_features}.\n  given: input {tuple(input.shape)}\n"
                f"  fix: {type(self).__name__}({input.shape[1]})"
            )
        return F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            self._share(),
            self.eps,
        )

    def _share(self) -> Any:
        """Return the weight of the new batch in the running statistics, counting the batch."""
        if not self.training or self.num_batches_tracked is None:
            return 0.0
        count = self.num_batches_tracked
        with set_state(grad_enabled=False):
            count.copy_(count + 1)
        if self.momentum is None:
            return 1.0 / count.node.cast(float64)
        return self.momentum

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Standardise each channel over the batch; in evaluation by running statistics.

    Args:
        num_features: the number of channels C.
        eps: keeps the division finite.
        momentum: weight of the new batch in the running statistics; None averages all batches.
        affine: whether a trained weight multiplies and a trained bias is added.
        track_running_stats: whether running statistics are kept; without them the batch's own are
            used in evaluation too.
        device, dtype: of parameters and statistics.
        bias: False leaves out the bias.

    Shapes: (N, C) or (N, C, L), and the same out.

    Raises:
        ShapeError: for other shapes and numbers of channels, and, in training, for one value a
            channel.

    >>> import chainrule as cr
    >>> layer = cr.nn.BatchNorm1d(1, eps=0.0)
    >>> layer(cr.tensor([[1.0], [3.0]])).tolist()
    [[-1.0], [1.0]]
    >>> round(layer.running_mean.item(), 6)
    0.2
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Standardise each channel of images over the batch; arguments as for `BatchNorm1d`.

    Shapes: (N, C, H, W), and the same out.

    >>> import chainrule as cr
    >>> tuple(cr.nn.BatchNorm2d(3)(cr.rand(2, 3, 4, 4)).shape)
    (2, 3, 4, 4)
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Standardise each channel of volumes over the batch; arguments as for `BatchNorm1d`.

    Shapes: (N, C, D, H, W), and the same out.

    >>> import chainrule as cr
    >>> tuple(cr.nn.BatchNorm3d(2)(cr.rand(2, 2, 2, 2, 2)).shape)
    (2, 2, 2, 2, 2)
    """

    ranks = (5,)


class LayerNorm(Module):
    """Standardise each example over its last axes.

    Args:
        normalized_shape: the last axes: one length, or several.
        eps: keeps the division finite.
        elementwise_affine: whether a trained weight multiplies (and a bias is added).
        bias: whether there is a bias.
        device, dtype: of the parameters.

    Shapes: (..., *normalized_shape), and the same out.

    >>> import chainrule as cr
    >>> cr.nn.LayerNorm(2, eps=0.0)(cr.tensor([[1.0, 3.0]])).tolist()
    [[-1.0, 1.0]]
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        given = normalized_shape
        self.normalized_shape = (given,) if isinstance(given, int) else tuple(given)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, present in (("weight", True), ("bias", bias)):
            held = elementwise_affine and present
            blank = Parameter(init.blank(self.normalized_shape, device, dtype)) if held else None
            self.register_parameter(name, blank)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start anew: weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the standardised `input`."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Name the settings."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class GroupNorm(Module):
    """Standardise each example over groups of its channels.

    Args:
        num_groups: how many groups; it divides the number of channels.
        num_channels: the number of channels C.
        eps: keeps the division finite.
        affine: whether a trained weight multiplies and a trained bias is added.
        device, dtype: of the parameters.
        bias: False leaves out the bias.

    Shapes: (N, C, ...), and the same out.

    Raises:
        OptionError: when the groups do not divide the channels.

    >>> import chainrule as cr
    >>> cr.nn.GroupNorm(2, 4, eps=0.0)(cr.tensor([[1.0, 3.0, 5.0, 9.0]])).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise OptionError(
                f"GroupNorm: {num_groups} groups do not divide {num_channels} channels"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        for name, present in (("weight", affine), ("bias", affine and bias)):
            blank = init.blank((num_channels,), device, dtype)
            self.register_parameter(name, Parameter(blank) if present else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start anew: weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the standardised `input`."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Name the settings."""
        text = f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
        return f"{text}, bias={self.bias is not None}"


class RMSNorm(Module):
    """Divide each example by the root mean square of its last axes.

    Args:
        normalized_shape: the last axes: one length, or several.
        eps: keeps the division finite; the dtype's own rounding unless given.
        elementwise_affine: whether a trained weight multiplies.
        device, dtype: of the parameter.

    Shapes: (..., *normalized_shape), and the same out.

    >>> import chainrule as cr
    >>> cr.nn.RMSNorm(2, eps=0.0)(cr.tensor([[3.0, 3.0]])).tolist()
    [[1.0, 1.0]]
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        given = normalized_shape
        self.normalized_shape = (given,) if isinstance(given, int) else tuple(given)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        blank = init.blank(self.normalized_shape, device, dtype)
        self.register_parameter("weight", Parameter(blank) if elementwise_affine else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start anew: weight 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        """Return the scaled `input`."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Name the settings."""
        text = f"{self.normalized_shape}, eps={self.eps}, "
        return f"{text}elementwise_affine={self.elementwise_affine}"
