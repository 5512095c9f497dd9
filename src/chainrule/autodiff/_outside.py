"""Products of a loop's body that are done once for all steps: before the loop, or behind it.

A product that no carry reaches, such as x_t Wᵀ, is the same product for all steps on top of each
other, and so is one that only an output needs, such as h_t Vᵀ. What is computed between it and the
rest of the body goes with it. The loop that is left does what depends on the step before; its
derivative is a loop of that kind too, so the rule holds forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..graph.node import Node
from ..graph.rewrite import substitute
from ..graph.trace import Trace
from ..graph.walk import topological
from ..ops import MATMUL
from ..ops.batch import RULES, replay

# How many times the products' results what is stacked for them may be.
_MOST_STACKED = 4


@dataclass
class Parts:
    """A loop in parts: the body's inputs and outputs, and what the inputs stand for outside."""

    inputs: list[Node]
    outputs: list[Node]
    operands: list[Node]
    carries: int
    scanned: int
    length: int

    @property
    def steady(self) -> list[Node]:
        """The inputs that are the same at each step."""
        return self.inputs[self.carries + self.scanned :]

    def reached(self, starts: Iterable[Node]) -> set[Node]:
        """The nodes of the body that depend on one of the starts."""
        found = set(starts)
        for node in topological(self.outputs):
            if any(source in found for source in node.inputs):
                found.add(node)
        return found

    def given(self) -> dict[Node, tuple[Any, bool]]:
        """What the scanned inputs and the constants are at all steps, for a replay."""
        pairs = list(zip(self.inputs, self.operands, strict=True))
        first, second = self.carries, self.carries + self.scanned
        found = {node: (outside, True) for node, outside in pairs[first:second]}
        return found | {node: (outside, False) for node, outside in pairs[second:]}


def _multiplies(nodes: Iterable[Node], varying: set[Node]) -> bool:
    """Whether there is a product among nodes, and all of them can be done for all steps at once."""
    listed = list(nodes)
    timed = [node for node in listed if node in varying]
    if not all(node.op.name in RULES for node in timed):
        return False
    return any(node.op is MATMUL for node in timed) and not any(map(_forgets, listed))


def _forgets(node: Node) -> bool:
    """Whether a node was made without the history of its inputs, which it would have outside."""
    known = any(source.requires_grad for source in node.inputs)
    return known and not node.requires_grad and (type(node.aval) is tuple or node.dtype.is_float)


def _is_small(stacked: Sequence[Node], tail: Sequence[Node]) -> bool:
    """Whether stacking takes little memory beside the products' results."""
    results = sum(node.size for node in tail if node.op is MATMUL)
    return sum(node.size for node in stacked) <= _MOST_STACKED * results


def before(inner: Trace, parts: Parts) -> Parts:
    """The same loop, with the products that no carry reaches in front of it.

    Args:
        inner: the trace that the body was made in.
        parts: the loop; the outer trace is the present one.
    """
    moving = parts.reached(parts.inputs[: parts.carries])
    varying = parts.reached(parts.inputs[: parts.carries + parts.scanned])
    given = parts.given()
    border = [
        source
        for node in topological(parts.outputs)
        if node in moving
        for source in node.inputs
        if source in varying and source not in moving and source.inputs
    ]
    roots, orders = [], []
    for root in dict.fromkeys(border):
        order = topological([root], lambda node: node not in given)
        if _multiplies((node for node in order if node not in given), varying):
            roots.append(root)
            orders.append(order)
    if not roots:
        return parts
    nodes = list(dict.fromkeys(node for order in orders for node in order))
    made = [node for node, _ in replay(nodes, roots, given, parts.length)]
    fresh = {}
    for root in roots:
        fresh[root] = inner.placeholder(root.aval, name=root.name)
        fresh[root].requires_grad = root.requires_grad
    outputs = substitute(parts.outputs, fresh)
    kept = set(topological(outputs))
    first, second = parts.carries, parts.carries + parts.scanned
    places = [place for place in range(first, second) if parts.inputs[place] in kept]
    inputs = [*parts.inputs[:first], *(parts.inputs[k] for k in places), *fresh.values()]
    operands = [*parts.operands[:first], *(parts.operands[k] for k in places), *made]
    scanned = len(places) + len(roots)
    return Parts(
        [*inputs, *parts.steady],
        outputs,
        [*operands, *parts.operands[second:]],
        parts.carries,
        scanned,
        parts.length,
    )


def behind(parts: Parts) -> tuple[Parts, Callable[[Sequence[Node]], list[Node]]]:
    """The same loop, with the products that only outputs need behind it.

    Returns:
        The loop, whose outputs may be others, and what makes the first loop's outputs of its.
    """
    needed = set(topological(parts.outputs[: parts.carries])) | set(parts.inputs)
    varying = parts.reached(parts.inputs[: parts.carries + parts.scanned])
    given = parts.given()
    outputs = list(parts.outputs[: parts.carries])
    places: dict[Node, int] = {}
    tails: dict[int, list[Node]] = {}
    for place in range(parts.carries, len(parts.outputs)):
        end = parts.outputs[place]
        order = topological([end], lambda node: node not in needed)
        tail = [node for node in order if node not in needed]
        edge = {source for node in tail for source in node.inputs if source in needed}
        stacked = [one for one in edge if one in varying and one not in given]
        if _multiplies(tail, varying) and _is_small(stacked, tail):
            tails[place] = order
        else:
            stacked = [end]
        for one in stacked:
            if one not in places:
                places[one] = len(outputs)
                outputs.append(one)

    def rest(results: Sequence[Node]) -> list[Node]:
        known = given | {one: (results[place], True) for one, place in places.items()}
        found = list(results[: parts.carries])
        for place in range(parts.carries, len(parts.outputs)):
            end = parts.outputs[place]
            if place not in tails:
                found.append(results[places[end]])
                continue
            nodes = topological([end], lambda node: node not in known)
            ((node, timed),) = replay(nodes, [end], known, parts.length)
            assert timed, "an output behind a loop varies from step to step"
            found.append(node)
        return found

    if not tails:
        return parts, list
    kept = Parts(parts.inputs, outputs, parts.operands, parts.carries, parts.scanned, parts.length)
    return kept, rest
