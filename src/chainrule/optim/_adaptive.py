"""Rules that scale each element's step by its own past gradients: Adagrad, RMSprop, Adadelta.

Notation: g the gradient, s a running square of it; every operation is element by element.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from ._optimizer import Clock, Optimizer, State
from ._settings import Settings


def with_penalty(settings: Settings, parameter: Any, gradient: Any) -> Any:
    """Return the gradient with `weight_decay w` added, where the group has one."""
    if not settings.has("weight_decay"):
        return gradient
    return gradient + parameter * settings.number("weight_decay", parameter.dtype)


def decayed(state: State, name: str, value: Any, settings: Settings, rate: str) -> Any:
    """Move the mean `name` to `rate mean + (1 - rate) value`, keep it and return it."""
    dtype = value.dtype
    rest = settings.once(("rest", rate, dtype), lambda: (1 - settings.number(rate)).cast(dtype))
    mean = state.read(name) * settings.number(rate, dtype) + value * rest
    state.write(name, mean)
    return mean


class Adagrad(Optimizer):
    """Adagrad: `s <- s + g²`, `w <- w - lr_t g / (√s + eps)`, `lr_t = lr / (1 + (t - 1) lr_decay)`.

    Source: Duchi, Hazan, Singer, Adaptive Subgradient Methods (2011).

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        lr_decay: how fast it falls with the steps.
        weight_decay: adds `weight_decay w` to the gradient.
        initial_accumulator_value: s at the start.
        eps: keeps the division finite.
        maximize: climb instead of descending.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = cr.optim.Adagrad([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.9
    """

    counts: ClassVar[bool] = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            lr_decay=lr_decay,
            eps=eps,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            maximize=maximize,
        )
        super().__init__(params, defaults)

    def update(
        self, settings: Settings, parameter: Any, gradient: Any, state: State, clock: Clock | None
    ) -> Any:
        """Return the parameter after one step."""
        assert clock is not None
        dtype = parameter.dtype
        gradient = with_penalty(settings, parameter, gradient)
        total = state.read("sum", settings.group["initial_accumulator_value"]) + gradient * gradient
        state.write("sum", total)
        rate = settings.number("lr", dtype)
        if settings.has("lr_decay"):
            rate = clock.once(("rate", dtype), lambda: self._rate(settings, clock).cast(dtype))
        return parameter - gradient / (total.sqrt() + settings.number("eps", dtype)) * rate

    def _rate(self, settings: Settings, clock: Clock) -> Any:
        return settings.number("lr") / (1 + (clock.time - 1) * settings.number("lr_decay"))


class RMSprop(Optimizer):
    """RMSprop: `s <- alpha s + (1 - alpha) g²`, `w <- w - lr g / (√s + eps)`.

    Source: Tieleman and Hinton, lecture 6.5 of Neural Networks for Machine Learning (2012);
    `centered` is that of Graves, Generating Sequences With Recurrent Neural Networks (2013).

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        alpha: share of the mean square that is kept.
        eps: keeps the division finite.
        weight_decay: adds `weight_decay w` to the gradient.
        momentum: share of the last step that is kept.
        centered: divide by the standard deviation of g instead of its root mean square.
        maximize: climb instead of descending.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = cr.optim.RMSprop([w], lr=0.01)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.9
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            momentum=momentum,
            alpha=alpha,
            eps=eps,
            centered=centered,
            weight_decay=weight_decay,
            maximize=maximize,
        )
        super().__init__(params, defaults)

    def update(
        self, settings: Settings, parameter: Any, gradient: Any, state: State, clock: Clock | None
    ) -> Any:
        """Return the parameter after one step."""
        dtype = parameter.dtype
        gradient = with_penalty(settings, parameter, gradient)
        spread = decayed(state, "square_avg", gradient * gradient, settings, "alpha")
        if settings.has("centered"):
            before = state.read("grad_avg")
            rest = settings.once(
                ("rest", "alpha", dtype), lambda: (1 - settings.number("alpha")).cast(dtype)
            )
            mean = before + (gradient - before) * rest
            state.write("grad_avg", mean)
            spread = spread - mean * mean
        step = gradient / (spread.sqrt() + settings.number("eps", dtype))
        if settings.has("momentum"):
            step = state.read("momentum_buffer") * settings.number("momentum", dtype) + step
            state.write("momentum_buffer", step)
        return parameter - step * settings.number("lr", dtype)


class Adadelta(Optimizer):
    """Adadelta: steps in the parameter's units, `d = √(u + eps) / √(s + eps) g`, `w <- w - lr d`.

    s is the running mean of g², u that of d². Source: Zeiler, ADADELTA (2012).

    Args:
        params: parameters, or groups of them.
        lr: multiplies the step.
        rho: share of the means that is kept.
        eps: starts the steps and keeps the division finite.
        weight_decay: adds `weight_decay w` to the gradient.
        maximize: climb instead of descending.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = cr.optim.Adadelta([w])
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 4)
    0.9968
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize)
        super().__init__(params, defaults)

    def update(
        self, settings: Settings, parameter: Any, gradient: Any, state: State, clock: Clock | None
    ) -> Any:
        """Return the parameter after one step."""
        dtype = parameter.dtype
        eps = settings.number("eps", dtype)
        gradient = with_penalty(settings, parameter, gradient)
        square = decayed(state, "square_avg", gradient * gradient, settings, "rho")
        step = (state.read("acc_delta") + eps).sqrt() / (square + eps).sqrt() * gradient
        decayed(state, "acc_delta", step * step, settings, "rho")
        return parameter - step * settings.number("lr", dtype)


class Rprop(Optimizer):
    """Rprop: a step size for each element, which grows while the sign of g stays and shrinks else.

    It needs the whole data set's gradient. Source: Riedmiller and Braun, A direct adaptive method
    for faster backpropagation learning (1993).

    Args:
        params: parameters, or groups of them.
        lr: the first step size.
        etas: the factors when the sign has changed, and when it has stayed.
        step_sizes: the smallest and the largest step size.
        maximize: climb instead of descending.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = cr.optim.Rprop([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> round(w.item(), 6)
    0.9
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(lr=lr, etas=etas, step_sizes=step_sizes, maximize=maximize)
        super().__init__(params, defaults)

    def update(
        self, settings: Settings, parameter: Any, gradient: Any, state: State, clock: Clock | None
    ) -> Any:
        """Return the parameter after one step."""
        dtype = parameter.dtype
        before = state.read("prev")
        size = state.read("step_size", settings.group["lr"])
        shrink, grow = (settings.number("etas", dtype, place) for place in (0, 1))
        low, high = (settings.number("step_sizes", dtype, place) for place in (0, 1))
        agreement = gradient * before
        turned = agreement < 0
        factor = turned.where(shrink, (agreement > 0).where(grow, 1.0))
        size = (size * factor).maximum(low).minimum(high)
        # After a turn the element waits for one step, and forgets that it turned.
        gradient = turned.where(0, gradient)
        state.write("prev", gradient)
        state.write("step_size", size)
        return parameter - gradient.sign() * size
