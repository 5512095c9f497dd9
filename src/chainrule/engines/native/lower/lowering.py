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
from ..kernels.product import product
from ..kernels.whole import reduce_all
from .buffers import Buffer, Place
from .cluster import Cluster
from .context import Context, Points, points
from .formula import encoded, encoded_source, evaluate, fetch
from .moves import lower_move
from .rowprogram import lower_row
from .tasks import Argument, Task, argument, describe, fused_names, nest, operand, strides_on
from .views import layout_of, under

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
    arguments = _arguments(every.places, every.targets, space, (0,), ())
    flops = len(every.steps) * prod(space)
    return [Task(describe(cluster), kernel, arguments, (), space[0], flops=flops)]


def _arguments(
    places: Sequence[Place],
    targets: Sequence[Place],
    space: tuple[int, ...],
    split: Sequence[int],
    outer: Sequence[int],
) -> list[Argument]:
    read = [argument(place, space, split, outer) for place in places]
    return read + [argument(place, space, split, outer, True) for place in targets]


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
    arguments = _arguments(
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
    arguments = _arguments(pre.places, [target], space, (0,), ())
    flops = (len(pre.steps) + 1) * prod(space)
    return [Task(describe(cluster), kernel, arguments, (), space[0], flops=flops)]


# Kernels written for some number of rows and depth serve others of the same class.
_MANY_ROWS = 48
_LARGE_FACTOR = 1 << 17


def _depth_class(left: Any, right: Any, depth: int, columns: int) -> int:
    """Equal for depths that one kernel serves; where both factors lie along it, it is fixed."""
    fixed = left[2][1] == 1 and right[2][0] == 1
    return depth if fixed else -int(depth * columns >= _LARGE_FACTOR)


def _batch_strides(shape: tuple[int, ...], strides: tuple[int, ...], batch: int) -> list[int]:
    """Strides of a product's operand along the leading dimensions of the result."""
    lead = list(strides[:-2])
    lead = [0 if n == 1 else step for n, step in zip(shape[:-2], lead, strict=True)]
    return [0] * (batch - len(lead)) + lead


def _factor(context: Context, node: Node, turned: bool, batch: int) -> tuple[Any, ...]:
    """An operand of a product: its buffer, offset, (row, column) strides and batch strides."""
    buffer = context.buffers[under(node)]
    layout = layout_of(node, buffer.strides)
    assert layout is not None, node
    offset, strides = layout
    last = (strides[-1], strides[-2]) if turned else (strides[-2], strides[-1])
    return buffer, offset, last, _batch_strides(node.shape, strides, batch)


def _lower_product(context: Context, cluster: Cluster) -> list[Task]:
    anchor = cluster.anchor
    assert anchor is not None
    flags, batch = anchor.attrs, anchor.ndim - 2
    left = _factor(context, anchor.inputs[0], flags["ta"], batch)
    right = _factor(context, anchor.inputs[1], flags["tb"], batch)
    rows, columns = anchor.shape[-2:]
    depth = anchor.inputs[0].shape[-2 if flags["ta"] else -1]
    row_axis, column_axis = cluster.axes[anchor][-2:]
    index_axis = {axis: k for k, axis in enumerate((row_axis, column_axis)) if axis is not None}
    behind = points(context, cluster, index_axis, given=(anchor,))
    if _better_turned(left, right, columns):
        left, right = _transposed(right), _transposed(left)
        rows, columns, row_axis, column_axis = columns, rows, column_axis, row_axis
        behind = points(
            context,
            cluster,
            {axis: k for k, axis in enumerate((row_axis, column_axis)) if axis is not None},
            given=(anchor,),
        )
    lie = (row_axis, column_axis)
    kernel = context.kernel(
        product,
        (behind.code(anchor), rows >= _MANY_ROWS, _depth_class(left, right, depth, columns)),
        {"rows": rows, "depth": depth},
        n=columns,
        a=Operand(anchor.dtype, left[2]),
        b=Operand(anchor.dtype, right[2]),
        operands=[operand(place, lie) for place in behind.places],
        outputs=[_stored_operand(place, lie) for place in behind.targets],
        body=behind.body(anchor),
    )
    by_rows = kernel.axis == "rows"
    split_axis = row_axis if by_rows else column_axis
    outer_axes = [axis for axis in cluster.axes[anchor][:-2] if axis is not None]
    outer_dimensions = [d for d in range(batch) if anchor.shape[d] != 1]
    factors = []
    for which, (buffer, offset, last, lead) in enumerate((left, right)):
        reach_axes = [(last[0], rows if which == 0 else depth)]
        reach_axes.append((last[1], depth if which == 0 else columns))
        split = last[0] if (which == 0 and by_rows) else 0
        split = last[1] if (which == 1 and not by_rows) else split
        outer = tuple(lead[d] for d in outer_dimensions)
        reach = [pair for k, pair in enumerate(reach_axes) if not split or k != int(which == 1)]
        reach += [(lead[d], anchor.shape[d]) for d in outer_dimensions]
        factors.append(Argument(buffer, offset, split, outer, tuple(reach)))
    split_axes = () if split_axis is None else (split_axis,)
    arguments = factors + _arguments(
        behind.places, behind.targets, cluster.space, split_axes, outer_axes
    )
    turns = prod(anchor.shape[:-2])
    flops = turns * rows * columns * (2 * depth + len(behind.steps))
    return [
        Task(
            f"product {'x'.join(map(str, (*anchor.shape[:-2], rows, columns)))} over {depth}",
            kernel,
            arguments,
            tuple({"m": rows, "k": depth}[name] for name in kernel.extents),
            rows if by_rows else columns,
            tuple(anchor.shape[d] for d in outer_dimensions),
            flops,
        )
    ]


def _better_turned(left: Any, right: Any, columns: int) -> bool:
    """Whether the transposed product is the better one: only its factors lie as kernels like."""
    along_columns = right[2][1] == 1 or columns == 1
    along_depth = left[2][1] == 1 and right[2][0] == 1
    return not along_columns and not along_depth and left[2][0] == 1


def _transposed(factor: Any) -> Any:
    buffer, offset, last, lead = factor
    return buffer, offset, last[::-1], lead


def _stored_operand(place: Place, axes: Sequence[int | None]) -> Operand:
    """A place as an output: an axis of length 1 still has a stride."""
    strides = strides_on(place, axes)
    return Operand(place.buffer.dtype, tuple(step or 1 for step in strides))


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

    arguments = _arguments(every.places, every.targets, (), (), ())
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
    return Task(label, kernel, _arguments(places[:1], places[1:], space, (0,), ()), (), space[0])


_LOWERINGS: dict[str, Callable[[Context, Cluster], list[Task]]] = {
    "map": _lower_map,
    "row": lower_row,
    "column": _lower_column,
    "whole": _lower_whole,
    "product": _lower_product,
    "random": _lower_random,
    "scalar": _lower_scalar,
    "move": lower_move,
}
