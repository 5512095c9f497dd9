"""Clusters: the nodes that one kernel computes.

A cluster has a *space*: the lengths of the axes that its kernel runs over, lengths of 1 left out.
Every member knows which axis each of its dimensions runs along. What a member reads from another
cluster is an array in memory; what it reads from its own cluster stays in registers.

| kind | what the kernel does |
| --- | --- |
| map | computes each point of the space by itself |
| row | the same, and reductions along the last axis |
| column | a reduction along another axis, and what is computed from its result at each column |
| whole | a reduction of everything to one number |
| product | a matrix product, and what is computed from each element of it |
| random | random words, and what is computed from each of them |
| scalar | a number of no dimensions, computed by the driver itself |
| move | gathers, scatters, joins or pads |
| window | convolution or pooling, and what is computed from each element of it |
| alone | the gradient of a convolution's weights |
| loop | the steps of a loop over time, each a graph of its own, and the outputs picked from it |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ....graph.node import CONSTANT, INPUT, Node
from ....ops import shape
from ....ops.scan import PICK
from .support import form
from .views import Axes, axes_under, broadcast_axes, under

Space = tuple[int, ...]


@dataclass(eq=False)
class Cluster:
    """The nodes of one kernel and the space that it runs over.

    Attributes:
        kind: as in the table above.
        space: lengths of the axes.
        axes: for each member, the axis of each of its dimensions.
        source_axes: for each reduction among them, those of its input.
        reduced: the axis that is summed over (of kinds row and column).
        anchor: the node that gave the kind: the product, the reduction, the move.
    """

    kind: str
    space: Space
    axes: dict[Node, Axes]
    source_axes: dict[Node, Axes] = field(default_factory=dict)
    reduced: int | None = None
    anchor: Node | None = None

    def relabel(self, names: dict[int, int], space: Space) -> None:
        """Rename the axes to those of another space."""

        def renamed(axes: Axes) -> Axes:
            return tuple(None if axis is None else names[axis] for axis in axes)

        self.axes = {node: renamed(axes) for node, axes in self.axes.items()}
        self.source_axes = {node: renamed(axes) for node, axes in self.source_axes.items()}
        if self.reduced is not None:
            self.reduced = names[self.reduced]
        self.space = space

    def level(self, axes: Axes) -> frozenset[int]:
        """The axes that a value varies along."""
        return frozenset(axis for axis in axes if axis is not None)


def long_axes(lengths: tuple[int, ...]) -> tuple[Space, Axes]:
    """A space of the dimensions that are not 1, and each dimension's axis in it.

    Example:
        >>> long_axes((3, 1, 5))
        ((3, 5), (0, None, 1))
    """
    space: list[int] = []
    axes: list[int | None] = []
    for length in lengths:
        axes.append(None if length == 1 else len(space))
        if length != 1:
            space.append(length)
    return tuple(space), tuple(axes)


def single(node: Node) -> Cluster:
    """The cluster of one node alone."""
    how = form(node)
    if how == "loop":
        return Cluster("loop", (), {node: ()}, anchor=node)
    if how == "reduce":
        return _reduction(node)
    space, axes = long_axes(node.shape)
    if how in ("product", "window", "alone"):
        return Cluster(how, space, {node: axes}, anchor=node)
    if node.op.name == "random_bits":
        return Cluster("random", space, {node: axes}, anchor=node)
    if how == "move":
        return Cluster("move", space, {node: axes}, anchor=node)
    return Cluster("map" if space else "scalar", space, {node: axes})


def _reduction(node: Node) -> Cluster:
    source = node.inputs[0]
    space, axes = long_axes(source.shape)
    over = reduced_dimensions(node)
    kept = tuple(None if d in over else axis for d, axis in enumerate(axes))
    reduced = [axes[d] for d in over if axes[d] is not None]
    made = Cluster("whole", space, {node: kept}, {node: axes}, anchor=node)
    if len(reduced) < len(space):
        made.reduced = reduced[0]
        made.kind = "row" if made.reduced == len(space) - 1 else "column"
    elif node.op.name == "argmax":
        made.kind, made.reduced = "row", reduced[0]
    return made


def reduced_dimensions(node: Node) -> tuple[int, ...]:
    """The dimensions that a reduction runs over."""
    if node.op.name == "argmax":
        return (node.attrs["axis"],)
    axes: tuple[int, ...] = node.attrs["axes"]
    return axes


def is_computed(node: Node) -> bool:
    """Whether the node is computed by a kernel: no leaf, no view."""
    return node.op not in (INPUT, CONSTANT) and form(node) != "view"


def input_axes(cluster: Cluster, node: Node, slot: int) -> Axes | None:
    """Axes of a member's input in the cluster's space; None where it is not read by points."""
    how = form(node)
    if how == "reduce":
        return cluster.source_axes[node]
    if how != "map":
        return None
    return broadcast_axes(node.inputs[slot].shape, cluster.axes[node])


Read = tuple[Node, Axes | None]


def reads(cluster: Cluster, node: Node, inline: set[Node]) -> Iterator[Read]:
    """What a member reads: nodes under its views, with their axes (None: read at other places).

    Nodes in ``inline`` are computed where they are used, so what they read is given instead.
    """
    if node.op is PICK:
        return  # of the loop in its own cluster
    stack: list[Read] = [
        (source, input_axes(cluster, node, slot)) for slot, source in enumerate(node.inputs)
    ]
    while stack:
        source, axes = stack.pop()
        base = under(source)
        found = None if axes is None else axes_under(source, axes)
        if base in inline and found is not None:
            stack += [(each, broadcast_axes(each.shape, found)) for each in base.inputs]
        else:
            yield base, found


def is_free(node: Node) -> bool:
    """Whether a node is computed anew wherever it is used, because it reads nothing."""
    return node.op is shape.IOTA
