"""`Run`: the record of one training, in memory or in the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..io.arrays import Array
from .checkpoint import Tree, newest_whole, read_checkpoint, write_checkpoint
from .environment import processor, versions
from .findings import Finding
from .moment import Moment, Source, rebuild, source_of
from .store import DATABASE, CheckpointRecord, RunRecord, Store, store_folder
from .watching import Watched


@dataclass(repr=False)
class Run:
    """The record of one training.

    Attributes:
        name: its name in the store; None for a record that is only in memory.
        status: "running", "finished", "interrupted" or "failed".
        epochs: epochs finished.
        steps: steps done.
        seconds: spent training, all sittings together.
        seed: of the shuffle and of dropout.
        config: how it was trained: model, loss, optimizer, batch size, engine.
        versions: of Python and of the libraries.
        processor: what it ran on.
        history: float64 arrays, one number for each epoch: "loss", the metrics, and with
            validation data "validation_loss" and so on.
        watched: statistics of layers, parameters and gradients, with ``Trainer(watch=...)``; see
            :class:`~chainrule.train.Watched`.
        notes: what the training had to say, for example why an engine was not used.

    Example:
        >>> import numpy as np
        >>> import chainrule as cr
        >>> model = cr.nn.Linear(1, 1)
        >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), optimizer, seed=0)
        >>> x = np.linspace(0, 1, 8)[:, None]
        >>> run = trainer.fit((x, 2 * x + 1), epochs=3)
        >>> run.history["loss"].shape, run.status
        ((3,), 'finished')
    """

    name: str | None = None
    status: str = "running"
    epochs: int = 0
    steps: int = 0
    seconds: float = 0.0
    seed: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=versions)
    processor: str = field(default_factory=processor)
    history: dict[str, Array] = field(default_factory=dict)
    watched: Watched = field(default_factory=Watched)
    notes: list[str] = field(default_factory=list)
    folder: Path | None = field(default=None, repr=False)
    _id: int | None = field(default=None, repr=False)
    _findings: list[Finding] = field(default_factory=list, repr=False)
    _trees: dict[int, Tree] = field(default_factory=dict, repr=False)  # states by step, in memory
    _source: Source | None = field(default=None, repr=False)  # what it was fitted with

    @property
    def checkpoints(self) -> list[CheckpointRecord]:
        """The checkpoints that are on the disk, the oldest first; none for a record in memory."""
        if self._id is None:
            return []
        with self._store(read_only=True) as store:
            return store.checkpoints(self._id)

    def findings(self) -> list[Finding]:
        """What a diagnosis wrote into this record; see ``chainrule.diagnose``."""
        if self._id is None:
            return list(self._findings)
        with self._store(read_only=True) as store:
            return store.findings(self._id)

    def record_findings(self, findings: Iterable[Finding]) -> None:
        """Write a diagnosis into this record, in the place of an earlier one."""
        self._findings = list(findings)
        if self._id is not None:
            with self._store() as store:
                store.set_findings(self._id, self._findings)

    def state_dict(self, step: int | str | None = None) -> dict[str, Array]:
        """The model's parameters and buffers at a checkpoint: arrays by name.

        Args:
            step: a checkpoint's step; None is the newest; "best" is those that
                :class:`~chainrule.train.EarlyStopping` found best so far.

        Raises:
            KeyError: there is no checkpoint at that step, or nothing kept the best.
        """
        if isinstance(step, str):
            for state in self.state()["callbacks"]:
                if step == "best" and isinstance(state, dict) and state.get("best_weights"):
                    best: dict[str, Array] = state["best_weights"]
                    return best
            raise KeyError(
                f"this run kept no {step!r} weights; fit(..., callbacks=[EarlyStopping()]) does"
            )
        tree = self.state(step)
        model: dict[str, Array] = tree["model"]
        return model

    def state(self, step: int | None = None) -> Tree:
        """All that a checkpoint holds; `step` as in :meth:`state_dict`."""
        if self._trees and (step is None or step in self._trees):
            return self._trees[max(self._trees) if step is None else step]
        records = self.checkpoints
        if step is None:
            found = newest_whole(records)
            if found is not None:
                return found[1]
        for record in records:
            if record.step == step:
                return read_checkpoint(record)
        at = ", ".join(map(str, [*self._trees, *(record.step for record in records)])) or "none"
        raise KeyError(f"there is no checkpoint at step {step}; there are: {at}")

    def at(
        self,
        step: int,
        *,
        trainer: Any = None,
        train: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
    ) -> Moment:
        """The training as it stood after `step` steps, to the bit, and the batch that came next.

        The nearest checkpoint before it is taken up and the steps between are done again, on copies
        and on the engine that did them first. What a callback changed in the model or the optimizer
        is not repeated; that is noticed by the recorded losses and said.

        Args:
            step: steps done; 0 is the beginning.
            trainer: a Trainer made as the run's was; not needed for a run that ``fit`` returned.
            train: the training data, as ``fit`` was given it; needed with `trainer`.
            sample_weight, class_weight: as ``fit`` was given them.

        Raises:
            OptionError: no such step, or a stored run without `trainer` and `train`.
            StoreError: no checkpoint is whole, or trainer and data are not those of the run.

        Example:
            >>> import numpy as np
            >>> import chainrule as cr
            >>> model = cr.nn.Linear(1, 1)
            >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
            >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), optimizer, seed=0)
            >>> x = np.linspace(0, 1, 8)[:, None]
            >>> run = trainer.fit((x, 2 * x + 1), epochs=3, batch_size=4)
            >>> moment = run.at(5)
            >>> moment.epoch, moment.indices.shape, moment.loss.shape
            (2, (4,), (4,))
        """
        source = self._source
        if trainer is not None:
            source = source_of(self, trainer, train, sample_weight, class_weight)
        if source is None:
            raise OptionError(
                "a run that was read from the store knows neither its code nor its data.\n"
                "  fix: run.at(step, trainer=..., train=...), made as for the fit"
            )
        return rebuild(self, source, step)

    def save(self, name: str) -> Run:
        """Put a record that is only in memory into the store, with the state at its end.

        Args:
            name: the name to give it.

        Returns:
            The stored run.

        Raises:
            StoreError: the name is taken, or the store cannot be written.
        """
        with Store() as store:
            run = store.create(
                name, seed=self.seed, config=self.config, versions=self.versions,
                processor=self.processor,
            )  # fmt: skip
            mark = None
            tree = self.state() if self._trees or self._id is not None else None
            if tree is not None:
                mark = write_checkpoint(store, run, tree, epoch=self.epochs, step=self.steps)
            store.append(
                run, 0, self.history, epoch=self.epochs, step=self.steps, seconds=self.seconds,
                checkpoint=mark, watched=self.watched.parts(),
            )  # fmt: skip
            store.set_findings(run, self.findings())
            store.set_status(run, self.status)
            record = store.find(name)
            assert record is not None
            return from_record(store, record)

    def _store(self, *, read_only: bool = False) -> Store:
        assert self.folder is not None
        return Store(self.folder, read_only=read_only)

    def __str__(self) -> str:
        name = repr(self.name) if self.name is not None else "in memory"
        ends = "  ".join(
            f"{key} {series[-1]:.4g}" for key, series in self.history.items() if len(series)
        )
        ends = f"  {ends}" if ends else ""
        return f"run {name}: {self.status}, {self.epochs} epochs, {self.steps} steps{ends}"

    def __repr__(self) -> str:
        return f"<{self}>"


def from_record(store: Store, record: RunRecord) -> Run:
    """The run that a store's record describes."""
    return Run(
        name=record.name,
        status=record.status,
        epochs=record.epoch,
        steps=record.step,
        seconds=record.seconds,
        seed=record.seed,
        config=record.config,
        versions=record.versions,
        processor=record.processor,
        history=store.history(record.id),
        watched=store.watched(record.id),
        folder=store.folder,
        _id=record.id,
    )


def open_run(name: str) -> Run:
    """A stored run by its name.

    Raises:
        StoreError: there is no store here.
        KeyError: there is no run of that name; those that there are are listed.
    """
    with Store(read_only=True) as store:
        record = store.find(name)
        if record is None:
            names = ", ".join(repr(found.name) for found in store.runs()) or "none"
            raise KeyError(f"there is no run {name!r} in {str(store.folder)!r}; there are: {names}")
        return from_record(store, record)


def list_runs() -> list[Run]:
    """All stored runs, the oldest first; none where there is no store yet."""
    if not (store_folder() / DATABASE).exists():
        return []
    with Store(read_only=True) as store:
        return [from_record(store, record) for record in store.runs()]
