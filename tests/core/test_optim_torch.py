"""Optimizers against PyTorch: 20 steps equal to rounding, eagerly and compiled, and their state."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr

torch = pytest.importorskip("torch")
STEPS = 20
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.01, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "amsgrad": True}),
    ("Adam", {"lr": 0.01, "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.1, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.8, "momentum": 0.7, "centered": True}),
    ("RMSprop", {"lr": 0.01, "weight_decay": 0.1, "eps": 1e-2}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.7, "weight_decay": 0.1}),
    ("Rprop", {"lr": 0.01}),
    ("Rprop", {"lr": 0.05, "etas": (0.4, 1.5), "step_sizes": (1e-3, 0.1)}),
    ("Adamax", {"lr": 0.05}),
    ("Adamax", {"lr": 0.05, "betas": (0.5, 0.9), "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.05}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.05}),
    ("RAdam", {"lr": 0.05, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True}),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in SETTINGS]
DATA = np.random.default_rng(0)
X = DATA.normal(size=(12, 4)).astype(np.float32)
Y = DATA.normal(size=(12, 2)).astype(np.float32)


def start(dtype: str) -> list[np.ndarray[Any, Any]]:
    """A weight, a bias and a 0-d scale."""
    rng = np.random.default_rng(1)
    shapes: list[tuple[int, ...]] = [(2, 4), (2,), ()]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def loss_of(library: Any, w: Any, b: Any, s: Any, x: Any, y: Any) -> Any:
    error = library.tanh(x @ w.T + b) * s - y
    return (error * error).mean()


def run(library: Any, name: str, options: dict[str, Any], dtype: str, steps: int) -> Any:
    parameters = [library.tensor(value, requires_grad=True) for value in start(dtype)]
    optimizer = getattr(library.optim, name)(parameters, **options)
    x, y = library.tensor(X.astype(dtype)), library.tensor(Y.astype(dtype))
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(library, *parameters, x, y).backward()
        optimizer.step()
    return parameters, optimizer


def close(mine: Any, other: Any, dtype: str) -> None:
    limits = dict(rtol=2e-5, atol=2e-6) if dtype == "float32" else dict(rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), **limits)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name, options", SETTINGS, ids=IDS)
def test_twenty_steps(name: str, options: dict[str, Any], dtype: str) -> None:
    mine, _ = run(cr, name, options, dtype, STEPS)
    other, _ = run(torch, name, options, dtype, STEPS)
    for a, b in zip(mine, other, strict=True):
        assert str(a.dtype).removeprefix("chainrule.") == dtype
        # PyTorch keeps NAdam's product of momenta in float32.
        close(a, b, "float32" if name == "NAdam" else dtype)


@pytest.mark.parametrize("name, options", SETTINGS, ids=IDS)
def test_the_same_steps_compiled(name: str, options: dict[str, Any]) -> None:
    parameters = [cr.tensor(value, requires_grad=True) for value in start("float32")]
    optimizer = getattr(cr.optim, name)(parameters, **options)

    def step(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
        optimizer.zero_grad()
        loss = loss_of(cr, *parameters, x, y)
        loss.backward()
        optimizer.step()
        return loss

    compiled = cr.compile(step, engine="numpy")
    for _ in range(STEPS):
        compiled(cr.tensor(X), cr.tensor(Y))
    eager, _ = run(cr, name, options, "float32", STEPS)
    for a, b in zip(parameters, eager, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


@pytest.mark.parametrize("name, options", SETTINGS, ids=IDS)
def test_state_moves_between_the_libraries(name: str, options: dict[str, Any]) -> None:
    """Seven steps in PyTorch, its state loaded here, thirteen more: as twenty in PyTorch."""
    theirs, optimizer = run(torch, name, options, "float32", 7)
    mine = [cr.tensor(one.detach().numpy().copy(), requires_grad=True) for one in theirs]
    ours = getattr(cr.optim, name)(mine, **options)
    ours.load_state_dict(optimizer.state_dict())
    assert "foreach" not in ours.param_groups[0]
    for _ in range(13):
        ours.zero_grad()
        loss_of(cr, *mine, cr.tensor(X), cr.tensor(Y)).backward()
        ours.step()
    other, _ = run(torch, name, options, "float32", STEPS)
    for a, b in zip(mine, other, strict=True):
        close(a, b, "float32")


@pytest.mark.parametrize("name, options", SETTINGS, ids=IDS)
def test_state_continues_to_the_bit(name: str, options: dict[str, Any]) -> None:
    first, optimizer = run(cr, name, options, "float32", 7)
    second = [cr.tensor(one.detach().numpy().copy(), requires_grad=True) for one in first]
    resumed = getattr(cr.optim, name)(second, **options)
    resumed.load_state_dict(optimizer.state_dict())
    for parameters, owner in ((first, optimizer), (second, resumed)):
        for _ in range(5):
            owner.zero_grad()
            loss_of(cr, *parameters, cr.tensor(X), cr.tensor(Y)).backward()
            owner.step()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_groups_with_settings_of_their_own() -> None:
    def groups(library: Any) -> tuple[list[Any], Any]:
        w, b, s = (library.tensor(value, requires_grad=True) for value in start("float32"))
        optimizer = library.optim.SGD(
            [{"params": [w], "weight_decay": 0.5}, {"params": [b, s], "lr": 0.01}],
            lr=0.1,
            momentum=0.9,
        )
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss_of(library, w, b, s, library.tensor(X), library.tensor(Y)).backward()
            optimizer.step()
        return [w, b, s], optimizer

    mine, optimizer = groups(cr)
    for a, b in zip(mine, groups(torch)[0], strict=True):
        close(a, b, "float32")
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.01]


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_parameter_without_gradient_stands_still_and_its_clock_waits(name: str) -> None:
    def trained(library: Any) -> list[Any]:
        options = {"lr": 0.1, "momentum": 0.9} if name == "SGD" else {"lr": 0.1}
        w, b, s = (library.tensor(value, requires_grad=True) for value in start("float32"))
        optimizer = getattr(library.optim, name)([w, b, s], **options)
        for step in range(9):
            optimizer.zero_grad()
            error = (library.tensor(X) @ w.T) * s - library.tensor(Y)
            if step in (0, 4, 5, 8):
                error = error + b
            (error * error).mean().backward()
            optimizer.step()
        return [w, b, s]

    for a, b in zip(trained(cr), trained(torch), strict=True):
        close(a, b, "float32")


def test_changed_settings_act_on_compiled_steps() -> None:
    """A learning rate acts without compiling anew; a decay that was 0 compiles anew."""
    w = cr.tensor([1.0], requires_grad=True)
    optimizer = cr.optim.SGD([w], lr=0.5)
    traced = []

    def step() -> cr.Tensor:
        traced.append(len(traced))
        optimizer.zero_grad()
        loss = (w * 3.0).sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled = cr.compile(step, engine="numpy")
    compiled()
    assert w.item() == 1.0 - 0.5 * 3
    count = len(traced)
    optimizer.param_groups[0]["lr"] = 0.25
    compiled()
    assert w.item() == -0.5 - 0.25 * 3
    assert len(traced) == count
    optimizer.param_groups[0]["weight_decay"] = 2.0
    compiled()
    assert w.item() == -1.25 - 0.25 * (3 + 2 * -1.25)
    assert len(traced) > count


def test_closure_and_zero_grad() -> None:
    w = cr.tensor([1.0], requires_grad=True)
    optimizer = cr.optim.SGD([w], lr=0.1)

    def closure() -> cr.Tensor:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1.0
    assert w.item() == pytest.approx(0.8)
    optimizer.zero_grad(set_to_none=False)
    assert w.grad.tolist() == [0.0]
    optimizer.zero_grad()
    assert w.grad is None


def test_history_is_not_kept() -> None:
    w = cr.tensor(np.ones(3, np.float32), requires_grad=True)
    optimizer = cr.optim.Adam([w], lr=0.1)
    for record in (False, True):
        for _ in range(3):
            optimizer.zero_grad()
            if record:
                with cr.record():
                    (w * w).sum().backward()
                    optimizer.step()
            else:
                (w * w).sum().backward()
                optimizer.step()
    assert w.is_leaf and w.requires_grad
    assert all(held.is_leaf for held in optimizer.state[w].values())


def refused(make: Callable[[], Any], *parts: str) -> None:
    with pytest.raises(cr.errors.OptionError) as error:
        make()
    for part in parts:
        assert part in str(error.value)


def test_errors() -> None:
    w = cr.tensor([1.0], requires_grad=True)
    sgd, adam = cr.optim.SGD, cr.optim.Adam
    refused(lambda: sgd([], lr=0.1), "SGD was given no parameters", "model.parameters()")
    refused(lambda: sgd(w, lr=0.1), "iterable of parameters, a Tensor was given", "[tensor]")
    refused(lambda: sgd([1.0], lr=0.1), "a float was given")
    refused(lambda: sgd([w * 2], lr=0.1), "can only change leaves", "op mul" if False else "mul")
    refused(lambda: sgd([w, w], lr=0.1), "stands in two places", "Name".lower())
    refused(lambda: sgd([w], lr=-1.0), "SGD: lr must be 0 or more; -1.0 was given")
    refused(lambda: sgd([w], momentum=-0.1), "momentum must be 0 or more")
    refused(lambda: sgd([w], nesterov=True), "nesterov=True needs a momentum above 0")
    refused(lambda: adam([w], betas=(1.0, 0.9)), "betas must be two numbers from 0 to below 1")
    refused(
        lambda: sgd([{"params": [w], "rate": 1.0}], lr=0.1), "has no setting rate", "some of lr"
    )
    optimizer = adam([w])
    saved = optimizer.state_dict()
    saved["param_groups"][0]["params"] = [0, 1]
    refused(lambda: optimizer.load_state_dict(saved), "the groups differ", "groups of [2]", "[1]")
    (w * w).sum().backward()
    optimizer.step()
    saved = optimizer.state_dict()
    saved["state"][0]["exp_avg"] = cr.zeros(3)
    with pytest.raises(cr.errors.ShapeError, match=r"'exp_avg' has shape .3,., its parameter .1,."):
        optimizer.load_state_dict(saved)


def test_printing_and_layout_of_state() -> None:
    w = cr.tensor([1.0], requires_grad=True)
    optimizer = cr.optim.Adam([w], lr=0.5)
    assert repr(optimizer).startswith("Adam (\nParameter Group 0\n    amsgrad: False\n")
    (w * w).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    assert list(state["state"][0]) == ["step", "exp_avg", "exp_avg_sq"]
    assert state["param_groups"][0]["params"] == [0]
    kept = state["state"][0]["exp_avg"].item()
    optimizer.step()
    assert state["state"][0]["exp_avg"].item() == kept
