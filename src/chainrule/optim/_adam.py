"""Adam and its relatives: steps scaled by running means of the gradient and of its square.

Notation: t the step count from 1, g the gradient, m and v the running means, b1 and b2 their rates.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from ._optimizer import Clock, Optimizer, State
from ._settings import Settings


def running_mean(state: State, name: str, value: Any, settings: Settings, position: int) -> Any:
    """Move the mean `name` towards `value` by `1 - beta`, keep it and return it."""
    dtype = value.dtype
    rest = settings.once(
        ("rest", position, dtype),
        lambda: (1 - settings.number("betas", position=position)).cast(dtype),
    )
    before = state.read(name)
    mean = before + (value - before) * rest
    state.write(name, mean)
    return mean


def running_square(state: State, name: str, gradient: Any, settings: Settings) -> Any:
    """Move the mean square `name` towards `gradient²` by `1 - b2`, keep it and return it."""
    dtype = gradient.dtype
    beta = settings.number("betas", dtype, 1)
    rest = settings.once(
        ("rest", 1, dtype), lambda: (1 - settings.number("betas", position=1)).cast(dtype)
    )
    mean = state.read(name) * beta + gradient * gradient * rest
    state.write(name, mean)
    return mean


def missing(settings: Settings, clock: Clock, position: int) -> Any:
    """Return `1 - beta^t`, the share that a mean started at zero has of the whole: float64."""
    beta = settings.number("betas", position=position)
    return clock.once(("missing", position), lambda: 1 - beta**clock.time)


def with_decay(settings: Settings, parameter: Any, gradient: Any) -> tuple[Any, Any]:
    """Return parameter and gradient after weight decay, coupled (L2) or decoupled (AdamW)."""
    if not settings.has("weight_decay"):
        return parameter, gradient
    dtype = parameter.dtype
    if settings.has("decoupled_weight_decay"):
        kept = settings.once(
            ("kept", dtype),
            lambda: (1 - settings.number("lr") * settings.number("weight_decay")).cast(dtype),
        )
        return parameter * kept, gradient
    return parameter, gradient + parameter * settings.number("weight_decay", dtype)


class Adam(Optimizer):
    """Adam: `w <- w - lr m̂ / (√v̂ + eps)`, m̂ and v̂ being the means without their start at zero.

    `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g²`, `m̂ = m / (1 - b1^t)`, `v̂ = v / (1 - b2^t)`.
    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization (2015).

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        betas: b1 and b2.
        eps: keeps the division finite.
        weight_decay: adds `weight_decay w` to the gradient; decoupled: see `AdamW`.
        amsgrad: divide by the largest v so far (Reddi et al., 2018).
        maximize: climb instead of descending.
        decoupled_weight_decay: shrink the weights directly, by `lr weight_decay`.

    Raises:
        OptionError: for settings out of range.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = cr.optim.Adam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.9
    """

    counts: ClassVar[bool] = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            decoupled_weight_decay=decoupled_weight_decay,
        )
        super().__init__(params, defaults)

    def update(
        self, settings: Settings, parameter: Any, gradient: Any, state: State, clock: Clock | None
    ) -> Any:
        """Return the parameter after one step."""
        assert clock is not None
        dtype = parameter.dtype
        parameter, gradient = with_decay(settings, parameter, gradient)
        mean = running_mean(state, "exp_avg", gradient, settings, 0)
        square = running_square(state, "exp_avg_sq", gradient, settings)
        if settings.has("amsgrad"):
            square = state.read("max_exp_avg_sq").maximum(square)
            state.write("max_exp_avg_sq", square)
        size = clock.once(
            ("size", dtype),
            lambda: (settings.number("lr") / missing(settings, clock, 0)).cast(dtype),
        )
        # A division of each element would cost as much as the rest of the update.
        scale = clock.once(
            ("scale", dtype), lambda: (1 / missing(settings, clock, 1).sqrt()).cast(dtype)
        )
        return parameter - mean / (square.sqrt() * scale + settings.number("eps", dtype)) * size


class AdamW(Adam):
    """Adam with decoupled weight decay: the weights shrink by `lr weight_decay` in each step.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019). Arguments as for
    `Adam`; `weight_decay` is 0.01 unless given.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = cr.optim.AdamW([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.899
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
        )
