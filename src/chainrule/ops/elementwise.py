"""Ops that compute each element by itself.

Notation in the rules: ``g`` is the gradient of the output ``y``; ``x``, ``a``, ``b`` are inputs.
"""

from __future__ import annotations

import math
from typing import Any

from ..dtypes import DType, bool_
from ..graph.node import Aval, Op, make_aval
from . import _infer
from ._families import binary, compare, unary


def _sign(e: Any, x: Any) -> Any:
    """1 above 0, -1 below, else x itself: 0, or NaN."""
    one, zero = e.const(1, x), e.const(0, x)
    return e.select(e.gt(x, zero), one, e.select(e.lt(x, zero), e.neg(one), x))


NEG = unary(
    "neg",
    array=lambda xp, x: xp.negative(x),
    scalar=lambda e, x: e.neg(x),
    vjp=lambda g, y, x: -g,
    text="-{0}",
    tex="-{0}",
    slope="-1",
    infer=_infer.not_bool("the negative"),
    promote=None,
)
EXP = unary(
    "exp",
    array=lambda xp, x: xp.exp(x),
    scalar=lambda e, x: e.exp(x),
    vjp=lambda g, y, x: g * y,
    text="exp({0})",
    tex=r"e^{{{0}}}",
    slope="exp({0})",
)
LOG = unary(
    "log",
    array=lambda xp, x: xp.log(x),
    scalar=lambda e, x: e.log(x),
    vjp=lambda g, y, x: g / x,
    text="log({0})",
    tex=r"\ln({0})",
    slope="1 / {0}",
    domain=(0.1, 4.0),
)
LOG1P = unary(
    "log1p",
    array=lambda xp, x: xp.log1p(x),
    scalar=lambda e, x: e.log1p(x),
    vjp=lambda g, y, x: g / (x + 1),
    text="log(1 + {0})",
    tex=r"\ln(1 + {0})",
    slope="1 / (1 + {0})",
    domain=(-0.8, 4.0),
)
EXPM1 = unary(
    "expm1",
    array=lambda xp, x: xp.expm1(x),
    scalar=lambda e, x: e.expm1(x),
    vjp=lambda g, y, x: g * (y + 1),
    text="exp({0}) - 1",
    tex=r"e^{{{0}}} - 1",
    slope="exp({0})",
)
SQRT = unary(
    "sqrt",
    array=lambda xp, x: xp.sqrt(x),
    scalar=lambda e, x: e.sqrt(x),
    vjp=lambda g, y, x: g / (y * 2),
    text="sqrt({0})",
    tex=r"\sqrt{{{0}}}",
    slope="1 / (2 sqrt({0}))",
    domain=(0.1, 4.0),
)
ABS = unary(
    "abs",
    array=lambda xp, x: xp.abs(x),
    scalar=lambda e, x: e.abs(x),
    vjp=lambda g, y, x: g * x.sign(),
    text="|{0}|",
    tex=r"|{0}|",
    slope="sign({0})",
    infer=_infer.not_bool("the absolute value"),
    promote=None,
)
SIGN = unary(
    "sign",
    array=lambda xp, x: xp.sign(x),
    scalar=lambda e, x: _sign(e, x),
    vjp=lambda g, y, x: g * 0,
    text="sign({0})",
    tex=r"\operatorname{{sign}}({0})",
    slope="0",
    infer=_infer.not_bool("the sign"),
    promote=None,
)
FLOOR = unary(
    "floor",
    array=lambda xp, x: xp.floor(x),
    scalar=lambda e, x: e.floor(x),
    vjp=lambda g, y, x: g * 0,
    text="floor({0})",
    tex=r"\lfloor {0} \rfloor",
    slope="0",
)
SIN = unary(
    "sin",
    array=lambda xp, x: xp.sin(x),
    scalar=lambda e, x: e.sin(x),
    vjp=lambda g, y, x: g * x.cos(),
    text="sin({0})",
    tex=r"\sin({0})",
    slope="cos({0})",
)
COS = unary(
    "cos",
    array=lambda xp, x: xp.cos(x),
    scalar=lambda e, x: e.cos(x),
    vjp=lambda g, y, x: -(g * x.sin()),
    text="cos({0})",
    tex=r"\cos({0})",
    slope="-sin({0})",
)
TANH = unary(
    "tanh",
    array=lambda xp, x: xp.tanh(x),
    scalar=lambda e, x: e.tanh(x),
    vjp=lambda g, y, x: g * (1 - y * y),
    text="tanh({0})",
    tex=r"\tanh({0})",
    slope="1 - tanh²({0})",
    domain=(-4.0, 4.0),
)
SIGMOID = unary(
    "sigmoid",
    array=lambda xp, x: xp.sigmoid(x),
    scalar=lambda e, x: e.sigmoid(x),
    vjp=lambda g, y, x: g * (y * (1 - y)),
    text="σ({0})",
    tex=r"\sigma({0})",
    slope="σ({0}) (1 - σ({0}))",
    domain=(-6.0, 6.0),
)
RELU = unary(
    "relu",
    array=lambda xp, x: xp.relu(x),
    scalar=lambda e, x: e.max(x, e.const(0, x)),
    vjp=lambda g, y, x: (y > 0).where(g, 0),
    text="max({0}, 0)",
    tex=r"\max({0}, 0)",
    slope="[{0} > 0]",
)
SOFTPLUS = unary(
    "softplus",
    array=lambda xp, x: xp.softplus(x),
    scalar=lambda e, x: e.softplus(x),
    vjp=lambda g, y, x: g * x.sigmoid(),
    text="log(1 + exp({0}))",
    tex=r"\ln(1 + e^{{{0}}})",
    slope="σ({0})",
)
ERF = unary(
    "erf",
    array=lambda xp, x: xp.erf(x),
    scalar=lambda e, x: e.erf(x),
    vjp=lambda g, y, x: g * ((-(x * x)).exp() * (2 / math.sqrt(math.pi))),
    text="erf({0})",
    tex=r"\operatorname{{erf}}({0})",
    slope="2/√π exp(-{0}²)",
)

ADD = binary(
    "add",
    array=lambda xp, a, b: xp.add(a, b),
    scalar=lambda e, a, b: e.add(a, b),
    vjps=(lambda g, y, a, b: g, lambda g, y, a, b: g),
    text="{0} + {1}",
    tex="{0} + {1}",
    slopes=("1", "1"),
)
SUB = binary(
    "sub",
    array=lambda xp, a, b: xp.subtract(a, b),
    scalar=lambda e, a, b: e.sub(a, b),
    vjps=(lambda g, y, a, b: g, lambda g, y, a, b: -g),
    text="{0} - {1}",
    tex="{0} - {1}",
    slopes=("1", "-1"),
    infer=_infer.not_bool("subtraction"),
)
MUL = binary(
    "mul",
    array=lambda xp, a, b: xp.multiply(a, b),
    scalar=lambda e, a, b: e.mul(a, b),
    vjps=(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a),
    text="{0} · {1}",
    tex=r"{0} \cdot {1}",
    slopes=("{1}", "{0}"),
)
DIV = binary(
    "div",
    array=lambda xp, a, b: xp.divide(a, b),
    scalar=lambda e, a, b: e.div(a, b),
    vjps=(lambda g, y, a, b: g / b, lambda g, y, a, b: -(g * (y / b))),
    text="{0} / {1}",
    tex=r"\frac{{{0}}}{{{1}}}",
    slopes=("1 / {1}", "-{0} / {1}²"),
    promote="float",
    domain=(0.3, 3.0),
)
FLOOR_DIV = binary(
    "floor_div",
    array=lambda xp, a, b: (
        xp.floor(xp.divide(a, b)) if a.dtype.kind == "f" else xp.integer_divide(a, b)
    ),
    scalar=lambda e, a, b: e.floordiv(a, b),
    vjps=(None, None),
    text="floor({0} / {1})",
    tex=r"\lfloor {0} / {1} \rfloor",
    domain=(0.3, 3.0),
)


def _power_base(g: Any, y: Any, a: Any, b: Any) -> Any:
    exponent = b.literal
    if exponent is None:
        return b.eq(0).where(0, g * (b * a ** (b - 1)))
    if exponent == 2:
        return g * (a * 2)
    return a * 0 if exponent == 0 else g * (a ** (exponent - 1) * exponent)


def _power_exponent(g: Any, y: Any, a: Any, b: Any) -> Any:
    """y log a, and 0 where the base is 0 (the limit for a positive exponent)."""
    zero = a.eq(0)
    return zero.where(0, g * (y * zero.where(1, a).log()))


POW = binary(
    "pow",
    array=lambda xp, a, b: xp.power(a, b),
    scalar=lambda e, a, b: e.pow(a, b),
    vjps=(_power_base, _power_exponent),
    text="{0} ^ {1}",
    tex="{{{0}}}^{{{1}}}",
    slopes=("{1} · {0} ^ ({1} - 1)", "{0} ^ {1} · log({0})"),
    domain=(0.3, 3.0),
)


def _half_at_ties(g: Any, wins: Any, ties: Any) -> Any:
    return wins.where(g, ties.where(g * 0.5, 0))


MAXIMUM = binary(
    "maximum",
    array=lambda xp, a, b: xp.maximum(a, b),
    scalar=lambda e, a, b: e.max(a, b),
    vjps=(
        lambda g, y, a, b: _half_at_ties(g, a > b, a.eq(b)),
        lambda g, y, a, b: _half_at_ties(g, b > a, a.eq(b)),
    ),
    text="max({0}, {1})",
    tex=r"\max({0}, {1})",
    slopes=("[{0} > {1}]", "[{1} > {0}]"),
)
MINIMUM = binary(
    "minimum",
    array=lambda xp, a, b: xp.minimum(a, b),
    scalar=lambda e, a, b: e.min(a, b),
    vjps=(
        lambda g, y, a, b: _half_at_ties(g, a < b, a.eq(b)),
        lambda g, y, a, b: _half_at_ties(g, b < a, a.eq(b)),
    ),
    text="min({0}, {1})",
    tex=r"\min({0}, {1})",
    slopes=("[{0} < {1}]", "[{1} < {0}]"),
)

EQ = compare("eq", lambda xp, a, b: xp.equal(a, b), lambda e, a, b: e.eq(a, b), "=")
NE = compare("ne", lambda xp, a, b: xp.not_equal(a, b), lambda e, a, b: e.ne(a, b), "≠")
LT = compare("lt", lambda xp, a, b: xp.less(a, b), lambda e, a, b: e.lt(a, b), "<")
LE = compare("le", lambda xp, a, b: xp.less_equal(a, b), lambda e, a, b: e.le(a, b), "≤")
GT = compare("gt", lambda xp, a, b: xp.greater(a, b), lambda e, a, b: e.gt(a, b), ">")
GE = compare("ge", lambda xp, a, b: xp.greater_equal(a, b), lambda e, a, b: e.ge(a, b), "≥")

LOGICAL_AND = compare(
    "logical_and",
    lambda xp, a, b: xp.logical_and(a, b),
    lambda e, a, b: e.land(e.cast(a, bool_), e.cast(b, bool_)),
    "and",
)
LOGICAL_OR = compare(
    "logical_or",
    lambda xp, a, b: xp.logical_or(a, b),
    lambda e, a, b: e.lor(e.cast(a, bool_), e.cast(b, bool_)),
    "or",
)
LOGICAL_NOT = unary(
    "logical_not",
    array=lambda xp, x: xp.logical_not(x),
    scalar=lambda e, x: e.lnot(e.cast(x, bool_)),
    vjp=None,
    text="not {0}",
    tex=r"\lnot {0}",
    infer=_infer.comparison,
    promote=None,
)
WHERE = Op(
    name="where",
    infer=_infer.elementwise,
    array=lambda xp, c, a, b: xp.where(c, a, b),
    vjps=(
        None,
        lambda g, y, c, a, b: c.where(g, 0),
        lambda g, y, c, a, b: c.where(0, g),
    ),
    scalar=lambda e, c, a, b: e.select(c, a, b),
    promote="same",
    promoted_from=1,
    text="({1} if {0} else {2})",
    tex=r"({1} \text{{ if }} {0} \text{{ else }} {2})",
    slopes=("", "[{0}]", "[not {0}]"),
)


def _cast_infer(x: Aval, *, dtype: DType) -> Aval:
    return make_aval(x.shape, dtype)


CAST = Op(
    name="cast",
    infer=_cast_infer,
    array=lambda xp, x, *, dtype: xp.cast(x, dtype.np),
    vjps=(lambda g, y, x, *, dtype: g.cast(x.dtype),),
    scalar=lambda e, x, *, dtype: e.cast(x, dtype),
    text="{0}",
    tex="{0}",
    slopes=("1",),
)
DETACH = unary(
    "detach",
    array=lambda xp, x: x,
    scalar=lambda e, x: x,
    vjp=None,
    text="{0}",
    tex="{0}",
    promote=None,
)


def _shift_infer(x: Aval, *, count: int) -> Aval:
    return make_aval(x.shape, x.dtype)


SHIFT_RIGHT = Op(
    name="shift_right",
    infer=_shift_infer,
    array=lambda xp, x, *, count: xp.right_shift(x, x.dtype.type(count)),
    vjps=(None,),
    scalar=lambda e, x, *, count: e.shr(x, count),
    text="{0} >> count",
    tex=r"{0} \gg count",
)

UNARY = (
    NEG,
    EXP,
    LOG,
    LOG1P,
    EXPM1,
    SQRT,
    ABS,
    SIGN,
    FLOOR,
    SIN,
    COS,
    TANH,
    SIGMOID,
    RELU,
    SOFTPLUS,
    ERF,
    LOGICAL_NOT,
    DETACH,
)
BINARY = (ADD, SUB, MUL, DIV, FLOOR_DIV, POW, MAXIMUM, MINIMUM, LOGICAL_AND, LOGICAL_OR)
COMPARISONS = (EQ, NE, LT, LE, GT, GE)
OTHERS = (WHERE, CAST, SHIFT_RIGHT)
