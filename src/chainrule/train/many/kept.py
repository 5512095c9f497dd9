"""Which epochs the history keeps, and whether there is memory for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engines.capacity import available_memory
from ...errors import OptionError
from ...io.arrays import Array

UNASKED = 256 << 20  # bytes of history that are kept without being asked for


def kept_epochs(history: Any, epochs: int, each: int) -> tuple[Array, str]:
    """The epochs whose numbers are kept.

    Args:
        history: "all", "last", a whole number k, or None.
        epochs: how many there are.
        each: bytes of one epoch of all trainings.

    Returns:
        int64, epochs counted from 1, the last always among them; and what is to be said of it.

    Raises:
        OptionError: another `history`.

    Example:
        >>> kept_epochs(4, 10, 8)[0].tolist(), kept_epochs("last", 10, 8)[0].tolist()
        ([4, 8, 10], [10])
    """
    note = ""
    if history is None:
        by = max(1, -(-epochs * each // UNASKED))
        if by > 1:
            note = (
                f"the history keeps every {by}th epoch: all would take "
                f"{size_text(epochs * each)} (history='all' keeps them)"
            )
    elif history == "all":
        by = 1
    elif history == "last":
        by = epochs
    elif isinstance(history, (int, np.integer)) and not isinstance(history, bool) and history > 0:
        by = int(history)
    else:
        raise OptionError(
            f"there is no history {history!r}.\n"
            "  expected: 'all', 'last', a whole number k for every k-th epoch, or None"
        )
    return np.unique([*range(by, epochs + 1, by), epochs]).astype(np.int64), note


def refuse_too_large(history: int, weights: int) -> None:
    """Refuse before anything is allocated what does not fit into memory.

    Args:
        history, weights: bytes of the histories and of the final weights of all trainings.

    Raises:
        MemoryError: says how large they are, and how much there is.
    """
    free = available_memory()
    if free is not None and history + 2 * weights > free:
        raise MemoryError(
            f"many trainings would not fit into memory.\n"
            f"  given: {size_text(history)} of history, {size_text(weights)} of weights\n"
            f"  expected: at most {size_text(free)}, which is free now\n"
            "  fix: history='last', or history=100 for every hundredth epoch, or fewer trainings"
        )


def size_text(count: float) -> str:
    """Bytes in words.

    Example:
        >>> size_text(1_572_864_000)
        '1.6 GB'
    """
    unit = "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if count < 1000:
            break
        count, unit = count / 1000, larger
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
