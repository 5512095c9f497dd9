"""How numbers, shapes and partial derivatives are written, the same in text and in pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

SIGNIFICANT_DIGITS = 6


def show(value: Any, digits: int = SIGNIFICANT_DIGITS) -> str:
    """Write one number with at most `digits` significant digits, and no needless zeros.

    Example:
        >>> show(33.0), show(1 / 3, 3), show(1.5e-9), show(True)
        ('33', '0.333', '1.5e-09', 'True')
    """
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    number = float(value)
    if not math.isfinite(number):
        return "nan" if math.isnan(number) else ("inf" if number > 0 else "-inf")
    return format(0.0 if number == 0 else number, f".{digits}g")


def factor(value: Any, digits: int = SIGNIFICANT_DIGITS) -> str:
    """Write a number as a factor of a product: a negative one in brackets.

    Example:
        >>> factor(2.0), factor(-2.0)
        ('2', '(-2)')
    """
    text = show(value, digits)
    return f"({text})" if text.startswith("-") else text


def shape_text(shape: tuple[int, ...]) -> str:
    """Write a shape with multiplication signs; a 0-d shape is a scalar.

    Example:
        >>> shape_text((100, 784)), shape_text(())
        ('100×784', 'scalar')
    """
    return "×".join(str(size) for size in shape) if shape else "scalar"


def percent(fraction: float, digits: int = 1) -> str:
    """Write a fraction of one as a percentage.

    Example:
        >>> percent(0.97222)
        '97.2 %'
    """
    return f"{100 * fraction:.{digits}f} %"


def summary(array: np.ndarray[Any, Any], digits: int = 3) -> str:
    """Say an array in one line: its values when few, else their range and mean.

    Example:
        >>> summary(np.array([1.0, 2.0, 3.0]))
        '[1, 2, 3]'
        >>> summary(np.arange(100.0))
        '0 … 99, mean 49.5'
    """
    if array.size == 0:
        return "empty"
    if array.size == 1:
        return show(array.item())
    if array.size <= 4:
        return "[" + ", ".join(show(v, digits) for v in array.ravel()) + "]"
    as_float = array.astype(np.float64)
    low, high, mean = float(as_float.min()), float(as_float.max()), float(as_float.mean())
    return f"{show(low, digits)} … {show(high, digits)}, mean {show(mean, digits)}"


def small(array: np.ndarray[Any, Any], most: int = 12) -> str:
    """Write a small array with the brackets of its rows; "" for one with more elements.

    Example:
        >>> small(np.array([[1.0, 2.0], [3.0, 4.5]])), small(np.arange(100.0))
        ('[[1, 2], [3, 4.5]]', '')
    """
    if array.size > most:
        return ""
    return f"[{', '.join(small(row) for row in array)}]" if array.ndim else show(array[()])


def partial(of: str, by: str) -> str:
    """Write a partial derivative.

    Example:
        >>> partial("J", "b")
        '∂J/∂b'
    """
    return f"∂{of}/∂{by}"


def plural(count: int, word: str) -> str:
    """Write a count with its word.

    Example:
        >>> plural(1, "unit"), plural(1200, "unit")
        ('1 unit', '1,200 units')
    """
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
