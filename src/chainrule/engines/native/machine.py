"""From planned steps to a running machine: the module, the arena, the team."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...graph.graph import Graph
from ...graph.node import Node
from . import jit
from .emit.driver import LATE
from .emit.ir import Module
from .kernels.common import Kernel
from .linger import Lingering
from .lower.ahead import Gathered
from .lower.arena import (
    Layout,
    allocate,
    copied,
    kept_buffers,
    lay_out,
    refuse_too_large,
)
from .lower.buffers import Buffer, address_of
from .lower.checks import raise_for
from .lower.driver import (
    CUT_LOOP,
    DONE,
    STOP,
    TABLE,
    VIOLATED,
    StepCode,
    write_step,
)
from .lower.guards import enabled, write_look
from .lower.long import is_long
from .lower.plan import Planned, plan
from .lower.running import LoopCode, write_loop
from .lower.tasks import Task
from .pace import Pace
from .patience import patiently
from .target import Target
from .team import Team, thread_count

Array = np.ndarray[Any, Any]
# Below this much work in a step, waiting for other threads costs more than they save.
THREADED_FROM = 200_000
_JUDGED = 5  # single calls whose median decides for one thread or all


@dataclass
class Built:
    """A compiled loop: machine code, memory, threads.

    Attributes:
        planned: the variants of the step.
        rows: how many rows of data each takes from the indices.
        sums: how many sums each reports.
        state: the shared buffers, in order.
        numbers: how many run-time numbers they share.
        layout: the arena's parts.
        arena: the memory.
        data: the outside arrays, kept alive.
        threads: the most threads that run a step; always so many if ``fixed``.
    """

    planned: list[Planned]
    rows: list[int]
    sums: list[int]
    state: list[Buffer]
    numbers: int
    layout: Layout
    arena: Array
    data: list[Array]
    machine: jit.Machine
    threads: int
    fixed: bool
    workshop: Workshop
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        address = self.machine.address("run")
        self._pace = Pace(self.threads, self.fixed)
        self._teams = {count: Team(address, count) for count in self._pace.counts}
        self.checks = [check for each in self.planned for check in each.checks]
        self.long = any(each.long for each in self.planned)
        self.bind(self.data)

    def bind(self, data: list[Array]) -> None:
        """Read other data from now on; shapes and dtypes are those of the first data."""
        self.data = data
        if data:
            table = _words_at(self.arena, TABLE, len(data))
            for number, array in enumerate(data):
                table[number] = address_of(array)

    def twin(self) -> Built:
        """The same code and data with memory of its own, which begins as this one is."""
        return replace(self, arena=copied(self.arena))

    def release(self) -> None:
        """Let go of the data and end the waiting threads; a later run starts them again."""
        self.data = []
        for team in self._teams.values():
            team.close()

    @property
    def compile_seconds(self) -> float:
        """What planning and compiling took."""
        return sum(self.seconds.values())

    def run(self, indices: Array, steps: Array, numbers: Array, turns: Array) -> tuple[Array, int]:
        """Run the steps of a plan.

        Args:
            indices: int32, the rows they take, one step after the other.
            steps: int32, the variant of each.
            numbers: float64[turns, numbers], rows of run-time numbers.
            turns: int32, which of these rows each step reads.

        Returns:
            What the steps reported, one behind the other, and how many were run.
        """
        report = np.zeros(self.width(steps), np.float64)
        self._words()[0] = 0
        if self.long:
            self._forget_cut()
        done = place = told = 0
        while done < steps.size:
            threads, count = self._pace.next(steps.size - done)
            piece = steps[done : done + count]
            started = time.perf_counter()
            left = indices[place:], piece, report[told:], numbers, turns[done:]
            ran, share = self._enter(threads, *left)
            self._pace.note(threads, ran, time.perf_counter() - started, share)
            done += ran
            if self.layout.guards is not None:
                tasks = [task.label for each in self.planned for task in each.leaves]
                self.layout.guards.raise_for(self.arena, tasks)
            if self.long:
                self._forget_cut()
            if self.checks:
                self._refuse_bad_index(done)
            if self._words()[0]:
                break
            if done < steps.size:
                place += int(np.asarray(self.rows)[piece[:ran]].sum())
                told += self.width(piece[:ran])
        return report, done

    def _refuse_bad_index(self, done: int) -> None:
        words = self.arena[VIOLATED : VIOLATED + 16].view(np.int64)
        if words.any():
            words[...] = 0
            raise_for(self.checks, self.arena, done)

    def width(self, steps: Array) -> int:
        """How many numbers the steps of a plan report together."""
        if len(set(self.sums)) == 1:
            return steps.size * self.sums[0]
        return int(np.bincount(steps, minlength=len(self.sums)) @ np.asarray(self.sums))

    def repeat(self, steps: Array) -> Callable[[], None]:
        """A function that runs these steps, which take no rows and report nothing, in one call.

        What a call needs is made ready once, so that a small graph costs little more than itself.
        """
        if self.layout.guards is not None:

            def watched() -> None:
                self.run(steps, steps, np.zeros((1, 0)), np.zeros_like(steps))

            return watched
        nothing = np.zeros(1, np.float64)
        arrays = (self.arena, steps, steps, nothing, nothing, steps)
        places = [address_of(array) for array in arrays]
        call = np.array([*places, steps.size, 1], np.int64)
        single = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.machine.address("single"))
        entered: Callable[[], Any] = functools.partial(single, call.ctypes.data)
        if self.threads > 1:
            numbers = (*places, steps.size, self.threads)
            team = Lingering(self.machine.address("run"), numbers, self.threads)
            entered = self._chosen(team, entered)
        stop, bad = _words_at(self.arena, STOP, 1), _words_at(self.arena, VIOLATED, 2)
        kept = (steps, nothing, call)

        def alone(kept: Any = kept) -> None:
            stop[0] = 0
            entered()

        def checked(kept: Any = kept) -> None:
            stop[0] = 0
            entered()
            if bad[0] or bad[1]:
                self._refuse_bad_index(0)

        def long(kept: Any = kept) -> None:
            self._forget_cut()
            stop[0] = 0
            patiently(entered, self.stop)
            if self.checks:
                self._refuse_bad_index(0)

        if self.long:
            return long
        return checked if self.checks else alone

    def _chosen(
        self, together: Callable[[], None], alone: Callable[[], None]
    ) -> Callable[[], None]:
        """A call on all threads or on one, whichever is at present the faster.

        Calls are judged a few at a time by their median: the first one after a pause has to wake
        the others, which says nothing of those that follow.
        """
        late = self.arena[LATE : LATE + 4].data.cast("i")
        pace, clock = self._pace, time.perf_counter
        times: list[float] = []
        threads = pace.next(1)[0]

        def call() -> None:
            nonlocal threads
            late[0] = 0
            begun = clock()
            if threads == 1:
                alone()
            else:
                together()
            times.append(clock() - begun)
            if len(times) == _JUDGED:
                middle = sorted(times)[_JUDGED // 2]
                pace.note(threads, _JUDGED, _JUDGED * middle)
                threads = pace.next(1)[0]
                times.clear()

        return call

    def _words(self) -> Array:
        """The control words: the first asks to stop, the last counts the steps that were run."""
        return self.arena[STOP : DONE + 8].view(np.int64)

    def _enter(self, threads: int, *arrays: Array) -> tuple[int, float]:
        """Run steps natively with some threads.

        Returns:
            How many were run: fewer than given when the loop was asked to stop, or when members
            waited for each other so long that somebody else must be using the processors. Then the
            part of the time that the members were let run.
        """
        self.arena[LATE : LATE + 4] = 0
        places = map(address_of, (self.arena, *arrays))
        team, size, pinned = self._teams[threads], arrays[1].size, self._pace.pinned
        call = functools.partial(team, *places, size, threads, pinned=pinned)
        share = patiently(call, self.stop) if self.long else call()
        return int(self._words()[-1]), share

    def stop(self) -> None:
        """Ask running code to end after its step; a long one is left where it is, undone."""
        self._words()[0] = 1

    def _forget_cut(self) -> None:
        """Take back what a step that was cut left in the header; its indices were any numbers."""
        words = self.arena[VIOLATED : CUT_LOOP + 16].view(np.int64)
        if words[2:].any():
            words[...] = 0
            for check in self.checks:
                check.found(self.arena)


class Workshop:
    """What the steps of one program share while they are compiled.

    Args:
        threads: how many threads; None for as many as the work is worth.
        guards: whether guard zones are watched (see :mod:`.lower.guards`); None: as the environment
            says.
    """

    def __init__(self, threads: int | None, guards: bool | None = None) -> None:
        self.threads = threads
        self.guarded = enabled() if guards is None else guards
        self.module = Module(Target.host())
        self.tables: dict[int, Buffer] = {}
        self.kernels: dict[Any, Kernel] = {}
        self.seconds: dict[str, float] = {}
        self.outside: Mapping[str, int] = {}
        self.asks: Sequence[int] = ()
        self._timed: tuple[jit.Machine, dict[Task | None, int]] | None = None

    def add_time(self, stage: str, started: float) -> None:
        """Count the time since ``started`` to a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started

    def plan(
        self,
        prepared: Graph,
        rewrites: dict[str, int],
        graph: Graph,
        leaves: Mapping[Node, Buffer],
        updates: Sequence[tuple[Node, Node]],
        results: Mapping[Node, Buffer],
        first: Iterable[Task] = (),
        sums: Sequence[Node] = (),
        gathered: Gathered | None = None,
    ) -> Planned:
        """Plan one prepared step; see :func:`.lower.plan.plan`."""
        first = list(first)

        def planned(long: bool) -> Planned:
            phases, buffers, fusion, late = plan(
                self.module,
                prepared,
                leaves,
                updates,
                results,
                self.tables,
                self.kernels,
                first,
                sums,
                self.seconds,
                gathered,
                long,
            )
            nodes = len(graph.nodes())
            return Planned(phases, buffers, fusion, prepared, rewrites, nodes, late, long)

        found = planned(False)
        return planned(True) if is_long(found.tasks) else found

    def build(
        self,
        planned: list[Planned],
        rows: list[int],
        sums: list[int],
        state: list[Buffer],
        numbers: int,
        outside: Mapping[str, int],
        data: list[Array],
        results: Iterable[Buffer] = (),
        asks: Sequence[int] = (),
    ) -> Built:
        """Lay the memory out, write the module and compile it."""
        self.asks = asks
        started = time.perf_counter()
        threads = self._threads(planned)
        kept = kept_buffers([*state, *results], planned)
        layout = lay_out(kept, planned, threads, self.guarded)
        refuse_too_large(layout)
        self.add_time("memory", started)
        started = time.perf_counter()
        self.outside = outside
        checked = any(each.checks for each in planned)
        names = _names("step", planned)
        long = any(each.long for each in planned)
        loop = LoopCode(names, rows, sums, numbers, threads > 1, checked, asks, long=long)
        self._write(planned, layout, loop, {})
        text = self.module.text()
        self.add_time("emit", started)
        started = time.perf_counter()
        machine = jit.compile(text, self.module.target)
        self.add_time("machine code", started)
        arena = allocate(layout, kept)
        return Built(
            planned,
            rows,
            sums,
            state,
            numbers,
            layout,
            arena,
            data,
            machine,
            threads,
            self.threads is not None,
            self,
            self.seconds,
        )

    def _threads(self, planned: Sequence[Planned]) -> int:
        if self.threads is not None:
            return max(1, self.threads)
        work = max((each.flops for each in planned), default=0)
        return 1 if work < THREADED_FROM else thread_count()

    def _write(
        self,
        planned: Sequence[Planned],
        layout: Layout,
        loop: LoopCode,
        clocks: Mapping[Task | None, int],
    ) -> None:
        """Write the functions of the steps, and the loop over them."""
        look = None
        if layout.guards is not None and not clocks:
            tasks = [task for each in planned for task in each.leaves]
            numbers = {task: number for number, task in enumerate(tasks)}
            look = (write_look(self.module, layout.guards), numbers)
        for name, each in zip(loop.steps, planned, strict=True):
            used = {
                argument.buffer.root.pointer for task in each.tasks for argument in task.arguments
            }
            code = StepCode(
                name,
                each.phases,
                loop.threaded,
                {name: entry for name, entry in self.outside.items() if name in used},
                (layout.scratch_start, layout.scratch),
                clocks,
                look,
                loop.long and each.long,
            )
            write_step(self.module, code)
        write_loop(self.module, loop)

    def timed(self, built: Built) -> tuple[jit.Machine, dict[Task | None, int]]:
        """The same loop with a clock around each task, and where the clocks lie in an arena.

        They lie behind the arena of the loop itself, which must be copied into a longer one.
        """
        if self._timed is None:
            self._timed = self._with_clocks(built)
        return self._timed

    def _with_clocks(self, built: Built) -> tuple[jit.Machine, dict[Task | None, int]]:
        start = -(-built.layout.total // 64) * 64
        tasks = [None, *(task for each in built.planned for task in each.leaves)]
        clocks = {task: start + 8 * number for number, task in enumerate(tasks)}
        names = _names("timed", built.planned)
        checked = bool(built.checks)
        loop = LoopCode(
            names,
            built.rows,
            built.sums,
            built.numbers,
            built.threads > 1,
            checked,
            self.asks,
            "run.timed",
        )
        self._write(built.planned, built.layout, loop, clocks)
        return jit.compile(self.module.text(), self.module.target), clocks


def _words_at(arena: Array, place: int, count: int) -> memoryview:
    """Words of the header: as a memory view they are read and written in less time."""
    return arena[place : place + 8 * count].data.cast("q")


def _names(prefix: str, planned: Sequence[Planned]) -> list[str]:
    return [f"{prefix}.{number}" for number in range(len(planned))]
