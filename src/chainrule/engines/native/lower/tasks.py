"""Tasks: clusters as calls of kernels, with where each pointer goes and how threads share them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ....graph.node import Node
from ..kernels.common import Kernel, Operand
from .buffers import Buffer, Place, Time
from .cluster import Cluster

Signature = tuple[int, int, int] | str | None


@dataclass(frozen=True)
class Argument:
    """One pointer of a task.

    Attributes:
        place: the array, its strides along the axes of the cluster's space.
        split: elements from one unit of the split axis to the next.
        outer: elements from one turn of each outer loop to the next.
        reach: (stride, extent) of every other axis.
        writes: whether the kernel writes here.
    """

    buffer: Buffer
    offset: int
    split: int
    outer: tuple[int, ...] = ()
    reach: tuple[tuple[int, int], ...] = ()
    writes: bool = False
    reads: bool = True


@dataclass(frozen=True)
class Steps:
    """The steps of a loop over time.

    Attributes:
        time: what is counted.
        phases: the tasks of one step; the threads wait between phases.
        waits: whether they also wait between one step and the next. Without that, and with one
            phase, each thread takes its rows through all steps by itself.
        carried: what goes from step to step, for reading.
    """

    time: Time
    phases: list[list[Task]]
    waits: bool
    carried: list[str]


@dataclass(eq=False)
class Task:
    """One call of a kernel in a step, a piece of scalar code, or a loop of such tasks.

    Attributes:
        label: what it computes, for reading.
        kernel: the kernel; None for scalar code, which ``write`` emits, and for loops.
        steps: what a loop does.
        arguments: its pointers, in the kernel's order, scratch left out.
        extents: the kernel's run-time extents.
        length: extent of the axis that threads share (1 for scalar code).
        unit: threads split the axis at multiples of this.
        outer: extents of loops around the call.
        flops: floating-point operations, for reading and for choosing threads.
        cluster: the nodes it computes; None for copies and gathers.
        checks: whether it must be over before state is written, in all threads.
        commits: whether it writes state.
        fills: the batch that it gathers as it reads it.
    """

    label: str
    kernel: Kernel | None
    arguments: list[Argument]
    extents: tuple[int, ...] = ()
    length: int = 1
    outer: tuple[int, ...] = ()
    flops: int = 0
    cluster: Cluster | None = None
    write: Callable[..., None] | None = None
    unit: int = 1
    fused: list[str] = field(default_factory=list)
    steps: Steps | None = None
    checks: bool = False
    commits: bool = False
    fills: Buffer | None = None

    @property
    def shared(self) -> bool:
        """Whether threads share the work; otherwise the first thread does it."""
        if self.steps is not None:
            return True
        return self.kernel is not None and self.kernel.axis != "whole"

    def moved(self) -> tuple[int, int]:
        """Bytes that it reads and bytes that it writes, every element counted once."""
        read: dict[Buffer, int] = {}
        written: dict[Buffer, int] = {}
        for each in self.arguments:
            count = self.length if each.split else 1
            turns = zip(each.outer, self.outer, strict=False)
            count *= prod(extent for stride, extent in (*turns, *each.reach) if stride)
            most = prod(each.buffer.shape)
            size = min(count, most) * each.buffer.dtype.itemsize
            for found, touched in ((read, each.reads), (written, each.writes)):
                if touched:
                    found[each.buffer] = max(size, found.get(each.buffer, 0))
        return sum(read.values()), sum(written.values())

    def signature(self, argument: Argument) -> Signature:
        """Which part of a buffer a unit of the split axis touches.

        Two tasks whose signatures on a buffer are equal touch, on each thread, the same part of
        it, so they need no barrier between them. None: any part.
        """
        if not self.shared:
            return "first"
        step, count = argument.split, self.length
        if step <= 0:
            return None
        low = (argument.offset + argument.buffer.within_step()[1]) % (step * count)
        for stride, extent in argument.reach:
            if extent == 1 or stride % (step * count) == 0:
                continue
            if stride < 0:
                return None
            low += stride * (extent - 1)
        return (step, count, self.unit) if low < step else None

    @property
    def bytes(self) -> int:
        """Bytes of the arrays that it touches."""
        return sum(argument.buffer.bytes for argument in self.arguments)


def leaves(tasks: Iterable[Task]) -> Iterator[Task]:
    """The tasks, and in the place of a loop those of its steps."""
    for task in tasks:
        if task.steps is None:
            yield task
        else:
            for phase in task.steps.phases:
                yield from leaves(phase)


def strides_on(place: Place, axes: Sequence[int | None]) -> tuple[int, ...]:
    """A place's strides along chosen axes of the space; None is an axis of length 1.

    Example:
        >>> from chainrule import float32
        >>> buffer = Buffer("x", (2, 3), float32, (3, 1))
        >>> strides_on(Place(buffer, 0, (3, 1)), (1, None))
        (1, 0)
    """
    return tuple(0 if axis is None else place.strides[axis] for axis in axes)


def operand(place: Place, axes: Sequence[int | None]) -> Operand:
    """A place as a kernel's operand along chosen axes."""
    return Operand(place.buffer.dtype, strides_on(place, axes))


def mergeable(places: Sequence[Place], space: tuple[int, ...], outer: int, inner: int) -> bool:
    """Whether every place runs through two neighbouring axes as through one."""
    return all(place.strides[outer] == place.strides[inner] * space[inner] for place in places)


@dataclass(frozen=True)
class Nest:
    """How the axes of a space are used by a kernel of one or two axes.

    Attributes:
        rows: the axes that are one run-time axis together, the last its unit.
        outer: the axes that are loops around the call.
    """

    rows: tuple[int, ...]
    outer: tuple[int, ...]

    def length(self, space: tuple[int, ...]) -> int:
        """Extent of the run-time axis."""
        return prod(space[axis] for axis in self.rows)


def nest(places: Sequence[Place], space: tuple[int, ...], axes: Sequence[int]) -> Nest:
    """Merge as many of the axes as possible, from the last; the others become outer loops."""
    if not axes:
        return Nest((), ())
    rows = [axes[-1]]
    for axis in reversed(axes[:-1]):
        if not mergeable(places, space, axis, rows[0]):
            break
        rows.insert(0, axis)
    return Nest(tuple(rows), tuple(axis for axis in axes if axis not in rows))


def argument(
    place: Place,
    space: tuple[int, ...],
    split: Sequence[int | None],
    outer: Sequence[int],
    writes: bool = False,
) -> Argument:
    """A place as a pointer of a task whose split axis is ``split[-1]``, merged with the rest."""
    unit = split[-1] if split else None
    step = 0 if unit is None else place.strides[unit]
    reach = tuple(
        (place.strides[axis], space[axis]) for axis in range(len(space)) if axis not in split
    )
    return Argument(
        place.buffer, place.offset, step, strides_on(place, outer), reach, writes, not writes
    )


def arguments_of(
    places: Sequence[Place],
    targets: Sequence[Place],
    space: tuple[int, ...],
    split: Sequence[int],
    outer: Sequence[int],
) -> list[Argument]:
    """Places that are read, then places that are written, as pointers of a task."""
    read = [argument(place, space, split, outer) for place in places]
    return read + [argument(place, space, split, outer, True) for place in targets]


def fused_names(cluster: Cluster) -> list[str]:
    """What a cluster computes, in order, for reading."""
    return [node.op.name for node in cluster.axes]


def describe_shape(node: Node) -> str:
    """A node's shape, for reading.

    Example:
        >>> import chainrule as cr
        >>> describe_shape(cr.ones(2, 3).node)
        '2x3'
    """
    return "x".join(map(str, node.shape)) or "1"


def describe(cluster: Cluster, inner: Any = None) -> str:
    """A cluster's label: its kind and its space."""
    size = "x".join(map(str, cluster.space)) or "1"
    return f"{cluster.kind} {size}" + (f" by {inner}" if inner is not None else "")
