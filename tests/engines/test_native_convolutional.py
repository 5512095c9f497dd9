"""Small convolutional networks trained natively: the weights of eager, the same bits on threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim

NETWORKS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "images": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 3 * 3, 10),
        ),
        (1, 24, 24),
    ),
    "batch norm": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
            nn.Conv2d(8, 24, 3, padding=1, groups=2),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(24, 10),
        ),
        (3, 28, 28),
    ),
    "signals": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 32, 9, padding=4, dilation=1),
            nn.Tanh(),
            nn.MaxPool1d(4),
            nn.Conv1d(32, 5, 3, dilation=2),
            nn.ReLU(),
            nn.AvgPool1d(3, 2),
            nn.Flatten(),
            nn.Linear(5 * 12, 10),
        ),
        (2, 116),
    ),
    "volumes": (
        lambda: nn.Sequential(
            nn.Conv3d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool3d(2),
            nn.ConvTranspose3d(8, 4, 2, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * 6**3, 10),
        ),
        (1, 6, 6, 6),
    ),
    "separable": (
        lambda: nn.Sequential(
            nn.Conv2d(12, 12, 3, padding=1, groups=12),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, 17, 1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(17, 10),
        ),
        (12, 9, 9),
    ),
}


def trained(name: str, engine: str, threads: int | None) -> dict[str, Any]:
    """The state of a network after three epochs of three batches."""
    make, shape = NETWORKS[name]
    draw = np.random.default_rng(0)
    x = draw.standard_normal((14, *shape)).astype(np.float32)
    y = draw.integers(0, 10, 14)
    cr.manual_seed(0)
    model = make()
    rule = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    trainer = cr.Trainer(
        model, nn.CrossEntropyLoss(), rule, engine=engine, threads=threads, progress=False
    )
    trainer.fit((x, y), epochs=3, batch_size=6, shuffle=False)
    return {key: value.numpy().copy() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_training_equals_eager_and_does_not_depend_on_threads(name: str) -> None:
    one, two = trained(name, "native", 1), trained(name, "native", 2)
    eager = trained(name, "numpy", None)
    for key, value in eager.items():
        assert one[key].tobytes() == two[key].tobytes(), key
        np.testing.assert_allclose(one[key], value, rtol=2e-3, atol=5e-4, err_msg=key)
