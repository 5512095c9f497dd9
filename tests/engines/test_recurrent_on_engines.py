"""Recurrent layers in compiled training steps, against eager ones."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 6, 3)).astype(np.float32)
Y = RNG.integers(0, 4, 7)
LENGTHS = np.array([6, 1, 3, 2, 5, 6, 4])
LAYERS = {
    "rnn": lambda: nn.RNN(3, 5, batch_first=True),
    "relu": lambda: nn.RNN(3, 5, nonlinearity="relu", batch_first=True),
    "lstm": lambda: nn.LSTM(3, 5, batch_first=True),
    "gru": lambda: nn.GRU(3, 5, batch_first=True),
    "lstm, two layers both ways": lambda: nn.LSTM(3, 5, 2, bidirectional=True, batch_first=True),
    "gru, dropout": lambda: nn.GRU(3, 5, 2, dropout=0.3, batch_first=True),
    "lstm, projected": lambda: nn.LSTM(3, 5, proj_size=2, batch_first=True),
}


def trained(name: str, engine: str | None, masked: bool) -> tuple[list[float], list[Any]]:
    cr.manual_seed(0)
    layer = LAYERS[name]()
    width = (layer.proj_size or 5) * (2 if layer.bidirectional else 1)
    head = nn.Linear(width, 4)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = cr.optim.Adam(parameters, lr=0.02)

    def step(x: cr.Tensor, y: cr.Tensor, lengths: cr.Tensor) -> cr.Tensor:
        optimizer.zero_grad()
        out, _ = layer(x, lengths=lengths if masked else None)
        loss = nn.functional.cross_entropy(head(out.mean(1)), y)
        loss.backward()
        optimizer.step()
        return loss

    run = step if engine is None else cr.compile(step, engine=engine)
    given = cr.tensor(X), cr.tensor(Y), cr.tensor(LENGTHS)
    losses = [run(*given).item() for _ in range(6)]
    return losses, [one.detach().numpy().copy() for one in parameters]


@pytest.mark.parametrize(
    ("name", "engine"),
    [*((name, "native") for name in LAYERS), *((name, "xla") for name in ("gru", "lstm"))],
)
def test_compiled_steps_are_eager_ones(name: str, engine: str) -> None:
    if engine == "xla":
        pytest.importorskip("jax")
    masked = name == "gru"
    losses, weights = trained(name, None, masked)
    compiled, after = trained(name, engine, masked)
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(compiled, losses, rtol=3e-5, atol=3e-6)
    for a, b in zip(after, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-4, atol=3e-4)
