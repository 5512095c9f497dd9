"""Nodes with operators, so that derivative rules are plain expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..dtypes import DType
from ..graph.node import CONSTANT, Node, Op
from . import convolution as c
from . import elementwise as e
from . import index as i
from . import order as o
from . import pooling as p
from . import reduction as r
from . import shape as s
from ._apply import (
    CONSTANTS,
    PLAIN,
    apply,
    cast_node,
    constant,
    literal_dtype,
    make,
    set_node_class,
)
from .product import MATMUL

Number = bool | int | float
Ints = tuple[int, ...]


Method = Callable[[Any, Any], Any]


def _operator(op: Op) -> Method:
    """The operator of a node and a node or number."""

    def method(self: Expr, other: Any) -> Any:
        if not isinstance(other, Expr):
            other = self._lift(other)
        return make(op, (self, other), PLAIN, (self.aval, other.aval))

    return method


def _swapped(op: Op) -> Method:
    """The operator of a number and a node."""

    def method(self: Expr, other: Any) -> Any:
        other = self._lift(other)
        return make(op, (other, self), PLAIN, (other.aval, self.aval))

    return method


_EQ, _NE = _operator(e.EQ), _operator(e.NE)
_MAXIMUM, _MINIMUM = _operator(e.MAXIMUM), _operator(e.MINIMUM)


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

    __add__ = _operator(e.ADD)
    __sub__ = _operator(e.SUB)
    __mul__ = _operator(e.MUL)
    __truediv__ = _operator(e.DIV)
    __pow__ = _operator(e.POW)
    __radd__ = _swapped(e.ADD)
    __rsub__ = _swapped(e.SUB)
    __rmul__ = _swapped(e.MUL)
    __rtruediv__ = _swapped(e.DIV)
    __rpow__ = _swapped(e.POW)
    __lt__ = _operator(e.LT)
    __le__ = _operator(e.LE)
    __gt__ = _operator(e.GT)
    __ge__ = _operator(e.GE)

    def _unary(self, op: Op) -> Expr:
        result: Expr = make(op, (self,), PLAIN, (self.aval,))
        return result

    def __neg__(self) -> Expr:
        return self._unary(e.NEG)

    def eq(self, other: Any) -> Expr:
        """Where equal: booleans (``==`` compares nodes by identity)."""
        result: Expr = _EQ(self, other)
        return result

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
        result: Expr = _NE(self, other)
        return result

    def maximum(self, other: Any) -> Expr:
        """The larger of two, element by element."""
        result: Expr = _MAXIMUM(self, other)
        return result

    def minimum(self, other: Any) -> Expr:
        """The smaller of two, element by element."""
        result: Expr = _MINIMUM(self, other)
        return result

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
        attrs = {"axes": axes, "keepdims": keepdims}
        result: Expr = make(r.SUM, (self,), attrs, (self.aval, axes, keepdims))
        return result

    def reshape(self, shape: Ints) -> Expr:
        """Another shape of as many elements; itself where it has it."""
        if shape == self.aval.shape:
            return self
        result: Expr = make(s.RESHAPE, (self,), {"shape": shape}, (self.aval, shape))
        return result

    def expand(self, shape: Ints) -> Expr:
        """Broadcast to a shape; itself where it has it."""
        if shape == self.aval.shape:
            return self
        result: Expr = make(s.EXPAND, (self,), {"shape": shape}, (self.aval, shape))
        return result

    def permute(self, axes: Ints) -> Expr:
        """The axes in another order."""
        result: Expr = apply(s.PERMUTE, self, axes=axes)
        return result

    def slice(self, starts: Ints, stops: Ints, steps: Ints) -> Expr:
        """A part of each axis."""
        result: Expr = apply(s.SLICE, self, starts=starts, stops=stops, steps=steps)
        return result

    def pad(self, low: Ints, high: Ints, interior: Ints) -> Expr:
        """Zeros before, after, between."""
        result: Expr = apply(s.PAD, self, low=low, high=high, interior=interior)
        return result

    def cumsum(self, axis: int) -> Expr:
        """Running sums along an axis."""
        result: Expr = apply(o.CUMSUM, self, axis=axis)
        return result

    def flip(self, axes: Ints) -> Expr:
        """Axes reversed."""
        result: Expr = apply(s.FLIP, self, axes=axes)
        return result

    def matmul(self, other: Expr, ta: bool, tb: bool) -> Expr:
        """The product of the last two axes, transposed first where flagged."""
        attrs = {"ta": ta, "tb": tb}
        key = (self.aval, other.aval, ta, tb)
        result: Expr = make(MATMUL, (self, other), attrs, key)
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

    def convolution(self, w: Node, **at: Any) -> Expr:
        """Cross-correlation with a weight."""
        result: Expr = apply(c.CONVOLUTION, self, w, **at)
        return result

    def convolution_input(self, w: Node, **at: Any) -> Expr:
        """The transpose of convolution, from the output to the input."""
        result: Expr = apply(c.CONVOLUTION_INPUT, self, w, **at)
        return result

    def convolution_weight(self, g: Node, **at: Any) -> Expr:
        """The transpose of convolution, from the output to the weight."""
        result: Expr = apply(c.CONVOLUTION_WEIGHT, self, g, **at)
        return result

    def max_pool(self, **at: Any) -> Expr:
        """The largest element of each window."""
        result: Expr = apply(p.MAX_POOL, self, **at)
        return result

    def max_pool_index(self, **at: Any) -> Expr:
        """Where the largest element of each window stands."""
        result: Expr = apply(p.MAX_POOL_INDEX, self, **at)
        return result

    def max_pool_input(self, index: Node, **at: Any) -> Expr:
        """Each value added where its window's largest element stands."""
        result: Expr = apply(p.MAX_POOL_INPUT, self, index, **at)
        return result

    def window_sum(self, **at: Any) -> Expr:
        """The sum of each window."""
        result: Expr = apply(p.WINDOW_SUM, self, **at)
        return result

    def window_spread(self, **at: Any) -> Expr:
        """The transpose of window_sum."""
        result: Expr = apply(p.WINDOW_SPREAD, self, **at)
        return result


set_node_class(Expr)
