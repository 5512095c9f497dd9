"""Eager steps: the same network in chainrule, PyTorch and MyGrad, forward and backward and SGD."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import torch

import chainrule as cr
from chainrule import ops
from chainrule.xp import numpy_

from ._measure import duration, interleaved, table

Arrays = tuple[Any, Any]
STEPS = {"xor 2-4-1, batch 4": 300, "fnn 784-100-10, batch 100": 60}
LEARNING_RATE = 0.05


def fnn_data(rows: int) -> Arrays:
    """Make inputs of the size of small images, and ten classes."""
    draw = np.random.default_rng(0)
    return draw.random((rows, 784), dtype=np.float32), draw.integers(0, 10, rows)


def xor_data() -> Arrays:
    """Give the four cases of exclusive or."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    return x, np.array([[0], [1], [1], [0]], dtype=np.float32)


def network(library: Any, sizes: tuple[int, ...]) -> Any:
    """Build a network with Tanh between its layers, in PyTorch or chainrule: the same lines."""
    nn = library.nn
    layers: list[Any] = []
    for into, out in itertools.pairwise(sizes):
        layers += [nn.Linear(into, out), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def like_torch(library: Any, sizes: tuple[int, ...], data: Arrays, steps: int) -> Any:
    """Give a job in PyTorch or eager chainrule: the same lines."""
    model = network(library, sizes)
    update = library.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    x, y = (library.from_numpy(array) for array in data)
    loss = library.nn.BCEWithLogitsLoss() if y.ndim == 2 else library.nn.CrossEntropyLoss()

    def job() -> int:
        for _ in range(steps):
            update.zero_grad()
            loss(model(x), y).backward()
            update.step()
        return steps

    return job


def in_mygrad(mygrad: Any, sizes: tuple[int, ...], data: Arrays, steps: int) -> Any:
    """Give a job in MyGrad, on plain tensors."""
    from mygrad.nnet.losses import softmax_crossentropy

    draw = np.random.default_rng(0)
    layers = [
        (
            mygrad.tensor(draw.uniform(-0.1, 0.1, (into, out)).astype(np.float32)),
            mygrad.tensor(np.zeros(out, dtype=np.float32)),
        )
        for into, out in itertools.pairwise(sizes)
    ]
    x, y = data

    def forward() -> Any:
        value = x
        for weight, bias in layers[:-1]:
            value = mygrad.tanh(value @ weight + bias)
        weight, bias = layers[-1]
        return value @ weight + bias

    def job() -> int:
        for _ in range(steps):
            output = forward()
            if y.ndim == 1:
                loss = softmax_crossentropy(output, y)
            else:  # log(1 + e^z) - y z, averaged: the same loss as the others compute
                loss = mygrad.mean(mygrad.log(1 + mygrad.exp(output)) - y * output)
            loss.backward()
            for parameter in (each for layer in layers for each in layer):
                parameter.data -= LEARNING_RATE * parameter.grad
        return steps

    return job


class Recorder:
    """Notes the array calls of one eager step, to make them again without nodes."""

    def __init__(self, job: Any) -> None:
        self.calls: list[tuple[Any, list[Any], Any]] = []
        before = {op: op.array for op in ops.ALL}
        for op in ops.ALL:
            object.__setattr__(op, "array", self._noting(op.array))
        try:
            job()
        finally:
            for op, array in before.items():
                object.__setattr__(op, "array", array)

    def _noting(self, array: Any) -> Any:
        def noted(xp: Any, *arrays: Any, **attrs: Any) -> Any:
            self.calls.append((array, list(arrays), attrs))
            return array(xp, *arrays, **attrs)

        return noted

    def run(self, times: int) -> int:
        """Make the bare calls; a step's results live to its end, as in the step itself."""
        with np.errstate(all="ignore"):
            for _ in range(times):
                kept = [array(numpy_, *arrays, **attrs) for array, arrays, attrs in self.calls]
                del kept
        return times


def on_threads(count: int, job: Any) -> Any:
    """Give a PyTorch job that runs on so many threads."""

    def run() -> int:
        torch.set_num_threads(count)
        steps: int = job()
        return steps

    return run


def overhead(sizes: tuple[int, ...], data: Arrays, steps: int) -> tuple[str, ...]:
    """What a node costs beyond NumPy: least times, since others may be using the machine."""
    one = Recorder(like_torch(cr, sizes, data, 1))
    short = max(1, steps // 30)
    found = interleaved(
        {"step": like_torch(cr, sizes, data, short), "bare": lambda: one.run(short)}, repeats=100
    )
    whole, bare = found["step"][1], found["bare"][1]
    nodes = len(one.calls)
    return (duration(whole), duration(bare), str(nodes), duration((whole - bare) / nodes))


def run() -> str:
    """Measure; returns the tables."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MyGrad warns about its own use of NumPy
        import mygrad

        columns = ("chainrule", "PyTorch 1 thread", "PyTorch 2 threads", "MyGrad")
        rows: list[tuple[str, ...]] = [("eager step, median (least)", *columns)]
        costs: list[tuple[str, ...]] = [
            ("overhead, least times", "step", "bare NumPy calls", "nodes", "each node")
        ]
        cases = {
            "xor 2-4-1, batch 4": (xor_data(), (2, 4, 1)),
            "fnn 784-100-10, batch 100": (fnn_data(100), (784, 100, 10)),
        }
        for name, (data, sizes) in cases.items():
            steps = STEPS[name]
            peer = like_torch(torch, sizes, data, steps)
            found = interleaved(
                {
                    "chainrule": like_torch(cr, sizes, data, steps),
                    "one": on_threads(1, peer),
                    "two": on_threads(2, peer),
                    "mygrad": in_mygrad(mygrad, sizes, data, steps),
                }
            )
            rows.append((name, *(f"{duration(m)} ({duration(b)})" for m, b in found.values())))
            costs.append((name, *overhead(sizes, data, steps)))
    return f"{table(rows)}\n\n{table(costs)}"
