"""Functions of tensors that are made of others: sorting, triangles, writing at indices, draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..errors import OptionError, ShapeError
from ..graph.trace import outside
from ..ops import IOTA, SCATTER_ADD, WHERE, apply
from ..ops.order import ARGSORT, CUMSUM
from ._functions import cat, where
from ._handle import array_leaf, lift
from ._reduce import ValuesAndIndices
from ._shape import axis_of
from ._tensor import Tensor


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The places of the elements in sorted order: int64; equal elements keep their order.

    Example:
        >>> import chainrule as cr
        >>> argsort(cr.tensor([3.0, 1.0, 2.0]))
        tensor([1, 2, 0])
    """
    axis = axis_of(dim, input.ndim)
    if input.ndim == 0:
        return Tensor(array_leaf(np.asarray(0, np.int64)))
    return Tensor(apply(ARGSORT, input.node, axis=axis, descending=bool(descending)))


def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True
) -> ValuesAndIndices:
    """The elements along an axis in sorted order, and where they stood.

    Example:
        >>> import chainrule as cr
        >>> values, indices = sort(cr.tensor([3.0, 1.0, 2.0]), descending=True)
        >>> values, indices
        (tensor([3., 2., 1.]), tensor([0, 2, 1]))
    """
    if input.ndim == 0:
        return ValuesAndIndices(input, argsort(input))
    order = argsort(input, dim, descending)
    return ValuesAndIndices(input.gather(axis_of(dim, input.ndim), order), order)


def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesAndIndices:
    """The k largest (or smallest) elements along an axis, and where they stood.

    Raises:
        ShapeError: when the axis has fewer than k elements.

    Example:
        >>> import chainrule as cr
        >>> topk(cr.tensor([3.0, 1.0, 2.0]), 2).values
        tensor([3., 2.])
    """
    axis = axis_of(dim, input.ndim)
    if not 0 <= k <= input.size(axis):
        raise ShapeError(f"topk: k is {k}, and axis {dim} has {input.size(axis)} elements")
    order = argsort(input, axis, descending=largest)[(slice(None),) * axis + (slice(0, k),)]
    return ValuesAndIndices(input.gather(axis, order), order)


def cumsum(input: Tensor, dim: int) -> Tensor:
    """Running sums along an axis; whole numbers and booleans give int64.

    Example:
        >>> import chainrule as cr
        >>> cumsum(cr.tensor([1.0, 2.0, 3.0]), 0)
        tensor([1., 3., 6.])
    """
    wide = input if input.dtype.is_float else input.long()
    if input.ndim == 0:
        return wide
    return Tensor(apply(CUMSUM, wide.node, axis=axis_of(dim, input.ndim)))


def _triangle(input: Tensor, diagonal: int, lower: bool) -> Tensor:
    if input.ndim < 2:
        raise ShapeError(f"a triangle needs two dimensions; given {tuple(input.shape)}")
    shape = tuple(input.shape)[-2:]
    row = Tensor(apply(IOTA, shape=shape, axis=0, dtype=dtypes.int64))
    column = Tensor(apply(IOTA, shape=shape, axis=1, dtype=dtypes.int64))
    keep = column - row <= diagonal if lower else column - row >= diagonal
    node = input.node
    return Tensor(apply(WHERE, keep.node, node, lift(0, node)))


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two axes; zeros above the diagonal.

    Example:
        >>> import chainrule as cr
        >>> tril(cr.ones(2, 2))
        tensor([[1., 0.],
                [1., 1.]])
    """
    return _triangle(input, diagonal, True)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of the last two axes; zeros below the diagonal.

    Example:
        >>> import chainrule as cr
        >>> triu(cr.ones(2, 2), 1)
        tensor([[0., 1.],
                [0., 0.]])
    """
    return _triangle(input, diagonal, False)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The product of each element of one vector with each of another.

    Example:
        >>> import chainrule as cr
        >>> outer(cr.tensor([1.0, 2.0]), cr.tensor([3.0, 4.0])).tolist()
        [[3.0, 4.0], [6.0, 8.0]]
    """
    result: Tensor = input.unsqueeze(1) * vec2.unsqueeze(0)
    return result


def prod(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The product of the elements, or along an axis; its gradient holds where elements are 0.

    It multiplies halves with halves, in about log2(n) steps.

    Example:
        >>> import chainrule as cr
        >>> prod(cr.tensor([2.0, 3.0, 4.0]))
        tensor(24.)
    """
    if dim is None:
        return prod(input.flatten(), 0)
    axis = axis_of(dim, input.ndim)
    current = input if input.dtype.is_float else input.long()
    if input.ndim == 0:
        return current
    lead = (slice(None),) * axis
    if current.size(axis) == 0:
        current = Tensor(array_leaf(np.prod(current.detach().numpy(), axis=axis, keepdims=True)))
    while current.size(axis) > 1:
        half = current.size(axis) // 2
        pair = current[(*lead, slice(0, half))] * current[(*lead, slice(half, 2 * half))]
        rest = current[(*lead, slice(2 * half, None))]
        current = cat([pair, rest], axis) if rest.size(axis) else pair
    return current if keepdim else current.squeeze(axis)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """``input`` with each element of ``src`` added at its index along an axis.

    Example:
        >>> import chainrule as cr
        >>> scatter_add(cr.zeros(3), 0, cr.tensor([0, 2, 0]), cr.tensor([1.0, 2.0, 3.0]))
        tensor([4., 0., 2.])
    """
    axis = axis_of(dim, input.ndim)
    result: Tensor = input + _scattered(src, index, input, axis)
    return result


def _scattered(src: Tensor, index: Tensor, like: Tensor, axis: int) -> Tensor:
    """The elements of ``src`` added at their index into zeros of another tensor's shape.

    On the other axes the index may be shorter than the tensor, and the source longer than it.
    """
    if src.ndim != index.ndim or index.ndim != like.ndim:
        raise ShapeError(
            f"scatter: tensor, index and source have shapes {tuple(like.shape)},"
            f" {tuple(index.shape)} and {tuple(src.shape)}.\n  expected: as many axes each"
        )
    if src.shape != index.shape:
        src = src[tuple(slice(0, n) for n in index.shape)]
    node: Any = apply(SCATTER_ADD, src.node, index.node, axis=axis, size=like.size(axis))
    missing = tuple(n - m for n, m in zip(like.shape, node.shape, strict=True))
    if any(missing):
        none = (0,) * like.ndim
        node = node.pad(none, missing, none)
    return Tensor(node)


def scatter(input: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    """``input`` with the elements of ``src`` put at their index along an axis.

    Where an index stands twice, the sum of both is put: give distinct indices.

    Example:
        >>> import chainrule as cr
        >>> scatter(cr.zeros(2, 3), 1, cr.tensor([[1], [0]]), 1.0).tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    axis = axis_of(dim, input.ndim)
    value = src if isinstance(src, Tensor) else Tensor(lift(src, input.node)).expand(*index.shape)
    ones = Tensor(lift(1, input.node).expand(tuple(index.shape)))
    hit = _scattered(ones, index, input, axis) > 0
    put = _scattered(value, index, input, axis)
    result: Tensor = where(hit, put, input)
    return result


def nonzero(input: Tensor, as_tuple: bool = False) -> Any:
    """Where the elements are not 0: int64[count, ndim]; eager only, as the count is a value.

    Example:
        >>> import chainrule as cr
        >>> nonzero(cr.tensor([0.0, 3.0, 4.0])).tolist()
        [[1], [2]]
    """
    places = np.nonzero(input.node.value())
    if as_tuple:
        return tuple(Tensor(array_leaf(one.astype(np.int64))) for one in places)
    return Tensor(array_leaf(np.stack(places, 1).astype(np.int64)))


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, as a vector; eager only, as its length is a value.

    Example:
        >>> import chainrule as cr
        >>> masked_select(cr.tensor([1, 2, 3]), cr.tensor([True, False, True]))
        tensor([1, 3])
    """
    shape = np.broadcast_shapes(tuple(input.shape), tuple(mask.shape))
    chosen: Tensor = input.expand(*shape)[mask.expand(*shape)]
    return chosen


def bincount(input: Tensor, minlength: int = 0) -> Tensor:
    """How often each whole number from 0 on occurs: int64.

    Example:
        >>> import chainrule as cr
        >>> bincount(cr.tensor([0, 2, 2]))
        tensor([1, 0, 2])
    """
    return Tensor(array_leaf(np.bincount(input.node.value(), minlength=minlength).astype(np.int64)))


def isnan(input: Tensor) -> Tensor:
    """Where not a number.

    Example:
        >>> import chainrule as cr
        >>> isnan(cr.tensor([1.0, float('nan')]))
        tensor([False,  True])
    """
    result: Tensor = input != input
    return result


def isinf(input: Tensor) -> Tensor:
    """Where infinite.

    Example:
        >>> import chainrule as cr
        >>> isinf(cr.tensor([1.0, float('inf')]))
        tensor([False,  True])
    """
    result: Tensor = input.abs() == float("inf")
    return result


def isfinite(input: Tensor) -> Tensor:
    """Where neither infinite nor NaN.

    Example:
        >>> import chainrule as cr
        >>> isfinite(cr.tensor([1.0, float('inf')]))
        tensor([ True, False])
    """
    result: Tensor = input.abs() < float("inf")
    return result


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether two tensors agree within ``atol + rtol * |other|``.

    Example:
        >>> import chainrule as cr
        >>> allclose(cr.tensor([1.0]), cr.tensor([1.0 + 1e-9]))
        True
    """
    left, right = input.detach().node.value(), other.detach().node.value()
    return bool(np.allclose(left, right, rtol, atol, equal_nan))


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements.

    Example:
        >>> import chainrule as cr
        >>> equal(cr.ones(2), cr.ones(3))
        False
    """
    return bool(np.array_equal(input.detach().node.value(), other.detach().node.value()))


def meshgrid(*tensors: Tensor, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid: one tensor for each axis.

    Raises:
        OptionError: for an indexing other than 'ij' and 'xy'.

    Example:
        >>> import chainrule as cr
        >>> [grid.tolist() for grid in meshgrid(cr.tensor([1, 2]), cr.tensor([3, 4]))]
        [[[1, 1], [2, 2]], [[3, 4], [3, 4]]]
    """
    if indexing not in ("ij", "xy"):
        raise OptionError(f"meshgrid: indexing is 'ij' or 'xy'; given {indexing!r}")
    swap = indexing == "xy" and len(tensors) > 1
    parts = [tensors[1], tensors[0], *tensors[2:]] if swap else list(tensors)
    lengths = [part.numel() for part in parts]
    grids = []
    for k, part in enumerate(parts):
        line = part.reshape(tuple(lengths[k] if j == k else 1 for j in range(len(parts))))
        grids.append(line.expand(*lengths))
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def roll(input: Tensor, shifts: int, dims: int | None = None) -> Tensor:
    """The elements moved along an axis, those that fall off coming in at the other end.

    Example:
        >>> import chainrule as cr
        >>> roll(cr.tensor([1, 2, 3]), 1)
        tensor([3, 1, 2])
    """
    if dims is None:
        whole: Tensor = roll(input.flatten(), shifts, 0).reshape(tuple(input.shape))
        return whole
    axis = axis_of(dims, input.ndim)
    length = input.size(axis)
    cut = (length - shifts) % length if length else 0
    lead = (slice(None),) * axis
    return cat([input[(*lead, slice(cut, None))], input[(*lead, slice(0, cut))]], axis)


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None
) -> Tensor:
    """Places drawn with probabilities in proportion to weights: int64, one row for each of input's.

    Without replacement by Gumbel's trick: the largest of log-weights with Gumbel noise added are
    such a draw (Vieira, "Gumbel-max trick and weighted reservoir sampling", 2014).

    Args:
        input: weights of 0 or more, in one row or several.
        num_samples: how many to draw from each row.
        replacement: whether a place may be drawn twice.

    Raises:
        OptionError: when there are fewer places of positive weight than draws, or weights below 0.

    Example:
        >>> import chainrule as cr
        >>> multinomial(cr.tensor([0.0, 1.0, 0.0]), 4, replacement=True).tolist()
        [1, 1, 1, 1]
    """
    from ._random import DEFAULT

    source = generator or DEFAULT
    rows = input.reshape(1, -1) if input.ndim == 1 else input
    weights = rows.detach()
    _check_weights(weights, num_samples, replacement)
    if replacement:
        running = cumsum(weights.double(), 1)
        total = running[:, -1:]
        draws = source.uniform((rows.size(0), num_samples)).double() * total
        places = (running.unsqueeze(1) <= draws.unsqueeze(2)).sum(2)
    else:
        noise = source.uniform(tuple(rows.shape)).clamp(min=1e-38).log()
        keys = where(weights > 0, noise / weights.clamp(min=1e-38), float("-inf"))
        places = topk(keys, num_samples, 1).indices
    result: Tensor = places.reshape(-1) if input.ndim == 1 else places
    return result


def _check_weights(weights: Tensor, num_samples: int, replacement: bool) -> None:
    if not weights.node.has_value:
        return
    with outside():
        values = weights.node.value()
    positive = int((values > 0).sum(axis=1).min()) if values.size else 0
    if values.size == 0 or (values < 0).any() or not np.isfinite(values).all() or positive == 0:
        raise OptionError("multinomial needs finite weights of 0 or more, some above 0 in each row")
    if not replacement and positive < num_samples:
        raise OptionError(
            f"multinomial: {num_samples} draws without replacement from {positive} places of"
            " positive weight.\n  fix: replacement=True, or fewer draws"
        )
