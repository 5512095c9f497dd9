"""PyTorch's ``cuda`` namespace, for scripts that ask whether to move their tensors to a GPU.

Eager values live on the host, so the answer is always no. A GPU is used by compiled code:
``cr.compile(fn, device="cuda")`` and ``cr.Trainer(..., device="cuda")``.
"""

from __future__ import annotations

from typing import Any

from .errors import OptionError
from .tensor._random import Generator
from .tensor._random import manual_seed as manual_seed


def is_available() -> bool:
    """Whether eager tensors can be moved to a GPU with ``.cuda()``: they cannot.

    Example:
        >>> is_available()
        False
    """
    return False


def device_count() -> int:
    """How many GPUs can hold eager tensors: 0.

    Example:
        >>> device_count()
        0
    """
    return 0


def manual_seed_all(seed: int) -> Generator:
    """Start the default generator again with a seed; there is one for all devices.

    Example:
        >>> import chainrule as cr
        >>> _ = manual_seed_all(1)
        >>> cr.default_generator().seed
        1
    """
    return manual_seed(seed)


def synchronize(device: Any = None) -> None:
    """Return: eager values are there as soon as the call that computed them has returned."""


def empty_cache() -> None:
    """Return: eager memory goes back to NumPy as soon as nothing reads it."""


_NO_GPU = (
    "no GPU holds eager tensors: eager values live on the host.\n"
    "  fix: ask cr.cuda.is_available() first"
)


def current_device() -> int:
    """The number of the GPU that holds new tensors.

    Raises:
        OptionError: always, as there is none.
    """
    raise OptionError(_NO_GPU)


def get_device_name(device: Any = None) -> str:
    """The name of a GPU.

    Raises:
        OptionError: always, as there is none that holds eager tensors.
    """
    raise OptionError(_NO_GPU)
