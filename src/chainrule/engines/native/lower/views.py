"""Views: how an array seen through reshapes, permutes, expansions and slices lies in memory.

A view is an offset and one stride for each of its dimensions, in elements of the array under it
(Harris et al., Array programming with NumPy, Nature 585, 2020, describes the strided array).

Inside one kernel a node's dimensions are named by *axes*: ``axes[d]`` is the axis of the kernel's
space that dimension d runs along, or None where the dimension is 1 or repeats.
"""

from __future__ import annotations

from typing import Any

from ....graph.node import Node

VIEWS = frozenset(("reshape", "permute", "expand", "slice", "flip"))
Axes = tuple[int | None, ...]
Layout = tuple[int, tuple[int, ...]]  # offset, strides


def under(node: Node) -> Node:
    """The node whose elements a node shows: itself, or what lies under its views.

    Example:
        >>> import chainrule as cr
        >>> x = cr.ones(2, 3)
        >>> with cr.record():
        ...     y = x.permute(1, 0)
        >>> under(y.node) is x.node
        True
    """
    while node.op.name in VIEWS:
        node = node.inputs[0]
    return node


def chain(node: Node) -> list[Node]:
    """The views between a node and what lies under it, the lowest first."""
    views = []
    while node.op.name in VIEWS:
        views.append(node)
        node = node.inputs[0]
    return views[::-1]


def dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides.

    Example:
        >>> dense((2, 3, 4))
        (12, 4, 1)
    """
    strides = []
    step = 1
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))


def reshaped(
    shape: tuple[int, ...], strides: tuple[int, ...], new: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Strides of an array seen with another shape, or None where none say it.

    Example:
        >>> reshaped((2, 3, 4), (12, 4, 1), (6, 4)), reshaped((2, 3), (1, 2), (6,))
        ((4, 1), None)
    """
    blocks = _blocks(shape, strides)
    result: list[int] = []
    for length in reversed(new):
        if length == 1:
            result.append(0)
            continue
        have, step = blocks.pop() if blocks else (1, 0)
        if have % length:
            return None
        result.append(step)
        if have > length:
            blocks.append((have // length, step * length))
    return tuple(reversed(result))


def _blocks(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[tuple[int, int]]:
    """(length, stride) of the dimensions, neighbours joined where one stride serves both."""
    blocks: list[tuple[int, int]] = []
    for length, step in zip(shape, strides, strict=True):
        if length == 1:
            continue
        if blocks and blocks[-1][1] == length * step:
            blocks[-1] = (blocks[-1][0] * length, step)
        else:
            blocks.append((length, step))
    return blocks


def through(view: Node, layout: Layout) -> Layout | None:
    """The layout of a view, from the layout of its input; None where a copy is needed."""
    offset, strides = layout
    shape: tuple[int, ...] = view.inputs[0].shape
    attrs: dict[str, Any] = dict(view.attrs)
    if view.op.name == "permute":
        return offset, tuple(strides[axis] for axis in attrs["axes"])
    if view.op.name == "expand":
        lead = view.ndim - len(shape)
        kept = tuple(0 if n == 1 else step for n, step in zip(shape, strides, strict=True))
        return offset, (0,) * lead + kept
    if view.op.name == "slice":
        start = sum(a * step for a, step in zip(attrs["starts"], strides, strict=True))
        return offset + start, tuple(
            step * by for step, by in zip(strides, attrs["steps"], strict=True)
        )
    if view.op.name == "flip":
        last = sum((shape[axis] - 1) * strides[axis] for axis in attrs["axes"])
        turned = tuple(-s if k in attrs["axes"] else s for k, s in enumerate(strides))
        return offset + last, turned
    found = reshaped(shape, strides, view.shape)
    return None if found is None else (offset, found)


def layout_of(node: Node, strides: tuple[int, ...]) -> Layout | None:
    """The layout of a node in the memory of what lies under it, or None where a copy is needed.

    Args:
        node: a view, or the array itself.
        strides: the strides of the array under the views.
    """
    layout: Layout | None = (0, strides)
    for view in chain(node):
        assert layout is not None
        layout = through(view, layout)
        if layout is None:
            return None
    return layout


def _long(shape: tuple[int, ...]) -> list[int]:
    return [d for d, length in enumerate(shape) if length != 1]


def below(view: Node, axes: Axes) -> Axes | None:
    """Axes of a view's input, from those of the view; None where the places differ."""
    source: tuple[int, ...] = view.inputs[0].shape
    if view.op.name == "permute":
        result: list[int | None] = [None] * len(source)
        for d, axis in enumerate(view.attrs["axes"]):
            result[axis] = axes[d]
        return tuple(result)
    if view.op.name == "expand":
        lead = view.ndim - len(source)
        return tuple(None if n == 1 else axes[lead + d] for d, n in enumerate(source))
    if view.op.name == "reshape":
        inner, outer = _long(source), _long(view.shape)
        if [source[d] for d in inner] != [view.shape[d] for d in outer]:
            return None
        pairs = dict(zip(inner, outer, strict=True))
        return tuple(axes[pairs[d]] if d in pairs else None for d in range(len(source)))
    return None


def axes_under(node: Node, axes: Axes) -> Axes | None:
    """Axes of the node under the views, from those of the node; None where the places differ."""
    found: Axes | None = axes
    while node.op.name in VIEWS and found is not None:
        found = below(node, found)
        node = node.inputs[0]
    return found


def broadcast_axes(source: tuple[int, ...], axes: Axes) -> Axes:
    """Axes of an operand that broadcasts to a node with the given axes."""
    lead = len(axes) - len(source)
    if not lead and 1 not in source:
        return axes
    return tuple(None if n == 1 else axes[lead + d] for d, n in enumerate(source))
