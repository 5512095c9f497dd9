"""Grad mode, recording, and gradients of one tensor with respect to others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Self

from ..autodiff import sweep
from ..config import STATE, set_state
from ..errors import GradientError
from ._handle import lift
from ._tensor import Tensor


class _Mode:
    """A setting of this thread, as a ``with`` block, a decorator, or both."""

    setting: ClassVar[Mapping[str, Any]]

    def __init__(self) -> None:
        self._stack: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._stack.append({name: getattr(STATE, name) for name in self.setting})
        for name, value in self.setting.items():
            setattr(STATE, name, value)
        return self

    def __exit__(self, *exception: object) -> None:
        for name, value in self._stack.pop().items():
            setattr(STATE, name, value)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        mode = type(self)

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with mode():
                return function(*args, **kwargs)

        return inside


class no_grad(_Mode):
    """Results remember nothing: no history is kept, no gradient can be asked for.

    Example:
        >>> import chainrule as cr
        >>> x = cr.ones(2, requires_grad=True)
        >>> with no_grad():
        ...     (x * 2).requires_grad
        False
    """

    setting: ClassVar[Mapping[str, Any]] = {"grad_enabled": False}


class inference_mode(no_grad):
    """The same as :class:`no_grad`."""


class enable_grad(_Mode):
    """Results remember, also inside ``no_grad``."""

    setting: ClassVar[Mapping[str, Any]] = {"grad_enabled": True}


class record(_Mode):
    """Every result keeps its inputs, whether or not a gradient is asked for.

    The explaining views use it, so that the backward pass can be walked as well as the forward one.

    Example:
        >>> with record():
        ...     y = Tensor([1.0]) * 2
        >>> y.op, len(y.inputs)
        ('mul', 2)
    """

    setting: ClassVar[Mapping[str, Any]] = {"recording": True}


def is_grad_enabled() -> bool:
    """Whether results that need a gradient remember their history.

    Example:
        >>> is_grad_enabled()
        True
    """
    return STATE.grad_enabled


class set_grad_enabled(_Mode):
    """Switch the remembering of history on or off, at once; in a ``with`` block, until its end."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self._enabled = bool(mode)
        self._before = STATE.grad_enabled
        STATE.grad_enabled = bool(mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        STATE.grad_enabled = self._before

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        STATE.grad_enabled = self._before
        enabled = self._enabled

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with set_grad_enabled(enabled):
                return function(*args, **kwargs)

        return inside


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    create_graph: bool = True,
    allow_unused: bool = False,
) -> list[Any]:
    """The gradients of a tensor with respect to others, as tensors with their own history.

    Args:
        outputs: the tensor y; of one element, unless ``grad_outputs`` is given.
        inputs: a tensor or a sequence of them; leaves or intermediate results.
        grad_outputs: the gradient of y itself, of its shape.
        create_graph: whether the gradients can be differentiated again.
        allow_unused: give None for a tensor that y does not depend on, instead of an error.

    Returns:
        One tensor for each of ``inputs``, of its shape.

    Raises:
        GradientError: when y does not depend on one of them, or its history was not kept.

    Example:
        >>> import chainrule as cr
        >>> x = cr.tensor(3.0, requires_grad=True)
        >>> dy, = grad(x ** 3, x)
        >>> ddy, = grad(dy, x)
        >>> dy.item(), ddy.item()
        (27.0, 18.0)
    """
    y = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
    if isinstance(grad_outputs, (list, tuple)):
        grad_outputs = grad_outputs[0]
    xs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    nodes = [x.node for x in xs]
    seed = None if grad_outputs is None else lift(grad_outputs, y.node)
    with set_state(grad_enabled=create_graph):
        result = sweep(y.node, wanted=nodes, seed=seed)
        found = [result[node] for node in nodes]
    for x, gradient in zip(xs, found, strict=True):
        if gradient is None and not allow_unused:
            raise _unused(y, x)
    return [None if gradient is None else Tensor(gradient) for gradient in found]


def _unused(y: Tensor, x: Tensor) -> GradientError:
    if not y.requires_grad and not STATE.recording:
        return GradientError(
            "the tensor to differentiate keeps no history.\n"
            f"  given: {y._node.describe()}\n"
            "  fix: make the inputs with requires_grad=True, or compute inside `with cr.record():`"
        )
    return GradientError(
        "the output does not depend on one of the inputs.\n"
        f"  output: {y._node.describe()}\n  input: {x._node.describe()}\n"
        "  fix: compute the output from this very tensor, or give allow_unused=True to get None"
    )


def gradients(outputs: Tensor, inputs: Iterable[Tensor], **options: Any) -> tuple[Any, ...]:
    """PyTorch's ``autograd.grad``: as :func:`grad`, a tuple, without history unless asked for."""
    options.setdefault("create_graph", False)
    options.pop("retain_graph", None)
    return tuple(grad(outputs, inputs, **options))
