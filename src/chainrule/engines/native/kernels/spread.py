"""The ways back of windows: values added to all elements of their windows, or to one by code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from ....dtypes import int32
from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import load_points, store_points
from ..emit.types import Value, of
from .channels import WRITTEN_OUT, Ends, elements_of, lines
from .common import Body, Bound, Kernel, Operand, numbered, parameters
from .windows import Triple, Windows, along, fill, lanes_of


def spread(
    module: Module,
    *,
    at: Windows,
    channels: int,
    values: Operand,
    codes: Operand | None,
    outputs: Sequence[Operand],
    operands: Sequence[Operand] = (),
    body: Body | None = None,
) -> Kernel:
    """Add a kernel that adds values to the elements of their windows: to all, or to one by code.

    Args:
        module: where to add it.
        at: where the windows lie.
        channels: how many.
        values: strides along (place, channel).
        codes: the same for the codes; None adds to every element.
        outputs: strides along (row, channel) of the images.
        operands: what the body takes besides, strides along (row, channel).
        body: ``body(e, sum, *operands)`` returns one value for each output; None stores the sum.

    Returns:
        The kernel: pointers values, codes if given, operands, outputs, scratch; split along images.
    """
    if codes is None and at.outputs == 1 and at.is_bare and at.window == at.size:
        return _repeat(module, at, channels, values, outputs, operands, body)
    names = ["values", *(["codes"] if codes else [])]
    names += [*numbered("in", len(operands)), *numbered("out", len(outputs)), "scratch"]
    dense = Operand(values.dtype, (channels, 1))
    work = Scatter(at, channels, values, codes)

    def write(function: Function) -> None:
        first = 2 if codes else 1
        sources = function.params[:first]
        pointers = function.params[first : len(names) - 1]
        scratch = function.params[len(names) - 1]
        ends = Ends(function, operands, outputs, pointers, body or (lambda _, y: y))
        held = Bound(function, [dense], [scratch])
        start, stop = function.params[-2:]
        work.begin(function, scratch)

        def image(number: Value, _: list[Value]) -> None:
            work.image(function, sources, number, scratch)

            def line(d: Value, h: Value, row: Value) -> None:
                at_line = work.position(function, d, h)

                def pixel(w: Value, _: list[Value]) -> None:
                    def visit(first: Value | int, width: int, many: int) -> None:
                        e, part = Emitter(function, width), None if many == width else many
                        channel = function.i64(first)
                        place = function.add(at_line, w)
                        value = held.load(e, 0, [place, channel], 1, part)
                        ends.finish(e, [value], function.add(row, w), channel, part)

                    lanes = lanes_of(function.target, values.dtype, channels)
                    along(function, channels, lanes, visit)

                function.loop(0, at.size[2], 1, [], pixel)

            lines(function, number, at.size, line)

        function.loop(start, stop, 1, [], image, guard=True)
        function.ret()

    name = module.shared("spread", parameters(names, ()), write)
    return Kernel(name, tuple(names), (), "images", scratch=work.bytes, form="spread")


def _repeat(
    module: Module,
    at: Windows,
    channels: int,
    values: Operand,
    outputs: Sequence[Operand],
    operands: Sequence[Operand],
    body: Body | None,
) -> Kernel:
    """One window that is the image: its value stands at every place."""
    names = ["values", *numbered("in", len(operands)), *numbered("out", len(outputs))]

    def write(function: Function) -> None:
        source, *pointers = function.params[: len(names)]
        ends = Ends(function, operands, outputs, pointers, body or (lambda _, y: y))
        bound = Bound(function, [values], [source])
        start, stop = function.params[-2:]
        lanes = lanes_of(function.target, values.dtype, channels)

        def image(number: Value, _: list[Value]) -> None:
            def row(place: Value, _: list[Value]) -> None:
                here = function.add(function.mul(number, at.rows), place)

                def visit(first: Value | int, width: int, many: int) -> None:
                    e, part = Emitter(function, width), None if many == width else many
                    channel = function.i64(first)
                    value = bound.load(e, 0, [number, channel], 1, part)
                    ends.finish(e, [value], here, channel, part)

                along(function, channels, lanes, visit)

            function.loop(0, at.rows, 1, [], row)

        function.loop(start, stop, 1, [], image, guard=True)
        function.ret()

    name = module.shared("repeat", parameters(names, ()), write)
    return Kernel(name, tuple(names), (), "images", form="repeat")


@dataclass(frozen=True)
class Scatter:
    """Values added to the elements of their windows, in a frame of scratch memory.

    Attributes:
        at: where the windows lie.
        channels: how many.
        values, codes: strides along (place, channel).
    """

    at: Windows
    channels: int
    values: Operand
    codes: Operand | None

    @property
    def lengths(self) -> Triple:
        """Lengths of the frame: as far as windows and the image reach."""
        a, b, c = (
            max(frame, low + size)
            for frame, low, size in zip(self.at.frame, self.at.low, self.at.size, strict=True)
        )
        return a, b, c

    @property
    def bytes(self) -> int:
        """Bytes of the frame."""
        return -(-self.elements * self.values.dtype.itemsize // 64) * 64

    @property
    def elements(self) -> int:
        """Elements of the frame."""
        return prod(self.lengths) * self.channels

    def begin(self, function: Function, scratch: Value) -> None:
        """Zeros, at a kernel's start: windows that share nothing write each element anew."""
        if self.at.apart:
            fill(function, scratch, self.elements, self.values.dtype, 0.0)

    def position(self, function: Function, d: Value, h: Value) -> Value:
        """The frame's row where a line of the image begins."""
        _, height, width = self.lengths
        planes = function.add(d, self.at.low[0])
        line = function.add(function.mul(planes, height), function.add(h, self.at.low[1]))
        return function.add(function.mul(line, width), self.at.low[2])

    def image(
        self, function: Function, sources: Sequence[Value], number: Value, scratch: Value
    ) -> None:
        """Fill the frame with one image's values."""
        if not self.at.apart:
            fill(function, scratch, self.elements, self.values.dtype, 0.0)
        at = self.at
        _, height, width = self.lengths
        operands = [self.values, *([self.codes] if self.codes else [])]
        bound = Bound(function, operands, sources)

        def line(d: Value, h: Value, row: Value) -> None:
            planes = function.mul(d, at.stride[0] * height)
            away = function.mul(function.add(planes, function.mul(h, at.stride[1])), width)

            def place(w: Value, _: list[Value]) -> None:
                first = function.add(away, function.mul(w, at.stride[2]))
                self._place(function, bound, function.add(row, w), first, scratch)

            function.loop(0, at.places[2], 1, [], place)

        lines(function, number, at.places, line)

    def _place(
        self, function: Function, bound: Bound, row: Value, first: Value, scratch: Value
    ) -> None:
        """One place's values, added to its window."""
        at, dtype = self.at, self.values.dtype
        _, height, width = self.lengths
        base = function.offset(scratch, function.mul(first, self.channels), of(dtype).element)
        steps = [
            gap * step * self.channels
            for gap, step in zip(at.dilation, (height * width, width, 1), strict=True)
        ]

        def visit(start: Value | int, lanes: int, many: int) -> None:
            e, part = Emitter(function, lanes), None if many == lanes else many
            places = [row, function.i64(start)]
            value = bound.load(e, 0, places, 1, part)
            code = e.cast(bound.load(e, 1, places, 1, part), int32) if self.codes else None
            here = function.anchor(function.offset(base, start, of(dtype).element))

            def add(at_tap: Value, k: Value | int) -> None:
                term = value
                if code is not None:
                    same = e.eq(code, k if isinstance(k, int) else e.cast(k, int32))
                    term = e.select(same, value, e.const(0.0, dtype))
                if not at.apart:
                    term = e.add(load_points(e, at_tap, dtype, 1, part), term)
                store_points(e, term, at_tap, dtype, 1, part)

            _over_taps(function, at.window, steps, here, of(dtype).element, add)

        along(function, self.channels, lanes_of(function.target, dtype, self.channels), visit)


def _over_taps(
    function: Function,
    window: Triple,
    steps: Sequence[int],
    base: Value,
    element: str,
    visit: Callable[[Value, Value | int], None],
) -> None:
    """Visit each element of a window: a pointer, and its number."""
    if prod(window) <= WRITTEN_OUT:
        for number, k in enumerate(elements_of(window)):
            away = sum(a * step for a, step in zip(k, steps, strict=True))
            visit(function.offset(base, away, element), number)
        return

    def level(axis: int, pointer: Value, number: Value) -> None:
        if axis == 3:
            visit(pointer, number)
            return

        def turn(k: Value, _: list[Value]) -> None:
            moved = function.offset(pointer, function.mul(k, steps[axis]), element)
            level(axis + 1, moved, function.add(function.mul(number, window[axis]), k))

        function.loop(0, window[axis], 1, [], turn)

    level(0, base, function.i64(0))
