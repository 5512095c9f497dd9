"""The native engine's way to run training steps: many at a time, in one compiled loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..engines import native
from ..io.arrays import Array
from ..tensor._handle import array_leaf
from .compiled import TracedLoop, signature, trace_loop
from .eager import Step, evaluating, evaluation_ledger, joined
from .examples import Batching, Examples
from .feed import Feed

# Rows that a metric collects are read after so many steps, or a few more if batches are small: long
# enough that Python costs little, short enough that moving the rows along does.
REGISTER_STEPS = 8
REGISTER_ROWS = 1024


@dataclass
class Compiled:
    """A compiled loop and the trace that it runs.

    Attributes:
        loop: the engine's loop.
        key: what it was compiled for.
        traced: the steps and the tensors that its state stands for.
        placed: the node that each of these tensors held when the loop's state was that of the
            tensors; a tensor that holds another one has been changed by the user.
    """

    loop: Any
    key: Any
    traced: TracedLoop
    placed: list[Any] = field(default_factory=list)

    def load(self) -> None:
        """Write the tensors' values into the loop where they have changed."""
        for place, handle in enumerate(self.traced.handles):
            if handle._node is not self.placed[place]:
                self.loop.write(place, handle._node.value())
                self.placed[place] = handle._node

    def store(self) -> None:
        """Let the tensors hold the loop's state."""
        for place, handle in enumerate(self.traced.handles):
            if self.traced.written[place]:
                handle._rebind(array_leaf(self.loop.read(place)))
                self.placed[place] = handle._node


class LoopPool:
    """Compiled loops that wait for the next training of their kind, in this process.

    A sweep over learning rates and seeds compiles once, and so does a second fit. A loop in use is
    taken out, so that two trainings at a time never share one.
    """

    LIMIT = 16

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[Any, list[Compiled]] = {}

    def take(self, traced: TracedLoop, arrays: tuple[Array, ...], threads: int | None) -> Compiled:
        """A loop for these steps and this data, with the tensors' values in it.

        Raises:
            EngineError: the engine does not support an op; it is named.
        """
        kinds = tuple((array.shape, array.dtype.name) for array in arrays)
        key = (signature(traced), kinds, threads)
        with self._lock:
            waiting = self._idle.get(key)
            found = waiting.pop() if waiting else None
        if found is None:
            loop = native.compile_loop(traced.steps, arrays, threads=threads)
            found = Compiled(loop, key, traced)
        else:
            found.loop.bind(arrays)
            found.traced = traced
        # Nothing is known of what the tensors did since the loop last ran: take all of them over.
        found.placed = [None] * len(traced.handles)
        found.load()
        return found

    def give(self, compiled: Compiled) -> None:
        """Put a loop back; the data and the tensors that it worked on are let go of."""
        compiled.loop.release()
        compiled.traced = replace(compiled.traced, handles=(), getters=())
        compiled.placed = []
        with self._lock:
            waiting = self._idle.pop(compiled.key, [])
            self._idle[compiled.key] = [*waiting, compiled]  # the newest key stands last
            while sum(map(len, self._idle.values())) > self.LIMIT:
                oldest = next(iter(self._idle))
                self._idle[oldest].pop(0)
                if not self._idle[oldest]:
                    del self._idle[oldest]


POOL = LoopPool()


@dataclass
class Fed:
    """A compiled loop with its data.

    Attributes:
        compiled: the loop.
        feed: gives it its rows.
        sizes: the batch sizes of its variants.
        registers: places in its state of rows that a metric collects.
    """

    compiled: Compiled
    feed: Feed
    sizes: Array
    registers: list[int]

    def pieces(self, order: Array, variants: Array) -> Iterator[tuple[Array, Array]]:
        """A plan in pieces whose data is at hand and whose collected rows fit the registers."""
        for rows, steps in self.feed.pieces(order, variants, self.sizes):
            if not self.registers:
                yield rows, steps
                continue
            length = len(self.compiled.loop.read(self.registers[0]))
            most = max(1, length // int(self.sizes.max()))
            ends = np.concatenate([[0], np.cumsum(self.sizes[steps])])
            for first in range(0, len(steps), most):
                last = min(first + most, len(steps))
                yield rows[ends[first] : ends[last]], steps[first:last]


class NativeRunner:
    """Runs the steps in compiled loops; arguments as for :class:`eager.EagerRunner`.

    Raises:
        EngineError: the engine does not support an op; it is named.
        TraceError: the step asks for values while it runs.
    """

    first_chunk = 8
    engine = "native"

    def __init__(
        self,
        step: Step,
        evaluation: Step,
        model: Any,
        optimizer: Any,
        examples: Examples,
        batching: Batching,
        threads: int | None,
    ) -> None:
        self._evaluation, self._model = evaluation, model
        self._rows: list[list[Array]] = []
        self._threads = threads
        self._stopped = False
        self._evaluations: dict[int, tuple[Examples, Fed]] = {}
        self.compile_seconds = 0.0
        self._training = self._prepare(step, examples, batching)

    @property
    def loop(self) -> Any:
        """The compiled training loop."""
        return self._training.compiled.loop

    def _prepare(self, step: Step, examples: Examples, batching: Batching) -> Fed:
        """Trace a step and take a loop for it."""
        largest = max(batching.sizes)
        step.layout.reset(max(REGISTER_STEPS * largest, REGISTER_ROWS))
        traced = trace_loop(step, examples, batching.sizes)
        begun = time.perf_counter()
        feed = Feed(examples, largest)
        found = POOL.take(traced, feed.arrays, self._threads)
        self.compile_seconds += time.perf_counter() - begun
        places = [
            place
            for register in step.layout.registers
            for place, handle in enumerate(traced.handles)
            if handle is register
        ]
        return Fed(found, feed, np.array(batching.sizes), places)

    def close(self) -> None:
        """Give the loops back for the next training of the same kind."""
        for fed in (self._training, *(each for _, each in self._evaluations.values())):
            POOL.give(fed.compiled)

    def run(self, order: Array, variants: Array) -> Array:
        """Run steps; see :class:`session.Runner`."""
        numbers, rows = self._run(self._training, order, variants)
        self._rows += rows
        return numbers

    def take_rows(self) -> list[Array]:
        """The rows collected since the last call; see :class:`session.Runner`."""
        taken = joined(self._rows)
        self._rows = []
        return taken

    def _run(self, fed: Fed, order: Array, variants: Array) -> tuple[Array, list[list[Array]]]:
        """What the steps report, and the rows that they collect."""
        loop, done, collected = fed.compiled.loop, [], []
        scalars = fed.compiled.traced.scalars()
        for rows, steps in fed.pieces(order, variants):
            numbers = loop.run(rows, steps, scalars)
            done.append(numbers)
            count = int(fed.sizes[steps[: len(numbers)]].sum())
            if fed.registers and count:
                collected.append([loop.read(place)[-count:] for place in fed.registers])
            if self._stopped and fed is self._training:
                break
        return done[0] if len(done) == 1 else np.concatenate(done), collected

    def stop(self) -> None:
        """End after the present step."""
        self._stopped = True
        self.loop.stop()

    def sync(self) -> None:
        """Let the user's tensors hold the state that the steps have reached."""
        self._training.compiled.store()

    def snapshot(self) -> list[Any]:
        """The state that the steps have reached, for :meth:`restore`."""
        self.sync()
        return [handle._node for handle in self._training.compiled.traced.handles]

    def restore(self, snapshot: list[Any]) -> None:
        """Go back to a snapshot."""
        compiled = self._training.compiled
        for handle, node in zip(compiled.traced.handles, snapshot, strict=True):
            handle._rebind(node)
        # The loop has gone on since the tensors held these, so all of them are written.
        compiled.placed = [None] * len(snapshot)
        compiled.load()

    def arrays(self) -> list[Array]:
        """The arrays of numbers that the steps write."""
        traced, loop = self._training.compiled.traced, self.loop
        return [
            loop.read(place)
            for place, handle in enumerate(traced.handles)
            if traced.written[place] and handle.dtype.is_float
        ]

    def refresh(self) -> None:
        """Take over tensors that the user has changed."""
        self._training.compiled.load()

    def evaluate(self, examples: Examples) -> dict[str, float]:
        """Loss and metrics over `examples`, with the training loop's state."""
        ledger = evaluation_ledger(self._evaluation, len(examples))
        batching = ledger.batching
        fed = self._compile_evaluation(examples, batching)
        self._copy_state(fed.compiled)
        order = batching.orders(np.zeros(2, np.uint32), 0, 1, examples.rows).reshape(-1)
        numbers, rows = self._run(fed, np.ascontiguousarray(order), batching.variant_of_step())
        ledger.add(numbers, joined(rows))
        return ledger.newest()

    def _compile_evaluation(self, examples: Examples, batching: Batching) -> Fed:
        found = self._evaluations.get(id(examples))
        if found is None:
            with evaluating(self._model):
                found = examples, self._prepare(self._evaluation, examples, batching)
            self._evaluations[id(examples)] = found
        return found[1]

    def _copy_state(self, evaluation: Compiled) -> None:
        """Give the evaluation loop the training loop's parameters and buffers."""
        training = self._training.compiled
        places = {id(handle): place for place, handle in enumerate(training.traced.handles)}
        for place, handle in enumerate(evaluation.traced.handles):
            source = places.get(id(handle))
            if source is not None and training.traced.written[source]:
                evaluation.loop.write(place, training.loop.read(source))
