"""`chainrule data FILE`: what a table holds, and what in it will make a training go wrong."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Column, Table, TableEncoder
from ..data._dates import date_text
from ..data._encode import _texts
from ..diagnose import leaking_features
from ..errors import DataError
from ..train import Finding
from .say import findings_text
from .tables import read_table

MOSTLY_MISSING = 0.5
IMBALANCE = 5.0
"""From so many rows of the largest class to one of the smallest on, it is said."""
_SHOWN = 10  # most common texts of a column, and classes, in the text and in the document


@dataclass(frozen=True)
class Holdings:
    """What a table holds.

    Attributes:
        table: the table.
        target: the column to predict, if one was named.
        classes: how many rows each class of the target has; empty for numbers.
        uses: what a training would do with each column, where a target was named.
        findings: what is wrong with the data.
    """

    table: Table
    target: str | None = None
    classes: dict[str, int] = field(default_factory=dict)
    uses: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def text(self) -> str:
        """Give the columns, one a line, then the gaps, the classes and what was found."""
        table = self.table
        width = max(len(name) for name in table.names)
        lines = [f"{table.source}: {len(table):,} rows, {len(table.columns)} columns"]
        for column in table.columns:
            use = self.uses.get(column.name, "")
            lines.append(f"  {column.name:<{width}}  {column.describe()}  {use}".rstrip())
        gaps = _gaps(table)
        lines.append(
            f"{int(gaps.sum()):,} of {len(gaps):,} rows have a gap"
            if gaps.any()
            else "no cell is missing"
        )
        if self.classes:
            shares = [f"{name} {_share(n, self.classes)}" for name, n in self.classes.items()]
            more = f", and {len(shares) - _SHOWN} more" if len(shares) > _SHOWN else ""
            lines.append(f"classes of {self.target}: {', '.join(shares[:_SHOWN])}{more}")
        lines.append(findings_text(self.findings))
        return "\n".join(lines)

    def suggestions(self, file: Path) -> list[tuple[str, str]]:
        """Give the next command to try: a training, without the columns that repeat the target."""
        word = shlex.quote(str(file))
        if self.target is None:
            last = shlex.quote(self.table.names[-1])
            return [(f"chainrule data {word} --target {last}", "classes, and what repeats them")]
        if any(each.kind == "cannot-be-trained-on" for each in self.findings):
            return []
        leaks = [each.where for each in self.findings if each.kind == "leaking-feature"]
        drops = "".join(f" --drop {shlex.quote(name)}" for name in leaks)
        command = f"chainrule train {word} --target {shlex.quote(self.target)}{drops}"
        return [(command, f"without {', '.join(leaks)}" if leaks else "a network for it")]

    def document(self) -> dict[str, Any]:
        """Give all of it as plain data."""
        return {
            "file": self.table.source,
            "rows": len(self.table),
            "rows_with_gaps": int(_gaps(self.table).sum()),
            "columns": [
                column_data(column) | ({"use": self.uses.get(column.name, "")} if self.uses else {})
                for column in self.table.columns
            ],
            "target": self.target,
            "classes": self.classes,
            "findings": [asdict(each) for each in self.findings],
        }


def column_data(column: Column) -> dict[str, Any]:
    """Give what one column holds as plain data.

    Example:
        >>> column_data(Column("age", "number", np.array([1.0, 3.0, np.nan])))["mean"]
        2.0
    """
    here = column.values[~column.missing]
    found: dict[str, Any] = {
        "name": column.name,
        "kind": column.kind,
        "missing": int(column.missing.sum()),
        "distinct": column.distinct,
    }
    if column.kind == "category":
        codes, counts = np.unique(here, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:_SHOWN]
        common = {column.categories[int(codes[k])]: int(counts[k]) for k in order}
        return found | {"most_common": common}
    if not len(here):
        return found | {"least": None, "largest": None}
    if column.kind == "date":
        return found | {"least": date_text(here.min()), "largest": date_text(here.max())}
    return found | {
        "least": float(here.min()),
        "largest": float(here.max()),
        "mean": float(here.mean()),
        "median": float(np.median(here)),
        "standard_deviation": float(here.std()),
    }


def look(file: Path, target: str | None = None) -> Holdings:
    """Read a table and look for what will make a training go wrong.

    Args:
        file: a CSV or Parquet file.
        target: the column to predict, to look at its classes and for columns that repeat it.

    Raises:
        DataError: the file cannot be read, or has no such column.
    """
    table = read_table(file)
    found = [*_constant(table), *_mostly_missing(table), *_repeated(table)]
    if target is None:
        return Holdings(table, findings=_sorted(found))
    classes: dict[str, int] = {}
    uses = {target: "<- target"}
    known = table.rows(~table[target].missing)
    try:
        encoder = TableEncoder.fit(known, target)
    except DataError as error:
        found.append(_untrainable(target, error))
    else:
        uses = _uses(encoder, table)
        if encoder.target.task == "classification":
            classes = _classes(known[target])
            found += _imbalance(target, classes)
    if len(known):
        found += leaking_features(known, target)
    return Holdings(table, target, classes, uses, _sorted(found))


def _sorted(found: list[Finding]) -> list[Finding]:
    return sorted(found, key=lambda one: ("error", "warning", "info").index(one.severity))


def _uses(encoder: TableEncoder, table: Table) -> dict[str, str]:
    uses = {name: f"left out: {why}" for name, why in encoder.left_out.items()}
    uses |= encoder.said | {encoder.target.column: f"<- target, {encoder.target.task}"}
    return {name: uses.get(name, "") for name in table.names}


def _classes(column: Column) -> dict[str, int]:
    """Count the rows of each class, the largest first."""
    names, counts = np.unique(np.array(_texts(column)), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(names[k]): int(counts[k]) for k in order}


def _share(count: int, classes: dict[str, int]) -> str:
    return f"{100 * count / sum(classes.values()):.1f} %"


def _gaps(table: Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
    missing = [column.missing for column in table.columns]
    return np.logical_or.reduce(missing) if missing else np.zeros(0, np.bool_)


def _constant(table: Table) -> list[Finding]:
    return [
        Finding(
            "constant-column", "warning", column.name, {"distinct": column.distinct},
            f"Every cell of {column.name} is the same, so it tells nothing."
            if column.distinct
            else f"{column.name} has no values.",
            "Nothing: a training leaves it out.",
        )
        for column in table.columns
        if column.distinct == 0 or (column.distinct == 1 and not column.missing.any())
    ]  # fmt: skip


def _mostly_missing(table: Table) -> list[Finding]:
    found = []
    for column in table.columns:
        share = float(column.missing.mean()) if len(table) else 0.0
        if MOSTLY_MISSING < share < 1:
            why = f"{100 * share:.0f} % of {column.name} is missing."
            remedy = "Leave it out, unless that it is missing tells something itself."
            found.append(
                Finding("mostly-missing", "warning", column.name, {"share": share}, why, remedy)
            )
    return found


def _repeated(table: Table) -> list[Finding]:
    cells = [np.where(column.missing, -np.inf, column.values) for column in table.columns]
    stacked = np.stack(cells, axis=1) if cells else np.zeros((0, 0))
    count = len(stacked) - len(np.unique(stacked, axis=0))
    if not count:
        return []
    return [
        Finding(
            "repeated-rows", "info", "", {"rows": count, "share": count / len(stacked)},
            f"{count:,} of {len(stacked):,} rows are equal to an earlier one. Where that is a"
            " mistake, some of the validation rows are known from training.",
            "Remove them, if rows cannot be equal by chance.",
        )
    ]  # fmt: skip


def _imbalance(target: str, classes: dict[str, int]) -> list[Finding]:
    names = list(classes)
    ratio = classes[names[0]] / classes[names[-1]]
    if ratio < IMBALANCE:
        return []
    share = _share(classes[names[0]], classes)
    return [
        Finding(
            "class-imbalance", "warning", target, {"ratio": ratio, "classes": classes},
            f"The class {names[0]} has {classes[names[0]]:,} rows and {names[-1]} has "
            f"{classes[names[-1]]:,}: answering {names[0]} always is right in {share}.",
            "Judge by each class, not by accuracy alone; find more rows of the rare ones.",
        )
    ]  # fmt: skip


def _untrainable(target: str, error: DataError) -> Finding:
    return Finding(
        "cannot-be-trained-on", "error", target, {}, " ".join(str(error).split()),
        "Name another target, or correct the table.",
    )  # fmt: skip
