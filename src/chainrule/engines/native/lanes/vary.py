"""Which values differ between the trainings of a vector, and which are one number for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ....graph.graph import Graph
from ....graph.node import Node
from ...program import Step


@dataclass(frozen=True)
class Differences:
    """What differs between the trainings before the first step.

    Attributes:
        state: for each state, in order, whether its first value differs.
        scalars: for each run-time number, in order.
        batch: whether each training takes its own rows of the data.
    """

    state: tuple[bool, ...]
    scalars: tuple[bool, ...]
    batch: bool


def varying(
    steps: Sequence[Step], graphs: Sequence[Graph], own_batch: Sequence[bool], given: Differences
) -> tuple[set[Node], tuple[bool, ...]]:
    """The nodes of all steps that differ between trainings, and for each state whether it does.

    A state that begins equal differs as soon as what replaces it does, so this is repeated until
    nothing changes.

    Args:
        steps: the steps, with the positions of their inputs and outputs.
        graphs: the prepared graphs of these steps.
        own_batch: for each step, whether its rows differ.
        given: what differs at first.
    """
    state = list(given.state)
    while True:
        found: set[Node] = set()
        for step, graph, own in zip(steps, graphs, own_batch, strict=True):
            found |= _spread(graph, _leaves(step, graph, state, given.scalars, own))
        grown = [
            known or any(_written(step, graph, k) in found for step, graph in pairs)
            for k, known in enumerate(state)
            for pairs in [list(zip(steps, graphs, strict=True))]
        ]
        if grown == state:
            return found, tuple(state)
        state = grown


def _written(step: Step, graph: Graph, number: int) -> Node | None:
    output = step.state[number][1]
    return None if output < 0 else graph.outputs[output]


def _leaves(
    step: Step, graph: Graph, state: Sequence[bool], scalars: Sequence[bool], own: bool
) -> Iterable[Node]:
    for (place, _), differs in zip(step.state, state, strict=True):
        if differs:
            yield graph.inputs[place]
    # A step that only evaluates reads none of them.
    for place, differs in zip(step.scalars, scalars, strict=False):
        if differs:
            yield graph.inputs[place]
    if own:
        for place in step.batch:
            yield graph.inputs[place]


def _spread(graph: Graph, leaves: Iterable[Node]) -> set[Node]:
    found = set(leaves)
    for node in graph.nodes():
        if any(source in found for source in node.inputs):
            found.add(node)
    return found
