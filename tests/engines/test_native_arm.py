"""Code for 64-bit Arm, run under qemu where that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import emulated
import numpy as np
import pytest
from native_graphs import Trained, random_graph

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines import native
from chainrule.engines import numpy as reference
from chainrule.engines.native import program


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> emulated.Emulated:
    """The engine, compiling for Arm and run under the emulator."""
    lacks = emulated.missing()
    if lacks:
        pytest.skip(f"64-bit Arm cannot be run here: {lacks} missing")
    made = emulated.Emulated(tmp_path)
    made.install(monkeypatch)
    monkeypatch.setattr(program, "_COPIED", 1 << 40)  # inputs lie in the program's memory
    return made


def close(found: Any, expected: Any) -> None:
    finite = np.abs(np.where(np.isfinite(expected), expected, 0))
    scale = max(1.0, float(finite.max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4 * scale)


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs(arm: emulated.Emulated, seed: int) -> None:
    graph, arrays = random_graph(seed)
    expected = reference.compile_graph(graph)(*arrays)
    # Code for a team, run by one member: barriers and parts are in it.
    found = native.compile_graph(graph, threads=2 if seed % 2 else 1)(*arrays)
    for one, other in zip(found, expected, strict=True):
        close(one, other)
    assert arm.runs == 1


def test_elementary_functions(arm: emulated.Emulated) -> None:
    def function(x: Any) -> Any:
        y = x.abs() + 0.1
        return (
            *(x.exp(), y.log(), y.log1p(), x.expm1(), x.tanh(), x.sigmoid(), x.erf()),
            *(x.sin(), x.cos(), cr.nn.functional.softplus(x), y.sqrt(), y**1.7, x.floor()),
        )

    for dtype, rtol in ((np.float32, 1e-6), (np.float64, 4e-15)):
        x = np.linspace(-9, 9, 333).astype(dtype)
        x[5] = 1e9  # beyond the reduction: the C library's sine
        graph = cr.trace(function, cr.tensor(x)).graph
        expected = reference.compile_graph(graph)(x)
        for one, other in zip(native.compile_graph(graph)(x), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)


def networks() -> dict[str, Any]:
    return {
        "fnn": lambda: (nn.Sequential(nn.Linear(20, 33), nn.ReLU(), nn.Linear(33, 5)), (20,)),
        "norms": lambda: (
            nn.Sequential(
                *(nn.Linear(20, 16, bias=False), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2)),
                *(nn.Linear(16, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 5)),
            ),
            (20,),
        ),
        "cnn": lambda: (
            nn.Sequential(
                *(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)),
            ),
            (1, 8, 8),
        ),
    }


@pytest.mark.parametrize("name", networks())
def test_training_loops(arm: emulated.Emulated, name: str) -> None:
    """Twelve steps of Adam, data gathered by index, against eager steps."""
    rows, draw = 24, np.random.default_rng(0)
    shape = networks()[name]()[1]
    x = draw.standard_normal((rows, *shape)).astype(np.float32)
    y = draw.integers(0, 5, rows)
    results = []
    for engine in ("native", "eager"):
        cr.manual_seed(0)
        model, _ = networks()[name]()
        made = Trained(model, optim.Adam(model.parameters(), 0.01), nn.functional.cross_entropy)
        order = np.concatenate([np.random.default_rng(k).permutation(rows) for k in range(4)])
        if engine == "eager":
            batches = order.reshape(-1, 8)
            results.append([made.eager(x[batch], y[batch]) for batch in batches])
            continue
        traced, step = made.trace(x[:8], y[:8])
        loop = native.compile_loop([step], [x, y], threads=2)
        for number, handle in enumerate(traced.captured):
            loop.write(number, handle.node.value())
        numbers = [float(getter()) for getter in traced.getters]
        report = loop.run(order.astype(np.int32), np.zeros(12, np.int32), numbers)
        results.append(report[:, 0])
    assert arm.runs >= 1
    np.testing.assert_allclose(results[0], results[1], rtol=2e-3, atol=2e-4)
