"""What holds for the thread that is running: grad mode, recording, the trace, the layer, dtypes.

One object, :data:`STATE`, so that the one place that decides *when* to compute
(:func:`chainrule.ops.apply`) reads it once. Setters that a compiled function must notice bump
``STATE.version``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import dtypes
from .errors import DTypeError


class _State(threading.local):
    """Settings of one thread; the class attributes are what a new thread starts with."""

    grad_enabled: bool = True
    recording: bool = False
    trace: Any = None
    scope: str = ""
    # The node whose derivative is being built: its layer and line are those of the new nodes.
    source: Any = None
    # Whether NumPy has been told already not to warn about IEEE results.
    quiet: bool = False
    default_dtype: dtypes.DType = dtypes.float32


STATE = _State()


class _Version:
    """Counts the changes that a compiled function is guarded by (flags, modes, structure)."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def bump(self) -> None:
        """Note a change of flags, modes or structure."""
        self.count += 1


VERSION = _Version()


@contextmanager
def set_state(**settings: Any) -> Iterator[None]:
    """Change settings of this thread inside a ``with`` block.

    Example:
        >>> with set_state(scope="0"):
        ...     STATE.scope
        '0'
        >>> STATE.scope
        ''
    """
    before = {name: getattr(STATE, name) for name in settings}
    for name, setting in settings.items():
        setattr(STATE, name, setting)
    try:
        yield
    finally:
        for name, setting in before.items():
            setattr(STATE, name, setting)


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype that floating-point tensors have when none is named.

    Args:
        dtype: float32 (the start value) or float64.

    Raises:
        DTypeError: when it is not a floating-point dtype.

    Example:
        >>> set_default_dtype(dtypes.float32)
    """
    found = dtypes.as_dtype(dtype)
    if not found.is_float:
        raise DTypeError(
            f"the default dtype must be a floating-point one.\n  given: {found.name}\n"
            "  expected: float32 or float64"
        )
    STATE.default_dtype = found
    VERSION.bump()


def get_default_dtype() -> dtypes.DType:
    """The dtype that floating-point tensors have when none is named.

    Example:
        >>> get_default_dtype()
        chainrule.float32
    """
    return STATE.default_dtype
