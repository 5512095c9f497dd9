"""Guard zones: nothing is written outside of its array, and what would be is named.

The op matrix of ``test_conformance_engines.py`` runs with guard zones too.
"""

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
from chainrule.engines.native.lower import driver
from chainrule.errors import EngineError


def guarded(graph: Any, arrays: Any, threads: int) -> list[Any]:
    plain = native.compile_graph(graph, threads=threads)(*arrays)
    watched = native.compile_graph(graph, threads=threads, guards=True)(*arrays)
    for one, other in zip(plain, watched, strict=True):
        assert one.tobytes() == other.tobytes()
    return watched


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_random_graphs_write_only_their_arrays(seed: int, threads: int) -> None:
    guarded(*random_graph(seed), threads)


# One, primes, just under and over the tiles of any target, nothing.
SIZES = [0, 1, 2, 7, 8, 9, 15, 17, 31, 33, 67]


@settings(max_examples=30)
@given(st.tuples(*[st.sampled_from(SIZES)] * 3), st.booleans(), st.booleans(), st.integers(1, 2))
def test_products_of_odd_sizes(
    sizes: tuple[int, int, int], ta: bool, tb: bool, threads: int
) -> None:
    m, k, n = sizes
    draw = np.random.default_rng(m + k + n)
    a = draw.standard_normal((k, m) if ta else (m, k)).astype(np.float32)
    b = draw.standard_normal((n, k) if tb else (k, n)).astype(np.float32)

    def function(a: Any, b: Any) -> Any:
        left, right = a.T if ta else a, b.T if tb else b
        c = left @ right
        return c, (c + 1).relu(), c.sum(0), c.exp().sum(1)

    graph = cr.trace(function, cr.tensor(a), cr.tensor(b)).graph
    made = guarded(graph, [a, b], threads)
    expected = (a.T if ta else a) @ (b.T if tb else b)
    np.testing.assert_allclose(made[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_training_loop_of_several_variants(threads: int) -> None:
    cr.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(48, 17)),
        *(nn.BatchNorm1d(17), nn.Dropout(0.2), nn.Linear(17, 5)),
    )
    made = Trained(model, optim.Adam(model.parameters(), 0.01), nn.functional.cross_entropy)
    draw = np.random.default_rng(0)
    x = draw.standard_normal((23, 1, 10, 10)).astype(np.float32)
    y = draw.integers(0, 5, 23)
    traced, first = made.trace(x[:8], y[:8])
    _, last = made.trace(x[:7], y[:7])
    loop = native.compile_loop([first, last], [x, y], threads=threads, guards=True)
    for number, handle in enumerate(traced.captured):
        loop.write(number, handle.node.value())
    numbers = [float(getter()) for getter in traced.getters]
    report = loop.run(np.arange(23, dtype=np.int32), np.array([0, 0, 1], np.int32), numbers)
    assert np.isfinite(report).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_kernel_that_writes_a_row_too_many_is_named(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = driver._Writer._bounds

    def too_far(self: Any, task: Any) -> Any:
        start, stop = right(self, task)
        return start, self.function.add(stop, 1)

    graph = cr.trace(lambda x: (x * 2).exp().sum(1), cr.ones(6, 16)).graph
    monkeypatch.setattr(driver._Writer, "_bounds", too_far)
    program = native.compile_graph(graph, threads=threads, guards=True)
    with pytest.raises(EngineError, match=r"(?s)wrote outside.*'row 6x16'.*behind 'output 0'"):
        program(np.ones((6, 16), np.float32))


def test_the_environment_switches_the_mode_on(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = cr.trace(lambda x: x + 1, cr.ones(3)).graph
    assert native.compile_graph(graph)._built.layout.guards is None
    monkeypatch.setenv("CHAINRULE_GUARDS", "1")
    program = native.compile_graph(graph)
    assert len(program._built.layout.guards.zones) >= 4
    assert program(np.zeros(3, np.float32))[0].tolist() == [1, 1, 1]
