"""What a node costs in eager mode, beyond NumPy's own work, and what importing costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import numpy as np

import chainrule as cr

from ._measure import duration, interleaved, table

NODES = 2_000


def run() -> str:
    """Measure; returns the table."""
    array = np.ones((), dtype=np.float32)

    def in_numpy() -> int:
        value = array
        for _ in range(NODES):
            value = np.add(value, array)
        return NODES

    def forward(needs_grad: bool) -> int:
        x = cr.tensor(1.0, requires_grad=needs_grad)
        y = x
        for _ in range(NODES):
            y = y + x
        return NODES

    def with_backward() -> int:
        x = cr.tensor(1.0, requires_grad=True)
        y = x
        for _ in range(NODES):
            y = y * x
        y.backward()
        return 2 * NODES  # a node forward, a product backward

    found = interleaved(
        {
            "NumPy's addition alone": in_numpy,
            "a node without history": lambda: forward(False),
            "a node with history": lambda: forward(True),
            "a node, forward and backward": with_backward,
        }
    )
    rows = [("eager, 0-d", "each"), *((name, duration(m)) for name, (m, _) in found.items())]
    rows.append(("import chainrule, beyond NumPy", duration(import_seconds())))
    return table(rows)


def import_seconds() -> float:
    """Give the least of five imports, as -X importtime has it, the byte code being there."""
    command = [sys.executable, "-X", "importtime", "-c", "import numpy\nimport chainrule"]
    times = []
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(6):
            lines = subprocess.run(
                command, capture_output=True, text=True, check=True, env=environment
            ).stderr
            times.append(int(lines.splitlines()[-1].split("|")[1]) / 1e6)
    return min(times[1:])
