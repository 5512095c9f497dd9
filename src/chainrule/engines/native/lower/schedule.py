"""The order of tasks, and where the threads must wait for each other.

Tasks are put into phases. Inside a phase every thread runs its part of each task without waiting:
two tasks of a phase that touch the same buffer touch, on each thread, the same part of it. Between
phases stands a barrier.
"""

from __future__ import annotations

from collections.abc import Sequence

from .buffers import Buffer
from .long import last
from .tasks import Signature, Task

Use = tuple[Signature, bool]  # which part, and whether it is written


def assign_units(tasks: Sequence[Task]) -> None:
    """Decide at which multiples threads split each task.

    Tasks over as many rows split at the same places, so that chains along a row need no barrier.
    Columns are split as their kernel works on them: another split would give other bits.
    """
    common: dict[int, int] = {}
    shared = [task for task in tasks if task.kernel is not None and task.shared]
    for task in shared:
        assert task.kernel is not None
        task.unit = task.kernel.grain
        if task.kernel.axis == "rows" and task.unit * 4 <= task.length:
            common[task.length] = max(common.get(task.length, 1), task.unit)
    for task in shared:
        if task.kernel is not None and task.kernel.axis == "rows":
            task.unit = common.get(task.length, 1)


def uses(task: Task) -> dict[Buffer, list[Use]]:
    """What a task touches: for each buffer of the arena, which part and whether it writes."""
    found: dict[Buffer, list[Use]] = {}
    for argument in task.arguments:
        if argument.buffer.root.pointer is None:
            use = (task.signature(argument), argument.writes)
            found.setdefault(argument.buffer.within_step()[0], []).append(use)
    return found


def meet_again(tasks: Sequence[Task]) -> bool:
    """Whether a step of a loop must wait until all threads are done with the step before it.

    The parts of an array that different steps use count as one here.
    """
    found: dict[Buffer, list[Use]] = {}
    for task in tasks:
        for buffer, used in uses(task).items():
            found.setdefault(buffer.root, []).extend(used)
    meetings = (_meet(used, used) for used in found.values())
    return any(conflict and not local for conflict, local in meetings)


def _meet(before: list[Use], after: list[Use]) -> tuple[bool, bool]:
    """Whether two tasks' uses of a buffer are in conflict, and whether only on the same thread."""
    conflict, local = False, True
    for part, writes in before:
        for other, also_writes in after:
            if writes or also_writes:
                conflict = True
                local = local and part is not None and part == other
    return conflict, local


def conflicts(tasks: Sequence[Task]) -> list[dict[int, bool]]:
    """For each task, the earlier tasks that it must follow; true where a thread's order will do."""
    touched = [uses(task) for task in tasks]
    history: dict[Buffer, list[int]] = {}
    result: list[dict[int, bool]] = []
    for number, used in enumerate(touched):
        before: dict[int, bool] = {}
        for buffer, mine in used.items():
            for earlier in history.setdefault(buffer, []):
                conflict, local = _meet(touched[earlier][buffer], mine)
                if conflict:
                    before[earlier] = before.get(earlier, True) and local
            history[buffer].append(number)
        result.append(before)
    checks = [number for number, task in enumerate(tasks) if task.checks]
    for number, task in enumerate(tasks):
        if task.commits:
            result[number] |= {check: False for check in checks if check < number}
    return result


def phases(tasks: Sequence[Task], long: bool = False) -> list[list[Task]]:
    """Tasks in phases: as few barriers as a greedy choice finds, each task as early as it can.

    Args:
        tasks: in an order that is right on one thread.
        long: whether what writes state comes after all else; see :mod:`.long`.
    """
    assign_units(tasks)
    before = conflicts(tasks)
    if long:
        last(tasks, before)
    placed: dict[int, int] = {}
    result: list[list[Task]] = []
    while len(placed) < len(tasks):
        now = len(result)
        chosen: list[int] = []
        for number in range(len(tasks)):
            if number in placed:
                continue
            ready = all(
                earlier in placed and (local or placed[earlier] < now)
                for earlier, local in before[number].items()
            )
            if ready:
                placed[number] = now
                chosen.append(number)
        assert chosen, "tasks wait for each other"
        result.append([tasks[number] for number in chosen])
    return result
