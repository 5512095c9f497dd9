"""Every layer, loss and optimizer: whole training steps compiled natively, against eager ones."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 12)).astype(np.float32)
CLASSES = RNG.integers(0, 4, 16)
VALUES = RNG.normal(size=(16, 4)).astype(np.float32)
LABELS = (RNG.normal(size=(16, 4)) > 0).astype(np.float32)
STEPS = 10


def hidden(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(12, 8), *layers, nn.Linear(8, 4))


@dataclass(frozen=True)
class Case:
    """A network, a loss with its targets, an optimizer, and whether gradients are clipped."""

    network: Callable[[], nn.Module] = lambda: hidden(nn.Tanh())
    loss: Callable[[], nn.Module] = nn.CrossEntropyLoss
    target: Any = field(default_factory=lambda: CLASSES)
    optimizer: str = "SGD"
    clip: float | None = None


ACTIVATIONS = [
    "ReLU",
    "ReLU6",
    "LeakyReLU",
    "ELU",
    "SELU",
    "CELU",
    "GELU",
    "SiLU",
    "Mish",
    "Softplus",
    "Softsign",
    "Sigmoid",
    "LogSigmoid",
    "Hardsigmoid",
    "Hardswish",
    "Tanh",
    "Tanhshrink",
    "Hardtanh",
    "Softshrink",
    "Hardshrink",
    "Abs",
    "PReLU",
]
OPTIMIZERS = [
    "SGD",
    "Adam",
    "AdamW",
    "Adagrad",
    "RMSprop",
    "Adadelta",
    "Rprop",
    "Adamax",
    "NAdam",
    "RAdam",
]
LOSSES = ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "SoftMarginLoss"]
CASES: dict[str, Case] = {
    **{name: Case(lambda name=name: hidden(getattr(nn, name)())) for name in ACTIVATIONS},
    **{name: Case(optimizer=name) for name in OPTIMIZERS},
    **{name: Case(loss=getattr(nn, name), target=VALUES) for name in LOSSES},
    "LayerNorm": Case(lambda: hidden(nn.LayerNorm(8), nn.ReLU())),
    "RMSNorm": Case(lambda: hidden(nn.RMSNorm(8), nn.ReLU())),
    "BatchNorm1d": Case(lambda: hidden(nn.BatchNorm1d(8), nn.ReLU())),
    "Dropout": Case(lambda: hidden(nn.Dropout(0.4), nn.ReLU())),
    "Softmax": Case(lambda: hidden(nn.Softmax(dim=1)), nn.MSELoss, VALUES),
    "LogSoftmax": Case(lambda: hidden(nn.Identity(), nn.LogSoftmax(dim=1)), nn.MSELoss, VALUES),
    "BCELoss": Case(lambda: nn.Sequential(nn.Linear(12, 4), nn.Sigmoid()), nn.BCELoss, LABELS),
    "BCEWithLogitsLoss": Case(
        loss=lambda: nn.BCEWithLogitsLoss(pos_weight=cr.tensor([2.0, 1.0, 0.5, 3.0])),
        target=LABELS,
    ),
    "PoissonNLLLoss": Case(loss=nn.PoissonNLLLoss, target=LABELS),
    "cross-entropy, all options": Case(
        loss=lambda: nn.CrossEntropyLoss(
            cr.tensor([1.0, 2.0, 3.0, 4.0]), ignore_index=2, label_smoothing=0.1
        )
    ),
    "clipping": Case(clip=0.1),
    "norm of steps": Case(optimizer="Adam", clip=1.0),
}


def trained(case: Case, engine: str | None) -> tuple[list[float], list[np.ndarray[Any, Any]]]:
    """Losses of some steps and the outputs afterwards; None steps eagerly."""
    cr.manual_seed(0)
    model, loss_of = case.network(), case.loss()
    optimizer = getattr(cr.optim, case.optimizer)(model.parameters(), lr=0.02)

    def step(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        if case.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), case.clip)
        optimizer.step()
        return loss

    run = step if engine is None else cr.compile(step, engine=engine)
    x, y = cr.tensor(X), cr.tensor(case.target)
    losses = [run(x, y).item() for _ in range(STEPS)]
    state = [value.numpy().copy() for value in model.eval().state_dict().values()]
    return losses, [*state, model(x).detach().numpy()]


@pytest.mark.parametrize("name", CASES)
def test_native_steps_as_eager_does(name: str) -> None:
    losses, state = trained(CASES[name], None)
    compiled, after = trained(CASES[name], "native")
    np.testing.assert_allclose(compiled, losses, rtol=2e-5, atol=2e-6)
    for a, b in zip(after, state, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["GELU", "Adam", "BatchNorm1d", "Dropout", "BCELoss", "clipping"])
def test_xla_steps_as_eager_does(name: str) -> None:
    pytest.importorskip("jax")
    losses, state = trained(CASES[name], None)
    compiled, after = trained(CASES[name], "xla")
    np.testing.assert_allclose(compiled, losses, rtol=1e-4, atol=1e-5)
    for a, b in zip(after, state, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_class_numbers_out_of_range_are_refused_or_give_nan_not_a_plausible_loss() -> None:
    scores = cr.zeros(2, 3)

    def loss(z, y):
        return nn.functional.cross_entropy(z, y)

    for engine in ("numpy", "native"):
        raising = cr.compile(loss, engine=engine)
        for bad in (3, -1):
            with pytest.raises(
                cr.errors.IndexRangeError, match=f"index {bad} is outside of an axis of length 3"
            ):
                raising(scores, cr.tensor([0, bad]))
        assert raising(scores, cr.tensor([-100, 0])).item() == pytest.approx(np.log(3))
    pytest.importorskip("jax")
    silent = cr.compile(loss, engine="xla")
    for bad in (3, -1):
        assert np.isnan(silent(scores, cr.tensor([0, bad])).item())
    assert silent(scores, cr.tensor([-100, 0])).item() == pytest.approx(np.log(3))
