"""The one place that makes nodes, and decides when their values are computed.

Now (eager, the default), or never (inside a trace, where the same code leaves a graph behind for an
engine to compile).
"""

from __future__ import annotations

import os
import sys
from types import CodeType, FrameType
from typing import Any

import numpy as np

from .. import dtypes
from ..config import STATE
from ..dtypes import DType
from ..errors import ChainruleError, DTypeError
from ..graph.node import CONSTANT, INPUT, NO_ATTRS, Node, Op, make_aval
from ..xp import numpy_ as XP

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OURS: dict[str, bool] = {}
_CACHE_LIMIT = 4096
CONSTANTS: dict[tuple[Any, Any, DType], Node] = {}
_ARRAY = np.ndarray
# The attributes of ops that have none.
PLAIN: dict[str, Any] = {}

_node_class: type[Node] = Node


def set_node_class(node_class: type[Node]) -> None:
    """Name the class that nodes are made of; called once, by the module that writes operators."""
    global _node_class
    _node_class = node_class


def where_am_i(depth: int = 2) -> tuple[CodeType, int] | None:
    """The code and instruction of the nearest caller outside of chainrule.

    Args:
        depth: how many frames are known to be chainrule's own.
    """
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        filename = code.co_filename
        ours = _OURS.get(filename)
        if ours is None:
            ours = _OURS[filename] = filename.startswith(_PACKAGE)
        if not ours:
            return code, frame.f_lasti
        frame = frame.f_back
    return None


def apply(op: Op, *inputs: Node, **attrs: Any) -> Any:
    """Apply an op to nodes: one new node, computed now unless a trace is being made.

    Args:
        op: the op's record.
        inputs: nodes; an elementwise op's inputs are brought to one dtype by ``cast`` nodes.
        attrs: the op's attributes, all hashable.

    Returns:
        The new node.

    Raises:
        ShapeError, DTypeError: from the op's own rule, with the layer and line added.

    Example:
        >>> import numpy as np
        >>> from chainrule.ops import ADD
        >>> apply(ADD, constant(1, dtypes.float32), constant(2, dtypes.float32)).value()
        array(3., dtype=float32)
    """
    if attrs:
        return make(op, inputs, attrs, (*[node.aval for node in inputs], *attrs.items()))
    if len(inputs) == 2:
        return make(op, inputs, PLAIN, (inputs[0].aval, inputs[1].aval))
    return make(op, inputs, PLAIN, tuple([node.aval for node in inputs]))


def make(op: Op, inputs: tuple[Node, ...], attrs: dict[str, Any], key: tuple[Any, ...]) -> Any:
    """What :func:`apply` does, for callers that know the key.

    It is the inner loop of eager mode: one function, and its hot callers spell out the key.

    Args:
        op, inputs, attrs: as for :func:`apply`; ``attrs`` is kept, so nobody may change it.
        key: what the result's shape and dtype depend on: the inputs' avals and the attributes.
    """
    found = op.cache.get(key)
    if found is None:
        found = _infer(op, inputs, attrs, key)
    aval, casts, differentiable = found
    if casts is not None:
        inputs = _cast(inputs, casts)
    state = STATE.__dict__
    if state["trace"] is not None:
        needs = any(node.requires_grad for node in inputs)
        return _record(op, inputs, attrs, aval, None, needs and differentiable, state)
    needs = False
    arrays = []
    for node in inputs:
        value = node._value
        arrays.append(value if type(value) is _ARRAY else node.value())
        if node.requires_grad:
            needs = differentiable
    try:
        value = state["ignoring"].run(op.array, XP, *arrays, **attrs)
    except ChainruleError as error:
        raise located(error, op, inputs) from None
    except RuntimeError as error:
        if "cannot enter context" not in str(error):
            raise
        # Called from inside another op's meaning, where nothing warns already.
        value = op.array(XP, *arrays, **attrs)
    if type(value) is not _ARRAY and type(value) is not tuple:
        value = np.asarray(value)
    if (needs and state["grad_enabled"]) or state["recording"]:
        return _record(op, inputs, attrs, aval, value, needs, state)
    # Nobody needs its history: a leaf.
    return _node_class(INPUT, (), NO_ATTRS, aval, value)


def _record(
    op: Op, inputs: Any, attrs: Any, aval: Any, value: Any, needs: bool, state: Any
) -> Node:
    """A node that keeps its history, with the layer and line that made it."""
    requires_grad = needs and state["grad_enabled"]
    source = state["source"]
    if source is None:
        # This function's frame, where_am_i's and apply's are passed over.
        scope, origin = state["scope"], state["site"] or where_am_i(3)
    else:
        scope, origin = source.scope, source.origin
    return _node_class(
        op, inputs, attrs or NO_ATTRS, aval, value, requires_grad, scope, origin, state["trace"]
    )


def _cast(inputs: tuple[Node, ...], casts: Any) -> tuple[Node, ...]:
    return tuple(
        [
            node if dtype is None else cast_node(node, dtype)
            for node, dtype in zip(inputs, casts, strict=True)
        ]
    )


def cast_node(node: Node, dtype: DType) -> Any:
    """The node with another dtype: itself where it has it already."""
    if node.aval.dtype is dtype:
        return node
    if node.op is CONSTANT and node.aval.size == 1 and node.name is None:
        return constant_array(node.value().astype(dtype.np), dtype)
    from .elementwise import CAST

    return apply(CAST, node, dtype=dtype)


def constant(value: bool | int | float, dtype: DType) -> Node:
    """A 0-d literal; equal literals share one node.

    Example:
        >>> constant(2, dtypes.float32).value()
        array(2., dtype=float32)
    """
    # Zeros go by how they are written: -0.0 equals 0.0 as a key, and is another number.
    key = (value or repr(value), type(value), dtype)
    found = CONSTANTS.get(key)
    if found is None:
        found = constant_array(np.asarray(value).astype(dtype.np), dtype)
        if len(CONSTANTS) < _CACHE_LIMIT:
            CONSTANTS[key] = found
    return found


def constant_array(value: Any, dtype: DType) -> Node:
    """A literal array."""
    return _node_class(CONSTANT, (), NO_ATTRS, make_aval(value.shape, dtype), value)


def _infer(op: Op, inputs: tuple[Node, ...], attrs: Any, key: Any) -> Any:
    avals = [node.aval for node in inputs]
    casts: Any = None
    try:
        if op.promote is not None:
            casts = _meeting(op, avals)
            avals = [
                aval if dtype is None else make_aval(aval.shape, dtype)
                for aval, dtype in zip(avals, casts, strict=True)
            ]
            if not any(casts):
                casts = None
        aval = op.infer(*avals, **attrs)
        differentiable = op.vjps != () and (type(aval) is tuple or aval.dtype.is_float)
        entry = (aval, casts, differentiable)
    except ChainruleError as error:
        raise located(error, op, inputs) from None
    if _depends_on_settings(op, inputs) or op.joint:
        return entry
    if len(op.cache) >= _CACHE_LIMIT:
        op.cache.clear()
    op.cache[key] = entry
    return entry


def _depends_on_settings(op: Op, inputs: tuple[Node, ...]) -> bool:
    """Whether the default dtype decides the result's, which must then not be remembered."""
    return op.promote == "float" and not any(node.aval.dtype.is_float for node in inputs)


def _meeting(op: Op, avals: list[Any]) -> list[DType | None]:
    """The dtype each input is cast to before the op; None where it has it already."""
    first = op.promoted_from
    target = dtypes.promote(tuple((aval.dtype, aval.ndim) for aval in avals[first:]))
    if op.promote == "float" and not target.is_float:
        target = STATE.default_dtype
    head: list[DType | None] = [None] * first
    return head + [None if aval.dtype is target else target for aval in avals[first:]]


def located(error: ChainruleError, op: Op, inputs: tuple[Node, ...]) -> ChainruleError:
    """The same error, saying also which op, in which layer, on which line."""
    text = str(error)
    if "\n  where:" in text:
        return error
    place = STATE.source or None
    scope = place.scope if place is not None else STATE.scope
    origin = place.origin if place is not None else where_am_i()
    parts = [f"op {op.name}"]
    if scope:
        parts.append(f"layer '{scope}'")
    if origin is not None:
        line = Node(op, (), {}, None, origin=origin).line
        if line is not None:
            parts.append(f'"{line[0]}", line {line[1]}')
    named = [f"'{node.name}' {node.aval!r}" for node in inputs if node.name]
    if named:
        parts.append("inputs " + ", ".join(named))
    return type(error)(f"{text}\n  where: {', '.join(parts)}")


def literal_dtype(value: Any, other: DType) -> DType:
    """The dtype of a Python number that meets a tensor: the tensor's, where the kind fits.

    Raises:
        DTypeError: when it is no number.

    Example:
        >>> literal_dtype(2, dtypes.float64), literal_dtype(2.5, dtypes.int64)
        (chainrule.float64, chainrule.float32)
    """
    if isinstance(value, (bool, np.bool_)):
        return other if other is not None else dtypes.bool_
    if isinstance(value, (int, np.integer)):
        return other if other.category else dtypes.int64
    if isinstance(value, (float, np.floating)):
        return other if other.is_float else STATE.default_dtype
    raise DTypeError(
        f"a tensor cannot be combined with {type(value).__name__} {value!r}.\n"
        "  expected: a number or a tensor\n  fix: cr.tensor(...) makes a tensor of lists and arrays"
    )
