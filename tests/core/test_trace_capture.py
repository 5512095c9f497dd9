"""What a trace captures, what it gives back, and what it refuses."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, ops, optim
from chainrule.engines.numpy import compile_graph
from chainrule.errors import TraceError
from chainrule.graph.trace import outside


def run(traced: Any, *arguments: np.ndarray) -> list[np.ndarray]:
    """The traced graph on NumPy, captured tensors and numbers read now."""
    inputs = [*arguments, *(handle.node.value() for handle in traced.captured)]
    inputs += [np.asarray(getter()) for getter in traced.getters]
    traced.graph.verify()
    return compile_graph(traced.graph)(*inputs)


def test_the_same_code_gives_the_same_values() -> None:
    w = cr.rand(3, 4, requires_grad=True)

    def f(x: Any) -> Any:
        y = ((x @ w).tanh() ** 2).mean()
        return y, *cr.grad(y, [w])

    x = cr.rand(5, 3)
    found = run(cr.trace(f, x), x.numpy())
    for one, other in zip(found, f(x), strict=True):
        np.testing.assert_array_equal(one, other.detach().numpy())


def test_tensors_read_are_inputs_in_the_order_of_reading_and_once() -> None:
    a, b = cr.rand(2), cr.rand(2)
    traced = cr.trace(lambda x: (x * b + a) * b, cr.rand(2))
    assert [handle is one for handle, one in zip(traced.captured, (b, a), strict=True)] == [
        True
    ] * 2
    assert traced.arguments == 1 and len(traced.graph.inputs) == 3


def test_tensors_read_change_between_runs() -> None:
    a = cr.tensor([1.0])
    traced = cr.trace(lambda x: x + a, cr.zeros(1))
    a += 5
    assert run(traced, np.zeros(1, np.float32))[0].tolist() == [6.0]


def test_tensors_rebound_are_outputs_and_get_their_node_back() -> None:
    counter = cr.tensor([1.0])
    before = counter.node

    def f(x: Any) -> Any:
        nonlocal counter
        counter += x
        counter.mul_(2)
        return counter * 10

    traced = cr.trace(f, cr.ones(1))
    assert counter.node is before
    assert len(traced.rebound) == 1 and traced.rebound[0] is counter
    assert traced.results == 1
    results = run(traced, np.array([3.0], np.float32))
    assert [one.tolist() for one in results] == [[80.0], [8.0]]


def test_item_assignment_and_data_in_a_trace() -> None:
    buffer = cr.zeros(3)

    def f(x: Any) -> None:
        buffer[1] = x.sum()
        buffer.data[0] = 7.0

    traced = cr.trace(f, cr.ones(2))
    assert traced.rebound[0] is buffer and buffer.tolist() == [0.0, 0.0, 0.0]
    assert run(traced, np.ones(2, np.float32))[-1].tolist() == [7.0, 2.0, 0.0]


def test_a_whole_training_step_is_one_graph() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    loss = nn.CrossEntropyLoss()
    x, y = cr.rand(6, 3), cr.tensor([0, 1, 0, 1, 1, 0])

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    traced = cr.trace(step, x, y)
    names = {parameter.node.name for parameter in model.parameters()}
    assert all(parameter.grad is None for parameter in model.parameters()), names
    found = run(traced, x.numpy(), y.numpy())
    expected = step(x, y)
    assert found[0] == pytest.approx(expected.item(), rel=1e-6)
    for handle, array in zip(traced.rebound, found[traced.results :], strict=True):
        np.testing.assert_allclose(handle.detach().numpy(), array, rtol=1e-5, atol=1e-7)


def test_numbers_that_may_change_are_inputs() -> None:
    settings = {"lr": 0.5}

    def f(x: Any) -> Any:
        rate = cr.Tensor(ops.runtime(lambda: settings["lr"], key="lr"))
        again = cr.Tensor(ops.runtime(lambda: settings["lr"], key="lr"))
        return x * rate + again

    traced = cr.trace(f, cr.ones(2))
    assert len(traced.getters) == 1
    assert traced.graph.outputs[0].dtype is cr.float32
    assert run(traced, np.ones(2, np.float32))[0].tolist() == [1.0, 1.0]
    settings["lr"] = 2.0
    assert run(traced, np.ones(2, np.float32))[0].tolist() == [4.0, 4.0]
    assert f(cr.ones(2)).tolist() == [4.0, 4.0]


def test_random_numbers_move_on_with_each_run() -> None:
    g = cr.Generator(1, "x")
    traced = cr.trace(lambda: g.uniform((2,)))
    first = run(traced)
    assert g.counter.item() == 0
    expected = g.uniform((2,))
    np.testing.assert_array_equal(first[0], expected.numpy())
    np.testing.assert_array_equal(run(traced)[0], g.uniform((2,)).numpy())


def test_structures_of_results() -> None:
    traced = cr.trace(lambda x: {"a": (x, [x + 1]), "b": 3}, cr.ones(1))
    assert traced.results == 2
    assert traced.structure == {"a": (0, [1]), "b": 3}


def test_gradients_of_arguments() -> None:
    def f(x: Any) -> Any:
        (x * x).sum().backward()
        return x.grad

    x = cr.tensor([3.0], requires_grad=True)
    assert run(cr.trace(f, x), np.array([4.0], np.float32))[0].tolist() == [8.0]
    assert x.grad is None


def test_kept_gradients_are_outputs() -> None:
    w = cr.tensor([3.0], requires_grad=True)

    def f(x: Any) -> None:
        w.grad = None
        (w * x).sum().backward()

    traced = cr.trace(f, cr.ones(1), keep_grads=True)
    assert traced.grads == (w,) and w.grad is None
    assert run(traced, np.array([2.0], np.float32))[-1].tolist() == [2.0]


def test_detach_and_no_grad_stop_gradients_in_a_trace() -> None:
    w = cr.tensor([3.0], requires_grad=True)

    def f(x: Any) -> Any:
        with cr.no_grad():
            hidden = w * x
        total = (hidden * w + (w * x).detach() * w).sum()
        fresh = (w * x).detach().requires_grad_()
        return (*cr.grad(total, [w]), *cr.grad((fresh**2).sum(), [fresh]))

    x = cr.tensor([2.0])
    expected = [one.tolist() for one in f(x)]
    assert [one.tolist() for one in run(cr.trace(f, x), x.numpy())] == expected == [[12.0], [12.0]]


ASKING = [
    lambda x: x.sum().item(),
    lambda x: float(x.sum()),
    lambda x: bool(x.sum() > 0),
    lambda x: int(x.sum()),
    lambda x: x.numpy(),
    lambda x: x.tolist(),
    lambda x: np.asarray(x),
    lambda x: f"{x.sum():.3f}",
    lambda x: [k for k in range(3) if x.sum() > k],
]


@pytest.mark.parametrize("ask", ASKING)
def test_asking_for_a_value_is_refused_with_the_fix(ask: Any) -> None:
    with pytest.raises(TraceError, match="while the step is being compiled") as refused:
        cr.trace(ask, cr.ones(2))
    assert "fix: return the tensor from the compiled function" in str(refused.value)
    assert f'"{__file__}"' in str(refused.value) or "tensor: input" in str(refused.value)


def test_printing_a_traced_tensor_shows_that_it_is_one() -> None:
    seen = []
    cr.trace(lambda x: seen.append(repr(x * 2)), cr.ones(2))
    assert seen == ["tensor(traced, shape=(2,))"]


def test_a_tensor_that_leaks_says_so() -> None:
    kept = []
    cr.trace(lambda x: kept.append(x * 2), cr.ones(2))
    with pytest.raises(TraceError, match="made while a function was being compiled"):
        kept[0].tolist()
    with pytest.raises(TraceError, match="fix: return it from the compiled function"):
        kept[0] + 1


def test_indexing_by_values_is_refused_with_the_fix() -> None:
    with pytest.raises(TraceError, match=r"use cr\.where\(mask, a, b\)"):
        cr.trace(lambda x: x[x > 0], cr.ones(2))
    traced = cr.trace(lambda x, i: x[i], cr.ones(3), cr.tensor([0, 2]))
    assert run(traced, np.arange(3, dtype=np.float32), np.array([2, 1]))[0].tolist() == [2.0, 1.0]


def test_masked_assignment_works_in_a_trace() -> None:
    def f(x: Any) -> Any:
        y = x * 1
        y[y > 1] = 0.0
        return y

    x = np.array([0.5, 2.0], np.float32)
    assert run(cr.trace(f, cr.ones(2)), x)[0].tolist() == [0.5, 0.0]


def test_gradients_that_add_up_over_calls_are_refused() -> None:
    w = cr.tensor([1.0], requires_grad=True)
    (w * 1).sum().backward()
    with pytest.raises(TraceError, match=r"call optimizer\.zero_grad\(\) in the step"):
        cr.trace(lambda x: (w * x).sum().backward(), cr.ones(1))
    assert w.grad.tolist() == [1.0]


def test_a_trace_in_a_trace_is_refused_and_errors_leave_no_trace_behind() -> None:
    with pytest.raises(TraceError, match="a trace is running already"):
        cr.trace(lambda x: cr.trace(lambda y: y, x), cr.ones(1))
    state = cr.tensor([1.0])

    def broken(x: Any) -> None:
        state.add_(x)
        raise KeyError("user's own")

    with pytest.raises(KeyError):
        cr.trace(broken, cr.ones(1))
    assert state.tolist() == [1.0] and (state + 1).tolist() == [2.0]


def test_outside_makes_state_with_values() -> None:
    made: list[Any] = []

    def f(x: Any) -> Any:
        if not made:
            with outside():
                made.append(cr.zeros(2))
        return x + made[0]

    traced = cr.trace(f, cr.ones(2))
    assert made[0].tolist() == [0.0, 0.0] and traced.captured[0] is made[0]


def test_captured_views_are_inputs() -> None:
    x = cr.tensor([[1.0, 2.0], [3.0, 4.0]])
    row = x[1]
    assert run(cr.trace(lambda y: row * y, cr.ones(2)), np.ones(2, np.float32))[0].tolist() == [
        3,
        4,
    ]
