"""The handle that a user holds on a node: what it points at, its gradient, how it is rebound."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..config import STATE
from ..dtypes import DType
from ..errors import DTypeError, GradientError, OptionError
from ..graph.node import INPUT, NO_ATTRS, Node, make_aval
from ..graph.trace import Handle
from ..ops import DETACH, Expr, apply, constant, literal_dtype

Array = np.ndarray[Any, Any]


def leaf(value: Any, dtype: DType, shape: tuple[int, ...], requires_grad: bool = False) -> Expr:
    """A leaf node that holds a value (an array, or an owner with ``read``)."""
    return Expr(INPUT, (), NO_ATTRS, make_aval(shape, dtype), value, requires_grad)


def array_leaf(array: Array, requires_grad: bool = False) -> Expr:
    """A leaf node on a NumPy array, which it shares where the dtype is one of ours."""
    dtype = dtypes.of_numpy(array.dtype)
    if array.dtype != dtype.np:
        array = array.astype(dtype.np)
    return leaf(array, dtype, array.shape, requires_grad)


def is_start(node: Node) -> bool:
    """Whether gradients end here: a leaf, or what stands for one inside a trace."""
    return node.op is INPUT or node.op is DETACH


class TensorHandle(Handle):
    """The part of a tensor that holds on to a node."""

    __slots__ = ("__weakref__", "_hooks", "_owner", "_retains", "_view_of")

    _owner: TensorHandle | None
    _view_of: str | None
    _hooks: list[Callable[[Any], Any]] | None
    _retains: bool

    def __init__(self, data: Any = None, requires_grad: Any = False, *sizes: int) -> None:
        if not isinstance(data, Node):
            data, requires_grad = _constructed(data, requires_grad, sizes)
        self._node = data
        self._grad = None
        self._owner = None
        self._view_of = None
        self._hooks = None
        self._retains = False
        if requires_grad:
            self.requires_grad_(True)

    @property
    def node(self) -> Expr:
        """The node: inside a trace, what stands for this tensor there."""
        trace = STATE.trace
        node: Any = self._node if trace is None else trace.read(self)
        return node  # type: ignore[no-any-return]

    def _rebind(self, node: Node) -> None:
        """Point the handle at another node; a parameter stays a parameter."""
        if self._owner is not None:
            self._owner._rebind(node)
        old = self._node
        trace = STATE.trace
        stays = old.requires_grad and is_start(old) and not node.requires_grad
        if trace is not None:
            trace.note_rebind(self)
            if stays:
                node = Expr(DETACH, (node,), NO_ATTRS, node.aval, None, True, trace=trace)
        elif stays:
            node = leaf(node.owner, node.dtype, node.shape, True)
        if stays:
            node.handle = weakref.ref(self)
        if node.name is None and node.op is INPUT:
            node.name = old.name
        self._node = node

    def _check_in_place(self, what: str) -> None:
        """Refuse writes that would not do what the user means."""
        if self._view_of is not None and self._owner is None:
            raise GradientError(
                f"{what} would write into a view ({self._view_of} of another tensor), and the other"
                " tensor would not change.\n"
                "  fix: write to the owner (x[...] = values), or make a copy first with .clone()"
            )
        if (
            STATE.grad_enabled
            and self._owner is None
            and self._node.requires_grad
            and self._node.op is INPUT
        ):
            raise GradientError(
                f"{what} would overwrite a leaf that requires grad, and its gradient would be of a"
                f" value that is gone.\n  tensor: {self._node.describe()}\n"
                "  fix: do it inside `with cr.no_grad():`"
            )

    @property
    def data(self) -> Any:
        """The values without history; writing to it in place writes to this tensor."""
        alias = type(self)._plain(detached(self.node))
        alias._owner = self
        return alias

    @data.setter
    def data(self, value: Any) -> None:
        source = (
            value.node if isinstance(value, TensorHandle) else array_leaf(to_array(value, None))
        )
        if source is self._node:
            return
        if isinstance(value, TensorHandle) and value._owner is self:
            return  # written through already
        fresh = leaf(source.owner, source.dtype, source.shape)
        self._rebind(fresh if STATE.trace is None else source)

    @classmethod
    def _plain(cls, node: Node) -> Any:
        raise OptionError("a handle is made by its tensor class")

    @property
    def grad(self) -> Any:
        """The gradient that ``backward`` left here: a tensor of this shape, or None."""
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        trace = STATE.trace
        if trace is not None:
            trace.note_grad(self)
        self._grad = value

    @property
    def requires_grad(self) -> bool:
        """Whether ``backward`` computes a gradient that reaches this tensor."""
        return self._node.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Ask for gradients with respect to this leaf, or stop asking.

        Raises:
            GradientError: for a result of other tensors.
            DTypeError: for whole numbers and booleans.
        """
        node = self._node
        if node.requires_grad == requires_grad:
            return self
        # In a trace detach() is an op, and its result is where a derivative may start.
        if not node.is_leaf and node.op is not DETACH:
            raise GradientError(
                "requires_grad can be changed on leaves only; this tensor was computed.\n"
                f"  tensor: {node.describe()}\n  fix: x = x.detach().requires_grad_()"
            )
        if requires_grad and not node.dtype.is_float:
            raise DTypeError(
                "only floating-point tensors have gradients.\n"
                f"  given: {node.dtype}\n  fix: make it with dtype=cr.float32"
            )
        fresh = Expr(node.op, node.inputs, node.attrs, node.aval, node.owner, requires_grad)
        fresh.name, fresh.scope, fresh.origin = node.name, node.scope, node.origin
        fresh.trace = node.trace
        fresh.handle = weakref.ref(self)
        self._node = fresh
        return self

    def retain_grad(self) -> None:
        """Keep ``.grad`` on this computed tensor too when ``backward`` runs."""
        self._retains = True
        self._node.handle = weakref.ref(self)

    def register_hook(self, hook: Callable[[Any], Any]) -> Callable[[], None]:
        """Call ``hook(gradient)`` when the gradient is computed; a result replaces it.

        Returns:
            A function that removes the hook.
        """
        if not self.requires_grad:
            raise GradientError(
                "a hook waits for a gradient, and this tensor does not require grad.\n"
                "  fix: x.requires_grad_() before computing with it"
            )
        if self._hooks is None:
            self._hooks = []
        self._hooks.append(hook)
        self._node.handle = weakref.ref(self)
        hooks = self._hooks

        def remove() -> None:
            if hook in hooks:
                hooks.remove(hook)

        return remove


def _constructed(data: Any, second: Any, more: tuple[int, ...]) -> tuple[Expr, bool]:
    """What ``Tensor(...)`` means: sizes, as ``Tensor(2, 3)``, or values; and the other argument.

    Numbers and lists get the default dtype, whole numbers too; an array keeps its own.
    """
    flag = isinstance(second, (bool, np.bool_)) and not more
    given = (data,) if flag else (data, second, *more)
    if all(isinstance(one, int) and not isinstance(one, bool) for one in given):
        return array_leaf(np.zeros(given, STATE.default_dtype.np)), flag and bool(second)
    if not flag:
        raise OptionError(
            f"Tensor takes values, or sizes as whole numbers; given {given!r}.\n"
            "  fix: cr.tensor([...]) for values, cr.zeros(2, 3) for sizes"
        )
    array = to_array(data if data is not None else [], None)
    if not hasattr(data, "__array__"):
        array = array.astype(STATE.default_dtype.np, copy=False)
    return array_leaf(array), bool(second)


def detached(node: Node) -> Expr:
    """The node without history: a leaf on the same value, or, in a trace, the op ``detach``."""
    if STATE.trace is not None:
        result: Expr = apply(DETACH, node)
        result.requires_grad = False
        return result
    return leaf(node.owner, node.dtype, node.shape)


def to_array(data: Any, dtype: DType | None) -> Array:
    """A NumPy array of what a user gave: numbers, nested lists, arrays, tensors.

    Floats become the default dtype, whole numbers int64, as in PyTorch; an array keeps its type.

    Raises:
        DTypeError: when it holds anything but numbers and booleans.
        ShapeError: when lists are of unequal lengths.
    """
    from ..errors import ShapeError

    if isinstance(data, TensorHandle):
        array: Array = data.node.value()
        return array if dtype is None else array.astype(dtype.np, copy=False)
    if isinstance(data, (list, tuple)) and data and isinstance(data[0], TensorHandle):
        data = [to_array(item, None) for item in data]
        array = np.stack(data)
    else:
        given = isinstance(data, (np.ndarray, np.generic)) or hasattr(data, "__array__")
        try:
            array = np.asarray(data)
        except ValueError as error:
            raise ShapeError(
                f"a tensor needs lists of equal lengths: {error}.\n  fix: pad the short ones"
            ) from None
        if not given and array.dtype == np.float64:
            array = array.astype(STATE.default_dtype.np)
    if array.dtype.kind not in "biuf":
        raise DTypeError(
            f"a tensor holds numbers or booleans.\n  given: {type(data).__name__} with elements of"
            f" type {array.dtype}\n  fix: encode the values as numbers first"
        )
    return array if dtype is None else array.astype(dtype.np, copy=False)


def lift(value: Any, like: Node) -> Expr:
    """The node of an operand: a tensor's, or a literal of the dtype that PyTorch would give it."""
    if isinstance(value, TensorHandle):
        return value.node
    if isinstance(value, Expr):
        return value
    if isinstance(value, np.ndarray):
        return array_leaf(value)
    result: Any = constant(value, literal_dtype(value, like.dtype))
    return result  # type: ignore[no-any-return]
