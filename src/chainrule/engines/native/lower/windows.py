"""Window clusters: convolution and pooling as tasks that threads share by images."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from ....graph.node import Node
from ..kernels.channels import channelwise, largest, summed
from ..kernels.common import Kernel, Operand
from ..kernels.convolution import Weights, convolution, convolution_pooled
from ..kernels.places import Behind, input_behind_pool, weights_behind_pool
from ..kernels.spread import spread
from ..kernels.weights import convolution_weights
from ..kernels.windows import Frame, Windows
from .buffers import Buffer, Place
from .cluster import Cluster
from .context import Context, Points, points
from .tasks import Argument, Task, strides_on
from .views import layout_of, under


def lower_window(context: Context, cluster: Cluster) -> list[Task]:
    """One convolution or pooling with what is computed from its elements."""
    anchor = cluster.anchor
    assert anchor is not None
    return _KINDS[anchor.op.name](context, cluster, anchor)


class _Rows:
    """A matrix of rows in memory: strides along (row, column)."""

    def __init__(self, context: Context, node: Node) -> None:
        self.buffer: Buffer = context.buffers[under(node)]
        layout = layout_of(node, self.buffer.strides)
        assert layout is not None, node
        self.offset, strides = layout
        # A length of 1 has no stride of its own.
        row, column = (1 if n == 1 else step for n, step in zip(node.shape, strides, strict=True))
        self.operand = Operand(self.buffer.dtype, (row, column))

    def argument(self, rows: int, columns: int) -> Argument:
        """The matrix as a pointer of a task that threads share by ``rows`` rows each."""
        row, column = self.operand.strides
        return Argument(self.buffer, self.offset, row * rows, (), ((row, rows), (column, columns)))


def _ends(context: Context, cluster: Cluster, *anchors: Node) -> Points:
    return points(context, cluster, {}, given=anchors)


def _end_operands(
    cluster: Cluster, anchor: Node, behind: Points
) -> tuple[list[Operand], list[Operand]]:
    axes = cluster.axes[anchor]
    operands = [Operand(p.buffer.dtype, strides_on(p, axes)) for p in behind.places]
    outputs = [
        # An axis of length 1 still has a stride.
        Operand(p.buffer.dtype, tuple(step or 1 for step in strides_on(p, axes)))
        for p in behind.targets
    ]
    return operands, outputs


def _end_arguments(cluster: Cluster, anchor: Node, behind: Points, rows: int) -> list[Argument]:
    axes = cluster.axes[anchor]

    def argument(place: Place, writes: bool) -> Argument:
        row, column = strides_on(place, axes)
        reach = ((row, rows), (column, anchor.shape[1]))
        return Argument(place.buffer, place.offset, row * rows, (), reach, writes, not writes)

    read = [argument(place, False) for place in behind.places]
    return read + [argument(place, True) for place in behind.targets]


def _size(at: Windows, channels: int) -> str:
    lengths = [str(n) for n in at.size if n != 1] or ["1"]
    return f"{at.images}x{'x'.join(lengths)}x{channels}"


def _convolve(context: Context, cluster: Cluster, anchor: Node) -> list[Task]:
    at: Windows = anchor.attrs["at"]
    x, w = _Rows(context, anchor.inputs[0]), anchor.inputs[1]
    panels, *_, channels, panel = w.shape
    behind = _ends(context, cluster, anchor)
    operands, outputs = _end_operands(cluster, anchor, behind)
    kernel = context.kernel(
        convolution,
        behind.code(anchor),
        at=at,
        x=x.operand,
        weights=Weights(channels, panels * panel, panel, anchor.attrs["groups"]),
        operands=operands,
        outputs=outputs,
        body=behind.body(anchor),
    )
    held = context.buffers[under(w)]
    arguments = [
        x.argument(at.rows, anchor.inputs[0].shape[1]),
        Argument(held, 0, 0, (), ((1, prod(w.shape)),)),
        *_end_arguments(cluster, anchor, behind, at.outputs),
    ]
    work = anchor.size * (2 * channels * at.taps + len(behind.steps))
    label = f"convolution {_size(at, channels)} to {panels * panel} by {_window(at)}"
    return [Task(label, kernel, arguments, (), at.images, flops=work)]


def _window(at: Windows) -> str:
    return "x".join(str(k) for k in at.window if k != 1) or "1"


def _weigh(context: Context, cluster: Cluster, anchor: Node) -> list[Task]:
    at: Windows = anchor.attrs["at"]
    parts, groups = anchor.attrs["parts"], anchor.attrs["groups"]
    x, g = (_Rows(context, source) for source in anchor.inputs)
    channels, outputs = anchor.shape[-2:]
    kernel = context.kernel(
        convolution_weights,
        None,
        at=at,
        x=x.operand,
        g=g.operand,
        weights=Weights(channels, outputs, outputs, groups),
        parts=parts,
    )
    out, each = context.buffers[anchor], anchor.size // parts
    arguments = [
        # Parts take different numbers of images: what a thread reads is any part.
        Argument(x.buffer, x.offset, 0),
        Argument(g.buffer, g.offset, 0),
        Argument(out, 0, each, (), ((1, each),), True, False),
    ]
    label = f"weights of convolution {_size(at, channels)} to {outputs} by {_window(at)}"
    work = 2 * at.images * at.outputs * each
    return [Task(label, kernel, arguments, (), parts, flops=work)]


def _pool(context: Context, cluster: Cluster, anchor: Node) -> list[Task]:
    at = anchor.attrs["at"]
    x = _Rows(context, anchor.inputs[0])
    anchors, kinds = _anchors(cluster, anchor)
    behind = _ends(context, cluster, *anchors)
    operands, outputs = _end_operands(cluster, anchor, behind)
    kernel = context.kernel(
        _pooling,
        behind.code(*anchors),
        at=at,
        kinds=kinds,
        channels=anchor.shape[1],
        x=x.operand,
        operands=operands,
        outputs=outputs,
        body=behind.body(*anchors),
    )
    arguments = [
        x.argument(at.rows, anchor.shape[1]),
        *_end_arguments(cluster, anchor, behind, at.outputs),
    ]
    label = f"{'sums' if kinds == ['sum'] else 'maxima'} of {_size(at, anchor.shape[1])}"
    return [Task(f"{label} by {_window(at)}", kernel, arguments, (), at.images)]


def _pooling(
    module: object,
    *,
    at: Windows,
    kinds: list[str],
    channels: int,
    x: Operand,
    operands: list[Operand],
    outputs: list[Operand],
    body: Callable[..., object],
) -> Kernel:
    """The kernel of one kind of pooling."""
    is_sum = kinds == ["sum"]
    frame = Frame(at, channels, x, 0.0 if is_sum else float("-inf"))
    core = summed if is_sum else largest(kinds)
    return channelwise(module, "pool", frame, [], core, operands, outputs, body)  # type: ignore[arg-type]


def _anchors(cluster: Cluster, anchor: Node) -> tuple[list[Node], list[str]]:
    """The anchors of a cluster of maxima, and what each is of its windows."""
    anchors = [node for node in cluster.axes if node.op is anchor.op]
    return anchors, [node.attrs["what"] for node in anchors]


def _convolve_pool(context: Context, cluster: Cluster, anchor: Node) -> list[Task]:
    at, pool = anchor.attrs["at"], anchor.attrs["pool"]
    x, w = _Rows(context, anchor.inputs[0]), anchor.inputs[1]
    panels, *_, channels, panel = w.shape
    anchors, kinds = _anchors(cluster, anchor)
    behind, held = _ends(context, cluster, *anchors), context.buffers[under(w)]
    operands, outputs = _end_operands(cluster, anchor, behind)
    kernel = context.kernel(
        convolution_pooled,
        behind.code(*anchors),
        at=at,
        pool=pool,
        kinds=kinds,
        x=x.operand,
        weights=Weights(channels, panels * panel, panel, anchor.attrs["groups"]),
        operands=operands,
        outputs=outputs,
        body=behind.body(*anchors),
    )
    arguments = [
        x.argument(at.rows, anchor.inputs[0].shape[1]),
        Argument(held, 0, 0, (), ((1, prod(w.shape)),)),
        *_end_arguments(cluster, anchor, behind, pool.outputs),
    ]
    work = 2 * at.images * at.outputs * panels * panel * channels * at.taps
    label = f"maxima of convolution {_size(at, channels)} to {panels * panel} by {_window(at)}"
    return [Task(label, kernel, arguments, (), at.images, flops=work)]


def _spread(context: Context, cluster: Cluster, anchor: Node) -> list[Task]:
    at: Windows = anchor.attrs["at"]
    sources = [_Rows(context, source) for source in anchor.inputs]
    behind = _ends(context, cluster, anchor)
    operands, outputs = _end_operands(cluster, anchor, behind)
    kernel = context.kernel(
        spread,
        behind.code(anchor),
        at=at,
        channels=anchor.shape[1],
        values=sources[0].operand,
        codes=sources[1].operand if len(sources) > 1 else None,
        operands=operands,
        outputs=outputs,
        body=behind.body(anchor),
    )
    arguments = [
        *(source.argument(at.outputs, anchor.shape[1]) for source in sources),
        *_end_arguments(cluster, anchor, behind, at.rows),
    ]
    label = f"spread over {_size(at, anchor.shape[1])} by {_window(at)}"
    return [Task(label, kernel, arguments, (), at.images)]


def _weigh_places(context: Context, cluster: Cluster, anchor: Node) -> list[Task]:
    at, pool, parts = (anchor.attrs[name] for name in ("at", "pool", "parts"))
    x, g, code = (_Rows(context, source) for source in anchor.inputs)
    behind = Behind(at, pool, anchor.shape[-1], anchor.shape[1])
    kernel = context.kernel(
        weights_behind_pool,
        None,
        behind=behind,
        x=x.operand,
        g=g.operand,
        codes=code.operand,
        parts=parts,
    )
    out, each = context.buffers[anchor], anchor.size // parts
    arguments = [
        *(Argument(part.buffer, part.offset, 0) for part in (x, g, code)),
        Argument(out, 0, each, (), ((1, each),), True, False),
    ]
    size = f"{_size(at, behind.channels)} to {behind.outputs} by {_window(at)}"
    label = f"weights of convolution {size} at maxima"
    return [Task(label, kernel, arguments, (), parts, flops=_placed_work(behind))]


def _placed_work(behind: Behind) -> int:
    """Operations at the pooled places of all images."""
    return 2 * behind.pool.images * behind.pool.outputs * behind.outputs * behind.size


def _convolve_places(context: Context, cluster: Cluster, anchor: Node) -> list[Task]:
    at, pool = anchor.attrs["at"], anchor.attrs["pool"]
    g, code = (_Rows(context, source) for source in anchor.inputs[:2])
    w = anchor.inputs[2]
    behind, held = _ends(context, cluster, anchor), context.buffers[under(w)]
    operands, outputs = _end_operands(cluster, anchor, behind)
    what = Behind(at, pool, anchor.shape[1], w.shape[0])
    kernel = context.kernel(
        input_behind_pool,
        behind.code(anchor),
        behind=what,
        g=g.operand,
        codes=code.operand,
        operands=operands,
        outputs=outputs,
        body=behind.body(anchor),
    )
    arguments = [
        *(part.argument(pool.outputs, what.outputs) for part in (g, code)),
        Argument(held, 0, 0, (), ((1, prod(w.shape)),)),
        *_end_arguments(cluster, anchor, behind, at.rows),
    ]
    label = f"input of convolution {_size(at, what.channels)} from {what.outputs} by {_window(at)}"
    work = _placed_work(what)
    return [Task(f"{label} at maxima", kernel, arguments, (), at.images, flops=work)]


_KINDS: dict[str, Callable[[Context, Cluster, Node], list[Task]]] = {
    "convolve_rows": _convolve,
    "weigh_rows": _weigh,
    "pool_rows": _pool,
    "spread_rows": _spread,
    "convolve_pool": _convolve_pool,
    "weigh_places": _weigh_places,
    "convolve_places": _convolve_places,
}
