"""How a tensor is printed: small and plain."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..config import STATE
from ..dtypes import bool_, int64


def format_tensor(tensor: Any) -> str:
    """The values at four decimals, and what is out of the ordinary: dtype, gradient, name."""
    node = tensor._node
    extras = []
    if not node.has_value:
        extras.append(f"traced, shape={tuple(node.shape)}")
        values = ""
    else:
        array = node.value()
        values = np.array2string(
            array,
            precision=4,
            suppress_small=False,
            separator=", ",
            prefix="tensor(",
            floatmode="maxprec",
        )
        if array.size == 0:
            values = "[]"
            extras.append(f"shape={tuple(array.shape)}")
    if node.dtype not in (STATE.default_dtype, int64, bool_):
        extras.append(f"dtype={node.dtype!r}")
    if node.name:
        extras.append(f"name={node.name!r}")
    if tensor.requires_grad:
        extras.append("requires_grad=True" if tensor.is_leaf else f"op={node.op.name}")
    return f"tensor({', '.join([values, *extras] if values else extras)})"
