"""Family constructors: what all ops of a kind share, so that an op is a few lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..graph.node import Op
from . import _infer

Rule = Callable[..., Any] | None


def unary(
    name: str,
    *,
    array: Callable[..., Any],
    scalar: Callable[..., Any],
    vjp: Rule,
    text: str,
    tex: str,
    slope: str = "",
    infer: Callable[..., Any] = _infer.elementwise,
    promote: str | None = "float",
    domain: tuple[float, float] = (-3.0, 3.0),
) -> Op:
    """An op that maps each element by itself; integers become floats unless ``promote`` is None."""
    return Op(
        name=name,
        infer=infer,
        array=array,
        vjps=(vjp,),
        scalar=scalar,
        promote=promote,
        tex=tex,
        text=text,
        slopes=(slope,) if slope else (),
        domain=domain,
    )


def binary(
    name: str,
    *,
    array: Callable[..., Any],
    scalar: Callable[..., Any],
    vjps: tuple[Rule, Rule],
    text: str,
    tex: str,
    slopes: tuple[str, ...] = (),
    infer: Callable[..., Any] = _infer.elementwise,
    promote: str | None = "same",
    domain: tuple[float, float] = (-3.0, 3.0),
) -> Op:
    """An op of two broadcast operands of one dtype."""
    return Op(
        name=name,
        infer=infer,
        array=array,
        vjps=vjps,
        scalar=scalar,
        promote=promote,
        tex=tex,
        text=text,
        slopes=slopes,
        domain=domain,
    )


def compare(name: str, array: Callable[..., Any], scalar: Callable[..., Any], sign: str) -> Op:
    """A comparison of two broadcast operands: booleans, without derivative."""
    return binary(
        name,
        array=array,
        scalar=scalar,
        vjps=(None, None),
        text="{0} " + sign + " {1}",
        tex="{0} " + sign + " {1}",
        infer=_infer.comparison,
    )
