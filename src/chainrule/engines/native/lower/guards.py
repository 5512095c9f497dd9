"""Guard zones: a debug mode in which every task is followed by a look for writes outside of arrays.

Behind each array, each thread's private memory and the header lie bytes that nobody may write, and
arrays share no memory. ``CHAINRULE_GUARDS=1`` in the environment switches the mode on for all that
is compiled from then on; ``compile_graph`` and ``compile_loop`` take ``guards=True``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....errors import EngineError
from ..emit.ir import Module
from ..emit.types import INT64, PTR, Type, Value, literal
from .buffers import ALIGNMENT, Buffer
from .driver import HEADER

Array = np.ndarray[Any, Any]
ZONE = 128  # bytes
_FILL = 0xA5
_BYTE = Type("uint8")
_RECORD = 64

_WRITTEN = (
    "compiled code wrote outside of its arrays; this is a fault of chainrule.\n"
    "  given: {task}, or a task that another thread ran at the time\n"
    "  expected: nothing written behind {place}\n"
    '  fix: please report it; until then use engine="numpy"'
)


def enabled() -> bool:
    """Whether the environment asks for guard zones."""
    return os.environ.get("CHAINRULE_GUARDS", "") not in ("", "0", "off")


@dataclass(frozen=True)
class Zone:
    """Bytes of the arena that nobody may write, and what lies before them."""

    start: int
    stop: int
    behind: str


@dataclass(frozen=True)
class Guards:
    """The zones of an arena, and where it tells of them: a record, then their places."""

    zones: tuple[Zone, ...]
    place: int

    @property
    def end(self) -> int:
        """Where the arena ends."""
        return self.place + _RECORD + 16 * len(self.zones)

    def fill(self, arena: Array) -> None:
        """Write the zones and their places."""
        for zone in self.zones:
            arena[zone.start : zone.stop] = _FILL
        table = arena[self.place + _RECORD : self.end].view(np.int64)
        table[...] = [edge for zone in self.zones for edge in (zone.start, zone.stop)]

    def raise_for(self, arena: Array, tasks: Sequence[str]) -> None:
        """Raise if a task wrote into a zone.

        Args:
            arena: the memory.
            tasks: labels of the tasks, by number.

        Raises:
            EngineError: naming the task and the array.
        """
        found, zone = arena[self.place : self.place + 16].view(np.int64)
        if found:
            place = f"'{self.zones[zone].behind}'"
            raise EngineError(_WRITTEN.format(task=f"'{tasks[found - 1]}'", place=place))


def lay_zones(buffers: Iterable[Buffer], scratch: Iterable[tuple[int, int]], end: int) -> Guards:
    """The zones of an arena.

    Args:
        buffers: the arrays, placed with :data:`ZONE` bytes left free behind each.
        scratch: (start, stop) of each thread's private memory, with as much left free at its end.
        end: where the arena would end without what this adds.
    """
    zones = [Zone(HEADER, HEADER + ZONE, "header")]
    for buffer in buffers:
        if buffer.guard:
            stop = buffer.offset + buffer.bytes
            zones.append(Zone(buffer.offset + buffer.size, stop, buffer.label))
    for number, (_, stop) in enumerate(scratch):
        zones.append(Zone(stop - ZONE, stop, f"private memory of thread {number}"))
    return Guards(tuple(zones), -(-end // ALIGNMENT) * ALIGNMENT)


def write_look(module: Module, guards: Guards) -> str:
    """Add the function that looks at all zones, and return its name.

    ``look(arena, task)`` notes the task and the zone where one was written, the first time.
    """
    function = module.function("guards.look", [("arena", PTR), ("task", INT64)])
    arena, task = function.params
    record = function.offset(arena, guards.place)
    table = function.offset(record, _RECORD)

    def zone(number: Value, _: list[Value]) -> None:
        entry = function.offset(table, function.mul(number, 16))
        start, stop = (function.load(entry, INT64, k) for k in range(2))

        def byte(at: Value, _: list[Value]) -> None:
            found = function.load(function.offset(arena, at), _BYTE)
            bad = function.compare("ne", found, literal(_FILL, _BYTE))
            function.when(bad, lambda: function.when(empty(), lambda: note(number)))

        function.loop(start, stop, 1, [], byte)

    def empty() -> Value:
        return function.compare("eq", function.load(record, INT64), 0)

    def note(number: Value) -> None:
        function.store(number, record, 1)
        function.store(task, record)

    function.loop(0, len(guards.zones), 1, [], zone)
    function.ret()
    return function.name
