"""Where the arrays of a graph lie; the parts of a joined array are computed in their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ....graph.node import CONSTANT, Node
from ....ops import shape
from .buffers import Buffer, buffer_for
from .build import LAID
from .checks import is_check
from .cluster import is_computed
from .fuse import Fusion
from .stacked import laid_strides
from .views import VIEWS, layout_of, under

# Kinds of clusters whose kernels read, and write, by any strides.
_READ_ANYWHERE = ("map", "row", "column", "whole", "product", "scalar", "loop")
_WRITE_ANYWHERE = ("map", "row", "column", "product")


class Buffers(dict[Node, Buffer]):
    """The buffer of each node; constants get theirs when first asked for."""

    def __missing__(self, node: Node) -> Buffer:
        if node.op is not CONSTANT or not node.has_value:
            raise KeyError(node)
        contents = np.array(node.value(), node.dtype.np)
        made = buffer_for(node, node.name or "constant", kept=True, contents=contents)
        self[node] = made
        return made


def lay_buffers(
    fusion: Fusion,
    leaves: Mapping[Node, Buffer],
    results: Mapping[Node, Buffer],
    in_place: Mapping[Node, Node],
    needed: set[Node],
) -> Buffers:
    """Where everything lies that must be in memory.

    Args:
        fusion: the clusters.
        leaves: the buffers of the graph's inputs.
        results: outputs whose buffers are given.
        in_place: states that are overwritten by an output.
        needed: the nodes that must be stored.
    """
    buffers = Buffers(leaves)
    for source, output in in_place.items():
        buffers[output] = buffers[source]
    for node, buffer in results.items():
        buffers.setdefault(node, buffer)
    for number, node in enumerate(fusion.order):
        if node in needed and node not in buffers:
            label = node.name or f"{node.op.name}.{number}"
            buffers[node] = buffer_for(node, label, kept=is_check(node))
            if node.op is LAID:
                buffers[node].strides = laid_strides(node)
    joined = [node for node in fusion.order if node.op is shape.CONCAT and node in buffers]
    if joined:
        given = {*leaves, *results, *in_place.values()}
        views: dict[Node, list[Node]] = {}
        for node in fusion.order:
            if node.op.name in VIEWS:
                views.setdefault(under(node), []).append(node)
        for node in reversed(joined):
            _join(fusion, buffers, node, given, views)
    return buffers


def _join(
    fusion: Fusion,
    buffers: Buffers,
    whole: Node,
    given: set[Node],
    views: Mapping[Node, Sequence[Node]],
) -> None:
    """Let the parts of a joined array be parts of its memory, where nothing forbids it."""
    target, axis, start = buffers[whole], whole.attrs["axis"], 0
    for part in whole.inputs:
        free = part not in given and part in buffers and buffers[part].base is None
        if free and _may_lie(fusion, part, target.strides, views.get(part, ())):
            buffers[part].base = target
            buffers[part].start = start * target.strides[axis]
            buffers[part].strides = target.strides
        start += part.shape[axis]


def _may_lie(fusion: Fusion, part: Node, strides: tuple[int, ...], views: Sequence[Node]) -> bool:
    """Whether an array may have other strides than its own: all who write and read it can."""
    if not is_computed(part) or fusion.owner[part].kind not in _WRITE_ANYWHERE:
        return False
    users = fusion.users.get(part, ())
    if any(
        fusion.owner[one].kind not in _READ_ANYWHERE and one.op is not shape.CONCAT for one in users
    ):
        return False
    return all(layout_of(view, strides) is not None for view in views)
