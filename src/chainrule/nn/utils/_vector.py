"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ...config import set_state
from ...errors import ShapeError
from ...ops import CONCAT, apply
from ...tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Join all parameters, in order, to one vector; gradients flow through it.

    >>> import chainrule as cr
    >>> parameters_to_vector([cr.zeros(2, 3), cr.ones(2)]).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    """
    flat = [parameter.node.reshape((parameter.node.size,)) for parameter in parameters]
    return Tensor(apply(CONCAT, *flat, axis=0))


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give the parameters the values of a vector, in order.

    Raises:
        ShapeError: when the vector is longer or shorter than all parameters.

    >>> import chainrule as cr
    >>> w = cr.zeros(2)
    >>> vector_to_parameters(cr.tensor([1.0, 2.0]), [w])
    >>> w.tolist()
    [1.0, 2.0]
    """
    held = list(parameters)
    wanted = sum(parameter.numel() for parameter in held)
    if tuple(vec.shape) != (wanted,):
        raise ShapeError(
            f"vector_to_parameters: the vector has shape {tuple(vec.shape)}, the parameters need "
            f"({wanted},)"
        )
    start = 0
    with set_state(grad_enabled=False):
        for parameter in held:
            stop = start + parameter.numel()
            parameter.copy_(vec[start:stop].reshape(*parameter.shape))
            start = stop
