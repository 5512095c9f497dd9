"""`explain.steps`: the formula of one element, with its numbers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import IndexRangeError, OptionError
from ..graph.node import Node
from ..graph.walk import topological
from ._charts import Bar, bar_chart
from ._drawing import Drawing, Text, text_width
from ._expression import (
    Apply,
    Element,
    Index,
    Number,
    Total,
    Tree,
    element_text,
    evaluate,
    formula,
    numbers,
    scale,
)
from ._graph_text import NO_HISTORY
from ._names import Labels
from ._numbers import factor, show
from ._rules import MOVES, expand
from ._view import View

# Ops written into the formula of the op that uses them, when they have no name of their own.
TOTALS = frozenset(("matmul", "sum", "convolution", "window_sum"))
ARITHMETIC = frozenset(("add", "sub", "mul", "div", "neg"))
CONDITIONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))
MOST_STEPS = 60
BARS = 12
BAD_INDEX = (
    "explain.steps needs the index of one element.\n"
    "  given: index {index} for a tensor of shape {shape}\n"
    "  expected: {count} whole numbers, each within its axis\n"
    "  fix: cr.explain.steps(tensor, {example})"
)
BAD_DEPTH = (
    "explain.steps cannot go to this depth.\n"
    "  given: depth={depth!r}\n"
    "  expected: a whole number of 1 or more, or None for all the way to the leaves\n"
    "  fix: cr.explain.steps(tensor, index, depth=2)"
)


@dataclass(frozen=True)
class Step:
    """One element and the formula it follows from."""

    element: Element
    tree: Tree
    level: int

    @property
    def value(self) -> float:
        """The element's value, as its owner has it."""
        return self.element.value

    @property
    def computed(self) -> float:
        """The value that the formula gives, in double precision."""
        return evaluate(self.tree)

    @property
    def tolerance(self) -> float:
        """How far rounding may take the two apart."""
        dtype = self.element.node.dtype
        if not dtype.is_float:
            return 0.0
        terms = max((len(t.products) for t in totals(self.tree)), default=1)
        return float(np.finfo(dtype.np).eps) * scale(self.tree) * (8 + math.sqrt(terms))

    @property
    def holds(self) -> bool:
        """Whether the formula gives the value within rounding."""
        value, computed = self.value, self.computed
        same = value == computed or (value != value and computed != computed)
        return same or abs(value - computed) <= self.tolerance


def steps(
    tensor: Any, index: Index | int | None = None, *, depth: int | None = 1, model: Any = None
) -> View:
    """Expand the formula of one element with its numbers.

    Args:
        tensor: The tensor, or one element of it: `steps(z[0, 3])` and `steps(z, (0, 3))` are the
            same.
        index: Which element, where `tensor` has more than one.
        depth: How many computations deep; None goes to the leaves, by the largest terms only.
        model: A module; its parameters are then named as in its `state_dict`.

    Returns:
        A view; `.data["steps"]` has formula, numbers, value and what the formula computes.

    Raises:
        IndexRangeError: The index does not name one element.
        OptionError: `depth` is less than 1.
        TraceError: The tensor was traced and has no value.

    Example:
        >>> import chainrule as cr
        >>> x = cr.tensor([[1.0, 2.0]]).named("x")
        >>> w = cr.tensor([[0.5, -1.0]], requires_grad=True).named("w")
        >>> z = (x @ w.T + 4.0).named("z")
        >>> print(steps(z, (0, 0)).text())
        z[0,0] = Σ_k x[0,k]·w[0,k] + 4
               = 1·0.5 + 2·(-1) + 4
               = 2.5
    """
    if depth is not None and (not isinstance(depth, int) or depth < 1):
        raise OptionError(BAD_DEPTH.format(depth=depth))
    start = through(Element(tensor.node, _one_index(tensor.node, index)))
    if not isinstance(start, Element):
        start = Element(tensor.node, _one_index(tensor.node, index))
    start.node.value()
    output = start.node
    labels = Labels(topological([output]), output, model)
    found = _walk(start, math.inf if depth is None else depth)
    title = f"How {_name(start, labels)} = {show(start.value)} is computed"
    return View(
        title,
        {"steps": [_data(step, labels) for step in found], "legend": labels.legend},
        lambda: _lines(found, labels),
        lambda: _draw(found, labels, title),
    )


def _one_index(node: Node, index: Index | int | None) -> Index:
    given = () if index is None else (index,) if isinstance(index, int) else tuple(index)
    if index is None and node.size == 1:
        given = (0,) * node.ndim
    inside = len(given) == node.ndim and all(
        -size <= i < size for i, size in zip(given, node.shape, strict=True)
    )
    if not inside:
        example = tuple(0 for _ in node.shape)
        details = {"index": index, "shape": node.shape, "count": node.ndim, "example": example}
        raise IndexRangeError(BAD_INDEX.format(**details))
    return tuple(int(i) % size for i, size in zip(given, node.shape, strict=True))


# --- building --------------------------------------------------------------------------------


def _walk(start: Element, depth: float) -> list[Step]:
    queue = deque([(start, 1)])
    seen = {(start.node, start.index)}
    found: list[Step] = []
    while queue and len(found) < MOST_STEPS:
        element, level = queue.popleft()
        step = Step(element, tree_of(element), level)
        found.append(step)
        if level >= depth:
            continue
        for leaf in leaves(step.tree):
            if leaf.node.inputs and (leaf.node, leaf.index) not in seen:
                seen.add((leaf.node, leaf.index))
                queue.append((leaf, level + 1))
    return found


def tree_of(element: Element) -> Tree:
    """Return an element's formula: moves looked through, products written into sums."""
    return _inlined(expand(element.node, element.index))


def _inlined(tree: Tree) -> Tree:
    if not isinstance(tree, Apply):
        return through(tree) if isinstance(tree, Element) else tree
    arguments = []
    for argument in tree.arguments:
        found = through(argument)
        if isinstance(found, Element) and _belongs(tree.node, found.node):
            found = _inlined(expand(found.node, found.index))
        arguments.append(found)
    return replace(tree, arguments=tuple(arguments))


def through(tree: Tree) -> Tree:
    """Look through unnamed ops that only move or recast an element, to where it comes from."""
    while isinstance(tree, Element) and tree.node.inputs and tree.node.name is None:
        node = tree.node
        recast = node.op.name == "detach" or (
            node.op.name == "cast" and node.dtype.is_float and node.inputs[0].dtype.is_float
        )
        if recast:
            tree = Element(node.inputs[0], tree.index)
        elif node.op.name in MOVES:
            tree = expand(node, tree.index)
        else:
            break
    return tree


def _belongs(parent: Node, child: Node) -> bool:
    """Whether an unnamed child is written inside its parent's formula."""
    if child.name is not None or not child.inputs or child.wrt:
        return False
    if parent.op.name == "where":
        return child.op.name in CONDITIONS
    if parent.op.name not in ARITHMETIC:
        return False
    with_number = any(not source.inputs and source.size == 1 for source in child.inputs)
    return child.op.name in TOTALS or (
        child.op.name in ARITHMETIC and child.ndim == 0 and (with_number or len(child.inputs) == 1)
    )


def leaves(tree: Tree) -> Iterator[Element]:
    """Yield the elements a formula is made of; of a total, those of its largest terms."""
    if isinstance(tree, Element):
        yield tree
    elif isinstance(tree, Apply):
        for argument in tree.arguments:
            yield from leaves(argument)
    elif isinstance(tree, Total):
        for term in tree.largest():
            for element in tree.element(term):
                found = through(element)
                if isinstance(found, Element):
                    yield found


def totals(tree: Tree) -> Iterator[Total]:
    """Yield the totals in a formula."""
    if isinstance(tree, Total):
        yield tree
    elif isinstance(tree, Apply):
        for argument in tree.arguments:
            yield from totals(argument)


# --- showing ---------------------------------------------------------------------------------


def _name(element: Element, labels: Labels) -> str:
    return element_text(labels.of(element.node), element.index)


def formula_of(step: Step, labels: Labels) -> str:
    """Write a step's formula; "given" for a leaf."""
    if isinstance(step.tree, Element) and step.tree == step.element:
        return "given" if not step.element.node.inputs else step.element.node.op.text
    return formula(step.tree, labels)


def numbers_of(step: Step) -> str:
    """Write a step's formula with its numbers; "" where it is one number alone."""
    alone = isinstance(step.tree, (Element, Number))
    return "" if alone else numbers(step.tree)


def _rows(step: Step, labels: Labels) -> list[tuple[str, str]]:
    """Return the lines of one step: (left of the sign, right of it)."""
    name = _name(step.element, labels)
    written, plugged, value = formula_of(step, labels), numbers_of(step), show(step.value)
    if written == "given":
        return [(name, value)]
    lines = [(name, written)]
    if plugged and plugged != value:
        lines.append(("", plugged))
    lines.append(("", value))
    return lines


def _lines(found: list[Step], labels: Labels) -> list[str]:
    lines: list[str] = []
    for step in found:
        indent = "  " * (step.level - 1)
        if lines:
            lines.append("")
        rows = _rows(step, labels)
        width = len(rows[0][0])
        lines += [f"{indent}{left:<{width}} = {right}" for left, right in rows]
        lines += [indent + " " * width + "   " + text for text in _largest(step)]
    if not found[0].element.node.inputs:
        lines.append(NO_HISTORY)
    return lines + _legend(found, labels)


def _largest(step: Step) -> list[str]:
    """Say which terms matter most, where a total has more than are written."""
    lines = []
    for total in totals(step.tree):
        shown = total.largest()
        if total.kind == "sum" and len(total.products) > len(shown):
            named = ", ".join(f"{total.position(i)}: {show(total.products[i], 4)}" for i in shown)
            lines.append(f"largest of {len(total.products)} terms: {named}")
    return lines


def _legend(found: list[Step], labels: Labels) -> list[str]:
    used = {labels.of(step.element.node) for step in found}
    for step in found:
        used |= {labels.of(leaf.node) for leaf in leaves(step.tree)}
        for total in totals(step.tree):
            if len(total.products):
                used |= {labels.of(element.node) for element in total.element(0)}
    entries = [f"  {label:<8} {text}" for label, text in labels.legend.items() if label in used]
    return ["", "where", *entries] if entries else []


def _data(step: Step, labels: Labels) -> dict[str, Any]:
    return {
        "element": _name(step.element, labels),
        "level": step.level,
        "formula": formula_of(step, labels),
        "numbers": numbers_of(step),
        "value": step.value,
        "computed": step.computed,
        "difference": step.computed - step.value,
        "within_rounding": step.holds,
        "terms": [_term_data(total, labels) for total in totals(step.tree)],
    }


def _term_data(total: Total, labels: Labels) -> dict[str, Any]:
    shown = total.largest(BARS)
    rest = np.delete(total.products, shown).astype(np.float64)
    return {
        "count": len(total.products),
        "largest": [
            {
                "position": total.position(i),
                "elements": [_name(element, labels) for element in total.element(i)],
                "factors": [values[i].item() for values in total.factors],
                "value": total.products[i].item(),
            }
            for i in shown
        ],
        "rest": math.fsum(rest.tolist()),
    }


def _draw(found: list[Step], labels: Labels, title: str) -> Drawing:
    drawing = Drawing(0, 0, title, " ".join(_lines(found[:1], labels)))
    y, width = 0.0, 360.0
    for step in found:
        x = 24.0 * (step.level - 1) + 16
        for position, (left, right) in enumerate(_rows(step, labels)):
            y += 24
            last = position > 0 and position == len(_rows(step, labels)) - 1
            drawing.add(Text(x, y, left, "ink", size=14, bold=True))
            indent = x + text_width(_rows(step, labels)[0][0], 14, True) + 6
            drawing.add(
                Text(indent, y, f"= {right}", "forward" if last else "ink", size=14, bold=last)
            )
            width = max(width, indent + text_width(f"= {right}", 14) + 16)
        y += 10
    for total in totals(found[0].tree):
        if total.kind == "sum" and len(total.products) > 1:
            chart = _bars(total, labels, max(width - 32, 480))
            drawing.place(chart, 16, y + 12)
            y += chart.height + 12
            width = max(width, chart.width + 32)
    drawing.width, drawing.height = width, y + 14
    return drawing


def _bars(total: Total, labels: Labels, width: float) -> Drawing:
    shown = sorted(total.largest(BARS))
    bars = []
    for i in shown:
        product = "·".join(factor(values[i], 4) for values in total.factors)
        value = show(total.products[i], 4)
        note = f"{product} = {value}" if len(total.factors) > 1 else value
        bars.append(Bar(total.position(i), float(total.products[i]), note))
    more = len(total.products) - len(shown)
    if more > 0:
        rest = math.fsum(np.delete(total.products, shown).astype(np.float64).tolist())
        bars.append(Bar(f"{more} more", rest, show(rest, 4)))
    heading = f"the terms of Σ_{total.bound} {total.written(labels)}"
    return bar_chart(bars, title=heading, width=min(width, 760), heading=heading)
