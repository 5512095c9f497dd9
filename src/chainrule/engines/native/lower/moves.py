"""Moves: rows read and added by index, joined parts, zeros around."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

from ....graph.node import Node
from ..kernels.common import Operand
from ..kernels.elementwise import elementwise
from ..kernels.indexed import gather_rows, scatter_add_rows
from ..kernels.ordered import running_sums, sort_rows
from .buffers import Buffer, Place
from .checks import lower_check
from .cluster import Cluster
from .context import Context
from .tasks import Argument, Task, argument, operand
from .views import layout_of, under


def lower_move(context: Context, cluster: Cluster) -> list[Task]:
    """The tasks of a gather, a scatter, a join or a padding."""
    node = cluster.anchor
    assert node is not None
    return _MOVES[node.op.name](context, node)


def _seen(context: Context, node: Node) -> tuple[Buffer, int, tuple[int, ...]]:
    buffer = context.buffers[under(node)]
    layout = layout_of(node, buffer.strides)
    assert layout is not None, node
    return buffer, *layout


def _take(context: Context, node: Node) -> list[Task]:
    data, offset, strides = _seen(context, node.inputs[0])
    index, index_offset, index_strides = _seen(context, node.inputs[1])
    assert index_strides[0] == 1 or index.shape == (1,), "an index vector is copied when strided"
    out = context.buffers[node]
    rows, columns = node.shape
    kernel = context.kernel(
        gather_rows,
        None,
        cols=columns,
        size=node.inputs[0].shape[0],
        data=Operand(data.dtype, strides),
        index=index.dtype,
        outputs=[Operand(out.dtype, out.strides)],
    )
    arguments = [
        Argument(data, offset, 0),
        Argument(index, index_offset, 1),
        Argument(out, 0, out.strides[0], (), ((out.strides[1], columns),), True, False),
    ]
    return [Task(f"take {rows} rows of {columns}", kernel, arguments, (), rows)]


def _take_add(context: Context, node: Node) -> list[Task]:
    values, offset, strides = _seen(context, node.inputs[0])
    index, index_offset, index_strides = _seen(context, node.inputs[1])
    assert index_strides[0] == 1 or index.shape == (1,), "an index vector is copied when strided"
    out = context.buffers[node]
    size, columns = node.shape
    rows = node.inputs[0].shape[0]
    kernel = context.kernel(
        scatter_add_rows,
        None,
        cols=columns,
        size=size,
        values=Operand(values.dtype, strides),
        index=index.dtype,
        output=Operand(out.dtype, out.strides),
    )
    arguments = [
        Argument(values, offset, strides[1], (), ((strides[0], rows),)),
        Argument(index, index_offset, 0),
        Argument(out, 0, out.strides[1], (), ((out.strides[0], size),), True, True),
    ]
    task = Task(f"add {rows} rows of {columns}", kernel, arguments, (rows,), columns)
    return [_fill(context, out), task]


def _fill(context: Context, out: Buffer) -> Task:
    """Zeros everywhere."""
    space = out.shape or (1,)
    place = Place(out, 0, out.strides or (1,))
    kernel = context.kernel(
        elementwise,
        ("zeros", out.dtype),
        inner=space[1:],
        operands=[],
        outputs=[operand(place, range(len(space)))],
        body=lambda e: e.const(0, out.dtype),
    )
    return Task("zeros", kernel, [argument(place, space, (0,), (), True)], (), space[0])


def _copy_into(context: Context, source: Node, out: Buffer, place: Place, label: str) -> Task:
    buffer, offset, strides = _seen(context, source)
    space = source.shape or (1,)
    axes = range(len(space))
    came = Place(buffer, offset, strides or (1,))
    kernel = context.kernel(
        elementwise,
        "copy",
        inner=space[1:],
        operands=[operand(came, axes)],
        outputs=[Operand(out.dtype, place.strides)],
        body=lambda e, x: x,
    )
    arguments = [argument(came, space, (0,), ()), argument(place, space, (0,), (), True)]
    return Task(label, kernel, arguments, (), space[0])


def _concat(context: Context, node: Node) -> list[Task]:
    out, axis = context.buffers[node], node.attrs["axis"]
    tasks, start = [], 0
    for number, part in enumerate(node.inputs):
        place = Place(out, start * out.strides[axis], out.strides)
        if not _lies_there(context, part, place):
            tasks.append(_copy_into(context, part, out, place, f"join part {number}"))
        start += part.shape[axis]
    return tasks


def _lies_there(context: Context, part: Node, place: Place) -> bool:
    """Whether a part was computed in its place."""
    found = context.buffers.get(part)
    return found is not None and found.base is place.buffer and found.start == place.offset


def _pad(context: Context, node: Node) -> list[Task]:
    out = context.buffers[node]
    low, gaps = node.attrs["low"], node.attrs["interior"]
    offset = sum(a * step for a, step in zip(low, out.strides, strict=True))
    strides = tuple(step * (gap + 1) for step, gap in zip(out.strides, gaps, strict=True))
    tasks = [_fill(context, out)]
    if prod(node.inputs[0].shape):
        place = Place(out, offset, strides)
        tasks.append(_copy_into(context, node.inputs[0], out, place, "inside the zeros"))
    return tasks


def _sort(context: Context, node: Node) -> list[Task]:
    keys, offset, strides = _seen(context, node.inputs[0])
    out = context.buffers[node]
    rows, count = node.shape
    kernel = context.kernel(
        sort_rows,
        None,
        count=count,
        keys=Operand(keys.dtype, strides),
        order=Operand(out.dtype, out.strides),
        descending=node.attrs["descending"],
    )
    arguments = [
        Argument(keys, offset, strides[0], (), ((strides[1], count),)),
        Argument(out, 0, out.strides[0], (), ((out.strides[1], count),), True, False),
    ]
    flops = rows * count * count.bit_length()
    return [Task(f"sort {rows} rows of {count}", kernel, arguments, (), rows, flops=flops)]


def _running_sums(context: Context, node: Node) -> list[Task]:
    source, offset, strides = _seen(context, node.inputs[0])
    out = context.buffers[node]
    outer, count, inner = node.shape
    kernel = context.kernel(
        running_sums,
        None,
        outer=outer,
        count=count,
        inner=inner,
        source=Operand(source.dtype, strides),
        output=Operand(out.dtype, out.strides),
    )
    split = 2 if outer == 1 else 0
    reach = [axis for axis in range(3) if axis != split]
    arguments = [
        Argument(buffer, start, steps[split], (), tuple((steps[k], node.shape[k]) for k in reach))
        for buffer, start, steps in ((source, offset, strides), (out, 0, out.strides))
    ]
    arguments[1] = replace(arguments[1], writes=True, reads=False)
    label = f"running sums {outer}x{count}x{inner}"
    return [Task(label, kernel, arguments, (), node.shape[split], flops=node.size)]


_MOVES: dict[str, Callable[[Context, Any], list[Task]]] = {
    "take": _take,
    "take_add": _take_add,
    "concat": _concat,
    "pad": _pad,
    "check_index": lower_check,
    "argsort": _sort,
    "cumsum": _running_sums,
}
