"""Buffers: where arrays lie while the program runs."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....dtypes import DType
from ....graph.node import Node
from .views import dense

ALIGNMENT = 64


def address_of(array: Any) -> int:
    """Where a contiguous array lies, in a third of the time that NumPy takes to say it."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError):  # one that may not be written to, or without elements
        return int(array.ctypes.data)


@dataclass(eq=False)
class Time:
    """What a loop counts: its steps, from the first or from the last on."""

    length: int
    reverse: bool


@dataclass(frozen=True)
class Slot:
    """Which of the equal parts of an array one step of a loop uses.

    Attributes:
        time: whose steps.
        stride: elements from one part to the next.
        shift: parts between the step's own and this one.
        wraps: whether there are two parts, used in turns, instead of one for each step.
    """

    time: Time
    stride: int
    shift: int = 0
    wraps: bool = False


@dataclass(eq=False)
class Buffer:
    """One array of the program: in the arena, or outside memory that the caller points to.

    It may be a part of another array: of a joined one, or the part that a step of a loop uses.

    Attributes:
        label: what it holds, for reading.
        strides: elements from one place to the next, along each dimension.
        kept: whether it outlives a step (state, constants, run-time numbers).
        contents: what a constant holds.
        pointer: name of the outside memory that it is; None when it lies in the arena.
        base, start: the array that it is a part of, and the element of it where the part begins.
        slot: which part of ``base``, where that changes from step to step.
        offset: byte offset in the arena, set by the memory plan; or in the outside memory, -1
            being its beginning.
        first, last: the span of plan positions in which it is in use.
        guard: bytes left free behind it, which nobody may write.
    """

    label: str
    shape: tuple[int, ...]
    dtype: DType
    strides: tuple[int, ...]
    kept: bool = False
    contents: np.ndarray[Any, Any] | None = None
    pointer: str | None = None
    base: Buffer | None = None
    start: int = 0
    slot: Slot | None = None
    offset: int = -1
    first: int = -1
    last: int = -1
    guard: int = 0

    @property
    def root(self) -> Buffer:
        """The array that it is a part of, or itself: what the memory plan places."""
        found = self
        while found.base is not None:
            found = found.base
        return found

    def within_step(self) -> tuple[Buffer, int]:
        """The largest array around it that one step of a loop uses, and where it begins there."""
        found, start = self, 0
        while found.base is not None and found.slot is None:
            found, start = found.base, start + found.start
        return found, start

    @property
    def size(self) -> int:
        """Bytes from the first to the last element."""
        if 0 in self.shape:
            return 0
        reach = sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        return (reach + 1) * self.dtype.itemsize

    @property
    def bytes(self) -> int:
        """What it takes in the arena: whole cache lines, at least one, and the guard."""
        return max(1, -(-self.size // ALIGNMENT)) * ALIGNMENT + self.guard

    def touch(self, position: int) -> None:
        """Note that it is in use at a position of the plan."""
        self.first = position if self.first < 0 else min(self.first, position)
        self.last = max(self.last, position)

    def view(self, arena: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The array inside an arena of bytes."""
        start = arena[self.offset : self.offset + max(self.bytes, ALIGNMENT)]
        steps = [step * self.dtype.itemsize for step in self.strides]
        typed = start.view(self.dtype.np)
        return np.lib.stride_tricks.as_strided(typed, self.shape, steps)


def buffer_for(node: Node, label: str, **settings: Any) -> Buffer:
    """A row-major buffer for a node's value."""
    return Buffer(label, node.shape, node.dtype, dense(node.shape), **settings)


@dataclass(frozen=True)
class Place:
    """An array as a kernel reaches it: a buffer, an offset, and a stride along each axis.

    Strides and offset count elements; the axes are those of the cluster's space.
    """

    buffer: Buffer
    offset: int
    strides: tuple[int, ...]

    @property
    def is_single(self) -> bool:
        """Whether every point of the space reads one element."""
        return not any(self.strides)
