"""One graph as one native function."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ...errors import DTypeError, ShapeError
from ...graph.graph import Graph
from ...graph.node import Node
from .explain import explain
from .lower.buffers import Buffer, address_of, buffer_for
from .lower.driver import TABLE, TABLE_ENTRIES
from .lower.plan import Planned, prepare
from .lower.running import write_single
from .machine import Built, Workshop
from .profile import Profile, profile

Array = np.ndarray[Any, Any]
# Inputs up to so many bytes are copied into the program's memory: that costs less than asking NumPy
# where an array lies.
_COPIED = 1 << 14


def compile_graph(
    graph: Graph,
    *,
    threads: int | None = None,
    state: Sequence[tuple[int, int]] = (),
    lasting: Collection[int] = (),
    look: Graph | None = None,
    guards: bool | None = None,
) -> Program:
    """Compile a graph into one native function.

    Args:
        graph: any graph of supported ops.
        threads: how many threads; by default as many as the work is worth.
        state: (input position, output position): the output takes the input's place in the next
            call. Such an input lies in the program's memory, is written by :meth:`Program.write`
            and is not among the arrays of a call; its output is read by :meth:`Program.read`.
        lasting: positions of inputs that stay the same array for many calls, and are read where
            they lie however small they are.
        look: another graph of the same inputs, for :meth:`Program.look`; it shares the first one's
            kernels and memory.
        guards: whether to look for writes outside of arrays after each task, a debug mode; None: as
            ``CHAINRULE_GUARDS`` in the environment says.

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
    workshop = Workshop(threads, guards)
    replaced = dict(state)
    inputs = [
        _input_buffer(node, k, k in replaced or workshop.guarded, k in lasting)
        for k, node in enumerate(graph.inputs)
    ]
    leaves = dict(zip(graph.inputs, inputs, strict=True))
    parts = [_plan(workshop, graph, leaves, state)]
    if look is not None:
        parts.append(_plan(workshop, look, leaves, ()))
    outside = {buffer.pointer: k for k, buffer in enumerate(inputs) if buffer.pointer}
    inside = [buffer for buffer in inputs if buffer.pointer is None]
    none = [0] * len(parts)
    planned = [part for part, _ in parts]
    kept = [buffer for _, results in parts for buffer in results]
    write_single(workshop.module)
    built = workshop.build(planned, none, none, inside, 0, outside, [], kept)
    return Program(built, inputs, [results for _, results in parts], [k for k, _ in state])


def _plan(
    workshop: Workshop,
    graph: Graph,
    leaves: dict[Node, Buffer],
    state: Sequence[tuple[int, int]],
) -> tuple[Planned, list[Buffer]]:
    """Plan one graph; also where its results lie."""
    started = time.perf_counter()
    prepared, rewrites = prepare(graph, set(range(len(graph.outputs))))
    workshop.add_time("simplify", started)
    updates = [(graph.inputs[source], prepared.outputs[output]) for source, output in state]
    written = {output for _, output in state}
    asked = prepared.outputs[: len(graph.outputs)]  # behind them are the checks of indices
    results: dict[Node, Buffer] = {
        node: buffer_for(node, f"output {k}", kept=True)
        for k, node in enumerate(asked)
        if k not in written
    }
    planned = workshop.plan(prepared, rewrites, graph, leaves, updates, results)
    return planned, [results[node] for k, node in enumerate(asked) if k not in written]


def _input_buffer(node: Node, number: int, resident: bool, lasting: bool) -> Buffer:
    """Large inputs are read where the caller has them, as far as the table of pointers goes."""
    label = node.name or f"input {number}"
    small = node.size * node.dtype.itemsize <= _COPIED and not lasting
    if resident or small or number >= TABLE_ENTRIES:
        return buffer_for(node, label, kept=True)
    return buffer_for(node, label, pointer=f"input{number}")


class Program:
    """A compiled graph. Made by :func:`compile_graph`.

    Attributes:
        lock: held while the program's memory is written, run or read; who holds it may do several
            of these in one piece.
        reads: how often state was read.
    """

    def __init__(
        self,
        built: Built,
        inputs: Sequence[Buffer],
        outputs: Sequence[Sequence[Buffer]],
        state: Sequence[int],
    ) -> None:
        self._built = built
        self._inputs = list(inputs)
        self._state = frozenset(state)
        self._given = [k for k in range(len(inputs)) if k not in self._state]
        self.lock = threading.RLock()
        self.reads = 0
        arena = built.arena
        self._places = [None if b.pointer else b.view(arena) for b in inputs]
        self._results, *seen = ([buffer.view(arena) for buffer in each] for each in outputs)
        self._only = self._results[0] if len(self._results) == 1 else None
        self._table = arena[TABLE : TABLE + 8 * TABLE_ENTRIES].data.cast("q")
        self._held: dict[int, Array] = {}  # what the table points to must stay alive
        self._seen = seen[0] if seen else []
        self._variant = np.zeros(1, np.int32)  # read at each run: which of the graphs
        self._run = built.repeat(self._variant)

    @property
    def compile_seconds(self) -> float:
        """What planning and compiling took."""
        return self._built.compile_seconds

    def __call__(self, *arrays: Array) -> list[Array]:
        """Run the graph.

        Args:
            arrays: one for each input that is not state, of its shape and dtype.

        Returns:
            New arrays, one for each output that is not state.

        Raises:
            ShapeError: when the number of arrays or a shape is wrong.
            DTypeError: when a dtype is wrong.
            IndexRangeError: when an index is outside of its axis; state stays as it was.
        """
        given = self._checked(arrays)
        with self.lock:
            for number, array in zip(self._given, given, strict=True):
                self.write(number, array)
            results = self.run()
            self._held.clear()
            return results

    def _checked(self, arrays: Sequence[Any]) -> list[Array]:
        if len(arrays) != len(self._given):
            raise ShapeError(
                f"the program takes {len(self._given)} arrays but {len(arrays)} were given"
            )
        given = [np.asarray(array) for array in arrays]
        for number, array in zip(self._given, given, strict=True):
            _check(self._inputs[number], array)
        return given

    def run(self) -> list[Array]:
        """Run the graph on what was written; arrays as a call gives them. Hold the lock."""
        self._run()
        if self._only is not None:
            return [self._only.copy()]
        return [result.copy() for result in self._results]

    def look(self) -> list[Array]:
        """Run the graph that only looks; arrays, one for each of its outputs. Hold the lock."""
        self._variant[0] = 1
        try:
            self._run()
        finally:
            self._variant[0] = 0
        return [result.copy() for result in self._seen]

    def write(self, number: int, array: Array) -> bool:
        """Give one input its value, which it keeps until it is given another.

        Args:
            number: its position among the graph's inputs.
            array: of its shape and dtype; neither is checked.

        Returns:
            Whether the array is read where it lies at each run, so that what is written to it later
            is seen; a small or scattered one is copied.
        """
        place = self._places[number]
        if place is not None:
            place[...] = array
            return False
        held = np.ascontiguousarray(array)
        self._held[number] = held
        self._table[number] = address_of(held)
        return held is array

    def read(self, number: int) -> Array:
        """A copy of the present value of an input that is state."""
        with self.lock:
            self.reads += 1
            return self.view(number).copy()

    def view(self, number: int) -> Array:
        """The present value of an input that is state, where it lies. Hold the lock."""
        place = self._places[number]
        if place is None:
            raise ShapeError(f"input {number} is not state of this program")
        return place

    def explain(self) -> str:
        """What was fused, which kernels run, how much memory and time it takes."""
        return explain(self._built)

    def profile(self, *arrays: Array, runs: int = 100) -> Profile:
        """Where the time goes: each task's share of an average run, as the first thread sees it.

        The runs work on a copy of the state, with a clock around each task.

        Args:
            arrays: as for a call; none where all inputs were written.
            runs: how often the graph is run.

        Raises:
            EngineError: on processors whose clock programs may not read.
        """
        given = self._checked(arrays) if arrays else []
        steps = np.zeros(max(1, runs), np.int32)
        with self.lock:
            for number, array in zip(self._given, given, strict=False):
                self.write(number, array)
            return profile(self._built, steps, steps, np.zeros((1, 0)), steps)

    def llvm_ir(self) -> str:
        """The whole module in LLVM's language."""
        return self._built.machine.ir


def _check(buffer: Buffer, array: Array) -> None:
    if array.shape != buffer.shape:
        raise ShapeError(f"{buffer.label} has shape {buffer.shape}; given {array.shape}")
    if array.dtype != buffer.dtype.np:
        raise DTypeError(
            f"{buffer.label} has dtype {buffer.dtype.name}; given {array.dtype}\n"
            f'  fix: array.astype("{buffer.dtype.name}")'
        )
