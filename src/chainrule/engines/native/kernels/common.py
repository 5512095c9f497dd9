"""What kernels share: operands, the record of an emitted kernel, how points are reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ....dtypes import DType
from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import Part, load_points, memory_type, store_points
from ..emit.types import INT64, PTR, Type, Value

Body = Callable[..., Value | Sequence[Value]]


@dataclass(frozen=True)
class Operand:
    """How a kernel reads or writes an array over its domain.

    Args:
        dtype: element type in memory.
        strides: elements from one point to the next along each axis of the domain; 0 repeats.
    """

    dtype: DType
    strides: tuple[int, ...]

    @property
    def is_single(self) -> bool:
        """Whether all points share one element."""
        return not any(self.strides)


@dataclass(frozen=True)
class Kernel:
    """A function that a kernel writer added to a module.

    Its parameters are the pointers, then the run-time extents, then ``start`` and ``stop``.

    Args:
        name: its name in the module.
        pointers: what each pointer is, in order.
        extents: which run-time extents it takes, in order.
        axis: what ``start`` and ``stop`` count: ``rows``, ``columns``, or ``whole`` for work that
            one thread does with 0 and the number of rows. Any split gives the same bits.
        grain: splits at multiples of this are fastest.
        scratch: bytes of private memory a thread must pass as the last pointer, 64-byte aligned; 0
            when there is no such pointer.
        form: which way of computing was chosen, for reading.
        tile: rows and columns of results that are in registers together, for reading.
    """

    name: str
    pointers: tuple[str, ...]
    extents: tuple[str, ...]
    axis: str
    grain: int = 1
    scratch: int = 0
    form: str = ""
    tile: tuple[int, int] | None = None

    def call(
        self,
        function: Function,
        pointers: Sequence[Value],
        extents: Sequence[Value | int],
        start: Value | int,
        stop: Value | int,
    ) -> None:
        """Write a call of the kernel into a function."""
        assert len(pointers) == len(self.pointers), (self.pointers, pointers)
        assert len(extents) == len(self.extents), (self.extents, extents)
        numbers = [function.i64(each) for each in (*extents, start, stop)]
        function.call(self.name, [*pointers, *numbers])


def parameters(pointers: Sequence[str], extents: Sequence[str]) -> list[tuple[str, Type]]:
    """The parameters of a kernel's function."""
    numbers = [*extents, "start", "stop"]
    return [*((name, PTR) for name in pointers), *((name, INT64) for name in numbers)]


def numbered(prefix: str, count: int) -> list[str]:
    """Names of equal things: ``in0``, ``in1``, ..."""
    return [f"{prefix}{i}" for i in range(count)]


def results(made: Value | Sequence[Value], expected: int) -> list[Value]:
    """What a body returned, as a list of the expected length."""
    listed = [made] if isinstance(made, Value) else list(made)
    assert len(listed) == expected, f"a body returned {len(listed)} values, not {expected}"
    return listed


def lanes_for(module: Module, dtypes: Sequence[DType]) -> int:
    """Lanes that suit these element types: those of the widest register use by 4-byte elements,
    fewer when everything has 8 bytes."""
    sizes = [dtype.itemsize for dtype in dtypes if dtype.itemsize >= 4]
    return module.target.vector_bytes // (min(sizes) if sizes else 4)


def power_above(count: int) -> int:
    """The smallest power of two that is not below ``count``."""
    return 1 << max(0, count - 1).bit_length()


@dataclass(frozen=True)
class Span:
    """A vector's place along the last axis: first column, lanes, how many of them count.

    ``mask`` says it instead where the number is known at run time only.
    """

    start: int
    lanes: int
    count: int
    mask: Value | None = None

    @property
    def part(self) -> Part:
        """The lanes to read and write, None for all."""
        if self.mask is not None:
            return self.mask
        return None if self.count == self.lanes else self.count


def spans(start: int, count: int, lanes: int) -> list[Span]:
    """Vectors that cover ``count`` columns: full ones, then one of the fewest lanes that suffice.

    Example:
        >>> [(s.start, s.lanes, s.count) for s in spans(0, 38, 16)]
        [(0, 16, 16), (16, 16, 16), (32, 8, 6)]
    """
    full = [Span(start + i * lanes, lanes, lanes) for i in range(count // lanes)]
    rest = count % lanes
    if rest:
        full.append(Span(start + count - rest, max(2, power_above(rest)), rest))
    return full


class Bound:
    """Operands with their pointers; elements that all points share are loaded once at the entry."""

    def __init__(
        self, function: Function, operands: Sequence[Operand], pointers: Sequence[Value]
    ) -> None:
        self.function = function
        self.operands = list(operands)
        self.pointers = list(pointers)
        self._single: dict[int, Value] = {}

    def single(self, e: Emitter, which: int) -> Value:
        """The one element of an operand that all points share."""
        known = self._single.get(which)
        if known is None:
            dtype = self.operands[which].dtype
            pointer = self.pointers[which]
            known = self.function.load(pointer, memory_type(dtype), fixed=True)
            if dtype.name == "bool":
                known = e.cast_to(known, "bool")
            self._single[which] = known
        return known

    def at(self, which: int, places: Sequence[Value | int]) -> Value:
        """Pointer to an operand's element at a place in the domain."""
        operand, function = self.operands[which], self.function
        pointer, element = self.pointers[which], memory_type(operand.dtype).element
        constant = 0
        for place, stride in zip(places, operand.strides, strict=True):
            if isinstance(place, int):
                constant += place * stride
            elif stride:
                pointer = function.offset(pointer, function.mul(place, stride), element)
        return function.offset(pointer, constant, element)

    def load(
        self, e: Emitter, which: int, places: Sequence[Value | int], axis: int, part: Part = None
    ) -> Value:
        """Load the points that lie along ``axis`` from a place on."""
        operand = self.operands[which]
        if operand.is_single:
            return self.single(e, which)
        pointer = self.at(which, places)
        return load_points(e, pointer, operand.dtype, operand.strides[axis], part)

    def store(
        self,
        e: Emitter,
        which: int,
        value: Value,
        places: Sequence[Value | int],
        axis: int,
        part: Part = None,
    ) -> None:
        """Store the points that lie along ``axis`` from a place on."""
        operand = self.operands[which]
        pointer = self.at(which, places)
        store_points(e, value, pointer, operand.dtype, operand.strides[axis], part)
