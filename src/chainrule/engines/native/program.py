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
from .lower.driver import TABLE, TABLE_ENTRIES
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
    inputs = [_input_buffer(node, k) for k, node in enumerate(graph.inputs)]
    leaves = dict(zip(graph.inputs, inputs, strict=True))
    results: dict[Node, Buffer] = {
        node: buffer_for(node, f"output {k}", kept=True) for k, node in enumerate(prepared.outputs)
    }
    planned = workshop.plan(prepared, rewrites, graph, leaves, [], results)
    outputs = [results[node] for node in prepared.outputs]
    outside = {buffer.pointer: k for k, buffer in enumerate(inputs) if buffer.pointer}
    inside = [buffer for buffer in inputs if buffer.pointer is None]
    built = workshop.build([planned], [0], 0, inside, [], outside, [], outputs)
    return Program(built, inputs, outputs)


def _input_buffer(node: Node, number: int) -> Buffer:
    """Inputs are read where the caller has them, as far as the table of pointers goes."""
    label = node.name or f"input {number}"
    if number < TABLE_ENTRIES:
        return buffer_for(node, label, pointer=f"input{number}")
    return buffer_for(node, label, kept=True)


class Program:
    """A compiled graph. Made by :func:`compile_graph`."""

    def __init__(self, built: Built, inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> None:
        self._built = built
        self._inputs = list(inputs)
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
        if len(arrays) != len(self._inputs):
            raise ShapeError(
                f"the program takes {len(self._inputs)} arrays but {len(arrays)} were given"
            )
        given = [np.ascontiguousarray(array) for array in map(np.asarray, arrays)]
        for buffer, array, shaped in zip(self._inputs, given, arrays, strict=True):
            _check(buffer, array, np.shape(shaped))
        with self._lock:
            self._place(given)
            built.run(self._plan, self._plan, ())
            return [buffer.view(built.arena).copy() for buffer in self._outputs]

    def _place(self, given: Sequence[Array]) -> None:
        """Tell the program where its inputs are."""
        arena = self._built.arena
        table = arena[TABLE : TABLE + 8 * TABLE_ENTRIES].view(np.int64)
        for number, (buffer, array) in enumerate(zip(self._inputs, given, strict=True)):
            if buffer.pointer is None:
                buffer.view(arena)[...] = array.reshape(buffer.shape)
            else:
                table[number] = array.ctypes.data

    def explain(self) -> str:
        """What was fused, which kernels run, how much memory and time it takes."""
        return explain(self._built)

    def llvm_ir(self) -> str:
        """The whole module in LLVM's language."""
        return self._built.machine.ir


def _check(buffer: Buffer, array: Array, given: tuple[int, ...]) -> None:
    if given != buffer.shape:
        raise ShapeError(f"{buffer.label} has shape {buffer.shape}; given {given}")
    if array.dtype != buffer.dtype.np:
        raise DTypeError(
            f"{buffer.label} has dtype {buffer.dtype.name}; given {array.dtype}\n"
            f'  fix: array.astype("{buffer.dtype.name}")'
        )
