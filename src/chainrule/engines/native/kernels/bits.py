"""Random bits: Philox 4x32-10, a function of a key and a counter.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The constants
are those of the paper's section 3.3; a block is four words.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.shuffle import shuffle
from ..emit.types import INT64, UINT32, Value, literal
from .common import Body, Bound, Kernel, Operand, numbered, parameters, results

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_WORDS = 4
_LOW = 0xFFFFFFFF


def random_bits(
    module: Module, operands: Sequence[Operand], outputs: Sequence[Operand], body: Body
) -> Kernel:
    """Add a kernel that sends random words through a body, along one axis of elements.

    Element i of a call takes word ``i % 4`` of block ``counter + i // 4``.

    Args:
        module: where to add it.
        operands: what the body takes besides, one stride each.
        outputs: one stride each.
        body: ``body(e, bits, *operands)`` with ``bits`` uint32 returns one value for each output.

    Returns:
        The kernel: pointers key (uint32[2]), counter (int64, a number of blocks), operands,
        outputs; split along rows, which are elements here, fastest at multiples of its grain.
    """
    names = ["key", "counter", *numbered("in", len(operands)), *numbered("out", len(outputs))]
    lanes = module.target.vector_bytes // 4

    def write(function: Function) -> None:
        _Bits(function, lanes, operands, outputs, body).write()

    name = module.shared("random", parameters(names, ()), write)
    return Kernel(name, tuple(names), (), "rows", lanes * _WORDS)


def philox(e: Emitter, key: Sequence[Value], block: Value) -> list[Value]:
    """The four random words (uint32) of each block.

    Args:
        e: the emitter.
        key: two words, uint32.
        block: int64 numbers of blocks.
    """
    words = _counted(e, block)
    keys = [e.cast_to(each, "int64") for each in key]
    for number in range(_ROUNDS):
        if number:
            keys = _next_keys(e, keys)
        words = _round(e, words, keys)
    return [e.cast_to(word, "uint32") for word in words]


def _counted(e: Emitter, block: Value) -> list[Value]:
    """The words before the first round, in 64 bits each: the number of the block."""
    low = e.bits("and", block, _LOW)
    zero = literal(0, low.type)
    return [low, e.bits("lshr", block, 32), zero, zero]


def _next_keys(e: Emitter, keys: Sequence[Value]) -> list[Value]:
    return [e.bits("and", e.add(k, w), _LOW) for k, w in zip(keys, _WEYL, strict=True)]


def _round(e: Emitter, words: list[Value], keys: list[Value]) -> list[Value]:
    first = e.mul(words[0], _MULTIPLIERS[0])
    second = e.mul(words[2], _MULTIPLIERS[1])

    def mixed(product: Value, word: Value, key: Value) -> Value:
        return e.bits("xor", e.bits("xor", e.bits("lshr", product, 32), word), key)

    return [
        mixed(second, words[1], keys[0]),
        e.bits("and", second, _LOW),
        mixed(first, words[3], keys[1]),
        e.bits("and", first, _LOW),
    ]


class _Bits:
    """Writes one kernel."""

    def __init__(
        self,
        function: Function,
        lanes: int,
        operands: Sequence[Operand],
        outputs: Sequence[Operand],
        body: Body,
    ) -> None:
        self.function, self.lanes, self.body = function, lanes, body
        self.inputs, self.outputs = len(operands), len(outputs)
        key, counter, *others = function.params[:-2]
        self.bound = Bound(function, [*operands, *outputs], others)
        self.key = [function.load(key, UINT32, i) for i in range(2)]
        self.counter = function.load(counter, INT64)

    def write(self) -> None:
        """Whole groups of blocks between the ends, single elements at the ends."""
        function = self.function
        start, stop = function.params[-2:]
        group = self.lanes * _WORDS
        # Groups begin at multiples of a block; elements before the first one are done singly.
        first = function.mul(function.udiv(function.add(start, _WORDS - 1), _WORDS), _WORDS)
        first = function.min(first, stop)
        count = function.udiv(function.sub(stop, first), group)
        whole = function.mul(count, group)
        last = function.add(first, whole)
        function.loop(first, last, group, [], lambda at, _: self._group(at), guard=True)

        def single(at: Value, _: list[Value]) -> None:
            before = function.compare("lt", at, first)
            self._single(function.select(before, at, function.add(at, whole)))

        function.loop(start, function.sub(stop, whole), 1, [], single, guard=True)
        function.ret()

    def _group(self, at: Value) -> None:
        """As many blocks as there are lanes; their words are brought into order."""
        function, lanes = self.function, self.lanes
        e = Emitter(function, lanes)
        block = e.add(function.add(self.counter, function.udiv(at, _WORDS)), e.counting())
        for number, bits in enumerate(_interleaved(e, philox(e, self.key, block))):
            self._finish(lanes, bits, function.add(at, number * lanes))

    def _single(self, at: Value) -> None:
        function = self.function
        e = Emitter(function, 0)
        words = self._words(e, function.add(self.counter, function.udiv(at, _WORDS)))
        which = function.urem(at, _WORDS)
        bits = words[0]
        for number in range(1, _WORDS):
            bits = e.select(e.eq(which, number), words[number], bits)
        self._finish(0, bits, at)

    def _words(self, e: Emitter, block: Value) -> list[Value]:
        """As :func:`philox`, in a loop over the rounds: few elements come here, so that short code,
        which is compiled sooner, is worth more than fast code."""

        def turn(_: Value, carried: list[Value]) -> list[Value]:
            words, keys = carried[:_WORDS], carried[_WORDS:]
            return [*_round(e, words, keys), *_next_keys(e, keys)]

        keys = [e.cast_to(each, "int64") for each in self.key]
        words = self.function.loop(0, _ROUNDS, 1, [*_counted(e, block), *keys], turn)[:_WORDS]
        return [e.cast_to(word, "uint32") for word in words]

    def _finish(self, lanes: int, bits: Value, at: Value) -> None:
        def index(_: int) -> Value:
            return e.add(at, e.counting())

        e = Emitter(self.function, lanes, index)
        values = [self.bound.load(e, i, [at], 0) for i in range(self.inputs)]
        for i, value in enumerate(results(self.body(e, bits, *values), self.outputs)):
            self.bound.store(e, self.inputs + i, value, [at], 0)


def _interleaved(e: Emitter, words: list[Value]) -> list[Value]:
    """Vectors w0 .. w3 as the sequence w0[0] w1[0] w2[0] w3[0] w0[1] ..."""
    lanes = words[0].lanes
    pairs = []
    for a, b in ((words[0], words[2]), (words[1], words[3])):
        for half in range(2):
            first = half * lanes // 2
            order = [first + i // 2 + (lanes if i % 2 else 0) for i in range(lanes)]
            pairs.append(shuffle(e, a, b, order))
    made = []
    for half in range(2):
        for quarter in range(2):
            first = quarter * lanes // 2
            order = [first + i // 2 + (lanes if i % 2 else 0) for i in range(lanes)]
            made.append(shuffle(e, pairs[half], pairs[2 + half], order))
    return made
