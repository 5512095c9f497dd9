"""Whole graphs and trainings on each instruction set of x86-64, not kernels alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_graphs import Trained, random_graph

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines import native
from chainrule.engines import numpy as reference
from chainrule.engines.native import machine
from chainrule.engines.native.target import Target

HOST = Target.host()
LEVELS = ("avx512", "avx2", "sse2")
_BYTES = {"avx512": 64, "avx2": 32, "sse2": 16}


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The engine, held to an instruction set."""
    name: str = request.param
    if HOST.architecture != "x86_64":
        pytest.skip(f"{name} is of x86-64; this is {HOST.architecture}")
    if HOST.vector_bytes < _BYTES[name]:
        pytest.skip(f"this processor has no {name}")
    target = HOST if HOST.vector_bytes == _BYTES[name] else HOST.restrict(name)
    monkeypatch.setattr(machine.Target, "host", staticmethod(lambda: target))
    return name


def close(found: Any, expected: Any) -> None:
    finite = np.abs(np.where(np.isfinite(expected), expected, 0))
    scale = max(1.0, float(finite.max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4 * scale)


def networks() -> dict[str, Any]:
    def fnn() -> tuple[Any, tuple[int, ...]]:
        return nn.Sequential(nn.Linear(50, 37), nn.ReLU(), nn.Linear(37, 5)), (50,)

    def norms() -> tuple[Any, tuple[int, ...]]:
        layers = [nn.Linear(20, 16, bias=False), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2)]
        more = [nn.Linear(16, 33), nn.LayerNorm(33), nn.GELU(), nn.Linear(33, 5)]
        return nn.Sequential(*layers, *more), (20,)

    def cnn() -> tuple[Any, tuple[int, ...]]:
        layers = [nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 9, 2), nn.ReLU()]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(36, 5)), (1, 8, 8)

    return {"fnn": fnn, "norms": norms, "cnn": cnn}


@pytest.mark.parametrize("name", networks())
def test_trainings(level: str, name: str) -> None:
    """Fifteen steps of Adam as eager ones, with the same bits on one, two and three threads."""
    rows, draw = 40, np.random.default_rng(0)
    shape = networks()[name]()[1]
    x = draw.standard_normal((rows, *shape)).astype(np.float32)
    y = draw.integers(0, 5, rows)
    order = np.concatenate([np.random.default_rng(k).permutation(rows) for k in range(3)])

    def started() -> Trained:
        cr.manual_seed(0)
        model = networks()[name]()[0]
        return Trained(model, optim.Adam(model.parameters(), 0.01), nn.functional.cross_entropy)

    reports = []
    for threads in (1, 2, 3):
        traced, step = started().trace(x[:8], y[:8])
        loop = native.compile_loop([step], [x, y], threads=threads)
        for number, handle in enumerate(traced.captured):
            loop.write(number, handle.node.value())
        numbers = [float(getter()) for getter in traced.getters]
        reports.append(loop.run(order.astype(np.int32), np.zeros(15, np.int32), numbers))
    made = started()
    eager = [made.eager(x[batch], y[batch]) for batch in order.reshape(-1, 8)]
    np.testing.assert_allclose(reports[0][:, 0], eager, rtol=2e-3, atol=2e-4)
    for report in reports[1:]:
        np.testing.assert_array_equal(report, reports[0])


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), threads=st.integers(2, 3))
def test_random_graphs_have_the_same_bits_on_any_number_of_threads(seed: int, threads: int) -> None:
    graph, arrays = random_graph(seed)
    one, more = (native.compile_graph(graph, threads=n)(*arrays) for n in (1, threads))
    for a, b in zip(one, more, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("block", range(3))
def test_random_graphs(level: str, block: int) -> None:
    for seed in range(100 + 4 * block, 104 + 4 * block):
        graph, arrays = random_graph(seed)
        expected = reference.compile_graph(graph)(*arrays)
        for one, other in zip(native.compile_graph(graph)(*arrays), expected, strict=True):
            close(one, other)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_odd_numbers_pass_wherever_they_stand(level: str, dtype: Any, odd: float) -> None:
    """Through relu, extremes, sums and products: in a vector, in its tail, at the ends."""

    def function(x: Any) -> Any:
        return (
            *(x.relu(), x.maximum(x.flip(1)), x.minimum(x.flip(1)), x.amax(1), x.amin(0)),
            *(x.sum(0), x.sum(1), x.sum(), x.mean(1), x @ x.T, x.T @ x, x * 0, x.tanh()),
            *(x.argmax(1), x.clamp(-1, 1), cr.softmax(x, 1)),
        )

    graph = cr.trace(function, cr.tensor(np.zeros((7, 19), dtype))).graph
    program = native.compile_graph(graph)
    model = reference.compile_graph(graph)
    draw = np.random.default_rng(0)
    for row, column in ((0, 0), (3, 7), (3, 8), (6, 15), (6, 16), (6, 18)):
        x = draw.standard_normal((7, 19)).astype(dtype)
        x[row, column] = odd
        for one, other in zip(program(x), model(x), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
