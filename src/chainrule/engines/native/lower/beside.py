"""Reductions side by side: those of the same rows that do not wait for each other are one pass.

The gradients of a normalisation's weight, bias and spread are sums over the same arrays.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ....graph.node import Node
from .cluster import Cluster, reads
from .window_ops import CONVOLVE_POOL, POOL

if TYPE_CHECKING:
    from .fuse import Fusion

# Sums of one pass: more would not stay in registers.
_MOST = 4


def merge_columns(fusion: Fusion) -> None:
    """Make one cluster of column reductions over the same space that read the same arrays."""
    groups: dict[tuple[tuple[int, ...], int | None], list[Cluster]] = defaultdict(list)
    for cluster in dict.fromkeys(fusion.owner.values()):
        if cluster.kind == "column" and len(set(cluster.space)) == len(cluster.space):
            groups[cluster.space, cluster.reduced].append(cluster)
    for alike in groups.values():
        alike.sort(key=lambda cluster: fusion.first[cluster])
        large = {cluster: _large(fusion, cluster) for cluster in alike}
        while alike:
            first = alike.pop(0)
            for second in list(alike):
                if large[first] & large[second] and _fits(fusion, first, second):
                    fusion.merge_beside(first, second)
                    alike.remove(second)
                    if second in fusion.first:  # the larger took the smaller in
                        first = second
                    large[first] = _large(fusion, first)


def merge_maxima(fusion: Fusion) -> None:
    """Make one cluster of the largest elements of windows and of their codes."""
    groups: dict[tuple[object, ...], list[Node]] = defaultdict(list)
    for node in fusion.owner:
        if node.op in (POOL, CONVOLVE_POOL) and node.attrs["what"] in ("value", "code"):
            alike = tuple(value for name, value in node.attrs.items() if name != "what")
            groups[(node.op, *node.inputs, *alike)].append(node)
    for nodes in groups.values():
        first = fusion.owner[nodes[0]]
        for node in nodes[1:]:
            second = fusion.owner[node]
            apart = not (_follows(fusion, first, second) or _follows(fusion, second, first))
            if apart and first.axes[nodes[0]] == second.axes[node] and first.space == second.space:
                fusion.merge_beside(first, second)
                first = fusion.owner[node]


def _fits(fusion: Fusion, first: Cluster, second: Cluster) -> bool:
    """Whether two reductions are few enough together and neither waits for the other."""
    count = len(first.source_axes) + len(second.source_axes)
    if count > _MOST:
        return False
    return not (_follows(fusion, first, second) or _follows(fusion, second, first))


def _large(fusion: Fusion, cluster: Cluster) -> set[Node]:
    """The arrays of the whole space that a cluster reads."""
    return {
        base
        for node in cluster.axes
        for base, axes in reads(cluster, node, fusion.inline)
        if axes is not None and cluster.level(axes) == set(range(len(cluster.space)))
        if fusion.owner.get(base) is not cluster
    }


def _follows(fusion: Fusion, start: Cluster, end: Cluster) -> bool:
    """Whether the end waits for the start."""
    stack, seen = [start], {start}
    while stack:
        for cluster in fusion.consumers(stack.pop()) - seen:
            if cluster is end:
                return True
            seen.add(cluster)
            stack.append(cluster)
    return False
