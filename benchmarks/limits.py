"""Where not to use chainrule: wide networks and large batches, measured like the small ones.

The wider the network, the more of a step is the product of large matrices, for which PyTorch calls
libraries that many people have tuned for many years.
"""

from __future__ import annotations

import statistics

from ._measure import duration, table
from .training import Case, measure

ROUNDS = 3
THREADS = 2
CASES = (
    Case("784-512-512-10, batch 128, Adam", (784, 512, 512, 10), 128, 100, "adam", 1.0),
    Case("784-1024-1024-10, batch 256, Adam", (784, 1024, 1024, 10), 256, 40, "adam", 1.0),
    Case("784-2048-2048-10, batch 512, Adam", (784, 2048, 2048, 10), 512, 12, "adam", 1.0),
)


def run() -> str:
    """Measure; returns the table."""
    rows = [("wide networks", "PyTorch eager", "chainrule native", "times as fast")]
    for case in CASES:
        found = measure(case, ROUNDS, THREADS)
        medians = [statistics.median(times) / 1e6 for times in (found.peer, found.ours)]
        rows.append((case.name, *map(duration, medians), f"{found.ratio:.2f}"))
    return table(rows)
