"""What optimizers that look at all parameters as one vector share.

Their outer loops are Python; the loss and its gradient come from a closure, which may be eager or
compiled (`cr.compile(closure, keep_grads=True)`). Vectors are float64 whatever the parameters are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..config import STATE, set_state
from ..errors import GradientError, OptionError
from ..tensor import Tensor, tensor
from ._optimizer import Optimizer

Vector = np.ndarray[Any, np.dtype[np.float64]]
Closure = Callable[[], Any]

NO_CLOSURE = (
    "{cls}.step evaluates the loss several times and takes a closure.\n"
    "  fix: optimizer.step(closure) with a function that returns {returns}{trainer}"
)
IN_TRACE = (
    "{cls}.step is a loop in Python and cannot be compiled as a whole.\n"
    "  fix: compile the closure: optimizer.step(cr.compile(closure, keep_grads=True))"
)


class WholeVector(Optimizer):
    """Base: one group of parameters, read and written as one vector."""

    returns = "the loss, after zero_grad() and backward()"

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise OptionError(
                f"{type(self).__name__} treats all parameters alike and takes one group; "
                f"{len(self.param_groups)} were given"
            )
        self._params: list[Tensor] = self.param_groups[0]["params"]

    def _setting(self, name: str) -> Any:
        return self.param_groups[0][name]

    def _checked(self, closure: Closure | None) -> Closure:
        """Return the closure, if there is one, and no trace."""
        cls = type(self).__name__
        if STATE.trace is not None:
            raise OptionError(IN_TRACE.format(cls=cls))
        if closure is None:
            trainer = ";\n  a Trainer takes optimizers whose step is one update, such as Adam"
            raise OptionError(NO_CLOSURE.format(cls=cls, returns=self.returns, trainer=trainer))
        return closure

    def _vector(self) -> Vector:
        """All parameters."""
        return joined(self._params)

    def _place(self, vector: Vector) -> None:
        """Give all parameters new values; the handles stay."""
        with set_state(grad_enabled=False):
            for parameter, part in zip(self._params, parted(vector, self._params), strict=True):
                parameter.data = tensor(part.astype(parameter.dtype.np))

    def _loss_and_slope(self, closure: Closure) -> tuple[Any, float, Vector]:
        """Call the closure: what it gave, the loss as a number, and the gradients as a vector."""
        with set_state(grad_enabled=True):
            loss = closure()
        if all(parameter.grad is None for parameter in self._params):
            raise GradientError(
                f"{type(self).__name__}: the closure left no gradients.\n"
                "  fix: call loss.backward() in it; a compiled one keeps gradients with"
                " cr.compile(closure, keep_grads=True)"
            )
        parts = [
            np.zeros(parameter.numel()) if parameter.grad is None else flat(parameter.grad)
            for parameter in self._params
        ]
        return loss, float(loss), np.concatenate(parts)

    # --------------------------------------------------------------- own state

    def _own(self) -> dict[str, Any]:
        """What goes on from step to step, as numbers and arrays by name."""
        return {}

    def _adopt_own(self, own: Mapping[str, Any]) -> None:
        """Take over what `_own` gave."""

    def state_dict(self) -> dict[str, Any]:
        """Return settings and what goes on from step to step."""
        return {**super().state_dict(), "own": self._own()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over settings and state as `state_dict()` gives them."""
        super().load_state_dict(state_dict)
        self._adopt_own(state_dict.get("own", {}))


def flat(value: Tensor) -> Vector:
    """Return a tensor's elements as a float64 vector.

    >>> flat(tensor([[1.0, 2.0]])).tolist()
    [1.0, 2.0]
    """
    vector: Vector = value.detach().numpy().astype(np.float64).reshape(-1)
    return vector


def joined(tensors: Iterable[Tensor]) -> Vector:
    """Return the elements of all tensors as one float64 vector."""
    return np.concatenate([flat(one) for one in tensors])


def parted(vector: Vector, like: Iterable[Tensor]) -> list[np.ndarray[Any, Any]]:
    """Cut a vector into arrays of the shapes of tensors: the reverse of `joined`."""
    parts, start = [], 0
    for one in like:
        stop = start + one.numel()
        parts.append(vector[start:stop].reshape(tuple(one.shape)))
        start = stop
    return parts
