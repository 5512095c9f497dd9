"""Shape and dtype rules shared by families of ops, and the errors they raise."""

from __future__ import annotations

from typing import Any

from ..dtypes import bool_
from ..errors import DTypeError, ShapeError
from ..graph.node import Aval, make_aval


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which shapes meet, by NumPy's rules.

    Raises:
        ShapeError: when two lengths differ and neither is 1.

    Example:
        >>> broadcast((3, 1), (4,))
        (3, 4)
    """
    result: list[int] = []
    rank = max((len(shape) for shape in shapes), default=0)
    for position in range(-rank, 0):
        lengths = {shape[position] for shape in shapes if len(shape) >= -position}
        lengths.discard(1)
        if len(lengths) > 1:
            given = " and ".join(str(shape) for shape in shapes)
            raise ShapeError(
                f"shapes {given} do not meet: axis {position} has lengths "
                f"{' and '.join(map(str, sorted(lengths)))}.\n"
                "  expected: on each axis, counted from the last, equal lengths or a 1\n"
                "  fix: reshape or unsqueeze one of them"
            )
        result.append(lengths.pop() if lengths else 1)
    return tuple(result)


def elementwise(*avals: Aval, **attrs: Any) -> Aval:
    """Broadcast shapes; the dtype of the last input (all have met by then)."""
    shape = avals[0].shape
    for aval in avals[1:]:
        if aval.shape != shape:
            return make_aval(broadcast(*(one.shape for one in avals)), avals[-1].dtype)
    return make_aval(shape, avals[-1].dtype)


def comparison(*avals: Aval, **attrs: Any) -> Aval:
    """Broadcast shapes; booleans."""
    return make_aval(elementwise(*avals).shape, bool_)


def not_bool(what: str) -> Any:
    """An elementwise rule that refuses booleans."""

    def infer(*avals: Aval, **attrs: Any) -> Aval:
        result = elementwise(*avals)
        if not (result.dtype.is_float or result.dtype.is_int):
            raise DTypeError(
                f"{what} is not defined for booleans.\n  given: {', '.join(map(repr, avals))}\n"
                "  fix: convert first, for example mask.float()"
            )
        return result

    return infer


def normal_axes(axes: tuple[int, ...], rank: int, what: str) -> tuple[int, ...]:
    """Check that axes are distinct and inside the rank; they must already be non-negative."""
    if any(not 0 <= axis < rank for axis in axes) or len(set(axes)) != len(axes):
        raise ShapeError(
            f"{what}: axes {axes} do not name distinct axes of a tensor with {rank} dimensions.\n"
            f"  expected: each from {-rank} to {rank - 1}, once"
        )
    return axes
