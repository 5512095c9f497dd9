"""One sitting of a training: chunks of steps, and what happens between them.

An engine is given as many steps at once as fit into a fraction of a second, so that Python is
returned to a few times a second, however short a step is. Where the chunks end changes no bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..io.arrays import Array
from ..optim.lr_scheduler import ReduceLROnPlateau
from .checkpoint import Tree
from .examples import Batching, Examples
from .ledger import Ledger
from .progress import Progress
from .recorder import Recorder

CHUNK_SECONDS = 0.2
GROWTH = 16  # a chunk is at most so many times the one before, while the speed is not known yet
MOST_ROWS = 1 << 20
MOST_STEPS = 1 << 20


class Runner(Protocol):
    """An engine's way to run training steps."""

    first_chunk: int  # steps to begin with, before the speed is known

    def run(self, order: Array, variants: Array) -> Array:
        """Run steps: int32 rows one batch after the other, int32 variant (batch size) of each step.

        Returns:
            float64[steps done, numbers]; fewer steps only after :meth:`stop`.
        """

    def take_rows(self) -> list[Array]:
        """The rows that metrics have collected since the last call: (examples, values) each."""

    def stop(self) -> None:
        """End a :meth:`run` that is under way after its present step; may come from a handler."""

    def sync(self) -> None:
        """Let the user's tensors hold the state that the steps have reached."""

    def refresh(self) -> None:
        """Take over tensors that the user has changed since :meth:`sync`."""

    def evaluate(self, examples: Examples) -> dict[str, float]:
        """The loss and the metrics over `examples`, with the state that the steps have reached."""

    def close(self) -> None:
        """Let go of what the runner holds; it is not used again."""


Callback = Any  # a function of the run, or an object with on_epoch_end


@dataclass
class Session:
    """One sitting of a training.

    Attributes:
        runner: runs the steps.
        examples: the training data.
        batching: how an epoch is cut into steps.
        key: uint32[2], the shuffle's random stream.
        counter: the stream's block at which the present epoch's shuffle begins.
        ledger: the numbers so far.
        recorder: writes the record.
        progress: shows how far it is.
        epochs: epochs to reach.
        steps: steps done so far.
        validation: examples that are evaluated after each epoch.
        scheduler: moved on after each epoch; None for a learning rate that nobody changes.
        callbacks: told after each epoch; the training ends when one returns True.
        tell: tells one of them, with the newest numbers; returns what it answers.
        pause: callbacks run inside it, apart from the training's random numbers.
        tree: gives a checkpoint's content.
    """

    runner: Runner
    examples: Examples
    batching: Batching
    key: Array
    counter: int
    ledger: Ledger
    recorder: Recorder
    progress: Progress
    epochs: int
    steps: int
    validation: Examples | None
    scheduler: Any
    callbacks: Sequence[Callback]
    tell: Callable[[Any, Mapping[str, float]], object]
    pause: Callable[[], AbstractContextManager[None]]
    tree: Callable[[Session], Tree]
    watched: dict[str, list[float]] = field(default_factory=dict)
    _chunk: int = 1
    _order: Array | None = None
    _stopped: bool = False

    def run(self) -> str:
        """Train; returns the status that the record ends with: finished or interrupted."""
        self._chunk = self.runner.first_chunk
        # A training that was ended by its own callback is not gone on with.
        stopped = (getattr(callback, "stopped_epoch", None) for callback in self.callbacks)
        ended = any(epoch is not None for epoch in stopped)
        while not ended and self.ledger.epochs < self.epochs and not self._stopped:
            done = self._run_chunk()
            ended = bool(done) and self._after_epoch()
            self._record()
            self._show()
        return "interrupted" if self._stopped else "finished"

    def stop(self) -> None:
        """End after the step under way; from any thread, or from a signal handler."""
        self._stopped = True
        self.runner.stop()

    def _run_chunk(self) -> int:
        """Run one chunk; returns how many epochs it ended."""
        steps, variants, order = self._plan()
        begun = time.perf_counter()
        numbers = self.runner.run(order, variants)
        spent = time.perf_counter() - begun
        self.steps += len(numbers)
        done = self.ledger.add(numbers, self.runner.take_rows())
        if done:
            self.counter += done * self.batching.blocks
            self._order = None
        if len(numbers) == steps:
            wished = int(CHUNK_SECONDS / max(spent, 1e-9) * steps)
            self._chunk = max(1, min(wished, GROWTH * steps))
        return done

    def _plan(self) -> tuple[int, Array, Array]:
        """The next chunk: steps, the variant of each, and the rows one batch after the other."""
        batching, ledger = self.batching, self.ledger
        each = batching.steps
        limit = min(self._chunk, MOST_STEPS, max(1, MOST_ROWS // batching.size))
        observers = (self.validation, self.scheduler, self.callbacks or None)
        every_epoch = any(observer is not None for observer in observers)
        if ledger.step == 0 and limit >= each:
            epochs = 1 if every_epoch else min(limit // each, self.epochs - ledger.epochs)
            order = batching.orders(self.key, self.counter, epochs, self.examples.rows)
            variants = np.tile(batching.variant_of_step(), epochs)
            return epochs * each, variants, np.ascontiguousarray(order).reshape(-1)
        if self._order is None:
            self._order = batching.orders(self.key, self.counter, 1, self.examples.rows)[0]
        stop = min(each, ledger.step + limit)
        rows = slice(ledger.step * batching.size, stop * batching.size)
        variants = batching.variant_of_step()[ledger.step : stop]
        return stop - ledger.step, variants, np.ascontiguousarray(self._order[rows])

    def _after_epoch(self) -> bool:
        """Validation and callbacks; returns whether a callback ends the training."""
        if self.validation is not None:
            for name, number in self.runner.evaluate(self.validation).items():
                series = self.watched.setdefault(f"validation_{name}", [])
                series += [math.nan] * (self.ledger.epochs - 1 - len(series))
                series.append(number)
        if self.scheduler is not None:
            self._move_schedule()
        self.recorder.update(epochs=self.ledger.epochs, steps=self.steps)
        ended = False
        if self.callbacks:
            self.publish()
            self.runner.sync()
            with self.pause():
                newest = self.newest()
                answers = [self.tell(callback, newest) for callback in self.callbacks]
            self.runner.refresh()
            ended = any(answer is True for answer in answers)
        return ended

    def _move_schedule(self) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            newest = self.newest()
            self.scheduler.step(newest.get("validation_loss", newest["loss"]))
        else:
            self.scheduler.step()

    def _record(self) -> None:
        """Write what is due."""
        self.recorder.update(epochs=self.ledger.epochs, steps=self.steps)
        if self.recorder.due(inside_epoch=self.ledger.step > 0):
            self.write_checkpoint()
        elif self.recorder.metrics_due():
            self.publish()
            self.recorder.write()

    def write_checkpoint(self) -> None:
        """Write the state at the present step."""
        self.publish()
        self.runner.sync()
        self.recorder.write(self.tree(self))

    def publish(self) -> None:
        """Let the run's history hold all finished epochs."""
        run = self.recorder.run
        for name in self.ledger.names:
            run.history[name] = self.ledger.series(name)
        for name, numbers in self.watched.items():
            # A resumed run may have validation data that it began without, or the other way round.
            numbers += [math.nan] * (self.ledger.epochs - len(numbers))
            run.history[name] = np.array(numbers)

    def _show(self) -> None:
        share = self.ledger.step / self.batching.steps
        self.progress.update(self.ledger.epochs + share, self.steps, self.newest())

    def newest(self) -> dict[str, float]:
        """The newest numbers by name."""
        numbers = self.ledger.newest()
        return numbers | {name: series[-1] for name, series in self.watched.items()}
