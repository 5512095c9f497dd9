"""Where a compiled loop's rows come from: the data itself, or buffers filled a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..io.arrays import Array
from .examples import Examples

BUFFER_BYTES = 64 << 20


class Feed:
    """Gives a loop its data arrays, and the rows of each piece of a plan.

    Args:
        examples: the data.
        size: rows of the largest step.

    Example:
        >>> feed = Feed(Examples((np.zeros((6, 2)),)), 3)
        >>> [(rows.tolist(), steps.tolist()) for rows, steps in feed.pieces(
        ...     np.array([5, 4, 3]), np.array([0]), np.array([3]))]
        [([5, 4, 3], [0])]
    """

    def __init__(self, examples: Examples, size: int) -> None:
        self._examples = examples
        self.arrays = examples.arrays
        if not examples.in_memory:
            each = sum(array.nbytes for array in examples.arrays)
            self._rows = max(size, min(len(examples), BUFFER_BYTES // max(each, 1)))
            self.arrays = tuple(
                np.zeros((self._rows, *array.shape[1:]), array.dtype) for array in examples.arrays
            )

    def pieces(self, order: Array, variants: Array, sizes: Array) -> Iterator[tuple[Array, Array]]:
        """Cut a plan into pieces whose rows the arrays hold.

        Args:
            order: the examples of all steps, one step after the other.
            variants: which batch size each step has.
            sizes: the batch sizes.

        Yields:
            Rows of :attr:`arrays` and variants of the next steps.
        """
        if self._examples.in_memory:
            yield order, variants
            return
        ends = np.cumsum(sizes[variants])
        done = first = 0
        while first < len(variants):
            last = max(int(np.searchsorted(ends, done + self._rows, "right")), first + 1)
            stop = int(ends[last - 1])
            parts = self._examples.gather(order[done:stop])
            for array, part in zip(self.arrays, parts, strict=True):
                array[: stop - done] = part
            yield np.arange(stop - done, dtype=np.int32), variants[first:last]
            done, first = stop, last
