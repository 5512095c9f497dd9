"""Apple's GPU: eager values live on the host."""

from __future__ import annotations


def is_available() -> bool:
    """Whether eager tensors can use it.

    Example:
        >>> is_available()
        False
    """
    return False


def is_built() -> bool:
    """Whether chainrule was built with it.

    Example:
        >>> is_built()
        False
    """
    return False
