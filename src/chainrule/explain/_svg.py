"""Writes a drawing as SVG: one file, no script, nothing loaded, light and dark by the reader."""

from __future__ import annotations

import base64
import struct
import zlib
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from ._drawing import Array, Box, Dot, Drawing, Group, Line, Mark, Picture, Point, Text
from ._theme import LIGHT, picture_css, variables_css

MARGIN = 12.0


def to_svg(drawing: Drawing, standalone: bool = True) -> str:
    """Return the drawing as SVG text; `standalone=False` leaves the style to the page around it."""
    edge = MARGIN if standalone else 0.0
    width, height = number(drawing.width + 2 * edge), number(drawing.height + 2 * edge)
    style = f"<style>{variables_css('svg.cr')}{picture_css()}</style>" if standalone else ""
    corner = number(-edge)
    paper = f'<rect class="f-paper" x="{corner}" y="{corner}" width="100%" height="100%"/>'
    paper = paper if standalone else ""
    label = quoteattr(drawing.title)
    description = f"<desc>{escape(drawing.description)}</desc>" if drawing.description else ""
    role = "group" if any(_interactive(mark) for mark in drawing.marks) else "img"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" class="cr"'
        f' viewBox="{corner} {corner} {width} {height}" width="{width}" height="{height}"'
        f' role="{role}" aria-label={label}>'
        f"<title>{escape(drawing.title)}</title>{description}{style}{paper}"
        + "".join(_mark(mark) for mark in drawing.marks)
        + "</svg>"
    )


def number(value: float) -> str:
    """Write a coordinate with at most one decimal."""
    return format(round(float(value), 1) + 0.0, "g") if abs(value) < 1e5 else str(round(value))


def _interactive(mark: Mark) -> bool:
    return isinstance(mark, Group) and (
        mark.interactive or any(_interactive(inner) for inner in mark.marks)
    )


def _mark(mark: Mark) -> str:
    match mark:
        case Group():
            return _group(mark)
        case Box():
            return _box(mark)
        case Text():
            return _text(mark)
        case Line():
            return _line(mark)
        case Dot():
            place = f'cx="{number(mark.x)}" cy="{number(mark.y)}" r="{number(mark.radius)}"'
            return _tipped(f'<circle class="f-{mark.fill}" {place}', "circle", mark.tip)
        case Picture():
            return _picture(mark)


def _group(group: Group) -> str:
    attributes = ""
    if group.key:
        attributes += f" data-key={quoteattr(group.key)}"
    if group.kind:
        attributes += f" class={quoteattr(group.kind)}"
    if group.interactive:
        attributes += f' tabindex="0" role="button" aria-label={quoteattr(group.title)}'
    title = f"<title>{escape(group.title)}</title>" if group.title else ""
    return f"<g{attributes}>{title}{''.join(_mark(inner) for inner in group.marks)}</g>"


def _tipped(start: str, tag: str, tip: str) -> str:
    return f"{start}><title>{escape(tip)}</title></{tag}>" if tip else f"{start}/>"


def _box(box: Box) -> str:
    stroke = f" s-{box.stroke}" if box.stroke else ""
    extra = f' rx="{number(box.radius)}"' if box.radius else ""
    if box.opacity != 1:
        extra += f' fill-opacity="{box.opacity:.3g}"'
    if box.dashed:
        extra += ' stroke-dasharray="4 3"'
    place = f'x="{number(box.x)}" y="{number(box.y)}"'
    size = f'width="{number(max(box.width, 0))}" height="{number(max(box.height, 0))}"'
    return _tipped(f'<rect class="f-{box.fill}{stroke}" {place} {size}{extra}', "rect", box.tip)


def _text(text: Text) -> str:
    extra = f' text-anchor="{text.anchor}"' if text.anchor != "start" else ""
    if text.bold:
        extra += ' font-weight="600"'
    x, y = number(text.x), number(text.y)
    if text.turned:
        extra += f' transform="rotate(-90 {x} {y})"'
    size = number(text.size)
    return (
        f'<text class="f-{text.colour}" x="{x}" y="{y}" font-size="{size}"{extra}>'
        f"{escape(text.text)}</text>"
    )


def path_data(line: Line) -> str:
    """Return the path of a line; a smooth one leaves and meets its points along the flow."""
    if not line.smooth:
        return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in line.points)
    parts = [f"M{number(line.points[0][0])} {number(line.points[0][1])}"]
    for (x0, y0), (x1, y1) in zip(line.points, line.points[1:], strict=False):
        first, second = bends(x0, y0, x1, y1, line.vertical)
        numbers = (*first, *second, x1, y1)
        parts.append("C" + " ".join(number(v) for v in numbers))
    return "".join(parts)


def bends(x0: float, y0: float, x1: float, y1: float, vertical: bool) -> tuple[Point, Point]:
    """Return the two control points of a smooth piece of an edge."""
    if vertical:
        middle = (y0 + y1) / 2
        return (x0, middle), (x1, middle)
    middle = (x0 + x1) / 2
    return (middle, y0), (middle, y1)


def _line(line: Line) -> str:
    extra = ' stroke-dasharray="4 3"' if line.dashed else ""
    if line.opacity != 1:
        extra += f' stroke-opacity="{line.opacity:.2g}"'
    path = (
        f'<path class="s-{line.colour}" fill="none" stroke-width="{number(line.width)}"'
        f' stroke-linejoin="round" stroke-linecap="round"{extra} d="{path_data(line)}"/>'
    )
    return path + _arrow(line) if line.arrow else path


def _arrow(line: Line) -> str:
    x, y = line.points[-1]
    if line.vertical:
        head = ((x - 4, y - 7), (x, y), (x + 4, y - 7))
    else:
        head = ((x - 7, y - 4), (x, y), (x - 7, y + 4))
    points = "L".join(f"{number(px)} {number(py)}" for px, py in head)
    return f'<path class="f-{line.colour}" d="M{points}Z"/>'


def _picture(picture: Picture) -> str:
    source = png_address(picture.pixels, picture.signed, picture.limit)
    kind = "px" if picture.signed or picture.pixels.ndim == 3 else "px mono"
    place = f'x="{number(picture.x)}" y="{number(picture.y)}"'
    size = f'width="{number(picture.width)}" height="{number(picture.height)}"'
    start = f'<image class="{kind}" {place} {size} preserveAspectRatio="none" href="{source}"'
    return _tipped(start, "image", picture.tip)


def rgba(pixels: Array, signed: bool, limit: float | None = None) -> Array:
    """Turn numbers, shape (rows, columns), into uint8 colours, shape (rows, columns, 4).

    Transparent is zero, so that the paper shows through, light or dark. Unsigned numbers are black
    ink; signed ones take one colour above zero and another below (see `_theme`). What is colours
    already is left as it is.
    """
    if np.ndim(pixels) == 3:
        return np.ascontiguousarray(pixels, np.uint8)
    values = np.nan_to_num(np.asarray(pixels, np.float64))
    top = limit if limit else float(np.abs(values).max(initial=0.0)) or 1.0
    out = np.zeros((*values.shape, 4), np.uint8)
    out[..., 3] = np.round(255 * np.clip(np.abs(values) / top, 0, 1))
    if signed:
        for role, mask in (("plus", values >= 0), ("minus", values < 0)):
            out[mask, :3] = [int(LIGHT[role][i : i + 2], 16) for i in (1, 3, 5)]
    return out


def png_address(pixels: Array, signed: bool = False, limit: float | None = None) -> str:
    """Return a picture as a PNG inside a `data:` address, so that nothing is ever loaded."""
    colours = rgba(pixels, signed, limit)
    return "data:image/png;base64," + base64.b64encode(png(colours)).decode("ascii")


def png(colours: Array) -> bytes:
    """Encode uint8 colours, shape (rows, columns, 4), as PNG (ISO/IEC 15948, filter none)."""
    rows, columns = colours.shape[:2]
    lines = b"".join(b"\0" + colours[row].tobytes() for row in range(rows))

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", columns, rows, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines, 9))
        + chunk(b"IEND", b"")
    )
