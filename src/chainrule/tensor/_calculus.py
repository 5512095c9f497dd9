"""Jacobians, Hessians, products with them, and the check of gradients against differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autodiff import sweep
from ..config import set_state
from ..dtypes import float64
from ..errors import GradientError, ShapeError
from ..graph.trace import Trace
from ..graph.walk import topological
from ..ops import Expr
from ..ops._apply import constant_array
from ..ops.batch import replay
from ._grad import grad
from ._handle import array_leaf, leaf
from ._tensor import Tensor


def _given(inputs: Any) -> list[Tensor]:
    return list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]


def _fresh(inputs: list[Tensor], create_graph: bool) -> list[Tensor]:
    """The inputs as tensors that require grad: themselves where history is wanted."""
    if create_graph:
        return [x if x.requires_grad else x.detach().requires_grad_() for x in inputs]
    return [Tensor(leaf(x._node.owner, x.dtype, x._node.shape, True)) for x in inputs]


def jacobian(func: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """All partial derivatives of a function's result with respect to its inputs.

    One backward pass is traced and applied to all elements of the result at once.

    Args:
        func: a function of tensors that returns one tensor y.
        inputs: a tensor x, or a tuple of them.
        create_graph: whether the result can be differentiated again.

    Returns:
        A tensor of shape (\\*y.shape, \\*x.shape); a tuple of them for a tuple of inputs.

    Raises:
        GradientError: when y does not depend on the inputs.

    Example:
        >>> import chainrule as cr
        >>> jacobian(lambda x: x ** 2, cr.tensor([1.0, 3.0]))
        tensor([[2., 0.],
                [0., 6.]])
    """
    xs = _fresh(_given(inputs), create_graph)
    with set_state(grad_enabled=True):
        y = func(*xs)
        if not isinstance(y, Tensor):
            raise GradientError(f"jacobian: the function must return one tensor; got {type(y)}")
        rows = all_rows(y.node, [x.node for x in xs], create_graph)
    shaped = [
        Tensor(row.reshape((*y._node.shape, *x._node.shape)))
        for row, x in zip(rows, xs, strict=True)
    ]
    return tuple(shaped) if isinstance(inputs, (tuple, list)) else shaped[0]


def all_rows(y: Expr, xs: list[Expr], create_graph: bool) -> list[Expr]:
    """The gradient of each element of y: one traced backward pass, batched over unit seeds."""
    size = y.size
    recording = Trace(Expr)
    seed = recording.placeholder(y.aval)
    with set_state(trace=recording):
        swept = sweep(y, wanted=xs, seed=seed)
    totals = [swept[x] for x in xs]
    found = [total for total in totals if total is not None]
    order = topological(found, lambda node: node.trace is recording)
    units = constant_array(np.eye(size, dtype=y.dtype.np).reshape(size, *y.shape), y.dtype)
    # What the backward pass reads of the forward one has values, and stands for itself.
    outside = {
        source: (source, False)
        for node in order
        for source in node.inputs
        if node.inputs and source.trace is not recording
    }
    # So do tensors that a derivative of the user's own reads or makes.
    outside |= {found: (handle._node, False) for handle, found in recording.captured}
    with set_state(grad_enabled=create_graph):
        rows = iter(replay(order, found, {seed: (units, True), **outside}, size))
        return [
            _row(x, None if total is None else next(rows), size)
            for x, total in zip(xs, totals, strict=True)
        ]


def _row(x: Expr, pair: Any, size: int) -> Expr:
    shape = (size, *x.shape)
    if pair is None:
        zeros: Any = constant_array(np.zeros(shape, x.dtype.np), x.dtype)
        return zeros  # type: ignore[no-any-return]
    node, batched = pair
    result: Expr = node if batched else node.expand(shape)
    return result


def hessian(func: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """All second partial derivatives of a function of one number.

    Args:
        func: a function of tensors that returns a tensor of one element.
        inputs: a tensor x, or a tuple of them.
        create_graph: whether the result can be differentiated again.

    Returns:
        A tensor of shape (\\*x.shape, \\*x.shape); for a tuple of inputs, a tuple of tuples.

    Example:
        >>> import chainrule as cr
        >>> hessian(lambda x: (x ** 3).sum(), cr.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    several = isinstance(inputs, (tuple, list))

    def slope(which: int) -> Callable[..., Any]:
        return lambda *xs: grad(_one_number(func(*xs), "hessian"), xs, allow_unused=True)[which]

    rows = []
    for which, x in enumerate(_given(inputs)):
        if _constant_slope(slope(which), _given(inputs)):
            row: Any = tuple(
                Tensor(array_leaf(np.zeros((*x.shape, *other.shape), x.dtype.np)))
                for other in _given(inputs)
            )
        else:
            row = jacobian(slope(which), tuple(_given(inputs)), create_graph)
        rows.append(row)
    return tuple(rows) if several else rows[0][0]


def _constant_slope(slope: Callable[..., Any], inputs: list[Tensor]) -> bool:
    """Whether the slope depends on nothing: its derivative is zero, and has no graph."""
    with set_state(grad_enabled=True):
        result = slope(*_fresh(inputs, False))
    return result is None or not result.requires_grad


def _one_number(y: Any, what: str) -> Any:
    if not isinstance(y, Tensor) or y.numel() != 1:
        shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise GradientError(
            f"{what}: the function must return a tensor of one element; got {shape}.\n"
            "  fix: sum the result"
        )
    return y


def hvp(func: Callable[..., Any], inputs: Any, v: Any) -> tuple[Tensor, Any]:
    """The product of a function's Hessian with a vector, without making the Hessian.

    It is the gradient of (gradient · v) (Pearlmutter, "Fast exact multiplication by the Hessian",
    Neural Computation 6, 1994).

    Args:
        func: a function of tensors that returns a tensor of one element.
        inputs: a tensor x, or a tuple of them.
        v: tensors of the shapes of the inputs.

    Returns:
        The function's value, and the product: a tensor of x's shape, or a tuple of them.

    Raises:
        ShapeError: when v does not have the shapes of the inputs.

    Example:
        >>> import chainrule as cr
        >>> x, v = cr.tensor([1.0, 2.0]), cr.tensor([1.0, 1.0])
        >>> hvp(lambda x: (x ** 3).sum(), x, v)[1]
        tensor([ 6., 12.])
    """
    xs, vs = _fresh(_given(inputs), False), _given(v)
    if [tuple(x.shape) for x in xs] != [tuple(one.shape) for one in vs]:
        raise ShapeError("hvp: v must have the shapes of the inputs")
    with set_state(grad_enabled=True):
        y = _one_number(func(*xs), "hvp")
        slopes = grad(y, xs)
        along = sum((g * one).sum() for g, one in zip(slopes, vs, strict=True))
        if not isinstance(along, Tensor) or not along.requires_grad:
            products: Sequence[Any] = [None] * len(xs)
        else:
            products = grad(along, xs, create_graph=False, allow_unused=True)
    filled = [
        Tensor(array_leaf(np.zeros(x.shape, x.dtype.np))) if one is None else one
        for x, one in zip(xs, products, strict=True)
    ]
    return y.detach(), tuple(filled) if isinstance(inputs, (tuple, list)) else filled[0]


def check_grad(
    func: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
) -> bool:
    """Compare a function's derivatives with central differences, in float64.

    Args:
        func: a function of tensors that returns one tensor.
        inputs: a tensor, or a tuple of them; they are converted to float64.
        eps: half the distance of the two points of a difference.
        atol, rtol: what may differ: ``atol + rtol * |difference|``.

    Returns:
        True.

    Raises:
        GradientError: naming the derivative that is farthest off, with both numbers.

    Example:
        >>> import chainrule as cr
        >>> check_grad(lambda x: (x.sin() * x).sum(), cr.tensor([0.5, 2.0]))
        True
    """
    values = [x.detach().numpy().astype(np.float64) for x in _given(inputs)]
    with set_state(default_dtype=float64):
        tensors = tuple(Tensor(array_leaf(value)) for value in values)
        exact = jacobian(func, tensors)
        for number, value in enumerate(values):
            numeric = _differences(func, values, number, eps)
            ours = exact[number].numpy().reshape(numeric.shape)
            off = np.abs(ours - numeric) - (atol + rtol * np.abs(numeric))
            if off.size and not off.max() <= 0:
                worst = np.unravel_index(np.argmax(np.nan_to_num(off, nan=np.inf)), off.shape)
                place = np.unravel_index(worst[1], value.shape) if value.ndim else ()
                at = tuple(int(k) for k in place)
                raise GradientError(
                    "a derivative differs from its central difference.\n"
                    f"  where: output element {int(worst[0])}, input {number}, element {at}\n"
                    f"  derivative: {ours[worst]:.8g}\n  difference: {numeric[worst]:.8g}"
                )
    return True


def _differences(
    func: Callable[..., Any], values: list[Any], number: int, eps: float
) -> np.ndarray[Any, Any]:
    """(outputs, inputs) by central differences."""

    def at(flat: Any) -> Any:
        moved = list(values)
        moved[number] = flat.reshape(values[number].shape)
        with set_state(grad_enabled=False):
            result = func(*(Tensor(array_leaf(value.copy())) for value in moved))
        return result.numpy().astype(np.float64).reshape(-1)

    flat = values[number].reshape(-1)
    columns = []
    for k in range(flat.size):
        up, down = flat.copy(), flat.copy()
        up[k] += eps
        down[k] -= eps
        columns.append((at(up) - at(down)) / (2 * eps))
    outputs = at(flat).size
    return np.stack(columns, 1) if columns else np.zeros((outputs, 0))
