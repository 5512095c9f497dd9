"""Functions that move elements: joining, cutting, repeating, diagonals, writing at indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ops import TAKE_ADD, apply
from ._create import arange
from ._functions import cat, where
from ._handle import lift
from ._shape import axis_of
from ._tensor import Tensor


def atleast_1d(input: Tensor) -> Tensor:
    """A number as a vector of one element; other tensors as they are.

    Example:
        >>> import chainrule as cr
        >>> atleast_1d(cr.tensor(3.0))
        tensor([3.])
    """
    result: Tensor = input if input.ndim else input.reshape(1)
    return result


def atleast_2d(input: Tensor) -> Tensor:
    """A number or vector as a matrix of one row; other tensors as they are.

    Example:
        >>> import chainrule as cr
        >>> atleast_2d(cr.tensor([1.0, 2.0])).shape
        chainrule.Size([1, 2])
    """
    result: Tensor = input if input.ndim > 1 else input.reshape(1, -1)
    return result


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors side by side: along the second axis, vectors along their only one.

    Example:
        >>> import chainrule as cr
        >>> hstack([cr.ones(2, 1), cr.zeros(2, 2)]).shape
        chainrule.Size([2, 3])
    """
    parts = [atleast_1d(one) for one in tensors]
    return cat(parts, 0 if parts and parts[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors below each other: along the first axis, vectors as rows.

    Example:
        >>> import chainrule as cr
        >>> vstack([cr.ones(3), cr.zeros(3)]).shape
        chainrule.Size([2, 3])
    """
    return cat([atleast_2d(one) for one in tensors], 0)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors side by side, vectors as columns.

    Example:
        >>> import chainrule as cr
        >>> column_stack([cr.ones(3), cr.zeros(3)]).shape
        chainrule.Size([3, 2])
    """
    return cat([one if one.ndim > 1 else one.reshape(-1, 1) for one in tensors], 1)


def ravel(input: Tensor) -> Tensor:
    """All elements as a vector.

    Example:
        >>> import chainrule as cr
        >>> ravel(cr.tensor([[1, 2], [3, 4]]))
        tensor([1, 2, 3, 4])
    """
    result: Tensor = input.reshape(-1) if input.ndim != 1 else input
    return result


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several.

    Example:
        >>> import chainrule as cr
        >>> unflatten(cr.zeros(6), 0, (2, 3)).shape
        chainrule.Size([2, 3])
    """
    result: Tensor = input.unflatten(dim, sizes)
    return result


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """``length`` slices along an axis, from ``start`` on.

    Raises:
        ShapeError: when the axis ends before.

    Example:
        >>> import chainrule as cr
        >>> narrow(cr.tensor([1, 2, 3, 4]), 0, 1, 2)
        tensor([2, 3])
    """
    axis = axis_of(dim, input.ndim)
    size = input.size(axis)
    begin = int(start) + size if int(start) < 0 else int(start)
    if begin < 0 or length < 0 or begin + length > size:
        raise ShapeError(
            f"narrow: {length} slices from {start} on do not lie in axis {dim} of length {size}"
        )
    result: Tensor = input[(slice(None),) * axis + (slice(begin, begin + length),)]
    return result


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """One slice along an axis, which goes away.

    Example:
        >>> import chainrule as cr
        >>> select(cr.tensor([[1, 2], [3, 4]]), 1, 0)
        tensor([1, 3])
    """
    result: Tensor = input[(slice(None),) * axis_of(dim, input.ndim) + (int(index),)]
    return result


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Two axes exchanged.

    Example:
        >>> import chainrule as cr
        >>> swapaxes(cr.zeros(2, 3), 0, 1).shape
        chainrule.Size([3, 2])
    """
    result: Tensor = input.transpose(axis0, axis1)
    return result


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Axes moved to other places, the others keeping their order.

    Example:
        >>> import chainrule as cr
        >>> movedim(cr.zeros(2, 3, 4), 0, 2).shape
        chainrule.Size([3, 4, 2])
    """
    given = (source,) if isinstance(source, int) else tuple(source)
    wanted = (destination,) if isinstance(destination, int) else tuple(destination)
    if len(given) != len(wanted):
        raise ShapeError(f"movedim: {len(given)} axes cannot go to {len(wanted)} places")
    place = {
        axis_of(to, input.ndim): axis_of(axis, input.ndim)
        for axis, to in zip(given, wanted, strict=True)
    }
    rest = iter(k for k in range(input.ndim) if k not in place.values())
    order = [place[k] if k in place else next(rest) for k in range(input.ndim)]
    result: Tensor = input.permute(*order)
    return result


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """The tensor stretched to a shape, without copying.

    Example:
        >>> import chainrule as cr
        >>> broadcast_to(cr.tensor([1, 2]), (2, 2)).tolist()
        [[1, 2], [1, 2]]
    """
    result: Tensor = input.expand(*size)
    return result


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors stretched to the shape in which they meet.

    Example:
        >>> import chainrule as cr
        >>> [tuple(one.shape) for one in broadcast_tensors(cr.zeros(3, 1), cr.zeros(2))]
        [(3, 2), (3, 2)]
    """
    shape = np.broadcast_shapes(*(tuple(one.shape) for one in tensors))
    return tuple(one.expand(*shape) for one in tensors)


def tile(input: Tensor, *dims: Any) -> Tensor:
    """The tensor copied along each axis so many times.

    Example:
        >>> import chainrule as cr
        >>> tile(cr.tensor([1, 2]), (2,))
        tensor([1, 2, 1, 2])
    """
    times = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
    result: Tensor = input.repeat(*(1,) * (input.ndim - len(times)), *times)
    return result


def repeat_interleave(input: Tensor, repeats: Any, dim: int | None = None) -> Tensor:
    """Each slice along an axis repeated; all elements as a vector where no axis is named.

    Args:
        input: a tensor.
        repeats: how often: a number, or a whole number for each slice (eager only, as the length
            of the result is then a value).
        dim: the axis.

    Example:
        >>> import chainrule as cr
        >>> repeat_interleave(cr.tensor([1, 2]), 2)
        tensor([1, 1, 2, 2])
    """
    if dim is None:
        return repeat_interleave(input.reshape(-1), repeats, 0)
    axis = axis_of(dim, input.ndim)
    counts = repeats.tolist() if isinstance(repeats, Tensor) else repeats
    places = np.repeat(np.arange(input.size(axis)), counts)
    result: Tensor = input.index_select(axis, Tensor(lift(places, input.node)))
    return result


def fliplr(input: Tensor) -> Tensor:
    """The second axis reversed.

    Example:
        >>> import chainrule as cr
        >>> fliplr(cr.tensor([[1, 2]])).tolist()
        [[2, 1]]
    """
    result: Tensor = input.flip(1)
    return result


def flipud(input: Tensor) -> Tensor:
    """The first axis reversed.

    Example:
        >>> import chainrule as cr
        >>> flipud(cr.tensor([1, 2]))
        tensor([2, 1])
    """
    result: Tensor = input.flip(0)
    return result


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two axes, as the last axis of the result.

    Args:
        input: a tensor of two or more dimensions.
        offset: how far above (or, negative, below) the main diagonal.
        dim1, dim2: the two axes.

    Example:
        >>> import chainrule as cr
        >>> diagonal(cr.tensor([[1, 2], [3, 4]]))
        tensor([1, 4])
    """
    first, second = axis_of(dim1, input.ndim), axis_of(dim2, input.ndim)
    if input.ndim < 2 or first == second:
        raise ShapeError(f"a diagonal needs two axes; given {tuple(input.shape)}, {dim1}, {dim2}")
    rest = [k for k in range(input.ndim) if k not in (first, second)]
    moved = input.permute(*rest, first, second)
    rows, columns = moved.size(-2), moved.size(-1)
    start = (max(0, -offset), max(0, offset))
    count = max(0, min(rows - start[0], columns - start[1]))
    flat = moved.reshape(*moved.shape[:-2], rows * columns)
    begin = start[0] * columns + start[1]
    places = begin + (columns + 1) * np.arange(count)
    result: Tensor = flat.index_select(-1, Tensor(lift(places, input.node)))
    return result


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix as a vector; a vector as the diagonal of a matrix of zeros.

    Example:
        >>> import chainrule as cr
        >>> diag(cr.tensor([1, 2])).tolist()
        [[1, 0], [0, 2]]
    """
    if input.ndim == 2:
        return _diagonal(input, diagonal)
    if input.ndim != 1:
        raise ShapeError(f"diag takes a vector or a matrix; given {tuple(input.shape)}")
    size = input.size(0) + abs(diagonal)
    places = np.arange(input.size(0)) * (size + 1)
    places += diagonal if diagonal >= 0 else -diagonal * size
    index = lift(places, input.node)
    flat = Tensor(apply(TAKE_ADD, input.node, index, axis=0, size=size * size))
    matrix: Tensor = flat.reshape(size, size)
    return matrix


_diagonal = diagonal


def matrix_trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal; ``x.trace()``, as ``chainrule.trace`` traces functions.

    Example:
        >>> import chainrule as cr
        >>> cr.tensor([[1.0, 2.0], [3.0, 4.0]]).trace()
        tensor(5.)
    """
    result: Tensor = diagonal(input).sum()
    return result


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """``input`` with slices of ``source`` added at the places of a 1-D index along an axis.

    Example:
        >>> import chainrule as cr
        >>> index_add(cr.zeros(3), 0, cr.tensor([0, 2, 0]), cr.ones(3))
        tensor([2., 0., 1.])
    """
    axis = axis_of(dim, input.ndim)
    added = Tensor(apply(TAKE_ADD, source.node, index.node, axis=axis, size=input.size(axis)))
    result: Tensor = input + (added if alpha == 1 else added * alpha)
    return result


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """``value`` in the slices at the places of a 1-D index along an axis.

    Example:
        >>> import chainrule as cr
        >>> index_fill(cr.zeros(3), 0, cr.tensor([1]), 7.0)
        tensor([0., 7., 0.])
    """
    axis = axis_of(dim, input.ndim)
    line = arange(input.size(axis)).unsqueeze(1) == index.unsqueeze(0)
    shape = [1] * input.ndim
    shape[axis] = input.size(axis)
    result: Tensor = where(line.any(1).reshape(*shape), value, input)
    return result


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at places counted through the whole tensor.

    Example:
        >>> import chainrule as cr
        >>> take(cr.tensor([[1, 2], [3, 4]]), cr.tensor([0, 3]))
        tensor([1, 4])
    """
    picked: Tensor = input.reshape(-1).index_select(0, index.reshape(-1))
    result: Tensor = picked.reshape(tuple(index.shape))
    return result


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """The element at the index along one axis; through the whole tensor where none is named.

    Example:
        >>> import chainrule as cr
        >>> take_along_dim(cr.tensor([[1, 2]]), cr.tensor([[1]]), 1).tolist()
        [[2]]
    """
    if dim is None:
        return take(input, indices.reshape(-1))
    result: Tensor = input.gather(dim, indices)
    return result


def diff(input: Tensor, n: int = 1, dim: int = -1) -> Tensor:
    """Each element less the one before it, n times.

    Example:
        >>> import chainrule as cr
        >>> diff(cr.tensor([1.0, 4.0, 9.0]))
        tensor([3., 5.])
    """
    axis = axis_of(dim, input.ndim)
    lead = (slice(None),) * axis
    for _ in range(n):
        input = input[(*lead, slice(1, None))] - input[(*lead, slice(None, -1))]
    return input


def argwhere(input: Tensor) -> Tensor:
    """Where the elements are not 0: int64[count, ndim]; eager only.

    Example:
        >>> import chainrule as cr
        >>> argwhere(cr.tensor([0.0, 3.0])).tolist()
        [[1]]
    """
    from ._more import nonzero

    result: Tensor = nonzero(input)
    return result
