"""`explain.blame`: shares of a real step, for any optimizer, and nothing live changes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import explain
from chainrule.errors import OptionError

RNG = np.random.default_rng(11)
X = RNG.normal(size=(20, 6)).astype("float32")
Y = RNG.integers(0, 3, 20)
LOSS = cr.nn.CrossEntropyLoss()
RULES: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: cr.optim.SGD(p, lr=0.05),
    "momentum": lambda p: cr.optim.SGD(p, lr=0.05, momentum=0.9),
    "decay": lambda p: cr.optim.SGD(p, lr=0.05, weight_decay=0.1),
    "adam": lambda p: cr.optim.Adam(p, lr=0.01),
}


def trained(rule: str, steps: int = 3) -> tuple[Any, Any]:
    cr.manual_seed(4)
    model = cr.nn.Sequential(cr.nn.Linear(6, 8), cr.nn.Tanh(), cr.nn.Linear(8, 3))
    optimizer = RULES[rule](model.parameters())
    for _ in range(steps):
        step(model, optimizer)
    return model, optimizer


def step(model: Any, optimizer: Any) -> None:
    optimizer.zero_grad()
    LOSS(model(cr.tensor(X)), cr.tensor(Y)).backward()
    optimizer.step()


def values(model: Any) -> dict[str, Any]:
    return {n: p.detach().numpy().astype(np.float64) for n, p in model.named_parameters()}


@pytest.mark.parametrize("rule", RULES)
def test_shares_follow_from_the_step_that_the_optimizer_would_make(rule: str) -> None:
    model, optimizer = trained(rule)
    data = explain.blame(model, LOSS, optimizer, X, Y).data
    before = values(model)
    step(model, optimizer)
    gradients = {n: p.grad.numpy().astype(np.float64) for n, p in model.named_parameters()}
    gains = {
        layer: -sum(
            float((gradients[n] * (after - before[n])).sum())
            for n, after in values(model).items()
            if n.startswith(layer)
        )
        for layer in ("0", "2")
    }
    total = sum(gains.values())
    assert sum(row["share"] for row in data["layers"]) == pytest.approx(1.0, abs=1e-12)
    for row in data["layers"]:
        assert row["gain"] == pytest.approx(gains[row["layer"]], rel=1e-5)
        assert row["share"] == pytest.approx(gains[row["layer"]] / total, rel=1e-5)
    assert data["predicted"] == pytest.approx(-total, rel=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_predicted_and_actual_change_differ_by_the_remainder(rule: str) -> None:
    model, optimizer = trained(rule)
    data = explain.blame(model, LOSS, optimizer, X, Y).data
    cost = LOSS(model(cr.tensor(X)), cr.tensor(Y)).item()
    step(model, optimizer)
    after = LOSS(model(cr.tensor(X)), cr.tensor(Y)).item()
    assert data["cost_before"] == pytest.approx(cost, rel=1e-5)
    assert data["cost_after"] == pytest.approx(after, rel=1e-5)
    assert data["actual"] == pytest.approx(data["predicted"] + data["remainder"], rel=1e-9)


def test_the_remainder_falls_with_the_square_of_the_step() -> None:
    model, _ = trained("sgd")
    remainders = [
        explain.blame(model, LOSS, cr.optim.SGD(model.parameters(), lr=lr), X, Y).data["remainder"]
        for lr in (0.02, 0.01)
    ]
    assert remainders[0] / remainders[1] == pytest.approx(4, rel=0.1)


def test_messages_are_the_partials_at_each_layer_s_output() -> None:
    model, optimizer = trained("sgd")
    messages = explain.blame(model, LOSS, optimizer, X, Y).data["messages"]
    with cr.record():
        z1 = model[0](cr.tensor(X))
        a1 = model[1](z1)
        z2 = model[2](a1)
        cost = LOSS(z2, cr.tensor(Y))
        wanted = cr.grad(cost, [z2, a1, z1])
    assert [m["layer"] for m in messages] == ["2", "1", "0"]
    for message, gradient in zip(messages, wanted, strict=True):
        assert message["length"] == pytest.approx(
            float(np.linalg.norm(gradient.detach().numpy())), rel=1e-5
        )


@pytest.mark.parametrize("rule", RULES)
def test_nothing_live_changes(rule: str) -> None:
    model, optimizer = trained(rule)
    model.train()
    before, state = values(model), optimizer.state_dict()
    grads = {n: p.grad.numpy().copy() for n, p in model.named_parameters()}
    view = explain.blame(model, LOSS, optimizer, X, Y)
    view.svg(), view.text()
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.detach().numpy(), before[name])
        np.testing.assert_array_equal(parameter.grad.numpy(), grads[name])
    assert str(optimizer.state_dict()) == str(state)
    assert all(module.training for module in model.modules())


def test_the_text_prints_all_figures() -> None:
    model, optimizer = trained("adam")
    text = explain.blame(model, LOSS, optimizer, X, Y).text()
    for part in ("the error's way back", "∂J/∂z2", "share of the step", "100.0 %", "Adam step: J"):
        assert part in text
    for part in ("predicted change", "actual change", "remainder"):
        assert part in text


def test_another_model_s_optimizer_is_refused() -> None:
    model, _ = trained("sgd")
    _, other = trained("sgd")
    with pytest.raises(OptionError, match="does not hold this model's parameters"):
        explain.blame(model, LOSS, other, X, Y)
