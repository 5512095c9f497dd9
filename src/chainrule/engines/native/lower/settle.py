"""Settling views: copies where strides cannot say what is read, so that later stages need none."""

from __future__ import annotations

from collections.abc import Mapping

from ....graph.graph import Graph
from ....graph.node import Node
from ....ops import shape
from ....ops.scan import PICK
from .build import COPY, Builder
from .cluster import is_computed, is_free
from .support import form
from .views import VIEWS, below, dense, layout_of, reshaped, under

Strides = tuple[int, ...]

# Inputs that kernels reach through one stride, so views of them are copied: op -> slots.
_PLAIN_SLOTS = {"take": (1,), "take_add": (1,), "random_bits": (0, 1)}


def settle(graph: Graph, owned: set[int], lying: Mapping[Node, Strides] | None = None) -> Graph:
    """An equal graph in which every view can be said in strides.

    Copies are put under reshapes that do not follow the memory, under views that kernels cannot
    take, and at outputs that are no arrays of their own.

    Args:
        graph: a simplified graph.
        owned: positions of outputs that need memory of their own.
        lying: the strides of inputs that do not lie row-major.
    """
    builder = Builder({})
    new: dict[Node, Node] = {}
    for node in graph.nodes():
        builder.source = node
        new[node] = _settled(builder, node, new, lying or {})
    outputs = []
    taken: set[Node] = set()
    for position, output in enumerate(graph.outputs):
        builder.source = output
        settled = new[output]
        if position in owned and (not is_computed(settled) or settled in taken):
            settled = _fresh_copy(builder, settled, taken)
        taken.add(settled)
        outputs.append(settled)
    return Graph(graph.inputs, tuple(outputs))


def _fresh_copy(builder: Builder, node: Node, taken: set[Node]) -> Node:
    made = builder.make(COPY, node)
    while made in taken:
        made = builder.make(COPY, made)
    return made


def _settled(
    builder: Builder, node: Node, new: dict[Node, Node], lying: Mapping[Node, Strides]
) -> Node:
    if not node.inputs:
        return node
    inputs = tuple(_plain(builder, node, slot, new[s], lying) for slot, s in enumerate(node.inputs))
    if inputs == node.inputs:
        return node
    return builder.make(node.op, *inputs, **node.attrs)


def _plain(
    builder: Builder, node: Node, slot: int, source: Node, lying: Mapping[Node, Strides]
) -> Node:
    """An input as the node can take it: itself or a copy."""
    by_points = form(node) in ("map", "reduce") or (
        node.op.name in VIEWS and below(node, tuple(range(node.ndim))) is not None
    )
    if node.op is PICK:
        return source
    base = under(source)
    lies = lying[base] if base in lying else dense(base.shape)
    if is_free(base) and not by_points:
        return builder.make(COPY, source)
    if form(node) in ("window", "alone") and not _has_plain_rows(source, lies):
        return builder.make(COPY, source)
    if (source is not base or base in lying) and slot in _PLAIN_SLOTS.get(node.op.name, ()):
        return builder.make(COPY, source)
    if node.op is shape.RESHAPE and not by_points and not _follows_memory(node, source, lies):
        return builder.make(COPY, source)
    return source


def _follows_memory(view: Node, source: Node, lies: Strides) -> bool:
    """Whether a reshape is strides alone, from those of what lies under the source."""
    layout = layout_of(source, lies)
    return layout is not None and reshaped(source.shape, layout[1], view.shape) is not None


def _has_plain_rows(source: Node, lies: Strides) -> bool:
    """Whether the last dimension is neighbours in memory, from the strides of what lies under."""
    layout = layout_of(source, lies)
    return layout is not None and (source.shape[-1] == 1 or layout[1][-1] == 1)
