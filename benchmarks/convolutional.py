"""Convolutional networks for the benchmark of layers, each said once for both libraries.

A network is said as a function of the library, PyTorch or chainrule, which share their names.
"""

from __future__ import annotations

from typing import Any


def images(kernel: int, normed: bool) -> Any:
    """Two convolutions, 1-16-32, with ReLU and pooling by 2 on 28x28, and a linear layer."""

    def make(library: Any) -> Any:
        nn, layers = library.nn, []
        for inside, outside in ((1, 16), (16, 32)):
            layers.append(nn.Conv2d(inside, outside, kernel, padding=kernel // 2))
            layers += [nn.BatchNorm2d(outside)] if normed else []
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 7 * 7, 10))

    return make


def signals(library: Any) -> Any:
    """Two convolutions, 1-32-64 with kernels of 9, pooling by 4 between, a mean, a linear layer."""
    nn = library.nn
    return nn.Sequential(
        nn.Conv1d(1, 32, 9, padding=4),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Conv1d(32, 64, 9, padding=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def volumes(library: Any) -> Any:
    """Two convolutions, 1-8-16 with kernels of 3, pooling by 2 behind each, a linear layer."""
    nn = library.nn
    return nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4 * 4, 10),
    )


def separable(library: Any) -> Any:
    """A depthwise and a pointwise convolution of 32 channels, each with batch norm and ReLU."""
    nn = library.nn
    return nn.Sequential(
        nn.Conv2d(32, 32, 3, padding=1, groups=32),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
