"""From clusters to tasks: which kernel computes each kind of cluster, and with which pointers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from ..emit.body import Emitter
from ..emit.ir import Function
from ..emit.memory import memory_type
from ..emit.types import Value
from ..kernels.bits import random_bits
from ..kernels.common import Operand
from ..kernels.elementwise import elementwise
from .buffers import Buffer, Place
from .cluster import Cluster
from .context import Context, points
from .formula import evaluate
from .moves import lower_move
from .products import lower_product
from .reductions import lower_column, lower_whole
from .rowprogram import lower_row
from .tasks import Argument, Task, arguments_of, describe, fused_names, operand
from .views import layout_of, under
from .windows import lower_window


def lower(context: Context, cluster: Cluster) -> list[Task]:
    """The tasks that compute a cluster, in order.

    Args:
        context: the module and the buffers.
        cluster: any cluster; its stored members have buffers.
    """
    tasks = _LOWERINGS[cluster.kind](context, cluster)
    for task in tasks:
        task.cluster = cluster
        task.fused = fused_names(cluster)
    return tasks


def _lower_map(context: Context, cluster: Cluster) -> list[Task]:
    space = cluster.space
    every = points(context, cluster, {axis: axis for axis in range(len(space))})
    axes = range(len(space))
    kernel = context.kernel(
        elementwise,
        every.code(),
        inner=space[1:],
        operands=[operand(place, axes) for place in every.places],
        outputs=[operand(place, axes) for place in every.targets],
        body=every.body(),
    )
    arguments = arguments_of(every.places, every.targets, space, (0,), ())
    flops = len(every.steps) * prod(space)
    return [Task(describe(cluster), kernel, arguments, (), space[0], flops=flops)]


def _lower_random(context: Context, cluster: Cluster) -> list[Task]:
    anchor = cluster.anchor
    assert anchor is not None
    every = points(context, cluster, {}, given=(anchor,))
    singles = [Operand(place.buffer.dtype, (0,)) for place in every.places]
    kernel = context.kernel(
        random_bits,
        every.code(anchor),
        operands=singles,
        outputs=[Operand(place.buffer.dtype, (1,)) for place in every.targets],
        body=every.body(anchor),
    )
    sources = []
    for node in anchor.inputs:
        buffer = context.buffers[under(node)]
        layout = layout_of(node, buffer.strides)
        assert layout is not None
        sources.append(Argument(buffer, layout[0], 0))
    size = anchor.size
    read = [Argument(place.buffer, place.offset, 0) for place in every.places]
    written = [
        Argument(place.buffer, place.offset, 1, writes=True, reads=False) for place in every.targets
    ]
    return [Task(describe(cluster), kernel, [*sources, *read, *written], (), size, flops=40 * size)]


def _lower_scalar(context: Context, cluster: Cluster) -> list[Task]:
    every = points(context, cluster, {})

    def write(function: Function, pointers: Sequence[Value]) -> None:
        write_scalar(function, every, pointers)

    arguments = arguments_of(every.places, every.targets, (), (), ())
    task = Task(describe(cluster), None, arguments, flops=len(every.steps), write=write)
    return [task]


def write_scalar(function: Function, every: Any, pointers: Sequence[Value]) -> None:
    """Write scalar code: load, compute, store."""
    e = Emitter(function, 0)
    values = {}
    for key, place, pointer in zip(every.keys, every.places, pointers, strict=False):
        loaded = function.load(pointer, memory_type(place.buffer.dtype))
        values[key] = e.cast(loaded, place.buffer.dtype)
    evaluate(e, every.steps, values)
    for node, place, pointer in zip(
        every.outputs, every.targets, pointers[len(every.keys) :], strict=True
    ):
        value = values[node]
        kind = memory_type(place.buffer.dtype)
        function.store(
            e.cast_to(value, kind.name) if kind.name != value.type.name else value, pointer
        )


def write_sums(buffers: Sequence[Buffer]) -> Callable[[Function, Sequence[Value]], None]:
    """Scalar code that converts numbers to float64 and stores them one after the other."""

    def write(function: Function, pointers: Sequence[Value]) -> None:
        e = Emitter(function, 0)
        for number, (buffer, pointer) in enumerate(zip(buffers, pointers, strict=False)):
            value = function.load(pointer, memory_type(buffer.dtype))
            function.store(e.cast_to(value, "float64"), pointers[-1], number)

    return write


def copy_task(context: Context, label: str, source: Place, target: Place) -> Task:
    """A task that copies an array into another of the same shape."""
    shape = target.buffer.shape
    space = shape or (1,)
    places = [
        Place(place.buffer, place.offset, place.strides or (1,)) for place in (source, target)
    ]
    axes = range(len(space))
    kernel = context.kernel(
        elementwise,
        "copy",
        inner=space[1:],
        operands=[operand(places[0], axes)],
        outputs=[operand(places[1], axes)],
        body=lambda e, x: x,
    )
    return Task(label, kernel, arguments_of(places[:1], places[1:], space, (0,), ()), (), space[0])


_LOWERINGS: dict[str, Callable[[Context, Cluster], list[Task]]] = {
    "map": _lower_map,
    "row": lower_row,
    "column": lower_column,
    "whole": lower_whole,
    "product": lower_product,
    "random": _lower_random,
    "scalar": _lower_scalar,
    "move": lower_move,
    "window": lower_window,
    "alone": lower_window,
}
