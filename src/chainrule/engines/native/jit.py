"""From the text of a module to functions that can be called."""

from __future__ import annotations

import time

import llvmlite.binding as llvm

from ...errors import EngineError
from . import cache, parts
from .target import Target, initialize, initialize_for

_REFUSED = (
    "the native engine wrote code that LLVM does not take; this is a fault of chainrule.\n"
    "  LLVM says: {0}\n  fix: please report it; until then use engine='numpy'"
)


class Machine:
    """Compiled native code; the functions live as long as this object does.

    Attributes:
        ir: the text it was compiled from.
        target: what it was compiled for.
        seconds: what compiling took, parsing and verification included.
        loaded: whether the machine code came from the disk (see :mod:`.cache`).
    """

    def __init__(self, ir: str, target: Target) -> None:
        initialize()
        started = time.perf_counter()
        self.ir = ir
        self.target = target
        name = cache.name_of(ir, target)
        kept = cache.load(name)
        self.loaded = kept is not None
        if kept is None:
            codes = _object_codes(ir, target)
            cache.save(name, parts.joined(codes))
        else:
            codes = parts.separated(kept)
        # The engine wants a module; the code itself comes as an object file.
        empty = llvm.parse_assembly(f'target triple = "{target.triple}"')
        self._engine = llvm.create_mcjit_compiler(empty, _target_machine(target))
        for code in codes:
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self.seconds = time.perf_counter() - started

    def address(self, name: str) -> int:
        """The address of an exported function.

        Raises:
            EngineError: when there is no such function.
        """
        address = int(self._engine.get_function_address(name))
        if not address:
            raise EngineError(f"the compiled module has no function {name!r}.")
        return address

    def assembly(self) -> str:
        """The machine code in the assembler's language."""
        return assembly(self.ir, self.target)


def compile(ir: str, target: Target) -> Machine:
    """Compile the text of a module for a target.

    Code generation runs at level 1 without passes over the text: the writer gives its final form,
    and the passes cost more time than they save (see the lessons in the architecture notes).

    Raises:
        EngineError: when LLVM refuses the text.
    """
    return Machine(ir, target)


def object_code(ir: str, target: Target) -> bytes:
    """The object file of a module, for this processor or another.

    Raises:
        EngineError: when LLVM refuses the text.
    """
    return _object_codes(ir, target, 1)[0]


def _object_codes(ir: str, target: Target, most: int | None = None) -> list[bytes]:
    """The object files of a module's parts, at most so many; see :func:`.parts.cut`."""
    initialize_for(target)
    try:
        return parts.objects(parts.cut(ir, most), lambda: _target_machine(target))
    except RuntimeError as error:
        raise EngineError(_REFUSED.format(error)) from error


def assembly(ir: str, target: Target) -> str:
    """The machine code of a module in the assembler's language."""
    initialize_for(target)
    return str(_target_machine(target).emit_assembly(llvm.parse_assembly(ir)))


def _target_machine(target: Target) -> llvm.TargetMachine:
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=1, jit=True, codemodel="jitdefault"
    )
