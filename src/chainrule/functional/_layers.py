"""What layers compute: affine maps, dropout, flattening."""

from __future__ import annotations

from math import prod
from typing import Any

from ..errors import DTypeError, OptionError, ShapeError
from ..tensor import Generator, Tensor, default_generator
from ._common import float_node, located, node_of, normal_axis

WRONG_WIDTH = (
    "linear: the input's last axis has length {given}, the weight takes {wanted}.\n"
    "  given: input {input}, weight {weight} (outputs, inputs)\n"
    "  expected: input (..., {wanted})\n"
    "  fix: {fix}"
)
MIXED_DTYPES = (
    "linear: the input is {given}, the weight {wanted}.\n"
    "  expected: equal dtypes\n"
    "  fix: input.type({wanted!r}), or convert the module, for example model.double()"
)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `input weightᵀ + bias`.

    Args:
        input: (..., inputs).
        weight: (outputs, inputs).
        bias: (outputs,), or None.

    Returns:
        (..., outputs).

    Raises:
        ShapeError: when the input's last axis does not fit the weight.
        DTypeError: when input and weight have different dtypes.

    >>> import chainrule as cr
    >>> linear(cr.tensor([[1.0, 2.0]]), cr.tensor([[3.0, 4.0]]), cr.tensor([0.5])).tolist()
    [[11.5]]
    """
    x, w = node_of(input, "linear"), node_of(weight, "linear", "weight")
    if x.dtype is not w.dtype:
        raise located(DTypeError, MIXED_DTYPES.format(given=x.dtype.name, wanted=w.dtype.name))
    if x.ndim == 0 or x.shape[-1] != w.shape[-1]:
        raise located(ShapeError, _width_fault(x.shape, w.shape))
    single = x.ndim == 1
    y = (x.reshape((1, x.size)) if single else x).matmul(w, False, True)
    if bias is not None:
        y = y + node_of(bias, "linear", "bias")
    return Tensor(y.reshape(y.shape[1:]) if single else y)


def _width_fault(x: tuple[int, ...], w: tuple[int, ...]) -> str:
    wanted = w[-1]
    if prod(x[1:]) == wanted and len(x) > 2:
        fix = "input.flatten(1) (or an nn.Flatten() before this layer)"
    elif len(x) == 2 and x[0] == wanted:
        fix = "input.T, if its columns are the examples"
    elif len(x) == 1 and wanted == 1:
        fix = "input.unsqueeze(1): one row an example, one column a feature"
    else:
        fix = f"build the layer for {x[-1] if x else 1} inputs, or give it {wanted} features"
    given = x[-1] if x else "none (0-d)"
    return WRONG_WIDTH.format(given=given, wanted=wanted, input=x, weight=w, fix=fix)


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Set elements to zero with probability p and scale the others by 1 / (1 - p).

    The expected value of each element stays the same. Source: Srivastava et al., Dropout (2014).

    Args:
        input: any shape.
        p: the probability of dropping an element, from 0 to 1.
        training: False returns the input unchanged.
        inplace: accepted for PyTorch's sake; has no effect.
        generator: where the random numbers come from; None is the global generator.

    >>> import chainrule as cr
    >>> _ = cr.manual_seed(0)
    >>> sorted(set(dropout(cr.ones(100), 0.5).tolist()))
    [0.0, 2.0]
    """
    if not 0.0 <= p <= 1.0:
        raise located(OptionError, f"dropout: p must be from 0 to 1; {p} was given")
    x = float_node(input, "dropout")
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return Tensor(x * 0)
    kept: Any = (generator or default_generator()).below(x.shape, 1.0 - p).node
    return Tensor(kept.where(x * (1.0 / (1.0 - p)), 0))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Join the axes from `start_dim` to `end_dim` into one.

    Shapes: (2, 3, 4) with `start_dim=1` becomes (2, 12).

    >>> import chainrule as cr
    >>> tuple(flatten(cr.zeros(2, 3, 4), 1).shape)
    (2, 12)
    """
    x = node_of(input, "flatten")
    if x.ndim == 0:
        return Tensor(x.reshape((1,)))
    first = normal_axis(start_dim, x.ndim, "flatten")
    last = normal_axis(end_dim, x.ndim, "flatten")
    if first > last:
        raise located(ShapeError, f"flatten: start_dim={start_dim} lies after end_dim={end_dim}")
    joined = prod(x.shape[first : last + 1])
    return Tensor(x.reshape((*x.shape[:first], joined, *x.shape[last + 1 :])))
