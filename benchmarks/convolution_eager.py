"""Eager steps of convolution networks beside PyTorch: forward, backward, SGD; and single ops."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import chainrule as cr

from ._measure import duration, interleaved, table

# Name: the input's shape and the layers, the same lines for both libraries.
Layers = Callable[[Any], list[Any]]
NETWORKS: dict[str, tuple[tuple[int, ...], Layers]] = {
    "cnn 5x5 1-16-32, batch 100": (
        (100, 1, 28, 28),
        lambda nn: [
            *(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(32 * 7 * 7, 10)),
        ],
    ),
    "cnn 3x3, batch norm, batch 100": (
        (100, 1, 28, 28),
        lambda nn: [
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(32 * 7 * 7, 10)),
        ],
    ),
    "conv1d 1-32-64, kernel 9, 1,024 long, batch 64": (
        (64, 1, 1024),
        lambda nn: [
            *(nn.Conv1d(1, 32, 9, padding=4), nn.ReLU(), nn.MaxPool1d(4)),
            *(nn.Conv1d(32, 64, 9, padding=4), nn.ReLU(), nn.AdaptiveAvgPool1d(1)),
            *(nn.Flatten(), nn.Linear(64, 10)),
        ],
    ),
    "conv3d 1-8-16, kernel 3, 16x16x16, batch 16": (
        (16, 1, 16, 16, 16),
        lambda nn: [
            *(nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2)),
            *(nn.Conv3d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2)),
            *(nn.Flatten(), nn.Linear(16 * 4**3, 10)),
        ],
    ),
    "depthwise-separable, 32 channels, 28x28, batch 32": (
        (32, 32, 28, 28),
        lambda nn: [
            *(nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.ReLU(), nn.Conv2d(32, 32, 1)),
            *(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
        ],
    ),
}
# Name: the inputs' shapes and the function, of the module that both libraries call functional.
OPS: dict[str, tuple[tuple[tuple[int, ...], ...], Callable[..., Any]]] = {
    "conv2d 1-16, 5x5": (
        ((100, 1, 28, 28), (16, 1, 5, 5)),
        lambda F, x, w: F.conv2d(x, w, padding=2),
    ),
    "conv2d 16-32, 5x5": (
        ((100, 16, 14, 14), (32, 16, 5, 5)),
        lambda F, x, w: F.conv2d(x, w, padding=2),
    ),
    "conv2d 64-64, 3x3, stride 2": (
        ((32, 64, 28, 28), (64, 64, 3, 3)),
        lambda F, x, w: F.conv2d(x, w, stride=2, padding=1),
    ),
    "conv2d 64-64, 1x1": (
        ((32, 64, 28, 28), (64, 64, 1, 1)),
        lambda F, x, w: F.conv2d(x, w),
    ),
    "conv2d depthwise 32, 3x3": (
        ((32, 32, 28, 28), (32, 1, 3, 3)),
        lambda F, x, w: F.conv2d(x, w, padding=1, groups=32),
    ),
    "conv_transpose2d 32-16, 4x4, stride 2": (
        ((32, 32, 14, 14), (32, 16, 4, 4)),
        lambda F, x, w: F.conv_transpose2d(x, w, stride=2, padding=1),
    ),
    "max_pool2d 2": (((100, 16, 28, 28),), lambda F, x: F.max_pool2d(x, 2)),
    "max_pool2d 3, stride 2": (((100, 16, 28, 28),), lambda F, x: F.max_pool2d(x, 3, 2, 1)),
    "avg_pool2d 2": (((100, 16, 28, 28),), lambda F, x: F.avg_pool2d(x, 2)),
    "adaptive_avg_pool2d 5": (((32, 32, 28, 28),), lambda F, x: F.adaptive_avg_pool2d(x, 5)),
    "interpolate nearest 2x": (
        ((32, 16, 14, 14),),
        lambda F, x: F.interpolate(x, scale_factor=2),
    ),
    "interpolate bilinear 2x": (
        ((32, 16, 14, 14),),
        lambda F, x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    ),
    "unfold 3x3": (((32, 16, 28, 28),), lambda F, x: F.unfold(x, 3, padding=1)),
    "pad reflect 2": (((100, 16, 28, 28),), lambda F, x: F.pad(x, (2, 2, 2, 2), "reflect")),
}


# PyTorch's threads spin for a while after their work.
PAUSE = 0.25


def training(library: Any, shape: tuple[int, ...], layers: Layers, steps: int) -> Any:
    """Give a job of training steps: the same lines for both libraries."""
    model = library.nn.Sequential(*layers(library.nn))
    update = library.optim.SGD(model.parameters(), lr=0.01)
    draw = np.random.default_rng(0)
    x = library.from_numpy(draw.standard_normal(shape, dtype=np.float32))
    y = library.from_numpy(draw.integers(0, 10, shape[0]))
    loss = library.nn.CrossEntropyLoss()

    def job() -> int:
        for _ in range(steps):
            update.zero_grad()
            loss(model(x), y).backward()
            update.step()
        return steps

    return job


def one_op(library: Any, shapes: Any, function: Any, steps: int) -> Any:
    """Give a job of one op forward and backward, with the gradient of every input."""
    draw = np.random.default_rng(0)
    arrays = [draw.standard_normal(shape, dtype=np.float32) for shape in shapes]
    inputs = [library.from_numpy(array).requires_grad_() for array in arrays]
    functional = library.nn.functional
    shape = tuple(function(functional, *inputs).shape)
    g = library.from_numpy(draw.standard_normal(shape, dtype=np.float32))

    def job() -> int:
        for _ in range(steps):
            for one in inputs:
                one.grad = None
            function(functional, *inputs).backward(g)
        return steps

    return job


def _row(name: str, ours: Any, theirs: Any, repeats: int) -> tuple[str, ...]:
    found = interleaved({"ours": ours, "theirs": theirs}, repeats, PAUSE)
    mine, other = found["ours"], found["theirs"]
    return (
        name,
        f"{duration(mine[0])} ({duration(mine[1])})",
        f"{duration(other[0])} ({duration(other[1])})",
        f"{mine[0] / other[0]:.2f} ({mine[1] / other[1]:.2f})",
    )


def run(steps: int = 4, repeats: int = 7) -> str:
    """Measure on two threads; returns the tables, medians with the least in brackets."""
    torch.set_num_threads(2)
    head = ("chainrule eager", "PyTorch eager", "times PyTorch's")
    networks = [("training step", *head)]
    for name, (shape, layers) in NETWORKS.items():
        jobs = (training(library, shape, layers, steps) for library in (cr, torch))
        networks.append(_row(name, *jobs, repeats))
    single = [("one op, forward and backward", *head)]
    for name, (shapes, function) in OPS.items():
        jobs = (one_op(library, shapes, function, steps) for library in (cr, torch))
        single.append(_row(name, *jobs, repeats))
    return f"{table(networks)}\n\n{table(single)}"


if __name__ == "__main__":
    print(run(*map(int, sys.argv[1:])))
