"""Tracing: the same Python code, run once without values, leaves the whole step as a graph.

What a trace captures: handles (tensors) that existed before it and were read are inputs, those that
were rebound are outputs. Numbers that the user may change between calls (a learning rate) enter
through :func:`chainrule.ops.runtime` as 0-d inputs that are read anew at each call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..config import STATE
from ..dtypes import DType
from .graph import Graph
from .node import INPUT, NO_ATTRS, Aval, Node, make_aval


class Handle:
    """What a trace needs to know of a tensor: the node it holds now, and its gradient."""

    __slots__ = ("_grad", "_node")
    _node: Node
    _grad: Any


class Trace:
    """One trace being made: what was read, what was rebound.

    Attributes:
        captured: (handle, placeholder) of every tensor from outside that was read, in order.
        runtimes: (getter, placeholder) of every run-time number, in order.
        rebound: (handle, its node before) of every tensor from outside that got a new node.
        modules: (layer's name, module) of every module that no other layer called, in order.
        finished: whether the traced function has returned.
    """

    def __init__(self, make_node: type[Node]) -> None:
        self.make_node = make_node
        self.finished = False
        self.arguments: list[Node] = []
        self.modules: list[tuple[str, Any]] = []
        self.captured: list[tuple[Any, Node]] = []
        self.runtimes: list[tuple[Callable[[], float], Node]] = []
        self.rebound: dict[int, tuple[Any, Node]] = {}
        self.grads: dict[int, tuple[Any, Any]] = {}
        self._placeholders: dict[int, Node] = {}
        self._numbers: dict[Any, Node] = {}

    def placeholder(self, aval: Aval, like: Node | None = None, name: str | None = None) -> Node:
        """A leaf without a value."""
        node = self.make_node(INPUT, (), NO_ATTRS, aval, trace=self, name=name)
        if like is not None:
            node.requires_grad = like.requires_grad
            node.name, node.scope, node.origin = like.name or name, like.scope, like.origin
            node.handle = like.handle
        return node

    def read(self, handle: Any) -> Node:
        """The node of a handle inside this trace: its own, or a placeholder for it."""
        node: Node = handle._node
        if node.trace is self:
            return node
        found = self._placeholders.get(id(handle))
        if found is None:
            found = self.placeholder(node.aval, like=node)
            self._placeholders[id(handle)] = found
            self.captured.append((handle, found))
        return found

    def note_rebind(self, handle: Any) -> None:
        """Remember the node that a handle had before this trace; it becomes an input too."""
        if handle._node.trace is not self and id(handle) not in self.rebound:
            self.read(handle)
            self.rebound[id(handle)] = (handle, handle._node)

    def note_grad(self, handle: Any) -> None:
        """Remember the gradient that a handle had before this trace."""
        if handle._node.trace is not self or id(handle) in self.rebound:
            self.grads.setdefault(id(handle), (handle, handle._grad))

    def runtime(self, getter: Callable[[], float], dtype: DType, key: Any) -> Node:
        """A 0-d input whose value is asked of ``getter`` at each call."""
        if key is not None and key in self._numbers:
            return self._numbers[key]
        node = self.placeholder(make_aval((), dtype))
        self.runtimes.append((getter, node))
        if key is not None:
            self._numbers[key] = node
        return node

    def restore(self) -> None:
        """Give every handle from outside the node and gradient it had before."""
        for handle, node in self.rebound.values():
            handle._node = node
        for handle, grad in self.grads.values():
            handle._grad = grad
        self.finished = True


@dataclass(frozen=True)
class Traced:
    """A finished trace.

    Attributes:
        graph: inputs are the arguments, then the captured handles, then the run-time numbers;
            outputs are the results, then the new nodes of rebound handles, then kept gradients.
        arguments: how many inputs are arguments.
        captured: the captured handles, in input order.
        getters: one for each run-time number, in input order.
        results: how many outputs are results.
        rebound: the rebound handles, in output order.
        grads: the handles whose gradients are outputs, in output order.
        structure: what the function returned, with positions of outputs in the place of tensors.
        names: of captured parameters, by the id of their handle, as in ``named_parameters``.
    """

    graph: Graph
    arguments: int
    captured: tuple[Any, ...]
    getters: tuple[Callable[[], float], ...]
    results: int
    rebound: tuple[Any, ...]
    grads: tuple[Any, ...]
    structure: Any
    names: Mapping[int, str] = field(default_factory=dict)


@contextmanager
def outside() -> Iterator[None]:
    """Leave the trace for a moment: what is made here has values, and the trace captures it.

    For state that is made when first needed, such as an optimizer's moments.
    """
    before = STATE.trace
    STATE.trace = None
    try:
        yield
    finally:
        STATE.trace = before
