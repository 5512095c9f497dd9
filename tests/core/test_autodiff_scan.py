"""The loop: eager, in a trace, and beside PyTorch's loops; values and derivatives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule import ops
from chainrule.engines import numpy as numpy_engine
from chainrule.errors import DTypeError, ShapeError, TraceError

STEPS, BATCH, INPUTS, STATES = 5, 3, 2, 4
RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape) * 0.7


RNN = {
    "x": draw(STEPS, BATCH, INPUTS),
    "h": draw(BATCH, STATES),
    "w": draw(STATES, INPUTS),
    "u": draw(STATES, STATES),
    "b": draw(STATES),
}


def traced_run(function: Callable[..., Any], *tensors: Any) -> list[np.ndarray]:
    """The function traced and run by NumPy."""
    traced = cr.trace(function, *tensors)
    traced.graph.verify()
    names = {node.op.name for node in traced.graph.nodes()}
    assert "scan" in names
    inputs = [tensor.detach().numpy() for tensor in tensors]
    inputs += [handle.node.value() for handle in traced.captured]
    inputs += [np.asarray(getter()) for getter in traced.getters]
    return numpy_engine.compile_graph(traced.graph)(*inputs)


def close(found: Any, expected: Any, scale: float = 1e-10) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        array = one.detach().numpy() if isinstance(one, cr.Tensor) else one
        other = other.detach().numpy() if isinstance(other, (cr.Tensor, torch.Tensor)) else other
        np.testing.assert_allclose(array, other, rtol=scale, atol=scale)


def chainrule_rnn(reverse: bool, order: int) -> Callable[..., list[Any]]:
    def step(c: Any, x: Any, w: Any, u: Any, b: Any) -> Any:
        new = (x @ w.T + c @ u.T + b).tanh()
        return new, (new * new, new.sum(1))

    def run(x: Any, h: Any, w: Any, u: Any, b: Any) -> list[Any]:
        last, (squares, sums) = cr.scan(step, h, x, (w, u, b), reverse=reverse)
        times = cr.arange(STEPS, dtype=cr.float64).reshape(STEPS, 1)
        loss = (squares * squares).sum() + (last**3).sum() + (sums * times).sum()
        found = [loss, last, squares]
        wanted = [x, h, w, u, b]
        for _ in range(order):
            gradients = cr.grad(loss, wanted)
            found += gradients
            loss = sum((g * g).sum() for g in gradients)
        return found

    return run


def torch_rnn(reverse: bool, order: int) -> list[Any]:
    x, h, w, u, b = (torch.tensor(array, requires_grad=True) for array in RNN.values())
    c, loss, squares = h, 0, [None] * STEPS
    for t in reversed(range(STEPS)) if reverse else range(STEPS):
        c = torch.tanh(x[t] @ w.T + c @ u.T + b)
        squares[t] = c * c
        loss = loss + (c**4).sum() + (c.sum(1) * t).sum()
    loss = loss + (c**3).sum()
    found = [loss, c, torch.stack(squares)]
    for _ in range(order):
        gradients = torch.autograd.grad(loss, [x, h, w, u, b], create_graph=True)
        found += gradients
        loss = sum((g * g).sum() for g in gradients)
    return found


def leaves() -> list[Any]:
    return [cr.tensor(array, requires_grad=True) for array in RNN.values()]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_a_recurrent_network_is_that_of_torch(mode: str, order: int, reverse: bool) -> None:
    run = chainrule_rnn(reverse, order)
    found = run(*leaves()) if mode == "eager" else traced_run(run, *leaves())
    close(found, torch_rnn(reverse, order), 1e-9)


def test_captured_weights_are_constants_of_the_loop() -> None:
    x, h, w, u, b = leaves()

    def run(x: Any, h: Any) -> list[Any]:
        last, _ = cr.scan(lambda c, x: ((x @ w.T + c @ u.T + b).tanh(), None), h, x)
        return cr.grad(last.sum(), [w, u, b, x, h])

    close(traced_run(run, x, h), run(x, h))


def test_weights_gradients_are_one_product_behind_the_loop() -> None:
    run = chainrule_rnn(False, 1)
    nodes = cr.trace(run, *leaves()).graph.nodes()
    backward = [node for node in nodes if node.op is ops.SCAN][1]
    body = backward.attrs["body"]
    assert body.carries == 1, "no weight's gradient is added up inside of the loop"
    behind = [node for node in nodes if node.op.name == "matmul"]
    sizes = sorted(sorted(node.shape) for node in behind if node.ndim == 2)
    assert sizes == [[INPUTS, STATES], [STATES, STATES]]


def products(nodes: list[Any]) -> list[tuple[int, ...]]:
    return sorted(node.shape for node in nodes if node.op.name == "matmul")


def test_products_that_no_carry_reaches_are_done_before_the_loop() -> None:
    nodes = cr.trace(chainrule_rnn(False, 1), *leaves()).graph.nodes()
    forward, backward = (node for node in nodes if node.op is ops.SCAN)
    assert products(forward.attrs["body"].nodes()) == [(BATCH, STATES)]
    assert products(backward.attrs["body"].nodes()) == [(BATCH, STATES)]
    # The input's share of all steps, and its gradient.
    over_time = [node.shape for node in nodes if node.op.name == "matmul" and node.ndim == 3]
    assert sorted(over_time) == [(STEPS, BATCH, INPUTS), (STEPS, BATCH, STATES)]


def test_products_that_only_outputs_need_are_done_behind_the_loop() -> None:
    v = cr.tensor(draw(STATES, 7), requires_grad=True)

    def run(x: Any, h: Any, w: Any, u: Any, b: Any) -> list[Any]:
        def step(c: Any, x: Any) -> Any:
            new = (x @ w.T + c @ u.T + b).tanh()
            return new, ((new @ v + 1).tanh(), c @ v, new)

        last, (ys, before, states) = cr.scan(step, h, x)
        loss = (ys * ys).sum() + (before * before).sum() + (last * states).sum()
        return [ys, before, states, *cr.grad(loss, [x, h, w, u, b, v])]

    tensors = leaves()
    close(traced_run(run, *tensors), run(*tensors))
    nodes = cr.trace(run, *tensors).graph.nodes()
    for loop in (node for node in nodes if node.op is ops.SCAN):
        assert products(loop.attrs["body"].nodes()) == [(BATCH, STATES)]
    assert products(nodes).count((STEPS, BATCH, 7)) == 2


def test_what_the_body_keeps_without_history_stays_in_the_loop() -> None:
    x, h, w, *_ = leaves()

    def run(x: Any, h: Any, w: Any) -> list[Any]:
        def step(c: Any, x: Any) -> Any:
            with cr.no_grad():
                still = x @ w.T
            return c * still + x @ w.T, still

        last, ys = cr.scan(step, h, x)
        return [last, ys, *cr.grad((last * last).sum() + (last * ys).sum(), [x, h, w])]

    close(traced_run(run, x, h, w), run(x, h, w))


def test_what_is_neither_product_nor_sum_is_added_up_in_the_loop() -> None:
    k = cr.tensor(draw(4), requires_grad=True)
    x, c = cr.tensor(draw(6, 4), requires_grad=True), cr.tensor(draw(4), requires_grad=True)

    def run(x: Any, c: Any) -> list[Any]:
        last, ys = cr.scan(lambda c, x: ((c * k).sin() + x, c * k.exp()), c, x)
        return cr.grad((last * last).sum() + ys.sum(), [k, x, c])

    close(traced_run(run, x, c), run(x, c))


def test_only_what_is_asked_is_differentiated() -> None:
    x, h, w, u, b = leaves()

    def run(x: Any, h: Any) -> list[Any]:
        last, ys = cr.scan(lambda c, x: ((x @ w.T + c @ u.T + b).tanh(), c * 2), h, x)
        return cr.grad(ys[0].sum(), [h]) + cr.grad(last.sum(), [b])

    close(traced_run(run, x, h), run(x, h))


def test_several_carries_of_several_dtypes() -> None:
    x = cr.tensor(draw(5, 3), requires_grad=True)

    def body(carry: Any, x: Any) -> Any:
        total, count, largest = carry["total"], carry["count"], carry["largest"]
        new = {
            "total": total + x * count.double(),
            "count": count + 1,
            "largest": largest.maximum(x.abs()),
        }
        return new, [count, x > 0]

    def run(x: Any) -> Any:
        start = {
            "total": cr.zeros(3, dtype=cr.float64),
            "count": cr.tensor(1),
            "largest": cr.zeros(3, dtype=cr.float64),
        }
        end, (counts, signs) = cr.scan(body, start, x)
        loss = (end["total"] ** 2).sum() + end["largest"].sum()
        return [end["count"], counts, signs, loss, *cr.grad(loss, [x])]

    close(traced_run(run, x), run(x))


def test_random_numbers_in_the_body_move_on() -> None:
    """The generator's counter is rebound by the body: a carry that nobody wrote."""
    x = cr.ones(4, 3, dtype=cr.float64, requires_grad=True)
    g = cr.Generator(3, "loop")

    def run(x: Any) -> Any:
        total, masks = cr.scan(
            lambda c, x: ((c + x) * g.below((3,), 0.5).double(), c),
            cr.zeros(3, dtype=cr.float64),
            x,
        )
        return [total, masks, *cr.grad(total.sum() + masks.sum(), [x])]

    traced = traced_run(run, x)
    state = g.get_state()
    assert state["counter"] == 0
    close(traced[:3], run(x))
    assert g.get_state()["counter"] == traced[3] == 4


def test_running_statistics_in_the_body() -> None:
    mean = cr.zeros(2, dtype=cr.float64)
    w = cr.tensor(draw(2), requires_grad=True)
    x = cr.tensor(draw(6, 2), requires_grad=True)

    def run(x: Any) -> Any:
        def body(c: Any, x: Any) -> Any:
            with cr.no_grad():
                mean.mul_(0.9).add_(0.1 * x)
            return c + (x - mean) * w, None

        end, nothing = cr.scan(body, cr.zeros(2, dtype=cr.float64), x)
        assert nothing is None
        return [end, *cr.grad(end.sum(), [x, w])]

    found = traced_run(run, x)
    assert mean.tolist() == [0.0, 0.0]
    close(found[:3], run(x))
    np.testing.assert_allclose(found[3], mean.numpy())


def test_a_carry_that_becomes_differentiable_in_the_body() -> None:
    """It starts as plain zeros, and a captured parameter flows into it."""
    w = cr.tensor(draw(3), requires_grad=True)
    held = cr.zeros(3, dtype=cr.float64)

    def run(x: Any) -> Any:
        def body(c: Any, x: Any) -> Any:
            held.copy_(held + c * w)
            return c + w * x, None

        end, _ = cr.scan(body, cr.zeros(3, dtype=cr.float64), x)
        return cr.grad((end * end).sum() + (held * held).sum(), [w])

    x = cr.tensor(draw(4, 3))
    found = traced_run(run, x)
    held = cr.zeros(3, dtype=cr.float64)
    close(found[:1], run(x))


def test_loops_in_loops() -> None:
    x = cr.tensor(draw(3, 4, 2), requires_grad=True)
    w = cr.tensor(draw(2), requires_grad=True)

    def inner(c: Any, x: Any) -> Any:
        new = (c * w + x).tanh()
        return new, new

    def outer(c: Any, x: Any) -> Any:
        last, ys = cr.scan(inner, c, x, reverse=True)
        return last, ys.sum(0)

    def run(x: Any) -> Any:
        last, ys = cr.scan(outer, cr.zeros(2, dtype=cr.float64), x)
        loss = (last**2).sum() + (ys**3).sum()
        first = cr.grad(loss, [x, w])
        return [loss, *first, *cr.grad(sum((g * g).sum() for g in first), [x, w])]

    close(traced_run(run, x), run(x), 1e-8)


@pytest.mark.parametrize("steps", [0, 1])
def test_few_steps(steps: int) -> None:
    x = cr.tensor(draw(steps, 2), requires_grad=True)
    c = cr.tensor(draw(2), requires_grad=True)

    def run(x: Any, c: Any) -> Any:
        last, (a, b) = cr.scan(lambda c, x: (c * x, (c, (x > 0).long())), c, x)
        return [last, a, b, *cr.grad(last.sum() + a.sum(), [c])]

    found = run(x, c)
    assert found[1].shape == (steps, 2) and found[2].dtype is cr.int64
    close(traced_run(run, x, c), found)


def test_each_time_step_is_seen_when_eager() -> None:
    with cr.record():
        _, ys = cr.scan(lambda c, x: ((c + x).tanh(), c), cr.zeros(2), cr.ones(4, 2))
    names = [node.op.name for node in cr.graph.topological([ys.node])]
    assert names.count("tanh") == 3 and "scan" not in names


def test_run_time_numbers_in_the_body() -> None:
    settings = {"rate": 0.5}

    def run(x: Any) -> Any:
        rate = lambda: cr.Tensor(ops.runtime(lambda: settings["rate"], key="rate"))  # noqa: E731
        return cr.scan(lambda c, x: (c + x * rate(), None), cr.zeros(2), x)[0] * rate()

    traced = cr.trace(run, cr.ones(3, 2))
    assert len(traced.getters) == 1
    program = numpy_engine.compile_graph(traced.graph)
    captured = [handle.node.value() for handle in traced.captured]
    for rate in (0.5, 2.0):
        found = program(np.ones((3, 2), np.float32), *captured, np.asarray(rate))[0]
        assert found.tolist() == [3 * rate * rate] * 2


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        (lambda c, x: (c[:1], None), ShapeError, "changes the shape or dtype of carry 0"),
        (lambda c, x: (c.double(), None), DTypeError, "fix: start from a carry of the shape"),
        (lambda c, x: c, ShapeError, "fix: return carry, None if there is no y"),
        (lambda c, x: ((c, c), None), ShapeError, "another structure of carries"),
    ],
)
def test_bodies_that_cannot_loop(
    body: Any, error: type[Exception], text: str, traced: bool
) -> None:
    def run(x: Any) -> Any:
        return cr.scan(body, cr.zeros(2), x)

    with pytest.raises(error, match=text):
        cr.trace(run, cr.ones(3, 2)) if traced else run(cr.ones(3, 2))
    assert (cr.ones(1) + 1).tolist() == [2.0]


def test_inputs_that_cannot_be_scanned() -> None:
    with pytest.raises(ShapeError, match=r"fix: xs=cr\.arange"):
        cr.scan(lambda c, x: (c, None), cr.zeros(2), ())
    with pytest.raises(ShapeError, match="first axes of one length"):
        cr.scan(lambda c, x: (c, None), cr.zeros(2), (cr.ones(2), cr.ones(3)))
    with pytest.raises(ShapeError, match="first axis of every scanned tensor is time"):
        cr.scan(lambda c, x: (c, None), cr.zeros(2), cr.tensor(1.0))


def test_backward_inside_of_the_body_is_refused_in_a_trace() -> None:
    w = cr.ones(2, requires_grad=True)

    def body(c: Any, x: Any) -> Any:
        (w * x).sum().backward()
        return c, None

    with pytest.raises(TraceError, match=r"use cr\.grad in the body"):
        cr.trace(lambda x: cr.scan(body, cr.zeros(2), x)[0], cr.ones(3, 2))
    assert w.grad is None


def test_gradients_inside_of_the_body() -> None:
    """A step of Newton's method in each step: the body differentiates."""
    w = cr.tensor([1.5], dtype=cr.float64, requires_grad=True)

    def body(c: Any, x: Any) -> Any:
        start = c.detach().requires_grad_()
        (slope,) = cr.grad(((start * start - x) ** 2).sum(), [start])
        return c - 0.1 * slope * w, slope

    def run(x: Any) -> Any:
        end, slopes = cr.scan(body, cr.ones(1, dtype=cr.float64), x)
        return [end, slopes, *cr.grad(end.sum(), [w])]

    x = cr.tensor([[2.0], [2.0], [2.0]], dtype=cr.float64)
    close(traced_run(run, x), run(x))
