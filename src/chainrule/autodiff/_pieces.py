"""The gradient of a tensor that was cut into pieces, such as a sequence read step by step.

By the rule of `slice` each piece's gradient is padded to the whole with zeros, and all are added:
for T pieces, T passes over the whole. Where the pieces do not overlap the sum is their gradients
side by side, each element the same number, in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.node import Node
from ..ops import apply
from ..ops._apply import constant_array
from ..ops.shape import CONCAT, SLICE

Use = tuple[Node, int, Any]


def settle(source: Node, uses: Sequence[Use]) -> list[Any]:
    """The terms of a gradient in which pieces are not padded yet.

    Args:
        source: the tensor that was cut.
        uses: (consumer, slot, term) of each use, the term of a slice being its own gradient.

    Returns:
        Terms of the source's shape, whose sum in this order has the bits of the padded sum.
    """
    pieces = [use for use in uses if use[0].op is SLICE]
    others = [term for consumer, _, term in uses if consumer.op is not SLICE]
    if len(others) < 2 and len(pieces) > 1:
        joined = _side_by_side(source, pieces, alone=not others)
        if joined is not None:
            return [joined, *others]
    return [
        SLICE.vjps[0](term, consumer, source, **consumer.attrs) if consumer.op is SLICE else term  # type: ignore[misc]
        for consumer, _, term in uses
    ]


def _side_by_side(source: Node, pieces: Sequence[Use], alone: bool) -> Any:
    """The pieces' gradients joined, or None where they overlap or are cut along several axes."""
    shape = source.shape
    axes = set()
    spans: dict[tuple[int, int], Any] = {}
    for consumer, _, term in pieces:
        attrs = consumer.attrs
        ends = zip(attrs["starts"], attrs["stops"], shape, strict=True)
        cut = [k for k, (a, b, n) in enumerate(ends) if (a, b) != (0, n)]
        if len(cut) != 1 or attrs["steps"][cut[0]] != 1:
            return None
        axes.add(cut[0])
        span = attrs["starts"][cut[0]], attrs["stops"][cut[0]]
        before = spans.get(span)
        if before is not None and not alone:
            return None
        spans[span] = term if before is None else before + term
    if len(axes) != 1:
        return None
    (axis,) = axes
    parts, reached = [], 0
    for (start, stop), term in sorted(spans.items(), key=lambda item: item[0]):
        if start < reached or start == stop:
            return None
        if start > reached:
            parts.append(_zeros(source, axis, start - reached))
        parts.append(term)
        reached = stop
    if reached < shape[axis]:
        parts.append(_zeros(source, axis, shape[axis] - reached))
    return apply(CONCAT, *parts, axis=axis)


def _zeros(source: Node, axis: int, length: int) -> Node:
    shape = (*source.shape[:axis], length, *source.shape[axis + 1 :])
    return constant_array(np.zeros(shape, source.dtype.np), source.dtype)
