"""Whole-file writing: a reader sees the old file or the new one, never a part of either.

The order is what makes it true: write a file aside in the same folder, flush it to the disk, rename
it over the target (atomic on POSIX and on Windows), flush the folder so that the new name itself
survives a power cut.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import StoreError

Pathlike = str | os.PathLike[str]

TEMPORARY_SUFFIX = ".partial"
_OUT_OF_SPACE = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
_NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class StorageError(StoreError, OSError):
    """A file could not be written, or read whole; `errno` is set where the system gave one."""


def storage_error(error: OSError, path: Pathlike, *, kept: str = "") -> StorageError:
    """Turn an operating-system error met while writing `path` into one that says what to do.

    Args:
        error: what the system raised.
        path: the file that was being written.
        kept: a sentence that tells what is still safe.

    Returns:
        The error to raise; it keeps `errno`.

    Example:
        >>> full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        >>> print(storage_error(full, "net.safetensors", kept="The old file is unchanged."))
        cannot write net.safetensors: the disk is full, or a size limit was reached.
          The old file is unchanged.
          fix: free some space or write to another folder, then run it again.
    """
    if error.errno in _OUT_OF_SPACE:
        cause = "the disk is full, or a size limit was reached"
        remedy = "free some space or write to another folder"
    elif error.errno in _NOT_WRITABLE:
        cause = "the folder is not writable"
        remedy = "give yourself write permission or choose another folder"
    elif error.errno in (errno.ENOENT, errno.ENOTDIR):
        cause, remedy = f"there is no folder {str(Path(path).parent)!r}", "create it"
    else:
        cause, remedy = error.strerror or str(error), "check the disk and the path"
    lines = (
        f"cannot write {os.fspath(path)}: {cause}.",
        kept,
        f"fix: {remedy}, then run it again.",
    )
    wrapped = StorageError("\n  ".join(line for line in lines if line))
    wrapped.errno = error.errno
    return wrapped


def sync_folder(folder: Pathlike) -> None:
    """Flush a folder's entries to the disk; where the system cannot (Windows), do nothing.

    Example:
        >>> sync_folder(".")
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and user-space file systems refuse to flush a folder; the rename stands.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_write(path: Pathlike) -> Iterator[BinaryIO]:
    """Open a binary file that replaces `path` if the block ends well, and leaves it alone if not.

    A link is followed: the file that it points to is replaced. The file written aside is removed
    whatever happens.

    Args:
        path: the file to replace or create; its folder must exist.

    Raises:
        StorageError: the disk is full, the folder is missing or not writable.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "note.txt")
        ...     with atomic_write(path) as file:
        ...         written = file.write(b"whole")
        ...     path.read_bytes(), sorted(entry.name for entry in Path(folder).iterdir())
        (b'whole', ['note.txt'])
    """
    target = Path(os.path.realpath(path))
    mark = f"{os.getpid()}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    aside = target.with_name(f".{target.name}.{mark}")
    try:
        with open(aside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, target)
    except OSError as error:
        _remove(aside)
        if isinstance(error, StorageError):
            raise
        kept = "The file that was there before is unchanged." if target.exists() else ""
        raise storage_error(error, path, kept=kept) from error
    except BaseException:
        _remove(aside)
        raise
    sync_folder(target.parent)


def write_bytes(path: Pathlike, content: bytes) -> None:
    """Write `content` to `path` whole or not at all; see :func:`atomic_write`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_bytes(Path(folder, "a"), b"abc")
        ...     Path(folder, "a").read_bytes()
        b'abc'
    """
    with atomic_write(path) as file:
        file.write(content)


def remove_leftovers(folder: Pathlike) -> int:
    """Remove files that a killed process left half-written in `folder`; return how many.

    Call it only where no other process is writing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     leftover = Path(folder, ".a.17.0badf00d.partial").write_bytes(b"ha")
        ...     remove_leftovers(folder)
        1
    """
    leftovers = list(Path(folder).glob(f".*{TEMPORARY_SUFFIX}"))
    for leftover in leftovers:
        _remove(leftover)
    return len(leftovers)


def sha256(path: Pathlike) -> str:
    """The SHA-256 of a file's content, in hexadecimal, read a block at a time.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_bytes(Path(folder, "a"), b"abc")
        ...     sha256(Path(folder, "a"))[:16]
        'ba7816bf8f01cfea'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
