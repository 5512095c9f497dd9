"""How a compiled step runs on the native engine: what it rebinds stays in the engine's memory."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engines.native.program import Program, compile_graph
from ..graph.graph import Graph
from ..graph.node import INPUT, NO_ATTRS, Node
from ..graph.trace import Traced
from ..ops import Expr
from ._handle import is_start
from ._runner import UNFIT, Runner
from ._tensor import Tensor
from ._trace import Position, rebuild

Array = np.ndarray[Any, Any]
# How many hold an object; where that is not counted, more than ever do.
_references: Callable[[Any], int] = getattr(sys, "getrefcount", lambda held: 1 << 30)
_ALONE = next(map(_references, [object()]))  # of what one list holds


class Stored:
    """The value that a call left in a program's memory, as long as no later call replaces it.

    Attributes:
        array: the value unpacked, once somebody has asked for it; it may have been written to.
    """

    __slots__ = ("__weakref__", "_number", "_program", "array")

    def __init__(self, program: Program, number: int) -> None:
        self._program = program
        self._number = number
        self.array: Array | None = None

    def read(self) -> Array:
        """The value, unpacked."""
        if self.array is None:
            self.array = self._program.read(self._number)
        return self.array


class _Settled:
    """What tells that the values from outside are as the last call left them.

    Then a tensor may keep its node through a call, though the value changes: nobody but the tensor
    holds the node, as the reference counts say, so nobody sees that it was not replaced.

    Args:
        pairs: tensors and the nodes that they held after that call; of those that are rebound last.
        stored: what the nodes of these hold.
        reads: how often the program's state had been read before that call.
    """

    __slots__ = ("_counts", "_held", "_pairs", "_reads")

    def __init__(self, pairs: list[Any], stored: list[Stored], reads: int) -> None:
        self._pairs, self._reads = pairs, reads
        nodes = [node for _, node in pairs[len(pairs) - len(stored) :]]
        self._held = [*nodes, *stored]
        # Besides our list a node is held by its tensor and by its pair, a value by its node and by
        # the caller's list.
        self._counts = [_ALONE + 2] * len(self._held)

    def holds(self, program: Program) -> bool:
        """Whether nothing was changed, unpacked or held on to since."""
        if program.reads != self._reads:
            return False
        if self._held and list(map(_references, self._held)) != self._counts:
            return False
        for handle, node in self._pairs:  # noqa: SIM110 - a generator takes twice the time
            if handle._node is not node:
                return False
        return True


_UNSETTLED = _Settled([], [], -1)


class Resident(Runner):
    """Runs a step on the native engine; what it rebinds stays in the program's memory.

    The tensors that the step rebinds (parameters, moments) get nodes whose values lie there and are
    unpacked when they are asked for. A value that somebody else still holds when the next call is
    about to replace it is unpacked before; a tensor that the user has changed is written anew.
    """

    def __init__(self, traced: Traced, look: Graph | None = None) -> None:
        first = traced.arguments
        places = {id(handle): first + k for k, handle in enumerate(traced.captured)}
        graph, state, loose = traced.graph, [], []
        for k, handle in enumerate(traced.rebound):
            source, output = places[id(handle)], traced.results + k
            if graph.inputs[source].aval is graph.outputs[output].aval:
                state.append((source, output, handle))
            else:
                loose.append((output, handle))
        super().__init__(traced)
        taken = {source for source, _, _ in state}
        self._read = [(h, places[id(h)]) for h in traced.captured if places[id(h)] not in taken]
        lasting = {number for _, number in self._read}
        self._pairs = [(output, source) for source, output, _ in state]
        self.program = compile_graph(
            graph, state=[pair[:2] for pair in state], lasting=lasting, look=look
        )
        self._state = [(handle, source) for source, _, handle in state]
        self._stored = [Stored(self.program, source) for source, _, _ in state]
        self._seen: list[Node | None] = [None] * len(self._read)
        self._latest: list[Node | None] = [None] * len(self._read)
        self._changed = True  # whether somebody else changed what the step reads or rebinds
        numbers = enumerate(traced.getters, first + len(traced.captured))
        self._numbers = [(getter, number) for number, getter in numbers]
        self._known: list[float | None] = [None] * len(self._numbers)
        self._settled = _UNSETTLED
        self._loose = [handle for _, handle in loose]
        outputs = [*range(traced.results), *(output for output, _ in loose)]
        outputs += range(traced.results + len(traced.rebound), len(graph.outputs))
        self._avals = [graph.outputs[output].aval for output in outputs]
        self._single = len(outputs) == 1 and type(traced.structure) is Position

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        """Run it."""
        with self.program.lock:
            self._give(tensors)
            self._take()
            return self._run()

    def again(self, tensors: Sequence[Tensor]) -> Any:
        """Run it on other arguments; quickly where nobody has touched what it rebinds."""
        program = self.program
        with program.lock:
            self._give(tensors)
            if not self._settled.holds(program):
                if not self.fits():
                    return UNFIT
                self._take()
            elif self._numbers:
                self._take_numbers()
            return self._run()

    def _give(self, tensors: Sequence[Tensor]) -> None:
        write = self.program.write
        for number, tensor in enumerate(tensors):
            write(number, tensor._node.value())

    def look(self, tensors: Sequence[Tensor]) -> list[Array]:
        """Statistics of the call that comes; it is not taken."""
        with self.program.lock:
            self._give(tensors)
            self._take()
            return self.program.look()

    def _run(self) -> Any:
        return self._given(self.program.run())

    def _given(self, arrays: Sequence[Array]) -> Any:
        """What the function returns, from what the program gave."""
        if self._single:
            return Tensor(Expr(INPUT, (), NO_ATTRS, self._avals[0], arrays[0]))
        return self._several(arrays)

    def profile(self, tensors: Sequence[Tensor], runs: int) -> Any:
        """Where the time of a run goes; see :meth:`.Program.profile`."""
        program, traced = self.program, self.traced
        written = [*tensors, *traced.captured]
        arrays = [handle._node.value() for handle in written]
        arrays += [np.asarray(getter()) for getter in traced.getters]
        with program.lock:
            for number, array in enumerate(arrays):
                program.write(number, array)
            return program.profile(runs=runs)

    def _several(self, arrays: Sequence[Array]) -> Any:
        """What the function returned; gradients and tensors of new shapes go where they belong."""
        made = [
            Expr(INPUT, (), NO_ATTRS, aval, array)
            for aval, array in zip(self._avals, arrays, strict=True)
        ]
        results, rest = self.traced.results, iter(made[self.traced.results :])
        for handle in self._loose:
            handle._rebind(next(rest))
        for handle in self.traced.grads:
            handle.grad = Tensor(next(rest))
        return rebuild(self.traced.structure, [Tensor(node) for node in made[:results]])

    def _take(self) -> None:
        """Write what the step reads from outside, where it is not in the program yet."""
        program, seen = self.program, self._seen
        self._settled = _UNSETTLED  # it holds on to values
        for k, (handle, number) in enumerate(self._read):
            node = handle._node
            if node is not seen[k]:
                self._changed |= node is not self._latest[k]
                self._latest[k] = node
                seen[k] = node if program.write(number, node.value()) else None
        self._take_numbers()
        for k, (handle, number) in enumerate(self._state):
            if handle._node.owner is not self._stored[k]:
                # Its place will be written, from which other tensors' values may have to be read.
                held = weakref.ref(self._stored[k])
                self._stored[k] = Stored(program, number)
                _unpack(held)
        for k, (handle, number) in enumerate(self._state):
            self._take_state(k, handle, number)
        pairs = [(handle, node) for (handle, _), node in zip(self._read, seen, strict=True)]
        state = [(handle, handle._node) for handle, _ in self._state]
        self._settled = _Settled([*pairs, *state], self._stored, program.reads)

    def _take_numbers(self) -> None:
        known = self._known
        for k, (getter, number) in enumerate(self._numbers):
            value = getter()
            if value != known[k]:
                self.program.write(number, np.asarray(value))
                known[k] = value

    def _take_state(self, k: int, handle: Any, number: int) -> None:
        """See that the program has a tensor's value, and let the tensor hold the next one."""
        node, before = handle._node, self._stored[k]
        if node.owner is not before or before.array is not None:
            self.program.write(number, node.value())
            self._changed = True
        after = self._stored[k] = Stored(self.program, number)
        grows = node.requires_grad and is_start(node)
        fresh = Expr(INPUT, (), NO_ATTRS, node.aval, after, grows)
        fresh.name = node.name
        if grows:
            fresh.handle = weakref.ref(handle)
        if handle._owner is None:
            handle._node = fresh
        else:
            handle._rebind(fresh)
        held = weakref.ref(before)
        del node, before
        _unpack(held)


def _unpack(held: weakref.ref[Stored]) -> None:
    """Read a value before its place is written, if somebody still holds it."""
    stored = held()
    if stored is not None:
        stored.read()
