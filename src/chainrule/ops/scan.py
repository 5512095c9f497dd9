"""The loop: a body computed once for each time step, carrying state from step to step.

``scan`` is the one op with a graph among its attributes and with several outputs; ``pick`` gives
one of them. With T steps, carries c, scanned inputs x, constants k and a body (c, x_t, k) ->
(c', y_t), its outputs are the last c and, for each y, all y_t stacked along a new first axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import DTypeError, ShapeError
from ..graph.graph import Graph
from ..graph.node import Aval, Node, Op, make_aval
from .tape import Tape

# (gradients of all outputs or None, the scan's node, its inputs, which are asked) -> gradients
Derivative = Callable[[tuple[Any, ...], Node, tuple[Node, ...], tuple[bool, ...]], list[Any]]


@dataclass(frozen=True, eq=False)
class Body(Graph):
    """One step of a loop, as a graph.

    Its inputs are the carries, then one step's part of each scanned input, then the constants; its
    outputs are the new carries, then one step's part of each stacked output.

    Attributes:
        carries: how many carries there are.
        scanned: how many inputs are scanned along their first axis.
        derivative: builds the gradients of the loop; None where no gradient can be asked for.
    """

    carries: int
    scanned: int
    derivative: Derivative | None = None

    @property
    def name(self) -> str:
        """How it is printed among attributes."""
        return f"<body of {len(self.tape.calls)} ops>"

    @cached_property
    def tape(self) -> Tape:
        """The body as a list of calls."""
        return Tape(self)


def _infer(*avals: Aval, body: Body, length: int, reverse: bool) -> tuple[Aval, ...]:
    first, second = body.carries, body.carries + body.scanned
    if len(avals) != len(body.inputs):
        raise ShapeError(f"scan: the body takes {len(body.inputs)} inputs; given {len(avals)}")
    for place, (aval, node) in enumerate(zip(avals, body.inputs, strict=True)):
        scanned = first <= place < second
        expected = make_aval((length, *node.shape), node.dtype) if scanned else node.aval
        if aval is not expected:
            raise ShapeError(
                f"scan: input {place} does not fit the body.\n  given: {aval!r}\n"
                f"  expected: {expected!r}"
            )
    for place in range(first):
        check_carry(place, body.inputs[place].aval, body.outputs[place].aval)
    stacked = [make_aval((length, *node.shape), node.dtype) for node in body.outputs[first:]]
    return (*(node.aval for node in body.outputs[:first]), *stacked)


def check_carry(place: int, before: Aval, after: Aval) -> None:
    """Refuse a carry that changes from step to step.

    Raises:
        ShapeError, DTypeError: naming the carry.
    """
    if before is after:
        return
    error = ShapeError if before.shape != after.shape else DTypeError
    raise error(
        f"scan: the body changes the shape or dtype of carry {place}.\n  given: {before!r} goes in,"
        f" {after!r} comes out\n  expected: the same, so that the next step can take it\n"
        "  fix: start from a carry of the shape and dtype that the body returns"
    )


def _array(xp: Any, *arrays: Any, body: Body, length: int, reverse: bool) -> tuple[Any, ...]:
    first, second = body.carries, body.carries + body.scanned
    constants = list(arrays[second:])
    tape = body.tape

    def step(carry: list[Any], parts: list[Any]) -> tuple[list[Any], list[Any]]:
        results = tape.run(xp, [*carry, *parts, *constants])
        return results[:first], results[first:]

    stacked = [(node.shape, node.dtype.np) for node in body.outputs[first:]]
    result: tuple[Any, ...] = xp.scan(
        step, list(arrays[:first]), list(arrays[first:second]), stacked, length, reverse
    )
    return result


def _rule(
    gradients: Any, out: Node, *inputs: Node, asked: Any, body: Body, length: int, reverse: bool
) -> list[Any]:
    """A loop over the same steps the other way round (see :mod:`chainrule.autodiff`)."""
    if body.derivative is None:
        return [None] * len(inputs)
    return body.derivative(gradients, out, inputs, asked)


def _infer_pick(several: tuple[Aval, ...], *, index: int) -> Aval:
    return several[index]


SCAN = Op(
    name="scan",
    infer=_infer,
    array=_array,
    vjps=(_rule,),
    variadic=True,
    joint=True,
    text="loop",
    tex=r"\operatorname{{scan}}",
)
PICK = Op(
    name="pick",
    infer=_infer_pick,
    array=lambda xp, several, *, index: several[index],
    # The sweep keeps a gradient for each output, so this one passes as it is.
    vjps=(lambda g, y, several, *, index: g,),
    text="{0}",
    tex="{0}",
)

ALL = (SCAN, PICK)
