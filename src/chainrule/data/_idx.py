"""IDX files, the format of MNIST: a header of axis lengths, then big-endian numbers."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ._binary import opened, read_exactly

_KINDS = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 8


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read an IDX file, plain or compressed with gzip.

    The format: http://yann.lecun.com/exdb/mnist: two zero bytes, the kind of number, the number of
    axes, their lengths as big-endian 32-bit numbers, the numbers.

    Args:
        path: the file.

    Returns:
        An array of the file's shape, in its kind of number and the machine's byte order.

    Raises:
        DataError: it is no IDX file, or holds fewer or more bytes than its header says. The size
            is checked before memory is taken.
        FileNotFoundError: when there is no such file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "labels.idx")
        >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        >>> read_idx(path)
        array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    with opened(path) as (stream, most):
        dtype, shape, _ = read_idx_header(stream, path.name, most)
        count = math.prod(shape) * dtype.itemsize
        content = read_exactly(stream, count, path.name, f"its {shape} numbers")
        if stream.read(1):
            raise DataError(
                f"{path.name}: bytes follow after the {shape} numbers that the header names.\n"
                "  fix: get the file again; it is not the IDX file it says it is"
            )
    # A copy, because what lies on bytes cannot be written.
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def read_idx_header(
    stream: IO[bytes], source: str, most: int
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Read an IDX header: the dtype as stored, the shape, and the header's length in bytes.

    Raises:
        DataError: it is none, or claims more bytes than `most`.
    """
    start = stream.read(4)
    kind = _KINDS.get(start[2]) if len(start) == 4 and start[:2] == b"\0\0" else None
    if kind is None or not 1 <= start[3] <= _MOST_AXES:
        raise DataError(
            f"{source} is not an IDX file.\n  given: it starts with {start.hex(' ') or 'nothing'}\n"
            "  expected: 00 00, the kind of number (08 for bytes), the number of axes"
        )
    axes = start[3]
    most -= 4 + 4 * axes
    lengths = read_exactly(stream, 4 * axes, source, "its header")
    shape = struct.unpack(f">{axes}I", lengths)
    dtype = np.dtype(kind)
    count = math.prod(shape) * dtype.itemsize
    if count > most:
        raise DataError(
            f"{source}: the header says more than the file can hold.\n"
            f"  given: shape {shape}, {count:,} bytes\n"
            f"  expected: at most {most:,} bytes\n  fix: get the file again; it is incomplete"
        )
    return dtype, shape, 4 + 4 * axes
