"""Functions of many elements that are made of others: order statistics, counts, products."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OptionError, ShapeError
from ._functions import cat
from ._handle import array_leaf
from ._more import sort
from ._random import DEFAULT, Generator
from ._reduce import ValuesAndIndices
from ._shape import axis_of, sizes_of
from ._tensor import Tensor


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """The k-th smallest element along an axis, counted from 1, and where it stands.

    Raises:
        ShapeError: when the axis has fewer than k elements.

    Example:
        >>> import chainrule as cr
        >>> kthvalue(cr.tensor([3.0, 1.0, 2.0]), 2).values
        tensor(2.)
    """
    if input.ndim == 0:
        return sort(input)
    axis = axis_of(dim, input.ndim)
    if not 1 <= k <= input.size(axis):
        raise ShapeError(f"kthvalue: k is {k}, and axis {dim} has {input.size(axis)} elements")
    key = (slice(None),) * axis + (slice(k - 1, k),)
    values, places = (one[key] for one in sort(input, axis))
    if keepdim:
        return ValuesAndIndices(values, places)
    return ValuesAndIndices(values.squeeze(axis), places.squeeze(axis))


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The element in the middle; of an even number of elements the lower one of the two.

    Along an axis: values and where they stand.

    Example:
        >>> import chainrule as cr
        >>> median(cr.tensor([3.0, 1.0, 2.0, 9.0]))
        tensor(2.)
    """
    if dim is None:
        flat = input.reshape(-1)
        return kthvalue(flat, (flat.numel() + 1) // 2, 0).values
    return kthvalue(input, (input.size(dim) + 1) // 2 if input.ndim else 1, dim, keepdim)


def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> Any:
    """The different elements in order; eager only, as their number is a value.

    Args:
        input: a tensor.
        sorted: accepted for PyTorch's sake; they always are.
        return_inverse: whether to give, of each element, its place among them.
        return_counts: whether to give how often each occurs.

    Example:
        >>> import chainrule as cr
        >>> unique(cr.tensor([3, 1, 3]), return_counts=True)
        (tensor([1, 3]), tensor([1, 2]))
    """
    values, inverse, counts = np.unique(
        input.detach().node.value(), return_inverse=True, return_counts=True
    )
    results = [Tensor(array_leaf(values))]
    if return_inverse:
        places = inverse.reshape(tuple(input.shape)).astype(np.int64)
        results.append(Tensor(array_leaf(places)))
    if return_counts:
        results.append(Tensor(array_leaf(counts.astype(np.int64))))
    return results[0] if len(results) == 1 else tuple(results)


def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not 0: int64.

    Example:
        >>> import chainrule as cr
        >>> count_nonzero(cr.tensor([0.0, 3.0, 4.0]))
        tensor(2)
    """
    result: Tensor = input.bool().sum(dim)
    return result


def std_mean(
    input: Tensor, dim: Any = None, *, correction: int = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean over axes.

    Example:
        >>> import chainrule as cr
        >>> std_mean(cr.tensor([1.0, 3.0]), correction=0)
        (tensor(1.), tensor(2.))
    """
    return input.std(dim, correction, keepdim), input.mean(dim, keepdim)


def var_mean(
    input: Tensor, dim: Any = None, *, correction: int = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """The variance and the mean over axes.

    Example:
        >>> import chainrule as cr
        >>> var_mean(cr.tensor([1.0, 3.0]), correction=0)
        (tensor(1.), tensor(2.))
    """
    return input.var(dim, correction, keepdim), input.mean(dim, keepdim)


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> tuple[Any, Any]:
    """The smallest and the largest element.

    Example:
        >>> import chainrule as cr
        >>> aminmax(cr.tensor([3.0, 1.0]))
        (tensor(1.), tensor(3.))
    """
    return input.amin(dim, keepdim), input.amax(dim, keepdim)


def quantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The value below which a share q of the elements lies, on the line between the two nearest.

    Args:
        input: floating-point elements.
        q: a share between 0 and 1, or a vector of them, which becomes the result's first axis.
        dim: the axis; all elements where none is named.
        keepdim: whether the axis stays, of length 1.

    Raises:
        OptionError: for a share outside of 0 to 1.

    Example:
        >>> import chainrule as cr
        >>> quantile(cr.tensor([0.0, 10.0, 20.0]), 0.25)
        tensor(5.)
    """
    rank = input.ndim
    flat = input.reshape(-1) if dim is None else input
    axis = axis_of(0 if dim is None else dim, flat.ndim)
    ordered = sort(flat, axis).values
    shares = q.tolist() if isinstance(q, Tensor) else q
    several = isinstance(shares, (list, tuple))
    found = [_share(ordered, one, axis) for one in (shares if several else [shares])]
    if not keepdim:
        found = [one.squeeze(axis) for one in found]
    elif dim is None:
        found = [one.reshape((1,) * rank) for one in found]
    return cat([one.unsqueeze(0) for one in found]) if several else found[0]


def _share(ordered: Tensor, share: float, axis: int) -> Tensor:
    if not 0 <= share <= 1:
        raise OptionError(f"quantile: a share lies between 0 and 1; given {share}")
    last = ordered.size(axis) - 1
    place = share * last
    low = int(place)
    lead = (slice(None),) * axis
    below = ordered[(*lead, slice(low, low + 1))]
    high = min(low + 1, last)
    above = ordered[(*lead, slice(high, high + 1))]
    result: Tensor = below + (above - below) * (place - low)
    return result


def cumprod(input: Tensor, dim: int) -> Tensor:
    """Running products along an axis, by doubling the reach log2(n) times.

    Example:
        >>> import chainrule as cr
        >>> cumprod(cr.tensor([1.0, 2.0, 3.0]), 0)
        tensor([1., 2., 6.])
    """
    current = input if input.dtype.is_float else input.long()
    if input.ndim == 0:
        return current
    axis = axis_of(dim, input.ndim)
    lead, reach = (slice(None),) * axis, 1
    while reach < current.size(axis):
        start = current[(*lead, slice(0, reach))]
        later = current[(*lead, slice(reach, None))] * current[(*lead, slice(0, -reach))]
        current, reach = cat([start, later], axis), 2 * reach
    return current


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """A matrix times a vector.

    Example:
        >>> import chainrule as cr
        >>> mv(cr.ones(2, 3), cr.ones(3))
        tensor([3., 3.])
    """
    result: Tensor = input.matmul(vec)
    return result


def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sums of products over the last axes of both.

    Example:
        >>> import chainrule as cr
        >>> inner(cr.tensor([1.0, 2.0]), cr.tensor([3.0, 4.0]))
        tensor(11.)
    """
    if input.ndim == 0 or other.ndim == 0:
        product: Tensor = input * other
        return product
    return tensordot(input, other, ([input.ndim - 1], [other.ndim - 1]))


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Sums of products over several axes of both.

    Args:
        a, b: tensors.
        dims: how many of the last axes of a meet the first of b, or two lists of axes.

    Example:
        >>> import chainrule as cr
        >>> tensordot(cr.ones(2, 3), cr.ones(3, 4), 1).shape
        chainrule.Size([2, 4])
    """
    if isinstance(dims, int):
        first, second = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        first = [axis_of(k, a.ndim) for k in dims[0]]
        second = [axis_of(k, b.ndim) for k in dims[1]]
    own_a = [k for k in range(a.ndim) if k not in first]
    own_b = [k for k in range(b.ndim) if k not in second]
    shape = [*(a.size(k) for k in own_a), *(b.size(k) for k in own_b)]
    inside = [a.size(k) for k in first]
    if inside != [b.size(k) for k in second]:
        raise ShapeError(
            f"tensordot: axes {first} of {tuple(a.shape)} and {second} of {tuple(b.shape)}"
            " differ in length"
        )
    count = int(np.prod(inside, dtype=np.int64))
    left = a.permute(*own_a, *first).reshape(-1 if a.numel() else a.numel(), count)
    right = b.permute(*second, *own_b).reshape(count, -1 if b.numel() else b.numel())
    result: Tensor = left.matmul(right).reshape(tuple(shape))
    return result


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)``; also ``baddbmm`` and ``addmv``.

    Example:
        >>> import chainrule as cr
        >>> addmm(cr.ones(2), cr.ones(1, 3), cr.ones(3, 2)).tolist()
        [[4.0, 4.0]]
    """
    product = mat1.matmul(mat2)
    result: Tensor = (input if beta == 1 else input * beta) + (
        product if alpha == 1 else product * alpha
    )
    return result


baddbmm = addmm
addmv = addmm


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference of two tensors.

    Example:
        >>> import chainrule as cr
        >>> dist(cr.tensor([0.0, 0.0]), cr.tensor([3.0, 4.0]))
        tensor(5.)
    """
    result: Tensor = (input - other).norm(p)
    return result


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None
) -> Tensor:
    """1 with the probability that each element gives (or with ``p``), else 0.

    Example:
        >>> import chainrule as cr
        >>> bernoulli(cr.tensor([0.0, 1.0]))
        tensor([0., 1.])
    """
    drawn = (generator or DEFAULT).uniform(tuple(input.shape))
    result: Tensor = (drawn < (input if p is None else p)).type(input.dtype)
    return result.detach()


def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None
) -> Tensor:
    """Normal numbers of a mean and a standard deviation, which may be tensors.

    Example:
        >>> import chainrule as cr
        >>> normal(0.0, 1.0, (2, 3)).shape
        chainrule.Size([2, 3])
    """
    given = [one for one in (mean, std) if isinstance(one, Tensor)]
    if size is not None:
        shape = sizes_of((size,))
    else:
        shape = np.broadcast_shapes(*(tuple(one.shape) for one in given))
    drawn = (generator or DEFAULT).normal(shape)
    result: Tensor = drawn * std + mean
    return result.detach()
