"""Weights of examples and of classes: an example of weight 2 counts as if it were there twice."""

from __future__ import annotations

import copy
import hashlib
import inspect
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DataError, OptionError, ShapeError
from ..io.arrays import Array
from ..tensor import Tensor
from ..tensor._functions import where
from .examples import Examples

SMALLEST = 1e-30  # a batch without any weight has the loss 0, not 0/0


@dataclass(frozen=True)
class WeightedExamples(Examples):
    """Examples with a weight of each before the target.

    Attributes:
        weights: float (examples,), by position in `whole`.
        whole: the examples themselves.
    """

    weights: Array = field(default_factory=lambda: np.zeros(0))
    whole: Examples = field(default_factory=lambda: Examples(()))

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def in_memory(self) -> bool:
        """As the examples themselves."""
        return self.whole.in_memory

    def fingerprint(self) -> str:
        """That of the examples, and a digest of the weights."""
        digest = hashlib.blake2b(self.weights.tobytes(), digest_size=8).hexdigest()
        return f"{self.whole.fingerprint()} weighted {digest}"

    def gather(self, indices: Array, ended: threading.Event | None = None) -> tuple[Array, ...]:
        """The rows at `indices`, with their weights."""
        *inputs, target = self.whole.gather(indices, ended)
        return (*inputs, self.weights[indices], target)


def weighted_examples(
    examples: Examples, sample_weight: Any, class_weight: Any, floating: np.dtype[Any]
) -> Examples:
    """Examples with the weights that ``fit`` was given; themselves where it was given none.

    Args:
        examples: the training data.
        sample_weight: one number for each example, 0 or more; None for 1 each.
        class_weight: a number for each class, by number or in order; "balanced" makes every class
            count the same; None for 1 each.
        floating: the dtype of the weights.

    Raises:
        ShapeError: not one weight for each example.
        DataError: weights below 0, not finite, or all 0; targets that are no classes.
        OptionError: another kind of class weight, or a class without one.

    Example:
        >>> examples = Examples((np.zeros((4, 2)), np.array([0, 0, 0, 1])))
        >>> weighted_examples(examples, None, "balanced", np.dtype("float64")).weights.round(2)
        array([0.67, 0.67, 0.67, 2.  ])
    """
    if sample_weight is None and class_weight is None:
        return examples
    weights = np.ones(len(examples))
    if sample_weight is not None:
        weights = _sample_weights(sample_weight, len(examples))
    if class_weight is not None:
        if not examples.in_memory:
            raise OptionError(
                "class_weight needs all targets before the training, and this data set computes "
                "its examples.\n  fix: give sample_weight"
            )
        targets = examples.arrays[-1]
        chosen = targets if examples.rows is None else targets[examples.rows]
        weights = weights * _of_classes(chosen, class_weight)
    if not weights.any():
        raise DataError("all weights are 0, so there is nothing to train on")
    if examples.rows is not None:
        placed = np.zeros(len(examples.arrays[-1]))
        # A row that a subset names twice has one weight; the last is taken, as NumPy assigns.
        placed[examples.rows] = weights
        weights = placed
    weights = weights.astype(floating)
    *inputs, target = examples.arrays
    shown = weights if examples.in_memory else weights[:1]
    return WeightedExamples((*inputs, shown, target), examples.rows, weights, examples)


def _sample_weights(given: Any, count: int) -> Array:
    array = given.detach().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if array.shape != (count,):
        raise ShapeError(
            "sample_weight must hold one number for each training example.\n"
            f"  given: shape {array.shape}\n  expected: ({count},)"
        )
    weights: Array = array.astype(np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any():
        place = int(np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))[0])
        raise DataError(
            "sample_weight must be finite and 0 or more.\n"
            f"  given: {weights[place]} at sample_weight[{place}]"
        )
    return weights


def _of_classes(targets: Array, given: Any) -> Array:
    """The weight of each example by its class."""
    flat = targets.reshape(len(targets), -1)
    if flat.shape[1] != 1 or not (flat == np.floor(flat)).all():
        raise DataError(
            "class_weight needs one class number for each example as target.\n"
            f"  given: targets of shape {targets.shape}\n  fix: give sample_weight"
        )
    classes, place, counts = np.unique(flat[:, 0], return_inverse=True, return_counts=True)
    numbers: Array
    if isinstance(given, str):
        if given != "balanced":
            raise OptionError(
                f"there is no class_weight {given!r}.\n"
                "  expected: 'balanced', or a number for each class"
            )
        numbers = len(targets) / (len(classes) * counts)
        return numbers[place]
    table = dict(given) if isinstance(given, Mapping) else dict(enumerate(_in_order(given)))
    missing = [int(label) for label in classes if int(label) not in table]
    if missing:
        raise OptionError(
            f"class_weight has no number for class {missing[0]}.\n  given: {given!r}\n"
            f"  expected: a number for each of the classes {classes.astype(int).tolist()}"
        )
    numbers = np.array([float(table[int(label)]) for label in classes])
    if (numbers < 0).any() or not np.isfinite(numbers).all():
        raise OptionError(f"class_weight must be finite and 0 or more.\n  given: {given!r}")
    return numbers[place]


def _in_order(given: Any) -> list[float]:
    array = given.detach().numpy() if isinstance(given, Tensor) else np.asarray(given, np.float64)
    return [float(number) for number in array.reshape(-1)]


class WeightedLoss:
    """A loss of each example, added up with weights.

    Args:
        loss: a loss module with ``reduction``, or a function that takes ``reduction``.

    Raises:
        OptionError: it has no loss of each example to give.

    Example:
        >>> import chainrule as cr
        >>> loss = WeightedLoss(cr.nn.MSELoss())
        >>> output, target = cr.tensor([1.0, 3.0]), cr.tensor([0.0, 0.0])
        >>> ratio(*loss(output, target, cr.tensor([2.0, 1.0]))).item()  # (2 * 1 + 1 * 9) / 3
        3.6666667461395264
    """

    def __init__(self, loss: Any) -> None:
        self._loss = loss
        self._each = each_of(loss)
        if self._each is None:
            raise OptionError(
                "sample_weight and class_weight need a loss of each example.\n"
                f"  given: {loss!r}, which gives one number for a batch\n"
                "  fix: a loss module with reduction='mean', or a function (output, target, "
                "reduction='mean') that gives (batch,) for reduction='none'"
            )

    def __call__(
        self, output: Tensor, target: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """The weighted sum of losses, and the sum of weights (None where losses are added up)."""
        assert self._each is not None
        losses = self._each(output, target)
        if not losses.ndim or losses.shape[0] != weights.shape[0]:
            raise ShapeError(
                "the loss gives no number for each example.\n"
                f"  given: shape {tuple(losses.shape)} for a batch of {weights.shape[0]}"
            )
        shaped = weights.reshape(-1, *[1] * (losses.ndim - 1))
        total = (losses * shaped).sum()
        if getattr(self._loss, "reduction", "mean") == "sum":
            return total, None
        return total, self._divisor(losses, target, weights, shaped)

    def _divisor(self, losses: Tensor, target: Tensor, weights: Tensor, shaped: Tensor) -> Tensor:
        """The sum of weights, with the loss's own: of classes, 0 where it ignores a target."""
        ignored = getattr(self._loss, "ignore_index", None)
        if ignored is None or target.dtype.is_float:
            summed: Tensor = weights.sum() * (losses.numel() // max(losses.shape[0], 1))
            return summed
        counts = target != ignored
        counted = shaped * counts.to(losses.dtype)
        own = getattr(self._loss, "weight", None)
        if own is not None:
            counted = counted * own[where(counts, target, 0)]
        total: Tensor = counted.sum()
        return total


def ratio(total: Tensor, weight: Tensor | None) -> Tensor:
    """The mean: a weighted sum by the sum of weights."""
    return total if weight is None else total / weight.clamp(min=SMALLEST)


def each_of(loss: Any) -> Any:
    """A function of (output, target) that gives the loss of each element; None if there is none."""
    if hasattr(loss, "reduction"):
        single = copy.copy(loss)
        single.reduction = "none"
        return single
    try:
        parameters = inspect.signature(loss).parameters
    except (TypeError, ValueError):
        return None
    if "reduction" not in parameters:
        return None
    return lambda output, target: loss(output, target, reduction="none")
