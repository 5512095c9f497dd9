"""Draws a drawing with matplotlib (extra `plots`), for people who restyle and publish figures."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ..errors import require
from ._drawing import Box, Dot, Drawing, Group, Line, Mark, Picture, Text
from ._svg import MARGIN, bends, rgba
from ._theme import LIGHT

DOTS_PER_INCH = 100.0
POINTS_PER_PIXEL = 72.0 / DOTS_PER_INCH


def need_matplotlib() -> ModuleType:
    """Import matplotlib, or say which extra brings it.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    return require("matplotlib", "plots", "figures (.svg(), .html() and .text() need nothing)")


def to_figure(drawing: Drawing) -> Any:
    """Return the drawing as a `matplotlib.figure.Figure`, without touching pyplot's state."""
    need_matplotlib()
    from matplotlib.figure import Figure

    width, height = drawing.width + 2 * MARGIN, drawing.height + 2 * MARGIN
    size = (width / DOTS_PER_INCH, height / DOTS_PER_INCH)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, facecolor=LIGHT["paper"])
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-MARGIN, drawing.width + MARGIN)
    axes.set_ylim(drawing.height + MARGIN, -MARGIN)
    axes.axis("off")
    for order, mark in enumerate(_flat(drawing.marks)):
        _draw(axes, mark, order + 1)
    return figure


def _flat(marks: Any) -> list[Mark]:
    flat: list[Mark] = []
    for mark in marks:
        flat.extend(_flat(mark.marks) if isinstance(mark, Group) else [mark])
    return flat


def _draw(axes: Any, mark: Mark, order: int) -> None:
    match mark:
        case Box():
            _box(axes, mark, order)
        case Text():
            _text(axes, mark, order)
        case Line():
            _line(axes, mark, order)
        case Dot():
            points = 2 * mark.radius * POINTS_PER_PIXEL
            colour = LIGHT[mark.fill]
            axes.plot(mark.x, mark.y, "o", markersize=points, color=colour, zorder=order)
        case Picture():
            place = (mark.x, mark.x + mark.width, mark.y + mark.height, mark.y)
            colours = rgba(mark.pixels, mark.signed, mark.limit)
            axes.imshow(colours, extent=place, aspect="auto", zorder=order, interpolation="nearest")
        case Group():
            pass


def _box(axes: Any, box: Box, order: int) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import FancyBboxPatch, Rectangle

    colours = {
        "facecolor": to_rgba(LIGHT[box.fill], box.opacity),
        "edgecolor": LIGHT[box.stroke] if box.stroke else "none",
        "linestyle": "--" if box.dashed else "-",
        "zorder": order,
    }
    if box.radius and box.width > 2 * box.radius and box.height > 2 * box.radius:
        style = f"round,pad=0,rounding_size={box.radius}"
        corner = (box.x, box.y)
        patch: Any = FancyBboxPatch(corner, box.width, box.height, boxstyle=style, **colours)
    else:
        patch = Rectangle((box.x, box.y), box.width, box.height, **colours)
    axes.add_patch(patch)


def _text(axes: Any, text: Text, order: int) -> None:
    axes.text(
        text.x,
        text.y,
        text.text.replace("$", r"\$"),
        color=LIGHT[text.colour],
        fontsize=text.size * POINTS_PER_PIXEL,
        ha={"start": "left", "middle": "center", "end": "right"}[text.anchor],
        va="baseline",
        weight="bold" if text.bold else "normal",
        rotation=90 if text.turned else 0,
        rotation_mode="anchor",
        zorder=order,
    )


def _line(axes: Any, line: Line, order: int) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import FancyArrowPatch, PathPatch
    from matplotlib.path import Path

    points, codes = [line.points[0]], [int(Path.MOVETO)]
    for (x0, y0), (x1, y1) in zip(line.points, line.points[1:], strict=False):
        if line.smooth:
            points += [*bends(x0, y0, x1, y1, line.vertical), (x1, y1)]
            codes += [int(Path.CURVE4)] * 3
        else:
            points.append((x1, y1))
            codes.append(int(Path.LINETO))
    style = {
        "edgecolor": to_rgba(LIGHT[line.colour], line.opacity),
        "linewidth": line.width * POINTS_PER_PIXEL,
        "linestyle": "--" if line.dashed else "-",
        "zorder": order,
    }
    path = Path(points, codes)
    if line.arrow:
        head = "-|>,head_length=4,head_width=2"
        patch: Any = FancyArrowPatch(path=path, arrowstyle=head, shrinkA=0, shrinkB=0, **style)
        patch.set_facecolor(LIGHT[line.colour])
        patch.set_fill(True)
    else:
        patch = PathPatch(path, facecolor="none", **style)
    axes.add_patch(patch)
