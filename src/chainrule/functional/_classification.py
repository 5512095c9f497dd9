"""Cross-entropy and the negative log-likelihood of classes.

Notation: N examples, C classes; `z` scores of shape (N, C, ...), `y` class numbers (N, ...).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import DTypeError, IndexRangeError, OptionError, ShapeError
from ..tensor import Tensor
from ._common import (
    check_reduction,
    float_node,
    located,
    node_of,
    older_reduction,
    total,
    warn_caller,
)
from ._softmax import is_softmax, log_softmax_node

SOFTMAX_TWICE = (
    "cross_entropy was given the output of a softmax. It applies the softmax itself, so scores "
    "between 0 and 1 are flattened a second time, the loss cannot come near 0, and training is "
    "slow.\n  fix: leave out the last softmax and give cross_entropy the scores (logits), or give "
    "nll_loss the output of log_softmax"
)
NOT_LOGARITHMS = (
    "nll_loss was given the output of a softmax, but it takes logarithms of probabilities.\n"
    "  fix: log_softmax instead of softmax, or cross_entropy on the scores (logits)"
)
FLOAT_CLASSES = (
    "{function}: the target is {given} of shape {target}; for class numbers it must be whole "
    "numbers.\n  expected: int64 of shape {wanted}, or probabilities of the shape of the input "
    "{input}\n  fix: target.long()"
)
ONE_HOT = (
    "{function}: the target has the input's shape {input} but is {given}.\n"
    "  expected: class numbers of shape {wanted}, or floating-point probabilities\n"
    "  fix: target.argmax(1) for one-hot rows, or target.float()"
)
TARGET_SHAPE = (
    "{function}: the target's shape does not fit the input's.\n"
    "  given: input {input}, target {target}\n"
    "  expected: target {wanted}: one class number for each example\n"
    "  fix: {fix}"
)
OUT_OF_RANGE = (
    "{function}: a target is no class number.\n"
    "  given: {value} at {place}\n"
    "  expected: from 0 to {last}, as the input has {classes} classes (axis 1){ignored}\n"
    "  fix: number the classes from 0, or give the network {more} outputs"
)
WEIGHT_SHAPE = (
    "{function}: weight must hold one number for each class.\n"
    "  given: shape {given}\n  expected: ({classes},)"
)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross-entropy between targets and the softmax of scores.

    A term is `log Σ_c e^(z_c) - z_y`, its derivative `softmax(z) - onehot(y)`.

    Args:
        input: scores (logits), (N, C), (N, C, d1, ...) or (C,).
        target: class numbers (N,), (N, d1, ...) or 0-d; or probabilities in the shape of `input`.
        weight: one number a class, (C,); the mean is then weighted.
        size_average, reduce: PyTorch's older spelling of `reduction`.
        ignore_index: targets of this number count nothing.
        reduction: "mean" over the targets that count, "sum", or "none".
        label_smoothing: share of the target spread evenly over all classes, from 0 to 1.

    Returns:
        0-d; with reduction "none" the shape of the class numbers.

    Raises:
        ShapeError, DTypeError: when the target does not fit.
        IndexRangeError: when a target is no class number (checked where values are known).

    >>> import chainrule as cr
    >>> scores = cr.tensor([[2.0, 0.0], [0.0, 0.0]])
    >>> cross_entropy(scores, cr.tensor([0, 1]), reduction="none").tolist()
    [0.126928..., 0.693147...]
    """
    name = "cross_entropy"
    reduction = older_reduction(size_average, reduce, reduction)
    check_reduction(reduction, name)
    if not 0.0 <= label_smoothing <= 1.0:
        raise located(
            OptionError, f"{name}: label_smoothing must be from 0 to 1; {label_smoothing} given"
        )
    scores, wanted = float_node(input, name), node_of(target, name, "target")
    if is_softmax(scores):
        warn_caller(SOFTMAX_TWICE)
    axis = 1 if scores.ndim > 1 else 0
    weights = class_weights(weight, scores, axis, name)
    if wanted.dtype.is_float and wanted.shape == scores.shape:
        log_p = log_softmax_node(scores, axis)
        return Tensor(_of_shares(log_p, wanted, weights, axis, label_smoothing, reduction))
    check_classes(scores.shape, wanted, ignore_index, name)
    log_p = log_softmax_node(scores, axis)
    return Tensor(
        _of_classes(log_p, wanted, weights, axis, ignore_index, label_smoothing, reduction)
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of class numbers: a term is `-input[n, y_n]`.

    Args:
        input: log-probabilities, as `log_softmax` gives them, (N, C), (N, C, d1, ...) or (C,).
        target: class numbers, (N,), (N, d1, ...) or 0-d.
        weight, size_average, ignore_index, reduce, reduction: as for `cross_entropy`.

    Returns:
        0-d; with reduction "none" the shape of `target`.

    >>> import chainrule as cr
    >>> nll_loss(cr.tensor([[-0.5, -1.0]]), cr.tensor([1])).item()
    1.0
    """
    name = "nll_loss"
    reduction = older_reduction(size_average, reduce, reduction)
    check_reduction(reduction, name)
    log_p, wanted = float_node(input, name), node_of(target, name, "target")
    if is_softmax(log_p):
        warn_caller(NOT_LOGARITHMS)
    axis = 1 if log_p.ndim > 1 else 0
    weights = class_weights(weight, log_p, axis, name)
    check_classes(log_p.shape, wanted, ignore_index, name)
    return Tensor(_of_classes(log_p, wanted, weights, axis, ignore_index, 0.0, reduction))


def _of_shares(
    log_p: Any, y: Any, weights: Any, axis: int, smoothing: float, reduction: str
) -> Any:
    """Cross-entropy with wanted probabilities: each example's terms add up over the classes."""
    classes = log_p.shape[axis]
    if smoothing:
        y = y * (1.0 - smoothing) + smoothing / classes
    terms = log_p * y
    if weights is not None:
        terms = terms * _along(weights, axis, log_p.ndim)
    summed = -terms.sum((axis,), False)
    if reduction == "none":
        return summed
    return total(summed) / (1 if reduction == "sum" else max(summed.size, 1))


def _of_classes(
    log_p: Any,
    y: Any,
    weights: Any,
    axis: int,
    ignore_index: int,
    smoothing: float,
    reduction: str,
) -> Any:
    """Cross-entropy with class numbers: the term of each example is picked from its row."""
    keep = _kept(y, ignore_index)
    safe = y if keep is None else keep.where(y, 0)
    scale = None if weights is None else weights.take(safe, 0)
    place = (*y.shape[:axis], 1, *y.shape[axis:])
    picked = _valid(-log_p.gather(safe.reshape(place), axis).reshape(y.shape), safe, log_p, axis)
    terms = _masked(picked if scale is None else picked * scale, keep)
    if smoothing:
        spread = log_p if weights is None else log_p * _along(weights, axis, log_p.ndim)
        even = _masked(-spread.sum((axis,), False), keep)
        terms = terms * (1.0 - smoothing) + even * (smoothing / log_p.shape[axis])
    if reduction == "none":
        return terms
    if reduction == "sum":
        return total(terms)
    return total(terms) / _count(terms, keep, scale)


def _kept(y: Any, ignore_index: int) -> Any:
    """Return where targets count, or None where all do (known only once values are)."""
    if y.has_value and not (y.value() == ignore_index).any():
        return None
    if ignore_index < 0 and y.dtype.name.startswith("uint"):
        return None
    return y.ne(ignore_index)


def _valid(picked: Any, y: Any, log_p: Any, axis: int) -> Any:
    """Return the terms; in a compiled step, where nothing can raise, NaN for no class number."""
    if y.has_value:
        return picked
    below_end = (y < log_p.shape[axis]).where(picked, math.nan)
    return (y >= 0).where(below_end, math.nan)


def _masked(terms: Any, keep: Any) -> Any:
    return terms if keep is None else keep.where(terms, 0)


def _count(terms: Any, keep: Any, scale: Any) -> Any:
    """Return what a mean divides by: the number, or the summed weights, of targets that count."""
    if scale is not None:
        return total(_masked(scale, keep))
    return terms.size if keep is None else total(keep.cast(terms.dtype))


def _along(weights: Any, axis: int, rank: int) -> Any:
    """Return one number a class, shaped to meet scores of `rank` dimensions."""
    return weights.reshape((weights.size, *(1,) * (rank - axis - 1)))


def class_weights(weight: Tensor | None, scores: Any, axis: int, function: str) -> Any:
    """Return the node of one weight a class, or None where none are given."""
    if weight is None:
        return None
    node = float_node(weight, function, "weight")
    if node.shape != (scores.shape[axis],):
        classes = scores.shape[axis]
        raise located(
            ShapeError, WEIGHT_SHAPE.format(function=function, given=node.shape, classes=classes)
        )
    return node


def check_classes(shape: tuple[int, ...], y: Any, ignore_index: int, function: str) -> None:
    """Refuse targets (a node) that do not fit scores of a shape: dtype, shape, range."""
    if not shape:
        raise located(
            ShapeError, f"{function}: the input is 0-d; expected scores of shape (N, C) or (C,)"
        )
    wanted = (shape[0], *shape[2:]) if len(shape) > 1 else ()
    words = {"function": function, "input": shape, "target": y.shape, "wanted": wanted}
    if y.shape == shape and len(shape) > 1 and not y.dtype.is_float:
        raise located(DTypeError, ONE_HOT.format(given=y.dtype.name, **words))
    if y.shape != wanted:
        raise located(
            ShapeError, TARGET_SHAPE.format(fix=_target_fix(shape, y.shape, wanted), **words)
        )
    if not y.dtype.is_int:
        raise located(DTypeError, FLOAT_CLASSES.format(given=y.dtype.name, **words))
    if y.has_value:
        _check_range(shape[min(1, len(shape) - 1)], y.value(), ignore_index, function)


def _target_fix(scores: tuple[int, ...], given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    if given == (*wanted, 1):
        return f"target.squeeze({len(wanted)})"
    if len(scores) == 1 and given == scores:
        return "give scores of shape (N, C): one row an example, one column a class"
    if given[:1] != scores[:1]:
        return "give as many targets as the input has rows; look at how the batch is made"
    return "target.reshape(...) to one class number for each example"


def _check_range(classes: int, y: Any, ignore_index: int, function: str) -> None:
    if y.size == 0 or (y.min() >= 0 and y.max() < classes):
        return
    wrong = ((y < 0) | (y >= classes)) & (y != ignore_index)
    if not wrong.any():
        return
    first = tuple(int(place) for place in np.argwhere(wrong)[0])
    value = int(y[first])
    place = f"target[{', '.join(map(str, first))}]" if first else "the target"
    ignored = f", or ignore_index={ignore_index}"
    raise located(
        IndexRangeError,
        OUT_OF_RANGE.format(
            function=function,
            value=value,
            place=place,
            last=classes - 1,
            classes=classes,
            ignored=ignored,
            more=int(y.max()) + 1,
        ),
    )
