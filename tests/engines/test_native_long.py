"""Long steps: Ctrl-C and stop() cut them, and the state is that of the last whole step."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines.native import machine
from chainrule.engines.native.lower import driver, long
from chainrule.engines.native.patience import patiently

RNG = np.random.default_rng(4)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every step counts as a long one, and looks at the stop word often."""
    monkeypatch.setattr(long, "LONG", 0.0)
    monkeypatch.setattr(driver, "TURN", 1e4)
    monkeypatch.setattr(long, "TURN", 1e4)
    yield


class Words(nn.Module):
    """An embedding, a loop over time, a layer."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embedding, self.gru = nn.Embedding(9, width), nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.gru(self.embedding(x))[0].mean(1))


NETWORKS: dict[str, tuple[Callable[[], Any], np.ndarray]] = {
    "dense": (
        lambda: nn.Sequential(
            nn.Linear(40, 65), nn.BatchNorm1d(65), nn.ReLU(), nn.Dropout(0.3), nn.Linear(65, 3)
        ),
        RNG.standard_normal((70, 40)).astype(np.float32),
    ),
    "windows": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(80, 3),
        ),
        RNG.standard_normal((33, 2, 8, 8)).astype(np.float32),
    ),
    "words": (Words, RNG.integers(0, 9, (21, 6))),
}  # fmt: skip
RULES: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "adam": lambda p: optim.Adam(p, lr=0.01),
}


def trained(name: str, rule: str) -> tuple[Any, Any, Any, tuple[Any, Any]]:
    """A network, its optimizer, a step, and a batch."""
    cr.manual_seed(1)
    make, x = NETWORKS[name]
    model = make()
    optimizer = RULES[rule](model.parameters())
    loss = nn.CrossEntropyLoss()

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    return model, optimizer, step, (cr.tensor(x), cr.tensor(np.arange(len(x)) % 3))


def state(model: Any, optimizer: Any) -> list[np.ndarray]:
    held = [tensor for each in optimizer.state_dict()["state"].values() for tensor in each.values()]
    tensors = [*model.state_dict().values(), *held]
    return [
        np.array(tensor.detach().numpy()) for tensor in tensors if isinstance(tensor, cr.Tensor)
    ]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(a, b, strict=True))


def step_of(compiled: Any, batch: Any, model: Any, optimizer: Any) -> tuple[float, Any]:
    """Seconds of a step, and the state after it."""
    begun = time.perf_counter()
    compiled(*batch)
    return time.perf_counter() - begun, state(model, optimizer)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_that_can_be_cut_gives_the_same_bits(
    name: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for limit in (1e30, 0.0):
        monkeypatch.setattr(long, "LONG", limit)
        monkeypatch.setattr(driver, "TURN", 1e4)
        monkeypatch.setattr(long, "TURN", 1e4)
        model, optimizer, step, batch = trained(name, rule)
        compiled = cr.compile(step, engine="native")
        losses = [compiled(*batch).item() for _ in range(3)]
        (program,) = compiled.programs()
        assert program._built.long is (limit == 0.0)
        found.append([np.array(losses), *state(model, optimizer)])
    assert same(*found)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.usefixtures("short")
def test_wherever_a_step_is_cut_its_state_is_whole(
    name: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "thread_count", lambda: threads)
    monkeypatch.setattr(machine, "THREADED_FROM", 0)
    model, optimizer, step, batch = trained(name, "adam")
    compiled = cr.compile(step, engine="native")
    whole = [step_of(compiled, batch, model, optimizer) for _ in range(30)]
    each = min(seconds for seconds, _ in whole)
    model, optimizer, step, batch = trained(name, "adam")  # the same beginning, and random numbers
    compiled = cr.compile(step, engine="native")
    compiled(*batch)
    done, cuts = 1, 0
    for turn in range(29):

        def stopping(call: Any, stop: Any, turn: int = turn) -> Any:
            if turn:
                threading.Timer(each * (turn % 13) / 13, stop).start()
            else:
                stop()  # before anything was done
            return call()

        monkeypatch.setattr(machine, "patiently", stopping)
        _, found = step_of(compiled, batch, model, optimizer)
        cut = same(found, whole[done - 1][1])
        assert cut or same(found, whole[done][1])
        cuts, done = cuts + cut, done + 1 - cut
    assert cuts


@pytest.mark.usefixtures("short")
def test_a_cut_step_makes_no_index_bad_and_the_next_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, optimizer, step, batch = trained("words", "sgd")
    compiled = cr.compile(step, engine="native")
    compiled(*batch)
    before = state(model, optimizer)
    with monkeypatch.context() as patch:
        patch.setattr(machine, "patiently", lambda call, stop: (stop(), call())[1])
        for _ in range(3):
            compiled(*batch)
    assert same(state(model, optimizer), before)
    with pytest.raises(cr.errors.IndexRangeError, match="index 9 is outside"):
        compiled(batch[0] + 1, batch[1])
    assert same(state(model, optimizer), before)
    compiled(*batch)
    assert not same(state(model, optimizer), before)


def large(rows: int = 3000) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """A step of a second or more: 1024 wide, with as many rows as are given."""
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(1024, 1500), nn.Tanh(), nn.Linear(1500, 1024))
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    x = np.ones((rows, 1024), np.float32)
    return model, optimizer, x, x * 0.5


def interrupted(after: float) -> threading.Timer:
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


def test_ctrl_c_in_a_compiled_call() -> None:
    model, optimizer, x, y = large(9000)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    compiled = cr.compile(step, engine="native")
    batch = cr.tensor(x), cr.tensor(y)
    begun = time.perf_counter()
    compiled(*batch)
    each = time.perf_counter() - begun
    before = state(model, optimizer)
    timer = interrupted(0.3 * each)
    begun = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        compiled(*batch)
    timer.join()
    assert time.perf_counter() - begun < 0.3 * each + 1.0
    assert same(state(model, optimizer), before)
    compiled(*batch)
    assert not same(state(model, optimizer), before)


def test_ctrl_c_inside_of_a_step_of_a_fit() -> None:
    def fit(epochs: int, after: float | None) -> tuple[Any, list[np.ndarray]]:
        model, optimizer, x, y = large(6000)
        trainer = cr.Trainer(model, nn.MSELoss(), optimizer, engine="native", progress=False)
        timer = None if after is None else interrupted(after)
        with contextlib.suppress(KeyboardInterrupt):
            trainer.fit((x, y), epochs=epochs, batch_size=6000)
        if timer is not None:
            timer.join()
        return trainer.run, state(model, optimizer)

    begun = time.perf_counter()
    fit(1, None)
    each = time.perf_counter() - begun  # tracing and compiling too
    begun = time.perf_counter()
    run, weights = fit(50, 1.6 * each)
    assert time.perf_counter() - begun < 1.6 * each + 1.5
    assert run.status == "interrupted"
    whole, expected = fit(run.steps, None)
    assert whole.steps == run.steps
    assert same(weights, expected)


def test_what_a_long_call_gives_and_raises() -> None:
    assert patiently(lambda: 3, lambda: None) == 3
    with pytest.raises(ZeroDivisionError):
        patiently(lambda: 1 // 0, lambda: None)
    asked = threading.Event()
    timer = interrupted(0.05)
    with pytest.raises(KeyboardInterrupt):
        patiently(lambda: asked.wait(10), asked.set)
    timer.join()
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.append(patiently(threading.get_ident, asked.set))
    )
    thread.start()
    thread.join()
    assert found == [thread.ident]  # other threads see no signals: they call it themselves
