"""Product clusters: which way round a product is computed, and with which pointers.

C = A B may also be computed as Cᵀ = Bᵀ Aᵀ; that is done where only its factors lie as kernels like
them. Leading dimensions are loops around the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

from ....graph.node import Node
from ..kernels import blocked
from ..kernels.ahead import Ahead
from ..kernels.common import Kernel, Operand
from ..kernels.product import product
from .ahead import Gathered
from .buffers import Buffer, Place
from .cluster import Cluster
from .context import Context, Points, points
from .tasks import Argument, Task, arguments_of, nest, operand, strides_on
from .views import layout_of, under

# Kernels written for some number of rows and depth serve others of the same class.
_MANY_ROWS = 48


@dataclass(frozen=True)
class _Factor:
    """A factor: where it lies, its (row, column) strides, and those of the leading dimensions."""

    buffer: Buffer
    offset: int
    strides: tuple[int, int]
    lead: tuple[int, ...]

    def turned(self) -> _Factor:
        """The transposed factor."""
        return _Factor(self.buffer, self.offset, self.strides[::-1], self.lead)

    def argument(
        self, shape: tuple[int, int], split: int | None, outer: dict[int, int]
    ) -> Argument:
        """The factor as a pointer of a task.

        Args:
            shape: its rows and columns.
            split: which of them threads share, or None.
            outer: extents of the leading dimensions that are looped over.
        """
        step = 0 if split is None else self.strides[split]
        reach = [(self.strides[k], shape[k]) for k in range(2) if k != split or not step]
        reach += [(self.lead[d], extent) for d, extent in outer.items()]
        along = tuple(self.lead[d] for d in outer)
        return Argument(self.buffer, self.offset, step, along, tuple(reach))


def _factor(context: Context, node: Node, turned: bool, batch: int) -> _Factor:
    buffer = context.buffers[under(node)]
    layout = layout_of(node, buffer.strides)
    assert layout is not None, node
    offset, strides = layout
    last = (strides[-1], strides[-2]) if turned else (strides[-2], strides[-1])
    lead = tuple(0 if n == 1 else s for n, s in zip(node.shape[:-2], strides, strict=False))
    return _Factor(buffer, offset, last, (0,) * (batch - len(lead)) + lead)


@dataclass(frozen=True)
class _Product:
    """A product, the way round that it is computed.

    Attributes:
        left, right: the factors.
        sizes: rows, columns and depth.
        axes: the axes of the cluster's space that rows and columns run along; None for length 1.
        stacked: the leading dimensions that are counted as rows.
    """

    left: _Factor
    right: _Factor
    sizes: tuple[int, int, int]
    axes: tuple[int | None, int | None]
    stacked: tuple[int, ...] = ()

    def rows_axes(self, cluster: Cluster, anchor: Node) -> tuple[int, ...]:
        """The axes of the cluster's space that are the rows together."""
        every = [*(cluster.axes[anchor][d] for d in self.stacked), self.axes[0]]
        return tuple(axis for axis in every if axis is not None)

    def best(self) -> _Product:
        """This product or the transposed one."""
        left, right = self.left.strides, self.right.strides
        along_columns = right[1] == 1 or self.sizes[1] == 1
        if along_columns or self.fixed_depth or left[0] != 1:
            return self
        rows, columns, depth = self.sizes
        turned = self.right.turned(), self.left.turned()
        return _Product(*turned, (columns, rows, depth), self.axes[::-1])

    @property
    def fixed_depth(self) -> bool:
        """Whether both factors lie along the depth: such a kernel serves one depth only."""
        return self.left.strides[1] == 1 and self.right.strides[0] == 1

    def class_of_sizes(self, a: Operand, b: Operand) -> tuple[bool, bool, int]:
        """Equal for products that one kernel serves."""
        copied = blocked.pays(self.sizes, a, b)
        return (
            self.sizes[0] >= _MANY_ROWS,
            copied,
            self.sizes[2] if self.fixed_depth and not copied else 0,
        )

    def points(self, context: Context, cluster: Cluster, anchor: Node) -> Points:
        """What is computed from each element."""
        index_axis = {axis: k for k, axis in enumerate(self.axes) if axis is not None}
        return points(context, cluster, index_axis, given=(anchor,))

    def stackable(self, batch: tuple[int, ...]) -> list[int]:
        """The leading dimensions, from the last, that lie in the left factor as more rows do."""
        rows = self.sizes[0]
        found: list[int] = []
        for d in reversed(range(len(batch))):
            if batch[d] != 1:
                if self.right.lead[d] or self.left.lead[d] != rows * self.left.strides[0]:
                    break
                found.insert(0, d)
                rows *= batch[d]
        return found

    def with_rows(self, stacked: list[int], batch: tuple[int, ...]) -> _Product:
        """The same product with leading dimensions counted as rows."""
        rows, columns, depth = self.sizes
        rows *= prod(batch[d] for d in stacked)
        return replace(self, sizes=(rows, columns, depth), stacked=tuple(stacked))

    def kernel(
        self,
        context: Context,
        anchor: Node,
        behind: Points,
        ahead: Ahead | None = None,
        gathered: int = 0,
    ) -> Kernel:
        """The kernel of the product and of what is behind it."""
        rows, columns, depth = self.sizes
        asked: dict[str, Any] = {"ahead": ahead} if ahead else {}
        asked |= {"gathered": gathered} if gathered else {}
        a = Operand(anchor.dtype, self.left.strides)
        b = Operand(anchor.dtype, self.right.strides)
        return context.kernel(
            product,
            (behind.code(anchor), self.class_of_sizes(a, b)),
            {"rows": rows, "depth": depth},
            n=columns,
            a=a,
            b=b,
            operands=[operand(place, self.axes) for place in behind.places],
            outputs=[_stored(place, self.axes) for place in behind.targets],
            body=behind.body(anchor),
            **asked,
        )


def _stored(place: Place, axes: tuple[int | None, ...]) -> Operand:
    """A place as an output: an axis of length 1 still has a stride."""
    return Operand(place.buffer.dtype, tuple(step or 1 for step in strides_on(place, axes)))


def lower_product(context: Context, cluster: Cluster) -> list[Task]:
    """One product with what is computed from its elements."""
    anchor = cluster.anchor
    assert anchor is not None
    flags, batch = anchor.attrs, anchor.ndim - 2
    depth = anchor.inputs[0].shape[-2 if flags["ta"] else -1]
    rows_axis, columns_axis = cluster.axes[anchor][-2:]
    given = _Product(
        _factor(context, anchor.inputs[0], flags["ta"], batch),
        _factor(context, anchor.inputs[1], flags["tb"], batch),
        (anchor.shape[-2], anchor.shape[-1], depth),
        (rows_axis, columns_axis),
    )
    chosen, behind = _merged(context, cluster, anchor, given)
    part = context.asking.get(cluster)
    ahead = part.ahead(*chosen.sizes[:2]) if part else None
    fill = _filled(context, cluster, chosen)
    rows = fill.data.shape[0] if fill else 0
    kernel = chosen.kernel(context, anchor, behind, ahead, rows)
    task = _task(cluster, anchor, chosen, behind, kernel)
    if fill and "source" in kernel.pointers:
        task.arguments[0] = replace(task.arguments[0], writes=True, reads=False)
        task.arguments += fill.fill()
        task.fills = fill.batch
        task.label += ", batch gathered by it"
    if part and "chosen" in kernel.pointers:
        task.arguments += part.arguments()
        task.label += ", next batch asked for"
    return [task]


def _filled(context: Context, cluster: Cluster, chosen: _Product) -> Gathered | None:
    """The batch that is all of the product's left factor, if the product may gather it."""
    if context.filler is None or context.filler[0] is not cluster:
        return None
    batch = context.filler[1]
    whole = chosen.left.buffer is batch.batch and chosen.left.offset == 0
    return batch if whole and chosen.right.buffer is not batch.batch else None


def _merged(
    context: Context, cluster: Cluster, anchor: Node, given: _Product
) -> tuple[_Product, Points]:
    """The product with as many leading dimensions made rows as can be, and what is behind it."""
    batch, chosen = anchor.shape[:-2], given.best()
    stacked = given.stackable(batch) if chosen is given and given.axes[0] is not None else []
    while stacked:
        made = given.with_rows(stacked, batch)
        columns = given.axes[1]
        behind = points(context, cluster, {} if columns is None else {columns: 1}, given=(anchor,))
        rows = made.rows_axes(cluster, anchor)
        every = [*behind.places, *behind.targets]
        if made.best() is made and nest(every, cluster.space, rows).rows == rows:
            return made, behind
        del stacked[0]
    return chosen, chosen.points(context, cluster, anchor)


def _task(cluster: Cluster, anchor: Node, chosen: _Product, behind: Points, kernel: Kernel) -> Task:
    rows, columns, depth = chosen.sizes
    by_rows = kernel.axis == "rows"
    split = chosen.rows_axes(cluster, anchor) if by_rows else chosen.axes[1:]
    batch = anchor.shape[:-2]
    outer = {d: n for d, n in enumerate(batch) if n != 1 and d not in chosen.stacked}
    outer_axes = [cluster.axes[anchor][d] for d in outer]
    factors = [
        chosen.left.argument((rows, depth), 0 if by_rows else None, outer),
        chosen.right.argument((depth, columns), None if by_rows else 1, outer),
    ]
    others = arguments_of(
        behind.places,
        behind.targets,
        cluster.space,
        tuple(axis for axis in split if axis is not None),
        [axis for axis in outer_axes if axis is not None],
    )
    size = "x".join(map(str, (*outer.values(), rows, columns)))
    return Task(
        f"product {size} over {depth}",
        kernel,
        [*factors, *others],
        tuple({"m": rows, "k": depth}[name] for name in kernel.extents),
        rows if by_rows else columns,
        tuple(outer.values()),
        prod(batch) * anchor.shape[-2] * anchor.shape[-1] * (2 * depth + len(behind.steps)),
    )
