"""The native engine's way to run training steps: many at a time, in one compiled loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engines import native
from ..io.arrays import Array
from ..tensor._handle import array_leaf
from .compiled import TracedLoop, signature, trace_loop
from .eager import Step, evaluating, evaluation_ledger
from .examples import Batching, Examples
from .metrics import Metric


@dataclass
class Compiled:
    """A compiled loop and the trace it was made of.

    Attributes:
        loop: the engine's loop.
        traced: the steps and the tensors that its state stands for.
        placed: the node that each of these tensors held when the loop's state was that of the
            tensors; a tensor that holds another one has been changed by the user.
    """

    loop: Any
    traced: TracedLoop
    placed: list[Any]

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


class LoopCache:
    """The loops that one Trainer has compiled: a second fit of the same kind starts at once.

    Args:
        threads: for the engine; None lets it choose.
    """

    LIMIT = 8

    def __init__(self, threads: int | None) -> None:
        self._threads = threads
        self._found: dict[Any, Compiled] = {}
        self.newest: Any = None  # the training loop that was asked for last
        self.compiled = 0  # loops compiled so far
        self.seconds = 0.0  # spent compiling them

    def get(self, traced: TracedLoop, examples: Examples) -> Compiled:
        """The loop for these steps and this data, compiled when there is none yet.

        Raises:
            EngineError: the engine does not support an op; it is named.
        """
        kinds = tuple((array.shape, array.dtype.name) for array in examples.arrays)
        key = (signature(traced), kinds)
        found = self._found.pop(key, None)
        if found is None:
            loop = native.compile_loop(traced.steps, examples.arrays, threads=self._threads)
            found = Compiled(loop, traced, [])
            self.compiled += 1
            self.seconds += loop.compile_seconds
        else:
            found.loop.bind(examples.arrays)
        found.traced = traced
        # Nothing is known of what the tensors did since this loop last ran: take all of them over.
        found.placed = [None] * len(traced.handles)
        found.load()
        self._found[key] = found
        while len(self._found) > self.LIMIT:
            del self._found[next(iter(self._found))]
        return found


class NativeRunner:
    """Runs the steps in compiled loops; arguments as for :class:`eager.EagerRunner`.

    Raises:
        EngineError: the engine does not support an op; it is named.
        TraceError: the step asks for values while it runs.
    """

    first_chunk = 32
    engine = "native"

    def __init__(
        self,
        step: Step,
        evaluation: Step,
        model: Any,
        metrics: Sequence[Metric],
        examples: Examples,
        batching: Batching,
        cache: LoopCache,
    ) -> None:
        self._evaluation, self._model = evaluation, model
        self._metrics = tuple(metrics)
        self._cache = cache
        self._training = cache.get(trace_loop(step, examples, batching.sizes), examples)
        cache.newest = self._training.loop
        self._evaluations: dict[int, tuple[Examples, Compiled]] = {}

    def run(self, order: Array, variants: Array) -> Array:
        """Run steps; see :class:`session.Runner`."""
        compiled = self._training
        numbers: Array = compiled.loop.run(order, variants, compiled.traced.scalars())
        return numbers

    def stop(self) -> None:
        """End after the present step."""
        self._training.loop.stop()

    def sync(self) -> None:
        """Let the user's tensors hold the state that the steps have reached."""
        self._training.store()

    def refresh(self) -> None:
        """Take over tensors that the user has changed."""
        self._training.load()

    def evaluate(self, examples: Examples) -> dict[str, float]:
        """Loss and metrics over `examples`, with the training loop's state."""
        ledger = evaluation_ledger(self._metrics, len(examples))
        batching = ledger.batching
        compiled = self._compile_evaluation(examples, batching)
        compiled.loop.bind(examples.arrays)
        self._copy_state(compiled)
        order = batching.orders(np.zeros(2, np.uint32), 0, 1, examples.rows).reshape(-1)
        scalars = compiled.traced.scalars()
        order = np.ascontiguousarray(order)
        ledger.add(compiled.loop.run(order, batching.variant_of_step(), scalars))
        return ledger.newest()

    def _compile_evaluation(self, examples: Examples, batching: Batching) -> Compiled:
        found = self._evaluations.get(id(examples))
        if found is None:
            with evaluating(self._model):
                traced = trace_loop(self._evaluation, examples, batching.sizes)
            found = examples, self._cache.get(traced, examples)
            self._evaluations[id(examples)] = found
        return found[1]

    def _copy_state(self, evaluation: Compiled) -> None:
        """Give the evaluation loop the training loop's parameters and buffers."""
        places = {id(handle): place for place, handle in enumerate(self._training.traced.handles)}
        for place, handle in enumerate(evaluation.traced.handles):
            source = places.get(id(handle))
            if source is not None and self._training.traced.written[source]:
                evaluation.loop.write(place, self._training.loop.read(source))
