"""From example numbers to a batch: whole batches at once where the data set can give them.

A data set may define `batch_reader()`. It returns a function from example numbers (int64[batch]) to
a tuple of arrays, each with the batch as its first axis and with the values that `__getitem__`
gives one by one; or None where its examples have to be made one by one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import numpy.typing as npt

from ..tensor import from_numpy
from ._collate import default_collate
from ._dataset import Subset, as_tensors

Array = npt.NDArray[Any]
BatchReader = Callable[[npt.NDArray[np.int64]], tuple[Array, ...]]


def batch_reader(dataset: Any) -> BatchReader | None:
    """Give the function that reads whole batches of a data set, or None where there is none.

    Subsets are seen through. A subclass that changes `__getitem__` alone is asked one by one.

    >>> import chainrule as cr
    >>> rows = cr.data.TextWindows(np.arange(6), 2)
    >>> batch_reader(cr.data.Subset(rows, [3, 0]))(np.array([0, 1]))[0].tolist()
    [[3, 4], [0, 1]]
    """
    if type(dataset) is Subset:
        below = batch_reader(dataset.dataset)
        if below is None:
            return None
        chosen = np.asarray(dataset.indices, dtype=np.int64)
        return lambda indices: below(chosen[indices])
    if not hasattr(dataset, "batch_reader") or not _reads_as_defined(type(dataset)):
        return None
    reader: BatchReader | None = dataset.batch_reader()
    return reader


def _reads_as_defined(kind: type) -> bool:
    """Say whether `__getitem__` is not changed below the class that reads whole batches."""
    for each in kind.__mro__:
        if "batch_reader" in vars(each):
            return True
        if "__getitem__" in vars(each):
            return False
    return False


def fetcher(
    dataset: Any, collate: Callable[[list[Any]], Any], stop: threading.Event | None = None
) -> Callable[[Sequence[int]], Any]:
    """Give the function that makes a batch of example numbers.

    Args:
        dataset: has `__len__` and `__getitem__`.
        collate: makes a batch of a list of examples.
        stop: once set, no further example is begun; whoever waits gets a CancelledError.

    >>> fetcher([10, 20, 30], default_collate)([2, 0]).tolist()
    [30, 10]
    """
    if collate is default_collate:
        whole = as_tensors(dataset)
        if whole is not None:
            return _rows_of(*whole)
        read = batch_reader(dataset)
        if read is not None:
            return lambda indices: [from_numpy(a) for a in read(np.asarray(indices, np.int64))]
    if stop is None:
        return lambda indices: collate([example(dataset, index) for index in indices])
    ended = stop

    def fetch(indices: Sequence[int]) -> Any:
        examples = []
        for index in indices:
            if ended.is_set():
                raise CancelledError
            examples.append(example(dataset, index))
        return collate(examples)

    return fetch


def _rows_of(tensors: tuple[Any, ...], rows: Array) -> Callable[[Sequence[int]], Any]:
    # Rows of tensors are gathered a batch at a time: the same batch, much sooner.
    arrays = [tensor.detach().numpy() for tensor in tensors]
    return lambda indices: [from_numpy(array[rows[indices]]) for array in arrays]


def example(dataset: Any, index: Any) -> Any:
    """Give one example; an error that its data set raises says which example it was."""
    try:
        return dataset[index]
    except Exception as error:
        error.add_note(f"while fetching example {index} of a {type(dataset).__name__}")
        raise
