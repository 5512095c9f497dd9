"""How examples become a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..dtypes import bool_, float64, int64
from ..errors import DataError, ShapeError
from ..tensor import Tensor, from_numpy, tensor

UNEQUAL_SHAPES = (
    "a batch cannot be made: its examples have different shapes.\n"
    "  given: example 0 has {first}, example {position} has {other}\n"
    "  fix: make them equal in the data set (pad or crop), or pass collate_fn= to the DataLoader"
)
UNKNOWN_KIND = (
    "a batch cannot be made of examples of type {given}.\n"
    "  expected: tensors, arrays, numbers, text, or tuples, lists and dicts of them\n"
    "  fix: convert in the data set's __getitem__ ({hint}), or pass collate_fn= to the DataLoader"
)


def default_collate(batch: Sequence[Any]) -> Any:
    """Put examples together: tensors stack on a new first axis, structures keep their form.

    Args:
        batch: examples of one structure. Tensors and arrays of shape (...) give a tensor
            (len(batch), ...); floats a float64 tensor, whole numbers an int64 one; text a list;
            tuples and lists a list of batches; dicts a dict of batches.

    Raises:
        ShapeError: when the examples' shapes differ.
        DataError: when a kind of value has no batch.

    >>> import chainrule as cr
    >>> x, y = default_collate([(cr.zeros(3), 0), (cr.zeros(3), 1)])
    >>> tuple(x.shape), y.tolist()
    ((2, 3), [0, 1])
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _stack([example.detach().numpy() for example in batch])
    if isinstance(first, np.ndarray | np.generic):
        return _stack([np.asarray(example) for example in batch])
    if isinstance(first, float):
        return tensor(list(batch), dtype=float64)
    if isinstance(first, int):
        return tensor(list(batch), dtype=bool_ if isinstance(first, bool) else int64)
    if isinstance(first, str | bytes):
        return list(batch)
    if isinstance(first, Mapping):
        return {key: default_collate([example[key] for example in batch]) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*map(default_collate, zip(*batch, strict=True)))
    if isinstance(first, tuple | list):
        return _columns(batch)
    image = hasattr(first, "getbands")
    hint = "an image by transform=transforms.ToTensor()" if image else "to an array or a number"
    raise DataError(UNKNOWN_KIND.format(given=type(first).__name__, hint=hint))


def _stack(arrays: list[np.ndarray[Any, Any]]) -> Tensor:
    for position, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            raise ShapeError(
                UNEQUAL_SHAPES.format(first=arrays[0].shape, position=position, other=array.shape)
            )
    return from_numpy(np.stack(arrays))


def _columns(batch: Sequence[Sequence[Any]]) -> list[Any]:
    lengths = {len(example) for example in batch}
    if len(lengths) > 1:
        raise DataError(
            "a batch cannot be made: its examples have different numbers of parts: "
            f"{sorted(lengths)}.\n  fix: return the same parts for every example"
        )
    return [default_collate(column) for column in zip(*batch, strict=True)]
