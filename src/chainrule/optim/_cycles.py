"""Schedules that rise and fall, that follow others in turn, and that wait for a plateau."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Any

from ..errors import OptionError
from ._optimizer import Optimizer
from ._schedules import LRScheduler
from ._settings import ParamGroup


def _between(start: float, end: float, share: float, strategy: str) -> float:
    """Return the number `share` of the way from `start` to `end`, along a cosine or a line."""
    if strategy == "cos":
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
    return start + (end - start) * share


def _per_group(cls: str, name: str, value: float | Sequence[float], count: int) -> list[float]:
    values = list(value) if isinstance(value, Sequence) else [value] * count
    if len(values) != count:
        raise OptionError(f"{cls}: {name} has {len(values)} values for {count} groups")
    return [float(one) for one in values]


def _set_momentum(group: ParamGroup, momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def _momentum_of(cls: str, group: ParamGroup) -> float:
    if "betas" in group:
        return float(group["betas"][0])
    if "momentum" in group:
        return float(group["momentum"])
    raise OptionError(
        f"{cls}: the optimizer has no momentum to cycle.\n  fix: cycle_momentum=False"
    )


class OneCycleLR(LRScheduler):
    """One rise of the rate to `max_lr` and one long fall, while momentum does the opposite.

    Source: Smith and Topin, Super-Convergence (2018). It is stepped after every batch.

    Args:
        optimizer: whose groups are changed.
        max_lr: the highest rate, one number or one a group.
        total_steps: how many steps the cycle has; or give `epochs` and `steps_per_epoch`.
        pct_start: share of the steps that rise.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: let the momentum (the first beta) fall and rise.
        base_momentum, max_momentum: its ends.
        div_factor: the first rate is `max_lr / div_factor`.
        final_div_factor: the last rate is the first one divided by this.
        three_phase: fall back to the first rate as fast as it rose, then to the last.
        last_epoch: the step a schedule continues from.

    Raises:
        OptionError: for numbers out of range, and when stepped beyond the end.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    >>> schedule = cr.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> round(schedule.get_last_lr()[0], 3)
    0.04
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        cls = "OneCycleLR"
        if total_steps is None and epochs is not None and steps_per_epoch is not None:
            total_steps = epochs * steps_per_epoch
        if total_steps is None or total_steps < 1:
            raise OptionError(
                f"{cls}: the number of steps is not known.\n"
                "  fix: give total_steps, or epochs and steps_per_epoch, above 0"
            )
        if not 0 <= pct_start <= 1:
            raise OptionError(f"{cls}: pct_start must be from 0 to 1; {pct_start} was given")
        if anneal_strategy not in ("cos", "linear"):
            raise OptionError(
                f"{cls}: anneal_strategy must be 'cos' or 'linear'; {anneal_strategy!r} was given"
            )
        self.total_steps = total_steps
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        count = len(optimizer.param_groups)
        highest = _per_group(cls, "max_lr", max_lr, count)
        low = _per_group(cls, "base_momentum", base_momentum, count)
        high = _per_group(cls, "max_momentum", max_momentum, count)
        # Each phase: its last step, then for each group the rates and momenta at its two ends.
        rise = float(pct_start * total_steps) - 1
        first = [rate / div_factor for rate in highest]
        last = [rate / final_div_factor for rate in first]
        self.phases: list[list[Any]] = [[rise, first, highest, high, low]]
        if three_phase:
            self.phases.append([2 * rise + 1 - 1, highest, first, low, high])
            self.phases.append([total_steps - 1, first, last, high, high])
        else:
            self.phases.append([total_steps - 1, highest, last, low, high])
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, first, strict=True):
                group["lr"] = group["initial_lr"] = rate
        for group in optimizer.param_groups if cycle_momentum else ():
            _momentum_of(cls, group)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return each group's rate for this step, and set its momentum."""
        step = self.last_epoch
        if step > self.total_steps:
            raise OptionError(
                f"OneCycleLR: step {step} lies beyond the end of the cycle.\n"
                f"  given: total_steps={self.total_steps}\n"
                "  fix: total_steps = epochs * batches in an epoch"
            )
        before = 0.0
        for number, phase in enumerate(self.phases):
            end = phase[0]
            if step <= end or number == len(self.phases) - 1:
                share = (step - before) / (end - before)
                break
            before = end
        _, start, stop, momentum, after = phase
        if self.cycle_momentum:
            for place, group in enumerate(self.optimizer.param_groups):
                _set_momentum(group, self._mix(momentum[place], after[place], share))
        return [self._mix(a, b, share) for a, b in zip(start, stop, strict=True)]

    def _mix(self, start: float, end: float, share: float) -> float:
        return _between(start, end, share, self.anneal_strategy)


class CyclicLR(LRScheduler):
    """Let the rate go up and down between two ends in straight lines.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks (2017). It is stepped after
    every batch.

    Args:
        optimizer: whose groups are changed.
        base_lr: the lower end, one number or one a group.
        max_lr: the upper end.
        step_size_up: steps of a rise.
        step_size_down: steps of a fall; as many as of a rise unless given.
        mode: "triangular"; "triangular2" halves the height each cycle; "exp_range" multiplies it by
            `gamma` each step.
        gamma: see `mode`.
        cycle_momentum: let the momentum (the first beta) do the opposite.
        base_momentum, max_momentum: its ends.
        last_epoch: the step a schedule continues from.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        cls = "CyclicLR"
        if mode not in ("triangular", "triangular2", "exp_range"):
            raise OptionError(
                f"{cls}: mode must be 'triangular', 'triangular2' or 'exp_range'; {mode!r} given"
            )
        count = len(optimizer.param_groups)
        self.max_lrs = _per_group(cls, "max_lr", max_lr, count)
        lower = _per_group(cls, "base_lr", base_lr, count)
        self.total_size = float(step_size_up + (step_size_down or step_size_up))
        self.step_ratio = step_size_up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self.cycle_momentum = cycle_momentum
        self.base_momentums = _per_group(cls, "base_momentum", base_momentum, count)
        self.max_momentums = _per_group(cls, "max_momentum", max_momentum, count)
        for group in optimizer.param_groups if cycle_momentum else ():
            _momentum_of(cls, group)
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, lower, strict=True):
                group["lr"] = group["initial_lr"] = rate
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lower

    def get_lr(self) -> list[float]:
        """Return each group's rate for this step, and set its momentum."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        place = 1.0 + self.last_epoch / self.total_size - cycle
        rising = place <= self.step_ratio
        height = place / self.step_ratio if rising else (place - 1) / (self.step_ratio - 1)
        scale = {
            "triangular": 1.0,
            "triangular2": 1 / (2.0 ** (cycle - 1)),
            "exp_range": self.gamma**self.last_epoch,
        }[self.mode]
        if self.cycle_momentum:
            ends = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(self.optimizer.param_groups, ends, strict=True):
                _set_momentum(group, high - (high - low) * height * scale)
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [base + (top - base) * height * scale for base, top in pairs]


class _Several(LRScheduler):
    """A schedule made of others."""

    _given = ("optimizer", "schedulers")
    schedulers: list[LRScheduler]

    def state_dict(self) -> dict[str, Any]:
        """Return where the schedules stand."""
        members = [scheduler.state_dict() for scheduler in self.schedulers]
        return {**super().state_dict(), "schedulers": members}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from where `state_dict()` stood."""
        own = dict(state_dict)
        for scheduler, state in zip(self.schedulers, own.pop("schedulers"), strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict(own)


class SequentialLR(_Several):
    """Schedules one after the other: number k + 1 takes over at epoch `milestones[k]`.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedules = cr.optim.lr_scheduler
    >>> warm = schedules.ConstantLR(optimizer, factor=0.1, total_iters=2)
    >>> fall = schedules.ExponentialLR(optimizer, gamma=0.5)
    >>> both = schedules.SequentialLR(optimizer, [warm, fall], milestones=[2])
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(optimizer.param_groups[0]["lr"])
    ...     both.step()
    >>> rates
    [0.1, 0.1, 1.0, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        _check_members("SequentialLR", optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise OptionError(
                f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} milestones; "
                f"{len(milestones)} were given"
            )
        self.optimizer = optimizer
        self.schedulers = list(schedulers)
        self.milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        # Each member took its first step when it was made; only the first one's shall count.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for scheduler in self.schedulers:
            scheduler.last_epoch -= 1
        first = self.schedulers[0]
        first._step_count = 0
        first.step()
        self._last_lr = first.get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """Move on by one epoch."""
        self.last_epoch += 1
        number = bisect.bisect_right(self.milestones, self.last_epoch)
        scheduler = self.schedulers[number]
        if number > 0 and self.milestones[number - 1] == self.last_epoch:
            scheduler.step(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Several):
    """Schedules that act together: each step steps all of them.

    Args:
        schedulers: the schedules, all of one optimizer.
        optimizer: that optimizer; taken from the first schedule unless given.
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if not schedulers:
            raise OptionError("ChainedScheduler takes one or more schedules; none was given")
        self.optimizer = optimizer or schedulers[0].optimizer
        _check_members("ChainedScheduler", self.optimizer, schedulers)
        self.schedulers = list(schedulers)
        self._last_lr = self._rates()

    def step(self, epoch: int | None = None) -> None:
        """Step every schedule."""
        for scheduler in self.schedulers:
            scheduler.step()
        self._last_lr = self._rates()


def _check_members(cls: str, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
    for number, scheduler in enumerate(schedulers):
        if scheduler.optimizer is not optimizer:
            raise OptionError(f"{cls}: schedule {number} belongs to another optimizer")


class ReduceLROnPlateau:
    """Multiply the rate by `factor` when a number has not become better for `patience` epochs.

    Args:
        optimizer: whose groups' `lr` is changed.
        mode: "min" when smaller is better, "max" when larger is.
        factor: below 1.
        patience: epochs without improvement that are let pass.
        threshold: how much better counts as better.
        threshold_mode: "rel" (a share of the best) or "abs".
        cooldown: epochs after a change in which none are counted.
        min_lr: the lowest rate, one number or one a group.
        eps: changes smaller than this are left out.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = cr.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     schedule.step(loss)
    >>> optimizer.param_groups[0]["lr"]
    0.1
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        cls = "ReduceLROnPlateau"
        if factor >= 1.0:
            raise OptionError(f"{cls}: factor must be below 1; {factor} was given")
        if mode not in ("min", "max"):
            raise OptionError(f"{cls}: mode must be 'min' or 'max'; {mode!r} was given")
        if threshold_mode not in ("rel", "abs"):
            raise OptionError(
                f"{cls}: threshold_mode must be 'rel' or 'abs'; {threshold_mode!r} was given"
            )
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = _per_group(cls, "min_lr", min_lr, len(optimizer.param_groups))
        self.eps = eps
        self.last_epoch = 0
        self._last_lr = [float(group["lr"]) for group in optimizer.param_groups]
        self._reset()

    def _reset(self) -> None:
        self.best = math.inf if self.mode == "min" else -math.inf
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    def is_better(self, a: float, best: float) -> bool:
        """Say whether `a` is better than `best` by more than the threshold."""
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "rel":
            edge = best * (1 + sign * self.threshold)
        else:
            edge = best + sign * self.threshold
        return a > edge if self.mode == "max" else a < edge

    def step(self, metrics: Any, epoch: int | None = None) -> None:
        """Take the number of an epoch, and change the rate when it has waited too long."""
        current = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._lower()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = [float(group["lr"]) for group in self.optimizer.param_groups]

    def _lower(self) -> None:
        for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            rate = max(float(group["lr"]) * self.factor, least)
            if float(group["lr"]) - rate > self.eps:
                group["lr"] = rate

    def get_last_lr(self) -> list[float]:
        """Return the rates after the last `step`."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Return where the schedule stands."""
        return {name: value for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from where `state_dict()` stood."""
        vars(self).update(state_dict)
