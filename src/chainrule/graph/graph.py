"""A closed piece of graph: inputs, outputs, and everything between; verified and printed."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import GraphError
from .node import CONSTANT, Aval, Node
from .walk import topological


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes from inputs to outputs, ready for an engine.

    Attributes:
        inputs: leaves whose values are given at each run, in order.
        outputs: the nodes asked for, in order; one may stand twice, or be an input.
    """

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    def nodes(self) -> list[Node]:
        """All nodes, each after its inputs; inputs that nothing uses come first."""
        order = topological(self.outputs)
        present = set(order)
        return [node for node in self.inputs if node not in present] + order

    def verify(self) -> None:
        """Check the rules every graph keeps.

        Raises:
            GraphError: naming the node, when a shape or dtype differs from what its op infers,
                or a leaf is neither an input nor has a value.
        """
        given = set(self.inputs)
        if len(given) != len(self.inputs):
            raise GraphError("a graph names one of its inputs twice")
        for node in self.nodes():
            if node in given:
                continue
            if node.op.name in ("input", "constant"):
                if not node.has_value:
                    raise GraphError(f"a leaf is no input of the graph and has no value: {node!r}")
                continue
            _check_aval(node)
            for value in node.attrs.values():
                if isinstance(value, Graph):
                    value.verify()

    def __str__(self) -> str:
        return format_graph(self)


def _check_aval(node: Node) -> None:
    inferred = node.op.infer(*(source.aval for source in node.inputs), **node.attrs)
    if inferred is not node.aval and inferred != node.aval:
        raise GraphError(
            f"a node's shape or dtype is not what its op gives.\n  node: {node!r}\n"
            f"  given: {node.aval!r}\n  expected: {inferred!r}"
        )
    if node.op.promote is not None:
        kinds = {source.aval.dtype for source in node.inputs[node.op.promoted_from :]}
        if len(kinds) > 1:
            raise GraphError(f"inputs of different dtypes meet without a cast: {node!r}: {kinds}")


def labels(nodes: list[Node]) -> dict[Node, str]:
    """A short label for each node: its name, else a number; constants show their value."""
    result: dict[Node, str] = {}
    taken: set[str] = set()
    for number, node in enumerate(nodes):
        if node.op is CONSTANT and isinstance(node.aval, Aval) and node.aval.size == 1:
            result[node] = f"{node.value().item():.7g}"
            continue
        label = node.name or f"%{number}"
        if label in taken:
            label = f"{label}%{number}"
        taken.add(label)
        result[node] = label
    return result


def format_graph(graph: Graph) -> str:
    """The graph as text: one line a node, with shape, inputs, attributes and layer.

    Example:
        >>> import chainrule as cr
        >>> graph = cr.trace(lambda x: (x * 2.0).sum(), cr.ones(3)).graph
        >>> print(graph)
        graph(%0: float32[3])
          %2 = mul(%0, 2)  float32[3]
          %3 = sum(%2; axes=(0,), keepdims=False)  float32[]
        return %3
    """
    nodes = graph.nodes()
    label = labels(nodes)
    inputs = ", ".join(f"{label[node]}: {node.aval!r}" for node in graph.inputs)
    lines = [f"graph({inputs})"]
    for node in nodes:
        if not node.inputs and node.op.name in ("input", "constant"):
            if node not in graph.inputs and node.aval.size != 1:
                lines.append(f"  {label[node]} = constant  {node.aval!r}")
            continue
        attributes = ", ".join(f"{key}={_short(value)}" for key, value in node.attrs.items())
        arguments = ", ".join(label[source] for source in node.inputs)
        inside = "; ".join(part for part in (arguments, attributes) if part)
        where = f"  # {node.scope}" if node.scope else ""
        lines.append(f"  {label[node]} = {node.op.name}({inside})  {node.aval!r}{where}")
    lines.append("return " + ", ".join(label[node] for node in graph.outputs))
    return "\n".join(lines)


def _short(value: object) -> str:
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else repr(value)
