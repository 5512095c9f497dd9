"""Checks of indices: every index that a graph reads or adds by is compared with its axis.

A check runs before the step writes to its state. A step with a bad index stops there, so the state
stays as it was, and the loop ends; Python then finds the note and says which op it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....dtypes import int64
from ....errors import IndexRangeError
from ....graph.node import Aval, Node, Op, make_aval
from ....ops.scan import PICK, SCAN, Body
from ..kernels.bounds import check_bounds
from .buffers import Buffer, Place
from .build import Builder, constant_array
from .context import Context
from .driver import VIOLATED
from .tasks import Argument, Task, argument, operand
from .views import layout_of, under

Array = np.ndarray[Any, Any]
_INDEXED = ("take", "take_add", "gather", "scatter_add")
_SAME_VALUES = ("reshape", "permute", "expand", "flip")

_OUTSIDE = (
    "{op}: index {bad} is outside of an axis of length {size}.\n"
    "  given: {place}\n  expected: {expected}\n  {state}"
)


def _infer(index: Aval, *, size: int, name: str, place: str) -> Aval:
    return make_aval((2,), int64)


CHECK = Op(
    name="check_index",
    infer=_infer,
    array=lambda xp, index, *, size, name, place: np.zeros(2, np.int64),
    text="whether {0} is below size",
    tex="{0}",
)
# The words of the header that tell of a bad index, before and after the state was written.
_WORDS = [
    Buffer("an index was bad", (1,), int64, (1,), kept=True, offset=VIOLATED + 8 * late)
    for late in (False, True)
]


def note_check(b: Builder, known: dict[Any, Node], node: Node, index: Node) -> None:
    """Add the check that an op of the first graph needs, once for equal ones.

    Args:
        b: makes the node.
        known: the checks made so far, by index and size.
        node: any op of the first graph.
        index: what its index became.

    Raises:
        IndexRangeError: when the index is known already and bad.
    """
    size = _axis_length(node)
    if size is None or not index.size or _is_inside(node.inputs[1], size):
        return
    while index.op.name in _SAME_VALUES:
        index = index.inputs[0]
    array = constant_array(index)
    if array is not None:
        bad = array[(array < 0) | (array >= size)]
        if bad.size:
            raise IndexRangeError(_message(node.op.name, bad[0], size, node.describe()))
        return
    if (index, size) not in known:
        attrs = {"size": size, "name": node.op.name, "place": node.describe()}
        known[index, size] = b.make(CHECK, index, **attrs)


def with_indices(builder: Builder, loop: Node) -> tuple[Node, list[tuple[int, Node]]]:
    """A loop over time with the indices of its body as further outputs, to be checked behind it.

    Those of loops inside of the body are among them: outputs of the inner loop first.

    Returns:
        The loop, and for each index the number of its output and the op that reads by it.
    """
    body = loop.attrs["body"]
    made: dict[Node, Node] = {}
    found: list[tuple[Node, Node]] = []  # an index, and the op that reads by it
    for node in body.nodes():
        made[node] = _with_inner(builder, node, made, found)
        if _axis_length(node) is not None:
            found.append((made[node.inputs[1]], node))
    if not found:
        return loop, []
    first = len(body.outputs)
    outputs = (*(made[node] for node in body.outputs), *(index for index, _ in found))
    more = Body(body.inputs, outputs, body.carries, body.scanned)
    builder.source = loop
    whole = builder.raw(loop.op, loop.inputs, dict(loop.attrs) | {"body": more})
    return whole, list(enumerate((user for _, user in found), first))


def _with_inner(
    builder: Builder, node: Node, made: dict[Node, Node], found: list[tuple[Node, Node]]
) -> Node:
    """A node of a body on what was made of its inputs; an inner loop gives its indices too."""
    indexed: list[tuple[int, Node]] = []
    whole = node
    if node.op is SCAN:
        whole, indexed = with_indices(builder, node)
    inputs = tuple(made[source] for source in node.inputs)
    if whole is node and inputs == node.inputs:
        return node
    builder.source = node
    whole = builder.raw(whole.op, inputs, whole.attrs)
    for place, user in indexed:
        found.append((builder.raw(PICK, (whole,), {"index": place}), user))
    return whole


def _axis_length(node: Node) -> int | None:
    """How many places there are to choose from."""
    if node.op.name not in _INDEXED:
        return None
    size: int = node.attrs.get("size", -1)
    return size if size >= 0 else node.inputs[0].shape[node.attrs["axis"]]


def _is_inside(index: Node, size: int) -> bool:
    """Whether the index is made so that it cannot be bad."""
    base = under(index)
    if base.op.name == "iota":
        return bool(base.shape[base.attrs["axis"]] <= size)
    if base.op.name in ("argmax", "argsort"):
        return bool(base.inputs[0].shape[base.attrs["axis"]] <= size)
    return False


def lower_check(context: Context, node: Node) -> list[Task]:
    """The task of a check."""
    source = node.inputs[0]
    buffer = context.buffers[under(source)]
    layout = layout_of(source, buffer.strides)
    assert layout is not None, source
    space = source.shape or (1,)
    place = Place(buffer, layout[0], layout[1] or (1,))
    kernel = context.kernel(
        check_bounds, None, inner=space[1:], index=operand(place, range(len(space)))
    )
    note = Argument(context.buffers[node], 0, 0, writes=True, reads=False)
    # All checks of a step write the same 1 to the word: that is no conflict between them.
    word = Argument(_WORDS[node in context.late], 0, 0, writes=False, reads=False)
    arguments = [argument(place, space, (0,), ()), note, word]
    label = f"check index of {node.attrs['name']}"
    return [Task(label, kernel, arguments, (node.attrs["size"],), space[0], checks=True)]


@dataclass(frozen=True)
class Check:
    """A check of a step: what it is of, where its note lies, and whether the step has state."""

    node: Node
    note: Buffer
    late: bool
    guards: bool

    def found(self, arena: Array) -> int | None:
        """The bad index that the last run met; forgets it."""
        flag, bad = self.note.view(arena)
        self.note.view(arena)[0] = 0
        return int(bad) if flag else None

    def message(self, bad: int, steps: int) -> str:
        """The error's text, after so many steps that went well."""
        attrs = self.node.attrs
        state = ""
        if self.late:
            state = "the index depends on what the step updates: load the parameters anew"
        elif self.guards:
            which = f"step {steps + 1} of this call" if steps else "this step"
            state = f"{which} updated nothing; parameters are as they were before it"
        return _message(attrs["name"], bad, attrs["size"], attrs["place"], state)


def _message(op: str, bad: int, size: int, place: str, state: str = "") -> str:
    expected = f"0 to {size - 1}" if size else "no index, the axis is empty"
    text = _OUTSIDE.format(op=op, bad=bad, size=size, place=place, expected=expected, state=state)
    return text.rstrip()


def raise_for(checks: Iterable[Check], arena: Array, steps: int) -> None:
    """Raise for the bad index that a run met.

    Raises:
        IndexRangeError: naming the op, its layer, its line, and the index.
    """
    met = [(check, check.found(arena)) for check in checks]
    for check, bad in met:
        if bad is not None:
            raise IndexRangeError(check.message(bad, steps))


def refuse(check: Node, bad: int) -> None:
    """Raise for an index that a check found.

    Raises:
        IndexRangeError: naming the op, its layer, its line, and the index.
    """
    attrs = check.attrs
    raise IndexRangeError(_message(attrs["name"], bad, attrs["size"], attrs["place"]))


def is_check(node: Node) -> bool:
    """Whether a node is a check."""
    return node.op is CHECK
