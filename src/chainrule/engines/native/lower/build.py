"""Making nodes for the engine: equal ones once, simplified as they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .... import dtypes
from ....graph.node import CONSTANT, INPUT, Node, Op, make_aval
from ....ops import elementwise as e
from ....ops import reduction, shape

COPY = Op(
    name="copy",
    infer=lambda x: x,
    array=lambda xp, x: x + 0 if x.dtype.kind != "b" else x,
    scalar=lambda emitter, x: x,
    text="{0}",
    tex="{0}",
)

# A copy whose rows need not lie close to each other: a weight as products like it.
LAID = Op(
    name="laid",
    infer=lambda x: x,
    array=lambda xp, x: x,
    scalar=lambda emitter, x: x,
    text="{0}",
    tex="{0}",
)

Rewrite = Callable[["Builder", Node], "Node | None"]


def constant_array(node: Node) -> np.ndarray[Any, Any] | None:
    """The array of a constant leaf, else None."""
    if node.op is CONSTANT and node.has_value:
        return np.asarray(node.value())
    return None


def scalar_of(node: Node) -> Any:
    """The Python number that a node holds at every element, or None.

    Looks through expansion and reshaping of a one-element constant.
    """
    while node.op in (shape.EXPAND, shape.RESHAPE):
        node = node.inputs[0]
    if node.op is CONSTANT and node.size == 1 and node.has_value:
        return np.asarray(node.value()).reshape(()).item()
    return None


class Builder:
    """Makes nodes; a node equal to an earlier one is that one; rewrites are applied at once.

    Args:
        rewrites: for each op name, the rewrites tried in order on a new node of that op.
    """

    def __init__(self, rewrites: Mapping[str, Sequence[Rewrite]]) -> None:
        self.rewrites = rewrites
        self.known: dict[Any, Node] = {}
        self.applied: dict[str, int] = {}
        self.source: Node | None = None

    def make(self, op: Op, *inputs: Node, **attrs: Any) -> Node:
        """The simplest node that equals this op of these inputs."""
        key = (op, inputs, tuple(sorted(attrs.items(), key=lambda item: item[0])))
        found = self.known.get(key)
        if found is None:
            aval = op.infer(*(node.aval for node in inputs), **attrs)
            found = self.known[key] = self._simplest(self._node(op, inputs, attrs, aval))
        return found

    def raw(self, op: Op, inputs: tuple[Node, ...], attrs: Mapping[str, Any]) -> Node:
        """A node as it is said, not simplified: a loop, which has several outputs."""
        return self._node(op, inputs, attrs, op.infer(*(n.aval for n in inputs), **attrs))

    def constant(self, value: Any, dtype: dtypes.DType) -> Node:
        """A constant leaf, one for each value."""
        array = np.asarray(value, dtype.np)
        key = (CONSTANT, dtype, array.shape, array.tobytes())
        if key not in self.known:
            aval = make_aval(array.shape, dtype)
            self.known[key] = self._node(CONSTANT, (), {}, aval, value=array)
        return self.known[key]

    def _node(
        self,
        op: Op,
        inputs: tuple[Node, ...],
        attrs: Mapping[str, Any],
        aval: Any,
        value: Any = None,
    ) -> Node:
        source = self.source
        return Node(
            op,
            inputs,
            attrs,
            aval,
            value=value,
            scope=source.scope if source is not None else "",
            origin=source.origin if source is not None else None,
            name=source.name if source is not None and source.op is op else None,
        )

    def _simplest(self, node: Node) -> Node:
        for rewrite in (*self.rewrites.get(node.op.name, ()), *self.rewrites.get("*", ())):
            better = rewrite(self, node)
            if better is not None:
                name = rewrite.__name__
                self.applied[name] = self.applied.get(name, 0) + 1
                return better
        return node

    # -- shorthand that the rewrites use --
    def cast(self, x: Node, dtype: dtypes.DType) -> Node:
        """x as another dtype."""
        return self.make(e.CAST, x, dtype=dtype)

    def reshape(self, x: Node, new: tuple[int, ...]) -> Node:
        """x with another shape."""
        return self.make(shape.RESHAPE, x, shape=new)

    def expand(self, x: Node, new: tuple[int, ...]) -> Node:
        """x repeated to a shape."""
        return self.make(shape.EXPAND, x, shape=new)

    def permute(self, x: Node, axes: tuple[int, ...]) -> Node:
        """x with its axes in another order."""
        return self.make(shape.PERMUTE, x, axes=axes)

    def sum(self, x: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
        """The sum over axes."""
        return self.make(reduction.SUM, x, axes=axes, keepdims=keepdims)

    def where(self, condition: Node, a: Node, b: Node) -> Node:
        """a where the condition holds, b elsewhere."""
        return self.make(e.WHERE, condition, a, b)

    def full(self, value: Any, like: Node) -> Node:
        """A constant of the shape and dtype of another node."""
        return self.expand(self.constant(value, like.dtype), like.shape)


def is_leaf(node: Node) -> bool:
    """Whether the node is an input or a constant."""
    return node.op is INPUT or node.op is CONSTANT
