"""Pieces of graph built anew with other inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .node import Node
from .walk import topological


def substitute(outputs: Iterable[Node], instead: Mapping[Node, Node]) -> list[Node]:
    """The outputs computed from other nodes.

    Args:
        outputs: what is to be rebuilt.
        instead: for each node to be replaced (of any op), what stands in its place.

    Returns:
        One node for each output. What does not depend on a replaced node is shared, not copied;
        copies keep name, layer, line and ``wrt``.

    Example:
        >>> import chainrule as cr
        >>> graph = cr.trace(lambda x: x * 2 + 1, cr.ones(3)).graph
        >>> product = graph.outputs[0].inputs[0]
        >>> fresh, = substitute(graph.outputs, {product: graph.inputs[0]})
        >>> fresh.op.name, fresh.inputs[0] is graph.inputs[0]
        ('add', True)
    """
    asked = list(outputs)
    made: dict[Node, Node] = dict(instead)
    for node in topological(asked, lambda one: one not in instead):
        inputs = tuple([made.get(source, source) for source in node.inputs])
        if all(new is old for new, old in zip(inputs, node.inputs, strict=True)):
            continue
        made[node] = copy = type(node)(
            node.op,
            inputs,
            node.attrs,
            node.aval,
            requires_grad=node.requires_grad,
            scope=node.scope,
            origin=node.origin,
            trace=node.trace,
            name=node.name,
        )
        copy.wrt = node.wrt
    return [made.get(node, node) for node in asked]
