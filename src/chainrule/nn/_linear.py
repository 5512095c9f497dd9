"""Layers of feed-forward networks: affine maps, flattening, dropout, identity."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from ..errors import OptionError
from ..tensor import Tensor
from . import init
from ._module import Module
from ._parameter import Parameter


class Identity(Module):
    """Return the input unchanged; arguments are accepted and ignored, as in PyTorch.

    >>> import chainrule as cr
    >>> cr.nn.Identity()(cr.tensor([1.0])).tolist()
    [1.0]
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`."""
        return input


class Linear(Module):
    """An affine map, `y = x Wᵀ + b`.

    W and b start uniform within `1 / sqrt(in_features)` of zero, as in PyTorch.

    Args:
        in_features: length of the input's last axis.
        out_features: length of the output's last axis.
        bias: whether there is a b.
        device: accepted for PyTorch's sake.
        dtype: of weight and bias; the default dtype unless given.

    Shapes: (..., in_features) becomes (..., out_features); weight (out_features, in_features), bias
    (out_features,).

    >>> import chainrule as cr
    >>> layer = cr.nn.Linear(3, 2)
    >>> tuple(layer(cr.zeros(5, 3)).shape), tuple(layer.weight.shape)
    ((5, 2), (2, 3))
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in_features < 0 or out_features < 0:
            raise OptionError(
                "Linear: in_features and out_features must be 0 or more; "
                f"{in_features} and {out_features} were given"
            )
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(init.blank((out_features, in_features), device, dtype))
        if bias:
            self.bias = Parameter(init.blank((out_features,), device, dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Return `input Wᵀ + b`."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Name the sizes."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Flatten(Module):
    """Join the axes from `start_dim` to `end_dim` into one; the first axis stays by default.

    Shapes: (N, 1, 28, 28) becomes (N, 784).

    >>> import chainrule as cr
    >>> tuple(cr.nn.Flatten()(cr.zeros(2, 1, 28, 28)).shape)
    (2, 784)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with the axes joined."""
        return F.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Name the axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Part one axis into several: the reverse of `Flatten`.

    Args:
        dim: the axis.
        unflattened_size: the lengths it is parted into; one may be -1.

    >>> import chainrule as cr
    >>> tuple(cr.nn.Unflatten(1, (2, 3))(cr.zeros(5, 6)).shape)
    (5, 2, 3)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with the axis parted."""
        axis = self.dim % input.ndim
        shape = tuple(input.shape)
        parts = (*shape[:axis], *self.unflattened_size, *shape[axis + 1 :])
        result: Tensor = input.reshape(*parts)
        return result

    def extra_repr(self) -> str:
        """Name the axis and its parts."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Dropout(Module):
    """In training, set elements to zero with probability p and scale the others by 1 / (1 - p).

    Args:
        p: the probability of dropping an element, from 0 to 1.
        inplace: accepted for PyTorch's sake; has no effect.

    Raises:
        OptionError: when p is out of range.

    >>> import chainrule as cr
    >>> layer = cr.nn.Dropout(0.5).eval()
    >>> layer(cr.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    p: float

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise OptionError(f"Dropout: p must be from 0 to 1; {p} was given")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`, thinned out in training."""
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        """Name the settings."""
        return f"p={self.p}, inplace={self.inplace}"
