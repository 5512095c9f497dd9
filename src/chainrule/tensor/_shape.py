"""Shapes, indexing, conversion of dtype."""

from __future__ import annotations

from math import prod
from typing import Any

from .. import dtypes
from ..errors import OptionError, ShapeError
from ..ops import CONCAT, GATHER, TAKE, WHERE, Expr, apply, cast_node
from ._arithmetic import Arithmetic
from ._handle import TensorHandle, lift
from ._index import get_item, get_view, set_item


def axis_of(axis: int, rank: int, extra: int = 0) -> int:
    """A non-negative axis number.

    Raises:
        ShapeError: when the axis does not exist.

    Example:
        >>> axis_of(-1, 3)
        2
    """
    limit = rank + extra
    if not -max(limit, 1) <= axis < max(limit, 1):
        raise ShapeError(
            f"axis {axis} does not exist in a tensor with {rank} dimensions.\n"
            f"  expected: {-limit} to {limit - 1}"
        )
    return axis % limit if limit else 0


def sizes_of(shape: tuple[Any, ...], named: Any = None) -> tuple[int, ...]:
    """A shape given as numbers, as one sequence, or by its keyword (``size=``)."""
    if named is not None:
        shape = tuple(named) if isinstance(named, (tuple, list)) else (named,)
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    return tuple(int(n) for n in shape)


class Shaped(Arithmetic):
    """What a tensor does with its axes and its dtype."""

    __slots__ = ()

    def _view(self, node: Expr, how: str) -> Any:
        result = self._new(node)
        if node is self._node:
            return self
        result._view_of = how
        return result

    @property
    def shape(self) -> Any:
        """The length of each axis, as a tuple."""
        return Size(self._node.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._node.ndim

    @property
    def dtype(self) -> dtypes.DType:
        """The element type."""
        return self._node.dtype

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one axis."""
        shape = self.shape
        return shape if dim is None else shape[axis_of(dim, len(shape))]

    def dim(self) -> int:
        """The number of axes."""
        return self._node.ndim

    def numel(self) -> int:
        """The number of elements."""
        return self._node.size

    def reshape(self, *sizes: Any, shape: Any = None) -> Any:
        """The same elements in another shape; one length may be -1.

        Raises:
            ShapeError: when the number of elements differs.
        """
        return self._view(self.node.reshape(self._complete(sizes_of(sizes, shape))), "reshape")

    def _complete(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if shape.count(-1) == 1:
            known = -prod(shape)
            if known == 0 or self.numel() % known:
                raise ShapeError(
                    f"a tensor of shape {tuple(self.shape)} ({self.numel()} elements) cannot be"
                    f" reshaped to {shape}: the lengths given do not divide its elements"
                )
            shape = tuple(self.numel() // known if n == -1 else n for n in shape)
        if prod(shape) != self.numel() or min(shape, default=0) < 0:
            raise ShapeError(
                f"a tensor of shape {tuple(self.shape)} ({self.numel()} elements) cannot be"
                f" reshaped to {shape}"
            )
        return shape

    def view(self, *shape: Any) -> Any:
        """``reshape``, or another dtype of the same values when a dtype is given."""
        if len(shape) == 1 and isinstance(shape[0], dtypes.DType):
            raise OptionError("view(dtype) would reinterpret bits; to convert use x.to(dtype)")
        return self.reshape(*shape)

    def view_as(self, other: Any) -> Any:
        """The shape of another tensor."""
        return self.reshape(tuple(other.shape))

    reshape_as = view_as

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Any:
        """The axes from start to end as one."""
        shape, rank = tuple(self.shape), self.ndim
        if rank == 0:
            return self.reshape(1)
        first, last = axis_of(start_dim, rank), axis_of(end_dim, rank)
        if first > last:
            raise ShapeError(f"flatten: start_dim {start_dim} lies behind end_dim {end_dim}")
        return self.reshape(*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :])

    def unflatten(self, dim: int, sizes: Any) -> Any:
        """One axis as several."""
        shape, axis = tuple(self.shape), axis_of(dim, self.ndim)
        return self.reshape(*shape[:axis], *sizes, *shape[axis + 1 :])

    def permute(self, *order: Any, dims: Any = None) -> Any:
        """The axes in another order."""
        axes = tuple(axis_of(dim, self.ndim) for dim in sizes_of(order, dims))
        return self._view(self.node.permute(axes), "permute")

    def transpose(self, dim0: int, dim1: int) -> Any:
        """Two axes exchanged."""
        axes = list(range(self.ndim))
        first, second = axis_of(dim0, self.ndim), axis_of(dim1, self.ndim)
        axes[first], axes[second] = axes[second], axes[first]
        return self.permute(*axes) if first != second else self

    swapaxes = transpose

    def t(self) -> Any:
        """The transpose of a matrix; a vector stays as it is."""
        if self.ndim > 2:
            raise ShapeError(f"t() is for two dimensions or fewer; given {tuple(self.shape)}")
        return self.T

    @property
    def T(self) -> Any:
        """The axes in reverse order."""
        return self if self.ndim < 2 else self.permute(*reversed(range(self.ndim)))

    @property
    def mT(self) -> Any:
        """The last two axes exchanged."""
        return self.transpose(-1, -2)

    def squeeze(self, dim: Any = None) -> Any:
        """Without the axes of length 1: all of them, or the ones named."""
        shape = tuple(self.shape)
        if dim is None:
            drop = {k for k, n in enumerate(shape) if n == 1}
        else:
            dims = dim if isinstance(dim, tuple) else (dim,)
            drop = {axis_of(one, self.ndim) for one in dims}
            drop = {k for k in drop if shape and shape[k] == 1}
        return self.reshape(tuple(n for k, n in enumerate(shape) if k not in drop))

    def unsqueeze(self, dim: int) -> Any:
        """A new axis of length 1."""
        axis, shape = axis_of(dim, self.ndim, extra=1), tuple(self.shape)
        return self.reshape((*shape[:axis], 1, *shape[axis:]))

    def expand(self, *sizes: Any) -> Any:
        """Axes of length 1 stretched without copying; -1 leaves a length as it is."""
        wanted, shape = sizes_of(sizes), tuple(self.shape)
        lead = len(wanted) - len(shape)
        full = tuple(shape[k - lead] if n == -1 and k >= lead else n for k, n in enumerate(wanted))
        return self._view(self.node.expand(full), "expand")

    def expand_as(self, other: Any) -> Any:
        """The shape of another tensor."""
        return self.expand(*other.shape)

    broadcast_to = expand

    def repeat(self, *sizes: Any) -> Any:
        """The tensor copied along each axis so many times."""
        times = sizes_of(sizes)
        shape = (1,) * (len(times) - self.ndim) + tuple(self.shape)
        apart = self.reshape(tuple(n for k in shape for n in (1, k)))
        spread = apart.expand(*(n for pair in zip(times, shape, strict=True) for n in pair))
        return spread.reshape(tuple(a * b for a, b in zip(times, shape, strict=True)))

    def flip(self, *axes: Any, dims: Any = None) -> Any:
        """Axes reversed."""
        dims = sizes_of(axes, dims)
        return self._new(self.node.flip(tuple(axis_of(d, self.ndim) for d in dims)))

    def contiguous(self) -> Any:
        """The tensor itself: how values lie in memory is the engine's affair."""
        return self

    def is_contiguous(self) -> bool:
        """Always true, as :meth:`contiguous` says."""
        return True

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Any, ...]:
        """At most ``chunks`` parts of equal length (the last may be shorter)."""
        length = self.size(dim)
        return self.split(max(1, -(-length // chunks)), dim)

    def split(self, split_size: Any, dim: int = 0) -> tuple[Any, ...]:
        """Parts of a length, or of the lengths listed."""
        length, axis = self.size(dim), axis_of(dim, self.ndim)
        if isinstance(split_size, int):
            sizes = [min(split_size, length - k) for k in range(0, length, split_size)] or [0]
        else:
            sizes = list(split_size)
        if sum(sizes) != length:
            raise ShapeError(f"split lengths {sizes} do not add up to {length} on axis {dim}")
        parts, start = [], 0
        for size in sizes:
            key = (slice(None),) * axis + (slice(start, start + size),)
            parts.append(self[key])
            start += size
        return tuple(parts)

    def unbind(self, dim: int = 0) -> tuple[Any, ...]:
        """The slices along an axis."""
        axis = axis_of(dim, self.ndim)
        return tuple(self[(slice(None),) * axis + (k,)] for k in range(self.size(dim)))

    def __getitem__(self, key: Any) -> Any:
        seen = get_view(self._node, key)
        if seen is not None:
            result = self._new(seen)
            result._view_of = "indexing"
            return result
        node, view = get_item(self.node, key)
        return self._view(node, "indexing") if view else self._new(node)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._check_in_place("item assignment")
        node = self.node
        self._rebind(set_item(node, key, lift(value, node)))

    def __len__(self) -> int:
        if self.ndim == 0:
            raise ShapeError("a 0-d tensor has no length")
        return int(self.shape[0])

    def __iter__(self) -> Any:
        return iter(self.unbind(0))

    def index_select(self, dim: int, index: Any) -> Any:
        """Slices along an axis, in the places of a 1-D index."""
        axis = axis_of(dim, self.ndim)
        return self._new(apply(TAKE, self.node, index.node, axis=axis))

    def gather(self, dim: int, index: Any) -> Any:
        """The element at the index along one axis, all other indices being equal.

        On the other axes the index may be shorter than the tensor.
        """
        axis = axis_of(dim, self.ndim)
        node, shape = self.node, index._node.shape
        if len(shape) == len(node.shape):
            kept = (*shape[:axis], node.shape[axis], *shape[axis + 1 :])
            if kept != node.shape and all(map(int.__le__, kept, node.shape)):
                node = node.slice((0,) * len(kept), kept, (1,) * len(kept))
        return self._new(apply(GATHER, node, index.node, axis=axis))

    def masked_fill(self, mask: Any, value: Any) -> Any:
        """``value`` where the mask holds."""
        node = self.node
        return self._new(apply(WHERE, mask.node, lift(value, node), node))

    def masked_fill_(self, mask: Any, value: Any) -> Any:
        """``value`` where the mask holds, in place."""
        self._check_in_place("masked_fill_")
        self._rebind(self.masked_fill(mask, value).node)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Another dtype, or the dtype of another tensor; the device is where the engine runs.

        Raises:
            OptionError: for a device that this machine does not have.
        """
        for given in (*args, *kwargs.values()):
            if isinstance(given, TensorHandle):
                return self.type(given._node.dtype)
            if isinstance(given, (dtypes.DType, type)) or given in dtypes._OF_NAME:
                return self.type(given)
            if not isinstance(given, bool):
                check_device(given)
        return self

    def type(self, dtype: Any = None) -> Any:
        """The tensor as another dtype; the dtype's name where none is given."""
        if dtype is None:
            return repr(self.dtype)
        node = self.node
        result = cast_node(node, dtypes.as_dtype(dtype))
        return self if result is node else self._new(result)

    def float(self) -> Any:
        """float32."""
        return self.type(dtypes.float32)

    def double(self) -> Any:
        """float64."""
        return self.type(dtypes.float64)

    def long(self) -> Any:
        """int64."""
        return self.type(dtypes.int64)

    def int(self) -> Any:
        """int32."""
        return self.type(dtypes.int32)

    def bool(self) -> Any:
        """Booleans: whether not 0."""
        return self if self.dtype is dtypes.bool_ else self != 0

    def type_as(self, other: Any) -> Any:
        """The dtype of another tensor."""
        return self.type(other.dtype)

    def cpu(self) -> Any:
        """The tensor: eager values live on the host."""
        return self

    def cuda(self, device: Any = None) -> Any:
        """The tensor, where there is a GPU.

        Raises:
            OptionError: where there is none.
        """
        return self.to("cuda")

    def is_floating_point(self) -> Any:
        """Whether the elements are floating-point numbers."""
        return self.dtype.is_float


class Size(tuple[int, ...]):
    """A shape, with PyTorch's ``numel``."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        return prod(self)

    def __repr__(self) -> str:
        return f"chainrule.Size({list(self)})"


def check_device(device: Any) -> str:
    """The kind of a device by name.

    Raises:
        OptionError: when there is no such device here.

    Example:
        >>> check_device("cpu")
        'cpu'
    """
    name = str(getattr(device, "type", device)).split(":")[0]
    if name == "cpu":
        return name
    if name in ("cuda", "gpu", "tpu", "mps"):
        raise OptionError(
            f"device {name!r} holds no eager tensors: eager values live on the host.\n"
            "  fix: keep the tensor where it is, and give device= to cr.compile or the Trainer"
        )
    raise OptionError(f"there is no device {name!r}.\n  expected: 'cpu'")


def join(tensors: Any, axis: int) -> Any:
    """Tensors one after the other along an axis, in the dtype in which they meet."""
    nodes = [one.node for one in tensors]
    if not nodes:
        raise ShapeError("cat and stack need at least one tensor")
    target = dtypes.promote(tuple((node.dtype, node.ndim) for node in nodes))
    axis = axis_of(axis, nodes[0].ndim)
    parts = [cast_node(node, target) for node in nodes]
    return tensors[0]._new(apply(CONCAT, *parts, axis=axis))
