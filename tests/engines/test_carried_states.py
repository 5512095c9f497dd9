"""Truncated backpropagation through time: states carried from chunk to chunk, on every engine."""

from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule import nn
from chainrule.data import cut_sequence
from chainrule.errors import DataError, OptionError, ShapeError

RNG = np.random.default_rng(0)
LENGTH, STEPS, STREAMS = 50, 4, 3
X = RNG.normal(size=(LENGTH, 2)).astype(np.float32)
Y = np.roll(X.sum(1), 3).astype(np.float32)


class Follower(nn.Module):
    """A number for each step of sequences that go on from batch to batch."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        layer = getattr(nn, kind)(2, 5, batch_first=True)
        self.memory = nn.Carried(layer, STREAMS)
        self.out = nn.Linear(5, 1)

    def forward(self, x: cr.Tensor, start: cr.Tensor | None = None) -> Any:
        return self.out(self.memory(x, start)).squeeze(2)


def fitted(kind: str, engine: str) -> tuple[Any, Follower]:
    cr.manual_seed(0)
    model = Follower(kind)
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    trainer = cr.Trainer(model, nn.MSELoss(), optimizer, engine=engine, progress=False)
    x, y, start = cut_sequence(X, Y, steps=STEPS, streams=STREAMS)
    run = trainer.fit((x, start, y), epochs=3, batch_size=STREAMS, shuffle=False)
    return run.history["loss"], model


def by_torch(kind: str) -> tuple[list[float], Any, Any]:
    cr.manual_seed(0)
    ours = Follower(kind)
    layer, out = getattr(torch.nn, kind)(2, 5, batch_first=True), torch.nn.Linear(5, 1)
    for theirs, mine in ((layer, ours.memory.layer), (out, ours.out)):
        theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in mine.state_dict().items()})
    optimizer = torch.optim.SGD([*layer.parameters(), *out.parameters()], lr=0.1)
    x, y, _ = (torch.tensor(one) for one in cut_sequence(X, Y, steps=STEPS, streams=STREAMS))
    losses = []
    for _ in range(3):
        state, total = None, 0.0
        for k in range(0, len(x), STREAMS):
            output, state = layer(x[k : k + STREAMS], state)
            state = tuple(s.detach() for s in state) if kind == "LSTM" else state.detach()
            loss = ((out(output).squeeze(2) - y[k : k + STREAMS]) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total / (len(x) // STREAMS))
    return losses, layer, state


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_chunks_are_learned_as_in_torch_with_detached_states(kind: str, engine: str) -> None:
    losses, model = fitted(kind, engine)
    expected, layer, state = by_torch(kind)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for a, b in zip(model.memory.layer.parameters(), layer.parameters(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-3, atol=1e-5)
    ends = state if kind == "LSTM" else (state,)
    for a, b in zip(model.memory.buffers(), ends, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-5)


def test_chunks_give_what_the_whole_sequence_gives() -> None:
    cr.manual_seed(0)
    layer = nn.LSTM(2, 5, 2)
    carried = nn.Carried(layer, 1)
    whole, _ = layer(cr.tensor(X[:48, None]))
    for _ in range(2):
        parts = [carried(cr.tensor(X[k : k + 12, None])) for k in range(0, 48, 12)]
        np.testing.assert_allclose(cr.cat(parts).detach(), whole.detach(), rtol=1e-5, atol=1e-6)
        carried.reset()
    again = nn.Carried(nn.LSTM(2, 5, 2), 1)
    again.load_state_dict(carried.state_dict())
    assert list(again.state_dict())[:2] == ["h", "c"]


def test_errors_say_what_fits() -> None:
    layer = nn.Carried(nn.GRU(2, 5), 3)
    with pytest.raises(ShapeError, match=r"given: input \(4, 2, 2\), and 3 states"):
        layer(cr.ones(4, 2, 2))
    with pytest.raises(OptionError, match="takes an RNN, LSTM or GRU"):
        nn.Carried(nn.Linear(2, 2), 3)
    with pytest.raises(DataError, match=r"given: 5 steps\n  expected: 6 or more"):
        cut_sequence(np.ones(5), steps=3, streams=2)
    with pytest.raises(ShapeError, match=r"different lengths: \[4, 5\]"):
        cut_sequence(np.ones(5), np.ones(4), steps=2)
    with pytest.raises(OptionError, match="given: 0 arrays, steps=2, streams=1"):
        cut_sequence(steps=2)
