"""The matrix product.

``matmul(a, b; ta, tb)`` multiplies the last two axes, each operand transposed first where its flag
says. The flags are there so that the derivatives are products again, without transposed copies:
with C = A B, ∂J/∂A = G Bᵀ and ∂J/∂B = Aᵀ G (Goodfellow, Bengio, Courville, Deep Learning,
eq. 6.51).
"""

from __future__ import annotations

from math import prod
from typing import Any

from ..errors import DTypeError, ShapeError
from ..graph.node import Aval, Op, make_aval
from ._infer import broadcast


def _infer(a: Aval, b: Aval, *, ta: bool, tb: bool) -> Aval:
    if a.ndim < 2 or b.ndim < 2:
        raise ShapeError(
            f"a matrix product needs operands of two or more dimensions; given {a.shape} and"
            f" {b.shape}"
        )
    rows, inner = (a.shape[-1], a.shape[-2]) if ta else (a.shape[-2], a.shape[-1])
    inner_b, columns = (b.shape[-1], b.shape[-2]) if tb else (b.shape[-2], b.shape[-1])
    if inner != inner_b:
        written = f"{a.shape}{'ᵀ' if ta else ''} @ {b.shape}{'ᵀ' if tb else ''}"
        raise ShapeError(
            f"matrix product {written}: the inner lengths differ, {inner} and {inner_b}.\n"
            f"  given: {a.shape} and {b.shape}\n"
            f"  expected: the same length summed over on both sides\n"
            f"  fix: give the second operand {inner} {'columns' if tb else 'rows'}, or the first"
            f" {inner_b} {'rows' if ta else 'columns'}"
        )
    if not (a.dtype.is_float or a.dtype.is_int):
        raise DTypeError("a matrix product of booleans is not defined; convert with .float()")
    return make_aval((*broadcast(a.shape[:-2], b.shape[:-2]), rows, columns), a.dtype)


def _array(xp: Any, a: Any, b: Any, *, ta: bool, tb: bool) -> Any:
    return xp.matmul(a.mT if ta else a, b.mT if tb else b)


def _left(g: Any, y: Any, a: Any, b: Any, *, ta: bool, tb: bool) -> Any:
    return b.matmul(g, ta=tb, tb=True) if ta else g.matmul(b, ta=False, tb=not tb)


def _right(g: Any, y: Any, a: Any, b: Any, *, ta: bool, tb: bool) -> Any:
    if b.ndim == 2 and a.ndim > 2 and not ta:
        # One product of all matrices on top of each other, instead of one for each and their sum.
        a, g = _on_top(a), _on_top(g)
    return g.matmul(a, ta=True, tb=ta) if tb else a.matmul(g, ta=not ta, tb=False)


def _on_top(matrices: Any) -> Any:
    return matrices.reshape((prod(matrices.shape[:-1]), matrices.shape[-1]))


MATMUL = Op(
    name="matmul",
    infer=_infer,
    array=_array,
    vjps=(_left, _right),
    promote="same",
    text="{0} @ {1}",
    tex="{0} {1}",
)
