"""How far the native engine's functions are from the exact result, in units in the last place.

Every function is run over all exponents of its type, over the ranges where it is used most, and at
the ends of its range, on each vector width that this processor has. The reference is computed in
float64 for float32, and for float64 in the 64-bit mantissa of ``numpy.longdouble`` (``erf``, and
everything where ``longdouble`` is no wider: mpmath with 100 bits, on fewer points).
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

import chainrule as cr
from chainrule.dtypes import DType, float32, float64
from chainrule.engines.native import jit
from chainrule.engines.native.emit.ir import Module
from chainrule.engines.native.emit.types import INT64, PTR
from chainrule.engines.native.kernels.common import Operand
from chainrule.engines.native.kernels.elementwise import elementwise
from chainrule.engines.native.target import Target

from ._measure import table

Array = np.ndarray[Any, Any]
SWEEP = {"float32": 1 << 21, "float64": 1 << 19}
INSIDE = 1 << 17
SLOW = 1 << 12
_WIDE = np.finfo(np.longdouble).nmant >= 63


@dataclass(frozen=True)
class Function:
    """A function, its exact meaning, and the ranges that are looked at closely.

    Args:
        exact: on arrays of a wider type.
        slow: the same on mpmath's numbers.
        ranges: (low, high) pairs.
        two: whether it takes two numbers.
    """

    exact: Callable[..., Any] | None
    slow: Callable[..., Any]
    ranges: tuple[tuple[float, float], ...]
    two: bool = False


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, np.ones_like(x)) / (1 + small)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _slow_sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


def _slow_softplus(x: Any) -> Any:
    return mpmath.log1p(mpmath.exp(x)) if x < 50 else x + mpmath.log1p(mpmath.exp(-x))


FUNCTIONS: dict[str, Function] = {
    "exp": Function(np.exp, mpmath.exp, ((-1, 1), (-104, 89), (-746, 710))),
    "expm1": Function(np.expm1, mpmath.expm1, ((-1, 1), (-40, 89), (-1e-3, 1e-3), (0, 710))),
    "log": Function(np.log, mpmath.log, ((0.5, 2), (0.999, 1.001), (0, 1e5))),
    "log1p": Function(np.log1p, mpmath.log1p, ((-1, 3), (-1e-3, 1e-3), (0, 1e5))),
    "sqrt": Function(np.sqrt, mpmath.sqrt, ((0, 4),)),
    "tanh": Function(np.tanh, mpmath.tanh, ((-1, 1), (-20, 20), (-1e-3, 1e-3))),
    "sigmoid": Function(_sigmoid, _slow_sigmoid, ((-2, 2), (-104, 40), (-746, 40))),
    "softplus": Function(_softplus, _slow_softplus, ((-2, 2), (-104, 40), (-746, 40))),
    "erf": Function(None, mpmath.erf, ((-1.2, 1.2), (-6, 6), (-1e-6, 1e-6))),
    "sin": Function(np.sin, mpmath.sin, ((-4, 4), (-1e3, 1e3), (-1e6, 1e6), (-1e9, 1e9))),
    "cos": Function(np.cos, mpmath.cos, ((-4, 4), (-1e3, 1e3), (-1e6, 1e6), (-1e9, 1e9))),
    "exp2": Function(np.exp2, lambda x: mpmath.power(2, x), ((-1, 1), (-150, 129), (-1075, 1025))),
    "log2": Function(np.log2, lambda x: mpmath.log(x, 2), ((0.5, 2), (0.999, 1.001), (0, 1e5))),
    "pow": Function(np.power, mpmath.power, ((0.5, 2), (-30, 30), (0, 1e3)), two=True),
}
COMPOSED = ("exp2", "log2")  # functions of the library that are made of several ops


def targets() -> dict[str, Target]:
    """The vector widths that run on this processor, by name."""
    host = Target.host()
    if host.architecture != "x86_64":
        return {host.architecture: host}
    names = {64: "avx512", 32: "avx2", 16: "sse2"}
    older = {level: host.restrict(level) for level in ("avx2", "sse2")}
    found = {names[host.vector_bytes]: host}
    found |= {n: t for n, t in older.items() if t.vector_bytes < host.vector_bytes}
    return found


def _composed(name: str, dtype: DType) -> Callable[..., Any]:
    """The body of a function that is made of ops, as a trace gives them."""
    graph = cr.trace(getattr(cr, name), cr.zeros(1, dtype=dtype)).graph

    def body(e: Any, x: Any) -> Any:
        values = {graph.inputs[0]: x}
        for node in graph.nodes():
            if node.op.name == "constant":
                values[node] = e.const(node.value().item(), x)
            elif node not in values:
                assert node.op.scalar is not None, node
                given = [values[source] for source in node.inputs]
                values[node] = node.op.scalar(e, *given, **node.attrs)
        return values[graph.outputs[0]]

    return body


@functools.cache
def compiled(name: str, dtype: DType, target: Target) -> Callable[..., Array]:
    """The engine's function on arrays of a type, compiled for a target."""
    count = 2 if FUNCTIONS[name].two else 1
    module, one = Module(target), Operand(dtype, (1,))
    body = _composed(name, dtype) if name in COMPOSED else lambda e, *x: getattr(e, name)(*x)
    kernel = elementwise(module, (), [one] * count, [one], body)
    params = [*((f"p{k}", PTR) for k in range(count + 1)), ("start", INT64), ("stop", INT64)]
    entry = module.function("entry", params, exported=True)
    kernel.call(entry, entry.params[: count + 1], [], *entry.params[count + 1 :])
    entry.ret()
    machine = jit.compile(module.text(), target)
    kinds = [ctypes.c_void_p] * (count + 1) + [ctypes.c_int64] * 2
    function = ctypes.CFUNCTYPE(None, *kinds)(machine.address("entry"))

    def run(*given: Array) -> Array:
        assert machine is not None  # the code lives as long as this
        out = np.empty_like(given[0])
        function(*(x.ctypes.data for x in (*given, out)), 0, out.size)
        return out

    return run


def samples(name: str, dtype: Any, scale: float = 1.0) -> Iterator[tuple[Array, ...]]:
    """Arguments: every exponent and both signs, then each range closely."""
    random = np.random.default_rng(0)
    function = FUNCTIONS[name]
    bits = np.uint32 if dtype == np.float32 else np.uint64
    count = int(SWEEP[np.dtype(dtype).name] * scale)
    # Steps of an odd size visit all exponents evenly, with a new mantissa at each.
    step = (1 << (8 * np.dtype(dtype).itemsize)) // count | 1
    every = (np.arange(count, dtype=np.uint64) * np.uint64(step)).astype(bits).view(dtype)
    every = np.where(np.isnan(every), dtype(np.nan), every)  # signalling ones are another matter
    if function.two:
        powers = random.uniform(-8, 8, count)
        powers[::3] = np.round(powers[::3])
        yield every, powers.astype(dtype)
        yield random.permutation(every), every
    else:
        yield (every,)
    inside = int(INSIDE * scale)
    if name in ("sin", "cos"):  # where one of them is nearly 0
        yield ((np.arange(-inside, inside) * (np.pi / 2)).astype(dtype),)
    for low, high in function.ranges:
        x = random.uniform(low, high, inside).astype(dtype)
        if not function.two:
            yield (x,)
            continue
        yield x, np.round(random.uniform(-40, 40, inside)).astype(dtype)
        with np.errstate(all="ignore"):
            # Results all over the type's range: the exponents that matter for each base.
            log = np.log(np.abs(x.astype(np.float64))) + 1e-300
            end = 87.0 if dtype == np.float32 else 708.0
            yield np.abs(x), (random.uniform(-1.06, 1.02, inside) * end / log).astype(dtype)


def exact(name: str, given: tuple[Array, ...]) -> tuple[tuple[Array, ...], Array]:
    """The arguments that were computed, fewer where it takes long, and the exact results."""
    function, wide = FUNCTIONS[name], np.longdouble
    if given[0].dtype == np.float32 and name == "erf":
        every = np.fromiter(map(math.erf, given[0].tolist()), np.float64, given[0].size)
        return given, every
    if given[0].dtype == np.float32:
        wide = np.float64
    if function.exact is not None and (wide is np.float64 or _WIDE):
        with np.errstate(all="ignore"):
            return given, function.exact(*(x.astype(wide) for x in given))
    step = max(1, given[0].size // SLOW)
    few = tuple(x[::step] for x in given)
    with mpmath.workprec(100):
        made = [_slow(function, *pair) for pair in zip(*(x.tolist() for x in few), strict=True)]
    return few, np.array(made, np.longdouble)


def _slow(function: Function, *x: float) -> np.longdouble:
    if not all(map(math.isfinite, x)):
        return np.longdouble(math.nan)  # edges are tested by themselves
    made = function.slow(*map(mpmath.mpf, x))
    if isinstance(made, mpmath.mpc):
        return np.longdouble(math.nan)
    return np.longdouble(mpmath.nstr(made, 25))


def _below(dtype: Any) -> Any:
    """The largest number whose distance to the next is finite."""
    return np.nextafter(np.finfo(dtype).max, dtype.type(0))


def errors(made: Array, wanted: Array) -> Array:
    """Units in the last place between results and exact ones; infinite for a wrong kind of result.

    Beyond the largest number the exact result counts as infinite where it rounds to it.
    """
    with np.errstate(all="ignore"):
        rounded = wanted.astype(made.dtype)
        unit = np.spacing(np.minimum(np.abs(rounded), _below(made.dtype))).astype(np.longdouble)
        off = np.abs(made.astype(np.longdouble) - wanted) / unit
        same = (made == rounded) | (np.isnan(made) & np.isnan(wanted))
        largest = np.finfo(made.dtype).max
        last = largest - _below(made.dtype)
        # One rounding apart at the very end of the range is one unit apart.
        ends = np.isinf(made) != np.isinf(rounded)
        finite = np.where(np.isinf(made), np.copysign(largest, made), made)
        bound = np.where(np.isinf(rounded), np.copysign(largest, rounded), rounded)
        near = 1 + np.abs(finite.astype(np.longdouble) - bound) / last
        off = np.where(ends, near, off)
        off = np.where(same & ~np.isfinite(rounded), 0, off)
        return np.where(np.isnan(off), np.inf, off)


def worst(name: str, dtype: DType, target: Target, scale: float = 1.0) -> tuple[float, Any, int]:
    """The largest error, the arguments it is at, and how many points were compared."""
    run = compiled(name, dtype, target)
    found: tuple[float, Any] = (0.0, None)
    points = 0
    for given in samples(name, dtype.np.type, scale):
        few, wanted = exact(name, given)
        off = errors(run(*map(np.ascontiguousarray, few)), wanted)
        if name == "erf" and few[0].dtype == np.float64:
            off = off[np.isfinite(few[0])]
            few = (few[0][np.isfinite(few[0])],)
        points += off.size
        place = int(np.argmax(off))
        if off[place] > found[0]:
            found = (float(off[place]), tuple(float(x[place]) for x in few))
    return *found, points


def run() -> str:
    """The table: one row for each function, one column for each type and target."""
    kinds = targets()
    head = ["function", *(f"{d.name} {t}" for d in (float32, float64) for t in kinds)]
    rows = [head, *([name, *_row(name, kinds)] for name in FUNCTIONS)]
    return "largest error, units in the last place\n" + table(rows)


def _row(name: str, kinds: dict[str, Target]) -> list[str]:
    return [
        f"{worst(name, dtype, target)[0]:.2f}"
        for dtype in (float32, float64)
        for target in kinds.values()
    ]
