"""The text twin of a graph: a tree from the output down to the leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..graph.node import Node
from ._drawing import Array
from ._fold import Block
from ._names import Labels
from ._numbers import partial, shape_text, show, small, summary

if TYPE_CHECKING:
    from ._graph import Seen

DEEPEST = 24
NO_HISTORY = "(a leaf: given, or computed without history, which `with cr.record():` keeps)"
Rows = list[tuple[str, str]]


def tree_lines(blocks: Sequence[Block], known: Mapping[Node, Seen], labels: Labels) -> list[str]:
    """Write a graph as a tree, one line a block: value on the left, partial derivative beside it.

    A block that several others use is written in full once, and named afterwards; a tree that
    grows too deep for a line goes on below, from its own root.
    """
    by_key = {block.key: block for block in blocks}
    home = {node: block for block in blocks for node in block.nodes}
    rows: Rows = []
    written: set[str] = set()
    stack: list[tuple[str, str, str]] = [(home[labels.output].key, "", "")]
    later: list[str] = []
    while stack or later:
        if not stack:
            stack.append((later.pop(0), "", ""))
        key, lead, below = stack.pop()
        block = by_key[key]
        if len(lead) > 3 * DEEPEST and key not in written:
            rows.append((f"{lead}{_short(block, known)} (below)", ""))
            later += [] if key in later else [key]
            continue
        if key in written:
            rows.append((f"{lead}{_short(block, known)} (above)", ""))
            continue
        written.add(key)
        left, right = describe(block, known, labels)
        rows.append((lead + left, right))
        count = len(block.inputs)
        for number in range(count - 1, -1, -1):
            last = number == count - 1
            stack.append(
                (
                    block.inputs[number],
                    below + ("└─ " if last else "├─ "),
                    below + ("   " if last else "│  "),
                )
            )
    if len(rows) == 1 and not known[labels.output].node.inputs:
        rows.append((NO_HISTORY, ""))
    width = max((len(left) for left, right in rows if right), default=0)
    lines = [f"{left:<{width}}   {right}".rstrip() for left, right in rows]
    return lines + _legend(labels, blocks, known)


def _legend(labels: Labels, blocks: Sequence[Block], known: Mapping[Node, Seen]) -> list[str]:
    shown = {known[block.result].label for block in blocks}
    entries = [
        f"  {label:<8} {meaning}" for label, meaning in labels.legend.items() if label in shown
    ]
    return ["", "where", *entries] if entries else []


def _short(block: Block, known: Mapping[Node, Seen]) -> str:
    return block_name(block) if len(block.nodes) > 1 else known[block.result].label


def block_name(block: Block) -> str:
    """Name a folded block: its module, and how many equal ones it stands for."""
    first = ", ".join(block.parts) or block.scope or "outside of modules"
    return f"{first} … {block.last} ×{block.repeats}" if block.repeats > 1 else first


def describe(block: Block, known: Mapping[Node, Seen], labels: Labels) -> tuple[str, str]:
    """Describe a block in two texts: the value side and the partial derivative's side."""
    one = known[block.result]
    output = labels.of(labels.output)
    if len(block.nodes) == 1:
        return value_text(one), partial_text(one, output)
    size = sum(node.size for node in block.nodes if node.is_leaf and node.requires_grad)
    parts = f", {size:,} parameters" if size else ""
    left = f"[{block_name(block)}] {len(block.nodes)} nodes{parts} -> {one.label}"
    return f"{left} {shape_text(one.value.shape)}", partial_text(one, output)


def value_text(one: Seen) -> str:
    """Write a node and its value: `u = b · c = 6`, `w1 (parameter 100×784) = ...`."""
    value = small(one.value)
    if value:
        return f"{one.label} = {one.formula} = {value}" if one.formula else f"{one.label} = {value}"
    shape = shape_text(one.value.shape)
    head = f"{one.label} = {one.formula}" if one.formula else one.label
    return f"{head}  {shape}: {summary(one.value)}"


def partial_text(one: Seen, output: str) -> str:
    """Write a node's partial derivative with the chain rule's products that make it."""
    if one.partial is None:
        return ""
    name = partial(output, one.label)
    if not one.backs:
        return f"{name} = {show(one.partial.item())}" if one.partial.size == 1 else name
    symbols = " + ".join(back.symbols for back in one.backs)
    if one.partial.size == 1 and all(back.numbers for back in one.backs):
        products = " + ".join(back.numbers for back in one.backs)
        return f"{name} = {symbols} = {products} = {show(one.partial.item())}"
    return f"{name} = {symbols}; {_size(one.partial)}"


def _size(array: Array) -> str:
    if array.size == 1:
        return show(array.item())
    if small(array):
        return small(array)
    return f"length {show(np.linalg.norm(array.astype(np.float64).ravel()), 3)}"
