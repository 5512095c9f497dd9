"""Statistics of the values inside a traced step, as further nodes of its graph.

What the step computes is left as it is: the statistics are a graph of their own over the same
inputs, which an engine runs beside the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from ..config import set_state
from ..errors import OptionError
from ..graph.graph import Graph
from ..graph.node import Node
from ..graph.trace import Traced
from ..graph.walk import topological
from ._tensor import Tensor

SMALLEST = 1e-30  # what a norm of 0 is divided by
_UNKNOWN = (
    "watch names {given!r}, which is no layer, named value or parameter of the step.\n"
    "  expected: names or patterns of some of {known}"
)


@dataclass(frozen=True)
class Watching:
    """The graph of a step's statistics.

    Attributes:
        traced: as the step's trace, but its results are the statistics, and it rebinds nothing.
        names: (what is watched, statistic) of each result.
    """

    traced: Traced
    names: tuple[tuple[str, str], ...]


def watch(
    traced: Traced, parameters: Mapping[int, str], chosen: bool | Sequence[str] = True
) -> Watching:
    """Describe the values of a traced step.

    A layer's output has "mean", "std" and "zeros" (the share that is exactly 0), and so has a value
    that the step calls ``.named("...")``; one that a derivative is taken by has "gradient_norm"
    too. A parameter has "mean", "std", "gradient_norm" (before any clipping) and "update_ratio":
    the norm of its change in this step, divided by its own.

    Args:
        traced: the step.
        parameters: names of parameters, by the id of their handle.
        chosen: names, or patterns with ``*`` and ``?``, of layers (as in ``named_modules``), named
            values and parameters; True for all of them, layers inside of others being enough for
            those.

    Returns:
        The statistics' graph and their names.

    Raises:
        OptionError: a name or pattern that fits nothing.

    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.Sequential(cr.nn.Linear(2, 3), cr.nn.ReLU())
        >>> traced = cr.trace(lambda x: layer(x).sum(), cr.zeros(4, 2))
        >>> watch(traced, {}).names
        (('0', 'mean'), ('0', 'std'), ('0', 'zeros'), ('1', 'mean'), ('1', 'std'), ('1', 'zeros'))
    """
    layers = _layer_outputs(traced)
    held = {parameters[id(h)]: h for h in traced.captured if id(h) in parameters}
    gradients = _gradients(traced)
    named = _named_values(traced, {*layers, *held})
    wanted = _wanted(chosen, layers, {**named, **held})
    names: list[tuple[str, str]] = []
    results: list[Node] = []
    recording = traced.graph.inputs[0].trace if traced.graph.inputs else None
    with set_state(trace=recording, grad_enabled=False, scope="", source=None):
        for name in layers:
            if name in wanted:
                _describe(name, {"value": _output(layers[name])}, _OUTPUT, names, results)
        for name, node in named.items():
            if name in wanted:
                both = {"value": node, "gradient": gradients.get(node)}
                _describe(name, both, _NAMED, names, results)
        moments = _parameter_values(traced, gradients)
        for name, handle in held.items():
            if name in wanted:
                _describe(name, moments(handle), _PARAMETER, names, results)
    graph = Graph(traced.graph.inputs, tuple(results))
    alone = replace(traced, graph=graph, results=len(results), rebound=(), grads=(), structure=None)
    return Watching(alone, tuple(names))


def _wanted(
    chosen: bool | Sequence[str], layers: Mapping[str, Any], held: Mapping[str, Any]
) -> set[str]:
    known = [*layers, *held]
    if chosen is True:
        inner = [name for name in layers if not any(n.startswith(f"{name}.") for n in layers)]
        return {*inner, *held}
    found: set[str] = set()
    for pattern in chosen or ():
        fitting = [name for name in known if fnmatchcase(name, pattern)]
        if not fitting:
            raise OptionError(_UNKNOWN.format(given=pattern, known=", ".join(known)))
        found.update(fitting)
    return found


def _layer_outputs(traced: Traced) -> dict[str, list[Node]]:
    """The forward nodes of each layer, in order, by the layer's name."""
    nodes = traced.graph.nodes()
    # What a derivative was taken of is the forward pass; the rest serves derivatives and updates.
    targets = {target for node in nodes for target in node.wrt}
    forward = set(topological(tuple(targets))) if targets else set(nodes)
    found: dict[str, list[Node]] = {}
    for node in nodes:
        if node in forward and node.inputs and node.scope and hasattr(node.aval, "dtype"):
            parts = node.scope.split(".")
            for length in range(1, len(parts) + 1):
                found.setdefault(".".join(parts[:length]), []).append(node)
    place = {node: number for number, node in enumerate(nodes)}
    return {
        name: members
        for name, members in sorted(found.items(), key=lambda item: place[item[1][-1]])
        if _output(members).dtype.is_float
    }


def _output(members: Sequence[Node]) -> Node:
    """The last node of a layer that no other of its nodes takes."""
    inside = {source for node in members for source in node.inputs}
    return next(node for node in reversed(members) if node not in inside)


def _named_values(traced: Traced, taken: set[str]) -> dict[str, Node]:
    """The computed values that the user's code has named, in order."""
    inputs = set(traced.graph.inputs)
    return {
        node.name: node
        for node in traced.graph.nodes()
        if node.name and node not in inputs and node.name not in taken
        and node.inputs and hasattr(node.aval, "dtype") and node.dtype.is_float
    }  # fmt: skip


def _gradients(traced: Traced) -> dict[Node, Node]:
    """The whole gradient by each value: the last node that is a part of it."""
    return {target: node for node in traced.graph.nodes() for target in node.wrt}


def _parameter_values(
    traced: Traced, gradients: Mapping[Node, Node]
) -> Callable[[Any], dict[str, Node | None]]:
    """For a handle the nodes of its value, its gradient and its value after the step."""
    graph = traced.graph
    values = {
        id(handle): graph.inputs[traced.arguments + k] for k, handle in enumerate(traced.captured)
    }
    after = {
        id(handle): graph.outputs[traced.results + k] for k, handle in enumerate(traced.rebound)
    }

    def of(handle: Any) -> dict[str, Node | None]:
        value = values[id(handle)]
        return {
            "value": value, "gradient": gradients.get(value), "after": after.get(id(handle)),
        }  # fmt: skip

    return of


def _mean(x: Tensor) -> Any:
    return x.mean()


def _std(x: Tensor) -> Any:
    centered = x - x.mean()
    return (centered * centered).mean().sqrt()


def _zeros(x: Tensor) -> Any:
    return (x == 0).to(x.dtype).mean()


def _norm(x: Tensor) -> Any:
    return (x * x).sum().sqrt()


def _update_ratio(value: Tensor, after: Tensor) -> Any:
    return _norm(after - value) / (_norm(value) + SMALLEST)


_Statistics = dict[str, tuple[Callable[..., Any], tuple[str, ...]]]
# A statistic, and the values that it is made of.
_OUTPUT: _Statistics = {
    "mean": (_mean, ("value",)),
    "std": (_std, ("value",)),
    "zeros": (_zeros, ("value",)),
}
_NAMED: _Statistics = {**_OUTPUT, "gradient_norm": (_norm, ("gradient",))}
_PARAMETER: _Statistics = {
    "mean": (_mean, ("value",)),
    "std": (_std, ("value",)),
    "gradient_norm": (_norm, ("gradient",)),
    "update_ratio": (_update_ratio, ("value", "after")),
}


def _describe(
    name: str,
    values: Mapping[str, Node | None],
    statistics: _Statistics,
    names: list[tuple[str, str]],
    results: list[Node],
) -> None:
    """Add the statistics of a value, those that can be made of what there is."""
    for statistic, (make, needed) in statistics.items():
        nodes: Iterable[Node | None] = [values.get(each) for each in needed]
        if all(node is not None and node.dtype.is_float for node in nodes):
            names.append((name, statistic))
            results.append(make(*(Tensor(node) for node in nodes)).node)
