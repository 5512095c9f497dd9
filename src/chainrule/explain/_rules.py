"""How one element of a result follows from elements of its inputs: one explicit table.

Elementwise ops need no entry: each element comes from the same element of each input, by the
formula in the op's own record. Every other op has its rule in `RULES`; a test checks that no op
of `ops.ALL` is without one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ..graph.node import Node
from . import _window_rules
from ._drawing import Array
from ._expression import (
    INDEX_LETTERS,
    Apply,
    Element,
    Index,
    Letters,
    Names,
    Number,
    Total,
    Tree,
    element_text,
)

Rule: TypeAlias = Callable[[Node, Index], Tree]


def expand(node: Node, index: Index) -> Tree:
    """Return the formula of one element, one op deep.

    Raises:
        KeyError: The op is neither elementwise nor in `RULES`.
    """
    if not node.inputs and node.op.name not in RULES:
        return Element(node, index)
    if node.op.elementwise:
        return elementwise(node, index)
    return RULES[node.op.name](node, index)


def elementwise(node: Node, index: Index) -> Tree:
    """The same element of each input; a broadcast axis of length 1 is read at 0."""
    arguments = (Element(source, broadcast_index(source.shape, index)) for source in node.inputs)
    return Apply(node, tuple(arguments))


def broadcast_index(shape: Index, index: Index) -> Index:
    """Return which element of a broadcast operand meets the output's element at `index`."""
    own = index[len(index) - len(shape) :]
    return tuple(0 if size == 1 else i for size, i in zip(shape, own, strict=True))


def _values(node: Node, at: Any) -> Array:
    values = np.asarray(node.value()[at])
    return values.astype(np.float64).ravel() if node.dtype.is_float else values.ravel()


def symbol(node: Node, letters: Letters, names: Names) -> str:
    """Write an element with running indices; unnamed transposes and casts are looked through."""
    while node.inputs and node.name is None and node.op.name in ("permute", "cast", "detach"):
        if node.op.name == "permute":
            place: list[int | str] = [0] * node.ndim
            for position, axis in enumerate(node.attrs["axes"]):
                place[axis] = letters[position]
            letters = tuple(place)
        node = node.inputs[0]
    return element_text(names.of(node), letters)


# --- products and reductions -----------------------------------------------------------------


def matmul(node: Node, index: Index) -> Tree:
    """Σ_k a[i,k]·b[k,j], each operand's axes swapped where its flag says."""
    a, b = node.inputs
    ta, tb = node.attrs["ta"], node.attrs["tb"]
    lead_a = broadcast_index(a.shape[:-2], index[:-2])
    lead_b = broadcast_index(b.shape[:-2], index[:-2])
    row, column = index[-2:]

    def left(k: int | str | slice) -> tuple[Any, ...]:
        return (*lead_a, k, row) if ta else (*lead_a, row, k)

    def right(k: int | str | slice) -> tuple[Any, ...]:
        return (*lead_b, column, k) if tb else (*lead_b, k, column)

    every = slice(None)
    return Total(
        "sum",
        (_values(a, left(every)), _values(b, right(every))),
        lambda k: (Element(a, left(k)), Element(b, right(k))),
        lambda names: f"{symbol(a, left('k'), names)}·{symbol(b, right('k'), names)}",
        "k",
        lambda k: f"k={k}",
    )


def _reduction(kind: str, node: Node, index: Index, axes: Index, keepdims: bool) -> Tree:
    (x,) = node.inputs
    axes = tuple(sorted(axis % x.ndim for axis in axes))
    if not keepdims:
        kept = iter(index)
        index = tuple(0 if axis in axes else next(kept) for axis in range(x.ndim))
    at = tuple(slice(None) if axis in axes else i for axis, i in enumerate(index))
    sizes = tuple(x.shape[axis] for axis in axes)
    letters = dict(zip(axes, INDEX_LETTERS, strict=False))

    def place(term: int) -> Index:
        inner = iter(int(i) for i in np.unravel_index(term, sizes)) if sizes else iter(())
        return tuple(next(inner) if axis in axes else i for axis, i in enumerate(index))

    def position(term: int) -> str:
        found = place(term)
        return ", ".join(f"{letters.get(axis, 'k')}={found[axis]}" for axis in axes)

    lettered: Letters = tuple(letters.get(axis, i) for axis, i in enumerate(index))
    return Total(
        kind,
        (_values(x, at),),
        lambda term: (Element(x, place(term)),),
        lambda names: symbol(x, lettered, names),
        "".join(letters.values()),
        position,
    )


def sum_rule(node: Node, index: Index) -> Tree:
    """Σ over the reduced axes."""
    return _reduction("sum", node, index, node.attrs["axes"], node.attrs["keepdims"])


def amax(node: Node, index: Index) -> Tree:
    """The largest over the reduced axes."""
    return _reduction("max", node, index, node.attrs["axes"], node.attrs["keepdims"])


def argmax(node: Node, index: Index) -> Tree:
    """The place of the largest along one axis."""
    return _reduction("argmax", node, index, (node.attrs["axis"],), node.attrs["keepdims"])


def cumsum(node: Node, index: Index) -> Tree:
    """Σ over the elements up to this one."""
    (x,) = node.inputs
    axis = node.attrs["axis"] % x.ndim
    before, last, after = index[:axis], index[axis], index[axis + 1 :]
    return Total(
        "sum",
        (_values(x, (*before, slice(last + 1), *after)),),
        lambda term: (Element(x, (*before, term, *after)),),
        lambda names: symbol(x, (*before, "k", *after), names),
        f"{{k≤{last}}}",
        lambda term: f"k={term}",
    )


# --- moved elements --------------------------------------------------------------------------


def reshape(node: Node, index: Index) -> Tree:
    """The element with the same number in row-major order."""
    (x,) = node.inputs
    if not x.shape:
        return Element(x, ())
    flat = int(np.ravel_multi_index(index, node.shape)) if index else 0
    return Element(x, tuple(int(i) for i in np.unravel_index(flat, x.shape)))


def permute(node: Node, index: Index) -> Tree:
    """Axis k of the result is axis `axes[k]` of the input."""
    (x,) = node.inputs
    place = [0] * x.ndim
    for position, axis in enumerate(node.attrs["axes"]):
        place[axis] = index[position]
    return Element(x, tuple(place))


def expand_rule(node: Node, index: Index) -> Tree:
    """A stretched axis reads element 0."""
    (x,) = node.inputs
    return Element(x, broadcast_index(x.shape, index))


def slice_rule(node: Node, index: Index) -> Tree:
    """Element i of the part is element start + i·step."""
    (x,) = node.inputs
    parts = zip(index, node.attrs["starts"], node.attrs["steps"], strict=True)
    return Element(x, tuple(start + i * step for i, start, step in parts))


def pad(node: Node, index: Index) -> Tree:
    """Zero around and between the input's elements."""
    (x,) = node.inputs
    place = []
    for i, low, gap, size in zip(
        index, node.attrs["low"], node.attrs["interior"], x.shape, strict=True
    ):
        position, between = divmod(i - low, gap + 1)
        if between or not 0 <= position < size:
            return Number(0)
        place.append(position)
    return Element(x, tuple(place))


def flip(node: Node, index: Index) -> Tree:
    """A reversed axis is read from its end."""
    (x,) = node.inputs
    axes = {axis % x.ndim for axis in node.attrs["axes"]}
    sizes = enumerate(zip(index, x.shape, strict=True))
    return Element(x, tuple(n - 1 - i if axis in axes else i for axis, (i, n) in sizes))


def concat(node: Node, index: Index) -> Tree:
    """The part in which the index falls."""
    axis = node.attrs["axis"] % node.ndim
    offset = index[axis]
    for part in node.inputs:
        if offset < part.shape[axis]:
            return Element(part, (*index[:axis], offset, *index[axis + 1 :]))
        offset -= part.shape[axis]
    raise IndexError(f"index {index} lies outside of {node!r}")


# --- places given by an index tensor ---------------------------------------------------------


def take(node: Node, index: Index) -> Tree:
    """`x[..., where[...], ...]`."""
    x, where = node.inputs
    axis = node.attrs["axis"] % x.ndim
    inner = index[axis : axis + where.ndim]
    found = _row(where, inner, x.shape[axis])
    return Element(x, (*index[:axis], found, *index[axis + where.ndim :]))


def gather(node: Node, index: Index) -> Tree:
    """`x` at the place that the index tensor names on one axis."""
    x, where = node.inputs
    axis = node.attrs["axis"] % x.ndim
    found = _row(where, index, x.shape[axis])
    return Element(x, (*index[:axis], found, *index[axis + 1 :]))


def _row(where: Node, index: Index, size: int) -> int:
    found = int(where.value()[index])
    return found + size if found < 0 else found


def take_add(node: Node, index: Index) -> Tree:
    """The sum of all rows whose index is this one."""
    g, where = node.inputs
    axis = node.attrs["axis"]
    matches = np.argwhere(where.value() == index[axis])
    places = [(*index[:axis], *(int(i) for i in m), *index[axis + 1 :]) for m in matches]
    return _added(g, where, places, index[axis])


def scatter_add(node: Node, index: Index) -> Tree:
    """The sum of all elements on this line whose index is this one."""
    g, where = node.inputs
    axis = node.attrs["axis"] % g.ndim
    line = where.value()[(*index[:axis], slice(None), *index[axis + 1 :])]
    matches = np.flatnonzero(line == index[axis])
    places = [(*index[:axis], int(m), *index[axis + 1 :]) for m in matches]
    return _added(g, where, places, index[axis])


def _added(g: Node, where: Node, places: list[Index], wanted: int) -> Tree:
    values = np.array([g.value()[place] for place in places], g.dtype.np)
    return Total(
        "sum",
        (values.astype(np.float64) if g.dtype.is_float else values,),
        lambda term: (Element(g, places[term]),),
        lambda names: f"{names.of(g)}[p]",
        f"{{p: index[p]={wanted}}}",
        lambda term: f"p={','.join(str(i) for i in places[term])}",
    )


# --- results that follow from a position alone, or from a loop --------------------------------


def iota(node: Node, index: Index) -> Tree:
    """The element's own position along one axis."""
    return Number(index[node.attrs["axis"]])


def drawn(node: Node, index: Index) -> Tree:
    """A number drawn from a key and a counter: nothing to expand, the value stands for itself."""
    return Element(node, index)


def ranked(node: Node, index: Index) -> Tree:
    """A place in the order of a line or window: it follows from all its elements at once."""
    return Element(node, index)


def of_loop(node: Node, index: Index) -> Tree:
    """What a compiled loop or its outputs hold; eager mode unrolls loops and shows each step."""
    return Element(node, index)


def picked(node: Node, index: Index) -> Tree:
    """One of several results: of a user's own derivative, what was computed before it."""
    source = node.inputs[0]
    if source.op.name == "custom":
        return Element(source.inputs[node.attrs["index"]], index)
    return of_loop(node, index)


RULES: dict[str, Rule] = {
    "matmul": matmul,
    "sum": sum_rule,
    "amax": amax,
    "argmax": argmax,
    "cumsum": cumsum,
    "argsort": ranked,
    "reshape": reshape,
    "permute": permute,
    "expand": expand_rule,
    "slice": slice_rule,
    "pad": pad,
    "flip": flip,
    "concat": concat,
    "take": take,
    "take_add": take_add,
    "gather": gather,
    "scatter_add": scatter_add,
    **_window_rules.RULES,
    "max_pool_index": ranked,
    "iota": iota,
    "random_bits": drawn,
    "scan": of_loop,
    "pick": picked,
    "custom": of_loop,
}

# Ops that only move elements: an unnamed one is looked through in formulas.
MOVES = frozenset(
    ("reshape", "permute", "expand", "slice", "pad", "flip", "concat", "take", "gather")
)
