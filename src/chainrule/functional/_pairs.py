"""Similarity and distance of vectors, and losses that compare examples with each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ops import Expr
from ..tensor import Tensor
from ._classification import check_classes, class_weights
from ._common import (
    check_reduction,
    float_node,
    located,
    node_of,
    normal_axis,
    older_reduction,
    reduced,
)
from ._normalize import norm_node

# What PyTorch adds to the squared lengths in its cosine loss.
_COSINE_EPS = 1e-12


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosine of the angle between vectors along `dim`.

    Args:
        x1, x2: shapes that broadcast to one.
        dim: the axis of the vectors, which goes away.
        eps: the smallest length divided by.

    >>> import chainrule as cr
    >>> cosine_similarity(cr.tensor([[1.0, 0.0]]), cr.tensor([[0.0, 2.0]])).tolist()
    [0.0]
    """
    a, b = float_node(x1, "cosine_similarity", "x1"), float_node(x2, "cosine_similarity", "x2")
    product = a * b
    axes = (normal_axis(dim, product.ndim, "cosine_similarity"),)
    a, b = (node.expand(product.shape) for node in (a, b))
    first, second = (norm_node(node, 2.0, axes, keepdims=False).maximum(eps) for node in (a, b))
    return Tensor(product.sum(axes, False) / (first * second))


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """Return the p-norm of the difference of vectors along the last axis.

    Args:
        x1, x2: shapes that broadcast to one.
        p: which norm.
        eps: added to each difference, so that the slope exists at 0.
        keepdim: keep the last axis with length 1.

    >>> import chainrule as cr
    >>> pairwise_distance(cr.tensor([[3.0, 0.0]]), cr.tensor([[0.0, 4.0]]), eps=0.0).tolist()
    [5.0]
    """
    a, b = float_node(x1, "pairwise_distance", "x1"), float_node(x2, "pairwise_distance", "x2")
    return Tensor(_distance(a, b, p, eps, keepdim))


def _distance(a: Any, b: Any, p: float, eps: float, keepdims: bool = False) -> Expr:
    apart: Any = a - b + eps
    found: Expr = norm_node(apart, p, (apart.ndim - 1,), keepdims=keepdims)
    return found


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return what the first input lacks to lie `margin` above the second (or below it).

    A term is `max(0, -y (x1 - x2) + margin)`.

    Args:
        input1, input2: x1 and x2, equal shapes.
        target: y, 1 where x1 should be larger and -1 where x2 should; the same shape.
        margin: by how much.
        size_average, reduce: PyTorch's older spelling of `reduction`.
        reduction: "mean", "sum" or "none".

    >>> import chainrule as cr
    >>> one, y = cr.tensor([1.0]), cr.tensor([1.0])
    >>> margin_ranking_loss(one, one, y, margin=0.5).item()
    0.5
    """
    name = "margin_ranking_loss"
    reduction = older_reduction(size_average, reduce, reduction)
    check_reduction(reduction, name)
    a, b, y = (
        node_of(one, name, what)
        for one, what in ((input1, "input1"), (input2, "input2"), (target, "target"))
    )
    _same_shapes(name, input1=a, input2=b, target=y)
    return Tensor(reduced((margin - y * (a - b)).relu(), reduction))


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return `1 - cos` for like pairs and `max(0, cos - margin)` for unlike ones.

    Args:
        input1, input2: vectors, (N, D) or (D,).
        target: 1 for like and -1 for unlike pairs, (N,) or 0-d.
        margin: from -1 to 1.
        size_average, reduce: PyTorch's older spelling of `reduction`.
        reduction: "mean", "sum" or "none".

    >>> import chainrule as cr
    >>> x = cr.tensor([[1.0, 0.0]])
    >>> cosine_embedding_loss(x, x, cr.tensor([-1])).item()
    1.0
    """
    name = "cosine_embedding_loss"
    reduction = older_reduction(size_average, reduce, reduction)
    check_reduction(reduction, name)
    a, b = float_node(input1, name, "input1"), float_node(input2, name, "input2")
    y = node_of(target, name, "target")
    _same_shapes(name, input1=a, input2=b)
    axes = (a.ndim - 1,)
    if y.shape != a.shape[:-1]:
        raise located(
            ShapeError,
            f"{name}: target must be {a.shape[:-1]}, one number a pair; its shape is {y.shape}",
        )
    squares = ((node * node).sum(axes, False) + _COSINE_EPS for node in (a, b))
    first, second = squares
    cosine = (a * b).sum(axes, False) / (first * second).sqrt()
    terms = y.eq(1).where(1 - cosine, 0) + y.eq(-1).where((cosine - margin).relu(), 0)
    return Tensor(reduced(terms, reduction))


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return what the negative lacks to lie `margin` farther from the anchor than the positive.

    A term is `max(0, d(anchor, positive) - d(anchor, negative) + margin)`.

    Args:
        anchor, positive, negative: vectors, (N, D) or (D,).
        margin: by how much.
        p: which norm measures the distance.
        eps: added to each difference, so that the slope exists at 0.
        swap: use the negative's distance to the positive where that is smaller.
        size_average, reduce: PyTorch's older spelling of `reduction`.
        reduction: "mean", "sum" or "none".

    >>> import chainrule as cr
    >>> a, b = cr.tensor([[0.0, 0.0]]), cr.tensor([[3.0, 4.0]])
    >>> triplet_margin_loss(a, a, b, eps=0.0).item()
    0.0
    """
    name = "triplet_margin_loss"
    reduction = older_reduction(size_average, reduce, reduction)
    check_reduction(reduction, name)
    a, near, far = (
        float_node(one, name, what)
        for one, what in ((anchor, "anchor"), (positive, "positive"), (negative, "negative"))
    )
    _same_shapes(name, anchor=a, positive=near, negative=far)
    away = _distance(a, far, p, eps)
    if swap:
        away = away.minimum(_distance(near, far, p, eps))
    return Tensor(reduced((_distance(a, near, p, eps) - away + margin).relu(), reduction))


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return what the right class's score lacks to lie `margin` above each other's.

    A term is `Σ_{c != y} max(0, margin - x_y + x_c)^p / C`.

    Args:
        input: scores, (N, C) or (C,).
        target: class numbers, (N,) or 0-d.
        p: 1 or 2.
        margin: by how much.
        weight: one number a class.
        size_average, reduce: PyTorch's older spelling of `reduction`.
        reduction: "mean", "sum" or "none".

    >>> import chainrule as cr
    >>> multi_margin_loss(cr.tensor([[2.0, 0.0]]), cr.tensor([1])).item()
    1.5
    """
    name = "multi_margin_loss"
    reduction = older_reduction(size_average, reduce, reduction)
    check_reduction(reduction, name)
    scores, y = float_node(input, name), node_of(target, name, "target")
    axis = scores.ndim - 1
    check_classes(scores.shape, y, -100, name)
    weights = class_weights(weight, scores, axis, name)
    place = y.reshape((*y.shape, 1))
    short = (scores - scores.gather(place, axis) + margin).relu()
    short = short if p == 1 else short * short
    if weights is not None:
        short = short * weights.take(place, 0)
    classes = Tensor(np.arange(scores.shape[axis])).node
    others = place.ne(classes).where(short, 0)
    return Tensor(reduced(others.sum((axis,), False) / scores.shape[axis], reduction))


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the binary cross-entropy of each label, averaged over the labels.

    Args:
        input: logits, (N, C).
        target: 0 or 1 for each label, the same shape.
        weight: one number a label.
        size_average, reduce: PyTorch's older spelling of `reduction`.
        reduction: "mean", "sum" or "none" (one number an example).

    >>> import chainrule as cr
    >>> round(multilabel_soft_margin_loss(cr.zeros(1, 3), cr.ones(1, 3)).item(), 6)
    0.693147
    """
    name = "multilabel_soft_margin_loss"
    reduction = older_reduction(size_average, reduce, reduction)
    check_reduction(reduction, name)
    z, y = float_node(input, name), float_node(target, name, "target")
    _same_shapes(name, input=z, target=y)
    terms = z.softplus() - z * y
    if weight is not None:
        terms = terms * float_node(weight, name, "weight")
    axis = z.ndim - 1
    return Tensor(reduced(terms.sum((axis,), False) / z.shape[axis], reduction))


def _same_shapes(function: str, **nodes: Any) -> None:
    shapes = {node.shape for node in nodes.values()}
    if len(shapes) > 1:
        given = ", ".join(f"{name} {node.shape}" for name, node in nodes.items())
        raise located(
            ShapeError,
            f"{function}: the shapes differ.\n  given: {given}\n  expected: equal shapes",
        )
