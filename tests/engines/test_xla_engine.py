"""The xla engine: whole steps beside NumPy, 64-bit types, devices, and JAX missing."""

import builtins
import sys
from typing import Any

import jax
import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines import numpy as numpy_engine
from chainrule.engines import xla
from chainrule.errors import EngineError, MissingExtraError


def both(function: Any, *tensors: Any) -> tuple[list[Any], list[Any]]:
    """A traced function's results by NumPy and by XLA."""
    traced = cr.trace(function, *tensors)
    inputs = [tensor.detach().numpy() for tensor in tensors]
    inputs += [handle.node.value() for handle in traced.captured]
    inputs += [np.asarray(getter()) for getter in traced.getters]
    return (
        numpy_engine.compile_graph(traced.graph)(*inputs),
        xla.compile_graph(traced.graph, device="cpu")(*inputs),
    )


def agree(expected: list[Any], found: list[Any], scale: float = 1e-5) -> None:
    for one, other in zip(expected, found, strict=True):
        assert isinstance(other, np.ndarray) and one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=scale, atol=scale)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
def test_a_whole_training_step(make: Any) -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    optimizer, loss = make(model.parameters(), lr=0.1), nn.CrossEntropyLoss()

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    agree(*both(step, cr.rand(10, 6), cr.randint(0, 3, (10,))))


def test_a_loop_and_its_derivatives() -> None:
    w = cr.tensor(np.linspace(-1, 1, 9).reshape(3, 3), requires_grad=True)

    def run(x: Any, c: Any) -> Any:
        last, ys = cr.scan(lambda c, x: ((c @ w + x).tanh(), c.sum()), c, x, reverse=True)
        loss = (last**2).sum() + (ys**2).sum()
        first = cr.grad(loss, [w, x, c])
        return [loss, *first, *cr.grad(sum((g * g).sum() for g in first), [w, x, c])]

    rng = np.random.default_rng(0)
    x = cr.tensor(rng.standard_normal((5, 2, 3)), requires_grad=True)
    c = cr.tensor(rng.standard_normal((2, 3)), requires_grad=True)
    agree(*both(run, x, c), 1e-10)


def test_64_bit_types_inside_only() -> None:
    expected, found = both(lambda x, n: (x / 3, n * 2**40), cr.rand(3).double(), cr.arange(3))
    agree(expected, found, 1e-15)
    assert found[0].dtype == np.float64 and found[1].dtype == np.int64
    assert jax.numpy.asarray(np.ones(1)).dtype == np.float32, "JAX's own setting outside"


def test_products_of_float32_have_its_precision() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((128, 128)).astype(np.float32) for _ in range(2))
    _, found = both(lambda x, y: x @ y, cr.tensor(a), cr.tensor(b))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    assert np.abs(found[0] - exact).max() < 1e-4


def test_random_bits_are_the_same_bits() -> None:
    g = cr.Generator(7, "x")
    expected, found = both(lambda: (g.uniform((1000,)), g.bits((5,)), g.below((99,), 0.3)))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_devices() -> None:
    graph = cr.trace(lambda x: x + 1, cr.ones(2)).graph
    assert xla.compile_graph(graph)(np.ones(2, np.float32))[0].tolist() == [2.0, 2.0]
    assert xla.compile_graph(graph, device="cpu:0")(np.ones(2, np.float32))[0].tolist() == [2.0] * 2
    for missing in ("nowhere", "cpu:99", "cpu:x"):
        with pytest.raises(EngineError, match=f"JAX sees no device '{missing}'") as refused:
            xla.compile_graph(graph, device=missing)
        assert "expected: one of cpu" in str(refused.value)


@pytest.mark.parametrize("engine", [numpy_engine, xla])
def test_arrays_that_do_not_fit_are_refused(engine: Any) -> None:
    program = engine.compile_graph(cr.trace(lambda x: x + 1, cr.ones(2).named("x")).graph)
    with pytest.raises(EngineError, match="has 1 inputs; given 2 arrays"):
        program(np.ones(2, np.float32), np.ones(2, np.float32))
    with pytest.raises(EngineError, match=r"given: float64\[2\]\n  expected: float32\[2\]"):
        program(np.ones(2))
    with pytest.raises(EngineError, match="fix: compile again for this shape"):
        program(np.ones(3, np.float32))


def test_programs_explain_themselves() -> None:
    graph = cr.trace(lambda x: x.tanh(), cr.ones(2)).graph
    text = xla.compile_graph(graph).explain()
    assert "tanh(" in text and "stablehlo" in text
    assert "1 ops, interpreted in this order" in numpy_engine.compile_graph(graph).explain()


def test_jax_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "jax":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.partition(".")[0] == "jax"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", without)
    graph = cr.trace(lambda x: x + 1, cr.ones(2)).graph
    with pytest.raises(MissingExtraError, match=r'pip install "chainrule\[xla\]"'):
        xla.compile_graph(graph)


def test_constants_of_a_graph_may_be_arrays() -> None:
    mask = cr.tensor([1.0, 0.0])

    def run(x: Any) -> Any:
        y = x * 1
        y[0] = 5.0
        return y * mask

    agree(*both(run, cr.ones(2)))
