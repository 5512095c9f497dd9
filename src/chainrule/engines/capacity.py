"""How much memory a program may still take: the machine's, held to the container's limit."""

from __future__ import annotations

from pathlib import Path

_MACHINE = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
# Limit, use and the line of the statistics that counts pages the kernel can take back.
_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


def available_memory() -> int | None:
    """Bytes that programs can still take; None where the system does not say.

    Example:
        >>> available_memory() is None or available_memory() > 0
        True
    """
    known = [found for found in (_of_machine(), _of_container()) if found is not None]
    return min(known) if known else None


def _of_machine() -> int | None:
    kilobytes = _line(_MACHINE, "MemAvailable:")
    return None if kilobytes is None else 1024 * kilobytes


def _of_container() -> int | None:
    for limit, used, statistics, reclaimable in _FILES:
        try:
            most = int((_GROUP / limit).read_text())
            taken = int((_GROUP / used).read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        return max(0, most - taken + (_line(_GROUP / statistics, reclaimable) or 0))
    return None


def _line(path: Path, name: str) -> int | None:
    """The number behind a name in a file of names and numbers."""
    try:
        for line in path.read_text().splitlines():
            words = line.split()
            if words and words[0] == name:
                return int(words[1])
    except (OSError, ValueError, IndexError):
        pass
    return None
