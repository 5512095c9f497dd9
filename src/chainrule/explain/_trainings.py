"""`explain.trainings`: a map of many trainings, each pixel one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OptionError
from ._charts import SMALL, nice_ticks, table_text
from ._drawing import Array, Box, Dot, Drawing, Line, Picture, Text, text_width
from ._numbers import percent, show
from ._view import View

SIDE = 512.0  # pixels of the map, about; each training is a whole number of them where it can be
LOGARITHMIC_FROM = (
    30.0  # ratio of the largest to the smallest number from which on powers are shown
)
CELLS = 8  # rows and columns of the text
# From the smallest number to the largest, in steps of even lightness.
SCALE = ("#10194a", "#17458f", "#1a7fa6", "#45b39c", "#a5d88c", "#f7f4b8")
DIVERGED = "#c2455a"
TWO_NAMES = (
    "a map of trainings needs two settings in which they differ.\n"
    "  given: x={x!r}, y={y!r}; these trainings differ in {known}\n"
    '  fix: fit_many(..., lr=[...], momentum=[...], grid=True); explain.trainings(runs, "lr", '
    '"momentum")'
)


@dataclass(frozen=True)
class _Axis:
    """One side of the map: its name, its values in order, whether they lie by powers."""

    name: str
    values: Array
    logarithmic: bool

    @staticmethod
    def of(name: str, column: Array) -> _Axis:
        values = np.unique(column)
        numbers = values.dtype.kind in "iuf" and len(values) > 2 and bool((values > 0).all())
        logarithmic = False
        if numbers:
            steps, powers = np.diff(values.astype(float)), np.diff(np.log(values.astype(float)))
            logarithmic = np.ptp(powers) / powers.mean() < np.ptp(steps) / steps.mean()
        return _Axis(name, values, bool(logarithmic))

    def ticks(self) -> list[tuple[float, str]]:
        """Where on the side, from 0 to 1, stands which text."""
        count = len(self.values)
        if self.values.dtype.kind not in "iuf" or count < 6:
            return [((k + 0.5) / count, str(value)) for k, value in enumerate(self.values.tolist())]
        values = self.values.astype(float)
        low, high = float(values[0]), float(values[-1])
        if self.logarithmic:
            places = np.log10(values)
            powers = range(math.ceil(places[0] - 1e-9), math.floor(places[-1] + 1e-9) + 1)
            wanted = [(float(power), show(10.0**power, 3)) for power in powers]
            if len(wanted) < 2:
                wanted = [(places[0], show(low, 3)), (places[-1], show(high, 3))]
        else:
            places = values
            wanted = [(tick, show(tick, 4)) for tick in nice_ticks(low, high)]
        return [
            ((float(np.interp(at, places, np.arange(count))) + 0.5) / count, text)
            for at, text in wanted
        ]


def trainings(
    runs: Any,
    x: str | None = None,
    y: str | None = None,
    value: str = "loss",
    *,
    largest: bool | None = None,
) -> View:
    """Show a number of many trainings over two of their settings: a map, a pixel a training.

    Where several trainings have the same two settings (other seeds), the pixel is their median.

    Args:
        runs: what ``Trainer.fit_many`` returned.
        x, y: two settings in which the trainings differ; None takes the first two.
        value: a number of the history, taken at the last epoch.
        largest: whether more is better; None as in ``Runs.best``.

    Returns:
        A view; `.data` has "x" and "y" (their values), "map" (numbers by row y and column x, NaN
        where all diverged), "diverged" (the part of the trainings that did, in the same places) and
        "best".

    Raises:
        OptionError: the trainings do not differ in two settings of these names, or the number was
            not measured, or all diverged.

    Example:
        >>> from chainrule.train import Runs
        >>> grid = {"lr": np.array([0.1, 0.1, 1.0, 1.0]), "momentum": np.array([0.0, 0.9] * 2)}
        >>> runs = Runs(grid, {}, {}, (2, 2))
        >>> runs.history, runs.epochs = {"loss": np.array([[4.0], [3.0], [2.0], [np.nan]])}, [9]
        >>> trainings(runs).data["map"].tolist()
        [[4.0, 2.0], [3.0, nan]]
    """
    x, y = _names(runs, x, y)
    columns, rows = (_Axis.of(name, runs.settings[name]) for name in (x, y))
    values = runs.last(value)
    table, lost = _pivot(columns, rows, runs, values)
    best = runs.best(value, largest)
    diverged = float(np.mean(~np.isfinite(values)))
    named = {name: runs.settings[name][best].tolist() for name in (x, y)}
    told = "at " + ", ".join(f"{name} {_short(number)}" for name, number in named.items())
    equal = int((values == values[best]).sum())
    if equal > 1:
        told = f"in {equal:,} trainings"
    epochs = int(runs.epochs[-1])
    title = f"{len(runs):,} trainings: {value} after {epochs:,} epochs, by {x} and {y}"
    found = {"training": best, "value": float(values[best]), **named}
    summary = f"best: {value} {show(values[best], 4)} {told}; {percent(diverged)} diverged"
    return View(
        title,
        {
            "x": columns.values,
            "y": rows.values,
            "map": table,
            "diverged": lost,
            "best": found,
            "value": value,
        },
        lambda: _lines(columns, rows, table, title, summary),
        lambda: _draw(
            columns, rows, table, lost, value, title, summary, named if equal == 1 else {}
        ),
    )


def _names(runs: Any, x: str | None, y: str | None) -> tuple[str, str]:
    known = list(runs.settings)
    free = [name for name in known if name not in (x, y)]
    first = x if x is not None else (free.pop(0) if free else None)
    second = y if y is not None else (free.pop(0) if free else None)
    if first is None or second is None or first == second or not {first, second} <= set(known):
        raise OptionError(TWO_NAMES.format(x=x, y=y, known=", ".join(known)))
    return first, second


def _pivot(columns: _Axis, rows: _Axis, runs: Any, values: Array) -> tuple[Array, Array]:
    """The median of the trainings in each place that did not diverge, and the part that did."""
    shape = len(rows.values), len(columns.values)
    places = [np.searchsorted(axis.values, runs.settings[axis.name]) for axis in (rows, columns)]
    flat = np.ravel_multi_index((places[0], places[1]), shape)
    fine = np.isfinite(values)
    size = shape[0] * shape[1]
    count = np.bincount(flat, minlength=size)
    lost = np.bincount(flat[~fine], minlength=size) / np.maximum(count, 1)
    lost[count == 0] = np.nan
    table = np.full(size, np.nan)
    order = np.lexsort((values[fine], flat[fine]))
    kept, numbers = flat[fine][order], values[fine][order]
    if len(kept):
        cells, first, each = np.unique(kept, return_index=True, return_counts=True)
        middle = numbers[first + (each - 1) // 2] + numbers[first + each // 2]
        table[cells] = middle / 2
    return table.reshape(shape), lost.reshape(shape)


# --- the picture -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Colours:
    """From numbers to colours: linear or by powers, between two ends."""

    low: float
    high: float
    logarithmic: bool

    @staticmethod
    def of(table: Array) -> _Colours:
        finite = table[np.isfinite(table)]
        above = finite[finite > 0]
        if len(above) == len(finite) or (len(above) and finite.min() == 0):
            low, high = np.quantile(above, [0.002, 0.998])
            if high > LOGARITHMIC_FROM * low:
                return _Colours(float(low), float(high), True)
        low, high = np.quantile(finite, [0.002, 0.998])
        return _Colours(float(low), float(high), False)

    def place(self, numbers: Array) -> Array:
        """From 0 to 1."""
        low, high = self.low, self.high
        if self.logarithmic:
            numbers = np.log(np.maximum(numbers, low))
            low, high = math.log(low), math.log(high)
        found: Array = np.clip((numbers - low) / ((high - low) or 1.0), 0, 1)
        return found

    def ticks(self) -> list[tuple[float, str]]:
        """Where on the scale stands which text."""
        if not self.logarithmic:
            marks = nice_ticks(self.low, self.high)
        else:
            ends = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            step = max(1, -(-(ends[1] - ends[0]) // 6))
            marks = [10.0**power for power in range(ends[0], ends[1] + 1, step)]
            marks = marks if len(marks) > 1 else [self.low, self.high]
        return [(float(self.place(np.array(mark))), show(mark, 3)) for mark in marks]


def scale_colours(places: Array) -> Array:
    """Colours for places on the scale from 0 to 1: uint8 (..., 4).

    Example:
        >>> scale_colours(np.array([0.0, 1.0])).tolist()
        [[16, 25, 74, 255], [247, 244, 184, 255]]
    """
    stops = np.array([_rgb(colour) for colour in SCALE], float)
    along = np.clip(places, 0, 1) * (len(SCALE) - 1)
    low = np.minimum(along.astype(int), len(SCALE) - 2)
    part = (along - low)[..., None]
    mixed = stops[low] * (1 - part) + stops[low + 1] * part
    opaque = np.full((*mixed.shape[:-1], 1), 255.0)
    return np.round(np.concatenate([mixed, opaque], axis=-1)).astype(np.uint8)


def _rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def pixels_of(table: Array, lost: Array, colours: _Colours) -> Array:
    """The map as colours: diverged places in one of their own, untrained ones left out."""
    found = scale_colours(colours.place(np.nan_to_num(table, nan=colours.low)))
    found[np.isnan(table)] = [*_rgb(DIVERGED), 255]
    found[np.isnan(lost)] = 0
    return found[::-1]  # the first row of a picture is at its top


def _draw(
    columns: _Axis,
    rows: _Axis,
    table: Array,
    lost: Array,
    value: str,
    title: str,
    summary: str,
    best: dict[str, Any],
) -> Drawing:
    colours = _Colours.of(table)
    width = _side(len(columns.values))
    height = _side(len(rows.values))
    left = 30 + max(text_width(text, SMALL) for _, text in rows.ticks())
    top = 52.0
    right = left + width
    label = max(text_width(text, SMALL) for _, text in colours.ticks())
    drawing = Drawing(
        max(right + 40 + label + 30, text_width(title, 15, True) + 8), top + height + 78, title, ""
    )
    drawing.description = f"{title}. {summary}."
    drawing.add(Text(0, 16, title, "ink", size=15, bold=True))
    drawing.add(Text(0, 37, summary, "muted", size=12.5))
    pixels = pixels_of(table, lost, colours)
    drawing.add(Picture(left, top, width, height, pixels, tip=title))
    drawing.add(Box(left, top, width, height, "paper", "line", opacity=0.0))
    _sides(drawing, columns, rows, left, top, width, height)
    if best:
        _mark(drawing, columns, rows, best, left, top, width, height)
    _bar(drawing, colours, right + 24, top, height, value)
    _legend(drawing, lost, bool(best), left, top + height + 62)
    return drawing


def _side(count: int) -> float:
    """Pixels of a side: a whole number for each training, so that all look alike."""
    return float(count * max(1, round(SIDE / count)))


def _sides(
    drawing: Drawing,
    columns: _Axis,
    rows: _Axis,
    left: float,
    top: float,
    width: float,
    height: float,
) -> None:
    bottom = top + height
    for at, text in columns.ticks():
        x = left + at * width
        drawing.add(Line(((x, bottom), (x, bottom + 5)), "line", 1))
        drawing.add(Text(x, bottom + 19, text, "muted", "middle", SMALL))
    for at, text in rows.ticks():
        y = bottom - at * height
        drawing.add(Line(((left - 5, y), (left, y)), "line", 1))
        drawing.add(Text(left - 9, y + 4, text, "muted", "end", SMALL))
    drawing.add(Text(left + width / 2, bottom + 38, columns.name, "ink", "middle", 12.5))
    drawing.add(Text(12, top + height / 2, rows.name, "ink", "middle", 12.5, turned=True))


def _mark(
    drawing: Drawing,
    columns: _Axis,
    rows: _Axis,
    best: dict[str, Any],
    left: float,
    top: float,
    width: float,
    height: float,
) -> None:
    """A ring around the best training."""
    shares = [
        (float(np.flatnonzero(axis.values == best[axis.name])[0]) + 0.5) / len(axis.values)
        for axis in (columns, rows)
    ]
    x, y = left + shares[0] * width, top + (1 - shares[1]) * height
    drawing.add(Line(_ring(x, y, 7), "paper", 4), Line(_ring(x, y, 7), "ink", 2))
    drawing.add(Dot(x, y, 1.5, "ink"))


def _bar(
    drawing: Drawing, colours: _Colours, x: float, top: float, height: float, value: str
) -> None:
    """The scale of colours with its numbers."""
    places = np.linspace(1, 0, 128)[:, None]
    drawing.add(Picture(x, top, 16, height, scale_colours(places), tip=value))
    drawing.add(Box(x, top, 16, height, "paper", "line", opacity=0.0))
    for at, text in colours.ticks():
        y = top + (1 - at) * height
        drawing.add(Line(((x + 16, y), (x + 20, y)), "line", 1))
        drawing.add(Text(x + 24, y + 4, text, "muted", "start", SMALL))
    drawing.add(Text(x + 8, top + height + 19, value, "ink", "middle", 12.5))


def _ring(x: float, y: float, radius: float) -> tuple[tuple[float, float], ...]:
    angles = np.linspace(0, 2 * math.pi, 25)
    return tuple((x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles)


def _legend(drawing: Drawing, lost: Array, marked: bool, left: float, y: float) -> None:
    """What the ring and the colours beside the scale mean, where there are such."""
    x = left
    if marked:
        drawing.add(Line(_ring(x + 6, y - 4, 5), "ink", 2), Text(x + 20, y, "best", size=12.5))
        x += 20 + text_width("best", 12.5) + 18
    if (lost == 1).any():
        swatch = np.array([[[*_rgb(DIVERGED), 255]]], np.uint8)
        drawing.add(Picture(x, y - 10, 13, 13, swatch, tip="diverged"))
        drawing.add(Text(x + 20, y, "diverged", "ink", size=12.5))
        x += 20 + text_width("diverged", 12.5) + 18
    if np.isnan(lost).any():
        drawing.add(Box(x, y - 10, 13, 13, "paper", "line"))
        drawing.add(Text(x + 20, y, "not trained", "ink", size=12.5))


# --- the text --------------------------------------------------------------------------------


def _short(number: Any) -> str:
    return show(number, 4) if isinstance(number, (int, float)) else str(number)


def _lines(columns: _Axis, rows: _Axis, table: Array, title: str, summary: str) -> list[str]:
    """The numbers at evenly spread settings."""
    across, down = (
        np.unique(np.linspace(0, n - 1, min(n, CELLS)).round().astype(int))
        for n in (len(columns.values), len(rows.values))
    )
    head = [f"{rows.name} \\ {columns.name}", *(_short(v) for v in columns.values[across].tolist())]
    lines = [head]
    for row in down[::-1]:
        numbers = ["-" if np.isnan(n) else show(n, 3) for n in table[row, across]]
        lines.append([_short(rows.values[row].item()), *numbers])
    right = dict.fromkeys(range(1, len(head)), True)
    return [title, summary, "", *table_text(lines, right), "", "-: diverged, or not trained"]
