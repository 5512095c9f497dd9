"""Measuring: who ran it, how often, and a table whose first line says so."""

from __future__ import annotations

import datetime
import os
import statistics
import time
from collections.abc import Callable, Sequence

from chainrule.train.environment import processor

REPEATS = 5


def heading() -> str:
    """Give the first line of every table: processor, cores, date."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    today = datetime.date.today().isoformat()
    return f"{processor()}, {cores} usable, {today}"


def interleaved(
    jobs: dict[str, Callable[[], int]], repeats: int = REPEATS, pause: float = 0.0
) -> dict[str, tuple[float, float]]:
    """Time jobs in turn, so that a slow spell of the machine meets them all.

    Args:
        jobs: name to a function that runs some steps and returns how many.
        repeats: rounds; one more is run first and not counted.
        pause: seconds before each turn, in which another side's threads go to sleep.

    Returns:
        Name to (median seconds a step, least seconds a step).
    """
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for round_number in range(repeats + 1):
        for name, job in jobs.items():
            time.sleep(pause)
            start = time.perf_counter()
            steps = job()
            seconds = (time.perf_counter() - start) / steps
            if round_number:
                times[name].append(seconds)
    return {name: (statistics.median(found), min(found)) for name, found in times.items()}


def duration(seconds: float) -> str:
    """Write a duration with a fitting unit.

    Example:
        >>> duration(0.0000123), duration(0.0021), duration(3.2)
        ('12.3 us', '2.1 ms', '3.2 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Write rows as aligned columns; the first is the head."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
