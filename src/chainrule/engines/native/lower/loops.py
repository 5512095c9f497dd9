"""Loops over time as native loops: the body planned once, on the parts that each step uses.

A loop's scanned inputs and stacked outputs are read and written in place, by a part that moves with
the step. What is carried from step to step lies in the parts of one array too: in as many as there
are steps and one more where some output is all of its values, in two that take turns otherwise. So
nothing is copied from step to step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ....graph.graph import Graph
from ....graph.node import Node
from ....ops import elementwise
from ....ops.scan import PICK, Body
from .buffers import Buffer, Place, Slot, Time
from .cluster import Cluster
from .context import Context
from .fuse import fuse, stored
from .joins import lay_buffers
from .lowering import copy_task, lower
from .schedule import meet_again, phases
from .settle import settle
from .tasks import Argument, Steps, Task, describe_shape, leaves
from .views import dense, layout_of, under


def lower_all(context: Context, clusters: Iterable[Cluster]) -> list[Task]:
    """The tasks of clusters that are in an order right on one thread."""
    tasks: list[Task] = []
    for cluster in clusters:
        if cluster.kind == "loop":
            tasks += _Loop(context, cluster).tasks()
        elif 0 not in cluster.space:
            tasks += lower(context, cluster)
    return tasks


@dataclass
class _Carry:
    """Where one carry lies.

    Attributes:
        root: its parts.
        before, after: the part that a step reads, and the one that it writes.
        start, end: numbers of the first part read and of the last one written.
        lead: the part at which a stack of the values before each step begins, and of those after.
    """

    root: Buffer
    before: Buffer
    after: Buffer
    start: int
    end: int
    lead: tuple[int, int]


class _Loop:
    """One loop while it is lowered."""

    def __init__(self, context: Context, cluster: Cluster) -> None:
        node = cluster.anchor
        assert node is not None
        self.context, self.cluster, self.node = context, cluster, node
        self.body: Body = node.attrs["body"]
        self.first = self.body.carries
        self.second = self.first + self.body.scanned
        self.time = Time(node.attrs["length"], node.attrs["reverse"])
        self.picks = {one.attrs["index"]: one for one in cluster.axes if one.op is PICK}

    def tasks(self) -> list[Task]:
        """Fill the carries, run the steps, copy out what must lie elsewhere."""
        leaves = self._leaves()
        graph, same = self._settled(leaves)
        carries = [self._carry(graph, place, same) for place in range(self.first)]
        results: dict[Node, Buffer] = {}
        for place, carry in enumerate(carries):
            leaves[graph.inputs[place]] = carry.before
            results[graph.outputs[place]] = carry.after
        behind = [self._copied_out(place, carry) for place, carry in enumerate(carries)]
        for place in range(self.first, len(graph.outputs)):
            if place in same:
                behind.append(self._whole_stack(place, carries, same))
            else:
                results[graph.outputs[place]] = self._stack(place)
        before = [self._begun(place, carry) for place, carry in enumerate(carries)]
        loop = self._steps(graph, leaves, results, carries)
        return [*before, loop, *(task for task in behind if task is not None)]

    # -- where things lie ------------------------------------------------------------------------
    def _seen(self, place: int) -> Place:
        """An operand of the loop, as an array."""
        source = self.node.inputs[place]
        buffer = self.context.buffers[under(source)]
        layout = layout_of(source, buffer.strides)
        assert layout is not None, source
        return Place(buffer, *layout)

    def _leaves(self) -> dict[Node, Buffer]:
        """The buffers of the scanned inputs and of the constants."""
        found = {}
        for place in range(self.first, len(self.body.inputs)):
            node, at = self.body.inputs[place], self._seen(place)
            scanned = place < self.second
            slot = Slot(self.time, at.strides[0]) if scanned else None
            strides = at.strides[1:] if scanned else at.strides
            label = node.name or at.buffer.label
            found[node] = Buffer(
                label, node.shape, node.dtype, strides, base=at.buffer, start=at.offset, slot=slot
            )
        return found

    def _settled(self, leaves: dict[Node, Buffer]) -> tuple[Graph, dict[int, tuple[int, int]]]:
        """The body with its views settled.

        Also, for outputs that are all values of a carry: which carry, and whether before (0) or
        after (1) the steps.
        """
        body = self.body
        ends = {(node, 0): k for k, node in enumerate(body.inputs[: self.first])}
        ends |= {(node, 1): k for k, node in reversed(list(enumerate(body.outputs[: self.first])))}
        same = {
            place: (ends[node, side], side)
            for place, node in enumerate(body.outputs)
            for side in (0, 1)
            if place >= self.first and (node, side) in ends
        }
        owned = {place for place in range(len(body.outputs)) if place not in same}
        lying = {
            node: buffer.strides
            for node, buffer in leaves.items()
            if buffer.strides != dense(node.shape)
        }
        return settle(Graph(body.inputs, body.outputs), owned, lying), same

    def _carry(self, graph: Graph, place: int, same: dict[int, tuple[int, int]]) -> _Carry:
        node, length = graph.inputs[place], self.time.length
        kept = any(carry == place for carry, _ in same.values())
        label = node.name or graph.outputs[place].name or f"carry {place}"
        parts = length + 1 if kept else 2
        root = Buffer(label, (parts, *node.shape), node.dtype, dense((parts, *node.shape)))
        backward = kept and self.time.reverse
        shifts = (1, 0) if backward else (0, 1)
        before, after = (
            Buffer(
                f"{label} {when}", node.shape, node.dtype, dense(node.shape), base=root,
                slot=Slot(self.time, root.strides[0], shift, not kept),
            )
            for when, shift in zip(("before", "after"), shifts, strict=True)
        )  # fmt: skip
        end = (0 if backward else length) if kept else length % 2
        return _Carry(root, before, after, length if backward else 0, end, shifts)

    def _part(self, carry: _Carry, number: int) -> Buffer:
        """One part of a carry, by its number."""
        start = number * carry.root.strides[0]
        return replace(carry.before, start=start, slot=None)

    def _begun(self, place: int, carry: _Carry) -> Task:
        """The carry as the first step reads it."""
        part = self._part(carry, carry.start)
        label = f"begin {carry.root.label}"
        return copy_task(self.context, label, self._seen(place), Place(part, 0, part.strides))

    def _copied_out(self, place: int, carry: _Carry) -> Task | None:
        """The carry after the last step, for whoever reads it."""
        pick = self.picks.get(place)
        if pick is None:
            return None
        return self._given(pick, carry.root, carry.end * carry.root.strides[0])

    def _whole_stack(
        self, place: int, carries: Sequence[_Carry], same: dict[int, tuple[int, int]]
    ) -> Task | None:
        """All values of a carry, for whoever reads them."""
        which, side = same[place]
        carry = carries[which]
        return self._given(self.picks[place], carry.root, carry.lead[side] * carry.root.strides[0])

    def _given(self, pick: Node, root: Buffer, start: int) -> Task | None:
        """Let an output be a part of an array, or copy it where it has a place of its own."""
        target = self.context.buffers[pick]
        if target.kept or target.base is not None:
            source = replace(target, kept=False, base=root, start=start, slot=None)
            places = [Place(each, 0, dense(pick.shape)) for each in (source, target)]
            places[1] = Place(target, 0, target.strides)
            return copy_task(self.context, f"copy {root.label}", *places)
        target.base, target.start = root, start
        return None

    def _stack(self, place: int) -> Buffer:
        """The part of a stacked output that a step writes."""
        whole = self.context.buffers[self.picks[place]]
        node = self.body.outputs[place]
        slot = Slot(self.time, whole.strides[0])
        return Buffer(whole.label, node.shape, node.dtype, whole.strides[1:], base=whole, slot=slot)

    # -- the steps -------------------------------------------------------------------------------
    def _steps(
        self,
        graph: Graph,
        leaves_: dict[Node, Buffer],
        results: dict[Node, Buffer],
        carries: Sequence[_Carry],
    ) -> Task:
        fusion = fuse(graph)
        clusters = fusion.clusters()
        needed = stored(fusion, clusters)
        buffers = lay_buffers(fusion, leaves_, results, {}, needed)
        outer = self.context
        inner = replace(outer, buffers=buffers, inline=fusion.inline, stored=needed)
        tasks = lower_all(inner, clusters)
        for task in leaves(tasks):
            task.flops *= self.time.length
        made = phases(tasks)
        steps = Steps(self.time, made, meet_again(tasks), self._carried(graph, carries))
        way = "backwards over" if self.time.reverse else "over"
        label = f"loop {way} {self.time.length} steps"
        return Task(label, None, _touched(tasks), cluster=self.cluster, steps=steps)

    def _carried(self, graph: Graph, carries: Sequence[_Carry]) -> list[str]:
        """What goes from step to step, in words; sums that grow in the loop are named so."""
        found = []
        for place, carry in enumerate(carries):
            node, out = graph.inputs[place], graph.outputs[place]
            users = [one for one in graph.nodes() if node in one.inputs]
            adds = out.op is elementwise.ADD and users == [out]
            how = "added up in the loop: " if adds else ""
            found.append(f"{how}{carry.root.label} {describe_shape(node)}")
        return found


def _touched(tasks: Sequence[Task]) -> list[Argument]:
    """Every array that tasks touch, each as a whole."""
    written: dict[Buffer, tuple[bool, bool]] = {}
    for task in tasks:
        for one in task.arguments:
            reads, writes = written.get(one.buffer.root, (False, False))
            written[one.buffer.root] = (reads or one.reads, writes or one.writes)
    return [
        Argument(buffer, 0, 0, writes=writes, reads=reads)
        for buffer, (reads, writes) in written.items()
    ]
