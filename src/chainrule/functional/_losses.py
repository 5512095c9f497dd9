"""Losses of regression and of yes-or-no questions: one number a prediction, then their mean.

Predictions and targets must have equal shapes: (N, 1) against (N,) would broadcast to (N, N) and
compare every example with every other, so it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DTypeError, OptionError
from ..tensor import Tensor
from ._common import (
    check_reduction,
    float_node,
    located,
    node_of,
    older_reduction,
    reduced,
    require_equal_shapes,
    warn_caller,
)
from ._softmax import is_sigmoid, is_softmax

TARGET_NOT_FLOAT = (
    "{function}: the target must be floating-point like the prediction, its dtype is {given}.\n"
    "  fix: target.float(){more}"
)
SIGMOID_TWICE = (
    "binary_cross_entropy_with_logits was given the output of a {kind}. It applies the sigmoid "
    "itself, so the probabilities are squashed twice, all predictions lie between 0.5 and 0.73, "
    "and training is slow.\n  fix: leave out the last {kind}, or use BCELoss"
)
OUTSIDE_UNIT = (
    "{function}: {name} must lie from 0 to 1.\n  given: from {low:g} to {high:g}\n  fix: {fix}"
)


def _pair(
    input: Tensor, target: Tensor, reduction: str, function: str, more: str = ""
) -> tuple[Any, Any]:
    check_reduction(reduction, function)
    given, wanted = float_node(input, function), node_of(target, function, "target")
    if not wanted.dtype.is_float:
        name = wanted.dtype.name
        raise located(DTypeError, TARGET_NOT_FLOAT.format(function=function, given=name, more=more))
    require_equal_shapes(function, given, wanted)
    return given, wanted


def _weighted(terms: Any, weight: Tensor | None, function: str) -> Any:
    return terms if weight is None else terms * node_of(weight, function, "weight")


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the mean squared error, `mean((input - target)²)`.

    Args:
        input: predictions, any shape.
        target: the wanted values, the same shape.
        size_average, reduce: PyTorch's older spelling of `reduction`.
        reduction: "mean", "sum", or "none" for one number a prediction.
        weight: multiplies each term; broadcasts to the shape of the terms.

    Returns:
        0-d, or the shape of `input` with reduction "none".

    Raises:
        ShapeError: when the shapes differ.
        DTypeError: when the target is not floating-point.

    >>> import chainrule as cr
    >>> mse_loss(cr.tensor([1.0, 3.0]), cr.tensor([1.0, 1.0])).item()
    2.0
    """
    reduction = older_reduction(size_average, reduce, reduction)
    given, wanted = _pair(input, target, reduction, "mse_loss")
    error = given - wanted
    return Tensor(reduced(_weighted(error * error, weight, "mse_loss"), reduction))


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the mean absolute error, `mean(|input - target|)`; arguments as for `mse_loss`.

    >>> import chainrule as cr
    >>> l1_loss(cr.tensor([1.0, 3.0]), cr.tensor([1.0, 1.0])).item()
    1.0
    """
    reduction = older_reduction(size_average, reduce, reduction)
    given, wanted = _pair(input, target, reduction, "l1_loss")
    return Tensor(reduced(_weighted((given - wanted).abs(), weight, "l1_loss"), reduction))


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Return a loss that is squared near zero and absolute far from it.

    With d the difference: `d² / (2 beta)` where |d| < beta, else `|d| - beta / 2`.

    Args:
        input: predictions, any shape.
        target: the wanted values, the same shape.
        reduction: "mean", "sum" or "none".
        beta: where the two parts meet; 0 gives the absolute error.

    >>> import chainrule as cr
    >>> smooth_l1_loss(cr.tensor([0.5, 3.0]), cr.tensor([0.0, 0.0]), reduction="none").tolist()
    [0.125, 2.5]
    """
    reduction = older_reduction(size_average, reduce, reduction)
    if beta < 0:
        raise located(OptionError, f"smooth_l1_loss: beta must be 0 or more; {beta} was given")
    given, wanted = _pair(input, target, reduction, "smooth_l1_loss")
    error = given - wanted
    size = error.abs()
    if beta == 0:
        return Tensor(reduced(size, reduction))
    terms = (size < beta).where(error * error * (0.5 / beta), size - 0.5 * beta)
    return Tensor(reduced(terms, reduction))


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Return Huber's loss: with d the difference, `d²/2` where |d| <= delta, else linear.

    Args:
        input: predictions, any shape.
        target: the wanted values, the same shape.
        reduction: "mean", "sum" or "none".
        delta: where the two parts meet; the linear part is `delta (|d| - delta / 2)`.
        weight: multiplies each term.

    >>> import chainrule as cr
    >>> huber_loss(cr.tensor([0.5, 3.0]), cr.tensor([0.0, 0.0]), reduction="none").tolist()
    [0.125, 2.5]
    """
    if delta <= 0:
        raise located(OptionError, f"huber_loss: delta must be above 0; {delta} was given")
    given, wanted = _pair(input, target, reduction, "huber_loss")
    error = given - wanted
    size = error.abs()
    terms = (size <= delta).where(error * error * 0.5, (size - 0.5 * delta) * delta)
    return Tensor(reduced(_weighted(terms, weight, "huber_loss"), reduction))


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return `-mean(y log p + (1 - y) log(1 - p))` for probabilities p.

    The logarithms are kept at -100 and above, as in PyTorch, so that the loss stays finite. Prefer
    `binary_cross_entropy_with_logits`, which stays exact where p rounds to 0 or 1.

    Args:
        input: probabilities, from 0 to 1, any shape.
        target: the wanted probabilities (0 or 1 for labels), the same shape.
        weight: multiplies each term.
        reduction: "mean", "sum" or "none".

    Raises:
        ShapeError: when the shapes differ.
        DTypeError: when the target is not floating-point.
        OptionError: when inputs or targets lie outside 0 to 1.

    >>> import chainrule as cr
    >>> round(binary_cross_entropy(cr.tensor([0.5]), cr.tensor([1.0])).item(), 6)
    0.693147
    """
    reduction = older_reduction(size_average, reduce, reduction)
    name = "binary_cross_entropy"
    p, y = _pair(input, target, reduction, name)
    fix = "end the network with nn.Sigmoid(), or use BCEWithLogitsLoss"
    check_unit(p, "the prediction", fix, name)
    check_labels(y, name)
    yes = _bounded(p > 0, p, lambda safe: safe.log())
    no = _bounded(p < 1, p, lambda safe: (-safe).log1p())
    terms = -(y * yes + (1 - y) * no)
    return Tensor(reduced(_weighted(terms, weight, name), reduction))


def _bounded(finite: Any, p: Any, logarithm: Callable[[Any], Any]) -> Any:
    """Return the logarithm kept at -100 and above, with slope 0 where it is infinite."""
    return finite.where(logarithm(finite.where(p, 0.5)).maximum(-100.0), -100.0)


def check_labels(target: Any, function: str) -> None:
    """Refuse targets (a node) of a yes-or-no question that are no probabilities."""
    check_unit(
        target, "the target", "scale the targets; labels are 0 and 1, not -1 and 1", function
    )


def check_unit(node: Any, name: str, fix: str, function: str) -> None:
    """Refuse values below 0 or above 1, where values are known."""
    if not node.has_value or node.size == 0:
        return
    value = node.value()
    low, high = float(np.minimum.reduce(value, None)), float(np.maximum.reduce(value, None))
    # A NaN compares false with everything and is left for the non-finite check to report.
    if low < 0 or high > 1:
        text = OUTSIDE_UNIT.format(function=function, name=name, low=low, high=high, fix=fix)
        raise located(OptionError, text)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return the binary cross-entropy of `sigmoid(input)`, in one stable form.

    A term is `log(1 + e^z) - z y`, whose derivative is `sigmoid(z) - y`. With `pos_weight` w it is
    `(1 + (w - 1) y) log(1 + e^z) - w y z`.

    Args:
        input: logits z (scores before the sigmoid), any shape.
        target: the wanted probabilities y (0 or 1 for labels), the same shape.
        weight: multiplies each term.
        reduction: "mean", "sum" or "none".
        pos_weight: weight of the positive targets, one a class: above 1 for more recall.

    Raises:
        ShapeError: when the shapes differ.
        DTypeError: when the target is not floating-point.
        OptionError: when targets lie outside 0 to 1 (checked where values are known).

    >>> import chainrule as cr
    >>> logits = cr.tensor([0.0, 100.0])
    >>> binary_cross_entropy_with_logits(logits, cr.tensor([1.0, 0.0]), reduction="none").tolist()
    [0.6931471824645996, 100.0]
    """
    reduction = older_reduction(size_average, reduce, reduction)
    name = "binary_cross_entropy_with_logits"
    z, y = _pair(input, target, reduction, name)
    if is_sigmoid(z) or is_softmax(z):
        kind = "sigmoid" if is_sigmoid(z) else "softmax"
        warn_caller(SIGMOID_TWICE.format(kind=kind))
    check_labels(y, name)
    if pos_weight is None:
        terms = z.softplus() - z * y
    else:
        positive = node_of(pos_weight, name, "pos_weight") * y
        terms = (1 - y + positive) * z.softplus() - positive * z
    return Tensor(reduced(_weighted(terms, weight, name), reduction))


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Return the Kullback-Leibler divergence of predicted from wanted distributions.

    A term is `y (log y - input)`, and 0 where y is 0.

    Args:
        input: predicted log-probabilities, any shape.
        target: the wanted probabilities, or their logarithms with `log_target`; the same shape.
        reduction: "batchmean" (the divergence itself: the sum over the first axis's length),
            "mean" (over all elements), "sum" or "none".
        log_target: the target holds logarithms.

    >>> import chainrule as cr
    >>> p = cr.tensor([[0.5, 0.5]])
    >>> kl_div(p.log(), p, reduction="batchmean").item()
    0.0
    """
    reduction = older_reduction(size_average, reduce, reduction)
    name = "kl_div"
    check_reduction(reduction, name, ("batchmean", "mean", "sum", "none"))
    x, y = _pair(input, target, "none", name)
    if log_target:
        terms = y.exp() * (y - x)
    else:
        positive = y > 0
        terms = positive.where(y * (positive.where(y, 1).log() - x), 0)
    if reduction == "batchmean":
        return Tensor(reduced(terms, "sum") / (terms.shape[0] if terms.ndim else 1))
    return Tensor(reduced(terms, reduction))


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return distances of like pairs, and what unlike pairs lack to `margin`.

    A term is x where the target is 1, and `max(0, margin - x)` where it is -1.

    Args:
        input: distances x, any shape.
        target: 1 for like and -1 for unlike pairs, the same shape.
        margin: the distance that unlike pairs should have.
        reduction: "mean", "sum" or "none".

    >>> import chainrule as cr
    >>> pairs = cr.tensor([0.5, 0.25]), cr.tensor([1.0, -1.0])
    >>> hinge_embedding_loss(*pairs, reduction="none").tolist()
    [0.5, 0.75]
    """
    reduction = older_reduction(size_average, reduce, reduction)
    x, y = _pair(input, target, reduction, "hinge_embedding_loss")
    apart = (margin - x).relu()
    terms = y.eq(1).where(x, 0) + y.eq(-1).where(apart, 0)
    return Tensor(reduced(terms, reduction))


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return `mean(log(1 + e^(-y x)))` for targets y of 1 and -1.

    >>> import chainrule as cr
    >>> round(soft_margin_loss(cr.tensor([0.0]), cr.tensor([-1.0])).item(), 6)
    0.693147
    """
    reduction = older_reduction(size_average, reduce, reduction)
    x, y = _pair(input, target, reduction, "soft_margin_loss")
    return Tensor(reduced((-(y * x)).softplus(), reduction))


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of counts under Poisson distributions.

    Args:
        input: the expected counts, or their logarithms with `log_input`; any shape.
        target: the counts y, the same shape.
        log_input: a term is `e^x - y x`; otherwise `x - y log(x + eps)`.
        full: add Stirling's approximation of `log y!` where y is above 1.
        eps: keeps the logarithm finite.
        reduction: "mean", "sum" or "none".

    >>> import chainrule as cr
    >>> poisson_nll_loss(cr.tensor([0.0]), cr.tensor([3.0])).item()
    1.0
    """
    reduction = older_reduction(size_average, reduce, reduction)
    x, y = _pair(input, target, reduction, "poisson_nll_loss")
    terms = x.exp() - y * x if log_input else x - y * (x + eps).log()
    if full:
        many = y > 1
        safe = many.where(y, 2)
        stirling = safe * safe.log() - safe + 0.5 * (2 * math.pi * safe).log()
        terms = terms + many.where(stirling, 0)
    return Tensor(reduced(terms, reduction))


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of values under normal distributions.

    A term is `(log v + (input - target)² / v) / 2`, v being the variance and at least `eps`.

    Args:
        input: the expected values, any shape.
        target: the values, the same shape.
        var: the variances: a number, or a tensor that broadcasts to that shape.
        full: add `log(2π) / 2`.
        eps: the smallest variance.
        reduction: "mean", "sum" or "none".

    >>> import chainrule as cr
    >>> gaussian_nll_loss(cr.tensor([1.0]), cr.tensor([3.0]), cr.tensor([1.0])).item()
    2.0
    """
    name = "gaussian_nll_loss"
    x, y = _pair(input, target, reduction, name)
    variance = Tensor([float(var)]).node if isinstance(var, int | float) else node_of(var, name)
    if variance.has_value and (variance.value() < 0).any():
        raise located(OptionError, f"{name}: var holds a negative variance")
    # The bound moves the value and not the slope, as in PyTorch.
    bounded = variance + (variance.maximum(eps) - variance).detach()
    error = x - y
    terms = (bounded.log() + error * error / bounded) * 0.5
    return Tensor(reduced(terms + 0.5 * math.log(2 * math.pi) if full else terms, reduction))
