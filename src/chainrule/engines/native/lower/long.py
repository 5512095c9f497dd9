"""Steps that may take longer than a person waits: they can be cut, and leave the state as it was.

Such a step looks at the stop word between its phases and inside of large tasks, and leaves without
having written any state. To that end all that writes state comes last, and what a product would
write over a state is written beside it first and copied in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from .tasks import Task, leaves

LONG = 2e10  # operations: some tenths of a second on one thread
TURN = 2e9  # operations between two looks at the stop word
_BYTE = 8.0  # operations in the time that a byte takes to be moved
_SLOW = 500.0  # operations of a function that is called for each number
_CALLS = ("pow",)
# Kinds of kernels that take long only where their state is as large.
IN_PLACE = ("map", "scalar")


def work(task: Task) -> float:
    """About how many operations a task takes as long as."""
    called = sum(name in _CALLS for name in task.fused)
    slow = called * _SLOW * task.flops / max(1, len(task.fused))
    return task.flops + slow + _BYTE * sum(task.moved())


def is_long(tasks: Iterable[Task]) -> bool:
    """Whether tasks may take so long together that somebody wants to cut them.

    The tasks of a loop over time count once for each of its steps.
    """
    return sum(map(_work_of, tasks)) > LONG


def _work_of(task: Task) -> float:
    if task.steps is None:
        return work(task)
    inside = [one for phase in task.steps.phases for one in phase]
    # Operations of a loop's tasks are counted for all of its steps already.
    bytes_once = _BYTE * sum(sum(one.moved()) for one in leaves(inside))
    return sum(map(_work_of, inside)) + bytes_once * (task.steps.time.length - 1)


def last(tasks: Sequence[Task], before: list[dict[int, bool]]) -> None:
    """Let tasks that write state, and those that read what they wrote, follow all others.

    Args:
        tasks: in an order that is right on one thread.
        before: for each task those that it must follow; added to.
    """
    late: set[int] = set()
    for number, task in enumerate(tasks):
        if task.commits or any(earlier in late for earlier in before[number]):
            late.add(number)
    others = dict.fromkeys((k for k in range(len(tasks)) if k not in late), False)
    for number in late:
        before[number] |= others


def turn_of(task: Task) -> int:
    """How much of the length that threads share is done between two looks at the stop word."""
    each = work(task) / max(1, prod(task.outer))
    units = int(task.length * TURN / max(1.0, each)) // task.unit
    return max(1, units) * task.unit
