"""The emitter that the scalar bodies of ops are written on.

One body serves vectors and scalars of every element type. A value that is the same for all lanes
stays a scalar until it meets a vector.
"""

from __future__ import annotations

from collections.abc import Callable

from ....dtypes import DType
from ....errors import EngineError
from . import mathematics
from .ir import Function, Number, comparison
from .types import BOOL, INT64, Type, Value, literal, of, vector_literal

Given = Value | Number


class Emitter:
    """Writes elementwise arithmetic into a function.

    Args:
        function: where to write.
        lanes: lanes of the vectors that are mixed with scalars.
        index: gives this point's index along an axis, for bodies that ask for it.
    """

    def __init__(
        self,
        function: Function,
        lanes: int,
        index: Callable[[int], Value] | None = None,
    ) -> None:
        self.function = function
        self.lanes = lanes
        self._index = index

    # -- forming operands ------------------------------------------------------------------------
    def const(self, value: Number, like: Value | DType) -> Value:
        """A number in the type of another value."""
        if isinstance(like, Value):
            return literal(value, like.type)
        return literal(value, of(like))

    def splat(self, value: Value, lanes: int | None = None) -> Value:
        """A scalar in every lane; vectors pass."""
        lanes = self.lanes if lanes is None else lanes
        if value.lanes or not lanes:
            return value
        type = value.type.with_lanes(lanes)
        if value.number is not None:
            return literal(value.number, type)
        scalar, vector, write = value.type.text, type.text, self.function.value
        one = write(
            f"insertelement {vector} poison, {scalar} {value.text}, i32 0", type, [value], True
        )
        zero = f"<{lanes} x i32> zeroinitializer"
        return write(
            f"shufflevector {vector} {one.text}, {vector} poison, {zero}", type, [one], True
        )

    def match(self, *given: Given) -> list[Value]:
        """The operands as values of equal lanes; plain numbers take the first value's type."""
        like = next(each for each in given if isinstance(each, Value))
        values = [
            each if isinstance(each, Value) else literal(each, like.type.with_lanes(0))
            for each in given
        ]
        lanes = max(each.lanes for each in values)
        return [self.splat(each, lanes) for each in values] if lanes else values

    def op(self, text: str, type: Type, *parts: Value) -> Value:
        """One pure instruction: ``{0}`` stands for the first operand's name, and so on."""
        return self.function.value(
            text.format(*(each.text for each in parts)), type, parts, pure=True
        )

    def _binary(self, name: str, a: Given, b: Given) -> Value:
        one, two = self.match(a, b)
        return self.op(f"{name} {one.type.text} {{0}}, {{1}}", one.type, one, two)

    # -- arithmetic ------------------------------------------------------------------------------
    def add(self, a: Given, b: Given) -> Value:
        """a + b; of masks, or."""
        for product, other in ((b, a), (a, b)):
            factors = self._factors(product, other)
            if factors:
                return self.fma(*factors, other)
        return self._by_type("add", "or", a, b)

    def sub(self, a: Given, b: Given) -> Value:
        """a - b."""
        factors = self._factors(b, a)
        if factors:
            return self.fma(self.neg(factors[0]), factors[1], a)
        factors = self._factors(a, b)
        if factors:
            return self.fma(*factors, self.neg(b) if isinstance(b, Value) else -b)
        return self._by_type("sub", "xor", a, b)

    def mul(self, a: Given, b: Given) -> Value:
        """a * b; of masks, and."""
        made = self._by_type("mul", "and", a, b)
        if made.type.is_float:
            one, two = self.match(a, b)
            # A second value, because equal fixed values are one and the same.
            made = Value(made.text, made.type, made.fixed)
            made.product = (one, two)
        return made

    def _factors(self, product: Given, other: Given) -> tuple[Value, Value] | None:
        """The factors of a product that a sum with ``other`` may take in, to round once.

        Products are contracted here and not by LLVM, whose choice depends on the width of vectors:
        a point must have the same bits wherever it stands.
        """
        if not isinstance(product, Value) or product.product is None:
            return None
        apart = product.fixed and isinstance(other, Value) and not other.fixed
        return None if apart else product.product

    def _by_type(self, name: str, on_masks: str, a: Given, b: Given) -> Value:
        type = (a if isinstance(a, Value) else b).type  # type: ignore[union-attr]
        if type.is_float:
            return self._binary(f"f{name}", a, b)
        return self._binary(on_masks if type.name == "bool" else name, a, b)

    def div(self, a: Given, b: Given) -> Value:
        """a / b; of integers rounded towards zero, and 0 where b is 0."""
        one, two = self.match(a, b)
        if one.type.is_float:
            return self._binary("fdiv", one, two)
        wrong = self.eq(two, 0)
        if not one.type.is_signed:
            return self.select(wrong, 0, self._binary("udiv", one, self.select(wrong, 1, two)))
        # The most negative number over -1 overflows: negate instead.
        minus = self.eq(two, -1)
        safe = self.select(self.lor(wrong, minus), 1, two)
        quotient = self._binary("sdiv", one, safe)
        return self.select(wrong, 0, self.select(minus, self.neg(one), quotient))

    def floordiv(self, a: Given, b: Given) -> Value:
        """a / b rounded down; of integers 0 where b is 0."""
        one, two = self.match(a, b)
        quotient = self.div(one, two)
        if one.type.is_float:
            return self.floor(quotient)
        if not one.type.is_signed:
            return quotient
        rest = self.sub(one, self.mul(quotient, two))
        opposite = self.lt(self._binary("xor", rest, two), 0)
        down = self.land(self.land(self.ne(rest, 0), opposite), self.ne(two, 0))
        return self.select(down, self.sub(quotient, 1), quotient)

    def neg(self, a: Value) -> Value:
        """-a."""
        if a.type.is_float:
            return self.op(f"fneg {a.type.text} {{0}}", a.type, a)
        return self._binary("sub", self.const(0, a), a)

    def fma(self, a: Given, b: Given, c: Given) -> Value:
        """a * b + c, rounded once where the processor can."""
        one, two, three = self.match(a, b, c)
        if not one.type.is_float:
            return self.add(self.mul(one, two), three)
        name = "fma" if self.function.target.has_fma else "fmuladd"
        return self.function.intrinsic(name, one.type, [one, two, three])

    def exact_fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c rounded once on every processor, however slowly."""
        return self.function.intrinsic("fma", a.type, self.match(a, b, c))

    def max(self, a: Given, b: Given) -> Value:
        """The larger; not-a-number where either is."""
        return self._extreme("gt", a, b)

    def min(self, a: Given, b: Given) -> Value:
        """The smaller; not-a-number where either is."""
        return self._extreme("lt", a, b)

    def _extreme(self, kind: str, a: Given, b: Given) -> Value:
        one, two = self.match(a, b)
        if two.number is not None:
            one, two = two, one
        # A comparison with NaN is false and takes the second, which decides where NaN passes.
        chosen = self.select(self._compare(kind, one, two), one, two)
        if not one.type.is_float or one.number is not None:
            return chosen
        return self.select(self._compare("ne", one, one), one, chosen)

    def abs(self, a: Value) -> Value:
        """The magnitude."""
        if a.type.is_float:
            return self.function.intrinsic("fabs", a.type, [a])
        if not a.type.is_signed:
            return a
        return self.select(self.lt(a, 0), self.neg(a), a)

    def sqrt(self, a: Value) -> Value:
        """The square root; not-a-number below 0."""
        return self.function.intrinsic("sqrt", a.type, [a])

    def floor(self, a: Value) -> Value:
        """The largest whole number not above."""
        return self.function.intrinsic("floor", a.type, [a]) if a.type.is_float else a

    # -- comparison and choice -------------------------------------------------------------------
    def _compare(self, kind: str, a: Given, b: Given) -> Value:
        one, two = self.match(a, b)
        name = comparison(kind, one.type)
        type = BOOL.with_lanes(one.lanes)
        return self.op(f"{name} {one.type.text} {{0}}, {{1}}", type, one, two)

    def eq(self, a: Given, b: Given) -> Value:
        """a == b."""
        return self._compare("eq", a, b)

    def ne(self, a: Given, b: Given) -> Value:
        """a != b."""
        return self._compare("ne", a, b)

    def lt(self, a: Given, b: Given) -> Value:
        """a < b."""
        return self._compare("lt", a, b)

    def le(self, a: Given, b: Given) -> Value:
        """a <= b."""
        return self._compare("le", a, b)

    def gt(self, a: Given, b: Given) -> Value:
        """a > b."""
        return self._compare("gt", a, b)

    def ge(self, a: Given, b: Given) -> Value:
        """a >= b."""
        return self._compare("ge", a, b)

    def select(self, mask: Value, a: Given, b: Given) -> Value:
        """a where the mask is set, b elsewhere."""
        one, two = self.match(a, b)
        lanes = max(mask.lanes, one.lanes)
        mask, one, two = (self.splat(each, lanes) for each in (mask, one, two))
        text = f"select {mask.type.text} {{0}}, {one.type.text} {{1}}, {two.type.text} {{2}}"
        return self.op(text, one.type, mask, one, two)

    def land(self, a: Given, b: Given) -> Value:
        """Both masks."""
        return self._binary("and", a, b)

    def lor(self, a: Given, b: Given) -> Value:
        """Either mask."""
        return self._binary("or", a, b)

    def lnot(self, a: Value) -> Value:
        """The opposite mask."""
        return self._binary("xor", a, 1)

    # -- bits ------------------------------------------------------------------------------------
    def bits(self, kind: str, a: Given, b: Given) -> Value:
        """Integer and, or, xor, shl, lshr (zeros in) or ashr (sign in)."""
        return self._binary(kind, a, b)

    def shr(self, a: Value, count: int) -> Value:
        """a shifted right: of signed integers the sign comes in, else zeros."""
        return self._binary("ashr" if a.type.is_signed else "lshr", a, count)

    def reinterpret(self, a: Value, name: str) -> Value:
        """The same bits as another element type of equal size."""
        type = a.type.named(name)
        return self.op(f"bitcast {a.type.text} {{0}} to {type.text}", type, a)

    def convert(self, instruction: str, a: Value, name: str) -> Value:
        """One of LLVM's conversions, such as sitofp or zext."""
        type = a.type.named(name)
        return self.op(f"{instruction} {a.type.text} {{0}} to {type.text}", type, a)

    def cast(self, x: Value, dtype: DType) -> Value:
        """Another element type; floats become integers by dropping the fraction.

        Not-a-number becomes 0 and what is out of range the nearest end, except that ``uint8``
        takes the low bits as NumPy does.
        """
        return self.cast_to(x, dtype.name)

    def cast_to(self, x: Value, name: str) -> Value:
        """As :meth:`cast`, by the name of the type."""
        source = x.type.name
        if source == name:
            return x
        if name == "bool":
            return self.ne(x, 0)
        if source == "bool":
            return self.select(x, literal(1, Type(name)), literal(0, Type(name)))
        floats = (x.type.is_float, name in ("float32", "float64"))
        if floats == (True, True):
            return self.convert("fpext" if name == "float64" else "fptrunc", x, name)
        if floats == (False, True):
            # A byte fits a signed word, which converts in one instruction everywhere.
            wide = self.convert("zext", x, "int32") if source == "uint8" else x
            return self.convert("sitofp" if wide.type.is_signed else "uitofp", wide, name)
        if floats == (True, False):
            return self._to_integer(x, name)
        return self._resize(x, name)

    def _to_integer(self, x: Value, name: str) -> Value:
        middle = x.type.named("int64" if name == "uint32" else "int32" if name == "uint8" else name)
        suffix = f"{middle.suffix}.{x.type.suffix}"
        full = f"llvm.fptosi.sat.{suffix}"
        self.function.module.declare(f"declare {middle.text} @{full}({x.type.text})")
        whole = self.op(f"call {middle.text} @{full}({x.type.text} {{0}})", middle, x)
        return self._resize(whole, name)

    def _resize(self, x: Value, name: str) -> Value:
        have, want = x.type.bytes, Type(name).bytes
        if have == want:
            return Value(x.text, x.type.named(name), x.fixed, x.number)
        if want < have:
            return self.convert("trunc", x, name)
        return self.convert("sext" if x.type.is_signed else "zext", x, name)

    def index(self, axis: int) -> Value:
        """This point's index along an axis of the domain, int64."""
        if self._index is None:
            raise EngineError("this kernel gives its body no index.")
        return self._index(axis)

    def counting(self) -> Value:
        """0, 1, 2, ... over the lanes, int64; 0 for scalars."""
        if not self.lanes:
            return literal(0, INT64)
        return vector_literal(list(range(self.lanes)), Type("int64", self.lanes))

    # -- functions -------------------------------------------------------------------------------
    def exp(self, x: Value) -> Value:
        """e to the power x."""
        return mathematics.exp(self, x)

    def log(self, x: Value) -> Value:
        """The natural logarithm; -inf at 0, not-a-number below."""
        return mathematics.log(self, x)

    def log1p(self, x: Value) -> Value:
        """log(1 + x), exact for small x."""
        return mathematics.log1p(self, x)

    def expm1(self, x: Value) -> Value:
        """exp(x) - 1, exact for small x."""
        return mathematics.expm1(self, x)

    def sin(self, x: Value) -> Value:
        """The sine of an angle in radians."""
        return mathematics.sin(self, x)

    def cos(self, x: Value) -> Value:
        """The cosine of an angle in radians."""
        return mathematics.cos(self, x)

    def tanh(self, x: Value) -> Value:
        """The hyperbolic tangent."""
        return mathematics.tanh(self, x)

    def sigmoid(self, x: Value) -> Value:
        """1 / (1 + exp(-x))."""
        return mathematics.sigmoid(self, x)

    def softplus(self, x: Value) -> Value:
        """log(1 + exp(x)), without overflow."""
        return mathematics.softplus(self, x)

    def erf(self, x: Value) -> Value:
        """The error function."""
        return mathematics.erf(self, x)

    def pow(self, x: Given, y: Given) -> Value:
        """x to the power y, as C's pow at every edge."""
        return mathematics.pow(self, *self.match(x, y))
