"""Walks over graphs, without recursion: a chain of 50,000 nodes is a plain graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .node import Node


def topological(
    outputs: Iterable[Node], inside: Callable[[Node], bool] | None = None
) -> list[Node]:
    """Every node that the outputs depend on, each after its inputs.

    Args:
        outputs: where to start.
        inside: nodes for which it is false are left out, and not walked through.

    Example:
        >>> import chainrule as cr
        >>> with cr.record():
        ...     y = cr.tensor(2.0) * cr.tensor(3.0)
        >>> [node.op.name for node in topological([y.node])]
        ['input', 'input', 'mul']
    """
    order: list[Node] = []
    seen: set[Node] = set()
    for output in outputs:
        if output in seen or (inside is not None and not inside(output)):
            continue
        seen.add(output)
        stack = [(output, iter(output.inputs))]
        while stack:
            node, rest = stack[-1]
            for source in rest:
                if source not in seen and (inside is None or inside(source)):
                    seen.add(source)
                    stack.append((source, iter(source.inputs)))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


def consumers(nodes: Iterable[Node]) -> dict[Node, list[tuple[Node, int]]]:
    """Who uses each node: (consumer, which of its inputs) in the order of the nodes given."""
    users: dict[Node, list[tuple[Node, int]]] = {}
    for node in nodes:
        users.setdefault(node, [])
        for slot, source in enumerate(node.inputs):
            users.setdefault(source, []).append((node, slot))
    return users
