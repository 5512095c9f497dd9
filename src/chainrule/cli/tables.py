"""Which reader a table's file needs."""

from __future__ import annotations

from pathlib import Path

from ..data import Table, read_csv, read_parquet

PARQUET = (".parquet", ".pq")


def read_table(path: Path) -> Table:
    """Read a CSV or Parquet file.

    Raises:
        DataError: the file cannot be read as a table.
        FileNotFoundError: there is no such file.
        MissingExtraError: a Parquet file without the library that reads it.
    """
    if path.suffix.lower() in PARQUET:
        return read_parquet(path)
    return read_csv(path)
