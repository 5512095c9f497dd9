"""The run store's SQLite database: opening it safely, and errors that say what to do.

Write-ahead logging lets one process write while others read. Where the file system cannot do it (it
needs shared memory, which network folders lack) a rollback journal is used instead.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import StoreError

SCHEMA_VERSION = 1
WAIT_SECONDS = 30.0  # how long to wait for another process that is writing

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,        -- running, finished, interrupted, failed
    created REAL NOT NULL,       -- seconds since 1970
    updated REAL NOT NULL,
    epoch INTEGER NOT NULL,      -- epochs finished and recorded
    step INTEGER NOT NULL,       -- steps done at the last record
    seconds REAL NOT NULL,       -- spent training, all sittings together
    seed TEXT NOT NULL,          -- a whole number below 2**64
    config TEXT NOT NULL,        -- JSON
    versions TEXT NOT NULL,      -- JSON
    processor TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS metric (
    run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    series TEXT NOT NULL,        -- loss, accuracy, validation_loss, ...
    start INTEGER NOT NULL,      -- epoch of the first number, from 0
    count INTEGER NOT NULL,
    dtype TEXT NOT NULL,
    content BLOB NOT NULL,       -- little-endian numbers
    PRIMARY KEY (run, series, start)
);
CREATE TABLE IF NOT EXISTS checkpoint (
    run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    file TEXT NOT NULL,          -- relative to the store's folder
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (run, step)
);
CREATE TABLE IF NOT EXISTS finding (
    run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    place TEXT NOT NULL,
    evidence TEXT NOT NULL,      -- JSON
    why TEXT NOT NULL,
    remedy TEXT NOT NULL,
    PRIMARY KEY (run, position)
);
"""

# Added to databases that were made before it.
_WATCH = """
CREATE TABLE IF NOT EXISTS watch (
    run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    step INTEGER NOT NULL,       -- of the first look, from 0
    names TEXT NOT NULL,         -- JSON: pairs of what is watched and a statistic
    steps BLOB NOT NULL,         -- little-endian int64
    content BLOB NOT NULL,       -- little-endian float64, (looks, names)
    PRIMARY KEY (run, step)
);
"""

_SALVAGE = (
    "  fix: move the database aside (a new one is made); the weights in the folder 'weights' are\n"
    "  whole safetensors files that chainrule.load reads"
)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the database at `path`, making it when it is new.

    Args:
        path: the database file; its folder exists.
        read_only: never write; works in a folder that cannot be written.

    Returns:
        A connection in explicit-transaction mode: use :func:`transaction` to write.

    Raises:
        StoreError: it is not a database, is damaged, was made by a newer chainrule, or cannot be
            written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     connection = connect(Path(folder, "runs.sqlite3"))
        ...     mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        ...     connection.close()
        >>> mode
        'wal'
    """
    with explained(path):
        connection = _open_read_only(path) if read_only else _open(path)
        try:
            _check_version(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _open(path: Path) -> sqlite3.Connection:
    connection = _configured(sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None))
    try:
        _choose_journal(connection)
        # Rows are written a few times a minute, so each may wait for the disk: after a power cut
        # the record and the checkpoints that it names still agree.
        connection.execute("PRAGMA synchronous=FULL")
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            connection.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
            )
        if not has_table(connection, "watch"):
            connection.execute(_WATCH)
    except BaseException:
        connection.close()
        raise
    return connection


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Whether the database has a table of that name."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (name,)).fetchone() is not None


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Read without writing; in a folder that cannot be written WAL needs `immutable`."""
    for query in ("mode=ro", "mode=ro&immutable=1"):
        address = f"{path.resolve().as_uri()}?{query}"
        connection = sqlite3.connect(address, uri=True, timeout=WAIT_SECONDS, isolation_level=None)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return _configured(connection)
        except sqlite3.OperationalError:
            connection.close()
            if "immutable" in query:
                raise
        except BaseException:
            connection.close()
            raise
    raise AssertionError("unreachable")


def _configured(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _choose_journal(connection: sqlite3.Connection) -> None:
    try:
        mode = _patiently(lambda: connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if "readonly" in str(error) or _is_busy(error):
            raise
        mode = "refused"
    if mode != "wal":
        _patiently(lambda: connection.execute("PRAGMA journal_mode=DELETE").fetchone())


def _patiently(action: Callable[[], Any]) -> Any:
    """Do what SQLite itself does not wait for: changing the journal while others open the file."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _is_busy(error: sqlite3.Error) -> bool:
    return "locked" in str(error) or "busy" in str(error)


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found != SCHEMA_VERSION:
        made_by = "a newer chainrule" if found > SCHEMA_VERSION else "another program"
        raise StoreError(
            f"the run store {path} was made by {made_by}.\n  given: record version {found}\n"
            f"  expected: {SCHEMA_VERSION}\n"
            "  fix: update chainrule, or set CHAINRULE_HOME to another folder"
        )


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """A block of writes that happens whole or not at all; waits for another writer.

    Raises:
        StoreError: the disk is full, the database damaged, or another process writes for longer
            than half a minute; nothing of the block is kept.
    """
    with explained(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            # A full disk makes SQLite roll back by itself.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the database at `path` into ones that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(_explain(error, path)) from error


def _explain(error: sqlite3.Error, path: Path) -> str:
    said = str(error)
    if _is_busy(error):
        return (
            f"the run store {path} is being written by another process (waited "
            f"{WAIT_SECONDS:.0f} s).\n  fix: let it finish, or set CHAINRULE_HOME to another folder"
        )
    if "full" in said:
        return (
            f"the run store {path} cannot grow: the disk is full. What was recorded is kept.\n"
            "  fix: free some space, then fit again with resume=True"
        )
    if "readonly" in said or "unable to open" in said:
        return (
            f"the run store {path} cannot be opened for writing ({said}).\n"
            "  fix: give yourself write permission, set CHAINRULE_HOME to another folder, or use "
            "run=None to keep the record in memory"
        )
    if "not a database" in said or "malformed" in said or "corrupt" in said:
        return f"the run store {path} is damaged ({said}).\n{_SALVAGE}"
    return f"the run store {path} could not be used: {said}.\n{_SALVAGE}"
