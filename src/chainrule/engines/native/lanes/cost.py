"""How much a step is for each training, and whether it is better written by lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ....dtypes import float64
from ....graph.graph import Graph
from ....graph.node import Node
from ...program import Step
from ..lower.support import form
from ..target import Target
from .structured import RULES

# Instructions for one element, where they are many.
_INSTRUCTIONS = {
    "exp": 20, "log": 25, "tanh": 25, "sigmoid": 22, "softplus": 45, "erf": 40, "pow": 90,
    "expm1": 30, "log1p": 30, "sin": 30, "cos": 30, "div": 4, "sqrt": 4, "random_bits": 35,
}  # fmt: skip
# Second-level caches up to whose size lanes are faster. Measured with AVX2: 2-4-1 14 times,
# 64-128-10 at batch 50 1.6, 784-32-10 at 100 1.1, 256-128-10 at 64 0.9, 256-256-256-10 0.7 times.
CACHES = 8


@dataclass(frozen=True)
class Estimate:
    """What the largest step of a training asks for, when each value is a vector over trainings.

    Attributes:
        lanes: trainings in a vector.
        instructions: vector instructions of a step.
        bytes: memory of state and of what a step computes, for all trainings of a vector.
        refused: names of ops that are not written by lanes.
    """

    lanes: int
    instructions: int
    bytes: int
    refused: tuple[str, ...]

    def why_not(self, target: Target, count: int) -> str:
        """Why trainings are better run one by one; empty where lanes are the better way."""
        if self.refused:
            return f"lanes have no form of {', '.join(self.refused)}"
        if self.bytes > CACHES * target.second_cache:
            return (
                f"a step of {self.lanes} trainings takes {self.bytes >> 20:,} MB, and lanes are "
                f"faster up to {CACHES * target.second_cache >> 20:,} MB"
            )
        if 2 * count < self.lanes:
            return f"{count} trainings would leave most of {self.lanes} lanes empty"
        return ""

    def text(self) -> str:
        """The estimate in words."""
        return (
            f"{self.lanes} lanes, about {self.instructions:,} vector instructions and "
            f"{self.bytes / 1024:,.1f} kB a step"
        )


def estimate(steps: Sequence[Step], graphs: Sequence[Graph], target: Target) -> Estimate:
    """Estimate prepared steps.

    Args:
        steps: the steps.
        graphs: their graphs, simplified and settled.
        target: the processor.
    """
    lanes = lanes_of(steps[0], target)
    work = [sum(map(instructions, graph.nodes())) for graph in graphs]
    size = max(sum(node.size * node.dtype.itemsize for node in _kept(graph)) for graph in graphs)
    names = {node.op.name for graph in graphs for node in graph.nodes()}
    known = {node.op.name for graph in graphs for node in graph.nodes() if _is_known(node)}
    return Estimate(lanes, max(work), size * lanes, tuple(names - known))


def lanes_of(step: Step, target: Target) -> int:
    """Trainings in a vector: as many as it has room for floating-point numbers of the state."""
    inputs = [step.graph.inputs[place] for place, _ in step.state]
    wide = any(node.dtype is float64 and node.ndim for node in inputs)
    return target.vector_bytes // (8 if wide else 4)


def instructions(node: Node) -> int:
    """Vector instructions of a node, about."""
    name = node.op.name
    if isinstance(node.aval, tuple):
        return 0  # a loop over time, which lanes have no form of
    if form(node) in ("leaf", "view") or name in ("iota", "copy"):
        return 0
    if name == "matmul":
        left = node.inputs[0]
        return node.size * left.shape[-2 if node.attrs["ta"] else -1]
    if form(node) == "reduce":
        return node.inputs[0].size
    if name == "take":
        return node.size * node.inputs[0].shape[0]
    if name == "take_add":
        return node.inputs[0].size * int(node.attrs["size"])
    return node.size * _INSTRUCTIONS.get(name, 1)


def _is_known(node: Node) -> bool:
    return form(node) in ("leaf", "view", "map") or node.op.name in RULES


def _kept(graph: Graph) -> list[Node]:
    """What lies in memory at one time, at most."""
    nodes = [node for node in graph.nodes() if not isinstance(node.aval, tuple)]
    return [node for node in nodes if form(node) != "view" and prod(node.shape) > 1]
