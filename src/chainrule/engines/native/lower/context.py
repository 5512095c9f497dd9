"""What every cluster's lowering needs: the module, the buffers, the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ....dtypes import int64
from ....graph.node import Node
from ..emit.ir import Module
from ..kernels.common import Kernel
from ..kernels.rows import Phase
from ..library import written
from .ahead import Gathered, Part
from .buffers import Buffer, Place
from .cluster import Cluster
from .formula import Reader, Step, encoded, evaluate, steps_of
from .support import form


@dataclass
class Context:
    """Shared by the lowering of one step's clusters.

    Attributes:
        module: where kernels go.
        buffers: where each node in memory lies.
        inline: nodes computed wherever they are used.
        stored: computed nodes that must be written to their buffers.
        tables: buffers holding 0, 1, 2, ..., by length; shared by all steps.
        kernels: the kernels written so far; shared by all steps.
        late: checks of indices that depend on state written by the step itself.
        asking: the products that ask memory for the next batch meanwhile.
        filler: the product that may gather the batch as it reads it, and the batch.
    """

    module: Module
    buffers: Mapping[Node, Buffer]
    inline: set[Node]
    stored: set[Node]
    tables: dict[int, Buffer] = field(default_factory=dict)
    kernels: dict[Any, Kernel] = field(default_factory=dict)
    late: set[Node] = field(default_factory=set)
    asking: Mapping[Cluster, Part] = field(default_factory=dict)
    filler: tuple[Cluster, Gathered] | None = None

    def table(self, length: int) -> Buffer:
        """The buffer holding 0, 1, ... length - 1."""
        if length not in self.tables:
            contents = np.arange(length, dtype=np.int64)
            self.tables[length] = Buffer(
                f"0 to {length - 1}", (length,), int64, (1,), kept=True, contents=contents
            )
        return self.tables[length]

    def kernel(
        self,
        make: Callable[..., Kernel],
        code: Any,
        hints: Mapping[str, int] | None = None,
        **arguments: Any,
    ) -> Kernel:
        """The kernel of these arguments, written once for equal ones.

        Args:
            make: adds the kernel to a module.
            code: the bodies among the arguments, as plain data.
            hints: arguments by which a good form is chosen, that any form serves.
            arguments: what else ``make`` takes.
        """
        key = (make, code, tuple((name, _plain(each)) for name, each in arguments.items()))
        if key not in self.kernels:
            given = arguments | dict(hints or {})
            whole = (*key, tuple((hints or {}).items()))
            self.kernels[key] = written(self.module, whole, lambda module: make(module, **given))
        return self.kernels[key]

    def reader(self, cluster: Cluster, given: set[Node], index_axis: Mapping[int, int]) -> Reader:
        """A reader of a cluster's sources."""
        return Reader(cluster, self.buffers, self.inline, given, index_axis, self.table)

    def outputs(self, cluster: Cluster) -> list[Node]:
        """The members that are stored."""
        return [node for node in cluster.axes if node in self.stored]


@dataclass
class Points:
    """The elementwise members of a cluster as one body for a kernel.

    Attributes:
        steps: what is computed.
        keys, places: the operands, in order.
        outputs: the nodes given back, in order.
    """

    steps: list[Step]
    keys: list[Any]
    places: list[Place]
    outputs: list[Node]
    targets: list[Place]

    def body(self, *given: Node) -> Callable[..., list[Any]]:
        """The kernel's body; ``given`` are the nodes whose values come before the operands."""

        def compute(e: Any, *values: Any) -> list[Any]:
            known = dict(zip([*given, *self.keys], values, strict=True))
            evaluate(e, self.steps, known)
            return [known[node] for node in self.outputs]

        return compute

    def code(self, *given: Node) -> Any:
        """What the body computes, as plain data."""
        names: dict[Any, Any] = {key: ("in", k) for k, key in enumerate([*given, *self.keys])}
        steps = encoded(self.steps, names)
        return steps, tuple(names[node] for node in self.outputs)


def _plain(value: Any) -> Any:
    """A hashable form of an argument; bodies are described by the code."""
    if callable(value):
        return None
    if isinstance(value, Mapping):
        return tuple((name, _plain(each)) for name, each in value.items())
    if isinstance(value, Phase):
        return tuple(_plain(getattr(value, each.name)) for each in fields(value))
    return tuple(_plain(each) for each in value) if isinstance(value, (list, tuple)) else value


def points(
    context: Context,
    cluster: Cluster,
    index_axis: Mapping[int, int],
    given: Sequence[Node] = (),
    nodes: Sequence[Node] | None = None,
) -> Points:
    """Gather the elementwise members (or some of them) with what they read and store."""
    members = [n for n in (cluster.axes if nodes is None else nodes) if form(n) == "map"]
    reader = context.reader(cluster, set(given), index_axis)
    steps = steps_of(reader, members)
    outputs = [n for n in (*given, *members) if n in context.stored]
    return Points(
        steps,
        list(reader.places),
        list(reader.places.values()),
        outputs,
        [reader.output(node) for node in outputs],
    )
