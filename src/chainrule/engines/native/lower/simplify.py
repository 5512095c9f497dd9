"""Simplifying a graph: one pass of :data:`.rewrites.REWRITES` from the inputs to the outputs."""

from __future__ import annotations

from ....errors import EngineError
from ....graph.graph import Graph
from ....graph.node import CONSTANT, Node
from .build import Builder, constant_array, is_leaf
from .rewrites import REWRITES
from .support import check_supported

SCAN_STEPS = 64  # a longer loop would be thousands of kernels


def simplify(graph: Graph) -> tuple[Graph, dict[str, int]]:
    """An equal graph with less to compute, in the canonical forms of :mod:`.rewrites`.

    Args:
        graph: any graph; its inputs keep their identity and order.

    Returns:
        The simplified graph, and how often each rewrite was applied.

    Raises:
        EngineError: when an op has no form on this engine, naming it.

    Example:
        >>> import chainrule as cr
        >>> trace = cr.graph.trace(lambda x: -(-x) * 1.0, cr.ones(3))
        >>> simplified, applied = simplify(trace.graph)
        >>> simplified.outputs[0] is simplified.inputs[0]
        True
    """
    check_supported(graph.nodes())
    builder = Builder(REWRITES)
    new: dict[Node, Node] = {}
    for node in graph.nodes():
        builder.source = node
        new[node] = _rebuilt(builder, node, new)
    outputs = tuple(new[output] for output in graph.outputs)
    return Graph(graph.inputs, outputs), builder.applied


def _rebuilt(builder: Builder, node: Node, new: dict[Node, Node]) -> Node:
    if is_leaf(node):
        return _leaf(builder, node)
    inputs = tuple(new[source] for source in node.inputs)
    if node.op.name == "scan":
        return node  # its steps are made when its parts are picked
    if node.op.name == "pick":
        return _picked(builder, node, new)
    return builder.make(node.op, *inputs, **node.attrs)


def _leaf(builder: Builder, node: Node) -> Node:
    """A constant that is one number everywhere becomes that number, expanded."""
    array = constant_array(node)
    if node.op is not CONSTANT or array is None:
        return node
    if array.size > 1 and (array.strides == (0,) * array.ndim or _all_equal(array)):
        return builder.expand(builder.constant(array.flat[0], node.dtype), node.shape)
    return builder.constant(array, node.dtype) if array.size <= 1 else node


def _all_equal(array: object) -> bool:
    import numpy as np

    values = np.asarray(array)
    return bool((values == values.flat[0]).all())


def _picked(builder: Builder, node: Node, new: dict[Node, Node]) -> Node:
    raise EngineError("scan is not lowered yet")
