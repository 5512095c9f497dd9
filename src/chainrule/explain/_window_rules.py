"""How one element of a convolution or a pooling follows from elements of its inputs.

Notation: t is a place of the window, k an element of it; they meet the image at
s = t · stride + k · dilation - low on each axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from ..graph.node import Node
from ._expression import Element, Index, Names, Total, Tree

Term = tuple[Element, ...]


def _meets(node: Node, window: Index, size: Index, place: Index) -> Iterator[tuple[Index, Index]]:
    """What the window at a place meets: (element of the window, element of the image)."""
    at = node.attrs
    for k in product(*map(range, window)):
        s = tuple(
            t * step + one * gap - low
            for t, one, step, gap, (low, _) in zip(
                place, k, at["stride"], at["dilation"], at["padding"], strict=True
            )
        )
        if all(0 <= one < n for one, n in zip(s, size, strict=True)):
            yield k, s


def _reached(node: Node, window: Index, counts: Index, s: Index) -> Iterator[tuple[Index, Index]]:
    """Which windows meet an element of the image: (element of the window, place of the window)."""
    at = node.attrs
    for k in product(*map(range, window)):
        ways = [
            divmod(one + low - own * gap, step)
            for one, own, step, gap, (low, _) in zip(
                s, k, at["stride"], at["dilation"], at["padding"], strict=True
            )
        ]
        t = tuple(way for way, _ in ways)
        inside = all(0 <= one < n for one, n in zip(t, counts, strict=True))
        if inside and not any(rest for _, rest in ways):
            yield k, t


def _total(kind: str, terms: list[Term], written: Any, bound: str, positions: list[str]) -> Tree:
    """A sum of products of elements, or the largest of elements."""
    count = len(terms[0]) if terms else 1
    factors = tuple(
        np.array([float(term[place].value) for term in terms], np.float64) for place in range(count)
    )
    return Total(kind, factors, terms.__getitem__, written, bound, lambda number: positions[number])


def _at(name: str, place: Index) -> str:
    return f"{name}={','.join(map(str, place))}"


def convolution(node: Node, index: Index) -> Tree:
    """Σ over the channels and elements of the window."""
    x, w = node.inputs
    image, output, place = index[0], index[1], index[2:]
    width = w.shape[1]
    first = output // (w.shape[0] // node.attrs["groups"]) * width
    terms: list[Term] = []
    positions = []
    for c in range(width):
        for k, s in _meets(node, w.shape[2:], x.shape[2:], place):
            terms.append(
                (Element(x, (image, first + c, *s)), Element(w, (output, c, *k))),
            )
            positions.append(f"c={c}, {_at('k', k)}")

    def written(names: Names) -> str:
        return f"{names.of(x)}[{image},c,t+k]·{names.of(w)}[{output},c,k]"

    return _total("sum", terms, written, "{c,k}", positions)


def convolution_input(node: Node, index: Index) -> Tree:
    """Σ over the outputs and the windows that meet the element."""
    g, w = node.inputs
    image, channel, s = index[0], index[1], index[2:]
    width, many = w.shape[1], w.shape[0] // node.attrs["groups"]
    first, c = channel // width * many, channel % width
    terms: list[Term] = []
    positions = []
    for o in range(first, first + many):
        for k, t in _reached(node, w.shape[2:], g.shape[2:], s):
            terms.append((Element(g, (image, o, *t)), Element(w, (o, c, *k))))
            positions.append(f"o={o}, {_at('k', k)}")

    def written(names: Names) -> str:
        return f"{names.of(g)}[{image},o,s-k]·{names.of(w)}[o,{c},k]"

    return _total("sum", terms, written, "{o,k}", positions)


def convolution_weight(node: Node, index: Index) -> Tree:
    """Σ over the images and the places of the window."""
    x, g = node.inputs
    output, c, k = index[0], index[1], index[2:]
    channel = output // (g.shape[1] // node.attrs["groups"]) * node.shape[1] + c
    terms: list[Term] = []
    positions = []
    for image in range(x.shape[0]):
        for t in product(*map(range, g.shape[2:])):
            for own, s in _meets(node, node.shape[2:], x.shape[2:], t):
                if own == k:
                    terms.append(
                        (Element(x, (image, channel, *s)), Element(g, (image, output, *t)))
                    )
                    positions.append(f"n={image}, {_at('t', t)}")

    def written(names: Names) -> str:
        return f"{names.of(x)}[n,{channel},t+k]·{names.of(g)}[n,{output},t]"

    return _total("sum", terms, written, "{n,t}", positions)


def _window(kind: str, node: Node, index: Index) -> Tree:
    """The elements of the window at one place."""
    x = node.inputs[0]
    lead = index[:2]
    met = list(_meets(node, node.attrs["window"], x.shape[2:], index[2:]))
    terms: list[Term] = [(Element(x, (*lead, *s)),) for _, s in met]
    positions = [_at("k", k) for k, _ in met]

    def written(names: Names) -> str:
        return f"{names.of(x)}[{','.join(map(str, lead))},t+k]"

    return _total(kind, terms, written, "k", positions)


def max_pool(node: Node, index: Index) -> Tree:
    """The largest of the window."""
    return _window("max", node, index)


def window_sum(node: Node, index: Index) -> Tree:
    """Σ over the window."""
    return _window("sum", node, index)


def window_spread(node: Node, index: Index) -> Tree:
    """Σ over the windows that meet the element."""
    (g,) = node.inputs
    lead = index[:2]
    met = list(_reached(node, node.attrs["window"], g.shape[2:], index[2:]))
    terms: list[Term] = [(Element(g, (*lead, *t)),) for _, t in met]

    def written(names: Names) -> str:
        return f"{names.of(g)}[{','.join(map(str, lead))},s-k]"

    return _total("sum", terms, written, "k", [_at("k", k) for k, _ in met])


def max_pool_input(node: Node, index: Index) -> Tree:
    """Σ over the places whose largest element this one is."""
    g, where = node.inputs
    lead = index[:2]
    number = int(np.ravel_multi_index(index[2:], node.attrs["size"]))
    found = [tuple(map(int, t)) for t in np.argwhere(where.value()[lead] == number)]
    terms: list[Term] = [(Element(g, (*lead, *t)),) for t in found]

    def written(names: Names) -> str:
        return f"{names.of(g)}[{','.join(map(str, lead))},t]"

    return _total("sum", terms, written, f"{{t: place[t]={number}}}", [_at("t", t) for t in found])


RULES = {
    "convolution": convolution,
    "convolution_input": convolution_input,
    "convolution_weight": convolution_weight,
    "max_pool": max_pool,
    "max_pool_input": max_pool_input,
    "window_sum": window_sum,
    "window_spread": window_spread,
}
