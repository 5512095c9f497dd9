"""Free text in a table: how often the training rows' common words occur in a cell."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ._table import Column

Float32s = npt.NDArray[np.float32]

MOST_WORDS = 100
"""So many words of one column are counted at most."""
_LEAST_WORDS = 5  # fewer common words do not make a text
_LEAST_PER_CELL = 3.0
_LEAST_SHARE = 0.01  # of the rows that a word occurs in
_MOST_SHARE = 0.95  # what is nearly everywhere tells nothing
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def words_of(text: str) -> list[str]:
    """Give the words of a text in lower case, without numbers and punctuation.

    >>> words_of("It's 3 o'clock, Anna!")
    ["it's", "o'clock", 'anna']
    """
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class TextFeature:
    """Which words of one column are counted; each is a feature, log(1 + count).

    Example:
        >>> notes = Column("notes", "category", np.array([1, 0, -1]), ("good", "not so good"))
        >>> TextFeature("notes", ("good", "not")).encode(notes).round(2)
        array([[0.69, 0.69],
               [0.69, 0.  ],
               [0.  , 0.  ]], dtype=float32)
    """

    column: str
    words: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Give the names of the features this column makes."""
        return [f"{self.column}: {word}" for word in self.words]

    @property
    def said(self) -> str:
        """Say how the column is used."""
        shown = ", ".join(self.words[:3])
        return f"free text: {len(self.words)} words counted ({shown}, ...)"

    def encode(self, column: Column) -> Float32s:
        """Encode a column: shape (rows, words)."""
        place = {word: k for k, word in enumerate(self.words)}
        # The last row serves the code -1: a missing cell.
        counts = np.zeros((len(column.categories) + 1, len(place)), np.float32)
        for row, text in enumerate(column.categories):
            for word in words_of(text):
                if word in place:
                    counts[row, place[word]] += 1
        return np.log1p(counts)[column.values.astype(np.int64)]


def fit_text(column: Column) -> TextFeature | None:
    """Choose the words to count in the training rows, or give None where it is no free text.

    Free text has three words or more in a usual cell, and at least five words that come again in a
    hundredth of the rows: names and addresses have not.
    """
    codes = column.values[~column.missing].astype(np.int64)
    rows_of_text = np.bincount(codes, minlength=len(column.categories))
    rows: Counter[str] = Counter()
    total = 0
    for text, count in zip(column.categories, rows_of_text.tolist(), strict=True):
        if count:
            words = words_of(text)
            total += len(words) * count
            for word in set(words):
                rows[word] += count
    if not len(codes) or total / len(codes) < _LEAST_PER_CELL:
        return None
    least, most = max(2.0, _LEAST_SHARE * len(codes)), _MOST_SHARE * len(codes)
    common = [word for word, count in rows.items() if least <= count <= most]
    if len(common) < _LEAST_WORDS:
        return None
    common.sort(key=lambda word: (-rows[word], word))
    return TextFeature(column.name, tuple(common[:MOST_WORDS]))
