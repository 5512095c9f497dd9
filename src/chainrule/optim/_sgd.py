"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import OptionError
from ._optimizer import Clock, Optimizer, State
from ._settings import Settings


class SGD(Optimizer):
    """Gradient descent: `w <- w - lr g`, with momentum `v <- momentum v + (1 - dampening) g`.

    With momentum the step is `lr v`, with `nesterov` it is `lr (g + momentum v)`. The first v is
    the first gradient. Source: Sutskever et al., On the importance of initialization and momentum
    in deep learning (2013); the form is PyTorch's, where lr multiplies v.

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        momentum: share of the last step that is kept.
        dampening: what is taken off the gradient's part of v.
        weight_decay: adds `weight_decay w` to the gradient (an L2 penalty).
        nesterov: look ahead along v; needs momentum and no dampening.
        maximize: climb instead of descending.

    Raises:
        OptionError: for settings out of range.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = cr.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.8
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
        )
        super().__init__(params, defaults)

    def check(self, settings: dict[str, Any]) -> None:
        """Refuse settings out of range, and Nesterov's form without momentum."""
        super().check(settings)
        if settings["nesterov"] and (settings["momentum"] == 0 or settings["dampening"] != 0):
            raise OptionError(
                "SGD: nesterov=True needs a momentum above 0 and dampening=0; "
                f"momentum={settings['momentum']} and dampening={settings['dampening']} were given"
            )

    def update(
        self, settings: Settings, parameter: Any, gradient: Any, state: State, clock: Clock | None
    ) -> Any:
        """Return the parameter after one step."""
        dtype = parameter.dtype
        if settings.has("weight_decay"):
            gradient = gradient + parameter * settings.number("weight_decay", dtype)
        if settings.has("momentum"):
            gradient = self._with_momentum(settings, gradient, state)
        return parameter - gradient * settings.number("lr", dtype)

    def _with_momentum(self, settings: Settings, gradient: Any, state: State) -> Any:
        dtype = gradient.dtype
        momentum = settings.number("momentum", dtype)
        added = gradient
        if settings.has("dampening"):
            added = gradient * self._share(settings, state, dtype)
        velocity = state.read("momentum_buffer") * momentum + added
        state.write("momentum_buffer", velocity)
        return gradient + velocity * momentum if settings.has("nesterov") else velocity

    def _share(self, settings: Settings, state: State, dtype: Any) -> Any:
        """Return the gradient's share of v: all of it in the first step, 1 - dampening after."""
        # A v that was loaded without this number (PyTorch keeps none) has been started.
        started = state.read_scalar("started", float("momentum_buffer" in state.held))
        share = (started > 0).where(1 - settings.number("dampening"), 1.0)
        state.write("started", started * 0 + 1)
        return share.cast(dtype)
