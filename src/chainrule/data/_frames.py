"""Data frames (polars, pandas, pyarrow: what narwhals knows) and Parquet files as tables."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, MissingExtraError, require
from ._csv import MISSING
from ._dates import day_number, days_of
from ._table import Column, Table

_NO_FRAME = (
    "this is no data frame that narwhals knows.\n  given: {given}\n"
    "  expected: a polars, pandas, pyarrow or similar frame that is in memory\n"
    "  fix: a lazy frame becomes one with .collect(); arrays go to the Trainer as they are"
)
_BAD_KIND = (
    "{source}: column {name!r} holds {dtype}, which has no numbers to learn from.\n"
    "  expected: numbers, texts, categories, true and false, dates\n"
    "  fix: leave the column out, or convert it"
)
_NOT_FINITE = (
    "{source}, row {row}: column {name!r} is infinite.\n  fix: make it a number, or missing (None)"
)
_TWICE = "{source}: the frame has {name!r} twice.\n  expected: a different name for each column"
_BAD_PARQUET = "{source} cannot be read as Parquet ({why})."


def from_frame(frame: Any, source: str = "the data frame") -> Table:
    """Turn a data frame into a table of typed columns.

    Numbers stay numbers, with NaN and null as missing; texts, categories, true and false become
    categories; dates become days since 1970-01-01, as do texts that are all dates.

    Args:
        frame: a polars, pandas or pyarrow frame, or another that narwhals knows.
        source: what to call it in messages.

    Raises:
        DataError: another object, no rows, a column of lists or other objects, infinite numbers.
        MissingExtraError: when narwhals is not installed.

    Example:
        >>> import polars
        >>> print(from_frame(polars.DataFrame({"kind": ["cat", None], "age": [3, 5]})))
        the data frame: 2 rows, 2 columns
          kind  category  1 values: cat  1 missing
          age   number    3 to 5
    """
    narwhals = require("narwhals", "data", "reading data frames")
    try:
        known = narwhals.from_native(frame, eager_only=True)
        names = [str(name) for name in known.columns]
    except TypeError:
        raise DataError(_NO_FRAME.format(given=type(frame).__name__)) from None
    except Exception as error:  # frames that their own library finds wrong, such as names twice
        raise DataError(f"{source} cannot be read: {error}") from None
    if not len(known) or not names:
        raise DataError(f"{source} has {len(known)} rows and {len(names)} columns.")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(_TWICE.format(source=source, name=twice[0]))
    columns = []
    for original, name in zip(known.columns, names, strict=True):
        try:
            columns.append(_column(narwhals, known[original], name, source))
        except (ValueError, OverflowError) as error:  # a date outside the years 1 to 9999
            if isinstance(error, DataError):
                raise
            raise DataError(f"{source}: column {name!r} cannot be read: {error}.") from None
    return Table(source, columns, np.arange(1, len(known) + 1))


def as_table(data: Any) -> Table:
    """Give a table as it is, and anything else as `from_frame` reads it.

    >>> import polars
    >>> as_table(polars.DataFrame({"age": [3, 5]})).names
    ('age',)
    """
    return data if isinstance(data, Table) else from_frame(data)


def read_parquet(path: str | os.PathLike[str], *, columns: Sequence[str] | None = None) -> Table:
    """Read a Parquet file into a table of typed columns; see `from_frame`.

    Args:
        path: the file.
        columns: which ones; None takes all.

    Raises:
        DataError: no Parquet file, a damaged one, a column that is not there.
        FileNotFoundError: when there is no such file.
        MissingExtraError: when polars is not installed.

    Example:
        >>> import polars, tempfile
        >>> path = Path(tempfile.mkdtemp(), "pets.parquet")
        >>> polars.DataFrame({"age": [3, 5]}).write_parquet(path)
        >>> read_parquet(path)["age"].values
        array([3., 5.])
    """
    path = Path(path)
    with path.open("rb"):  # a file that is missing says so as files do
        pass
    with _explained(path.name):
        polars = require("polars", "data", "reading Parquet files")
        _check_columns(list(polars.read_parquet_schema(path)), columns or (), path.name)
        frame = polars.read_parquet(path, columns=list(columns) if columns else None)
    return from_frame(frame, path.name)


def parquet_frames(path: Path, rows: int, drop: Collection[str]) -> Iterator[Any]:
    """Yield a Parquet file as polars frames of `rows` rows, without the columns to drop.

    Raises:
        DataError: no Parquet file, a damaged one, a column that is not there.
    """
    with _explained(path.name):
        polars = require("polars", "data", "reading Parquet files")
        names = list(polars.read_parquet_schema(path))
        _check_columns(names, drop, path.name)
        lazy = polars.scan_parquet(path).select([name for name in names if name not in drop])
        count = int(polars.scan_parquet(path).select(polars.len()).collect().item())
    for start in range(0, count, rows):
        with _explained(path.name):
            frame = lazy.slice(start, rows).collect(engine="streaming")
        yield frame


def _check_columns(names: list[str], asked: Collection[str], source: str) -> None:
    for name in asked:
        if name not in names:
            raise DataError(f"{source} has no column {name!r}.\n  its columns: {', '.join(names)}")


@contextlib.contextmanager
def _explained(source: str) -> Iterator[None]:
    """Turn what polars raises about a damaged file into our error."""
    try:
        yield
    except (DataError, MissingExtraError):
        raise
    except BaseException as error:
        # A damaged file makes polars' Rust code panic, which is no Exception.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            why = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise DataError(_BAD_PARQUET.format(source=source, why=why)) from None
        raise


def _column(narwhals: Any, series: Any, name: str, source: str) -> Column:
    dtype = series.dtype
    if dtype.is_numeric():
        return _numbers(narwhals, series, name, source)
    named = (narwhals.String, narwhals.Categorical, narwhals.Enum, narwhals.Boolean)
    dated = (narwhals.Date, narwhals.Datetime)
    # A column of nothing but null has no dtype of its own, and pandas' objects may be anything.
    loose = dtype in (narwhals.Unknown, narwhals.Object)
    cells = series.to_list() if loose or dtype in named + dated else None
    present = [cell for cell in cells or () if not _is_null(cell)]
    if cells is None or (loose and not _same_objects(present)):
        raise DataError(_BAD_KIND.format(source=source, name=name, dtype=dtype))
    if dtype in dated or (loose and present and isinstance(present[0], date)):
        days = [math.nan if _is_null(each) else _day(each) for each in cells]
        return Column(name, "date", np.array(days, dtype=np.float64))
    return _categories(name, ["" if _is_null(cell) else str(cell).strip() for cell in cells])


def _same_objects(cells: list[Any]) -> bool:
    """Say whether Python objects are all texts (or true and false), or all dates."""
    return any(all(isinstance(cell, kind) for cell in cells) for kind in (str | bool, date))


def _day(moment: date) -> float:
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    return day_number(moment)


def _is_null(cell: Any) -> bool:
    # pandas' own null cannot be compared; its missing numbers and times differ from themselves.
    return cell is None or type(cell).__name__ == "NAType" or bool(cell != cell)


def _numbers(narwhals: Any, series: Any, name: str, source: str) -> Column:
    wide = series.cast(narwhals.Float64)
    values = np.array(wide.fill_null(math.nan).to_numpy(), dtype=np.float64)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise DataError(_NOT_FINITE.format(source=source, row=infinite[0] + 1, name=name))
    return Column(name, "number", values)


def _categories(name: str, texts: list[str]) -> Column:
    dates = days_of(texts, MISSING)
    if dates is not None and not dates[1]:
        return Column(name, "date", dates[0])
    categories = sorted(set(texts) - {""})
    position = {category: code for code, category in enumerate(categories)}
    codes = np.array([position.get(text, -1) for text in texts], dtype=np.int64)
    return Column(name, "category", codes, tuple(categories))
