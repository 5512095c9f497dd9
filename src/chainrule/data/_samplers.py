"""Samplers: in which order a loader visits the examples."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from ..errors import OptionError
from ..tensor import Generator, Tensor, default_generator


def _below(source: Generator, limit: int, count: int) -> np.ndarray[Any, Any]:
    """Draw whole numbers from 0 to below `limit`: int64[count]."""
    words = _values(source.bits((count,))).astype(np.uint64)
    return ((words * np.uint64(limit)) >> np.uint64(32)).astype(np.int64)


def _units(source: Generator, count: int) -> np.ndarray[Any, Any]:
    """Draw numbers from 0 to below 1: float64[count], of 32 random bits each."""
    return _values(source.bits((count,))).astype(np.float64) * 2.0**-32


def shuffle(source: Generator, count: int) -> np.ndarray[Any, Any]:
    """Draw a shuffle of `range(count)`: int64[count].

    >>> sorted(shuffle(Generator(0), 3).tolist())
    [0, 1, 2]
    """
    return _values(source.permutation(count))


def _values(tensor: Tensor) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = tensor.node.value()
    return values


class Sampler:
    """Base of samplers: an iterable of example numbers; subclasses define `__iter__`.

    >>> class Backwards(Sampler):
    ...     def __init__(self, dataset):
    ...         self.length = len(dataset)
    ...     def __iter__(self):
    ...         return iter(range(self.length - 1, -1, -1))
    >>> list(Backwards("abc"))
    [2, 1, 0]
    """

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(
            f"{type(self).__name__} has no __iter__.\n"
            "  fix: define `def __iter__(self)` that yields example numbers"
        )


class SequentialSampler(Sampler):
    """The examples in order.

    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """The examples in a new random order each time, or drawn with replacement.

    Args:
        data_source: what is sampled; only its length is used.
        replacement: draw every example anew from all of them.
        num_samples: how many to give; without replacement all are visited before any comes again.
        generator: where the random numbers come from; None is the global generator.

    >>> sorted(RandomSampler(range(5)))
    [0, 1, 2, 3, 4]
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        if num_samples is not None and num_samples < 0:
            raise OptionError(f"num_samples must be 0 or more; {num_samples} was given")
        self.data_source = data_source
        self.replacement = replacement
        self.generator = generator
        self._num_samples = num_samples

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def order(self) -> np.ndarray[Any, Any]:
        """Draw one visit of the data: int64[num_samples]."""
        source = self.generator or default_generator()
        length, count = len(self.data_source), len(self)
        if length == 0 or count == 0:
            return np.empty(0, np.int64)
        if self.replacement:
            return _below(source, length, count)
        rounds = -(-count // length)
        drawn = [shuffle(source, length) for _ in range(rounds)]
        return np.concatenate(drawn)[:count]

    def __len__(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples


class SubsetRandomSampler(Sampler):
    """Some examples, in a new random order each time.

    >>> sorted(SubsetRandomSampler([7, 3, 5]))
    [3, 5, 7]
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        order = RandomSampler(self.indices, generator=self.generator)
        return (self.indices[place] for place in order)

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """Examples drawn with probabilities proportional to their weights.

    Args:
        weights: one non-negative number an example.
        num_samples: how many to draw.
        replacement: whether an example may come more than once.
        generator: where the random numbers come from; None is the global generator.

    Raises:
        OptionError: weights that are negative or all zero, or too few for drawing without
            replacement.

    >>> list(WeightedRandomSampler([0.0, 0.0, 1.0], 4))
    [2, 2, 2, 2]
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        self.weights = np.asarray(weights, dtype=np.float64)
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator
        usable = int((self.weights > 0).sum())
        if self.weights.ndim != 1 or not (self.weights >= 0).all() or usable == 0:
            raise OptionError(
                "WeightedRandomSampler: weights must be one non-negative number an example, "
                f"not all zero; their shape is {self.weights.shape}"
            )
        if not replacement and num_samples > usable:
            raise OptionError(
                f"WeightedRandomSampler: {num_samples} samples without replacement need as many "
                f"positive weights; there are {usable}"
            )

    def __iter__(self) -> Iterator[int]:
        source = self.generator or default_generator()
        if self.replacement:
            edges = np.cumsum(self.weights) / self.weights.sum()
            drawn = np.searchsorted(edges, _units(source, self.num_samples), side="right")
            return iter(np.minimum(drawn, np.flatnonzero(self.weights)[-1]).tolist())
        # Efraimidis and Spirakis (2006): the largest u^(1/w) are a weighted draw without
        # replacement; in logarithms, the smallest -log(u) / w.
        with np.errstate(divide="ignore"):
            keys = -np.log1p(-_units(source, len(self.weights))) / self.weights
        keys[self.weights == 0] = np.inf
        return iter(np.argsort(keys, kind="stable")[: self.num_samples].tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of example numbers from another sampler.

    Args:
        sampler: where the numbers come from.
        batch_size: how many make a batch.
        drop_last: leave out a last batch that is not full.

    >>> list(BatchSampler(range(5), 2, False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[Any]]:
        source = iter(self.sampler)
        while batch := list(itertools.islice(source, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
