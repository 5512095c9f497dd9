"""What a driver of kernels needs besides kernels: the barrier and the float control register."""

from __future__ import annotations

from collections.abc import Callable

from .ir import Function, Module
from .types import INT32, INT64, PTR, Value

# Turns of the spin before the processor is offered to others: with few, a busy neighbour makes a
# step many times slower; with many, an idle team wastes its time slice.
SPIN = 10_000
BARRIER_BYTES = 256
LATE = 64  # int32 among the barrier's words: set when a member spun in vain
# Flush-to-zero of MXCSR. Denormals-are-zero is left out: with no denormal results the only such
# numbers are the user's own, and log, sqrt and division tell them from 0.
_FLUSH = 0x8000
_FLUSH_ARM = 1 << 24  # FZ of FPCR

_BARRIER = """define internal void @team.barrier(ptr %words, i32 %threads) #0 {{
entry:
 %place = getelementptr i8, ptr %words, i64 128
 %late = getelementptr i8, ptr %words, i64 {late}
 %before = load atomic i32, ptr %place monotonic, align 4
 %count = atomicrmw add ptr %words, i32 1 acq_rel
 %mine = add i32 %count, 1
 %last = icmp eq i32 %mine, %threads
 br i1 %last, label %open, label %spin
open:
 store atomic i32 0, ptr %words monotonic, align 4
 %next = add i32 %before, 1
 store atomic i32 %next, ptr %place release, align 4
 ret void
spin:
 %turn = phi i32 [0, %entry], [%turned, %wait], [0, %give]
 %now = load atomic i32, ptr %place acquire, align 4
 %done = icmp ne i32 %now, %before
 br i1 %done, label %leave, label %wait
wait:
 {pause}
 %turned = add i32 %turn, 1
 %more = icmp slt i32 %turned, {spin}
 br i1 %more, label %spin, label %give
give:
 store atomic i32 1, ptr %late monotonic, align 4
 {give}
 br label %spin
leave:
 ret void
}}"""


def barrier(module: Module) -> str:
    """Add the barrier of a thread team and return its name.

    Call it with a pointer to :data:`BARRIER_BYTES` zeroed bytes, 64-byte aligned, and the number of
    threads (int32). Whoever comes last opens it by a new generation, on a cache line of its own.
    A member that spins in vain, because another is not let run, says so in the word :data:`LATE`.
    """
    give, pause = waiting(module)
    text = _BARRIER.format(pause=pause, spin=SPIN, give=give, late=LATE)
    return module.verbatim("team.barrier", text)


def waiting(module: Module) -> tuple[str, str]:
    """Instructions that offer the processor to others, and that pause in a spin."""
    architecture = module.target.architecture
    give = ""
    if "windows" not in module.target.triple:
        module.declare("declare i32 @sched_yield()")
        give = "call i32 @sched_yield()"
    pause = ""
    if architecture == "x86_64":
        module.declare("declare void @llvm.x86.sse2.pause()")
        pause = "call void @llvm.x86.sse2.pause()"
    elif architecture == "aarch64":
        # Waits some tens of cycles, as pause does; yield is nothing on most of these processors.
        module.declare("declare void @llvm.aarch64.isb(i32)")
        pause = "call void @llvm.aarch64.isb(i32 15)"
    return give, pause


def flush_denormals(function: Function) -> Callable[[], None]:
    """Let tiny results be zero from here on; returns what writes the way back.

    Denormal numbers cost some processors a hundred cycles each. Nothing is written for
    architectures other than x86-64 and AArch64.
    """
    architecture = function.target.architecture
    if architecture == "x86_64":
        return _flush_x86(function)
    if architecture == "aarch64":
        return _flush_arm(function)
    return lambda: None


def _flush_x86(function: Function) -> Callable[[], None]:
    module = function.module
    module.declare("declare void @llvm.x86.sse.stmxcsr(ptr)")
    module.declare("declare void @llvm.x86.sse.ldmxcsr(ptr)")
    kept, changed = (function.value("alloca i32, align 4", PTR) for _ in range(2))
    function.line(f"call void @llvm.x86.sse.stmxcsr(ptr {kept.text})")
    word = function.load(kept, INT32)
    flushed = function.value(f"or i32 {word.text}, {_FLUSH}", INT32)
    function.store(flushed, changed)
    function.line(f"call void @llvm.x86.sse.ldmxcsr(ptr {changed.text})")
    return lambda: function.line(f"call void @llvm.x86.sse.ldmxcsr(ptr {kept.text})")


def _flush_arm(function: Function) -> Callable[[], None]:
    function.module.declare("declare i64 @llvm.aarch64.get.fpcr()")
    function.module.declare("declare void @llvm.aarch64.set.fpcr(i64)")
    word = function.value("call i64 @llvm.aarch64.get.fpcr()", INT64)
    flushed = function.value(f"or i64 {word.text}, {_FLUSH_ARM}", INT64)

    def write(value: Value) -> None:
        function.line(f"call void @llvm.aarch64.set.fpcr(i64 {value.text})")

    write(flushed)
    return lambda: write(word)


def copy_bytes(function: Function, target: Value, source: Value, count: Value | int) -> None:
    """Copy bytes between buffers that do not overlap."""
    function.module.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    size = function.i64(count)
    function.line(
        f"call void @llvm.memcpy.p0.p0.i64(ptr {target.text}, ptr {source.text}, "
        f"i64 {size.text}, i1 false)"
    )
