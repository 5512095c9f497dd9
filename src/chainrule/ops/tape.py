"""A graph as a flat list of calls, for engines that interpret it through the ops' own meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import EngineError
from ..graph.graph import Graph
from ..graph.node import Node

Array = Any


class Call(NamedTuple):
    """One op to compute.

    Attributes:
        array: the op's meaning.
        sources: the slots its inputs stand in.
        attrs: the op's attributes.
        target: the slot its result goes to.
        last: slots that nothing reads after it.
        node: the node it computes, for messages.
    """

    array: Callable[..., Any]
    sources: tuple[int, ...]
    attrs: Mapping[str, Any]
    target: int
    last: tuple[int, ...]
    node: Node


class Tape:
    """A graph in the order of computing, with a slot for each value.

    Values are let go as soon as nothing reads them, so that memory stays that of the widest place
    of the graph.

    Example:
        >>> import numpy as np
        >>> import chainrule as cr
        >>> from chainrule.xp import numpy_
        >>> tape = Tape(cr.trace(lambda x: (x * 2).sum(), cr.ones(3)).graph)
        >>> tape.run(numpy_, [np.ones(3, np.float32)])
        [array(6., dtype=float32)]
    """

    def __init__(self, graph: Graph) -> None:
        nodes = graph.nodes()
        slot = {node: number for number, node in enumerate(nodes)}
        self.inputs = [slot[node] for node in graph.inputs]
        self.outputs = [slot[node] for node in graph.outputs]
        self.constants: list[tuple[int, Any]] = []
        self.size = len(nodes)
        given, kept = set(self.inputs), set(self.outputs)
        computed = []
        for node in nodes:
            if slot[node] in given:
                continue
            if node.op.name in ("input", "constant"):
                self.constants.append((slot[node], node.value()))
            else:
                computed.append(node)
        still = {slot[node] for node in computed} | given
        calls: list[Call] = []
        for node in reversed(computed):
            sources = tuple(slot[source] for source in node.inputs)
            # Read from the end, the first use met is the last one made.
            last = tuple(one for one in dict.fromkeys(sources) if one in still and one not in kept)
            still.difference_update(last)
            calls.append(Call(node.op.array, sources, node.attrs, slot[node], last, node))
        self.calls = calls[::-1]

    def run(self, xp: Any, arrays: Sequence[Array]) -> list[Array]:
        """Compute the outputs.

        Args:
            xp: the array namespace.
            arrays: one for each input.
        """
        values: list[Any] = [None] * self.size
        for place, array in zip(self.inputs, arrays, strict=True):
            values[place] = array
        for place, value in self.constants:
            values[place] = xp.as_array(value)
        for array, sources, attrs, target, last, _ in self.calls:
            value = array(xp, *[values[one] for one in sources], **attrs)
            values[target] = value if type(value) is tuple else xp.as_array(value)
            for place in last:
                values[place] = None
        return [values[place] for place in self.outputs]


def check_inputs(graph: Graph, arrays: Sequence[Array]) -> None:
    """Refuse arrays that are not those a graph was made for.

    Raises:
        EngineError: when their number, a shape or a dtype differs.
    """
    if len(arrays) != len(graph.inputs):
        raise EngineError(
            f"the compiled graph has {len(graph.inputs)} inputs; given {len(arrays)} arrays"
        )
    for number, (node, array) in enumerate(zip(graph.inputs, arrays, strict=True)):
        if array.shape != node.shape or array.dtype != node.dtype.np:
            given = f"{array.dtype}[{','.join(map(str, array.shape))}]"
            raise EngineError(
                f"input {number} of the compiled graph has another shape or dtype.\n"
                f"  given: {given}\n  expected: {node.aval!r}\n  input: {node.describe()}\n"
                "  fix: compile again for this shape"
            )
