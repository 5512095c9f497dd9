"""A column that repeats the target: it will not be there when the model is used.

Each column is asked alone how well it tells the target:
- few distinct values: every example is answered from the others with the same value (so a name or
  a number that occurs once tells nothing);
- many distinct values: from its nearest neighbours in the column's order;
- a target of numbers: by how much of its variance these answers explain.
A column whose answers are nearly always right, class by class, repeats the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..explain._drawing import Array
from ..explain._numbers import percent
from ..train.findings import Finding

# Right answers, averaged over the classes; real measures of real things stay below.
LEAST_RECALL = 0.99
LEAST_EXPLAINED = 0.999
FEWEST_ROWS = 20
# Up to this many rows a value must share on average to count as a category.
ROWS_A_VALUE = 4
NEIGHBOURS = 2
FEWEST_OF_A_CLASS = 3
SAMPLE = 1024


def leaking_inputs(x: Array, target: Array, names: Sequence[str] | None = None) -> list[Finding]:
    """Find input columns that repeat the target.

    Args:
        x: Inputs, shape (examples, features); others (pictures, sequences) are left alone.
        target: Class numbers or numbers, shape (examples,) or (examples, 1).
        names: Names of the features; `column=value` names are one column.
    """
    if x.ndim != 2 or len(x) < FEWEST_ROWS or (target.ndim > 1 and target.shape[1] != 1):
        return []
    given = names if names is not None and len(names) == x.shape[1] else range(x.shape[1])
    columns: dict[str, list[int]] = {}
    for index, name in enumerate(given):
        label = str(name).split("=", 1)[0] if names else f"input {name}"
        columns.setdefault(label, []).append(index)
    merged = {name: _joined(x[:, indices]) for name, indices in columns.items()}
    return leaking_features(merged, target.reshape(-1))


def _joined(part: Array) -> Array:
    """Return one column for several that encode one category: a number for each combination."""
    if part.shape[1] == 1:
        return part[:, 0]
    return np.unique(part, axis=0, return_inverse=True)[1].reshape(-1)


def leaking_features(columns: Mapping[str, Any] | Any, target: Any) -> list[Finding]:
    """Find columns that repeat the target, before any training.

    Args:
        columns: Columns by name: numbers or texts, shape (rows,) each; or a table as
            `data.read_csv` gives it, of which `target` names a column.
        target: The target's values, shape (rows,), or its name.

    Returns:
        One finding for each such column; the evidence says how often it alone is right.

    Example:
        >>> survived = [0, 1, 1, 0, 1, 0] * 10
        >>> columns = {
        ...     "alive": ["yes" if one else "no" for one in survived],
        ...     "ticket": list(range(60)),
        ... }
        >>> found = leaking_features(columns, survived)
        >>> [(one.where, one.evidence["right"]) for one in found]
        [('alive', 1.0)]
    """
    named, goal = _columns_and_target(columns, target)
    if len(goal) < FEWEST_ROWS:
        return []
    findings = []
    for name, column in named.items():
        known = _known(column) & _known(goal)
        if known.sum() >= FEWEST_ROWS:
            found = _screened(name, column[known], goal[known], float(known.mean()))
            findings += [found] if found is not None else []
    return findings


def _columns_and_target(columns: Any, target: Any) -> tuple[dict[str, Array], Array]:
    if isinstance(columns, Mapping):
        named = {str(name): np.asarray(values) for name, values in columns.items()}
    else:
        named = {name: _column_values(columns[name]) for name in columns.names}
    if isinstance(target, str):
        goal = named[target]
        return {name: values for name, values in named.items() if name != target}, goal
    return named, np.asarray(target).reshape(-1)


def _column_values(column: Any) -> Array:
    """Return a table's column: numbers, or category numbers with -1 (missing) as their own."""
    return np.asarray(column.values)


def _known(values: Array) -> Array:
    return np.isfinite(values) if values.dtype.kind == "f" else np.ones(len(values), bool)


def _is_classes(goal: Array) -> bool:
    if goal.dtype.kind == "f":
        return bool((goal == np.round(goal)).all()) and len(np.unique(goal)) <= 20
    return len(np.unique(goal)) <= max(20, len(goal) // 50)


def _screened(name: str, column: Array, goal: Array, known: float) -> Finding | None:
    """Look at a sample first: a column that does not leak there does not leak."""
    if len(column) > SAMPLE:
        rows = np.linspace(0, len(column) - 1, SAMPLE).astype(np.int64)
        if _leak(name, column[rows], goal[rows], known) is None:
            return None
    return _leak(name, column, goal, known)


def _leak(name: str, column: Array, goal: Array, known: float) -> Finding | None:
    if len(np.unique(column)) < 2 or len(np.unique(goal)) < 2:
        return None
    if _is_classes(goal):
        right = _class_recall(column, np.unique(goal, return_inverse=True)[1])
        threshold, measure = LEAST_RECALL, "of the examples right, class by class"
    else:
        right = _explained(column, goal.astype(np.float64))
        threshold, measure = LEAST_EXPLAINED, "of the target's variance"
    if right < threshold:
        return None
    exact = right > 1 - 1e-9
    return Finding(
        "leaking-feature",
        "error" if exact else "warning",
        name,
        {"right": right, "rows": len(column), "share of rows known": known,
         "distinct values": len(np.unique(column))},
        f"Column {name} alone gets {percent(right, 1 if right < 0.9995 else 0)} {measure}:"
        f" it {'repeats' if exact else 'nearly repeats'} the target, so the model learns to copy it"
        " and every figure of its quality is worthless.",
        f"Leave {name} out, unless it is truly known at the moment of prediction.",
    )  # fmt: skip


def _groups(column: Array) -> tuple[Array, Array]:
    """Return each row's group and the groups' sizes."""
    _, group, sizes = np.unique(column, return_inverse=True, return_counts=True)
    return group.reshape(-1), sizes


def _class_recall(column: Array, goal: Array) -> float:
    """Answer each row's class from other rows alike in this column; average right over classes."""
    classes = int(goal.max()) + 1
    group, sizes = _groups(column)
    if column.dtype.kind in "fiu" and len(column) < ROWS_A_VALUE * len(sizes):
        answer = _from_neighbours(column, goal, classes)
    else:
        votes = np.zeros((len(sizes), classes))
        np.add.at(votes, (group, goal), 1)
        mine = votes[group]
        mine[np.arange(len(goal)), goal] -= 1  # the row itself has no vote
        answer = np.where(mine.sum(1) > 0, mine.argmax(1), -1)
    # A class of one or two examples cannot be told from the others of its kind.
    usual = [c for c in range(classes) if (goal == c).sum() >= FEWEST_OF_A_CLASS]
    return float(np.mean([(answer[goal == c] == c).mean() for c in usual or range(classes)]))


def _from_neighbours(column: Array, goal: Array, classes: int) -> Array:
    order = np.argsort(column, kind="stable")
    sorted_goal = goal[order]
    votes = np.zeros((len(goal), classes))
    rows = np.arange(len(goal))
    for shift in range(1, NEIGHBOURS + 1):
        for way in (shift, -shift):
            inside = (rows + way >= 0) & (rows + way < len(goal))
            np.add.at(votes, (rows[inside], sorted_goal[(rows + way)[inside]]), 1 + 1 / shift)
    answer = np.empty(len(goal), np.int64)
    answer[order] = votes.argmax(1)
    return answer


def _explained(column: Array, goal: Array) -> float:
    """Return the share of the target's variance that other rows alike in this column explain."""
    spread = float(((goal - goal.mean()) ** 2).sum())
    if column.dtype.kind in "fiu":
        correlation = float(np.corrcoef(column.astype(np.float64), goal)[0, 1])
        if np.isfinite(correlation) and correlation**2 >= LEAST_EXPLAINED:
            return correlation**2
        order = np.argsort(column, kind="stable")
        inner = goal[order]
        guess = (inner[:-2] + inner[2:]) / 2
        return 1 - float(((inner[1:-1] - guess) ** 2).sum()) / spread
    group, sizes = _groups(column)
    sums = np.bincount(group, goal, minlength=len(sizes))
    others = sizes[group] - 1
    guess = np.where(others > 0, (sums[group] - goal) / np.maximum(others, 1), goal.mean())
    return 1 - float(((goal - guess) ** 2).sum()) / spread
