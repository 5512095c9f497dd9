"""Elementary functions for vectors and scalars of float32 and float64.

All of them pass not-a-number on, are right at infinities and zeros, and are within 4 units in the
last place everywhere (``docs/numerics.md`` has what was measured). Methods: range reduction by
parts of ln 2 and pi / 2 after Cody and Waite (1980), polynomials of ``constants.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import constants
from .ir import Function
from .types import BOOL, FLOAT64, INT64, PTR, Value, literal

if TYPE_CHECKING:
    from .body import Emitter


@dataclass(frozen=True)
class _Format:
    """How a floating-point type is laid out."""

    integer: str
    mantissa: int
    bias: int
    rounder: float  # adding it leaves the nearest whole number in the low bits
    least: float  # smallest normal number
    overflow: float  # exp of this is infinite
    underflow: float  # exp of this is 0
    whole: float  # expm1 below minus this is -1
    flat: float  # tanh of this is 1


_FORMATS = {
    "float32": _Format("int32", 23, 127, 12582912.0, 2.0**-126, 89.0, -104.0, 18.0, 10.0),
    "float64": _Format(
        "int64", 52, 1023, 6755399441055744.0, 2.0**-1022, 710.0, -746.0, 38.0, 20.0
    ),
}


def _polynomial(e: Emitter, x: Value, coefficients: constants.Coefficients) -> Value:
    made: Value | float = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        made = e.fma(x, made, coefficient)
    assert isinstance(made, Value)
    return made


def _power_of_two(e: Emitter, n: Value, format: _Format) -> Value:
    """2 to the power of an integer that a normal number can hold."""
    shifted = e.bits("shl", e.add(n, format.bias), format.mantissa)
    return e.reinterpret(shifted, "float32" if format.mantissa == 23 else "float64")


def _reduced(e: Emitter, x: Value, format: _Format) -> tuple[Value, Value, Value]:
    """n, r and exp(r) - 1 with x = n ln 2 + r, n an integer value."""
    high, low = constants.LN2[x.type.name]
    rounded = e.fma(x, constants.LOG2_E, format.rounder)
    n = _low_bits(e, rounded, format)
    whole = e.sub(rounded, format.rounder)
    r = e.fma(whole, -low, e.fma(whole, -high, x))
    p = e.fma(e.mul(r, r), _polynomial(e, r, constants.EXP[x.type.name]), r)
    return n, r, p


def _low_bits(e: Emitter, rounded: Value, format: _Format) -> Value:
    """The whole number that adding the rounder left in the low bits."""
    pattern = e.reinterpret(rounded, format.integer)
    offset = e.reinterpret(e.const(format.rounder, rounded), format.integer)
    return e.sub(pattern, offset)


def exp(e: Emitter, x: Value) -> Value:
    """e to the power x."""
    format = _FORMATS[x.type.name]
    x = e.min(e.max(x, format.underflow), format.overflow)
    n, _, p = _reduced(e, x, format)
    # In two factors, so that results near the ends of the range come out.
    half = e.bits("ashr", n, 1)
    first = _power_of_two(e, half, format)
    second = _power_of_two(e, e.sub(n, half), format)
    return e.mul(e.mul(e.add(p, 1.0), first), second)


def expm1(e: Emitter, x: Value) -> Value:
    """exp(x) - 1."""
    format = _FORMATS[x.type.name]
    made = _expm1_inside(e, e.min(e.max(x, -format.whole), format.overflow), format)
    # Zero keeps its sign, and tiny numbers are their own result, whose half may be flushed to zero.
    return e.select(e.lt(e.abs(x), 2.0**-60), x, made)


def _expm1_inside(e: Emitter, x: Value, format: _Format) -> Value:
    """exp(x) - 1 where neither end of the range is near; the sign of zero may be lost."""
    n, _, p = _reduced(e, x, format)
    half = _power_of_two(e, e.sub(n, 1), format)
    made = e.fma(p, half, e.sub(half, 0.5))
    return e.add(made, made)


def log(e: Emitter, x: Value) -> Value:
    """The natural logarithm."""
    format = _FORMATS[x.type.name]
    tiny = e.lt(x, format.least)
    scaled = e.select(tiny, e.mul(x, 2.0**format.mantissa), x)
    exponent, f = _split(e, scaled, format)
    exponent = e.sub(exponent, e.select(tiny, float(format.mantissa), e.const(0.0, x)))
    return _log_edges(e, x, 0.0, _log_of(e, exponent, f))


def log1p(e: Emitter, x: Value) -> Value:
    """log(1 + x)."""
    format = _FORMATS[x.type.name]
    u = e.add(x, 1.0)
    # What rounding 1 + x lost: which part it is depends on which is larger.
    lost = e.select(e.lt(x, 1.0), e.sub(x, e.sub(u, 1.0)), e.sub(1.0, e.sub(u, x)))
    exponent, f = _split(e, u, format)
    # Of the largest numbers nothing is lost that counts; their power has no normal reciprocal.
    n = e.convert("fptosi", e.min(exponent, format.bias - 1.0), format.integer)
    f = e.fma(lost, _power_of_two(e, e.sub(0, n), format), f)
    made = _log_edges(e, x, -1.0, _log_of(e, exponent, f))
    return e.select(e.eq(x, 0.0), x, made)


def _split(e: Emitter, x: Value, format: _Format) -> tuple[Value, Value]:
    """Exponent (as a float) and f with x = 2^exponent (1 + f), 1 + f nearest to 1."""
    name = x.type.name
    pattern = e.reinterpret(x, format.integer)
    root = e.reinterpret(e.const(math.sqrt(0.5), x), format.integer)
    exponent = e.bits("ashr", e.sub(pattern, root), format.mantissa)
    mantissa = e.sub(pattern, e.bits("shl", exponent, format.mantissa))
    one = e.reinterpret(mantissa, name)
    return e.convert("sitofp", exponent, name), e.sub(one, 1.0)


def _log_of(e: Emitter, exponent: Value, f: Value) -> Value:
    """exponent ln 2 + log(1 + f)."""
    high, low = constants.LN2[f.type.name]
    square = e.mul(f, f)
    if f.type.name == "float32":
        cubic = e.mul(e.mul(f, square), _polynomial(e, f, constants.LOG_SHORT))
        rest = e.fma(square, -0.5, e.fma(exponent, low, cubic))
        return e.fma(exponent, high, e.add(f, rest))
    s = e.div(f, e.add(f, 2.0))
    z = e.mul(s, s)
    series = e.mul(z, _polynomial(e, z, constants.LOG_LONG))
    half = e.mul(square, 0.5)
    rest = e.sub(half, e.fma(s, e.add(half, series), e.mul(exponent, low)))
    return e.sub(e.mul(exponent, high), e.sub(rest, f))


def _log_edges(e: Emitter, x: Value, pole: float, made: Value) -> Value:
    """Infinity and not-a-number pass; -infinity at the pole, not-a-number below."""
    made = e.select(e.lt(x, math.inf), made, x)
    made = e.select(e.gt(x, pole), made, e.select(e.eq(x, pole), -math.inf, e.add(x, math.nan)))
    return made


def sigmoid(e: Emitter, x: Value) -> Value:
    """1 / (1 + exp(-x)), below 0 as exp(x) / (1 + exp(x)), which does not overflow."""
    small = exp(e, e.neg(e.abs(x)))
    above = e.select(e.lt(x, 0.0), small, 1.0)
    return e.div(above, e.add(small, 1.0))


def softplus(e: Emitter, x: Value) -> Value:
    """log(1 + exp(x))."""
    return e.add(e.max(x, 0.0), log1p(e, exp(e, e.neg(e.abs(x)))))


def tanh(e: Emitter, x: Value) -> Value:
    """The hyperbolic tangent, from m = exp(2|x|) - 1 as m / (m + 2)."""
    format = _FORMATS[x.type.name]
    m = _expm1_inside(e, e.mul(e.min(e.abs(x), format.flat), 2.0), format)
    return _with_sign(e, e.div(m, e.add(m, 2.0)), x)


def _with_sign(e: Emitter, magnitude: Value, sign: Value) -> Value:
    return e.function.intrinsic("copysign", magnitude.type, [magnitude, sign])


def erf(e: Emitter, x: Value) -> Value:
    """The error function: a series near 0, 1 - exp(log(1 - erf)) further out."""
    name = x.type.name
    size = e.min(e.abs(x), constants.ERF_END[name])
    near = e.mul(x, _polynomial(e, e.mul(x, x), constants.ERF_NEAR[name]))
    place = e.sub(size, constants.ERF_CENTRE[name])
    far = e.sub(1.0, exp(e, _polynomial(e, place, constants.ERF_FAR[name])))
    return e.select(e.lt(size, constants.ERF_BOUND[name]), near, _with_sign(e, far, x))


# Beyond this many quarter turns the parts of pi / 2 run out; the C library takes over.
_TURNS = 2.0**20


def sin(e: Emitter, x: Value) -> Value:
    """The sine."""
    return e.select(e.eq(x, 0.0), x, _circular(e, x, "sin"))


def cos(e: Emitter, x: Value) -> Value:
    """The cosine."""
    return _circular(e, x, "cos")


def _circular(e: Emitter, x: Value, name: str) -> Value:
    """Reduce by quarter turns in float64, then one of two polynomials with a sign."""
    format = _FORMATS["float64"]
    wide = e.cast_to(x, "float64")
    limit = _TURNS / constants.TWO_OVER_PI
    far = e.gt(e.abs(wide), limit)
    safe = e.select(far, 0.0, wide)
    rounded = e.fma(safe, constants.TWO_OVER_PI, format.rounder)
    turns = e.sub(rounded, format.rounder)
    rest = safe
    for part in constants.HALF_PI:
        rest = e.fma(turns, -part, rest)
    r = e.cast_to(rest, x.type.name)
    quadrant = _low_bits(e, rounded, format)
    quadrant = e.add(quadrant, 1) if name == "cos" else quadrant
    made = _quarter(e, r, quadrant)
    return _far_lanes(e, name, wide, far, made)


def _quarter(e: Emitter, r: Value, quadrant: Value) -> Value:
    """sin(r + quadrant pi / 2)."""
    square = e.mul(r, r)
    sine = e.fma(e.mul(r, square), _polynomial(e, square, constants.SINE[r.type.name]), r)
    tail = e.mul(e.mul(square, square), _polynomial(e, square, constants.COSINE[r.type.name]))
    cosine = e.add(e.fma(square, -0.5, tail), 1.0)
    odd = e.ne(e.bits("and", quadrant, 1), 0)
    negative = e.ne(e.bits("and", quadrant, 2), 0)
    made = e.select(odd, cosine, sine)
    return e.select(negative, e.neg(made), made)


def _far_lanes(e: Emitter, name: str, wide: Value, far: Value, made: Value) -> Value:
    """Let the C library compute the lanes beyond the limit, where there are any."""
    function = e.function
    some = far
    if far.lanes:
        full = f"llvm.vector.reduce.or.{far.type.suffix}"
        function.module.declare(f"declare i1 @{full}({far.type.text})")
        some = function.value(f"call i1 @{full}({far!r})", BOOL)

    def body() -> list[Value]:
        slots = [function.entry_value(f"alloca {wide.type.text}, align 64", PTR) for _ in range(2)]
        function.store(wide, slots[0])
        function.store(e.cast_to(made, "float64"), slots[1])
        count = literal(max(1, wide.lanes), INT64)
        function.call(_library_lanes(function, name), [*slots, count])
        return [e.cast_to(function.load(slots[1], wide.type), made.type.name)]

    return function.choose(some, body, [made])[0]


def _library_lanes(function: Function, name: str) -> str:
    """A function that replaces results by the C library's where arguments are too large."""
    function.module.declare(f"declare double @{name}(double)")

    def write(inner: Function) -> None:
        given, out, count = inner.params

        def lane(i: Value, _: list[Value]) -> None:
            at = inner.offset(given, i, "double")
            x = inner.load(at, FLOAT64)
            size = inner.intrinsic("fabs", FLOAT64, [x])

            def replace() -> None:
                exact = inner.value(f"call double @{name}(double {x.text})", FLOAT64)
                inner.store(exact, inner.offset(out, i, "double"))

            limit = literal(_TURNS / constants.TWO_OVER_PI, FLOAT64)
            inner.when(inner.compare("gt", size, limit), replace)

        inner.loop(0, count, 1, [], lane)
        inner.ret()

    params = [("given", PTR), ("out", PTR), ("count", INT64)]
    return function.module.shared(f"{name}.far", params, write)


def pow(e: Emitter, x: Value, y: Value) -> Value:
    """x to the power y.

    Exponents that are known and small come as products or roots; otherwise the C library's function
    is called for each lane, in float64, because a float32 result needs more digits on the way.
    """
    known = {0.0: lambda: e.const(1.0, x), 1.0: lambda: x, 2.0: lambda: e.mul(x, x)}
    known[3.0] = lambda: e.mul(e.mul(x, x), x)
    known[-1.0] = lambda: e.div(e.const(1.0, x), x)
    if y.number is not None and float(y.number) in known:
        return known[float(y.number)]()
    wide = [e.cast_to(each, "float64") for each in (x, y)]
    made = e.function.intrinsic("pow", wide[0].type, wide)
    return e.cast_to(made, x.type.name)
