"""The rewrites that simplify a graph before it is lowered.

Each takes the builder and a node and gives an equal, simpler node, or None. Its docstring is the
identity it applies. :data:`REWRITES` names them all, by the op they look at.

Canonical forms that later stages lean on: a reduction keeps its dimensions and sums over one axis
or over all; ``take`` and ``take_add`` read rows of a matrix by a vector of indices; a product has
floating-point operands without permuted last axes.
"""

from __future__ import annotations

from math import prod

import numpy as np

from .... import dtypes
from ....graph.node import Node
from ....ops import elementwise as e
from ....ops import index, product, reduction, shape
from ....xp import numpy_
from .build import COPY, Builder, constant_array, is_leaf, scalar_of
from .ordering import order_by_rank, running_sum
from .stacked import (
    laid_weight,
    rows_in_memory_order,
    sum_of_permuted,
    sum_of_pieces,
    sum_of_products,
    sum_of_rows,
    turned_factor,
)
from .support import form
from .window_rewrites import (
    WINDOW_REWRITES,
    map_of_rows,
    mask_before_spread,
    reduction_of_rows,
    sum_of_spread,
    times_reciprocal,
)

FOLDED_ELEMENTS = 4096  # larger constants are not worth the memory and the time of compiling
ONE_HOT_LIMIT = 4096  # longest axis on which an indexed read is a masked sum of the row
ROW_SUMS_FROM = 4096  # elements from which a whole sum is first a sum of each row
_LOSSLESS = {
    ("bool", "uint8"), ("bool", "int32"), ("bool", "int64"), ("bool", "float32"),
    ("bool", "float64"), ("bool", "uint32"), ("uint8", "int32"), ("uint8", "int64"),
    ("uint8", "uint32"), ("uint8", "float32"), ("uint8", "float64"), ("int32", "int64"),
    ("int32", "float64"), ("uint32", "int64"), ("uint32", "float64"), ("float32", "float64"),
}  # fmt: skip


def fold_constants(b: Builder, node: Node) -> Node | None:
    """f(constants) = the constant it evaluates to."""
    if node.size > FOLDED_ELEMENTS or not isinstance(node.aval.shape, tuple):
        return None
    arrays = [constant_array(source) for source in node.inputs]
    if node.op is shape.IOTA or any(array is None for array in arrays):
        return None
    if node.op in (shape.EXPAND, index.RANDOM_BITS):
        return None
    with np.errstate(all="ignore"):
        value = node.op.array(numpy_, *arrays, **node.attrs)
    return b.constant(value, node.dtype)


def empty(b: Builder, node: Node) -> Node | None:
    """An array without elements is a constant."""
    if is_leaf(node) or node.size:
        return None
    return b.constant(np.zeros(node.shape, node.dtype.np), node.dtype)


def sum_of_nothing(b: Builder, node: Node) -> Node | None:
    """The sum of no elements is 0."""
    return b.full(0, node) if node.inputs[0].size == 0 else None


def product_of_nothing(b: Builder, node: Node) -> Node | None:
    """A product over an inner length of 0 is 0."""
    return b.full(0, node) if node.inputs[0].size == 0 else None


def _uniform(node: Node) -> Node | None:
    """The one-element node that a node repeats, else None."""
    while node.op is shape.EXPAND or (node.op is shape.RESHAPE and node.size > 1):
        node = node.inputs[0]
    return node if node.size == 1 else None


def uniform_map(b: Builder, node: Node) -> Node | None:
    """f(expand(a), expand(b)) = expand(f(a, b)) where a and b have one element."""
    if form(node) != "map" or node.size <= 1 or not node.inputs:
        return None
    sources = [_uniform(source) for source in node.inputs]
    if any(source is None for source in sources):
        return None
    singles = [b.reshape(source, ()) for source in sources if source is not None]
    return b.expand(b.make(node.op, *singles, **node.attrs), node.shape)


def double_negation(b: Builder, node: Node) -> Node | None:
    """-(-x) = x."""
    x = node.inputs[0]
    return x.inputs[0] if x.op is node.op else None


def detached(b: Builder, node: Node) -> Node | None:
    """detach(x) = x once derivatives are in the graph."""
    return node.inputs[0]


def cast_to_same(b: Builder, node: Node) -> Node | None:
    """cast(x, the dtype of x) = x."""
    return node.inputs[0] if node.inputs[0].dtype is node.dtype else None


def cast_of_cast(b: Builder, node: Node) -> Node | None:
    """cast(cast(x, wider), t) = cast(x, t) where the wider type holds every value of x."""
    inner = node.inputs[0]
    if inner.op is not e.CAST:
        return None
    x = inner.inputs[0]
    lossless = (x.dtype.name, inner.dtype.name) in _LOSSLESS
    if not lossless or (x.dtype.is_float and not node.dtype.is_float):
        return None
    return b.cast(x, node.dtype)


def cast_of_uniform(b: Builder, node: Node) -> Node | None:
    """cast(expand(x)) = expand(cast(x)): converting once instead of at every place."""
    x = node.inputs[0]
    if x.op is not shape.EXPAND or x.inputs[0].size == x.size:
        return None
    return b.expand(b.cast(x.inputs[0], node.dtype), node.shape)


def _spread(b: Builder, x: Node, like: Node) -> Node:
    return x if x.shape == like.shape else b.expand(x, like.shape)


def times_one(b: Builder, node: Node) -> Node | None:
    """x * 1 = x, x * -1 = -x."""
    for x, factor in (node.inputs, node.inputs[::-1]):
        number = scalar_of(factor)
        if number == 1 and node.dtype is not dtypes.bool_:
            return _spread(b, x, node)
        if number == -1 and node.dtype.is_float:
            return _spread(b, b.make(e.NEG, x), node)
    return None


def minus_zero(b: Builder, node: Node) -> Node | None:
    """x - 0 = x."""
    x, subtrahend = node.inputs
    return _spread(b, x, node) if scalar_of(subtrahend) == 0 else None


def over_power_of_two(b: Builder, node: Node) -> Node | None:
    """x / c = x * (1 / c), exact where c is a power of two."""
    x, divisor = node.inputs
    number = scalar_of(divisor)
    if number is None or not node.dtype.is_float or number == 0 or not np.isfinite(number):
        return None
    if number == 1:
        return _spread(b, x, node)
    fraction, exponent = np.frexp(number)
    if abs(fraction) != 0.5 or abs(exponent) > 100:
        return None
    return b.make(e.MUL, x, b.constant(1.0 / number, node.dtype))


def small_power(b: Builder, node: Node) -> Node | None:
    """x ** 1 = x, x ** 2 = x x, x ** 3 = x x x, x ** -1 = 1 / x."""
    x, exponent = node.inputs
    number = scalar_of(exponent)
    if number not in (1, 2, 3, -1) or not node.dtype.is_float or x.shape != node.shape:
        return None
    if number == -1:
        return b.make(e.DIV, b.constant(1, node.dtype), x)
    result = x
    for _ in range(int(number) - 1):
        result = b.make(e.MUL, result, x)
    return result


def same_branches(b: Builder, node: Node) -> Node | None:
    """(x if c else x) = x; a constant condition chooses."""
    condition, x, y = node.inputs
    if x is y and x.shape == node.shape:
        return x
    chosen = scalar_of(condition)
    return None if chosen is None else _spread(b, x if chosen else y, node)


def reshape_to_same(b: Builder, node: Node) -> Node | None:
    """reshape(x, its shape) = x; reshape(reshape(x)) = reshape(x)."""
    x = node.inputs[0]
    if x.shape == node.shape:
        return x
    if x.op is shape.RESHAPE:
        return b.reshape(x.inputs[0], node.shape)
    if x.op is shape.EXPAND and x.inputs[0].size == 1:
        return b.expand(b.reshape(x.inputs[0], ()), node.shape)
    return None


def permute_to_same(b: Builder, node: Node) -> Node | None:
    """permute(x, in order) = x; permute(permute(x)) is one permute; lengths of 1 are a reshape."""
    x, axes = node.inputs[0], node.attrs["axes"]
    if axes == tuple(range(node.ndim)):
        return x
    if x.op is shape.PERMUTE:
        return b.permute(x.inputs[0], tuple(x.attrs["axes"][axis] for axis in axes))
    long = [axis for axis in axes if x.shape[axis] != 1]
    return b.reshape(x, node.shape) if long == sorted(long) else None


def expand_to_same(b: Builder, node: Node) -> Node | None:
    """expand(x, its shape) = x; expand(expand(x)) is one expand."""
    x = node.inputs[0]
    if x.shape == node.shape:
        return x
    if x.op is shape.EXPAND:
        return b.expand(x.inputs[0], node.shape)
    return b.reshape(x, node.shape) if x.size == node.size else None


def whole_slice(b: Builder, node: Node) -> Node | None:
    """The slice that takes everything is its input."""
    return node.inputs[0] if node.shape == node.inputs[0].shape else None


def pad_by_nothing(b: Builder, node: Node) -> Node | None:
    """Zeros in no place: the input."""
    return node.inputs[0] if node.shape == node.inputs[0].shape else None


def concat_of_one(b: Builder, node: Node) -> Node | None:
    """Parts without elements are left out; one part joined is that part."""
    parts = tuple(part for part in node.inputs if part.size)
    if len(parts) == len(node.inputs) and len(parts) > 1:
        return None
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return b.make(shape.RESHAPE, node.inputs[0], shape=node.shape)
    return b.make(shape.CONCAT, *parts, **node.attrs)


def _swapped(axes: tuple[int, ...]) -> bool:
    rank = len(axes)
    return axes == (*range(rank - 2), rank - 1, rank - 2)


def absorb_permutes(b: Builder, node: Node) -> Node | None:
    """A product of a transposed operand is a product with that operand's flag turned."""
    operands, flags = list(node.inputs), [node.attrs["ta"], node.attrs["tb"]]
    for slot, operand in enumerate(operands):
        if operand.op is shape.PERMUTE and _swapped(operand.attrs["axes"]):
            operands[slot], flags[slot] = operand.inputs[0], not flags[slot]
    if operands == list(node.inputs):
        return None
    return b.make(product.MATMUL, *operands, ta=flags[0], tb=flags[1])


def transposed_product(b: Builder, node: Node) -> Node | None:
    """(A B)ᵀ = Bᵀ Aᵀ."""
    x = node.inputs[0]
    if x.op is not product.MATMUL or not _swapped(node.attrs["axes"]):
        return None
    left, right = x.inputs
    return b.make(product.MATMUL, right, left, ta=not x.attrs["tb"], tb=not x.attrs["ta"])


def integer_product(b: Builder, node: Node) -> Node | None:
    """A whole-number product is the sum of its products, one axis added."""
    if node.dtype.is_float:
        return None
    left, right = node.inputs
    if node.attrs["ta"]:
        left = b.permute(left, (*range(left.ndim - 2), left.ndim - 1, left.ndim - 2))
    if not node.attrs["tb"]:
        right = b.permute(right, (*range(right.ndim - 2), right.ndim - 1, right.ndim - 2))
    left = b.reshape(left, (*left.shape[:-1], 1, left.shape[-1]))
    right = b.reshape(right, (*right.shape[:-2], 1, *right.shape[-2:]))
    terms = b.make(e.MUL, left, right)
    return b.sum(terms, (terms.ndim - 1,), False)


def reduce_kept(b: Builder, node: Node) -> Node | None:
    """A reduction that drops its axes = one that keeps them as 1, reshaped."""
    if node.attrs["keepdims"]:
        return None
    kept = b.make(node.op, node.inputs[0], **{**node.attrs, "keepdims": True})
    return b.reshape(kept, node.shape)


def reduce_single_axes(b: Builder, node: Node) -> Node | None:
    """A reduction over several axes = reductions over one after the other, the last first.

    Axes of length 1 need none. A whole reduction stays one unless it is large.
    """
    x, axes = node.inputs[0], node.attrs["axes"]
    if not node.attrs["keepdims"]:
        return None
    long = tuple(axis for axis in axes if x.shape[axis] != 1)
    if not long:
        return b.reshape(x, node.shape)
    if len(long) < len(axes):
        return b.make(node.op, x, axes=long, keepdims=True)
    whole = len(long) == sum(n != 1 for n in x.shape)
    if len(long) == 1 or (whole and x.size < ROW_SUMS_FROM):
        return None
    inner = b.make(node.op, x, axes=long[-1:], keepdims=True)
    return b.make(node.op, inner, axes=long[:-1], keepdims=True)


def sum_of_uniform(b: Builder, node: Node) -> Node | None:
    """The sum of n equal numbers x is n x."""
    single = _uniform(node.inputs[0])
    if single is None or node.inputs[0].size == 1:
        return None
    count = prod(node.inputs[0].shape[axis] for axis in node.attrs["axes"])
    times = b.make(e.MUL, b.reshape(single, ()), b.constant(count, node.dtype))
    return b.expand(times, node.shape)


def argmax_of_one(b: Builder, node: Node) -> Node | None:
    """The largest of one element is at 0."""
    return b.full(0, node) if node.inputs[0].shape[node.attrs["axis"]] == 1 else None


def argmax_along_last(b: Builder, node: Node) -> Node | None:
    """The place of the largest along any axis = that along the last, of the permuted array."""
    x, axis = node.inputs[0], node.attrs["axis"]
    if not node.attrs["keepdims"] or all(n == 1 for n in x.shape[axis + 1 :]):
        return None
    order = (*(k for k in range(x.ndim) if k != axis), axis)
    turned = b.permute(x, order)
    return b.reshape(b.make(reduction.ARGMAX, turned, axis=x.ndim - 1, keepdims=True), node.shape)


def _one_hot(b: Builder, x_shape: tuple[int, ...], indices: Node, axis: int) -> Node:
    places = b.make(shape.IOTA, shape=x_shape, axis=axis, dtype=indices.dtype)
    return b.make(e.EQ, places, indices)


def _reads_rows(node: Node, length: int) -> bool:
    indices, axis = node.inputs[1], node.attrs["axis"]
    last = all(n == 1 for n in node.inputs[0].shape[axis + 1 :])
    return last and indices.shape[axis] == 1 and length <= ONE_HOT_LIMIT


def gather_one_a_row(b: Builder, node: Node) -> Node | None:
    """x[r, index[r]] = sum over c of (x[r, c] if c = index[r] else 0)."""
    x, indices = node.inputs
    axis = node.attrs["axis"]
    if is_leaf(x) or not _reads_rows(node, x.shape[axis]):
        return None
    hit = _one_hot(b, x.shape, indices, axis)
    picked = b.where(hit, x, b.constant(0, x.dtype))
    if x.dtype is dtypes.bool_:
        counted = b.sum(b.cast(picked, dtypes.int32), (axis,), True)
        return b.make(e.NE, counted, b.constant(0, dtypes.int32))
    return b.sum(picked, (axis,), True)


def scatter_one_a_row(b: Builder, node: Node) -> Node | None:
    """Adding g[r] at index[r] of a row of zeros = (g[r] if c = index[r] else 0)."""
    g, indices = node.inputs
    axis, size = node.attrs["axis"], node.attrs["size"]
    if not _reads_rows(node, size):
        return None
    hit = _one_hot(b, node.shape, indices, axis)
    return b.where(hit, g, b.constant(0, g.dtype))


def _flat_index(b: Builder, indices: Node, full: tuple[int, ...], axis: int) -> Node:
    """Where each indexed element lies in the row-major array of the full shape: int64 [n]."""
    step = prod(full[axis + 1 :])
    place = b.make(e.MUL, b.cast(indices, dtypes.int64), b.constant(step, dtypes.int64))
    for other in range(len(full)):
        if other == axis or full[other] == 1:
            continue
        line = b.make(shape.IOTA, shape=indices.shape, axis=other, dtype=dtypes.int64)
        step = prod(full[other + 1 :])
        place = b.make(e.ADD, place, b.make(e.MUL, line, b.constant(step, dtypes.int64)))
    return b.reshape(place, (indices.size,))


def gather_as_take(b: Builder, node: Node) -> Node | None:
    """gather(x, index) = rows of the flat x at the places the index names."""
    x, indices = node.inputs
    flat = _flat_index(b, indices, x.shape, node.attrs["axis"])
    taken = b.make(index.TAKE, b.reshape(x, (x.size, 1)), flat, axis=0)
    return b.reshape(taken, node.shape)


def scatter_as_take_add(b: Builder, node: Node) -> Node | None:
    """scatter_add(g, index) = rows added to a flat array at the places the index names."""
    g, indices = node.inputs
    flat = _flat_index(b, indices, node.shape, node.attrs["axis"])
    added = b.make(index.TAKE_ADD, b.reshape(g, (g.size, 1)), flat, axis=0, size=node.size)
    return b.reshape(added, node.shape)


def take_rows(b: Builder, node: Node) -> Node | None:
    """take along any axis with any index = rows of a matrix by a vector of indices."""
    x, indices = node.inputs
    axis = node.attrs["axis"]
    if axis == 0 and indices.ndim == 1 and x.ndim == 2:
        return None
    order = (axis, *(k for k in range(x.ndim) if k != axis))
    front = b.permute(x, order)
    rest = front.shape[1:]
    matrix = b.reshape(front, (front.shape[0], prod(rest)))
    taken = b.make(index.TAKE, matrix, b.reshape(indices, (indices.size,)), axis=0)
    spread = b.reshape(taken, (*indices.shape, *rest))
    count = indices.ndim
    back = (*range(count, count + axis), *range(count), *range(count + axis, spread.ndim))
    return b.permute(spread, back)


def take_add_rows(b: Builder, node: Node) -> Node | None:
    """take_add along any axis with any index = rows added to a matrix by a vector of indices."""
    g, indices = node.inputs
    axis, size = node.attrs["axis"], node.attrs["size"]
    if axis == 0 and indices.ndim == 1 and g.ndim == 2:
        return None
    count = indices.ndim
    order = (*range(axis, axis + count), *range(axis), *range(axis + count, g.ndim))
    front = b.permute(g, order)
    rest = front.shape[count:]
    matrix = b.reshape(front, (indices.size, prod(rest)))
    vector = b.reshape(indices, (indices.size,))
    added = b.make(index.TAKE_ADD, matrix, vector, axis=0, size=size)
    spread = b.reshape(added, (size, *rest))
    return b.permute(spread, (*range(1, axis + 1), 0, *range(axis + 1, spread.ndim)))


def copy_of_computed(b: Builder, node: Node) -> Node | None:
    """A copy of a computed array is that array."""
    x = node.inputs[0]
    return None if is_leaf(x) or form(x) == "view" or x.op is COPY else x


REWRITES = {
    "*": (empty, fold_constants, uniform_map, map_of_rows),
    "neg": (double_negation,),
    "logical_not": (double_negation,),
    "detach": (detached,),
    "cast": (cast_to_same, cast_of_cast, cast_of_uniform),
    "add": (sum_of_pieces,),
    "mul": (times_one,),
    "sub": (minus_zero,),
    "div": (over_power_of_two, times_reciprocal),
    "pow": (small_power,),
    "where": (same_branches, mask_before_spread),
    "reshape": (reshape_to_same,),
    "permute": (permute_to_same, transposed_product),
    "expand": (expand_to_same,),
    "slice": (whole_slice,),
    "pad": (pad_by_nothing,),
    "concat": (concat_of_one,),
    "matmul": (
        product_of_nothing,
        absorb_permutes,
        integer_product,
        laid_weight,
        turned_factor,
        rows_in_memory_order,
    ),
    "sum": (
        sum_of_nothing,
        sum_of_products,
        sum_of_rows,
        reduce_kept,
        sum_of_uniform,
        reduction_of_rows,
        sum_of_spread,
        sum_of_permuted,
        reduce_single_axes,
    ),
    "amax": (reduce_kept, reduction_of_rows, reduce_single_axes),
    "argmax": (reduce_kept, argmax_of_one, argmax_along_last),
    "gather": (gather_one_a_row, gather_as_take),
    "scatter_add": (scatter_one_a_row, scatter_as_take_add),
    "cumsum": (running_sum,),
    "argsort": (order_by_rank,),
    "take": (take_rows,),
    "take_add": (take_add_rows,),
    **WINDOW_REWRITES,
}
