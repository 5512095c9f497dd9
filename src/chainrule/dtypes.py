"""The element types that tensors have, and how they promote (PyTorch's rules).

Example:
    >>> float32, float32.itemsize, float32.is_float
    (chainrule.float32, 4, True)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import DTypeError

_BOOL, _INT, _FLOAT = 0, 1, 2


class DType:
    """One element type; there is exactly one object for each, so compare with ``is`` or ``==``."""

    __slots__ = ("category", "is_float", "is_int", "itemsize", "name", "np")

    def __init__(self, name: str, numpy_type: type[np.generic]) -> None:
        self.name = name
        self.np = np.dtype(numpy_type)
        self.itemsize = self.np.itemsize
        self.is_float = self.np.kind == "f"
        self.is_int = self.np.kind in "iu"
        self.category = _FLOAT if self.is_float else _INT if self.is_int else _BOOL

    @property
    def is_floating_point(self) -> bool:
        """Whether the elements are floating-point numbers (PyTorch's name)."""
        return self.is_float

    def __repr__(self) -> str:
        return f"chainrule.{self.name}"

    def __reduce__(self) -> str:
        return "bool_" if self.name == "bool" else self.name


class TensorType:
    """A constructor of tensors of one dtype, by the name of old scripts (``FloatTensor``)."""

    dtype: DType


float32 = DType("float32", np.float32)
float64 = DType("float64", np.float64)
int32 = DType("int32", np.int32)
int64 = DType("int64", np.int64)
uint8 = DType("uint8", np.uint8)
uint32 = DType("uint32", np.uint32)
bool_ = DType("bool", np.bool_)

ALL = (float32, float64, int32, int64, uint8, uint32, bool_)
_OF_NUMPY = {dtype.np: dtype for dtype in ALL}
_OF_NAME = {dtype.name: dtype for dtype in ALL} | {
    "float": float32,
    "double": float64,
    "int": int32,
    "long": int64,
}
# What a user's array becomes when its own type is none of ours, where that loses nothing.
_WIDER = {
    np.dtype(np.float16): float32,
    np.dtype(np.int8): int32,
    np.dtype(np.int16): int32,
    np.dtype(np.uint16): int32,
}


def of_numpy(numpy_type: Any) -> DType:
    """The DType of a NumPy dtype; narrower types widen to the nearest that loses nothing.

    Raises:
        DTypeError: when no DType holds such values (complex numbers, text, objects).

    Example:
        >>> of_numpy("int16")
        chainrule.int32
    """
    given = np.dtype(numpy_type)
    found = _OF_NUMPY.get(given) or _OF_NUMPY.get(given.newbyteorder("=")) or _WIDER.get(given)
    if found is None:
        names = ", ".join(dtype.name for dtype in ALL)
        raise DTypeError(
            f"a tensor cannot hold NumPy's {given}.\n  given: {given}\n  expected: one of {names}\n"
            "  fix: convert it first, for example array.astype('float32')"
        )
    return found


def as_dtype(given: Any) -> DType:
    """The DType that a user's argument means: a DType, a name, a NumPy dtype or a Python type.

    Raises:
        DTypeError: when it means none.

    Example:
        >>> as_dtype("long"), as_dtype(np.float64), as_dtype(bool)
        (chainrule.int64, chainrule.float64, chainrule.bool)
    """
    if isinstance(given, DType):
        return given
    if isinstance(given, TensorType):
        return given.dtype
    if given is float:
        return float32
    if given is int:
        return int64
    if isinstance(given, str) and given in _OF_NAME:
        return _OF_NAME[given]
    try:
        return of_numpy(given)
    except TypeError as error:
        names = ", ".join(_OF_NAME)
        raise DTypeError(f"{given!r} is no dtype.\n  expected: one of {names}") from error


def promote(dtypes_and_ranks: tuple[tuple[DType, int], ...]) -> DType:
    """The dtype in which operands meet, by PyTorch's rules.

    The highest category (bool, integer, float) wins; inside it, operands with dimensions win over
    0-d ones; then the wider type wins.

    Args:
        dtypes_and_ranks: (dtype, number of dimensions) of each operand.

    Example:
        >>> promote(((float32, 2), (float64, 0)))
        chainrule.float32
        >>> promote(((int64, 1), (float32, 0)))
        chainrule.float32
    """
    top = max(dtype.category for dtype, _ in dtypes_and_ranks)
    same = [(dtype, rank) for dtype, rank in dtypes_and_ranks if dtype.category == top]
    if any(rank for _, rank in same):
        same = [(dtype, rank) for dtype, rank in same if rank]
    result = same[0][0]
    for dtype, _ in same[1:]:
        if dtype is not result:
            result = _OF_NUMPY[np.promote_types(result.np, dtype.np)]
    return result
