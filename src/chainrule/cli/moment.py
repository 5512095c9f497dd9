"""`chainrule report RUN --step N`: which examples the step N learned from, and what each cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data import LabelledDataset
from ..train import Moment, open_run
from .recipe import Recipe
from .say import say
from .train import prepare

LISTED = 10


def report_step(name: str, step: int) -> dict[str, Any]:
    """Print the examples of one step of a kept run by their loss, the largest first.

    Args:
        name: the run.
        step: steps done before it, from 0.

    Returns:
        The same as plain data.

    Raises:
        StoreError: there is no recipe of the run, or its data is another now.
        OptionError: there is no such step.
    """
    made = prepare(Recipe.load(name, "reported"))
    run = open_run(name)
    moment = run.at(step, trainer=made.trainer, train=made.train)
    say(moment_text(moment, made.train))
    assert moment.loss is not None
    return {
        "run": name,
        "step": step,
        "epoch": moment.epoch,
        "examples": [int(index) for index in moment.indices],
        "losses": [float(loss) for loss in moment.loss],
    }


def moment_text(moment: Moment, data: LabelledDataset) -> str:
    """Write the examples of a step: loss and its share, target, answer, and what stands out.

    Features are named with their distance from the mean in standard deviations, as the network sees
    them; those far from the usual come first.
    """
    assert moment.loss is not None and moment.output is not None
    total, count = float(moment.loss.sum()), len(moment.indices)
    lines = [
        f"step {moment.step} (epoch {moment.epoch + 1}): {count} training examples, mean loss "
        f"{total / count:.4g}, median {np.median(moment.loss):.4g}"
    ]
    order = np.argsort(-np.nan_to_num(moment.loss, nan=np.inf), kind="stable")
    for place in order[:LISTED]:
        loss = float(moment.loss[place])
        share = f" ({100 * loss / total:.0f} %)" if total > 0 and np.isfinite(total) else ""
        target, answer = _answer(moment, int(place), data)
        row = int(moment.indices[place])
        lines.append(f"  example {row}: loss {loss:.4g}{share}, {target}, {answer}")
        lines.append(f"    {_outstanding(data, row)}")
    if count > LISTED:
        lines.append(f"  and {count - LISTED} more")
    return "\n".join(lines)


def _answer(moment: Moment, place: int, data: LabelledDataset) -> tuple[str, str]:
    """The target of an example and the network's answer, in words."""
    assert moment.output is not None
    output, target = moment.output[place], moment.batch[-1][place]
    if data.class_names and output.ndim == 1 and output.size == len(data.class_names):
        powers = np.exp(output - output.max())
        best = int(output.argmax())
        said = data.class_names[best]
        return (
            f"target {data.class_names[int(target)]}",
            f"answer {said} with {100 * powers[best] / powers.sum():.1f} %",
        )
    number, answer = np.ravel(target), np.ravel(output)
    return f"target {number[0]:.4g}", f"answer {answer[0]:.4g}"


def _outstanding(data: LabelledDataset, row: int, most: int = 4) -> str:
    """The features of an example that lie farthest from the usual."""
    values = np.ravel(data.inputs[row])
    names = data.feature_names or [f"input {k}" for k in range(values.size)]
    order = np.argsort(-np.abs(values), kind="stable")[:most]
    return ", ".join(f"{names[k]} {values[k]:+.2f}" for k in order)
