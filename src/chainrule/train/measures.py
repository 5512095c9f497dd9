"""The metrics that have names, each as sums over a batch or as rows that are collected.

Classification takes three forms: scores (batch, classes) with class numbers (batch,) as target; one
output (batch,) or (batch, 1) with zeros and ones of that shape; and several yes-or-no outputs
(batch, labels) with zeros and ones of that shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ..dtypes import float64
from ..errors import OptionError, ShapeError
from ..functional import softmax
from ..io.arrays import Array
from ..tensor import Tensor
from ..tensor._functions import cat, stack
from .metrics import Measured, Metric, Rows, Sums

AVERAGES = ("macro", "weighted", "micro")
MOST_SUMS = 32  # classes or outputs that are counted in the loop; for more, rows are collected


# Classification


def accuracy(threshold: float = 0.5) -> Metric:
    """The share of right answers.

    Args:
        threshold: where a yes-or-no output counts as yes: 0 for logits, 0.5 for probabilities.

    With several yes-or-no outputs an example, the share of outputs that are right.

    Example:
        >>> import chainrule as cr
        >>> scores = cr.tensor([[2.0, 1.0], [0.0, 3.0]])
        >>> accuracy()(scores, cr.tensor([0, 0])).numbers[0].item()
        1.0
    """
    return Metric("accuracy", lambda o, t: Sums((correct(o, t, threshold=threshold),)))


def correct(output: Tensor, target: Tensor, *, threshold: float = 0.5) -> Tensor:
    """How many of a batch are right, as a 0-d float; shapes as this module says.

    Raises:
        ShapeError: shapes that fit no form.
    """
    if _scores_classes(output, target, "accuracy"):
        count: Tensor = (output.argmax(1) == target).to(output.dtype).sum()
        return count
    right: Tensor = ((output > threshold) == (target > 0.5)).to(output.dtype).sum()
    each = output.numel() // max(output.shape[0], 1)
    return right if each <= 1 else right / each


def precision(threshold: float = 0.5, average: str = "macro") -> Metric:
    """Of the answers "this class", the share that is right.

    With two classes, or one yes-or-no output, that of the class 1; with more, the `average` over
    the classes that occur. No such answer counts as 0.

    Args:
        threshold: as for :func:`accuracy`.
        average: "macro", the plain mean; "weighted", by how often a class occurs; "micro", of all
            counts together.

    Raises:
        OptionError: an average that does not exist.

    Source: scikit-learn's ``precision_score``.

    Example:
        >>> import chainrule as cr
        >>> sums = precision()(cr.tensor([0.9, 0.8, 0.1]), cr.tensor([1.0, 0.0, 1.0]))
        >>> sums.finish(np.array([[number.item() for number in sums.numbers]])).tolist()
        [0.5]
    """
    return _counted("precision", lambda hit, said, is_so: _share(hit, said), threshold, average)


def recall(threshold: float = 0.5, average: str = "macro") -> Metric:
    """Of the examples of a class, the share that is found; arguments as for :func:`precision`."""
    return _counted("recall", lambda hit, said, is_so: _share(hit, is_so), threshold, average)


def f1(threshold: float = 0.5, average: str = "macro") -> Metric:
    """The harmonic mean of precision and recall; arguments as for :func:`precision`."""

    def score(hit: Array, said: Array, is_so: Array) -> Array:
        return _share(2 * hit, said + is_so)

    return _counted("f1", score, threshold, average)


Score = Callable[[Array, Array, Array], Array]


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


def _counted(name: str, score: Score, threshold: float, average: str) -> Metric:
    """A metric of, for each class, hits, answers and examples."""
    if average not in AVERAGES:
        raise OptionError(
            f"there is no average {average!r}.\n  expected: one of {', '.join(AVERAGES)}"
        )

    def measure(output: Tensor, target: Tensor) -> Measured:
        numbered = _scores_classes(output, target, name)
        if not numbered:
            said = _columns(output > threshold).to(float64)
            is_so = _columns(target > 0.5).to(float64)
            return _sums_of(said, is_so, _finish(score, average, False))
        classes = output.shape[1]
        answer = output.argmax(1)
        if classes > MOST_SUMS:
            rows = stack([answer, target.to(answer.dtype)], 1).to(float64)
            finish = _finish(score, average, True)
            return Rows(rows, lambda found: float(finish(_count(found, classes))[0]))
        numbers = Tensor(np.arange(classes))
        is_so = target.reshape(-1, 1) == numbers
        # A target below 0 is one that the loss ignores; nothing is said of it.
        said = (answer.reshape(-1, 1) == numbers) & (target >= 0).reshape(-1, 1)
        if classes == 2:
            said, is_so = said[:, 1:], is_so[:, 1:]
        return _sums_of(said.to(float64), is_so.to(float64), _finish(score, average, True))

    return Metric(name, measure)


def _sums_of(said: Tensor, is_so: Tensor, finish: Callable[[Array], Array]) -> Sums:
    """Sums of hits, answers and examples over the batch, column by column."""
    parts = ((said * is_so).sum(0), said.sum(0), is_so.sum(0))
    return Sums(tuple(part[k] for part in parts for k in range(said.shape[1])), finish)


def _count(rows: Array, classes: int) -> Array:
    """Hits, answers and examples of each class, [1, 3 * classes], from (answer, class) rows."""
    answer, target = rows[rows[:, 1] >= 0].astype(np.int64).T
    hits = np.bincount(target[answer == target], minlength=classes)
    return np.concatenate(
        [hits, np.bincount(answer, minlength=classes), np.bincount(target, minlength=classes)]
    )[None].astype(np.float64)


def _finish(score: Score, average: str, present_only: bool) -> Callable[[Array], Array]:
    def finish(sums: Array) -> Array:
        hit, said, is_so = np.split(sums, 3, axis=1)
        if average == "micro":
            hit, said, is_so = (part.sum(1, keepdims=True) for part in (hit, said, is_so))
        scores = score(hit, said, is_so)
        weights = np.ones_like(scores)
        if average == "weighted":
            weights = is_so
        elif present_only and scores.shape[1] > 1:
            weights = (said + is_so > 0).astype(np.float64)
        return _share((scores * weights).sum(1), weights.sum(1))

    return finish


def auc(threshold: float = 0.5) -> Metric:
    """The area under the ROC curve: how often a positive example scores above a negative one.

    Equal scores count half. With more than two classes, the mean over the classes of each against
    the rest, by softmax. Computed from all scores of the epoch; NaN where only one class occurs.

    Source: scikit-learn's ``roc_auc_score`` (``multi_class="ovr"``).

    Example:
        >>> import chainrule as cr
        >>> rows = auc()(cr.tensor([0.1, 0.4, 0.35, 0.8]), cr.tensor([0.0, 0.0, 1.0, 1.0]))
        >>> rows.finish(rows.values.numpy())
        0.75
    """
    del threshold  # every threshold is tried

    def measure(output: Tensor, target: Tensor) -> Measured:
        if not _scores_classes(output, target, "auc"):
            labels = _columns(target > 0.5).to(output.dtype)
            return Rows(cat([_columns(output), labels], 1), area_of_labels)
        number = target.reshape(-1, 1).to(output.dtype)
        if output.shape[1] == 2:
            return Rows(cat([output[:, 1:] - output[:, :1], number], 1), area_of_labels)
        return Rows(cat([softmax(output, 1), number], 1), area_of_classes)

    return Metric("auc", measure)


def area_of_labels(rows: Array) -> float:
    """The mean area of rows of scores and as many labels, zeros and ones."""
    scores, labels = np.split(rows[rows[:, -1] >= 0], 2, axis=1)
    return _mean_area(area(scores[:, k], labels[:, k] == 1) for k in range(scores.shape[1]))


def area_of_classes(rows: Array) -> float:
    """The mean area of each class against the rest, of rows of scores and a class number."""
    rows = rows[rows[:, -1] >= 0]  # a target below 0 is one that the loss ignores
    scores, numbers = rows[:, :-1], rows[:, -1]
    return _mean_area(area(scores[:, k], numbers == k) for k in range(scores.shape[1]))


def _mean_area(areas: Iterable[float]) -> float:
    known = [found for found in areas if not np.isnan(found)]
    return float(np.mean(known)) if known else float("nan")


def area(scores: Array, positive: Array) -> float:
    """The area under the ROC curve of one class, by ranks.

    Example:
        >>> area(np.array([1.0, 2.0, 2.0]), np.array([False, False, True]))
        0.75
    """
    if np.isnan(scores).any():
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    yes = int(positive.sum())
    no = len(scores) - yes
    if not yes or not no:
        return float("nan")
    return float((ranks[positive].sum() - yes * (yes + 1) / 2) / (yes * no))


# Regression


def mae(threshold: float = 0.5) -> Metric:
    """The mean absolute error over all elements."""
    del threshold

    def measure(output: Tensor, target: Tensor) -> Measured:
        absolute: Tensor = _difference(output, target, "mae").abs().mean()
        return absolute

    return Metric("mae", measure)


def rmse(threshold: float = 0.5) -> Metric:
    """The root of the mean squared error over all elements of the epoch.

    Example:
        >>> import chainrule as cr
        >>> sums = rmse()(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 5.0]))
        >>> sums.finish(np.array([[sums.numbers[0].item() / 2]])).round(3).tolist()
        [2.121]
    """
    del threshold

    def measure(output: Tensor, target: Tensor) -> Measured:
        error = _difference(output, target, "rmse")
        each = max(output.numel() // max(output.shape[0], 1), 1)
        return Sums(((error * error).sum() / each,), lambda means: np.sqrt(means[:, 0]))

    return Metric("rmse", measure)


def r2(threshold: float = 0.5) -> Metric:
    """The share of the target's variance that is explained; the mean over several outputs.

    Source: scikit-learn's ``r2_score``.
    """
    del threshold

    def measure(output: Tensor, target: Tensor) -> Measured:
        error = _columns(_difference(output, target, "r2"))
        wanted = _columns(target.to(float64))
        outputs = error.shape[1]
        if outputs > MOST_SUMS:
            return Rows(cat([error, wanted], 1), lambda rows: float(_explained(_moments(rows))[0]))
        parts = ((error * error).sum(0), wanted.sum(0), (wanted * wanted).sum(0))
        return Sums(tuple(part[k] for part in parts for k in range(outputs)), _explained)

    return Metric("r2", measure)


def _moments(rows: Array) -> Array:
    error, wanted = np.split(rows.astype(np.float64), 2, axis=1)
    means = [np.square(error).mean(0), wanted.mean(0), np.square(wanted).mean(0)]
    return np.concatenate(means)[None]


def _explained(means: Array) -> Array:
    left, center, squares = np.split(means, 3, axis=1)
    spread = squares - np.square(center)
    # Differences this small are what rounding leaves of a target that never changes.
    constant = spread <= 1e-14 * squares
    ratio = 1 - left / np.where(constant, 1.0, spread)
    scores = np.where(constant, np.where(left == 0, 1.0, 0.0), ratio)
    averaged: Array = scores.mean(1)
    return averaged


BY_NAME: dict[str, Callable[[float], Metric]] = {
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "auc": auc,
    "mae": mae,
    "rmse": rmse,
    "r2": r2,
}


# Shapes


def _columns(values: Tensor) -> Tensor:
    """(batch, ...) as (batch, columns)."""
    flat: Tensor = values.reshape(values.shape[0], -1)
    return flat


def _scores_classes(output: Tensor, target: Tensor, name: str) -> bool:
    """Whether these are class scores with class numbers; otherwise they have one shape."""
    if output.ndim == 2 and target.ndim == 1 and output.shape[0] == target.shape[0]:
        return True
    if output.shape != target.shape or not output.ndim:
        raise _cannot_compare(output, target, name)
    return False


def _difference(output: Tensor, target: Tensor, name: str) -> Tensor:
    if output.shape != target.shape or not output.ndim:
        raise ShapeError(
            f"{name} compares outputs with targets of the same shape.\n"
            f"  given: output {tuple(output.shape)}, target {tuple(target.shape)}\n"
            f"  fix: reshape one of them, or leave {name!r} out of metrics"
        )
    error: Tensor = output.to(float64) - target.to(float64)
    return error


def _cannot_compare(output: Tensor, target: Tensor, name: str) -> ShapeError:
    return ShapeError(
        f"{name} does not know how to compare these.\n"
        f"  given: output {tuple(output.shape)}, target {tuple(target.shape)}\n"
        "  expected: output (batch, classes) with target (batch,), or equal shapes\n"
        f"  fix: reshape one of them, or leave {name!r} out of metrics"
    )
