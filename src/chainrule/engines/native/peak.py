"""The processor's measured peak: what a share of it is a share of."""

from __future__ import annotations

import functools
import time

import numpy as np

from ...dtypes import DType, float32
from . import jit
from .emit.types import of
from .target import Target
from .team import Team

_CHAINS = 12  # independent multiply-adds under way: enough for any latency, and they fit registers
_STEPS = 1_000_000
_TURNS = 7
# A team that others hold up is given so many turns to reach this share of what one thread reaches.
_MORE_TURNS = 70
_SHARE = 0.8

_TEXT = """declare {vector} @llvm.{fused}.{suffix}({vector}, {vector}, {vector})
define void @run(ptr %out, i64 %steps, i64 %thread) {{
entry:
 %own = mul i64 %thread, {bytes}
 %mine = getelementptr i8, ptr %out, i64 %own
 %a = load {vector}, ptr %mine, align 4
 br label %head
head:
 %n = phi i64 [0, %entry], [%more, %head]
{phis}
{updates}
 %more = add i64 %n, 1
 %again = icmp slt i64 %more, %steps
 br i1 %again, label %head, label %exit
exit:
{stores}
 ret void
}}
"""


@functools.cache
def measured_peak(threads: int = 1, dtype: DType = float32) -> float:
    """The multiply-adds that the processor reaches without touching memory, in GFLOP/s.

    Measured once in a process, in about 50 ms: the best of a few turns, or of more where several
    threads do not reach what one does.

    Args:
        threads: how many threads run together.
        dtype: float32 or float64.

    Example:
        >>> measured_peak() > 0.1
        True
    """
    target = Target.host()
    lanes = target.lanes(dtype)
    machine = jit.compile(_text(target, dtype), target)
    team = Team(machine.address("run"), threads)
    places = np.full(threads * _CHAINS * lanes, 0.5, dtype.np)
    best, work = np.inf, 2e-9 * _CHAINS * lanes * _STEPS * threads
    enough = _SHARE * threads * measured_peak(1, dtype) if threads > 1 else 0.0
    for turn in range(_MORE_TURNS):
        if turn >= _TURNS and work / best >= enough:
            break
        started = time.perf_counter()
        team(places.ctypes.data, _STEPS)
        best = min(best, time.perf_counter() - started)
    team.close()
    return work / best


def _text(target: Target, dtype: DType) -> str:
    lanes = target.lanes(dtype)
    vector = of(dtype, lanes).text
    # Without the instruction a fused multiply-add would be a call of a library.
    fused = "fma" if target.has_fma else "fmuladd"
    suffix = f"v{lanes}f{8 * dtype.itemsize}"
    call = f"call {vector} @llvm.{fused}.{suffix}"
    chains = range(_CHAINS)
    return _TEXT.format(
        vector=vector,
        fused=fused,
        suffix=suffix,
        bytes=_CHAINS * lanes * dtype.itemsize,
        phis="\n".join(f" %c{k} = phi {vector} [%a, %entry], [%d{k}, %head]" for k in chains),
        updates="\n".join(
            f" %d{k} = {call}({vector} %c{k}, {vector} %a, {vector} %a)" for k in chains
        ),
        stores="\n".join(
            f" %p{k} = getelementptr {vector}, ptr %mine, i64 {k}\n"
            f" store {vector} %d{k}, ptr %p{k}, align 4"
            for k in chains
        ),
    )
