"""Formulas: the elementwise members of a cluster as functions of what the kernel loads.

A formula is a list of steps on numbered values. The same list is run for every vector, tail and
scalar that a kernel writes, on whatever emitter the kernel hands over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .... import dtypes
from ....errors import EngineError
from ....graph.node import CONSTANT, Node
from ....ops import shape
from .buffers import Buffer, Place
from .build import COPY
from .cluster import Cluster, input_axes
from .support import form
from .views import Axes, axes_under, layout_of, under

Source = tuple[str, Any]  # ("value", key), ("number", (number, dtype)) or ("index", (axis, dtype))


@dataclass
class Reader:
    """Finds where the members of a cluster read from.

    Args:
        cluster: whose members.
        buffers: the buffer of each node that lies in memory.
        inline: nodes computed wherever they are used.
        given: nodes whose values the kernel itself hands over (a product's element, a fold).
        index_axis: for each axis of the space, the axis of the kernel's domain that runs along it;
            axes that are missing take their index from a table in memory.
        table: gives a buffer holding 0, 1, 2, ... of a length.
    """

    cluster: Cluster
    buffers: Mapping[Node, Buffer]
    inline: set[Node]
    given: set[Node]
    index_axis: Mapping[int, int]
    table: Callable[[int], Buffer]
    places: dict[Any, Place] = field(default_factory=dict)

    def place(self, node: Node, axes: Axes) -> Place:
        """Where a node in memory is reached from the cluster's space."""
        base = under(node)
        buffer = self.buffers[base]
        layout = layout_of(node, buffer.strides)
        if layout is None:
            raise EngineError(f"a view that strides cannot say was not copied: {node.describe()}")
        offset, strides = layout
        along = [0] * len(self.cluster.space)
        for step, axis in zip(strides, axes, strict=True):
            if axis is not None:
                along[axis] += step
        return Place(buffer, offset, tuple(along))

    def output(self, node: Node) -> Place:
        """Where a member's value is stored."""
        return self.place(node, self.cluster.axes[node])

    def source(self, node: Node, axes: Axes) -> Source:
        """Where a value comes from: computed here, a number, an index, or a place in memory."""
        base = under(node)
        found = axes_under(node, axes)
        if base.op is CONSTANT and base.size == 1:
            return "number", (np.asarray(base.value()).reshape(()).item(), base.dtype)
        if found is not None:
            if base in self.given or (base in self.cluster.axes and form(base) == "map"):
                return "value", base
            if base in self.inline and base.op is shape.IOTA:
                return self._index(base, found)
        return self._loaded(self.place(node, axes), base.dtype)

    def _loaded(self, place: Place, dtype: dtypes.DType) -> Source:
        key = (id(place.buffer), place.offset, place.strides)
        self.places.setdefault(key, place)
        return "value", key

    def _index(self, iota: Node, axes: Axes) -> Source:
        axis = axes[iota.attrs["axis"]]
        if axis is None:
            return "number", (0, iota.dtype)
        if axis in self.index_axis:
            return "index", (self.index_axis[axis], iota.dtype)
        strides = tuple(1 if k == axis else 0 for k in range(len(self.cluster.space)))
        table = self.table(self.cluster.space[axis])
        place = Place(table, 0, strides)
        key = (id(table), iota.dtype, strides)
        self.places.setdefault(key, place)
        return "cast", (key, iota.dtype)


@dataclass(frozen=True)
class Step:
    """One elementwise node: its op, and where its inputs come from."""

    node: Node
    sources: tuple[Source, ...]

    @property
    def needs(self) -> list[Any]:
        """Keys of the values that it takes."""
        keys = [key for kind, key in self.sources if kind == "value"]
        return keys + [key[0] for kind, key in self.sources if kind == "cast"]


def steps_of(reader: Reader, nodes: Sequence[Node]) -> list[Step]:
    """The steps of elementwise members, in order."""
    steps = []
    for node in nodes:
        if node.op is shape.IOTA:
            steps.append(Step(node, (reader._index(node, reader.cluster.axes[node]),)))
            continue
        sources = []
        for slot, source in enumerate(node.inputs):
            axes = input_axes(reader.cluster, node, slot)
            assert axes is not None
            sources.append(reader.source(source, axes))
        steps.append(Step(node, tuple(sources)))
    return steps


def fetch(e: Any, source: Source, values: Mapping[Any, Any]) -> Any:
    """The emitter's value of a source."""
    kind, what = source
    if kind == "value":
        return values[what]
    if kind == "number":
        return e.const(*what)
    if kind == "index":
        return e.cast(e.index(what[0]), what[1])
    return e.cast(values[what[0]], what[1])


def evaluate(e: Any, steps: Sequence[Step], values: dict[Any, Any]) -> None:
    """Write the steps, adding each node's value to ``values``."""
    for step in steps:
        inputs = [fetch(e, source, values) for source in step.sources]
        node = step.node
        if node.op is shape.IOTA or node.op is COPY:
            values[node] = inputs[0]
            continue
        assert node.op.scalar is not None
        values[node] = node.op.scalar(e, *inputs, **node.attrs)


def encoded(steps: Sequence[Step], names: dict[Any, Any]) -> tuple[Any, ...]:
    """The steps as plain data, equal for steps that compute the same.

    Args:
        steps: what is computed.
        names: a name for each value from outside; the steps' own are added.
    """
    code = []
    for number, step in enumerate(steps):
        sources = tuple(encoded_source(source, names) for source in step.sources)
        attrs = tuple(sorted(step.node.attrs.items())) if step.node.op is not shape.IOTA else ()
        code.append((step.node.op, step.node.dtype, attrs, sources))
        names[step.node] = number
    return tuple(code)


def encoded_source(source: Source, names: Mapping[Any, Any]) -> tuple[Any, ...]:
    """A source as plain data."""
    kind, what = source
    if kind == "value":
        return kind, names[what]
    if kind == "cast":
        return kind, names[what[0]], what[1]
    return kind, repr(what[0]), what[1]
