"""Operators, elementwise methods and their in-place forms."""

from __future__ import annotations

from typing import Any

from ..config import STATE
from ..dtypes import DType
from ..errors import DTypeError, ShapeError
from ..graph.node import Op
from ..ops import (
    ABS,
    ADD,
    COS,
    DIV,
    EQ,
    ERF,
    EXP,
    EXPM1,
    FLOOR,
    FLOOR_DIV,
    GE,
    GT,
    LE,
    LOG,
    LOG1P,
    LOGICAL_AND,
    LOGICAL_NOT,
    LOGICAL_OR,
    LT,
    MATMUL,
    MAXIMUM,
    MINIMUM,
    MUL,
    NE,
    NEG,
    POW,
    RELU,
    SIGMOID,
    SIGN,
    SIN,
    SQRT,
    SUB,
    TANH,
    WHERE,
    Expr,
    apply,
)
from ..ops._apply import PLAIN, make
from ._handle import TensorHandle, lift


class Arithmetic(TensorHandle):
    """What a tensor does element by element, and matrix products."""

    __slots__ = ()
    # NumPy arrays on the left leave the operation to the tensor on the right.
    __array_priority__ = 1000
    __array_ufunc__ = None

    def _new(self, node: Expr) -> Any:
        raise NotImplementedError

    def _binary(self, op: Op, other: Any) -> Any:
        node = self.node
        right = lift(other, node)
        return self._new(make(op, (node, right), PLAIN, (node.aval, right.aval)))

    def _swapped(self, op: Op, other: Any) -> Any:
        node = self.node
        left = lift(other, node)
        return self._new(make(op, (left, node), PLAIN, (left.aval, node.aval)))

    def _unary(self, op: Op) -> Any:
        node = self.node
        return self._new(make(op, (node,), PLAIN, (node.aval,)))

    def _assign(self, op: Op, other: Any, name: str) -> Any:
        """The in-place form: the handle gets the new node, in its own shape and dtype."""
        self._check_in_place(name)
        node = self.node
        result: Expr = apply(op, node, lift(other, node))
        if result.shape != node.shape:
            raise ShapeError(
                f"{name} cannot change a tensor's shape from {node.shape} to {result.shape}.\n"
                "  fix: use the form that is not in place"
            )
        if result.dtype is not node.dtype:
            if result.dtype.category > node.dtype.category:
                raise DTypeError(
                    f"{name}: a result of {result.dtype} cannot be written into a tensor of"
                    f" {node.dtype}.\n  fix: convert the tensor first, for example x = x.float()"
                )
            result = result.cast(node.dtype)
        self._rebind(result)
        return self

    def __add__(self, other: Any) -> Any:
        return self._binary(ADD, other)

    def __radd__(self, other: Any) -> Any:
        return self._swapped(ADD, other)

    def __sub__(self, other: Any) -> Any:
        return self._binary(SUB, other)

    def __rsub__(self, other: Any) -> Any:
        return self._swapped(SUB, other)

    def __mul__(self, other: Any) -> Any:
        return self._binary(MUL, other)

    def __rmul__(self, other: Any) -> Any:
        return self._swapped(MUL, other)

    def __truediv__(self, other: Any) -> Any:
        return self._binary(DIV, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._swapped(DIV, other)

    def __floordiv__(self, other: Any) -> Any:
        return self._binary(FLOOR_DIV, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._swapped(FLOOR_DIV, other)

    def __mod__(self, other: Any) -> Any:
        return self - self._binary(FLOOR_DIV, other) * other

    def __rmod__(self, other: Any) -> Any:
        return -(self._swapped(FLOOR_DIV, other) * self) + other

    def __pow__(self, other: Any) -> Any:
        return self._binary(POW, other)

    def __rpow__(self, other: Any) -> Any:
        return self._swapped(POW, other)

    def __neg__(self) -> Any:
        return self._unary(NEG)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self._unary(ABS)

    def __invert__(self) -> Any:
        return self._unary(LOGICAL_NOT)

    def __and__(self, other: Any) -> Any:
        return self._binary(LOGICAL_AND, other)

    def __or__(self, other: Any) -> Any:
        return self._binary(LOGICAL_OR, other)

    def __xor__(self, other: Any) -> Any:
        return self._binary(NE, other)

    def __eq__(self, other: object) -> Any:
        return self._binary(EQ, other) if other is not None else False

    def __ne__(self, other: object) -> Any:
        return self._binary(NE, other) if other is not None else True

    def __lt__(self, other: Any) -> Any:
        return self._binary(LT, other)

    def __le__(self, other: Any) -> Any:
        return self._binary(LE, other)

    def __gt__(self, other: Any) -> Any:
        return self._binary(GT, other)

    def __ge__(self, other: Any) -> Any:
        return self._binary(GE, other)

    def __hash__(self) -> int:
        return id(self)

    def __matmul__(self, other: Any) -> Any:
        return self.matmul(other)

    def __rmatmul__(self, other: Any) -> Any:
        return self._new(lift(other, self.node)).matmul(self)

    def __iadd__(self, other: Any) -> Any:
        return self._assign(ADD, other, "+=")

    def __isub__(self, other: Any) -> Any:
        return self._assign(SUB, other, "-=")

    def __imul__(self, other: Any) -> Any:
        return self._assign(MUL, other, "*=")

    def __itruediv__(self, other: Any) -> Any:
        return self._assign(DIV, other, "/=")

    def add(self, other: Any, *, alpha: Any = 1) -> Any:
        """``self + alpha * other``."""
        return self + (other if alpha == 1 else other * alpha)

    def sub(self, other: Any, *, alpha: Any = 1) -> Any:
        """``self - alpha * other``."""
        return self - (other if alpha == 1 else other * alpha)

    def mul(self, other: Any) -> Any:
        """``self * other``."""
        return self * other

    def div(self, other: Any) -> Any:
        """``self / other``."""
        return self / other

    def pow(self, exponent: Any) -> Any:
        """``self ** exponent``."""
        return self**exponent

    def add_(self, other: Any, *, alpha: Any = 1) -> Any:
        """Add in place."""
        return self._assign(ADD, other if alpha == 1 else other * alpha, "add_")

    def sub_(self, other: Any, *, alpha: Any = 1) -> Any:
        """Subtract in place."""
        return self._assign(SUB, other if alpha == 1 else other * alpha, "sub_")

    def mul_(self, other: Any) -> Any:
        """Multiply in place."""
        return self._assign(MUL, other, "mul_")

    def div_(self, other: Any) -> Any:
        """Divide in place."""
        return self._assign(DIV, other, "div_")

    def eq(self, other: Any) -> Any:
        """Where equal."""
        return self == other

    def ne(self, other: Any) -> Any:
        """Where not equal."""
        return self != other

    def lt(self, other: Any) -> Any:
        """Where less."""
        return self < other

    def le(self, other: Any) -> Any:
        """Where less or equal."""
        return self <= other

    def gt(self, other: Any) -> Any:
        """Where greater."""
        return self > other

    def ge(self, other: Any) -> Any:
        """Where greater or equal."""
        return self >= other

    def neg(self) -> Any:
        """The negative."""
        return -self

    def abs(self) -> Any:
        """The absolute value."""
        return self._unary(ABS)

    def sign(self) -> Any:
        """-1, 0 or 1."""
        return self._unary(SIGN)

    def exp(self) -> Any:
        """The exponential."""
        return self._unary(EXP)

    def expm1(self) -> Any:
        """exp(x) - 1, precise near 0."""
        return self._unary(EXPM1)

    def log(self) -> Any:
        """The natural logarithm."""
        return self._unary(LOG)

    def log1p(self) -> Any:
        """log(1 + x), precise near 0."""
        return self._unary(LOG1P)

    def sqrt(self) -> Any:
        """The square root."""
        return self._unary(SQRT)

    def square(self) -> Any:
        """The square."""
        return self * self

    def reciprocal(self) -> Any:
        """1 / x."""
        return 1 / self

    def floor(self) -> Any:
        """The next whole number below."""
        return self._unary(FLOOR)

    def ceil(self) -> Any:
        """The next whole number above."""
        return -((-self).floor())

    def sin(self) -> Any:
        """The sine."""
        return self._unary(SIN)

    def cos(self) -> Any:
        """The cosine."""
        return self._unary(COS)

    def tanh(self) -> Any:
        """The hyperbolic tangent."""
        return self._unary(TANH)

    def sigmoid(self) -> Any:
        """1 / (1 + exp(-x))."""
        return self._unary(SIGMOID)

    def relu(self) -> Any:
        """max(x, 0)."""
        return self._unary(RELU)

    def erf(self) -> Any:
        """The error function."""
        return self._unary(ERF)

    def maximum(self, other: Any) -> Any:
        """The larger of two, element by element."""
        return self._binary(MAXIMUM, other)

    def minimum(self, other: Any) -> Any:
        """The smaller of two, element by element."""
        return self._binary(MINIMUM, other)

    def clamp(self, min: Any = None, max: Any = None) -> Any:
        """Cut off below ``min`` and above ``max``; the gradient is 0 outside."""
        result: Any = self
        if min is not None:
            result = result._replaced(LT, min)
        if max is not None:
            result = result._replaced(GT, max)
        return result

    def _replaced(self, op: Op, limit: Any) -> Any:
        """The limit where the comparison with it holds; at the limit the gradient is whole."""
        node = self.node
        bound = lift(limit, node)
        return self._new(apply(WHERE, apply(op, node, bound), bound, node))

    clip = clamp

    def logical_and(self, other: Any) -> Any:
        """Both hold."""
        return self._binary(LOGICAL_AND, other)

    def logical_or(self, other: Any) -> Any:
        """One holds."""
        return self._binary(LOGICAL_OR, other)

    def logical_not(self) -> Any:
        """It does not hold."""
        return self._unary(LOGICAL_NOT)

    def matmul(self, other: Any) -> Any:
        """The matrix product, by PyTorch's rules for one, two and more dimensions.

        Args:
            other: a tensor; its second-last axis (its only one, if a vector) is as long as this
                one's last.

        Raises:
            ShapeError: when the inner lengths differ, or an operand is 0-d.
        """
        a, b = self.node, lift(other, self.node)
        if a.ndim == 0 or b.ndim == 0:
            raise ShapeError(
                f"a matrix product needs one or more dimensions; given {a.shape} and {b.shape}.\n"
                "  fix: for a number use *"
            )
        left, right = a.ndim == 1, b.ndim == 1
        if left:
            a = a.reshape((1, a.size))
        if right:
            b = b.reshape((b.size, 1))
        result: Expr = apply(MATMUL, a, b, ta=False, tb=False)
        shape = list(result.shape)
        if right:
            del shape[-1]
        if left:
            del shape[-1 if right else -2]
        return self._new(result.reshape(tuple(shape)))

    mm = matmul
    dot = matmul
    bmm = matmul

    def default_float(self) -> DType:
        """The dtype of a floating-point result of this tensor."""
        dtype = self._node.dtype
        return dtype if dtype.is_float else STATE.default_dtype
