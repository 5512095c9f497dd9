"""What was compiled, in words: fusions, kernels, memory, time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .lower.plan import Planned
from .lower.tasks import Task

if TYPE_CHECKING:
    from .machine import Built

_NAMES_SHOWN = 12


def explain(built: Built) -> str:
    """A text of what a compiled program does.

    It lists, for each variant of the step, the tasks by phase (a barrier stands between phases):
    the kernel with its form and register tile, what it fuses, its floating-point operations and
    the bytes that it reads and writes; then threads, memory and the time of each stage.
    """
    lines: list[str] = []
    for number, (planned, rows) in enumerate(zip(built.planned, built.rows, strict=True)):
        lines += _step(number, planned, rows)
    return "\n".join([*lines, *_memory(built), *_time(built)])


def _step(number: int, planned: Planned, rows: int) -> list[str]:
    kernels = {task.kernel.name for task in planned.leaves if task.kernel is not None}
    lines = [
        f"step {number}: {rows} rows, {planned.before} nodes, "
        f"{len(planned.simplified.nodes())} after simplifying, {len(planned.leaves)} tasks, "
        f"{len(kernels)} kernels, {planned.flops:,} operations, {_moved(*_all_moved(planned))}"
    ]
    if planned.rewrites:
        applied = ", ".join(f"{name} {count}" for name, count in sorted(planned.rewrites.items()))
        lines.append(f"  rewrites: {applied}")
    return lines + _phases(planned.phases, "  ")


def _phases(phases: Sequence[Sequence[Task]], indent: str) -> list[str]:
    """The tasks of a step or of a loop's body, a line each; a barrier stands between phases."""
    lines: list[str] = []
    for position, phase in enumerate(phases):
        if position:
            lines.append(f"{indent}-- barrier --")
        for task in phase:
            lines.append(indent + (_task(task) if task.steps is None else _loop(task)))
            if task.steps is not None:
                lines += _phases(task.steps.phases, indent + "  ")
                if task.steps.waits:
                    lines.append(f"{indent}  -- barrier before the next step --")
    return lines


def _loop(task: Task) -> str:
    """A loop over time: who waits for whom, what is carried, what is added up."""
    steps = task.steps
    assert steps is not None
    alone = not steps.waits and len(steps.phases) == 1
    threads = "each thread takes its rows through all steps" if alone else "threads wait in it"
    carried = ", ".join(steps.carried) or "nothing"
    return f"{task.label}: {threads}; carried: {carried}"


def _task(task: Task) -> str:
    kernel = "scalar code" if task.kernel is None else _kernel(task)
    text = f"{task.label}: {kernel}"
    if task.flops:
        text += f", {task.flops:,} operations"
    if task.kernel is not None:
        text += f", {_moved(*task.moved())}"
    if task.fused:
        names = task.fused[:_NAMES_SHOWN]
        more = len(task.fused) - len(names)
        text += f" [{' '.join(names)}{f' and {more} more' if more else ''}]"
    written = [a.buffer.label for a in task.arguments if a.writes]
    return text + (f" -> {', '.join(written)}" if written else "")


def _all_moved(planned: Planned) -> tuple[int, int]:
    moved = [task.moved() for task in planned.leaves]
    return sum(read for read, _ in moved), sum(written for _, written in moved)


def _moved(read: int, written: int) -> str:
    return f"{amount(read)} read, {amount(written)} written"


def amount(count: float) -> str:
    """Bytes with a fitting unit.

    Example:
        >>> amount(314), amount(20_400), amount(3_200_000)
        ('314 B', '20.4 kB', '3.20 MB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return (
                f"{count / size:.3g} {unit}" if count >= 10 * size else f"{count / size:.2f} {unit}"
            )
    return f"{count:.0f} B"


def _kernel(task: Task) -> str:
    kernel = task.kernel
    assert kernel is not None
    tile = " tile of {}x{}".format(*kernel.tile) if kernel.tile else ""
    form = f" ({kernel.form}{tile})" if kernel.form else ""
    share = f"{task.length} {kernel.axis}" if task.shared else "one thread"
    turns = f", {'x'.join(map(str, task.outer))} times" if task.outer else ""
    return f"{kernel.name}{form}, {share}{turns}"


def _memory(built: Built) -> list[str]:
    layout = built.layout
    return [
        f"memory: {layout.kept:,} bytes kept, {layout.steps:,} for a step"
        f" ({layout.unshared:,} without reuse),"
        f" {layout.scratch:,} for each of {built.threads} thread{'s' if built.threads > 1 else ''}"
    ]


def _time(built: Built) -> list[str]:
    stages = ", ".join(f"{name} {1e3 * spent:.1f}" for name, spent in built.seconds.items())
    lines = built.machine.ir.count("\n")
    where = ", machine code from the disk" if built.machine.loaded else ""
    return [
        f"compiled in {1e3 * built.compile_seconds:.1f} ms ({stages}){where};"
        f" {lines:,} lines of LLVM IR"
    ]
