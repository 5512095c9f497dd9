"""Where labels are costly: the model asks for those it would learn most from, or guesses them.

Settles, Active learning literature survey (2009), sections 3.1 and 3.2; Lee, Pseudo-label (2013).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OptionError
from ..functional import softmax
from ..io.arrays import Array
from ..nn import BCEWithLogitsLoss, NLLLoss
from ..tensor import Tensor
from .trainer import Trainer

QUERIES = ("least-confidence", "margin", "entropy", "wrong", "random")


def class_shares(trainer: Trainer, x: Any) -> Array:
    """The probabilities of the classes that the trainer's model gives, by what its loss expects.

    Args:
        trainer: with CrossEntropyLoss (scores), NLLLoss (logarithms) or BCEWithLogitsLoss (one
            score of yes).
        x: inputs, (examples, ...).

    Returns:
        (examples, classes), rows of sum 1.

    Example:
        >>> import chainrule as cr
        >>> weight = cr.tensor([1.0], requires_grad=True)
        >>> sgd = cr.optim.SGD([weight])
        >>> trainer = cr.Trainer(cr.nn.Identity(), cr.nn.CrossEntropyLoss(), sgd, progress=False)
        >>> class_shares(trainer, np.zeros((1, 4))).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """
    outputs = trainer.predict(x)
    if isinstance(trainer.loss, BCEWithLogitsLoss):
        yes = Tensor(outputs.reshape(len(outputs))).sigmoid().numpy()
        return np.stack([1 - yes, yes], axis=1)
    if isinstance(trainer.loss, NLLLoss):
        return np.asarray(np.exp(outputs))
    found: Array = softmax(Tensor(outputs), dim=1).numpy()
    return found


def most_informative(
    shares: Array, count: int, by: str = "margin", targets: Any = None, seed: int = 0
) -> Array:
    """Choose the examples whose labels are asked for.

    Args:
        shares: the probabilities of the classes, (examples, classes).
        count: how many; fewer where there are fewer examples.
        by: "least-confidence" (the likeliest class is unlikely), "margin" (the two likeliest are
            close), "entropy" (all are close), "random", or "wrong": those that the model gets
            wrong, most confidently first, which takes an oracle that knows the labels.
        targets: class numbers, for "wrong".
        seed: of "random".

    Returns:
        int64 (count,), the most informative first.

    Raises:
        OptionError: for a query that does not exist, or "wrong" without targets.

    Example:
        >>> shares = np.array([[0.9, 0.1, 0.0], [0.5, 0.5, 0.0], [0.4, 0.3, 0.3]])
        >>> most_informative(shares, 1, "margin"), most_informative(shares, 1, "entropy")
        (array([1]), array([2]))
    """
    if by not in QUERIES:
        raise OptionError(f"there is no query {by!r}.\n  expected: one of {', '.join(QUERIES)}")
    if by == "random":
        order = np.random.default_rng(seed).permutation(len(shares))
    elif by == "wrong":
        if targets is None:
            raise OptionError("the query 'wrong' needs targets=: an oracle that knows the labels")
        wrong = shares.argmax(axis=1) != np.asarray(targets)
        order = np.argsort(-(wrong + shares.max(axis=1) * np.where(wrong, 1, -1)), kind="stable")
    else:
        order = np.argsort(_certainty(shares, by), kind="stable")
    return order[:count].astype(np.int64)


def _certainty(shares: Array, by: str) -> Array:
    if by == "least-confidence":
        return np.asarray(shares.max(axis=1))
    if by == "margin":
        two = np.sort(shares, axis=1)[:, -2:]
        return np.asarray(two[:, -1] - two[:, 0])
    safe = np.where(shares > 0, shares, 1.0)
    return np.asarray((shares * np.log(safe)).sum(axis=1))


def confident(shares: Array, threshold: float = 0.95) -> tuple[Array, Array]:
    """The examples that the model is sure of, and the classes it gives them: pseudo-labels.

    Args:
        shares: the probabilities of the classes, (examples, classes).
        threshold: the least probability of the likeliest class, from 0 to 1.

    Returns:
        The numbers of the examples and their classes, int64 each.

    Raises:
        OptionError: for a threshold out of range.

    Example:
        >>> confident(np.array([[0.97, 0.03], [0.6, 0.4]]))
        (array([0]), array([0]))
    """
    if not 0 <= threshold <= 1:
        raise OptionError(f"threshold must be from 0 to 1; {threshold} was given")
    sure = np.flatnonzero(shares.max(axis=1) >= threshold)
    return sure.astype(np.int64), shares[sure].argmax(axis=1).astype(np.int64)


@dataclass(frozen=True)
class LabelRound:
    """One round of active learning.

    Attributes:
        chosen: the examples that have been labelled so far, in the order in which they were asked.
        numbers: what the model of this round measures on the test data.
        guessed: how many pseudo-labels were learned from as well.
    """

    chosen: Array
    numbers: dict[str, float]
    guessed: int = 0

    @property
    def labels(self) -> int:
        """How many labels there are."""
        return len(self.chosen)


def active_learning(
    make_trainer: Callable[[], Trainer],
    pool: tuple[Any, Any],
    test: Any,
    *,
    start: int = 20,
    count: int = 20,
    rounds: int = 5,
    by: str = "margin",
    threshold: float | None = None,
    seed: int = 0,
    **options: Any,
) -> list[LabelRound]:
    """Train anew in each round on the labels so far, then ask for more.

    Args:
        make_trainer: gives a trainer with a fresh model; seed it there for comparable rounds.
        pool: all inputs and their labels (x, y); a label is used only once it has been asked for
            (by "wrong" alone looks at all of them).
        test: data that each round is measured on.
        start: labels of the first round, chosen at random.
        count: labels asked for after each round.
        rounds: how many.
        by: how they are chosen; see `most_informative`.
        threshold: where given, examples without a label of which the model is this sure are
            learned from too, with the class that it gives them, in a second fit of the same length.
        seed: of the first labels, and of random ones.
        **options: as for :meth:`Trainer.fit`: epochs, batch_size and so on.

    Returns:
        The rounds.

    Raises:
        OptionError: for a query that does not exist, and numbers that do not fit the pool.

    Example:
        >>> import chainrule as cr
        >>> def make_trainer():
        ...     _ = cr.manual_seed(0)
        ...     model = cr.nn.Linear(1, 2)
        ...     sgd = cr.optim.SGD(model.parameters(), lr=0.5)
        ...     return cr.Trainer(model, cr.nn.CrossEntropyLoss(), sgd, progress=False)
        >>> x = np.linspace(-1, 1, 40)[:, None]
        >>> y = (x[:, 0] > 0).astype(int)
        >>> found = active_learning(make_trainer, (x, y), (x, y), start=4, count=3, rounds=2)
        >>> [one.labels for one in found]
        [4, 7]
    """
    x, y = (np.asarray(one) for one in pool)
    if by not in QUERIES:
        raise OptionError(f"there is no query {by!r}.\n  expected: one of {', '.join(QUERIES)}")
    if min(start, count, rounds) < 1 or start + count * (rounds - 1) > len(x):
        raise OptionError(
            "active_learning: start, count and rounds must be 1 or more and fit the pool.\n"
            f"  given: {start} + {count} x {rounds - 1} labels of a pool of {len(x)}"
        )
    chosen = np.random.default_rng(seed).permutation(len(x))[:start]
    found = []
    for number in range(rounds):
        trainer = make_trainer()
        trainer.fit((x[chosen], y[chosen]), **options)
        rest = np.setdiff1d(np.arange(len(x)), chosen)
        shares = class_shares(trainer, x[rest]) if len(rest) else np.zeros((0, 2))
        guessed = 0
        if threshold is not None and len(rest):
            guessed = _fit_sure(trainer, (x, y), chosen, rest, shares, threshold, options)
        found.append(LabelRound(chosen.copy(), trainer.evaluate(test), guessed))
        if number < rounds - 1:
            new = most_informative(shares, count, by, y[rest], seed + number + 1)
            chosen = np.concatenate([chosen, rest[new]])
    return found


def _fit_sure(
    trainer: Trainer,
    pool: tuple[Array, Array],
    chosen: Array,
    rest: Array,
    shares: Array,
    threshold: float,
    options: dict[str, Any],
) -> int:
    """Go on with pseudo-labels beside the labels; returns how many there were."""
    x, y = pool
    sure, classes = confident(shares, threshold)
    if len(sure):
        labels = np.concatenate([y[chosen], classes.astype(y.dtype)])
        trainer.fit((np.concatenate([x[chosen], x[rest[sure]]]), labels), **options)
    return len(sure)


@dataclass(frozen=True)
class GuessRound:
    """One round of learning from pseudo-labels.

    Attributes:
        chosen: the unlabelled examples that were sure enough.
        classes: the classes they were given.
    """

    chosen: Array
    classes: Array


def fit_pseudo_labels(
    trainer: Trainer,
    labelled: tuple[Any, Any],
    unlabelled: Any,
    *,
    rounds: int = 3,
    threshold: float = 0.95,
    **options: Any,
) -> list[GuessRound]:
    """Fit on labelled examples, then on them and those whose class the model is sure of.

    Each round chooses anew, so that a guess can be taken back. Source: Lee, Pseudo-label: the
    simple and efficient semi-supervised learning method (2013).

    Args:
        trainer: of a classifier; its model goes on from round to round.
        labelled: (x, y).
        unlabelled: inputs alone.
        rounds: fits after the first one.
        threshold: the least probability of a class that is taken for a label.
        **options: as for :meth:`Trainer.fit`: epochs, batch_size and so on.

    Returns:
        For each round what was guessed.

    Raises:
        OptionError: for a threshold out of range.

    Example:
        >>> import chainrule as cr
        >>> model = cr.nn.Linear(1, 2)
        >>> sgd = cr.optim.SGD(model.parameters(), lr=1.0)
        >>> trainer = cr.Trainer(model, cr.nn.CrossEntropyLoss(), sgd, progress=False)
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> given = x[[0, 19]], np.array([0, 1])
        >>> found = fit_pseudo_labels(trainer, given, x, rounds=1, threshold=0.9, epochs=30)
        >>> found[0].classes[[0, -1]].tolist()
        [0, 1]
    """
    x, y = (np.asarray(one) for one in labelled)
    more = np.asarray(unlabelled)
    trainer.fit((x, y), **options)
    found = []
    for _ in range(rounds):
        chosen, classes = confident(class_shares(trainer, more), threshold)
        found.append(GuessRound(chosen, classes))
        inputs = np.concatenate([x, more[chosen]])
        trainer.fit((inputs, np.concatenate([y, classes.astype(y.dtype)])), **options)
    return found
