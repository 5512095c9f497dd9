"""Simplifying loops over time: what no output needs is left out, what is the same at each step is
computed once, before the loop.

With T steps, carries c, scanned inputs x and constants k, a body computes (c', y_t) = f(c, x_t, k).
Loops of no step or of one are written out instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ....graph.node import CONSTANT, INPUT, Aval, Node
from ....graph.walk import topological
from ....ops import product, shape
from ....ops.scan import PICK, SCAN, Body
from .build import Builder
from .stacked import lay_weight
from .views import VIEWS

Rebuild = Callable[[Builder, Iterable[Node], dict[Node, Any]], None]


def loop(
    builder: Builder, node: Node, inputs: tuple[Node, ...], used: set[int], rebuild: Rebuild
) -> dict[int, Node]:
    """What each used output of a loop becomes.

    Args:
        builder: makes the nodes.
        node: the loop.
        inputs: what its inputs have become.
        used: numbers of the outputs that something reads.
        rebuild: simplifies the nodes of a body.
    """
    if node.attrs["length"] < 2:
        written = _written_out(builder, node, inputs, rebuild)
        return {place: written[place] for place in used}
    return _Loop(builder, node, inputs, used).simplified(rebuild)


class _Loop:
    """One loop of several steps while it is simplified."""

    def __init__(
        self, builder: Builder, node: Node, inputs: tuple[Node, ...], used: set[int]
    ) -> None:
        self.builder, self.node, self.given, self.used = builder, node, inputs, used
        self.body: Body = node.attrs["body"]
        self.first = self.body.carries
        self.second = self.first + self.body.scanned
        self.needed = self._needed()
        # What the body reads of what is computed outside: its stand-in inside.
        self.constants: dict[Node, Node] = {}
        self.made: dict[Node, Node] = {}
        self.varying: set[Node] = set()

    def _needed(self) -> list[int]:
        """The outputs to keep: those that are used, and the carries that they come from."""
        body, needed = self.body, set(self.used)
        while True:
            reached = set(topological([body.outputs[place] for place in needed]))
            more = {k for k in range(self.first) if body.inputs[k] in reached} - needed
            if not more:
                return sorted(needed)
            needed |= more

    def simplified(self, rebuild: Rebuild) -> dict[int, Node]:
        """The outputs of an equal loop."""
        ends, fixed = self._rebuilt(rebuild)
        self._inside(ends)
        found: dict[int, Node] = {place: self.given[place] for place in fixed & self.used}
        scanned = {self.body.inputs[k]: self.given[k] for k in range(self.first, self.second)}
        carries = [place for place in self.needed if place < self.first and place not in fixed]
        stacked: dict[Node, int] = {}
        for place in self.needed:
            end = ends[place]
            if place < self.first:
                continue
            if end in scanned:
                found[place] = scanned[end]
            elif end not in self.varying:
                found[place] = self._at_all_steps(end)
            else:
                stacked.setdefault(self.made[end], len(carries) + len(stacked))
        results = [*(self._read(ends[place]) for place in carries), *stacked]
        if not results:
            return found
        made = self._loop(carries, results)
        for number, place in enumerate(carries):
            if place in self.used:
                found[place] = self._pick(made, number)
        for place in self.needed:
            if place >= self.first and place not in found:
                found[place] = self._pick(made, stacked[self.made[ends[place]]])
        return found

    def _rebuilt(self, rebuild: Rebuild) -> tuple[dict[int, Node], set[int]]:
        """The simplified ends of the body on what lies outside, and the carries that never change.

        Constants are replaced by what they stand for; so is a carry that never changes.
        """
        body, fixed = self.body, set[int]()
        while True:
            new: dict[Node, Any] = {}
            for place, source in enumerate(body.inputs):
                outside = place >= self.second or place in fixed
                new[source] = self.given[place] if outside else source
            kept = [body.outputs[place] for place in self.needed]
            rebuild(self.builder, [one for one in topological(kept) if one not in new], new)
            ends = {place: new[body.outputs[place]] for place in self.needed}
            still = {k for k in ends if k < self.first and ends[k] is body.inputs[k]} - fixed
            if not still:
                return ends, fixed
            fixed |= still

    def _inside(self, ends: dict[int, Node]) -> None:
        """Make the body's own nodes, which read what is computed outside by stand-ins."""
        self.varying = set(self.body.inputs[: self.second])
        for node in topological(ends.values()):
            if node in self.varying:
                self.made[node] = node
            elif any(source in self.varying for source in node.inputs):
                self.varying.add(node)
                self.made[node] = self._remade(node)

    def _remade(self, node: Node) -> Node:
        builder = self.builder
        builder.source = node
        if node.op is product.MATMUL:
            laid = self._laid_weight(node)
            if laid is not None:
                flags = dict(node.attrs) | {"tb": False}
                return builder.make(node.op, self._read(node.inputs[0]), laid, **flags)
        inputs = tuple(self._read(source) for source in node.inputs)
        if node.op is SCAN:
            return builder.raw(node.op, inputs, node.attrs)
        return builder.make(node.op, *inputs, **node.attrs)

    def _laid_weight(self, node: Node) -> Node | None:
        """A weight that is used at each step is laid as products like it once, before the loop."""
        right = node.inputs[1]
        if right in self.varying or right.ndim != 2:
            return None
        laid = lay_weight(self.builder, right, node.attrs["tb"])
        return None if laid is None else self._stand_in(laid)

    def _read(self, node: Node) -> Node:
        """A node as the body reads it; views of what lies outside are taken inside."""
        if node in self.varying:
            return self.made[node]
        if node.op is shape.IOTA or (node.op is CONSTANT and node.size == 1):
            return node
        if node.op.name in VIEWS:
            return self.builder.make(node.op, self._read(node.inputs[0]), **node.attrs)
        return self._stand_in(node)

    def _stand_in(self, outside: Node) -> Node:
        if outside not in self.constants:
            self.constants[outside] = Node(INPUT, (), {}, outside.aval, name=outside.name)
        return self.constants[outside]

    def _loop(self, carries: list[int], results: list[Node]) -> Node:
        body = self.body
        reached = set(topological(results))
        scanned = [k for k in range(self.first, self.second) if body.inputs[k] in reached]
        constants = {o: stand_in for o, stand_in in self.constants.items() if stand_in in reached}
        inputs = [*(body.inputs[k] for k in (*carries, *scanned)), *constants.values()]
        given = [*(self.given[k] for k in (*carries, *scanned)), *constants]
        made = Body(tuple(inputs), tuple(results), len(carries), len(scanned))
        self.builder.source = self.node
        return self.builder.raw(SCAN, tuple(given), dict(self.node.attrs) | {"body": made})

    def _pick(self, loop: Node, index: int) -> Node:
        self.builder.source = self.node
        return self.builder.make(PICK, loop, index=index)

    def _at_all_steps(self, node: Node) -> Node:
        builder, length = self.builder, self.node.attrs["length"]
        return builder.expand(builder.reshape(node, (1, *node.shape)), (length, *node.shape))


def _written_out(
    builder: Builder, node: Node, inputs: tuple[Node, ...], rebuild: Rebuild
) -> tuple[Node, ...]:
    """The steps of a loop, one after the other; its last carries and its stacked outputs."""
    body, length = node.attrs["body"], node.attrs["length"]
    first, second = body.carries, body.carries + body.scanned
    carries, constants = inputs[:first], inputs[second:]
    stacked: dict[int, tuple[Node, ...]] = {}
    for time in range(length):
        parts = tuple(_at(builder, x, time) for x in inputs[first:second])
        new: dict[Node, Any] = dict(zip(body.inputs, (*carries, *parts, *constants), strict=True))
        rebuild(builder, [one for one in body.nodes() if one not in new], new)
        results = tuple(new[output] for output in body.outputs)
        carries, stacked[time] = results[:first], results[first:]
    builder.source = node
    ends = node.aval[first:]
    return (*carries, *(_stack(builder, stacked, k, aval) for k, aval in enumerate(ends)))


def _at(builder: Builder, x: Node, time: int) -> Node:
    """One step's part of a scanned input."""
    starts = (time, *(0 for _ in x.shape[1:]))
    stops = (time + 1, *x.shape[1:])
    part = builder.make(shape.SLICE, x, starts=starts, stops=stops, steps=(1,) * x.ndim)
    return builder.reshape(part, x.shape[1:])


def _stack(builder: Builder, stacked: dict[int, tuple[Node, ...]], which: int, aval: Aval) -> Node:
    """One output of all steps, along a new first axis."""
    if not stacked:
        return builder.constant(np.zeros(aval.shape, aval.dtype.np), aval.dtype)
    parts = [stacked[time][which] for time in sorted(stacked)]
    rows = [builder.reshape(part, (1, *part.shape)) for part in parts]
    return builder.make(shape.CONCAT, *rows, axis=0)
