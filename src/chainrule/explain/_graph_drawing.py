"""Draws a graph: boxes in layers, edges, value and partial derivative in each box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..graph.node import Node
from ._drawing import Array, Box, Drawing, Group, Line, Mark, Picture, Text, shorten, text_width
from ._fold import Block
from ._graph_text import block_name, describe
from ._layout import Layout, Place, arrange
from ._names import Labels
from ._numbers import partial, plural, shape_text, show

if TYPE_CHECKING:
    from ._graph import Seen

MARGIN = 18.0
STRIP_HEIGHT = 12.0
STRIP_COLUMNS, STRIP_ROWS = 64, 6
NARROWEST, WIDEST = 96.0, 216.0
NUMBER_SIZE, LABEL_SIZE = 12.0, 13.0
WIDEST_PAGE = 1400.0


def draw_blocks(
    blocks: Sequence[Block],
    known: Mapping[Node, Seen],
    labels: Labels,
    title: str,
    *,
    down: bool | None = None,
    interactive: bool = False,
) -> Drawing:
    """Draw blocks in layers, each with its value in blue and its partial derivative in orange."""
    sizes = {block.key: box_size(block, known, labels) for block in blocks}
    edges = [(source, block.key) for block in blocks for source in block.inputs]
    layout, down = _laid_out(sizes, edges, down)
    top = 26.0
    drawing = Drawing(
        layout.width + 2 * MARGIN,
        layout.height + 2 * MARGIN + top,
        title,
        description(blocks, known, labels),
    )
    drawing.add(*_key(labels))
    for (source, target), points in layout.routes.items():
        moved = tuple((x + MARGIN, y + MARGIN + top) for x, y in points)
        line = Line(moved, "line", 1.4, arrow=True, smooth=True, vertical=down)
        drawing.add(Group((line,), f"{source}-{target}", "edge"))
    for block in blocks:
        place = layout.places[block.key]
        at = Place(place.x + MARGIN, place.y + MARGIN + top, place.width, place.height)
        marks = tuple(block_marks(block, known, labels, at))
        left, right = describe(block, known, labels)
        kind = "node " + known[block.result].kind
        drawing.add(Group(marks, block.key, kind, f"{left}; {right}", interactive))
    return drawing


def _laid_out(
    sizes: Mapping[str, tuple[float, float]], edges: Sequence[tuple[str, str]], down: bool | None
) -> tuple[Layout, bool]:
    """Lay out to the right where that fits a page, else down; or as asked."""
    if not down:
        layout = arrange(sizes, edges, layer_gap=46.0, cell_gap=16.0)
        if down is False or layout.width <= WIDEST_PAGE:
            return layout, False
    return arrange(sizes, edges, down=True, layer_gap=34.0, cell_gap=20.0), True


def description(blocks: Sequence[Block], known: Mapping[Node, Seen], labels: Labels) -> str:
    """Say in a sentence what the picture shows, for those who cannot see it."""
    one = known[labels.output]
    value = f" with value {show(one.value.item())}" if one.value.size == 1 else ""
    return f"{plural(len(blocks), 'node')} lead to {one.label}{value}."


def _key(labels: Labels) -> list[Mark]:
    output = labels.of(labels.output)
    return [
        Box(MARGIN, 9, 10, 10, "forward", radius=2),
        Text(MARGIN + 16, 18, "value", "muted", size=12),
        Box(MARGIN + 64, 9, 10, 10, "backward", radius=2),
        Text(MARGIN + 80, 18, f"partial derivative of {output}", "muted", size=12),
    ]


def box_size(block: Block, known: Mapping[Node, Seen], labels: Labels) -> tuple[float, float]:
    """Return the width and height a block's box needs."""
    one = known[block.result]
    if len(block.nodes) > 1:
        width = max(text_width(block_name(block), LABEL_SIZE, True), 130.0) + 24
        return min(width, WIDEST), 84.0
    widths = [text_width(_head(one), LABEL_SIZE, True)]
    if one.value.size == 1:
        name = partial(labels.of(labels.output), one.label)
        back = f"{name} {_number(one.partial)}" if one.partial is not None else ""
        widths += [text_width(_number(one.value), NUMBER_SIZE) + text_width(back, NUMBER_SIZE) + 22]
        return _clamp(max(widths) + 22), 50.0
    widths += [text_width(_note(one), 11), 118.0]
    return _clamp(max(widths) + 22), 66.0 + (STRIP_HEIGHT + 4 if one.partial is not None else 0)


def _clamp(width: float) -> float:
    return min(max(width, NARROWEST), WIDEST)


def _head(one: Seen) -> str:
    return f"{one.label} = {one.formula}" if one.formula else one.label


def _number(array: Array | None) -> str:
    return "" if array is None else show(array.item(), 5)


def block_marks(block: Block, known: Mapping[Node, Seen], labels: Labels, at: Place) -> list[Mark]:
    """Return the marks of one box."""
    one = known[block.result]
    if len(block.nodes) > 1:
        return _folded_marks(block, one, at)
    fill = {"parameter": "forward-soft", "input": "panel", "result": "paper"}[one.kind]
    marks: list[Mark] = [Box(at.x, at.y, at.width, at.height, fill, "line", 7)]
    head = shorten(_head(one), at.width - 18, LABEL_SIZE)
    marks.append(Text(at.x + 11, at.y + 20, head, "ink", size=LABEL_SIZE, bold=True))
    if one.value.size == 1:
        return marks + _scalar_marks(one, labels, at)
    return marks + _array_marks(one, labels, at)


def _scalar_marks(one: Seen, labels: Labels, at: Place) -> list[Mark]:
    y = at.y + 40
    value = Text(at.x + 11, y, _number(one.value), "forward", size=NUMBER_SIZE, bold=True)
    marks: list[Mark] = [Group((value,), kind="value")]
    if one.partial is not None:
        name = partial(labels.of(labels.output), one.label)
        text = f"{name} {_number(one.partial)}"
        back = Text(at.x + at.width - 11, y, text, "backward", "end", NUMBER_SIZE)
        marks.append(Group((back,), kind="partial"))
    return marks


def _array_marks(one: Seen, labels: Labels, at: Place) -> list[Mark]:
    width = at.width - 22
    y = at.y + 28
    marks: list[Mark] = [Text(at.x + 11, y + 8, _note(one), "muted", size=11)]
    value = _strip(one.value, at.x + 11, y + 14, width, "forward")
    marks.append(Group(tuple(value), kind="value"))
    if one.partial is not None:
        lower = y + 14 + STRIP_HEIGHT + 6
        back = _strip(one.partial, at.x + 11, lower, width, "backward")
        marks.append(Group(tuple(back), kind="partial"))
    return marks


def _note(one: Seen) -> str:
    layer = f"layer {one.node.scope}" if one.node.scope and one.node.inputs else ""
    return ", ".join(part for part in (shape_text(one.value.shape), layer) if part)


def _strip(array: Array, x: float, y: float, width: float, role: str) -> list[Mark]:
    """Draw an array as a strip of pixels behind a bar in the colour of what it is."""
    tip = f"{show(array.min(), 4)} to {show(array.max(), 4)}" if array.size else "empty"
    return [
        Box(x, y, 3, STRIP_HEIGHT, role),
        Box(x + 5, y, width - 5, STRIP_HEIGHT, "panel", "grid"),
        Picture(x + 5, y, width - 5, STRIP_HEIGHT, pixels(array), signed=True, tip=tip),
    ]


def pixels(array: Array, rows: int = STRIP_ROWS, columns: int = STRIP_COLUMNS) -> Array:
    """Shrink an array of any shape to a small matrix that keeps the greatest magnitudes.

    Example:
        >>> pixels(np.arange(6.0).reshape(2, 3)).shape, pixels(np.ones((100, 784))).shape
        ((2, 3), (6, 64))
    """
    flat = np.nan_to_num(array.astype(np.float64), posinf=0.0, neginf=0.0)
    flat = flat.reshape(1, -1) if flat.ndim < 2 else flat.reshape(-1, flat.shape[-1])
    if flat.size == 0:
        return np.zeros((1, 1))
    return _shrunk(_shrunk(flat, rows).T, columns).T


def _shrunk(matrix: Array, rows: int) -> Array:
    if len(matrix) <= rows:
        return matrix
    pieces = np.array_split(matrix, rows)
    picks = [np.abs(piece).argmax(0) for piece in pieces]
    every = np.arange(matrix.shape[1])
    return np.stack([piece[pick, every] for piece, pick in zip(pieces, picks, strict=True)])


def _folded_marks(block: Block, one: Seen, at: Place) -> list[Mark]:
    name = shorten(block_name(block), at.width - 20, LABEL_SIZE)
    ops = list(dict.fromkeys(node.op.name for node in block.nodes if node.inputs))
    inside = shorten(", ".join(ops), at.width - 20, 11.5)
    size = sum(node.size for node in block.nodes if node.is_leaf and node.requires_grad)
    under = [Box(at.x + 5, at.y + 5, at.width, at.height, "panel", "line", 7)]
    marks: list[Mark] = list(under if block.repeats > 1 else ())
    marks += [
        Box(at.x, at.y, at.width, at.height, "forward-soft", "line", 7),
        Text(at.x + 11, at.y + 21, name, "ink", size=LABEL_SIZE, bold=True),
        Text(at.x + 11, at.y + 38, inside, "muted", size=11.5),
        Text(
            at.x + 11,
            at.y + 55,
            f"{size:,} parameters" if size else "no parameters",
            "muted",
            size=11.5,
        ),
        Text(at.x + 11, at.y + 72, f"gives {shape_text(one.value.shape)}", "forward", size=11.5),
    ]
    return marks
