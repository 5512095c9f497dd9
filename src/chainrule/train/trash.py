"""Deleting a run so that it can come back: it moves to a store of its own, the trash.

The trash is a store in the folder `trash` of the store. A run is copied whole into the other store
first, records and weights, and only then removed from this one: a process killed in between leaves
it in both, never in none.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..errors import StoreError
from ..io.files import storage_error
from .database import transaction
from .store import DATABASE, RunRecord, Store, store_folder

TRASH = "trash"


def trash_folder() -> Path:
    """The folder of the trash: `trash` in the store's folder.

    Example:
        >>> trash_folder().name
        'trash'
    """
    return store_folder() / TRASH


def trashed_runs() -> list[RunRecord]:
    """The runs that can be restored, the oldest first."""
    if not (trash_folder() / DATABASE).exists():
        return []
    with Store(trash_folder(), read_only=True) as trash:
        return trash.runs()


def delete_run(name: str) -> str:
    """Move a run to the trash; returns its name there.

    Args:
        name: the run's name. Where the trash has that name already, a number is added to it.

    Raises:
        StoreError: there is no such run, it is being trained, or the trash cannot be written.
    """
    with Store() as store, Store(trash_folder()) as trash:
        record = _existing(store, name)
        with store.lock(record.id, name):
            return _move(store, trash, record, _free_name(trash, name))


def restore_run(name: str, new_name: str | None = None) -> str:
    """Bring a run back from the trash; returns its name in the store.

    Args:
        name: its name in the trash.
        new_name: the name to give it; the same one when not given.

    Raises:
        StoreError: the trash has no such run, or the store has one of its name.
    """
    wanted = new_name or name
    with Store() as store, Store(trash_folder()) as trash:
        record = _existing(trash, name)
        if store.find(wanted) is not None:
            raise StoreError(
                f"there is a run {wanted!r} in the store already.\n"
                "  fix: restore it under another name"
            )
        return _move(trash, store, record, wanted)


def _existing(store: Store, name: str) -> RunRecord:
    record = store.find(name)
    if record is None:
        names = ", ".join(repr(found.name) for found in store.runs()) or "none"
        raise StoreError(f"there is no run {name!r} in {str(store.folder)!r}; there are: {names}")
    return record


def _free_name(store: Store, name: str) -> str:
    taken = {record.name for record in store.runs()}
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _move(source: Store, target: Store, record: RunRecord, name: str) -> str:
    """Copy a run into another store, then remove it from this one."""
    rows = {table: _rows(source, table, record.id) for table in _tables(source)}
    with transaction(target._connection, target.path) as connection:
        run = dict(source._rows("SELECT * FROM run WHERE id = ?", record.id)[0])
        del run["id"]
        number = connection.execute(_insert("run", run), [*(run | {"name": name}).values()])
        assert number.lastrowid is not None
        old, new = f"weights/{record.id}/", f"weights/{number.lastrowid}/"
        _copy_files(source.folder / old, target.folder / new)
        for table, entries in rows.items():
            for entry in entries:
                moved = entry | {"run": number.lastrowid}
                if "file" in moved:
                    moved["file"] = str(moved["file"]).replace(old, new, 1)
                connection.execute(_insert(table, moved), [*moved.values()])
    source.delete(record.id)
    return name


def _tables(store: Store) -> list[str]:
    """The tables whose rows belong to a run."""
    names = [
        str(row[0]) for row in store._rows("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    return [
        name
        for name in names
        if any(row["name"] == "run" for row in store._rows(f"PRAGMA table_info({name})"))
    ]


def _rows(store: Store, table: str, run: int) -> list[dict[str, object]]:
    # By rowid: the order of writing is the order of the series.
    found = store._rows(f"SELECT * FROM {table} WHERE run = ? ORDER BY rowid", run)
    return [dict(row) for row in found]


def _insert(table: str, row: dict[str, object]) -> str:
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"


def _copy_files(source: Path, target: Path) -> None:
    """Give the files a second name in `target`; copy them where the file system cannot."""
    if not source.is_dir():
        return
    try:
        shutil.rmtree(target, ignore_errors=True)  # of a process that was killed while it copied
        shutil.copytree(source, target, copy_function=_link)
    except shutil.Error as error:
        raise StoreError(f"the weights in {source} cannot be moved: {error}") from error
    except OSError as error:
        raise storage_error(error, target, kept="The run is where it was.") from error


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
