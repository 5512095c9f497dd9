"""A table as it was read: named columns of numbers or categories, and the line of each row."""

from __future__ import annotations

import difflib
import textwrap
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ._dates import date_text

Kind = Literal["number", "category", "date"]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_WIDTH = 40  # characters for the categories of a column when it is described


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table.

    Attributes:
        name: what the header calls it.
        kind: "number", "category" or "date".
        values: shape (rows,). Numbers: float64, NaN where missing. Dates: the same, days since
            1970-01-01. Categories: int64 positions in `categories`, -1 where missing.
        categories: the distinct texts of a category column, sorted; empty for numbers.

    Example:
        >>> import numpy as np
        >>> column = Column("size", "number", np.array([1.0, np.nan, 3.0]))
        >>> column.missing
        array([False,  True, False])
    """

    name: str
    kind: Kind
    values: Floats | Integers
    categories: tuple[str, ...] = ()

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Which rows have no value here: bool, shape (rows,)."""
        if self.kind == "category":
            return np.asarray(self.values < 0)
        return np.isnan(self.values)

    @property
    def distinct(self) -> int:
        """How many different values there are, missing ones aside."""
        return len(np.unique(self.values[~self.missing]))

    def rows(self, which: npt.NDArray[Any]) -> Column:
        """Give the column of the named rows (positions or a mask); categories stay as they are."""
        return Column(self.name, self.kind, self.values[which], self.categories)

    def describe(self) -> str:
        """Say in a few words what the column holds.

        Example:
            >>> import numpy as np
            >>> Column("pet", "category", np.array([0, 1, -1]), ("cat", "dog")).describe()
            'category  2 values: cat, dog  1 missing'
        """
        here = self.values[~self.missing]
        if self.kind == "number":
            span = f"{here.min():g} to {here.max():g}" if len(here) else "no values"
            text = f"number    {span}"
        elif self.kind == "date":
            ends = [date_text(here.min()), date_text(here.max())] if len(here) else ["no values"]
            text = f"date      {' to '.join(ends)}"
        else:
            shown = textwrap.shorten(", ".join(self.categories), _WIDTH, placeholder=" ...")
            text = f"category  {len(self.categories)} values: {shown}"
        count = int(self.missing.sum())
        return f"{text}  {count} missing" if count else text


class Table:
    """Named columns of equal length; what `read_csv` returns.

    Args:
        source: where it came from, for messages: a file's name.
        columns: the columns, all with the same number of rows.
        lines: int64, shape (rows,): the line of the source that each row starts on.

    Example:
        >>> import numpy as np
        >>> age = Column("age", "number", np.array([1.0, 4.0]))
        >>> table = Table("pets.csv", [age], np.array([2, 3]))
        >>> len(table), table.names, table["age"].values
        (2, ('age',), array([1., 4.]))
    """

    def __init__(self, source: str, columns: list[Column], lines: Integers) -> None:
        self.source = source
        self.columns = tuple(columns)
        self.lines = lines
        self._of_name = {column.name: column for column in columns}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(self._of_name)

    def __len__(self) -> int:
        return len(self.lines)

    def __contains__(self, name: str) -> bool:
        return name in self._of_name

    def __getitem__(self, name: str) -> Column:
        """Give the column of that name.

        Raises:
            DataError: when there is none; the text names the nearest ones.
        """
        column = self._of_name.get(name)
        if column is None:
            raise DataError(_no_column(self, name))
        return column

    def rows(self, which: npt.NDArray[Any]) -> Table:
        """Give the table of the named rows (positions or a mask)."""
        columns = [column.rows(which) for column in self.columns]
        return Table(self.source, columns, self.lines[which])

    def without(self, *names: str) -> Table:
        """Give the table without the named columns.

        Raises:
            DataError: when a name is no column.
        """
        for name in names:
            self[name]
        kept = [column for column in self.columns if column.name not in names]
        return Table(self.source, kept, self.lines)

    def __str__(self) -> str:
        width = max((len(name) for name in self.names), default=0)
        head = f"{self.source}: {len(self)} rows, {len(self.columns)} columns"
        return "\n".join([head, *(f"  {c.name:<{width}}  {c.describe()}" for c in self.columns)])


def _no_column(table: Table, name: str) -> str:
    folded = {each.casefold(): each for each in table.names}
    near = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(folded[each]) for each in near)}?\n  " if near else ""
    return f"{table.source} has no column {name!r}.\n  {hint}its columns: {', '.join(table.names)}"
