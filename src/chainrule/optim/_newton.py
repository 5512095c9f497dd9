"""Newton's method and its relatives for sums of squares: steps from second derivatives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..config import set_state
from ..errors import GradientError, OptionError
from ..tensor import Tensor, cat
from ..tensor._calculus import all_rows
from ..tensor._grad import grad
from ._line_search import Vector
from ._whole import Closure, WholeVector, flat

Matrix = np.ndarray[Any, np.dtype[np.float64]]

NOT_FINITE = (
    "{cls}: the {what} holds numbers that are not finite; the parameters were left as they are.\n"
    "  fix: start closer to a minimum, or with damping"
)


class Newton(WholeVector):
    """Newton's method: `w <- w - lr (H + damping I)⁻¹ g`, H being the Hessian of the loss.

    On a quadratic with lr=1 and no damping one step lands on its stationary point, whatever the
    condition number; elsewhere it is drawn to saddles and maxima as to minima. `saddle_free=True`
    divides by the absolute eigenvalues instead, `w <- w - lr Q (|Λ| + damping)⁻¹ Qᵀ g` with
    `H = Q Λ Qᵀ`, and so moves away from saddles. Sources: Nocedal and Wright, Numerical
    optimization (2006), section 3.3; Dauphin et al., Identifying and attacking the saddle point
    problem (2014).

    The Hessian of n parameters is an n by n matrix: for some thousand parameters, not for more.

    Args:
        params: parameters; one group.
        lr: the share of the step that is taken.
        damping: added to all eigenvalues; steps get smaller and turn towards `-g`.
        saddle_free: whether directions that curve downwards are descended, not climbed.

    Raises:
        OptionError: for settings out of range, several groups, and a step without a closure.
        GradientError: for a loss without history, and second derivatives that are not finite.

    >>> import chainrule as cr
    >>> w = cr.tensor([5.0, -3.0], requires_grad=True, dtype=cr.float64)
    >>> _ = Newton([w]).step(lambda: (w[0] - 1) ** 2 + 1e6 * (w[1] + 2) ** 2)
    >>> [round(one, 6) for one in w.tolist()]
    [1.0, -2.0]
    """

    returns = "the loss; backward() is not needed"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        damping: float = 0.0,
        saddle_free: bool = False,
    ) -> None:
        super().__init__(params, dict(lr=lr, damping=damping, saddle_free=saddle_free))

    def check(self, settings: dict[str, Any]) -> None:
        """Refuse settings out of range."""
        super().check(settings)
        _check_damping(type(self).__name__, settings["damping"])

    def step(self, closure: Closure | None = None) -> Any:
        """Take one step; returns the loss before it.

        Args:
            closure: returns the loss, with its history.
        """
        evaluate = self._checked(closure)
        with set_state(grad_enabled=True):
            loss = evaluate()
            slopes = _slopes(loss, self._params, "Newton")
            flat_slope = cat([one.reshape(-1) for one in slopes])
            curvature = _derivatives(flat_slope, self._params)
        gradient = flat(flat_slope)
        if not (np.isfinite(curvature).all() and np.isfinite(gradient).all()):
            raise GradientError(NOT_FINITE.format(cls="Newton", what="gradient or Hessian"))
        change = self._solved((curvature + curvature.T) / 2, gradient)
        self._place(self._vector() - self._setting("lr") * change)
        return loss.detach()

    def _solved(self, curvature: Matrix, gradient: Vector) -> Vector:
        """The step: the Hessian, damped or with absolute eigenvalues, applied backwards."""
        damping = self._setting("damping")
        if not self._setting("saddle_free"):
            return _solution(curvature + damping * np.eye(len(gradient)), gradient)
        values, vectors = np.linalg.eigh(curvature)
        scale = abs(values) + damping
        # Along a direction that does not curve, the gradient says nothing of how far to go.
        flat_ones = scale <= np.finfo(np.float64).eps * len(scale) * scale.max(initial=0.0)
        shares = np.where(flat_ones, 0.0, vectors.T @ gradient / np.where(flat_ones, 1.0, scale))
        return np.asarray(vectors @ shares)


class GaussNewton(WholeVector):
    """Gauss-Newton for sums of squares: `w <- w - lr (JᵀJ + damping I)⁻¹ Jᵀ r`.

    The closure returns the residuals r, any number of any shape; what is minimised is `½ Σ r²`, and
    J holds their derivatives. JᵀJ is the Hessian without the part that small residuals make small.
    Source: Nocedal and Wright, Numerical optimization (2006), section 10.3.

    Args:
        params: parameters; one group.
        lr: the share of the step that is taken.
        damping: added to the diagonal of JᵀJ.

    Raises:
        OptionError: for settings out of range, several groups, and a step without a closure.
        GradientError: for residuals without history, and numbers that are not finite.

    >>> import chainrule as cr
    >>> x = cr.tensor([0.0, 1.0, 2.0], dtype=cr.float64)
    >>> w = cr.tensor([0.0, 0.0], requires_grad=True, dtype=cr.float64)
    >>> _ = GaussNewton([w]).step(lambda: w[0] + w[1] * x - (3 * x - 1))
    >>> [round(one, 6) for one in w.tolist()]
    [-1.0, 3.0]
    """

    returns = "the residuals; backward() is not needed"

    def __init__(self, params: Iterable[Any], lr: float = 1.0, damping: float = 0.0) -> None:
        self._start(params, dict(lr=lr, damping=damping))

    def _start(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        WholeVector.__init__(self, params, defaults)

    def check(self, settings: dict[str, Any]) -> None:
        """Refuse settings out of range."""
        super().check(settings)
        _check_damping(type(self).__name__, settings["damping"])

    def step(self, closure: Closure | None = None) -> Any:
        """Take one step; returns `½ Σ r²` before it.

        Args:
            closure: returns the residuals, with their history.
        """
        residuals, slopes = self._linearised(self._checked(closure))
        change = _solution(_damped(slopes, self._setting("damping")), slopes.T @ residuals)
        self._place(self._vector() - self._setting("lr") * change)
        return half_square(residuals)

    def _linearised(self, closure: Closure) -> tuple[Vector, Matrix]:
        """The residuals, and their derivatives, (residuals, parameters)."""
        cls = type(self).__name__
        with set_state(grad_enabled=True):
            given = closure()
            if not isinstance(given, Tensor) or not given.requires_grad:
                raise GradientError(
                    f"{cls}: the closure must return the residuals, with their history.\n"
                    f"  given: {given!r}\n  fix: return (model(x) - y), not its mean or its value"
                )
            slopes = _derivatives(given.reshape(-1), self._params)
        residuals = flat(given)
        if not (np.isfinite(slopes).all() and np.isfinite(residuals).all()):
            raise GradientError(NOT_FINITE.format(cls=cls, what="residuals or their derivatives"))
        return residuals, slopes


class LevenbergMarquardt(GaussNewton):
    """Gauss-Newton with a damping that follows how well the linear model of the residuals holds.

    A step is taken only if it lowers `½ Σ r²`; the damping falls after steps that do what the model
    promised and grows, ever faster, while they fail. Sources: Marquardt (1963); Nielsen, Damping
    parameter in Marquardt's method (1999), for how damping changes.

    Args:
        params: parameters; one group.
        damping: at the start, as a share of the largest element of JᵀJ's diagonal.
        max_tries: failing steps after which `step` leaves the parameters as they are.

    Raises:
        OptionError, GradientError: as for `GaussNewton`.

    >>> import chainrule as cr
    >>> x = cr.linspace(0, 1, 20).double()
    >>> w = cr.tensor([1.0, 1.0], requires_grad=True, dtype=cr.float64)
    >>> optimizer = LevenbergMarquardt([w])
    >>> for _ in range(20):
    ...     _ = optimizer.step(lambda: w[0] * (w[1] * x).exp() - 2 * (0.5 * x).exp())
    >>> [round(one, 4) for one in w.tolist()]
    [2.0, 0.5]
    """

    def __init__(self, params: Iterable[Any], damping: float = 1e-3, max_tries: int = 20) -> None:
        self._start(params, dict(damping=damping, max_tries=max_tries))
        self._damping: float | None = None
        self._growth = 2.0

    def step(self, closure: Closure | None = None) -> Any:
        """Take one step that lowers the sum of squares; returns `½ Σ r²` before it."""
        evaluate = self._checked(closure)
        residuals, slopes = self._linearised(evaluate)
        before, place = half_square(residuals), self._vector()
        normal, gradient = slopes.T @ slopes, slopes.T @ residuals
        if self._damping is None:
            # A diagonal of zeros leaves only the damping itself to hold on to.
            self._damping = self._setting("damping") * (normal.diagonal().max(initial=0.0) or 1.0)
        begun, smallest = self._damping, np.finfo(np.float64).eps * abs(place).max(initial=0.0)
        for _ in range(self._setting("max_tries")):
            change = -_solution(normal + self._damping * np.eye(len(place)), gradient)
            if abs(change).max(initial=0.0) <= smallest:
                break
            self._place(place + change)
            with set_state(grad_enabled=False):
                after = half_square(flat(evaluate()))
            promised = float(change @ (self._damping * change - gradient)) / 2
            ratio = (before - after) / promised if promised > 0 else -1.0
            if ratio > 0:
                self._damping *= max(1 / 3, 1 - (2 * ratio - 1) ** 3)
                self._growth = 2.0
                return before
            self._damping = max(self._damping, np.finfo(np.float64).tiny) * self._growth
            self._growth *= 2
        # There is no lower place to be found; the next step begins as this one did.
        self._damping, self._growth = begun, 2.0
        self._place(place)
        return before

    def _own(self) -> dict[str, Any]:
        return {"damping": self._damping, "growth": self._growth}

    def _adopt_own(self, own: Mapping[str, Any]) -> None:
        self._damping, self._growth = own.get("damping"), own.get("growth", 2.0)


def half_square(residuals: Vector) -> float:
    """Return `½ Σ r²`.

    >>> half_square(np.array([3.0, 4.0]))
    12.5
    """
    return float(residuals @ residuals) / 2


def _check_damping(cls: str, damping: float) -> None:
    if not damping >= 0:
        raise OptionError(f"{cls}: damping must be 0 or more; {damping!r} was given")


def _damped(slopes: Matrix, damping: float) -> Matrix:
    normal: Matrix = slopes.T @ slopes
    return normal + damping * np.eye(len(normal))


def _solution(matrix: Matrix, vector: Vector) -> Vector:
    """Solve; the shortest solution where there are many."""
    try:
        found = np.linalg.solve(matrix, vector)
    except np.linalg.LinAlgError:
        found = np.linalg.lstsq(matrix, vector, rcond=None)[0]
    return np.asarray(found)


def _slopes(loss: Any, params: list[Tensor], cls: str) -> list[Tensor]:
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise GradientError(
            f"{cls}: the closure must return the loss, with its history.\n  given: {loss!r}\n"
            "  fix: return the tensor; no .item(), no .detach(), and not compiled"
        )
    found = grad(loss, params, create_graph=True, allow_unused=True)
    return [p.detach() * 0 if one is None else one for p, one in zip(params, found, strict=True)]


def _derivatives(vector: Tensor, params: list[Tensor]) -> Matrix:
    """The derivatives of a vector's elements by all parameters, (elements, parameters)."""
    size = vector.numel()
    if not vector.requires_grad:
        return np.zeros((size, sum(one.numel() for one in params)))
    rows = all_rows(vector.node, [one.node for one in params], False)
    return np.concatenate(
        [row.value().astype(np.float64).reshape(size, -1) for row in rows], axis=1
    )
