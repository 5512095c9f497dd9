"""`chainrule predict`: a trained model answers for the rows of a new table."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Column, Table, TableEncoder, read_csv
from ..data._csv import column_names
from ..data._encode import CategoryFeature, NumberFeature, Target
from ..data._table import Kind
from ..errors import DataError
from .table_model import TableModel
from .tables import PARQUET, read_table

Floats = npt.NDArray[np.float64]

_DO_NOT_FIT = "{source} does not have the columns that the model was trained on.\n  {lines}"


@dataclass(frozen=True)
class Predictions:
    """What a model answers for each row.

    Attributes:
        source: the table's file.
        target: what is predicted, and its classes.
        lines: the line of the file that each row starts on.
        values: classes as numbers, int64; or predicted numbers in the target's own unit, float64.
        probabilities: float64 (rows, classes), each row of sum 1; None for numbers.
        notes: what was taken for missing, and what else is to be known.
        score: how good the answers are, where the table has the target; else empty.
    """

    source: str
    target: Target
    lines: npt.NDArray[np.int64]
    values: npt.NDArray[Any]
    probabilities: Floats | None
    notes: list[str] = field(default_factory=list)
    score: dict[str, float] = field(default_factory=dict)

    @property
    def answers(self) -> list[str] | list[float]:
        """Give the labels as the training table has them, or the numbers."""
        if self.probabilities is None:
            return [float(value) for value in self.values]
        return [self.target.classes[k] for k in self.values]

    def header(self) -> list[str]:
        """Name the columns of `rows`."""
        classes = () if self.probabilities is None else self.target.classes
        return [
            "line",
            f"predicted {self.target.column}",
            *(f"probability of {c}" for c in classes),
        ]

    def rows(self) -> Iterator[list[str]]:
        """Yield one row of cells for each row of the table."""
        for k, (line, answer) in enumerate(zip(self.lines, self.answers, strict=True)):
            shown = answer if isinstance(answer, str) else f"{answer:.10g}"
            shares = [] if self.probabilities is None else self.probabilities[k]
            yield [str(line), shown, *(f"{share:.6g}" for share in shares)]

    def csv(self) -> str:
        """Write it as a CSV file."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header())
        writer.writerows(self.rows())
        return text.getvalue()

    def document(self) -> dict[str, Any]:
        """Give all of it as plain data."""
        entries: list[dict[str, Any]] = []
        for k, (line, answer) in enumerate(zip(self.lines, self.answers, strict=True)):
            entry: dict[str, Any] = {"line": int(line), "predicted": answer}
            if self.probabilities is not None:
                shares = self.probabilities[k].tolist()
                entry["probabilities"] = dict(zip(self.target.classes, shares, strict=True))
            entries.append(entry)
        return {
            "file": self.source,
            "target": self.target.column,
            "task": self.target.task,
            "classes": list(self.target.classes),
            "predictions": entries,
            "notes": self.notes,
            "score": self.score,
        }

    def score_text(self) -> str:
        """Say how good the answers are; empty where the table does not have the target."""
        if "accuracy" in self.score:
            rows, accuracy = self.score["rows"], self.score["accuracy"]
            return f"accuracy {100 * accuracy:.2f} % on the {rows:,.0f} rows that have a label"
        if self.score:
            rmse, mae = self.score["root_mean_square_error"], self.score["mean_absolute_error"]
            rows = self.score["rows"]
            return (
                f"error {rmse:.4g} root mean square, {mae:.4g} mean absolute "
                f"on the {rows:,.0f} rows that have a value"
            )
        return ""


def predict_file(model: TableModel, file: Path, drop: tuple[str, ...] = ()) -> Predictions:
    """Answer for each row of a file.

    Args:
        model: the trained model.
        file: a CSV or Parquet file.
        drop: columns of it that the model does not know, to be left out.

    Raises:
        DataError: columns that are missing, or that training did not have; cells of another kind.
    """
    return predict_table(model, read_fitting(model, file, drop))


def read_fitting(model: TableModel, file: Path, drop: tuple[str, ...] = ()) -> Table:
    """Read a file whose columns are those of the model, each as the kind it was in training."""
    kinds = _kinds(model.encoder)
    if file.suffix.lower() in PARQUET:
        table = read_table(file)
        check_columns(model, table.names, file.name, drop)
        return table
    names = column_names(file)
    check_columns(model, names, file.name, drop)
    # A column of few letters among codes must not be taken for one of numbers, as in training.
    return read_csv(file, kinds={name: kind for name, kind in kinds.items() if name in names})


def _kinds(encoder: TableEncoder) -> dict[str, Kind]:
    return {
        each.column: each.kind if isinstance(each, NumberFeature) else "category"
        for each in encoder.features
    }


def check_columns(
    model: TableModel, names: list[str] | tuple[str, ...], source: str, drop: tuple[str, ...] = ()
) -> None:
    """Refuse a table that lacks columns or has others; the target may be there or not.

    Raises:
        DataError: it names all of them.
    """
    needed = [each.column for each in model.encoder.features]
    unknown_drop = [name for name in drop if name not in names]
    if unknown_drop:
        raise DataError(f"{source} has no column {unknown_drop[0]!r} to leave out.")
    missing = [name for name in needed if name not in names or name in drop]
    extra = [name for name in names if name not in (*model.columns, *drop)]
    lines = []
    if missing:
        lines.append(f"missing: {', '.join(_with_near(name, extra) for name in missing)}")
    if extra:
        lines.append(f"not known to the model: {', '.join(map(repr, extra))}")
    if not lines:
        return
    lines.append(f"expected: {', '.join(needed)}")
    if missing:
        lines.append("fix: give the table these columns, under the names they had in training")
    else:
        lines.append("fix: leave them out, " + " ".join(f"--drop {name!r}" for name in extra))
    raise DataError(_DO_NOT_FIT.format(source=source, lines="\n  ".join(lines)))


def _with_near(name: str, extra: list[str]) -> str:
    folded = {each.casefold(): each for each in extra}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f"{name!r} (is it {folded[near[0]]!r}?)" if near else repr(name)


def predict_table(model: TableModel, table: Table) -> Predictions:
    """Answer for each row of a table whose columns fit."""
    table, notes = known_categories(table, model.encoder)
    outputs = model.outputs(model.encoder.inputs(table))
    goal = model.encoder.target
    probabilities: Floats | None = None
    if goal.task == "classification":
        probabilities = softmax(outputs)
        values = outputs.argmax(axis=1)
    else:
        values = outputs[:, 0] * goal.spread + goal.mean
    score: dict[str, float] = {}
    if goal.column in table:
        score, said = _score(model.encoder, table, values)
        notes += said
    if not np.isfinite(outputs).all():
        notes.append("some outputs of the network are not finite: the training went wrong")
    return Predictions(table.source, goal, table.lines, values, probabilities, notes, score)


def softmax(scores: Floats) -> Floats:
    """Turn scores (rows, classes) into probabilities; large scores do not overflow.

    Example:
        >>> softmax(np.array([[1000.0, 1000.0], [0.0, np.log(3.0)]])).tolist()
        [[0.5, 0.5], [0.25, 0.75]]
    """
    powers = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def known_categories(table: Table, encoder: TableEncoder) -> tuple[Table, list[str]]:
    """Make missing what training never saw, and say how many cells of which column that are."""
    columns = {column.name: column for column in table.columns}
    notes = []
    for feature in encoder.features:
        column = columns[feature.column]
        if isinstance(feature, CategoryFeature) and column.kind == "category":
            columns[column.name], count, texts = _only(column, feature.categories)
            if count:
                notes.append(_unknown_text(feature, count, texts))
    return Table(table.source, list(columns.values()), table.lines), notes


def _only(column: Column, known: tuple[str, ...]) -> tuple[Column, int, list[str]]:
    """Give the column with unknown texts as missing, how many cells had one, and the texts."""
    strange = np.array([text not in known for text in column.categories] + [False])
    hit = strange[column.values.astype(np.int64)]
    texts = [column.categories[int(k)] for k in np.unique(column.values[hit])]
    return replace(column, values=np.where(hit, -1, column.values)), int(hit.sum()), texts


def _unknown_text(feature: CategoryFeature, count: int, texts: list[str]) -> str:
    shown = ", ".join(map(repr, texts[:3])) + (", ..." if len(texts) > 3 else "")
    cells = f"{count:,} cell{'s' if count > 1 else ''}"
    taken = "taken as missing"
    if not feature.flag_missing and len(feature.categories) == 2:
        # One feature tells two categories apart, so "none of them" has no place of its own.
        taken = f"taken as missing, which counts as {feature.categories[0]!r}: training had none"
    return f"{feature.column}: {cells} with a text that training did not have ({shown}), {taken}"


def _score(
    encoder: TableEncoder, table: Table, values: npt.NDArray[Any]
) -> tuple[dict[str, float], list[str]]:
    """Compare with the target where the table has it; a target that cannot be read is a note."""
    goal = encoder.target
    labelled = ~table[goal.column].missing
    if not labelled.any():
        return {}, []
    if goal.task == "regression" and table[goal.column].kind != "number":
        return {}, [f"not scored: {goal.column} holds no numbers here"]
    try:
        truth = encoder.targets(table.rows(labelled))
    except DataError as error:
        return {}, [f"not scored: {str(error).splitlines()[0]}"]
    rows = float(labelled.sum())
    if goal.task == "classification":
        return {"rows": rows, "accuracy": float((values[labelled] == truth).mean())}, []
    off = values[labelled] - (truth[:, 0].astype(np.float64) * goal.spread + goal.mean)
    return {
        "rows": rows,
        "root_mean_square_error": float(np.sqrt(np.mean(off**2))),
        "mean_absolute_error": float(np.abs(off).mean()),
    }, []
