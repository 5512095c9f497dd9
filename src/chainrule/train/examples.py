"""Training data as whole arrays, and the order in which a training walks through them.

The shuffle is a function of the seed and of how many random blocks came before, so any epoch's
order can be made alone: by a resumed run, or for many epochs at once when an epoch is a few rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
    fetcher,
)
from ..data import as_tensors as rows_of_tensors
from ..dtypes import DType, float32
from ..errors import DataError, OptionError, ShapeError
from ..io.arrays import Array
from ..random import blocks_of, permutations
from ..tensor import Tensor
from .columns import Examples as Examples
from .columns import as_array as as_array
from .streamed import streamed

_EXPECTED = (
    "  expected: a pair (x, y) of arrays or tensors, a Dataset of such pairs, or a DataLoader"
)


@dataclass(frozen=True)
class Computed(Examples):
    """Examples that a data set computes one by one: only a batch of them is in memory.

    Attributes:
        dataset: has ``__len__`` and ``__getitem__``.
        collate: makes a batch of a list of examples.
        floating: the dtype that floating-point data is brought to.
    """

    dataset: Any = None
    collate: Callable[[list[Any]], Any] = default_collate
    floating: DType = float32

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def in_memory(self) -> bool:
        """False: `arrays` holds one example, to show its shape."""
        return False

    def gather(self, indices: Array, ended: threading.Event | None = None) -> tuple[Array, ...]:
        """The examples of these numbers, computed now."""
        parts = fetcher(self.dataset, self.collate, ended)(indices.tolist())
        return tuple(as_array(part, self.floating) for part in parts)

    def block(self, start: int, stop: int) -> tuple[Array, ...]:
        """The examples from `start` to before `stop`, computed now."""
        return self.gather(np.arange(start, min(stop, len(self))))

    def fingerprint(self) -> str:
        """The data set's kind, length and shapes: its content may be different each time."""
        shapes = [(array.shape[1:], array.dtype.name) for array in self.arrays]
        return f"{type(self.dataset).__name__} {len(self)} {shapes}"


@dataclass(frozen=True)
class Batching:
    """How an epoch is cut into steps.

    Attributes:
        count: examples there are.
        size: examples in a full batch.
        shuffle: a new random order each epoch.
        drop_last: leave out a last batch that is not full.
    """

    count: int
    size: int
    shuffle: bool = True
    drop_last: bool = False

    @property
    def used(self) -> int:
        """Examples visited in an epoch."""
        return self.count - self.count % self.size if self.drop_last else self.count

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return -(-self.used // self.size)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that occur: the full one, and the remainder where there is one."""
        rest = self.used % self.size
        full = (self.size,) if self.used >= self.size else ()
        return full + ((rest,) if rest else ())

    def rows_of_step(self) -> Array:
        """int64[steps]: examples in each step of an epoch."""
        rows = np.full(self.steps, self.size, np.int64)
        if self.used % self.size:
            rows[-1] = self.used % self.size
        return rows

    def variant_of_step(self) -> Array:
        """int32[steps]: which of `sizes` each step of an epoch has."""
        variants = np.zeros(self.steps, np.int32)
        variants[-1] = len(self.sizes) - 1
        return variants

    @property
    def blocks(self) -> int:
        """Random blocks that one epoch's shuffle takes."""
        # A batch that holds every example is the same set in any order.
        return blocks_of(self.count) if self.shuffle and self.steps > 1 else 0

    def orders(self, key: Array, counter: int, epochs: int, rows: Array | None) -> Array:
        """The rows visited in each of the next epochs.

        Args:
            key: uint32[2], the shuffle's random stream.
            counter: the stream's next block.
            epochs: how many epochs.
            rows: int32[count], the rows that belong; None for all.

        Returns:
            int32[epochs, used].

        Example:
            >>> from chainrule.random import stream_key
            >>> batching = Batching(5, 2)
            >>> both = batching.orders(stream_key(0, "shuffle"), 0, 2, None)
            >>> second = batching.orders(stream_key(0, "shuffle"), batching.blocks, 1, None)
            >>> bool((both[1] == second[0]).all()), sorted(both[0].tolist())
            (True, [0, 1, 2, 3, 4])
        """
        if self.blocks:
            order = permutations(key, counter, self.count, epochs)[:, : self.used]
        else:
            order = np.arange(self.used, dtype=np.int32)[None]
            order = order if epochs == 1 else np.broadcast_to(order, (epochs, self.used))
        return order if rows is None else rows[order]


def read_examples(
    data: Any, batch_size: int | None, shuffle: bool | None, floating: DType
) -> tuple[Examples, Batching]:
    """What the user gave as training data, as arrays and their batching.

    Args:
        data: a pair (x, y), or (x1, x2, ..., y); a data set of such pairs; a DataLoader.
        batch_size: examples in a batch; None is the loader's, or 32.
        shuffle: None is the loader's, or True.
        floating: the dtype that floating-point data is brought to: that of the parameters.

    Raises:
        DataError: data of another kind, or without examples.
        ShapeError: inputs and targets of different length.
        OptionError: a batch size below 1, or one that differs from the loader's.

    Example:
        >>> from chainrule import float32
        >>> examples, batching = read_examples((np.zeros((5, 2)), np.arange(5)), 2, None, float32)
        >>> len(examples), batching.sizes, examples.arrays[0].dtype
        (5, (2, 1), dtype('float32'))
    """
    drop_last = False
    collate: Callable[[list[Any]], Any] = default_collate
    if isinstance(data, DataLoader):
        if isinstance(data.dataset, IterableDataset) and data.batch_size is not None:
            batch_size, shuffle = _settled(data, batch_size, shuffle)
        else:
            batch_size, shuffle = _loader_settings(data, batch_size, shuffle)
        drop_last, collate, data = data.drop_last, data.collate_fn, data.dataset
    found = rows_of_tensors(data) if collate is default_collate else None
    if isinstance(data, IterableDataset):
        examples: Examples = streamed(data, collate, floating, shuffle)
        shuffle = False
    elif found is not None:
        tensors, rows = found
        examples = _examples(tensors, floating, rows)
    elif isinstance(data, tuple) and len(data) >= 2:
        # A tuple is columns; a list is examples.
        examples = _examples(data, floating, None)
    else:
        examples = _computed(data, collate, floating)
    size = 32 if batch_size is None else batch_size
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise OptionError(f"batch_size must be a whole number of 1 or more.\n  given: {size!r}")
    batching = Batching(len(examples), int(size), shuffle is not False, drop_last)
    if batching.used == 0:
        raise DataError(
            f"there is nothing to train on: {len(examples)} examples make no batch of {size}"
            f"{' with drop_last=True' if drop_last else ''}.\n  fix: give at least one full batch"
        )
    return examples, batching


def _computed(data: Any, collate: Callable[[list[Any]], Any], floating: DType) -> Examples:
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")) or _is_array(data):
        raise DataError(
            f"training data of this kind is not supported.\n  given: {type(data).__name__}\n"
            f"{_EXPECTED}\n  fix: give inputs and targets together: fit((x, y))"
        )
    if not len(data):
        raise DataError("there is nothing to train on: the data set is empty")
    first = collate([data[0]])
    if not isinstance(first, (tuple, list)) or len(first) < 2:
        raise DataError(
            f"an example must be inputs and a target.\n  given: {type(data[0]).__name__}\n"
            "  fix: return (x, y) from the data set's __getitem__; whole arrays are given as a "
            "tuple, fit((x, y))"
        )
    arrays = tuple(as_array(part, floating) for part in first)
    return Computed(arrays, dataset=data, collate=collate, floating=floating)


def _is_array(data: Any) -> bool:
    return isinstance(data, (Tensor, np.ndarray, str, bytes, dict))


def _loader_settings(
    loader: DataLoader, batch_size: int | None, shuffle: bool | None
) -> tuple[int, bool]:
    own_order = type(loader.sampler) not in (RandomSampler, SequentialSampler) or getattr(
        loader.sampler, "replacement", False
    )
    if own_order or loader.batch_size is None:
        raise OptionError(
            "the Trainer takes a DataLoader's batch_size, shuffle, drop_last and collate_fn; this "
            "one has its own sampler or batches.\n"
            "  fix: give its data set, or write the loop over the loader yourself"
        )
    return _settled(loader, batch_size, shuffle)


def _settled(loader: DataLoader, batch_size: int | None, shuffle: bool | None) -> tuple[int, bool]:
    """The loader's batch size and shuffle, unless fit was given others."""
    for name, asked, own in (
        ("batch_size", batch_size, loader.batch_size),
        ("shuffle", shuffle, loader.shuffle),
    ):
        if asked is not None and asked != own:
            raise OptionError(
                f"fit was given a DataLoader and another {name}.\n"
                f"  given: {name}={asked} and a loader with {name}={own}\n"
                f"  fix: leave out {name}, or set it in the loader"
            )
    assert loader.batch_size is not None
    return loader.batch_size, loader.shuffle


def _examples(parts: Sequence[Any], floating: DType, rows: Array | None) -> Examples:
    arrays = tuple(as_array(part, floating) for part in parts)
    shapes = ", ".join(str(array.shape) for array in arrays)
    if any(array.ndim == 0 for array in arrays):
        raise ShapeError(
            f"data must have one row for each example.\n  given: shapes {shapes}\n"
            "  expected: (examples, ...)"
        )
    if len({len(array) for array in arrays}) > 1:
        raise ShapeError(
            "inputs and targets have different numbers of examples.\n"
            f"  given: shapes {shapes}\n  expected: the same first length in all of them"
        )
    if len(arrays[0]) >= 2**31:
        raise DataError(f"at most 2**31 - 1 examples fit; given: {len(arrays[0])}")
    if rows is not None:
        whole = len(rows) == len(arrays[0]) and bool((np.diff(rows) == 1).all())
        rows = None if whole else rows.astype(np.int32)
    return Examples(arrays, rows)
