"""`explain.layers`: which shapes enter and leave each layer, what it computes, what it learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph.node import CONSTANT, Node
from ._charts import table_text
from ._drawing import Box, Drawing, Line, Text, text_width
from ._expression import BINDING, TIGHT, bracketed
from ._forward import Call, Pass, run_copy
from ._names import Labels
from ._numbers import plural, show
from ._view import View

HEADINGS = ("layer", "kind", "shape in", "shape out", "formula", "parameters")


def layers(model: Any, x: Any) -> View:
    """Show the table of a model's layers, from a pass of one batch.

    Args:
        model: A module; it runs as a copy in evaluation mode.
        x: A batch of inputs, shape (examples, ...); the examples' axis is written N.

    Returns:
        A view; `.data["layers"]` has name, kind, shapes, formula and number of parameters.

    Example:
        >>> import chainrule as cr
        >>> model = cr.nn.Sequential(cr.nn.Linear(64, 32), cr.nn.ReLU(), cr.nn.Linear(32, 10))
        >>> print(layers(model, cr.zeros(5, 64)).text())
        layer  kind    shape in  shape out  formula              parameters
        0      Linear  N×64      N×32       z1 = x @ w1ᵀ + b1         2,080
        1      ReLU    N×32      N×32       a1 = max(z1, 0)               0
        2      Linear  N×32      N×10       z2 = a1 @ w2ᵀ + b2          330
        sum                                                           2,410
    """
    found = run_copy(model, x)
    rows = layer_rows(found)
    total = sum(parameter.numel() for parameter in model.parameters())
    title = f"{plural(len(rows), 'layer')}, {plural(total, 'parameter')}"
    return View(
        title,
        {"layers": rows, "parameters": total},
        lambda: table_text(_cells(rows, total), {5: True}),
        lambda: _draw(_cells(rows, total), title),
    )


def layer_rows(found: Pass) -> list[dict[str, Any]]:
    """Return one dictionary for each call of a layer, in order."""
    labels = found.labels
    size = found.inputs.shape[0] if found.inputs.shape else 0
    return [_row(call, labels, size) for call in found.calls]


def _row(call: Call, labels: Labels, size: int) -> dict[str, Any]:
    given = call.given[0] if call.given else call.result
    same = call.result in call.given
    written = "passed on unchanged" if same else call.module._summary
    if not written:
        written = scope_formula(call.result, set(call.given), labels)
    plain = same or bool(call.module._summary)
    return {
        "name": call.name,
        "kind": type(call.module).__name__,
        "module": repr(call.module),
        "shape_in": _shape(given.shape, size),
        "shape_out": _shape(call.result.shape, size),
        "formula": written if plain else f"{labels.of(call.result)} = {written}",
        "parameters": sum(p.numel() for p in call.module.parameters()),
    }


def _shape(shape: tuple[int, ...], size: int) -> str:
    parts = [str(n) for n in shape]
    if parts and shape[0] == size:
        parts[0] = "N"
    return "×".join(parts) or "scalar"


def scope_formula(result: Node, given: set[Node], labels: Labels) -> str:
    """Write what one layer computes, from its inputs and parameters to its result."""
    written: dict[Node, tuple[str, int]] = {}
    stack = [result]
    while stack:
        node = stack[-1]
        if node in written:
            stack.pop()
            continue
        if node in given or not node.inputs:
            written[node] = _leaf(node, labels)
            continue
        waiting = [source for source in node.inputs if source not in written]
        if waiting:
            stack += waiting
        else:
            written[node] = _joined(node, [written[source] for source in node.inputs])
    return written[result][0]


def _leaf(node: Node, labels: Labels) -> tuple[str, int]:
    if node.op is CONSTANT and node.size == 1:
        return show(node.value().item()), TIGHT
    return labels.of(node), TIGHT


def _joined(node: Node, parts: Sequence[tuple[str, int]]) -> tuple[str, int]:
    op = node.op
    own = BINDING.get(op.name, TIGHT)
    if op.name in ("reshape", "expand", "cast", "detach"):
        return parts[0]
    texts = []
    for slot, (text, binding) in enumerate(parts):
        if op.name == "matmul":
            inner = text if binding >= own else f"({text})"
            texts.append(inner + ("ᵀ" if node.attrs["tb" if slot else "ta"] else ""))
        elif f"{{{slot}}}" in op.text:
            texts.append(bracketed(op.name, op.text, slot, text, binding, own))
        else:
            texts.append(text)
    if op.name == "concat" or not op.text:
        return f"{op.name}({', '.join(texts)})", TIGHT
    return op.text.format(*texts), own


def _cells(rows: list[dict[str, Any]], total: int) -> list[list[str]]:
    keys = ("name", "kind", "shape_in", "shape_out", "formula")
    body = [[*(str(row[key]) for key in keys), f"{row['parameters']:,}"] for row in rows]
    return [list(HEADINGS), *body, ["sum", "", "", "", "", f"{total:,}"]]


def _draw(cells: list[list[str]], title: str) -> Drawing:
    sizes = [max(text_width(row[i], 13, True) for row in cells) + 26 for i in range(len(cells[0]))]
    drawing = Drawing(sum(sizes) + 8, 30 * len(cells) + 8, title)
    for number, row in enumerate(cells):
        y = 4 + 30 * number
        if number == 0:
            drawing.add(Box(0, y, drawing.width, 30, "panel", radius=4))
        if number == len(cells) - 1:
            drawing.add(Line(((0, y), (drawing.width, y)), "line", 1))
        x = 8.0
        for column, (text, size) in enumerate(zip(row, sizes, strict=True)):
            right = column == len(row) - 1
            colour = "muted" if number == 0 else "ink"
            drawing.add(
                Text(
                    x + size - 18 if right else x,
                    y + 20,
                    text,
                    colour,
                    "end" if right else "start",
                    13,
                    number == 0 or column == 0,
                )
            )
            x += size
    return drawing
