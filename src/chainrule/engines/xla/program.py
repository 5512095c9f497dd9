"""Graphs run by JAX: the ops' own meaning over jax.numpy, all of it under one ``jax.jit``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ... import ops
from ...errors import EngineError, require
from ...graph.graph import Graph
from ...ops.tape import Tape, check_inputs

Array = np.ndarray[Any, Any]
# What the engine does with each op, by name; every op means what its record says in jax.numpy.
SUPPORT: dict[str, str] = {op.name: "supported" for op in ops.ALL}


def _jax() -> Any:
    return require("jax", "xla", "the xla engine")


def wide() -> AbstractContextManager[Any]:
    """A ``with`` block in which JAX keeps 64-bit types; outside of it nothing is changed."""
    jax = _jax()
    # Recent versions have it at the top, older ones under experimental.
    context = getattr(jax, "enable_x64", None)
    if callable(context):
        result: AbstractContextManager[Any] = context(True)
        return result
    experimental: Any = require("jax.experimental", "xla", "the xla engine")
    result = experimental.enable_x64()
    return result


def find_device(name: str | None) -> Any:
    """JAX's device of a name: "cpu", "cuda", "cuda:1", "tpu"; None for JAX's own choice.

    Raises:
        EngineError: when JAX sees no such device.
    """
    if name is None:
        return None
    jax = _jax()
    kind, _, number = str(name).partition(":")
    try:
        return jax.devices(kind)[int(number or 0)]
    except (RuntimeError, IndexError, ValueError) as error:
        seen = ", ".join(sorted({device.platform for device in jax.devices()}))
        raise EngineError(
            f"JAX sees no device {name!r}.\n  given: {name!r}\n  expected: one of {seen}\n"
            '  fix: for a GPU install JAX with its CUDA libraries: pip install "jax[cuda]"'
        ) from error


class Program:
    """A graph ready to run: called with one array for each input, it gives the outputs.

    Compiling is left to the first call, as JAX does.
    """

    def __init__(self, graph: Graph, device: str | None = None) -> None:
        jax = _jax()
        from ...xp import jax_

        graph.verify()
        self.graph = graph
        self.device = find_device(device)
        self._tape = Tape(graph)
        self._run = jax.jit(lambda *arrays: self._tape.run(jax_, arrays))

    def __call__(self, *arrays: Any) -> list[Array]:
        """Run the graph, on the device it was compiled for.

        Args:
            *arrays: of the shapes and dtypes of the graph's inputs, in their order.

        Returns:
            One NumPy array for each output.

        Raises:
            EngineError: when the arrays do not fit the graph.
        """
        given = [np.asarray(array) for array in arrays]
        check_inputs(self.graph, given)
        with wide():
            placed = _jax().device_put(given, self.device)
            return [np.array(result) for result in self._run(*placed)]

    def lower(self) -> Any:
        """JAX's lowering of the graph, for those who want to read it."""
        jax = _jax()
        shapes = [jax.ShapeDtypeStruct(node.shape, node.dtype.np) for node in self.graph.inputs]
        with wide():
            return self._run.lower(*shapes)

    def explain(self) -> str:
        """What is run: the graph as text, and the program that JAX hands to XLA."""
        where = self.device if self.device is not None else "JAX's default device"
        return f"xla on {where}\n{self.graph}\n\n{self.lower().as_text()}"


def compile_graph(graph: Graph, device: str | None = None) -> Program:
    """Prepare a graph for XLA.

    64-bit types are kept, and float32 products have float32 precision on every device.

    Args:
        graph: what :func:`chainrule.trace` leaves behind, or any other closed graph.
        device: "cpu", "cuda", "tpu", with a number as in "cuda:1"; None for JAX's own choice.

    Raises:
        MissingExtraError: when JAX is not installed.
        EngineError: when JAX sees no such device.
        GraphError: when the graph breaks a rule of graphs.
    """
    return Program(graph, device)
