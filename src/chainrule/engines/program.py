"""What an engine is given: one training step, traced."""

from __future__ import annotations

from dataclasses import dataclass

from ..graph.graph import Graph


@dataclass(frozen=True)
class Step:
    """One traced step of a loop.

    Attributes:
        graph: the step.
        state: (input position, output position): the output takes the input's place in the next
            step. An input named here with output -1 is read and never written.
        batch: input positions filled with rows of the data arrays, in the arrays' order, gathered
            along axis 0 by this step's indices.
        scalars: input positions that stay the same through one call of the loop.
        sums: output positions of 0-d values that are reported for every step.
    """

    graph: Graph
    state: tuple[tuple[int, int], ...]
    batch: tuple[int, ...]
    scalars: tuple[int, ...]
    sums: tuple[int, ...]
