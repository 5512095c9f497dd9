"""What is composed for images (resizing, borders, adaptive windows, columns) on every engine."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 4, 6, 8)).astype(np.float32)
UP, DEPTH = (
    cr.tensor(RNG.standard_normal(shape).astype(np.float32))
    for shape in ((4, 3, 3, 3), (8, 1, 3, 3))
)

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
    "nearest": lambda x: F.interpolate(x, (5, 9)),
    "reflected": lambda x: F.pad(x, (1, 2, 2, 1), "reflect"),
    "bordered": lambda x: F.pad(x, (1, 2), value=1.5),
    "columns": lambda x: F.unfold(x, 3, padding=1),
    "folded": lambda x: F.fold(F.unfold(x, 2), (6, 8), 2),
    "adaptive mean": lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
    "adaptive largest": lambda x: F.adaptive_max_pool2d(x, (3, 5)),
    "mean": lambda x: F.avg_pool2d(x, 3, 2, 1, True, False),
    "norm": lambda x: F.lp_pool2d(x.abs() + 0.1, 2, 2),
    "unpooled": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "transposed": lambda x: F.conv_transpose2d(x, UP, None, 2, 1, 1),
    "depthwise": lambda x: F.conv2d(x, DEPTH, groups=4, dilation=2, padding="same"),
    "instance": lambda x: F.instance_norm(x),
    "response": lambda x: F.local_response_norm(x, 3),
    "shuffled": lambda x: F.pixel_shuffle(x, 2),
}


def step(x: Any) -> list[Any]:
    """Every function's result and gradient."""
    found = []
    for function in FUNCTIONS.values():
        y = function(x)
        found += [y, *cr.grad((y * y).sum(), [x])]
    return found


@pytest.mark.parametrize("engine", ["native", "xla"])
def test_every_function_of_images_agrees_with_numpy(engine: str) -> None:
    x = cr.tensor(X, requires_grad=True)
    names = [f"{part} of {name}" for name in FUNCTIONS for part in ("value", "gradient")]
    compiled = cr.compile(step, engine=engine)(x)
    for name, found, expected in zip(names, compiled, step(x), strict=True):
        one, two = found.detach().numpy(), expected.detach().numpy()
        size = max(1.0, float(np.abs(two).max()))
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5 * size, err_msg=name)
