"""What the processor can do: vector width, registers, fused multiply-add, masked memory."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import llvmlite.binding as llvm

from ...dtypes import DType
from ...errors import EngineError


@dataclass(frozen=True)
class Target:
    """A processor as the kernels see it.

    Args:
        triple: LLVM's name of the platform.
        cpu: LLVM's name of the processor.
        features: LLVM's feature string.
        vector_bytes: bytes of one vector register.
        registers: number of vector registers.
        has_fma: whether a fused multiply-add is one instruction.
        has_masks: whether masked loads and stores of any element type are one instruction.
        second_cache: bytes of second-level cache to plan for.

    Example:
        >>> from chainrule.dtypes import float32
        >>> Target.host().lanes(float32) >= 4
        True
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    has_fma: bool
    has_masks: bool
    second_cache: int = 1 << 20

    @staticmethod
    def host() -> Target:
        """The processor that this runs on."""
        return _host()

    @staticmethod
    def arm() -> Target:
        """A 64-bit Arm processor under Linux, for looking at its code on others and for emulators.

        Example:
            >>> Target.arm().architecture, Target.arm().registers
            ('aarch64', 32)
        """
        return Target("aarch64-unknown-linux-gnu", "generic", "+neon", 16, 32, True, False)

    @staticmethod
    def avx512() -> Target:
        """An x86-64 processor with AVX-512 (F, VL, BW, DQ) under Linux, wherever this runs.

        Example:
            >>> Target.avx512().vector_bytes, Target.avx512().has_masks
            (64, True)
        """
        return Target("x86_64-unknown-linux-gnu", "skylake-avx512", "", 64, 32, True, True)

    def lanes(self, dtype: DType) -> int:
        """Elements of a type in one vector register."""
        return self.vector_bytes // dtype.itemsize

    def restrict(self, level: str) -> Target:
        """The same machine held to an older instruction set, for tests.

        Args:
            level: ``"avx2"`` or ``"sse2"``; on other architectures than x86-64 nothing changes.

        Raises:
            EngineError: for another level.
        """
        if level not in _LEVELS:
            raise EngineError(f"no such instruction set: {level!r}.\n  expected: one of {_LEVELS}")
        if self.architecture != "x86_64":
            return self
        cpu, fma, registers = _LEVELS[level]
        width = 32 if level == "avx2" else 16
        features = "+avx2,+fma" if fma else ""
        return Target(self.triple, cpu, features, width, registers, fma, False, self.second_cache)

    @property
    def architecture(self) -> str:
        """The first part of the triple: ``x86_64``, ``aarch64``, ..."""
        name = self.triple.split("-")[0]
        return {"arm64": "aarch64", "amd64": "x86_64"}.get(name, name)


# level: (processor, has a fused multiply-add, vector registers)
_LEVELS = {"avx2": ("haswell", True, 16), "sse2": ("x86-64", False, 16)}


@functools.cache
def initialize() -> None:
    """Start LLVM's code generator for this machine, once."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def initialize_for(target: Target) -> None:
    """Start LLVM's code generator for a target, which may be of another architecture."""
    initialize()
    if target.architecture != _host().architecture:
        _initialize_others()


@functools.cache
def _initialize_others() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@functools.cache
def _host() -> Target:
    initialize()
    triple = llvm.get_process_triple()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features()
    flags = features.flatten()
    made = functools.partial(Target, triple, cpu, flags)
    architecture = Target(triple, cpu, flags, 16, 16, False, False).architecture
    if architecture == "aarch64":
        return made(16, 32, True, False)
    if architecture != "x86_64":
        return made(16, 16, False, False)
    if all(features.get(name) for name in ("avx512f", "avx512vl", "avx512bw", "avx512dq")):
        return made(64, 32, True, True)
    if features.get("avx2") and features.get("fma"):
        return made(32, 16, True, False)
    return made(16, 16, False, False)
