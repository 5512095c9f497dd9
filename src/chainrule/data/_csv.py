"""Reading CSV files: the separator, the header and each column's type are found, not asked for.

A row that cannot be read, or a cell that breaks the type of its column, is an error with its line
number. Nothing is guessed silently: what was found can be printed (`print(table)`) and every guess
can be overruled by an argument.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ..errors import DataError
from ._dates import days_of
from ._table import Column, Floats, Kind, Table

MISSING = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "?"})
"""Cells that mean "no value here"."""

_EMPTY = "{source} is empty.\n  expected: a line of column names, then rows"
_SEPARATORS = (",", ";", "\t", "|")
_FEW = 0.02
"""Up to this share of texts in a column of numbers is taken for mistakes, not for categories;
one text among ten cells or more is a mistake too."""

Row = tuple[int, list[str]]
"""The line a record starts on, and its cells."""


def read_csv(
    path: str | os.PathLike[str],
    *,
    separator: str | None = None,
    header: bool | None = None,
    missing: Collection[str] = MISSING,
    kinds: Mapping[str, Kind] | None = None,
    encoding: str = "utf-8",
) -> Table:
    """Read a CSV file into a table of typed columns.

    Args:
        path: the file.
        separator: the character between cells; None finds it among comma, semicolon, tab and bar,
            and spaces between numbers.
        header: whether the first line names the columns; None takes it for names unless a cell of
            it is a number. Without a header the columns are `column_1`, `column_2`, ...
        missing: the cells that mean "no value", after spaces around them are removed.
        kinds: column name to "number", "category" or "date", where the type found is not the one
            wanted.
        encoding: of the text.

    Returns:
        A `Table` with one `Column` of shape (rows,) for each column of the file.

    Raises:
        DataError: a row with too few or too many cells, an unclosed quote, a text in a column of
            numbers, bytes that are not in the encoding, an empty file; with the line number.
        FileNotFoundError: when there is no such file.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "pets.csv"
        >>> _ = path.write_text("kind,age\\ncat,3\\ndog,\\ncat,5\\n")
        >>> print(read_csv(path))
        pets.csv: 3 rows, 2 columns
          kind  category  2 values: cat, dog
          age   number    3 to 5  1 missing
    """
    path = Path(path)
    text = _text(path, encoding)
    if separator is None:
        separator = _find_separator(text)
    rows = _records(io.StringIO(text, newline=""), separator, path.name)
    first = next(rows, None)
    if first is None:
        raise DataError(_EMPTY.format(source=path.name))
    names, rest = _header(first, rows, header, missing, path.name)
    lines, cells = _columns(names, rest, path.name)
    kinds = dict(kinds or {})
    columns = [
        _column(name, texts, lines, kinds.pop(name, None), missing, path.name)
        for name, texts in zip(names, cells, strict=True)
    ]
    table = Table(path.name, columns, np.array(lines, dtype=np.int64))
    for name in kinds:
        table[name]  # a kind for a column that does not exist: the error names the nearest
    return table


def column_names(path: str | os.PathLike[str]) -> list[str]:
    """Give the names of the columns as `read_csv` finds them, without reading the cells.

    Raises:
        DataError: as `read_csv`, of the first row.
        FileNotFoundError: when there is no such file.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "pets.csv"
        >>> _ = path.write_text("kind;age\\ncat;3\\n")
        >>> column_names(path)
        ['kind', 'age']
    """
    path = Path(path)
    text = _text(path, "utf-8")
    rows = _records(io.StringIO(text, newline=""), _find_separator(text), path.name)
    first = next(rows, None)
    if first is None:
        raise DataError(_EMPTY.format(source=path.name))
    return _header(first, rows, None, MISSING, path.name)[0]


def _text(path: Path, encoding: str) -> str:
    """Read the whole file; say on which line bytes stop being text."""
    content = path.read_bytes()
    try:
        # Spreadsheets put a byte order mark in front of UTF-8.
        text = content.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path.name}, line {line}: byte {content[error.start]:#04x} is not {encoding} text.\n"
            '  fix: name the encoding of the file, for example encoding="latin-1"'
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path.name}, line {line}: a zero byte; this is not a text file.")
    return text


def _find_separator(text: str) -> str:
    """Give the separator that splits the first lines most often into equally many cells."""
    sample = text[:20_000].splitlines()[:20]

    def score(separator: str) -> tuple[int, int]:
        widths = [len(row) for row in csv.reader(sample, delimiter=separator) if row]
        common = max(set(widths), key=widths.count, default=0)
        return (widths.count(common), common) if common > 1 else (0, 0)

    best = max(_SEPARATORS, key=score)
    return " " if score(best) == (0, 0) and _are_spaced_numbers(sample) else best


def _are_spaced_numbers(lines: list[str]) -> bool:
    """Say whether the lines are numbers with spaces between, equally many in each."""
    rows = [line.split() for line in lines if line.strip()][:-1] or [line.split() for line in lines]
    equal = len({len(row) for row in rows}) == 1 and len(rows[0]) > 1
    return equal and all(_number(cell) is not None for row in rows for cell in row)


def _records(lines: Iterable[str], separator: str, source: str) -> Iterator[Row]:
    """Yield each record with the line it starts on; blank lines are passed over."""
    if separator == " ":  # several count as one
        lines = map(str.strip, lines)
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{source}, line {start}: the row cannot be read ({error}).\n"
                "  expected: quotes that open and close; a quote inside a quoted cell is doubled"
            ) from None
        cells = list(map(str.strip, cells))
        if len(cells) > 1 or any(cells):
            yield start, cells


def _header(
    first: Row, rest: Iterator[Row], header: bool | None, missing: Collection[str], source: str
) -> tuple[list[str], Iterator[Row]]:
    """Give the names of the columns, and the rows that hold data."""
    line, cells = first
    if header is None:
        header = not any(_number(cell) is not None for cell in cells if cell not in missing)
    if not header:
        return [f"column_{k}" for k in range(1, len(cells) + 1)], _chain(first, rest)
    names = [cell or f"column_{k}" for k, cell in enumerate(cells, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{source}, line {line}: the header names {', '.join(map(repr, twice))} twice.\n"
            "  expected: a different name for each column"
        )
    return names, rest


def _chain(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


def _columns(
    names: list[str], rows: Iterable[Row], source: str
) -> tuple[list[int], list[list[str]]]:
    """Turn rows into columns of text, refusing rows of another length."""
    lines: list[int] = []
    kept: list[list[str]] = []
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(
                f"{source}, line {line}: the row cannot be read: it has {len(row)} cells.\n"
                f"  expected: {len(names)} cells ({', '.join(names)})\n"
                f"  given:    {', '.join(row)}"
            )
        lines.append(line)
        kept.append(row)
    if not lines:
        raise DataError(f"{source} has a header and no rows.")
    return lines, list(map(list, zip(*kept, strict=True)))


def _plain_numbers(texts: list[str]) -> Floats | None:
    """Convert a column of nothing but finite numbers, several times sooner than cell by cell."""
    try:
        values = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None
    return values if np.isfinite(values).all() and "_" not in "".join(texts) else None


def _number(cell: str) -> float | None:
    """Give the finite number that a cell means, or None."""
    try:
        value = float(cell)
    except ValueError:
        return None
    # Python reads 1_000 as a number; in a file it is a code or a mistake.
    return value if math.isfinite(value) and "_" not in cell else None


def _column(
    name: str,
    texts: list[str],
    lines: list[int],
    kind: Kind | None,
    missing: Collection[str],
    source: str,
) -> Column:
    """Find a column's type and convert its cells."""
    if kind in (None, "date"):
        dates = days_of(texts, missing)
        present = sum(cell not in missing for cell in texts)
        if dates is not None and not dates[1]:
            return Column(name, "date", dates[0])
        wrong = dates[1] if dates else [k for k, c in enumerate(texts) if c not in missing]
        if kind == "date" or (dates is not None and _are_mistakes(len(wrong), present)):
            raise DataError(_not_a_date(name, texts, lines, wrong, source))
    if kind != "category":
        plain = _plain_numbers(texts)
        if plain is not None:
            return Column(name, "number", plain)
        numbers = [math.nan if cell in missing else _number(cell) for cell in texts]
        wrong = [row for row, value in enumerate(numbers) if value is None]
        present = sum(cell not in missing for cell in texts)
        if not wrong and (present or kind == "number"):
            return Column(name, "number", np.array(numbers, dtype=np.float64))
        if wrong and (kind == "number" or _are_mistakes(len(wrong), present)):
            raise DataError(_not_a_number(name, texts, lines, wrong, source))
    categories = sorted({cell for cell in texts if cell not in missing})
    position = {category: code for code, category in enumerate(categories)}
    codes = np.array([position.get(cell, -1) for cell in texts], dtype=np.int64)
    return Column(name, "category", codes, tuple(categories))


def _are_mistakes(texts: int, present: int) -> bool:
    """Say whether so few texts among so many cells are mistakes in a column of numbers."""
    return texts <= (max(_FEW * present, 1) if present >= 10 else 0)


def _not_a_number(
    name: str, texts: list[str], lines: list[int], wrong: list[int], source: str
) -> str:
    row = wrong[0]
    more = f" (and {len(wrong) - 1} more such cells)" if len(wrong) > 1 else ""
    return (
        f"{source}, line {lines[row]}: column {name!r} holds numbers, and {texts[row]!r} "
        f"is not a finite one{more}.\n"
        f"  fix: correct the cell, or read it as missing, missing={{..., {texts[row]!r}}},\n"
        f'  or read the column as categories, kinds={{{name!r}: "category"}}'
    )


def _not_a_date(
    name: str, texts: list[str], lines: list[int], wrong: list[int], source: str
) -> str:
    row = wrong[0] if wrong else 0
    more = f" (and {len(wrong) - 1} more such cells)" if len(wrong) > 1 else ""
    return (
        f"{source}, line {lines[row]}: column {name!r} holds dates, and {texts[row]!r} "
        f"is none{more}.\n"
        "  expected: 2024-03-31, or 2024-03-31 18:30\n"
        f"  fix: correct the cell, or read it as missing, missing={{..., {texts[row]!r}}},\n"
        f'  or read the column as categories, kinds={{{name!r}: "category"}}'
    )
