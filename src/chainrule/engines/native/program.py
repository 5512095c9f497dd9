"""One graph as one native function."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import DTypeError, ShapeError
from ...graph.graph import Graph
from ...graph.node import Node
from .explain import explain
from .lower.buffers import Buffer, buffer_for
from .lower.plan import prepare
from .machine import Built, Workshop

Array = np.ndarray[Any, Any]


def compile_graph(graph: Graph, *, threads: int | None = None) -> Program:
    """Compile a graph into one native function.

    Args:
        graph: any graph of supported ops.
        threads: how many threads; by default as many as the work is worth.

    Returns:
        A program: called with one array for each input, it gives one array for each output.

    Raises:
        EngineError: when an op has no form on this engine, naming the op, its layer and its line.

    Example:
        >>> import numpy as np
        >>> from chainrule.graph.node import INPUT, Node, make_aval
        >>> from chainrule.dtypes import float32
        >>> from chainrule.ops.elementwise import EXP
        >>> x = Node(INPUT, (), {}, make_aval((3,), float32))
        >>> y = Node(EXP, (x,), {}, x.aval)
        >>> program = compile_graph(Graph((x,), (y,)), threads=1)
        >>> program(np.zeros(3, np.float32))
        [array([1., 1., 1.], dtype=float32)]
    """
    workshop = Workshop(threads)
    started = time.perf_counter()
    owned = set(range(len(graph.outputs)))
    prepared, rewrites = prepare(graph, owned)
    workshop.add_time("simplify", started)
    inputs = [
        buffer_for(node, node.name or f"input {k}", kept=True)
        for k, node in enumerate(graph.inputs)
    ]
    leaves = dict(zip(graph.inputs, inputs, strict=True))
    results: dict[Node, Buffer] = {
        node: buffer_for(node, f"output {k}", kept=True) for k, node in enumerate(prepared.outputs)
    }
    planned = workshop.plan(prepared, rewrites, graph, leaves, [], results)
    outputs = [results[node] for node in prepared.outputs]
    built = workshop.build([planned], [0], 0, inputs, [], {}, [], outputs)
    return Program(built, outputs)


class Program:
    """A compiled graph. Made by :func:`compile_graph`."""

    def __init__(self, built: Built, outputs: Sequence[Buffer]) -> None:
        self._built = built
        self._outputs = list(outputs)
        self._lock = threading.Lock()
        self._plan = np.zeros(1, np.int32)

    @property
    def compile_seconds(self) -> float:
        """What planning and compiling took."""
        return self._built.compile_seconds

    def __call__(self, *arrays: Array) -> list[Array]:
        """Run the graph.

        Args:
            arrays: one for each input, of its shape and dtype.

        Returns:
            New arrays, one for each output.

        Raises:
            ShapeError: when the number of arrays or a shape is wrong.
            DTypeError: when a dtype is wrong.
        """
        built = self._built
        if len(arrays) != len(built.state):
            raise ShapeError(
                f"the program takes {len(built.state)} arrays but {len(arrays)} were given"
            )
        with self._lock:
            for buffer, array in zip(built.state, arrays, strict=True):
                self._write(buffer, np.asarray(array))
            built.run(self._plan, self._plan, ())
            return [buffer.view(built.arena).copy() for buffer in self._outputs]

    def _write(self, buffer: Buffer, given: Array) -> None:
        if given.shape != buffer.shape:
            raise ShapeError(f"{buffer.label} has shape {buffer.shape}; given {given.shape}")
        if given.dtype != buffer.dtype.np:
            raise DTypeError(
                f"{buffer.label} has dtype {buffer.dtype.name}; given {given.dtype}\n"
                f'  fix: array.astype("{buffer.dtype.name}")'
            )
        buffer.view(self._built.arena)[...] = given

    def explain(self) -> str:
        """What was fused, which kernels run, how much memory and time it takes."""
        return explain(self._built)

    def llvm_ir(self) -> str:
        """The whole module in LLVM's language."""
        return self._built.machine.ir
