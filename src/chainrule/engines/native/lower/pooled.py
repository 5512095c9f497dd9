"""Convolutions of which only windows' maxima are read: they are never stored.

What keeps the order of numbers, a bias for each channel and a ReLU, may come behind the maximum:
max(f(x)) = f(max x). Then the maximum is taken where the convolution's result still is in a cache,
and the gradients need its place alone.
"""

from __future__ import annotations

from itertools import pairwise

from ....graph.graph import Graph
from ....graph.node import Node
from .build import Builder
from .window_ops import CONVOLVE, CONVOLVE_POOL, POOL

# Bytes of one image's result, which a thread keeps to itself.
_LARGEST = 1 << 18


def pool_behind(graph: Graph) -> Graph:
    """An equal graph in which maxima of a convolution come straight behind it.

    Args:
        graph: simplified.
    """
    users: dict[Node, list[Node]] = {}
    for node in graph.nodes():
        for source in dict.fromkeys(node.inputs):
            users.setdefault(source, []).append(node)
    chains: dict[Node, list[Node]] = {}
    for node in graph.nodes():
        chain = _chain(node, users, set(graph.outputs)) if node.op is CONVOLVE else None
        if chain is not None:
            chains[chain[-1]] = chain
    if not chains:
        return graph
    builder = Builder({})
    new: dict[Node, Node] = {}
    for node in graph.nodes():
        builder.source = node
        inputs = tuple(new[source] for source in node.inputs)
        if node.op is POOL and node.inputs[0] in chains:
            new[node] = _turned(builder, node, chains[node.inputs[0]], new)
        elif inputs == node.inputs:
            new[node] = node
        else:
            new[node] = builder.make(node.op, *inputs, **node.attrs)
    return Graph(graph.inputs, tuple(new[output] for output in graph.outputs))


def _chain(
    convolution: Node, users: dict[Node, list[Node]], outputs: set[Node]
) -> list[Node] | None:
    """A convolution, what keeps the order behind it, and then maxima alone; None where not so."""
    chain = [convolution]
    at = convolution.attrs["at"]
    size = at.outputs * convolution.shape[1] * convolution.dtype.itemsize
    if size > _LARGEST or convolution.attrs["groups"] > 1:
        return None
    while True:
        last = chain[-1]
        readers = users.get(last, [])
        if last in outputs or not readers:
            return None
        if all(reader.op is POOL for reader in readers):
            kinds = {
                (reader.attrs["at"], reader.attrs["what"] in ("value", "code"))
                for reader in readers
            }
            (pool, wanted), *others = kinds
            fits = wanted and not others and pool.is_bare and pool.size == at.places
            return chain if fits else None
        if len(readers) != 1 or not _keeps_order(readers[0], last):
            return None
        chain.append(readers[0])


def _keeps_order(node: Node, source: Node) -> bool:
    """Whether a node is a ReLU or adds one number to each channel."""
    if node.op.name == "relu":
        return True
    others = [each for each in node.inputs if each is not source]
    return node.op.name == "add" and len(others) == 1 and others[0].shape == (1, node.shape[1])


def _turned(builder: Builder, pool: Node, chain: list[Node], new: dict[Node, Node]) -> Node:
    """The maxima of a chain: those of its convolution, then the rest of the chain."""
    first, what = chain[0], pool.attrs["what"]
    groups, at = first.attrs["groups"], first.attrs["at"]
    sources = (new[source] for source in first.inputs)
    settings = {"at": at, "pool": pool.attrs["at"], "groups": groups, "what": what}
    made = builder.make(CONVOLVE_POOL, *sources, **settings)
    if what == "code":
        return made
    for before, node in pairwise(chain):
        inputs = (made if source is before else new[source] for source in node.inputs)
        made = builder.make(node.op, *inputs, **node.attrs)
    return made
