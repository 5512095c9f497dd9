"""Layers beside PyTorch eager: `python -m benchmarks layers`; some: `-m benchmarks.layers lstm`.

One builder serves both libraries, which share their names. Both train the same network from the
same weights on the same batches with plain gradient descent, and take turns; figures are medians in
milliseconds a step, with the smallest and largest round. chainrule runs `Trainer.fit`, shuffling
and gathering its batches; PyTorch runs a plain loop over slices. Compiling is cold: the cache of
machine code is off. Memory is what each side's process grew by, from before the network was made to
its highest point, in a process of its own.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .convolutional import images, separable, signals, volumes

# Threads of the side that has just run wait actively for a while, where the other side runs next.
PAUSE = 0.4
RATE = 0.05
ROUNDS = 7


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        name: what it is called.
        make: builds it from a library, PyTorch or chainrule.
        inputs: the shape of one example.
        classes: the number of classes; of each step where ``each_step`` is set.
        batch, steps: examples of a step, and steps of a round.
        goal: the ratio to PyTorch's plain loop that must be reached.
        letters: the number of different inputs where they are whole numbers.
    """

    name: str
    make: Callable[[Any], Any]
    inputs: tuple[int, ...]
    classes: int
    batch: int
    steps: int
    goal: float
    letters: int = 0
    each_step: bool = False


@dataclass
class Row:
    """What was measured of a case, in milliseconds a step."""

    case: Case
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    compiling: float = 0.0
    losses: tuple[float, float] = (0.0, 0.0)

    @property
    def ratio(self) -> float:
        """How many of our steps fit into one of PyTorch's."""
        return statistics.median(self.peer) / statistics.median(self.ours)


# -- networks ------------------------------------------------------------------------------------
def recurrent(kind: str) -> Callable[[Any], Any]:
    """28 steps of 28 inputs, 100 states, 10 classes from the last one."""

    def make(library: Any) -> Any:
        class Net(library.nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.layer = getattr(library.nn, kind)(28, 100, batch_first=True)
                self.head = library.nn.Linear(100, 10)

            def forward(self, x: Any) -> Any:
                return self.head(self.layer(x)[0][:, -1])

        return Net()

    return make


def letters(library: Any) -> Any:
    """The next letter of 65, from two layers of 256 states."""

    class Net(library.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.letters = library.nn.Embedding(65, 256)
            self.layers = library.nn.LSTM(256, 256, 2, batch_first=True)
            self.head = library.nn.Linear(256, 65)

        def forward(self, x: Any) -> Any:
            return self.head(self.layers(self.letters(x))[0]).reshape(-1, 65)

    return Net()


def encoder(library: Any) -> Any:
    """Two encoder layers, 64 wide, 4 heads, 128 inside, 10 classes from the mean over places."""

    class Net(library.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            layer = library.nn.TransformerEncoderLayer(64, 4, 128, 0.0, batch_first=True)
            self.layers = library.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = library.nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.layers(x).mean(1))

    return Net()


CASES = (
    Case("cnn, 5x5, 1-16-32, 28x28", images(5, False), (1, 28, 28), 10, 100, 10, 3.5),
    Case("cnn, 3x3, batch norm", images(3, True), (1, 28, 28), 10, 100, 10, 2.5),
    Case("conv1d, 1-32-64, kernel 9, 1024", signals, (1, 1024), 10, 64, 8, 2.5),
    Case("conv3d, 1-8-16, kernel 3, 16^3", volumes, (1, 16, 16, 16), 10, 16, 40, 2.0),
    Case("depthwise-separable, 32, 28x28", separable, (32, 28, 28), 10, 32, 30, 3.0),
    Case("lstm, 28 steps, 28-100", recurrent("LSTM"), (28, 28), 10, 100, 30, 1.5),
    Case("gru, 28 steps, 28-100", recurrent("GRU"), (28, 28), 10, 100, 30, 1.5),
    Case("rnn, 28 steps, 28-100", recurrent("RNN"), (28, 28), 10, 100, 60, 1.5),
    Case("char lstm, 2 x 256, 64 steps", letters, (64,), 65, 32, 4, 1.3, 65, True),
    Case("transformer encoder, 2 x 64", encoder, (64, 64), 10, 32, 20, 4.0),
)


# -- both sides ----------------------------------------------------------------------------------
def data_of(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The rows of one round."""
    draw = np.random.default_rng(0)
    rows = case.batch * case.steps
    if case.letters:
        x = draw.integers(0, case.letters, (rows, *case.inputs))
    else:
        x = draw.standard_normal((rows, *case.inputs)).astype(np.float32)
    labels = (rows, *case.inputs[:1]) if case.each_step else (rows,)
    return x, draw.integers(0, case.classes, labels)


def ours(case: Case, start: dict[str, np.ndarray], threads: int | None) -> Callable[[], float]:
    """A function that trains one round with chainrule and gives its loss."""
    import chainrule as cr

    x, y = data_of(case)
    model = case.make(cr)
    model.load_state_dict({name: cr.tensor(value) for name, value in start.items()})

    def loss(out: Any, target: Any) -> Any:
        return cr.nn.functional.cross_entropy(out, target.reshape(-1))

    rule = cr.optim.SGD(model.parameters(), lr=RATE)
    trainer = cr.Trainer(model, loss, rule, engine="native", progress=False, threads=threads)

    def run() -> float:
        record = trainer.fit((x, y), epochs=1, batch_size=case.batch)
        return float(record.history["loss"][-1])

    return run


def peer(case: Case, model: Any) -> Callable[[], float]:
    """A function that trains one round with PyTorch and gives its mean loss."""
    import torch

    x, y = (torch.from_numpy(part) for part in data_of(case))
    loss = torch.nn.CrossEntropyLoss()
    rule = torch.optim.SGD(model.parameters(), lr=RATE)

    def run() -> float:
        total = torch.zeros(())
        for at in range(0, len(x), case.batch):
            rule.zero_grad()
            value = loss(model(x[at : at + case.batch]), y[at : at + case.batch].reshape(-1))
            value.backward()
            rule.step()
            total += value.detach()
        return float(total) / case.steps

    return run


def weights(case: Case) -> tuple[Any, dict[str, np.ndarray]]:
    """PyTorch's network, and what it starts from."""
    import torch

    torch.manual_seed(0)
    model = case.make(torch)
    return model, {name: value.numpy().copy() for name, value in model.state_dict().items()}


def measure(case: Case, rounds: int, threads: int | None) -> Row:
    """One case, the two sides taking turns."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    model, start = weights(case)
    sides = ours(case, start, threads), peer(case, model)
    row = Row(case)
    begun = time.perf_counter()
    first = sides[0]()
    row.compiling = time.perf_counter() - begun
    row.losses = first, sides[1]()
    for _ in range(rounds):
        for side, times in zip(sides, (row.ours, row.peer), strict=True):
            time.sleep(PAUSE)
            begun = time.perf_counter()
            side()
            times.append(1e3 * (time.perf_counter() - begun) / case.steps)
    row.compiling -= min(row.ours) * case.steps / 1e3
    return row


# -- memory --------------------------------------------------------------------------------------
def grown(case: Case, side: str) -> int:
    """Bytes that this process grows by when it trains one round on one side."""
    _, start = weights(case)
    run = ours(case, start, None) if side == "ours" else None
    before = _status("VmRSS")
    if run is None:
        run = peer(case, weights(case)[0])
    run()
    run()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def memory(case: Case) -> tuple[float, float]:
    """Megabytes that chainrule's and PyTorch's processes grow by; NaN where none can tell."""
    if not Path("/proc/self/status").exists():
        return float("nan"), float("nan")
    found = []
    for side in ("ours", "peer"):
        command = [sys.executable, "-m", "benchmarks.layers", "--memory", case.name, side]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(int(done.stdout) / 1e6)
    return found[0], found[1]


# -- tables --------------------------------------------------------------------------------------
def line(row: Row, grew: tuple[float, float]) -> str:
    """One line of the table."""
    ours_, peer_ = ([statistics.median(t), min(t), max(t)] for t in (row.ours, row.peer))
    reached = "reached" if row.ratio >= row.case.goal else "missed"
    return (
        f"{row.case.name:32s} {ours_[0]:7.2f} ({ours_[1]:.2f} to {ours_[2]:.2f})  "
        f"{peer_[0]:7.2f} ({peer_[1]:.2f} to {peer_[2]:.2f})  {row.ratio:5.2f}x, goal"
        f" {row.case.goal}x {reached}; compiled in {row.compiling:.2f} s; loss"
        f" {row.losses[0]:.4f} / {row.losses[1]:.4f}; grew by {grew[0]:.0f} / {grew[1]:.0f} MB"
    )


def run(names: list[str] | None = None, rounds: int = ROUNDS, threads: int | None = None) -> str:
    """The table of the named cases (words of their names), or of all."""
    os.environ["CHAINRULE_CACHE"] = "off"
    lines = ["milliseconds a step, chainrule / PyTorch eager"]
    for case in CASES:
        if not names or any(name in case.name for name in names):
            lines.append(line(measure(case, rounds, threads), memory(case)))
            print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        print(grown(next(case for case in CASES if case.name == sys.argv[2]), sys.argv[3]))
    else:
        run(sys.argv[1:])
