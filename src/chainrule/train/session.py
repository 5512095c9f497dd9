"""One sitting of a training: chunks of steps, and what happens between them.

An engine is given as many steps at once as fit into a fraction of a second, so that Python is
returned to a few times a second, however short a step is. Where the chunks end changes no bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ..io.arrays import Array
from ..optim.lr_scheduler import ReduceLROnPlateau
from .checkpoint import Tree
from .course import Course, Outcome, Plan
from .foresight import Foresight, is_foreseen
from .ledger import Ledger
from .progress import Progress
from .recorder import Recorder
from .watching import Columns

CHUNK_SECONDS = 0.2
GROWTH = 16  # a chunk is at most so many times the one before, while the speed is not known yet
MOST_ROWS = 1 << 20
MOST_STEPS = 1 << 20


class Runner(Protocol):
    """An engine's way to run training steps."""

    columns: Columns  # what a look reports
    # Whether it takes the run-time numbers of many epochs along in a plan.
    foresees: bool

    first_steps: int  # steps to begin with, before the speed is known

    @property
    def seconds(self) -> float:
        """What a unit of work (:attr:`course.Course.work`) took before; 0 if that is not known."""

    def learn(self, seconds: float) -> None:
        """Remember what a unit of work takes."""

    @property
    def chunk_factor(self) -> int:
        """How many times as long as usual a chunk should be."""

    def run(self, plan: Plan) -> Outcome:
        """Run steps; fewer than planned only after :meth:`stop`."""

    def numbers(self) -> list[float]:
        """The present run-time numbers."""

    def stop(self) -> None:
        """End a :meth:`run` that is under way after its present step; may come from a handler."""

    def sync(self) -> None:
        """Let the user's tensors hold the state that the steps have reached."""

    def settle(self) -> None:
        """Raise for what went wrong with the state and was not seen yet."""

    def refresh(self) -> None:
        """Take over tensors that the user has changed since :meth:`sync`."""

    def close(self) -> None:
        """Let go of what the runner holds; it is not used again."""


Callback = Any  # a function of the run, or an object with on_epoch_end


@dataclass
class Session:
    """One sitting of a training.

    Attributes:
        runner: runs the steps.
        course: the steps of an epoch and their data.
        key: uint32[2], the shuffle's random stream.
        counter: the stream's block at which the present epoch's shuffle begins.
        ledger: the numbers of the training so far.
        checks: those of the validation data.
        recorder: writes the record.
        progress: shows how far it is.
        epochs: epochs to reach.
        steps: steps done so far.
        scheduler: moved on after each epoch; None for a learning rate that nobody changes.
        callbacks: told after each epoch; the training ends when one returns True.
        tell: tells one of them, with the newest numbers; returns what it answers.
        pause: callbacks run inside it, apart from the training's random numbers.
        tree: gives a checkpoint's content.
    """

    runner: Runner
    course: Course
    key: Array
    counter: int
    ledger: Ledger
    checks: Ledger
    recorder: Recorder
    progress: Progress
    epochs: int
    steps: int
    scheduler: Any
    callbacks: Sequence[Callback]
    tell: Callable[[Any, Mapping[str, float]], object]
    pause: Callable[[], AbstractContextManager[None]]
    tree: Callable[[Session], Tree]
    _chunk: float = 1.0  # work of the next chunk
    _order: Array | None = None
    _stopped: bool = False
    _ahead: Foresight | None = None  # of the chunk that is run

    def run(self) -> str:
        """Train; returns the status that the record ends with: finished or interrupted."""
        known, work = self.runner.seconds, self.course.work
        seconds = CHUNK_SECONDS * self.runner.chunk_factor
        self._chunk = seconds / known if known else self.runner.first_steps * float(work[0])
        # A training that was ended by its own callback is not gone on with.
        stopped = (getattr(callback, "stopped_epoch", None) for callback in self.callbacks)
        ended = any(epoch is not None for epoch in stopped)
        while not ended and self.ledger.epochs < self.epochs and not self._stopped:
            ended = self._after_epochs(self._run_chunk())
            self._record()
            self._show()
        self.runner.settle()
        return "interrupted" if self._stopped else "finished"

    def stop(self) -> None:
        """End after the step under way; from any thread, or from a signal handler."""
        self._stopped = True
        self.runner.stop()

    def _run_chunk(self) -> int:
        """Run one chunk; returns how many epochs it ended."""
        steps = self._plan()
        work = self.course.work_of(steps)
        plan, looked = self.course.with_looks(steps, self.steps)
        begun = time.perf_counter()
        try:
            outcome = self.runner.run(plan)
        except BaseException:
            if self._ahead is not None:
                self._ahead.go_to(0)
            raise
        spent = time.perf_counter() - begun
        done = self._take(outcome)
        # A stop may come between a look and its step, which is then looked at again.
        looked = looked[looked < self.steps]
        numbers = outcome.watched[: len(looked)]
        self.recorder.run.watched.add(self.runner.columns, looked, numbers)
        ran = len(outcome.trained) + len(outcome.checked) + len(outcome.watched)
        if ran == len(plan.variants):
            wished = CHUNK_SECONDS * self.runner.chunk_factor / max(spent, 1e-9) * work
            self._chunk = min(wished, GROWTH * work)
            self.runner.learn(spent / work)
        return done

    def _take(self, outcome: Outcome) -> int:
        """Take in what steps gave; returns how many epochs they ended."""
        course, ledger = self.course, self.ledger
        self.steps += len(outcome.trained)
        trained, checked = ledger.step + len(outcome.trained), len(outcome.checked)
        whole = (
            course.checking == 0
            or (self.checks.step + checked) // course.checking * course.training >= trained
        )
        # An epoch is finished when its validation is.
        hold = not whole and trained > 0 and trained % course.training == 0
        if ledger.step < course.training:
            done = ledger.add(outcome.trained, outcome.trained_rows, hold=hold)
        else:
            done = 0 if hold else ledger.finish()
        if checked:
            self.checks.add(outcome.checked, outcome.checked_rows)
        if done:
            self.counter += done * course.batching.blocks
            self._order = None
        return done

    def _plan(self) -> Plan:
        """The next chunk."""
        course, ledger = self.course, self.ledger
        position, length = ledger.step + self.checks.step, len(course)
        self._ahead = None
        whole = min(int(self._chunk / course.epoch_work), MOST_STEPS // length)
        if position == 0 and whole:
            most = max(1, min(whole, MOST_ROWS // course.rows))
            epochs = min(most, self.epochs - ledger.epochs) if self._may_run_on() else 1
            if epochs * course.rows <= MOST_ROWS:
                return self._epochs(epochs)
        if self._order is None:
            self._order = course.orders(self.key, self.counter, 1)[0]
        most = min(MOST_STEPS, max(1, MOST_ROWS // int(course.sizes.max())))
        stop = min(course.reach(position, self._chunk), position + most)
        return course.part(self._order, position, stop)

    def _may_run_on(self) -> bool:
        """Whether nobody has to be asked after each epoch."""
        if self.callbacks:
            return False
        return self.scheduler is None or (self.runner.foresees and is_foreseen(self.scheduler))

    def _epochs(self, epochs: int) -> Plan:
        """Whole epochs, with their learning rates where a schedule moves them."""
        numbers = None
        if self.scheduler is not None and epochs > 1:
            self._ahead = Foresight(self.scheduler, self.runner.numbers)
            numbers = self._ahead.table(epochs)
            epochs = len(numbers)
        plan = self.course.epochs(self.course.orders(self.key, self.counter, epochs))
        if self._ahead is None:
            return plan
        return replace(plan, numbers=numbers, go_to=self._ahead.go_to)

    def _after_epochs(self, done: int) -> bool:
        """Schedule and callbacks; returns whether a callback ends the training."""
        self.recorder.update(epochs=self.ledger.epochs, steps=self.steps)
        if self._ahead is not None:
            self._ahead.go_to(done)
        elif self.scheduler is not None and done:
            self._move_schedule()
        ended = False
        if self.callbacks and done:
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
        self.runner.settle()
        self.publish()
        self.runner.sync()
        self.recorder.write(self.tree(self))

    def publish(self) -> None:
        """Let the run's history hold all finished epochs."""
        run = self.recorder.run
        for name in self.ledger.names:
            run.history[name] = self.ledger.series(name)
        missing = np.full(self.ledger.epochs - self.checks.epochs, math.nan)
        for name in self.checks.names if self.checks.has_numbers else ():
            # A resumed run may have validation data that it began without, or the other way round.
            run.history[f"validation_{name}"] = np.append(self.checks.series(name), missing)

    def _show(self) -> None:
        share = self.ledger.step / self.course.training
        self.progress.update(self.ledger.epochs + share, self.steps, self.newest())

    def newest(self) -> dict[str, float]:
        """The newest numbers by name."""
        numbers = self.ledger.newest()
        if self.course.validation is not None:
            numbers |= {f"validation_{k}": v for k, v in self.checks.newest().items()}
        return numbers
