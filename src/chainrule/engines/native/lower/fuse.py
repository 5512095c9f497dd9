"""Fusion: growing clusters from single nodes, so that few arrays go through memory.

Greedy merging along the edges of the graph, as in the fusion of elementwise and reduction ops of
XLA and of Halide's compute-inline (Ragan-Kelley et al., PLDI 2013). A merge is made only where the
two spaces fit and no third cluster lies between the two, so the clusters never form a cycle.
"""

from __future__ import annotations

from collections.abc import Iterable

from ....graph.graph import Graph
from ....graph.node import Node
from ....ops.scan import PICK
from .beside import merge_columns, merge_maxima
from .cluster import Cluster, Space, is_computed, is_free, reads, single
from .support import form
from .views import Axes, under

# (kind of the producer, kind of the consumer) -> kind of the merged cluster.
_MERGES = {
    ("map", "map"): "map",
    ("map", "row"): "row",
    ("row", "map"): "row",
    ("row", "row"): "row",
    ("map", "column"): "column",
    ("column", "map"): "column",
    ("map", "whole"): "whole",
    ("product", "map"): "product",
    ("map", "product"): "product",
    ("window", "map"): "window",
    ("map", "window"): "window",
    ("random", "map"): "random",
    ("scalar", "scalar"): "scalar",
}
# Kinds whose kernels cannot store what they compute on the way to a reduction.
_SILENT = ("column", "whole")


class Fusion:
    """The clusters of one graph while they grow.

    Attributes:
        owner: the cluster of each computed node that is not inline.
        inline: nodes computed anew wherever they are used.
        users: for each node, the members that read it, through views and inline nodes.
    """

    def __init__(self, graph: Graph) -> None:
        self.order = graph.nodes()
        self.position = {node: place for place, node in enumerate(self.order)}
        self.inline = {node for node in self.order if is_free(node)}
        computed = [n for n in self.order if is_computed(n) and n not in self.inline]
        self.outputs = {under(output) for output in graph.outputs}
        self.inline -= self.outputs
        computed += [n for n in self.outputs if is_computed(n) and n not in set(computed)]
        computed.sort(key=self.position.__getitem__)
        self.owner: dict[Node, Cluster] = {}
        self.first: dict[Cluster, int] = {}
        self.last: dict[Cluster, int] = {}
        for node in computed:
            self._enter(node)
        self.users: dict[Node, list[Node]] = {}
        for node in computed:
            for base, _ in reads(self.owner[node], node, self.inline):
                self.users.setdefault(base, []).append(node)

    def _enter(self, node: Node) -> None:
        """Put a node into a cluster of its own, or an output of a loop into the loop's."""
        if node.op is PICK:
            cluster = self.owner[node.inputs[0]]
            cluster.axes[node] = ()
        else:
            cluster = single(node)
            self.first[cluster] = self.position[node]
        self.owner[node] = cluster
        self.last[cluster] = self.position[node]

    # -- relations between clusters --------------------------------------------------------------
    def consumers(self, cluster: Cluster) -> set[Cluster]:
        """The other clusters that read what this one computes."""
        found = {self.owner[user] for node in cluster.axes for user in self.users.get(node, ())}
        return found - {cluster}

    def node_consumers(self, node: Node) -> set[Cluster]:
        """The other clusters that read one node."""
        return {self.owner[user] for user in self.users.get(node, ())} - {self.owner[node]}

    def _has_way_round(self, start: Cluster, end: Cluster) -> bool:
        """Whether ``end`` also depends on ``start`` by way of a third cluster."""
        last = self.last[end]
        stack = [each for each in self.consumers(start) if each is not end]
        seen = set(stack)
        while stack:
            cluster = stack.pop()
            if cluster is end:
                return True
            if self.first[cluster] > last:
                continue
            for after in self.consumers(cluster) - seen:
                seen.add(after)
                stack.append(after)
        return False

    def edges(self, first: Cluster, second: Cluster) -> list[tuple[Node, Axes | None]]:
        """What ``second`` reads of ``first``."""
        readers = second.axes if len(second.axes) <= len(first.axes) else self._readers(first)
        return [
            (base, axes)
            for node in readers
            if self.owner[node] is second
            for base, axes in reads(second, node, self.inline)
            if self.owner.get(base) is first
        ]

    def _readers(self, cluster: Cluster) -> list[Node]:
        """The members of any cluster that read this one, each once, in order."""
        found = {user for node in cluster.axes for user in self.users.get(node, ())}
        return sorted(found, key=self.position.__getitem__)

    # -- merging ---------------------------------------------------------------------------------
    def try_merge(self, first: Cluster, second: Cluster) -> bool:
        """Merge a producer into its consumer where that is right; returns whether it was."""
        kind = _MERGES.get((first.kind, second.kind))
        if kind is None or first is second:
            return False
        names = self._fit(first, second)
        if names is None or not self._allowed(first, second, names):
            return False
        if self._has_way_round(first, second):
            return False
        self._merge(kind, first, second, names)
        return True

    def _fit(self, first: Cluster, second: Cluster) -> dict[int, int] | None:
        """For axes of ``second``, their names in ``first``; None where the points do not fit.

        Where the second space has axes that the first lacks, the names go on counting.
        """
        names: dict[int, int] = {}
        for node, axes in self.edges(first, second):
            if axes is None:
                return None
            for mine, theirs in zip(first.axes[node], axes, strict=True):
                if (mine is None) != (theirs is None):
                    return None
                if mine is None or theirs is None:
                    continue
                if names.setdefault(theirs, mine) != mine:
                    return None
        if len(set(names.values())) < len(names):
            return None
        return self._complete(first.space, second.space, names)

    @staticmethod
    def _complete(first: Space, second: Space, names: dict[int, int]) -> dict[int, int] | None:
        """Name the remaining axes of the second space after free axes of the first."""
        free = [axis for axis in range(len(first)) if axis not in names.values()]
        extra = len(first)
        for axis, length in enumerate(second):
            if axis in names:
                if first[names[axis]] != length:
                    return None
            elif free and first[free[0]] == length:
                names[axis] = free.pop(0)
            else:
                names[axis] = extra
                extra += 1
        return names

    def _allowed(self, first: Cluster, second: Cluster, names: dict[int, int]) -> bool:
        pair = (first.kind, second.kind)
        equal = sorted(names.values()) == list(range(len(first.space)))
        if pair == ("row", "row"):
            return equal and second.reduced is not None and names[second.reduced] == first.reduced
        if pair in (("map", "map"), ("product", "map"), ("window", "map"), ("scalar", "scalar")):
            return equal
        if pair in (("map", "product"), ("map", "window")):
            return equal and not self._feeds_anchor(first, second)
        if pair == ("random", "map"):
            in_order = all(axis == name for axis, name in names.items())
            return equal and in_order and self._reads_only_numbers(second, first)
        if pair in (("row", "map"), ("column", "map")):
            kept = [axis for axis in range(len(first.space)) if axis != first.reduced]
            below = sorted(names.values()) == kept
            return below or (equal and pair[0] == "row")
        return self._feeds_reduction(first, second, names, equal)

    def _feeds_anchor(self, first: Cluster, second: Cluster) -> bool:
        anchor = second.anchor
        assert anchor is not None
        return any(under(source) in first.axes for source in anchor.inputs)

    def _reads_only_numbers(self, cluster: Cluster, producer: Cluster) -> bool:
        return all(
            base.size == 1 or self.owner.get(base) in (producer, cluster)
            for node in cluster.axes
            for base, _ in reads(cluster, node, self.inline)
        )

    def _feeds_reduction(
        self, first: Cluster, second: Cluster, names: dict[int, int], equal: bool
    ) -> bool:
        """Whether elementwise nodes may be computed on the way to (or behind) a reduction."""
        lacking = {axis for axis, name in names.items() if name >= len(first.space)}
        below = lacking == {second.reduced} and second.kind != "whole"
        if not (equal or below):
            return False
        if second.kind == "row":
            return True
        if second.kind == "column" and below:
            return self._only_behind(first, second)
        if self.outputs & set(first.axes):
            return False
        return self.consumers(first) <= {second}

    def _only_behind(self, first: Cluster, second: Cluster) -> bool:
        """Whether a column reduction's cluster reads a producer only after the reduction."""
        for node in second.axes:
            before = node is second.anchor or second.reduced in second.level(second.axes[node])
            if before and any(
                self.owner.get(base) is first for base, _ in reads(second, node, self.inline)
            ):
                return False
        return True

    def _merge(self, kind: str, first: Cluster, second: Cluster, names: dict[int, int]) -> None:
        """Make one cluster of two; the larger takes the smaller in."""
        self._into_space_of(first, second, names)
        large, small = (first, second) if len(first.axes) >= len(second.axes) else (second, first)
        large.kind = kind
        large.axes |= small.axes
        large.source_axes |= small.source_axes
        large.reduced = first.reduced if first.reduced is not None else second.reduced
        large.anchor = first.anchor or second.anchor
        for node in small.axes:
            self.owner[node] = large
        self.first[large] = min(self.first[large], self.first.pop(small))
        self.last[large] = max(self.last[large], self.last.pop(small))
        if large.kind == "row" and large.reduced is not None:
            self._reduced_last(large)

    def merge_beside(self, first: Cluster, second: Cluster) -> None:
        """Make one cluster of two over the same space that do not read each other."""
        self._merge(first.kind, first, second, {axis: axis for axis in range(len(first.space))})

    @staticmethod
    def _into_space_of(first: Cluster, second: Cluster, names: dict[int, int]) -> None:
        """Let both clusters name the axes of one space, the first's and what it lacks."""
        space = list(first.space)
        for axis, name in sorted(names.items(), key=lambda item: item[1]):
            if name >= len(space):
                space.append(second.space[axis])
        first.space = tuple(space)
        if second.space != first.space or any(axis != name for axis, name in names.items()):
            second.relabel(names, first.space)

    @staticmethod
    def _reduced_last(cluster: Cluster) -> None:
        assert cluster.reduced is not None
        order = [a for a in range(len(cluster.space)) if a != cluster.reduced] + [cluster.reduced]
        names = {old: new for new, old in enumerate(order)}
        if any(old != new for old, new in names.items()):
            cluster.relabel(names, tuple(cluster.space[axis] for axis in order))

    # -- the passes ------------------------------------------------------------------------------
    def sink(self) -> None:
        """Move each elementwise node into its only consumer, from the outputs to the inputs."""
        for node in reversed(self.order):
            if node not in self.owner or form(node) != "map":
                continue
            consumers = self.node_consumers(node)
            if len(consumers) == 1:
                self.try_merge(self.owner[node], consumers.pop())

    def grow(self) -> None:
        """Merge along the remaining edges until nothing changes, earlier clusters first."""
        changed = True
        while changed:
            changed = False
            waiting = dict.fromkeys(self.owner[n] for n in self.order if n in self.owner)
            for first in waiting:
                if first in self.first and self._merge_with_a_consumer(first):
                    changed = True

    def _merge_with_a_consumer(self, first: Cluster) -> bool:
        return any(
            self._wanted(first, second) and self.try_merge(first, second)
            for second in sorted(self.consumers(first), key=self._first_position)
        )

    def _wanted(self, first: Cluster, second: Cluster) -> bool:
        """Scalars are merged only so that a kernel's worth of them is one task."""
        return first.kind != "scalar"

    def _first_position(self, cluster: Cluster) -> int:
        return self.first[cluster]

    def clusters(self) -> list[Cluster]:
        """The clusters, each after those that it reads."""
        waiting = dict.fromkeys(self.owner.values(), 0)
        after = {cluster: self.consumers(cluster) for cluster in waiting}
        for consumers in after.values():
            for cluster in consumers:
                waiting[cluster] += 1
        ready = [cluster for cluster, count in waiting.items() if count == 0]
        result: list[Cluster] = []
        while ready:
            cluster = min(ready, key=self._first_position)
            ready.remove(cluster)
            result.append(cluster)
            for consumer in after[cluster]:
                waiting[consumer] -= 1
                if waiting[consumer] == 0:
                    ready.append(consumer)
        assert len(result) == len(waiting), "clusters form a cycle"
        for cluster in result:
            ordered = sorted(cluster.axes, key=self.position.__getitem__)
            cluster.axes = {node: cluster.axes[node] for node in ordered}
        return result


def fuse(graph: Graph) -> Fusion:
    """Gather the nodes of a simplified graph into clusters.

    Example:
        >>> import chainrule as cr
        >>> graph = cr.trace(lambda x: (x * 2.0 + 1.0).exp(), cr.ones(3)).graph
        >>> [cluster.kind for cluster in fuse(graph).clusters()]
        ['map']
    """
    fusion = Fusion(graph)
    fusion.sink()
    fusion.grow()
    merge_columns(fusion)
    merge_maxima(fusion)
    return fusion


def stored(fusion: Fusion, clusters: Iterable[Cluster]) -> set[Node]:
    """The computed nodes that must lie in memory: read by another cluster, or asked for."""
    kept = {node for node in fusion.outputs if node in fusion.owner}
    for cluster in clusters:
        for node in cluster.axes:
            for base, axes in reads(cluster, node, fusion.inline):
                elsewhere = fusion.owner.get(base) is not cluster or axes is None
                if base in fusion.owner and elsewhere:
                    kept.add(base)
    return kept
