"""Training through ``Trainer.fit`` beside PyTorch's eager loop, in one run.

    python benchmarks/training.py [--rounds 7] [--threads 2] [--json FILE]

Both sides train the same networks on the same data, with the same batch size and update rule, and
take turns within one process. PyTorch runs the plain loop: batches are contiguous slices, without
DataLoader and without shuffling. chainrule shuffles, gathers and counts correct answers. Figures
are medians over rounds, in microseconds a step, with the smallest and largest round; the first call
of each side (compiling, warming up) is reported apart.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch

import chainrule as cr
from chainrule import nn, optim

# Between turns: the threads of the side that has just run wait actively for a while (OpenMP's spin
# for 0.2 s), and would take a processor from the other side.
PAUSE = 0.5


@dataclass(frozen=True)
class Case:
    """One network and update rule; ``goal`` is the ratio that must be reached."""

    name: str
    widths: tuple[int, ...]
    batch: int
    steps: int
    rule: str
    goal: float


CASES = (
    Case("fnn 784-100-10, SGD", (784, 100, 10), 100, 600, "sgd", 2.5),
    Case("fnn 784-100-10, Adam", (784, 100, 10), 100, 600, "adam", 2.5),
    Case("xor 2-4-1, SGD", (2, 4, 1), 4, 100_000, "sgd", 300.0),
)


@dataclass
class Row:
    """One line of the table: microseconds a step."""

    name: str
    goal: float
    ours: list[float]
    peer: list[float]
    ours_first_seconds: float
    compile_seconds: float
    ours_loss: float
    peer_loss: float

    @property
    def ratio(self) -> float:
        """How many of our steps fit into one of the peer's."""
        return statistics.median(self.peer) / statistics.median(self.ours)


def digits(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """MNIST where the data lie beside the repository, else noise of the same shape."""
    folder = Path(os.environ.get("CHAINRULE_TEST_DATA", "../shared/data")) / "mnist"
    images = folder / "train-images-idx3-ubyte.gz"
    if images.exists():
        x = np.frombuffer(gzip.decompress(images.read_bytes()), np.uint8, offset=16)
        y = np.frombuffer(
            gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes()),
            np.uint8,
            offset=8,
        )
        x = x.reshape(-1, 784)[:rows].astype(np.float32) / np.float32(255)
        return x, y[:rows].astype(np.int64)
    source = np.random.default_rng(0)
    return source.random((rows, 784), np.float32), source.integers(0, 10, rows)


def data_of(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The rows of one case."""
    if case.widths[0] == 784:
        return digits(case.batch * case.steps)
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    return x, np.array([[0], [1], [1], [0]], np.float32)


def layers_of(case: Case, room: object) -> list[object]:
    """The modules, of either library."""
    xor = case.widths[-1] == 1
    layers: list[object] = []
    for inside, outside in zip(case.widths[:-1], case.widths[1:], strict=True):
        layers.append(room.Linear(inside, outside))
        layers.append(room.Sigmoid() if xor else room.ReLU())
    return layers[:-1]


def ours(case: Case, threads: int, start: dict[str, np.ndarray]) -> Callable[[], float]:
    """A function that trains one round with chainrule and returns its last loss."""
    x, y = data_of(case)
    model = nn.Sequential(*layers_of(case, nn))
    model.load_state_dict({name: cr.tensor(value) for name, value in start.items()})
    loss = nn.BCEWithLogitsLoss() if case.widths[-1] == 1 else nn.CrossEntropyLoss()
    rule = (
        optim.SGD(model.parameters(), lr=rate(case))
        if case.rule == "sgd"
        else optim.Adam(model.parameters())
    )
    metrics = [] if case.widths[-1] == 1 else ["accuracy"]
    trainer = cr.Trainer(
        model,
        loss,
        rule,
        engine="native",
        metrics=metrics,
        progress=False,
        # All processors: the engine takes what the work is worth, as it does for every user.
        threads=None if threads == processors() else threads,
    )
    epochs = case.steps * case.batch // len(x)

    def run() -> float:
        record = trainer.fit((x, y), epochs=epochs, batch_size=case.batch)
        return float(record.history["loss"][-1])

    run.trainer = trainer  # type: ignore[attr-defined]
    return run


def rate(case: Case) -> float:
    """The learning rate of plain gradient descent."""
    return 0.5 if case.widths[-1] == 1 else 0.1


def peer(case: Case, model: torch.nn.Sequential, budget: int) -> Callable[[], tuple[float, int]]:
    """A function that trains one round with PyTorch: its last loss, and its number of steps."""
    x, y = (torch.from_numpy(part) for part in data_of(case))
    loss = torch.nn.BCEWithLogitsLoss() if case.widths[-1] == 1 else torch.nn.CrossEntropyLoss()
    rule = (
        torch.optim.SGD(model.parameters(), lr=rate(case))
        if case.rule == "sgd"
        else torch.optim.Adam(model.parameters())
    )
    steps = min(case.steps, budget)

    def run() -> tuple[float, int]:
        batches = len(x) // case.batch
        for step in range(steps):
            at = (step % batches) * case.batch
            rule.zero_grad()
            value = loss(model(x[at : at + case.batch]), y[at : at + case.batch])
            value.backward()
            rule.step()
        return float(value.detach()), steps

    return run


def measure(case: Case, rounds: int, threads: int) -> Row:
    """One case, the two sides taking turns."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    model = torch.nn.Sequential(*layers_of(case, torch.nn))
    start = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    our_run, peer_run = ours(case, threads, start), peer(case, model, 3000)
    begun = time.perf_counter()
    our_run()
    first = time.perf_counter() - begun
    peer_run()
    our_times, peer_times = [], []
    for _ in range(rounds):
        time.sleep(PAUSE)
        begun = time.perf_counter()
        our_loss = our_run()
        our_times.append((time.perf_counter() - begun) / case.steps * 1e6)
        time.sleep(PAUSE)
        begun = time.perf_counter()
        peer_loss, steps = peer_run()
        peer_times.append((time.perf_counter() - begun) / steps * 1e6)
    seconds = float(getattr(our_run.trainer, "compile_seconds", float("nan")))  # type: ignore[attr-defined]
    return Row(case.name, case.goal, our_times, peer_times, first, seconds, our_loss, peer_loss)


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def spread(times: list[float]) -> str:
    """Median, smallest and largest."""
    return f"{statistics.median(times):9.3f} ({min(times):.3f} to {max(times):.3f})"


def main() -> None:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cores = processors()
    print(
        f"{processor()}, {cores} cores, {options.threads} threads, {date.today().isoformat()},"
        f" torch {torch.__version__}, numpy {np.__version__}"
    )
    print(f"{'network':24} {'chainrule, us a step':34} {'PyTorch, us a step':34} ratio   goal")
    rows = []
    for case in CASES:
        row = measure(case, options.rounds, options.threads)
        rows.append(row)
        print(
            f"{row.name:24} {spread(row.ours):34} {spread(row.peer):34}"
            f" {row.ratio:7.1f} {row.goal:5.1f}"
        )
        print(
            f"{'':24} first fit {row.ours_first_seconds:.3f} s, of it compiling"
            f" {row.compile_seconds:.3f} s; last losses {row.ours_loss:.4f} and {row.peer_loss:.4f}"
        )
    if options.json:
        text = json.dumps([asdict(row) | {"ratio": row.ratio} for row in rows], indent=2)
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
