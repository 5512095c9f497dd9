"""Runs the native engine's programs for 64-bit Arm under qemu, on a machine of another kind.

A module gets a small ``_start`` that reads the program's memory and arrays from the standard
input, calls ``run``, and writes memory and report to the standard output. It is linked with Arm's C
library alone, so nothing but a linker, that library and the emulator is needed.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.engines.native import jit, machine
from chainrule.engines.native.lower.driver import TABLE
from chainrule.engines.native.target import Target

Array = np.ndarray[Any, Any]
LINKER = "aarch64-linux-gnu-ld"
EMULATOR = "qemu-aarch64"
ROOT = Path("/usr/aarch64-linux-gnu")

_MAIN = """
declare i64 @read(i32, ptr, i64)
declare i64 @write(i32, ptr, i64)
declare void @exit(i32)
{globals}
define internal void @all(i32 %file, ptr %place, i64 %count) {{
entry:
 br label %head
head:
 %done = phi i64 [0, %entry], [%next, %more]
 %left = sub i64 %count, %done
 %end = icmp eq i64 %left, 0
 br i1 %end, label %leave, label %some
some:
 %at = getelementptr i8, ptr %place, i64 %done
 %out = icmp eq i32 %file, 1
 br i1 %out, label %send, label %take
send:
 %sent = call i64 @write(i32 1, ptr %at, i64 %left)
 br label %moved
take:
 %taken = call i64 @read(i32 0, ptr %at, i64 %left)
 br label %moved
moved:
 %got = phi i64 [%sent, %send], [%taken, %take]
 %bad = icmp slt i64 %got, 1
 br i1 %bad, label %fail, label %more
more:
 %next = add i64 %done, %got
 br label %head
fail:
 call void @exit(i32 9)
 unreachable
leave:
 ret void
}}
define void @_start() {{
{reads}
{table}
 call void @run({arguments}, i64 {steps}, i64 1, i64 0)
{writes}
 call void @exit(i32 0)
 unreachable
}}
"""


def missing() -> str:
    """What this machine lacks; empty when nothing."""
    lacks = [name for name in (LINKER, EMULATOR) if shutil.which(name) is None]
    if not (ROOT / "lib" / "libm.so.6").exists():
        lacks.append("libc6-arm64-cross")
    return ", ".join(lacks)


class Recorded:
    """Stands for machine code that this processor cannot run."""

    loaded = False
    seconds = 0.0

    def __init__(self, ir: str, target: Target) -> None:
        self.ir, self.target = ir, target

    def address(self, name: str) -> int:
        """Nowhere."""
        return 0


class Emulated:
    """Makes the engine compile for another processor, and runs what it compiles elsewhere."""

    target: Target

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = 0
        self._linked: Any = None  # the machine code whose program is in the folder

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace the host, the compiler and the call into native code."""
        monkeypatch.setattr(machine.Target, "host", staticmethod(lambda: self.target))
        monkeypatch.setattr(machine.jit, "compile", Recorded)
        run = self.run

        def enter(built: Any, threads: int, *arrays: Array) -> tuple[int, float]:
            run(built, *arrays)
            return int(built._words()[-1]), 1.0

        def repeat(built: Any, steps: Array) -> Any:
            return lambda: built.run(steps, steps, np.zeros((1, 0)), np.zeros_like(steps))

        monkeypatch.setattr(machine.Built, "_enter", enter)
        monkeypatch.setattr(machine.Built, "repeat", repeat)

    def run(self, built: Any, *arrays: Array) -> None:
        """Run steps: memory and report are changed as the processor would."""
        report = arrays[2]
        output = self.execute(built, [built.arena, *arrays, *built.data], int(arrays[1].size))
        kept = built.arena[TABLE:].copy()[: 8 * len(built.data)]
        built.arena[...] = np.frombuffer(output[: built.arena.size], np.uint8)
        built.arena[TABLE : TABLE + kept.size] = kept  # the emulator's own addresses
        report[...] = np.frombuffer(output[built.arena.size :], report.dtype).reshape(report.shape)
        self.runs += 1

    def execute(self, built: Any, parts: list[Array], steps: int) -> bytes:
        """Run a program on its arena, its five arrays and the data; return arena and report."""
        raise NotImplementedError

    def call(self, *command: str) -> None:
        """Run a tool in the folder; it must succeed."""
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder)
        assert done.returncode == 0, done.stderr


class Arm(Emulated):
    """64-bit Arm under qemu."""

    target = Target.arm()

    def execute(self, built: Any, parts: list[Array], steps: int) -> bytes:
        """Run a program with its memory as the standard input."""
        self._program(built, parts, steps)
        given = b"".join(np.ascontiguousarray(each).tobytes() for each in parts)
        command = [EMULATOR, "-L", str(ROOT), str(self.folder / "program")]
        done = subprocess.run(command, input=given, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode() or f"status {done.returncode}"
        return done.stdout

    def _program(self, built: Any, parts: list[Array], steps: int) -> None:
        key = (id(built), tuple(each.nbytes for each in parts), steps)
        if self._linked != key:
            text = built.machine.ir + _main(parts, 5, steps)
            (self.folder / "code.o").write_bytes(jit.object_code(text, self.target))
            places = ["-L", str(ROOT / "lib"), "-dynamic-linker", "/lib/ld-linux-aarch64.so.1"]
            libraries = ["-l:libm.so.6", "-l:libc.so.6"]
            self.call(LINKER, "-o", "program", "code.o", *places, *libraries)
            self._linked = key


def _main(parts: list[Array], arguments: int, steps: int) -> str:
    sizes = [max(1, each.nbytes) for each in parts]
    names = [f"@emulated.{number}" for number in range(len(parts))]
    data = names[arguments + 1 :]
    return _MAIN.format(
        globals="\n".join(
            f"{name} = internal global [{size} x i8] zeroinitializer, align 64"
            for name, size in zip(names, sizes, strict=True)
        ),
        reads="\n".join(
            f" call void @all(i32 0, ptr {name}, i64 {each.nbytes})"
            for name, each in zip(names, parts, strict=True)
        ),
        table="\n".join(
            f" %t{k} = getelementptr i8, ptr {names[0]}, i64 {TABLE + 8 * k}\n"
            f" store ptr {name}, ptr %t{k}"
            for k, name in enumerate(data)
        ),
        arguments=", ".join(f"ptr {name}" for name in names[: arguments + 1]),
        steps=steps,
        writes="\n".join(
            f" call void @all(i32 1, ptr {names[k]}, i64 {parts[k].nbytes})" for k in (0, 3)
        ),
    )
