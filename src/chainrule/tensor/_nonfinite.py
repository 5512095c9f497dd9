"""Where a NaN or an infinity comes from: the first node that made one, and what it was given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..config import STATE
from ..graph.graph import Graph
from ..graph.node import CONSTANT, INPUT, Node
from ..ops.scan import SCAN
from ..xp import numpy_

Array = np.ndarray[Any, Any]
Values = Callable[[Node], Any]

HINTS = {
    "log": "keep its input above 0, for example (x + 1e-8).log(), or use a loss of logits",
    "log1p": "keep its input above -1",
    "div": "keep the divisor away from 0, for example x / (y + 1e-8)",
    "exp": "large inputs overflow: subtract their maximum, or use softmax and losses of logits",
    "expm1": "large inputs overflow: bound them",
    "sqrt": "keep its input at 0 or above, and above 0 where its slope is needed",
    "pow": "the slope of a small power at 0 is infinite: add a small number first",
}
HINT = "lower the learning rate, scale the inputs, or clip gradients: Trainer(..., clip=1.0)"


def all_finite(array: Array) -> bool:
    """Whether all numbers of an array are finite; whole numbers are. Nothing is copied.

    Example:
        >>> all_finite(np.array([1.0, np.inf])), all_finite(np.full(9, 1e38, np.float32))
        (False, True)
    """
    if array.dtype.kind != "f":
        return True
    if array.size == 1:
        return math.isfinite(array.item())
    # A sum is finite only if all its terms are; a large one may overflow by itself.
    total = STATE.ignoring.run(np.add.reduce, array, None)
    return math.isfinite(total) or bool(np.isfinite(array).all())


def find_origin(node: Node, values: Values = Node.value) -> Node | None:
    """The node that made what is not finite in `node`: itself not finite, its inputs all finite.

    Args:
        node: where to begin.
        values: gives the values of a node.

    Returns:
        None where `node` is finite.

    Example:
        >>> import chainrule as cr
        >>> with cr.record():
        ...     y = cr.tensor([0.0, 1.0]).log().sum() * 2.0
        >>> find_origin(y.node).op.name
        'log'
    """
    if _is_finite(node, values):
        return None
    while True:
        worse = next((source for source in node.inputs if not _is_finite(source, values)), None)
        if worse is None:
            return node
        node = worse


def _is_finite(node: Node, values: Values) -> bool:
    value = values(node)
    return all(map(all_finite, value)) if isinstance(value, tuple) else all_finite(value)


def evaluate(graph: Graph, arrays: Sequence[Array]) -> dict[Node, Any]:
    """All values of a graph, computed by NumPy.

    Args:
        graph: any closed graph.
        arrays: one for each of its inputs.
    """
    values: dict[Node, Any] = dict(zip(graph.inputs, arrays, strict=True))
    with np.errstate(all="ignore"):
        for node in graph.nodes():
            if node in values:
                continue
            if node.op in (INPUT, CONSTANT):
                values[node] = node.value()
                continue
            given = [values[source] for source in node.inputs]
            value = node.op.array(numpy_, *given, **node.attrs)
            values[node] = value if isinstance(value, tuple) else np.asarray(value)
    return values


def inside_loops(origin: Node, values: Values) -> tuple[Node, Values, str]:
    """The node inside of a loop over time that made its first such number, for one that is a loop.

    Returns:
        The node, what gives values of the body in that time step, and which step that is, in words.
    """
    told = ""
    while origin.op is SCAN:
        body, length = origin.attrs["body"], origin.attrs["length"]
        first, second = body.carries, body.carries + body.scanned
        given = [values(source) for source in origin.inputs]
        carry = given[:first]
        for step in reversed(range(length)) if origin.attrs["reverse"] else range(length):
            known = evaluate(body, [*carry, *(each[step] for each in given[first:second]),
                                    *given[second:]])  # fmt: skip
            inner = next(filter(None, (find_origin(out, known.get) for out in body.outputs)), None)
            if inner is not None:
                origin, values, told = inner, known.__getitem__, f"{told}, in time step {step}"
                break
            carry = [known[out] for out in body.outputs[:first]]
        else:
            break
    return origin, values, told


def describe(
    origin: Node,
    names: Mapping[Node, str],
    values: Values = Node.value,
    where: Callable[[str, Array], str | None] = lambda name, place: None,
) -> str:
    """The node in words: what it is, where it was made, what it was given, what may help.

    Args:
        origin: what :func:`find_origin` found.
        names: what leaves are called.
        values: gives the values of a node.
        where: for a leaf's name and the place of its first bad number, a line that says more.
    """
    origin, values, when = inside_loops(origin, values)
    value = _first_bad(values(origin))
    bad = np.argwhere(~np.isfinite(value))
    if origin.op is INPUT:
        name = names.get(origin, "a value from outside of the step")
        lines = [f"  first: {name} hold{'' if name.endswith('s') else 's'} {len(bad)} such numbers"]
        more = where(name, bad[0])
        return "\n".join([*lines, *([more] if more else [])])
    lines = [
        f"  first: {origin.op.name} gives {value[tuple(bad[0])]} in {len(bad)} of {value.size}"
        f" numbers{when}, from inputs that are finite"
    ]
    of = origin.wrt[0] if origin.wrt else None
    if of is not None:
        lines.append(f"  it is part of the gradient of {names.get(of) or of.name or of.op.name}")
    layer = f"layer '{origin.scope}'" if origin.scope else "outside of any layer"
    line = f', "{origin.line[0]}", line {origin.line[1]}' if origin.line is not None else ""
    lines.append(f"  where: {layer}{line}")
    for source in origin.inputs:
        label = names.get(source) or source.name or source.op.name
        lines.append(f"  input {_range_of(label, values(source))}")
    lines.append(f"  fix: {HINTS.get(origin.op.name, HINT)}")
    return "\n".join(lines)


def _first_bad(value: Any) -> Array:
    """The array that is not finite, of an op's one or several."""
    arrays = value if isinstance(value, tuple) else (value,)
    return np.atleast_1d(next(array for array in arrays if not all_finite(array)))


def _range_of(label: str, value: Any) -> str:
    """What is said of an input."""
    if isinstance(value, tuple):
        return f"{label}: {len(value)} arrays"
    array = np.asarray(value)
    shape = f"{array.dtype.name}{list(array.shape)}"
    if not array.size:
        return f"{label}: {shape}, empty"
    low, high = array.min(), array.max()
    span = f"{low:.6g}" if low == high else f"from {low:.6g} to {high:.6g}"
    return f"{label}: {shape}, {span}"
