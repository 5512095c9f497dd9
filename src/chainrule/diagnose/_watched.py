"""What the statistics of a watched training tell: gradients that vanish or explode, dead layers.

Gradients shrink or grow by about the same factor in each layer on their way back (Bengio, Simard
and Frasconi, 1994; Glorot and Bengio, 2010), so the weights of the first and of the last layer are
compared; bursts are told by the looks before them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..explain._drawing import Array
from ..explain._numbers import percent, show
from ..train.findings import Finding

# Gradients of the first weights over those of the last: beyond this no rate suits both.
VANISHED = 1e-3
FEWEST_LAYERS = 3
# A gradient over those of the looks before it: ordinary noise is far below.
BURST = 100.0
BEFORE = 10  # looks that a burst is compared with
FEWEST_BEFORE = 3
LARGE_UPDATE = 0.1  # of a weight's own norm in one step; 0.001 is usual
DEAD = 0.99  # of a layer's outputs that are 0
LISTED = 12  # numbers of a series in the evidence

Watched = Mapping[str, Mapping[str, Array]]


def watched_gradients(watched: Any) -> list[Finding]:
    """Find gradients that vanish or explode on their way back, or burst at some step.

    Args:
        watched: What a training watched; at least three weights' gradients for the first two.
    """
    norms = _gradient_norms(watched)
    if not norms:
        return []
    found = []
    weights = {name: norm for name, norm in norms.items() if name.split(".")[-1] == "weight"}
    if len(weights) >= FEWEST_LAYERS:
        found += _along_the_way(weights, watched.steps)
    return found + _bursts(norms, watched.steps)


def _gradient_norms(watched: Any) -> dict[str, Array]:
    """The series of each parameter's gradient norm, in the order of the forward pass."""
    return {
        name: np.asarray(statistics["gradient_norm"], float)
        for name, statistics in (watched or {}).items()
        if "gradient_norm" in statistics and "update_ratio" in statistics
    }


def _along_the_way(weights: Mapping[str, Array], steps: Array) -> list[Finding]:
    names = list(weights)
    first, last = weights[names[0]], weights[names[-1]]
    both = np.isfinite(first) & np.isfinite(last) & (first + last > 0)
    if not both.any():
        return []
    # The looks' median, so that neither the first steps nor a burst decides.
    middle = {name: float(np.median(norm[both])) for name, norm in weights.items()}
    start, end = middle[names[0]], middle[names[-1]]
    evidence = {
        "median gradient norms": middle,
        "looks": int(both.sum()),
        "steps": [int(steps[0]), int(steps[-1])],
    }
    if start < VANISHED * end:
        return [_vanishing(names, start, end, evidence)]
    if end < VANISHED * start:
        return [_growing(names, start, end, evidence)]
    return []


def _ratio(small: float, large: float, names: Sequence[str], evidence: dict[str, Any]) -> str:
    factor = (small / large) ** (1 / (len(names) - 1)) if small else 0.0
    evidence["factor a layer"] = factor
    if not small:
        return "nothing of it arrives"
    return f"about {show(factor if small < large else 1 / factor, 2)} times in each layer"


def _vanishing(names: Sequence[str], start: float, end: float, evidence: Any) -> Finding:
    shrinks = _ratio(start, end, names, evidence)
    return Finding(
        "vanishing-gradients",
        "error" if start < VANISHED**2 * end else "warning",
        names[0],
        evidence,
        f"The gradient of {names[0]} has a norm of {show(start, 3)} in the middle of"
        f" {evidence['looks']} looks, that of {names[-1]} {show(end, 3)}: it shrinks on its way"
        f" back ({shrinks}), so the first layers hardly learn.",
        "Use ReLU or one of its relatives in the place of sigmoid and tanh, normalise between the"
        " layers (BatchNorm1d, LayerNorm), start from weights that keep the spread"
        " (nn.init.kaiming_normal_), or add connections around layers.",
    )


def _growing(names: Sequence[str], start: float, end: float, evidence: Any) -> Finding:
    factor = (start / end) ** (1 / (len(names) - 1)) if end else float("inf")
    evidence["factor a layer"] = factor
    return Finding(
        "exploding-gradients",
        "error",
        names[0],
        evidence,
        f"The gradient of {names[-1]} has a norm of {show(end, 3)} in the middle of"
        f" {evidence['looks']} looks, that of {names[0]} {show(start, 3)}: it grows on its way back"
        f" (about {show(factor, 2)} times in each layer), so one rate cannot suit both.",
        "Start from smaller weights (nn.init.kaiming_normal_), normalise between the layers, or"
        " clip: Trainer(..., clip=1.0).",
    )


def _bursts(norms: Mapping[str, Array], steps: Array) -> list[Finding]:
    """Find the first step at which all gradients together are far above those before it."""
    # One that was not looked at is NaN and counts as 0.
    total = np.linalg.norm([np.where(np.isnan(norm), 0.0, norm) for norm in norms.values()], axis=0)
    for place in range(FEWEST_BEFORE, len(total)):
        before = float(np.median(total[max(0, place - BEFORE) : place]))
        if not np.isfinite(total[place]) or (before > 0 and total[place] > BURST * before):
            return [_burst(total, place, before, norms, steps)]
    return []


def _burst(
    total: Array, place: int, before: float, norms: Mapping[str, Array], steps: Array
) -> Finding:
    largest = max(norms, key=lambda name: norms[name][place])
    step = int(steps[place])
    return Finding(
        "exploding-gradients",
        "error",
        f"step {step}",
        {
            "step": step,
            "gradient norm": str(total[place]) if np.isinf(total[place]) else float(total[place]),
            "median of the looks before": before,
            "largest in": largest,
            "norms": _few(total[max(0, place - LISTED + 1) : place + 1]),
        },
        f"At step {step} all gradients together have a norm of {show(total[place], 3)}, after"
        f" {show(before, 3)} in the middle of the looks before; the largest is that of {largest}.",
        "Clip the gradients, Trainer(..., clip=1.0), lower the learning rate, or look for examples"
        " with extreme values.",
    )


def _few(series: Array) -> list[Any]:
    return [float(one) if np.isfinite(one) else str(one) for one in series]


def with_history(dead: Sequence[Finding], watched: Any) -> list[Finding]:
    """Say of dead units since when their layer's outputs were 0, where that was watched.

    Args:
        dead: Findings of the kind "dead-units".
        watched: What the training watched.

    Returns:
        The findings, and further ones for layers whose outputs were all but 0 when they were last
        looked at, where no finding is about them yet.
    """
    found = []
    known = {one.where for one in dead}
    for one in dead:
        series = (watched or {}).get(one.where, {}).get("zeros")
        found.append(one if series is None else _since(one, np.asarray(series), watched.steps))
    for name, statistics in (watched or {}).items():
        zeros = np.asarray(statistics.get("zeros", ()), float)
        if name not in known and len(zeros) and np.median(zeros[-FEWEST_BEFORE:]) >= DEAD:
            found.append(_dead_layer(name, zeros, watched.steps))
    return found


def _since(finding: Finding, zeros: Array, steps: Array) -> Finding:
    history, told = _history(zeros, steps)
    return replace(
        finding, evidence=finding.evidence | history, why=f"{finding.why} Its outputs {told}."
    )


def _dead_layer(name: str, zeros: Array, steps: Array) -> Finding:
    history, told = _history(zeros, steps)
    return Finding(
        "dead-units",
        "error",
        name,
        history,
        f"The outputs of layer {name} {told}: nearly nothing passes it, and no error passes it on"
        " the way back.",
        "Lower the learning rate, start from smaller weights or biases above 0, or use LeakyReLU,"
        " whose slope is never 0.",
    )


def _history(zeros: Array, steps: Array) -> tuple[dict[str, Any], str]:
    """The share of zeros from look to look, and when it rose the most."""
    first, last = float(zeros[0]), float(zeros[-1])
    history: dict[str, Any] = {"share of zeros, first look": first, "share of zeros, last": last}
    told = f"were 0 in {percent(first, 0)} at step {steps[0]} and in {percent(last, 0)} at"
    told += f" step {steps[-1]}"
    rises = np.diff(zeros)
    if len(rises) and last - first > 0.05:
        most = int(np.nanargmax(rises))
        history["rose most by step"] = int(steps[most + 1])
        told += f"; the largest rise, by {percent(float(rises[most]), 0)}, was before step"
        told += f" {steps[most + 1]}"
    return history, told


def with_updates(rates: Sequence[Finding], watched: Any) -> list[Finding]:
    """Say of a rate that is too large how far the steps went, where that was watched.

    Args:
        rates: Findings of the kind "learning-rate-too-large".
        watched: What the training watched.
    """
    ratios = {
        name: np.asarray(statistics["update_ratio"], float)
        for name, statistics in (watched or {}).items()
        if "update_ratio" in statistics and name.split(".")[-1] == "weight"
    }
    tops = {name: float(np.nanmax(each)) for name, each in ratios.items() if (each == each).any()}
    if max(tops.values(), default=0.0) < LARGE_UPDATE:
        return list(rates)
    name = max(tops, key=lambda each: tops[each])
    place = int(np.nanargmax(ratios[name]))
    step = int(watched.steps[place])
    more = {"largest update ratio": _few(np.array([tops[name]]))[0], "of": name, "at step": step}
    text = f" At step {step} the update of {name} was {show(tops[name], 3)} times its own norm."
    return [replace(one, evidence=one.evidence | more, why=one.why + text) for one in rates]
