"""Activations: functions of each element by itself.

Where a formula has two parts, the part that is not taken is fed a harmless input, so that its
derivative cannot turn the sum into NaN.
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import OptionError, ShapeError
from ..tensor import Tensor
from ._common import float_node, located, node_of, normal_axis

# Klambauer et al., Self-Normalizing Neural Networks (2017).
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def relu(input: Tensor) -> Tensor:
    """Return `max(x, 0)`.

    >>> import chainrule as cr
    >>> relu(cr.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return Tensor(node_of(input, "relu").relu())


def sigmoid(input: Tensor) -> Tensor:
    """Return `1 / (1 + e^-x)`.

    >>> import chainrule as cr
    >>> sigmoid(cr.tensor([0.0])).tolist()
    [0.5]
    """
    return Tensor(node_of(input, "sigmoid").sigmoid())


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent.

    >>> import chainrule as cr
    >>> tanh(cr.tensor([0.0])).tolist()
    [0.0]
    """
    return Tensor(node_of(input, "tanh").tanh())


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Return x where it is positive, else `negative_slope x`.

    >>> import chainrule as cr
    >>> leaky_relu(cr.tensor([-1.0, 2.0]), 0.5).tolist()
    [-0.5, 2.0]
    """
    x = float_node(input, "leaky_relu")
    return Tensor((x > 0).where(x, x * negative_slope))


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return x where it is positive, else `weight x`, with a trained weight.

    Args:
        input: any shape.
        weight: one number, or one for each channel (axis 1).

    >>> import chainrule as cr
    >>> prelu(cr.tensor([[-1.0, 2.0]]), cr.tensor([0.25])).tolist()
    [[-0.25, 2.0]]
    """
    x, slope = float_node(input, "prelu"), float_node(weight, "prelu", "weight")
    if slope.size == 1:
        return Tensor((x > 0).where(x, x * slope.reshape(())))
    channels = x.shape[1] if x.ndim > 1 else 1
    if slope.shape != (channels,):
        raise located(
            ShapeError,
            "prelu: weight must hold one number, or one for each channel (axis 1).\n"
            f"  given: weight {slope.shape}, input {x.shape}\n  expected: (1,) or ({channels},)",
        )
    slopes = slope.reshape((channels, *(1,) * (x.ndim - 2)))
    return Tensor((x > 0).where(x, x * slopes))


def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x where it is positive, else `alpha (e^x - 1)`.

    >>> import chainrule as cr
    >>> elu(cr.tensor([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return Tensor(_elu(float_node(input, "elu"), alpha, 1.0, 1.0))


def selu(input: Tensor) -> Tensor:
    """Return the scaled ELU whose outputs keep mean 0 and variance 1 from layer to layer.

    >>> import chainrule as cr
    >>> round(selu(cr.tensor([1.0])).item(), 6)
    1.050701
    """
    return Tensor(_elu(float_node(input, "selu"), SELU_ALPHA, SELU_SCALE, 1.0))


def celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x where it is positive, else `alpha (e^(x / alpha) - 1)`: smooth for every alpha.

    >>> import chainrule as cr
    >>> celu(cr.tensor([0.0, 2.0]), 0.5).tolist()
    [0.0, 2.0]
    """
    if alpha == 0:
        raise located(OptionError, "celu: alpha must not be 0, it divides the input")
    return Tensor(_elu(float_node(input, "celu"), alpha, 1.0, 1.0 / alpha))


def _elu(x: Any, alpha: float, scale: float, inner: float) -> Any:
    positive = x > 0
    below = positive.where(0, x)
    curve = (below if inner == 1.0 else below * inner).expm1() * (alpha * scale)
    return positive.where(x if scale == 1.0 else x * scale, curve)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Return `x Φ(x)`, Φ being the normal distribution function.

    Args:
        input: any shape.
        approximate: "none", or "tanh" for `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`.

    >>> import chainrule as cr
    >>> round(gelu(cr.tensor([1.0])).item(), 6)
    0.841345
    """
    x = float_node(input, "gelu")
    if approximate == "none":
        return Tensor(x * ((x * math.sqrt(0.5)).erf() + 1) * 0.5)
    if approximate == "tanh":
        inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
        return Tensor(x * (inner.tanh() + 1) * 0.5)
    raise located(
        OptionError, f"gelu: approximate={approximate!r} does not exist; it is 'none' or 'tanh'"
    )


def silu(input: Tensor) -> Tensor:
    """Return `x sigmoid(x)`, also called swish.

    >>> import chainrule as cr
    >>> silu(cr.tensor([0.0])).tolist()
    [0.0]
    """
    x = float_node(input, "silu")
    return Tensor(x * x.sigmoid())


def mish(input: Tensor) -> Tensor:
    """Return `x tanh(softplus(x))`.

    >>> import chainrule as cr
    >>> mish(cr.tensor([0.0])).tolist()
    [0.0]
    """
    x = float_node(input, "mish")
    return Tensor(x * x.softplus().tanh())


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return `log(1 + e^(beta x)) / beta`, a smooth ReLU.

    Args:
        input: any shape.
        beta: how sharp the bend is.
        threshold: above it, x itself is returned; at 20 and more the two are equal to rounding.

    >>> import chainrule as cr
    >>> round(softplus(cr.tensor([0.0])).item(), 6)
    0.693147
    """
    x = float_node(input, "softplus")
    scaled = x if beta == 1 else x * beta
    y = scaled.softplus() if beta == 1 else scaled.softplus() / beta
    return Tensor(y if threshold >= 20 else (scaled > threshold).where(x, y))


def softsign(input: Tensor) -> Tensor:
    """Return `x / (1 + |x|)`.

    >>> import chainrule as cr
    >>> softsign(cr.tensor([1.0])).tolist()
    [0.5]
    """
    x = float_node(input, "softsign")
    return Tensor(x / (x.abs() + 1))


def logsigmoid(input: Tensor) -> Tensor:
    """Return `log sigmoid(x)`, exact also where the sigmoid rounds to 0.

    >>> import chainrule as cr
    >>> logsigmoid(cr.tensor([-500.0])).tolist()
    [-500.0]
    """
    return Tensor(-(-float_node(input, "logsigmoid")).softplus())


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Return x cut to `min_val` and `max_val`; the slope at both is 0.

    >>> import chainrule as cr
    >>> hardtanh(cr.tensor([-3.0, 0.5, 3.0])).tolist()
    [-1.0, 0.5, 1.0]
    """
    if min_val > max_val:
        raise located(OptionError, f"hardtanh: min_val={min_val} is above max_val={max_val}")
    return Tensor(_cut(float_node(input, "hardtanh"), min_val, max_val))


def _cut(x: Any, low: float, high: float) -> Any:
    return (x <= low).where(low, (x >= high).where(high, x))


def relu6(input: Tensor) -> Tensor:
    """Return x cut to 0 and 6.

    >>> import chainrule as cr
    >>> relu6(cr.tensor([-1.0, 9.0])).tolist()
    [0.0, 6.0]
    """
    return Tensor(_cut(float_node(input, "relu6"), 0.0, 6.0))


def hardsigmoid(input: Tensor) -> Tensor:
    """Return `(x + 3) / 6` cut to 0 and 1.

    >>> import chainrule as cr
    >>> hardsigmoid(cr.tensor([-4.0, 0.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return Tensor(_cut(float_node(input, "hardsigmoid") + 3, 0.0, 6.0) / 6)


def hardswish(input: Tensor) -> Tensor:
    """Return `x hardsigmoid(x)`.

    >>> import chainrule as cr
    >>> hardswish(cr.tensor([-4.0, 0.0, 4.0])).tolist()
    [-0.0, 0.0, 4.0]
    """
    x = float_node(input, "hardswish")
    return Tensor(x * _cut(x + 3, 0.0, 6.0) / 6)


def tanhshrink(input: Tensor) -> Tensor:
    """Return `x - tanh(x)`.

    >>> import chainrule as cr
    >>> tanhshrink(cr.tensor([0.0])).tolist()
    [0.0]
    """
    x = float_node(input, "tanhshrink")
    return Tensor(x - x.tanh())


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return x moved towards 0 by `lambd`, and 0 within it.

    >>> import chainrule as cr
    >>> softshrink(cr.tensor([-1.0, 0.2, 1.0])).tolist()
    [-0.5, 0.0, 0.5]
    """
    x = float_node(input, "softshrink")
    return Tensor((x > lambd).where(x - lambd, (x < -lambd).where(x + lambd, 0)))


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return x, and 0 where it lies within `lambd` of 0.

    >>> import chainrule as cr
    >>> hardshrink(cr.tensor([-1.0, 0.2, 1.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    x = float_node(input, "hardshrink")
    return Tensor((x.abs() > lambd).where(x, 0))


def threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    """Return x where it is above `threshold`, else `value`.

    >>> import chainrule as cr
    >>> threshold(cr.tensor([0.5, 2.0]), 1.0, 7.0).tolist()
    [7.0, 2.0]
    """
    x = node_of(input, "threshold")
    return Tensor((x > threshold).where(x, value))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Return the first half along `dim` times the sigmoid of the second.

    Shapes: an axis of even length 2n becomes n.

    >>> import chainrule as cr
    >>> glu(cr.tensor([3.0, 0.0])).tolist()
    [1.5]
    """
    x = float_node(input, "glu")
    axis = normal_axis(dim, x.ndim, "glu")
    length = x.shape[axis]
    if length % 2:
        raise located(
            ShapeError, f"glu: dim={dim} has length {length}; it must be even, to be halved"
        )
    starts, steps = [0] * x.ndim, (1,) * x.ndim
    stops = list(x.shape)
    stops[axis] = length // 2
    first = x.slice(tuple(starts), tuple(stops), steps)
    starts[axis] = length // 2
    return Tensor(first * x.slice(tuple(starts), x.shape, steps).sigmoid())
