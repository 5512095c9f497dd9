"""Normalisation: over the batch, over the features of an example, and to unit length.

Notation: x the input, m and v its mean and variance, `(x - m) / √(v + eps) * weight + bias`.
"""

from __future__ import annotations

from math import prod
from typing import Any

from ..config import set_state
from ..errors import OptionError, ShapeError
from ..tensor import Tensor
from ._common import float_node, located, node_of, normal_axis

ONE_VALUE = (
    "batch_norm: in training each channel needs more than one value, or its variance is 0.\n"
    "  given: input of shape {shape}\n"
    "  fix: use batches of two or more (drop_last=True leaves out a last one), or model.eval()"
)


def moments(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """Return mean and variance (divided by the count) over axes, which stay with length 1."""
    count = prod(x.shape[axis] for axis in axes)
    mean = x.sum(axes, True) / count
    apart = x - mean
    return mean, (apart * apart).sum(axes, True) / count


def standardised(x: Any, mean: Any, variance: Any, eps: float) -> Any:
    """Return (x - m) / √(v + eps)."""
    return (x - mean) / (variance + eps).sqrt()


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Standardise each channel over the batch, or by running statistics.

    Source: Ioffe and Szegedy, Batch Normalization (2015).

    Args:
        input: (N, C) or (N, C, ...).
        running_mean, running_var: (C,), moved towards the batch's own in training; or None.
        weight, bias: (C,), multiply and add afterwards; or None.
        training: use the batch's own mean and variance.
        momentum: weight of the new value in the running ones (a number or a 0-d node).
        eps: keeps the division finite.

    Returns:
        The shape of `input`.

    Raises:
        ShapeError: in training, when a channel has one value; and for other shapes.

    >>> import chainrule as cr
    >>> batch_norm(cr.tensor([[1.0], [3.0]]), None, None, training=True, eps=0.0).tolist()
    [[-1.0], [1.0]]
    """
    x = float_node(input, "batch_norm")
    if x.ndim < 2:
        raise located(
            ShapeError, f"batch_norm: the input must be (N, C) or (N, C, ...); given {x.shape}"
        )
    channels = x.shape[1]
    axes = (0, *range(2, x.ndim))
    across = (1, channels, *(1,) * (x.ndim - 2))
    if training:
        if x.size <= channels:
            raise located(ShapeError, ONE_VALUE.format(shape=x.shape))
        mean, variance = moments(x, axes)
        _follow(running_mean, mean, momentum, (channels,))
        count = x.size // channels
        _follow(running_var, variance.detach() * (count / (count - 1)), momentum, (channels,))
    elif running_mean is None or running_var is None:
        raise located(
            OptionError, "batch_norm: evaluation needs running_mean and running_var; one is None"
        )
    else:
        mean = channel(running_mean, across, "running_mean")
        variance = channel(running_var, across, "running_var")
    y = standardised(x, mean, variance, eps)
    if weight is not None:
        y = y * channel(weight, across, "weight")
    if bias is not None:
        y = y + channel(bias, across, "bias")
    return Tensor(y)


def _follow(running: Tensor | None, value: Any, momentum: Any, shape: tuple[int, ...]) -> None:
    """Move a running statistic towards the batch's: state, without a derivative."""
    if running is None:
        return
    with set_state(grad_enabled=False):
        before = node_of(running, "batch_norm", "a running statistic")
        share = momentum.cast(before.dtype) if hasattr(momentum, "cast") else momentum
        new = before + (value.detach().reshape(shape) - before) * share
        running.copy_(Tensor(new).detach())


def channel(
    values: Tensor, across: tuple[int, ...], name: str, function: str = "batch_norm"
) -> Any:
    """Return one value a channel, shaped to meet (N, C, ...)."""
    node = float_node(values, function, name)
    if node.shape != (across[1],):
        text = (
            f"{function}: {name} must be ({across[1]},), one a channel; its shape is {node.shape}"
        )
        raise located(ShapeError, text)
    return node.reshape(across)


def layer_norm(
    input: Tensor,
    normalized_shape: int | tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Standardise each example over its last axes.

    Source: Ba, Kiros, Hinton, Layer Normalization (2016).

    Args:
        input: (..., *normalized_shape).
        normalized_shape: the last axes, over which mean and variance are taken.
        weight, bias: of that shape, multiply and add afterwards; or None.
        eps: keeps the division finite.

    >>> import chainrule as cr
    >>> layer_norm(cr.tensor([[1.0, 3.0]]), (2,), eps=0.0).tolist()
    [[-1.0, 1.0]]
    """
    x = float_node(input, "layer_norm")
    axes = _last_axes(x, normalized_shape, "layer_norm")
    mean, variance = moments(x, axes)
    return Tensor(_scaled(standardised(x, mean, variance, eps), weight, bias, "layer_norm"))


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Standardise each example over groups of its channels.

    Source: Wu and He, Group Normalization (2018).

    Args:
        input: (N, C, ...).
        num_groups: how many groups the channels are parted into; it divides C.
        weight, bias: (C,), multiply and add afterwards; or None.
        eps: keeps the division finite.

    >>> import chainrule as cr
    >>> group_norm(cr.tensor([[1.0, 3.0, 5.0, 9.0]]), 2, eps=0.0).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """
    x = float_node(input, "group_norm")
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise located(
            ShapeError,
            f"group_norm: the channels (axis 1) must part into {num_groups} equal groups; "
            f"the input's shape is {x.shape}",
        )
    count, channels = x.shape[:2]
    rows = x.reshape((count, num_groups, x.size // max(count * num_groups, 1)))
    mean, variance = moments(rows, (2,))
    y = standardised(rows, mean, variance, eps).reshape(x.shape)
    across = (1, channels, *(1,) * (x.ndim - 2))
    if weight is not None:
        y = y * channel(weight, across, "weight")
    return Tensor(y if bias is None else y + channel(bias, across, "bias"))


def rms_norm(
    input: Tensor,
    normalized_shape: int | tuple[int, ...],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Divide each example by the root mean square of its last axes.

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019).

    Args:
        input: (..., *normalized_shape).
        normalized_shape: the last axes.
        weight: of that shape, multiplies afterwards; or None.
        eps: keeps the division finite; the dtype's own rounding unless given.

    >>> import chainrule as cr
    >>> rms_norm(cr.tensor([[3.0, 3.0]]), (2,), eps=0.0).tolist()
    [[1.0, 1.0]]
    """
    import numpy as np

    x = float_node(input, "rms_norm")
    axes = _last_axes(x, normalized_shape, "rms_norm")
    smallest = float(np.finfo(x.dtype.np).eps) if eps is None else eps
    count = prod(x.shape[axis] for axis in axes)
    square = (x * x).sum(axes, True) / count
    return Tensor(_scaled(x / (square + smallest).sqrt(), weight, None, "rms_norm"))


def _last_axes(x: Any, shape: int | tuple[int, ...], function: str) -> tuple[int, ...]:
    wanted = (shape,) if isinstance(shape, int) else tuple(shape)
    if not wanted or x.shape[-len(wanted) :] != wanted:
        raise located(
            ShapeError,
            f"{function}: the input's last axes must be {wanted}; its shape is {x.shape}.\n"
            f"  fix: normalized_shape={x.shape[-1:]} for the last axis alone",
        )
    return tuple(range(x.ndim - len(wanted), x.ndim))


def _scaled(y: Any, weight: Tensor | None, bias: Tensor | None, function: str) -> Any:
    if weight is not None:
        y = y * float_node(weight, function, "weight")
    return y if bias is None else y + float_node(bias, function, "bias")


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Divide by the p-norm along `dim`, where it is above `eps`.

    >>> import chainrule as cr
    >>> normalize(cr.tensor([[3.0, 4.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    x = float_node(input, "normalize")
    length = norm_node(x, p, (normal_axis(dim, x.ndim, "normalize"),), keepdims=True)
    return Tensor(x / (length > eps).where(length, eps))


def norm_node(x: Any, p: float, axes: tuple[int, ...], *, keepdims: bool) -> Any:
    """Return the p-norm of a node over axes; its slope where all is 0 is 0."""
    if p == float("inf"):
        return x.abs().amax(axes, keepdims)
    if p == 1:
        return x.abs().sum(axes, keepdims)
    powers = (x * x if p == 2 else x.abs() ** p).sum(axes, keepdims)
    some = powers > 0
    safe = some.where(powers, 1)
    return some.where(safe.sqrt() if p == 2 else safe ** (1.0 / p), 0)
