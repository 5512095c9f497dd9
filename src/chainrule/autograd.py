"""PyTorch's ``autograd`` namespace."""

from __future__ import annotations

from typing import Any

from .tensor._function import Function as Function
from .tensor._grad import enable_grad as enable_grad
from .tensor._grad import gradients as grad
from .tensor._grad import no_grad as no_grad
from .tensor._grad import set_grad_enabled as set_grad_enabled
from .tensor._tensor import Tensor, tensor


def Variable(data: Any, requires_grad: bool = False) -> Tensor:
    """A tensor, as code written before PyTorch 0.4 calls it.

    Example:
        >>> import chainrule as cr
        >>> Variable(cr.ones(2), requires_grad=True).requires_grad
        True
    """
    found = data if isinstance(data, Tensor) else tensor(data)
    if not requires_grad:
        return found
    return Tensor(found.detach().node, requires_grad=True)  # a leaf of its own


__all__ = ["Function", "Variable", "enable_grad", "grad", "no_grad", "set_grad_enabled"]
