"""The tensor that users hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autodiff._sweep import check_seed, sweep
from ..config import STATE
from ..errors import GradientError, ShapeError
from ..graph.node import Node
from ..ops import ADD, apply
from ._handle import array_leaf, detached, is_start, leaf, lift, to_array
from ._methods import Named


class Tensor(Named):
    """An array that remembers how it was computed.

    It speaks PyTorch's names. ``.op``, ``.inputs`` and ``.name`` show the node behind it.

    Example:
        >>> import chainrule as cr
        >>> a = cr.tensor([1.0, 2.0], requires_grad=True)
        >>> y = (a * a).sum()
        >>> y.backward()
        >>> a.grad
        tensor([2., 4.])
        >>> y.op
        'sum'
    """

    __slots__ = ()

    def _new(self, node: Node) -> Tensor:
        return Tensor(node)

    @classmethod
    def _plain(cls, node: Node) -> Tensor:
        return Tensor(node)

    @property
    def op(self) -> str:
        """The name of the op that computed it; 'input' for leaves."""
        return self._node.op.name

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors it was computed from, where its history is kept."""
        return tuple(Tensor(node) for node in self._node.inputs)

    @property
    def name(self) -> str | None:
        """The name that :meth:`named` gave it."""
        return self._node.name

    def named(self, name: str) -> Tensor:
        """Give the node a name that graphs, formulas and errors show.

        Example:
            >>> import chainrule as cr
            >>> cr.tensor(3.0).named("u").name
            'u'
        """
        self._node.name = name
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether it was given rather than computed."""
        return self._node.is_leaf

    @property
    def grad_fn(self) -> str | None:
        """The op that a gradient goes back through first; None for leaves."""
        return None if self._node.is_leaf or not self.requires_grad else f"<{self.op}>"

    @property
    def device(self) -> Any:
        """Where eager values live: the host."""
        from ._device import device

        return device("cpu")

    def numpy(self) -> Any:
        """The values as a NumPy array, sharing memory.

        Raises:
            GradientError: when it requires grad, as in PyTorch.
            TraceError: in a compiled function.
        """
        if self.requires_grad and STATE.grad_enabled:
            raise GradientError(
                "a tensor that requires grad gives no NumPy array, which could not carry its"
                " history.\n  fix: x.detach().numpy()"
            )
        return self.node.value()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.node.value()
        return array if dtype is None else array.astype(dtype)

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self.node.value().tolist()

    def item(self) -> Any:
        """The one element as a Python number.

        Raises:
            ShapeError: when there are several.
        """
        if self.numel() != 1:
            raise ShapeError(
                f"item() takes the one element of a tensor; this one has {self.numel()}, shape"
                f" {tuple(self.shape)}.\n  fix: x.tolist(), or index it first"
            )
        return self.node.value().item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise ShapeError(
                f"the truth of a tensor with {self.numel()} elements is ambiguous.\n"
                "  fix: x.any() or x.all()"
            )
        return bool(self.node.value().item())

    def __repr__(self) -> str:
        from ._print import format_tensor

        return format_tensor(self)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.numel() == 1 else repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if not self.is_leaf:
            raise GradientError(
                "only leaves can be deep-copied: a computed tensor would lose its history.\n"
                "  fix: x.detach()"
            )
        fresh = type(self).__new__(type(self))
        Tensor.__init__(fresh, leaf(self.node.value().copy(), self.dtype, self._node.shape))
        fresh._node.name = self._node.name
        memo[id(self)] = fresh
        if self.requires_grad:
            fresh.requires_grad_(True)
        if self._grad is not None:
            fresh._grad = self._grad.detach().clone()
        return fresh

    def detach(self) -> Tensor:
        """The same values without history, sharing memory."""
        result = self._new(detached(self.node))
        result._view_of = "detach"
        return result

    def detach_(self) -> Tensor:
        """Forget the history, in place."""
        self._node = detached(self.node)
        return self

    def clone(self) -> Tensor:
        """A copy with its own memory; gradients flow through it."""
        node = self.node
        if STATE.trace is not None or node.requires_grad:
            return self._new(apply(ADD, node, lift(0, node)))
        return self._new(leaf(node.value().copy(), node.dtype, node.shape))

    def copy_(self, other: Any) -> Tensor:
        """Take the values of another tensor, broadcast to this shape and cast to this dtype."""
        self._check_in_place("copy_")
        node = self.node
        source: Any = lift(other, node)
        self._rebind(source.cast(node.dtype).expand(node.shape))
        return self

    def fill_(self, value: Any) -> Tensor:
        """One number everywhere, in place."""
        self._check_in_place("fill_")
        full = np.full(self._node.shape, value, self._node.dtype.np)
        self._rebind(array_leaf(full))
        return self

    def zero_(self) -> Tensor:
        """Zeros everywhere, in place."""
        return self.fill_(0)

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Compute the gradient of this tensor with respect to every leaf that requires it.

        Gradients are added to ``.grad`` of the leaves; intermediate results get one after
        ``retain_grad()``. The graph is kept, so that it may be called again.

        Args:
            gradient: the gradient of this tensor itself, of its shape; 1 where left out, for which
                it must have one element.
            retain_graph: accepted for PyTorch's sake; the graph lives as long as the tensor does.
            create_graph: whether the gradients carry their own history.

        Raises:
            GradientError: when nothing it was computed from requires grad.

        Example:
            >>> import chainrule as cr
            >>> x = cr.tensor(3.0, requires_grad=True)
            >>> (x ** 2).backward()
            >>> x.grad
            tensor(6.)
        """
        node = self.node
        if not node.requires_grad:
            raise GradientError(
                "backward() found nothing to differentiate with respect to: nothing that this"
                f" tensor was computed from requires grad.\n  tensor: {node.describe()}\n"
                "  fix: make the inputs with requires_grad=True, and compute outside of"
                " cr.no_grad()"
            )
        seed = None
        if gradient is not None:
            seed = lift(gradient, node)
            check_seed(node, seed)
        before = STATE.grad_enabled
        STATE.grad_enabled = create_graph
        try:
            result = sweep(node, seed=seed, adjust=_run_hooks)
            for target, total in result.gradients.items():
                handle = target.handle() if target.handle is not None else None
                if handle is not None and (is_start(target) or handle._retains):
                    _accumulate(handle, total)
        finally:
            STATE.grad_enabled = before


def _run_hooks(node: Node, gradient: Node) -> Node:
    """Let the hooks of a node's handle see, and replace, its gradient."""
    handle = node.handle() if node.handle is not None else None
    if handle is None or not handle._hooks:
        return gradient
    for hook in list(handle._hooks):
        replaced = hook(Tensor(gradient))
        if replaced is not None:
            gradient = lift(replaced, gradient)
    return gradient


def _accumulate(handle: Any, gradient: Node) -> None:
    before = handle._grad
    if before is None:
        handle.grad = Tensor(gradient)
    elif STATE.trace is not None:
        handle.grad = Tensor(apply(ADD, before.node, gradient))
    else:
        before._node = apply(ADD, before.node, gradient)


def wrap(node: Node) -> Tensor:
    """A tensor on a node."""
    return Tensor(node)


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of numbers, nested lists or an array, which it copies.

    Args:
        data: numbers or booleans. Python floats become the default dtype (float32), whole numbers
            int64; an array keeps its dtype.
        dtype: another dtype.
        device: 'cpu'.
        requires_grad: whether ``backward`` computes its gradient.

    Raises:
        DTypeError: when the data hold anything but numbers.
        ShapeError: when lists are of unequal lengths.

    Example:
        >>> tensor([[1, 2], [3, 4]]).shape, tensor(1.5).dtype
        (chainrule.Size([2, 2]), chainrule.float32)
    """
    from .. import dtypes as types
    from ._shape import check_device

    if device is not None:
        check_device(device)
    wanted = None if dtype is None else types.as_dtype(dtype)
    array = to_array(data, wanted)
    return Tensor(array_leaf(np.array(array, order="C")), requires_grad)
