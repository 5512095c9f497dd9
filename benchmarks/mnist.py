"""MNIST's digits: a 784-100-10 network (SGD 0.1) and a LeNet-like one, 5 epochs, several seeds.

    python benchmarks/mnist.py [--seeds 5] [--engine native]

The IDX files are read from ``mnist`` in $CHAINRULE_TEST_DATA (or ../shared/data). Pixels are scaled
to 0 to 1, and once more by the mean and deviation of the training pixels, as tutorials do: in so
few steps that decides the accuracy. It is that on the 10,000 test images, which no step sees.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import chainrule as cr
from benchmarks._measure import heading, table
from chainrule import nn, optim

DATA = Path(os.environ.get("CHAINRULE_TEST_DATA", "../shared/data")) / "mnist"


def digits(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (examples, 784) from 0 to 1, and their labels."""
    images = gzip.decompress((DATA / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((DATA / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    x = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / 255
    return x, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)


Pair = tuple[np.ndarray, np.ndarray]


def dense() -> Any:
    """One hidden layer, plain gradient descent, batches of 100."""
    model = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    return model, optim.SGD(model.parameters(), lr=0.1), None


def lenet() -> Any:
    """Two convolutions with pooling, then two layers (LeCun et al. 1998, with ReLU), Adam."""
    model = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Dropout(0.25), nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    return model, optimizer, optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)


def run(seeds: int = 5, engine: str = "native") -> str:
    """Train once for each seed and scaling; returns the table."""
    train, test = digits("train"), digits("t10k")
    scaled = standard(train, test)
    return (
        f"pixels from 0 to 1\n{rows_of(seeds, engine, train, test)}\n\n"
        f"pixels of mean 0 and deviation 1\n{rows_of(seeds, engine, *scaled)}\n\n"
        f"LeNet-like, pixels of mean 0 and deviation 1\n{rows_of(seeds, engine, *scaled, lenet)}"
    )


def standard(train: Pair, test: Pair) -> list[Pair]:
    """Both with the training pixels' mean taken away, divided by their deviation."""
    center, width = np.float32(train[0].mean()), np.float32(train[0].std())
    return [((x - center) / width, y) for x, y in (train, test)]


def rows_of(
    seeds: int,
    engine: str,
    train: Pair,
    test: Pair,
    make: Callable[[], Any] = dense,
    epochs: int = 5,
) -> str:
    """Train once for each seed; returns the table."""
    rows = [("seed", "test accuracy", "test loss", "train loss", "seconds of fit")]
    shares, times = [], []
    for seed in range(seeds):
        cr.manual_seed(seed)
        model, optimizer, scheduler = make()
        trainer = cr.Trainer(
            model, nn.CrossEntropyLoss(), optimizer, scheduler=scheduler, seed=seed,
            engine=engine, progress=False,
        )  # fmt: skip
        begun = time.perf_counter()
        record = trainer.fit(train, epochs=epochs, batch_size=100)
        times.append(time.perf_counter() - begun)
        found = trainer.evaluate(test)
        shares.append(100 * found["accuracy"])
        rows.append(
            (
                str(seed), f"{shares[-1]:.2f} %", f"{found['loss']:.4f}",
                f"{record.history['loss'][-1]:.4f}", f"{times[-1]:.2f}",
            )
        )  # fmt: skip
    middle = f"{statistics.median(shares):.2f} % ({min(shares):.2f} to {max(shares):.2f})"
    rows.append(("median", middle, "", "", f"{statistics.median(times):.2f}"))
    return table(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--engine", default="native")
    options = parser.parse_args()
    print(heading())
    print(run(options.seeds, options.engine))


if __name__ == "__main__":
    main()
