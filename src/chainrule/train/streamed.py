"""Training data that only comes in order: each epoch walks through the stream anew."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data import IterableDataset, default_collate
from ..dtypes import DType
from ..errors import DataError, OptionError
from ..io.arrays import Array
from .columns import Examples, as_array

BLOCK = 256  # examples that are made into arrays together

_SHUFFLED = (
    "{kind} is a stream: its examples come in its own order, which fit cannot shuffle.\n"
    "  fix: leave out shuffle=True, or let the stream mix its examples"
)
_NO_PAIRS = (
    "an example must be inputs and a target.\n  given: {given}\n  fix: yield (x, y) from {kind}"
)
_SHORT = (
    "{kind} ended after {count} examples; its length is {length}.\n"
    "  fix: let __len__ say how many examples each walk through it gives"
)


class Walk:
    """Goes through a stream, and from its beginning again where earlier examples are asked for.

    Args:
        dataset: the stream.
        collate: makes arrays of a list of examples.
        floating: the dtype that floating-point data is brought to.
    """

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any], floating: DType) -> None:
        self._dataset, self._collate, self._floating = dataset, collate, floating
        self._blocks: Iterator[tuple[Array, ...]] | None = None
        self._held: tuple[Array, ...] = ()
        self._at = 0  # the number of the first example that is held
        self._taken = 0  # examples that were asked for in this walk

    def take(self, first: int, count: int, ended: threading.Event | None) -> tuple[Array, ...]:
        """The examples from number `first` on.

        Raises:
            DataError: the stream has fewer.
            CancelledError: `ended` was set.
        """
        if self._blocks is None or first < self._taken:
            self._blocks, self._held, self._at = self._read(), (), 0
        self._taken = first + count
        parts = []
        while count:
            length = len(self._held[0]) if self._held else 0
            here = min(max(first - self._at, 0), length)
            taken = tuple(array[here : here + count] for array in self._held)
            if taken and len(taken[0]):
                parts.append(taken)
                first += len(taken[0])
                count -= len(taken[0])
            if count:
                if ended is not None and ended.is_set():
                    raise CancelledError
                self._at += length
                self._held = self._next()
        return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))

    def _next(self) -> tuple[Array, ...]:
        assert self._blocks is not None
        block = next(self._blocks, None)
        if block is None:
            kind, length = type(self._dataset).__name__, len(self._dataset)
            raise DataError(_SHORT.format(kind=kind, count=self._at, length=length))
        return block

    def _read(self) -> Iterator[tuple[Array, ...]]:
        """The stream in blocks of examples."""
        for block in self._collated():
            if not isinstance(block, (tuple, list)) or len(block) < 2:
                kind = type(self._dataset).__name__
                raise DataError(_NO_PAIRS.format(given=type(block).__name__, kind=kind))
            yield tuple(as_array(part, self._floating) for part in block)

    def _collated(self) -> Iterator[Any]:
        if hasattr(self._dataset, "batches") and self._collate is default_collate:
            yield from self._dataset.batches(BLOCK)
            return
        source = iter(self._dataset)
        while examples := list(itertools.islice(source, BLOCK)):
            yield self._collate(examples)


@dataclass(frozen=True)
class Streamed(Examples):
    """Examples of a stream: `arrays` holds one, to show its shape.

    Attributes:
        walk: goes through the stream.
        count: how many examples it has.
        kind: the stream's class, for reading.
    """

    walk: Any = None
    count: int = 0
    kind: str = field(default="")

    def __len__(self) -> int:
        return self.count

    @property
    def in_memory(self) -> bool:
        """False: the examples come as they are needed."""
        return False

    def gather(self, indices: Array, ended: threading.Event | None = None) -> tuple[Array, ...]:
        """The examples of these numbers, which follow each other until an epoch begins anew."""
        runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
        parts = [self.walk.take(int(run[0]), len(run), ended) for run in runs]
        return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))

    def block(self, start: int, stop: int) -> tuple[Array, ...]:
        """The examples from `start` to before `stop`."""
        found: tuple[Array, ...] = self.walk.take(start, min(stop, self.count) - start, None)
        return found

    def fingerprint(self) -> str:
        """The stream's kind, length and shapes: its content may be different each time."""
        shapes = [(array.shape[1:], array.dtype.name) for array in self.arrays]
        return f"{self.kind} {self.count} {shapes}"


def streamed(
    dataset: IterableDataset,
    collate: Callable[[list[Any]], Any],
    floating: DType,
    shuffle: bool | None,
) -> Streamed:
    """A stream as training data.

    Args:
        dataset: yields examples (inputs and target); has a length.
        collate: makes arrays of a list of examples.
        floating: the dtype that floating-point data is brought to.
        shuffle: what was asked for; True is refused.

    Raises:
        TypeError: it has no length.
        DataError: it has no examples, or its examples are no pairs.
        OptionError: it shall be shuffled.

    Example:
        >>> from chainrule import float32
        >>> class Squares(IterableDataset):
        ...     def __len__(self): return 5
        ...     def __iter__(self): return ((np.array([x]), np.array([x * x])) for x in range(5))
        >>> examples = streamed(Squares(), default_collate, float32, None)
        >>> examples.block(2, 4)[1].tolist()
        [[4], [9]]
    """
    kind = type(dataset).__name__
    if shuffle:
        raise OptionError(_SHUFFLED.format(kind=kind))
    count = len(dataset)
    if not count:
        raise DataError("there is nothing to train on: the data set is empty")
    walk = Walk(dataset, collate, floating)
    return Streamed(walk.take(0, 1, None), walk=walk, count=count, kind=kind)
