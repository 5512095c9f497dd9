"""Reductions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

from .. import dtypes
from ..errors import DTypeError
from ..ops import AMAX, ARGMAX, GATHER, SUM, apply, cast_node
from ._shape import Shaped, axis_of


class ValuesAndIndices(NamedTuple):
    """The extreme elements along an axis, and where they stand."""

    values: Any
    indices: Any


Method = TypeVar("Method", bound=Callable[..., Any])
_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def numpy_names(method: Method) -> Method:
    """The method with NumPy's names of its arguments too, as PyTorch's have: axis, keepdims."""

    @functools.wraps(method)
    def renamed(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs = {_NUMPY_NAMES.get(name, name): value for name, value in kwargs.items()}
        return method(*args, **kwargs)

    return cast(Method, renamed)


def _correction(dim: Any, correction: int, unbiased: bool | None) -> tuple[Any, int]:
    """The axes, and what is taken off the count: 1 where ``unbiased``, an older name for it."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return dim, correction if unbiased is None else int(unbiased)


def axes_of(dim: Any, rank: int) -> tuple[int, ...]:
    """The axes that a ``dim`` argument names; all of them for None."""
    if dim is None:
        return tuple(range(rank))
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    return tuple(sorted({axis_of(one, rank) for one in dims})) if rank else ()


class Reduced(Shaped):
    """What a tensor does with many elements at once."""

    __slots__ = ()

    @numpy_names
    def sum(self, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
        """The sum over axes (all of them for None); whole numbers and booleans give int64."""
        node = self.node
        if dtype is not None:
            node = cast_node(node, dtypes.as_dtype(dtype))
        elif not node.dtype.is_float:
            node = cast_node(node, dtypes.int64)
        axes = axes_of(dim, node.ndim)
        return self._new(apply(SUM, node, axes=axes, keepdims=keepdim) if axes else node)

    @numpy_names
    def mean(self, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
        """The mean over axes.

        Raises:
            DTypeError: for whole numbers, whose mean is none of theirs.
        """
        if dtype is None and not self.dtype.is_float:
            raise DTypeError(
                f"the mean needs floating-point numbers; given {self.dtype}.\n"
                "  fix: x.float().mean()"
            )
        axes = axes_of(dim, self.ndim)
        count = 1
        for axis in axes:
            count *= self._node.shape[axis]
        return self.sum(dim, keepdim, dtype) / (count if count else float("nan"))

    @numpy_names
    def amax(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The largest element over axes; the gradient is shared where several are."""
        axes = axes_of(dim, self.ndim)
        return self._new(apply(AMAX, self.node, axes=axes, keepdims=keepdim)) if axes else self

    @numpy_names
    def amin(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The smallest element over axes."""
        return -((-self).amax(dim, keepdim))

    @numpy_names
    def argmax(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The first place of the largest element: int64."""
        if dim is None:
            return self._new(apply(ARGMAX, self.flatten().node, axis=0, keepdims=False))
        axis = axis_of(dim, self.ndim)
        return self._new(apply(ARGMAX, self.node, axis=axis, keepdims=keepdim))

    @numpy_names
    def argmin(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The first place of the smallest element: int64."""
        return (-self).argmax(dim, keepdim)

    @numpy_names
    def max(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The largest element; along an axis, values and indices; of two tensors, the larger."""
        if isinstance(dim, Shaped):
            return self.maximum(dim)
        if dim is None:
            return self.amax()
        return self._extreme(self.argmax(dim, keepdim=True), dim, keepdim)

    @numpy_names
    def min(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The smallest element; along an axis, values and indices; of two tensors, the smaller."""
        if isinstance(dim, Shaped):
            return self.minimum(dim)
        if dim is None:
            return self.amin()
        return self._extreme(self.argmin(dim, keepdim=True), dim, keepdim)

    def _extreme(self, places: Any, dim: int, keepdim: bool) -> ValuesAndIndices:
        axis = axis_of(dim, self.ndim)
        values = self._new(apply(GATHER, self.node, places.node, axis=axis))
        if not keepdim:
            values, places = values.squeeze(axis), places.squeeze(axis)
        return ValuesAndIndices(values, places)

    @numpy_names
    def var(
        self,
        dim: Any = None,
        correction: int = 1,
        keepdim: bool = False,
        *,
        unbiased: bool | None = None,
    ) -> Any:
        """The variance over axes, the sum of squares divided by (count - correction)."""
        dim, correction = _correction(dim, correction, unbiased)
        axes = axes_of(dim, self.ndim)
        count = 1
        for axis in axes:
            count *= self._node.shape[axis]
        off = self - self.mean(axes, keepdim=True)
        freedom = count - correction
        return (off * off).sum(axes, keepdim) / (freedom if freedom > 0 else float("nan"))

    @numpy_names
    def std(
        self,
        dim: Any = None,
        correction: int = 1,
        keepdim: bool = False,
        *,
        unbiased: bool | None = None,
    ) -> Any:
        """The standard deviation over axes."""
        return self.var(dim, correction, keepdim, unbiased=unbiased).sqrt()

    def norm(self, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
        """The p-norm over axes; ``p`` may be infinite."""
        size = self.abs()
        if p == float("inf"):
            return size.amax(dim, keepdim)
        if p in (2, "fro"):
            return (self * self).sum(dim, keepdim).sqrt()
        return size.sum(dim, keepdim) if p == 1 else (size**p).sum(dim, keepdim) ** (1 / p)

    @numpy_names
    def any(self, dim: Any = None, keepdim: bool = False) -> Any:
        """Whether any element is not 0."""
        found = self.bool()
        if found.numel() == 0:
            return self._new(cast_node(found.sum(dim, keepdim).node, dtypes.bool_))
        return found.amax(dim, keepdim)

    @numpy_names
    def all(self, dim: Any = None, keepdim: bool = False) -> Any:
        """Whether no element is 0."""
        return ~((~self.bool()).any(dim, keepdim))

    @numpy_names
    def softmax(self, dim: int) -> Any:
        """exp(x) over its sum along an axis, shifted by the largest so that nothing overflows."""
        raised = (self - self.detach().amax(dim, keepdim=True)).exp()
        return raised / raised.sum(dim, keepdim=True)

    @numpy_names
    def log_softmax(self, dim: int) -> Any:
        """The logarithm of softmax, without computing it."""
        shifted = self - self.detach().amax(dim, keepdim=True)
        return shifted - shifted.exp().sum(dim, keepdim=True).log()

    @numpy_names
    def logsumexp(self, dim: int, keepdim: bool = False) -> Any:
        """log(sum(exp(x))) along an axis, without overflow."""
        peak = self.detach().amax(dim, keepdim=True)
        total = (self - peak).exp().sum(dim, keepdim=True).log() + peak
        return total if keepdim else total.squeeze(dim)

    def detach(self) -> Any:
        """The same values without history."""
        raise NotImplementedError
