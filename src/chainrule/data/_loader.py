"""`DataLoader`: batches of a data set, shuffled, collated and, if wished, fetched ahead."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Generator as Generator_
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from ..config import STATE
from ..errors import DataError, OptionError
from ..tensor import Generator, default_generator, from_numpy
from ._collate import default_collate
from ._dataset import IterableDataset, Subset
from ._fetch import example, fetcher
from ._samplers import BatchSampler, RandomSampler, SequentialSampler, shuffle

CONFLICT = "DataLoader: {first} cannot be combined with {second}.\n  fix: {fix}"


class DataLoader:
    """Batches of a data set.

    Args:
        dataset: a `Dataset`, or anything with `__len__` and `__getitem__`; or an `IterableDataset`.
        batch_size: examples in a batch; None gives single examples, uncollated.
        shuffle: visit in a new random order each epoch.
        sampler: the order of example numbers, instead of `shuffle`.
        batch_sampler: lists of example numbers, instead of batch_size, shuffle, sampler, drop_last.
        num_workers: threads that fetch batches ahead; 0 fetches in the loop itself. Threads help
            where fetching waits (files) or runs in NumPy; they share Python's one interpreter. A
            stream is read ahead by one thread, so that each example comes once.
        collate_fn: makes a batch of a list of examples; see `default_collate`.
        pin_memory: accepted for PyTorch's sake; has no effect.
        drop_last: leave out a last batch that is not full.
        timeout: seconds to wait for a batch from a worker; 0 waits for ever.
        worker_init_fn: called with the worker's number in each worker, before it fetches.
        generator: where the shuffle comes from; None is the global generator.
        prefetch_factor: batches fetched ahead by each worker.
        persistent_workers: accepted for PyTorch's sake; threads start in no time.

    Raises:
        OptionError: for values out of range, and for options that exclude each other.

    >>> import chainrule as cr
    >>> data = cr.data.TensorDataset(cr.arange(10).reshape(5, 2), cr.arange(5))
    >>> [(tuple(x.shape), y.tolist()) for x, y in DataLoader(data, batch_size=2)]
    [((2, 2), [0, 1]), ((2, 2), [2, 3]), ((1, 2), [4])]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], object] | None = None,
        *,
        generator: Generator | None = None,
        prefetch_factor: int = 2,
        persistent_workers: bool = False,
    ) -> None:
        _check_numbers(batch_size, num_workers, timeout, prefetch_factor)
        _check_choices(dataset, batch_size, shuffle, sampler, batch_sampler, drop_last)
        self.dataset = dataset
        self.batch_size = None if batch_sampler is not None else batch_size
        self.shuffle = bool(shuffle)
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.collate_fn = collate_fn if collate_fn is not None else default_collate
        self.pin_memory = pin_memory
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.prefetch_factor = prefetch_factor
        self.persistent_workers = persistent_workers
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        if isinstance(dataset, IterableDataset):
            return
        if sampler is None:
            random = RandomSampler(dataset, generator=generator)
            sampler = self.sampler = random if shuffle else SequentialSampler(dataset)
        if batch_sampler is None and batch_size is not None:
            self.batch_sampler = BatchSampler(sampler, batch_size, drop_last)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        order = self.batch_sampler if self.batch_sampler is not None else self.sampler
        if order is None:
            count = len(self.dataset)
            size = self.batch_size or 1
            return count // size if self.drop_last else -(-count // size)
        return len(order)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        """Start an epoch: yield its batches."""
        if isinstance(self.dataset, IterableDataset):
            return self._stream_ahead() if self.num_workers else self._stream()
        stop = threading.Event()
        fetch = self._fetch(stop if self.num_workers else None)
        order = self.batch_sampler if self.batch_sampler is not None else self.sampler
        assert order is not None
        if self.num_workers == 0:
            return map(fetch, order)
        return self._fetch_ahead(fetch, iter(order), self.num_workers, stop)

    def _fetch(self, stop: threading.Event | None) -> Callable[[Any], Any]:
        """Return what turns a list of example numbers (or one number) into a batch."""
        dataset, collate = self.dataset, self.collate_fn
        if self.batch_sampler is not None:
            return fetcher(dataset, collate, stop)
        if collate is default_collate:
            return lambda index: example(dataset, index)
        return lambda index: collate(example(dataset, index))

    def _stream_ahead(self) -> Iterator[Any]:
        source, end = self._stream(), object()
        ahead = self._fetch_ahead(
            lambda _: next(source, end), itertools.count(), 1, threading.Event()
        )
        with contextlib.closing(ahead):
            yield from itertools.takewhile(lambda batch: batch is not end, ahead)

    def _stream(self) -> Iterator[Any]:
        whole = hasattr(self.dataset, "batches") and self.collate_fn is default_collate
        if whole and self.batch_size is not None:
            for arrays in self.dataset.batches(self.batch_size):
                if len(arrays[0]) == self.batch_size or not self.drop_last:
                    yield [from_numpy(array) for array in arrays]
            return
        source = iter(self.dataset)
        if self.batch_size is None:
            plain = self.collate_fn is default_collate
            yield from source if plain else map(self.collate_fn, source)
            return
        while batch := list(itertools.islice(source, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.collate_fn(batch)

    def _fetch_ahead(
        self,
        fetch: Callable[[Any], Any],
        order: Iterator[Any],
        workers: int,
        stop: threading.Event,
    ) -> Generator_[Any, None, None]:
        """Yield the batches in order while workers fetch the next ones."""
        numbers = itertools.count()
        settings = STATE.default_dtype

        def start() -> None:
            STATE.default_dtype = settings
            if self.worker_init_fn is not None:
                self.worker_init_fn(next(numbers))

        waiting: deque[Future[Any]] = deque()
        patient = True
        pool = ThreadPoolExecutor(workers, "chainrule-loader", initializer=start)
        try:
            for indices in itertools.islice(order, self.num_workers * self.prefetch_factor):
                waiting.append(pool.submit(fetch, indices))
            while waiting:
                batch = self._wait(waiting.popleft())
                for indices in itertools.islice(order, 1):
                    waiting.append(pool.submit(fetch, indices))
                yield batch
        except DataError:
            # A worker that hangs is not waited for a second time.
            patient = False
            raise
        finally:
            stop.set()  # after an error, a break or Ctrl-C nobody wants the rest of a batch
            pool.shutdown(wait=patient, cancel_futures=True)

    def _wait(self, future: Future[Any]) -> Any:
        try:
            return future.result(self.timeout or None)
        except TimeoutError as error:
            raise DataError(
                f"DataLoader: a worker gave no batch within timeout={self.timeout} seconds.\n"
                "  fix: raise timeout, or look at what the data set's __getitem__ waits for"
            ) from error


def _check_numbers(
    batch_size: int | None, num_workers: int, timeout: float, prefetch_factor: int
) -> None:
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise OptionError(f"DataLoader: batch_size must be 1 or more; {batch_size!r} was given")
    if num_workers < 0:
        raise OptionError(f"DataLoader: num_workers must be 0 or more; {num_workers} was given")
    if timeout < 0:
        raise OptionError(f"DataLoader: timeout must be 0 or more; {timeout} was given")
    if prefetch_factor < 1:
        raise OptionError(
            f"DataLoader: prefetch_factor must be 1 or more; {prefetch_factor} was given"
        )


def _check_choices(
    dataset: Any,
    batch_size: int | None,
    shuffle: bool | None,
    sampler: object,
    batch_sampler: object,
    drop_last: bool,
) -> None:
    conflicts = []
    if isinstance(dataset, IterableDataset):
        fix = "an IterableDataset decides its own order"
        conflicts.append((shuffle, "an IterableDataset", "shuffle", fix))
        conflicts.append((sampler is not None, "an IterableDataset", "sampler", fix))
        conflicts.append((batch_sampler is not None, "an IterableDataset", "batch_sampler", fix))
    fix = "leave out shuffle: the sampler decides the order"
    conflicts.append((shuffle and sampler is not None, "sampler", "shuffle", fix))
    others = batch_size != 1 or shuffle or sampler is not None or drop_last
    fix = "leave out the others: the batch sampler decides them"
    names = "batch_size, shuffle, sampler or drop_last"
    conflicts.append((batch_sampler is not None and others, "batch_sampler", names, fix))
    fix = "give a batch_size"
    conflicts.append((batch_size is None and drop_last, "batch_size=None", "drop_last", fix))
    for found, first, second, fix in conflicts:
        if found:
            raise OptionError(CONFLICT.format(first=first, second=second, fix=fix))


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset]:
    """Split a data set at random into parts that do not overlap.

    Args:
        dataset: what is split.
        lengths: the parts' sizes, which add up to the whole; or fractions that add up to 1, where
            what rounding leaves over goes to the first parts, one each.
        generator: where the random numbers come from; None is the global generator.

    Raises:
        OptionError: when the lengths do not add up.

    >>> train, test = random_split(range(10), [0.8, 0.2])
    >>> len(train), len(test), sorted([*train, *test]) == list(range(10))
    (8, 2, True)
    """
    count = len(dataset)
    sizes = _sizes(count, list(lengths))
    order = shuffle(generator or default_generator(), count).tolist()
    ends = list(itertools.accumulate(sizes))
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def _sizes(count: int, lengths: list[float]) -> list[int]:
    total = sum(lengths)
    fractions = not all(isinstance(length, int | np.integer) for length in lengths)
    if fractions and abs(total - 1.0) < 1e-6 and all(0 <= length <= 1 for length in lengths):
        sizes = [int(count * length) for length in lengths]
        for extra in range(count - sum(sizes)):
            sizes[extra % len(sizes)] += 1
        return sizes
    if fractions or total != count or any(length < 0 for length in lengths):
        raise OptionError(
            f"random_split: the lengths {lengths} do not add up to the data set.\n"
            f"  given: their sum is {total:g}\n"
            f"  expected: whole numbers whose sum is {count}, or fractions whose sum is 1"
        )
    return [int(length) for length in lengths]
