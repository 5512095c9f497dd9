"""Numbers that a user may change between the calls of a compiled function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..config import STATE
from ..dtypes import DType, float64
from ..graph.node import Node
from ._apply import constant


def runtime(getter: Callable[[], float], dtype: DType = float64, key: Any = None) -> Node:
    """A number that may change between calls of a compiled function: a 0-d node.

    Args:
        getter: gives the number; called now when eager, at each call when compiled.
        dtype: its dtype; float64 unless said otherwise.
        key: hashable; the same key in one trace gives the same input. None: a new input each time.

    Example:
        >>> settings = {"lr": 0.5}
        >>> runtime(lambda: settings["lr"]).value()
        array(0.5)
    """
    trace = STATE.trace
    if trace is not None:
        node: Node = trace.runtime(getter, dtype, key)
        return node
    return constant(getter(), dtype)
