"""``cr.compile(check="nan")``: a call that gives a NaN or an infinity is an error that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import NonFiniteError
from ..graph.node import Node
from ..graph.trace import Traced
from ._nonfinite import all_finite, describe, evaluate, find_origin
from ._runner import Plain

Array = np.ndarray[Any, Any]
_WHOLE = "  What the function changes holds its values from before that call."


@dataclass
class Calls:
    """The calls of a compiled function, for its runners.

    Attributes:
        name: the function's.
        count: calls that ended well.
        runner: the one that ran last.
    """

    name: str
    count: int = 0
    runner: Any = field(default=None, repr=False)


class CheckedPlain(Plain):
    """Runs a program that gives all arrays at each call, and looks at all of them."""

    def __init__(self, traced: Traced, program: Any, seen: Any, calls: Calls) -> None:
        super().__init__(traced, program, seen)
        self._calls = calls

    def _run(self, inputs: Sequence[Array]) -> list[Array]:
        outputs = super()._run(inputs)
        if not all(all_finite(np.asarray(output)) for output in outputs):
            raise NonFiniteError(report(self.traced, inputs, outputs, self._calls))
        return outputs


def report(traced: Traced, inputs: Sequence[Array], outputs: Sequence[Array], calls: Calls) -> str:
    """What is said of a call that gave what is not finite.

    Args:
        traced: the function.
        inputs: the arrays of the graph's inputs.
        outputs: what the engine gave.
        calls: how many came before, and the function's name.
    """
    values = evaluate(traced.graph, inputs)
    labels, names = labels_of(traced), names_of(traced)
    number = next(k for k, array in enumerate(outputs) if not all_finite(np.asarray(array)))
    origin = find_origin(traced.graph.outputs[number], values.__getitem__)
    array = np.asarray(outputs[number])
    bad = array[~np.isfinite(array)].flat[0]
    what = f"{labels[number]} {'is' if array.ndim == 0 else 'holds'} {bad} in call {calls.count}"
    if origin is None:
        return (
            f"{what} of {calls.name}, and NumPy gives a finite number in its place: the numbers are"
            f" at the edge of what {array.dtype} holds.\n  fix: scale them down\n{_WHOLE}"
        )

    def where(name: str, place: Array) -> str | None:
        if not name.startswith("argument"):
            return None
        at = ", ".join(map(str, place))
        return f"  where: at [{at}]\n  fix: fill or leave out missing values before the call"

    told = describe(origin, names, values.__getitem__, where)
    return f"{what} of {calls.name}.\n{told}\n{_WHOLE}"


def names_of(traced: Traced) -> dict[Node, str]:
    """What the inputs of a graph are called."""
    inputs, first = traced.graph.inputs, traced.arguments
    names = {node: f"argument {k}" for k, node in enumerate(inputs[:first])}
    for k, handle in enumerate(traced.captured):
        node = inputs[first + k]
        names[node] = traced.names.get(id(handle)) or node.name or "a tensor from outside"
    for node in inputs[first + len(traced.captured) :]:
        names[node] = "a run-time number"
    return names


def labels_of(traced: Traced) -> list[str]:
    """What the outputs of a graph are called."""

    def name(handle: Any) -> str:
        return traced.names.get(id(handle)) or "a tensor that it changes"

    results = traced.results
    labels = ["the result"] if results == 1 else [f"result {k}" for k in range(results)]
    labels += [f"the new value of {name(handle)}" for handle in traced.rebound]
    return labels + [f"the gradient of {name(handle)}" for handle in traced.grads]
