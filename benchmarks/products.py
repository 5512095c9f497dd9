"""Matrix products on one thread: the native engine's kernels beside PyTorch's, GFLOP/s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.engines import native
from chainrule.engines.native.peak import measured_peak

from ._measure import interleaved

# What is multiplied, and the rows, columns and depth: forward, both gradients, and squares.
CASES = (
    ("a @ b.T", 256, 2048, 2048),
    ("a @ b", 256, 2048, 2048),
    ("a.T @ b", 2048, 2048, 256),
    ("a @ b", 500, 500, 500),
    ("a @ b.T", 1000, 100, 784),
    ("a @ b.T", 100, 100, 784),
    ("a.T @ b", 100, 784, 100),
)
FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "a @ b.T": lambda a, b: a @ b.T,
    "a @ b": lambda a, b: a @ b,
    "a.T @ b": lambda a, b: a.T @ b,
}


def _row(kind: str, rows: int, columns: int, depth: int) -> str:
    import torch

    draw = np.random.default_rng(0).standard_normal
    a = draw((depth, rows) if kind == "a.T @ b" else (rows, depth)).astype(np.float32)
    b = draw((columns, depth) if kind == "a @ b.T" else (depth, columns)).astype(np.float32)
    multiply = FUNCTIONS[kind]
    graph = cr.trace(multiply, cr.tensor(a), cr.tensor(b)).graph
    program = native.compile_graph(graph, threads=1)
    pair = torch.from_numpy(a), torch.from_numpy(b)
    operations = 2 * rows * columns * depth
    turns = max(1, int(4e8 / operations))

    def ours() -> int:
        for _ in range(turns):
            program(a, b)
        return turns

    def theirs() -> int:
        for _ in range(turns):
            multiply(*pair)
        return turns

    found = interleaved({"ours": ours, "theirs": theirs}, repeats=9)
    best, median = (
        [1e-9 * operations / found[side][which] for side in ("ours", "theirs")] for which in (1, 0)
    )
    return (
        f"{kind:8s} {rows}x{columns} over {depth}: {best[0]:6.1f} ({median[0]:.1f})"
        f"   PyTorch {best[1]:6.1f} ({median[1]:.1f})"
    )


def run() -> str:
    """The best of nine turns, the median in brackets."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        lines = [_row(*case) for case in CASES]
    finally:
        torch.set_num_threads(before)
    return "\n".join([f"products, GFLOP/s, peak {measured_peak():.0f}", *lines])
