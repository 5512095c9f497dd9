"""Whole trainings on every engine beside eager: the same losses and weights to rounding."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim

ENGINES = ("numpy", "xla", "native")
STEPS = 20


class Recurrent(nn.Module):
    """A recurrent network with dropout on its state, so that random bits are drawn in the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.across = nn.Linear(3, 8), nn.Linear(8, 8)
        self.out, self.drop = nn.Linear(8, 2), nn.Dropout(0.2)

    def forward(self, x: Any) -> Any:
        def step(c: Any, part: Any) -> Any:
            return (self.into(part) + self.across(self.drop(c))).tanh(), None

        last, _ = cr.scan(step, cr.zeros(x.shape[1], 8), x)
        return self.out(last)


def layers() -> nn.Module:
    return nn.Sequential(
        nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 2)
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "layers": (layers, (16, 3)),
    "recurrent": (Recurrent, (6, 16, 3)),
}
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "adam": lambda p: optim.Adam(p, lr=0.01),
}


def train(network: str, optimizer: str, engine: str | None) -> tuple[list[float], list[Any]]:
    """Losses of each step and the weights at the end; eager where no engine is named."""
    make, shape = NETWORKS[network]
    cr.manual_seed(0)
    model, loss = make(), nn.CrossEntropyLoss()
    update = OPTIMIZERS[optimizer](model.parameters())
    x, y = cr.randn(*shape), cr.randint(0, 2, (16,))

    def step(x: Any, y: Any) -> Any:
        update.zero_grad()
        value = loss(model(x), y)
        value.backward()
        update.step()
        return value

    run = step if engine is None else cr.compile(step, engine=engine)
    losses = [run(x, y).item() for _ in range(STEPS)]
    return losses, [one.detach().numpy() for one in model.parameters()]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_training_is_that_of_eager(network: str, optimizer: str, engine: str) -> None:
    losses, weights = train(network, optimizer, engine)
    expected, wanted = train(network, optimizer, None)
    assert expected[-1] < expected[0]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for one, other in zip(weights, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_changed_learning_rate_acts_without_compiling_again() -> None:
    for engine in ENGINES:
        w = cr.tensor([1.0], requires_grad=True)
        update = optim.SGD([w], lr=0.5)

        def step(w: Any = w, update: Any = update) -> Any:
            update.zero_grad()
            (w * 2).sum().backward()
            update.step()

        run = cr.compile(step, engine=engine)
        run()
        update.param_groups[0]["lr"] = 0.25
        run()
        assert w.tolist() == [pytest.approx(-0.5)]
        assert len(run.graphs()) == 1
