"""Text: reading it, cutting it into characters or words, numbering them, windows to learn from."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import DataError, OptionError, ShapeError
from ..tensor import Tensor, from_numpy
from ._dataset import Dataset
from ._fetch import BatchReader

Numbers = npt.NDArray[np.int64]
Unit = Literal["character", "word"]

UNKNOWN = "<unknown>"
"""What stands for a character or word that the vocabulary does not have."""

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]|\n")
_CLOSING = frozenset(".,;:!?)]}%’”\n")
_OPENING = frozenset("([{“\n")

_NOT_THERE = (
    "the vocabulary does not have the {unit} {token!r}.\n"
    "  fix: make it of all the text, or with unknown=True"
)
_NO_NUMBER = "there is no {unit} number {number}.\n  expected: 0 to {last}"


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """Read a text file; line ends become "\\n" and a byte order mark is left out.

    Raises:
        DataError: bytes that are not in the encoding, with the line; an empty file.
        FileNotFoundError: when there is no such file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "poem.txt")
        >>> _ = path.write_bytes(b"one\\r\\ntwo")
        >>> read_text(path)
        'one\\ntwo'
    """
    path = Path(path)
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except LookupError:
        raise OptionError(f"there is no encoding {encoding!r}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path.name}, line {line}: byte {content[error.start]:#04x} is not {encoding} text.\n"
            '  fix: name the encoding of the file, for example encoding="latin-1"'
        ) from None
    if not text:
        raise DataError(f"{path.name} is empty.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def split_text(text: str, by: Unit = "character") -> list[str]:
    """Cut a text into characters, or into words, punctuation marks and line ends.

    Raises:
        OptionError: another unit.

    Example:
        >>> split_text("Don't stop!\\n", by="word")
        ["Don't", 'stop', '!', '\\n']
    """
    if by == "character":
        return list(text)
    if by == "word":
        return _WORD.findall(text)
    raise OptionError(f'by must be "character" or "word".\n  given: {by!r}')


class Vocabulary:
    """The characters or words of a text, each with a number; encodes texts and decodes numbers.

    Args:
        tokens: the characters or words, in the order of their numbers.
        by: what they are.

    Raises:
        DataError: no tokens, or one that comes twice.

    Example:
        >>> letters = Vocabulary.of("hello")
        >>> letters.tokens, letters.encode("hole").tolist()
        (('e', 'h', 'l', 'o'), [1, 3, 2, 0])
        >>> letters.decode([1, 0, 2, 2, 3])
        'hello'
    """

    def __init__(self, tokens: Sequence[str], by: Unit = "character") -> None:
        split_text("", by)  # the unit is checked there
        if not tokens:
            raise DataError("a vocabulary needs at least one character or word: the text is empty")
        self.tokens = tuple(tokens)
        self.by: Unit = by
        self._number = {token: number for number, token in enumerate(self.tokens)}
        if len(self._number) != len(self.tokens):
            twice = [token for token, count in Counter(tokens).items() if count > 1]
            raise DataError(f"the vocabulary has {twice[0]!r} twice")

    @classmethod
    def of(
        cls,
        text: str | Iterable[str],
        by: Unit = "character",
        *,
        least: int = 1,
        most: int | None = None,
        unknown: bool = False,
    ) -> Vocabulary:
        """Make the vocabulary of a text, or of several.

        Args:
            text: one text, or an iterable of texts (which is walked through once).
            by: "character" or "word".
            least: leave out what comes less often.
            most: keep that many at most, the most frequent ones.
            unknown: have a token, number 0, for what is left out or new. It is there whenever
                `least` or `most` leaves something out.

        Raises:
            DataError: a text without characters or words.
            OptionError: `least` or `most` below 1.
        """
        if least < 1 or (most is not None and most < 1):
            raise OptionError(f"least and most must be 1 or more.\n  given: {least} and {most}")
        counts: Counter[str] = Counter()
        for each in [text] if isinstance(text, str) else text:
            counts.update(split_text(each, by))
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        kept = sorted([token for token in ranked if counts[token] >= least][:most])
        if unknown or len(kept) < len(counts):
            kept = [UNKNOWN, *kept]
        return cls(kept, by)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._number

    def encode(self, text: str) -> Tensor:
        """Give a text's numbers: int64 (characters or words,).

        Raises:
            DataError: a character or word that is not in the vocabulary, unless it has a number for
                unknown ones.
        """
        other = self._number.get(UNKNOWN)
        number = self._number
        try:
            if other is None:
                found = [number[token] for token in split_text(text, self.by)]
            else:
                found = [number.get(token, other) for token in split_text(text, self.by)]
        except KeyError as error:
            token = error.args[0]
            raise DataError(_NOT_THERE.format(unit=self.by, token=token)) from None
        return from_numpy(np.array(found, np.int64))

    def encode_all(self, texts: Sequence[str], padding: int = 0) -> tuple[Tensor, Tensor]:
        """Encode several texts into one table, shorter ones filled up at their end.

        Args:
            texts: the texts.
            padding: the number that fills up.

        Returns:
            (numbers int64 (texts, longest), lengths int64 (texts,)).

        Example:
            >>> numbers, lengths = Vocabulary.of("ab").encode_all(["ab", "b"])
            >>> numbers.tolist(), lengths.tolist()
            ([[0, 1], [1, 0]], [2, 1])
        """
        rows = [self.encode(text).numpy() for text in texts]
        lengths = np.array([len(row) for row in rows], np.int64)
        table = np.full((len(rows), int(lengths.max(initial=0))), padding, np.int64)
        for place, row in zip(table, rows, strict=True):
            place[: len(row)] = row
        return from_numpy(table), from_numpy(lengths)

    def decode(self, numbers: Any) -> str:
        """Give the text of numbers (a tensor, an array or a list).

        Words are put together with spaces where text has them; the spaces of the text that was
        encoded are not kept.

        Raises:
            DataError: a number that the vocabulary does not have.
        """
        array = numbers.numpy() if isinstance(numbers, Tensor) else np.asarray(numbers)
        flat = array.ravel().tolist()
        last = len(self.tokens) - 1
        for number in flat:
            if number != int(number) or not 0 <= number <= last:
                text = _NO_NUMBER.format(unit=self.by, number=number, last=last)
                raise DataError(text)
        tokens = [self.tokens[int(number)] for number in flat]
        return "".join(tokens) if self.by == "character" else _joined(tokens)

    def to_plain(self) -> dict[str, Any]:
        """Give it as plain data that JSON can hold; `from_plain` reads it."""
        return {"by": self.by, "tokens": list(self.tokens)}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Vocabulary:
        """Rebuild a vocabulary from what `to_plain` gave."""
        return cls(plain["tokens"], plain["by"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON."""
        Path(path).write_text(json.dumps(self.to_plain(), ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Read what `save` wrote.

        Raises:
            DataError: another file.

        Example:
            >>> import tempfile
            >>> path = Path(tempfile.mkdtemp(), "letters.json")
            >>> Vocabulary.of("abc").save(path)
            >>> Vocabulary.load(path).tokens
            ('a', 'b', 'c')
        """
        try:
            plain = json.loads(Path(path).read_text(encoding="utf-8"))
            tokens = plain["tokens"]
            if not all(isinstance(token, str) for token in tokens):
                raise TypeError("its tokens are not all texts")
            return cls(tokens, plain["by"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, DataError | OptionError):
                raise
            raise DataError(f"{path} is not a vocabulary that was saved ({error!r}).") from None

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} {self.by}s)"


def _joined(tokens: list[str]) -> str:
    pieces: list[str] = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is not None and token not in _CLOSING and before not in _OPENING:
            pieces.append(" ")
        pieces.append(token)
    return "".join(pieces)


class TextWindows(Dataset):
    """Windows of a long sequence, each with the same window one place later: what comes next.

    Example i is (`numbers[s : s + length]`, `numbers[s + 1 : s + length + 1]`) with
    s = i * stride. Nothing is copied until it is fetched.

    Args:
        numbers: int64 (sequence,): a tensor or an array, such as `Vocabulary.encode` gives.
        length: of a window.
        stride: how far apart windows start; `length` for windows that do not overlap.

    Raises:
        ShapeError: numbers that are no single sequence.
        DataError: a sequence too short for one window.
        OptionError: a length or stride below 1.

    Example:
        >>> x, y = TextWindows(np.array([5, 6, 7, 8]), 2)[1]
        >>> x.tolist(), y.tolist()
        ([6, 7], [7, 8])
    """

    def __init__(self, numbers: Any, length: int, stride: int = 1) -> None:
        array = numbers.detach().numpy() if isinstance(numbers, Tensor) else np.asarray(numbers)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ShapeError(
                "TextWindows takes one sequence of whole numbers.\n"
                f"  given: {array.dtype}, shape {array.shape}\n"
                "  fix: Vocabulary.of(text).encode(text)"
            )
        if length < 1 or stride < 1:
            raise OptionError(
                f"length and stride must be 1 or more.\n  given: {length} and {stride}"
            )
        if len(array) < length + 1:
            raise DataError(
                f"the sequence is too short for one window of {length} and what comes next.\n"
                f"  given: {len(array)} numbers\n  expected: at least {length + 1}"
            )
        self.numbers: Numbers = array.astype(np.int64, copy=False)
        self.length = length
        self.stride = stride

    def __len__(self) -> int:
        return (len(self.numbers) - self.length - 1) // self.stride + 1

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Give a window and what comes after each of its places: int64 (length,) each."""
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"window {index} does not exist: there are {len(self)}")
        window = self.numbers[place * self.stride :][: self.length + 1]
        return from_numpy(window[:-1].copy()), from_numpy(window[1:].copy())

    def batch_reader(self) -> BatchReader:
        """Give the function that reads whole batches of windows."""
        windows = np.lib.stride_tricks.sliding_window_view(self.numbers, self.length + 1)
        windows = windows[:: self.stride]

        def read(indices: Numbers) -> tuple[Numbers, Numbers]:
            found = windows[indices]
            return np.ascontiguousarray(found[:, :-1]), np.ascontiguousarray(found[:, 1:])

        return read
