"""Examples as arrays of equal length, which training data of every kind is brought to."""

from __future__ import annotations

import functools
import hashlib
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import DType
from ..errors import DataError
from ..io.arrays import Array
from ..tensor import Tensor

_FINGERPRINT_ROWS = 256


@dataclass(frozen=True)
class Examples:
    """Examples as arrays of equal length: the inputs, then the target.

    Attributes:
        arrays: each of shape (examples, ...); the last one is the target.
        rows: int32[count], the rows that belong; None for all of them in order.
    """

    arrays: tuple[Array, ...]
    rows: Array | None = None

    def __len__(self) -> int:
        return len(self.arrays[0]) if self.rows is None else len(self.rows)

    @property
    def in_memory(self) -> bool:
        """Whether `arrays` holds all examples; otherwise it holds one, to show its shape."""
        return True

    def gather(self, indices: Array, ended: threading.Event | None = None) -> tuple[Array, ...]:
        """The arrays' rows at `indices` (numbers of rows in `arrays`).

        Once `ended` is set no further example is begun, and a CancelledError raised.
        """
        return tuple(array[indices] for array in self.arrays)

    def block(self, start: int, stop: int) -> tuple[Array, ...]:
        """The examples from `start` to before `stop`."""
        if self.rows is None:
            return tuple(array[start:stop] for array in self.arrays)
        return self.gather(self.rows[start:stop])

    def fingerprint(self) -> str:
        """A short digest of shapes, dtypes and a spread of rows, to notice that data changed."""
        digest = hashlib.blake2b(digest_size=8)
        count = len(self)
        spread: Any = slice(None)
        if count > _FINGERPRINT_ROWS:
            spread = np.unique(np.linspace(0, count - 1, _FINGERPRINT_ROWS).astype(np.int64))
        chosen = spread if self.rows is None else self.rows[spread]
        for array in self.arrays:
            digest.update(f"{count} {array.shape[1:]} {_text(array.dtype)}".encode())
            digest.update(np.ascontiguousarray(array[chosen]).tobytes())
        return digest.hexdigest()


@functools.cache
def _text(dtype: np.dtype[Any]) -> str:
    """NumPy takes microseconds to write a dtype."""
    return str(dtype)


def as_array(part: Any, floating: DType) -> Array:
    """A column of data as a contiguous array of a dtype that tensors have.

    Raises:
        DataError: it is no numbers.
    """
    array = part.detach().numpy() if isinstance(part, Tensor) else np.asarray(part)
    if array.dtype.kind not in "fiub":
        raise DataError(
            f"data must be numbers.\n  given: {array.dtype}\n"
            "  fix: encode text and categories first, for example with cr.data.read_csv"
        )
    wanted = floating.np if array.dtype.kind == "f" else _whole(array.dtype)
    # ascontiguousarray alone would give a 0-d array an axis.
    return np.ascontiguousarray(array, wanted).reshape(array.shape)


def _whole(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Whole numbers keep their dtype where tensors have it."""
    kept = ("bool", "uint8", "int32", "int64")
    return dtype if dtype.name in kept else np.dtype(np.int64)
