"""Tables larger than memory: a CSV or Parquet file as two streams of encoded batches."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, OptionError
from ..tensor import Tensor, from_numpy
from ._csv import MISSING
from ._dataset import IterableDataset
from ._disk import ArrayFiles
from ._encode import TableEncoder, Target, Task, _fit_target
from ._sources import CSVSource, ParquetSource, Source
from ._table import Kind, Table

Array = npt.NDArray[Any]
Pair = tuple[Array, Array]

_BAD_NUMBER = "stream_table: {name} must be {expected}.\n  given: {given!r}"
_NO_NUMBERS = (
    "{source} is a stream: its rows come in order and cannot be asked for by number.\n"
    "  fix: a Trainer and DataLoader(stream, batch_size) walk through it; to ask by number, write\n"
    "       its numbers to disk once: rows = stream.to_files(folder)"
)
_TOO_MANY = (
    "{source}: the target {name!r} has more than 1,000 different texts, which are too many classes."
)


def stream_table(
    path: str | os.PathLike[str],
    target: str,
    *,
    share: float = 0.2,
    seed: int = 0,
    task: Task | None = None,
    drop: Sequence[str] = (),
    sample: int = 10_000,
    rows: int = 4096,
    shuffle: int = 0,
    separator: str | None = None,
    header: bool | None = None,
    missing: Collection[str] = MISSING,
    kinds: Mapping[str, Kind] | None = None,
    encoding: str = "utf-8",
) -> tuple[TableStream, TableStream, TableEncoder]:
    """Split a file of any size into a training and a validation stream, at constant memory.

    The file is walked through once now: the kinds of the columns, means, spreads and categories are
    learned from a random sample of the training rows, the classes from every row. After that each
    epoch reads it anew, `rows` rows at a time.

    Args:
        path: a CSV file, or a Parquet file (ending in .parquet; extra `data`).
        target: the column to predict. Rows without it are left out.
        share: the part of the rows for validation, chosen by a hash of the row's number.
        seed: of the split, the sample and the shuffle.
        task: as `TableEncoder.fit`.
        drop: columns to leave out.
        sample: rows to learn the encoding from.
        rows: rows in memory at a time.
        shuffle: mix the rows in blocks of this many, differently in each epoch; 0 keeps the order.
        separator, header, missing, kinds, encoding: as `read_csv`; for CSV files.

    Returns:
        (training stream, validation stream, the encoder).

    Raises:
        DataError: as `read_csv` and `TableEncoder.fit`; while streaming, a cell that breaks the
            kind its column had in the sample, with its line.
        OptionError: a share, sample, rows or shuffle out of range.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "big.csv")
        >>> rows = (f"{k / 2},{'odd' if k % 2 else 'even'}\\n" for k in range(100))
        >>> _ = path.write_text("x,y\\n" + "".join(rows))
        >>> train, validation, encoder = stream_table(path, "y")
        >>> len(train) + len(validation), encoder.target.classes
        (100, ('even', 'odd'))
    """
    _check(share, sample, rows, shuffle)
    if target in drop:
        raise OptionError(f"stream_table: {target!r} is the target and among the columns to drop")
    path = Path(path)
    source: Source
    if path.suffix.lower() in (".parquet", ".pq"):
        with path.open("rb"):  # a file that is missing says so as files do
            pass
        source = ParquetSource(path, drop)
    else:
        source = CSVSource(path, separator, header, missing, dict(kinds or {}), encoding, drop)
    survey = source.survey(target, lambda a, n: ~_in_share(a, n, share, seed), sample, seed, rows)
    table = survey.sample
    whole = _whole_target(table, target, task, survey.targets)
    encoder = TableEncoder.fit(_spread_out(table, target, whole), target, task=whole.task)
    encoder.target = whole
    training = TableStream(source, encoder, survey.training, share, seed, True, rows, shuffle)
    validation = TableStream(source, encoder, survey.validation, share, seed, False, rows, 0)
    return training, validation, encoder


def _check(share: float, sample: int, rows: int, shuffle: int) -> None:
    for name, given, good, expected in (
        ("share", share, 0 < share < 1, "between 0 and 1, the ends excluded"),
        ("sample", sample, sample >= 10, "10 or more"),
        ("rows", rows, rows >= 1, "1 or more"),
        ("shuffle", shuffle, shuffle >= 0, "0 or more"),
    ):
        if not good:
            raise OptionError(_BAD_NUMBER.format(name=name, expected=expected, given=given))


def _in_share(start: int, count: int, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Say which of the rows from number `start` are for validation: splitmix64 of their number."""
    with np.errstate(over="ignore"):
        z = np.arange(start, start + count, dtype=np.uint64) + np.uint64(seed % 2**64)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return np.asarray((z >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share)


def _whole_target(table: Table, target: str, task: Task | None, distinct: Any) -> Target:
    """Learn the target: its classes from every row, a mean and spread from the sample."""
    if distinct is None:
        if table[target].kind == "category":
            raise DataError(_TOO_MANY.format(source=table.source, name=target))
        return _fit_target(table, target, task or "regression", None)
    every = Table(table.source, [distinct], np.ones(len(distinct.values), np.int64))
    found = _fit_target(every, target, task, None)
    return found if found.task == "classification" else _fit_target(table, target, found.task, None)


def _spread_out(table: Table, target: str, whole: Target) -> Table:
    """Give the sample; its target only serves to be left out, so one class in it is no mistake."""
    if whole.task == "regression":
        return table
    column = table[target]
    if column.distinct > 1:
        return table
    codes = np.arange(len(column.values)) % 2
    stand_in = replace(column, kind="category", values=codes, categories=("a", "b"))
    columns = [stand_in if each.name == target else each for each in table.columns]
    return Table(table.source, columns, table.lines)


class TableStream(IterableDataset):
    """The training or the validation rows of a file, encoded; made by `stream_table`.

    A `DataLoader` gives its batches; `len` is the number of rows. The rows come in the order of the
    file, or mixed in blocks, differently in each epoch.

    Example:
        >>> import tempfile
        >>> from chainrule.data import DataLoader
        >>> path = Path(tempfile.mkdtemp(), "big.csv")
        >>> _ = path.write_text("x,y\\n" + "".join(f"{k / 2},{k * k}\\n" for k in range(1000)))
        >>> train, validation, encoder = stream_table(path, "y")
        >>> x, y = next(iter(DataLoader(train, batch_size=64)))
        >>> tuple(x.shape), tuple(y.shape)
        ((64, 1), (64, 1))
    """

    def __init__(
        self,
        source: Source,
        encoder: TableEncoder,
        count: int,
        share: float,
        seed: int,
        training: bool,
        rows: int,
        shuffle: int,
    ) -> None:
        self.encoder = encoder
        self._source = source
        self._count, self._share, self._seed = count, share, seed
        self._training, self._rows, self._shuffle = training, rows, shuffle
        self._epoch = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        """A stream has no numbered examples.

        Raises:
            DataError: always, with what to do.
        """
        raise DataError(_NO_NUMBERS.format(source=self._source.name))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the examples one by one."""
        for x, y in self._blocks():
            for k in range(len(x)):
                yield from_numpy(x[k]), from_numpy(np.asarray(y[k]))

    def batches(self, size: int) -> Iterator[Pair]:
        """Yield (inputs, targets) arrays of `size` rows; the last ones may be fewer."""
        return _recut(self._blocks(), size)

    def to_files(self, folder: str | os.PathLike[str]) -> ArrayFiles:
        """Write the encoded rows into two .npy files, and give them as a data set.

        Reading numbers is some tens of times faster than reading text again in each epoch, and
        the result can be shuffled.

        Args:
            folder: gets `inputs.npy` and `targets.npy`; made when it is not there.

        Returns:
            The rows as `ArrayFiles`, which a `Trainer` and a `DataLoader` with shuffle take.

        Raises:
            DataError: the file has changed since it was first read.

        Example:
            >>> import tempfile
            >>> folder = Path(tempfile.mkdtemp())
            >>> _ = (folder / "t.csv").write_text("x,y\\n" + "1,2\\n3,4\\n" * 50)
            >>> train, _, _ = stream_table(folder / "t.csv", "y")
            >>> len(train.to_files(folder / "train")) == len(train)
            True
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / "inputs.npy", folder / "targets.npy"
        with paths[0].open("wb") as inputs, paths[1].open("wb") as targets:
            done = 0
            for pair in self._blocks():
                for stream, array in zip((inputs, targets), pair, strict=True):
                    if not done:
                        _write_header(stream, array, self._count)
                    stream.write(array.tobytes())
                done += len(pair[0])
        if done != self._count:
            raise DataError(
                f"{self._source.name} has changed: {done} rows, and {self._count} before."
            )
        return ArrayFiles(*paths)

    def _blocks(self) -> Iterator[Pair]:
        pairs = self._encoded()
        if not self._shuffle:
            return pairs
        self._epoch += 1
        # One stream of random numbers for each epoch.
        draw = np.random.Generator(np.random.Philox(key=[self._seed % 2**64, self._epoch]))
        return _mixed(_recut(pairs, self._shuffle), draw)

    def _encoded(self) -> Iterator[Pair]:
        start = 0
        for table in self._source.tables(self._rows):
            held_out = _in_share(start, len(table), self._share, self._seed)
            start += len(table)
            mine = ~held_out if self._training else held_out
            mine &= ~table[self.encoder.target.column].missing
            if mine.any():
                part = table.rows(mine)
                yield self.encoder.inputs(part), self.encoder.targets(part)


def _write_header(stream: Any, array: Array, count: int) -> None:
    description = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(stream, description | {"shape": (count, *array.shape[1:])})


def _mixed(pairs: Iterator[Pair], draw: np.random.Generator) -> Iterator[Pair]:
    for x, y in pairs:
        order = draw.permutation(len(x))
        yield x[order], y[order]


def _recut(pairs: Iterator[Pair], size: int) -> Iterator[Pair]:
    """Cut pieces of any length into pieces of `size` rows.

    >>> pieces = [(np.arange(3), np.arange(3)), (np.arange(4), np.arange(4))]
    >>> [x.tolist() for x, _ in _recut(iter(pieces), 2)]
    [[0, 1], [2, 0], [1, 2], [3]]
    """
    held: list[Pair] = []
    count = 0
    for pair in pairs:
        held.append(pair)
        count += len(pair[0])
        if count < size:
            continue
        x, y = (np.concatenate(parts) for parts in zip(*held, strict=True))
        whole = count - count % size
        for start in range(0, whole, size):
            yield x[start : start + size], y[start : start + size]
        held, count = [(x[whole:], y[whole:])], count - whole
    if count:
        x, y = (np.concatenate(parts) for parts in zip(*held, strict=True))
        yield x, y
