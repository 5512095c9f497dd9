"""Graphs run by NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...graph.graph import Graph
from ...ops.tape import Tape, check_inputs
from ...xp import numpy_

Array = np.ndarray[Any, Any]
# What the engine does with each op, by name; every op means what its record says in NumPy.
SUPPORT: dict[str, str] = {op.name: "supported" for op in ops.ALL}


class Program:
    """A graph ready to run: called with one array for each input, it gives the outputs."""

    def __init__(self, graph: Graph) -> None:
        graph.verify()
        self.graph = graph
        self._tape = Tape(graph)

    def __call__(self, *arrays: Any) -> list[Array]:
        """Run the graph.

        Args:
            *arrays: of the shapes and dtypes of the graph's inputs, in their order.

        Returns:
            One array for each output.

        Raises:
            EngineError: when the arrays do not fit the graph.
        """
        given = [np.asarray(array) for array in arrays]
        check_inputs(self.graph, given)
        with np.errstate(all="ignore"):
            return self._tape.run(numpy_, given)

    def explain(self) -> str:
        """What is run: the graph as text."""
        return f"numpy: {len(self._tape.calls)} ops, interpreted in this order\n{self.graph}"


def compile_graph(graph: Graph) -> Program:
    """Prepare a graph for NumPy.

    Args:
        graph: what :func:`chainrule.trace` leaves behind, or any other closed graph.

    Raises:
        GraphError: when the graph breaks a rule of graphs.

    Example:
        >>> import chainrule as cr
        >>> program = compile_graph(cr.trace(lambda x: x * x, cr.ones(2)).graph)
        >>> program(np.array([2, 3], np.float32))
        [array([4., 9.], dtype=float32)]
    """
    return Program(graph)
