"""Where not to use chainrule: wide networks and large batches, measured like the small ones.

The wider the network, the more of a step is the product of large matrices, for which PyTorch calls
libraries that many people have tuned for many years.
"""

from __future__ import annotations

import statistics
import time

from ._measure import duration, table
from .speed.cases import ADAM, Case, data_of
from .speed.sides import Fit, Torch, start_of
from .speed.worker import PAUSE

ROUNDS = 3


def wide(width: int, batch: int, steps: int) -> Case:
    """A network of two wide layers."""
    layers = (
        ("linear", 784, width),
        ("relu",),
        ("linear", width, width),
        ("relu",),
        ("linear", width, 10),
    )
    name = f"784-{width}-{width}-10, batch {batch}, Adam"
    return Case(name, layers, batch, steps, ADAM, "digits")


CASES = (wide(512, 128, 100), wide(1024, 256, 40), wide(2048, 512, 12))


def run() -> str:
    """Measure; returns the table."""
    rows = [("wide networks", "PyTorch eager", "chainrule native", "times as fast")]
    for case in CASES:
        start, data = start_of(case), data_of(case)
        sides = (Torch(case, start, data), Fit(case, start, data, None))
        times: list[list[float]] = [[], []]
        for side in sides:
            side.warm()
        for _ in range(ROUNDS):
            for side, found in zip(sides, times, strict=True):
                time.sleep(PAUSE)
                found.append(side.turn())
        theirs, ours = map(statistics.median, times)
        rows.append((case.name, duration(theirs), duration(ours), f"{theirs / ours:.2f}"))
    return table(rows)
