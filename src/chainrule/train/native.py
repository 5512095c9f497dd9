"""The native engine's way to run training steps: many at a time, in one compiled loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..engines import native
from ..io.arrays import Array
from ..tensor._handle import array_leaf
from .compiled import TracedLoop, signature, trace_loop
from .eager import Step, evaluating, evaluation_ledger
from .examples import Batching, Examples
from .feed import Feed
from .metrics import Metric


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
    """A compiled loop with its data: `sizes` are the batch sizes of its variants."""

    compiled: Compiled
    feed: Feed
    sizes: Array


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
        metrics: Sequence[Metric],
        examples: Examples,
        batching: Batching,
        threads: int | None,
    ) -> None:
        self._evaluation, self._model = evaluation, model
        self._metrics = tuple(metrics)
        self._threads = threads
        self._stopped = False
        self._evaluations: dict[int, tuple[Examples, Fed]] = {}
        self.compile_seconds = 0.0
        self._training = self._take(trace_loop(step, examples, batching.sizes), examples, batching)

    @property
    def loop(self) -> Any:
        """The compiled training loop."""
        return self._training.compiled.loop

    def _take(self, traced: TracedLoop, examples: Examples, batching: Batching) -> Fed:
        begun = time.perf_counter()
        feed = Feed(examples, max(batching.sizes))
        found = POOL.take(traced, feed.arrays, self._threads)
        self.compile_seconds += time.perf_counter() - begun
        return Fed(found, feed, np.array(batching.sizes))

    def close(self) -> None:
        """Give the loops back for the next training of the same kind."""
        for fed in (self._training, *(each for _, each in self._evaluations.values())):
            POOL.give(fed.compiled)

    def run(self, order: Array, variants: Array) -> Array:
        """Run steps; see :class:`session.Runner`."""
        return self._run(self._training, order, variants)

    def _run(self, fed: Fed, order: Array, variants: Array) -> Array:
        compiled, done = fed.compiled, []
        scalars = compiled.traced.scalars()
        for rows, steps in fed.feed.pieces(order, variants, fed.sizes):
            done.append(compiled.loop.run(rows, steps, scalars))
            if self._stopped and fed is self._training:
                break
        return done[0] if len(done) == 1 else np.concatenate(done)

    def stop(self) -> None:
        """End after the present step."""
        self._stopped = True
        self.loop.stop()

    def sync(self) -> None:
        """Let the user's tensors hold the state that the steps have reached."""
        self._training.compiled.store()

    def refresh(self) -> None:
        """Take over tensors that the user has changed."""
        self._training.compiled.load()

    def evaluate(self, examples: Examples) -> dict[str, float]:
        """Loss and metrics over `examples`, with the training loop's state."""
        ledger = evaluation_ledger(self._metrics, len(examples))
        batching = ledger.batching
        fed = self._compile_evaluation(examples, batching)
        self._copy_state(fed.compiled)
        order = batching.orders(np.zeros(2, np.uint32), 0, 1, examples.rows).reshape(-1)
        ledger.add(self._run(fed, np.ascontiguousarray(order), batching.variant_of_step()))
        return ledger.newest()

    def _compile_evaluation(self, examples: Examples, batching: Batching) -> Fed:
        found = self._evaluations.get(id(examples))
        if found is None:
            with evaluating(self._model):
                traced = trace_loop(self._evaluation, examples, batching.sizes)
            found = examples, self._take(traced, examples, batching)
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
