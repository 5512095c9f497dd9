"""Long chains, constant memory, the line of the user's code, parts and labels of gradients."""

import contextlib
import gc
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule import autodiff, nn, optim
from chainrule.graph import topological


def test_a_chain_of_50_000_nodes_differentiates() -> None:
    x = cr.tensor(1.0, requires_grad=True, dtype=cr.float64)
    y = x
    for _ in range(25_000):
        y = y * 1.00001 + 0.0
    y.backward()
    assert x.grad.item() == pytest.approx(1.00001**25_000)
    assert len(topological([y.node])) > 50_000


def test_a_chain_of_50_000_nodes_differentiates_while_recording() -> None:
    with cr.record():
        x = cr.tensor([1.0, 2.0], requires_grad=True)
        y = x
        for _ in range(50_000):
            y = y + 1.0
        result = autodiff.sweep(y.sum().node)
    assert result[x.node].value().tolist() == [1.0, 1.0]


def test_a_chain_is_freed_without_recursion() -> None:
    x = cr.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(200_000):
        y = y + 1.0
    del y
    gc.collect()


def test_a_wide_sum_and_a_reused_node() -> None:
    x = cr.tensor(2.0, requires_grad=True, dtype=cr.float64)
    total = x * 0
    for _ in range(3000):
        total = total + x * x
    total.backward()
    assert x.grad.item() == pytest.approx(3000 * 4.0)


def test_memory_is_constant_over_10_000_training_steps() -> None:
    """Neither objects nor bytes grow: history is dropped with each step's results."""
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    x, y = cr.rand(4, 2), cr.rand(4, 1)

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            ((model(x) - y) ** 2).mean().backward()
            optimizer.step()

    train(200)
    gc.collect()
    objects = len(gc.get_objects())
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    train(2_000)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    train(7_800)
    gc.collect()
    assert grown < 20_000, f"2,000 steps left {grown} bytes behind"
    assert len(gc.get_objects()) - objects < 200


def test_results_without_gradient_keep_no_inputs() -> None:
    x = cr.rand(3)
    y = ((x * 2).exp() + 1).sum()
    assert y.is_leaf and not y.inputs
    w = cr.rand(3, requires_grad=True)
    assert (w * x).inputs and not (w.detach() * x).inputs


def test_gradients_are_detached_values() -> None:
    w = cr.rand(3, requires_grad=True)
    (w * w).sum().backward()
    assert not w.grad.requires_grad and not w.grad.inputs


def test_the_line_of_user_code_is_on_each_node() -> None:
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    y = (x * 2).sum()  # the line
    line = y.node.line
    assert line is not None
    assert line[0] == __file__
    with open(__file__, encoding="utf-8") as source:
        assert "# the line" in source.read().splitlines()[line[1] - 1]
    (gradient,) = cr.grad(y, x)
    assert gradient.node.line == line or gradient.node.is_leaf


class Squaring(nn.Module):
    """A user's module among the library's."""

    def forward(self, x: Any) -> Any:
        return x * x  # squared here


def test_lines_of_nodes_made_in_modules() -> None:
    model = nn.Sequential(nn.Linear(2, 2), Squaring(), nn.Tanh())
    tanh = model(cr.rand(3, 2)).node  # called here
    square = tanh.inputs[0]
    with open(__file__, encoding="utf-8") as source:
        text = source.read().splitlines()
    assert "# called here" in text[tanh.line[1] - 1]
    assert "# squared here" in text[square.line[1] - 1]
    assert "# called here" in text[square.inputs[0].line[1] - 1]
    lines = []
    model[2].register_forward_hook(lambda *args: lines.append((args[2] * 2).node.line[1]))
    model(cr.rand(3, 2))
    assert "register_forward_hook" in text[lines[0] - 1]


def test_gradient_nodes_have_the_layer_and_line_of_what_they_differentiate() -> None:
    layer = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    with cr.record():
        y = layer(cr.rand(3, 2)).sum()
        result = autodiff.sweep(y.node)
    weight = layer[0].weight
    gradient = result[weight.node]
    assert gradient is not None
    assert gradient.op.name == "matmul" and gradient.scope == "0"
    assert weight.node in gradient.wrt


def test_parts_are_the_terms_of_a_gradient() -> None:
    with cr.record():
        x = cr.tensor(3.0)
        y = x * x + x.exp()
        result = autodiff.sweep(y.node)
    parts = result.parts(x.node)
    assert sorted(part.consumer.op.name for part in parts) == ["exp", "mul", "mul"]
    assert {part.slot for part in parts if part.consumer.op.name == "mul"} == {0, 1}
    total = sum(part.gradient.value().item() for part in parts)
    assert result[x.node].value().item() == pytest.approx(total)  # type: ignore[union-attr]
    assert x.node in result[x.node].wrt  # type: ignore[union-attr]


def test_only_paths_to_what_is_asked_are_visited() -> None:
    with cr.record():
        a, b = cr.rand(3, requires_grad=True), cr.rand(3, requires_grad=True)
        y = (a.exp() * b.log()).sum()
        result = autodiff.sweep(y.node, [a.node])
    assert result[a.node] is not None and result[b.node] is None


def test_integers_on_the_way_stop_gradients() -> None:
    x = cr.tensor([0.2, 3.7, 1.0], requires_grad=True)
    picked = x[x.argmax(0, keepdim=True)] * x.long().float().sum()
    picked.sum().backward()
    assert x.grad.tolist() == [0.0, 4.0, 0.0]


def test_threads_have_their_own_grad_mode() -> None:
    x = cr.ones(1, requires_grad=True)
    seen = []
    with cr.no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
        assert not (x * 2).requires_grad
    assert seen == [True]


def test_default_dtype_reaches_results_of_whole_numbers() -> None:
    """The dtype of exp of whole numbers follows the default, also after it changes."""
    x = cr.tensor([1, 2])
    assert x.exp().dtype is cr.float32
    cr.set_default_dtype(cr.float64)
    try:
        assert x.exp().dtype is cr.float64 and (x / 2).dtype is cr.float64
    finally:
        cr.set_default_dtype(cr.float32)
    assert x.exp().dtype is cr.float32


def test_numpy_settings_of_the_user_are_left_alone() -> None:
    """Eager ops give IEEE results without warnings, whatever NumPy has been told."""
    with np.errstate(all="raise"):
        x = cr.tensor([0.0, -1.0], requires_grad=True)
        y = (x.log() / x).sum()
        y.backward()
        assert np.geterr()["divide"] == "raise"
    assert np.isnan(y.item())


@pytest.mark.parametrize(
    "cuts",
    [
        [0, 1, 2, 3, 4],
        [slice(0, 2), slice(3, 5)],
        [slice(0, 3), slice(2, 5)],
        [1, 1, slice(0, 1)],
        [slice(0, 5, 2), 1],
        [slice(2, 2), 1],
        [(slice(None), 0), (slice(None), 2)],
        [0, (slice(None), 1)],
        [(0, 1), (2, 0)],
    ],
)
@pytest.mark.parametrize("whole", [0, 1, 2])
def test_pieces_give_the_gradient_that_they_give_when_seen(cuts: list[Any], whole: int) -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(5, 3)).astype(np.float32)

    def gradients(seen: bool) -> list[Any]:
        x = cr.tensor(array, requires_grad=True)
        with cr.record() if seen else contextlib.nullcontext():
            y = x * 1.5
            j = sum((k + 0.3) * (y[cut] ** 3).sum() for k, cut in enumerate(cuts))
            j = sum([(y ** (k + 2)).sum() for k in range(whole)], j)
            first = cr.grad(j, [x], create_graph=True)[0]
            return [
                first.detach().numpy(),
                cr.grad((first * first).sum(), [x], create_graph=False)[0].numpy(),
            ]

    for one, other in zip(gradients(False), gradients(True), strict=True):
        np.testing.assert_array_equal(one, other)
    x = torch.tensor(array, requires_grad=True)
    y = x * 1.5
    j = sum((k + 0.3) * (y[cut] ** 3).sum() for k, cut in enumerate(cuts))
    j = sum([(y ** (k + 2)).sum() for k in range(whole)], j)
    expected = torch.autograd.grad(j, [x])[0].numpy() if j.requires_grad else np.zeros_like(array)
    np.testing.assert_allclose(gradients(False)[0], expected, rtol=1e-5, atol=1e-6)
