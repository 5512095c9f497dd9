"""A team of threads that enter one native function together.

Python threads call the function through ctypes, which lets go of the interpreter; inside, the
barriers of ``emit/driver.py`` keep them in step. Waking the team costs tens of microseconds, so a
call should hold many steps.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import EngineError

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_OLD_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_OLD_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")

# What waking a member may take without being counted as held up by others.
_WAKING = 2e-4

# Teams of this process that are running now.
_calls: list[Team] = []


def thread_count() -> int:
    """How many threads may run at once: the allowed processors, held to the container's quota.

    Example:
        >>> thread_count() >= 1
        True
    """
    allowed = len(_allowed())
    quota = _container_quota()
    return max(1, min(allowed, int(quota)) if quota else allowed)


def _allowed() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _container_quota() -> float | None:
    """Processors' worth of time that the container may use, or None without a limit."""
    try:
        quota, period = _QUOTA.read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota, period = _OLD_QUOTA.read_text(), _OLD_PERIOD.read_text()
        except OSError:
            return None
    try:
        share = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):
        return None  # "max": no limit
    return share if share > 0 else None


class Team:
    """Threads that run ``void f(pointer, int64 ..., int64 thread)`` together.

    The calling thread is member 0. The others wait between calls without using the processor; they
    are made at the first call, again after a fork, and end with :meth:`close` or with the process.
    During a call each member keeps to a processor of its own, where it is asked to, if there are
    enough and no other team of this process runs.

    Args:
        address: the native function.
        threads: members.

    Raises:
        EngineError: when there are no members.
    """

    def __init__(self, address: int, threads: int) -> None:
        if threads < 1:
            raise EngineError(f"a team needs at least one thread.\n  given: {threads}")
        self.threads = threads
        self._address = address
        self._function: Callable[..., None] | None = None
        self._workers: list[_Worker] = []
        self._process = os.getpid()
        self._lock = threading.Lock()

    def __call__(self, pointer: int, *numbers: int, pinned: bool = True) -> float:
        """Run the function on all members and wait for the last.

        Returns:
            The part of the time that the most hindered member was let run: far below 1 where others
            use the processors. A team of one does not look.
        """
        function = self._typed(len(numbers))
        self._forget_parent()
        with self._lock:
            if self.threads == 1:
                function(pointer, *numbers, 0)
                return 1.0
            return self._together(function, pointer, numbers, pinned)

    def close(self) -> None:
        """End the waiting threads."""
        with self._lock:
            for worker in self._workers:
                worker.end()
            self._workers = []

    def __del__(self) -> None:
        # Only tell them: waiting here could wait for ourselves.
        for worker in getattr(self, "_workers", []):
            worker.end(wait=False)

    def _typed(self, numbers: int) -> Callable[..., None]:
        if self._function is None:
            kinds = [ctypes.c_void_p, *[ctypes.c_int64] * (numbers + 1)]
            self._function = ctypes.CFUNCTYPE(None, *kinds)(self._address)
        return self._function

    def _together(
        self, function: Callable[..., None], pointer: int, numbers: tuple[int, ...], pinned: bool
    ) -> float:
        self._gather()
        places = _allowed()
        room = len(places) >= self.threads and not _calls
        pinned = pinned and room and hasattr(os, "sched_setaffinity")
        started = []
        _calls.append(self)
        begun = time.perf_counter()
        try:
            for member, worker in enumerate(self._workers, 1):
                place = {places[member]} if pinned else set(places)
                worker.start(function, (pointer, *numbers, member), place)
                started.append(worker)
            if pinned:
                os.sched_setaffinity(0, {places[0]})
            mine = time.thread_time()
            function(pointer, *numbers, 0)
            mine = time.thread_time() - mine
        finally:
            for worker in started:
                worker.wait()
            _calls.remove(self)
            if pinned:
                os.sched_setaffinity(0, set(places))
        spent = time.perf_counter() - begun - _WAKING
        ran = min(mine, *(worker.ran for worker in started))
        return min(1.0, ran / spent) if spent > 0 else 1.0

    def _forget_parent(self) -> None:
        """A forked child has none of its parent's threads, and the lock as one of them left it."""
        if self._process != os.getpid():
            self._workers = []
            self._lock = threading.Lock()
            self._process = os.getpid()
            _calls.clear()

    def _gather(self) -> None:
        while len(self._workers) < self.threads - 1:
            self._workers.append(_Worker(len(self._workers) + 1))


class _Worker:
    """A thread that sleeps until it is given a call.

    Attributes:
        ran: seconds that its last call had a processor.
    """

    def __init__(self, number: int) -> None:
        self.ran = 0.0
        # Held while there is nothing to wait for: whoever lets go wakes the other side.
        self._given, self._done = threading.Lock(), threading.Lock()
        self._given.acquire()
        self._done.acquire()
        self._work: tuple[Callable[..., None], tuple[Any, ...], set[int]] | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"chainrule-team-{number}", daemon=True
        )
        self._thread.start()

    def start(
        self, function: Callable[..., None], arguments: tuple[Any, ...], places: set[int]
    ) -> None:
        """Give it a call, and the processors to keep to."""
        self._work = (function, arguments, places)
        self._given.release()

    def wait(self) -> None:
        """Wait until the call has returned."""
        self._done.acquire()

    def end(self, wait: bool = True) -> None:
        """End the thread."""
        self._work = None
        if self._given.locked():
            self._given.release()
        if wait:
            self._thread.join()

    def _run(self) -> None:
        kept: set[int] | None = None
        while True:
            self._given.acquire()
            if self._work is None:
                return
            function, arguments, places = self._work
            if places != kept and hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, places)
                kept = places
            begun = time.thread_time()
            function(*arguments)
            self.ran = time.thread_time() - begun
            self._done.release()
