"""The backward sweep: reverse mode, built of the same ops as the forward pass.

For a node u with consumers v, ∂J/∂u = Σ_v ∂J/∂v · ∂v/∂u (Goodfellow, Bengio, Courville, Deep
Learning, eq. 6.49). Each consumer's term is one *part*; the parts are added in the order in which
the sweep meets the consumers, so that the sum has the same bits every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..config import STATE, set_state
from ..errors import GradientError, ShapeError
from ..graph.node import CONSTANT, Node
from ..graph.walk import topological
from ..ops import constant
from ..ops._apply import constant_array
from ..ops.shape import sum_to


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
    """The gradients of one output with respect to every node on the way.

    Example:
        >>> import chainrule as cr
        >>> with cr.record():
        ...     a, b = cr.tensor(2.0), cr.tensor(5.0)
        ...     y = a * b
        ...     backward = sweep(y.node)
        >>> backward[a.node].value().item()
        5.0
    """

    def __init__(self, output: Node) -> None:
        self.output = output
        self.gradients: dict[Node, Node] = {}
        self._parts: dict[Node, list[Part]] = {}

    def __getitem__(self, node: Node) -> Node | None:
        return self.gradients.get(node)

    def parts(self, node: Node) -> list[Part]:
        """The terms of a node's gradient, one for each use of it."""
        return self._parts.get(node, [])

    def _add(self, node: Node, part: Part) -> None:
        self._parts.setdefault(node, []).append(part)

    def _total(self, node: Node) -> Node | None:
        parts = self._parts.get(node)
        if not parts:
            return self.gradients.get(node)
        total: Any = self.gradients.get(node)
        for part in parts:
            total = part.gradient if total is None else total + part.gradient
        self.gradients[node] = total
        return total  # type: ignore[no-any-return]


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
    if seed is None:
        seed = _ones_like(output)
    order, inside = _region(output, wanted)
    result = Sweep(output)
    result.gradients[output] = seed
    label = STATE.recording or STATE.trace is not None
    before = STATE.source
    quiet = set_state(quiet=True)
    with quiet, np.errstate(all="ignore"):
        try:
            for node in reversed(order):
                gradient = result._total(node)
                if gradient is None:
                    continue
                if adjust is not None and node.handle is not None:
                    gradient = result.gradients[node] = adjust(node, gradient)
                if label and node not in gradient.wrt and gradient.op is not CONSTANT:
                    gradient.wrt = (*gradient.wrt, node)
                if node.inputs:
                    STATE.source = node
                    _push(node, gradient, inside, result)
        finally:
            STATE.source = before
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


def _region(output: Node, wanted: Iterable[Node] | None) -> tuple[list[Node], set[Node]]:
    """The nodes to visit, each after its inputs, and the same as a set."""
    if wanted is None:
        everything = STATE.recording
        order = topological(
            [output], lambda node: node.requires_grad or (everything and differentiable(node))
        )
        return order, set(order)
    targets = set(wanted)
    inside: set[Node] = set()
    for node in topological([output]):
        if node in targets or any(source in inside for source in node.inputs):
            inside.add(node)
    return topological([output], inside.__contains__), inside


def _push(node: Node, gradient: Node, inside: set[Node], result: Sweep) -> None:
    """Send a node's gradient to its inputs, by the op's rules."""
    op = node.op
    rules = op.vjps
    if not rules:
        return
    for slot, source in enumerate(node.inputs):
        if source not in inside or not differentiable(source):
            continue
        rule = rules[0] if op.variadic else rules[slot]
        if rule is None:
            continue
        if op.variadic:
            term = rule(gradient, node, *node.inputs, slot=slot, **node.attrs)
        else:
            term = rule(gradient, node, *node.inputs, **node.attrs)
        if isinstance(source.aval, tuple):
            result._add(source, Part(node, slot, term))
            continue
        if term.aval.shape != source.aval.shape:
            term = sum_to(term, source.aval.shape)
        result._add(source, Part(node, slot, term))


def check_seed(output: Node, seed: Node) -> None:
    """Refuse a seed whose shape is not the output's."""
    if output.shape != seed.shape:
        raise ShapeError(
            f"the gradient given to backward has shape {seed.shape}, the tensor {output.shape}.\n"
            "  expected: the same shape"
        )
