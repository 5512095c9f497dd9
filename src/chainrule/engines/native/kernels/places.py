"""Gradients of a convolution behind max pooling: only one place of each window counts.

Where a convolution's result is pooled, its gradient is zero but for one place a window. So both of
its gradients are sums over pooled places alone: with j over pooled places and p[j, o] the place
that channel o has its maximum at,

    dw[o, k, c] = sum over j of g[j, o] x[p[j, o] * stride + k * dilation, c]
    dx[p[j, o] * stride + k * dilation, c] += g[j, o] w[o, k, c]

Vectors run along (k, c), whose elements are neighbours in a line of the window. Where p lies in the
frame is worked out once an image, as a table of byte offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from ....dtypes import DType, int32
from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import load_points, store_points
from ..emit.types import INT64, Type, Value, of
from .channels import Ends, elements_of, lines
from .common import Body, Bound, Kernel, Operand, Span, numbered, parameters, spans
from .windows import Frame, Triple, Windows, along, fill, lanes_of

# Vectors of a window that are kept in registers together.
_TOGETHER = 12


@dataclass(frozen=True)
class Behind:
    """A convolution and the pooling behind it.

    Attributes:
        at: the convolution's windows.
        pool: the pooling's, on the convolution's places; they reach over no border.
        channels: of the convolution's input.
        outputs: of the convolution.
    """

    at: Windows
    pool: Windows
    channels: int
    outputs: int

    @property
    def size(self) -> int:
        """Elements of one output's weights."""
        return self.at.taps * self.channels

    def blocks(self, strides: Triple, lanes: int) -> list[list[tuple[int, int, Span]]]:
        """The window's vectors, as many together as registers take.

        Each is (elements from the window's first in the frame, first of the weights, span).
        """
        at, channels = self.at, self.channels
        merged = at.dilation[2] == 1 and strides[2] == channels
        lengths = (*at.window[:2], 1) if merged else at.window
        count = at.window[2] * channels if merged else channels
        found = []
        for number, k in enumerate(product(*map(range, lengths))):
            away = sum(a * d * s for a, d, s in zip(k, at.dilation, strides, strict=True))
            for span in spans(0, count, lanes):
                found.append((away + span.start, number * count + span.start, span))
        groups = -(-len(found) // _TOGETHER)
        each = -(-len(found) // groups)
        return [found[start : start + each] for start in range(0, len(found), each)]


class _Table:
    """Where each pooled place's maximum lies in a frame: byte offsets, [place][output]."""

    def __init__(self, behind: Behind, strides: Triple, code: Operand, dtype: DType) -> None:
        self.behind, self.strides, self.code, self.dtype = behind, strides, code, dtype

    @property
    def bytes(self) -> int:
        """Bytes of the table."""
        return -(-self.behind.pool.outputs * self.behind.outputs * 4 // 64) * 64

    def _bytes_of(self, place: Sequence[int]) -> int:
        """Bytes in the frame of a place of the convolution."""
        at = self.behind.at
        parts = zip(place, at.stride, self.strides, strict=True)
        return sum(a * step * each for a, step, each in parts) * self.dtype.itemsize

    def write(self, function: Function, codes: Value, number: Value, table: Value) -> None:
        """Fill the table for one image."""
        pool, outputs = self.behind.pool, self.behind.outputs
        bound = Bound(function, [self.code], [codes])
        first = function.mul(number, pool.outputs)
        units = [self._bytes_of(unit) for unit in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
        away = [
            self._bytes_of([a * d for a, d in zip(k, pool.dilation, strict=True)])
            for k in elements_of(pool.window)
        ]
        lanes = lanes_of(function.target, int32, outputs)

        def line(d: Value, h: Value, row: Value) -> None:
            before = function.add(
                function.mul(d, pool.stride[0] * units[0]),
                function.mul(h, pool.stride[1] * units[1]),
            )

            def place(w: Value, _: list[Value]) -> None:
                base = function.add(before, function.mul(w, pool.stride[2] * units[2]))
                here = function.add(row, w)

                def visit(start: Value | int, width: int, many: int) -> None:
                    e, part = Emitter(function, width), None if many == width else many
                    code = e.cast(bound.load(e, 0, [here, function.i64(start)], 1, part), int32)
                    offset = e.splat(e.const(away[0], int32))
                    for k, distance in enumerate(away[1:], 1):
                        same = e.eq(code, k)
                        offset = e.select(same, e.const(distance, int32), offset)
                    offset = e.add(offset, e.cast(base, int32))
                    at = function.mul(function.sub(here, first), outputs)
                    into = function.offset(table, function.add(at, start), "i32")
                    store_points(e, offset, into, int32, 1, part)

                along(function, outputs, lanes, visit)

            function.loop(0, pool.places[2], 1, [], place)

        lines(function, number, pool.places, line)


def _cells(
    function: Function,
    behind: Behind,
    g: tuple[Value, Operand],
    table: Value,
    output: Value,
    start: list[Value],
    turn: Callable[[Value, Value, list[Value]], list[Value]],
) -> list[Value]:
    """Run over the pooled places of one output: ``turn(byte offset, gradient, carried)``."""
    pointer, operand = g
    element = of(operand.dtype)
    gradients = function.offset(pointer, output, element.element)
    offsets = function.offset(table, output, "i32")

    def cell(i: Value, carried: list[Value]) -> list[Value]:
        at = function.offset(offsets, function.mul(i, behind.outputs), "i32")
        near = function.load(at, Type("int32"))
        away = function.value(f"zext i32 {near.text} to i64", INT64)
        step = function.mul(i, operand.strides[0])
        value = function.load(function.offset(gradients, step, element.element), element)
        return turn(away, value, carried)

    return function.loop(0, behind.pool.outputs, 1, start, cell)


def weights_behind_pool(
    module: Module,
    *,
    behind: Behind,
    x: Operand,
    g: Operand,
    codes: Operand,
    parts: int,
) -> Kernel:
    """Add a kernel for the gradient of a convolution's weights behind max pooling.

    Args:
        module: where to add it.
        behind: the convolution and the pooling.
        x: strides along (row, channel) of the convolution's images.
        g: strides along (pooled place, output) of the gradients; outputs are neighbours.
        codes: the same of the pooling's codes.
        parts: how many parts the images are dealt to.

    Returns:
        The kernel: pointers x, g, code, out, scratch; out is [parts][outputs][window][channels];
        split along parts.
    """
    at, outputs = behind.at, behind.outputs
    frame = Frame(at, behind.channels, x)
    table = _Table(behind, frame.strides, codes, x.dtype)
    names = ["x", "g", "code", *numbered("out", 1), "scratch"]
    lanes = lanes_of(module.target, x.dtype, behind.size)
    element = of(x.dtype).element

    def write(function: Function) -> None:
        source, gradients, chosen, out, scratch, start, stop = function.params
        held = function.offset(scratch, table.bytes)
        frame.begin(function, held)

        def image(number: Value, into: Value) -> None:
            base = frame.image(function, source, number, held)
            table.write(function, chosen, number, scratch)
            moved = function.mul(number, behind.pool.outputs * g.strides[0])
            here = function.offset(gradients, moved, element)

            def output(o: Value, _: list[Value]) -> None:
                kept = function.offset(into, function.mul(o, behind.size), element)
                for block in behind.blocks(frame.strides, lanes):
                    _add_block(function, behind, (here, g), scratch, o, base, kept, block)

            function.loop(0, outputs, 1, [], output)

        def part(number: Value, _: list[Value]) -> None:
            size = behind.size * outputs
            into = function.offset(out, function.mul(number, size), element)
            fill(function, into, size, x.dtype, 0.0)
            first = function.udiv(function.mul(number, at.images), parts)
            last = function.udiv(function.mul(function.add(number, 1), at.images), parts)
            function.loop(first, last, 1, [], lambda n, _: image(n, into), guard=True)

        function.loop(start, stop, 1, [], part, guard=True)
        function.ret()

    name = module.shared("weights.pooled", parameters(names, ()), write)
    size = table.bytes + frame.bytes
    return Kernel(name, tuple(names), (), "parts", scratch=size, form="pooled places")


def _add_block(
    function: Function,
    behind: Behind,
    g: tuple[Value, Operand],
    table: Value,
    output: Value,
    base: Value,
    kept: Value,
    block: Sequence[tuple[int, int, Span]],
) -> None:
    """Sums of some of the window's vectors, added to what is there."""
    dtype = g[1].dtype
    element = of(dtype).element
    emitters = [Emitter(function, span.lanes) for _, _, span in block]
    places = [function.offset(kept, at, element) for _, at, _ in block]
    parts = [span.part for _, _, span in block]
    start = [
        load_points(e, place, dtype, 1, part)
        for e, place, part in zip(emitters, places, parts, strict=True)
    ]

    def turn(away: Value, value: Value, sums: list[Value]) -> list[Value]:
        x = function.anchor(function.offset(base, away))
        done = []
        for e, (distance, _, span), sum_ in zip(emitters, block, sums, strict=True):
            at = function.offset(x, distance, element)
            done.append(e.fma(e.splat(value), load_points(e, at, dtype, 1, span.part), sum_))
        return done

    sums = _cells(function, behind, g, table, output, start, turn)
    for e, place, part, value in zip(emitters, places, parts, sums, strict=True):
        store_points(e, value, place, dtype, 1, part)


def input_behind_pool(
    module: Module,
    *,
    behind: Behind,
    g: Operand,
    codes: Operand,
    outputs: Sequence[Operand],
    operands: Sequence[Operand] = (),
    body: Body | None = None,
) -> Kernel:
    """Add a kernel for the gradient of a convolution's input behind max pooling.

    Args:
        module: where to add it.
        behind: the convolution and the pooling.
        g: strides along (pooled place, output) of the gradients; outputs are neighbours.
        codes: the same of the pooling's codes.
        outputs: strides along (row, channel) of the convolution's images.
        operands: what the body takes besides, strides along (row, channel).
        body: ``body(e, dx, *operands)`` returns one value for each output; None stores dx.

    Returns:
        The kernel: pointers g, code, w, operands, outputs, scratch; w is [outputs][window]
        [channels]; split along images.
    """
    at, channels, dtype = behind.at, behind.channels, g.dtype
    lengths = [max(f, a + n) for f, a, n in zip(at.frame, at.low, at.size, strict=True)]
    strides = (lengths[1] * lengths[2] * channels, lengths[2] * channels, channels)
    table = _Table(behind, strides, codes, dtype)
    names = ["g", "code", "w", *numbered("in", len(operands)), *numbered("out", len(outputs))]
    names.append("scratch")
    lanes, element = lanes_of(module.target, dtype, behind.size), of(dtype).element
    frame_size = prod(lengths) * channels

    def write(function: Function) -> None:
        gradients, chosen, w = function.params[:3]
        scratch = function.params[len(names) - 1]
        start, stop = function.params[-2:]
        held = function.offset(scratch, table.bytes)
        pointers = function.params[3 : len(names) - 1]
        ends = Ends(function, operands, outputs, pointers, body or (lambda _, y: y))

        def image(number: Value, _: list[Value]) -> None:
            fill(function, held, frame_size, dtype, 0.0)
            table.write(function, chosen, number, scratch)
            moved = function.mul(number, behind.pool.outputs * g.strides[0])
            here = function.offset(gradients, moved, element)

            def output(o: Value, _: list[Value]) -> None:
                weights = function.offset(w, function.mul(o, behind.size), element)
                for block in behind.blocks(strides, lanes):
                    _spread_block(function, behind, (here, g), scratch, o, held, weights, block)

            function.loop(0, behind.outputs, 1, [], output)
            _sweep(function, at, lengths, channels, dtype, held, number, ends)

        function.loop(start, stop, 1, [], image, guard=True)
        function.ret()

    name = module.shared("input.pooled", parameters(names, ()), write)
    size = table.bytes + -(-frame_size * dtype.itemsize // 64) * 64
    return Kernel(name, tuple(names), (), "images", scratch=size, form="pooled places")


def _spread_block(
    function: Function,
    behind: Behind,
    g: tuple[Value, Operand],
    table: Value,
    output: Value,
    base: Value,
    weights: Value,
    block: Sequence[tuple[int, int, Span]],
) -> None:
    """Some of the window's vectors of one output's weights, added where its gradients stand."""
    dtype = g[1].dtype
    element = of(dtype).element
    emitters = [Emitter(function, span.lanes) for _, _, span in block]
    vectors = [
        load_points(e, function.offset(weights, at, element), dtype, 1, span.part)
        for e, (_, at, span) in zip(emitters, block, strict=True)
    ]

    def turn(away: Value, value: Value, _: list[Value]) -> list[Value]:
        into = function.anchor(function.offset(base, away))
        for e, (distance, _at, span), weight in zip(emitters, block, vectors, strict=True):
            place = function.offset(into, distance, element)
            there = load_points(e, place, dtype, 1, span.part)
            store_points(e, e.fma(e.splat(value), weight, there), place, dtype, 1, span.part)
        return []

    _cells(function, behind, g, table, output, [], turn)


def _sweep(
    function: Function,
    at: Windows,
    lengths: Sequence[int],
    channels: int,
    dtype: DType,
    held: Value,
    number: Value,
    ends: Ends,
) -> None:
    """Send the image inside a frame through the body."""
    bound = Bound(function, [Operand(dtype, (channels, 1))], [held])
    lanes = lanes_of(function.target, dtype, channels)

    def line(d: Value, h: Value, row: Value) -> None:
        planes = function.mul(function.add(d, at.low[0]), lengths[1])
        above = function.mul(function.add(planes, function.add(h, at.low[1])), lengths[2])
        first = function.add(above, at.low[2])

        def pixel(w: Value, _: list[Value]) -> None:
            def visit(start: Value | int, width: int, many: int) -> None:
                e, part = Emitter(function, width), None if many == width else many
                channel = function.i64(start)
                value = bound.load(e, 0, [function.add(first, w), channel], 1, part)
                ends.finish(e, [value], function.add(row, w), channel, part)

            along(function, channels, lanes, visit)

        function.loop(0, at.size[2], 1, [], pixel)

    lines(function, number, at.size, line)
