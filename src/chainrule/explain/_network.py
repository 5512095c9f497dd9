"""`explain.network`: input, hidden and readout layers as columns of units with their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OptionError
from ._charts import table_text
from ._drawing import Array, Box, Dot, Drawing, Group, Line, Point, Text
from ._forward import run_copy
from ._layers import layer_rows
from ._numbers import plural
from ._view import View

MOST_UNITS = 9
COLUMN, ROW, TOP = 190.0, 30.0, 74.0
NO_LAYERS = (
    "explain.network draws Linear layers that follow each other, and the model has none.\n"
    "  given: {model}\n"
    "  fix: cr.explain.graph(model(x)) draws any model"
)


@dataclass(frozen=True)
class Column:
    """One layer of units.

    Attributes:
        title: What the layer is called.
        units: How many units it has.
        note: What happens in it.
        weight: The weights that lead to it, shape (units, units before); None for the input.
    """

    title: str
    units: int
    note: str
    weight: Array | None = None


def network(model: Any, x: Any) -> View:
    """Draw a model of Linear layers: which units there are, and which weights join them.

    Teal weights are positive, violet ones negative; the stronger, the darker. Of a wide layer the
    first and the last units are drawn.

    Args:
        model: A module; it runs as a copy in evaluation mode.
        x: A batch of inputs, shape (examples, features).

    Returns:
        A view; `.data["layers"]` has name, units and role (input, hidden, readout) of each.

    Raises:
        OptionError: The model has no Linear layer.

    Example:
        >>> import chainrule as cr
        >>> model = cr.nn.Sequential(cr.nn.Linear(64, 32), cr.nn.ReLU(), cr.nn.Linear(32, 10))
        >>> print(network(model, cr.zeros(1, 64)).text())
        layer    units  what it computes                   weights
        input       64
        hidden      32  z1 = x @ w1ᵀ + b1, a1 = max(z1, 0)    64 · 32 = 2,048
        readout     10  z2 = a1 @ w2ᵀ + b2                    32 · 10 = 320
    """
    columns = _columns(model, x)
    if len(columns) < 2:
        raise OptionError(NO_LAYERS.format(model=type(model).__name__))
    hidden = plural(len(columns) - 2, "hidden layer")
    title = f"A network of {columns[0].units} inputs, {hidden} and {columns[-1].units} outputs"
    data = [{"role": c.title, "units": c.units, "computes": c.note} for c in columns]
    return View(title, {"layers": data}, lambda: _lines(columns), lambda: _draw(columns, title))


def _columns(model: Any, x: Any) -> list[Column]:
    found = run_copy(model, x)
    columns: list[Column] = []
    for call, row in zip(found.calls, layer_rows(found), strict=True):
        weight = getattr(call.module, "weight", None)
        if weight is not None and weight.ndim == 2 and call.result.shape[-1] == weight.shape[0]:
            values = weight.detach().numpy()
            if not columns:
                columns.append(Column("input", values.shape[1], ""))
            columns.append(Column("hidden", len(values), row["formula"], values))
        elif columns and columns[-1].weight is not None and "unchanged" not in row["formula"]:
            last = columns[-1]
            note = f"{last.note}, {row['formula']}"
            columns[-1] = Column(last.title, last.units, note, last.weight)
    if len(columns) > 1:
        last = columns[-1]
        columns[-1] = Column("readout", last.units, last.note, last.weight)
    return columns


def _lines(columns: list[Column]) -> list[str]:
    table = [["layer", "units", "what it computes", "weights"]]
    for column in columns:
        count = ""
        if column.weight is not None:
            units, before = column.weight.shape
            count = f"{before} · {units} = {units * before:,}"
        table.append([column.title, f"{column.units:,}", column.note, count])
    return table_text(table, {1: True})


def _shown(units: int) -> list[int | None]:
    """Return which units of a layer are drawn; None stands for those left out."""
    if units <= MOST_UNITS:
        return list(range(units))
    half = MOST_UNITS // 2
    return [*range(half), None, *range(units - half, units)]


def _draw(columns: list[Column], title: str) -> Drawing:
    rows = [_shown(column.units) for column in columns]
    tall = max(len(shown) for shown in rows)
    drawing = Drawing(COLUMN * len(columns), TOP + ROW * tall + 16, title,
                      "; ".join(_lines(columns)[1:]))  # fmt: skip
    places = [_places(shown, tall, COLUMN * (i + 0.5)) for i, shown in enumerate(rows)]
    for before, here, column in zip(places, places[1:], columns[1:], strict=False):
        drawing.add(Group(tuple(_weight_lines(before, here, column.weight)), kind="weights"))
    for index, (column, shown) in enumerate(zip(columns, rows, strict=True)):
        _add_column(drawing, column, COLUMN * (index + 0.5))
        _add_units(drawing, places[index], shown, tall, COLUMN * (index + 0.5))
    return drawing


def _add_column(drawing: Drawing, column: Column, x: float) -> None:
    drawing.add(Text(x, 20, column.title, "ink", "middle", 14, True))
    drawing.add(Text(x, 38, plural(column.units, "unit"), "muted", "middle", 12))
    if column.weight is not None:
        drawing.add(Text(x, 55, plural(column.weight.size, "weight"), "muted", "middle", 12))


def _add_units(
    drawing: Drawing, places: dict[int, Point], shown: list[int | None], tall: int, x: float
) -> None:
    for unit, (_, y) in places.items():
        drawing.add(Box(x - 9, y - 9, 18, 18, "paper", "forward", 9, tip=f"unit {unit}"))
    if None in shown:
        middle = TOP + ROW * ((tall - len(shown)) / 2 + shown.index(None) + 0.5)
        for step in (-7.0, 0.0, 7.0):
            drawing.add(Dot(x, middle + step, 1.8, "muted"))


def _places(shown: list[int | None], tall: int, x: float) -> dict[int, Point]:
    start = (tall - len(shown)) / 2
    return {
        unit: (x, TOP + ROW * (start + row + 0.5))
        for row, unit in enumerate(shown)
        if unit is not None
    }


def _weight_lines(
    before: dict[int, Point], here: dict[int, Point], weight: Array | None
) -> list[Line]:
    """Draw the weights between the units shown, each as strong as its share of the strongest."""
    assert weight is not None
    part = weight[np.ix_(list(here), list(before))].astype(np.float64)
    top = float(np.abs(part).max(initial=0.0)) or 1.0
    lines = []
    for end, values in zip(here.values(), part / top, strict=True):
        for start, value in zip(before.values(), values, strict=True):
            colour = "plus" if value >= 0 else "minus"
            strength = abs(float(value))
            lines.append(Line((start, end), colour, 0.4 + 2.2 * strength, opacity=strength))
    return lines
