"""When a training is written down: metrics every few seconds, checkpoints now and then.

A checkpoint's row is committed together with all metrics up to its step, so a record that is
rewound to a checkpoint loses nothing that belongs to it and keeps nothing that came later.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from .checkpoint import Tree, newest_whole, thin_out, write_checkpoint
from .run import Run, from_record
from .store import RunRecord, Store

CHECKPOINT_INTERVAL = 10.0  # seconds between checkpoints at epoch ends
LONG_EPOCH = 20.0  # seconds without one after which a checkpoint is written inside an epoch
METRICS_INTERVAL = 2.0  # seconds between writings of metrics


class Recorder:
    """Writes a training into the store; for a record in memory it only keeps the run's numbers.

    Args:
        run: the record.
        store: where it is kept; None for a record in memory.
        clock: gives seconds; for tests.
    """

    def __init__(
        self, run: Run, store: Store | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.run = run
        self._store = store
        self._clock = clock
        self._written = run.epochs  # epochs whose metrics are in the store
        self._begun = clock() - run.seconds
        self._last_metrics = self._last_checkpoint = clock()
        self._last_step = -1
        self._looked = len(run.watched.parts())

    def describe(self) -> None:
        """Write the run's settings, now that its engine is chosen."""
        if self._store is not None:
            assert self.run._id is not None
            self._store.set_config(self.run._id, self.run.config)

    def update(self, *, epochs: int, steps: int) -> None:
        """Tell how far the training is."""
        self.run.epochs, self.run.steps = epochs, steps
        self.run.seconds = self._clock() - self._begun

    def due(self, *, inside_epoch: bool) -> bool:
        """Whether a checkpoint should be written now."""
        if self._store is None:
            return False
        since = self._clock() - self._last_checkpoint
        return since >= (LONG_EPOCH if inside_epoch else CHECKPOINT_INTERVAL)

    def metrics_due(self) -> bool:
        """Whether metrics should be written now."""
        if self._store is None:
            return False
        return self._clock() - self._last_metrics >= METRICS_INTERVAL

    def write(self, tree: Tree | None = None) -> None:
        """Write the metrics that are not written yet, with a checkpoint if `tree` is its content.

        Raises:
            StoreError: the disk is full or the store is damaged; what was written stays.
        """
        if self._store is None:
            return
        run, store = self.run, self._store
        assert run._id is not None
        mark = None
        if tree is not None:
            mark = write_checkpoint(store, run._id, tree, epoch=run.epochs, step=run.steps)
        fresh = {name: series[self._written :] for name, series in run.history.items()}
        store.append(
            run._id, self._written, fresh, epoch=run.epochs, step=run.steps, seconds=run.seconds,
            checkpoint=mark, watched=run.watched.parts(self._looked),
        )  # fmt: skip
        self._looked = len(run.watched.parts())
        self._written = run.epochs
        self._last_metrics = self._clock()
        if mark is not None:
            thin_out(store, run._id)
            self._last_checkpoint, self._last_step = self._clock(), run.steps

    @property
    def has_checkpoint_here(self) -> bool:
        """Whether the newest checkpoint is of the present step."""
        return self._last_step == self.run.steps

    def end(self, status: str) -> None:
        """Record how the training ended."""
        self.run.status = status
        if self._store is not None:
            assert self.run._id is not None
            self._store.set_status(self.run._id, status)


class Opened:
    """A run's place in the store while it trains: created or found, and locked.

    Args:
        name: the run's name; None keeps the record in memory.
        resume: go on where the run of that name stopped, if there is one.
        fresh: a new record, with its settings: config and seed.

    Raises:
        StoreError: the name is taken and `resume` is False, another process trains it, or no
            checkpoint of it is whole.
    """

    def __init__(self, name: str | None, resume: bool, fresh: Run) -> None:
        self._stack = contextlib.ExitStack()
        self.store: Store | None = None
        self.tree: Tree | None = None  # the checkpoint to go on from
        self.found: RunRecord | None = None
        try:
            self.run = self._open(name, resume, fresh)
        except BaseException:
            self._stack.close()
            raise

    def _open(self, name: str | None, resume: bool, run: Run) -> Run:
        if name is None:
            return run
        store = self.store = self._stack.enter_context(Store())
        self.found = store.find(name) if resume else None
        if self.found is None:
            number = store.create(
                name, seed=run.seed, config=run.config, versions=run.versions,
                processor=run.processor,
            )  # fmt: skip
            self._stack.enter_context(store.lock(number, name))
            run.name, run.folder, run._id = name, store.folder, number
            return run
        self._stack.enter_context(store.lock(self.found.id, name))
        return self._find(store, self.found)

    def _find(self, store: Store, record: RunRecord) -> Run:
        """The record rewound to its newest whole checkpoint."""
        whole = newest_whole(store.checkpoints(record.id))
        if whole is None:
            # Killed before the first checkpoint: nothing was trained yet.
            store.rewind(record.id, epoch=0, step=-1)
        else:
            mark, self.tree = whole
            store.rewind(record.id, epoch=mark.epoch, step=mark.step)
        store.sweep(record.id)
        store.set_status(record.id, "running")
        again = store.find(record.name)
        assert again is not None
        return from_record(store, again)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
