"""PyTorch's ``backends`` namespace, for scripts that ask what there is or set its switches.

Results are the same bits in every run without any of these switches.

Example:
    >>> cudnn.deterministic = True
    >>> mps.is_available(), cuda.is_built()
    (False, False)
"""

from __future__ import annotations


class _Library:
    """A library that chainrule does without; its switches can be set, and switch nothing."""

    def __init__(self, **switches: bool) -> None:
        self.__dict__.update(switches)

    def is_available(self) -> bool:
        """False."""
        return False

    def is_built(self) -> bool:
        """False."""
        return False


cudnn = _Library(enabled=False, deterministic=True, benchmark=False, allow_tf32=False)
cuda = _Library()
mps = _Library()
mkldnn = _Library(enabled=False)
