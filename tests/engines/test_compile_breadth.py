"""Training steps as people write them: compiled for the native engine, against eager runs.

Each step is met with batches of two sizes in turn, so both programs share the parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim

F = nn.functional
L = optim.lr_scheduler
STEPS = 6
Make = Callable[..., Any]


def mlp() -> Any:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def normalized() -> Any:
    first = nn.Linear(6, 8, bias=False)  # its gradient would be rounding alone
    return nn.Sequential(first, nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def norms() -> Any:
    return nn.Sequential(
        *(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 8), nn.RMSNorm(8), nn.SiLU()),
        *(nn.GroupNorm(2, 8), nn.Linear(8, 3)),
    )


def words() -> Any:
    return nn.Sequential(nn.Embedding(11, 5, padding_idx=0), nn.Flatten(), nn.Linear(20, 3))


def batch(model: Any, rows: int) -> tuple[Any, Any]:
    draw = np.random.default_rng(rows)
    if isinstance(model[0], nn.Embedding):
        x = draw.integers(0, 11, (rows, 4))
    else:
        x = draw.standard_normal((rows, 6)).astype(model[0].weight.dtype.np)
    return cr.tensor(x), cr.tensor(draw.integers(0, 3, rows))


def trained(
    engine: str, network: Make, optimizer: Make, loss: Make, after: Make, schedule: Make | None
) -> list[Any]:
    """The losses of some steps, then parameters and buffers."""
    cr.manual_seed(0)
    model = network()
    update = optimizer(model.parameters())
    rates = schedule(update) if schedule else None

    def step(x: Any, y: Any) -> Any:
        update.zero_grad()
        value = loss(model(x), y)
        value.backward()
        after(model)
        update.step()
        return value

    run = step if engine == "eager" else cr.compile(step, engine=engine)
    losses = []
    for number in range(STEPS):
        losses.append(run(*batch(model, 5 if number % 3 else 7)).item())
        if isinstance(rates, L.ReduceLROnPlateau):
            rates.step(losses[-1])
        elif rates is not None:
            rates.step()
    return [np.array(losses), *(value.numpy() for value in model.state_dict().values())]


def check(
    *,
    network: Make = mlp,
    optimizer: Make = lambda p: optim.Adam(p, 0.01),
    loss: Make = F.cross_entropy,
    after: Make = lambda model: None,
    schedule: Make | None = None,
) -> None:
    settings = (network, optimizer, loss, after, schedule)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a fall back to another engine warns
        found = trained("native", *settings)
    for one, other in zip(found, trained("eager", *settings), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "maximize": True}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.01}),
    ("Adamax", {"lr": 0.01}),
    ("NAdam", {"lr": 0.01}),
    ("RAdam", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.9}),
    ("Adagrad", {"lr": 0.01, "lr_decay": 0.1}),
    ("Adadelta", {}),
    ("Rprop", {"lr": 0.01}),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in OPTIMIZERS]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=IDS)
def test_optimizers(name: str, options: dict[str, Any]) -> None:
    check(optimizer=lambda p: getattr(optim, name)(p, **options))


def test_every_optimizer_is_among_them() -> None:
    # Those of second order ask for values between their steps.
    apart = {"Optimizer", "LBFGS", "Newton", "GaussNewton", "LevenbergMarquardt"}
    apart |= {"ConjugateGradient"}
    classes = {name for name in dir(optim) if isinstance(getattr(optim, name), type)}
    steppers = {name for name in classes if issubclass(getattr(optim, name), optim.Optimizer)}
    assert steppers - apart <= {name for name, _ in OPTIMIZERS}


SCHEDULES: dict[str, Make] = {
    "StepLR": lambda o: L.StepLR(o, 2),
    "MultiStepLR": lambda o: L.MultiStepLR(o, [2, 4]),
    "ExponentialLR": lambda o: L.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda o: L.CosineAnnealingLR(o, 10),
    "CosineAnnealingWarmRestarts": lambda o: L.CosineAnnealingWarmRestarts(o, 3),
    "CyclicLR": lambda o: L.CyclicLR(o, 0.01, 0.1, step_size_up=2),
    "OneCycleLR": lambda o: L.OneCycleLR(o, 0.1, total_steps=20),
    "LambdaLR": lambda o: L.LambdaLR(o, lambda epoch: 0.9**epoch),
    "LinearLR": lambda o: L.LinearLR(o),
    "ConstantLR": lambda o: L.ConstantLR(o),
    "PolynomialLR": lambda o: L.PolynomialLR(o),
    "MultiplicativeLR": lambda o: L.MultiplicativeLR(o, lambda epoch: 0.95),
    "ReduceLROnPlateau": lambda o: L.ReduceLROnPlateau(o, patience=0),
    "SequentialLR": lambda o: L.SequentialLR(
        o, [L.ConstantLR(o, 0.1, 2), L.ExponentialLR(o, 0.9)], [3]
    ),
    "ChainedScheduler": lambda o: L.ChainedScheduler(
        [L.ConstantLR(o, 0.1, 2), L.ExponentialLR(o, 0.9)]
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str) -> None:
    check(optimizer=lambda p: optim.SGD(p, 0.1, momentum=0.9), schedule=SCHEDULES[name])


def test_every_schedule_is_among_them() -> None:
    names = {name for name in dir(L) if name[0].isupper()} - {"LRScheduler"}
    assert names <= set(SCHEDULES)


@pytest.mark.parametrize("network", [normalized, norms, words, lambda: mlp().double()])
def test_networks(network: Make) -> None:
    check(network=network)


CLIPPINGS: dict[str, Make] = {
    "norm": lambda m: nn.utils.clip_grad_norm_(m.parameters(), 0.5),
    "largest": lambda m: nn.utils.clip_grad_norm_(m.parameters(), 0.5, norm_type=float("inf")),
    "value": lambda m: nn.utils.clip_grad_value_(m.parameters(), 0.01),
}


@pytest.mark.parametrize("name", CLIPPINGS)
def test_clipping(name: str) -> None:
    check(after=CLIPPINGS[name])


LOSSES: dict[str, Make] = {
    "nll": lambda o, y: F.nll_loss(F.log_softmax(o, 1), y),
    "smoothing": lambda o, y: F.cross_entropy(o, y, label_smoothing=0.1),
    "ignored": lambda o, y: F.cross_entropy(o, y, ignore_index=1),
    "weights": lambda o, y: F.cross_entropy(o, y, weight=cr.tensor([1.0, 2.0, 3.0])),
    "one hot": lambda o, y: ((o - F.one_hot(y, 3)) ** 2).mean(),
    "logits": lambda o, y: F.binary_cross_entropy_with_logits(o, F.one_hot(y, 3).float()),
    "mask": lambda o, y: cr.where((y > 0).unsqueeze(1), o, 0.0).pow(2).mean(),
    "sorted": lambda o, y: o.sort(1).values[:, :2].sum(),
    "running": lambda o, y: o.cumsum(1).pow(2).mean(),
    "logsumexp": lambda o, y: o.logsumexp(1).mean(),
    "spread": lambda o, y: o.std(0).sum() + o.var(1).mean(),
    "norm": lambda o, y: o.norm(dim=1).mean(),
    "cosine": lambda o, y: F.cosine_similarity(o, o.flip(0), 1).mean(),
    "huber": lambda o, y: F.smooth_l1_loss(o, F.one_hot(y, 3).float()),
    "power": lambda o, y: (o.abs() + 0.1).pow(1.7).mean(),
    "product": lambda o, y: o.prod(1).mean(),
    "extremes": lambda o, y: (o.max(1).values - o.min(1).values).mean(),
    "picked": lambda o, y: -F.log_softmax(o, 1)[cr.arange(len(y)), y].mean(),
    "einsum": lambda o, y: cr.einsum("bi,bj->ij", o, o).pow(2).mean(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    check(loss=LOSSES[name])
