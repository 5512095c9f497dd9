"""Windows that move over images: where they lie, and images with a border in scratch memory.

Arrays are matrices of rows: row (n, d, h, w) of an image's place holds its channels side by side.
All images have three spatial axes here; those that are not there have length 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from ....dtypes import DType
from ..emit.body import Emitter
from ..emit.ir import Function
from ..emit.memory import load_points, store_points
from ..emit.types import Value, of
from ..target import Target
from .common import Operand, power_above, spans

Triple = tuple[int, int, int]
# Vectors that are written out one after another instead of in a loop.
_WRITTEN_OUT = 4


@dataclass(frozen=True)
class Windows:
    """How windows lie on images: in the frame around an image.

    A window's element k at place t meets position ``t * stride + k * dilation`` of the frame, whose
    position ``i * spread + low`` holds the image's element i.

    Attributes:
        images: how many images.
        size: lengths of an image.
        places: how many places a window takes on each axis.
        window: lengths of a window.
        stride, dilation: between places, and between a window's elements.
        low: where the image begins in its frame; negative when some of it is left out.
        spread: between the image's elements in the frame.
    """

    images: int
    size: Triple
    places: Triple
    window: Triple
    stride: Triple
    dilation: Triple
    low: Triple
    spread: Triple = (1, 1, 1)

    @property
    def frame(self) -> Triple:
        """Lengths of a frame: as far as windows reach."""
        a, b, c = (
            (t - 1) * s + (k - 1) * d + 1
            for t, s, k, d in zip(self.places, self.stride, self.window, self.dilation, strict=True)
        )
        return a, b, c

    @property
    def taps(self) -> int:
        """How many elements a window has."""
        return prod(self.window)

    @property
    def rows(self) -> int:
        """Rows of an image."""
        return prod(self.size)

    @property
    def outputs(self) -> int:
        """Places of windows on an image."""
        return prod(self.places)

    @property
    def is_bare(self) -> bool:
        """Whether windows lie on images as these are in memory, without a border."""
        bare = self.spread == (1, 1, 1) and self.low == (0, 0, 0)
        return bare and all(p <= n for p, n in zip(self.frame, self.size, strict=True))

    @property
    def apart(self) -> bool:
        """Whether no two windows share an element."""
        return all(
            s >= (k - 1) * d + 1
            for s, k, d in zip(self.stride, self.window, self.dilation, strict=True)
        )

    def inside(self, axis: int) -> tuple[int, int, int]:
        """The image's elements in the frame along an axis: first, count, and where they begin."""
        low, gap = self.low[axis], self.spread[axis]
        first = max(0, -(low // gap))
        last = min(self.size[axis], (self.frame[axis] - 1 - low) // gap + 1)
        return first, max(0, last - first), first * gap + low


@dataclass(frozen=True)
class Frame:
    """How the frame of one image lies in memory.

    Attributes:
        at: the windows.
        channels: of the image.
        source: the image's rows, strides along (row, channel).
        fill: what the border holds.
    """

    at: Windows
    channels: int
    source: Operand
    fill: float = 0.0

    @property
    def is_direct(self) -> bool:
        """Whether the image itself serves."""
        return self.at.is_bare and (self.channels == 1 or self.source.strides[1] == 1)

    @property
    def strides(self) -> Triple:
        """Elements from one position to the next along each spatial axis."""
        lengths = self.at.size if self.is_direct else self.at.frame
        row = self.source.strides[0] if self.is_direct else self.channels
        return lengths[1] * lengths[2] * row, lengths[2] * row, row

    @property
    def elements(self) -> int:
        """Elements of scratch memory; 0 when the image itself serves."""
        return 0 if self.is_direct else prod(self.at.frame) * self.channels

    @property
    def bytes(self) -> int:
        """Bytes of scratch memory, in whole cache lines."""
        return -(-self.elements * self.source.dtype.itemsize // 64) * 64

    def offset(self, position: Sequence[int]) -> int:
        """Elements from the frame's first to a position's."""
        return sum(a * step for a, step in zip(position, self.strides, strict=True))

    def tap(self, k: Sequence[int]) -> int:
        """Elements from a window's first to its element k."""
        return self.offset([a * d for a, d in zip(k, self.at.dilation, strict=True)])

    def begin(self, function: Function, scratch: Value | None) -> None:
        """Fill the scratch memory, at a kernel's start."""
        if scratch is not None and not self.is_direct:
            fill(function, scratch, self.elements, self.source.dtype, self.fill)

    def image(self, function: Function, x: Value, number: Value, scratch: Value | None) -> Value:
        """The frame of an image: a pointer into the source, or its copy in scratch memory."""
        step = self.at.rows * self.source.strides[0]
        element = of(self.source.dtype).element
        first = function.offset(x, function.mul(number, step), element)
        if self.is_direct:
            return first
        assert scratch is not None
        _Copy(function, self).write(first, scratch)
        return scratch


def lanes_of(target: Target, dtype: DType, count: int) -> int:
    """Lanes for ``count`` neighbours: no more than they fill."""
    return max(2, min(target.lanes(dtype), power_above(count)))


def along(
    function: Function,
    count: int,
    lanes: int,
    visit: Callable[[Value | int, int, int], None],
    written_out: int = _WRITTEN_OUT,
) -> None:
    """Cover neighbours by vectors: ``visit(first, lanes, how many count)``.

    More full vectors than ``written_out`` are a loop.
    """
    full = count // lanes
    pieces = spans(0, count, lanes)
    if full > written_out:
        function.loop(0, full * lanes, lanes, [], lambda i, _: visit(i, lanes, lanes))
        pieces = pieces[full:]
    for piece in pieces:
        visit(piece.start, piece.lanes, piece.count)


def fill(function: Function, pointer: Value, count: int, dtype: DType, number: float) -> None:
    """Write one number to neighbouring elements."""
    lanes = lanes_of(function.target, dtype, count)

    def visit(first: Value | int, width: int, many: int) -> None:
        e = Emitter(function, width)
        at = function.offset(pointer, first, of(dtype).element)
        part = None if many == width else many
        store_points(e, e.const(number, dtype), at, dtype, 1, part)

    along(function, count, lanes, visit)


class _Copy:
    """Copies an image into its frame."""

    def __init__(self, function: Function, frame: Frame) -> None:
        self.function, self.frame = function, frame
        self.element = of(frame.source.dtype).element

    def write(self, source: Value, target: Value) -> None:
        """Plane by plane and line by line; lines that lie without gaps at once."""
        at, function = self.frame.at, self.function
        size, frame = at.size, self.frame
        row = frame.source.strides[0]
        inside = [at.inside(axis) for axis in range(3)]
        if any(count == 0 for _, count, _ in inside):
            return
        (d0, planes, td), (h0, lines, th), (w0, columns, tw) = inside
        first = ((d0 * size[1] + h0) * size[2] + w0) * row
        source = function.offset(source, first, self.element)
        target = function.offset(target, frame.offset((td, th, tw)), self.element)
        steps = [gap * step for gap, step in zip(at.spread, frame.strides, strict=True)]

        def line(d: Value, h: Value) -> None:
            from_row = function.add(
                function.mul(d, size[1] * size[2] * row), function.mul(h, size[2] * row)
            )
            to_row = function.add(function.mul(d, steps[0]), function.mul(h, steps[1]))
            here = function.offset(source, from_row, self.element)
            there = function.offset(target, to_row, self.element)
            self._line(here, there, columns, steps[2])

        def plane(d: Value, _: list[Value]) -> None:
            function.loop(0, lines, 1, [], lambda h, _: line(d, h))

        function.loop(0, planes, 1, [], plane)

    def _line(self, source: Value, target: Value, columns: int, step: int) -> None:
        function, channels = self.function, self.frame.channels
        row, apart = self.frame.source.strides
        if row == channels == step and (apart == 1 or channels == 1):
            self._run(source, target, columns * channels, 1)
            return
        if channels == 1 and step == 1:
            self._run(source, target, columns, row)
            return

        def pixel(w: Value, _: list[Value]) -> None:
            here = function.offset(source, function.mul(w, row), self.element)
            there = function.offset(target, function.mul(w, step), self.element)
            self._run(here, there, channels, apart)

        function.loop(0, columns, 1, [], pixel)

    def _run(self, source: Value, target: Value, count: int, apart: int) -> None:
        function, dtype = self.function, self.frame.source.dtype
        lanes = lanes_of(function.target, dtype, count)

        def visit(first: Value | int, width: int, many: int) -> None:
            e = Emitter(function, width)
            part = None if many == width else many
            here = function.offset(source, function.mul(first, apart), self.element)
            value = load_points(e, here, dtype, apart, part)
            there = function.offset(target, first, self.element)
            store_points(e, value, there, dtype, 1, part)

        along(function, count, lanes, visit)
