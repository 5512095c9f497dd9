"""The run store: one folder, with a SQLite database of records and a folder of weights.

A record names only files that are whole: a checkpoint is written, flushed and renamed first, then
the row that names it with its hash is committed together with the metrics up to that moment.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..errors import StoreError
from ..io.arrays import Array
from ..io.files import storage_error
from .database import connect, explained, has_table, transaction
from .findings import Finding
from .lock import exclusive
from .watching import Columns, Watched

DATABASE = "runs.sqlite3"
STATUSES = ("running", "finished", "interrupted", "failed")


def store_folder() -> Path:
    """The folder of the run store: ``$CHAINRULE_HOME``, or ``chainrule-runs`` where you are.

    Example:
        >>> store_folder().name == "chainrule-runs" or "CHAINRULE_HOME" in os.environ
        True
    """
    return Path(os.environ.get("CHAINRULE_HOME") or "chainrule-runs")


@dataclass(frozen=True)
class RunRecord:
    """A run's row: what it was made of and how far it came."""

    id: int
    name: str
    status: str
    created: float
    updated: float
    epoch: int
    step: int
    seconds: float
    seed: int
    config: dict[str, Any]
    versions: dict[str, str]
    processor: str


@dataclass(frozen=True)
class CheckpointRecord:
    """A checkpoint's row; `path` is where its file is."""

    step: int
    epoch: int
    path: Path
    sha256: str
    bytes: int
    created: float


class Store:
    """The records of all runs in one folder; use it in a ``with`` block, or call :meth:`close`.

    Several processes may use one store at once. A run's own training is guarded by :meth:`lock`.

    Args:
        folder: the store's folder; :func:`store_folder` when not given.
        read_only: only look; the folder must exist and nothing in it is written.

    Raises:
        StoreError: the folder cannot be made or written, or the database is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Store(folder) as store:
        ...     run = store.create("first", seed=0, config={"epochs": 2})
        ...     store.append(run, 0, {"loss": np.array([0.5, 0.25])}, epoch=2, step=20, seconds=0.1)
        ...     store.history(run)["loss"].tolist(), [record.name for record in store.runs()]
        ([0.5, 0.25], ['first'])
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, *, read_only: bool = False
    ) -> None:
        self.folder = Path(folder) if folder is not None else store_folder()
        self.path = self.folder / DATABASE
        if read_only:
            if not self.path.exists():
                raise StoreError(
                    f"there is no run store in {str(self.folder)!r}.\n"
                    "  fix: train with fit(..., run='a-name') here, or set CHAINRULE_HOME to the "
                    "folder that has one"
                )
        else:
            _make_folder(self.folder)
        self._connection = connect(self.path, read_only=read_only)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    def lock(self, run: int, name: str) -> AbstractContextManager[None]:
        """Hold the right to train `run` while a block runs; see :func:`lock.exclusive`."""
        return exclusive(self.folder / "locks" / str(run), f"run {name!r}")

    def weights_folder(self, run: int) -> Path:
        """The folder of the run's checkpoint files, made when missing."""
        folder = self.folder / "weights" / str(run)
        _make_folder(folder)
        return folder

    # Runs

    def create(
        self,
        name: str,
        *,
        seed: int,
        config: Mapping[str, Any],
        versions: Mapping[str, str] | None = None,
        processor: str = "",
    ) -> int:
        """Add a run; returns its number.

        Raises:
            StoreError: there is already a run of that name.
        """
        now = time.time()
        row = (
            name, "running", now, now, 0, 0, 0.0, str(seed), json.dumps(config),
            json.dumps(dict(versions or {})), processor,
        )  # fmt: skip
        with transaction(self._connection, self.path) as connection:
            if connection.execute("SELECT 1 FROM run WHERE name = ?", (name,)).fetchone():
                raise StoreError(
                    f"there is already a run {name!r} in {str(self.folder)!r}.\n"
                    f"  fix: fit(..., run={name!r}, resume=True) to go on with it, or choose "
                    "another name"
                )
            cursor = connection.execute(
                "INSERT INTO run (name, status, created, updated, epoch, step, seconds, seed,"
                " config, versions, processor) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def find(self, name: str) -> RunRecord | None:
        """The run of that name, or None."""
        rows = self._rows("SELECT * FROM run WHERE name = ?", name)
        return _run_record(rows[0]) if rows else None

    def runs(self) -> list[RunRecord]:
        """All runs, the oldest first."""
        return [_run_record(row) for row in self._rows("SELECT * FROM run ORDER BY id")]

    def set_status(self, run: int, status: str) -> None:
        """Record that a run is running, finished, interrupted or failed."""
        assert status in STATUSES, status
        with transaction(self._connection, self.path) as connection:
            connection.execute(
                "UPDATE run SET status = ?, updated = ? WHERE id = ?", (status, time.time(), run)
            )

    def set_config(self, run: int, config: Mapping[str, Any]) -> None:
        """Replace the recorded settings of a run."""
        with transaction(self._connection, self.path) as connection:
            connection.execute("UPDATE run SET config = ? WHERE id = ?", (json.dumps(config), run))

    def delete(self, run: int) -> None:
        """Remove a run: its rows, then its files."""
        with transaction(self._connection, self.path) as connection:
            connection.execute("DELETE FROM run WHERE id = ?", (run,))
        shutil.rmtree(self.folder / "weights" / str(run), ignore_errors=True)

    # Metrics

    def append(
        self,
        run: int,
        start: int,
        series: Mapping[str, Array],
        *,
        epoch: int,
        step: int,
        seconds: float,
        checkpoint: CheckpointRecord | None = None,
        watched: Sequence[tuple[Columns, Array, Array]] = (),
    ) -> None:
        """Record one chunk: metrics of epochs from `start` on, progress, and a checkpoint's row.

        Args:
            run: the run's number.
            start: epoch of the first number, from 0.
            series: one number for each epoch, by name.
            epoch: epochs finished so far.
            step: steps done so far.
            seconds: spent training so far.
            checkpoint: the checkpoint that is now whole on the disk, if one is.
            watched: what was watched since the last chunk: names, steps, numbers.
        """
        with transaction(self._connection, self.path) as connection:
            for name, numbers in series.items():
                if len(numbers):
                    content = np.ascontiguousarray(numbers, _little(numbers.dtype))
                    row = (run, name, start, len(numbers), content.dtype.name, content.tobytes())
                    connection.execute("INSERT INTO metric VALUES (?, ?, ?, ?, ?, ?)", row)
            for names, steps, numbers in watched:
                values = steps.astype("<i8").tobytes(), numbers.astype("<f8").tobytes()
                looks = (run, int(steps[0]), json.dumps(names), *values)
                connection.execute("INSERT INTO watch VALUES (?, ?, ?, ?, ?)", looks)
            connection.execute(
                "UPDATE run SET epoch = ?, step = ?, seconds = ?, updated = ? WHERE id = ?",
                (epoch, step, seconds, time.time(), run),
            )
            if checkpoint is not None:
                file = checkpoint.path.relative_to(self.folder).as_posix()
                connection.execute(
                    "INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (run, checkpoint.step, checkpoint.epoch, file, checkpoint.sha256,
                     checkpoint.bytes, checkpoint.created),
                )  # fmt: skip

    def history(self, run: int) -> dict[str, Array]:
        """The recorded metrics: one array for each series, one number for each epoch.

        Epochs in which a series was not measured are NaN.
        """
        chunks: dict[str, list[Array]] = {}
        ends: dict[str, int] = {}
        # In the order of writing: chunks follow on, and series keep the order they were given in.
        query = "SELECT series, start, dtype, content FROM metric WHERE run = ? ORDER BY rowid"
        for name, start, dtype, content in self._rows(query, run):
            numbers = np.frombuffer(content, np.dtype(dtype).newbyteorder("<")).astype(dtype)
            gap = np.full(start - ends.get(name, 0), np.nan)
            chunks.setdefault(name, []).extend([gap, numbers] if len(gap) else [numbers])
            ends[name] = start + len(numbers)
        return {name: np.concatenate(parts) for name, parts in chunks.items()}

    def watched(self, run: int) -> Watched:
        """What the run has watched."""
        found = Watched()
        with explained(self.path):
            if not has_table(self._connection, "watch"):
                return found
        query = "SELECT names, steps, content FROM watch WHERE run = ? ORDER BY step"
        for text, steps, content in self._rows(query, run):
            names = tuple((name, statistic) for name, statistic in json.loads(text))
            numbers = np.frombuffer(content, "<f8").astype(np.float64)
            looks = np.frombuffer(steps, "<i8").astype(np.int64)
            found.add(names, looks, numbers.reshape(len(looks), len(names)))
        return found

    def rewind(self, run: int, *, epoch: int, step: int) -> None:
        """Remove what was recorded after `epoch` epochs and `step` steps: rows, then files."""
        later = self._rows("SELECT file FROM checkpoint WHERE run = ? AND step > ?", run, step)
        with transaction(self._connection, self.path) as connection:
            connection.execute("DELETE FROM metric WHERE run = ? AND start >= ?", (run, epoch))
            connection.execute("DELETE FROM checkpoint WHERE run = ? AND step > ?", (run, step))
            # Looks are written with each checkpoint, so no chunk of them spans one.
            connection.execute("DELETE FROM watch WHERE run = ? AND step >= ?", (run, step))
            connection.execute("DELETE FROM finding WHERE run = ?", (run,))
            connection.execute(
                "UPDATE run SET epoch = ?, step = ? WHERE id = ?", (epoch, step, run)
            )
        for row in later:
            (self.folder / row["file"]).unlink(missing_ok=True)

    # Checkpoints and findings

    def checkpoints(self, run: int) -> list[CheckpointRecord]:
        """The recorded checkpoints of a run, the oldest first."""
        rows = self._rows("SELECT * FROM checkpoint WHERE run = ? ORDER BY step", run)
        return [
            CheckpointRecord(
                row["step"], row["epoch"], self.folder / row["file"], row["sha256"], row["bytes"],
                row["created"],
            )
            for row in rows
        ]  # fmt: skip

    def drop_checkpoint(self, run: int, step: int) -> None:
        """Remove a checkpoint: first the row that names it, then the file."""
        rows = self._rows("SELECT file FROM checkpoint WHERE run = ? AND step = ?", run, step)
        with transaction(self._connection, self.path) as connection:
            connection.execute("DELETE FROM checkpoint WHERE run = ? AND step = ?", (run, step))
        for row in rows:
            (self.folder / row["file"]).unlink(missing_ok=True)

    def sweep(self, run: int) -> int:
        """Remove files of the run that no row names, as a killed process leaves them; how many.

        Call it while holding :meth:`lock`.
        """
        named = {checkpoint.path.name for checkpoint in self.checkpoints(run)}
        strays = [path for path in self.weights_folder(run).iterdir() if path.name not in named]
        for path in strays:
            path.unlink(missing_ok=True)
        return len(strays)

    def set_findings(self, run: int, findings: Iterable[Finding]) -> None:
        """Replace a run's findings."""
        rows = [
            (run, position, found.kind, found.severity, found.where, json.dumps(found.evidence),
             found.why, found.remedy)
            for position, found in enumerate(findings)
        ]  # fmt: skip
        with transaction(self._connection, self.path) as connection:
            connection.execute("DELETE FROM finding WHERE run = ?", (run,))
            connection.executemany("INSERT INTO finding VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def findings(self, run: int) -> list[Finding]:
        """What a diagnosis wrote into the run's record."""
        rows = self._rows("SELECT * FROM finding WHERE run = ? ORDER BY position", run)
        return [
            Finding(
                row["kind"], row["severity"], row["place"], json.loads(row["evidence"]),
                row["why"], row["remedy"],
            )
            for row in rows
        ]  # fmt: skip

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with explained(self.path):
            return self._connection.execute(query, values).fetchall()


def _run_record(row: sqlite3.Row) -> RunRecord:
    fields = dict(row)
    for name in ("config", "versions"):
        fields[name] = json.loads(fields[name])
    fields["seed"] = int(fields["seed"])
    return RunRecord(**fields)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error


def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("<")
