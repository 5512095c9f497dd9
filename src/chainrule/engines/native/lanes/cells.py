"""Where the elements of a node are while a step runs: in memory, by lanes.

Elements are named by their place in the row-major array: a Python number where it is known while
the code is written, else a value of the code.
"""

from __future__ import annotations

from dataclasses import dataclass

from ....dtypes import DType
from ..emit.body import Emitter
from ..emit.memory import memory_type
from ..emit.types import Type, Value

Flat = int | Value


@dataclass
class Memory:
    """Elements in memory: ``[element][lane]`` where trainings differ, else ``[element]``.

    Attributes:
        pointer: the block they lie in.
        offset: bytes to the first of them.
        dtype: the element type.
        lanes: lanes of an element; 0 where it is one number for all.
    """

    pointer: Value
    offset: int
    dtype: DType
    lanes: int

    @property
    def type(self) -> Type:
        """What one element is in memory."""
        return memory_type(self.dtype, self.lanes)

    @property
    def bytes(self) -> int:
        """Bytes from one element to the next."""
        return self.type.bytes * (self.lanes or 1)

    def address(self, e: Emitter, at: Flat) -> Value:
        """The address of an element."""
        function = e.function
        if isinstance(at, int):
            return function.offset(self.pointer, self.offset + at * self.bytes)
        moved = function.offset(self.pointer, function.mul(at, self.bytes))
        return function.offset(moved, self.offset)

    def get(self, e: Emitter, at: Flat) -> Value:
        """Load an element."""
        loaded = e.function.load(self.address(e, at), self.type)
        return e.cast_to(loaded, "bool") if self.dtype.name == "bool" else loaded

    def set(self, e: Emitter, at: Flat, value: Value) -> None:
        """Store an element."""
        value = e.cast_to(value, self.type.name) if value.type.name != self.type.name else value
        e.function.store(e.splat(value) if self.lanes else value, self.address(e, at))
