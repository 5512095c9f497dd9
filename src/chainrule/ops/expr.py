"""Nodes with operators, so that derivative rules are plain expressions."""

from __future__ import annotations

from typing import Any

from ..dtypes import DType
from ..graph.node import CONSTANT, Node, Op
from . import elementwise as e
from . import index as i
from . import order as o
from . import reduction as r
from . import shape as s
from ._apply import CONSTANTS, apply, cast_node, constant, literal_dtype, set_node_class
from .product import MATMUL

Number = bool | int | float
Ints = tuple[int, ...]


class Expr(Node):
    """A node that can be calculated with; every operation is one :func:`apply`."""

    __slots__ = ()

    def _lift(self, other: Any) -> Node:
        if isinstance(other, Node):
            return other
        dtype = self.aval.dtype
        if not dtype.is_float:
            dtype = literal_dtype(other, dtype)
        # A float tensor gives its dtype to any number; the look-up spares two calls.
        return CONSTANTS.get((other, type(other), dtype)) or constant(
            other, literal_dtype(other, dtype)
        )

    @property
    def literal(self) -> Number | None:
        """The number, where this is a 0-d literal; None elsewhere."""
        if self.op is CONSTANT and self.aval.shape == ():
            number: Number = self.value().item()
            return number
        return None

    def _binary(self, op: Op, other: Any) -> Expr:
        result: Expr = apply(op, self, self._lift(other))
        return result

    def _swapped(self, op: Op, other: Any) -> Expr:
        result: Expr = apply(op, self._lift(other), self)
        return result

    def _unary(self, op: Op, **attrs: Any) -> Expr:
        result: Expr = apply(op, self, **attrs)
        return result

    def __add__(self, other: Any) -> Expr:
        result: Expr = apply(e.ADD, self, other if isinstance(other, Expr) else self._lift(other))
        return result

    def __radd__(self, other: Any) -> Expr:
        return self._swapped(e.ADD, other)

    def __sub__(self, other: Any) -> Expr:
        result: Expr = apply(e.SUB, self, other if isinstance(other, Expr) else self._lift(other))
        return result

    def __rsub__(self, other: Any) -> Expr:
        return self._swapped(e.SUB, other)

    def __mul__(self, other: Any) -> Expr:
        result: Expr = apply(e.MUL, self, other if isinstance(other, Expr) else self._lift(other))
        return result

    def __rmul__(self, other: Any) -> Expr:
        return self._swapped(e.MUL, other)

    def __truediv__(self, other: Any) -> Expr:
        result: Expr = apply(e.DIV, self, other if isinstance(other, Expr) else self._lift(other))
        return result

    def __rtruediv__(self, other: Any) -> Expr:
        return self._swapped(e.DIV, other)

    def __pow__(self, other: Any) -> Expr:
        result: Expr = apply(e.POW, self, other if isinstance(other, Expr) else self._lift(other))
        return result

    def __rpow__(self, other: Any) -> Expr:
        return self._swapped(e.POW, other)

    def __neg__(self) -> Expr:
        return self._unary(e.NEG)

    def __lt__(self, other: Any) -> Expr:
        return self._binary(e.LT, other)

    def __le__(self, other: Any) -> Expr:
        return self._binary(e.LE, other)

    def __gt__(self, other: Any) -> Expr:
        result: Expr = apply(e.GT, self, other if isinstance(other, Expr) else self._lift(other))
        return result

    def __ge__(self, other: Any) -> Expr:
        return self._binary(e.GE, other)

    def eq(self, other: Any) -> Expr:
        """Where equal: booleans (``==`` compares nodes by identity)."""
        return self._binary(e.EQ, other)

    def where(self, yes: Any, no: Any) -> Expr:
        """``yes`` where this boolean node holds, else ``no``; one of them may be a number."""
        like = yes if isinstance(yes, Expr) else no
        result: Expr = apply(e.WHERE, self, like._lift(yes), like._lift(no))
        return result

    def exp(self) -> Expr:
        """Elementwise exponential."""
        return self._unary(e.EXP)

    def log(self) -> Expr:
        """Elementwise natural logarithm."""
        return self._unary(e.LOG)

    def sin(self) -> Expr:
        """Elementwise sine."""
        return self._unary(e.SIN)

    def cos(self) -> Expr:
        """Elementwise cosine."""
        return self._unary(e.COS)

    def sign(self) -> Expr:
        """Elementwise sign."""
        return self._unary(e.SIGN)

    def sigmoid(self) -> Expr:
        """Elementwise logistic function."""
        return self._unary(e.SIGMOID)

    def abs(self) -> Expr:
        """Elementwise absolute value."""
        return self._unary(e.ABS)

    def sqrt(self) -> Expr:
        """Elementwise square root."""
        return self._unary(e.SQRT)

    def log1p(self) -> Expr:
        """Elementwise log(1 + x)."""
        return self._unary(e.LOG1P)

    def expm1(self) -> Expr:
        """Elementwise exp(x) - 1."""
        return self._unary(e.EXPM1)

    def tanh(self) -> Expr:
        """Elementwise hyperbolic tangent."""
        return self._unary(e.TANH)

    def relu(self) -> Expr:
        """Elementwise max(x, 0)."""
        return self._unary(e.RELU)

    def softplus(self) -> Expr:
        """Elementwise log(1 + exp(x))."""
        return self._unary(e.SOFTPLUS)

    def erf(self) -> Expr:
        """Elementwise error function."""
        return self._unary(e.ERF)

    def floor(self) -> Expr:
        """Elementwise largest whole number not above x."""
        return self._unary(e.FLOOR)

    def detach(self) -> Expr:
        """The same value, through which no derivative flows."""
        return self._unary(e.DETACH)

    def ne(self, other: Any) -> Expr:
        """Where not equal: booleans."""
        return self._binary(e.NE, other)

    def maximum(self, other: Any) -> Expr:
        """The larger of two, element by element."""
        return self._binary(e.MAXIMUM, other)

    def minimum(self, other: Any) -> Expr:
        """The smaller of two, element by element."""
        return self._binary(e.MINIMUM, other)

    def amax(self, axes: Ints, keepdims: bool) -> Expr:
        """The largest over axes."""
        result: Expr = apply(r.AMAX, self, axes=axes, keepdims=keepdims)
        return result

    def cast(self, dtype: DType) -> Expr:
        """Another dtype; itself where it has it."""
        result: Any = cast_node(self, dtype)
        return result  # type: ignore[no-any-return]

    def sum(self, axes: Ints, keepdims: bool) -> Expr:
        """The sum over axes."""
        result: Expr = apply(r.SUM, self, axes=axes, keepdims=keepdims)
        return result

    def reshape(self, shape: Ints) -> Expr:
        """Another shape of as many elements; itself where it has it."""
        if shape == self.aval.shape:
            return self
        result: Expr = apply(s.RESHAPE, self, shape=shape)
        return result

    def expand(self, shape: Ints) -> Expr:
        """Broadcast to a shape; itself where it has it."""
        if shape == self.aval.shape:
            return self
        result: Expr = apply(s.EXPAND, self, shape=shape)
        return result

    def permute(self, axes: Ints) -> Expr:
        """The axes in another order."""
        return self._unary(s.PERMUTE, axes=axes)

    def slice(self, starts: Ints, stops: Ints, steps: Ints) -> Expr:
        """A part of each axis."""
        return self._unary(s.SLICE, starts=starts, stops=stops, steps=steps)

    def pad(self, low: Ints, high: Ints, interior: Ints) -> Expr:
        """Zeros before, after, between."""
        return self._unary(s.PAD, low=low, high=high, interior=interior)

    def cumsum(self, axis: int) -> Expr:
        """Running sums along an axis."""
        return self._unary(o.CUMSUM, axis=axis)

    def flip(self, axes: Ints) -> Expr:
        """Axes reversed."""
        return self._unary(s.FLIP, axes=axes)

    def matmul(self, other: Expr, ta: bool, tb: bool) -> Expr:
        """The product of the last two axes, transposed first where flagged."""
        result: Expr = apply(MATMUL, self, other, ta=ta, tb=tb)
        return result

    def take(self, index: Node, axis: int) -> Expr:
        """Slices at an index."""
        result: Expr = apply(i.TAKE, self, index, axis=axis)
        return result

    def take_add(self, index: Node, axis: int, size: int) -> Expr:
        """The transpose of take."""
        result: Expr = apply(i.TAKE_ADD, self, index, axis=axis, size=size)
        return result

    def gather(self, index: Node, axis: int) -> Expr:
        """Elements at an index."""
        result: Expr = apply(i.GATHER, self, index, axis=axis)
        return result

    def scatter_add(self, index: Node, axis: int, size: int) -> Expr:
        """The transpose of gather."""
        result: Expr = apply(i.SCATTER_ADD, self, index, axis=axis, size=size)
        return result


set_node_class(Expr)
