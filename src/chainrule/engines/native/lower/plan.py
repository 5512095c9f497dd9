"""The plan of one step: from its graph to tasks in phases on buffers."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....dtypes import float64
from ....graph.graph import Graph
from ....graph.node import Node
from ..emit.ir import Module
from ..kernels.common import Kernel
from . import long as long_steps
from .ahead import NEXT, Gathered
from .buffers import Buffer, Place
from .checks import Check, is_check
from .cluster import Cluster, is_computed, reads
from .context import Context
from .fuse import Fusion, fuse, stored
from .joins import Buffers, lay_buffers
from .loops import lower_all
from .lowering import copy_task, write_sums
from .pooled import pool_behind
from .recompute import recompute
from .schedule import phases
from .settle import settle
from .simplify import simplify
from .tasks import Argument, Task, leaves
from .views import layout_of, under

# Kinds of kernels that may write a state where they read it.
_IN_PLACE = ("map", "product", "column", "scalar")


@dataclass
class Planned:
    """One step, ready to be written as code.

    Attributes:
        phases: the tasks; a barrier stands between phases.
        buffers: where each node lies.
        fusion: the clusters.
        simplified: the graph they come from.
        rewrites: how often each rewrite was applied.
        before: how many nodes the graph had before simplification.
        late: the checks that come after state is written.
        long: whether it may take so long that it can be cut.
        seconds: time of each stage.
    """

    phases: list[list[Task]]
    buffers: Buffers
    fusion: Fusion
    simplified: Graph
    rewrites: dict[str, int]
    before: int
    late: set[Node] = field(default_factory=set)
    long: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def tasks(self) -> list[Task]:
        """All tasks in the order of one thread."""
        return [task for phase in self.phases for task in phase]

    @property
    def leaves(self) -> list[Task]:
        """All tasks, and in the place of a loop those of its steps."""
        return list(leaves(self.tasks))

    @property
    def checks(self) -> list[Check]:
        """The checks of indices."""
        found = [task.cluster.anchor for task in self.tasks if task.cluster and task.cluster.anchor]
        guards = any(task.commits for task in self.tasks)
        return [
            Check(node, self.buffers[node], node in self.late, guards)
            for node in found
            if is_check(node)
        ]

    @property
    def asks(self) -> bool:
        """Whether a task asks memory for the rows of the next step."""
        return any(each.buffer is NEXT for task in self.tasks for each in task.arguments)

    @property
    def flops(self) -> int:
        """Floating-point operations of the step."""
        return sum(task.flops for task in self.leaves)


def prepare(graph: Graph, owned: set[int]) -> tuple[Graph, dict[str, int]]:
    """Simplify a graph and settle its views.

    Args:
        graph: any graph.
        owned: positions of outputs that need memory of their own.
    """
    simplified, rewrites = simplify(graph)
    return recompute(settle(pool_behind(simplified), owned)), rewrites


def plan(
    module: Module,
    graph: Graph,
    leaves: Mapping[Node, Buffer],
    updates: Sequence[tuple[Node, Node]],
    results: Mapping[Node, Buffer],
    tables: dict[int, Buffer],
    kernels: dict[Any, Kernel],
    first: Iterable[Task] = (),
    sums: Sequence[Node] = (),
    seconds: dict[str, float] | None = None,
    gathered: Gathered | None = None,
    long: bool = False,
) -> tuple[list[list[Task]], Buffers, Fusion, set[Node]]:
    """Plan a prepared graph.

    Args:
        module: where kernels go.
        graph: simplified and settled.
        leaves: the buffers of its inputs.
        updates: (input, output): the output takes the input's buffer when the step is over.
        results: outputs whose buffers are given.
        tables: index tables, shared by all steps.
        kernels: kernels written so far, shared by all steps.
        first: tasks that fill inputs.
        sums: nodes of one element that the step reports.
        seconds: filled with the time of each stage.
        gathered: the rows that the step gathers, to be asked for a step ahead.
        long: whether it can be cut; see :mod:`.long`.
    """
    clock = _Clock(seconds)
    fusion = fuse(graph)
    clusters = fusion.clusters()
    needed = stored(fusion, clusters)
    clock.mark("fuse")
    after = {cluster: fusion.consumers(cluster) for cluster in clusters}
    kinds = long_steps.IN_PLACE if long else _IN_PLACE
    in_place = _in_place(fusion, after, updates, needed, kinds)
    late = _checks_first(fusion, after, [fusion.owner[output] for output in in_place.values()])
    buffers = lay_buffers(fusion, leaves, results, in_place, needed)
    clock.mark("layout")
    order = _ordered(clusters, after)
    context = Context(module, buffers, fusion.inline, needed, tables, kernels, late)
    if gathered is not None:
        context.asking = gathered.parts(module.target, order)
        context.filler = _filler(fusion, gathered, order, buffers)
    lowered = lower_all(context, order)
    filled = {task.fills for task in lowered if task.fills is not None}
    needless = {task for task in first if any(each.buffer in filled for each in task.arguments)}
    tasks = [*(task for task in first if task not in needless), *lowered]
    for source, output in updates:
        if in_place.get(source) is not output:
            tasks.append(_copy(context, source, output))
    if sums:
        tasks.append(_report(buffers, sums))
    _mark_commits(tasks, {leaves[source] for source, _ in updates}, late)
    clock.mark("kernels")
    made = phases(tasks, long)
    clock.mark("schedule")
    return made, buffers, fusion, late


def _filler(
    fusion: Fusion, gathered: Gathered, order: Sequence[Cluster], buffers: Buffers
) -> tuple[Cluster, Gathered] | None:
    """The product that may gather the batch as it reads it."""
    readers = {
        fusion.owner[user]
        for node, users in fusion.users.items()
        if buffers.get(node) is gathered.batch
        for user in users
    }
    found = gathered.filler(order, readers)
    return None if found is None else (found, gathered)


class _Clock:
    def __init__(self, seconds: dict[str, float] | None) -> None:
        self.seconds = {} if seconds is None else seconds
        self.last = time.perf_counter()

    def mark(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now


def _copy(context: Context, source: Node, output: Node) -> Task:
    """The new state copied into the place of the old one, which others had to read first."""
    places = [
        Place(buffer, 0, buffer.strides)
        for buffer in (context.buffers[output], context.buffers[source])
    ]
    return copy_task(context, f"copy {source.name or 'state'}", *places)


Followers = dict[Cluster, set[Cluster]]


def _in_place(
    fusion: Fusion,
    after: Followers,
    updates: Sequence[tuple[Node, Node]],
    needed: set[Node],
    kinds: Sequence[str],
) -> dict[Node, Node]:
    """The updates whose output may be written over its input while the step runs.

    Whoever overwrites a state must follow all who read it: these orders are added to ``after``.
    """
    chosen: dict[Node, Node] = {}
    taken: set[Node] = set()
    for source, output in updates:
        if output not in needed or output in taken or not is_computed(output):
            continue
        writer = fusion.owner[output]
        if writer.kind not in kinds or not _reads_same_point(fusion, writer, source, output):
            continue
        readers = {fusion.owner[user] for user in fusion.users.get(source, ())} - {writer}
        if readers and _reaches(after, writer, readers):
            continue
        chosen[source] = output
        taken.add(output)
        for reader in readers:
            after[reader].add(writer)
    return chosen


def _checks_first(fusion: Fusion, after: Followers, writers: Sequence[Cluster]) -> set[Node]:
    """Let whoever writes state follow every check of an index; returns the checks that cannot.

    A check that reads what a writer made comes after it.
    """
    checks = [cluster for cluster in after if cluster.anchor and is_check(cluster.anchor)]
    if not checks or not writers:
        return set()
    sources: Followers = {cluster: set() for cluster in after}
    for cluster, followers in after.items():
        for follower in followers:
            sources[follower].add(cluster)
    late: set[Node] = set()
    for check in checks:
        if _reaches(sources, check, set(writers)):
            assert check.anchor is not None
            late.add(check.anchor)
        else:
            after[check].update(writers)
    return late


def _mark_commits(tasks: Sequence[Task], state: set[Buffer], late: set[Node]) -> None:
    """Note which tasks write state, and that late checks are none that it waits for."""
    for task in tasks:
        task.commits = any(each.writes and each.buffer.root in state for each in task.arguments)
        if task.cluster is not None and task.cluster.anchor in late:
            task.checks = False


def _reaches(after: Followers, start: Cluster, ends: set[Cluster]) -> bool:
    """Whether one of the ends must follow the start."""
    stack, seen = [start], {start}
    while stack:
        for cluster in after[stack.pop()] - seen:
            if cluster in ends:
                return True
            seen.add(cluster)
            stack.append(cluster)
    return False


def _reads_same_point(fusion: Fusion, writer: Cluster, source: Node, output: Node) -> bool:
    """Whether the writer reads the old state, if at all, only where it writes the new."""
    for node in writer.axes:
        for base, axes in reads(writer, node, fusion.inline):
            if base is source and axes != writer.axes[output]:
                return False
    return source.shape == output.shape and source.dtype is output.dtype


def _ordered(clusters: Sequence[Cluster], after: Followers) -> list[Cluster]:
    """The clusters in an order that is right on one thread, as near as can be to the given."""
    place = {cluster: number for number, cluster in enumerate(clusters)}
    waiting = dict.fromkeys(clusters, 0)
    for followers in after.values():
        for cluster in followers:
            waiting[cluster] += 1
    ready = [place[cluster] for cluster in clusters if waiting[cluster] == 0]
    result: list[Cluster] = []
    while ready:
        cluster = clusters[heapq.heappop(ready)]
        result.append(cluster)
        for follower in after[cluster]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(ready, place[follower])
    assert len(result) == len(clusters), "clusters wait for each other"
    return result


def _report(buffers: Buffers, sums: Sequence[Node]) -> Task:
    """Scalar code that stores a step's sums, as float64, in its row of the report."""
    row = Buffer("sums", (len(sums),), float64, (1,), pointer="sums")
    arguments = []
    for node in sums:
        buffer = buffers[under(node)]
        layout = layout_of(node, buffer.strides)
        assert layout is not None
        arguments.append(Argument(buffer, layout[0], 0))
    read = [argument.buffer for argument in arguments]
    arguments.append(Argument(row, 0, 0, writes=True, reads=False))
    return Task("report sums", None, arguments, write=write_sums(read))
