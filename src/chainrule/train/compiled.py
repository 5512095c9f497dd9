"""From a step in Python to graphs that a loop engine compiles, and what their state stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..dtypes import float64
from ..engines import Step
from ..graph.graph import Graph
from ..graph.node import CONSTANT, INPUT, NO_ATTRS, Node, make_aval
from ..graph.trace import Traced
from ..ops import Expr
from ..tensor import Tensor, trace
from .examples import Examples


@dataclass(frozen=True)
class Part:
    """A function that some of a loop's steps run.

    Attributes:
        function: takes a batch's tensors; returns 0-d tensors.
        examples: its data; only shapes and dtypes of the rows are used.
        sizes: the batch sizes.
        data: the number of its first data array.
        keeps: which of the tensors that it changes are changed by it in the loop; None for all. The
            others are as if it had not run: a validation step leaves the training's state alone.
        peeks: whether the step after it takes the same rows.
    """

    function: Callable[..., Sequence[Tensor]]
    examples: Examples
    sizes: Sequence[int]
    data: int = 0
    keeps: Callable[[], Sequence[Tensor]] | None = None
    peeks: bool = False


@dataclass(frozen=True)
class TracedLoop:
    """A step for each part and batch size that occurs, over one list of state.

    Attributes:
        steps: one for each batch size of each part, in order.
        handles: the tensors whose values are the loop's state, in the steps' order.
        written: for each of them, whether the step changes it.
        getters: give the numbers that stay the same through one call, such as a learning rate.
    """

    steps: tuple[Step, ...]
    handles: tuple[Any, ...]
    written: tuple[bool, ...]
    getters: tuple[Callable[[], float], ...]

    def scalars(self) -> list[float]:
        """The present run-time numbers."""
        return [getter() for getter in self.getters]


def trace_loop(
    function: Callable[..., list[Tensor]], examples: Examples, sizes: Sequence[int]
) -> TracedLoop:
    """Trace a step once for each batch size.

    Args:
        function: takes a batch's tensors; returns 0-d tensors.
        examples: the data; only shapes and dtypes of its rows are used.
        sizes: the batch sizes.

    Returns:
        The steps; the order of their state is that in which the first trace met it.

    Raises:
        TraceError: the step asks for values while it runs.

    Example:
        >>> total = Tensor(np.zeros(()))
        >>> def step(x):
        ...     total.add_(x.sum())
        ...     return [total * 1.0]
        >>> loop = trace_loop(step, Examples((np.ones((5, 2)),)), (2, 1))
        >>> len(loop.steps), loop.handles[0] is total, loop.steps[0].state
        (2, True, ((1, 1),))
    """
    return trace_parts([Part(function, examples, sizes)])


def trace_parts(
    parts: Sequence[Part],
    tracing: Callable[[Part], AbstractContextManager[Any]] = nullcontext,
    look: Callable[[Traced], Traced] | None = None,
) -> TracedLoop:
    """Trace the steps of several functions over one list of state, as :func:`trace_loop` does.

    Args:
        parts: the functions, in the order in which their steps are numbered.
        tracing: gives a context in which a part is traced.
        look: makes of the trace of the first step one that reports of the step without taking it;
            that is the last step of the loop, and takes the rows of the step after it.
    """
    handles: dict[int, Any] = {}
    changed: set[int] = set()
    getters: list[Callable[[], float]] = []
    found: list[tuple[Part, Traced, int, set[int] | None]] = []
    for part in parts:
        with tracing(part):
            traces = [trace(part.function, *_stand_ins(part.examples, n)) for n in part.sizes]
        keeps = None if part.keeps is None else {id(handle) for handle in part.keeps()}
        for traced in traces:
            found.append((part, traced, len(getters), keeps))
            for handle in (*traced.captured, *traced.rebound):
                handles.setdefault(id(handle), handle)
            changed |= {id(handle) for handle in traced.rebound if _kept(handle, keeps)}
        getters += traces[0].getters
    if look is not None:
        part, traced, _, _ = found[0]
        found.append((replace(part, peeks=True), look(traced), 0, set()))
    state = tuple(handles.values())
    return TracedLoop(
        steps=tuple(_step(*each, state) for each in found),
        handles=state,
        written=tuple(id(handle) in changed for handle in state),
        getters=tuple(getters),
    )


def _kept(handle: Any, keeps: set[int] | None) -> bool:
    return keeps is None or id(handle) in keeps


def _stand_ins(examples: Examples, size: int) -> list[Tensor]:
    """Tensors of a batch's shapes and dtypes that take no memory."""
    return [
        Tensor(np.broadcast_to(np.zeros((), array.dtype), (size, *array.shape[1:])))
        for array in examples.arrays
    ]


def _step(
    part: Part, traced: Traced, numbers: int, keeps: set[int] | None, state: Sequence[Any]
) -> Step:
    """One trace with its inputs in the common order: batch, state, run-time numbers.

    Args:
        part: what was traced.
        traced: the trace.
        numbers: how many run-time numbers of other parts stand before its own.
        keeps: the tensors that it changes; None for all.
        state: the tensors of the loop's state.
    """
    graph, first = traced.graph, traced.arguments
    inputs = {id(handle): graph.inputs[first + k] for k, handle in enumerate(traced.captured)}
    outputs = {
        id(handle): graph.outputs[traced.results + k]
        for k, handle in enumerate(traced.rebound)
        if _kept(handle, keeps)
    }
    order: list[Node] = list(graph.inputs[:first])
    results: list[Node] = list(graph.outputs[: traced.results])
    pairs = []
    for handle in state:
        # What is only written, or not met at this batch size, still has its place in the state.
        node = inputs.get(id(handle)) or _unused(handle)
        written = outputs.get(id(handle))
        pairs.append((len(order), -1 if written is None else len(results)))
        order.append(node)
        if written is not None:
            results.append(written)
    others = tuple(Expr(INPUT, (), NO_ATTRS, make_aval((), float64)) for _ in range(numbers))
    scalars = (*others, *graph.inputs[first + len(traced.captured) :])
    return Step(
        graph=Graph((*order, *scalars), tuple(results)),
        state=tuple(pairs),
        batch=tuple(range(first)),
        scalars=tuple(range(len(order), len(order) + len(scalars))),
        sums=tuple(range(traced.results)),
        data=part.data,
        peeks=part.peeks,
    )


def _unused(handle: Any) -> Node:
    return Expr(INPUT, (), NO_ATTRS, handle._node.aval)


def signature(loop: TracedLoop) -> tuple[Any, ...]:
    """What two loops have in common when the code compiled for one serves the other.

    Example:
        >>> w = Tensor(np.ones(2))
        >>> def make(factor):
        ...     return trace_loop(lambda x: [(x * w * factor).sum()],
        ...                       Examples((np.ones((4, 2)),)), (2,))
        >>> signature(make(2.0)) == signature(make(2.0)), signature(make(2.0)) == signature(make(3))
        (True, False)
    """
    return tuple(
        (
            _structure(step.graph),
            step.state,
            step.batch,
            step.scalars,
            step.sums,
            step.data,
            step.peeks,
        )
        for step in loop.steps
    )


def _structure(graph: Graph) -> tuple[Any, ...]:
    """The graph as nested tuples: equal for graphs that compute the same in the same way."""
    number: dict[Node, int] = {node: place for place, node in enumerate(graph.inputs)}
    lines: list[Any] = [tuple(node.aval for node in graph.inputs)]
    for node in graph.nodes():
        if node in number:
            continue
        number[node] = len(number)
        value = node.value().tobytes() if node.op in (CONSTANT, INPUT) else None
        attributes = tuple((key, _frozen(item)) for key, item in node.attrs.items())
        inputs = tuple(number[source] for source in node.inputs)
        lines.append((node.op, inputs, attributes, node.aval, value))
    lines.append(tuple(number[node] for node in graph.outputs))
    return tuple(lines)


def _frozen(item: Any) -> Any:
    return _structure(item) if isinstance(item, Graph) else item
