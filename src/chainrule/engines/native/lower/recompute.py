"""Values that are computed anew where they are used, because storing them would cost more.

A normalised array is a cheap function of one that is in memory anyway and of a few statistics. Each
reader then computes it for itself (rematerialisation; Chen et al., Training Deep Nets with
Sublinear Memory Cost, 2016; here it saves time too, since memory is slower than arithmetic).
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping

from ....graph.graph import Graph
from ....graph.node import Node
from .cluster import is_computed
from .support import form
from .views import under

# For smaller arrays neither memory nor the waiting of threads between two tasks, by columns and by
# rows, is worth a word.
_LARGE = 1 << 12
_CHEAP = {
    *("add", "sub", "mul", "div", "neg", "relu", "abs", "maximum", "minimum", "where", "cast"),
    *("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not"),
}
_BY_POINTS = ("map", "reduce")
# What storing an array costs, in readings of one: it is written, and first fetched to be written.
_WRITE_COST = 2
_MOST_BASES = 3


def recompute(graph: Graph) -> Graph:
    """An equal graph in which cheap values have one copy for each reader.

    Args:
        graph: simplified and settled.
    """
    chosen = _choose(graph)
    if not chosen:
        return graph
    new: dict[Node, Node] = {}
    for node in graph.nodes():
        if node not in chosen:
            new[node] = _again(node, new, chosen)
    return Graph(graph.inputs, tuple(new[output] for output in graph.outputs))


def _choose(graph: Graph) -> dict[Node, frozenset[Node]]:
    """The nodes to compute anew, with the arrays in memory that each needs."""
    users = _users(graph)
    outputs = {under(output) for output in graph.outputs}
    chosen: dict[Node, frozenset[Node]] = {}
    passed: dict[Node, frozenset[Node]] = {}
    for node in graph.nodes():
        if form(node) != "map" or node.op.name not in _CHEAP or node.size < _LARGE:
            continue
        readers = users.get(node, [])
        # Whoever reads by other places than points needs it in memory.
        if node in outputs or not readers or any(form(r) not in _BY_POINTS for r in readers):
            continue
        bases = _bases(node, ChainMap(chosen, passed))
        if len(readers) == 1:
            passed[node] = bases
            continue
        kept = all(_is_stored(base, users, outputs) for base in bases)
        reads = len(bases) * len(readers)
        saved = len(bases) + _WRITE_COST + len(readers) - reads
        if kept and len(bases) <= _MOST_BASES and saved > 0 and _near_sum(readers, users):
            chosen[node] = bases
    # What a chosen node alone is computed from is computed anew with it.
    for node in reversed(passed):
        if users[node][0] in chosen:
            chosen[node] = passed[node]
    return chosen


def _users(graph: Graph) -> dict[Node, list[Node]]:
    found: dict[Node, list[Node]] = {}
    for node in graph.nodes():
        for source in dict.fromkeys(node.inputs):
            found.setdefault(source, []).append(node)
    return found


def _bases(node: Node, chosen: Mapping[Node, frozenset[Node]]) -> frozenset[Node]:
    """The large arrays that a node is computed from, through those computed anew."""
    found: set[Node] = set()
    for source in node.inputs:
        if source in chosen:
            found |= chosen[source]
        elif under(source).size >= _LARGE:
            found.add(under(source))
    return frozenset(found)


def _is_stored(base: Node, users: Mapping[Node, list[Node]], outputs: set[Node]) -> bool:
    """Whether an array is in memory whatever else is decided: given, asked for, or read by a
    reduction or a structured kernel beside others."""
    if not is_computed(base) or base in outputs:
        return True
    readers = users.get(base, [])
    return len(readers) > 1 and any(form(user) != "map" for user in readers)


def _near_sum(readers: list[Node], users: Mapping[Node, list[Node]]) -> bool:
    """Whether a reduction reads one of the readers, or what is computed from it alone."""
    for reader in readers:
        node = reader
        while form(node) == "map" and len(users.get(node, [])) == 1:
            node = users[node][0]
        if any(form(each) == "reduce" for each in (node, *users.get(node, []))):
            return True
    return False


def _again(node: Node, new: Mapping[Node, Node], chosen: Mapping[Node, object]) -> Node:
    """A node on new inputs, its cheap ones made for it alone."""
    if not node.inputs:
        return node
    made: dict[Node, Node] = {}
    # Inputs before those who use them, without recursion.
    stack = [node]
    while stack:
        top = stack[-1]
        missing = [s for s in top.inputs if s in chosen and s not in made]
        if missing:
            stack += missing
            continue
        stack.pop()
        if top not in made:
            inputs = tuple(made[s] if s in chosen else new[s] for s in top.inputs)
            same = top is node and inputs == node.inputs
            made[top] = node if same else _copy(top, inputs)
    return made[node]


def _copy(node: Node, inputs: tuple[Node, ...]) -> Node:
    return Node(
        node.op,
        inputs,
        node.attrs,
        node.aval,
        scope=node.scope,
        origin=node.origin,
        name=node.name,
    )
