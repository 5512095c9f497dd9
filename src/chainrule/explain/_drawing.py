"""A picture as plain data: a list of marks. `_svg` and `_matplotlib` draw it, nothing here does.

Coordinates are pixels from the top left corner, y downwards. Colours are roles ("ink", "forward",
"backward" ...), never values: the theme decides what they look like on light and dark paper.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle filled with the colour of a role."""

    x: float
    y: float
    width: float
    height: float
    fill: str = "panel"
    stroke: str | None = None
    radius: float = 0.0
    opacity: float = 1.0
    tip: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Text:
    """One line of text; `y` is its baseline."""

    x: float
    y: float
    text: str
    colour: str = "ink"
    anchor: str = "start"
    size: float = 13.0
    bold: bool = False
    turned: bool = False


@dataclass(frozen=True)
class Line:
    """A line through points, straight or smooth, with or without an arrow head."""

    points: tuple[Point, ...]
    colour: str = "line"
    width: float = 1.5
    arrow: bool = False
    smooth: bool = False
    dashed: bool = False
    vertical: bool = False
    opacity: float = 1.0


@dataclass(frozen=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    radius: float = 3.0
    fill: str = "forward"
    tip: str = ""


@dataclass(frozen=True)
class Picture:
    """Numbers as pixels, shape (rows, columns); or colours, uint8 (rows, columns, 4), as they are.

    `signed` numbers take the colours "plus" and "minus", paler towards zero, where the paper shows
    through; others are ink from 0 (paper) to `limit` (full ink).
    """

    x: float
    y: float
    width: float
    height: float
    pixels: Array
    signed: bool = False
    limit: float | None = None
    tip: str = ""


@dataclass(frozen=True)
class Group:
    """Marks that belong together, with a key and a title a screen reader or a pointer finds."""

    marks: tuple[Mark, ...]
    key: str = ""
    kind: str = ""
    title: str = ""
    interactive: bool = False


Mark: TypeAlias = Box | Text | Line | Dot | Picture | Group


@dataclass
class Drawing:
    """Marks on a sheet of `width` × `height` pixels, with the words that say what they show."""

    width: float
    height: float
    title: str = ""
    description: str = ""
    marks: list[Mark] = field(default_factory=list)

    def add(self, *marks: Mark) -> None:
        """Put marks on the sheet, above those already there."""
        self.marks.extend(marks)

    def place(self, other: Drawing, x: float, y: float) -> None:
        """Put another drawing's marks here, its top left corner at (x, y)."""
        self.marks.extend(moved(mark, x, y) for mark in other.marks)


def moved(mark: Mark, dx: float, dy: float) -> Mark:
    """Return a mark shifted by (dx, dy)."""
    if isinstance(mark, Group):
        return replace(mark, marks=tuple(moved(inner, dx, dy) for inner in mark.marks))
    if isinstance(mark, Line):
        return replace(mark, points=tuple((x + dx, y + dy) for x, y in mark.points))
    return replace(mark, x=mark.x + dx, y=mark.y + dy)


def text_width(text: str, size: float = 13.0, bold: bool = False) -> float:
    """Estimate the width of a text in pixels, on the safe side, without measuring a font."""
    narrow = sum(character in "il.,:;|'!·ftj()[] " for character in text)
    wide = sum(character in "mwMW%∂Σ→" for character in text)
    units = 0.635 * (len(text) - narrow - wide) + 0.36 * narrow + 0.92 * wide
    return size * units * (1.1 if bold else 1.0)


def shorten(text: str, width: float, size: float = 13.0) -> str:
    """Cut a text that is wider than `width`, with an ellipsis.

    Example:
        >>> shorten("encoder.layers.11.attention", 80)
        'encoder.l…'
    """
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def bounds(values: Iterable[float]) -> tuple[float, float]:
    """Return the least and the greatest finite value; (0, 1) where there is none."""
    finite = [float(v) for v in values if np.isfinite(v)]
    return (min(finite), max(finite)) if finite else (0.0, 1.0)
