"""Window clusters: convolution and pooling as tasks that threads share by images."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from ....graph.node import Node
from ..kernels.channels import channelwise, largest, spread, summed
from ..kernels.common import Kernel, Operand
from ..kernels.convolution import Weights, convolution
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


def _ends(context: Context, cluster: Cluster, anchor: Node) -> Points:
    return points(context, cluster, {}, given=(anchor,))


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
    at, what = anchor.attrs["at"], anchor.attrs["what"]
    x = _Rows(context, anchor.inputs[0])
    behind = _ends(context, cluster, anchor)
    operands, outputs = _end_operands(cluster, anchor, behind)
    kernel = context.kernel(
        _pooling,
        behind.code(anchor),
        at=at,
        what=what,
        channels=anchor.shape[1],
        x=x.operand,
        operands=operands,
        outputs=outputs,
        body=behind.body(anchor),
    )
    arguments = [
        x.argument(at.rows, anchor.shape[1]),
        *_end_arguments(cluster, anchor, behind, at.outputs),
    ]
    label = f"{'sums' if what == 'sum' else 'maxima'} of {_size(at, anchor.shape[1])}"
    return [Task(f"{label} by {_window(at)}", kernel, arguments, (), at.images)]


def _pooling(
    module: object,
    *,
    at: Windows,
    what: str,
    channels: int,
    x: Operand,
    operands: list[Operand],
    outputs: list[Operand],
    body: Callable[..., object],
) -> Kernel:
    """The kernel of one kind of pooling."""
    frame = Frame(at, channels, x, 0.0 if what == "sum" else float("-inf"))
    core = summed if what == "sum" else largest([what])
    return channelwise(module, "pool", frame, [], core, operands, outputs, body)  # type: ignore[arg-type]


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


_KINDS: dict[str, Callable[[Context, Cluster, Node], list[Task]]] = {
    "convolve_rows": _convolve,
    "weigh_rows": _weigh,
    "pool_rows": _pool,
    "spread_rows": _spread,
}
