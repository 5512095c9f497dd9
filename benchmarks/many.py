"""Thousands of small trainings at once: `fit_many` beside PyTorch's and JAX's vectorised maps.

The work is that of the README's picture: XOR 2-4-1, four examples in a batch, 256 learning rates by
256 momenta, 3,000 epochs. The peers hold all 65,536 networks in stacked arrays: PyTorch takes a
step for all of them by ``torch.func`` (``vmap`` of ``grad``), JAX scans over steps inside ``jit``
(pieces of 128 to 8,192 networks, by ``lax.map``, are not faster). They are timed over fewer steps,
and what the whole map would take them is reckoned from that. After the first steps the losses of
all sides are compared. Every side uses all processors.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.engines.native.team import thread_count

from ._measure import duration, table

SIDE, EPOCHS = 256, 3000
SHORT = 40  # steps after which the losses are compared
ROUNDS = 3
PAUSE = 0.5  # threads of the other side wait actively for a while after their work
X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([[0], [1], [1], [0]], np.float32)
RATES, MOMENTA = np.geomspace(0.001, 0.5, SIDE), np.linspace(0, 0.95, SIDE)
Job = Callable[[int], np.ndarray]  # trains all networks for some steps; returns their last losses


def network() -> Any:
    """The network that all trainings begin with."""
    cr.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))


def ours(steps: int) -> np.ndarray:
    """All trainings by `fit_many`."""
    model = network()
    trainer = cr.Trainer(
        model, nn.MSELoss(), cr.optim.SGD(model.parameters(), lr=0.1), metrics=[], progress=False
    )
    runs = trainer.fit_many(
        (X, Y), epochs=steps, batch_size=4, lr=RATES, momentum=MOMENTA, grid=True, history="last"
    )
    return runs.last("loss")


def singly(count: int) -> float:
    """Seconds for one training of all epochs by `fit`, on one thread; the first few rates."""
    model = network()
    start = model.state_dict()
    times = []
    for rate in RATES[:: SIDE // count]:
        model.load_state_dict(start)
        optimizer = cr.optim.SGD(model.parameters(), lr=float(rate), momentum=0.5)
        trainer = cr.Trainer(model, nn.MSELoss(), optimizer, metrics=[], progress=False, threads=1)
        begun = time.perf_counter()
        trainer.fit((X, Y), epochs=EPOCHS, batch_size=4)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def stacked() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Weights of all networks, their rates, their momenta."""
    count = SIDE * SIDE
    start = {k: np.array(v.numpy()) for k, v in network().state_dict().items()}
    weights = {k: np.broadcast_to(v, (count, *v.shape)).copy() for k, v in start.items()}
    rates = np.repeat(RATES, SIDE).astype(np.float32)
    return weights, rates, np.tile(MOMENTA, SIDE).astype(np.float32)


def by_torch() -> Job:
    """All trainings in PyTorch, a step at a time."""
    import torch

    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    weights, rates, momenta = stacked()

    def loss(w: dict[str, Any]) -> Any:
        hidden = torch.tanh(x @ w["0.weight"].T + w["0.bias"])
        output = hidden @ w["2.weight"].T + w["2.bias"]
        return ((output - y) ** 2).mean()

    step = torch.func.vmap(torch.func.grad_and_value(loss))

    def shaped(numbers: np.ndarray, like: Any) -> Any:
        return torch.from_numpy(numbers).reshape(-1, *[1] * (like.ndim - 1))

    def train(steps: int) -> np.ndarray:
        now = {k: torch.from_numpy(v.copy()) for k, v in weights.items()}
        velocity = {k: torch.zeros_like(v) for k, v in now.items()}
        rate = {k: shaped(rates, v) for k, v in now.items()}
        momentum = {k: shaped(momenta, v) for k, v in now.items()}
        for _ in range(steps):
            gradients, losses = step(now)
            for k, gradient in gradients.items():
                velocity[k].mul_(momentum[k]).add_(gradient)
                now[k].sub_(velocity[k] * rate[k])
        found: np.ndarray = losses.numpy()
        return found

    return train


def by_jax() -> Job:
    """All trainings in JAX: steps scanned, networks mapped, compiled as one."""
    import jax
    import jax.numpy as jnp

    weights, rates, momenta = stacked()

    def loss(w: dict[str, Any]) -> Any:
        hidden = jnp.tanh(X @ w["0.weight"].T + w["0.bias"])
        output = hidden @ w["2.weight"].T + w["2.bias"]
        return ((output - Y) ** 2).mean()

    def one(w: Any, rate: Any, momentum: Any, steps: int) -> Any:
        def step(carry: Any, _: Any) -> Any:
            now, velocity = carry
            value, gradient = jax.value_and_grad(loss)(now)
            velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient)
            return (jax.tree.map(lambda p, v: p - rate * v, now, velocity), velocity), value

        zero = jax.tree.map(jnp.zeros_like, w)
        _, losses = jax.lax.scan(step, (w, zero), None, length=steps)
        return losses[-1]

    def all_of(w: Any, rate: Any, momentum: Any, steps: int) -> Any:
        return jax.vmap(one, in_axes=(0, 0, 0, None))(w, rate, momentum, steps)

    compiled = jax.jit(all_of, static_argnums=3)

    def train(steps: int) -> np.ndarray:
        return np.asarray(compiled(weights, rates, momenta, steps).block_until_ready())

    return train


def run() -> str:
    """Measure; returns the table."""
    sides: dict[str, tuple[Job, int]] = {
        "chainrule fit_many": (ours, EPOCHS),
        "PyTorch torch.func.vmap": (by_torch(), SHORT),
        "JAX jit, vmap, scan": (by_jax(), SHORT),
    }
    losses = {name: job(SHORT) for name, (job, _) in sides.items()}  # the first call, not timed
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, (job, steps) in sides.items():
            time.sleep(PAUSE)
            begun = time.perf_counter()
            job(steps)
            times[name].append(time.perf_counter() - begun)
    count = SIDE * SIDE
    head = f"{count:,} XOR trainings of {EPOCHS:,} steps"
    rows = [(head, "timed", "a step of one", "the map", "")]
    best = statistics.median(times["chainrule fit_many"])
    for name, (_, steps) in sides.items():
        spent = statistics.median(times[name])
        whole = spent / steps * EPOCHS
        spread = f"({min(times[name]):.2f} to {max(times[name]):.2f} s)"
        note = spread if steps == EPOCHS else f"reckoned, {whole / best:.0f} times as long {spread}"
        timed = f"{steps:,} steps"
        rows.append((name, timed, duration(spent / steps / count), f"{whole:.1f} s", note))
    alone = singly(8)
    one_by_one = alone * count / thread_count()
    note = f"reckoned, {one_by_one / best:.0f} times as long"
    rows.append(
        ("chainrule fit, one after the other", "8 fits", duration(alone / EPOCHS),
         f"{one_by_one:.1f} s", note)
    )  # fmt: skip
    expected = losses["chainrule fit_many"]
    worst = max(np.abs(found / expected - 1).max() for found in losses.values())
    agree = f"After {SHORT} steps all losses agree within {worst:.1e} of themselves."
    return f"{table(rows)}\n{agree}"
