"""Clipping gradients: by the norm of all of them together, or each element by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ...config import STATE, set_state
from ...errors import GradientError
from ...functional import norm_node
from ...tensor import Tensor, tensor

NOT_FINITE = (
    "clip_grad_norm_: the norm of the gradients is {norm}, so they cannot be clipped.\n"
    "  fix: lower the learning rate, or look for the first non-finite value in the forward pass; "
    "error_if_nonfinite=False lets it pass"
)


def _with_gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    return [parameter for parameter in given if parameter.grad is not None]


def _norm(nodes: list[Any], norm_type: float) -> Any:
    """Return the norm of all elements of all nodes, as one 0-d node."""
    if norm_type == math.inf:
        largest = [norm_node(node, norm_type, _axes(node), keepdims=False) for node in nodes]
        total = largest[0]
        for one in largest[1:]:
            total = total.maximum(one)
        return total
    if norm_type == 2:
        powers = [(node * node).sum(_axes(node), False) for node in nodes]
    else:
        powers = [(node.abs() ** norm_type).sum(_axes(node), False) for node in nodes]
    total = powers[0]
    for one in powers[1:]:
        total = total + one
    return total.sqrt() if norm_type == 2 else total ** (1.0 / norm_type)


def _axes(node: Any) -> tuple[int, ...]:
    return tuple(range(node.ndim))


def get_total_norm(tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0) -> Tensor:
    """Return the norm of all elements of all tensors, as if they were one vector.

    >>> import chainrule as cr
    >>> get_total_norm([cr.tensor([3.0]), cr.tensor([4.0])]).item()
    5.0
    """
    given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not given:
        return tensor(0.0)
    with set_state(grad_enabled=False):
        return Tensor(_norm([one.node for one in given], float(norm_type)))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients by one factor, so that their common norm is at most `max_norm`.

    Args:
        parameters: whose `.grad` is scaled.
        max_norm: the largest norm allowed.
        norm_type: 2, 1, `inf` or any other positive power.
        error_if_nonfinite: raise when the norm is NaN or infinite.
        foreach: accepted for PyTorch's sake; has no effect.

    Returns:
        The norm before scaling, 0-d.

    Raises:
        GradientError: with `error_if_nonfinite`, when the norm is not finite.

    >>> import chainrule as cr
    >>> w = cr.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w / 2).sum().backward()
    >>> cr.nn.utils.clip_grad_norm_([w], 1.0).item()
    5.0
    >>> [round(number, 4) for number in w.grad.tolist()]
    [0.6, 0.8]
    """
    held = _with_gradients(parameters)
    if not held:
        return tensor(0.0)
    with set_state(grad_enabled=False):
        total = _norm([parameter.grad.node for parameter in held], float(norm_type))
        if error_if_nonfinite and STATE.trace is None and not math.isfinite(total.value().item()):
            raise GradientError(NOT_FINITE.format(norm=total.value().item()))
        factor = (max_norm / (total + 1e-6)).minimum(1.0)
        for parameter in held:
            _scale(parameter, factor)
    return Tensor(total)


# PyTorch's name for it before the underscore.
clip_grad_norm = clip_grad_norm_


def _scale(parameter: Tensor, factor: Any) -> None:
    gradient = parameter.grad.node
    parameter.grad = Tensor(gradient * factor.cast(gradient.dtype))


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Cut every element of every gradient to `-clip_value` and `clip_value`.

    >>> import chainrule as cr
    >>> w = cr.tensor([3.0, -0.1], requires_grad=True)
    >>> (w * w / 2).sum().backward()
    >>> cr.nn.utils.clip_grad_value_([w], 1.0)
    >>> [round(number, 4) for number in w.grad.tolist()]
    [1.0, -0.1]
    """
    limit = float(clip_value)
    with set_state(grad_enabled=False):
        for parameter in _with_gradients(parameters):
            gradient = parameter.grad.node
            parameter.grad = Tensor(gradient.maximum(-limit).minimum(limit))
