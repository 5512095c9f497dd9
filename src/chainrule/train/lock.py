"""One training at a time writes one run: a lock that the system lets go of when a process dies."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import StoreError

_UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS})


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file at `path` while the block runs.

    The lock belongs to the open file, so a process that is killed gives it back. Where the file
    system has no locks the block runs without one.

    Args:
        path: the lock file; made when missing, never removed (removing it would race).
        what: what is locked, for the message.

    Raises:
        StoreError: another process holds it; its process number is given.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, exclusive(Path(folder, "a"), "run 'a'"):
        ...     pass
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="ascii") as file:
        if not _take(file):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise StoreError(
                f"{what} is being trained by another process (number {holder}).\n"
                "  fix: wait for it, stop it, or choose another name"
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


if os.name == "nt":  # pragma: no cover (another system)
    import msvcrt

    def _take(file: IO[str]) -> bool:
        try:
            file.seek(1 << 20)  # lock a byte that is never read, so that the number stays readable
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True

else:
    import fcntl

    def _take(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in _UNSUPPORTED
        return True
