"""Running a function of tensors without values, to get its graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..config import STATE
from ..errors import TraceError
from ..graph.graph import Graph
from ..graph.node import Node
from ..graph.trace import Trace, Traced
from ..ops import Expr
from ._nested import map_leaves
from ._tensor import Tensor


def trace(function: Callable[..., Any], *arguments: Tensor, keep_grads: bool = False) -> Traced:
    """Run a function on placeholders and return the graph that it leaves behind.

    Tensors that the function reads from outside (parameters, state) become inputs of the graph;
    tensors from outside that it rebinds (an optimizer's step) become outputs, and hold the values
    they had before when the trace is done.

    Args:
        function: Python code on tensors; it is called once.
        *arguments: tensors whose shapes and dtypes its placeholders take.
        keep_grads: whether gradients that ``backward`` leaves in ``.grad`` are outputs.

    Returns:
        The graph and what its inputs and outputs stand for.

    Raises:
        TraceError: when the function asks for a value, or keeps gradients between calls.

    Example:
        >>> import chainrule as cr
        >>> w = cr.ones(3)
        >>> traced = trace(lambda x: (x * w).sum(), cr.zeros(3))
        >>> len(traced.graph.inputs), traced.captured[0] is w
        (2, True)
    """
    if STATE.trace is not None:
        raise TraceError("a trace is running already: a compiled function called in another one")
    recording = Trace(Expr)
    placeholders = [_argument(recording, one) for one in arguments]
    STATE.trace = recording
    try:
        returned = function(*placeholders)
        outputs: list[Node] = []
        structure = flatten(returned, outputs)
        results = len(outputs)
        rebound = [handle for handle, _ in recording.rebound.values()]
        outputs += [handle._node for handle in rebound]
        grads = _kept_grads(recording, keep_grads)
        outputs += [handle._grad.node for handle in grads]
    finally:
        STATE.trace = None
        recording.restore()
    inputs = [tensor._node for tensor in placeholders]
    inputs += [node for _, node in recording.captured]
    inputs += [node for _, node in recording.runtimes]
    return Traced(
        graph=Graph(tuple(inputs), tuple(outputs)),
        arguments=len(placeholders),
        captured=tuple(handle for handle, _ in recording.captured),
        getters=tuple(getter for getter, _ in recording.runtimes),
        results=results,
        rebound=tuple(rebound),
        grads=tuple(grads),
        structure=structure,
        names=_names(recording),
    )


def _names(recording: Trace) -> dict[int, str]:
    """What captured parameters are called; two of one name get numbers."""
    known: dict[int, str] = {}
    for scope, module in recording.modules:
        for name, parameter in module.named_parameters():
            known.setdefault(id(parameter), f"{scope}.{name}" if scope else name)
    names: dict[int, str] = {}
    for number, (handle, node) in enumerate(recording.captured):
        if node.requires_grad:
            name = node.name or known.get(id(handle)) or f"parameter {number}"
            taken = sum(other.partition(" (")[0] == name for other in names.values())
            names[id(handle)] = f"{name} ({taken + 1})" if taken else name
    return names


def _argument(recording: Trace, tensor: Tensor) -> Tensor:
    """What stands for an argument inside the trace: without a value, else like it."""
    node = tensor._node
    inside = Tensor(recording.placeholder(node.aval, name=node.name))
    return inside.requires_grad_(True) if node.requires_grad else inside


def _kept_grads(recording: Trace, keep_grads: bool) -> list[Any]:
    """The handles whose gradients are outputs; refuses gradients that add up over calls."""
    kept = []
    read = {id(handle) for handle, _ in recording.captured}
    for handle, before in recording.grads.values():
        after = handle._grad
        if before is not None and id(before) in read and after is not None:
            raise TraceError(
                "a compiled step adds its gradients to those of the step before, which are not"
                f" kept.\n  tensor: {handle._node.describe()}\n"
                "  fix: call optimizer.zero_grad() in the step"
            )
        if keep_grads and after is not None and after._node.trace is recording:
            kept.append(handle)
    return kept


def flatten(value: Any, outputs: list[Node]) -> Any:
    """The structure of what was returned, tensors replaced by their position in ``outputs``."""

    def place(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        outputs.append(leaf.node)
        return Position(len(outputs) - 1)

    return map_leaves(place, value)


class Position(int):
    """The place of a result among a graph's outputs."""


def rebuild(structure: Any, tensors: list[Tensor]) -> Any:
    """What the function returned, with tensors in their places again."""
    return map_leaves(lambda leaf: tensors[leaf] if isinstance(leaf, Position) else leaf, structure)
