"""`Parameter`: a tensor that its module trains."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor


class Parameter(Tensor):
    """A leaf tensor that a module registers when it is assigned to an attribute.

    Args:
        data: its first values; a tensor is taken without its history.
        requires_grad: whether `backward` computes its gradient.

    >>> import chainrule as cr
    >>> weight = cr.nn.Parameter(cr.zeros(2))
    >>> weight
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        if isinstance(data, Tensor):
            data = data.detach().node
        super().__init__(data, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
