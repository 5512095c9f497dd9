"""Large batches: which product gathers the rows, and which ask memory for the next ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ....dtypes import int32
from ....graph.node import Node
from ..kernels.ahead import Ahead
from ..target import Target
from .buffers import Buffer
from .cluster import Cluster
from .tasks import Argument

# Fewer bytes of a batch than this are gathered faster than they are asked for.
_LEAST = 1 << 15
_LINE = 64
# Cycles in which memory gives a line to one of several threads, without anything else to do.
_CYCLES_A_LINE = 24
# A product takes a part when it lasts so much of the time that all lines need.
_LEAST_SHARE = 0.1

NEXT = Buffer("next indices", (1 << 40,), int32, (1,), pointer="next")


@dataclass(frozen=True)
class Part:
    """What one product asks for.

    Attributes:
        gathered: the rows.
        first, last: bytes of each row.
    """

    gathered: Gathered
    first: int
    last: int

    def ahead(self, rows: int, columns: int) -> Ahead:
        """For the kernel of a product of so many rows and columns."""
        ratios = (self.gathered.ratio(each) for each in (rows, columns))
        return Ahead(self.gathered.row_bytes, self.first, self.last, *ratios)

    def arguments(self) -> list[Argument]:
        """The pointers that the kernel takes for it."""
        return [Argument(self.gathered.data, 0, 0), Argument(NEXT, 0, 0)]


@dataclass(frozen=True)
class Gathered:
    """Rows that a step gathers from a large data array.

    Attributes:
        data: the array.
        batch: the buffer that the rows are gathered into.
        indices: their numbers.
        rows: how many the step gathers.
        usual: how many the largest training step of the loop gathers, so that a kernel shared with
            it asks for the same.
    """

    data: Buffer
    batch: Buffer
    indices: Buffer
    rows: int
    usual: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return prod(self.data.shape[1:]) * self.data.dtype.itemsize

    def filler(self, order: Sequence[Cluster], readers: set[Cluster]) -> Cluster | None:
        """The product that may gather the rows as it reads them, because it is the first reader.

        Args:
            order: the step's clusters.
            readers: those that read the batch.
        """
        first = next((cluster for cluster in order if cluster in readers), None)
        same = self.data.dtype is self.batch.dtype
        return first if same and first is not None and _is_plain(first) else None

    def fill(self) -> list[Argument]:
        """The pointers that such a product takes for it."""
        return [Argument(self.data, 0, 0), Argument(self.indices, 0, 1)]

    def ratio(self, extent: int) -> tuple[int, int]:
        """Rows of the batch for the places of an axis: (times, over)."""
        return (1, 1) if extent == self.rows else (self.usual, extent)

    def parts(self, target: Target, order: Sequence[Cluster]) -> dict[Cluster, Part]:
        """Share the bytes of a row among products, the last ones first.

        What is asked for late is less likely to have left the caches when it is gathered; a product
        takes no more than it has time for, unless all together have too little.

        Args:
            target: the processor.
            order: the step's clusters.
        """
        lines = self.rows * -(-self.row_bytes // _LINE)
        needed = lines * _CYCLES_A_LINE
        chosen: dict[Cluster, float] = {}
        for cluster in reversed(order):
            if not _is_plain(cluster):
                continue
            assert cluster.anchor is not None
            lasts = _cycles(target, cluster.anchor)
            if lasts >= _LEAST_SHARE * needed and sum(chosen.values()) < needed:
                chosen[cluster] = lasts
        return self._shared(chosen)

    def _shared(self, chosen: dict[Cluster, float]) -> dict[Cluster, Part]:
        whole, done, first = sum(chosen.values()), 0.0, 0
        parts = {}
        for cluster, lasts in chosen.items():
            done += lasts
            last = min(self.row_bytes, round(self.row_bytes * done / whole / _LINE) * _LINE)
            last = self.row_bytes if done == whole else last
            if last > first:
                parts[cluster] = Part(self, first, last)
            first = last
        return parts


def _is_plain(cluster: Cluster) -> bool:
    """Whether it is one product of two matrices."""
    anchor = cluster.anchor
    return cluster.kind == "product" and anchor is not None and anchor.ndim == 2


def _cycles(target: Target, anchor: Node) -> float:
    """How long a product lasts at two multiply-adds of vectors a cycle."""
    depth = anchor.inputs[0].shape[-2 if anchor.attrs["ta"] else -1]
    return prod(anchor.shape) * depth / (2 * target.lanes(anchor.dtype))


def worth_asking(gathered: Gathered, target: Target) -> bool:
    """Whether the rows lie far away and are many bytes."""
    far = gathered.data.size > target.second_cache
    return far and gathered.rows * gathered.row_bytes >= _LEAST
