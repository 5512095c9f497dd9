"""Schedules of the learning rate: the base, and those that multiply it by a factor of the epoch.

A schedule writes `lr` into the optimizer's groups; compiled steps read it anew at each call. As in
PyTorch a schedule changes the rate it finds, so that several may act on one optimizer.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..errors import OptionError
from ._optimizer import Optimizer

NOT_AN_OPTIMIZER = "{cls} takes an optimizer, a {given} was given"
NO_INITIAL_LR = (
    "{cls}: last_epoch={last} continues a schedule, but group {group} has no 'initial_lr'.\n"
    "  fix: load the optimizer's state first, or leave last_epoch out"
)


class LRScheduler:
    """Base of schedules: subclasses define `get_lr`, from `last_epoch` and the groups' rates.

    Args:
        optimizer: whose groups' `lr` is changed.
        last_epoch: the epoch a schedule continues from; -1 starts anew.
    """

    # Attributes that the state does not hold: what is given again when a run is resumed.
    _given: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        cls = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise OptionError(NOT_AN_OPTIMIZER.format(cls=cls, given=type(optimizer).__name__))
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise OptionError(NO_INITIAL_LR.format(cls=cls, last=last_epoch, group=number))
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self.step()

    def get_lr(self) -> list[float]:
        """Return each group's rate for `last_epoch`, from the rate it has now."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_lr")

    def at(self, epoch: int) -> list[float]:
        """Return each group's rate at an epoch, from the rate it started with."""
        self.last_epoch = epoch
        return self.get_lr()

    def step(self, epoch: int | None = None) -> None:
        """Move on by one epoch (or to a given one) and set the groups' rates."""
        self._step_count += 1
        if epoch is None:
            self.last_epoch += 1
            rates = self.get_lr()
        else:
            rates = self.at(epoch)
            self.last_epoch = epoch
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = list(rates)

    def get_last_lr(self) -> list[float]:
        """Return the rates that the last `step` set."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Return where the schedule stands: numbers and lists only."""
        return {name: value for name, value in vars(self).items() if name not in self._given}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from where `state_dict()` stood."""
        vars(self).update(state_dict)

    def _continues(self) -> bool:
        """Say whether this is the first step of a schedule that continues another one's rates."""
        return self._step_count == 1 and self.last_epoch > 0

    def _rates(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]


class _Scaled(LRScheduler):
    """A schedule that is `initial_lr` times a factor of the epoch."""

    # Whether a schedule made with `last_epoch` leaves the rates it finds, as PyTorch decides it.
    _keeps_rates: ClassVar[bool] = True

    def scale(self, epoch: int) -> float:
        """Return the factor at an epoch."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        """Return each group's rate: the present one times the change of the factor."""
        if self._keeps_rates and self._continues():
            return self._rates()
        now = self.scale(self.last_epoch)
        before = self.scale(self.last_epoch - 1) if self.last_epoch > 0 else 1.0
        change = now / before if before else 1.0
        return [rate * change for rate in self._rates()]

    def at(self, epoch: int) -> list[float]:
        """Return each group's rate at an epoch."""
        return [base * self.scale(epoch) for base in self.base_lrs]


class StepLR(_Scaled):
    """Multiply the rate by `gamma` every `step_size` epochs.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = cr.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(2):
    ...     schedule.step()
    >>> optimizer.param_groups[0]["lr"]
    0.5
    """

    _keeps_rates = False

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        _check_at_least("StepLR", "step_size", step_size, 1)
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        """Return the factor at an epoch."""
        return float(self.gamma ** (epoch // self.step_size))


class MultiStepLR(_Scaled):
    """Multiply the rate by `gamma` at each of the epochs in `milestones`."""

    _keeps_rates = False

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        """Return the factor at an epoch."""
        return float(self.gamma ** bisect.bisect_right(self.milestones, epoch))


class ConstantLR(_Scaled):
    """Multiply the rate by `factor` until epoch `total_iters`."""

    _keeps_rates = False

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < factor <= 1:
            raise OptionError(f"ConstantLR: factor must be above 0 and at most 1; {factor} given")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        """Return the factor at an epoch."""
        return 1.0 if epoch >= self.total_iters else self.factor


class LinearLR(_Scaled):
    """Move the factor of the rate evenly from `start_factor` to `end_factor`, for a warm-up.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = cr.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> rates = [optimizer.param_groups[0]["lr"]]
    >>> for _ in range(2):
    ...     schedule.step()
    ...     rates.append(optimizer.param_groups[0]["lr"])
    >>> rates
    [0.5, 0.75, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise OptionError(
                "LinearLR: start_factor must be above 0 and at most 1, end_factor from 0 to 1; "
                f"{start_factor} and {end_factor} were given"
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        """Return the factor at an epoch."""
        share = min(epoch, self.total_iters) / self.total_iters if self.total_iters else 1.0
        return self.start_factor + (self.end_factor - self.start_factor) * share


class ExponentialLR(_Scaled):
    """Multiply the rate by `gamma` every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        """Return the factor at an epoch."""
        return float(self.gamma**epoch)


class PolynomialLR(_Scaled):
    """Let the rate fall to 0 in `total_iters` epochs, as `(1 - epoch / total_iters) ^ power`."""

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        _check_at_least("PolynomialLR", "total_iters", total_iters, 1)
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def scale(self, epoch: int) -> float:
        """Return the factor at an epoch."""
        return float((1.0 - min(epoch, self.total_iters) / self.total_iters) ** self.power)


class _Called(LRScheduler):
    """A schedule made of the user's functions of the epoch, one for all groups or one each."""

    _given = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise OptionError(
                f"{type(self).__name__}: {len(self.lr_lambdas)} functions were given for "
                f"{groups} groups.\n  fix: give one function, or one for each group"
            )
        super().__init__(optimizer, last_epoch)


class LambdaLR(_Called):
    """Set the rate to `initial_lr` times the user's function of the epoch.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = cr.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def get_lr(self) -> list[float]:
        """Return each group's rate for `last_epoch`."""
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [base * function(self.last_epoch) for base, function in pairs]


class MultiplicativeLR(_Called):
    """Multiply the rate by the user's function of the epoch."""

    def get_lr(self) -> list[float]:
        """Return each group's rate for `last_epoch`."""
        if self.last_epoch == 0 or self._continues():
            return self._rates()
        pairs = zip(self._rates(), self.lr_lambdas, strict=True)
        return [rate * function(self.last_epoch) for rate, function in pairs]


class CosineAnnealingLR(LRScheduler):
    """Let the rate fall from its start to `eta_min` in `T_max` epochs, along half a cosine.

    Source: Loshchilov and Hutter, SGDR (2017).

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = cr.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    >>> schedule.step()
    >>> round(schedule.get_last_lr()[0], 6)
    0.5
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        _check_at_least("CosineAnnealingLR", "T_max", T_max, 1)
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return each group's rate: the present one moved along the cosine."""
        epoch, period = self.last_epoch, self.T_max
        if epoch == 0 or self._continues():
            return self._rates()
        if (epoch - 1 - period) % (2 * period) == 0:
            # The factor before was 0; from there the rate is raised by what is due.
            rise = (1 - math.cos(math.pi / period)) / 2
            pairs = zip(self._rates(), self.base_lrs, strict=True)
            return [rate + (base - self.eta_min) * rise for rate, base in pairs]
        change = (1 + math.cos(math.pi * epoch / period)) / (
            1 + math.cos(math.pi * (epoch - 1) / period)
        )
        return [self.eta_min + (rate - self.eta_min) * change for rate in self._rates()]

    def at(self, epoch: int) -> list[float]:
        """Return each group's rate at an epoch."""
        share = (1 + math.cos(math.pi * epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Let the rate fall along half a cosine, again and again, each time `T_mult` times longer.

    Source: Loshchilov and Hutter, SGDR (2017).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        _check_at_least("CosineAnnealingWarmRestarts", "T_0", T_0, 1)
        _check_at_least("CosineAnnealingWarmRestarts", "T_mult", T_mult, 1)
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return each group's rate for `last_epoch`."""
        since, period = self.last_epoch, self.T_0
        while since >= period:
            since -= period
            period *= self.T_mult
        share = (1 + math.cos(math.pi * since / period)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


def _check_at_least(cls: str, name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise OptionError(f"{cls}: {name} must be a whole number from {least}; {value!r} given")
