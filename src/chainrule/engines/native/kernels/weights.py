"""The gradient of a convolution's weights: sums over places of images times gradients.

Notation: dw[k, c, o] = sum over n, t of x[n, t * stride + k * dilation, c] g[n, t, o]. A tile is R
elements (k, c) by V vectors of outputs, held in registers over the places of one image. Images are
dealt to a fixed number of parts, each with sums of its own, in the images' order: so neither the
number of threads nor who computes a part changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import load_points, store_points
from ..emit.types import Value, of
from ..target import Target
from .common import Kernel, Operand, Span, numbered, parameters, spans
from .convolution import Weights
from .windows import Frame, Triple, Windows, along, lanes_of

# A loop around tiles: turns, step in the frame, step in the result's rows.
Turns = tuple[int, int, int]
# Elements of a window that are so few that each has its own place in a tile.
_FEW = 32
_IN_FLIGHT = 8
# Elements of a window whose sums are kept together where every channel is by itself.
_TAPS = 9
# What a piece of an image and of its gradients may take of the first-level cache, and the outputs
# of the gradients that are read at once.
_PIECE_BYTES, _PANEL = 12 << 10, 32


@dataclass(frozen=True)
class Block:
    """A tile's rows: how far each is from the first in the frame, and in the result.

    Attributes:
        away: elements of the frame for each row of the tile.
        kept: rows of the result for each row of the tile.
    """

    away: tuple[int, ...]
    kept: tuple[int, ...]


def convolution_weights(
    module: Module,
    *,
    at: Windows,
    x: Operand,
    g: Operand,
    weights: Weights,
    parts: int,
) -> Kernel:
    """Add a kernel for the gradient of a convolution's weights.

    Args:
        module: where to add it.
        at: where the windows lie.
        x: strides along (row, channel) of the images.
        g: strides along (place, output) of the gradients; outputs are neighbours.
        weights: channels of a group, outputs and groups.
        parts: how many parts the images are dealt to.

    Returns:
        The kernel: pointers x, g, out, scratch if any; out is [parts][window][channels of a
        group][outputs]; split along parts.
    """
    frame = Frame(at, weights.channels * weights.groups, x)
    names = ["x", "g", *numbered("out", 1), *(["scratch"] if frame.bytes else [])]

    def write(function: Function) -> None:
        _Writer(function, frame, g, weights, parts).write()

    name = module.shared("weights", parameters(names, ()), write)
    return Kernel(name, tuple(names), (), "parts", scratch=frame.bytes, form="direct")


def choose(target: Target, frame: Frame, weights: Weights, rows: int) -> tuple[int, int]:
    """Rows and vectors of a tile, by the fewest cycles a place."""
    lanes = target.lanes(frame.source.dtype)
    vectors = -(-weights.each // lanes)
    budget = target.registers - 1 if target.registers > 16 else target.registers

    def turn(height: int, width: int) -> float:
        return max(height * width, height + width, _IN_FLIGHT) + 1.0

    def cost(tile: tuple[int, int]) -> tuple[float, int]:
        height, width = tile
        total = 0.0
        for part, times in ((width, vectors // width), (vectors % width, 1)):
            if part and times:
                total += times * (rows // height) * turn(height, part)
                total += times * (turn(rows % height, part) if rows % height else 0)
        return total, -height * width

    fitting = [
        (height, width)
        for width in range(1, min(vectors, 6) + 1)
        for height in range(1, min(rows, 14) + 1)
        if height * width + width + 1 <= budget
    ]
    return min(fitting, key=cost)


class _Writer:
    """Writes one kernel."""

    def __init__(
        self, function: Function, frame: Frame, g: Operand, weights: Weights, parts: int
    ) -> None:
        self.function, self.frame, self.g = function, frame, g
        self.weights, self.parts = weights, parts
        self.x, self.gradients, self.out = function.params[:3]
        self.scratch = function.params[3] if frame.bytes else None
        self.start, self.stop = function.params[-2:]
        self.counts: list[Value | int] = list(frame.at.places)
        self.dtype = frame.source.dtype
        self.type = of(self.dtype)
        wide = weights.groups if weights.is_depthwise else weights.each
        self.lanes = lanes_of(function.target, self.dtype, wide)

    @property
    def size(self) -> int:
        """Elements of one part's sums."""
        return self.frame.at.taps * self.weights.channels * self.weights.outputs

    def write(self) -> None:
        """Parts, images, groups, panels of outputs, tiles of rows."""
        function, at = self.function, self.frame.at
        self.frame.begin(function, self.scratch)

        def part(number: Value, _: list[Value]) -> None:
            out = self._at(self.out, function.mul(number, self.size))
            self._zeros(out)
            first = function.udiv(function.mul(number, at.images), self.parts)
            after = function.mul(function.add(number, 1), at.images)
            last = function.udiv(after, self.parts)
            function.loop(first, last, 1, [], lambda image, _: self._image(image, out), guard=True)

        function.loop(self.start, self.stop, 1, [], part, guard=True)
        function.ret()

    def _at(self, pointer: Value, away: Value | int) -> Value:
        return self.function.offset(pointer, away, self.type.element)

    def _zeros(self, out: Value) -> None:
        def visit(first: Value | int, width: int, many: int) -> None:
            e = Emitter(self.function, width)
            zero = e.const(0.0, self.dtype)
            part = None if many == width else many
            store_points(e, zero, self._at(out, first), self.dtype, 1, part)

        along(self.function, self.size, self.lanes, visit)

    def _image(self, image: Value, out: Value) -> None:
        function, frame = self.function, self.frame
        x = frame.image(function, self.x, image, self.scratch)
        step = frame.at.outputs * self.g.strides[0]
        g = self._at(self.gradients, function.mul(image, step))

        axis, count = self._piece()
        length = frame.at.places[axis]
        row = prod(frame.at.places[axis + 1 :]) * self.g.strides[0]

        def piece(i: Value, _: list[Value]) -> None:
            first = function.mul(i, count)
            self.counts = list(frame.at.places)
            if length % count:
                self.counts[axis] = function.min(function.sub(length, first), count)
            else:
                self.counts[axis] = count
            away = function.mul(first, frame.at.stride[axis] * frame.strides[axis])
            self._places(self._at(x, away), self._at(g, function.mul(first, row)), out)

        function.loop(0, -(-length // count), 1, [], piece)

    def _piece(self) -> tuple[int, int]:
        """The axis along which an image is cut in pieces that fit the cache, and their length."""
        frame, at = self.frame, self.frame.at
        axis = next((a for a, n in enumerate(at.places) if n > 1), 2)
        below = prod(at.places[axis + 1 :])
        each = at.stride[axis] * frame.strides[axis] + below * min(self.weights.outputs, _PANEL)
        most = max(1, _PIECE_BYTES // (each * self.dtype.itemsize))
        pieces = -(-at.places[axis] // most)
        return axis, -(-at.places[axis] // pieces)

    def _places(self, x: Value, g: Value, out: Value) -> None:
        """Groups, panels of outputs, tiles, over the places of a piece."""
        function, weights = self.function, self.weights
        if weights.is_depthwise:
            along(function, weights.groups, self.lanes, self._deep(x, g, out))
            return

        def group(number: Value, _: list[Value]) -> None:
            here = self._at(x, function.mul(number, weights.channels))
            first = function.mul(number, weights.each)
            self._panels(here, self._at(g, first), self._at(out, first))

        function.loop(0, weights.groups, 1, [], group)

    def _deep(self, x: Value, g: Value, out: Value) -> Callable[[Value | int, int, int], None]:
        """Every channel by itself: a vector of channels, a sum for each element of the window."""
        frame, at, outputs = self.frame, self.frame.at, self.weights.outputs
        taps = list(product(*map(range, at.window)))

        def visit(first: Value | int, width: int, many: int) -> None:
            e, part = Emitter(self.function, width), None if many == width else many
            for start in range(0, len(taps), _TAPS):
                here = taps[start : start + _TAPS]
                places = [self._at(out, (start + i) * outputs) for i in range(len(here))]
                places = [self._at(place, first) for place in places]

                def turn(x: Value, g: Value, sums: list[Value]) -> list[Value]:
                    value = load_points(e, g, self.dtype, 1, part)
                    found = [self._at(x, frame.tap(k)) for k in here]  # noqa: B023
                    terms = [load_points(e, at, self.dtype, 1, part) for at in found]
                    return [
                        e.fma(term, value, kept) for term, kept in zip(terms, sums, strict=True)
                    ]

                sums = [load_points(e, place, self.dtype, 1, part) for place in places]
                sums = self._over_places(self._at(x, first), self._at(g, first), sums, turn)
                for place, value in zip(places, sums, strict=True):
                    store_points(e, value, place, self.dtype, 1, part)

        return visit

    def _panels(self, x: Value, g: Value, out: Value) -> None:
        function, each = self.function, self.weights.each
        vectors, blocks = self._blocks()
        width = vectors * self.lanes

        def panel(start: Value, count: int) -> None:
            pieces = spans(0, count, self.lanes)
            from_g, into = self._at(g, start), self._at(out, start)
            for block, turns in blocks:
                self._everywhere(block, turns, x, from_g, into, pieces)

        full = each // width * width
        function.loop(0, full, width, [], lambda start, _: panel(start, width))
        if full < each:
            panel(function.i64(full), each - full)

    def _blocks(self) -> tuple[int, list[tuple[Block, list[Turns]]]]:
        """Vectors of a tile, and the tiles' kinds of rows with the loops around each."""
        frame, at, channels = self.frame, self.frame.at, self.weights.channels
        target = self.function.target
        if at.taps * channels <= _FEW:
            rows = [
                (frame.tap(k) + c, number * channels + c)
                for number, k in enumerate(product(*map(range, at.window)))
                for c in range(channels)
            ]
            height, vectors = choose(target, frame, self.weights, len(rows))
            return vectors, [(block, []) for block in _dealt(rows, height)]
        below = (at.window[1] * at.window[2] * channels, at.window[2] * channels, channels)
        loops = [(k, frame.tap(_unit(a)), below[a]) for a, k in enumerate(at.window)]
        merged = at.dilation[2] * frame.strides[2] == channels
        if merged:
            loops.pop()
        count = channels * at.window[2] if merged else channels
        height, vectors = choose(target, frame, self.weights, count)
        full, first = count // height, tuple(range(height))
        kinds = [(Block(first, first), [*loops, (full, height, height)])]
        if count % height:
            rest = tuple(range(full * height, count))
            kinds.append((Block(rest, rest), loops))
        return vectors, kinds

    def _everywhere(
        self,
        block: Block,
        loops: Sequence[Turns],
        x: Value,
        g: Value,
        out: Value,
        pieces: list[Span],
    ) -> None:
        """A kind of tile at all its places."""
        function, outputs = self.function, self.weights.outputs

        def level(depth: int, x: Value, out: Value) -> None:
            if depth == len(loops):
                self._tile(block, function.anchor(x), g, function.anchor(out), pieces)
                return
            turns, away, rows = loops[depth]

            def turn(i: Value, _: list[Value]) -> None:
                level(
                    depth + 1,
                    self._at(x, function.mul(i, away)),
                    self._at(out, function.mul(i, rows * outputs)),
                )

            function.loop(0, turns, 1, [], turn)

        level(0, x, out)

    def _tile(self, block: Block, x: Value, g: Value, out: Value, pieces: list[Span]) -> None:
        """One tile over the places of an image, added to what is there."""
        outputs = self.weights.outputs
        places = [(row * outputs + span.start, span) for row in block.kept for span in pieces]
        emitters = {span.lanes: Emitter(self.function, span.lanes) for span in pieces}
        sums = [
            load_points(emitters[s.lanes], self._at(out, at), self.dtype, 1, s.part)
            for at, s in places
        ]

        def turn(x: Value, g: Value, sums: list[Value]) -> list[Value]:
            vectors = [
                load_points(emitters[s.lanes], self._at(g, s.start), self.dtype, 1, s.part)
                for s in pieces
            ]
            done = []
            for r, away in enumerate(block.away):
                single = self.function.load(x, self.type, away)
                spread = {s.lanes: emitters[s.lanes].splat(single) for s in pieces}
                for i, span in enumerate(pieces):
                    kept = sums[r * len(pieces) + i]
                    done.append(emitters[span.lanes].fma(spread[span.lanes], vectors[i], kept))
            return done

        sums = self._over_places(x, g, sums, turn)
        for (at, s), value in zip(places, sums, strict=True):
            store_points(emitters[s.lanes], value, self._at(out, at), self.dtype, 1, s.part)

    def _over_places(
        self,
        x: Value,
        g: Value,
        sums: list[Value],
        turn: Callable[[Value, Value, list[Value]], list[Value]],
    ) -> list[Value]:
        function, frame, at = self.function, self.frame, self.frame.at
        row = self.g.strides[0]
        steps_x = [s * step for s, step in zip(at.stride, frame.strides, strict=True)]
        steps_g = [at.places[1] * at.places[2] * row, at.places[2] * row, row]

        def level(axis: int, x: Value, g: Value, sums: list[Value]) -> list[Value]:
            if axis == 3:
                return turn(function.anchor(x), function.anchor(g), sums)

            def step(i: Value, kept: list[Value]) -> list[Value]:
                here = self._at(x, function.mul(i, steps_x[axis]))
                there = self._at(g, function.mul(i, steps_g[axis]))
                return level(axis + 1, here, there, kept)

            return function.loop(0, self.counts[axis], 1, sums, step)

        return level(0, x, g, sums)


def _unit(axis: int) -> Triple:
    """One step along an axis."""
    return (int(axis == 0), int(axis == 1), int(axis == 2))


def _dealt(rows: list[tuple[int, int]], height: int) -> list[Block]:
    """Rows in tiles, each kept by its distance from the start."""
    made = []
    for first in range(0, len(rows), height):
        part = rows[first : first + height]
        made.append(Block(tuple(a for a, _ in part), tuple(b for _, b in part)))
    return made
