"""Initialisers: they fill a tensor in place, outside of any graph, and return it.

Random numbers come from chainrule's generator and are always drawn on the host, so that a model
starts the same whatever engine trains it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..config import STATE, set_state
from ..dtypes import as_dtype
from ..errors import OptionError, ShapeError
from ..graph.trace import outside
from ..tensor import Generator, Tensor, default_generator, zeros

GAINS: dict[str, float] = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "selu": 0.75,
}


def blank(shape: tuple[int, ...], device: Any = None, dtype: Any = None) -> Tensor:
    """Return zeros to be filled by an initialiser.

    >>> tuple(blank((2, 3)).shape)
    (2, 3)
    """
    wanted = STATE.default_dtype if dtype is None else as_dtype(dtype)
    return zeros(shape, dtype=wanted, device=device)


def _fill(tensor: Tensor, values: np.ndarray[Any, Any]) -> Tensor:
    """Give the tensor new values, cast to its dtype; the handle stays."""
    array = np.ascontiguousarray(np.broadcast_to(values, tuple(tensor.shape)))
    with set_state(grad_enabled=False):
        tensor.copy_(Tensor(array.astype(tensor.dtype.np)))
    return tensor


def _drawn(draw: Callable[[Generator], Tensor], generator: Generator | None) -> Any:
    """Return random numbers as an array, drawn now even where a trace is being made."""
    with outside(), set_state(recording=False, grad_enabled=False):
        return draw(generator or default_generator()).node.value().astype(np.float64)


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with uniform numbers from `a` to `b`.

    >>> import chainrule as cr
    >>> w = uniform_(cr.zeros(1000), -0.5, 0.5)
    >>> bool((w.abs() <= 0.5).all())
    True
    """
    if a > b:
        raise OptionError(f"uniform_: a={a} lies above b={b}")
    shape = tuple(tensor.shape)
    units = _drawn(lambda source: source.uniform(shape), generator)
    return _fill(tensor, units * (b - a) + a)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normal numbers.

    >>> import chainrule as cr
    >>> w = normal_(cr.zeros(10000), mean=3.0, std=0.1)
    >>> bool((w.mean() - 3.0).abs() < 0.01)
    True
    """
    if std < 0:
        raise OptionError(f"normal_: std must be 0 or more; {std} was given")
    shape = tuple(tensor.shape)
    return _fill(tensor, _drawn(lambda source: source.normal(shape), generator) * std + mean)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers of which those outside `a` to `b` are drawn again.

    >>> import chainrule as cr
    >>> bool((trunc_normal_(cr.zeros(1000), std=5.0).abs() <= 2.0).all())
    True
    """
    if a >= b:
        raise OptionError(f"trunc_normal_: a={a} must lie below b={b}")
    shape = tuple(tensor.shape)
    values = _drawn(lambda source: source.normal(shape), generator) * std + mean
    # A window far out in the tail is hit too rarely to wait for: the last draws are clipped.
    for _ in range(100):
        outside_window = (values < a) | (values > b)
        count = int(outside_window.sum())
        if count == 0:
            break
        again = _drawn(lambda source, n=count: source.normal((n,)), generator)  # type: ignore[misc]
        values[outside_window] = again * std + mean
    return _fill(tensor, values.clip(a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number.

    >>> import chainrule as cr
    >>> constant_(cr.zeros(2), 0.5).tolist()
    [0.5, 0.5]
    """
    return _fill(tensor, np.full(tuple(tensor.shape), val))


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on its diagonal.

    >>> import chainrule as cr
    >>> eye_(cr.zeros(2, 2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if tensor.ndim != 2:
        raise ShapeError(f"eye_ fills matrices; the tensor has shape {tuple(tensor.shape)}")
    return _fill(tensor, np.eye(*tensor.shape))


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with orthogonal rows or columns, whichever are fewer (Saxe et al., 2014).

    >>> import chainrule as cr
    >>> w = orthogonal_(cr.zeros(2, 5))
    >>> bool(((w @ w.T - cr.eye(2)).abs() < 1e-5).all())
    True
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_ needs a matrix; the tensor has shape {tuple(tensor.shape)}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    drawn = _drawn(lambda source: source.normal((rows, columns)), generator)
    tall = drawn.T if rows < columns else drawn
    q, r = np.linalg.qr(tall)
    # The signs of r's diagonal make the choice of q unique, and its distribution uniform.
    q = q * np.sign(np.diag(r))
    return _fill(tensor, (q.T if rows < columns else q).reshape(tuple(tensor.shape)) * gain)


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs and outputs a weight of shape (out, in, ...) connects.

    >>> import chainrule as cr
    >>> fans(cr.zeros(8, 3, 5, 5))
    (75, 200)
    """
    if tensor.ndim < 2:
        raise ShapeError(
            "the number of inputs and outputs is known of weights of shape (out, in, ...); "
            f"the tensor has shape {tuple(tensor.shape)}"
        )
    area = math.prod(tensor.shape[2:])
    return tensor.shape[1] * area, tensor.shape[0] * area


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance through an activation.

    >>> calculate_gain("relu") ** 2
    2.0000000000000004
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in GAINS:
        known = ", ".join([*GAINS, "leaky_relu"])
        raise OptionError(f"no gain is known for {nonlinearity!r}.\n  expected: one of {known}")
    return GAINS[nonlinearity]


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill uniformly with variance `2 gain² / (inputs + outputs)` (Glorot and Bengio, 2010).

    >>> import chainrule as cr
    >>> bool((xavier_uniform_(cr.zeros(3, 3)).abs() <= 1.0).all())
    True
    """
    bound = gain * math.sqrt(6.0 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill normally with variance `2 gain² / (inputs + outputs)` (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill uniformly with variance `gain² / inputs` (He et al., 2015).

    Args:
        tensor: a weight, (out, in, ...).
        a: the negative slope of the leaky ReLU that follows.
        mode: "fan_in" keeps the variance forward, "fan_out" backward.
        nonlinearity: the activation that follows; see `calculate_gain`.
        generator: where the random numbers come from; None is the global generator.

    >>> import chainrule as cr
    >>> bool((kaiming_uniform_(cr.zeros(4, 6)).abs() <= 1.0).all())
    True
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill normally with variance `gain² / inputs` (He et al., 2015); see `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise OptionError(f"mode={mode!r} does not exist; it is 'fan_in' or 'fan_out'")
    fan = fans(tensor)[0 if mode == "fan_in" else 1]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """Fill a matrix normally, with a share `sparsity` of each column set to zero.

    >>> import chainrule as cr
    >>> int((sparse_(cr.zeros(10, 1), 0.3) == 0).sum())
    3
    """
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_ fills matrices; the tensor has shape {tuple(tensor.shape)}")
    rows, columns = tensor.shape
    values = _drawn(lambda source: source.normal((rows, columns)), generator) * std
    for column in range(columns):
        order = _drawn(lambda source: source.permutation(rows), generator).astype(np.int64)
        values[order[: math.ceil(sparsity * rows)], column] = 0.0
    return _fill(tensor, values)
