"""Units that do nothing, and units that do the same.

A unit is dead when its ReLU gives 0 for every training example: no gradient reaches its weights, so
training cannot wake it (He and others, 2015, section 2, on where such units come from). Units are
identical when bias and all incoming weights agree: they get equal gradients and stay equal, so the
layer is as good as one unit repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..explain._drawing import Array
from ..explain._forward import Call, run_copy
from ..explain._numbers import percent, plural
from ..train.findings import Finding, Severity

MOST_EXAMPLES = 4096
# A few units that never fire are usual and cost little; above this share they are worth a word.
WORTH_A_WORD = 0.1
SERIOUS_SHARE = 0.25
GRAVE_SHARE = 0.5
# Weights this close, relative to their size, are the same number drawn or trained twice.
SAME = 1e-6
LISTED = 20


def dead_units(model: Any, x: Array) -> list[Finding]:
    """Find ReLU units that give 0 for every example.

    Args:
        model: A module; it runs as a copy in evaluation mode.
        x: Training inputs; at most 4,096 of them are looked at, evenly spread.
    """
    if len(x) == 0:
        return []
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_EXAMPLES)).astype(np.int64))
    found = run_copy(model, x[rows])
    findings = []
    for call in found.calls:
        layer = _relu_values(call)
        if layer is None:
            continue
        active = (layer > 0).mean(0)
        dead = np.flatnonzero(active == 0)
        if len(dead) and len(dead) >= WORTH_A_WORD * len(active):
            findings.append(_dead(call.name, dead, active, len(rows)))
    return findings


def _relu_values(call: Call) -> Array | None:
    """Return a ReLU layer's output as (examples, units); of pictures a channel is a unit."""
    node = call.result
    if node.op.name != "relu" or node.ndim < 2:
        return None
    values: Array = node.value()
    if values.ndim > 2:
        values = np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])
    return values


def _dead(layer: str, dead: Array, active: Array, examples: int) -> Finding:
    share = len(dead) / len(active)
    alive = active[active > 0]
    return Finding(
        "dead-units",
        _severity(share),
        layer,
        {
            "dead": len(dead),
            "units": len(active),
            "share": share,
            "examples": examples,
            "which": [int(i) for i in dead[:LISTED]],
            "median activity of the others": float(np.median(alive)) if len(alive) else 0.0,
        },
        f"{len(dead)} of {plural(len(active), 'unit')} ({percent(share, 0)}) after layer {layer}"
        f" give 0 for all {examples:,} training examples; their slope is 0 too, so no error"
        " reaches their weights and they cannot recover.",
        "Lower the learning rate, start from smaller weights or biases above 0, or use LeakyReLU,"
        " whose slope is never 0.",
    )


def _severity(share: float) -> Severity:
    if share >= GRAVE_SHARE:
        return "error"
    return "warning" if share >= SERIOUS_SHARE else "info"


def identical_units(model: Any) -> list[Finding]:
    """Find units of one layer with the same incoming weights and bias."""
    findings = []
    for name, rows in _incoming(model):
        groups = same_rows(rows)
        together = sum(len(group) for group in groups)
        if groups and together >= max(2, WORTH_A_WORD * len(rows)):
            findings.append(_identical(name, rows, groups))
    return findings


def _incoming(model: Any) -> Iterator[tuple[str, Array]]:
    """Yield each layer's incoming weights, shape (units, inputs + 1), bias last."""
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if weight is None or getattr(weight, "ndim", 0) < 2 or not weight.requires_grad:
            continue
        rows = weight.detach().numpy().astype(np.float64)
        rows = rows.reshape(len(rows), -1)
        bias = getattr(module, "bias", None)
        if bias is not None:
            rows = np.concatenate([rows, bias.detach().numpy().astype(np.float64)[:, None]], 1)
        if len(rows) > 1:
            yield name, rows


def same_rows(rows: Array) -> list[list[int]]:
    """Group rows that are equal within `SAME` of their size; groups of one are left out.

    Example:
        >>> same_rows(np.array([[1.0, 2.0], [0.0, 1.0], [1.0, 2.0]]))
        [[0, 2]]
    """
    size = float(np.abs(rows).max(initial=0.0)) or 1.0
    # Equal rows have equal projections: sorting by one finds the candidates.
    direction = np.cos(np.arange(1, rows.shape[1] + 1) * 1.7)
    order = np.argsort(rows @ direction, kind="stable")
    groups: list[list[int]] = []
    for index in order:
        last = groups[-1][0] if groups else -1
        if last >= 0 and np.abs(rows[index] - rows[last]).max() <= SAME * size:
            groups[-1].append(int(index))
        else:
            groups.append([int(index)])
    return [sorted(group) for group in groups if len(group) > 1]


def _identical(name: str, rows: Array, groups: list[list[int]]) -> Finding:
    largest = max(groups, key=len)
    distance = float(np.abs(rows[largest] - rows[largest[0]]).max())
    together = sum(len(group) for group in groups)
    different = len(rows) - together + len(groups)
    return Finding(
        "identical-units",
        "error" if together >= GRAVE_SHARE * len(rows) else "warning",
        name,
        {
            "units": len(rows),
            "different": different,
            "groups": [group[:LISTED] for group in groups[:LISTED]],
            "largest distance within a group": distance,
        },
        f"Layer {name} has {plural(len(rows), 'unit')} but only {plural(different, 'set')} of"
        f" weights: units"
        f" {', '.join(str(i) for i in largest[:5])}{' ...' if len(largest) > 5 else ''} have the"
        f" same weights (distance {distance:.2g}). They get equal gradients and stay equal, so the"
        " layer is as good as that many units fewer.",
        "Start from different random weights, as nn.Linear does by itself, not from a constant.",
    )
