"""Simplifying a graph: one pass of :data:`.rewrites.REWRITES` from the inputs to the outputs.

Ops of several outputs are taken apart on the way: a loop is simplified with its body (see
:mod:`.bodies`), and a result with a derivative of the user's own is that result.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ....graph.graph import Graph
from ....graph.node import CONSTANT, Node
from .bodies import loop
from .build import Builder, constant_array, is_leaf
from .checks import note_check, with_indices
from .rewrites import REWRITES
from .support import check_supported


def simplify(graph: Graph) -> tuple[Graph, dict[str, int]]:
    """An equal graph with less to compute, in the canonical forms of :mod:`.rewrites`.

    Args:
        graph: any graph; its inputs keep their identity and order.

    Returns:
        The simplified graph, with the checks of its indices as further outputs, and how often each
        rewrite was applied.

    Raises:
        EngineError: when an op has no form on this engine, naming it.

    Example:
        >>> import chainrule as cr
        >>> trace = cr.trace(lambda x: -(-x) * 1.0, cr.ones(3))
        >>> simplified, applied = simplify(trace.graph)
        >>> simplified.outputs[0] is simplified.inputs[0]
        True
    """
    builder = Builder(REWRITES)
    new: dict[Node, Any] = {}
    checks: dict[Any, Node] = {}
    _rebuild(builder, graph.nodes(), new, checks)
    outputs = (*(new[output] for output in graph.outputs), *checks.values())
    return Graph(graph.inputs, outputs), builder.applied


def _rebuild(
    builder: Builder,
    nodes: Iterable[Node],
    new: dict[Node, Any],
    checks: dict[Any, Node] | None = None,
) -> None:
    """Add to ``new`` what each node becomes: a node, or a tuple for several outputs.

    Args:
        builder: makes the nodes.
        nodes: each after those that it reads.
        new: what is known already.
        checks: where checks of indices are added; None inside of a loop, whose indices are further
            outputs of it.
    """
    nodes = list(nodes)
    check_supported(nodes)
    used: dict[Node, set[int]] = {node: set() for node in nodes if node.op.name == "scan"}
    for node in nodes:
        if node.op.name == "pick" and node.inputs[0] in used:
            used[node.inputs[0]].add(node.attrs["index"])
    for node in nodes:
        if node in new:
            continue
        builder.source = node
        if is_leaf(node):
            new[node] = _leaf(builder, node)
            continue
        inputs = tuple(new[source] for source in node.inputs)
        if node.op.name == "pick":
            new[node] = inputs[0][node.attrs["index"]]
        elif node.op.name == "custom":
            new[node] = inputs[: node.attrs["rule"].results]
        elif node.op.name == "scan":
            new[node] = _loop(builder, node, inputs, used[node], checks)
        else:
            if len(inputs) > 1 and checks is not None:
                note_check(builder, checks, node, inputs[1])
            new[node] = builder.make(node.op, *inputs, **node.attrs)


def _loop(
    builder: Builder,
    node: Node,
    inputs: tuple[Node, ...],
    used: set[int],
    checks: dict[Any, Node] | None,
) -> dict[int, Node]:
    """The outputs of a loop over time; the indices of its body are checked behind it."""
    if checks is None:
        return loop(builder, node, inputs, used, _rebuild)
    whole, indexed = with_indices(builder, node)
    made = loop(builder, whole, inputs, used | {place for place, _ in indexed}, _rebuild)
    for place, user in indexed:
        note_check(builder, checks, user, made[place])
    return made


def _leaf(builder: Builder, node: Node) -> Node:
    """A constant that is one number everywhere becomes that number, expanded."""
    array = constant_array(node)
    if node.op is not CONSTANT or array is None:
        return node
    if array.size > 1 and bool(np.all(array == array.flat[0])):
        return builder.expand(builder.constant(array.flat[0], node.dtype), node.shape)
    return builder.constant(array, node.dtype) if array.size <= 1 else node
