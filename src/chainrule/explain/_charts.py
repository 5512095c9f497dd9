"""Small charts as drawings: curves, bars, a matrix of counts, tiles of pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ._drawing import Array, Box, Dot, Drawing, Line, Picture, Text, bounds, shorten, text_width
from ._numbers import show

SMALL = 11.5
CURVE_POINTS = 400


@dataclass(frozen=True)
class Series:
    """One curve: its name and its points; `dashed` for a second kind of line."""

    name: str
    x: Sequence[float] | Array
    y: Sequence[float] | Array
    dashed: bool = False


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers that cover [low, high]: steps of 1, 2 or 5 times a power of ten.

    Example:
        >>> nice_ticks(0.0, 0.93)
        [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    span = high - low
    if not (span > 0 and math.isfinite(span)):
        return [low]
    rough = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


# --- curves ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Frame:
    """Where the data's numbers lie on the sheet."""

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + self.width * (value - low) / ((high - low) or 1.0)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.top + self.height * (1 - (value - low) / ((high - low) or 1.0))


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    width: float = 520,
    height: float = 280,
    zero: bool = False,
    description: str = "",
    mark_best: str = "",
) -> Drawing:
    """Draw curves with a legend and labelled axes.

    Args:
        series: The curves; values that are not finite break the line.
        title: What the chart shows, also read out by screen readers.
        x_label: Text under the horizontal axis.
        y_label: Text above the vertical axis.
        width: Pixels.
        height: Pixels.
        zero: Let the vertical axis start at zero.
        description: A sentence for those who cannot see the picture.
        mark_best: "min" or "max" marks that point of the last curve.
    """
    drawing = Drawing(width, height, title, description)
    frame = _frame(series, width, height, zero)
    _axes(drawing, frame, x_label, y_label)
    for index, one in enumerate(series):
        colour = f"series-{index % 6 + 1}"
        for run in _finite_runs(*thinned(one.x, one.y)):
            points = tuple((frame.x(x), frame.y(y)) for x, y in run)
            if len(points) == 1:
                drawing.add(Dot(*points[0], 3, colour))
            else:
                drawing.add(Line(points, colour, 2.0, dashed=one.dashed))
    if mark_best and series:
        _mark_best(drawing, frame, series[-1], mark_best, f"series-{(len(series) - 1) % 6 + 1}")
    _legend(drawing, series, frame.left, 14, width)
    return drawing


def _frame(series: Sequence[Series], width: float, height: float, zero: bool) -> _Frame:
    x_range = bounds(x for one in series for x in one.x)
    low, high = bounds(y for one in series for y in one.y)
    low = min(low, 0.0) if zero else low
    pad = 0.05 * (high - low) or 0.5
    y_range = (low if zero and low == 0 else low - pad, high + pad)
    return _Frame(52, 48, width - 52 - 16, height - 48 - 42, x_range, y_range)


def _axes(drawing: Drawing, frame: _Frame, x_label: str, y_label: str) -> None:
    bottom, right = frame.top + frame.height, frame.left + frame.width
    for tick in nice_ticks(*frame.y_range):
        y = frame.y(tick)
        drawing.add(Line(((frame.left, y), (right, y)), "grid", 1))
        drawing.add(Text(frame.left - 8, y + 4, show(tick, 4), "muted", "end", SMALL))
    for tick in nice_ticks(*frame.x_range, count=max(3, int(frame.width / 80))):
        x = frame.x(tick)
        drawing.add(Line(((x, bottom), (x, bottom + 4)), "line", 1))
        drawing.add(Text(x, bottom + 18, show(tick, 5), "muted", "middle", SMALL))
    drawing.add(Line(((frame.left, bottom), (right, bottom)), "line", 1))
    drawing.add(Text(frame.left + frame.width / 2, bottom + 36, x_label, "muted", "middle", SMALL))
    drawing.add(Text(4, frame.top - 12, y_label, "muted", "start", SMALL))


def _legend(
    drawing: Drawing, series: Sequence[Series], left: float, y: float, width: float
) -> None:
    x = 4.0
    for index, one in enumerate(series):
        drawing.add(
            Line(((x, y - 4), (x + 18, y - 4)), f"series-{index % 6 + 1}", 2.5, dashed=one.dashed)
        )
        drawing.add(Text(x + 24, y, one.name, "ink", size=12.5))
        x += 24 + text_width(one.name, 12.5) + 18


def _mark_best(drawing: Drawing, frame: _Frame, one: Series, which: str, colour: str) -> None:
    values = np.asarray(one.y, float)
    if not np.isfinite(values).any():
        return
    index = int(np.nanargmin(values) if which == "min" else np.nanargmax(values))
    x, y = frame.x(float(one.x[index])), frame.y(float(values[index]))
    anchor = "end" if x > frame.left + 0.7 * frame.width else "start"
    word = "lowest" if which == "min" else "highest"
    label = f"{word} {show(values[index], 4)}"
    drawing.add(Dot(x, y, 4.5, colour))
    below = y + 22 < frame.top + frame.height
    drawing.add(Text(x, y + (18 if below else -10), label, colour, anchor, SMALL, True))


def thinned(x: Sequence[float] | Array, y: Sequence[float] | Array) -> tuple[Array, Array]:
    """Thin a long curve, keeping the least and the greatest of each piece, so that peaks stay."""
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    if len(xs) <= CURVE_POINTS:
        return xs, ys
    keep: set[int] = {0, len(xs) - 1}
    for piece in np.array_split(np.arange(len(xs)), CURVE_POINTS // 2):
        values = np.nan_to_num(ys[piece], nan=0.0, posinf=0.0, neginf=0.0)
        keep |= {int(piece[values.argmin()]), int(piece[values.argmax()])}
        keep |= {int(i) for i in piece[~np.isfinite(ys[piece])][:1]}
    indices = np.array(sorted(keep))
    return xs[indices], ys[indices]


def _finite_runs(x: Array, y: Array) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for a, b in zip(x, y, strict=True):
        if np.isfinite(a) and np.isfinite(b):
            runs[-1].append((float(a), float(b)))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


# --- bars ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """One bar: label, length, the text at its end."""

    label: str
    value: float
    note: str = ""


def bar_chart(
    bars: Sequence[Bar],
    *,
    title: str,
    width: float = 520,
    colour: str = "forward",
    description: str = "",
    heading: str = "",
) -> Drawing:
    """Draw horizontal bars from a common zero; negative ones run left in the other colour."""
    label_width = min(0.4 * width, max((text_width(b.label, 12.5) for b in bars), default=0) + 12)
    note_width = max((text_width(b.note, 12) for b in bars), default=0) + 12
    values = [b.value if math.isfinite(b.value) else 0.0 for b in bars]
    low, high = min([0.0, *values]), max([0.0, *values])
    room = max(width - label_width - note_width, 40)
    scale = room / ((high - low) or 1.0)
    zero = label_width - low * scale
    top = 24.0 if heading else 4.0
    drawing = Drawing(width, top + 28 * len(bars) + 6, title, description)
    if heading:
        drawing.add(Text(0, 14, heading, "muted", size=12))
    other = "backward" if colour == "forward" else "forward"
    for index, (bar, value) in enumerate(zip(bars, values, strict=True)):
        y = top + 28 * index
        start, length = (
            (zero, value * scale) if value >= 0 else (zero + value * scale, -value * scale)
        )
        drawing.add(Text(0, y + 17, shorten(bar.label, label_width - 8, 12.5), "ink", size=12.5))
        drawing.add(
            Box(
                start,
                y + 4,
                max(length, 1.0),
                18,
                colour if value >= 0 else other,
                radius=2,
                tip=f"{bar.label}: {bar.note or show(value)}",
            )
        )
        drawing.add(Text(zero + max(value, 0) * scale + 8, y + 17, bar.note, "muted", size=12))
    if low < 0:
        drawing.add(Line(((zero, top), (zero, top + 28 * len(bars))), "line", 1))
    return drawing


# --- matrix of counts ------------------------------------------------------------------------


def matrix_chart(
    counts: Array,
    names: Sequence[str],
    *,
    title: str,
    cell: float = 34.0,
    description: str = "",
    rows: str = "true class",
    columns: str = "predicted class",
) -> Drawing:
    """Draw a confusion matrix: right answers in blue, wrong ones in orange, counts in each cell."""
    size = len(names)
    label = max((text_width(name, 12) for name in names), default=0.0) + 10
    left, top = 22 + label, 40.0
    slanted = label > cell + 6
    if slanted:
        top += label - 16
    drawing = Drawing(left + size * cell + 6, top + size * cell + 8, title, description)
    drawing.add(Text(left + size * cell / 2, 14, columns, "muted", "middle", 12))
    drawing.add(Text(14, top + size * cell / 2, rows, "muted", "middle", 12, turned=True))
    totals = np.maximum(counts.sum(1), 1)
    off = counts - np.diag(np.diag(counts))
    worst = max(int(off.max(initial=0)), 3)
    for i, name in enumerate(names):
        middle = top + i * cell + cell / 2 + 4
        drawing.add(Text(left - 8, middle, name, "ink", "end", 12))
        x = left + i * cell + cell / 2
        if slanted:
            drawing.add(Text(x + 4, top - 8, name, "ink", "start", 12, turned=True))
        else:
            drawing.add(Text(x, top - 8, name, "ink", "middle", 12))
        for j in range(size):
            strength = counts[i, i] / totals[i] if i == j else off[i, j] / worst
            _matrix_cell(
                drawing,
                left + j * cell,
                top + i * cell,
                cell,
                int(counts[i, j]),
                i == j,
                float(strength),
                f"{name} taken for {names[j]}: {counts[i, j]}",
            )
    return drawing


def _matrix_cell(
    drawing: Drawing,
    x: float,
    y: float,
    cell: float,
    count: int,
    right: bool,
    strength: float,
    tip: str,
) -> None:
    drawing.add(Box(x + 1, y + 1, cell - 2, cell - 2, "panel", radius=3, tip=tip))
    if not count:
        return
    role = "forward" if right else "backward"
    opacity = 0.12 + 0.3 * strength if right else 0.15 + 0.35 * strength
    drawing.add(Box(x + 1, y + 1, cell - 2, cell - 2, role, radius=3, opacity=opacity, tip=tip))
    size = 12.5 if count < 1000 else 10.0
    drawing.add(Text(x + cell / 2, y + cell / 2 + 4, str(count), "ink", "middle", size, not right))


# --- tiles of pictures -----------------------------------------------------------------------


def tiles(
    pictures: Sequence[Array],
    captions: Sequence[Sequence[str]],
    *,
    title: str,
    width: float = 720,
    tile: float = 84.0,
    signed: bool = False,
    description: str = "",
) -> Drawing:
    """Draw pictures in rows, each with its lines of caption beneath; the first line is bold."""
    lines = max((len(c) for c in captions), default=0)
    step_x = max([tile + 16, *(text_width(t, 12) + 14 for c in captions for t in c)])
    step_y = tile + 16 * lines + 18
    per_row = max(1, int((width + 16) // step_x))
    rows = math.ceil(len(pictures) / per_row) or 1
    drawing = Drawing(width, rows * step_y, title, description)
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = (index % per_row) * step_x, (index // per_row) * step_y
        drawing.add(Box(x, y, tile, tile, "panel", "line", 4))
        drawing.add(
            Picture(x + 3, y + 3, tile - 6, tile - 6, picture, signed, tip=", ".join(caption))
        )
        for row, text in enumerate(caption):
            colour = "ink" if row == 0 else "muted"
            drawing.add(Text(x, y + tile + 16 * (row + 1), text, colour, size=12, bold=row == 0))
    return drawing


def beside(
    drawings: Sequence[Drawing], title: str, width: float = 1080, gap: float = 28
) -> Drawing:
    """Put drawings side by side, in as many rows as the width asks for."""
    sheet = Drawing(0, 0, title, " ".join(d.description for d in drawings if d.description))
    x = y = row_height = 0.0
    for drawing in drawings:
        if x and x + drawing.width > width:
            x, y, row_height = 0.0, y + row_height + gap, 0.0
        sheet.place(drawing, x, y)
        x += drawing.width + gap
        row_height = max(row_height, drawing.height)
        sheet.width = max(sheet.width, x - gap)
    sheet.height = y + row_height
    return sheet


def table_text(rows: Sequence[Sequence[str]], right: Mapping[int, bool] | None = None) -> list[str]:
    """Set rows of text in columns; columns named in `right` are set to the right.

    Example:
        >>> table_text([["layer", "n"], ["0", "100"]], {1: True})
        ['layer    n', '0      100']
    """
    if not rows:
        return []
    right = right or {}
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            c.rjust(w) if right.get(i) else c.ljust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
