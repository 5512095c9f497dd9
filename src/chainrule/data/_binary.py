"""Reading binary files without trusting what they say about their own size."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from ..errors import DataError

LARGEST_RATIO = 1100
"""Deflate makes data at most 1,032 times smaller, so a file that claims more is damaged."""

_STEP = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Open a file, through gzip when its content is; give the stream and the most it can hold.

    Raises:
        DataError: damaged compression, while it is read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(2) != _GZIP_MAGIC:
            file.seek(0)
            yield file, size
            return
        file.seek(0)
        try:
            with gzip.GzipFile(fileobj=file) as stream:
                yield cast("IO[bytes]", stream), size * LARGEST_RATIO
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{path.name}: the compressed file is damaged or incomplete ({error}).\n"
                "  fix: get the file again"
            ) from None


def read_exactly(stream: IO[bytes], count: int, source: str, what: str) -> bytes:
    """Read `count` bytes, a piece at a time, so that memory follows what is really there.

    Raises:
        DataError: the stream ends before.

    >>> read_exactly(io.BytesIO(b"abcd"), 3, "file", "a word")
    b'abc'
    """
    pieces = io.BytesIO()
    left = count
    while left > 0 and (piece := stream.read(min(left, _STEP))):
        pieces.write(piece)
        left -= len(piece)
    if left > 0:
        raise DataError(
            f"{source}: the file ends too early, in {what}.\n"
            f"  given: {count - left:,} bytes\n  expected: {count:,} bytes\n"
            "  fix: get the file again; it is incomplete"
        )
    return pieces.getvalue()


def check_member(info: zipfile.ZipInfo, archive: int, source: str) -> None:
    """Refuse a member of a zip file of `archive` bytes that claims sizes it cannot have.

    Python's zipfile reads as many bytes as a member claims to have, which may be gigabytes.

    Raises:
        DataError: it does.

    >>> info = zipfile.ZipInfo("x")
    >>> info.compress_size, info.file_size = 10, 10**9
    >>> check_member(info, 1000, "a.zip")
    Traceback (most recent call last):
    chainrule.errors.DataError: a.zip: x claims a size that it cannot have; the file is damaged.
    """
    least = info.file_size / LARGEST_RATIO - 1
    if info.compress_size > archive or info.compress_size < least:
        raise DataError(
            f"{source}: {info.filename} claims a size that it cannot have; the file is damaged."
        )
