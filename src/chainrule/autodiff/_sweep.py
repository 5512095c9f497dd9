"""The backward sweep: reverse mode, built of the same ops as the forward pass.

For a node u with consumers v, ∂J/∂u = Σ_v ∂J/∂v · ∂v/∂u (Goodfellow, Bengio, Courville, Deep
Learning, eq. 6.49). Each consumer's term is one *part*; the parts are added in the order in which
the sweep meets the consumers, so that the sum has the same bits every time.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..config import STATE
from ..errors import GradientError, ShapeError
from ..graph.node import CONSTANT, Node
from ..graph.walk import topological
from ..ops import constant
from ..ops._apply import constant_array
from ..ops.shape import SLICE, sum_to
from ._pieces import settle

# (consumer, slot, gradient) of each use of a node.
Parts = dict[Node, list[tuple[Node, int, Any]]]


class Part(NamedTuple):
    """One term of a gradient: what came back from one use of the node.

    Attributes:
        consumer: the node that used it.
        slot: which of the consumer's inputs it was.
        gradient: the node of that term, of the shape of the node it belongs to.
    """

    consumer: Node
    slot: int
    gradient: Node


class Sweep:
    """The gradients of outputs with respect to every node on the way.

    Example:
        >>> import chainrule as cr
        >>> with cr.record():
        ...     a, b = cr.tensor(2.0), cr.tensor(5.0)
        ...     y = a * b
        ...     backward = sweep(y.node)
        >>> backward[a.node].value().item()
        5.0
    """

    def __init__(self, outputs: Sequence[Node]) -> None:
        self.outputs = tuple(outputs)
        self.gradients: dict[Node, Node] = {}
        self._parts: Parts = {}
        self._labels: dict[Node, list[Node]] = {}

    @property
    def output(self) -> Node:
        """What was differentiated (the first, where there were several)."""
        return self.outputs[0]

    def __getitem__(self, node: Node) -> Node | None:
        return self.gradients.get(node)

    def parts(self, node: Node) -> list[Part]:
        """The terms of a node's gradient, one for each use of it."""
        return [Part(*part) for part in self._parts.get(node, ())]

    def _seed(self, output: Node, seed: Any) -> None:
        before: Any = self.gradients.get(output)
        self.gradients[output] = seed if before is None else before + seed

    def _totals(self, node: Node) -> tuple[Any, ...] | None:
        """The gradients of a node of several outputs, which ``pick`` nodes use; None for none."""
        totals: list[Any] = [None] * len(node.aval)
        for pick, _, term in self._parts.get(node, ()):
            index = pick.attrs["index"]
            before = totals[index]
            totals[index] = term if before is None else before + term
        return None if all(total is None for total in totals) else tuple(totals)

    def _label(self) -> None:
        """Let each gradient know the nodes whose partial derivative it is."""
        for gradient, nodes in self._labels.items():
            gradient.wrt = tuple(dict.fromkeys((*gradient.wrt, *nodes)))


def differentiable(node: Node) -> bool:
    """Whether a derivative with respect to the node can exist: it holds real numbers."""
    return type(node.aval) is tuple or node.aval.dtype.is_float


def sweep(
    output: Node,
    wanted: Iterable[Node] | None = None,
    seed: Node | None = None,
    adjust: Callable[[Node, Node], Node] | None = None,
) -> Sweep:
    """Differentiate an output with respect to nodes it was computed from.

    Args:
        output: the node J.
        wanted: the nodes whose gradients are asked for; only nodes on a path to them are visited.
            Left out: every node on the way that requires grad, or, while recording, every node.
        seed: the gradient of J itself, of its shape; ones where left out, which needs a J of one
            element.
        adjust: called with each node and its complete gradient; what it returns takes the
            gradient's place (PyTorch's hooks).

    Returns:
        The gradients and their parts.

    Raises:
        GradientError: when J has more than one element and no seed is given.
    """
    return sweep_all([(output, _ones_like(output) if seed is None else seed)], wanted, adjust)


def sweep_all(
    seeds: Sequence[tuple[Node, Node]],
    wanted: Iterable[Node] | None = None,
    adjust: Callable[[Node, Node], Node] | None = None,
) -> Sweep:
    """Differentiate several outputs at once: the gradient of the sum of their products with seeds.

    Args:
        seeds: (output, its own gradient) pairs; an output may stand twice.
        wanted, adjust: as for :func:`sweep`.
    """
    outputs = [output for output, _ in seeds]
    order, inside = _region(outputs, wanted)
    result = Sweep(outputs)
    for output, seed in seeds:
        result._seed(output, seed)
    state = STATE.__dict__
    label = state["recording"] or state["trace"] is not None
    before = state["source"]
    gradients, parts = result.gradients, result._parts
    # Seen or compiled, each piece's part is a node of its own; else they are joined when all came.
    cut: set[Node] | None = None if label else set()
    try:
        for node in reversed(order):
            if type(node.aval) is tuple:
                gradient: Any = result._totals(node)
                if gradient is not None:
                    state["source"] = node
                    _push(node, gradient, inside, parts, cut)
                continue
            gradient = gradients.get(node)
            if cut and node in cut:
                state["source"] = node
                parts[node] = [(node, 0, term) for term in settle(node, parts[node])]
            for _, _, term in parts.get(node, ()):
                gradient = term if gradient is None else gradient + term
            if gradient is None:
                continue
            gradients[node] = gradient
            if adjust is not None and node.handle is not None:
                gradient = gradients[node] = adjust(node, gradient)
            if label and gradient.op is not CONSTANT:
                result._labels.setdefault(gradient, []).append(node)
            if node.inputs:
                state["source"] = node
                _push(node, gradient, inside, parts, cut)
    finally:
        state["source"] = before
    if label:
        result._label()
    return result


def _ones_like(output: Node) -> Node:
    if type(output.aval) is tuple or output.size != 1:
        raise GradientError(
            "the gradient of a tensor with several elements needs the gradient of each of them.\n"
            f"  given: {output.describe()}\n"
            "  expected: one element, for example a loss\n"
            "  fix: y.sum().backward(), or y.backward(gradient) with a gradient of y's shape"
        )
    if output.aval.shape == ():
        return constant(1, output.dtype)
    return constant_array(np.ones(output.shape, output.dtype.np), output.dtype)


def _region(
    outputs: list[Node], wanted: Iterable[Node] | None
) -> tuple[list[Node], Container[Node]]:
    """The nodes to visit, each after its inputs, and the same as a set."""
    everything = STATE.recording
    if wanted is None:
        order = (
            topological(outputs, lambda node: node.requires_grad or differentiable(node))
            if everything
            else _requiring(outputs)
        )
        return order, set(order)
    inside = {node for node in wanted if differentiable(node)}
    # A node whose history is not to be followed (made under no_grad, say) hides what is behind it,
    # although a trace keeps its inputs.
    followed = topological(outputs, lambda one: one.requires_grad or everything or one in inside)
    for node in followed:
        if node in inside or not differentiable(node):
            continue
        for source in node.inputs:
            if source in inside:
                inside.add(node)
                break
    return [node for node in followed if node in inside], inside


def _requiring(outputs: list[Node]) -> list[Node]:
    """The nodes that require grad, each after its inputs: the usual case, in its own quick loop."""
    order: list[Node] = []
    seen: set[Node] = set()
    for output in outputs:
        if output in seen:
            continue
        seen.add(output)
        stack = [(output, iter(output.inputs))]
        while stack:
            node, rest = stack[-1]
            for source in rest:
                if source.requires_grad and source not in seen:
                    seen.add(source)
                    if source.inputs:
                        stack.append((source, iter(source.inputs)))
                        break
                    order.append(source)
            else:
                order.append(node)
                stack.pop()
    return order


def _push(
    node: Node, gradient: Any, inside: Container[Node], parts: Parts, cut: set[Node] | None
) -> None:
    """Send a node's gradient to its inputs, by the op's rules; ``cut`` gets what waits for more."""
    op = node.op
    if op is SLICE and cut is not None:
        (source,) = node.inputs
        if source in inside:
            cut.add(source)
            parts.setdefault(source, []).append((node, 0, gradient))
        return
    if op.joint:
        _push_jointly(node, gradient, inside, parts)
        return
    inputs, attrs, rules = node.inputs, node.attrs, op.vjps
    for slot, source in enumerate(inputs):
        if source not in inside or not rules:
            continue
        if op.variadic:
            term = rules[0](gradient, node, *inputs, slot=slot, **attrs)  # type: ignore[misc]
        else:
            rule = rules[slot]
            if rule is None:
                continue
            term = rule(gradient, node, *inputs, **attrs)
        aval = source.aval
        if term.aval is not aval and type(aval) is not tuple and term.aval.shape != aval.shape:
            term = sum_to(term, aval.shape)
        found = parts.get(source)
        if found is None:
            parts[source] = [(node, slot, term)]
        else:
            found.append((node, slot, term))


def _push_jointly(node: Node, gradient: Any, inside: Container[Node], parts: Parts) -> None:
    """The same for an op whose one rule gives the gradients of all inputs at once."""
    asked = tuple([source in inside for source in node.inputs])
    rule: Any = node.op.vjps[0]
    terms = rule(gradient, node, *node.inputs, asked=asked, **node.attrs)
    for slot, (source, term) in enumerate(zip(node.inputs, terms, strict=True)):
        if term is not None:
            parts.setdefault(source, []).append((node, slot, term))


def check_seed(output: Node, seed: Node) -> None:
    """Refuse a seed whose shape is not the output's."""
    if output.shape != seed.shape:
        raise ShapeError(
            f"the gradient given to backward has shape {seed.shape}, the tensor {output.shape}.\n"
            "  expected: the same shape"
        )
