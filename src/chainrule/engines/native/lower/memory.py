"""The memory plan: lifetimes decide offsets in one arena; nothing is allocated in the loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .buffers import ALIGNMENT, Buffer
from .tasks import Task


def lifetimes(phases: Sequence[Sequence[Task]], by_task: bool) -> list[Buffer]:
    """Set when each buffer is in use; returns the arena's buffers that end with the step.

    Args:
        phases: the tasks.
        by_task: count tasks, which is right on one thread; else phases, since inside a phase the
            threads are at different tasks.
    """
    found: dict[Buffer, None] = {}
    position = 0
    for number, phase in enumerate(phases):
        for task in phase:
            for argument in task.arguments:
                buffer = argument.buffer.root
                if buffer.pointer is None and not buffer.kept:
                    buffer.touch(position if by_task else number)
                    found[buffer] = None
            position += 1
    return list(found)


def place_kept(buffers: Iterable[Buffer], start: int) -> int:
    """Give buffers that outlive the step their offsets, one after the other; returns the end."""
    for buffer in buffers:
        if buffer.offset < 0:
            buffer.offset = start
            start += buffer.bytes
    return start


def place(buffers: Sequence[Buffer], start: int) -> int:
    """Give buffers offsets so that those in use at the same time do not overlap.

    The largest first, each at the lowest offset that is free during its life (first-fit by size;
    Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020).

    Returns:
        The end of the used part of the arena.
    """
    end = start
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: (-b.bytes, b.first)):
        busy = sorted(
            (other.offset, other.offset + other.bytes)
            for other in placed
            if other.first <= buffer.last and buffer.first <= other.last
        )
        offset = start
        for low, high in busy:
            if offset + buffer.bytes <= low:
                break
            offset = max(offset, high)
        buffer.offset = offset
        assert offset % ALIGNMENT == 0
        end = max(end, offset + buffer.bytes)
        placed.append(buffer)
    return end


def total_bytes(buffers: Iterable[Buffer]) -> int:
    """What the buffers would need without sharing."""
    return sum(buffer.bytes for buffer in buffers)
