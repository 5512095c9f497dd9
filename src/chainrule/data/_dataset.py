"""Data sets: things with a length whose examples are fetched by number."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import DataError, ShapeError
from ..tensor import Tensor

UNEQUAL_LENGTHS = (
    "TensorDataset: the tensors hold different numbers of examples (their first axis).\n"
    "  given: {shapes}\n"
    "  fix: give tensors whose first axes are equal; a transposed table is the usual reason"
)
NOT_TENSORS = (
    "TensorDataset takes tensors; argument {position} is a {given}.\n"
    "  fix: cr.tensor(value) or cr.from_numpy(array)"
)


class Dataset:
    """Base of data sets: subclasses define `__len__` and `__getitem__`.

    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, index):
    ...         return index, index ** 2
    >>> Squares()[3]
    (3, 9)
    """

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(
            f"{type(self).__name__} has no __getitem__.\n"
            "  fix: define `def __getitem__(self, index)` that returns one example"
        )

    def __len__(self) -> int:
        # Python asks iterables for a length hint and takes a TypeError for "unknown".
        raise TypeError(
            f"{type(self).__name__} has no __len__.\n"
            "  fix: define `def __len__(self)` that returns the number of examples"
        )

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Base of data sets that are only walked through, such as a stream: define `__iter__`.

    >>> class Count(IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(3))
    >>> list(Count())
    [0, 1, 2]
    """

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(
            f"{type(self).__name__} has no __iter__.\n"
            "  fix: define `def __iter__(self)` that yields examples"
        )


class TensorDataset(Dataset):
    """Examples that are rows of tensors: example i is the tuple of every tensor's row i.

    Args:
        *tensors: one or more tensors whose first axes have the same length.

    Raises:
        ShapeError: when the lengths differ.

    >>> import chainrule as cr
    >>> pairs = TensorDataset(cr.tensor([[1.0], [2.0]]), cr.tensor([0, 1]))
    >>> len(pairs), pairs[1][1].item()
    (2, 1)
    """

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise DataError("TensorDataset takes one or more tensors; none was given")
        for position, tensor in enumerate(tensors):
            if not isinstance(tensor, Tensor):
                given = type(tensor).__name__
                raise DataError(NOT_TENSORS.format(position=position, given=given))
            if tensor.ndim == 0:
                raise ShapeError("TensorDataset: a 0-d tensor has no examples")
        if len({tensor.shape[0] for tensor in tensors}) > 1:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
            raise ShapeError(UNEQUAL_LENGTHS.format(shapes=shapes))
        self.tensors: tuple[Tensor, ...] = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])


class Subset(Dataset):
    """Some examples of another data set.

    Args:
        dataset: the whole.
        indices: the numbers of the examples, in the order wanted.

    >>> few = Subset([10, 20, 30, 40], [3, 0])
    >>> list(few)
    [40, 10]
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset):
    """Data sets put one after the other; `first + second` makes one.

    Args:
        datasets: one or more data sets.

    >>> list(ConcatDataset([[1, 2], [3]]))
    [1, 2, 3]
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise DataError("ConcatDataset takes one or more data sets; none was given")
        self.ends = list(itertools.accumulate(len(dataset) for dataset in self.datasets))

    def __getitem__(self, index: int) -> Any:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"example {index} does not exist: there are {len(self)}")
        which = bisect.bisect_right(self.ends, place)
        return self.datasets[which][place - (self.ends[which - 1] if which else 0)]

    def __len__(self) -> int:
        return self.ends[-1]


def as_tensors(dataset: Any) -> tuple[tuple[Tensor, ...], np.ndarray[Any, Any]] | None:
    """See through subsets to whole tensors: `(tensors, indices)`, or None where there are none.

    A data set that is rows of tensors can be gathered a batch at a time, or handed to an engine
    whole; `indices` (int64) says which rows it consists of.

    >>> import chainrule as cr
    >>> whole = TensorDataset(cr.arange(4))
    >>> tensors, indices = as_tensors(Subset(Subset(whole, [3, 2, 1]), [0, 2]))
    >>> indices.tolist()
    [3, 1]
    """
    chosen: np.ndarray[Any, Any] | None = None
    while type(dataset) is Subset:
        below = np.asarray(dataset.indices, dtype=np.int64)
        chosen = below if chosen is None else below[chosen]
        dataset = dataset.dataset
    plain = TensorDataset.__getitem__
    if not isinstance(dataset, TensorDataset) or type(dataset).__getitem__ is not plain:
        return None
    if chosen is None:
        chosen = np.arange(len(dataset), dtype=np.int64)
    return dataset.tensors, chosen
