"""A team for single steps called from Python: between two calls its members linger.

To wake a sleeping thread costs tens of microseconds, as much as a small step. So a member that has
done its part spins for a moment, in native code and without the interpreter's lock, and takes the
next call at once when it comes soon; otherwise it goes to sleep, and is woken as usual.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from . import jit
from .emit.driver import waiting
from .emit.ir import Module
from .lower.buffers import ALIGNMENT
from .target import Target

Array = np.ndarray[Any, Any]
# Turns of the spin, with a pause in each: a few hundred microseconds.
_LINGER = 8_000
_SPIN = 10_000

# A member's words, each on a cache line of its own, since different threads write them.
_ASKED, _AWAKE, _DONE = 0, 64, 128
_BYTES = 192

# ASKED counts calls, DONE those that a member has made. The caller writes ASKED and then reads
# AWAKE, a member that gives up writes AWAKE and then reads ASKED, so that at least one of the two
# sees the other's word (all four are sequentially consistent).
_TEXT = """
define i64 @linger(ptr %call, ptr %words, i64 %member, i64 %seen, i64 %turns) {{
entry:
 %awake = getelementptr i8, ptr %words, i64 {awake}
 %done = getelementptr i8, ptr %words, i64 {done}
 store atomic i64 1, ptr %awake seq_cst, align 8
 br label %head
head:
 %have = phi i64 [%seen, %entry], [%new, %work], [%have, %wait], [%have, %stay]
 %left = phi i64 [%turns, %entry], [%turns, %work], [%less, %wait], [%turns, %stay]
 %new = load atomic i64, ptr %words seq_cst, align 8
 %same = icmp eq i64 %new, %have
 br i1 %same, label %wait, label %work
work:
 {call_member}
 store atomic i64 %new, ptr %done release, align 8
 br label %head
wait:
 {pause}
 %less = sub i64 %left, 1
 %more = icmp sgt i64 %less, 0
 br i1 %more, label %head, label %leave
leave:
 store atomic i64 0, ptr %awake seq_cst, align 8
 %late = load atomic i64, ptr %words seq_cst, align 8
 %none = icmp eq i64 %late, %have
 br i1 %none, label %exit, label %stay
stay:
 store atomic i64 1, ptr %awake seq_cst, align 8
 br label %head
exit:
 ret i64 %have
}}
define i64 @ask(ptr %call) {{
entry:
 {load_team}
 br label %head
head:
 %m = phi i64 [0, %entry], [%m1, %head]
 %asleep = phi i64 [0, %entry], [%asleep1, %head]
 %at = mul i64 %m, {bytes}
 %place = getelementptr i8, ptr %words, i64 %at
 %before = load i64, ptr %place, align 8
 %number = add i64 %before, 1
 store atomic i64 %number, ptr %place seq_cst, align 8
 %awake = getelementptr i8, ptr %place, i64 {awake}
 %state = load atomic i64, ptr %awake seq_cst, align 8
 %gone = icmp eq i64 %state, 0
 %one = zext i1 %gone to i64
 %bit = shl i64 %one, %m
 %asleep1 = or i64 %asleep, %bit
 %m1 = add i64 %m, 1
 %again = icmp slt i64 %m1, %members
 br i1 %again, label %head, label %asked
asked:
 %all = icmp eq i64 %asleep1, 0
 br i1 %all, label %go, label %exit
go:
 call void @join(ptr %call)
 br label %exit
exit:
 ret i64 %asleep1
}}
define void @join(ptr %call) {{
entry:
 {load_team}
 {call_first}
 br label %head
head:
 %m = phi i64 [0, %entry], [%m1, %next]
 %at = mul i64 %m, {bytes}
 %place = getelementptr i8, ptr %words, i64 %at
 %asked = load i64, ptr %place, align 8
 %done = getelementptr i8, ptr %place, i64 {done}
 br label %spin
spin:
 %turn = phi i64 [0, %head], [%turn1, %wait], [0, %give]
 %have = load atomic i64, ptr %done acquire, align 8
 %ready = icmp eq i64 %have, %asked
 br i1 %ready, label %next, label %wait
wait:
 {pause}
 %turn1 = add i64 %turn, 1
 %more = icmp slt i64 %turn1, {spin}
 br i1 %more, label %spin, label %give
give:
 {give}
 br label %spin
next:
 %m1 = add i64 %m, 1
 %again = icmp slt i64 %m1, %members
 br i1 %again, label %head, label %exit
exit:
 ret void
}}
"""


class Lingering:
    """Threads that make one call together, again and again.

    Args:
        address: the native function, ``void f(int64 ..., int64 thread)``.
        numbers: its arguments, the same at every call, less the last.
        threads: members, the calling thread included; at least two.

    One thread calls it at a time. The other members are made at the first call and again after a
    fork; they end with :meth:`close` or with the process.
    """

    def __init__(self, address: int, numbers: tuple[int, ...], threads: int) -> None:
        self._machine = _machine(len(numbers))
        count = ctypes.c_int64
        pointer = ctypes.c_void_p
        ask = ctypes.CFUNCTYPE(count, pointer)(self._machine.address("ask"))
        join = ctypes.CFUNCTYPE(None, pointer)(self._machine.address("join"))
        raw = np.zeros((threads - 1) * _BYTES + ALIGNMENT, np.uint8)
        self._memory = raw
        self._words = raw.ctypes.data + (-raw.ctypes.data % ALIGNMENT)
        self._others = threads - 1
        # One pointer to all that a call needs: each argument of a foreign call costs Python time.
        self._call = np.array([address, *numbers, self._words, self._others], np.int64)
        self._ask = functools.partial(ask, self._call.ctypes.data)
        self._join = functools.partial(join, self._call.ctypes.data)
        self._members: list[_Member] = []
        self._process = os.getpid()

    def __call__(self) -> None:
        """Make the call on all members and wait for the last."""
        if self._process != os.getpid() or not self._members:
            self._gather()
        asleep = self._ask()
        if asleep:
            for number, member in enumerate(self._members):
                if asleep >> number & 1:
                    member.wake()
            self._join()

    def close(self) -> None:
        """End the waiting threads."""
        for member in self._members:
            member.end()
        self._members = []

    def __del__(self) -> None:
        for member in getattr(self, "_members", []):
            member.end(wait=False)

    def _gather(self) -> None:
        """Make the members; a forked child has none of its parent's."""
        self._process = os.getpid()
        self._memory[...] = 0
        kinds = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3]
        linger = ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(self._machine.address("linger"))
        self._members = [
            _Member(linger, self._call, self._memory, self._words + number * _BYTES, number + 1)
            for number in range(self._others)
        ]


class _Member:
    """A thread that lingers in native code or sleeps in Python."""

    def __init__(
        self, linger: Callable[..., int], call: Array, memory: Array, words: int, number: int
    ) -> None:
        self._linger, self._call, self._words, self._number = linger, call, words, number
        # It may spin for a moment after its team is gone, and what it reads must be there.
        self._memory = memory
        self._given = threading.Semaphore(0)
        self._ended = False
        self._thread = threading.Thread(
            target=self._run, name=f"chainrule-lingers-{number}", daemon=True
        )
        self._thread.start()

    def wake(self) -> None:
        """Let it look for a call."""
        self._given.release()

    def end(self, wait: bool = True) -> None:
        """End the thread."""
        self._ended = True
        self._given.release()
        if wait:
            self._thread.join()

    def _run(self) -> None:
        seen, call = 0, self._call.ctypes.data
        while True:
            self._given.acquire()
            if self._ended:
                return
            seen = self._linger(call, self._words, self._number, seen, _LINGER)


@functools.cache
def _machine(numbers: int) -> jit.Machine:
    """The code for functions of so many arguments, less the last."""
    module = Module(Target.host())
    give, pause = waiting(module)
    _, declarations = module.parts()
    text = _TEXT.format(
        call_member=_call(numbers, "%member"),
        call_first=_call(numbers, "0"),
        load_team=_team(numbers),
        awake=_AWAKE,
        done=_DONE,
        bytes=_BYTES,
        pause=pause,
        give=give,
        spin=_SPIN,
    )
    return jit.compile("\n".join(declarations) + text, module.target)


def _call(numbers: int, member: str) -> str:
    """Load the function and its arguments, and call it."""
    lines = ["%function = load ptr, ptr %call, align 8"]
    for k in range(1, numbers + 1):
        lines.append(f"%place{k} = getelementptr i64, ptr %call, i64 {k}")
        lines.append(f"%number{k} = load i64, ptr %place{k}, align 8")
    given = "".join(f"i64 %number{k}, " for k in range(1, numbers + 1))
    lines.append(f"call void %function({given}i64 {member})")
    return "\n ".join(lines)


def _team(numbers: int) -> str:
    """Load what stands behind the arguments: the members' words, and how many members there are."""
    return "\n ".join(
        [
            f"%words.place = getelementptr i64, ptr %call, i64 {numbers + 1}",
            "%words = load ptr, ptr %words.place, align 8",
            f"%members.place = getelementptr i64, ptr %call, i64 {numbers + 2}",
            "%members = load i64, ptr %members.place, align 8",
        ]
    )
