"""Simplifying a graph: one pass of :data:`.rewrites.REWRITES` from the inputs to the outputs.

Ops of several outputs are taken apart on the way: a loop of few steps is written out, and a result
with a derivative of the user's own is that result.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ....errors import EngineError
from ....graph.graph import Graph
from ....graph.node import CONSTANT, Aval, Node
from ....ops import shape
from .build import Builder, constant_array, is_leaf
from .rewrites import REWRITES
from .support import check_supported

SCAN_STEPS = 64  # a longer loop would be thousands of kernels

_LONG_SCAN = (
    "the native engine writes loops out, up to {limit} steps.\n"
    "  given: scan over {length} steps: {place}\n"
    "  expected: at most {limit} steps\n"
    '  fix: use engine="numpy" or engine="xla" for this function, or shorter sequences'
)


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
        >>> trace = cr.trace(lambda x: -(-x) * 1.0, cr.ones(3))
        >>> simplified, applied = simplify(trace.graph)
        >>> simplified.outputs[0] is simplified.inputs[0]
        True
    """
    builder = Builder(REWRITES)
    new: dict[Node, Any] = {}
    _rebuild(builder, graph.nodes(), new)
    return Graph(graph.inputs, tuple(new[output] for output in graph.outputs)), builder.applied


def _rebuild(builder: Builder, nodes: Iterable[Node], new: dict[Node, Any]) -> None:
    """Add to ``new`` what each node becomes: a node, or a tuple for several outputs."""
    nodes = list(nodes)
    check_supported(nodes)
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
            new[node] = _written_out(builder, node, inputs)
        else:
            new[node] = builder.make(node.op, *inputs, **node.attrs)


def _leaf(builder: Builder, node: Node) -> Node:
    """A constant that is one number everywhere becomes that number, expanded."""
    array = constant_array(node)
    if node.op is not CONSTANT or array is None:
        return node
    if array.size > 1 and bool(np.all(array == array.flat[0])):
        return builder.expand(builder.constant(array.flat[0], node.dtype), node.shape)
    return builder.constant(array, node.dtype) if array.size <= 1 else node


def _written_out(builder: Builder, node: Node, inputs: tuple[Node, ...]) -> tuple[Node, ...]:
    """The steps of a loop, one after the other; its last carries and its stacked outputs."""
    body, length = node.attrs["body"], node.attrs["length"]
    if length > SCAN_STEPS:
        raise EngineError(_LONG_SCAN.format(limit=SCAN_STEPS, length=length, place=node.describe()))
    first, second = body.carries, body.carries + body.scanned
    carries, constants = inputs[:first], inputs[second:]
    stacked: dict[int, tuple[Node, ...]] = {}
    for time in reversed(range(length)) if node.attrs["reverse"] else range(length):
        parts = tuple(_at(builder, x, time) for x in inputs[first:second])
        new: dict[Node, Any] = dict(zip(body.inputs, (*carries, *parts, *constants), strict=True))
        _rebuild(builder, body.nodes(), new)
        results = tuple(new[output] for output in body.outputs)
        carries, stacked[time] = results[:first], results[first:]
    builder.source = node
    ends = node.aval[first:]
    return (*carries, *(_stack(builder, stacked, k, aval) for k, aval in enumerate(ends)))


def _at(builder: Builder, x: Node, time: int) -> Node:
    """One step's part of a scanned input."""
    starts = (time, *(0 for _ in x.shape[1:]))
    stops = (time + 1, *x.shape[1:])
    part = builder.make(shape.SLICE, x, starts=starts, stops=stops, steps=(1,) * x.ndim)
    return builder.reshape(part, x.shape[1:])


def _stack(builder: Builder, stacked: dict[int, tuple[Node, ...]], which: int, aval: Aval) -> Node:
    """One output of all steps, along a new first axis."""
    if not stacked:
        return builder.constant(np.zeros(aval.shape, aval.dtype.np), aval.dtype)
    parts = [stacked[time][which] for time in sorted(stacked)]
    rows = [builder.reshape(part, (1, *part.shape)) for part in parts]
    return builder.make(shape.CONCAT, *rows, axis=0)
