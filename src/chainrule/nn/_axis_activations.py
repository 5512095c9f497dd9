"""Activations along an axis, and the one whose slope is trained."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..tensor import Tensor, full
from ._module import Module
from ._parameter import Parameter


class GLU(Module):
    """The first half along `dim` times the sigmoid of the second.

    >>> import chainrule as cr
    >>> cr.nn.GLU()(cr.tensor([3.0, 0.0])).tolist()
    [1.5]
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"dim={self.dim}"


class Softmax(Module):
    """Shares that add up to 1 along `dim`. None goes before `CrossEntropyLoss`, which has it.

    >>> import chainrule as cr
    >>> cr.nn.Softmax(dim=1)(cr.tensor([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of the softmax along `dim`.

    >>> import chainrule as cr
    >>> cr.nn.LogSoftmax(dim=1)(cr.tensor([[0.0, -500.0]])).tolist()
    [[0.0, -500.0]]
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"dim={self.dim}"


class Softmin(Module):
    """The softmax of the negated input along `dim`.

    >>> import chainrule as cr
    >>> cr.nn.Softmin(dim=0)(cr.tensor([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.softmin(input, self.dim)

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"dim={self.dim}"


class PReLU(Module):
    """x where it is positive, else `weight x` with a trained weight.

    Args:
        num_parameters: 1, or the number of channels (axis 1).
        init: the weight's first value.

    >>> import chainrule as cr
    >>> cr.nn.PReLU()(cr.tensor([[-1.0, 2.0]])).tolist()
    [[-0.25, 2.0]]
    """

    weight: Parameter

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter(full((num_parameters,), init, dtype=dtype, device=device))

    def forward(self, input: Tensor) -> Tensor:
        """Return the activation of `input`."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"num_parameters={self.num_parameters}"
