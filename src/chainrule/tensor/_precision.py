"""``cr.compile(precision=)``: arguments, new tensors and parameters of one floating-point type."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import DType, float32, float64
from ..errors import OptionError
from ..graph.trace import Traced
from ._nested import map_leaves
from ._tensor import Tensor

_KNOWN = {"float32": float32, "float64": float64}


def precision_of(given: Any) -> DType | None:
    """The dtype that ``precision`` means.

    Raises:
        OptionError: it is neither float32 nor float64.

    Example:
        >>> precision_of("float64")
        chainrule.float64
    """
    if given is None:
        return None
    name = str(getattr(given, "name", given))
    if name not in _KNOWN:
        raise OptionError(
            f"there is no precision {given!r}.\n  expected: 'float32', 'float64', or None for the"
            " dtypes that arguments and parameters have"
        )
    return _KNOWN[name]


def brought_to(dtype: DType, value: Any) -> Any:
    """Arguments with the floating-point tensors and arrays among them in `dtype`.

    Example:
        >>> brought_to(float32, ([np.ones(2)], 3))
        ([array([1., 1.], dtype=float32)], 3)
    """

    def bring(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf.to(dtype) if leaf.dtype.is_float and leaf.dtype is not dtype else leaf
        if isinstance(leaf, np.ndarray):
            return leaf.astype(dtype.np, copy=False) if leaf.dtype.kind == "f" else leaf
        return leaf

    return map_leaves(bring, value)


def check_parameters(traced: Traced, dtype: DType) -> None:
    """Refuse a function that reads parameters of another floating-point type.

    Raises:
        OptionError: naming one of them, and the fix.
    """
    for handle in traced.captured:
        found = handle._node.dtype
        if handle._node.requires_grad and found is not dtype:
            convert = "float" if dtype is float32 else "double"
            raise OptionError(
                f"precision={dtype.name!r}, but the function reads a parameter of {found.name}.\n"
                f"  given: {traced.names.get(id(handle), 'a tensor')}, {handle._node.aval!r}\n"
                f"  fix: model.{convert}() before the optimizer is made"
            )
