"""Long sequences cut into chunks that are learned one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError, OptionError, ShapeError
from ..tensor import Tensor

Numbers = np.ndarray[Any, Any]


def cut_sequence(*arrays: Any, steps: int, streams: int = 1) -> tuple[Numbers, ...]:
    """Cut a long sequence into chunks, so that each batch goes on where the one before ended.

    The sequence is parted into `streams` equal stretches that are followed side by side; batch k
    holds the k-th chunk of each. It is meant for `nn.Carried`, with batches of `streams` that are
    not shuffled. What does not fill a chunk of every stretch is left out at the end.

    Args:
        *arrays: arrays or tensors of one sequence, (length, ...) each: inputs, targets.
        steps: the length of a chunk.
        streams: how many stretches.

    Returns:
        The arrays with the chunks on the first axis, (chunks x streams, steps, ...) each, and
        behind them which chunks begin a stretch: int64 (chunks x streams,), 1 or 0.

    Raises:
        OptionError: for steps or streams below 1, or no arrays.
        ShapeError: for arrays of different lengths.
        DataError: for a sequence too short for one chunk of each stretch.

    Example:
        >>> x, start = cut_sequence(np.arange(9), steps=2, streams=2)
        >>> x.tolist(), start.tolist()
        ([[0, 1], [4, 5], [2, 3], [6, 7]], [1, 1, 0, 0])
    """
    if not arrays or steps < 1 or streams < 1:
        raise OptionError(
            "cut_sequence takes one or more arrays, and steps and streams of 1 or more.\n"
            f"  given: {len(arrays)} arrays, steps={steps}, streams={streams}"
        )
    given = [one.detach().numpy() if isinstance(one, Tensor) else np.asarray(one) for one in arrays]
    lengths = {one.shape[0] if one.ndim else 0 for one in given}
    if len(lengths) > 1:
        raise ShapeError(f"cut_sequence: arrays of different lengths: {sorted(lengths)}")
    chunks = lengths.pop() // (steps * streams)
    if not chunks:
        raise DataError(
            "cut_sequence: the sequence is too short for one chunk of each stretch.\n"
            f"  given: {len(given[0])} steps\n  expected: {steps * streams} or more"
        )
    start = np.zeros((chunks, streams), np.int64)
    start[0] = 1
    return (*(_cut(one, chunks, steps, streams) for one in given), start.reshape(-1))


def _cut(array: Numbers, chunks: int, steps: int, streams: int) -> Numbers:
    rest = array.shape[1:]
    used = array[: streams * chunks * steps].reshape(streams, chunks, steps, *rest)
    return np.ascontiguousarray(used.swapaxes(0, 1)).reshape(chunks * streams, steps, *rest)
