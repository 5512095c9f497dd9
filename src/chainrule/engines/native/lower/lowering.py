"""From clusters to tasks: which kernel computes each kind of cluster, and with which pointers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from ....graph.node import Node
from ..emit.body import Emitter
from ..emit.ir import Function
from ..emit.memory import memory_type
from ..emit.types import Value
from ..kernels.bits import random_bits
from ..kernels.columns import reduce_columns
from ..kernels.common import Operand
from ..kernels.elementwise import elementwise
from ..kernels.whole import reduce_all
from .buffers import Buffer, Place
from .cluster import Cluster
from .context import Context, Points, points
from .formula import encoded, encoded_source, evaluate, fetch
from .moves import lower_move
from .products import lower_product
from .rowprogram import lower_row
from .tasks import Argument, Task, arguments_of, describe, fused_names, nest, operand
from .views import layout_of, under
from .windows import lower_window

_FOLD = {"sum": "sum", "amax": "max"}


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


def _before(
    context: Context, cluster: Cluster, anchor: Node, nodes: Sequence[Node]
) -> tuple[Points, Callable[..., Any], Any]:
    """What is computed on the way to a reduction: its points, its body, its code."""
    pre = points(context, cluster, {}, nodes=nodes)
    reader = context.reader(cluster, set(), {})
    summed = reader.source(anchor.inputs[0], cluster.source_axes[anchor])
    for key, place in reader.places.items():
        if key not in pre.keys:
            pre.keys.append(key)
            pre.places.append(place)

    def each(e: Any, *values: Any) -> Any:
        known = dict(zip(pre.keys, values, strict=True))
        evaluate(e, pre.steps, known)
        return fetch(e, summed, known)

    names: dict[Any, Any] = {key: ("in", k) for k, key in enumerate(pre.keys)}
    code = encoded(pre.steps, names)
    return pre, each, (code, encoded_source(summed, names))


def _lower_column(context: Context, cluster: Cluster) -> list[Task]:
    """One reduction along an axis that is not the last, elementwise work before and behind it."""
    space, anchor, reduced = cluster.space, cluster.anchor, cluster.reduced
    assert anchor is not None and reduced is not None
    before = [node for node in cluster.axes if reduced in cluster.level(cluster.axes[node])]
    behind = [node for node in cluster.axes if node not in before and node is not anchor]
    pre, each, code = _before(context, cluster, anchor, before)
    post = points(context, cluster, {}, given=(anchor,), nodes=behind)
    kept = [axis for axis in range(len(space)) if axis != reduced]
    every = [*pre.places, *post.places, *post.targets]
    columns = nest(every, space, kept)
    unit = columns.rows[-1]
    kernel = context.kernel(
        reduce_columns,
        (code, post.code(anchor)),
        cols=columns.length(space),
        kind=_FOLD[anchor.op.name],
        operands=[operand(place, (reduced, unit)) for place in pre.places],
        pre=each,
        after=[operand(place, (unit,)) for place in post.places],
        outputs=[operand(place, (unit,)) for place in post.targets],
        post=post.body(anchor),
    )
    arguments = arguments_of(
        [*pre.places, *post.places], post.targets, space, columns.rows, columns.outer
    )
    return [
        Task(
            describe(cluster),
            kernel,
            arguments,
            (space[reduced],),
            columns.length(space),
            tuple(space[axis] for axis in columns.outer),
            (len(pre.steps) + 1) * prod(space),
        )
    ]


def _lower_whole(context: Context, cluster: Cluster) -> list[Task]:
    """A reduction of everything, elementwise work before it."""
    space, anchor = cluster.space, cluster.anchor
    assert anchor is not None
    axes = range(len(space))
    members = [node for node in cluster.axes if node is not anchor]
    pre, each, code = _before(context, cluster, anchor, members)
    target = Place(context.buffers[anchor], 0, (0,) * len(space))
    kernel = context.kernel(
        reduce_all,
        code,
        inner=space[1:],
        kind=_FOLD[anchor.op.name],
        operands=[operand(place, axes) for place in pre.places],
        pre=each,
        outputs=[Operand(anchor.dtype, ())],
    )
    arguments = arguments_of(pre.places, [target], space, (0,), ())
    flops = (len(pre.steps) + 1) * prod(space)
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
    "column": _lower_column,
    "whole": _lower_whole,
    "product": lower_product,
    "random": _lower_random,
    "scalar": _lower_scalar,
    "move": lower_move,
    "window": lower_window,
    "alone": lower_window,
}
