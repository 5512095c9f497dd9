"""What the course of the loss over the epochs tells: a rate too large, and overfitting."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..errors import OptionError
from ..explain._confusion import answers
from ..explain._drawing import Array
from ..explain._forward import arrays_of
from ..explain._numbers import percent, show
from ..train.findings import Finding

FEWEST_EPOCHS = 3
# Ups over downs: a descent whose ups undo this much of its downs jumps rather than descends.
JUMPS = 0.5
# A jump counts where it is a real part of the level it starts from, not noise near the floor.
REAL_JUMP = 0.1
# Epoch loss over what guessing by class frequency gives: no sane descent is ever there.
ABOVE_GUESSING = 2.0
STUCK = 0.7
ABOVE_CONSTANT = 1.003
MOST_DEAD = 0.5
# Validation loss over its lowest: less is noise of a finite validation set.
RISE = 1.20
GAP = 1.25
LASTING = 0.1
JITTERS = 3.0
WORST_SHARE = 0.05


def learning_rate_too_large(
    run: Any, labels: Array | None = None, dead_share: float = 0.0
) -> list[Finding]:
    """Find a loss that became infinite, jumps up as much as it comes down, or stays at guessing.

    A loss that stays at guessing has other causes too; it counts when the first epoch was thrown
    far above guessing, or above it with most units of a layer killed.

    Args:
        run: A run with the history of "loss".
        labels: Class numbers of the training examples, shape (examples,); with them the loss is
            compared with guessing by frequency.
        dead_share: The greatest share of dead units in a layer.
    """
    loss = np.asarray(run.history.get("loss", ()), float)
    if len(loss) == 0:
        return []
    bad = np.flatnonzero(~np.isfinite(loss))
    if len(bad):
        return [_infinite(run, loss, int(bad[0]))]
    if len(loss) < FEWEST_EPOCHS:
        return []
    guessing = _guessing(run, labels)
    if guessing is not None and _thrown_out(loss, guessing, dead_share):
        return [_above_guessing(run, loss, guessing, dead_share)]
    ups, downs = _ups_and_downs(loss)
    if downs > 0 and ups > JUMPS * downs and ups > 0.5 * float(np.median(loss)):
        return [_jumping(run, loss, ups, downs)]
    if downs == 0 and loss[-1] > (1 + REAL_JUMP) * loss[0]:
        return [_jumping(run, loss, ups, downs)]
    return []


def _thrown_out(loss: Array, guessing: float, dead_share: float) -> bool:
    """Whether the loss began above guessing and stays about there, for want of sane steps."""
    if loss[0] <= guessing or loss[-1] < STUCK * guessing:
        return False
    thrown = loss[0] > ABOVE_GUESSING * guessing
    killed = loss[0] > (1 + REAL_JUMP) * guessing and dead_share >= MOST_DEAD
    # The best constant answer is within reach of any sane step; hovering above it is not.
    hovering = loss[-1] > ABOVE_CONSTANT * guessing and loss[-1] > 0.99 * loss[len(loss) // 2]
    return thrown or killed or hovering


def _ups_and_downs(loss: Array) -> tuple[float, float]:
    """Add up the real rises and all falls from epoch to epoch."""
    change = np.diff(loss)
    real = change > REAL_JUMP * loss[:-1]
    return float(change[real].sum()), float(-change[change < 0].sum())


def _guessing(run: Any, labels: Array | None) -> float | None:
    """Return the cross-entropy of answering every example with the classes' frequencies."""
    is_entropy = "CrossEntropy" in str(run.config.get("loss", "")) if run.config else False
    if labels is None or not is_entropy or labels.dtype.kind not in "iu" or labels.ndim != 1:
        return None
    share = np.bincount(labels[labels >= 0]) / max(len(labels), 1)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum()) or None


def _rate(run: Any) -> str:
    """Say which optimizer and rate it was, where the run's record does."""
    written = str(run.config.get("optimizer", "")) if run.config else ""
    name = re.match(r"\w+", written)
    rate = re.search(r"\blr: ([-+.\de]+)", written)
    return f" ({name[0]} with lr {float(rate[1]):g})" if name and rate else ""


def _finding(where: str, evidence: dict[str, Any], why: str, severity: Any) -> Finding:
    remedy = (
        "Divide the learning rate by 3 to 10, or raise it from small over the first epochs; look at"
        " several on a logarithmic scale."
    )
    return Finding("learning-rate-too-large", severity, where, evidence, why, remedy)


def _infinite(run: Any, loss: Array, index: int) -> Finding:
    finite = loss[:index]
    before = show(finite[-1], 4) if len(finite) else "at once"
    text = f"after {before} in the epoch before" if len(finite) else "in the first epoch"
    return _finding(
        f"epoch {index + 1}",
        {"epoch": index + 1, "loss": str(loss[index]), "loss before": finite[-3:].tolist()},
        f"The training loss is {loss[index]} in epoch {index + 1}, {text}: the steps grew until the"
        f" numbers overflowed{_rate(run)}.",
        "error",
    )


def _jumping(run: Any, loss: Array, ups: float, downs: float) -> Finding:
    change = np.diff(loss)
    worst = int(change.argmax())
    return _finding(
        f"epoch {worst + 2}",
        {
            "rises": ups,
            "falls": downs,
            "largest rise": float(change[worst]),
            "at epoch": worst + 2,
            "first": float(loss[0]),
            "lowest": float(loss.min()),
            "last": float(loss[-1]),
        },
        f"From epoch to epoch the training loss rises by {show(ups, 3)} in all and falls by"
        f" {show(downs, 3)}; the largest jump is from {show(loss[worst], 3)} to"
        f" {show(loss[worst + 1], 3)} at epoch {worst + 2}. Steps that long leap over the valley"
        f"{_rate(run)}.",
        "error" if loss[-1] >= loss[0] else "warning",
    )


def _above_guessing(run: Any, loss: Array, guessing: float, dead_share: float) -> Finding:
    dead = f" and killed {percent(dead_share, 0)} of a layer's units" if dead_share else ""
    return _finding(
        "epoch 1",
        {"first": float(loss[0]), "guessing": guessing, "last": float(loss[-1]),
         "share of dead units": dead_share},
        f"The mean training loss of the first epoch is {show(loss[0], 3)}, above the"
        f" {show(guessing, 3)} of guessing by class frequency, and it ends at {show(loss[-1], 3)}:"
        f" the first steps threw the weights far out{dead}{_rate(run)}.",
        "error" if loss[-1] > 0.9 * guessing else "warning",
    )  # fmt: skip


# --- overfitting -----------------------------------------------------------------------------


def overfitting(run: Any, model: Any = None, validation: Any = None) -> list[Finding]:
    """Find a validation loss that rose clearly from its lowest while the training loss fell on.

    With a classifier and its validation examples the finding also says which share of the
    validation loss the worst examples carry, which is how loss and accuracy can rise together.
    """
    train = np.asarray(run.history.get("loss", ()), float)
    held = np.asarray(run.history.get("validation_loss", ()), float)
    if len(held) < FEWEST_EPOCHS or len(train) != len(held) or not np.isfinite(held).all():
        return []
    best = int(held.argmin())
    calm = smoothed(held)
    last = float(calm[-1])
    # A rise counts where it lasts, and is not the jitter of a small validation set.
    lasted = len(held) - 1 - best >= max(FEWEST_EPOCHS, LASTING * len(held))
    jitter = float(np.median(np.abs(np.diff(held[best:])))) if lasted else 0.0
    rose = lasted and last > RISE * calm.min() and last - held[best] > JITTERS * jitter
    fell_on = train[-1] < train[best]
    if not (rose and fell_on and last > GAP * train[-1]):
        return []
    evidence = {
        "lowest validation loss": float(held[best]),
        "at epoch": best + 1,
        "last validation loss": last,
        "training loss then": float(train[best]),
        "last training loss": float(train[-1]),
    }
    why = (
        f"Validation loss was lowest at epoch {best + 1} ({show(held[best], 3)}) and rose by"
        f" {percent(last / held[best] - 1, 0)} to {show(last, 3)}, while training loss fell on from"
        f" {show(train[best], 3)} to {show(train[-1], 3)}."
    )
    why += _accuracy_too(run, best, evidence) + _carriers(model, validation, evidence)
    return [Finding(
        "overfitting", "warning", f"epoch {best + 1}", evidence, why,
        f"Stop at epoch {best + 1}, or add weight decay, dropout or data, or take fewer units.",
    )]  # fmt: skip


def smoothed(series: Array, width: int = 5) -> Array:
    """Return the running median of a curve, narrower towards its ends.

    Example:
        >>> smoothed(np.array([3.0, 9.0, 2.0, 1.0])).tolist()
        [3.0, 3.0, 2.0, 1.0]
    """
    half = width // 2
    reach = [min(half, i, len(series) - 1 - i) for i in range(len(series))]
    return np.array([np.median(series[i - r : i + r + 1]) for i, r in enumerate(reach)])


def _accuracy_too(run: Any, best: int, evidence: dict[str, Any]) -> str:
    accuracy = np.asarray(run.history.get("validation_accuracy", ()), float)
    if len(accuracy) <= best:
        return ""
    then, now = float(accuracy[best]), float(accuracy[-1])
    evidence["validation accuracy then"], evidence["last validation accuracy"] = then, now
    if now >= then:
        return (
            f" Validation accuracy did not fall with it: {percent(then)} then,"
            f" {percent(now)} at the end."
        )
    return f" Validation accuracy fell from {percent(then)} to {percent(now)}."


def _carriers(model: Any, validation: Any, evidence: dict[str, Any]) -> str:
    """Say which share of the validation loss the few worst examples carry."""
    if model is None or validation is None:
        return ""
    x, labels = arrays_of(validation, model)
    try:
        found = answers(model, x, labels)
    except OptionError:
        return ""
    chance = found.chances[np.arange(len(x)), found.truth]
    losses = np.sort(-np.log(np.maximum(chance, np.finfo(np.float64).tiny)))[::-1]
    count = max(1, round(WORST_SHARE * len(losses)))
    share = float(losses[:count].sum() / losses.sum()) if losses.sum() else 0.0
    evidence["worst examples"], evidence["their share of the loss"] = count, share
    return (
        f" The {count} worst of {len(losses)} validation examples, confidently wrong ones, carry"
        f" {percent(share, 0)} of the loss."
    )
