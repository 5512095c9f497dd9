"""Attention, transformers and sampling in compiled steps, against eager ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn import functional as F

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 11, (6, 9))
NEXT = RNG.integers(0, 11, (6, 9))


class Attending(nn.Module):
    """Characters to characters, through what is tested."""

    def __init__(self, middle: nn.Module, positions: nn.Module) -> None:
        super().__init__()
        self.letters = nn.Embedding(11, 8)
        self.positions = positions
        self.middle = middle
        self.out = nn.Linear(8, 11)

    def forward(self, x: cr.Tensor) -> Any:
        x = self.positions(self.letters(x))
        if isinstance(self.middle, nn.MultiheadAttention):
            return self.out(self.middle(x, x, x, is_causal=True, need_weights=False)[0])
        if isinstance(self.middle, nn.TransformerDecoderLayer):
            return self.out(self.middle(x, x * 0.5, tgt_is_causal=True))
        return self.out(self.middle(x, is_causal=True))


def encoder(**options: Any) -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "attention": lambda: nn.MultiheadAttention(8, 2, batch_first=True),
    "trained key": lambda: nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True),
    "encoder": lambda: encoder(dropout=0.0),
    "encoder, norm first, dropout": lambda: encoder(norm_first=True, activation="gelu"),
    "decoder": lambda: nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0, batch_first=True),
}


def trained(name: str, engine: str | None) -> tuple[list[float], list[Any]]:
    cr.manual_seed(0)
    kind = nn.LearnedPositions if name == "attention" else nn.SinusoidalPositions
    model = Attending(MODELS[name](), kind(8, 20, batch_first=True))
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)

    def step(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x).reshape(-1, 11), y.reshape(-1))
        loss.backward()
        optimizer.step()
        return loss

    run = step if engine is None else cr.compile(step, engine=engine)
    losses = [run(cr.tensor(TOKENS), cr.tensor(NEXT)).item() for _ in range(5)]
    return losses, [one.detach().numpy().copy() for one in model.parameters()]


@pytest.mark.parametrize(
    ("name", "engine"), [*((name, "native") for name in MODELS), ("attention", "xla")]
)
def test_compiled_steps_are_eager_ones(name: str, engine: str) -> None:
    if engine == "xla":
        pytest.importorskip("jax")
    losses, weights = trained(name, None)
    compiled, after = trained(name, engine)
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(compiled, losses, rtol=3e-5, atol=3e-6)
    for a, b in zip(after, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-4, atol=3e-5)


@pytest.mark.parametrize("engine", ["native", "xla"])
def test_masks_at_run_time_and_samples(engine: str) -> None:
    if engine == "xla":
        pytest.importorskip("jax")
    cr.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x = cr.tensor(RNG.normal(size=(3, 5, 8)).astype(np.float32))
    padding = cr.tensor(np.arange(5) >= np.array([[2], [5], [1]]))

    def run(x: cr.Tensor, padding: cr.Tensor) -> Any:
        return layer(x, x, x, key_padding_mask=padding)

    for a, b in zip(cr.compile(run, engine=engine)(x, padding), run(x, padding), strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=2e-5, atol=2e-6)

    def draw(scores: cr.Tensor, temperature: float) -> cr.Tensor:
        return F.sample(scores, temperature, top_k=3)

    scores = cr.tensor(RNG.normal(size=(200, 6)).astype(np.float32))
    compiled = cr.compile(draw, engine=engine)
    cr.manual_seed(1)
    found = [compiled(scores, t).tolist() for t in (0.5, 2.0)]
    cr.manual_seed(1)
    assert found == [draw(scores, t).tolist() for t in (cr.tensor(0.5), cr.tensor(2.0))]
