"""Functions of each element that are made of others: logarithms, rounding, mixing."""

from __future__ import annotations

import math
from typing import Any

from ..ops import WHERE, apply
from ._handle import lift
from ._tensor import Tensor


def _choose(condition: Tensor, yes: Any, no: Any, like: Tensor) -> Tensor:
    node = like.node
    return Tensor(apply(WHERE, condition.node, lift(yes, node), lift(no, node)))


def _wide(input: Tensor) -> Tensor:
    """Whole numbers as floating-point ones, as functions with real results take them."""
    result: Tensor = input if input.dtype.is_float else input.type(input.default_float())
    return result


def log2(input: Tensor) -> Tensor:
    """The logarithm to base 2.

    Example:
        >>> import chainrule as cr
        >>> log2(cr.tensor([1.0, 8.0]))
        tensor([0., 3.])
    """
    result: Tensor = _wide(input).log() / math.log(2.0)
    return result


def log10(input: Tensor) -> Tensor:
    """The logarithm to base 10.

    Example:
        >>> import chainrule as cr
        >>> log10(cr.tensor([1.0, 100.0]))
        tensor([0., 2.])
    """
    result: Tensor = _wide(input).log() / math.log(10.0)
    return result


def exp2(input: Tensor) -> Tensor:
    """2 to the power of each element.

    Example:
        >>> import chainrule as cr
        >>> exp2(cr.tensor([3.0]))
        tensor([8.])
    """
    result: Tensor = 2.0 ** _wide(input)
    return result


def rsqrt(input: Tensor) -> Tensor:
    """1 / sqrt(x).

    Example:
        >>> import chainrule as cr
        >>> rsqrt(cr.tensor([4.0]))
        tensor([0.5])
    """
    result: Tensor = 1 / _wide(input).sqrt()
    return result


def trunc(input: Tensor) -> Tensor:
    """Without the part after the decimal point.

    Example:
        >>> import chainrule as cr
        >>> trunc(cr.tensor([1.7, -1.7]))
        tensor([ 1., -1.])
    """
    if not input.dtype.is_float:
        return input
    return _choose(input < 0, input.ceil(), input.floor(), input)


def frac(input: Tensor) -> Tensor:
    """The part after the decimal point, with the sign of the number.

    Example:
        >>> import chainrule as cr
        >>> frac(cr.tensor([1.5, -1.5]))
        tensor([ 0.5, -0.5])
    """
    result: Tensor = input - trunc(input)
    return result


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest whole number, or number of so many decimals; of two equally near the even one.

    Example:
        >>> import chainrule as cr
        >>> round(cr.tensor([0.5, 1.5, 2.6, -0.5]))
        tensor([ 0.,  2.,  3., -0.])
    """
    if not input.dtype.is_float:
        return input
    scale = 10.0**decimals
    scaled = input if decimals == 0 else input * scale
    low = scaled.floor()
    rest = scaled - low
    odd = low - 2 * (low / 2).floor() == 1
    up = (rest > 0.5) | ((rest == 0.5) & odd)
    # ceil and floor give -0 where a rounded negative number is 0, as IEEE 754 asks.
    nearest = _choose(up, scaled.ceil(), low, scaled)
    return nearest if decimals == 0 else nearest / scale


def tan(input: Tensor) -> Tensor:
    """The tangent.

    Example:
        >>> import chainrule as cr
        >>> tan(cr.tensor([0.0]))
        tensor([0.])
    """
    result: Tensor = _wide(input).sin() / _wide(input).cos()
    return result


def sinh(input: Tensor) -> Tensor:
    """The hyperbolic sine, precise near 0.

    Example:
        >>> import chainrule as cr
        >>> sinh(cr.tensor([0.0]))
        tensor([0.])
    """
    grown = _wide(input).expm1()
    result: Tensor = (grown - (-_wide(input)).expm1()) / 2
    return result


def cosh(input: Tensor) -> Tensor:
    """The hyperbolic cosine.

    Example:
        >>> import chainrule as cr
        >>> cosh(cr.tensor([0.0]))
        tensor([1.])
    """
    result: Tensor = (_wide(input).exp() + (-_wide(input)).exp()) / 2
    return result


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(p / (1 - p)), the inverse of the sigmoid.

    Args:
        input: shares between 0 and 1.
        eps: cut the shares off this far from 0 and 1 first.

    Example:
        >>> import chainrule as cr
        >>> logit(cr.tensor([0.5]))
        tensor([0.])
    """
    share = _wide(input)
    if eps is not None:
        share = share.clamp(eps, 1 - eps)
    result: Tensor = share.log() - (-share).log1p()
    return result


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """The way from one tensor to another, of which ``weight`` is gone.

    Example:
        >>> import chainrule as cr
        >>> lerp(cr.tensor([0.0]), cr.tensor([10.0]), 0.25)
        tensor([2.5])
    """
    result: Tensor = input + (end - input) * weight
    return result


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``.

    Example:
        >>> import chainrule as cr
        >>> addcmul(cr.ones(1), cr.tensor([2.0]), cr.tensor([3.0]), value=0.5)
        tensor([4.])
    """
    product = tensor1 * tensor2
    result: Tensor = input + (product if value == 1 else product * value)
    return result


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``.

    Example:
        >>> import chainrule as cr
        >>> addcdiv(cr.ones(1), cr.tensor([6.0]), cr.tensor([3.0]))
        tensor([3.])
    """
    share = tensor1 / tensor2
    result: Tensor = input + (share if value == 1 else share * value)
    return result


def floor_divide(input: Tensor, other: Any) -> Tensor:
    """The whole number below ``input / other``.

    Example:
        >>> import chainrule as cr
        >>> floor_divide(cr.tensor([7, -7]), 2)
        tensor([ 3, -4])
    """
    result: Tensor = input // other
    return result


def remainder(input: Tensor, other: Any) -> Tensor:
    """What division leaves, with the sign of the divisor.

    Example:
        >>> import chainrule as cr
        >>> remainder(cr.tensor([7, -7]), 3)
        tensor([1, 2])
    """
    result: Tensor = input % other
    return result


def fmod(input: Tensor, other: Any) -> Tensor:
    """What division leaves, with the sign of the dividend.

    Example:
        >>> import chainrule as cr
        >>> fmod(cr.tensor([7.0, -7.0]), 3.0)
        tensor([ 1., -1.])
    """
    left = input.abs() % (other.abs() if isinstance(other, Tensor) else abs(other))
    return _choose(input < 0, -left, left, left)


def hypot(input: Tensor, other: Tensor) -> Tensor:
    """The longest side of a right triangle: sqrt(a² + b²).

    Example:
        >>> import chainrule as cr
        >>> hypot(cr.tensor([3.0]), cr.tensor([4.0]))
        tensor([5.])
    """
    result: Tensor = (input * input + other * other).sqrt()
    return result


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(a) + exp(b)), without overflow.

    Example:
        >>> import chainrule as cr
        >>> logaddexp(cr.tensor([1000.0]), cr.tensor([0.0]))
        tensor([1000.])
    """
    high, low = input.maximum(other), input.minimum(other)
    result: Tensor = high + (low - high).exp().log1p()
    return result


def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """One holds, but not both.

    Example:
        >>> import chainrule as cr
        >>> logical_xor(cr.tensor([True, True]), cr.tensor([True, False]))
        tensor([False,  True])
    """
    result: Tensor = input.bool() != other.bool()
    return result


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """Cut off below ``min``.

    Example:
        >>> import chainrule as cr
        >>> clamp_min(cr.tensor([-1.0, 1.0]), 0.0)
        tensor([0., 1.])
    """
    result: Tensor = input.clamp(min=min)
    return result


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """Cut off above ``max``.

    Example:
        >>> import chainrule as cr
        >>> clamp_max(cr.tensor([-1.0, 1.0]), 0.0)
        tensor([-1.,  0.])
    """
    result: Tensor = input.clamp(max=max)
    return result


def nan_to_num(
    input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """Numbers in the place of NaN and infinities: by default 0 and the largest of the dtype.

    Example:
        >>> import chainrule as cr
        >>> nan_to_num(cr.tensor([float("nan"), 1.0]))
        tensor([0., 1.])
    """
    import numpy as np

    if not input.dtype.is_float:
        return input
    limit = float(np.finfo(input.dtype.np).max)
    high = limit if posinf is None else posinf
    low = -limit if neginf is None else neginf
    result = _choose(input != input, nan, input, input)
    result = _choose(input == float("inf"), high, result, input)
    return _choose(input == float("-inf"), low, result, input)


def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Where two tensors agree within ``atol + rtol * |other|``.

    Example:
        >>> import chainrule as cr
        >>> isclose(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 2.1]))
        tensor([ True, False])
    """
    near = (input - other).abs() <= atol + rtol * other.abs()
    same = (input == other) | (near & (other.abs() < float("inf")))
    if equal_nan:
        same = same | ((input != input) & (other != other))
    result: Tensor = same
    return result
