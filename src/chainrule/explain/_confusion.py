"""`explain.confusion`: which classes are taken for which, and the worst mistakes as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OptionError
from ._charts import beside, matrix_chart, table_text, tiles
from ._drawing import Array, Drawing
from ._forward import arrays_of, predict
from ._numbers import percent, plural, show
from ._view import View

LEAST_IMAGE = 25
NOT_CLASSES = (
    "explain.confusion needs a classifier: scores for each class, and class numbers as targets.\n"
    "  given: outputs of shape {output}, targets of shape {target} and dtype {dtype}\n"
    "  expected: outputs (examples, classes) with integer targets (examples,), or one output an\n"
    "    example with targets 0 and 1"
)


@dataclass(frozen=True)
class Answers:
    """A classifier's answers to examples whose classes are known.

    Attributes:
        truth: True classes, shape (examples,).
        guess: Predicted classes, shape (examples,).
        chances: Probability of each class, shape (examples, classes).
    """

    truth: Array
    guess: Array
    chances: Array

    @property
    def accuracy(self) -> float:
        """The fraction of right answers."""
        return float((self.truth == self.guess).mean()) if len(self.truth) else float("nan")

    def counts(self) -> Array:
        """Return how often each class (row) was taken for each (column)."""
        size = self.chances.shape[1]
        result = np.zeros((size, size), np.int64)
        np.add.at(result, (self.truth, self.guess), 1)
        return result

    def worst(self, count: int) -> Array:
        """Return the mistakes that gave the true class the least probability, worst first."""
        wrong = np.flatnonzero(self.truth != self.guess)
        true_chance = self.chances[wrong, self.truth[wrong]]
        return wrong[np.argsort(true_chance, kind="stable")[:count]]


def answers(model: Any, x: Array, target: Array) -> Answers:
    """Ask a copy of a classifier about examples.

    Raises:
        OptionError: The outputs and targets are not those of a classifier.
    """
    output = predict(model, x).astype(np.float64)
    scores = output.reshape(len(output), -1)
    truth = np.asarray(target).reshape(len(target), -1)
    whole = truth.shape[1] == 1 and bool((truth == np.round(truth)).all())
    if scores.shape[1] == 1 and whole and set(np.unique(truth)) <= {0, 1}:
        chance = 1 / (1 + np.exp(-np.clip(scores[:, 0], -500, 500)))
        chances = np.stack([1 - chance, chance], 1)
    elif whole and scores.shape[1] > 1 and truth.min(initial=0) >= 0:
        shifted = np.exp(scores - scores.max(1, keepdims=True))
        chances = shifted / shifted.sum(1, keepdims=True)
    else:
        shape, dtype = np.shape(target), np.asarray(target).dtype
        raise OptionError(NOT_CLASSES.format(output=output.shape, target=shape, dtype=dtype))
    return Answers(truth[:, 0].astype(np.int64), chances.argmax(1), chances)


def confusion(
    model: Any,
    data: Any,
    *,
    class_names: Sequence[str] | None = None,
    image_shape: tuple[int, int] | None = None,
    worst: int = 8,
) -> View:
    """Show a confusion matrix and the worst mistakes.

    Args:
        model: A classifier; it runs as a copy in evaluation mode. Its outputs are scores before
            the softmax (or one score before the sigmoid).
        data: Examples in any form that `Trainer.fit` takes.
        class_names: Names of the classes; the data set's own, or 0, 1, ... where left out.
        image_shape: (height, width) where an input is an unrolled image; the data set's own, or
            guessed from a square number of inputs, where left out.
        worst: How many mistakes to show.

    Returns:
        A view; `.data` has "counts", "accuracy", "recall" by class and "mistakes".

    Raises:
        OptionError: The model is not a classifier of these targets.
    """
    x, target = arrays_of(data, model)
    found = answers(model, x, target)
    names = names_of_classes(data, class_names, found.chances.shape[1])
    images = as_images(x, image_shape or getattr(data, "image_shape", None))
    counts = found.counts()
    mistakes = [_mistake(found, int(i), names) for i in found.worst(worst)]
    wrong = int((found.truth != found.guess).sum())
    title = f"{percent(found.accuracy, 2)} of {plural(len(x), 'example')} right, {wrong} wrong"
    return View(
        title,
        {
            "counts": counts,
            "accuracy": found.accuracy,
            "recall": np.diag(counts) / np.maximum(counts.sum(1), 1),
            "classes": list(names),
            "mistakes": mistakes,
        },
        lambda: _lines(counts, names, mistakes, title),
        lambda: _draw(counts, names, mistakes, images, title),
    )


def names_of_classes(data: Any, given: Sequence[str] | None, count: int) -> list[str]:
    """Return the classes' names: as given, the data set's own, or their numbers."""
    names = given or getattr(data, "class_names", None) or [str(i) for i in range(count)]
    return [str(name) for name in names]


def as_images(x: Array, shape: tuple[int, int] | None) -> Array | None:
    """Return inputs as pictures, shape (examples, height, width); None where they are none."""
    if shape is not None and x[0].size == shape[0] * shape[1]:
        return x.reshape(len(x), *shape)
    if x.ndim == 3:
        return x
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return np.asarray(x.mean(1))
    side = round(float(np.sqrt(x[0].size))) if len(x) else 0
    if x.ndim == 2 and side * side == x.shape[1] >= LEAST_IMAGE:
        return x.reshape(len(x), side, side)
    return None


def _mistake(found: Answers, index: int, names: Sequence[str]) -> dict[str, Any]:
    truth, guess = int(found.truth[index]), int(found.guess[index])
    return {
        "example": index,
        "truth": names[truth],
        "guess": names[guess],
        "chance_of_truth": float(found.chances[index, truth]),
        "chance_of_guess": float(found.chances[index, guess]),
    }


def _lines(
    counts: Array, names: Sequence[str], mistakes: list[dict[str, Any]], title: str
) -> list[str]:
    table = [["true \\ predicted", *names]]
    table += [
        [name, *(str(c) if c else "·" for c in row)]
        for name, row in zip(names, counts.tolist(), strict=True)
    ]
    lines = [title, "", *table_text(table, dict.fromkeys(range(1, len(names) + 1), True))]
    if mistakes:
        lines += ["", "worst mistakes"]
        lines += [
            f"  example {m['example']}: {m['truth']} taken for {m['guess']}, which got"
            f" {percent(m['chance_of_guess'])} and the truth {percent(m['chance_of_truth'])}"
            for m in mistakes
        ]
    return lines


def mistake_tiles(mistakes: list[dict[str, Any]], images: Array, width: float = 620) -> Drawing:
    """Draw mistakes as pictures with what was seen in them."""
    captions = [
        (
            f"{m['truth']} taken for {m['guess']}",
            f"{m['guess']}: {percent(m['chance_of_guess'])}",
            f"{m['truth']}: {show(100 * m['chance_of_truth'], 2)} %",
        )
        for m in mistakes
    ]
    pictures = [images[m["example"]] for m in mistakes]
    return tiles(
        pictures,
        captions,
        title="The worst mistakes",
        width=width,
        description="; ".join(", ".join(c) for c in captions),
    )


def _draw(
    counts: Array,
    names: Sequence[str],
    mistakes: list[dict[str, Any]],
    images: Array | None,
    title: str,
) -> Drawing:
    matrix = matrix_chart(counts, names, title=title, description=title)
    parts = [matrix]
    if images is not None and mistakes:
        parts.append(mistake_tiles(mistakes, images))
    return beside(parts, title)
