"""How far to go along a direction: a line search for the strong Wolfe conditions.

With f the loss at the start, s its slope along the direction, a step t is taken where
`f(t) <= f + c1 t s` and `|s(t)| <= c2 |s|`. First the step grows until an interval is known to hold
such a t, then the interval shrinks, each new t being the minimum of a cubic through both ends.
Nocedal and Wright, Numerical optimization (2006), algorithms 3.5 and 3.6; the safeguards (growing
by 1 % to tenfold, staying off the ends of the interval) are those of M. Schmidt's minFunc, which
PyTorch's LBFGS follows too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Vector = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Point:
    """A place on the line.

    Attributes:
        t: the step that leads there.
        f: the loss.
        slope: the derivative along the line.
        gradient: of all parameters.
    """

    t: float
    f: float
    slope: float
    gradient: Vector


@dataclass
class StrongWolfe:
    """The search.

    Attributes:
        evaluate: gives the point at a step.
        start: the point at 0.
        width: the largest element of the direction: t times it is how far any parameter moves.
        c1, c2: of the two conditions.
        tolerance_change: intervals over which parameters move less are not parted further.
        most: evaluations at most, after the first.
        evaluations: how many there were.
    """

    evaluate: Callable[[float], Point]
    start: Point
    width: float
    c1: float = 1e-4
    c2: float = 0.9
    tolerance_change: float = 1e-9
    most: int = 25
    evaluations: int = 0

    def search(self, first: float) -> Point:
        """Return the point to go to, beginning with the step `first`."""
        interval = self._bracket(first)
        return interval[0] if len(interval) == 1 else self._shrink(*interval)

    def _at(self, t: float) -> Point:
        self.evaluations += 1
        return self.evaluate(t)

    def _too_high(self, point: Point) -> bool:
        return point.f > self.start.f + self.c1 * point.t * self.start.slope

    def _flat_enough(self, point: Point) -> bool:
        return abs(point.slope) <= -self.c2 * self.start.slope

    def _bracket(self, first: float) -> list[Point]:
        """Grow the step: one point that will do, or the two ends of an interval that holds one."""
        before, point = self.start, self._at(first)
        for turn in range(self.most):
            if self._too_high(point) or (turn > 1 and point.f >= before.f):
                return [before, point]
            if self._flat_enough(point):
                return [point]
            if point.slope >= 0:
                return [before, point]
            least = point.t + 0.01 * (point.t - before.t)
            t = minimum_of_cubic(before, point, least, point.t * 10)
            before, point = point, self._at(t)
        return [self.start, point]

    def _shrink(self, low: Point, high: Point) -> Point:
        """Part the interval until a point will do; the lower end is the best point so far."""
        if high.f < low.f:
            low, high = high, low
        stayed = False
        while self.evaluations <= self.most:
            left, right = sorted((low.t, high.t))
            if (right - left) * self.width < self.tolerance_change:
                break
            t = minimum_of_cubic(low, high, left, right)
            margin = 0.1 * (right - left)
            near = min(right - t, t - left) < margin
            if near and (stayed or t >= right or t <= left):
                # Twice near an end, or on it: a step inwards, or the interval would not shrink.
                t = right - margin if right - t < t - left else left + margin
                near = False
            stayed = near
            point = self._at(t)
            if self._too_high(point) or point.f >= low.f:
                low, high = (point, low) if point.f < low.f else (low, point)
                continue
            if self._flat_enough(point):
                return point
            if point.slope * (high.t - low.t) >= 0:
                high = low
            low = point
        return low


def minimum_of_cubic(a: Point, b: Point, least: float, most: float) -> float:
    """Return where the cubic with the values and slopes of two points is lowest, within bounds.

    Nocedal and Wright, equation 3.59; the middle of the bounds where the cubic has no minimum.

    >>> down, up = Point(0.0, 0.0, -1.0, np.zeros(0)), Point(1.0, 0.0, 1.0, np.zeros(0))
    >>> minimum_of_cubic(down, up, 0.0, 1.0)
    0.5
    """
    if a.t > b.t:
        a, b = b, a
    one = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = one * one - a.slope * b.slope
    if not square >= 0:
        return (least + most) / 2
    two = math.sqrt(square)
    span = b.slope - a.slope + 2 * two
    t = b.t - (b.t - a.t) * ((b.slope + two - one) / span) if span else math.nan
    return min(max(t, least), most) if math.isfinite(t) else (least + most) / 2
