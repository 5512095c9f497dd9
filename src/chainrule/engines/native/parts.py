"""One module compiled as several at the same time.

LLVM's code generation is most of what a first call waits for, and works on one function after the
other. So a long module is cut into parts of equal length, each compiled in a context and on a
thread of its own; the linker in :mod:`.jit` puts them together again. A function's code does not
depend on the part that it is in.

llvmlite lets only one thread into LLVM at a time, since modules of one context share data. Parts do
not share a context, so the one call that takes long goes round that lock.
"""

from __future__ import annotations

import ctypes
import functools
import re
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import llvmlite.binding as llvm

from .team import thread_count

LEAST_LINES = 600  # of a part: each has costs of its own, as much as a hundred lines
MOST_PARTS = 4
_FUNCTION = re.compile(r"^define (?:internal )?void @([\w.]+)\((.*?)\) .*?^}$", re.DOTALL | re.M)
_CALLED = re.compile(r"call void @([\w.]+)\(")
_LENGTH = struct.Struct("<q")


def cut(ir: str, most: int | None = None) -> list[str]:
    """A module's text as the texts of modules that are one when they are linked.

    Args:
        ir: the text; its functions give no results, as those of :class:`.emit.ir.Module`.
        most: parts; None for as many as processors may be used, and as the text is worth.

    Example:
        >>> text = "define void @f() {\\n call void @g()\\n ret void\\n}\\n"
        >>> text += "define internal void @g() {\\n ret void\\n}\\n"
        >>> print(*cut(text, 2), sep="\\n--\\n")  # doctest: +NORMALIZE_WHITESPACE
        declare hidden void @g()
        define void @f() {
         call void @g()
         ret void
        }
        --
        define hidden void @g() {
         ret void
        }
    """
    if most is None:
        most = min(thread_count(), MOST_PARTS, ir.count("\n") // LEAST_LINES)
    if most < 2:
        return [ir]
    functions = {found[1]: (found[0], found[2]) for found in _FUNCTION.finditer(ir)}
    common = _FUNCTION.sub("", ir).strip()
    return [_text(names, functions, common) for names in _shared_out(functions, most) if names]


def _shared_out(functions: dict[str, tuple[str, str]], count: int) -> list[list[str]]:
    """The functions' names, the longest first always to the shortest part."""
    lengths = {name: text.count("\n") for name, (text, _) in functions.items()}
    parts: list[list[str]] = [[] for _ in range(count)]
    totals = [0] * count
    for name in sorted(lengths, key=lambda name: -lengths[name]):
        place = totals.index(min(totals))
        parts[place].append(name)
        totals[place] += lengths[name]
    return parts


def _text(names: Sequence[str], functions: dict[str, tuple[str, str]], common: str) -> str:
    """A part: some functions, seen by the other parts, and what they call of these."""
    bodies = [functions[name][0].replace("define internal ", "define hidden ", 1) for name in names]
    called = {name for body in bodies for name in _CALLED.findall(body) if name in functions}
    outside = [
        f"declare hidden void @{name}({_types(functions[name][1])})"
        for name in sorted(called.difference(names))
    ]
    return "\n".join([*filter(None, [common]), *outside, *bodies, ""])


def _types(params: str) -> str:
    return ", ".join(each.rsplit(" ", 1)[0] for each in params.split(", ") if each)


def objects(texts: Sequence[str], make: Callable[[], llvm.TargetMachine]) -> list[bytes]:
    """The object files of the parts.

    Args:
        texts: the parts.
        make: makes a target machine; each part has its own.

    Raises:
        RuntimeError: LLVM's own, when it refuses a text.
    """
    if len(texts) == 1:
        return [_object(texts[0], make)]
    with ThreadPoolExecutor(len(texts) - 1, thread_name_prefix="chainrule-compiles") as pool:
        others = [pool.submit(_object, text, make) for text in texts[1:]]
        return [_object(texts[0], make), *(other.result() for other in others)]


def _object(text: str, make: Callable[[], llvm.TargetMachine]) -> bytes:
    parsed = llvm.parse_assembly(text, llvm.create_context())
    parsed.verify()
    return _emit(make(), parsed)


def _emit(machine: llvm.TargetMachine, module: llvm.ModuleRef) -> bytes:
    """What ``machine.emit_object(module)`` gives, without llvmlite's lock while LLVM works."""
    unlocked = _unlocked()
    if unlocked is None:
        return bytes(machine.emit_object(module))
    library = llvm.ffi.lib
    with llvm.ffi.OutputString() as message:
        buffer = unlocked(machine, module, 1, message)
        if not buffer:
            raise RuntimeError(str(message))
    try:
        size = library.LLVMPY_GetBufferSize(buffer)
        return ctypes.string_at(library.LLVMPY_GetBufferStart(buffer), size)
    finally:
        library.LLVMPY_DisposeMemoryBuffer(buffer)


@functools.cache
def _unlocked() -> Any:
    """LLVM's function itself; None where this llvmlite has it in another form."""
    try:
        locked = llvm.ffi.lib.LLVMPY_TargetMachineEmitToMemory
        library = ctypes.CDLL(llvm.ffi.lib._name, handle=llvm.ffi.lib._handle)
        function = library.LLVMPY_TargetMachineEmitToMemory
        function.argtypes, function.restype = locked.argtypes, locked.restype
    except (AttributeError, OSError):
        return None
    return function if len(function.argtypes) == 4 else None


def joined(codes: Sequence[bytes]) -> bytes:
    """Object files as one piece, for the disk."""
    return b"".join(_LENGTH.pack(len(code)) + code for code in codes)


def separated(content: bytes) -> list[bytes]:
    """What :func:`joined` put together.

    Example:
        >>> separated(joined([b"one", b"", b"three"]))
        [b'one', b'', b'three']
    """
    found, place = [], 0
    while place < len(content):
        start = place + _LENGTH.size
        place = start + _LENGTH.unpack(content[place:start])[0]
        found.append(content[start:place])
    return found
