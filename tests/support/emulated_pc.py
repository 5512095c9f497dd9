"""Runs the native engine's programs for AVX-512 under Bochs, which emulates a whole PC.

There is no operating system in that PC: its ROM (``pc/rom.s``) takes the processor from reset to
64-bit code and reads program and memory from the disk; ``pc/start.s`` calls ``run`` and writes the
memory back to the disk, which is a file here. Programs are linked with the mathematics of the C
library and no more of it. A run takes a third of a second.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from emulated import Array, Emulated

from chainrule.engines.native import jit
from chainrule.engines.native.lower.driver import TABLE
from chainrule.engines.native.target import Target

SOURCES = Path(__file__).parent / "pc"
ROM, PROGRAM, DATA = 0xFFFF0000, 0x400000, 0x480000  # where they are in memory
MEBIBYTES = 256
SECTOR, CYLINDER = 512, 16 * 63 * 512  # bytes
LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
SCREEN = LIBRARIES / "bochs" / "plugins" / "libbx_term_gui.so"

_SETTINGS = f"""
cpu: model=corei7_skylake_x, count=1, ips=50000000, reset_on_triple_fault=0
memory: guest={MEBIBYTES}, host={MEBIBYTES}
romimage: file=rom, address={ROM:#x}
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path=disk, mode=flat, cylinders=0
display_library: term
log: log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
"""


def missing() -> str:
    """What this machine lacks; empty when nothing."""
    tools = ("bochs", "as", "ld", "objcopy")
    lacks = [name for name in tools if shutil.which(name) is None]
    lacks += [str(path) for path in (SCREEN, LIBRARIES / "libm.a") if not path.exists()]
    return ", ".join(lacks)


class PC(Emulated):
    """Makes the engine compile for AVX-512, and runs what it compiles in an emulated PC."""

    target = Target.avx512()

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for name in ("rom", "start"):
            places = ["--defsym", f"PROGRAM={PROGRAM}", "--defsym", f"DATA={DATA}"]
            source = str(SOURCES / f"{name}.s")
            self.call("as", "-I", str(SOURCES), *places, "-o", f"{name}.o", source)
        self._link("rom", "-Ttext", hex(ROM), "-e", "0", "rom.o")
        (folder / "settings").write_text(_SETTINGS)

    def execute(self, built: Any, parts: list[Array], steps: int) -> bytes:
        """Run a program on its memory; return its arena and its report."""
        if self._linked is not built.machine:
            code = jit.object_code(built.machine.ir, self.target)
            (self.folder / "code.o").write_bytes(code)
            script = ["-static", f"--defsym=PROGRAM={PROGRAM}", "-T", str(SOURCES / "program.ld")]
            files = ["start.o", "code.o", "-L", str(LIBRARIES), "-lm"]
            self._link("program", *script, *files)
            self._linked = built.machine
        places, data = _data(parts, steps)
        disk = self.folder / "disk"
        disk.write_bytes(_disk((self.folder / "program").read_bytes(), data))
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        # Debian's Bochs stops at its debugger's prompt first: "c" goes on.
        subprocess.run(
            ["bochs", "-q", "-f", "settings"],
            input=b"c\n",
            capture_output=True,
            timeout=120,
            cwd=self.folder,
            env=os.environ | {"TERM": "vt100"},
        )
        said = log.read_text() if log.exists() else "nothing was logged"
        if "shutdown requested" not in said:
            raise AssertionError(f"the program failed in the emulated PC:\n{said}")
        memory = disk.read_bytes()[SECTOR + DATA - PROGRAM :]
        return b"".join(memory[places[k] :][: parts[k].nbytes] for k in (0, 3))

    def _link(self, name: str, *arguments: str) -> None:
        self.call("ld", "-o", "linked", *arguments)
        self.call("objcopy", "-O", "binary", "linked", name)


def _data(parts: list[Array], steps: int) -> tuple[list[int], bytes]:
    """What lies at DATA, and where each array begins in it: arguments, then arrays."""
    places, end = [], 4096
    for part in parts:
        places.append(end)
        end += -(-part.nbytes // 4096) * 4096 + 4096
    memory = np.zeros(end, np.uint8)

    def put(place: int, array: Array) -> None:
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        memory[place : place + raw.size] = raw

    for part, place in zip(parts, places, strict=True):
        put(place, part)
    addresses = [DATA + place for place in places]
    put(places[0] + TABLE, np.array(addresses[6:], np.int64))  # the user's arrays
    put(0, np.array([*addresses[:6], steps, 1, 0], np.int64))
    return places, memory.tobytes()


def _disk(program: bytes, data: bytes) -> bytes:
    """The number of sectors in the first one, program and data; the disk is of whole cylinders."""
    room = DATA - PROGRAM
    if len(program) > room or len(data) > (MEBIBYTES << 20) - DATA:
        sizes = f"{len(program):,} and {len(data):,} bytes"
        raise AssertionError(f"the emulated PC has no room for program and memory: {sizes}")
    used = SECTOR + room + len(data)
    first = (-(-used // SECTOR)).to_bytes(SECTOR, "little")
    whole = -(-used // CYLINDER) * CYLINDER
    return (first + program.ljust(room, b"\0") + data).ljust(whole, b"\0")
