"""Making tensors: of zeros, of ranges, of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..config import STATE
from ..errors import OptionError
from ._handle import array_leaf, to_array
from ._shape import check_device, sizes_of
from ._tensor import Tensor


def _made(array: Any, dtype: Any, requires_grad: bool, device: Any = None) -> Tensor:
    if device is not None:
        check_device(device)
    wanted = STATE.default_dtype if dtype is None else dtypes.as_dtype(dtype)
    return Tensor(array_leaf(np.asarray(array, wanted.np)), requires_grad)


def zeros(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Zeros.

    Example:
        >>> zeros(2, 3).shape
        chainrule.Size([2, 3])
    """
    return _made(np.zeros(sizes_of(sizes, size)), dtype, requires_grad, device)


def ones(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones.

    Example:
        >>> ones(2)
        tensor([1., 1.])
    """
    return _made(np.ones(sizes_of(sizes, size)), dtype, requires_grad, device)


def empty(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Zeros: memory that nobody has written is not shown.

    Example:
        >>> empty(2, 3).shape
        chainrule.Size([2, 3])
    """
    return zeros(*sizes, size=size, dtype=dtype, device=device, requires_grad=requires_grad)


def full(
    size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """One number everywhere, of the number's own kind.

    Example:
        >>> full((2,), 7)
        tensor([7, 7])
    """
    if dtype is None and isinstance(fill_value, bool):
        dtype = dtypes.bool_
    elif dtype is None and isinstance(fill_value, int):
        dtype = dtypes.int64
    return _made(np.full(sizes_of((size,)), fill_value), dtype, requires_grad, device)


def eye(
    n: int,
    m: int | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones on the diagonal.

    Example:
        >>> eye(2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return _made(np.eye(n, m), dtype, requires_grad, device)


def arange(
    *bounds: Any,
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from a start (0) up to but not including an end, by a step (1).

    Example:
        >>> arange(3), arange(1.0, 2.0, 0.5)
        (tensor([0, 1, 2]), tensor([1. , 1.5]))
    """
    if len(bounds) == 1:
        bounds = (start, bounds[0], step) if end is None else (bounds[0], end, step)
    elif not bounds:
        bounds = (start, end, step)
    elif len(bounds) == 2:
        bounds = (*bounds, step)
    if dtype is None and all(isinstance(bound, (int, np.integer)) for bound in bounds):
        dtype = dtypes.int64
    return _made(np.arange(*bounds), dtype, requires_grad, device)


def linspace(
    start: float,
    end: float,
    steps: int,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``steps`` numbers at equal distances, both ends included.

    Example:
        >>> linspace(0, 1, 3)
        tensor([0. , 0.5, 1. ])
    """
    return _made(np.linspace(start, end, steps), dtype, requires_grad, device)


def zeros_like(
    input: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros of another tensor's shape and dtype.

    Example:
        >>> import chainrule as cr
        >>> zeros_like(cr.ones(2))
        tensor([0., 0.])
    """
    shape = tuple(input.shape)
    return zeros(shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def ones_like(
    input: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Ones of another tensor's shape and dtype.

    Example:
        >>> import chainrule as cr
        >>> ones_like(cr.zeros(2))
        tensor([1., 1.])
    """
    shape = tuple(input.shape)
    return ones(shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """One number in another tensor's shape and dtype.

    Example:
        >>> import chainrule as cr
        >>> full_like(cr.zeros(2), 5.0)
        tensor([5., 5.])
    """
    return full(tuple(input.shape), fill_value, dtype or input.dtype, device, requires_grad)


def empty_like(
    input: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros of another tensor's shape and dtype.

    Example:
        >>> import chainrule as cr
        >>> empty_like(cr.ones(2)).shape
        chainrule.Size([2])
    """
    return zeros_like(input, dtype, device, requires_grad)


def from_numpy(array: Any) -> Tensor:
    """A tensor on a NumPy array's own memory: a change of the array is a change of the tensor.

    Raises:
        OptionError: when it is no array.

    Example:
        >>> a = np.ones(2, np.float32)
        >>> t = from_numpy(a)
        >>> a[0] = 5
        >>> t
        tensor([5., 1.])
    """
    if not isinstance(array, np.ndarray):
        raise OptionError(
            f"from_numpy takes a NumPy array; given {type(array).__name__}.\n"
            "  fix: cr.tensor(...) takes numbers and lists"
        )
    to_array(array, None)
    return Tensor(array_leaf(array))


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of anything, sharing memory where it can.

    Example:
        >>> as_tensor([1.0, 2.0])
        tensor([1., 2.])
    """
    if isinstance(data, Tensor):
        return data if dtype is None else data.type(dtype)
    if isinstance(data, np.ndarray) and dtype is None:
        return from_numpy(data)
    wanted = None if dtype is None else dtypes.as_dtype(dtype)
    return Tensor(array_leaf(to_array(data, wanted)))
