"""`chainrule derive`: a formula, its values and all its partial derivatives, one line a node."""

from __future__ import annotations

import tempfile
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..explain import View, graph
from ..explain._numbers import show
from ..graph import topological
from ..graph.node import CONSTANT, Node
from ..tensor import Tensor
from .expression import Array, ExpressionError, Formula, compute, match

INTERMEDIATES = "uvwpqrstxyzabcdefghklmn"
"""Names for what is computed on the way, in this order, where the formula does not use them."""
OUTPUT_NAMES = ("J", "L", "y", "output")
MOST_NODES = 200
MOST_NUDGED = 6
"""Elements of one array that are nudged one by one."""
NUDGE = 0.001


@dataclass(frozen=True)
class Derivation:
    """A computed formula with its derivatives.

    Attributes:
        formula: what was computed.
        values: the values of its variables.
        output: the result, a scalar whose graph has names for everything.
        view: the graph, with every value and partial derivative.
    """

    formula: Formula
    values: dict[str, Array]
    output: Tensor
    view: View

    def text(self) -> str:
        """Give the tree, then a nudge of every variable."""
        return "\n".join([self.view.text(), "", *nudge_lines(self)])

    def document(self) -> dict[str, Any]:
        """Give all of it as plain data; `nodes` has every node, its value and derivatives."""
        partials = self.partials()
        return {
            "formula": self.formula.text,
            "value": self.output.item(),
            "variables": {
                name: {"value": value, "partial": partials[name]}
                for name, value in self.values.items()
            },
            "output": self.output.node.name,
            "nodes": self.view.data["nodes"],
        }

    def partials(self) -> dict[str, Array]:
        """Give the output's partial derivative by each variable; zeros where it does not count."""
        found = {node["label"]: node["partial"] for node in self.view.data["nodes"]}
        return {
            name: np.zeros_like(value) if found[name] is None else found[name]
            for name, value in self.values.items()
        }


def derive(formula: Formula, values: dict[str, Array]) -> Derivation:
    """Compute a formula and the partial derivative of its output by every node.

    Args:
        formula: a checked formula.
        values: the value of each of its variables, float64 of any shape.

    Raises:
        ExpressionError: a variable without a value, shapes that do not fit, an output that is an
            array, more than 200 operations.

    Example:
        >>> from chainrule.cli.expression import parse, parse_values
        >>> print(derive(parse("3*(a + b*c)"), parse_values(["a=5", "b=3", "c=2"])).text())
        J = 3 · v = 33        ∂J/∂J = 1
        └─ v = a + u = 11     ∂J/∂v = 3 · ∂J/∂J = 3 · 1 = 3
           ├─ a = 5           ∂J/∂a = 1 · ∂J/∂v = 1 · 3 = 3
           └─ u = b · c = 6   ∂J/∂u = 1 · ∂J/∂v = 1 · 3 = 3
              ├─ b = 3        ∂J/∂b = c · ∂J/∂u = 2 · 3 = 6
              └─ c = 2        ∂J/∂c = b · ∂J/∂u = 3 · 3 = 9
        <BLANKLINE>
        nudge a to 5.001: J 33 -> 33.003
        nudge b to 3.001: J 33 -> 33.006
        nudge c to 2.001: J 33 -> 33.009
    """
    match(formula, values)
    given = {name: Tensor(value, requires_grad=True).named(name) for name, value in values.items()}
    output = compute(formula, given)
    if output.ndim:
        raise ExpressionError(
            f"the result is an array of shape {tuple(output.shape)}, and a derivative is that of "
            f'one number.\n  fix: sum it, "sum({formula.text})", or average it with mean(...)'
        )
    if not output.requires_grad:
        raise ExpressionError("the formula has no variable, so there is nothing to derive by.")
    nodes = topological([output.node])
    if len(nodes) > MOST_NODES:
        raise ExpressionError(
            f"the formula has {len(nodes)} nodes.\n  expected: at most {MOST_NODES}"
        )
    _name_nodes(nodes, output.node)
    return Derivation(formula, values, output, graph(output, fold=False))


def _name_nodes(nodes: list[Node], output: Node) -> None:
    """Give a letter to everything that has no name yet."""
    taken = {node.name for node in nodes}
    letters = [letter for letter in INTERMEDIATES if letter not in taken]
    endless = (*letters, *(f"u{k}" for k in range(1, MOST_NODES)))
    names = iter(name for name in endless if name not in taken)
    for node in nodes:
        if node.name is None and node.op is not CONSTANT and node is not output:
            node.name = next(names)
    if output.name is None:
        output.name = next(name for name in OUTPUT_NAMES if name not in taken)


def nudge_lines(result: Derivation) -> list[str]:
    """Move each variable a little, compute the formula anew, and say what the output did."""
    lines = []
    before, top = result.output.item(), result.output.node.name
    for name in result.formula.variables:
        value = result.values.get(name)
        if value is None:  # a constant such as pi
            continue
        positions = list(np.ndindex(value.shape))
        for at in positions[:MOST_NUDGED]:
            place = f"{name}[{','.join(map(str, at))}]" if at else name
            moved, after = _nudged(result, name, at)
            start, end = _tell_apart(before, after)
            lines.append(f"nudge {place} to {show(moved)}: {top} {start} -> {end}")
        if len(positions) > MOST_NUDGED:
            lines.append(f"(and {len(positions) - MOST_NUDGED} more elements of {name})")
    return lines


def _nudged(result: Derivation, name: str, at: tuple[int, ...]) -> tuple[float, float]:
    """Compute the formula with one element moved; returns that element and the new output."""
    moved = result.values[name].copy()
    moved[at] += NUDGE
    given = {each: Tensor(value) for each, value in (result.values | {name: moved}).items()}
    return moved[at].item(), compute(result.formula, given).item()


def _tell_apart(before: float, after: float) -> tuple[str, str]:
    """Write two numbers with as many digits as show their difference to four digits.

    Example:
        >>> _tell_apart(33.0, 33.006)
        ('33', '33.006')
    """
    change = abs(after - before)
    size = max(abs(before), abs(after))
    if not np.isfinite(change) or change == 0:
        return show(before, 10), show(after, 10)
    digits = int(np.ceil(np.log10(size / change))) + 4
    return show(before, min(digits, 15)), show(after, min(digits, 15))


def draw(result: Derivation, save: Path | None, *, open_it: bool) -> Path | None:
    """Draw the graph into a file, and open that file in a browser where it is asked for.

    Returns:
        The path written, or None where neither was asked for.
    """
    if save is None and not open_it:
        return None
    if save is None:
        folder = Path(tempfile.mkdtemp(prefix="chainrule-"))
        save = folder / "derive.html"
    path = result.view.save(save)
    if open_it:
        webbrowser.open(path.resolve().as_uri())
    return path
