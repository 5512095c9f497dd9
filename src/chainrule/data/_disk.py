"""Arrays on disk as a data set: rows are read when they are asked for, and nothing is kept."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..tensor import from_numpy
from ._dataset import Dataset
from ._fetch import BatchReader
from ._idx import read_idx_header
from ._npy import read_npy_header
from .transforms import Transform, for_batches

Array = npt.NDArray[Any]

_KEPT = ("bool", "uint8", "int32", "int64", "float32", "float64")
_COMPRESSED = (
    "{path} is compressed, so its rows cannot be read one by one.\n"
    "  fix: unpack it, or read it whole with read_idx"
)
_NO_ROWS = "{path}: an array of shape {shape} has no rows.\n  expected: one or more axes"
_FORTRAN = (
    "{path} is stored column by column, so its rows lie all over the file.\n"
    "  fix: numpy.save(path, numpy.ascontiguousarray(array))"
)
_NOT_NUMBERS = "{path} holds {dtype}, not numbers."
_UNEQUAL = (
    "ArrayFiles: the files hold different numbers of examples (their first axis).\n"
    "  given: {shapes}"
)


class ArrayFile:
    """The rows of one .npy or IDX file, read by number.

    Args:
        path: the file.

    Attributes:
        shape: of the whole array.
        dtype: of the rows as they are given; kinds of number that tensors do not have are widened.

    Raises:
        DataError: neither kind of file, a damaged or compressed one, one stored column by column.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "x.npy")
        >>> np.save(path, np.arange(6.0).reshape(3, 2))
        >>> rows = ArrayFile(path)
        >>> rows.shape, rows.read(np.array([2, 0])).tolist()
        ((3, 2), [[4.0, 5.0], [0.0, 1.0]])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        stored, self.shape, self._offset = _header(self.path)
        if not self.shape:
            raise DataError(_NO_ROWS.format(path=self.path.name, shape=self.shape))
        if stored.kind not in "fiub":
            raise DataError(_NOT_NUMBERS.format(path=self.path.name, dtype=stored))
        self._stored = stored
        self.dtype = _widened(stored)
        self._row_bytes = math.prod(self.shape[1:]) * stored.itemsize
        self._file = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._file)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, indices: npt.NDArray[np.int64]) -> Array:
        """Read rows: shape (len(indices), ...).

        Raises:
            DataError: the file has become shorter.
            IndexError: a row that does not exist.
        """
        count = len(self)
        rows = np.where(indices < 0, indices + count, indices)
        if len(rows) and not (rows.min() >= 0 and rows.max() < count):
            raise IndexError(f"{self.path.name} has rows 0 to {count - 1}; asked for {indices}")
        result = np.empty((len(rows), *self.shape[1:]), self._stored)
        if result.size:
            flat: Any = result.reshape(len(rows), -1).view(np.uint8)
            target = memoryview(flat)
            # Rows that follow each other are read at once.
            breaks = np.flatnonzero(np.diff(rows) != 1) + 1
            for first, last in zip(
                [0, *breaks.tolist()], [*breaks.tolist(), len(rows)], strict=True
            ):
                self._read_into(target[first:last], int(rows[first]))
        return result.astype(self.dtype, copy=False)

    def _read_into(self, target: memoryview, row: int) -> None:
        place = self._offset + row * self._row_bytes
        flat = target.cast("B", (target.nbytes,)) if target.ndim > 1 else target
        done = 0
        while done < flat.nbytes:
            got = self._read_at(flat[done:], place + done)
            if not got:
                raise DataError(f"{self.path.name} has become shorter while it was read.")
            done += got

    def _read_at(self, target: memoryview, place: int) -> int:
        # Reading leaves no pages in this process, as a memory map would: memory stays constant.
        if hasattr(os, "preadv"):
            return os.preadv(self._file, [target], place)
        with self._lock:
            os.lseek(self._file, place, os.SEEK_SET)
            content = os.read(self._file, target.nbytes)
        target[: len(content)] = content
        return len(content)


class ArrayFiles(Dataset):
    """Examples that are rows of files: example i is the tuple of every file's row i.

    For data larger than memory. A batch is read when it is asked for; a `Trainer` reads some
    megabytes at a time.

    Args:
        *paths: .npy or (uncompressed) IDX files whose first axes have the same length.
        transform: applied to the rows of the first file, as arrays; see `transforms`.

    Raises:
        DataError: files that cannot be read so, or that have different lengths.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> np.save(folder / "x.npy", np.eye(3, dtype=np.float32))
        >>> np.save(folder / "y.npy", np.arange(3))
        >>> data = ArrayFiles(folder / "x.npy", folder / "y.npy")
        >>> x, y = data[1]
        >>> len(data), x.tolist(), y.item()
        (3, [0.0, 1.0, 0.0], 1)
    """

    def __init__(self, *paths: str | os.PathLike[str], transform: Transform | None = None) -> None:
        if not paths:
            raise DataError("ArrayFiles takes one or more files; none was given")
        self.files = [ArrayFile(path) for path in paths]
        self.transform = transform
        if len({len(file) for file in self.files}) > 1:
            shapes = ", ".join(f"{file.path.name} {file.shape}" for file in self.files)
            raise DataError(_UNEQUAL.format(shapes=shapes))

    def __len__(self) -> int:
        return len(self.files[0])

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Give one example: a tensor from each file."""
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"example {index} does not exist: there are {len(self)}")
        first, *others = (file.read(np.array([place]))[0] for file in self.files)
        changed = self.transform(first) if self.transform else from_numpy(np.asarray(first))
        return changed, *(from_numpy(np.asarray(each)) for each in others)

    def batch_reader(self) -> BatchReader | None:
        """Give the function that reads whole batches, where the transform allows it."""
        change: Callable[[Array], Array] | None = for_batches(self.transform)
        images = self.transform is None or (
            self.files[0].dtype == np.uint8 and len(self.files[0].shape) in (3, 4)
        )
        if change is None or not images:
            return None
        known = change

        def read(indices: npt.NDArray[np.int64]) -> tuple[Array, ...]:
            first, *others = (file.read(indices) for file in self.files)
            return known(first), *others

        return read


def _header(path: Path) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Give the stored dtype, the shape and where the numbers start."""
    with path.open("rb") as stream:
        most = os.fstat(stream.fileno()).st_size
        start = stream.read(6)
        stream.seek(0)
        if start[:2] == b"\x1f\x8b":
            raise DataError(_COMPRESSED.format(path=path.name))
        if start == b"\x93NUMPY":
            dtype, shape, order, offset = read_npy_header(stream, path.name, most)
            if order == "F" and len(shape) > 1:
                raise DataError(_FORTRAN.format(path=path.name))
        else:
            dtype, shape, offset = read_idx_header(stream, path.name, most)
    return dtype, shape, offset


def _widened(dtype: np.dtype[Any]) -> np.dtype[Any]:
    native = dtype.newbyteorder("=")
    if native.name in _KEPT:
        return native
    return np.dtype(
        np.float32
        if dtype.kind == "f" and dtype.itemsize < 4
        else np.float64
        if dtype.kind == "f"
        else np.int64
    )
