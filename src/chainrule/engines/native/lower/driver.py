"""The driver of a step: a native function that calls its kernels; :mod:`.running` has the loop.

Memory of the arena begins with a header: the barrier's words, the control words, the table of
outside pointers. Then come the buffers that are kept, then those of the steps, then the threads'
private scratch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..emit.driver import BARRIER_BYTES, barrier
from ..emit.ir import Function, Module
from ..emit.types import INT32, INT64, PTR, Value
from .buffers import Buffer, Slot, Time
from .long import TURN, turn_of, work
from .tasks import Argument, Steps, Task, leaves

STOP = BARRIER_BYTES  # int64: nonzero asks the loop to stop after the step
DONE = STOP + 64  # int64: steps that were run
AGREED = DONE + 64  # two int64 on lines of their own: what the first thread decided
VIOLATED = AGREED + 128  # two int64: an index was bad before, or after, state was written
CUT = VIOLATED + 16  # two int64 that phases take turns with: a long step is to be left
CUT_LOOP = CUT + 16  # the same for the time steps of a loop
TABLE = VIOLATED + 64  # pointers to outside memory
TABLE_ENTRIES = 256
HEADER = TABLE + 8 * TABLE_ENTRIES


@dataclass
class StepCode:
    """What the writer of one step's function knows.

    Attributes:
        name: the function's name.
        phases: the tasks.
        threaded: whether several threads run the step.
        outside: which outside pointers it takes, and where they are in the table.
        scratch: offset of the threads' scratch in the arena, and bytes for each.
        clocks: where in the arena the cycles of each task (None: of waiting) are added up on the
            first thread; empty when nothing is timed.
        look: the function that looks for writes outside of arrays after each task, in debug mode,
            and the tasks' numbers.
        long: whether the step looks at the stop word itself, and is left before it writes state.
    """

    name: str
    phases: Sequence[Sequence[Task]]
    threaded: bool
    outside: Mapping[str, int]
    scratch: tuple[int, int] = (0, 0)
    clocks: Mapping[Task | None, int] = field(default_factory=dict)
    look: tuple[str, Mapping[Task, int]] | None = None
    long: bool = False


class _Writer:
    """Writes one step: ``step(arena, indices, next, sums, numbers, thread, threads)``."""

    def __init__(self, module: Module, code: StepCode) -> None:
        self.code = code
        params = [(name, PTR) for name in ("arena", "indices", "next", "sums", "numbers")]
        params += [("thread", INT64), ("threads", INT64)]
        self.function = module.function(code.name, params)
        self.arena, indices, after, sums, numbers, *team = self.function.params
        self.thread, self.threads = team
        self.barrier = barrier(module) if code.threaded else ""
        self.outside = {"indices": indices, "next": after, "sums": sums, "numbers": numbers}
        self.bounds: dict[tuple[int, int], tuple[Value, Value]] = {}
        # The steps of the loops that are being written: number of the step, and its time.
        self.now: dict[Time, tuple[Value, Value]] = {}
        self.cut = code.long  # whether no state is written yet, in a step that can be cut

    def write(self) -> None:
        function = self.function
        for name, entry in self.code.outside.items():
            place = function.offset(self.arena, TABLE + 8 * entry)
            self.outside[name] = function.load(place, PTR)
        guarded = not any(task.checks for phase in self.code.phases for task in phase)
        leave = function.fresh("leave")
        for number, phase in enumerate(self.code.phases):
            self._between(number, leave)
            self.cut = self.cut and not any(task.commits for task in phase)
            if not guarded and any(task.commits for task in phase):
                self._guard(leave)
                guarded = True
            self._phase(phase)
        function.line(f"br label %{leave}")
        function.block(leave)
        function.ret()

    def _between(self, number: int, leave: str) -> None:
        """What stands between two phases: the barrier, and the way out of a long step.

        Each thread that sees the stop word says so before the barrier, and all look behind it. The
        next phase says it in another word, so that the slowest thread still reads what all read.
        """
        if self.cut and number:
            self._tell(self.function.offset(self.arena, CUT + 8 * (number % 2)))
        if number and self.code.threaded:
            self.wait()
        if self.cut and number:
            self._leave_if(self._is_set(CUT + 8 * (number % 2)), leave)

    def _tell(self, word: Value) -> None:
        """Set a word of the header if the loop was asked to stop."""
        function = self.function
        function.when(self._is_set(STOP), lambda: function.store(function.i64(1), word))

    def _is_set(self, place: int) -> Value:
        return self.function.compare("ne", header_word(self.function, self.arena, place), 0)

    def _unless(self, place: int, write: Callable[[], None]) -> None:
        """Write code that is passed over where a word of the header is set."""
        function = self.function
        function.when(function.compare("eq", header_word(function, self.arena, place), 0), write)

    def _leave_if(self, condition: Value, leave: str) -> None:
        function = self.function
        going = function.fresh("going")
        function.line(f"br i1 {condition.text}, label %{leave}, label %{going}")
        function.block(going)

    def _guard(self, leave: str) -> None:
        """Leave the step where an index was bad: from here on state is written.

        The checks lie in earlier phases, so all threads see the same word.
        """
        self._leave_if(self._is_set(VIOLATED), leave)

    def wait(self) -> None:
        """Write the barrier."""
        self._timed(
            None,
            lambda: write_barrier(self.function, self.barrier, self.arena, self.threads),
        )

    def _timed(self, task: Task | None, write: Callable[[], None]) -> None:
        """Write something, and the clock around it where times are asked for."""
        place = self.code.clocks.get(task)
        if place is None:
            write()
            return
        function = self.function
        started = _cycles(function)
        write()
        spent = function.sub(_cycles(function), started)

        def add() -> None:
            clock = function.offset(self.arena, place)
            function.store(function.add(function.load(clock, INT64), spent), clock)

        function.when(function.compare("eq", self.thread, 0), add)

    def _phase(self, tasks: Sequence[Task]) -> None:
        """Tasks in order; neighbours that only the first thread does under one branch."""
        group: list[Task] = []
        for task in tasks:
            if task.shared or not self.code.threaded:
                self._alone(group)
                group = []
                self._task(task)
            else:
                group.append(task)
        self._alone(group)

    def _alone(self, tasks: Sequence[Task]) -> None:
        if not tasks:
            return

        def each() -> None:
            for task in tasks:
                self._task(task)

        self.function.when(self.function.compare("eq", self.thread, 0), each)

    def _pointer(self, argument: Argument, turns: Sequence[Value]) -> Value:
        buffer, function = argument.buffer, self.function
        size = buffer.dtype.itemsize
        root, slots, start = _parts(buffer, argument.offset)
        if root.pointer is not None:
            pointer = function.offset(
                self.outside[root.pointer], max(root.offset, 0) + start * size
            )
        else:
            pointer = function.offset(self.arena, root.offset + start * size)
        for slot in slots:
            pointer = function.offset(pointer, self._slot(slot, size))
        for turn, stride in zip(turns, argument.outer, strict=False):
            if stride:
                pointer = function.offset(pointer, function.mul(turn, stride * size))
        return pointer

    def _slot(self, slot: Slot, size: int) -> Value:
        """Bytes from an array's first part to the one that the present step uses."""
        function = self.function
        number, time = self.now[slot.time]
        chosen = function.add(number if slot.wraps else time, slot.shift)
        if slot.wraps:
            chosen = function.value(f"and i64 {chosen.text}, 1", INT64)
        return function.mul(chosen, slot.stride * size)

    def _task(self, task: Task) -> None:
        if task.steps is not None:
            self._steps(task.steps)
        else:
            self._timed(task, lambda: self._untimed(task))
            if self.code.look is not None:
                name, numbers = self.code.look
                self.function.call(name, [self.arena, self.function.i64(1 + numbers[task])])

    def _steps(self, steps: Steps) -> None:
        """A loop over time; every thread is in it."""
        function, time = self.function, steps.time

        # Where a long step can be left: the last barrier of a time step, of an outermost loop.
        cut = self.cut and not self.now
        barriers = len(steps.phases) - 1 + steps.waits if self.code.threaded else 0

        def step(number: Value) -> None:
            at = function.sub(time.length - 1, number) if time.reverse else number
            self.now[time] = number, at
            ends = [True] * (len(steps.phases) - 1) + [steps.waits]
            for place, (phase, end) in enumerate(zip(steps.phases, ends, strict=True), 1):
                self._phase(phase)
                if end and self.code.threaded:
                    if cut and place == barriers:
                        self._tell(self._loop_word(number, 0))
                    self.wait()

        def turn(number: Value, _: list[Value]) -> None:
            if not cut:
                step(number)
            elif not barriers:
                self._unless(STOP, lambda: step(number))
            else:
                self._after_uncut(number, lambda: step(number))

        function.loop(0, time.length, 1, [], turn)
        del self.now[time]

    def _after_uncut(self, number: Value, write: Callable[[], None]) -> None:
        """Write a time step, which is passed over where the one before it told to leave."""
        function = self.function
        told = function.load(self._loop_word(number, 1), INT64)
        word = self._loop_word(number, 0)
        bad = function.compare("ne", told, 0)
        function.when(bad, lambda: function.store(function.i64(1), word))
        function.when(function.compare("eq", told, 0), write)

    def _loop_word(self, number: Value, before: int) -> Value:
        """The word of a time step, or of the one before it; two take turns."""
        function = self.function
        turn = function.value(f"and i64 {function.add(number, before).text}, 1", INT64)
        return function.offset(function.offset(self.arena, CUT_LOOP), function.mul(turn, 8))

    def _untimed(self, task: Task) -> None:
        if task.kernel is None:
            assert task.write is not None
            task.write(self.function, [self._pointer(each, ()) for each in task.arguments])
            return
        self._turns(task, [])

    def _turns(self, task: Task, turns: list[Value]) -> None:
        if len(turns) < len(task.outer):
            extent = task.outer[len(turns)]
            self.function.loop(0, extent, 1, [], lambda at, _: self._turns(task, [*turns, at]))
            return
        kernel = task.kernel
        assert kernel is not None
        pointers = [self._pointer(argument, turns) for argument in task.arguments]
        if kernel.scratch:
            pointers.append(self._scratch())
        start, stop = self._bounds(task)

        def call(start: Value | int, stop: Value | int) -> None:
            kernel.call(self.function, pointers, list(task.extents), start, stop)

        if self.cut and work(task) > TURN:
            self._by_turns(task, start, stop, call)
        else:
            call(start, stop)

    def _by_turns(
        self,
        task: Task,
        start: Value | int,
        stop: Value | int,
        call: Callable[[Value | int, Value | int], None],
    ) -> None:
        """A large task in several calls, with a look at the stop word before each."""
        function = self.function
        rows = turn_of(task)
        if not task.shared or rows >= task.length:
            self._unless(STOP, lambda: call(start, stop))
            return

        def turn(at: Value, _: list[Value]) -> None:
            end = function.min(function.add(at, rows), stop)
            self._unless(STOP, lambda: call(at, end))

        function.loop(start, stop, rows, [], turn, guard=True)

    def _scratch(self) -> Value:
        start, size = self.code.scratch
        base = self.function.offset(self.arena, start)
        if not self.code.threaded:
            return base
        return self.function.offset(base, self.function.mul(self.thread, size))

    def _bounds(self, task: Task) -> tuple[Value | int, Value | int]:
        if not task.shared or not self.code.threaded:
            return 0, task.length
        return self.bounds[task.length, task.unit]

    def prepare_bounds(self) -> None:
        """Each thread's part of each shared length, from the thread numbers alone."""
        if not self.code.threaded:
            return
        shared = [t for phase in self.code.phases for t in leaves(phase) if t.shared]
        after = self.function.add(self.thread, 1)
        for length, unit in sorted({(task.length, task.unit) for task in shared}):
            self.bounds[length, unit] = (
                self._bound(self.thread, length, unit),
                self._bound(after, length, unit),
            )

    def _bound(self, thread: Value, length: int, unit: int) -> Value:
        function = self.function
        units = -(-length // unit)
        before = function.udiv(function.mul(thread, units), self.threads)
        return function.min(function.mul(before, unit), length)


def _parts(buffer: Buffer, start: int) -> tuple[Buffer, list[Slot], int]:
    """What an array is a part of, by which slots, and the element of it where the part begins."""
    slots = []
    while buffer.base is not None:
        start += buffer.start
        if buffer.slot is not None:
            slots.append(buffer.slot)
        buffer = buffer.base
    return buffer, slots, start


def header_word(function: Function, arena: Value, place: int) -> Value:
    """A word of the header as it is now, whoever wrote it."""
    pointer = function.offset(arena, place)
    return function.value(f"load volatile i64, ptr {pointer.text}, align 8", INT64)


def _cycles(function: Function) -> Value:
    """The processor's clock."""
    function.module.declare("declare i64 @llvm.readcyclecounter()")
    return function.value("call i64 @llvm.readcyclecounter()", INT64)


def write_barrier(function: Function, name: str, arena: Value, threads: Value) -> None:
    """Write a wait for all threads."""
    count = function.value(f"trunc i64 {threads.text} to i32", INT32)
    function.call(name, [arena, count])


def write_step(module: Module, code: StepCode) -> None:
    """Add the function of one step."""
    writer = _Writer(module, code)
    writer.prepare_bounds()
    writer.write()
