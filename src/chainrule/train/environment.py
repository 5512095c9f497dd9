"""What a run was made with: versions and processor, kept so that a resume can say what changed."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

_LIBRARIES = ("chainrule", "numpy", "llvmlite")


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide a run's bits.

    Example:
        >>> sorted(versions())
        ['chainrule', 'llvmlite', 'numpy', 'python']
    """
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@functools.cache
def processor() -> str:
    """The processor's name, its machine type and the number of its cores that this process may use.

    Example:
        >>> processor().endswith("cores") or processor().endswith("core")
        True
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    plural = "" if cores == 1 else "s"
    return f"{_processor_name()} ({platform.machine()}), {cores} core{plural}"


def _processor_name() -> str:
    if sys.platform == "linux":
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "cpu model"):
                return value.strip()
    return platform.processor() or "unknown processor"


def differences(before: dict[str, str], processor_before: str) -> list[str]:
    """What is not as it was, in sentences; empty when the same bits can be promised.

    The number of cores is left out: it does not change bits.

    Example:
        >>> differences(versions(), processor())
        []
    """
    now = versions()
    changed = [
        f"{name} was {before.get(name, 'not installed')} and is {now[name]}"
        for name in now
        if before.get(name, "not installed") != now[name]
    ]
    name_before, name_now = processor_before.rpartition(",")[0], processor().rpartition(",")[0]
    if name_before != name_now:
        changed.append(f"the processor was {name_before} and is {name_now}")
    return changed
