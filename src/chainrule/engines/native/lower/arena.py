"""The arena: all memory of a program, in one aligned block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....errors import MemoryLimitError
from ...capacity import available_memory
from .buffers import ALIGNMENT, Buffer
from .driver import HEADER
from .guards import ZONE, Guards, lay_zones
from .memory import lifetimes, place, place_kept, total_bytes
from .plan import Planned
from .tasks import leaves

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Layout:
    """Sizes of an arena's parts, in bytes.

    Attributes:
        kept: header, state, constants and run-time numbers.
        steps: what the arrays of a step need, sharing memory when their lives do not overlap.
        unshared: what they would need without sharing.
        scratch: a thread's private memory.
        total: everything.
        guards: the zones that nobody may write, in debug mode.
    """

    kept: int
    steps: int
    unshared: int
    scratch: int
    total: int
    guards: Guards | None = None

    @property
    def scratch_start(self) -> int:
        """Where the threads' private memory begins."""
        return self.kept + self.steps


def kept_buffers(shared: Iterable[Buffer], planned: Sequence[Planned]) -> list[Buffer]:
    """Every buffer that outlives a step, once."""
    found = dict.fromkeys(shared)
    for each in planned:
        for task in each.tasks:
            for argument in task.arguments:
                if argument.buffer.root.kept:
                    found[argument.buffer.root] = None
    return list(found)


def lay_out(
    kept: Sequence[Buffer], planned: Sequence[Planned], threads: int, guarded: bool = False
) -> Layout:
    """Give every buffer its offset.

    Args:
        kept: the buffers that outlive a step.
        planned: the steps; their own buffers share one region, since one step runs at a time.
        threads: how many threads run.
        guarded: whether guard zones lie behind everything, and nothing shares memory.
    """
    zone = ZONE if guarded else 0
    for buffer in kept:
        buffer.guard = zone if buffer.offset < 0 else 0
    end = place_kept(kept, HEADER + zone)
    steps, unshared, scratch = end, 0, 0
    every = list(kept)
    for each in planned:
        buffers = lifetimes(each.phases, by_task=threads == 1)
        if guarded:
            every += buffers
            for buffer in buffers:
                buffer.guard, buffer.first, buffer.last = zone, 0, 0
        steps = max(steps, place(buffers, steps if guarded else end))
        unshared = max(unshared, total_bytes(buffers))
        for task in leaves(each.tasks):
            if task.kernel is not None:
                scratch = max(scratch, -(-task.kernel.scratch // ALIGNMENT) * ALIGNMENT)
    scratch += zone
    total = steps + scratch * threads
    made = Layout(end, steps - end, unshared, scratch, total)
    if not guarded:
        return made
    private = [(steps + scratch * k, steps + scratch * (k + 1)) for k in range(threads)]
    guards = lay_zones(every, private, total)
    return replace(made, total=guards.end, guards=guards)


_CHECKED_FROM = 1 << 26  # bytes; asking the system how much there is takes time

_TOO_LARGE = (
    "the compiled program needs more memory than there is.\n"
    "  given: {total:,} bytes: {kept:,} for parameters, results and constants, {steps:,} for the"
    " arrays of a step, {scratch:,} for threads\n"
    "  expected: at most {free:,} bytes, which are free now\n"
    "  fix: a smaller batch, or a smaller network; engine='numpy' frees arrays while it runs"
)


def refuse_too_large(layout: Layout) -> None:
    """Refuse a program that does not fit into memory, before anything is allocated.

    Raises:
        MemoryLimitError: says what it needs, and how much there is.
    """
    if layout.total < _CHECKED_FROM:
        return
    free = available_memory()
    if free is not None and layout.total > free:
        scratch = layout.total - layout.scratch_start
        raise MemoryLimitError(
            _TOO_LARGE.format(
                total=layout.total,
                kept=layout.kept,
                steps=layout.steps,
                scratch=scratch,
                free=free,
            )
        )


def allocate(layout: Layout, kept: Sequence[Buffer]) -> Array:
    """The arena, zeroed and aligned, constants filled in."""
    raw = np.zeros(layout.total + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    arena = raw[start : start + layout.total]
    for buffer in kept:
        if buffer.contents is not None:
            buffer.view(arena)[...] = buffer.contents
    if layout.guards is not None:
        layout.guards.fill(arena)
    return arena


def copied(arena: Array) -> Array:
    """Another arena with the same content, aligned as the first."""
    raw = np.empty(arena.size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    copy = raw[start : start + arena.size]
    copy[...] = arena
    return copy
