"""Where the time of a compiled loop goes."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...dtypes import DType, float32
from ...errors import EngineError
from .emit.driver import LATE
from .lower.buffers import ALIGNMENT
from .lower.driver import DONE
from .machine import Built
from .peak import measured_peak
from .team import Team

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Line:
    """One task of a step, or waiting for other threads.

    Attributes:
        label: what it computes.
        microseconds: its time in an average step.
        share: its part of the step, 0 to 1.
        gflops: floating-point operations a nanosecond, all threads together.
        of_peak: the part of the measured peak of these threads that this is, 0 to 1.
        gbytes: bytes read and written a nanosecond.
    """

    label: str
    microseconds: float
    share: float
    gflops: float
    of_peak: float
    gbytes: float


@dataclass(frozen=True)
class Profile:
    """The time of an average step, and how its tasks share it.

    Attributes:
        microseconds: the time of a step.
        lines: the tasks, the longest first.
        threads: how many threads ran.
        peak: the multiply-adds in registers that they reached when measured, in GFLOP/s.
    """

    microseconds: float
    lines: tuple[Line, ...]
    threads: int
    peak: float

    @property
    def gflops(self) -> float:
        """Floating-point operations a nanosecond of the whole step."""
        return sum(line.gflops * line.share for line in self.lines)

    def __str__(self) -> str:
        many = "s" if self.threads > 1 else ""
        rows = [
            f"{self.microseconds:.1f} us a step on {self.threads} thread{many},"
            f" {self.gflops:.1f} of {self.peak:.0f} GFLOP/s ({self.gflops / self.peak:.0%})",
            "     time  share   GFLOP/s  of peak    GB/s  task",
        ]
        for line in self.lines:
            speed = f"{line.gflops:9.1f} {line.of_peak:8.1%}" if line.gflops >= 0.05 else " " * 18
            moved = f"{line.gbytes:7.1f}" if line.gbytes >= 0.05 else " " * 7
            rows.append(
                f"{line.microseconds:7.2f}us {line.share:6.1%} {speed} {moved}  {line.label}"
            )
        return "\n".join(rows)


def profile(built: Built, indices: Array, steps: Array, numbers: Array, turns: Array) -> Profile:
    """Run steps on a copy of the arena with a clock around each task; as :meth:`.Built.run`.

    Raises:
        EngineError: on processors whose clock programs may not read.
    """
    target = built.machine.target
    if target.architecture != "x86_64":
        raise EngineError(f"profiles need an x86-64 processor; this is {target.architecture}")
    machine, clocks = built.workshop.timed(built)
    arena = _longer(built.arena, max(clocks.values()) + 8)
    report = np.zeros(built.width(steps), np.float64)
    team = Team(machine.address("run.timed"), built.threads)
    rows, done, place, told = np.asarray(built.rows), 0, 0, 0
    started = time.perf_counter()
    while done < steps.size:
        # A team whose members are held up by other work comes back early.
        arena[LATE : LATE + 4] = 0
        left = (arena, indices[place:], steps[done:], report[told:], numbers, turns[done:])
        pointers = (array.ctypes.data for array in left)
        team(*pointers, steps.size - done, built.threads)
        ran = steps[done : done + int(arena[DONE : DONE + 8].view(np.int64)[0])]
        place += int(rows[ran].sum())
        told += built.width(ran)
        done += ran.size
    spent = time.perf_counter() - started
    team.close()
    return _lines(built, arena, clocks, 1e6 * spent / steps.size, steps)


def _longer(arena: Array, size: int) -> Array:
    """A copy of an arena with room behind it, aligned alike."""
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    copy = raw[start : start + size]
    copy[: arena.size] = arena
    return copy


def _lines(built: Built, arena: Array, clocks: Any, each: float, steps: Array) -> Profile:
    cycles = {task: int(arena[at : at + 8].view(np.int64)[0]) for task, at in clocks.items()}
    total = max(1, sum(cycles.values()))
    runs = {
        task: int((steps == number).sum())
        for number, planned in enumerate(built.planned)
        for task in planned.leaves
    }
    peak = measured_peak(built.threads, _main_dtype(built))
    lines = []
    for task, count in cycles.items():
        if not count:
            continue
        time_here = each * count / total
        often = 0.0 if task is None else runs[task] / steps.size
        flops = 0.0 if task is None else task.flops * often
        moved = 0.0 if task is None else sum(task.moved()) * often
        speed = flops / time_here / 1e3
        label = "waiting for other threads" if task is None else task.label
        if task is not None and task.fused:
            label += f" [{' '.join(task.fused[:8])}{' ...' if len(task.fused) > 8 else ''}]"
        line = Line(label, time_here, count / total, speed, speed / peak, moved / time_here / 1e3)
        lines.append(line)
    lines.sort(key=lambda line: -line.microseconds)
    return Profile(each, tuple(lines), built.threads, peak)


def _main_dtype(built: Built) -> DType:
    """The floating-point type that most arrays have."""
    kinds = Counter(
        argument.buffer.dtype
        for planned in built.planned
        for task in planned.leaves
        for argument in task.arguments
        if argument.buffer.dtype.is_float
    )
    return kinds.most_common(1)[0][0] if kinds else float32
