"""A function of ours beside PyTorch's: values, gradients, and gradients of gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import chainrule as cr

Array = np.ndarray[Any, Any]


def agree(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    arrays: Sequence[Array],
    second: bool = True,
    scale: float = 1e-9,
) -> None:
    """Compare results, gradients and second derivatives with respect to all arrays, in float64.

    The second derivative is that of the gradient's product with random directions. Where a result
    is a pair its second part (indices) must be equal.
    """
    rng = np.random.default_rng(0)
    mine = [cr.tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    found, expected = ours(*mine), theirs(*other)
    if isinstance(expected, tuple):
        np.testing.assert_array_equal(found[1].numpy(), expected[1].numpy())
        found, expected = found[0], expected[0]
    assert tuple(found.shape) == tuple(expected.shape)
    close(found, expected, scale)
    weights = rng.standard_normal(tuple(found.shape))
    g = cr.grad((found * cr.tensor(weights)).sum(), mine, create_graph=second)
    h = torch.autograd.grad((expected * torch.tensor(weights)).sum(), other, create_graph=second)
    for one, two in zip(g, h, strict=True):
        close(one, two, scale)
    if not second or not any(one.requires_grad for one in h):
        return
    directions = [rng.standard_normal(tuple(one.shape)) for one in g]
    pairs = list(zip(g, h, directions, strict=True))
    ours_again = sum((one * cr.tensor(way)).sum() for one, _, way in pairs)
    theirs_again = sum((two * torch.tensor(way)).sum() for _, two, way in pairs)
    expected_again = torch.autograd.grad(theirs_again, other, allow_unused=True)
    for number, two in enumerate(expected_again):
        if two is None or not bool(two.abs().sum() > 0):
            continue
        (one,) = cr.grad(ours_again, [mine[number]])
        close(one, two, scale)


def close(one: Any, two: Any, scale: float) -> None:
    np.testing.assert_allclose(
        one.detach().numpy(), two.detach().numpy(), rtol=scale, atol=scale, equal_nan=True
    )
