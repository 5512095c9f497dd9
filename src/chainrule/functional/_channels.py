"""Regularisation and normalisation of images, channel by channel."""

from __future__ import annotations

from typing import Any

from ..config import set_state
from ..errors import OptionError, ShapeError
from ..tensor import Generator, Tensor, default_generator
from ._common import float_node, located, node_of
from ._normalize import channel, moments, standardised

# SELU's value for large negative numbers, to which alpha dropout sets what it drops.
_SATURATED = -1.7580993408473766


def _check_share(p: float, function: str) -> None:
    if not 0.0 <= p <= 1.0:
        raise located(OptionError, f"{function}: p must be from 0 to 1; {p} was given")


def _kept(x: Any, p: float, whole: bool, generator: Generator | None) -> Any:
    """Return which elements, or whole channels of (N, C, *S), stay."""
    shape = (*x.shape[:2], *(1,) * (x.ndim - 2)) if whole else x.shape
    return (generator or default_generator()).below(shape, 1.0 - p).node


def _drop_channels(
    function: str,
    input: Tensor,
    p: float,
    training: bool,
    ranks: tuple[int, ...],
    one: int,
    generator: Generator | None,
) -> Tensor:
    """Set whole channels to zero; `ranks` are allowed, of which `one` has no batch axis."""
    _check_share(p, function)
    x = float_node(input, function)
    if x.ndim not in ranks:
        expected = " or ".join(f"{rank} axes" for rank in ranks)
        raise located(
            ShapeError, f"{function}: the input must have {expected}; its shape is {x.shape}"
        )
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return Tensor(x * 0)
    y = x.reshape((1, *x.shape)) if x.ndim == one else x
    kept = _kept(y, p, True, generator)
    return Tensor((kept.where(y * (1.0 / (1.0 - p)), 0)).reshape(x.shape))


def dropout1d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Drop whole channels of signals (N, C, L) or (C, L); arguments as for :func:`dropout2d`.

    >>> import chainrule as cr
    >>> dropout1d(cr.ones(2, 3, 4), 0.0).sum().item()
    24.0
    """
    return _drop_channels("dropout1d", input, p, training, (2, 3), 2, generator)


def dropout2d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Set whole channels to zero with probability p and scale the others by 1 / (1 - p).

    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks (2015).

    Args:
        input: (N, C, H, W); three axes are taken for (N, C, L), as PyTorch does.
        p: the probability of dropping a channel, from 0 to 1.
        training: False returns the input unchanged.
        inplace: accepted for PyTorch's sake; has no effect.
        generator: where the random numbers come from; None is the global generator.

    Raises:
        ShapeError: for another number of axes.
        OptionError: when p is out of range.

    >>> import chainrule as cr
    >>> _ = cr.manual_seed(0)
    >>> y = dropout2d(cr.ones(1, 100, 2, 2), 0.5)
    >>> sorted(set(y.sum((2, 3)).flatten().tolist()))
    [0.0, 8.0]
    """
    return _drop_channels("dropout2d", input, p, training, (3, 4), 0, generator)


def dropout3d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Drop whole channels of volumes (N, C, D, H, W) or (C, D, H, W), as :func:`dropout2d` does.

    >>> import chainrule as cr
    >>> dropout3d(cr.ones(1, 2, 1, 1, 1), 1.0).sum().item()
    0.0
    """
    return _drop_channels("dropout3d", input, p, training, (4, 5), 4, generator)


def alpha_dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Drop elements to SELU's saturation, keeping mean and variance.

    Source: Klambauer et al., Self-Normalizing Neural Networks (2017).

    Args:
        input, p, training, inplace, generator: as for :func:`dropout`, except that `training` is
            False unless given.

    >>> import chainrule as cr
    >>> alpha_dropout(cr.ones(2), 0.5).tolist()
    [1.0, 1.0]
    """
    return _alpha("alpha_dropout", input, p, training, False, generator)


def feature_alpha_dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Drop whole channels of (N, C, ...) as :func:`alpha_dropout` drops elements.

    >>> import chainrule as cr
    >>> feature_alpha_dropout(cr.ones(1, 2, 2), 0.5).sum().item()
    4.0
    """
    return _alpha("feature_alpha_dropout", input, p, training, True, generator)


def _alpha(
    function: str,
    input: Tensor,
    p: float,
    training: bool,
    whole: bool,
    generator: Generator | None,
) -> Tensor:
    _check_share(p, function)
    x = float_node(input, function)
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return Tensor(x * 0)
    if whole and x.ndim < 2:
        raise located(ShapeError, f"{function}: the input must be (N, C, ...); given {x.shape}")
    scale = ((1.0 - p) * (1.0 + p * _SATURATED**2)) ** -0.5
    kept = _kept(x, p, whole, generator)
    return Tensor(kept.where(x, _SATURATED) * scale - scale * p * _SATURATED)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Standardise each channel of each example, or by running statistics.

    Source: Ulyanov, Vedaldi, Lempitsky, Instance Normalization (2016).

    Args:
        input: (N, C, ...).
        running_mean, running_var: (C,), moved towards the examples' mean ones; or None.
        weight, bias: (C,), multiply and add afterwards; or None.
        use_input_stats: use each example's own mean and variance.
        momentum: weight of the new value in the running ones.
        eps: keeps the division finite.

    Raises:
        ShapeError: when a channel has one value.
        OptionError: without statistics of either kind.

    >>> import chainrule as cr
    >>> instance_norm(cr.tensor([[[1.0, 3.0]]]), eps=0.0).tolist()
    [[[-1.0, 1.0]]]
    """
    x = float_node(input, "instance_norm")
    if x.ndim < 3:
        raise located(
            ShapeError, f"instance_norm: the input must be (N, C, *S); its shape is {x.shape}"
        )
    across = (1, x.shape[1], *(1,) * (x.ndim - 2))
    if use_input_stats:
        axes = tuple(range(2, x.ndim))
        count = x.size // max(x.shape[0] * x.shape[1], 1)
        if count < 2:
            raise located(
                ShapeError,
                "instance_norm: each channel needs more than one value, or its variance is 0.\n"
                f"  given: input of shape {x.shape}",
            )
        mean, variance = moments(x, axes)
        _follow(running_mean, mean, momentum)
        _follow(running_var, variance * (count / (count - 1)), momentum)
    elif running_mean is None or running_var is None:
        raise located(
            OptionError,
            "instance_norm: without use_input_stats it needs running_mean and running_var",
        )
    else:
        mean = channel(running_mean, across, "running_mean", "instance_norm")
        variance = channel(running_var, across, "running_var", "instance_norm")
    y = standardised(x, mean, variance, eps)
    if weight is not None:
        y = y * channel(weight, across, "weight", "instance_norm")
    return Tensor(y if bias is None else y + channel(bias, across, "bias", "instance_norm"))


def _follow(running: Tensor | None, values: Any, momentum: float) -> None:
    """Move a running statistic towards the mean over the examples: state, without a derivative."""
    if running is None:
        return
    with set_state(grad_enabled=False):
        before = node_of(running, "instance_norm", "a running statistic")
        found = values.detach().sum((0,), False).reshape(before.shape) / values.shape[0]
        running.copy_(Tensor(before + (found - before) * momentum).detach())


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide each element by (k + alpha · mean of squares over neighbouring channels)^beta.

    Source: Krizhevsky, Sutskever, Hinton, ImageNet Classification (2012).

    Args:
        input: (N, C, *S) with one spatial axis or more.
        size: how many channels count, the element's own in the middle.
        alpha, beta, k: as in the formula.

    >>> import chainrule as cr
    >>> local_response_norm(cr.ones(1, 1, 1), 1, alpha=1.0, beta=1.0).tolist()
    [[[0.5]]]
    """
    x = float_node(input, "local_response_norm")
    if x.ndim < 3 or size < 1:
        raise located(
            ShapeError,
            "local_response_norm: the input must be (N, C, *S), size 1 or more; given"
            f" {x.shape} and size={size}",
        )
    rows = (x * x).reshape((x.shape[0], 1, x.shape[1], x.size // max(x.shape[0] * x.shape[1], 1)))
    around = ((size // 2, (size - 1) // 2), (0, 0))
    total = rows.window_sum(window=(size, 1), stride=(1, 1), padding=around, dilation=(1, 1))
    return Tensor(x / (total.reshape(x.shape) * (alpha / size) + k) ** beta)
