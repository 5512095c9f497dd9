"""Dictionaries of NumPy arrays in safetensors files: a JSON header that is checked, then numbers.

Nothing in such a file is executed, and its header is checked against the file's size before
anything is allocated. The format: https://huggingface.co/docs/safetensors (8 bytes that hold the
header's length, the JSON header, the data).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from ..errors import DTypeError
from .files import Pathlike, StorageError, write_bytes

Array = np.ndarray[Any, Any]

HEADER_LIMIT = 100_000_000  # the format's own limit; a larger number means something else
_LENGTH_BYTES = 8
_STORED = (
    "bool", "complex64", "float16", "float32", "float64", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip


def encode_arrays(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file.

    Args:
        arrays: arrays of any shape, by name.
        metadata: text to keep beside them.

    Raises:
        DTypeError: an array that the format cannot hold (objects, text, dates).

    Example:
        >>> content = encode_arrays({"w": np.zeros((2, 3), np.float32)}, {"epoch": "4"})
        >>> arrays, metadata = decode_arrays(content)
        >>> arrays["w"].shape, metadata
        ((2, 3), {'epoch': '4'})
    """
    plain = {name: _storable(name, array) for name, array in arrays.items()}
    return safetensors.numpy.save(plain, metadata=dict(metadata) if metadata else None)


def decode_arrays(
    content: bytes, *, where: str = "the content"
) -> tuple[dict[str, Array], dict[str, str]]:
    """Read what :func:`encode_arrays` wrote.

    Args:
        content: the whole file.
        where: how errors name it.

    Returns:
        Writable arrays by name, and the metadata.

    Raises:
        StorageError: the content was cut short or is not safetensors.

    Example:
        >>> decode_arrays(encode_arrays({"w": np.arange(3)}))
        ({'w': array([0, 1, 2])}, {})
    """
    header = _parse_header(content[:_LENGTH_BYTES], content[_LENGTH_BYTES:], len(content), where)
    try:
        arrays = {name: np.array(array) for name, array in safetensors.numpy.load(content).items()}
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise _broken(where, str(error)) from error
    return arrays, _metadata(header)


def write_arrays(
    path: Pathlike, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Write `arrays` to `path` as safetensors, whole or not at all.

    Raises:
        StorageError: full disk, no permission, no folder.
        DTypeError: an array that the format cannot hold.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_arrays(Path(folder, "a.safetensors"), {"w": np.arange(3)})
        ...     read_arrays(Path(folder, "a.safetensors"))[0]["w"]
        array([0, 1, 2])
    """
    write_bytes(path, encode_arrays(arrays, metadata))


def read_arrays(path: Pathlike) -> tuple[dict[str, Array], dict[str, str]]:
    """Read a safetensors file; the header is checked before anything is allocated.

    Returns:
        Writable arrays by name, independent of the file, and the metadata.

    Raises:
        StorageError: the file was cut short or is not safetensors.
        FileNotFoundError: there is no such file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_arrays(Path(folder, "a.safetensors"), {"w": np.ones(2)}, {"by": "me"})
        ...     read_arrays(Path(folder, "a.safetensors"))
        ({'w': array([1., 1.])}, {'by': 'me'})
    """
    path = Path(path)
    header = read_header(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            arrays = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise _broken(str(path), str(error)) from error
    return arrays, _metadata(header)


def read_header(path: Pathlike) -> dict[str, Any]:
    """The checked JSON header of a safetensors file, without reading its numbers.

    Raises:
        StorageError: the file was cut short or is not safetensors.
        FileNotFoundError: there is no such file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_arrays(Path(folder, "a.safetensors"), {"w": np.zeros((2, 3))})
        ...     read_header(Path(folder, "a.safetensors"))["w"]["shape"]
        [2, 3]
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            prefix = file.read(_LENGTH_BYTES)
            length = min(int.from_bytes(prefix, "little"), HEADER_LIMIT, size)
            return _parse_header(prefix, file.read(length), size, str(path))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no file {str(path)!r}.\n  looked in: {Path.cwd()}"
        ) from None
    except IsADirectoryError:
        raise StorageError(
            f"{path} is a folder.\n  fix: give the path of a safetensors file in it"
        ) from None


def _parse_header(prefix: bytes, rest: bytes, size: int, where: str) -> dict[str, Any]:
    """Check length, JSON and extents: what the header promises must be what the file holds."""
    length = int.from_bytes(prefix, "little")
    if len(prefix) < _LENGTH_BYTES or length > HEADER_LIMIT or _LENGTH_BYTES + length > size:
        raise _broken(where, f"it has {size} bytes and claims a header of {length}")
    try:
        header = dict(json.loads(rest[:length]))
        ends = [
            entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"
        ]
        expected = _LENGTH_BYTES + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise _broken(where, "its header is not the JSON that the format asks for") from error
    if expected != size:
        raise _broken(where, f"its header describes {expected} bytes and it has {size}")
    return header


def _broken(where: str, detail: str) -> StorageError:
    return StorageError(
        f"{where} is not a whole safetensors file: {detail}.\n"
        "  It was cut short, was changed, or is another format.\n"
        "  fix: write it again, or use an earlier copy"
    )


def _metadata(header: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(text) for key, text in (header.get("__metadata__") or {}).items()}


def _storable(name: str, array: Array) -> Array:
    array = np.asarray(array)
    if array.dtype.name not in _STORED:
        raise DTypeError(
            f"safetensors cannot hold {name!r}.\n  given: an array of {array.dtype}\n"
            f"  expected: one of {', '.join(_STORED)}\n"
            "  fix: convert it to numbers first, for example array.astype('float32')"
        )
    order = array.dtype.byteorder
    if order == ">" or (order == "=" and sys.byteorder == "big"):
        array = array.astype(array.dtype.newbyteorder("<"))
    # ascontiguousarray turns a 0-d array into a 1-d one; reshape gives the shape back.
    return np.ascontiguousarray(array).reshape(array.shape)
