"""Derivatives and ops of the user's own: ``autograd.Function`` and ``custom_op``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..config import set_state
from ..errors import GradientError, OptionError, ShapeError
from ..graph.node import Aval, Op, make_aval
from ..ops import PICK, Expr, apply
from ..ops.custom import CUSTOM, Rule
from ..xp import numpy_ as xp_numpy
from ._handle import array_leaf, lift
from ._tensor import Tensor


class Context:
    """What ``forward`` leaves for ``backward``; any attribute may be set on it."""

    def __init__(self) -> None:
        self.saved_tensors: tuple[Any, ...] = ()
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors for ``backward``, which finds them in ``saved_tensors``."""
        self.saved_tensors = tensors


class Function:
    """A computation with a derivative of your own.

    Subclasses have two static methods: ``forward(ctx, *args)`` computes on tensors and returns one
    or several; ``backward(ctx, *gradients)`` gets the gradient of each result and returns one for
    each argument of ``forward``, None where there is none.

    Example:
        >>> import chainrule as cr
        >>> class StraightThrough(Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return x.sign()
        ...     @staticmethod
        ...     def backward(ctx, gradient):
        ...         return gradient
        >>> x = cr.tensor([-2.0, 3.0], requires_grad=True)
        >>> StraightThrough.apply(x).sum().backward()
        >>> x.grad
        tensor([1., 1.])
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """Compute the result."""
        raise OptionError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Compute the gradient of each argument."""
        raise OptionError("a Function needs a static method backward(ctx, *gradients)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Compute ``forward``; ``backward`` is its derivative.

        Raises:
            GradientError: later, when ``backward`` returns other than one gradient an argument.
        """
        ctx = Context()
        ctx.needs_input_grad = tuple(isinstance(one, Tensor) and one.requires_grad for one in args)
        with set_state(grad_enabled=False):
            returned = cls.forward(ctx, *args)
        several = isinstance(returned, tuple)
        results = returned if several else (returned,)
        places = [k for k, one in enumerate(args) if isinstance(one, Tensor)]

        def backward(gradients: tuple[Any, ...], asked: tuple[bool, ...]) -> list[Any]:
            given = [
                Tensor(_zeros(result) if one is None else one)
                for one, result in zip(gradients, results, strict=True)
            ]
            found = cls.backward(ctx, *given)
            return _matched(cls.__name__, found, args, places)

        rule = Rule(cls.__name__, len(results), backward)
        inputs = [args[k].node for k in places]
        packed = apply(CUSTOM, *(one.node for one in results), *inputs, rule=rule)
        nodes = [apply(PICK, packed, index=k) for k in range(len(results))]
        return tuple(map(Tensor, nodes)) if several else Tensor(nodes[0])


def _zeros(like: Tensor) -> Expr:
    return array_leaf(np.zeros(like._node.shape, like.dtype.np))


def _matched(name: str, found: Any, args: Sequence[Any], places: Sequence[int]) -> list[Any]:
    """The gradients of the tensor arguments, as nodes of their shapes."""
    gradients = found if isinstance(found, tuple) else (found,)
    if len(gradients) != len(args):
        raise GradientError(
            f"{name}.backward must return one gradient for each argument of forward.\n"
            f"  given: {len(gradients)}\n  expected: {len(args)} (None where there is none)"
        )
    nodes: list[Any] = []
    for k in places:
        one = gradients[k]
        node = None if one is None else lift(one, args[k]._node)
        if node is not None and node.shape != args[k]._node.shape:
            raise ShapeError(
                f"{name}.backward: the gradient of argument {k} has shape {node.shape}, the"
                f" argument {args[k]._node.shape}"
            )
        nodes.append(node)
    return nodes


def custom_op(
    name: str,
    array: Callable[..., Any],
    vjps: Sequence[Callable[..., Any] | None],
    infer: Callable[..., Any] | None = None,
    text: str = "",
) -> Callable[..., Tensor]:
    """A new primitive: a meaning over arrays and a derivative rule for each input.

    The eager and the xla engine run ``array``; the native engine, which needs a kernel, refuses it
    by name.

    Args:
        name: what graphs and errors call it.
        array: ``(xp, *arrays, **attrs) -> array``; ``xp`` is NumPy-like.
        vjps: one rule an input, ``(gradient, out, *inputs, **attrs) -> gradient of that input``,
            written with operators and methods; None where there is no derivative.
        infer: ``(*shapes, **attrs) -> shape``; left out, the result is computed once on ones to see
            its shape, which needs an ``array`` that takes any values.
        text: how it is written, ``{0}`` standing for the first input.

    Returns:
        A function of tensors and keyword attributes.

    Raises:
        OptionError: when the name is one of chainrule's own ops.

    Example:
        >>> import chainrule as cr
        >>> cube = custom_op("cube", lambda xp, x: x * x * x, [lambda g, y, x: g * (x * x * 3)])
        >>> x = cr.tensor(2.0, requires_grad=True)
        >>> cube(x).backward()
        >>> x.grad
        tensor(12.)
    """
    from ..ops import BY_NAME

    if name in BY_NAME:
        raise OptionError(
            f"there is an op {name!r} already.\n  fix: choose another name for the custom op"
        )

    def aval_of(*avals: Aval, **attrs: Any) -> Aval:
        if infer is not None:
            shape = tuple(infer(*(aval.shape for aval in avals), **attrs))
            return make_aval(shape, avals[0].dtype)
        ones = [np.ones(aval.shape, aval.dtype.np) for aval in avals]
        result = np.asarray(array(xp_numpy, *ones, **attrs))
        return make_aval(result.shape, dtypes.of_numpy(result.dtype))

    op = Op(name=name, infer=aval_of, array=array, vjps=tuple(vjps), text=text or f"{name}({{0}})")

    def call(*tensors: Any, **attrs: Any) -> Tensor:
        first = next((one for one in tensors if isinstance(one, Tensor)), None)
        if first is None or len(tensors) != len(op.vjps):
            raise OptionError(
                f"{name} takes {len(op.vjps)} inputs, of which one at least is a tensor;"
                f" given {len(tensors)}"
            )
        return Tensor(apply(op, *(lift(one, first.node) for one in tensors), **attrs))

    call.__name__ = name
    call.__doc__ = f"The custom op ``{name}``."
    return call
