"""Programs that run along each row: elementwise phases and folds that feed later phases.

Softmax with cross-entropy and its derivative, normalisation over the last axis, the place of the
largest element: all are a few phases. A short row stays in registers from the first phase to the
last; of a long one, what later phases need is kept in scratch memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.memory import Part
from ..emit.types import Type, Value
from .common import Body, Bound, Kernel, Operand, Span, lanes_for, parameters, power_above, results
from .folds import Fold

# Vectors of a row that are kept in registers, and vectors a turn of a longer row handles.
_VECTORS_KEPT = 8
_UNROLL = 4


@dataclass(frozen=True)
class Phase:
    """One pass over a row.

    Args:
        body: ``body(e, *values)`` returns one value for each name of ``keeps``, then one for each
            of ``folds``. ``e.index(0)`` is the row, ``e.index(1)`` the column.
        reads: names of operands, or of what earlier phases kept or folded.
        keeps: names for the values at every column.
        folds: (kind, name): the value is folded over the row, and the name is one number for the
            row. Kinds are those of :data:`chainrule.engines.native.kernels.folds.KINDS`.

    A phase that reads nothing but numbers of the row (folds, operands of column stride 0) and folds
    nothing runs once for the row, and what it keeps are numbers of the row.
    """

    body: Body
    reads: tuple[str, ...]
    keeps: tuple[str, ...] = ()
    folds: tuple[tuple[str, str], ...] = ()


def row_program(
    module: Module,
    *,
    cols: int,
    operands: Mapping[str, Operand],
    phases: Sequence[Phase],
    outputs: Mapping[str, Operand],
) -> Kernel:
    """Add a kernel that runs phases over each row.

    Args:
        module: where to add it.
        cols: columns of a row.
        operands: named arrays, strides along (row, column).
        phases: what to do, in order.
        outputs: which kept or folded names to store, and where; numbers of the row have column
            stride 0. The buffer may be an operand's that no later phase reads.

    Returns:
        The kernel: pointers operands, outputs, scratch if any; split along rows.
    """
    names = [*operands, *outputs]
    lanes = lanes_for(module, [each.dtype for each in (*operands.values(), *outputs.values())])
    lanes = max(2, min(lanes, power_above(cols)))
    vectors = -(-cols // lanes)
    short = vectors <= (_VECTORS_KEPT if module.target.registers >= 32 else _VECTORS_KEPT // 2)

    def write(function: Function) -> int:
        program = _Program(function, cols, lanes, short, operands, phases, outputs)
        return program.write()

    trial = Function(module, "trial", parameters([*names, "scratch"], ()))
    scratch = write(trial)
    if scratch:
        names.append("scratch")
    name = module.shared("rows", parameters(names, ()), write)
    form = "in registers" if short else "in memory"
    return Kernel(name, tuple(names), (), "rows", 1, scratch, form)


class _Program:
    """Writes the phases of one row program."""

    def __init__(
        self,
        function: Function,
        cols: int,
        lanes: int,
        short: bool,
        operands: Mapping[str, Operand],
        phases: Sequence[Phase],
        outputs: Mapping[str, Operand],
    ) -> None:
        self.function, self.cols, self.lanes, self.short = function, cols, lanes, short
        self.phases, self.outputs = phases, outputs
        self.which = {name: i for i, name in enumerate(operands)}
        self.first_output = len(operands)
        self.places = {name: self.first_output + i for i, name in enumerate(outputs)}
        every = [*operands.values(), *outputs.values()]
        self.bound = Bound(function, every, function.params[: len(every)])
        self.scratch_pointer = function.params[len(every)]
        self.scratch = 0
        self.spans = [Span(at, lanes, min(lanes, cols - at)) for at in range(0, cols, lanes)]
        self.numbers: dict[str, Value] = {}
        self.vectors: dict[tuple[str, int], Value] = {}
        self.buffers: dict[str, tuple[Type, int]] = {}
        self.row = function.i64(0)

    def write(self) -> int:
        """Write the kernel; returns the bytes of scratch it takes."""
        function = self.function
        start, stop = function.params[-2:]
        function.loop(start, stop, 1, [], lambda row, _: self._one(row), guard=True)
        function.ret()
        return self.scratch

    def _one(self, row: Value) -> None:
        self.row = row
        self.numbers.clear()
        self.vectors.clear()
        for position, phase in enumerate(self.phases):
            if self._is_number_phase(phase):
                self._numbers_only(phase)
            elif self.short:
                self._in_registers(phase)
            else:
                self._in_memory(phase, position)

    # -- what names mean -------------------------------------------------------------------------
    def _is_number(self, name: str) -> bool:
        if name in self.numbers:
            return True
        which = self.which.get(name)
        return which is not None and self.bound.operands[which].strides[1] == 0

    def _is_number_phase(self, phase: Phase) -> bool:
        return bool(phase.reads) and not phase.folds and all(map(self._is_number, phase.reads))

    def _emitter(self, lanes: int, column: Value | int) -> Emitter:
        function = self.function

        def index(axis: int) -> Value:
            if axis == 0:
                return self.row
            return e.add(function.i64(column), e.counting())

        e = Emitter(function, lanes, index)
        return e

    def _number(self, e: Emitter, name: str) -> Value:
        if name not in self.numbers:
            self.numbers[name] = self.bound.load(e, self.which[name], [self.row, 0], 1)
        return self.numbers[name]

    def _keep_number(self, name: str, value: Value) -> None:
        self.numbers[name] = value
        if name in self.places:
            e = self._emitter(0, 0)
            self.bound.store(e, self.places[name], value, [self.row, 0], 1)

    # -- phases ----------------------------------------------------------------------------------
    def _numbers_only(self, phase: Phase) -> None:
        e = self._emitter(0, 0)
        values = [self._number(e, name) for name in phase.reads]
        made = results(phase.body(e, *values), len(phase.keeps))
        for name, value in zip(phase.keeps, made, strict=True):
            self._keep_number(name, value)

    def _in_registers(self, phase: Phase) -> None:
        folds = [Fold(kind) for kind, _ in phase.folds]
        sums: list[list[Value]] = []
        e = self._emitter(self.lanes, 0)
        for number, span in enumerate(self.spans):
            e = self._emitter(self.lanes, span.start)
            values = [self._read(e, name, number, span) for name in phase.reads]
            made = results(phase.body(e, *values), len(phase.keeps) + len(folds))
            for name, value in zip(phase.keeps, made, strict=False):
                self.vectors[name, number] = value
                self._store(e, name, value, span.start, span.part)
            folded = made[len(phase.keeps) :]
            if not sums:
                sums = [fold.begin(e, value) for fold, value in zip(folds, folded, strict=True)]
            column = self.function.i64(span.start)
            sums = [
                fold.include(e, kept, value, column, span.part)
                for fold, kept, value in zip(folds, sums, folded, strict=True)
            ]
        for (_, name), fold, kept in zip(phase.folds, folds, sums, strict=True):
            self._keep_number(name, fold.across(e, kept))

    def _read(self, e: Emitter, name: str, number: int, span: Span) -> Value:
        if self._is_number(name):
            return self._number(e, name)
        key = (name, number)
        if key not in self.vectors:
            place: list[Value | int] = [self.row, span.start]
            self.vectors[key] = self.bound.load(e, self.which[name], place, 1, span.part)
        return self.vectors[key]

    def _store(self, e: Emitter, name: str, value: Value, column: Value | int, part: Part) -> None:
        if name in self.places:
            self.bound.store(e, self.places[name], e.splat(value), [self.row, column], 1, part)

    # -- long rows -------------------------------------------------------------------------------
    def _in_memory(self, phase: Phase, position: int) -> None:
        later = {name for each in self.phases[position + 1 :] for name in each.reads}
        folds = [Fold(kind) for kind, _ in phase.folds]
        e = self._emitter(self.lanes, 0)
        for name in phase.reads:
            if self._is_number(name):
                self._number(e, name)

        def visit(column: Value | int, part: Part) -> tuple[Emitter, list[Value]]:
            here = self._emitter(self.lanes, column)
            values = [self._read_memory(here, name, column, part) for name in phase.reads]
            made = results(phase.body(here, *values), len(phase.keeps) + len(folds))
            for name, value in zip(phase.keeps, made, strict=False):
                self._store(here, name, value, column, part)
                if name in later:
                    self._keep_vector(here, name, here.splat(value), column)
            return here, made[len(phase.keeps) :]

        sums = self._sweep(folds, visit, self._folded_types(phase))
        for (_, name), fold, kept in zip(phase.folds, folds, sums, strict=True):
            self._keep_number(name, fold.across(e, kept))

    def _sweep(
        self,
        folds: list[Fold],
        visit: Callable[[Value | int, Part], tuple[Emitter, list[Value]]],
        types: list[Type],
    ) -> list[list[Value]]:
        """Visit all vectors of the row, several at a time; returns the accumulators."""
        function, lanes = self.function, self.lanes
        e = self._emitter(lanes, 0)
        start = [f.begin(e, Value("", t)) for f, t in zip(folds, types, strict=True)]
        full = self.cols // lanes
        width = _UNROLL * lanes
        sizes = [len(each) for each in start]

        def unflatten(flat: Sequence[Value]) -> list[list[list[Value]]]:
            """[turn][fold][value]"""
            pieces = iter(flat)
            return [[[next(pieces) for _ in range(s)] for s in sizes] for _ in range(_UNROLL)]

        def turn(at: Value, carried: list[Value]) -> list[Value]:
            done: list[Value] = []
            for number, sums in enumerate(unflatten(carried)):
                column = function.add(at, number * lanes)
                here, made = visit(column, None)
                for fold, kept, value in zip(folds, sums, made, strict=True):
                    done += fold.include(here, kept, value, column)
            return done

        flat = [value for _ in range(_UNROLL) for each in start for value in each]
        turns = full // _UNROLL
        by_turn = unflatten(function.loop(0, turns * width, width, flat, turn))
        sums = by_turn[0]
        for other in by_turn[1:]:
            sums = [f.merge(e, a, b) for f, a, b in zip(folds, sums, other, strict=True)]
        for span in self.spans[turns * _UNROLL :]:
            here, made = visit(span.start, span.part)
            column = function.i64(span.start)
            sums = [
                fold.include(here, kept, value, column, span.part)
                for fold, kept, value in zip(folds, sums, made, strict=True)
            ]
        return sums

    def _folded_types(self, phase: Phase) -> list[Type]:
        """Types of the values to fold, found by writing the body where it is thrown away."""
        if not phase.folds:
            return []
        aside = Function(self.function.module, "aside", [])
        aside.params = self.function.params
        e = Emitter(aside, self.lanes, lambda _: aside.i64(0))
        values = [self._sample(e, name) for name in phase.reads]
        made = results(phase.body(e, *values), len(phase.keeps) + len(phase.folds))
        return [value.type for value in made[len(phase.keeps) :]]

    def _sample(self, e: Emitter, name: str) -> Value:
        if self._is_number(name):
            return Value("%sample", self._number(e, name).type)
        if name in self.buffers:
            return Value("%sample", self.buffers[name][0])
        dtype = self.bound.operands[self.which[name]].dtype
        return Value("%sample", Type(dtype.name, self.lanes))

    def _read_memory(self, e: Emitter, name: str, column: Value | int, part: Part) -> Value:
        if self._is_number(name):
            return self._number(e, name)
        if name not in self.buffers:
            return self.bound.load(e, self.which[name], [self.row, column], 1, part)
        type, offset = self.buffers[name]
        at = self._scratch_at(offset, type, column)
        if type.name == "bool":
            return e.cast_to(self.function.load(at, type.named("uint8")), "bool")
        return self.function.load(at, type)

    def _keep_vector(self, e: Emitter, name: str, value: Value, column: Value | int) -> None:
        if name not in self.buffers:
            self.buffers[name] = (value.type, self.scratch)
            # Whole vectors are written, so the buffer is a whole number of them.
            size = len(self.spans) * self.lanes * value.type.bytes
            self.scratch += -(-size // 64) * 64
        type, offset = self.buffers[name]
        at = self._scratch_at(offset, type, column)
        self.function.store(e.cast_to(value, "uint8") if type.name == "bool" else value, at)

    def _scratch_at(self, offset: int, type: Type, column: Value | int) -> Value:
        function = self.function
        base = function.offset(self.scratch_pointer, offset)
        memory = "i8" if type.name == "bool" else type.element
        return function.offset(base, column, memory)
