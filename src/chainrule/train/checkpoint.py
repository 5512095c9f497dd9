"""Checkpoints: the whole state of a training at one step, in a file that is whole or not there."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..io.files import StorageError, write_bytes
from ..io.trees import decode_tree, encode_tree
from .store import CheckpointRecord, Store

KEPT = 5  # the first checkpoint and the newest ones; what lies between is removed
Tree = dict[str, Any]


class CheckpointWarning(UserWarning):
    """A checkpoint could not be used, and an older one was."""


def write_checkpoint(
    store: Store, run: int, tree: Tree, *, epoch: int, step: int
) -> CheckpointRecord:
    """Write a checkpoint's file; the caller records the row that names it.

    Args:
        store: where.
        run: the run's number.
        tree: dicts, lists, numbers, text and arrays.
        epoch: epochs finished.
        step: steps done.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Store(folder) as store:
        ...     run = store.create("a", seed=0, config={})
        ...     mark = write_checkpoint(store, run, {"lr": 0.5}, epoch=1, step=10)
        ...     mark.path.name, read_checkpoint(mark)
        ('000000000010.safetensors', {'lr': 0.5})
    """
    content = encode_tree(tree)
    path = store.weights_folder(run) / f"{step:012d}.safetensors"
    write_bytes(path, content)
    digest = hashlib.sha256(content).hexdigest()
    return CheckpointRecord(step, epoch, path, digest, len(content), time.time())


def read_checkpoint(record: CheckpointRecord) -> Tree:
    """What :func:`write_checkpoint` wrote, checked against the recorded hash.

    Raises:
        StorageError: the file is missing, cut short or changed.
    """
    name = Path(record.path).name
    try:
        content = record.path.read_bytes()
    except OSError as error:
        raise StorageError(f"checkpoint {name} cannot be read: {error.strerror}") from error
    if len(content) != record.bytes or hashlib.sha256(content).hexdigest() != record.sha256:
        raise StorageError(
            f"checkpoint {name} is not what was written: it has {len(content)} bytes, "
            f"{record.bytes} were recorded, or its content has changed"
        )
    tree: Tree = decode_tree(content, where=str(record.path))
    return tree


def newest_whole(
    checkpoints: list[CheckpointRecord], read: Callable[[CheckpointRecord], Tree] = read_checkpoint
) -> tuple[CheckpointRecord, Tree] | None:
    """The newest checkpoint whose file is whole, and its content; None where there is none at all.

    A damaged one is passed over with a warning that names it.

    Raises:
        StoreError: there are checkpoints and all of them are damaged.
    """
    faults = []
    for record in reversed(checkpoints):
        try:
            tree = read(record)
        except StorageError as error:
            faults.append(str(error))
            continue
        for fault in faults:
            warnings.warn(
                f"{fault}.\n  The one before it is used: step {record.step}.",
                CheckpointWarning,
                stacklevel=4,
            )
        return record, tree
    if faults:
        raise StoreError(
            "no checkpoint of this run can be used.\n  "
            + "\n  ".join(faults)
            + "\n  fix: restore the files from a copy, or start anew under another name"
        )
    return None


def thin_out(store: Store, run: int) -> None:
    """Keep the first checkpoint and the newest ones."""
    records = store.checkpoints(run)
    for record in records[1 : max(1, len(records) - KEPT + 1)]:
        store.drop_checkpoint(run, record.step)
