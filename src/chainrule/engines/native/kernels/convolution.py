"""Convolution over images in rows of channels: direct, in register tiles.

Notation: y[t, o] = sum over k, c of x[t * stride + k * dilation, c] w[k, c, o]. A tile is R
neighbouring places of a line by V vectors of output channels. An element of x is spread over a
vector, and each tap's weights are vectors as they lie (Georganas et al., Anatomy of
High-Performance Deep Learning Convolutions on SIMD Architectures, 2018, has the form). Where every
channel is a group of its own, vectors run along the channels of both.

The last tile of a line may overlap the one before: what both compute has the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import load_points, memory_type
from ..emit.types import Value
from ..target import Target
from .broadcast import Broadcast
from .channels import Channelwise, Ends, channelwise, largest, weighted
from .common import Body, Kernel, Operand, Span, numbered, parameters, spans
from .tiles import Ending, Problem, Tile
from .windows import Frame, Windows

# Weights of this many outputs lie together, where there are more.
PANEL = 16
# Independent multiply-adds that keep the units busy.
_IN_FLIGHT = 8
# Turns of the innermost loop that are written out.
_WRITTEN_OUT = 6


@dataclass(frozen=True)
class Weights:
    """How the weights lie: [outputs / panel][window][channels of a group][panel].

    Attributes:
        channels: of a group.
        outputs: of all groups.
        panel: neighbouring outputs; all of them where one panel is enough.
        groups: how many.
    """

    channels: int
    outputs: int
    panel: int
    groups: int = 1

    @property
    def each(self) -> int:
        """Outputs of a group."""
        return self.outputs // self.groups

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel gives one output of its own."""
        return self.groups > 1 and self.channels == self.each == 1


def panel_of(outputs: int, groups: int) -> int:
    """How many outputs' weights lie together."""
    return PANEL if groups == 1 and outputs > PANEL and outputs % PANEL == 0 else outputs


def convolution(
    module: Module,
    *,
    at: Windows,
    x: Operand,
    weights: Weights,
    outputs: Sequence[Operand],
    operands: Sequence[Operand] = (),
    body: Body | None = None,
) -> Kernel:
    """Add a kernel for a convolution whose result goes through a body.

    Args:
        module: where to add it.
        at: where the windows lie.
        x: strides along (row, channel) of the images; float32 or float64.
        weights: how they lie; of the same type.
        outputs: strides along (row, output).
        operands: what the body takes besides the sum, strides along (row, output).
        body: ``body(e, y, *operands)`` returns one value for each output; None stores y.

    Returns:
        The kernel: pointers x, w, operands, outputs, scratch if any; split along images.
    """
    frame = Frame(at, weights.channels * weights.groups, x)
    if weights.is_depthwise:
        core = weighted(frame)
        ends = body or (lambda _, y: y)
        return channelwise(module, "depthwise", frame, ["w"], core, operands, outputs, ends)
    tile = choose(module.target, frame, weights)
    problem = _problem(frame, weights, tile, operands, outputs, body)
    names = ["x", "w", *numbered("in", len(operands)), *numbered("out", len(outputs))]
    names += ["scratch"] if frame.bytes else []

    def write(function: Function) -> None:
        last = 2 + len(problem.tailing)
        scratch = function.params[last] if frame.bytes else None
        ends = function.params[2:last]
        _Convolution(function, problem, frame, weights, tile, ends, scratch).write()

    name = module.shared("convolution", parameters(names, ()), write)
    return Kernel(name, tuple(names), (), "images", scratch=frame.bytes, form="direct")


def convolution_pooled(
    module: Module,
    *,
    at: Windows,
    pool: Windows,
    kinds: Sequence[str],
    x: Operand,
    weights: Weights,
    outputs: Sequence[Operand],
    operands: Sequence[Operand] = (),
    body: Body | None = None,
) -> Kernel:
    """Add a kernel for a convolution of which only windows' largest elements are wanted.

    The convolution of one image stays in scratch memory.

    Args:
        module, at, x, weights: as for :func:`convolution`.
        pool: the pooling's windows, on the convolution's places.
        kinds: what is wanted of each window, as for :func:`.channels.largest`.
        outputs, operands: strides along (pooled place, output).
        body: ``body(e, *kinds, *operands)`` returns one value for each output.

    Returns:
        The kernel: pointers x, w, operands, outputs, scratch; split along images.
    """
    frame = Frame(at, weights.channels * weights.groups, x)
    tile, held = choose(module.target, frame, weights), Operand(x.dtype, (weights.outputs, 1))
    problem = _problem(frame, weights, tile, [], [held], None)
    image = Frame(pool, weights.outputs, held)
    size = -(-at.outputs * weights.outputs * x.dtype.itemsize // 64) * 64
    names = ["x", "w", *numbered("in", len(operands)), *numbered("out", len(outputs)), "scratch"]

    def write(function: Function) -> None:
        whole, scratch = function.params[len(names) - 1], None
        if frame.bytes:
            scratch = function.offset(whole, size)
        ends = Ends(
            function,
            operands,
            outputs,
            function.params[2 : len(names) - 1],
            body or (lambda _, *values: values),
        )
        walk = Channelwise(function, image, [], largest(list(kinds)), ends)
        work = _Convolution(function, problem, frame, weights, tile, [whole], scratch)
        work.write(lambda number: walk.image(number, whole))

    name = module.shared("convolution.pooled", parameters(names, ()), write)
    return Kernel(name, tuple(names), (), "images", scratch=size + frame.bytes, form="direct")


def _problem(
    frame: Frame,
    weights: Weights,
    tile: Tile,
    operands: Sequence[Operand],
    outputs: Sequence[Operand],
    body: Body | None,
) -> Problem:
    """The convolution as a product of places by outputs."""
    dtype = frame.source.dtype
    return Problem(
        weights.each,
        Operand(dtype, (frame.strides[2] * frame.at.stride[2], 1)),
        Operand(dtype, (weights.panel, 1)),
        None,
        tuple(operands),
        tuple(outputs),
        body or (lambda _, y: y),
        tile.rows,
        weights.channels * frame.at.taps,
    )


def choose(target: Target, frame: Frame, weights: Weights) -> Tile:
    """The tile that finishes a line soonest."""
    lanes, line = target.lanes(frame.source.dtype), frame.at.places[2]
    vectors = -(-weights.each // lanes)
    budget = target.registers - 1 if target.registers > 16 else target.registers
    split = weights.panel < weights.outputs

    def cost(tile: tuple[int, int]) -> tuple[float, int]:
        rows, width = tile
        tiles, total = -(-line // rows), 0.0
        for part, times in ((width, vectors // width), (vectors % width, 1)):
            if part and times:
                loads = part + rows
                total += times * (max(rows * part, loads, _IN_FLIGHT) + 0.5)
        return tiles * total, -rows * width

    fitting = [
        (rows, width)
        for width in range(1, min(vectors, 6) + 1)
        for rows in range(1, min(line, 14) + 1)
        if rows * width + width + 1 <= budget
        and not (split and (width * lanes) % weights.panel and weights.panel % (width * lanes))
    ]
    rows, width = min(fitting, key=cost)
    return Tile(rows, width * lanes)


class _Convolution(Broadcast):
    """Writes one kernel."""

    def __init__(
        self,
        function: Function,
        problem: Problem,
        frame: Frame,
        weights: Weights,
        tile: Tile,
        ends: Sequence[Value],
        scratch: Value | None,
    ) -> None:
        x, w = function.params[:2]
        super().__init__(function, problem, Ending(function, problem, ends), x, w, x)
        self.frame, self.weights, self.tiling = frame, weights, tile
        self.ends, self.scratch = ends, scratch
        self.start, self.stop = function.params[-2:]
        self.line, self.panel = x, w

    def write(self, behind: Callable[[Value], None] | None = None) -> None:
        """Images, groups, panels of outputs, lines, tiles.

        Args:
            behind: writes what follows each image, whose result then lies where the first would.
        """
        function, frame = self.function, self.frame
        frame.begin(function, self.scratch)

        def image(number: Value, _: list[Value]) -> None:
            base = frame.image(function, self.a, number, self.scratch)
            here = number if behind is None else function.i64(0)
            function.loop(
                0, self.weights.groups, 1, [], lambda group, _: self._group(here, base, group)
            )
            if behind is not None:
                behind(number)

        function.loop(self.start, self.stop, 1, [], image, guard=True)
        function.ret()

    def _group(self, number: Value, base: Value, group: Value) -> None:
        function, weights, width = self.function, self.weights, self.tiling.columns
        base = function.offset(base, function.mul(group, weights.channels), self.type.element)
        first = function.mul(group, weights.each)

        def panel(start: Value, count: int) -> None:
            column = function.add(first, start)
            self.panel = function.offset(self.b, self._weight(column), self.type.element)
            pieces = spans(0, count, self.lanes)
            self._lines(number, base, lambda row, many: self.tile(row, many, column, pieces))

        full = weights.each // width * width
        function.loop(0, full, width, [], lambda start, _: panel(start, width))
        if full < weights.each:
            panel(function.i64(full), weights.each - full)

    def _weight(self, column: Value) -> Value:
        """Elements from the first weight to those of an output."""
        function, weights = self.function, self.weights
        if weights.panel == weights.outputs:
            return column
        step = self.frame.at.taps * weights.channels * weights.panel
        whole = function.mul(function.udiv(column, weights.panel), step)
        return function.add(whole, function.urem(column, weights.panel))

    def _lines(self, number: Value, base: Value, write: Callable[[Value, int], None]) -> None:
        """Each line of places in tiles."""
        function, frame, at = self.function, self.frame, self.frame.at
        height, length = self.tiling.rows, at.places[2]
        tiles = -(-length // height)

        def line(d: Value, h: Value) -> None:
            planes = function.add(function.mul(number, at.places[0]), d)
            lines = function.add(function.mul(planes, at.places[1]), h)
            self._at_line(lines)
            away = function.add(
                function.mul(d, at.stride[0] * frame.strides[0]),
                function.mul(h, at.stride[1] * frame.strides[1]),
            )
            self.line = function.offset(base, away, self.type.element)

            def tile(i: Value, _: list[Value]) -> None:
                row = function.mul(i, height)
                if length % height:
                    row = function.min(row, length - height)
                write(row, height)

            function.loop(0, tiles, 1, [], tile)

        def plane(d: Value, _: list[Value]) -> None:
            function.loop(0, at.places[1], 1, [], lambda h, _: line(d, h))

        function.loop(0, at.places[0], 1, [], plane)

    def _at_line(self, number: Value) -> None:
        """Move operands and outputs to a line of places."""
        function, problem, length = self.function, self.problem, self.frame.at.places[2]
        moved = []
        for pointer, operand in zip(self.ends, problem.tailing, strict=True):
            if operand.strides[0]:  # what all rows share is read through the argument itself
                away = function.mul(number, length * operand.strides[0])
                pointer = function.offset(pointer, away, memory_type(operand.dtype).element)
            moved.append(pointer)
        self.ending = Ending(function, problem, moved)

    def sums(
        self,
        row: Value,
        rows: int,
        column: Value | int,
        pieces: list[Span],
        start: list[Value],
    ) -> list[Value]:
        """Run over the window and the channels."""
        function, frame, at = self.function, self.frame, self.frame.at
        channels, panel = self.weights.channels, self.weights.panel
        element, step = self.type.element, self.problem.a.strides[0]
        first = function.offset(self.line, function.mul(row, step), element)
        merged = at.dilation[2] * frame.strides[2] == channels
        depth = channels * at.window[2] if merged else channels
        apart = [frame.strides[axis] * at.dilation[axis] for axis in range(3)]
        per_line = at.window[2] * channels * panel

        def deep(a: Value, b: Value, sums: list[Value]) -> list[Value]:
            def turn(k: Value, sums: list[Value]) -> list[Value]:
                along_a = function.anchor(function.offset(a, k, element))
                along_b = function.anchor(function.offset(b, function.mul(k, panel), element))
                return self._turn(along_a, along_b, rows, pieces, sums)

            if depth > _WRITTEN_OUT:
                return function.loop(0, depth, 1, sums, turn)
            for k in range(depth):
                at_a = function.offset(a, k, element)
                at_b = function.offset(b, k * panel, element)
                sums = self._turn(at_a, at_b, rows, pieces, sums)
            return sums

        def column_of(a: Value, b: Value, sums: list[Value]) -> list[Value]:
            if merged:
                return deep(a, b, sums)

            def tap(w: Value, sums: list[Value]) -> list[Value]:
                here = function.offset(a, function.mul(w, apart[2]), element)
                there = function.offset(b, function.mul(w, channels * panel), element)
                return deep(here, there, sums)

            return function.loop(0, at.window[2], 1, sums, tap)

        def line(d: Value, h: Value, sums: list[Value]) -> list[Value]:
            away = function.add(function.mul(d, apart[0]), function.mul(h, apart[1]))
            taps = function.add(function.mul(d, at.window[1]), h)
            a = function.anchor(function.offset(first, away, element))
            moved = function.offset(self.panel, function.mul(taps, per_line), element)
            return column_of(a, function.anchor(moved), sums)

        def plane(d: Value, sums: list[Value]) -> list[Value]:
            return function.loop(0, at.window[1], 1, sums, lambda h, carried: line(d, h, carried))

        return function.loop(0, at.window[0], 1, start, plane)

    def _turn(
        self, a: Value, b: Value, rows: int, pieces: list[Span], sums: list[Value]
    ) -> list[Value]:
        """One channel of one tap: a vector of weights for each piece, an element for each row."""
        function, problem = self.function, self.problem
        step, panel = problem.a.strides[0], self.weights.panel
        away = self.frame.at.taps * self.weights.channels * panel
        vectors, done = [], []
        for span in pieces:
            place = span.start // panel * away + span.start % panel
            at = function.offset(b, place, self.type.element)
            e = Emitter(function, span.lanes)
            vectors.append(load_points(e, at, problem.dtype, 1, span.part))
        for r in range(rows):
            single = function.load(a, self.type, r * step)
            spread = {s.lanes: Emitter(function, s.lanes).splat(single) for s in pieces}
            for i, span in enumerate(pieces):
                e = Emitter(function, span.lanes)
                done.append(e.fma(spread[span.lanes], vectors[i], sums[r * len(pieces) + i]))
        return done
