"""Rewrites that do at once what a graph says in many parts: pieces, sums of products, weights.

Each takes the builder and a node and gives an equal, simpler node, or None, as in
:mod:`.rewrites`, which names them.
"""

from __future__ import annotations

from math import prod

from ....graph.node import Node
from ....ops import elementwise as e
from ....ops import product, reduction, shape
from ....ops.scan import PICK
from ..kernels.blocked import is_large
from .build import COPY, LAID, Builder
from .views import VIEWS

PIECES_LIMIT = 64  # pieces of one array that are looked for in a sum
ROWS_TO_LAY = 512  # rows from which a weight is laid anew for a product
DEPTH_TO_TURN = 64  # longer sums may run along both factors
COLUMNS_TO_LAY = 16  # narrower products read a transposed weight as it lies
BYTES_TO_LAY = 1 << 21  # larger weights are copied by the product itself
LINE = 64  # bytes of a cache line
CROWDED = 4  # rows of a multiple of so many lines fall onto few of a cache's places


def _padded(node: Node) -> tuple[int, int] | None:
    """The one axis along which a node is a piece with zeros around it, and the piece's start."""
    if node.op is not shape.PAD or any(node.attrs["interior"]):
        return None
    ends = zip(node.attrs["low"], node.attrs["high"], strict=True)
    axes = [axis for axis, (low, high) in enumerate(ends) if low or high]
    return (axes[0], node.attrs["low"][axes[0]]) if len(axes) == 1 else None


def sum_of_pieces(b: Builder, node: Node) -> Node | None:
    """Zeros around pieces that fill the whole, added = the pieces joined."""
    pieces: dict[tuple[int, int], Node] = {}
    stack = [node]
    while stack:
        term = stack.pop()
        if term.op is e.ADD and term.inputs[0].aval is term.inputs[1].aval:
            stack += term.inputs
            continue
        place = _padded(term)
        if place is None or place in pieces or len(pieces) == PIECES_LIMIT:
            return None
        pieces[place] = term.inputs[0]
    if len({axis for axis, _ in pieces}) != 1:
        return None
    axis, reached, parts = next(iter(pieces))[0], 0, []
    for (_, start), piece in sorted(pieces.items(), key=lambda item: item[0]):
        if start != reached:
            return None
        parts.append(piece)
        reached += piece.shape[axis]
    return b.make(shape.CONCAT, *parts, axis=axis) if reached == node.shape[axis] else None


def sum_of_products(b: Builder, node: Node) -> Node | None:
    """Σ_t A_tᵀ B_t = one product of the matrices put on top of each other."""
    x, axes = node.inputs[0], node.attrs["axes"]
    if x.op is not product.MATMUL or not x.attrs["ta"] or x.attrs["tb"]:
        return None
    left, right = x.inputs
    summed = {axis for axis in axes if x.shape[axis] != 1}
    long = {axis for axis in range(x.ndim - 2) if x.shape[axis] != 1}
    if not summed or summed != long or left.shape[:-1] != right.shape[:-1]:
        return None
    flat = [
        b.reshape(one, (prod(one.shape[:-1]), one.shape[-1]))
        for one in _in_memory_order(b, left, right)
    ]
    total = b.make(product.MATMUL, *flat, ta=True, tb=False)
    return b.reshape(total, node.shape)


def rows_in_memory_order(b: Builder, node: Node) -> Node | None:
    """Aᵀ B = the same of both with their rows in another order: that of the wider one in memory."""
    flags = node.attrs["ta"] and not node.attrs["tb"]
    if not flags or any(one.op is not shape.RESHAPE or one.ndim != 2 for one in node.inputs):
        return None
    left, right = (one.inputs[0] for one in node.inputs)
    whole = all(one.inputs[0].shape[-1:] == one.shape[-1:] for one in node.inputs)
    if not whole or left.shape[:-1] != right.shape[:-1]:
        return None
    ordered = _in_memory_order(b, left, right)
    if ordered == (left, right):
        return None
    flat = [b.reshape(new, old.shape) for new, old in zip(ordered, node.inputs, strict=True)]
    return b.make(product.MATMUL, *flat, ta=True, tb=False)


def _in_memory_order(b: Builder, left: Node, right: Node) -> tuple[Node, Node]:
    """Both with their leading axes in the order in which the wider one lies in memory."""
    wide = left if left.shape[-1] >= right.shape[-1] else right
    if wide.op is not shape.PERMUTE or wide.attrs["axes"][-1] != wide.ndim - 1:
        return left, right
    axes = wide.attrs["axes"]
    back = tuple(axes.index(axis) for axis in range(wide.ndim))
    return b.permute(left, back), b.permute(right, back)


def sum_of_permuted(b: Builder, node: Node) -> Node | None:
    """The sum over axes of permute(x) = the sum over the same axes of x, permuted."""
    x, axes = node.inputs[0], node.attrs["axes"]
    if x.op is not shape.PERMUTE or not node.attrs["keepdims"]:
        return None
    order = x.attrs["axes"]
    over = tuple(sorted(order[axis] for axis in axes))
    return b.permute(b.make(reduction.SUM, x.inputs[0], axes=over, keepdims=True), order)


def sum_of_rows(b: Builder, node: Node) -> Node | None:
    """The sum over the leading axes of an array in memory = the sum over the rows of a matrix."""
    x, axes = node.inputs[0], node.attrs["axes"]
    lead = len(axes)
    if x.op not in (PICK, shape.CONCAT) or not node.attrs["keepdims"]:
        return None
    if lead < 2 or sorted(axes) != list(range(lead)) or lead == x.ndim:
        return None
    rows = b.reshape(x, (prod(x.shape[:lead]), *x.shape[lead:]))
    return b.reshape(b.make(node.op, rows, axes=(0,), keepdims=True), node.shape)


def laid_weight(b: Builder, node: Node) -> Node | None:
    """A weight that many rows are multiplied by is first laid as the product reads it."""
    left, right = node.inputs
    rows = prod(node.shape[:-1])
    if right.ndim != 2 or rows < ROWS_TO_LAY or node.attrs["ta"]:
        return None
    if is_large((rows, node.shape[-1], left.shape[-1])):
        return None
    laid = lay_weight(b, right, node.attrs["tb"])
    return laid and b.make(product.MATMUL, left, laid, ta=False, tb=False)


def turned_factor(b: Builder, node: Node) -> Node | None:
    """A Bᵀ for many small matrices, summed over few places = A times the turned copies of B.

    Short sums along both factors spend their time on adding up the lanes of vectors.
    """
    left, right = node.inputs
    rows, columns = node.shape[-2:]
    depth = right.shape[-1]
    if right.ndim < 3 or not node.attrs["tb"] or node.attrs["ta"] or not node.dtype.is_float:
        return None
    if depth > DEPTH_TO_TURN or min(rows, columns) < COLUMNS_TO_LAY:
        return None
    last = right.ndim - 1
    turned = b.make(COPY, b.permute(right, (*range(last - 1), last, last - 1)))
    return b.make(product.MATMUL, left, turned, ta=False, tb=False)


def lay_weight(b: Builder, right: Node, turned: bool) -> Node | None:
    """A right factor, or its transpose, laid row by row; None where it may stay as it is."""
    columns = right.shape[0 if turned else 1]
    size = right.size * right.dtype.itemsize
    if right.op is LAID or columns < COLUMNS_TO_LAY or size > BYTES_TO_LAY:
        return None
    if not right.dtype.is_float or (not turned and not is_crowded(columns * right.dtype.itemsize)):
        return None
    seen = b.permute(right, (1, 0)) if turned else right
    return b.make(LAID, seen) if turned or seen.op.name not in VIEWS else None


def is_crowded(row: int) -> bool:
    """Whether rows of so many bytes compete for the same places of a cache.

    Example:
        >>> is_crowded(4096), is_crowded(4096 + 64), is_crowded(400)
        (True, False, False)
    """
    return row % (CROWDED * LINE) == 0


def laid_strides(node: Node) -> tuple[int, ...]:
    """Strides of a matrix that is laid for products: rows that would crowd get a line more."""
    columns, size = node.shape[1], node.dtype.itemsize
    return columns + LINE // size if is_crowded(columns * size) else columns, 1
