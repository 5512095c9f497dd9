"""The curvature of a loss: products with its Hessian, and the Hessian's eigenvalues."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..errors import GradientError, OptionError, require
from ..tensor import Tensor, tensor
from ..tensor._compile import compile as compiled
from ..tensor._grad import grad
from ._whole import Vector, joined, parted


class HessianProduct:
    """Products of a loss's Hessian with vectors, compiled; the Hessian is never made.

    The product is the gradient of (gradient · v) (Pearlmutter, Fast exact multiplication by the
    Hessian, 1994): about the cost of two backward passes, for any number of parameters.

    Args:
        loss: a function of no arguments that returns the loss, computed from the parameters.
        params: the parameters; their order is that of the vectors.
        engine: as for `cr.compile`.

    Raises:
        GradientError: when the loss does not depend on the parameters.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, 2.0], requires_grad=True)
    >>> product = HessianProduct(lambda: (w ** 3).sum(), [w], engine="numpy")
    >>> product(np.array([1.0, 1.0])).tolist()
    [6.0, 12.0]
    """

    def __init__(
        self, loss: Callable[[], Any], params: Iterable[Tensor], engine: str = "auto"
    ) -> None:
        self.params = list(params)
        self.size = sum(one.numel() for one in self.params)

        def product(*along: Tensor) -> list[Tensor]:
            value = loss()
            if not isinstance(value, Tensor) or not value.requires_grad:
                raise GradientError(
                    "HessianProduct: the loss does not depend on the parameters.\n"
                    "  fix: compute it from them in the function, without no_grad or detach"
                )
            slopes = grad(value, self.params, create_graph=True, allow_unused=True)
            used = [(g, v) for g, v in zip(slopes, along, strict=True) if g is not None]
            total = sum((g * v).sum() for g, v in used)
            if not isinstance(total, Tensor) or not total.requires_grad:
                return [one.detach() * 0 for one in self.params]
            found = grad(total, self.params, create_graph=False, allow_unused=True)
            return [
                one.detach() * 0 if g is None else g
                for one, g in zip(self.params, found, strict=True)
            ]

        self._product = compiled(product, engine=engine)

    def __call__(self, vector: np.ndarray[Any, Any]) -> Vector:
        """Return the product with a vector of all parameters, float64."""
        parts = parted(np.asarray(vector, np.float64).reshape(-1), self.params)
        along = [
            tensor(part.astype(one.dtype.np)) for part, one in zip(parts, self.params, strict=True)
        ]
        return joined(self._product(*along))


def hessian_spectrum(
    loss: Callable[[], Any],
    params: Iterable[Tensor],
    k: int = 6,
    which: str = "LM",
    vectors: bool = False,
    engine: str = "auto",
    tolerance: float = 1e-4,
    seed: int = 0,
) -> Any:
    """Return some eigenvalues of the loss's Hessian over all parameters, by Lanczos's method.

    Needs SciPy, which the extra `sklearn` brings. Source: Lanczos (1950), as restarted by ARPACK
    (Lehoucq, Sorensen and Yang, 1998).

    Args:
        loss: a function of no arguments that returns the loss, computed from the parameters.
        params: the parameters.
        k: how many eigenvalues, below the number of parameters.
        which: "LA" for the largest, "SA" for the smallest, "LM" for the largest in size, "BE" for
            half from each end.
        vectors: whether the eigenvectors are returned too.
        engine: what computes the products; see `cr.compile`.
        tolerance: relative accuracy of the eigenvalues. Products in float32 allow no more than
            1e-5 or so.
        seed: of the vector that Lanczos's method begins with.

    Returns:
        The eigenvalues, float64 (k,), rising; with `vectors` a pair of them and of the
        eigenvectors, (parameters, k).

    Raises:
        MissingExtraError: without SciPy.
        OptionError: for a k or a `which` that does not exist.
        GradientError: when the loss does not depend on the parameters, or nothing is found.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, 1.0, 1.0, 1.0], requires_grad=True, dtype=cr.float64)
    >>> scales = cr.tensor([1.0, 2.0, 5.0, -3.0], dtype=cr.float64)
    >>> hessian_spectrum(lambda: (scales * w * w).sum() / 2, [w], k=2, engine="numpy").round(6)
    array([-3.,  5.])
    """
    sparse = require("scipy.sparse.linalg", "sklearn", "spectra of Hessians")
    product = HessianProduct(loss, params, engine)
    if not 1 <= k < product.size:
        raise OptionError(
            f"hessian_spectrum: k must be from 1 to below the {product.size} parameters; given {k}"
        )
    if which not in ("LA", "SA", "LM", "BE"):
        raise OptionError(
            f"hessian_spectrum: which={which!r} does not exist.\n"
            "  expected: 'LA', 'SA', 'LM' or 'BE'"
        )
    operator = sparse.LinearOperator((product.size,) * 2, matvec=product, dtype=np.float64)
    start = np.random.default_rng(seed).normal(size=product.size)
    try:
        found, directions = sparse.eigsh(operator, k, which=which, tol=tolerance, v0=start)
    except sparse.ArpackNoConvergence as error:
        raise GradientError(
            f"hessian_spectrum: Lanczos's method has not settled ({error}).\n"
            "  fix: a larger tolerance, or parameters in float64: model.double()"
        ) from error
    order = np.argsort(found)
    return (found[order], directions[:, order]) if vectors else found[order]
