"""A result with a derivative of the user's own: ``autograd.Function``.

``custom(*results, *inputs; rule)`` passes results on as they are; its derivative with respect to
the inputs is what the rule says. Engines see nothing but its results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..graph.node import Aval, Node, Op


@dataclass(frozen=True, eq=False)
class Rule:
    """A derivative written by the user.

    Attributes:
        name: what it is called in graphs and messages.
        results: how many of the node's inputs are results; the others are inputs.
        backward: (gradient of each result or None, which inputs are asked for) -> a gradient of
            each input, or None.
    """

    name: str
    results: int
    backward: Callable[[tuple[Any, ...], tuple[bool, ...]], list[Any]]


def _infer(*avals: Aval, rule: Rule) -> tuple[Aval, ...]:
    return avals[: rule.results]


def _vjp(gradients: Any, out: Node, *inputs: Node, asked: Any, rule: Rule) -> list[Any]:
    own = asked[rule.results :]
    if not any(own):
        return [None] * len(inputs)
    return [None] * rule.results + rule.backward(gradients, own)


CUSTOM = Op(
    name="custom",
    infer=_infer,
    array=lambda xp, *arrays, rule: tuple(arrays[: rule.results]),
    vjps=(_vjp,),
    variadic=True,
    joint=True,
    text="{0}",
    tex="{0}",
)
ALL = (CUSTOM,)
