"""`explain.graph`: every node with its value and its partial derivative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..autodiff import Sweep
from ..config import set_state
from ..errors import OptionError
from ..graph.node import CONSTANT, Node
from ..graph.walk import topological
from ._backward import Back, backs, swept
from ._drawing import Array
from ._expression import BINDING, TIGHT, bracketed
from ._fold import UNFOLDED_NODES, Block, folded, singles
from ._graph_drawing import draw_blocks
from ._graph_text import tree_lines
from ._names import Labels
from ._numbers import show
from ._view import View

FOLDS = ("auto", True, False)
SEVERAL = (
    "the picture of a graph cannot show a node with several results.\n"
    "  given: the op {op}, {node!r}\n"
    "  fix: picture a graph without autograd.Function and scan; explain.steps follows one element"
)
BAD_FOLD = (
    "explain.graph does not know how to fold by {fold!r}.\n"
    "  given: fold={fold!r}\n"
    "  expected: 'auto', True, False, or how many levels of modules to keep (an int of 1 or more)\n"
    "  fix: cr.explain.graph(y, fold='auto')"
)
NO_VALUE = (
    "explain.graph needs values, and this tensor has none: it was made while tracing.\n"
    "  given: {node!r}\n"
    "  fix: compute it outside of the compiled function"
)


@dataclass(frozen=True)
class Seen:
    """What is known of one node.

    Attributes:
        key: A unique name within the view.
        node: The node itself.
        label: Its short name.
        formula: How it follows from its inputs, in labels; "" for leaves.
        value: Its value.
        partial: The output's partial derivative with respect to it; None where there is none.
        backs: The chain rule's terms that the partial derivative is the sum of.
        inputs: Keys of the nodes it follows from (literal numbers stand in the formula).
        gradient: The node of the partial derivative.
    """

    key: str
    node: Node
    label: str
    formula: str
    value: Array
    partial: Array | None
    backs: tuple[Back, ...]
    inputs: tuple[str, ...]
    gradient: Node | None = None

    @property
    def kind(self) -> str:
        """parameter, input or result."""
        if self.node.inputs:
            return "result"
        return "parameter" if self.node.requires_grad else "input"


def graph(
    y: Any, *, fold: bool | int | str = "auto", model: Any = None, down: bool | None = None
) -> View:
    """Show the graph of a tensor: every node with its value and partial derivative.

    The partial derivatives are those of `y` itself when it has one element, and of the sum of its
    elements otherwise. History is kept for results that need gradients; for others compute inside
    `with cr.record():`.

    Args:
        y: The tensor whose graph to show.
        fold: "auto" folds by module above 40 nodes; True always; False never; a number keeps that
            many levels of modules.
        model: A module; its parameters are then named as in its `state_dict`.
        down: Let the picture flow down (True, for narrow screens) or to the right (False); left
            out, it flows to the right where that fits a page.

    Returns:
        A view; `.data["nodes"]` has label, formula, value and partial of every node.

    Raises:
        OptionError: `fold` is none of the above.
        TraceError: `y` was traced and has no value.

    Example:
        >>> import chainrule as cr
        >>> a, b, c = (cr.tensor(v, requires_grad=True) for v in (5.0, 3.0, 2.0))
        >>> J = 3 * (a.named("a") + b.named("b") * c.named("c"))
        >>> print(graph(J).text())
        J = 3 · v = 33        ∂J/∂J = 1
        └─ v = a + u = 11     ∂J/∂v = 3 · ∂J/∂J = 3 · 1 = 3
           ├─ a = 5           ∂J/∂a = 1 · ∂J/∂v = 1 · 3 = 3
           └─ u = b · c = 6   ∂J/∂u = 1 · ∂J/∂v = 1 · 3 = 3
              ├─ b = 3        ∂J/∂b = c · ∂J/∂u = 2 · 3 = 6
              └─ c = 2        ∂J/∂c = b · ∂J/∂u = 3 · 3 = 9
    """
    _check_fold(fold)
    seen, labels = look(y, model)
    blocks = _blocks([one.node for one in seen], fold)
    known = {one.node: one for one in seen}
    title = _title(labels, seen)
    return View(
        title,
        {
            "output": labels.of(labels.output),
            "nodes": [_data(one) for one in seen],
            "blocks": [
                {"scope": b.scope, "repeats": b.repeats, "nodes": len(b.nodes)} for b in blocks
            ],
            "legend": labels.legend,
        },
        lambda: tree_lines(blocks, known, labels),
        lambda: draw_blocks(blocks, known, labels, title, down=down),
    )


def _check_fold(fold: bool | int | str) -> None:
    number = isinstance(fold, int) and not isinstance(fold, bool) and fold >= 1
    if not number and not any(fold is known or fold == known for known in FOLDS):
        raise OptionError(BAD_FOLD.format(fold=fold))


def look(y: Any, model: Any = None) -> tuple[list[Seen], Labels]:
    """Differentiate a tensor's graph and collect what is known of every node, inputs first."""
    output = of_one_element(y.node)
    order = topological([output])
    _check_single(order)
    labels = Labels(order, output, model)
    sweeped = swept(output)
    shown = [node for node in order if not _literal(node)]
    keys = {node: f"n{number}" for number, node in enumerate(shown)}
    return [_seen(node, keys, sweeped, labels) for node in shown], labels


def _check_single(order: Sequence[Node]) -> None:
    several = next((node for node in order if isinstance(node.aval, tuple)), None)
    if several is not None:
        rule = getattr(several.attrs.get("rule"), "name", "")
        raise OptionError(SEVERAL.format(op=f"{several.op.name} {rule}".strip(), node=several))


def of_one_element(node: Node) -> Node:
    """Return the node itself, or the sum of its elements where it has several."""
    node.value()  # raises where the node was traced
    if isinstance(node.aval, tuple) or node.size == 1:
        return node
    with set_state(recording=True, grad_enabled=True):
        total: Node = node.sum(tuple(range(node.ndim)), False)  # type: ignore[attr-defined]
    return total


def _literal(node: Node) -> bool:
    return node.op is CONSTANT and node.size == 1 and node.name is None


def _seen(node: Node, keys: dict[Node, str], sweeped: Sweep, labels: Labels) -> Seen:
    gradient = sweeped[node]
    return Seen(
        keys[node],
        node,
        labels.of(node),
        node_formula(node, labels),
        node.value(),
        gradient.value() if gradient is not None else None,
        tuple(backs(node, sweeped, labels)),
        tuple(dict.fromkeys(keys[source] for source in node.inputs if source in keys)),
        gradient,
    )


def node_formula(node: Node, labels: Labels) -> str:
    """Write how a node follows from its inputs: `b · c`, `x @ w1ᵀ`; "" for a leaf."""
    if not node.inputs:
        return ""
    op = node.op
    parts = [_operand(source, labels) for source in node.inputs]
    if op.name == "matmul":
        parts = [
            p + ("ᵀ" if node.attrs[f] else "") for p, f in zip(parts, ("ta", "tb"), strict=True)
        ]
    if op.name in ("cast", "concat", "detach", "reshape", "expand"):
        return f"{op.name}({', '.join(parts)})"
    own = BINDING.get(op.name, TIGHT)
    if op.elementwise:
        parts = [bracketed(op.name, op.text, i, p, TIGHT, own) for i, p in enumerate(parts)]
    written = op.text.format(*parts) if op.text else f"{op.name}({', '.join(parts)})"
    return written.replace("count", str(node.attrs.get("count", "count")))


def _operand(node: Node, labels: Labels) -> str:
    return show(node.value().item()) if _literal(node) else labels.of(node)


def _blocks(nodes: Sequence[Node], fold: bool | int | str) -> list[Block]:
    if fold is False or (fold == "auto" and len(nodes) <= UNFOLDED_NODES):
        return singles(nodes)
    if isinstance(fold, int) and not isinstance(fold, bool):
        return folded(nodes, fold)
    deepest = max((node.scope.count(".") + 1 for node in nodes if node.scope), default=1)
    blocks = folded(nodes)
    while len(blocks) > UNFOLDED_NODES and deepest > 1:
        deepest -= 1
        blocks = folded(nodes, deepest)
    return blocks


def _title(labels: Labels, seen: Sequence[Seen]) -> str:
    label = labels.of(labels.output)
    return f"The graph of {label}: {len(seen)} nodes, values forward, partial derivatives back"


def _data(one: Seen) -> dict[str, Any]:
    node = one.node
    return {
        "key": one.key,
        "label": one.label,
        "kind": one.kind,
        "op": node.op.name,
        "formula": one.formula,
        "scope": node.scope,
        "line": node.line,
        "shape": node.shape,
        "dtype": node.dtype.name,
        "value": one.value,
        "partial": one.partial,
        "backs": [
            {"consumer": b.consumer, "symbols": b.symbols, "numbers": b.numbers} for b in one.backs
        ],
        "inputs": one.inputs,
    }
