"""Tuples, lists and dicts of values, one in another: what functions take and return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def map_leaves(change: Callable[[Any], Any], value: Any) -> Any:
    """The same containers with what `change` makes of each value that is no container.

    Example:
        >>> map_leaves(lambda leaf: leaf + 1, ([1, 2], {"a": 3}))
        ([2, 3], {'a': 4})
    """
    if isinstance(value, (list, tuple)):
        made = (map_leaves(change, one) for one in value)
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    if isinstance(value, dict):
        return {key: map_leaves(change, one) for key, one in value.items()}
    return change(value)
