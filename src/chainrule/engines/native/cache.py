"""Machine code kept on disk, so that what was compiled once is loaded the next time.

The one thing that chainrule loads and executes. So the folder must belong to the user and be closed
to everybody else, every file holds its checksum, and a name is made of all that the code depends
on: the text it was compiled from, the processor and its features, the version of LLVM.
``CHAINRULE_CACHE`` names another folder; ``CHAINRULE_CACHE=off`` switches the cache off.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from .target import Target

MOST_BYTES = 256 << 20
_PRUNE_EVERY = 512  # files written: looking through the folder takes longer than writing one
_saves = itertools.count()
_FORMAT = b"chainrule machine code 2\n"
_OFF = ("off", "0", "no", "none")


def folder() -> Path | None:
    """The folder of machine code, made where it is missing; None where there is no safe one.

    Example:
        >>> import os
        >>> os.environ["CHAINRULE_CACHE"] = "off"
        >>> folder() is None
        True
    """
    named = os.environ.get("CHAINRULE_CACHE", "")
    if named.lower() in _OFF or not hasattr(os, "getuid"):
        return None
    try:
        place = Path(named) if named else _usual()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = place.lstat()
    except (OSError, RuntimeError):  # no home, or none that can be written
        return None
    own = stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()
    return place if own and not about.st_mode & 0o077 else None


def _usual() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "chainrule" / "machine-code"


def name_of(ir: str, target: Target) -> str:
    """The file name of the machine code of a text on a target."""
    parts = (ir, target.triple, target.cpu, target.features, llvmlite.__version__)
    whole = hashlib.sha256(_FORMAT)
    for part in (*parts, ".".join(map(str, llvm.llvm_version_info))):
        whole.update(part.encode())
        whole.update(b"\0")
    return whole.hexdigest()


def load(name: str) -> bytes | None:
    """The machine code of a name, or None where it is not kept or was damaged."""
    place = folder()
    if place is None:
        return None
    path = place / name
    try:
        content = path.read_bytes()
    except OSError:
        return None
    start = len(_FORMAT)
    check, code = content[start : start + 32], content[start + 32 :]
    if not content.startswith(_FORMAT) or hashlib.sha256(code).digest() != check:
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the least used go first
    return code


def save(name: str, code: bytes) -> None:
    """Keep machine code; a disk that is full or may not be written to is no reason to stop."""
    place = folder()
    if place is None:
        return
    content = _FORMAT + hashlib.sha256(code).digest() + code
    try:
        handle, aside = tempfile.mkstemp(dir=place, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(aside, place / name)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(aside)
            return
        if next(_saves) % _PRUNE_EVERY == 0:
            _prune(place)
    except OSError:
        return


def save_later(name: str, code: bytes) -> None:
    """As :func:`save`, on a thread of its own: nobody waits for the disk."""
    if folder() is not None:
        _writer().submit(save, name, code)


def flush() -> None:
    """Wait until all that was to be kept later is kept."""
    _writer().submit(lambda: None).result()


@functools.cache
def _writer() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="chainrule-cache")


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_writer.cache_clear)


def _prune(place: Path) -> None:
    """Remove what was used longest ago, until the folder is small enough."""
    found = []
    for path in place.iterdir():
        with contextlib.suppress(OSError):
            about = path.stat()
            found.append((about.st_mtime, about.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= MOST_BYTES:
            return
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
