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
        scalars: input positions of the run-time numbers, which a loop takes from a table: each
            step of a plan says from which of its rows.
        sums: output positions of 0-d values that are reported for every step.
        data: the data array that the first of `batch` is filled from; the others follow it.
        peeks: whether the step after this one takes the same rows again.
    """

    graph: Graph
    state: tuple[tuple[int, int], ...]
    batch: tuple[int, ...]
    scalars: tuple[int, ...]
    sums: tuple[int, ...]
    data: int = 0
    peeks: bool = False
