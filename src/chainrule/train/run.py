"""`Run`: the record of one training, in memory or in the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..io.arrays import Array
from .checkpoint import Tree, newest_whole, read_checkpoint, write_checkpoint
from .environment import processor, versions
from .findings import Finding
from .store import DATABASE, CheckpointRecord, RunRecord, Store, store_folder


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
    notes: list[str] = field(default_factory=list)
    folder: Path | None = field(default=None, repr=False)
    _id: int | None = field(default=None, repr=False)
    _findings: list[Finding] = field(default_factory=list, repr=False)
    _final: Tree | None = field(default=None, repr=False)

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

    def state_dict(self, step: int | None = None) -> dict[str, Array]:
        """The model's parameters and buffers at a checkpoint: arrays by name.

        Args:
            step: a checkpoint's step; None is the newest.

        Raises:
            KeyError: there is no checkpoint at that step.
        """
        tree = self.state(step)
        model: dict[str, Array] = tree["model"]
        return model

    def state(self, step: int | None = None) -> Tree:
        """All that a checkpoint holds; `step` as in :meth:`state_dict`."""
        if self._final is not None and step in (None, self.steps):
            return self._final
        records = self.checkpoints
        if step is None:
            found = newest_whole(records)
            if found is not None:
                return found[1]
        for record in records:
            if record.step == step:
                return read_checkpoint(record)
        at = ", ".join(str(record.step) for record in records) or "none"
        raise KeyError(f"there is no checkpoint at step {step}; there are: {at}")

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
            tree = self._final if self._final is not None or self._id is None else self.state()
            if tree is not None:
                mark = write_checkpoint(store, run, tree, epoch=self.epochs, step=self.steps)
            store.append(
                run, 0, self.history, epoch=self.epochs, step=self.steps, seconds=self.seconds,
                checkpoint=mark,
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
