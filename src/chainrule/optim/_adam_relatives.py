"""Relatives of Adam: Adamax, NAdam, RAdam. Notation as in `_adam`: t, g, m, v, b1, b2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from ._adam import missing, running_mean, running_square, with_decay
from ._adaptive import with_penalty
from ._optimizer import Clock, Optimizer, State, keep
from ._settings import Settings


class Adamax(Optimizer):
    """Adam with the largest decayed gradient in the place of the mean square.

    `u <- max(b2 u, |g| + eps)`, `w <- w - lr / (1 - b1^t) m / u`. Source: Kingma and Ba (2015),
    section 7.1.

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        betas: b1 and b2.
        eps: keeps the division finite.
        weight_decay: adds `weight_decay w` to the gradient.
        maximize: climb instead of descending.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = cr.optim.Adamax([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.9
    """

    counts: ClassVar[bool] = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize)
        super().__init__(params, defaults)

    def update(
        self, settings: Settings, parameter: Any, gradient: Any, state: State, clock: Clock | None
    ) -> Any:
        """Return the parameter after one step."""
        assert clock is not None
        dtype = parameter.dtype
        gradient = with_penalty(settings, parameter, gradient)
        mean = running_mean(state, "exp_avg", gradient, settings, 0)
        size = gradient.abs() + settings.number("eps", dtype)
        largest = (state.read("exp_inf") * settings.number("betas", dtype, 1)).maximum(size)
        state.write("exp_inf", largest)
        rate = clock.once(
            ("rate", dtype),
            lambda: (settings.number("lr") / missing(settings, clock, 0)).cast(dtype),
        )
        return parameter - mean / largest * rate


class NAdam(Optimizer):
    """Adam that looks one step ahead along its momentum, as Nesterov's form does.

    Source: Dozat, Incorporating Nesterov Momentum into Adam (2016).

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        betas: b1 and b2.
        eps: keeps the division finite.
        weight_decay: adds `weight_decay w` to the gradient; decoupled: shrinks the weights.
        momentum_decay: how fast the momentum's schedule settles.
        decoupled_weight_decay: shrink the weights directly, by `lr weight_decay`.
        maximize: climb instead of descending.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = cr.optim.NAdam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 4)
    0.8944
    """

    counts: ClassVar[bool] = True
    scalars: ClassVar[frozenset[str]] = Optimizer.scalars | {"mu_product"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
        )
        super().__init__(params, defaults)

    def update(
        self, settings: Settings, parameter: Any, gradient: Any, state: State, clock: Clock | None
    ) -> Any:
        """Return the parameter after one step."""
        assert clock is not None
        dtype = parameter.dtype
        parameter, gradient = with_decay(settings, parameter, gradient)
        now = clock.once("now", lambda: self._momentum(settings, clock.time))
        after = clock.once("after", lambda: self._momentum(settings, clock.time + 1))
        product = state.read_scalar("mu_product", 1.0) * now
        keep(state.held["mu_product"], product)
        mean = running_mean(state, "exp_avg", gradient, settings, 0)
        square = running_square(state, "exp_avg_sq", gradient, settings)
        scale = clock.once(("scale", dtype), lambda: missing(settings, clock, 1).sqrt().cast(dtype))
        below = square.sqrt() / scale + settings.number("eps", dtype)
        rate = settings.number("lr")
        of_gradient = (rate * (1 - now) / (1 - product)).cast(dtype)
        of_mean = (rate * after / (1 - product * after)).cast(dtype)
        return parameter - gradient / below * of_gradient - mean / below * of_mean

    def _momentum(self, settings: Settings, time: Any) -> Any:
        decay = 0.96 ** (time * settings.number("momentum_decay"))
        return settings.number("betas", position=0) * (1 - 0.5 * decay)


class RAdam(Optimizer):
    """Adam whose first steps go without the division, until its mean square can be trusted.

    Source: Liu et al., On the Variance of the Adaptive Learning Rate and Beyond (2020).

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        betas: b1 and b2.
        eps: keeps the division finite.
        weight_decay: adds `weight_decay w` to the gradient; decoupled: shrinks the weights.
        decoupled_weight_decay: shrink the weights directly, by `lr weight_decay`.
        maximize: climb instead of descending.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = cr.optim.RAdam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.8
    """

    counts: ClassVar[bool] = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
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
        rate = clock.once(
            ("rate", dtype),
            lambda: (settings.number("lr") / missing(settings, clock, 0)).cast(dtype),
        )
        trusted, factor = clock.once(("trust", dtype), lambda: self._trust(settings, clock, dtype))
        divided = factor / (square.sqrt() + settings.number("eps", dtype))
        return parameter - mean * rate * trusted.where(divided, 1.0)

    def _trust(self, settings: Settings, clock: Clock, dtype: Any) -> tuple[Any, Any]:
        """Return whether the mean square can be trusted yet, and the factor of the step then."""
        beta, time = settings.number("betas", position=1), clock.time
        rest = missing(settings, clock, 1)
        limit = 2 / (1 - beta) - 1
        length = limit - time * 2 * beta**time / rest
        trusted = length > 5
        safe = trusted.where(length, limit)
        rectified = (safe - 4) * (safe - 2) * limit / ((limit - 4) * (limit - 2) * safe)
        return trusted, (rectified.sqrt() * rest.sqrt()).cast(dtype)
