"""Hooks on a module's way back: the gradients of its outputs and of its inputs, together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ModuleError
from ..ops import ADD, apply
from ..tensor import Tensor

MANY_INPUTS = (
    "a backward hook returned new gradients for a module with {count} inputs that need one; they "
    "can be replaced only where there is one.\n"
    "  fix: use tensor.register_hook on the input whose gradient shall change"
)
Call = Callable[[tuple[Any, ...], tuple[Any, ...]], Any]


class BackwardWatch:
    """One call of a module, watched: it waits for the gradients and hands them to the hooks.

    Args:
        call: takes the tuples of input and output gradients; what it returns replaces the first.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._inputs: list[Tensor | None] = []
        self._outputs: list[Tensor | None] = []
        self._waiting = 0
        self._count = 0

    def inputs(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments with every tensor that needs a gradient marked."""
        marked = tuple(self._mark(self._inputs, value, self._arrived) for value in given)
        self._count = self._waiting
        return marked

    def outputs(self, output: Any) -> Any:
        """Return the output with every tensor that needs a gradient marked."""
        waiting = self._waiting
        if isinstance(output, tuple | list):
            marked: Any = type(output)(
                [self._mark(self._outputs, value, self._left) for value in output]
            )
        else:
            marked = self._mark(self._outputs, output, self._left)
        self._waiting = waiting
        return marked

    def _mark(
        self, gradients: list[Tensor | None], value: Any, hook: Callable[[int, Tensor], Any]
    ) -> Any:
        """Put a node of its own in the way: the gradient through this module alone."""
        place = len(gradients)
        gradients.append(None)
        if not isinstance(value, Tensor) or not value.requires_grad:
            return value
        node: Any = value.node
        own = Tensor(apply(ADD, node, node._lift(0)))
        own.register_hook(lambda gradient: hook(place, gradient))
        # Nobody else holds this handle, and its node must find it when the gradient comes.
        own._node.handle = lambda: own  # type: ignore[assignment]
        self._waiting += 1
        return own

    def _left(self, place: int, gradient: Tensor) -> None:
        """Take the gradient of an output; where no input waits for its own, that is all."""
        self._outputs[place] = gradient
        if self._count == 0:
            self._call(tuple(self._inputs), tuple(self._outputs))

    def _arrived(self, place: int, gradient: Tensor) -> Any:
        """Take the gradient of an input; the last one to come calls the hooks."""
        self._inputs[place] = gradient
        self._waiting -= 1
        if self._waiting:
            return None
        changed = self._call(tuple(self._inputs), tuple(self._outputs))
        if changed is None:
            return None
        if self._count > 1:
            raise ModuleError(MANY_INPUTS.format(count=self._count))
        return changed[place]
