"""Handles of registered hooks: what `register_forward_hook` gives back."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..config import VERSION

_numbers = itertools.count()


@dataclass(frozen=True)
class Hook:
    """One registered hook: the user's function, and whether it also takes the keyword arguments."""

    call: Callable[..., Any]
    with_kwargs: bool = False


class RemovableHandle:
    """The registration of one hook; `remove()` ends it, and so does leaving a `with` block.

    >>> import chainrule as cr
    >>> layer = cr.nn.Identity()
    >>> seen = []
    >>> with layer.register_forward_hook(lambda module, args, output: seen.append(output.shape)):
    ...     _ = layer(cr.zeros(2, 3))
    >>> _ = layer(cr.zeros(5))
    >>> [tuple(shape) for shape in seen]
    [(2, 3)]
    """

    def __init__(self, hooks: dict[int, Hook], hook: Hook, *, first: bool = False) -> None:
        self.id = next(_numbers)
        self._hooks = hooks
        if first:
            others = dict(hooks)
            hooks.clear()
            hooks[self.id] = hook
            hooks.update(others)
        else:
            hooks[self.id] = hook
        VERSION.bump()

    def remove(self) -> None:
        """Take the hook off; doing it twice is harmless."""
        if self._hooks.pop(self.id, None) is not None:
            VERSION.bump()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()
