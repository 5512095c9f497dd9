"""What windows do with each channel by itself: vectors run along the channels.

Pooling, and convolution where every channel is a group of its own: largest elements and their
places, sums, weighted sums. The ways back are in ``spread.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from ....dtypes import DType, int32, int64, uint8
from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import Part, load_points
from ..emit.types import Value, literal, of
from .common import Body, Bound, Kernel, Operand, numbered, parameters, results
from .windows import Frame, Triple, Windows, along, lanes_of

# Places of a line that are computed together.
_TOGETHER = 4
# Elements of a window that are written out one after another.
WRITTEN_OUT = 27


@dataclass(frozen=True)
class Tile:
    """What a core computes: places of a line, at a vector of channels.

    Attributes:
        function: where to write.
        frame: of the image.
        x: the element of the first place's window, at the vector's first channel.
        others: further pointers, as they were given.
        channel: the vector's first channel.
        count: how many places.
        lanes: of the vector.
        part: which lanes count.
        at: (plane, line, first place) in the image.
    """

    function: Function
    frame: Frame
    x: Value
    others: Sequence[Value]
    channel: Value
    count: int
    lanes: int
    part: Part
    at: tuple[Value, Value, Value]

    @property
    def e(self) -> Emitter:
        """An emitter for vectors of channels."""
        return Emitter(self.function, self.lanes)

    def element(self, place: int, k: Triple) -> Value:
        """An element of a window, as a vector of channels."""
        frame = self.frame
        away = place * frame.at.stride[2] * frame.strides[2] + frame.tap(k)
        at = self.function.offset(self.x, away, of(frame.source.dtype).element)
        return load_points(self.e, at, frame.source.dtype, 1, self.part)


# One list of values (one for each anchor) for each place.
Core = Callable[[Tile], list[list[Value]]]


def elements_of(window: Triple) -> list[Triple]:
    """A window's elements in order.

    Example:
        >>> elements_of((1, 2, 2))
        [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)]
    """
    return [(a, b, c) for a, b, c in product(*(range(k) for k in window))]


def channelwise(
    module: Module,
    prefix: str,
    frame: Frame,
    names: Sequence[str],
    core: Core,
    operands: Sequence[Operand],
    outputs: Sequence[Operand],
    body: Body,
) -> Kernel:
    """Add a kernel that computes something of each window, a channel at a time.

    Args:
        module: where to add it.
        prefix: the readable part of its name.
        frame: of the images.
        names: further pointers that the core takes.
        core: computes the anchors' values.
        operands: what the body takes besides, strides along (row, channel).
        outputs: strides along (row, channel).
        body: ``body(e, *anchors, *operands)`` returns one value for each output.

    Returns:
        The kernel: pointers x, those of the core, operands, outputs, scratch if any; split along
        images.
    """
    listed = ["x", *names, *numbered("in", len(operands)), *numbered("out", len(outputs))]
    listed += ["scratch"] if frame.bytes else []

    def write(function: Function) -> None:
        count = 1 + len(names)
        last = count + len(operands) + len(outputs)
        ends = Ends(function, operands, outputs, function.params[count:last], body)
        scratch = function.params[last] if frame.bytes else None
        walk = Channelwise(function, frame, function.params[1:count], core, ends)
        frame.begin(function, scratch)

        def image(number: Value, _: list[Value]) -> None:
            walk.image(number, frame.image(function, function.params[0], number, scratch))

        start, stop = function.params[-2:]
        function.loop(start, stop, 1, [], image, guard=True)
        function.ret()

    name = module.shared(prefix, parameters(listed, ()), write)
    return Kernel(name, tuple(listed), (), "images", scratch=frame.bytes, form=prefix)


class Ends:
    """Operands and outputs of a body, by row and channel."""

    def __init__(
        self,
        function: Function,
        operands: Sequence[Operand],
        outputs: Sequence[Operand],
        pointers: Sequence[Value],
        body: Body,
    ) -> None:
        self.bound = Bound(function, [*operands, *outputs], pointers)
        self.inputs, self.outputs, self.body = len(operands), len(outputs), body

    def finish(
        self, e: Emitter, anchors: Sequence[Value], row: Value, channel: Value, part: Part
    ) -> None:
        """Send anchors of a row through the body and store what comes out."""
        places = [row, channel]
        values = [self.bound.load(e, i, places, 1, part) for i in range(self.inputs)]
        made = results(self.body(e, *anchors, *values), self.outputs)
        for i, value in enumerate(made):
            self.bound.store(e, self.inputs + i, value, places, 1, part)


class Channelwise:
    """Writes what a core computes, and the body behind it, over the windows of an image.

    Args:
        function: where to write.
        frame: of the image.
        others: further pointers that the core takes.
        core: computes the anchors' values.
        ends: the body, with what it reads and writes.
    """

    def __init__(
        self, function: Function, frame: Frame, others: Sequence[Value], core: Core, ends: Ends
    ) -> None:
        self.function, self.frame, self.others = function, frame, others
        self.core, self.ends = core, ends

    def image(self, number: Value, base: Value) -> None:
        """Lines, places together, vectors of channels; ``base`` is the image's frame."""
        lines(
            self.function,
            number,
            self.frame.at.places,
            lambda d, h, row: self._line(base, d, h, row),
        )

    def _line(self, base: Value, d: Value, h: Value, row: Value) -> None:
        function, frame, at = self.function, self.frame, self.frame.at
        element = of(frame.source.dtype).element
        away = function.add(
            function.mul(d, at.stride[0] * frame.strides[0]),
            function.mul(h, at.stride[1] * frame.strides[1]),
        )
        line = function.offset(base, away, element)
        length = at.places[2]
        count = min(_TOGETHER, length)

        def tile(i: Value, _: list[Value]) -> None:
            first = function.mul(i, count)
            if length % count:
                first = function.min(first, length - count)
            x = function.offset(line, function.mul(first, at.stride[2] * frame.strides[2]), element)
            self._tile(x, (d, h, first), function.add(row, first), count)

        function.loop(0, -(-length // count), 1, [], tile)

    def _tile(self, x: Value, at: tuple[Value, Value, Value], row: Value, count: int) -> None:
        function, frame = self.function, self.frame
        dtype = frame.source.dtype
        lanes = lanes_of(function.target, dtype, frame.channels)

        def visit(first: Value | int, width: int, many: int) -> None:
            channel = function.i64(first)
            here = function.anchor(function.offset(x, channel, of(dtype).element))
            part = None if many == width else many
            tile = Tile(function, frame, here, self.others, channel, count, width, part, at)
            for i, anchors in enumerate(self.core(tile)):
                self.ends.finish(tile.e, anchors, function.add(row, i), channel, part)

        # A tile is long enough to be compiled once, not once for each vector.
        along(function, frame.channels, lanes, visit, written_out=1)


def lines(
    function: Function,
    number: Value,
    lengths: Triple,
    visit: Callable[[Value, Value, Value], None],
) -> None:
    """Loops over an image's lines: ``visit(plane, line, the line's first row)``."""

    def plane(d: Value, _: list[Value]) -> None:
        def line(h: Value, _: list[Value]) -> None:
            planes = function.add(function.mul(number, lengths[0]), d)
            row = function.add(function.mul(planes, lengths[1]), h)
            visit(d, h, function.mul(row, lengths[2]))

        function.loop(0, lengths[1], 1, [], line)

    function.loop(0, lengths[0], 1, [], plane)


# -- cores ---------------------------------------------------------------------------------------
def over_window(
    tile: Tile, start: list[Value], visit: Callable[[Tile, Triple, list[Value]], list[Value]]
) -> list[Value]:
    """Carry values over a window's elements; large windows in loops over planes and lines.

    ``visit`` gets a tile whose ``x`` has been moved, and the element counted from there.
    """
    function, frame = tile.function, tile.frame
    window = frame.at.window
    if prod(window) <= WRITTEN_OUT:
        for k in elements_of(window):
            start = visit(tile, k, start)
        return start
    steps = [gap * step for gap, step in zip(frame.at.dilation, frame.strides, strict=True)]

    def level(axis: int, x: Value, carried: list[Value]) -> list[Value]:
        if axis == 3:
            return visit(Tile(**{**tile.__dict__, "x": x}), (0, 0, 0), carried)

        def turn(k: Value, carried: list[Value]) -> list[Value]:
            away = function.mul(k, steps[axis])
            moved = function.offset(x, away, of(frame.source.dtype).element)
            return level(axis + 1, moved, carried)

        return function.loop(0, window[axis], 1, carried, turn)

    return level(0, tile.x, start)


def weighted(frame: Frame) -> Core:
    """Sums of each channel's window times that channel's weights, [window][channels]."""
    dtype, at, channels = frame.source.dtype, frame.at, frame.channels

    def core(tile: Tile) -> list[list[Value]]:
        e, function = tile.e, tile.function
        zero = e.splat(e.const(0.0, dtype))
        first = function.offset(tile.others[0], tile.channel, of(dtype).element)
        per_line = at.window[2] * channels

        def line(d: Value, h: Value, sums: list[Value]) -> list[Value]:
            taps = function.add(function.mul(d, at.window[1]), h)
            moved = function.offset(first, function.mul(taps, per_line), of(dtype).element)
            w = function.anchor(moved)
            away = function.add(
                function.mul(d, at.dilation[0] * frame.strides[0]),
                function.mul(h, at.dilation[1] * frame.strides[1]),
            )
            x = function.anchor(function.offset(tile.x, away, of(dtype).element))
            return _along_line(Tile(**{**tile.__dict__, "x": x}), w, sums)

        def plane(d: Value, sums: list[Value]) -> list[Value]:
            return function.loop(0, at.window[1], 1, sums, lambda h, kept: line(d, h, kept))

        sums = function.loop(0, at.window[0], 1, [zero] * tile.count, plane)
        return [[each] for each in sums]

    return core


def _along_line(tile: Tile, w: Value, sums: list[Value]) -> list[Value]:
    """A line of a window's elements for all places: each element of x is loaded once."""
    frame, at, e = tile.frame, tile.frame.at, tile.e
    dtype = frame.source.dtype
    users: dict[int, list[tuple[int, int]]] = {}
    for r, k in product(range(tile.count), range(at.window[2])):
        users.setdefault(r * at.stride[2] + k * at.dilation[2], []).append((r, k))
    done, weights = list(sums), {}
    for position in sorted(users):
        here = tile.function.offset(tile.x, position * frame.strides[2], of(dtype).element)
        value = load_points(e, here, dtype, 1, tile.part)
        for r, k in users[position]:
            if k not in weights:
                there = tile.function.offset(w, k * frame.channels, of(dtype).element)
                weights[k] = load_points(e, there, dtype, 1, tile.part)
            done[r] = e.fma(value, weights[k], done[r])
    return done


def summed(tile: Tile) -> list[list[Value]]:
    """The sum of each window."""
    e, dtype = tile.e, tile.frame.source.dtype

    def visit(here: Tile, k: Triple, sums: list[Value]) -> list[Value]:
        return [e.add(kept, here.element(r, k)) for r, kept in enumerate(sums)]

    zero = [e.splat(e.const(0.0, dtype))] * tile.count
    return [[each] for each in over_window(tile, zero, visit)]


def largest(kinds: Sequence[str]) -> Core:
    """The largest element of each window: of ``value``, ``code`` and ``place`` those asked for.

    A code is the element's number in its window, a place its number in the flat image. Of equal
    elements the first counts, of several NaN the last.
    """

    def core(tile: Tile) -> list[list[Value]]:
        e, count = tile.e, tile.count
        lane = of(tile.frame.source.dtype).with_lanes(tile.lanes)
        names = "int64" if lane.name == "float64" else "int32"
        number = literal(0, lane.named(names))
        best = [tile.element(r, (0, 0, 0)) for r in range(count)]
        coded = kinds != ["value"]

        def visit(here: Tile, k: Triple, carried: list[Value]) -> list[Value]:
            done = list(carried)
            code = carried[-1]
            for r in range(count):
                x, kept = here.element(r, k), carried[r]
                better = e.lor(e.gt(x, kept), e.ne(x, x))
                done[r] = e.select(better, x, kept)
                if coded:
                    done[count + r] = e.select(better, code, carried[count + r])
            done[-1] = e.add(code, 1)
            return done

        start = [*best, *([number] * count if coded else []), number]
        end = over_window(tile, start, visit)
        codes = end[count : 2 * count] if coded else []
        made = []
        for r in range(count):
            values = {"value": end[r]}
            if coded:
                values["code"] = codes[r]
            if "place" in kinds:
                values["place"] = _place(tile, r, codes[r])
            made.append([values[kind] for kind in kinds])
        return made

    return core


def _place(tile: Tile, r: int, code: Value) -> Value:
    """The number in the flat image of the element that a code names."""
    e, function, at = tile.e, tile.function, tile.frame.at
    code = e.cast(code, int64)
    d, h, w = tile.at
    steps = (at.size[1] * at.size[2], at.size[2], 1)
    total = function.i64(0)
    for axis, place in enumerate((d, h, function.add(w, r))):
        begin = function.sub(function.mul(place, at.stride[axis]), at.low[axis])
        total = function.add(total, function.mul(begin, steps[axis]))
    made = e.splat(total)
    around = 1
    for axis in (2, 1, 0):
        rest = code if around == 1 else e.div(code, around)
        k = e.sub(rest, e.mul(e.div(rest, at.window[axis]), at.window[axis]))
        made = e.add(made, e.mul(k, at.dilation[axis] * steps[axis]))
        around *= at.window[axis]
    return made


def code_type(at: Windows) -> DType:
    """The type that holds the number of a window's element."""
    return uint8 if at.taps <= 256 else int32
