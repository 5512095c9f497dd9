"""Reductions along columns and of everything, with elementwise work before and behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from ....graph.node import Node
from ..kernels.columns import reduce_columns
from ..kernels.common import Operand
from ..kernels.tall import fold_parts
from ..kernels.whole import reduce_all
from .buffers import Buffer, Place
from .cluster import Cluster
from .context import Context, Points, points
from .formula import encoded, encoded_source, evaluate, fetch
from .support import form
from .tasks import Argument, Nest, Task, arguments_of, describe, nest, operand

_FOLD = {"sum": "sum", "amax": "max"}
# From so many rows on, and up to so many columns, parts of the rows are folded apart.
_TALL, _NARROW = 2048, 256
_PARTS = 16

Before = tuple[Points, Callable[..., Any], Any]


def _before(
    context: Context, cluster: Cluster, anchors: Sequence[Node], nodes: Sequence[Node]
) -> Before:
    """What is computed on the way to reductions: its points, its body, its code."""
    pre = points(context, cluster, {}, nodes=nodes)
    reader = context.reader(cluster, set(), {})
    summed = [reader.source(each.inputs[0], cluster.source_axes[each]) for each in anchors]
    for key, place in reader.places.items():
        if key not in pre.keys:
            pre.keys.append(key)
            pre.places.append(place)

    def each(e: Any, *values: Any) -> Any:
        known = dict(zip(pre.keys, values, strict=True))
        evaluate(e, pre.steps, known)
        return [fetch(e, source, known) for source in summed]

    names: dict[Any, Any] = {key: ("in", k) for k, key in enumerate(pre.keys)}
    code = encoded(pre.steps, names)
    return pre, each, (code, tuple(encoded_source(source, names) for source in summed))


def lower_column(context: Context, cluster: Cluster) -> list[Task]:
    """Reductions along an axis that is not the last, elementwise work before and behind them."""
    space, reduced = cluster.space, cluster.reduced
    assert reduced is not None
    anchors = [node for node in cluster.axes if form(node) == "reduce"]
    before = [node for node in cluster.axes if reduced in cluster.level(cluster.axes[node])]
    behind = [node for node in cluster.axes if node not in before and node not in anchors]
    pre = _before(context, cluster, anchors, before)
    post = points(context, cluster, {}, given=anchors, nodes=behind)
    kept = [axis for axis in range(len(space)) if axis != reduced]
    columns = nest([*pre[0].places, *post.places, *post.targets], space, kept)
    if _is_tall(space, reduced, columns, anchors):
        return _in_parts(context, cluster, anchors, pre, post, columns)
    unit = columns.rows[-1]
    kernel = context.kernel(
        reduce_columns,
        (pre[2], post.code(*anchors)),
        cols=columns.length(space),
        kind=tuple(_FOLD[anchor.op.name] for anchor in anchors),
        operands=[operand(place, (reduced, unit)) for place in pre[0].places],
        pre=pre[1],
        after=[operand(place, (unit,)) for place in post.places],
        outputs=[operand(place, (unit,)) for place in post.targets],
        post=post.body(*anchors),
    )
    arguments = arguments_of(
        [*pre[0].places, *post.places], post.targets, space, columns.rows, columns.outer
    )
    return [
        Task(
            describe(cluster),
            kernel,
            arguments,
            (space[reduced],),
            columns.length(space),
            tuple(space[axis] for axis in columns.outer),
            (len(pre[0].steps) + len(anchors)) * prod(space),
        )
    ]


def _is_tall(space: tuple[int, ...], reduced: int, columns: Nest, anchors: Sequence[Node]) -> bool:
    """Whether there are many rows of few columns, all of one type."""
    rows, width = space[reduced], columns.length(space)
    alike = all(anchor.dtype is anchors[0].dtype for anchor in anchors)
    floats = anchors[0].dtype.is_float
    return rows >= _TALL and width <= _NARROW and not columns.outer and alike and floats


def _in_parts(
    context: Context,
    cluster: Cluster,
    anchors: Sequence[Node],
    pre: Before,
    post: Points,
    columns: Nest,
) -> list[Task]:
    """Parts of the rows folded apart, then the parts."""
    space, reduced, unit = cluster.space, cluster.reduced, columns.rows[-1]
    assert reduced is not None
    width, dtype = columns.length(space), anchors[0].dtype
    kinds = tuple(_FOLD[anchor.op.name] for anchor in anchors)
    first = context.kernel(
        fold_parts,
        pre[2],
        cols=width,
        parts=_PARTS,
        kinds=kinds,
        dtype=dtype,
        operands=[operand(place, (reduced, unit)) for place in pre[0].places],
        pre=pre[1],
    )
    shape = (_PARTS, len(kinds), width)
    held = Buffer("sums of parts", shape, dtype, (len(kinds) * width, width, 1))
    reads = [Argument(place.buffer, place.offset, 0) for place in pre[0].places]
    into = Argument(held, 0, len(kinds) * width, (), ((1, len(kinds) * width),), True, False)
    work = (len(pre[0].steps) + len(anchors)) * prod(space)
    label = describe(cluster)
    tasks = [Task(label, first, [*reads, into], (space[reduced],), _PARTS, flops=work)]
    second = context.kernel(
        reduce_columns,
        ("parts", post.code(*anchors)),
        cols=width,
        kind=kinds,
        operands=[Operand(dtype, (len(kinds) * width, 1))] * len(kinds),
        pre=lambda e, *values: list(values),
        after=[operand(place, (unit,)) for place in post.places],
        outputs=[operand(place, (unit,)) for place in post.targets],
        post=post.body(*anchors),
    )
    parts = [
        Argument(held, fold * width, 1, (), ((len(kinds) * width, _PARTS),))
        for fold in range(len(kinds))
    ]
    others = arguments_of(post.places, post.targets, space, columns.rows, columns.outer)
    tasks.append(Task(f"{label}, its parts", second, [*parts, *others], (_PARTS,), width))
    return tasks


def lower_whole(context: Context, cluster: Cluster) -> list[Task]:
    """A reduction of everything, elementwise work before it."""
    space, anchor = cluster.space, cluster.anchor
    assert anchor is not None
    axes = range(len(space))
    members = [node for node in cluster.axes if node is not anchor]
    pre, each, code = _before(context, cluster, [anchor], members)
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
