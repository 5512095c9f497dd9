"""What a traced training step depends on: as long as it stays the same, nothing is traced anew.

The library's own layers, optimizers and modes bump one version counter when they change. The code
of the user has none, so what it reads is compared: the variables of its functions, and the plain
attributes of its modules.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterable
from types import CodeType, FunctionType, MethodType
from typing import Any

from ..config import STATE, VERSION

_PLAIN = (int, float, complex, str, bytes, bool, type(None))
_DEPTH = 3
_LONG = 64


class Same:
    """An object that equals itself alone, whatever it says of equality, and while it lives.

    Example:
        >>> one, other = {1}, {1}
        >>> Same(one) == Same(one), Same(one) == Same(other)
        (True, False)
    """

    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        try:
            self.held: Any = weakref.ref(held)
        except TypeError:  # small things, such as lists, are kept alive
            self.held = lambda: held

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Same):
            return NotImplemented
        found = self.held()
        return found is not None and found is other.held()

    __hash__ = None  # type: ignore[assignment]


def mark(value: Any, depth: int = _DEPTH) -> Any:
    """What stands for a value: equal as long as code that reads the value finds the same.

    Numbers and text stand for themselves, short lists and dicts for their items, functions for
    themselves and their variables, all else for its identity.

    Example:
        >>> scale = {"weight": 0.1}
        >>> penalty = lambda model: scale["weight"] * 2
        >>> before = mark(penalty)
        >>> before == mark(penalty)
        True
        >>> scale["weight"] = 0.2
        >>> before == mark(penalty)
        False
    """
    if isinstance(value, _PLAIN):
        return type(value), value
    if depth:
        if isinstance(value, (tuple, list)) and len(value) <= _LONG:
            return Same(value), tuple(mark(item, depth - 1) for item in value)
        if isinstance(value, dict) and len(value) <= _LONG:
            return Same(value), tuple((key, mark(item, depth - 1)) for key, item in value.items())
        if isinstance(value, MethodType):
            return mark(value.__func__, depth), mark_object(value.__self__, depth - 1)
        if isinstance(value, FunctionType):
            return _mark_function(value, depth - 1)
    return Same(value)


def mark_object(value: Any, depth: int = _DEPTH) -> Any:
    """An object by its identity and its plain attributes; functions as :func:`mark` does.

    Example:
        >>> class Scale:
        ...     factor = 1.0
        >>> scale = Scale()
        >>> before = mark_object(scale)
        >>> scale.factor = 2.0
        >>> before == mark_object(scale)
        False
    """
    if isinstance(value, (FunctionType, MethodType)) or not hasattr(value, "__dict__"):
        return mark(value, depth)
    attributes = [(name, item) for name, item in vars(value).items() if name[:1] != "_"]
    return Same(value), tuple((name, mark(item, depth - 1)) for name, item in attributes)


def _mark_function(function: Any, depth: int) -> Any:
    code = function.__code__
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    space = function.__globals__
    seen = [space[name] for name in _names(code) if name in space]
    values = (*cells, *seen, *(function.__defaults__ or ()))
    return Same(code), tuple(mark(value, depth) for value in values)


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=512)
def _names(code: CodeType) -> tuple[str, ...]:
    """The names that code reads from outside of it, functions inside it included; sorted."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.update(_names(constant))
    return tuple(sorted(found))


def guard(
    parameters: Iterable[Any], optimizer: Any, read: Iterable[Any], strict: bool
) -> tuple[Any, ...]:
    """All that the trace of a training step depends on, besides its data.

    The modes of the model's modules (training or evaluation) are set before each trace.

    Args:
        parameters: the model's.
        optimizer: whose groups and state the step updates.
        read: what is not ours: modules of the user, loss, metrics, functions.
        strict: whether the modes of other modules matter too: a function of the user may call such.
    """
    return (
        VERSION.count if strict else VERSION.structure,
        STATE.default_dtype,
        STATE.grad_enabled,
        tuple(map(mark_object, read)),
        tuple(parameter.requires_grad for parameter in parameters),
        tuple(id(handle) for held in optimizer.state.values() for handle in held.values()),
    )
