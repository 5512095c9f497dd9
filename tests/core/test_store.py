"""The run store: records that survive other processes, killed processes, damage and full disks."""

from __future__ import annotations

import functools
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from chainrule.errors import StoreError
from chainrule.io import StorageError, sha256, write_bytes
from chainrule.train.environment import differences, processor, versions
from chainrule.train.findings import Finding
from chainrule.train.store import CheckpointRecord, Store, store_folder

Unwritable = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "runs") as opened:
        yield opened


def _checkpoint(store: Store, run: int, *, epoch: int, step: int) -> CheckpointRecord:
    path = store.weights_folder(run) / f"{step}.safetensors"
    write_bytes(path, f"weights at {step}".encode())
    return CheckpointRecord(step, epoch, path, sha256(path), path.stat().st_size, 0.0)


def _integrity(folder: Path) -> str:
    connection = sqlite3.connect(folder / "runs.sqlite3")
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


def test_the_folder_is_the_environment_variable_or_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_HOME", "/somewhere")
    assert store_folder() == Path("/somewhere")
    monkeypatch.delenv("CHAINRULE_HOME")
    assert store_folder() == Path("chainrule-runs")


def test_a_record_comes_back(store: Store) -> None:
    config = {"batch_size": 10, "layers": ["Linear", "ReLU"]}
    run = store.create("a", seed=2**64 - 1, config=config, versions=versions(), processor="x")
    record = store.find("a")
    assert record is not None
    assert (record.id, record.seed, record.config) == (run, 2**64 - 1, config)
    assert (record.versions, record.processor, record.status) == (versions(), "x", "running")
    store.set_status(run, "finished")
    assert [found.status for found in store.runs()] == ["finished"]
    assert store.find("b") is None


def test_a_name_is_taken_once(store: Store) -> None:
    store.create("a", seed=0, config={})
    with pytest.raises(StoreError, match=r"already a run 'a'.*\n.*run='a', resume=True"):
        store.create("a", seed=0, config={})


def test_chunks_join_to_one_history(store: Store) -> None:
    run = store.create("a", seed=0, config={})
    store.append(run, 0, {"loss": np.array([3.0, 2.0])}, epoch=2, step=20, seconds=1.0)
    store.append(run, 2, {"loss": np.array([1.0])}, epoch=3, step=30, seconds=2.0)
    store.append(run, 3, {"loss": np.zeros(0)}, epoch=3, step=33, seconds=2.5)
    np.testing.assert_array_equal(store.history(run)["loss"], [3.0, 2.0, 1.0])
    record = store.find("a")
    assert record is not None
    assert (record.epoch, record.step, record.seconds) == (3, 33, 2.5)


def test_rewinding_removes_what_came_later(store: Store) -> None:
    run = store.create("a", seed=0, config={})
    for epoch in range(3):
        mark = _checkpoint(store, run, epoch=epoch + 1, step=10 * (epoch + 1))
        loss = {"loss": np.array([float(epoch)])}
        store.append(
            run, epoch, loss, epoch=epoch + 1, step=mark.step, seconds=0.0, checkpoint=mark
        )
    store.set_findings(run, [Finding("overfitting", "warning")])
    store.rewind(run, epoch=2, step=20)
    assert [mark.step for mark in store.checkpoints(run)] == [10, 20]
    assert store.history(run)["loss"].tolist() == [0.0, 1.0]
    assert store.findings(run) == []
    assert sorted(os.listdir(store.weights_folder(run))) == ["10.safetensors", "20.safetensors"]


def test_files_that_no_row_names_are_swept(store: Store) -> None:
    run = store.create("a", seed=0, config={})
    mark = _checkpoint(store, run, epoch=1, step=10)
    store.append(run, 0, {}, epoch=1, step=10, seconds=0.0, checkpoint=mark)
    _checkpoint(store, run, epoch=2, step=20)  # killed before the row was written
    (store.weights_folder(run) / ".30.safetensors.77.ab.partial").write_bytes(b"ha")
    assert store.sweep(run) == 2
    assert os.listdir(store.weights_folder(run)) == ["10.safetensors"]


def test_findings_come_back(store: Store) -> None:
    run = store.create("a", seed=0, config={})
    found = Finding("dead-units", "error", "0", {"share": 0.5, "units": [1, 2]}, "why", "remedy")
    store.set_findings(run, [found])
    store.set_findings(run, [found, Finding("overfitting", "info")])
    assert store.findings(run) == [found, Finding("overfitting", "info")]


def test_deleting_removes_rows_and_files(store: Store) -> None:
    run = store.create("a", seed=0, config={})
    mark = _checkpoint(store, run, epoch=1, step=10)
    store.append(run, 0, {"loss": np.ones(1)}, epoch=1, step=10, seconds=0.0, checkpoint=mark)
    store.delete(run)
    assert store.runs() == []
    assert store.history(run) == {}
    assert not mark.path.exists()


def test_a_failed_chunk_leaves_nothing_of_itself(store: Store) -> None:
    run = store.create("a", seed=0, config={})
    store.append(run, 0, {"loss": np.ones(1)}, epoch=1, step=10, seconds=0.0)
    with pytest.raises(StoreError):  # the second series is already recorded for that epoch
        store.append(
            run, 0, {"accuracy": np.ones(1), "loss": np.ones(1)}, epoch=2, step=20, seconds=0.0
        )
    assert list(store.history(run)) == ["loss"]
    record = store.find("a")
    assert record is not None
    assert record.step == 10


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    program = """
        import sys, numpy as np
        from chainrule.train.store import Store
        with Store(sys.argv[1]) as store:
            run = store.create(sys.argv[2], seed=0, config={})
            for epoch in range(40):
                store.append(run, epoch, {"loss": np.array([float(epoch)])}, epoch=epoch + 1,
                             step=epoch + 1, seconds=0.0)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "runs")]
    writers = [subprocess.Popen([*command, name]) for name in ("a", "b")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with Store(tmp_path / "runs", read_only=True) as store:
        for record in store.runs():
            np.testing.assert_array_equal(store.history(record.id)["loss"], np.arange(40.0))
    assert _integrity(tmp_path / "runs") == "ok"


def test_many_open_a_new_store_at_once(tmp_path: Path) -> None:
    faults: list[BaseException] = []

    def use(folder: Path, name: str, together: threading.Barrier) -> None:
        try:
            together.wait()
            with Store(folder) as store:
                store.set_status(store.create(name, seed=0, config={}), "finished")
        except BaseException as error:
            faults.append(error)

    for attempt in range(15):
        together = threading.Barrier(8)
        folder = tmp_path / str(attempt)
        users = [threading.Thread(target=use, args=(folder, str(k), together)) for k in range(8)]
        for user in users:
            user.start()
        for user in users:
            user.join()
        with Store(folder, read_only=True) as store:
            assert len(store.runs()) == 8 - len(faults)
    assert faults == []


def test_one_run_is_trained_by_one_process(store: Store) -> None:
    run = store.create("a", seed=0, config={})
    program = """
        import sys
        from chainrule.train.store import Store
        with Store(sys.argv[1]) as store, store.lock(int(sys.argv[2]), "a"):
            print("held", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(store.folder), str(run)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        said = rf"run 'a' is being trained by another process \(number {holder.pid}\)"
        with pytest.raises(StoreError, match=said), store.lock(run, "a"):
            pass
        holder.kill()
        holder.wait()
    with store.lock(run, "a"):  # a killed process lets go
        pass


def test_reading_needs_no_write_permission(tmp_path: Path, unwritable: Unwritable) -> None:
    folder = tmp_path / "runs"
    with Store(folder) as store:
        run = store.create("a", seed=0, config={})
        store.append(run, 0, {"loss": np.ones(3)}, epoch=3, step=3, seconds=0.0)
    with unwritable(folder):
        with Store(folder, read_only=True) as store:
            assert store.history(run)["loss"].tolist() == [1.0, 1.0, 1.0]
        with pytest.raises((StoreError, StorageError), match=r"cannot be opened for writing"):
            Store(folder)
        with pytest.raises(StorageError, match="the folder is not writable"):
            Store(folder / "inner")


def test_looking_where_there_is_no_store_makes_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no run store in .*\n.*CHAINRULE_HOME"):
        Store(tmp_path / "absent", read_only=True)
    assert not (tmp_path / "absent").exists()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs.sqlite3").write_bytes(b"this is not a database, whatever its name" * 100)
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"is damaged.*\n.*fix: move the database aside"):
            Store(tmp_path, read_only=read_only)


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run = store.create("a", seed=0, config={})
        for epoch in range(200):
            store.append(run, epoch, {"loss": np.ones(200)}, epoch=epoch, step=epoch, seconds=0.0)
    path = tmp_path / "runs.sqlite3"
    content = bytearray(path.read_bytes())
    content[4096 : len(content) - 4096] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"), Store(tmp_path) as store:
        store.history(run)


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    Store(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "runs.sqlite3")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match=r"made by a newer chainrule.*\n.*99"):
        Store(tmp_path)


def test_a_full_disk_says_so_and_keeps_the_record(small_disk: Path) -> None:
    with Store(small_disk) as store:
        run = store.create("a", seed=0, config={})
        kept = 0
        with pytest.raises(StoreError, match=r"the disk is full.*\n.*resume=True"):
            for epoch in range(0, 10**6, 1000):
                store.append(
                    run, epoch, {"loss": np.ones(1000)}, epoch=epoch, step=epoch, seconds=0.0
                )
                kept += 1000
        assert kept > 0
        assert len(store.history(run)["loss"]) == kept
    with Store(small_disk, read_only=True) as store:
        assert len(store.history(run)["loss"]) == kept


def test_where_the_file_system_refuses_wal_a_rollback_journal_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(sqlite3.Connection):
        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            if sql == "PRAGMA journal_mode=WAL":
                raise sqlite3.OperationalError("locking protocol")
            return super().execute(sql, *values)  # type: ignore[arg-type]

    refusing = functools.partial(sqlite3.connect, factory=Refusing)
    monkeypatch.setattr(sqlite3, "connect", refusing)
    with Store(tmp_path) as store:
        run = store.create("a", seed=0, config={})
        store.append(run, 0, {"loss": np.ones(1)}, epoch=1, step=1, seconds=0.0)
        mode = store._connection.execute("PRAGMA journal_mode").fetchone()[0]
    assert mode == "delete"
    assert _integrity(tmp_path) == "ok"


def test_what_changed_since_is_said() -> None:
    assert differences(versions(), processor()) == []
    before = {**versions(), "numpy": "1.0"}
    assert differences(before, "another machine, 2 cores") == [
        f"numpy was 1.0 and is {np.__version__}",
        f"the processor was another machine and is {processor().rpartition(',')[0]}",
    ]
