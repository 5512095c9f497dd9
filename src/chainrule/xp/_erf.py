"""The error function in NumPy, which has none.

W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation
23 (1969): three ranges, each a ratio of polynomials, good to double precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_SMALL = (
    (
        1.85777706184603153e-1,
        3.16112374387056560e00,
        1.13864154151050156e02,
        3.77485237685302021e02,
        3.20937758913846947e03,
    ),
    (
        1.0,
        2.36012909523441209e01,
        2.44024637934444173e02,
        1.28261652607737228e03,
        2.84423683343917062e03,
    ),
)
_MIDDLE = (
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594e00,
        6.61191906371416295e01,
        2.98635138197400131e02,
        8.81952221241769090e02,
        1.71204761263407058e03,
        2.05107837782607147e03,
        1.23033935479799725e03,
    ),
    (
        1.0,
        1.57449261107098347e01,
        1.17693950891312499e02,
        5.37181101862009858e02,
        1.62138957456669019e03,
        3.29079923573345963e03,
        4.36261909014324716e03,
        3.43936767414372164e03,
        1.23033935480374942e03,
    ),
)


def _ratio(x: Any, both: tuple[tuple[float, ...], tuple[float, ...]]) -> Any:
    return np.polyval(both[0], x) / np.polyval(both[1], x)


def erf(x: Any) -> Any:
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.

    Args:
        x: an array of float32 or float64; computed in float64, returned in its own type.
    """
    wide = np.clip(x.astype(np.float64), -6.0, 6.0)
    size = np.abs(wide)
    small = wide * _ratio(np.minimum(size, 0.5) ** 2, _SMALL)
    clipped = np.clip(size, 0.46875, 6.0)
    tail = np.exp(-clipped * clipped) * _ratio(clipped, _MIDDLE)
    result = np.where(size <= 0.46875, small, np.copysign(1.0 - tail, wide))
    return result.astype(x.dtype)
