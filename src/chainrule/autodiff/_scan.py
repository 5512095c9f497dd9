"""The derivative of a loop: the same steps the other way round.

Notation: step t computes (c_{t+1}, y_t) = f(c_t, x_t, k). With a bar for a gradient of J, and the
partial derivatives taken at step t,

    c̄_t = c̄_{t+1} ∂c_{t+1}/∂c_t + ȳ_t ∂y_t/∂c_t,   x̄_t likewise,   k̄ = Σ_t (... ∂/∂k)

(backpropagation through time; Goodfellow, Bengio, Courville, Deep Learning, section 10.2.2). What
the backward body needs of the forward one, its residuals, are extra stacked outputs of the forward
loop. A constant's gradient that is a product or a sum at each step is not added up in the loop: its
operands are stacked, and one large product or sum follows.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..config import STATE, set_state
from ..graph.node import CONSTANT, Node
from ..graph.rewrite import substitute
from ..graph.trace import Trace
from ..graph.walk import topological
from ..ops import PICK, SCAN, apply
from ..ops._apply import constant_array
from ..ops.scan import Body
from ._outside import Parts, before, behind
from ._stack import Addend, addends
from ._sweep import differentiable, sweep_all

# A residual of these is not kept: what they are computed from is, and they are computed again.
_MOVES = frozenset(["reshape", "permute", "expand", "cast", "detach"])


def scan_nodes(
    inner: Trace,
    inputs: Sequence[Node],
    outputs: Sequence[Node],
    operands: Sequence[Node],
    *,
    carries: int,
    scanned: int,
    length: int,
    reverse: bool,
) -> list[Node]:
    """A loop in the graph, able to be differentiated where an operand requires grad.

    Args:
        inner: the trace that the body was made in.
        inputs, outputs: the body's, in :class:`chainrule.ops.scan.Body`'s order.
        operands: what the body's inputs stand for outside.
        carries, scanned, length, reverse: as for the op.

    Returns:
        One node for each output of the loop.
    """
    whole = Parts(list(inputs), list(outputs), list(operands), carries, scanned, length)
    if length < 2:
        return _recorded(inner, whole, reverse)
    parts, rest = behind(whole)
    return rest(_recorded(inner, before(inner, parts), reverse))


def _recorded(inner: Trace, parts: Parts, reverse: bool) -> list[Node]:
    """The loop of a body as it is; one node for each output."""
    carries, outputs, operands = parts.carries, tuple(parts.outputs), parts.operands
    loop = Loop(inner, tuple(parts.inputs), outputs, carries, parts.scanned, parts.length, reverse)
    kept: list[Node] = []
    if STATE.grad_enabled and any(node.requires_grad for node in operands):
        asked = tuple(node.requires_grad and differentiable(node) for node in operands)
        seeded = tuple(node.dtype.is_float for node in outputs)
        own = set(outputs[carries:])
        kept = [one for one in loop.residuals(loop.plan(seeded, asked)) if one not in own]
    node = loop.run(operands, kept)
    return [apply(PICK, node, index=place) for place in range(len(outputs))]


class Plan:
    """The backward body for one set of output gradients and one set of gradients asked for.

    Attributes:
        carried: the carries whose gradient goes from step to step.
        stacked: the y outputs that have a gradient.
        seeds: the placeholder of each output's gradient, by output number.
        found: the gradient of each input in one step, by input number; None where there is none.
        sums: what each asked constant's gradient adds up to, by input number.
    """

    def __init__(self) -> None:
        self.carried: list[int] = []
        self.stacked: list[int] = []
        self.seeds: dict[int, Node] = {}
        self.found: dict[int, Node | None] = {}
        self.sums: dict[int, list[Addend]] = {}


class Loop:
    """A body with its place in a loop; makes the loop's node, and the loop that differentiates it.

    Args:
        inner: the trace that the body was made in.
        inputs, outputs, carries, scanned, length, reverse: as for :func:`scan_nodes`; ``outputs``
            without residuals.
    """

    def __init__(
        self,
        inner: Trace,
        inputs: tuple[Node, ...],
        outputs: tuple[Node, ...],
        carries: int,
        scanned: int,
        length: int,
        reverse: bool,
    ) -> None:
        self.inner = inner
        self.inputs = inputs
        self.outputs = outputs
        self.carries = carries
        self.scanned = scanned
        self.length = length
        self.reverse = reverse
        nodes = topological(outputs)
        self.forward = set(nodes) | set(inputs)
        self.place = {node: place for place, node in enumerate(inputs)}
        varying = set(inputs[: carries + scanned])
        for node in nodes:
            if any(source in varying for source in node.inputs):
                varying.add(node)
        self.varying = varying
        self.picks: dict[tuple[Node, int, bool], Node] = {}

    def run(self, operands: Sequence[Node], kept: Sequence[Node]) -> Any:
        """The loop's node, with residuals stacked behind its own outputs."""
        outputs = (*self.outputs, *kept)

        def derivative(gradients: Any, node: Node, inputs: Any, asked: Any) -> list[Any]:
            loop = copy.copy(self)
            loop.length, loop.reverse = node.attrs["length"], node.attrs["reverse"]
            return loop.pull(outputs, gradients, node, inputs, asked)

        body = Body(self.inputs, outputs, self.carries, self.scanned, derivative)
        return apply(SCAN, *operands, body=body, length=self.length, reverse=self.reverse)

    def _pick(self, node: Node, index: int) -> Node:
        """One output of a loop; the same node each time, since it may be a residual itself."""
        key = (node, index, STATE.grad_enabled)
        if key not in self.picks:
            self.picks[key] = apply(PICK, node, index=index)
        return self.picks[key]

    def plan(self, seeded: Sequence[bool], asked: Sequence[bool]) -> Plan:
        """Differentiate the body.

        Args:
            seeded: for each output, whether it has a gradient from outside.
            asked: for each input, whether its gradient is asked for.
        """
        carried = {place for place in range(self.carries) if seeded[place]}
        before, quiet = STATE.trace, set_state(grad_enabled=True, recording=False)
        STATE.trace = self.inner
        try:
            with quiet:
                while True:
                    plan = self._plan(sorted(carried), seeded, asked)
                    fresh = {
                        place
                        for place in range(self.carries)
                        if place not in carried and plan.found.get(place) is not None
                    }
                    if not fresh:
                        return plan
                    carried |= fresh
        finally:
            STATE.trace = before

    def _plan(self, carried: list[int], seeded: Sequence[bool], asked: Sequence[bool]) -> Plan:
        plan = Plan()
        plan.carried = carried
        plan.stacked = [k for k in range(self.carries, len(self.outputs)) if seeded[k]]
        for place in (*carried, *plan.stacked):
            seed = self.inner.placeholder(self.outputs[place].aval)
            seed.requires_grad = True
            plan.seeds[place] = seed
        first, second = self.carries, self.carries + self.scanned
        places = [
            place
            for place, node in enumerate(self.inputs)
            if (node.dtype.is_float if place < first else asked[place])
        ]
        targets = [self.inputs[place] for place in places]
        pairs = [(self.outputs[place], seed) for place, seed in plan.seeds.items()]
        result = sweep_all(pairs, wanted=targets)
        for place in places:
            gradient = result[self.inputs[place]]
            plan.found[place] = gradient
            if place >= second and gradient is not None:
                plan.sums[place] = addends(gradient, self._steady)
        return plan

    def _steady(self, node: Node) -> bool:
        """Whether a node of the backward body is the same at each step."""
        return node.op is CONSTANT or (node in self.forward and node not in self.varying)

    def ends(self, plan: Plan) -> list[Node]:
        """Every node of the backward body that is read after a step."""
        first, second = self.carries, self.carries + self.scanned
        wanted = [plan.found.get(place) for place in plan.carried]
        wanted += [plan.found.get(place) for place in range(first, second)]
        nodes = [node for node in wanted if node is not None]
        for parts in plan.sums.values():
            nodes += [node for part in parts for node in part.operands]
        return nodes

    def residuals(self, plan: Plan) -> list[Node]:
        """The forward values that a backward body needs, but for inputs that are there anyway."""
        border = self._border(self.ends(plan))
        there = set(self.inputs[self.carries :])
        return [node for node in border if node not in there]

    def _border(self, ends: Sequence[Node]) -> list[Node]:
        """The forward nodes at which a walk back from the ends of the backward body stops."""

        def stops(node: Node) -> bool:
            if node.op is PICK and node.inputs[0] in self.varying:
                return True
            if node not in self.forward:
                return False
            return node in self.place or (node in self.varying and node.op.name not in _MOVES)

        order = topological(ends, lambda node: not stops(node))
        found = [node for node in ends if stops(node)]
        found += [source for node in order for source in node.inputs if stops(source)]
        return list(dict.fromkeys(found))

    def pull(
        self,
        outputs: tuple[Node, ...],
        gradients: Sequence[Any],
        node: Node,
        operands: tuple[Node, ...],
        asked: tuple[bool, ...],
    ) -> list[Any]:
        """The gradients of the operands, by a loop the other way round."""
        if any(gradient is not None for gradient in gradients[len(self.outputs) :]):
            # A derivative of the derivative reaches the residuals: they are outputs like others.
            whole = Loop(
                self.inner,
                self.inputs,
                outputs,
                self.carries,
                self.scanned,
                self.length,
                self.reverse,
            )
            return whole.pull(outputs, gradients, node, operands, asked)
        plan = self.plan([gradient is not None for gradient in gradients], asked)
        stacked: dict[Node, Node] = {}
        places = {one: place for place, one in enumerate(outputs) if place >= self.carries}
        needed = self.residuals(plan)
        if any(one not in places for one in needed):
            # More is needed than the forward loop kept: run it once more, keeping that.
            outputs = (*self.outputs, *needed)
            node = self.run(operands, needed)
            places = {one: place for place, one in enumerate(outputs) if place >= self.carries}
        for one in needed:
            stacked[one] = self._pick(node, places[one])
        for place in range(self.carries, self.carries + self.scanned):
            stacked[self.inputs[place]] = operands[place]
        for place in plan.stacked:
            stacked[plan.seeds[place]] = gradients[place]
        return Backward(self, plan, stacked, operands).run(gradients, asked)


class Backward:
    """The loop the other way round, being put together.

    Args:
        loop, plan: what is differentiated.
        stacked: for forward nodes (residuals, scanned inputs) their values at all steps.
        operands: the forward loop's operands.
    """

    def __init__(
        self, loop: Loop, plan: Plan, stacked: dict[Node, Node], operands: tuple[Node, ...]
    ) -> None:
        self.loop = loop
        self.plan = plan
        self.stacked = stacked
        self.operands = operands
        # What the backward body gives at each step, and where it stands among its outputs.
        self.emitted: dict[Node, int] = {}

    def run(self, gradients: Sequence[Any], asked: Sequence[bool]) -> list[Any]:
        """One gradient for each operand that was asked for."""
        loop, plan = self.loop, self.plan
        carried = [(plan.seeds[k], gradients[k], plan.found.get(k)) for k in plan.carried]
        added = [
            (place, part) for place, parts in plan.sums.items() for part in parts if not part.stacks
        ]
        first, second = loop.carries, loop.carries + loop.scanned
        for place in range(first, second):
            gradient = plan.found.get(place)
            if gradient is not None:
                self._emit(gradient)
        for parts in plan.sums.values():
            for part in parts:
                for operand in part.operands if part.stacks else ():
                    self._emit(operand)
        results = self._loop(carried, gradients, added)
        return self._collect(results, added, asked)

    def _emit(self, node: Node) -> None:
        """Have the backward body give a node at each step, unless its values are there already."""
        if node not in self.stacked and node not in self.emitted and not self.loop._steady(node):
            self.emitted[node] = len(self.emitted)

    def _loop(self, carried: list[Any], gradients: Sequence[Any], added: list[Any]) -> list[Node]:
        loop, plan = self.loop, self.plan
        carry_in = [seed for seed, _, _ in carried]
        carry_out = [_or_zeros(found, seed) for seed, _, found in carried]
        start = [_or_zeros(gradient, seed) for seed, gradient, _ in carried]
        for _, part in added:
            (node,) = part.operands
            total: Any = loop.inner.placeholder(node.aval)
            total.requires_grad = True
            carry_in.append(total)
            with _inside(loop.inner):
                carry_out.append(total + node)
            start.append(_zeros(node))
        ends = [*carry_out, *self.emitted]
        border = loop._border(ends)
        steps = [node for node in border if node in self.stacked]
        steady = [node for node in border if node not in self.stacked]
        scanned = [plan.seeds[place] for place in plan.stacked] + steps
        over = [gradients[place] for place in plan.stacked] + [self.stacked[n] for n in steps]
        fresh = {node: loop.inner.placeholder(node.aval, like=node) for node in steps + steady}
        ends = substitute(ends, fresh)
        inputs = [fresh.get(node, node) for node in (*carry_in, *scanned, *steady)]
        operands = [*start, *over, *(self.operands[loop.place[node]] for node in steady)]
        return scan_nodes(
            loop.inner,
            inputs,
            ends,
            operands,
            carries=len(carry_in),
            scanned=len(scanned),
            length=loop.length,
            reverse=not loop.reverse,
        )

    def _collect(self, results: list[Node], added: list[Any], asked: Sequence[bool]) -> list[Any]:
        loop, plan = self.loop, self.plan
        terms: list[Any] = [None] * len(loop.inputs)
        for number, place in enumerate(plan.carried):
            if asked[place]:
                terms[place] = results[number]
        behind = len(plan.carried) + len(added)
        for place in range(loop.carries, loop.carries + loop.scanned):
            gradient = plan.found.get(place)
            if gradient is not None:
                terms[place] = self._all_steps(gradient, results, behind)
        totals = {
            part: results[len(plan.carried) + number] for number, (_, part) in enumerate(added)
        }
        for place, parts in plan.sums.items():
            for part in parts:
                if part.stacks:
                    over = [self._all_steps(one, results, behind) for one in part.operands]
                    term = part.total(over, loop.length)
                else:
                    term = totals[part]
                terms[place] = term if terms[place] is None else terms[place] + term
        return terms

    def _all_steps(self, node: Node, results: list[Node], behind: int) -> Any:
        """The values of a node at all steps."""
        if node in self.stacked:
            return self.stacked[node]
        if node in self.emitted:
            return results[behind + self.emitted[node]]
        one: Any = self.operands[self.loop.place[node]] if node in self.loop.place else node
        return one.reshape((1, *node.shape)).expand((self.loop.length, *node.shape))


class _inside:
    """A ``with`` block whose nodes belong to a trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def __enter__(self) -> None:
        self.before = STATE.trace
        STATE.trace = self.trace

    def __exit__(self, *exception: object) -> None:
        STATE.trace = self.before


def _zeros(like: Node) -> Node:
    return constant_array(np.zeros(like.shape, like.dtype.np), like.dtype)


def _or_zeros(node: Node | None, like: Node) -> Node:
    return _zeros(like) if node is None else node
