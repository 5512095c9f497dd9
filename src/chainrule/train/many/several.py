"""All trainings of one call of ``fit_many``: kind after kind, into one record."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ...engines.native import lanes
from ...engines.native.target import Target
from ...engines.native.team import thread_count
from ...errors import EngineError
from ...io.arrays import Array
from ..course import EVALUATION_ROWS
from ..interrupts import Interrupts
from ..progress import make_progress
from ..targets import check_targets
from .by_arenas import ArenaRunner
from .by_lanes import LaneRunner
from .job import (
    Job,
    apply_options,
    initial_of,
    numbers_of,
    restore_options,
    structures,
)
from .kept import kept_epochs, refuse_too_large
from .runs import Runs
from .settings import Settings, as_array
from .starts import Starts, preserved
from .tracing import trace_passes


class Several:
    """All trainings of one call.

    Args:
        trainer: whose steps are taken; its model and optimizer are left as they are.
        settings, starts: of the trainings.
        epochs, history, way: as ``fit_many`` takes them.
    """

    def __init__(
        self,
        trainer: Any,
        settings: Settings,
        starts: Starts,
        epochs: int,
        history: Any,
        way: str | None,
    ) -> None:
        self.trainer, self.settings, self.starts = trainer, settings, starts
        self.epochs, self.history, self.way = epochs, history, way
        self.stop = np.zeros(1, np.int64)
        columns = {k: as_array(v) for k, v in settings.columns.items()}
        self.runs = Runs(columns, dict(settings.fixed), settings.axes, settings.shape)
        self.table: Array | None = None
        self.share = 0.0

    def run(self, examples: Any, batching: Any, validation: Any) -> None:
        """Run the kinds of trainings one after the other."""
        trainer, runs = self.trainer, self.runs
        self.progress = make_progress(trainer.progress, self.epochs)
        started = time.perf_counter()
        before = apply_options(trainer.optimizer, self._fixed())
        state, trainer.optimizer.state = trainer.optimizer.state, {}
        trainer.model.train()
        try:
            with Interrupts(self._ask) as interrupts, preserved():
                for options, members in structures(self.settings):
                    was = apply_options(trainer.optimizer, self._own(options))
                    try:
                        self._kind(members, examples, batching, validation)
                    finally:
                        restore_options(trainer.optimizer, was)
                    if self.stop[0]:
                        break
        finally:
            trainer.optimizer.state = state
            restore_options(trainer.optimizer, before)
            self.progress.close()
            runs.seconds = time.perf_counter() - started
        runs.status = "interrupted" if self.stop[0] else "finished"
        if interrupts.asked:
            raise KeyboardInterrupt

    def _ask(self) -> None:
        self.stop[0] = 1

    def _fixed(self) -> dict[str, Any]:
        return self._own(self.settings.fixed)

    def _own(self, options: dict[str, Any]) -> dict[str, Any]:
        """Those that are the optimizer's."""
        defaults = self.trainer.optimizer.defaults
        return {name: value for name, value in options.items() if name in defaults}

    def _kind(self, members: Array, examples: Any, batching: Any, validation: Any) -> None:
        """Trainings of one graph."""
        trainer, runs = self.trainer, self.runs
        # A state that an earlier kind has made is not this one's.
        trainer.optimizer.state = {}
        rows = min(EVALUATION_ROWS, max(batching.size, 32))
        passes = trace_passes(trainer, examples, batching, validation, rows)
        way = self._choose(passes, len(members))
        if way == "arenas" and validation is not None:
            passes = trace_passes(trainer, examples, batching, validation, EVALUATION_ROWS)
        check_targets(trainer.loss, trainer._step.output_shape, examples, validation)
        job = Job(
            runs=members,
            passes=passes,
            initial=initial_of(passes, trainer.model, self.starts, members),
            numbers=numbers_of(trainer.optimizer, passes, self.settings, members),
            starts=self.starts,
            epochs=self.epochs,
            slots=np.zeros(0, np.int32),
            table=np.zeros(0),
            finished=runs.finished,
            threads=trainer.threads or thread_count(),
            watch=self._watcher(len(members)),
            stop=self.stop,
            weights=runs.weights,
        )
        self._prepare(job)
        started = time.perf_counter()
        runner: Any = (LaneRunner if way == "lanes" else ArenaRunner)(job, trainer.model)
        runs.compile_seconds += time.perf_counter() - started
        runner.run()

    def _watcher(self, count: int) -> Callable[[float], None]:
        before, weight = self.share, count / self.settings.count

        def watch(share: float) -> None:
            self.share = before + weight * share
            self.progress.update(self.share * self.epochs, 0, {})

        return watch

    def _prepare(self, job: Job) -> None:
        """Make the history and the weights, once, when the first kind says what they hold."""
        runs, model = self.runs, self.trainer.model
        names = job.names
        if self.table is None:
            each = 8 * len(names)
            kept, note = kept_epochs(self.history, self.epochs, self.settings.count * each)
            held = {k: t.detach().numpy() for k, t in model.state_dict().items()}
            size = sum(array.nbytes for array in held.values()) * self.settings.count
            refuse_too_large(self.settings.count * len(kept) * each, size)
            self.table = np.full((self.settings.count, len(kept), len(names)), np.nan)
            runs.finished = np.zeros(self.settings.count, bool)
            runs.weights = {
                k: np.broadcast_to(a, (self.settings.count, *a.shape)).copy()
                for k, a in held.items()
            }
            runs.epochs = kept
            runs.model_like = model
            runs.history = {name: self.table[:, :, k] for k, name in enumerate(names)}
            if note:
                runs.notes.append(note)
        job.table, job.finished, job.weights = self.table, runs.finished, runs.weights
        job.slots = np.full(self.epochs, -1, np.int32)
        job.slots[runs.epochs - 1] = np.arange(len(runs.epochs))

    def _choose(self, passes: Any, count: int) -> str:
        """Lanes or arenas, and why."""
        steps = [*passes.train.steps, *(passes.check.steps if passes.check else ())]
        graphs = [lanes.prepared(step) for step in steps]
        target = Target.host()
        plan = lanes.estimate(steps, graphs, target)
        if self.way == "lanes" and plan.refused:
            raise EngineError(
                f"lanes have no form of {', '.join(plan.refused)}.\n  fix: way='arenas', or None"
            )
        reason = plan.why_not(target, count)
        chosen = self.way or ("arenas" if reason else "lanes")
        each = "a training in each lane" if chosen == "lanes" else "one training at a time"
        said = f"{chosen}: {each}" + (f", {plan.text()}" if chosen == "lanes" else "")
        if self.way is not None:
            said += ", as was asked for"
        elif reason:
            said += f", because {reason}"
        self.runs.way = said
        return chosen
