"""Softmax and its relatives, in forms that do not overflow.

Shifting all inputs by their maximum m changes nothing, `e^(x-m) / Σ e^(x-m) = e^x / Σ e^x`, and
keeps every exponential at 1 or below. The maximum is detached: the derivative of a shift that
changes nothing is zero. Source: Goodfellow, Bengio, Courville, Deep Learning, section 4.1.
"""

from __future__ import annotations

import math
from typing import Any

from ..dtypes import as_dtype
from ..errors import OptionError
from ..tensor import Tensor
from ._common import float_node, located, node_of, normal_axis

NO_DIM = (
    "{function}: dim is missing, the axis over which the results add up to 1.\n"
    "  given: input of shape {shape}\n"
    "  fix: dim=1 for scores of shape (examples, classes); dim=-1 for the last axis"
)


def shifted(x: Any, axis: int) -> Any:
    """Return `x` minus its maximum along `axis`; rows of -inf alone stay as they are."""
    return x - x.detach().amax((axis,), True)


def softmax_node(x: Any, axis: int) -> Any:
    """Return the softmax of a node."""
    powers = shifted(x, axis).exp()
    return powers / powers.sum((axis,), True)


def log_softmax_node(x: Any, axis: int) -> Any:
    """Return the logarithm of the softmax of a node."""
    moved = shifted(x, axis)
    return moved - moved.exp().sum((axis,), True).log()


def logsumexp_node(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """Return the logarithm of the sum of exponentials of a node."""
    top = x.detach().amax(axes, True)
    # An infinite maximum must not meet itself in a difference: inf - inf has no value.
    top = top.abs().eq(math.inf).where(0, top)
    summed = (x - top).exp().sum(axes, True).log() + top
    if keepdims:
        return summed
    return summed.reshape(tuple(n for axis, n in enumerate(x.shape) if axis not in axes))


def _prepared(input: Tensor, dim: int | None, dtype: Any, function: str) -> tuple[Any, int]:
    node = node_of(input, function)
    if dtype is not None:
        node = node.cast(as_dtype(dtype))
    elif not node.dtype.is_float:
        node = float_node(input, function)
    if dim is None:
        raise located(OptionError, NO_DIM.format(function=function, shape=node.shape))
    if node.ndim == 0:
        node = node.reshape((1,))
    return node, normal_axis(dim, node.ndim, function)


def softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """Turn scores into shares that add up to 1 along `dim`.

    Args:
        input: scores, any shape.
        dim: the axis along which the shares add up to 1.
        dtype: convert the scores to this dtype first.

    Returns:
        The same shape, every value from 0 to 1.

    Raises:
        OptionError: when `dim` is missing.

    >>> import chainrule as cr
    >>> softmax(cr.tensor([1000.0, 1000.0]), dim=0).tolist()
    [0.5, 0.5]
    """
    node, axis = _prepared(input, dim, dtype, "softmax")
    return Tensor(softmax_node(node, axis).reshape(input.shape))


def log_softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """Return the logarithm of the softmax, also where the softmax itself would round to 0.

    Args and errors as for `softmax`.

    Returns:
        The same shape, every value 0 or below.

    >>> import chainrule as cr
    >>> log_softmax(cr.tensor([0.0, -500.0]), dim=0).tolist()
    [0.0, -500.0]
    """
    node, axis = _prepared(input, dim, dtype, "log_softmax")
    return Tensor(log_softmax_node(node, axis).reshape(input.shape))


def softmin(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """Return the softmax of the negated input: the smallest score gets the largest share.

    >>> import chainrule as cr
    >>> softmin(cr.tensor([0.0, 0.0]), dim=0).tolist()
    [0.5, 0.5]
    """
    node, axis = _prepared(input, dim, dtype, "softmin")
    return Tensor(softmax_node(-node, axis).reshape(input.shape))


def logsumexp(input: Tensor, dim: int | tuple[int, ...], keepdim: bool = False) -> Tensor:
    """Return `log Σ e^x` along `dim` without overflow.

    Args:
        input: any shape.
        dim: one axis or several.
        keepdim: keep the summed axes with length 1.

    >>> import chainrule as cr
    >>> logsumexp(cr.tensor([1000.0, 1000.0]), dim=0).item() - 1000
    0.69317626953125
    """
    node = float_node(input, "logsumexp")
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    axes = tuple(sorted(normal_axis(one, node.ndim, "logsumexp") for one in dims))
    return Tensor(logsumexp_node(node, axes, keepdim))


def is_softmax(node: Any) -> bool:
    """Say whether a node is the output of a softmax, as far as its history is known.

    >>> import chainrule as cr
    >>> scores = cr.zeros(2, 3, requires_grad=True)
    >>> is_softmax(softmax(scores, dim=1).node), is_softmax(scores.node)
    (True, False)
    """
    while node.op.name in ("reshape", "permute", "cast", "slice") and node.inputs:
        node = node.inputs[0]
    if node.op.name != "div" or len(node.inputs) != 2:
        return False
    powers, summed = node.inputs
    return bool(
        powers.op.name == "exp" and summed.op.name == "sum" and summed.inputs[:1] == (powers,)
    )


def is_sigmoid(node: Any) -> bool:
    """Say whether a node is the output of a sigmoid, as far as its history is known."""
    while node.op.name in ("reshape", "permute", "cast", "slice") and node.inputs:
        node = node.inputs[0]
    return bool(node.op.name == "sigmoid")
