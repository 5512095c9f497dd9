"""What holds for the thread that is running: grad mode, recording, the trace, the layer, dtypes.

One object, :data:`STATE`, so that the one place that decides *when* to compute
(:func:`chainrule.ops.apply`) reads it once. Setters that a compiled function must notice bump
``VERSION``.
"""

from __future__ import annotations

import contextvars
import threading
from typing import Any

import numpy as np

from . import dtypes
from .errors import DTypeError


class _State(threading.local):
    """Settings of one thread.

    ``STATE.__dict__`` is this thread's settings as a plain dictionary, for code that reads several.
    """

    def __init__(self) -> None:
        self.grad_enabled: bool = True
        self.recording: bool = False
        self.trace: Any = None
        self.scope: str = ""
        # The node whose derivative is being built: its layer and line are those of the new nodes.
        self.source: Any = None
        # The user's line that called the library's own module that is running; None elsewhere.
        self.site: Any = None
        self.default_dtype: dtypes.DType = dtypes.float32
        # Where NumPy does not warn about IEEE results: to run one call in it is cheaper than
        # ``np.errstate`` around the call.
        self.ignoring = contextvars.copy_context()
        self.ignoring.run(np.seterr, all="ignore")


STATE = _State()


class _Version:
    """Counts the changes that a compiled function is guarded by (flags, modes, structure).

    Attributes:
        count: all changes.
        structure: those that are not of a module's mode (training or evaluation): for who sets the
            modes before each trace.
    """

    __slots__ = ("count", "structure")

    def __init__(self) -> None:
        self.count = self.structure = 0

    def bump(self, *, mode: bool = False) -> None:
        """Note a change of flags, modes or structure; `mode` says that it is one of a mode."""
        self.count += 1
        self.structure += not mode


VERSION = _Version()


class set_state:
    """Change settings of this thread inside a ``with`` block.

    Example:
        >>> with set_state(scope="0"):
        ...     STATE.scope
        '0'
        >>> STATE.scope
        ''
    """

    __slots__ = ("_before", "_settings")

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def __enter__(self) -> None:
        state = STATE.__dict__
        self._before = {name: state[name] for name in self._settings}
        state.update(self._settings)

    def __exit__(self, *exception: object) -> None:
        STATE.__dict__.update(self._before)


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
