"""cuDNN: chainrule does without it; its switches can be set, and switch nothing."""

from __future__ import annotations

enabled = False
deterministic = True
benchmark = False
allow_tf32 = False


def is_available() -> bool:
    """Whether eager tensors can use it.

    Example:
        >>> is_available()
        False
    """
    return False
