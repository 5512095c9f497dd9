"""NumPy files, .npy and .npz, read without pickle and without trusting their headers."""

from __future__ import annotations

import io
import math
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ._binary import check_member, read_exactly

Array = npt.NDArray[Any]

_LONGEST_HEADER = 1 << 16

_NOT_NUMPY = (
    "{source} is not a NumPy file ({why}).\n  expected: what numpy.save or numpy.savez writes"
)
_OBJECTS = (
    "{source} holds Python objects, which cannot be read without running code from the file.\n"
    "  fix: save numbers: numpy.save(path, array.astype(float))"
)
_TOO_LARGE = (
    "{source}: the header says more than the file holds.\n"
    "  given: {dtype}, shape {shape}, {count:,} bytes\n  expected: at most {most:,} bytes\n"
    "  fix: get the file again; it is incomplete"
)


def read_npy(path: str | os.PathLike[str], *, memory_map: bool = False) -> Array:
    """Read an array from a .npy file.

    Args:
        path: the file.
        memory_map: give a read-only array whose parts are read when they are used.

    Raises:
        DataError: no such file format, Python objects inside, or fewer bytes than the header says;
            the size is checked before memory is taken.
        FileNotFoundError: when there is no such file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "x.npy")
        >>> np.save(path, np.arange(3.0))
        >>> read_npy(path)
        array([0., 1., 2.])
    """
    path = Path(path)
    with path.open("rb") as stream:
        most = os.fstat(stream.fileno()).st_size
        dtype, shape, order, offset = read_npy_header(stream, path.name, most)
        if memory_map and 0 not in shape:
            return np.memmap(path, dtype, "r", offset, shape, order)
        return _numbers(stream, dtype, shape, order, path.name)


def read_npz(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Read the arrays of a .npz file by their names.

    Raises:
        DataError: as `read_npy`.
        FileNotFoundError: when there is no such file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "xy.npz")
        >>> np.savez(path, x=np.arange(2), y=np.ones(1))
        >>> sorted(read_npz(path))
        ['x', 'y']
    """
    path = Path(path)
    arrays = {}
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                source = f"{info.filename} in {path.name}"
                if not info.filename.endswith(".npy"):
                    raise DataError(_NOT_NUMPY.format(source=source, why="its name"))
                check_member(info, size, path.name)
                with archive.open(info) as stream:
                    dtype, shape, order, _ = read_npy_header(stream, source, info.file_size)
                    array = _numbers(stream, dtype, shape, order, source)
                    stream.read(1)  # at the end the checksum is compared
                arrays[info.filename.removesuffix(".npy")] = array
    except (FileNotFoundError, DataError):
        raise
    except (
        ValueError,  # a name that is no text
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OSError,
    ) as error:
        raise DataError(_NOT_NUMPY.format(source=path.name, why=error)) from None
    return arrays


def read_npy_header(
    stream: IO[bytes], source: str, most: int
) -> tuple[np.dtype[Any], tuple[int, ...], Any, int]:
    """Read a .npy header: dtype, shape, order ("C" or "F") and the header's length in bytes.

    Raises:
        DataError: it is none, holds objects, or claims more bytes than `most`.
    """
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version, header = _header(stream)
        if version not in readers:
            raise ValueError(f"version {version[0]}.{version[1]}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python 2 wrote is read all the same
            shape, fortran, dtype = readers[version](header)
    except (ValueError, TypeError, KeyError, SyntaxError, EOFError, MemoryError) as error:
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise DataError(_NOT_NUMPY.format(source=source, why=reason)) from None
    except (RecursionError, AttributeError, OverflowError, tokenize.TokenError) as error:
        raise DataError(_NOT_NUMPY.format(source=source, why=type(error).__name__)) from None
    if dtype.hasobject:
        raise DataError(_OBJECTS.format(source=source))
    # True counts as a length for NumPy, until it is used.
    if dtype.itemsize == 0 or any(type(length) is not int or length < 0 for length in shape):
        raise DataError(_NOT_NUMPY.format(source=source, why=f"{dtype}, shape {shape}"))
    count = math.prod(shape) * dtype.itemsize
    if count > most - stream.tell() or len(shape) > 64:
        raise DataError(
            _TOO_LARGE.format(source=source, dtype=dtype, shape=shape, count=count, most=most)
        )
    return dtype, shape, "F" if fortran else "C", stream.tell()


def _header(stream: IO[bytes]) -> tuple[tuple[int, int], IO[bytes]]:
    """Give the version and a stream of the header alone.

    NumPy reads as many bytes as the header claims to have, which may be gigabytes.
    """
    version = np.lib.format.read_magic(stream)
    form = "<H" if version == (1, 0) else "<I"
    start = stream.read(struct.calcsize(form))
    length = struct.unpack(form, start)[0] if len(start) == struct.calcsize(form) else 0
    if length > _LONGEST_HEADER:
        raise ValueError(f"a header of {length:,} bytes")
    return version, io.BytesIO(start + stream.read(length))


def _numbers(
    stream: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], order: Any, source: str
) -> Array:
    count = math.prod(shape) * dtype.itemsize
    content = read_exactly(stream, count, source, f"its numbers of shape {shape}")
    flat = np.frombuffer(content, dtype)
    try:
        # A copy, because what lies on bytes cannot be written.
        return flat.reshape(shape, order=order).copy(order="K")
    except ValueError as error:  # an axis of 0 beside one too long for this machine
        raise DataError(_NOT_NUMPY.format(source=source, why=error)) from None
