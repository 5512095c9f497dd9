"""What convolution and pooling share: numbers for each spatial axis, and images without a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import OptionError, ShapeError
from ._common import float_node, located

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
AXES = {1: "L", 2: "H, W", 3: "D, H, W"}


def each_axis(value: Any, rank: int, function: str, name: str, least: int) -> Ints:
    """Return a whole number for each spatial axis, of one number or one an axis.

    >>> each_axis(2, 3, "max_pool3d", "stride", 1), each_axis((1, 2), 2, "conv2d", "padding", 0)
    ((2, 2, 2), (1, 2))
    """
    given = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    numbers = given * rank if len(given) == 1 else given
    whole = [hasattr(one, "__index__") and not isinstance(one, bool) for one in numbers]
    if len(numbers) != rank or not all(whole) or min(int(one) for one in numbers) < least:
        raise located(
            OptionError,
            f"{function}: {name}={value!r} was given.\n"
            f"  expected: a whole number of {least} or more, or {rank} of them"
            f" ({AXES[rank]})",
        )
    return tuple(int(one) for one in numbers)


def both_sides(padding: Ints) -> Pairs:
    """Return the same padding before and behind each axis."""
    return tuple((amount, amount) for amount in padding)


def images(input: Any, rank: int, function: str) -> tuple[Any, bool]:
    """Return the node of a batch of images (N, C, *S), and whether the input was one image.

    Raises:
        ShapeError: when it is neither a batch nor one image.
    """
    x = float_node(input, function)
    if x.ndim == rank + 2:
        return x, False
    if x.ndim == rank + 1:
        return x.reshape((1, *x.shape)), True
    axes = AXES[rank]
    fix = ""
    if x.ndim == rank:
        fix = "\n  fix: input.unsqueeze(0) for one image of one channel"
    elif x.ndim == rank + 3:
        fix = "\n  fix: input.flatten(0, 1), if the first two axes both count images"
    raise located(
        ShapeError,
        f"{function}: the input's shape is {x.shape}.\n"
        f"  expected: a batch (N, C, {axes}) or one image (C, {axes}){fix}",
    )


def one_or_many(node: Any, single: bool) -> Any:
    """Return the node without the batch axis that `images` added."""
    return node.reshape(node.shape[1:]) if single else node
