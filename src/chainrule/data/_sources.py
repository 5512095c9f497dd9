"""Tables read from files a piece at a time: CSV by its lines, Parquet by its rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import DataError, require
from . import _csv
from ._frames import from_frame, parquet_frames
from ._table import Column, Kind, Table

LONGEST_LINE = 1 << 20
"""Characters. A longer line is taken for a mistake, such as a file without line ends."""
MOST_DISTINCT = 1000
"""So many different values of the target are remembered."""

Chosen = Callable[[int, int], npt.NDArray[np.bool_]]
"""From a first row's number and a count to which of those rows are for training."""


@dataclass
class Survey:
    """What one walk through a file found.

    Attributes:
        sample: some training rows, drawn at random from all of them.
        targets: the different values of the target; None when there are more than are remembered.
        training: rows for training that have a target.
        validation: the other rows that have one.
    """

    sample: Table
    targets: Column | None
    training: int
    validation: int


class Source(Protocol):
    """A file that gives tables."""

    @property
    def name(self) -> str:
        """The file's name, for messages."""

    def survey(self, target: str, chosen: Chosen, sample: int, seed: int, rows: int) -> Survey:
        """Walk through the file once, `rows` rows at a time."""

    def tables(self, rows: int) -> Iterator[Table]:
        """Yield the file as tables of `rows` rows."""


@dataclass
class CSVSource:
    """A CSV file; arguments as `read_csv`. The kinds of the columns are those of the sample."""

    path: Path
    separator: str | None = None
    header: bool | None = None
    missing: Collection[str] = _csv.MISSING
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    encoding: str = "utf-8"
    drop: Collection[str] = ()

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    def survey(self, target: str, chosen: Chosen, sample: int, seed: int, rows: int) -> Survey:
        """Walk through the file once; keep a sample by Vitter's algorithm R."""
        every = self._names()
        for name in (*self.drop, target):
            self._check_name(every, name)
        names = [name for name in every if name not in self.drop]
        at = names.index(target)
        draw = np.random.Generator(np.random.Philox(seed))
        kept: list[_csv.Row] = []
        targets: set[str] | None = set()
        seen = {True: 0, False: 0}
        start = 0
        for piece in self._pieces(every, rows):
            training = chosen(start, len(piece))
            start += len(piece)
            present = [row[1][at] not in self.missing for row in piece]
            if targets is not None:
                found = (row[1][at] for row, here in zip(piece, present, strict=True) if here)
                targets.update(found)
                targets = targets if len(targets) <= MOST_DISTINCT else None
            places = draw.random(len(piece))
            for row, train, here, place in zip(
                piece, training.tolist(), present, places.tolist(), strict=True
            ):
                if not here:
                    continue
                seen[train] += 1
                if train:
                    where = len(kept) if len(kept) < sample else int(place * seen[True])
                    kept[where : where + 1] = [row] if where < sample else kept[where : where + 1]
        if not kept:
            raise DataError(f"{self.name}: no training row has a value of {target!r}.")
        table = self._table(names, sorted(kept, key=lambda row: row[0]), self.kinds)
        self.kinds = {column.name: column.kind for column in table.columns}
        column = None
        if targets is not None:
            lines = [int(table.lines[0])] * len(targets)
            column = self._column(target, sorted(targets), lines)
        return Survey(table, column, seen[True], seen[False])

    def tables(self, rows: int) -> Iterator[Table]:
        """Yield the file as tables of `rows` rows."""
        every = self._names()
        names = [name for name in every if name not in self.drop]
        for piece in self._pieces(every, rows):
            yield self._table(names, piece, self.kinds)

    def _names(self) -> list[str]:
        if self.separator is None:
            with self._open() as stream:
                start = "".join(_bounded(stream, self.name, 20))
            self.separator = _csv._find_separator(start)
        names, rows = self._start()
        rows.close()
        return names

    def _open(self) -> IO[str]:
        known = self.encoding.lower() in ("utf-8", "utf8")
        return self.path.open(encoding="utf-8-sig" if known else self.encoding, newline="")

    def _rows(self) -> Iterator[_csv.Row]:
        with self._open() as stream:
            assert self.separator is not None
            lines = _bounded(stream, self.name, None)
            yield from _csv._records(lines, self.separator, self.name)

    def _start(self) -> tuple[list[str], Any]:
        """Give the names of the columns and the rows after them."""
        rows = self._rows()
        first = next(rows, None)
        if first is None:
            raise DataError(f"{self.name} is empty.\n  expected: a line of column names, then rows")
        names, rest = _csv._header(first, rows, self.header, self.missing, self.name)
        return names, rest

    def _pieces(self, names: list[str], rows: int) -> Iterator[list[_csv.Row]]:
        rest = self._start()[1]
        kept = [k for k, name in enumerate(names) if name not in self.drop]
        while piece := list(itertools.islice(rest, rows)):
            for line, cells in piece:
                if len(cells) != len(names):
                    _csv._columns(names, [(line, cells)], self.name)  # it says what is wrong
            if self.drop:
                piece = [(line, [cells[k] for k in kept]) for line, cells in piece]
            yield piece

    def _table(self, names: list[str], rows: list[_csv.Row], kinds: Mapping[str, Kind]) -> Table:
        lines, cells = _csv._columns(names, rows, self.name)
        columns = [
            _csv._column(name, texts, lines, kinds.get(name), self.missing, self.name)
            for name, texts in zip(names, cells, strict=True)
        ]
        return Table(self.name, columns, np.array(lines, np.int64))

    def _column(self, name: str, texts: list[str], lines: list[int]) -> Column:
        kind = self.kinds.get(name)
        return _csv._column(name, texts, lines, kind, self.missing, self.name)

    def _check_name(self, names: list[str], target: str) -> None:
        if target not in names:
            Table(self.name, [Column(n, "number", np.empty(0)) for n in names], np.empty(0, int))[
                target
            ]


def _bounded(stream: IO[str], source: str, most: int | None) -> Iterator[str]:
    """Yield lines, none of them too long to be one; say where bytes are no text."""
    number = 0
    while most is None or number < most:
        try:
            line = stream.readline(LONGEST_LINE)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{source}, after line {number}: byte {error.object[error.start]:#04x} is not "
                f"{error.encoding} text.\n"
                '  fix: name the encoding of the file, for example encoding="latin-1"'
            ) from None
        if not line:
            return
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith(("\n", "\r")):
            raise DataError(f"{source}, line {number}: more than {LONGEST_LINE:,} characters.")
        if "\0" in line:
            raise DataError(f"{source}, line {number}: a zero byte; this is not a text file.")
        yield line


@dataclass
class ParquetSource:
    """A Parquet file, read through polars."""

    path: Path
    drop: Collection[str] = ()

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    def survey(self, target: str, chosen: Chosen, sample: int, seed: int, rows: int) -> Survey:
        """Walk through the file once; the rows of the sample are drawn piece by piece."""
        polars = require("polars", "data", "reading Parquet files")
        draw = np.random.Generator(np.random.Philox(seed))
        kept: list[Any] = []
        keys = np.empty(0)
        distinct: Column | None = None
        overflow = False
        counts = {True: 0, False: 0}
        start = 0
        for frame in parquet_frames(self.path, rows, self.drop):
            column = from_frame(frame, self.name)[target]
            training = chosen(start, len(frame))
            start += len(frame)
            present = ~column.missing
            counts[True] += int((present & training).sum())
            counts[False] += int((present & ~training).sum())
            if not overflow:
                distinct = _joined(distinct, column.rows(present))
                overflow = len(distinct.values) > MOST_DISTINCT
            # The rows of the smallest keys of all are a random sample of all.
            drawn = np.flatnonzero(present & training)
            keys = np.concatenate([keys, draw.random(len(drawn))])
            kept.append(frame[drawn.tolist()])
            if len(keys) > 2 * sample:
                keys, kept = _smallest(polars, keys, kept, sample)
        keys, kept = _smallest(polars, keys, kept, sample)
        if not len(keys):
            raise DataError(f"{self.name}: no training row has a value of {target!r}.")
        table = from_frame(kept[0], self.name)
        return Survey(table, None if overflow else distinct, counts[True], counts[False])

    def tables(self, rows: int) -> Iterator[Table]:
        """Yield the file as tables of `rows` rows."""
        start = 1
        for frame in parquet_frames(self.path, rows, self.drop):
            table = from_frame(frame, self.name)
            yield Table(self.name, list(table.columns), np.arange(start, start + len(table)))
            start += len(table)


def _smallest(polars: Any, keys: Any, kept: list[Any], sample: int) -> tuple[Any, list[Any]]:
    if not kept:
        return keys, kept
    rows = np.sort(np.argsort(keys, kind="stable")[:sample])
    return keys[rows], [polars.concat(kept)[rows.tolist()]]


def _joined(first: Column | None, second: Column) -> Column:
    """Give the different values of two columns of one kind."""
    if first is None:
        values = np.unique(second.values, return_index=True)[1]
        return second.rows(values)
    if second.kind != "category":
        values = np.unique(np.concatenate([first.values, second.values]))
        return Column(first.name, first.kind, values)
    used = {second.categories[int(code)] for code in np.unique(second.values)}
    texts = tuple(sorted({*first.categories, *used}))
    return Column(first.name, "category", np.arange(len(texts)), texts)
