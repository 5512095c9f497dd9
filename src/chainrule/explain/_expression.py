"""The formula of one element of a tensor, as a small tree that can be written and evaluated.

`rules.RULES` gives the first level of the tree; `_steps` goes deeper. A tree holds elements of
nodes, numbers, elementwise functions of trees, and totals: sums (or the largest) over an index.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..graph.node import CONSTANT, Node
from ..xp import numpy_ as numpy_xp
from ._drawing import Array
from ._numbers import factor, show

Index: TypeAlias = tuple[int, ...]
Letters: TypeAlias = tuple[int | str, ...]

SHOWN_TERMS = 4
INDEX_LETTERS = "kljmn"
# How tightly an op binds when it is written; what is not here needs no brackets.
BINDING = {
    "add": 1, "sub": 1, "neg": 2, "mul": 3, "div": 3, "pow": 5, "matmul": 3,
    "convolution": 3, "convolution_input": 3, "convolution_weight": 3,
    "eq": 0, "ne": 0, "lt": 0, "le": 0, "gt": 0, "ge": 0, "logical_and": -1, "logical_or": -1,
    "logical_not": 0, "shift_right": 0, "expm1": 1,
}  # fmt: skip
TIGHT = 9
# What operands of ops written as functions must bind as tight as, where brackets do not hold them.
INSIDE = {"log1p": 1, "where": 0}


class Names(Protocol):
    """Gives nodes their labels."""

    def of(self, node: Node) -> str:
        """Return the label of a node."""


@dataclass(frozen=True)
class Element:
    """One element of a node."""

    node: Node
    index: Index

    @property
    def value(self) -> float:
        """The element's value as the node's owner has it."""
        found: float = self.node.value()[self.index].item()
        return found


@dataclass(frozen=True)
class Number:
    """A number that stands in the formula itself."""

    value: float


@dataclass(frozen=True)
class Apply:
    """An elementwise op of trees."""

    node: Node
    arguments: tuple[Tree, ...]


@dataclass(frozen=True)
class Total:
    """A sum over an index, of one factor or a product of two; or the largest of many elements.

    Attributes:
        kind: "sum", "max" or "argmax".
        factors: Each factor's values for every term, shape (terms,).
        element: Gives the elements that make up one term.
        written: Writes one term with the running index.
        bound: The running index, as under the sum sign.
        position: Says a term's running index in words.
    """

    kind: str
    factors: tuple[Array, ...]
    element: Callable[[int], tuple[Element, ...]]
    written: Callable[[Names], str]
    bound: str
    position: Callable[[int], str]

    @property
    def products(self) -> Array:
        """The value of every term, float64 (or integer), shape (terms,)."""
        result = self.factors[0]
        for values in self.factors[1:]:
            result = result * values
        return result

    def largest(self, count: int = SHOWN_TERMS) -> list[int]:
        """Return the terms that matter most, in order; all of them as they stand where few.

        A sum's are those of greatest magnitude (none that are 0), a maximum's the greatest.
        """
        if len(self.products) <= count:
            return list(range(len(self.products)))
        weight = np.abs(self.products) if self.kind == "sum" else self.products
        order = np.argsort(-np.nan_to_num(weight.astype(np.float64), nan=np.inf), kind="stable")
        shown = [int(i) for i in order[:count]]
        if self.kind == "sum":
            return [i for i in shown if weight[i] != 0] or shown[:1]
        return shown


Tree: TypeAlias = Element | Number | Apply | Total


# --- values ----------------------------------------------------------------------------------


def evaluate(tree: Tree) -> float:
    """Compute a tree from its elements' values, in double precision."""
    match tree:
        case Element() | Number():
            return tree.value
        case Apply():
            return _apply(tree)
        case Total():
            return _total(tree)


def _apply(tree: Apply) -> float:
    arrays = []
    for argument, source in zip(tree.arguments, tree.node.inputs, strict=True):
        kind = np.float64 if source.dtype.is_float else source.dtype.np
        arrays.append(np.asarray(evaluate(argument), kind))
    attrs: dict[str, Any] = dict(tree.node.attrs)
    with np.errstate(all="ignore"):
        result = tree.node.op.array(numpy_xp, *arrays, **attrs)
    found: float = np.asarray(result).item()
    return found


def _total(tree: Total) -> float:
    products = tree.products
    if tree.kind == "argmax":
        return int(np.argmax(products))
    if tree.kind == "max" or products.dtype.kind != "f":
        found: float = (products.max() if tree.kind == "max" else products.sum()).item()
        return found
    if not np.isfinite(products).all():
        return float(products.sum())
    return math.fsum(products.tolist())


def scale(tree: Tree) -> float:
    """Return the magnitude that rounding errors of the tree are measured against."""
    match tree:
        case Element() | Number():
            return abs(float(tree.value))
        case Apply():
            return max([abs(float(evaluate(tree))), *(scale(a) for a in tree.arguments)])
        case Total():
            magnitudes = np.abs(tree.products.astype(np.float64))
            return float(magnitudes.sum() if tree.kind == "sum" else magnitudes.max(initial=0.0))


# --- writing ---------------------------------------------------------------------------------


def element_text(label: str, index: Letters) -> str:
    """Write an element: `z[0,3]`; a scalar is its label alone."""
    return f"{label}[{','.join(str(i) for i in index)}]" if index else label


def formula(tree: Tree, names: Names) -> str:
    """Write a tree with the names of its elements."""
    return _written(tree, names)[0]


def _written(tree: Tree, names: Names) -> tuple[str, int]:
    match tree:
        case Element(node, index):
            if node.op is CONSTANT and node.size == 1:
                return _number(tree.value)
            return element_text(names.of(node), index), TIGHT
        case Number(value):
            return _number(value)
        case Apply():
            return _joined(tree, [_written(a, names) for a in tree.arguments])
        case Total(kind="sum"):
            return f"Σ_{tree.bound} {tree.written(names)}", 2
        case Total():
            return f"{tree.kind}_{tree.bound} {tree.written(names)}", TIGHT


def _number(value: float) -> tuple[str, int]:
    text = show(value)
    return text, (BINDING["neg"] if text.startswith("-") else TIGHT)


def numbers(tree: Tree) -> str:
    """Write a tree with its numbers; of a total the largest terms and the rest."""
    return _numbered(tree)[0]


def _numbered(tree: Tree) -> tuple[str, int]:
    match tree:
        case Element() | Number():
            return _number(tree.value)
        case Apply():
            return _joined(tree, [_numbered(a) for a in tree.arguments])
        case Total(kind="sum"):
            return _sum_text(tree), 1
        case Total():
            shown = [show(tree.products[i]) for i in tree.largest()]
            more = len(tree.products) - len(shown)
            rest = [f"{more} smaller"] if more > 0 else []
            return f"{tree.kind}({', '.join(shown + rest)})", TIGHT


def _sum_text(tree: Total) -> str:
    shown = tree.largest()
    pieces = ["·".join(factor(values[i]) for values in tree.factors) for i in shown]
    more = len(tree.products) - len(shown)
    if more > 0:
        rest = math.fsum(np.delete(tree.products, shown).astype(np.float64).tolist())
        pieces.append(f"{factor(rest)} ({more} more)")
    return " + ".join(pieces) or "0"


def _joined(tree: Apply, arguments: list[tuple[str, int]]) -> tuple[str, int]:
    """Put written arguments into the op's own text, with brackets where the op binds tighter."""
    op = tree.node.op
    if op.name in ("cast", "detach"):
        return arguments[0]
    own = BINDING.get(op.name, TIGHT)
    parts = [
        bracketed(op.name, op.text, slot, text, binding, own)
        for slot, (text, binding) in enumerate(arguments)
    ]
    written = op.text.format(*parts)
    if op.name == "shift_right":
        written = written.replace("count", str(tree.node.attrs["count"]))
    return written, own


def bracketed(op: str, template: str, slot: int, text: str, binding: int, own: int) -> str:
    """Bracket an operand that binds looser than its op; none where the op's text has brackets."""
    before, after = template.split(f"{{{slot}}}", 1)
    if before.rstrip()[-1:] in ("(", ",", "|") and after.lstrip()[:1] in (")", ",", "|"):
        return text
    # The right operand of -, / and ^ must bind tighter, not just as tight.
    needed = INSIDE.get(op, own) + (op in ("sub", "div", "pow") and slot == 1)
    loose = binding < needed < TIGHT
    return f"({text})" if loose or (slot and text.startswith("-")) else text
