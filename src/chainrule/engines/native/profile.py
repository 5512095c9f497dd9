"""Where the time of a compiled loop goes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import EngineError
from .emit.driver import LATE
from .lower.buffers import ALIGNMENT
from .lower.driver import DONE
from .machine import Built
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
    """

    label: str
    microseconds: float
    share: float
    gflops: float


@dataclass(frozen=True)
class Profile:
    """The time of an average step, and how its tasks share it.

    Attributes:
        microseconds: the time of a step.
        lines: the tasks, the longest first.
    """

    microseconds: float
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        rows = [f"{self.microseconds:.1f} us a step"]
        for line in self.lines:
            speed = f"{line.gflops:6.1f} GFLOP/s" if line.gflops >= 0.05 else " " * 14
            rows.append(f"{line.microseconds:9.2f} us {line.share:6.1%} {speed}  {line.label}")
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
    lines = []
    for task, count in cycles.items():
        if not count:
            continue
        time_here = each * count / total
        flops = 0 if task is None else task.flops * runs[task] / steps.size
        label = "waiting for other threads" if task is None else task.label
        if task is not None and task.fused:
            label += f" [{' '.join(task.fused[:8])}{' ...' if len(task.fused) > 8 else ''}]"
        lines.append(Line(label, time_here, count / total, flops / time_here / 1e3))
    lines.sort(key=lambda line: -line.microseconds)
    return Profile(each, tuple(lines))
