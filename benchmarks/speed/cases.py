"""The networks of the benchmark suite, each said once for all libraries.

`chainrule` speaks PyTorch's names, so one builder serves both; JAX and scikit-learn, which do not,
read the list of layers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]
Layer = tuple[Any, ...]


@dataclass(frozen=True)
class Rule:
    """An update rule: its name, learning rate, momentum and weight decay."""

    name: str
    lr: float
    momentum: float = 0.0
    decay: float = 0.0

    def make(self, library: Any, parameters: Any) -> Any:
        """The optimizer, in PyTorch or chainrule."""
        if self.name == "adam":
            return library.optim.Adam(parameters, lr=self.lr)
        return library.optim.SGD(
            parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.decay
        )


@dataclass(frozen=True)
class Case:
    """One row of the tables.

    Attributes:
        name: what it is called.
        layers: ("linear", in, out), ("batch norm", width), ("dropout", share), or an activation.
        batch: examples of a step.
        steps: steps of one round.
        rule: how weights are updated.
        data: "digits" (MNIST's pixels), "xor" or "noise".
        fit: the ratio to PyTorch's plain loop that ``Trainer.fit`` must reach; None for no goal.
        step: the ratio for a plain Python loop over a compiled step.
    """

    name: str
    layers: tuple[Layer, ...]
    batch: int
    steps: int
    rule: Rule
    data: str = "noise"
    fit: float | None = None
    step: float | None = None

    @property
    def inputs(self) -> int:
        """Features of an example."""
        return int(self.layers[0][1])

    @property
    def outputs(self) -> int:
        """Classes; 1 for a probability."""
        return int([layer for layer in self.layers if layer[0] == "linear"][-1][2])

    @property
    def random(self) -> bool:
        """Whether training draws random numbers, so that no two libraries get the same losses."""
        return any(layer[0] == "dropout" for layer in self.layers)

    @property
    def flops(self) -> int:
        """Operations of the products of a step: forward, and twice that backward, less the first
        layer's gradient of its input, which nobody needs."""
        products = [layer[1] * layer[2] for layer in self.layers if layer[0] == "linear"]
        return 2 * self.batch * (3 * sum(products) - products[0])

    def resized(self, batch: int, steps: int) -> Case:
        """The same network at another batch size."""
        return replace(self, batch=batch, steps=steps, fit=1.0, step=None)


SGD, ADAM = Rule("sgd", 0.1), Rule("adam", 0.001)
MOMENTUM = Rule("sgd", 0.05, momentum=0.9, decay=1e-4)
FNN: tuple[Layer, ...] = (("linear", 784, 100), ("relu",), ("linear", 100, 10))
DEEP: tuple[Layer, ...] = (
    *(layer for _ in range(6) for layer in (("linear", 64, 64), ("tanh",))),
    ("linear", 64, 10),
)
NORMED: tuple[Layer, ...] = (
    *(
        layer
        for inside in (64, 256)
        for layer in (
            ("linear", inside, 256),
            ("batch norm", 256),
            ("relu",),
            ("dropout", 0.2),
        )
    ),
    ("linear", 256, 10),
)
WIDE: tuple[Layer, ...] = (
    ("linear", 1024, 2048),
    ("relu",),
    ("linear", 2048, 2048),
    ("relu",),
    ("linear", 2048, 10),
)
TINY: tuple[Layer, ...] = (
    ("linear", 4, 32),
    ("relu",),
    ("linear", 32, 16),
    ("relu",),
    ("linear", 16, 4),
)
XOR: tuple[Layer, ...] = (("linear", 2, 4), ("sigmoid",), ("linear", 4, 1))
HALF = Rule("sgd", 0.5)

CASES = (
    Case("xor 2-4-1, 3,000 epochs", XOR, 4, 3_000, HALF, "xor", 300),
    Case("xor 2-4-1, 100,000 epochs", XOR, 4, 100_000, HALF, "xor", 1000),
    Case("logreg 784-10", (("linear", 784, 10),), 100, 600, SGD, "digits", 8, 4),
    Case("fnn 784-100-10, SGD", FNN, 100, 600, SGD, "digits", 4, 2.5),
    Case("fnn 784-100-10, Adam", FNN, 100, 600, ADAM, "digits", 4.5, 2.5),
    Case("fnn 784-100-10, momentum", FNN, 100, 600, MOMENTUM, "digits", 4, 2.5),
    Case("deep, six 64-wide tanh", DEEP, 64, 1000, SGD, "noise", 10, 5),
    Case("batch norm, dropout, 64-256-256-10", NORMED, 128, 300, SGD, "noise", 4, 3),
    Case("wide 1024-2048-2048-10", WIDE, 256, 12, SGD, "noise", 2.1, 2),
    Case("tiny 4-32-16-4, batch 1", TINY, 1, 4_000, SGD, "noise", 200),
    Case("tiny 4-32-16-4, batch 32", TINY, 32, 4_000, SGD, "noise", 30),
)

# Every network at batches that suit nobody: there no row may be slower than PyTorch.
SIZES = (1, 7, 1000)
_STEPS = {1: 1000, 7: 700, 1000: 30}


def other_sizes() -> list[Case]:
    """The networks at other batch sizes, fewer steps of the wide one."""
    found = {case.layers: case for case in CASES if case.data != "xor"}
    made = []
    for case in found.values():
        name = case.name.split(",")[0]
        for batch in SIZES:
            if batch == 1 and any(layer[0] == "batch norm" for layer in case.layers):
                continue  # one example has no statistics
            steps = max(3, _STEPS[batch] // (40 if case.layers is WIDE else 1))
            made.append(replace(case.resized(batch, steps), name=f"{name}, batch {batch}"))
    return made


def data_of(case: Case) -> Arrays:
    """The rows of one round: each step a batch of its own (xor: the four cases again and again)."""
    if case.data == "xor":
        x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
        return x, np.array([[0], [1], [1], [0]], np.float32)
    rows = case.batch * case.steps
    found = digits(rows) if case.data == "digits" else None
    if found is not None:
        return found
    draw = np.random.default_rng(0)
    rows = min(rows, 60_000) // case.batch * case.batch
    x = draw.standard_normal((rows, case.inputs), np.float32)
    # Classes that follow from the inputs, so that there is something to learn.
    by = draw.standard_normal((case.inputs, case.outputs), np.float32)
    return x, (x @ by).argmax(1)


def digits(rows: int) -> Arrays | None:
    """MNIST's training images from 0 to 1 where the data lie beside the repository."""
    from chainrule.data.datasets import MNIST

    folder = Path(os.environ.get("CHAINRULE_TEST_DATA", "../shared/data")) / "mnist"
    if not folder.exists():
        return None
    images = MNIST(str(folder), train=True)
    x = images.data.numpy().reshape(-1, 784)
    rows = min(rows, len(x))
    return x[:rows].astype(np.float32) / np.float32(255), images.targets.numpy()[:rows]
