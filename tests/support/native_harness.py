"""Runs one native kernel on arrays that stand between guard zones."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.dtypes import DType
from chainrule.engines.native import jit
from chainrule.engines.native.emit.ir import Module
from chainrule.engines.native.emit.types import INT64, PTR
from chainrule.engines.native.kernels.common import Kernel, Operand
from chainrule.engines.native.target import Target

Array = np.ndarray[Any, Any]
HOST = Target.host()
# The host itself, and what older or other processors have: no masks, fewer lanes, no fused product.
TARGETS = {"host": HOST, "avx2": HOST.restrict("avx2"), "sse2": HOST.restrict("sse2")}
_GUARD = 256
_FILL = 0xA5


class Guarded:
    """An array in memory of its own, with bytes around it that must not change."""

    def __init__(self, values: Array) -> None:
        values = np.asarray(values)
        size = values.size * values.itemsize
        raw = np.full(size + 2 * _GUARD + 64, _FILL, np.uint8)
        start = _GUARD + (-(raw.ctypes.data + _GUARD)) % 64
        self._raw, self._start, self._stop = raw, start, start + size
        self.array = raw[start : start + size].view(values.dtype).reshape(values.shape)
        self.array[...] = values

    def check(self) -> None:
        """Fail if a byte of the guard zones was written."""
        zones = np.concatenate([self._raw[: self._start], self._raw[self._stop :]])
        assert (zones == _FILL).all(), "a kernel wrote outside its array"


class Compiled:
    """A kernel that can be called with arrays; ``rewrite`` may change its text first."""

    def __init__(
        self,
        make: Callable[[Module], Kernel],
        target: Target = HOST,
        rewrite: Callable[[str], str] = str,
    ) -> None:
        module = Module(target)
        self.kernel = kernel = make(module)
        pointers = len(kernel.pointers)
        numbers = len(kernel.extents) + 2
        params = [(f"p{i}", PTR) for i in range(pointers)]
        params += [(f"n{i}", INT64) for i in range(numbers)]
        entry = module.function("entry", params, exported=True)
        *extents, start, stop = entry.params[pointers:]
        kernel.call(entry, entry.params[:pointers], extents, start, stop)
        entry.ret()
        self.text = rewrite(module.text())
        self.machine = jit.compile(self.text, target)
        kinds = [ctypes.c_void_p] * pointers + [ctypes.c_int64] * numbers
        self._entry = ctypes.CFUNCTYPE(None, *kinds)(self.machine.address("entry"))

    def __call__(
        self,
        arrays: Sequence[Array],
        stop: int,
        extents: Sequence[int] = (),
        splits: Sequence[int] = (),
    ) -> list[Array]:
        """Run on copies of the arrays and return the copies; ``splits`` cut the range in parts.

        What was read only is checked to be unchanged by the caller, if it matters.
        """
        guarded = [Guarded(array) for array in arrays]
        pointers = [each.array.ctypes.data for each in guarded]
        scratch = Guarded(np.zeros(self.kernel.scratch, np.uint8))
        if self.kernel.scratch:
            pointers.append(scratch.array.ctypes.data)
        ends = [0, *splits, stop]
        for first, last in itertools.pairwise(ends):
            self._entry(*pointers, *extents, first, last)
        for each in [*guarded, scratch]:
            each.check()
        return [each.array for each in guarded]


def dense(dtype: DType, *shape: int) -> Operand:
    """The operand of a dense row-major array."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 1, 0, -1):
        strides[axis - 1] = strides[axis] * shape[axis]
    return Operand(dtype, tuple(strides))
