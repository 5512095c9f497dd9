"""L-BFGS: Newton's direction from the last few steps and changes of the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OptionError
from ._line_search import Point, StrongWolfe, Vector
from ._whole import Closure, WholeVector


@dataclass
class _Place:
    """Where a step of the optimizer stands: the parameters, the loss, its gradient."""

    x: Vector
    loss: float
    slope: Vector


class LineSearching(WholeVector):
    """What L-BFGS and conjugate gradients share: the walk along one direction after the other."""

    # The second condition of the line search; directions that build on each other need a small one.
    c2 = 0.9

    def check(self, settings: dict[str, Any]) -> None:
        """Refuse settings out of range, and line searches that do not exist."""
        super().check(settings)
        cls = type(self).__name__
        if settings["line_search_fn"] not in (None, "strong_wolfe"):
            raise OptionError(
                f"{cls}: line_search_fn={settings['line_search_fn']!r} does not exist.\n"
                "  expected: 'strong_wolfe' or None"
            )
        for name in ("max_iter", "max_eval"):
            if not settings[name] >= 1:
                raise OptionError(f"{cls}: {name} must be 1 or more; {settings[name]} was given")

    def _direction(self, slope: Vector) -> Vector:
        """The direction from here, after what was learned from the last step."""
        raise NotImplementedError

    def _learned(self, direction: Vector, t: float, before: Vector) -> None:
        """Note a step that was made: its direction, length, and the gradient it began with."""

    def _first_step(self, slope: Vector) -> float:
        """The step that is tried first along a new direction."""
        raise NotImplementedError

    def step(self, closure: Closure | None = None) -> Any:
        """Walk up to `max_iter` directions; returns what the closure gave at the start.

        Args:
            closure: returns the loss, after zero_grad() and backward(); eager or compiled.
        """
        evaluate = self._checked(closure)
        first, loss, slope = self._loss_and_slope(evaluate)
        here = _Place(self._vector(), loss, slope)
        evaluations = 1
        for turn in range(1, self._setting("max_iter") + 1):
            if abs(here.slope).max(initial=0.0) <= self._setting("tolerance_grad"):
                break
            direction = self._direction(here.slope)
            along = float(here.slope @ direction)
            if along > -self._setting("tolerance_change"):
                break
            t = self._first_step(here.slope)
            last = turn == self._setting("max_iter")
            new, t, count = self._walk(evaluate, here, direction, along, t, last)
            self._learned(direction, t, here.slope)
            evaluations += count
            moved = abs(direction * t).max(initial=0.0)
            change, here = abs(new.loss - here.loss), new
            tolerance = self._setting("tolerance_change")
            if evaluations >= self._setting("max_eval") or moved <= tolerance or change < tolerance:
                break
        return first

    def _walk(
        self,
        closure: Closure,
        here: _Place,
        direction: Vector,
        along: float,
        t: float,
        last: bool,
    ) -> tuple[_Place, float, int]:
        """Go along a direction: the new place, the step, and how often the closure was called."""

        def at(t: float) -> Point:
            self._place(here.x + t * direction)
            _, loss, slope = self._loss_and_slope(closure)
            # What is not a number is no place to go to.
            loss = math.inf if math.isnan(loss) else loss
            return Point(t, loss, float(slope @ direction), slope)

        if self._setting("line_search_fn") is None:
            if last:
                self._place(here.x + t * direction)
                return _Place(here.x + t * direction, here.loss, here.slope), t, 0
            point, count = at(t), 1
        else:
            start = Point(0.0, here.loss, along, here.slope)
            width = float(abs(direction).max(initial=0.0))
            search = StrongWolfe(at, start, width, c2=self.c2)
            point = search.search(t)
            count = search.evaluations
        x = here.x + point.t * direction
        self._place(x)
        return _Place(x, point.f, point.gradient), point.t, count


class LBFGS(LineSearching):
    """L-BFGS: descends along `-H g`, H being built of the last steps s and gradient changes y.

    H is never made: with `ρ = 1 / (y · s)` two walks over the pairs apply it (Nocedal, Updating
    quasi-Newton matrices with limited storage, 1980; Nocedal and Wright, algorithm 7.4). Names,
    defaults and numbers are PyTorch's.

    Args:
        params: parameters; one group.
        lr: the first step tried along each direction, and the step where there is no line search.
        max_iter: directions in one `step`.
        max_eval: calls of the closure in one `step`, above which it ends; None is max_iter * 1.25.
        tolerance_grad: ends when no element of the gradient is larger.
        tolerance_change: ends when no parameter moves by more, or the loss changes by less.
        history_size: how many pairs are kept.
        line_search_fn: "strong_wolfe" searches along each direction; None takes the step lr.

    Raises:
        OptionError: for settings out of range, several groups, and a step without a closure.
        GradientError: for a closure that leaves no gradients.

    >>> import chainrule as cr
    >>> w = cr.tensor([-1.5, 2.0], requires_grad=True)
    >>> optimizer = LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
    ...     loss.backward()
    ...     return loss
    >>> for _ in range(3):
    ...     _ = optimizer.step(closure)
    >>> [round(one, 3) for one in w.tolist()]
    [1.0, 1.0]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = dict(
            lr=lr,
            max_iter=max_iter,
            max_eval=max_iter * 5 // 4 if max_eval is None else max_eval,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            history_size=history_size,
            line_search_fn=line_search_fn,
        )
        super().__init__(params, defaults)
        self._steps: list[Vector] = []
        self._changes: list[Vector] = []
        self._scale = 1.0
        self._last: tuple[Vector, Vector] | None = None  # the newest step, and the gradient before
        self._count = 0

    def check(self, settings: dict[str, Any]) -> None:
        """Refuse settings out of range."""
        super().check(settings)
        if settings["history_size"] < 1:
            raise OptionError(
                f"LBFGS: history_size must be 1 or more; {settings['history_size']} was given"
            )

    def _direction(self, slope: Vector) -> Vector:
        self._count += 1
        if self._last is not None:
            self._remember(slope)
        q = -slope
        shares = []
        pairs = list(zip(self._steps, self._changes, strict=True))
        for s, y in reversed(pairs):
            shares.append(s @ q / (y @ s))
            q = q - shares[-1] * y
        r = q * self._scale
        for (s, y), share in zip(pairs, reversed(shares), strict=True):
            r = r + s * (share - y @ r / (y @ s))
        return r

    def _remember(self, slope: Vector) -> None:
        """Keep the newest pair, where it curves upwards."""
        assert self._last is not None
        s, before = self._last
        y = slope - before
        if y @ s > 1e-10:
            keep = self._setting("history_size") - 1
            self._steps = [*self._steps[len(self._steps) - keep :], s] if keep else [s]
            self._changes = [*self._changes[len(self._changes) - keep :], y] if keep else [y]
            self._scale = float(y @ s / (y @ y))

    def _first_step(self, slope: Vector) -> float:
        lr = float(self._setting("lr"))
        return min(1.0, 1.0 / float(abs(slope).sum())) * lr if self._count == 1 else lr

    def _learned(self, direction: Vector, t: float, before: Vector) -> None:
        self._last = direction * t, before

    def _own(self) -> dict[str, Any]:
        names = ("_steps", "_changes", "_scale", "_last", "_count")
        return {name[1:]: getattr(self, name) for name in names}

    def _adopt_own(self, own: Mapping[str, Any]) -> None:
        for name, value in own.items():
            setattr(self, f"_{name}", value)


class ConjugateGradient(LineSearching):
    """Nonlinear conjugate gradients: `d <- -g + β d`, with a line search along each d.

    On a quadratic with exact searches each direction is conjugate to all before, and n steps reach
    the minimum. A direction that does not descend is dropped for `-g`. Sources: Nocedal and Wright,
    Numerical optimization (2006), section 5.2; Polak and Ribière (1969), Hestenes and Stiefel
    (1952), Fletcher and Reeves (1964).

    Args:
        params: parameters; one group.
        lr: the first step tried in the first search; later ones begin with what the last step's
            change of the loss suggests.
        beta: "polak-ribiere" (`g·(g - g₀) / g₀·g₀`, not below 0), "hestenes-stiefel"
            (`g·(g - g₀) / d·(g - g₀)`, not below 0) or "fletcher-reeves" (`g·g / g₀·g₀`).
        max_iter: directions in one `step`.
        max_eval: calls of the closure in one `step`, above which it ends; None is max_iter * 5.
        tolerance_grad: ends when no element of the gradient is larger.
        tolerance_change: ends when no parameter moves by more, or the loss changes by less.

    Raises:
        OptionError: for settings out of range, several groups, and a step without a closure.
        GradientError: for a closure that leaves no gradients.

    >>> import chainrule as cr
    >>> w = cr.tensor([3.0, -2.0], requires_grad=True)
    >>> optimizer = ConjugateGradient([w])
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = w[0] ** 2 + 10 * w[1] ** 2
    ...     loss.backward()
    ...     return loss
    >>> _ = optimizer.step(closure)
    >>> bool((w.abs() < 1e-3).all())
    True
    """

    c2 = 0.1
    _betas = ("polak-ribiere", "hestenes-stiefel", "fletcher-reeves")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        beta: str = "polak-ribiere",
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
    ) -> None:
        defaults = dict(
            lr=lr,
            beta=beta,
            max_iter=max_iter,
            max_eval=max_iter * 5 if max_eval is None else max_eval,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            line_search_fn="strong_wolfe",
        )
        super().__init__(params, defaults)
        # The newest direction, its step, and the gradient before it.
        self._last: tuple[Vector, float, Vector] | None = None
        # The slopes of the loss along the newest direction, and along the one before.
        self._along = self._along_before = 0.0

    def check(self, settings: dict[str, Any]) -> None:
        """Refuse settings out of range, and a beta that does not exist."""
        super().check(settings)
        if settings["beta"] not in self._betas:
            raise OptionError(
                f"ConjugateGradient: beta={settings['beta']!r} does not exist.\n"
                f"  expected: one of {', '.join(map(repr, self._betas))}"
            )

    def _direction(self, slope: Vector) -> Vector:
        new = -slope
        if self._last is not None:
            direction, _, before = self._last
            new = -slope + self._share(slope, before, direction) * direction
            if slope @ new >= 0:
                new = -slope
        self._along, self._along_before = float(slope @ new), self._along
        return new

    def _share(self, slope: Vector, before: Vector, direction: Vector) -> float:
        change = slope - before
        kind = self._setting("beta")
        if kind == "fletcher-reeves":
            top, below = slope @ slope, before @ before
        else:
            top = slope @ change
            below = before @ before if kind == "polak-ribiere" else direction @ change
        share = float(top / below) if below else 0.0
        return max(share, 0.0) if np.isfinite(share) else 0.0

    def _first_step(self, slope: Vector) -> float:
        if self._last is None:
            return min(1.0, 1.0 / float(abs(slope).sum())) * float(self._setting("lr"))
        # As much change to first order as in the last step (Nocedal and Wright, equation 3.60).
        return float(np.clip(self._last[1] * self._along_before / self._along, 1e-12, 1e12))

    def _learned(self, direction: Vector, t: float, before: Vector) -> None:
        self._last = (direction, t, before) if t > 0 else None

    def _own(self) -> dict[str, Any]:
        return {"last": self._last, "along": self._along}

    def _adopt_own(self, own: Mapping[str, Any]) -> None:
        for name, value in own.items():
            setattr(self, f"_{name}", value)
