"""The node: one computed thing, its history, and who owns its value.

A node never changes. Whatever a user does to a tensor in place makes a new node and points the
tensor's handle at it; whoever used the old node keeps it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import CodeType, MappingProxyType
from typing import Any, Protocol

import numpy as np

from ..dtypes import DType
from ..errors import TraceError

NO_ATTRS: Mapping[str, Any] = MappingProxyType({})


class Aval:
    """A shape and a dtype; interned, so equal ones are the same object."""

    __slots__ = ("dtype", "ndim", "shape", "size")

    def __init__(self, shape: tuple[int, ...], dtype: DType) -> None:
        self.shape = shape
        self.dtype = dtype
        self.ndim = len(shape)
        size = 1
        for length in shape:
            size *= length
        self.size = size

    def __repr__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"


_AVALS: dict[tuple[tuple[int, ...], DType], Aval] = {}


def make_aval(shape: tuple[int, ...], dtype: DType) -> Aval:
    """The one Aval of this shape and dtype.

    Example:
        >>> from chainrule import float32
        >>> make_aval((2, 3), float32)
        float32[2,3]
    """
    key = (shape, dtype)
    found = _AVALS.get(key)
    if found is None:
        found = _AVALS.setdefault(key, Aval(tuple(map(int, shape)), dtype))
    return found


@dataclass(frozen=True, eq=False)
class Op:
    """What can be computed: its shapes, its meaning, its derivative, how it is written.

    Attributes:
        name: the name it is printed by.
        infer: ``(*avals, **attrs) -> Aval`` (or a tuple of them for several outputs).
        array: ``(xp, *arrays, **attrs) -> array``: the meaning, over an array namespace.
        vjps: one rule for each input, ``(gradient, out, *inputs, **attrs) -> gradient of that
            input``; None where there is no derivative. A single rule given for an op that takes
            any number of inputs is called with ``slot=``.
        scalar: ``(emitter, *values, **attrs) -> value``: an elementwise op's body in a compiled
            loop; None for structured ops.
        promote: how input dtypes meet before ``array``: "same" (PyTorch's promotion), "float"
            (the same, integers becoming the default float), None (taken as they are).
        promoted_from: the first input that promotion applies to.
        tex: how it is written, ``{0}`` standing for the first input.
        text: the same in plain characters.
        slopes: how each local derivative is written, in TeX; empty for structured ops.
        domain: the interval tests draw inputs from.
        variadic: whether it takes any number of inputs, with one rule for all.
        joint: whether ``vjps`` is one rule for all inputs at once, called with ``asked=`` (which
            inputs' gradients are wanted) and, for an op of several outputs, with a tuple of their
            gradients; it gives a gradient, or None, for each input.
    """

    name: str
    infer: Callable[..., Any]
    array: Callable[..., Any]
    vjps: tuple[Callable[..., Any] | None, ...] = ()
    scalar: Callable[..., Any] | None = None
    promote: str | None = None
    promoted_from: int = 0
    tex: str = ""
    text: str = ""
    slopes: tuple[str, ...] = ()
    domain: tuple[float, float] = (-3.0, 3.0)
    variadic: bool = False
    joint: bool = False
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    @property
    def elementwise(self) -> bool:
        """Whether each output element depends on the same element of each input alone."""
        return self.scalar is not None


class ValueOwner(Protocol):
    """Somebody who keeps a node's value in a form of their own and unpacks it when asked."""

    def read(self) -> np.ndarray[Any, Any]:
        """The value, unpacked."""
        ...


def _no_array(xp: Any, *arrays: Any) -> Any:
    raise TraceError("a leaf has no computation: its value is given to it")


INPUT = Op("input", infer=lambda: None, array=_no_array, tex="", text="")
CONSTANT = Op("constant", infer=lambda: None, array=_no_array, tex="", text="")


class Node:
    """One value of the graph: an op applied to nodes, or a leaf.

    Attributes:
        op: the op; leaves have ``INPUT`` or ``CONSTANT``.
        inputs: the nodes it was computed from; empty for leaves, and for results whose history
            nobody needs.
        attrs: the op's attributes.
        aval: shape and dtype (a tuple of them where the op has several outputs).
        requires_grad: whether a derivative with respect to a leaf flows through it.
        name: the name the user gave, or None.
        scope: the layer that made it, as in ``named_modules``; '' outside of layers.
        wrt: the nodes whose partial derivative this node is.
    """

    __slots__ = (
        "__weakref__",
        "_value",
        "attrs",
        "aval",
        "handle",
        "inputs",
        "name",
        "op",
        "origin",
        "requires_grad",
        "scope",
        "trace",
        "wrt",
    )

    aval: Any

    def __init__(
        self,
        op: Op,
        inputs: tuple[Node, ...],
        attrs: Mapping[str, Any],
        aval: Any,
        value: Any = None,
        requires_grad: bool = False,
        scope: str = "",
        origin: tuple[CodeType, int] | None = None,
        trace: Any = None,
        name: str | None = None,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.attrs = attrs
        self.aval = aval
        self._value = value
        self.requires_grad = requires_grad
        self.scope = scope
        self.origin = origin
        self.trace = trace
        self.name = name
        self.wrt: tuple[Node, ...] = ()
        self.handle: weakref.ref[Any] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        shape: tuple[int, ...] = self.aval.shape
        return shape

    @property
    def dtype(self) -> DType:
        """The element type."""
        dtype: DType = self.aval.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.aval.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        size: int = self.aval.size
        return size

    @property
    def is_leaf(self) -> bool:
        """Whether it was given rather than computed."""
        return not self.inputs

    @property
    def has_value(self) -> bool:
        """Whether it has a value now (a traced node has none)."""
        return self._value is not None

    @property
    def line(self) -> tuple[str, int] | None:
        """The file and line of the user's code that made it, where known."""
        if self.origin is None:
            return None
        code, offset = self.origin
        at = None
        for start, end, line in code.co_lines():
            if start <= offset < end:
                at = line
        return code.co_filename, at or code.co_firstlineno

    def value(self) -> Any:
        """The value: an array (a tuple of arrays where the op has several outputs).

        Raises:
            TraceError: when the node was traced and never computed.
        """
        value = self._value
        if type(value) is np.ndarray or type(value) is tuple:
            return value
        if value is None:
            raise TraceError(value_of_traced(self))
        return value.read()

    @property
    def owner(self) -> Any:
        """Who keeps the value: an array, an engine's storage, or None in a trace."""
        return self._value

    def describe(self) -> str:
        """The node in a few words, for messages: op, layer, line."""
        label = self.op.name if self.name is None else f"{self.op.name} '{self.name}'"
        parts = [f"{label} {self.aval!r}"]
        if self.scope:
            parts.append(f"in layer '{self.scope}'")
        if self.line is not None:
            parts.append(f'made at "{self.line[0]}", line {self.line[1]}')
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"<node {self.describe()}>"


def value_of_traced(node: Node) -> str:
    """The message for code that asks a traced node for its value."""
    running = node.trace is not None and not node.trace.finished
    if running:
        return (
            "a value was asked for while the step is being compiled, when there are no values yet"
            " (.item(), float(), bool(), numpy() and print need one).\n"
            f"  tensor: {node.describe()}\n"
            "  fix: return the tensor from the compiled function and read it afterwards;"
            " for a choice between values use cr.where"
        )
    return (
        "this tensor was made while a function was being compiled and has no value outside of it.\n"
        f"  tensor: {node.describe()}\n"
        "  fix: return it from the compiled function instead of keeping it in a variable"
    )
