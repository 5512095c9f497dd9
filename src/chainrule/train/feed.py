"""Where a compiled loop's rows come from: the data itself, or buffers filled a piece ahead.

Examples that are computed as they are needed are fetched by a thread of their own while the loop
runs on the piece before: two halves of a buffer take turns, so that memory stays the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError, wait
from queue import SimpleQueue
from typing import Any

import numpy as np

from ..config import STATE
from ..io.arrays import Array
from .course import LOOKS, Course, Plan
from .examples import Examples

BUFFER_BYTES = 64 << 20
PIECE_SECONDS = 0.05  # how long a piece should take to be fetched
GRACE_SECONDS = 0.5  # how long an example under way is waited for after a stop
_POLL_SECONDS = 0.05

Piece = tuple[Array, slice]
Jobs = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]


class Source:
    """The data of the training steps, or of the validation steps, as arrays that a loop reads.

    Args:
        examples: the data.
        largest: rows of the largest step.

    Attributes:
        arrays: the data itself; for computed examples a buffer of two halves.
        room: the most rows that a piece may take; None for any number.
    """

    def __init__(self, examples: Examples, largest: int) -> None:
        self._examples = examples
        self.arrays = examples.arrays
        self.room: int | None = None
        if not examples.in_memory:
            each = sum(array.nbytes for array in examples.arrays)
            self.room = max(largest, min(len(examples), BUFFER_BYTES // 2 // max(each, 1)))
            self.arrays = tuple(
                np.zeros((2 * self.room, *array.shape[1:]), array.dtype)
                for array in examples.arrays
            )

    def fetch(self, rows: Array, half: int, ended: threading.Event) -> Array:
        """Fill a half of the buffer; returns where the rows are now."""
        if self.room is None or not len(rows):
            return rows
        start = half * self.room
        for array, part in zip(self.arrays, self._examples.gather(rows, ended), strict=True):
            array[start : start + len(rows)] = part
        return np.arange(start, start + len(rows), dtype=np.int32)


class Feed:
    """Gives a loop its data arrays, and the rows of each piece of a plan.

    Args:
        course: the steps and their data.
        most: for training and validation the most rows that a piece may take, for reasons of the
            loop; None for any number.

    Example:
        >>> from chainrule.train.examples import Batching
        >>> course = Course(Examples((np.zeros((6, 2)),)), Batching(6, 3, shuffle=False), None)
        >>> plan = course.part(course.orders(np.zeros(2, np.uint32), 0, 1)[0], 1, 2)
        >>> [(rows.tolist(), steps) for rows, steps in Feed(course).pieces(plan)]
        [([3, 4, 5], slice(0, 1, None))]
    """

    def __init__(self, course: Course, most: tuple[int | None, int | None] = (None, None)) -> None:
        self._course = course
        first = course.first_check
        self.sources = [Source(course.examples, int(course.sizes[:first].max()))]
        if course.validation is not None:
            self.sources.append(Source(course.validation, int(course.sizes[first:].max())))
        self.limit(most)
        self._ended = threading.Event()
        self._thread: _Ahead | None = None
        self._seconds = 0.0  # that a row takes to be fetched

    def limit(self, most: Sequence[int | None]) -> None:
        """Set the most rows that a piece may take of training and of validation data."""
        pairs = zip(self.sources, most, strict=False)
        self._rooms = [
            min((n for n in (source.room, other) if n is not None), default=None)
            for source, other in pairs
        ]

    @property
    def arrays(self) -> tuple[Array, ...]:
        """What the loop reads: the training data, then the validation data."""
        return tuple(array for source in self.sources for array in source.arrays)

    @property
    def streams(self) -> bool:
        """Whether examples are fetched as they are needed."""
        return any(source.room is not None for source in self.sources)

    def stop(self) -> None:
        """Begin no further example; from any thread."""
        self._ended.set()

    def close(self) -> None:
        """End the fetching thread."""
        if self._thread is not None:
            self._thread.end()
            self._thread = None

    def pieces(self, plan: Plan) -> Iterator[Piece]:
        """Cut a plan into pieces whose rows the arrays hold.

        Yields:
            Rows of :attr:`arrays`, and which steps of the plan take them. After :meth:`stop` no
            more come.

        Raises:
            Exception: whatever the data set raised.
        """
        if all(room is None for room in self._rooms):
            yield plan.order, slice(0, len(plan.variants))
            return
        cuts = self._cuts(plan)
        if not self.streams:
            for steps, rows in cuts:
                yield plan.order[rows], steps
            return
        yield from self._ahead(plan, cuts)

    def _cuts(self, plan: Plan) -> Iterator[tuple[slice, slice]]:
        """Which steps and which rows of the order belong to each piece."""
        course = self._course
        sizes = course.sizes[plan.variants]
        kinds = course.kinds[plan.variants]
        looks = kinds == LOOKS
        rows = np.concatenate([[0], np.cumsum(sizes)])
        taken = [np.cumsum(np.where(kinds == kind, sizes, 0)) for kind in range(len(self.sources))]
        first = 0
        while first < len(sizes):
            last = len(sizes)
            for ends, room in zip(taken, self._rooms, strict=True):
                if room is not None:
                    before = ends[first - 1] if first else 0
                    wished = min(room, self._wished())
                    last = min(last, int(np.searchsorted(ends, before + wished, "right")))
            # A look takes the rows of the step that follows it.
            last = max(last, first + 1 + int(looks[first]))
            last -= int(looks[last - 1])
            yield slice(first, last), slice(rows[first], rows[last])
            first = last

    def _wished(self) -> int:
        """Rows that are fetched in the time of a piece."""
        if not self.streams:
            return 1 << 40
        return int(PIECE_SECONDS / self._seconds) if self._seconds else 1

    def _ahead(self, plan: Plan, cuts: Iterator[tuple[slice, slice]]) -> Iterator[Piece]:
        """Pieces, the next one being fetched while one is used."""
        thread = self._thread = self._thread or _Ahead()
        half = 0

        def begin() -> Future[Piece] | None:
            nonlocal half
            cut = next(cuts, None)
            if cut is None or self._ended.is_set():
                return None
            half = 1 - half
            turn = half
            return thread.begin(lambda: self._fetch(plan, *cut, turn))

        coming = begin()
        try:
            while coming is not None:
                piece = self._await(coming)
                if piece is None:
                    coming = None
                    return
                coming = begin()
                yield piece
        finally:
            if coming is not None:
                wait([coming], GRACE_SECONDS)

    def _fetch(self, plan: Plan, steps: slice, rows: slice, half: int) -> Piece:
        begun = time.perf_counter()
        order = plan.order[rows]
        sizes = self._course.sizes[plan.variants[steps]]
        kinds = np.repeat(self._course.kinds[plan.variants[steps]], sizes)
        places = np.empty(len(order), np.int32)
        for kind, source in enumerate(self.sources):
            chosen = kinds == kind
            places[chosen] = source.fetch(order[chosen], half, self._ended)
        self._seconds = (time.perf_counter() - begun) / max(len(order), 1)
        return places, steps

    def _await(self, coming: Future[Piece]) -> Piece | None:
        """The piece; None after a stop, even if the data set hangs."""
        since = 0.0
        while not coming.done() and since < GRACE_SECONDS:
            wait([coming], _POLL_SECONDS)
            since += _POLL_SECONDS if self._ended.is_set() else 0.0
        if not coming.done():
            self.close()  # what hangs there ends with its example, or with the process
            return None
        try:
            return coming.result()
        except CancelledError:
            return None


class _Ahead:
    """A thread that does one thing after another, and does not keep the process alive."""

    def __init__(self) -> None:
        self._jobs: Jobs = SimpleQueue()
        arguments = (self._jobs, STATE.default_dtype)
        threading.Thread(
            target=_work, args=arguments, name="chainrule-prefetch", daemon=True
        ).start()

    def begin(self, job: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._jobs.put((future, job))
        return future

    def end(self) -> None:
        self._jobs.put(None)


def _work(jobs: Jobs, default_dtype: Any) -> None:
    STATE.default_dtype = default_dtype
    while (given := jobs.get()) is not None:
        future, job = given
        try:
            future.set_result(job())
        except InvalidStateError:
            continue
        except BaseException as error:
            future.set_exception(error)
        del future, job, given  # a thread that waits keeps no data alive
