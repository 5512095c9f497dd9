"""Folding a graph by module: a layer's nodes become one block, equal layers in a row become one.

A module may be called several times (a cell, at every time step). Each call is its own block:
nodes of one scope fall into *visits*, a new visit beginning where the way from the inputs left the
scope and came back, so that folding never makes a cycle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..graph.node import Node
from ..graph.walk import consumers

UNFOLDED_NODES = 40
LONGEST_PERIOD = 4


@dataclass
class Block:
    """Nodes that are drawn as one box.

    Attributes:
        key: A unique name.
        scope: The module whose nodes these are; "" for single nodes outside of modules.
        nodes: The nodes, each after its inputs.
        repeats: How many equal blocks in a row this one stands for.
        last: The scope of the last of them.
        parts: The scopes of one repetition, where it is made of several.
        inputs: Keys of the blocks whose results it uses.
    """

    key: str
    scope: str
    nodes: list[Node]
    repeats: int = 1
    last: str = ""
    parts: tuple[str, ...] = ()
    inputs: list[str] = field(default_factory=list)

    @property
    def result(self) -> Node:
        """The node whose value leaves the block."""
        return self.nodes[-1]


def singles(nodes: Sequence[Node]) -> list[Block]:
    """Return one block a node: the unfolded graph."""
    blocks = [Block(f"n{i}", node.scope, [node]) for i, node in enumerate(nodes)]
    return _connected(blocks)


def folded(nodes: Sequence[Node], depth: int | None = None) -> list[Block]:
    """Fold nodes by module.

    Args:
        nodes: All nodes, each after its inputs.
        depth: How many levels of modules stay apart; None keeps all of them.
    """
    scopes = {node: _cut(node.scope, depth) for node in nodes}
    _adopt_leaves(nodes, scopes)
    visits = _visits(nodes, scopes)
    blocks: dict[tuple[str, int], Block] = {}
    for number, node in enumerate(nodes):
        scope = scopes[node]
        place = (scope, visits[node]) if scope else (f"\0{number}", 0)
        block = blocks.setdefault(place, Block(f"n{number}", scope, []))
        block.nodes.append(node)
    return _repeated(_connected(_sorted(list(blocks.values()))))


def _cut(scope: str, depth: int | None) -> str:
    return scope if depth is None else ".".join(scope.split(".")[:depth])


def _adopt_leaves(nodes: Sequence[Node], scopes: dict[Node, str]) -> None:
    """Count a parameter among the nodes of the one module that uses it."""
    users: dict[Node, set[str]] = {}
    for node in nodes:
        for source in node.inputs:
            users.setdefault(source, set()).add(scopes[node])
    for node in nodes:
        if node.is_leaf and node.requires_grad and len(users.get(node, ())) == 1:
            scopes[node] = next(iter(users[node]))


def _visits(nodes: Sequence[Node], scopes: dict[Node, str]) -> dict[Node, int]:
    """Number each node's visit to its scope; a way that left it and returns begins a new one."""
    # For each node: for each scope behind it, the highest visit reached there.
    reached: dict[Node, dict[str, int]] = {}
    visit: dict[Node, int] = {}
    for node in nodes:
        behind: dict[str, int] = {}
        own, fresh = scopes[node], 0
        for source in node.inputs:
            for scope, number in reached.get(source, {}).items():
                behind[scope] = max(behind.get(scope, 0), number)
            if source.inputs and scopes[source] != own and own in reached.get(source, {}):
                fresh = max(fresh, reached[source][own] + 1)
        visit[node] = max(fresh, behind.get(own, 0))
        if node.inputs:
            behind[own] = max(behind.get(own, 0), visit[node])
        reached[node] = behind
    users = consumers(nodes)
    for node in nodes:
        if not node.inputs and scopes[node]:
            inside = [visit[user] for user, _ in users[node] if scopes.get(user) == scopes[node]]
            visit[node] = min(inside, default=0)
    return visit


def _connected(blocks: list[Block]) -> list[Block]:
    home = {node: block for block in blocks for node in block.nodes}
    for block in blocks:
        sources = (home[s] for node in block.nodes for s in node.inputs if s in home)
        keys = dict.fromkeys(source.key for source in sources if source is not block)
        block.inputs = list(keys)
    return blocks


def _sorted(blocks: list[Block]) -> list[Block]:
    """Order blocks so that each comes after those it uses, else as they stood."""
    home = {node: block for block in blocks for node in block.nodes}
    waiting: dict[str, int] = {}
    users: dict[str, list[Block]] = {}
    for block in blocks:
        sources = {home[s].key for n in block.nodes for s in n.inputs if s in home} - {block.key}
        waiting[block.key] = len(sources)
        for key in sources:
            users.setdefault(key, []).append(block)
    ready = deque(block for block in blocks if not waiting[block.key])
    ordered: list[Block] = []
    while ready:
        block = ready.popleft()
        ordered.append(block)
        for user in users.get(block.key, ()):
            waiting[user.key] -= 1
            if not waiting[user.key]:
                ready.append(user)
    return ordered


def _signature(block: Block) -> tuple[object, ...]:
    # Shapes of results, not of inputs: the first layer of a stack may see another width.
    return tuple((n.op.name, n.aval) for n in block.nodes if n.inputs)


def _repeated(blocks: list[Block]) -> list[Block]:
    """Join equal pieces of a chain, up to `LONGEST_PERIOD` blocks each, into one with a count."""
    joined: dict[str, str] = {}
    dropped: set[str] = set()
    for chain in _chains(blocks):
        signs = [_signature(block) for block in chain]
        start = 0
        while start < len(chain):
            period, repeats = _best_period(signs, start)
            if repeats > 1:
                piece = chain[start : start + period * repeats]
                _join(piece, period, repeats)
                joined.update((block.key, piece[0].key) for block in piece[1:])
                dropped.update(block.key for block in piece[1:])
            start += period * repeats
    for block in blocks:
        keys = dict.fromkeys(joined.get(key, key) for key in block.inputs)
        block.inputs = [key for key in keys if key != block.key]
    return [block for block in blocks if block.key not in dropped]


def _chains(blocks: list[Block]) -> list[list[Block]]:
    """Find the runs of module blocks in which each feeds the next one only."""
    users: dict[str, list[Block]] = {}
    for block in blocks:
        for key in block.inputs:
            users.setdefault(key, []).append(block)
    chains: list[list[Block]] = []
    seen: set[str] = set()
    for block in blocks:
        if block.key in seen or not block.scope:
            continue
        chain = [block]
        while True:
            following = users.get(chain[-1].key, [])
            if len(following) != 1 or not following[0].scope or len(following[0].inputs) != 1:
                break
            chain.append(following[0])
        seen.update(one.key for one in chain)
        chains.append(chain)
    return chains


def _best_period(signs: list[tuple[object, ...]], start: int) -> tuple[int, int]:
    """Return the period and count of the repetition at `start` that joins the most blocks."""
    best = (1, 1)
    for period in range(1, LONGEST_PERIOD + 1):
        piece = signs[start : start + period]
        repeats = 1
        while signs[start + repeats * period : start + (repeats + 1) * period] == piece:
            repeats += 1
        if repeats > 1 and period * repeats > best[0] * best[1]:
            best = (period, repeats)
    return best


def _join(piece: list[Block], period: int, repeats: int) -> None:
    first = piece[0]
    first.parts = tuple(block.scope for block in piece[:period])
    first.repeats = repeats
    first.last = piece[-1].scope
    first.nodes = [node for block in piece for node in block.nodes]
