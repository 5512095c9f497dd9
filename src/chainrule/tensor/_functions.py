"""Functions by PyTorch's names that are methods of tensors, and a few of several tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ops import SOFTPLUS, WHERE, apply
from ._handle import lift
from ._reduce import numpy_names
from ._shape import join
from ._tensor import Tensor, tensor


def _function(name: str) -> Callable[..., Any]:
    method = getattr(Tensor, name)

    def function(input: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Tensor):
            input = tensor(input)
        return method(input, *args, **kwargs)

    function.__name__ = name
    function.__qualname__ = name
    function.__doc__ = f"``input.{name}(...)``: {method.__doc__}"
    return function


add, sub, mul, div, pow = map(_function, ("add", "sub", "mul", "div", "pow"))
neg, abs, sign, exp, log, sqrt = map(_function, ("neg", "abs", "sign", "exp", "log", "sqrt"))
expm1, log1p, square, floor, ceil = map(_function, ("expm1", "log1p", "square", "floor", "ceil"))
reciprocal = _function("reciprocal")
sin, cos, tanh, sigmoid, relu = map(_function, ("sin", "cos", "tanh", "sigmoid", "relu"))
erf, clamp, maximum, minimum = map(_function, ("erf", "clamp", "maximum", "minimum"))
eq, ne, lt, le, gt, ge = map(_function, ("eq", "ne", "lt", "le", "gt", "ge"))
logical_and, logical_or = map(_function, ("logical_and", "logical_or"))
logical_not, matmul, mm, bmm, dot = map(_function, ("logical_not", "matmul", "mm", "bmm", "dot"))
sum, mean, max, min, amax, amin = map(_function, ("sum", "mean", "max", "min", "amax", "amin"))
argmax, argmin, var, std, norm = map(_function, ("argmax", "argmin", "var", "std", "norm"))
any, all, softmax, log_softmax = map(_function, ("any", "all", "softmax", "log_softmax"))
logsumexp, reshape, flatten = map(_function, ("logsumexp", "reshape", "flatten"))
permute, transpose, t, squeeze = map(_function, ("permute", "transpose", "t", "squeeze"))
unsqueeze, flip, chunk, split = map(_function, ("unsqueeze", "flip", "chunk", "split"))
unbind, gather, index_select = map(_function, ("unbind", "gather", "index_select"))
masked_fill, clone, numel = map(_function, ("masked_fill", "clone", "numel"))


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """``input`` where the condition holds, else ``other``; one of them may be a number.

    With the condition alone: the places where it holds, as ``nonzero(..., as_tuple=True)``.

    Example:
        >>> import chainrule as cr
        >>> cr.where(cr.tensor([True, False]), cr.tensor([1.0, 2.0]), 0)
        tensor([1., 0.])
    """
    if input is None and other is None:
        from ._more import nonzero

        return nonzero(condition, as_tuple=True)
    like = input.node if isinstance(input, Tensor) else lift(other, condition.node)
    node = apply(WHERE, condition.node, lift(input, like), lift(other, like))
    return Tensor(node)


@numpy_names
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after the other along an axis.

    Example:
        >>> import chainrule as cr
        >>> cr.cat([cr.ones(1), cr.zeros(1)])
        tensor([1., 0.])
    """
    result: Tensor = join(tensors, dim)
    return result


@numpy_names
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new axis.

    Example:
        >>> import chainrule as cr
        >>> cr.stack([cr.ones(2), cr.zeros(2)]).shape
        chainrule.Size([2, 2])
    """
    result: Tensor = join([one.unsqueeze(dim) for one in tensors], dim)
    return result


def softplus(input: Tensor) -> Tensor:
    """log(1 + exp(x)), without overflow.

    Example:
        >>> import chainrule as cr
        >>> softplus(cr.tensor([0.0]))
        tensor([0.6931])
    """
    return Tensor(apply(SOFTPLUS, input.node))


def is_tensor(obj: Any) -> bool:
    """Whether it is a tensor.

    Example:
        >>> is_tensor(1.0)
        False
    """
    return isinstance(obj, Tensor)
