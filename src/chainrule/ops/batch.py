"""What an op does when some of its inputs carry an extra leading axis: one rule an op.

Notation: a batched node has shape (B, \\*s) where the op was written for s; ``lift`` marks which
inputs are batched. A rule returns the node and whether it is batched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import EngineError
from ..graph.node import CONSTANT, INPUT, Node, Op
from . import convolution, elementwise, index, order, pooling, product, reduction, shape
from ._apply import apply

Pair = tuple[Any, bool]


def _aligned(node: Any, batched: bool, rank: int, own: int) -> Any:
    """A batched node with axes of length 1 put behind the batch axis, up to ``rank`` axes."""
    if not batched or own == rank:
        return node
    return node.reshape((node.shape[0], *(1,) * (rank - own), *node.shape[1:]))


def _broadcast(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    rank = node.ndim
    parts = [
        _aligned(value, batched, rank, source.ndim)
        for (value, batched), source in zip(pairs, node.inputs, strict=True)
    ]
    return apply(op, *parts, **node.attrs)


def _reduce(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    axes = tuple(axis + 1 for axis in node.attrs["axes"])
    return apply(op, pairs[0][0], axes=axes, keepdims=node.attrs["keepdims"])


def _argmax(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    attrs = node.attrs
    return apply(op, pairs[0][0], axis=attrs["axis"] + 1, keepdims=attrs["keepdims"])


def _reshape(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    return pairs[0][0].reshape((size, *node.attrs["shape"]))


def _expand(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    value = _aligned(pairs[0][0], True, node.ndim, node.inputs[0].ndim)
    return value.expand((size, *node.attrs["shape"]))


def _permute(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    return pairs[0][0].permute((0, *(axis + 1 for axis in node.attrs["axes"])))


def _slice(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    at = node.attrs
    return pairs[0][0].slice((0, *at["starts"]), (size, *at["stops"]), (1, *at["steps"]))


def _pad(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    at = node.attrs
    return pairs[0][0].pad((0, *at["low"]), (0, *at["high"]), (0, *at["interior"]))


def _flip(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    return pairs[0][0].flip(tuple(axis + 1 for axis in node.attrs["axes"]))


def _ordered(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    return apply(op, pairs[0][0], **(dict(node.attrs) | {"axis": node.attrs["axis"] + 1}))


def _spread(pair: Pair, size: int) -> Any:
    value, batched = pair
    return value if batched else value.expand((size, *value.shape))


def _concat(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    return apply(op, *(_spread(pair, size) for pair in pairs), axis=node.attrs["axis"] + 1)


def _gather(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    attrs = dict(node.attrs) | {"axis": node.attrs["axis"] + 1}
    return apply(op, *(_spread(pair, size) for pair in pairs), **attrs)


def _take(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    """An index of its own for each member of the batch becomes one index into all of them."""
    (value, _), (places, batched) = pairs
    axis = node.attrs["axis"]
    if not batched:
        return apply(op, value, places, **(dict(node.attrs) | {"axis": axis + 1}))
    return _offset(op, node, _spread(pairs[0], size), places, size)


def _offset(op: Op, node: Node, value: Any, places: Any, size: int) -> Any:
    """Take or take_add with a batched index: the batch and the axis as one axis."""
    axis, adding = node.attrs["axis"], "size" in node.attrs
    taken = places.ndim - 1
    width = taken if adding else 1
    length = node.attrs["size"] if adding else node.inputs[0].shape[axis]
    rest = [k for k in range(1, value.ndim) if not axis + 1 <= k < axis + 1 + width]
    moved = value.permute((0, *range(axis + 1, axis + 1 + width), *rest))
    starts = apply(shape.IOTA, shape=(size,) + (1,) * taken, axis=0, dtype=places.dtype) * length
    flat = moved.reshape((size * length, *moved.shape[2:])) if not adding else moved
    attrs = {"axis": 0, "size": size * length} if adding else {"axis": 0}
    result = apply(op, flat, places + starts, **attrs)
    if adding:
        result = result.reshape((size, length, *result.shape[1:]))
    new = 1 if adding else taken
    # Back: the batch first, then the axes before, the new ones, the axes behind.
    axes = [0, *range(1 + new, 1 + new + axis), *range(1, 1 + new)]
    axes += range(1 + new + axis, result.ndim)
    return result.permute(tuple(axes))


def _joined(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    """Pooling: the batch of images of each member as one batch."""
    spread = [_spread(pair, size) for pair in pairs]
    flat = [value.reshape((size * value.shape[1], *value.shape[2:])) for value in spread]
    result = apply(op, *flat, **node.attrs)
    return result.reshape((size, *node.shape))


def _convolution(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    """Members as more images where they share the weight, else as more groups of channels.

    As groups, every operand's channels become (groups, members, channels of a group).
    """
    what = op.name
    if what != "convolution_weight" and not pairs[1][1]:
        return _more_images(op, node, pairs, size)
    groups = node.attrs["groups"]
    roles = {
        "convolution": ("image", "weight", "image"),
        "convolution_input": ("image", "weight", "image"),
        "convolution_weight": ("image", "image", "weight"),
    }[what]
    packed = [
        _pack(_spread(pair, size), role, groups)
        for pair, role in zip(pairs, roles[:2], strict=True)
    ]
    result = apply(op, *packed, **(dict(node.attrs) | {"groups": groups * size}))
    return _unpack(result, roles[2], groups, size)


def _more_images(op: Op, node: Node, pairs: Sequence[Pair], size: int) -> Any:
    (x, _), (w, _) = pairs
    flat = x.reshape((size * x.shape[1], *x.shape[2:]))
    return apply(op, flat, w, **node.attrs).reshape((size, *node.shape))


def _pack(value: Any, role: str, groups: int) -> Any:
    """(B, N, G c, \\*S) as (N, G B c, \\*S); a weight's (B, G o, c, \\*K) as (G B o, c, \\*K)."""
    size, axis = value.shape[0], 2 if role == "image" else 1
    own = value.shape[axis] // groups
    parted = value.reshape((*value.shape[:axis], groups, own, *value.shape[axis + 1 :]))
    rest = tuple(range(axis + 1, parted.ndim))
    order = (1, 2, 0, *rest) if role == "image" else (1, 0, *rest)
    moved = parted.permute(order)
    lead = moved.shape[:1] if role == "image" else ()
    return moved.reshape((*lead, groups * size * own, *value.shape[axis + 1 :]))


def _unpack(value: Any, role: str, groups: int, size: int) -> Any:
    """The reverse of :func:`_pack`."""
    axis = 1 if role == "image" else 0
    own = value.shape[axis] // (groups * size)
    parted = value.reshape((*value.shape[:axis], groups, size, own, *value.shape[axis + 1 :]))
    rest = tuple(range(axis + 2, parted.ndim))
    moved = parted.permute((axis + 1, *range(axis + 1), *rest))
    return moved.reshape((size, *value.shape[:axis], groups * own, *value.shape[axis + 1 :]))


RULES: dict[str, Callable[[Op, Node, Sequence[Pair], int], Any]] = {
    **{
        op.name: _broadcast
        for group in (
            elementwise.UNARY,
            elementwise.BINARY,
            elementwise.COMPARISONS,
            elementwise.OTHERS,
        )
        for op in group
    },
    product.MATMUL.name: _broadcast,
    reduction.SUM.name: _reduce,
    reduction.AMAX.name: _reduce,
    reduction.ARGMAX.name: _argmax,
    shape.RESHAPE.name: _reshape,
    shape.EXPAND.name: _expand,
    shape.PERMUTE.name: _permute,
    shape.SLICE.name: _slice,
    shape.PAD.name: _pad,
    shape.FLIP.name: _flip,
    shape.CONCAT.name: _concat,
    index.TAKE.name: _take,
    index.TAKE_ADD.name: _take,
    index.GATHER.name: _gather,
    index.SCATTER_ADD.name: _gather,
    order.ARGSORT.name: _ordered,
    order.CUMSUM.name: _ordered,
    **{op.name: _convolution for op in convolution.ALL},
    **{op.name: _joined for op in pooling.ALL},
}


def replay(
    nodes: Sequence[Node], outputs: Sequence[Node], given: dict[Node, Pair], size: int
) -> list[Pair]:
    """Compute traced nodes again, some leaves being batched.

    Args:
        nodes: the nodes, each after its inputs.
        outputs: the nodes asked for.
        given: what stands for each leaf: (node, whether it is batched).
        size: the length of the batch axis.

    Returns:
        (node, whether it is batched) for each output.

    Raises:
        EngineError: for an op that has no rule, by name.
    """
    values = dict(given)
    for node in nodes:
        if node in values:
            continue
        if node.op in (INPUT, CONSTANT) or node.has_value:
            values[node] = (node, False)
            continue
        pairs = [values[source] for source in node.inputs]
        if not any(batched for _, batched in pairs):
            values[node] = (apply(node.op, *(value for value, _ in pairs), **node.attrs), False)
            continue
        rule = RULES.get(node.op.name)
        if rule is None:
            raise EngineError(
                f"vmap has no rule for the op {node.op.name}.\n  node: {node.describe()}\n"
                "  fix: keep it out of the function, or loop over the examples"
            )
        values[node] = (rule(node.op, node, pairs, size), True)
    return [values[node] for node in outputs]
