"""What the functions share: reading arguments, normal axes, and reductions of losses."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

from ..config import STATE
from ..errors import ChainruleError, DTypeError, OptionError, ShapeError
from ..tensor import Tensor

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REDUCTIONS = ("mean", "sum", "none")
NOT_A_TENSOR = "{function}: {name} must be a tensor, a {given} was given.\n  fix: cr.tensor({name})"
NOT_FLOAT = (
    "{function}: {name} must be floating-point, its dtype is {given}.\n  fix: {name}.float()"
)


def located(kind: type[ChainruleError], text: str) -> ChainruleError:
    """Return the error with the layer and the user's line added."""
    level = _callers_level()
    frame = sys._getframe(level)
    place = f'"{frame.f_code.co_filename}", line {frame.f_lineno}'
    layer = f"layer '{STATE.scope}', " if STATE.scope else ""
    return kind(f"{text}\n  where: {layer}{place}")


def _callers_level() -> int:
    """Count the frames from the calling function to the nearest caller outside of chainrule."""
    level = 1
    while sys._getframe(level).f_code.co_filename.startswith(_PACKAGE):
        if sys._getframe(level).f_back is None:
            break
        level += 1
    return level - 1


def node_of(value: Any, function: str, name: str = "input") -> Any:
    """Return the node of a tensor argument, or say that it is none."""
    if isinstance(value, Tensor):
        return value.node
    raise located(
        DTypeError, NOT_A_TENSOR.format(function=function, name=name, given=type(value).__name__)
    )


def float_node(value: Any, function: str, name: str = "input") -> Any:
    """Return the node of a floating-point tensor argument."""
    node = node_of(value, function, name)
    if not node.dtype.is_float:
        raise located(
            DTypeError, NOT_FLOAT.format(function=function, name=name, given=node.dtype.name)
        )
    return node


def normal_axis(dim: int, rank: int, function: str) -> int:
    """Return `dim` counted from the first axis, or say that there is no such axis."""
    axis = dim + rank if dim < 0 else dim
    if not 0 <= axis < rank:
        raise located(
            ShapeError,
            f"{function}: dim={dim} does not exist in a tensor of {rank} dimensions.\n"
            f"  expected: from {-rank} to {rank - 1}",
        )
    return axis


def check_reduction(reduction: str, function: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    """Refuse a reduction that the loss does not have."""
    if reduction not in allowed:
        raise located(
            OptionError,
            f"{function}: reduction={reduction!r} does not exist.\n"
            f"  expected: one of {', '.join(map(repr, allowed))}",
        )


def total(node: Any) -> Any:
    """Return the sum of all elements, 0-d."""
    return node.sum(tuple(range(node.ndim)), False) if node.ndim else node


def reduced(node: Any, reduction: str) -> Any:
    """Return the mean or the sum of a loss's terms, or the terms themselves."""
    if reduction == "none":
        return node
    summed = total(node)
    return summed if reduction == "sum" else summed / node.size


def require_equal_shapes(function: str, given: Any, target: Any, names: str = "input") -> None:
    """Refuse a prediction and a target of different shapes, with the fix."""
    if given.shape != target.shape:
        raise located(ShapeError, _unequal(function, names, given.shape, target.shape))


def _unequal(function: str, name: str, given: tuple[int, ...], target: tuple[int, ...]) -> str:
    lines = [
        f"{function}: {name} and target have different shapes.",
        f"  given: {name} {given}, target {target}",
        "  expected: equal shapes"
        + (
            "; broadcasting would compare every example with every other"
            if _would_cross(given, target)
            else ""
        ),
        f"  fix: {_shape_fix(name, given, target)}",
    ]
    return "\n".join(lines)


def _would_cross(given: tuple[int, ...], target: tuple[int, ...]) -> bool:
    return {len(given), len(target)} == {1, 2} and 1 in (given[-1], target[-1])


def _shape_fix(name: str, given: tuple[int, ...], target: tuple[int, ...]) -> str:
    if (*given, 1) == target:
        return f"target.squeeze({len(given)}), or {name}.unsqueeze({len(given)})"
    if (*target, 1) == given:
        return f"{name}.squeeze({len(target)}), or target.unsqueeze({len(target)})"
    size = 1
    for length in given:
        size *= length
    other = 1
    for length in target:
        other *= length
    if size == other:
        return f"target.reshape({name}.shape), if the order of the elements is the same"
    return "give one target for each prediction; look at how both were made"


def warn_caller(text: str) -> None:
    """Warn with the line of the user's code: the nearest caller outside of chainrule."""
    warnings.warn(text, UserWarning, stacklevel=_callers_level() + 1)


def older_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """Translate PyTorch's older `size_average` and `reduce` arguments.

    >>> older_reduction(False, None, "mean"), older_reduction(None, None, "mean")
    ('sum', 'mean')
    """
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        return "none"
    return "sum" if size_average is False else "mean"
