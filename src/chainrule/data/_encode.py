"""From a table to numbers: what a network is fed, learned from the training rows alone.

Numbers are standardised by the training rows' mean and spread; a missing one becomes their median,
and a further feature says that it was missing. Categories become one feature each; a missing one is
a category of its own. A column that cannot help (one value only, a different text in almost every
row, a row count) is left out, and `left_out` says why. A date is a number of days. Of a free text
the common words are counted. `said` says both.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import DataError, OptionError
from ._dates import ambiguous, date_text
from ._frames import as_table
from ._labelled import LabelledDataset, split_positions
from ._table import Column, Table
from ._words import TextFeature, fit_text

Task = Literal["classification", "regression"]
Float32s = npt.NDArray[np.float32]

MOST_CATEGORIES = 50
"""A column of more texts than this is left out."""
MOST_CLASSES = 20
"""A target of whole numbers with up to this many distinct values is taken for classes."""

_BAD_TASK = "task must be classification or regression.\n  given: {task!r}"
_NO_NUMBERS = (
    "{source}: column {name!r} holds texts, so it cannot be the target of a regression.\n"
    "  fix: task classification"
)
_ONE_CLASS = (
    "{source}: the target {name!r} has one value only ({value}), so there is nothing to learn."
)
_DATE_TARGET = (
    "{source}: the target {name!r} holds dates, which are not predicted.\n"
    "  fix: a column of numbers, such as the days until then"
)
_ALL_MISSING = "{source}: the target {name!r} has no values."
_NOTHING_LEFT = "{source}: no column is left to learn {target!r} from.\n  left out: {reasons}"
_NEW_CLASS = (
    "{source}, line {line}: the target {name!r} is {value!r}, a class that training did not have.\n"
    "  expected: one of {known}"
)


@dataclass(frozen=True)
class NumberFeature:
    """How one column of numbers is standardised."""

    column: str
    median: float
    mean: float
    spread: float
    flag_missing: bool
    kind: Literal["number", "date"] = "number"

    @property
    def names(self) -> list[str]:
        """Give the names of the features this column makes."""
        return [self.column, f"{self.column} is missing"] if self.flag_missing else [self.column]

    def encode(self, column: Column) -> Float32s:
        """Encode a column: shape (rows, 1 or 2)."""
        missing = column.missing
        values = (np.where(missing, self.median, column.values) - self.mean) / self.spread
        parts = [values, missing] if self.flag_missing else [values]
        return np.stack(parts, axis=1).astype(np.float32)


@dataclass(frozen=True)
class CategoryFeature:
    """Which texts of one column get a feature. Two texts and nothing missing make one feature."""

    column: str
    categories: tuple[str, ...]
    flag_missing: bool

    @property
    def names(self) -> list[str]:
        """Give the names of the features this column makes."""
        names = [f"{self.column}={category}" for category in self.categories]
        if self.flag_missing:
            return [*names, f"{self.column} is missing"]
        return names[1:] if len(names) == 2 else names

    def encode(self, column: Column) -> Float32s:
        """Encode a column: shape (rows, features). A text that training did not have is all 0."""
        place = {category: k for k, category in enumerate(self.categories)}
        # The last entry serves the code -1: a missing cell.
        to_place = np.array([place.get(text, -2) for text in column.categories] + [-1])
        places = to_place[column.values.astype(np.int64)]
        columns = [places == k for k in range(len(self.categories))]
        if self.flag_missing:
            columns.append(places == -1)
        elif len(columns) == 2:
            columns = columns[1:]
        return np.stack(columns, axis=1).astype(np.float32)


Feature = NumberFeature | CategoryFeature | TextFeature
_PLURAL = {"number": "numbers", "date": "dates", "category": "texts"}


@dataclass(frozen=True)
class Target:
    """The column to predict: its classes, or what its numbers are standardised by."""

    column: str
    task: Task
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    spread: float = 1.0


class TableEncoder:
    """Turns the rows of a table into inputs and targets.

    Args:
        features: how each used column is encoded.
        target: how the target is.
        left_out: column name to the reason why it is not used.

    Example:
        >>> import numpy as np
        >>> table = Table("t.csv", [Column("x", "number", np.array([1.0, np.nan, 3.0, 2.0])),
        ...                         Column("y", "category", np.array([0, 1, 1, 0]), ("no", "yes"))],
        ...               np.arange(2, 6))
        >>> encoder = TableEncoder.fit(table, "y")
        >>> encoder.feature_names, encoder.target.classes
        (['x', 'x is missing'], ('no', 'yes'))
        >>> encoder.inputs(table)[1].tolist()
        [0.0, 1.0]
        >>> encoder.targets(table).tolist()
        [0, 1, 1, 0]
    """

    def __init__(
        self,
        features: list[Feature],
        target: Target,
        left_out: dict[str, str],
    ) -> None:
        self.features = features
        self.target = target
        self.left_out = left_out

    @classmethod
    def fit(
        cls,
        table: Table | Any,
        target: str,
        *,
        task: Task | None = None,
        rows: npt.NDArray[np.int64] | None = None,
    ) -> TableEncoder:
        """Learn the encoding from the training rows.

        Args:
            table: the whole table, or a data frame.
            target: the name of the column to predict.
            task: "classification" or "regression"; None decides by the column: texts and few whole
                numbers are classes.
            rows: positions of the training rows; None takes all.

        Raises:
            DataError: no such column, a target without values or with one only, nothing to learn
                from.
        """
        table = as_table(table)
        goal = _fit_target(table, target, task, rows)
        training = table if rows is None else table.rows(rows)
        features: list[Feature] = []
        left_out: dict[str, str] = {}
        for column in training.without(target).columns:
            text = _fit_text(column)
            reason = "" if text else _useless(column)
            if text:
                features.append(text)
            elif reason:
                left_out[column.name] = reason
            elif column.kind != "category":
                features.append(_fit_number(column))
            else:
                features.append(_fit_category(column))
        if not features:
            reasons = "; ".join(f"{name} ({why})" for name, why in left_out.items()) or "nothing"
            raise DataError(
                _NOTHING_LEFT.format(source=table.source, target=target, reasons=reasons)
            )
        return cls(features, goal, left_out)

    @property
    def feature_names(self) -> list[str]:
        """Name the columns of `inputs`, in order."""
        return [name for feature in self.features for name in feature.names]

    @property
    def said(self) -> dict[str, str]:
        """Column name to how it is used, where its kind alone does not say."""
        found = {}
        for feature in self.features:
            if isinstance(feature, TextFeature):
                found[feature.column] = feature.said
            elif isinstance(feature, NumberFeature) and feature.kind == "date":
                found[feature.column] = "as days since 1970-01-01"
        return found

    def inputs(self, table: Table | Any) -> Float32s:
        """Encode the used columns: float32, shape (rows, features).

        Raises:
            DataError: when the table lacks a column, or holds texts where training had numbers.
        """
        known = as_table(table)
        return np.concatenate(
            [feature.encode(_same_kind(known, feature)) for feature in self.features], axis=1
        )

    def targets(self, table: Table | Any) -> npt.NDArray[Any]:
        """Encode the target: class numbers, int64 (rows,), or standardised float32 (rows, 1).

        Raises:
            DataError: when a row has no target, or a class that training did not have.
        """
        table = as_table(table)
        column = table[self.target.column]
        if self.target.task == "regression":
            numbers = (column.values - self.target.mean) / self.target.spread
            return numbers.astype(np.float32)[:, None]
        place = {name: k for k, name in enumerate(self.target.classes)}
        texts = _texts(column)
        unknown = [row for row, text in enumerate(texts) if text not in place]
        if unknown:
            text = _NEW_CLASS.format(
                source=table.source,
                line=int(table.lines[unknown[0]]),
                name=column.name,
                value=texts[unknown[0]],
                known=", ".join(place),
            )
            raise DataError(text)
        return np.array([place[text] for text in texts], dtype=np.int64)

    def dataset(self, table: Table | Any) -> LabelledDataset:
        """Encode a table with targets as a data set that carries the names."""
        table = as_table(table)
        return LabelledDataset(
            self.inputs(table),
            self.targets(table),
            feature_names=self.feature_names,
            class_names=self.target.classes,
            name=table.source,
        )

    def to_plain(self) -> dict[str, Any]:
        """Give the encoding as plain data that JSON can hold; `from_plain` reads it."""
        numbers = [asdict(each) for each in self.features if isinstance(each, NumberFeature)]
        categories = [asdict(each) for each in self.features if isinstance(each, CategoryFeature)]
        return {
            "order": [each.column for each in self.features],
            "numbers": numbers,
            "categories": categories,
            "texts": [asdict(each) for each in self.features if isinstance(each, TextFeature)],
            "target": asdict(self.target),
            "left_out": dict(self.left_out),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> TableEncoder:
        """Rebuild an encoder from what `to_plain` gave."""
        of_name: dict[str, Feature] = {}
        for entry in plain.get("texts", ()):
            of_name[entry["column"]] = TextFeature(entry["column"], tuple(entry["words"]))
        for entry in plain["numbers"]:
            of_name[entry["column"]] = NumberFeature(**entry)
        for entry in plain["categories"]:
            settings = entry | {"categories": tuple(entry["categories"])}
            of_name[entry["column"]] = CategoryFeature(**settings)
        goal = plain["target"] | {"classes": tuple(plain["target"]["classes"])}
        features = [of_name[name] for name in plain["order"]]
        return cls(features, Target(**goal), dict(plain["left_out"]))


def split_table(
    table: Table | Any,
    target: str,
    *,
    share: float = 0.2,
    seed: int = 0,
    task: Task | None = None,
) -> tuple[LabelledDataset, LabelledDataset, TableEncoder]:
    """Split a table into training and validation, and encode both by what the training rows say.

    Rows without a target are left out. Classes are split in equal measure.

    Args:
        table: the table, or a data frame (polars, pandas and others; extra `data`).
        target: the column to predict.
        share: the part for validation.
        seed: of the shuffle.
        task: as in `TableEncoder.fit`.

    Returns:
        (training set, validation set, the encoder).

    Raises:
        DataError: as `TableEncoder.fit`, and when fewer than 5 rows have a target.
    """
    table = as_table(table)
    known = table.rows(~table[target].missing)
    if len(known) < 5:
        raise DataError(
            f"{table.source}: {len(known)} rows have a value of {target!r}.\n"
            "  expected: at least 5, to train on some and validate on others"
        )
    goal = _fit_target(known, target, task, None)
    labels = known[target].values
    if goal.task == "classification":
        labels = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    rest, part = split_positions(labels, share, seed)
    encoder = TableEncoder.fit(known, target, task=goal.task, rows=np.sort(rest))
    # Classes too rare to be in the training part are still classes.
    if goal.task == "classification":
        encoder.target = goal
    return encoder.dataset(known.rows(rest)), encoder.dataset(known.rows(part)), encoder


def _texts(column: Column) -> list[str]:
    """Give each cell as the text that names its class."""
    if column.kind == "category":
        return [column.categories[k] if k >= 0 else "(missing)" for k in column.values]
    if column.kind == "date":
        return [date_text(value) if value == value else "(missing)" for value in column.values]
    return [f"{value:.15g}" for value in column.values]


def _fit_target(
    table: Table, name: str, task: Task | None, rows: npt.NDArray[np.int64] | None
) -> Target:
    column = table[name] if rows is None else table[name].rows(rows)
    if column.kind == "date":
        raise DataError(_DATE_TARGET.format(source=table.source, name=name))
    here = column.rows(~column.missing)
    if not len(here.values):
        raise DataError(_ALL_MISSING.format(source=table.source, name=name))
    distinct = np.unique(here.values)
    if len(distinct) == 1:
        value = _texts(here)[0]
        raise DataError(_ONE_CLASS.format(source=table.source, name=name, value=value))
    if task is None:
        whole = bool((distinct == np.floor(distinct)).all())
        few = whole and len(distinct) <= MOST_CLASSES
        task = "classification" if column.kind == "category" or few else "regression"
    if task == "classification":
        firsts = np.unique(here.values, return_index=True)[1]
        return Target(name, task, classes=tuple(_texts(here.rows(firsts))))
    if task != "regression":
        raise OptionError(_BAD_TASK.format(task=task))
    if column.kind == "category":
        raise DataError(_NO_NUMBERS.format(source=table.source, name=name))
    return Target(name, task, mean=float(here.values.mean()), spread=float(here.values.std()))


def _useless(column: Column) -> str:
    """Say why a column of the training rows cannot help, or give an empty text."""
    distinct = column.distinct
    if distinct <= 1 and not (distinct and column.missing.any()):
        return "one value only" if distinct else "no values"
    if column.kind == "category" and ambiguous(column.categories):
        return "dates of which day and month cannot be told apart; write them as 2024-03-31"
    if column.kind == "category" and distinct > MOST_CATEGORIES:
        return f"{distinct} different texts in {len(column.values)} rows"
    if column.kind == "number" and len(column.values) > MOST_CLASSES and not column.missing.any():
        steps = np.unique(np.diff(np.sort(column.values)))
        whole = bool((column.values == np.floor(column.values)).all())
        # Training rows are a sample of the table, so a count of rows shows as distinct whole
        # numbers without large gaps.
        if (
            whole
            and steps[0] > 0
            and column.values.max() - column.values.min() < 2 * len(column.values)
        ):
            return "it counts the rows"
    return ""


def _fit_number(column: Column) -> NumberFeature:
    missing = column.missing
    median = float(np.median(column.values[~missing]))
    filled = np.where(missing, median, column.values)
    spread = float(filled.std())
    return NumberFeature(
        column.name,
        median,
        float(filled.mean()),
        spread if spread > 0 else 1.0,
        bool(missing.any()),
        "date" if column.kind == "date" else "number",
    )


def _fit_text(column: Column) -> TextFeature | None:
    many = column.kind == "category" and column.distinct > MOST_CATEGORIES
    return fit_text(column) if many else None


def _fit_category(column: Column) -> CategoryFeature:
    present = np.unique(column.values[~column.missing])
    texts = tuple(column.categories[int(code)] for code in present)
    return CategoryFeature(column.name, texts, bool(column.missing.any()))


def _same_kind(table: Table, feature: Feature) -> Column:
    """Give the column that a feature reads, as the kind it was at training."""
    column = table[feature.column]
    wanted = feature.kind if isinstance(feature, NumberFeature) else "category"
    if column.kind == wanted:
        return column
    if wanted == "category":  # the same codes may read as numbers in another file
        texts = [("" if m else t) for t, m in zip(_texts(column), column.missing, strict=True)]
        categories = sorted(set(texts) - {""})
        codes = [categories.index(text) if text else -1 for text in texts]
        return Column(column.name, "category", np.array(codes), tuple(categories))
    if not column.categories and column.kind == "category":  # nothing but missing cells
        return Column(column.name, wanted, np.full(len(column.values), np.nan))
    shown = column.categories[:3] or _texts(column.rows(np.arange(min(3, len(column.values)))))
    raise DataError(
        f"{table.source}: column {column.name!r} held {wanted}s in training and holds "
        f"{_PLURAL[column.kind]} here.\n  given: {', '.join(shown)}"
    )
