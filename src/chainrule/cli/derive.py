"""`chainrule derive`: a formula, its values and all its partial derivatives, one line a node."""

from __future__ import annotations

import tempfile
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..autodiff import Part, Sweep, sweep
from ..explain._numbers import factor, partial, show, summary
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
MOST_WRITTEN = 12
"""Elements of an array that is written out."""
NUDGE = 0.001


@dataclass(frozen=True)
class Derivation:
    """A computed formula with its derivatives.

    Attributes:
        formula: what was computed.
        values: the values of its variables.
        output: the result, a scalar.
        nodes: every node, each after its inputs, all of them named or constant.
        partials: the derivatives of the output.
    """

    formula: Formula
    values: dict[str, Array]
    output: Tensor
    nodes: list[Node]
    partials: Sweep

    @property
    def variables(self) -> list[Node]:
        """The nodes of the variables, in the order the formula names them."""
        of_name = {node.name: node for node in self.nodes if node.is_leaf}
        return [of_name[name] for name in self.formula.variables if name in of_name]

    def text(self) -> str:
        """Give the tree, then a nudge of every variable."""
        return "\n".join([*tree_lines(self), "", *nudge_lines(self)])


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
        J = 3 · v = 33         ∂J/∂J = 1
        └─ v = a + u = 11      ∂J/∂v = 3 · ∂J/∂J = 3 · 1 = 3
           ├─ a = 5            ∂J/∂a = 1 · ∂J/∂v = 1 · 3 = 3
           └─ u = b · c = 6    ∂J/∂u = 1 · ∂J/∂v = 1 · 3 = 3
              ├─ b = 3         ∂J/∂b = c · ∂J/∂u = 2 · 3 = 6
              └─ c = 2         ∂J/∂c = b · ∂J/∂u = 3 · 3 = 9
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
    return Derivation(formula, values, output, nodes, sweep(output.node))


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


def written(value: Any) -> str:
    """Write a value: a small array with the brackets of its rows, a large one as a summary.

    Example:
        >>> written(np.array([[1.0, 2.0], [3.0, 4.0]]))
        '[[1, 2], [3, 4]]'
    """
    if value.ndim == 0 or value.size > MOST_WRITTEN:
        return summary(value)
    return f"[{', '.join(written(row) for row in value)}]"


def label(node: Node) -> str:
    """Write a node inside a formula: its name, or a constant's number."""
    if node.name is not None:
        return node.name
    value = node.value()
    return factor(value.item()) if value.size == 1 else written(value)


def equation(node: Node) -> str:
    """Write what a node is: its name, its formula in the names of its inputs, its value."""
    if node.is_leaf:
        return f"{label(node)} = {written(node.value())}"
    return f"{label(node)} = {_formula(node)} = {written(node.value())}"


def _formula(node: Node) -> str:
    names = [label(source) for source in node.inputs]
    if node.op.text and len(node.op.slopes) == len(names):
        return node.op.text.format(*names)
    return f"{node.op.name}({', '.join(names)})"


def term(part: Part, top: Node) -> str:
    """Write what one use of a node adds to its partial derivative, in names."""
    consumer = part.consumer
    names = [label(source) for source in consumer.inputs]
    upstream = partial(label(top), label(consumer))
    if consumer.op.name == "matmul":
        return f"{upstream} @ {names[1]}ᵀ" if part.slot == 0 else f"{names[0]}ᵀ @ {upstream}"
    return f"{slope(part, names)} · {upstream}"


def slope(part: Part, names: list[str]) -> str:
    """Write the local derivative of a consumer by one of its inputs, in names."""
    consumer = part.consumer
    name = consumer.op.name
    if name == "sum":
        return "1"
    if name == "amax":
        return f"[{names[0]} is largest]"
    if name == "pow" and part.slot == 0 and consumer.inputs[1].op is CONSTANT:
        return _power_slope(names[0], consumer.inputs[1].value().item())
    if len(consumer.op.slopes) != len(names):
        return partial(label(consumer), names[part.slot])
    text = consumer.op.slopes[part.slot].format(*names)
    # One sum or quotient inside a product wants brackets; a lone name, call or number does not.
    return f"({text})" if " " in text or text.startswith("-") else text


def _power_slope(base: str, exponent: float) -> str:
    """Write the derivative of a power with a number as its exponent.

    Example:
        >>> _power_slope("a", 2.0), _power_slope("a", 3.0), _power_slope("a", 0.5)
        ('2 · a', '3 · a ^ 2', '0.5 · a ^ (-0.5)')
    """
    power = "" if exponent == 2 else f" ^ {factor(exponent - 1)}"
    return f"{factor(exponent)} · {base}{power}"


def _local(part: Part) -> float:
    """Compute the local derivative itself: the op's rule, for a gradient of one."""
    consumer = part.consumer
    rule = consumer.op.vjps[part.slot]
    assert rule is not None, consumer.op.name
    one = Tensor(np.ones(consumer.shape)).node
    return float(rule(one, consumer, *consumer.inputs, **consumer.attrs).value().item())


def partial_text(node: Node, result: Derivation) -> str:
    """Write a node's partial derivative as the chain rule gives it, in names, then in numbers."""
    top = result.output.node
    head = partial(label(top), label(node))
    gradient = result.partials[node]
    if node is top:
        return f"{head} = 1"
    if gradient is None:
        return f"{head} = 0"
    parts = result.partials.parts(node)
    value = written(gradient.value())
    names = " + ".join(term(part, top) for part in parts)
    if any(source.size > 1 for part in parts for source in (node, part.consumer)):
        return f"{head} = {names} = {value}"
    numbers = []
    for part in parts:
        upstream = result.partials[part.consumer]
        assert upstream is not None
        numbers.append(f"{factor(_local(part))} · {factor(upstream.value().item())}")
    return f"{head} = {names} = {' + '.join(numbers)} = {value}"


def tree_lines(result: Derivation) -> list[str]:
    """Write the tree, the output first; a node that is used twice is written out once."""
    rows: list[tuple[str, str]] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, str, str]] = [(result.output.node, "", "")]
    while stack:
        node, guide, below = stack.pop()
        if node in seen:
            rows.append((f"{guide}{label(node)} = {written(node.value())}", "(written above)"))
            continue
        seen.add(node)
        rows.append((guide + equation(node), partial_text(node, result)))
        sources = [s for s in dict.fromkeys(node.inputs) if s.op is not CONSTANT]
        for source in reversed(sources):
            last = source is sources[-1]
            guide, deeper = ("└─ ", "   ") if last else ("├─ ", "│  ")
            stack.append((source, below + guide, below + deeper))
    width = max(len(left) for left, _ in rows) + 4
    return [f"{left:<{width}}{right}" for left, right in rows]


def nudge_lines(result: Derivation) -> list[str]:
    """Move each variable a little, compute the formula anew, and say what the output did."""
    top = result.output.node
    before = result.output.item()
    lines = []
    for node in result.variables:
        name = label(node)
        value = result.values[name]
        positions = list(np.ndindex(value.shape))
        for at in positions[:MOST_NUDGED]:
            moved = value.copy()
            moved[at] += NUDGE
            given = result.values | {name: moved}
            tensors = {each: Tensor(array) for each, array in given.items()}
            after = compute(result.formula, tensors).item()
            place = f"{name}[{','.join(map(str, at))}]" if at else name
            start, end = _tell_apart(before, after)
            lines.append(
                f"nudge {place} to {show(moved[at].item())}: {label(top)} {start} -> {end}"
            )
        if len(positions) > MOST_NUDGED:
            lines.append(f"(and {len(positions) - MOST_NUDGED} more elements of {name})")
    return lines


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
    from ..explain import graph

    path = graph(result.output).save(save)
    if open_it:
        webbrowser.open(path.resolve().as_uri())
    return path
