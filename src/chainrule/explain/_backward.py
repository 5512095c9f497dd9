"""How a partial derivative is written: each consumer's slope times what comes back from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autodiff import Part, Sweep, sweep
from ..config import set_state
from ..graph.node import CONSTANT, Node
from ..ops import constant_array
from ._drawing import Array
from ._expression import BINDING, TIGHT, bracketed
from ._names import Labels
from ._numbers import factor, partial, show

# How the two derivatives of each bilinear op of convolution are written: {0} and {1} are the op's
# operands, {2} is what comes back.
CONVOLVED = {
    "convolution": ("{2} ⋆ᵀ {1}", "Σ {0} ⋆ {2}"),
    "convolution_input": ("{2} ⋆ {1}", "Σ {2} ⋆ {0}"),
    "convolution_weight": ("{1} ⋆ᵀ {2}", "{0} ⋆ {2}"),
}
# What an op's rule does to the gradient it is given, for ops without a slope of their own.
MOVED = {
    "sum": "repeated over the summed axes",
    "amax": "where it was the largest",
    "reshape": "reshaped back",
    "permute": "permuted back",
    "expand": "summed over the stretched axes",
    "slice": "at the place of the part, 0 elsewhere",
    "pad": "inside the border",
    "flip": "reversed back",
    "concat": "the part that was this one",
    "take": "added at the rows taken",
    "gather": "put back at the places read",
    "take_add": "read at the same rows",
    "scatter_add": "read at the same places",
    "max_pool": "where the largest of each window was",
    "max_pool_input": "read at the same places",
    "window_sum": "repeated over each window",
    "window_spread": "summed over each window",
    "scan": "carried back through the steps",
    "custom": "by its user's own derivative",
}


@dataclass(frozen=True)
class Back:
    """One term of a partial derivative: what came back from one use of a node.

    Attributes:
        consumer: Label of the node that used it.
        symbols: The chain rule's product in symbols, `c · ∂J/∂u`.
        numbers: The same in numbers where both are scalars, `2 · 3`; else "".
    """

    consumer: str
    symbols: str
    numbers: str


def swept(output: Node) -> Sweep:
    """Differentiate a scalar with respect to every node on the way, with their history kept."""
    with set_state(recording=True, grad_enabled=True):
        return sweep(output)


def backs(node: Node, sweeped: Sweep, labels: Labels) -> list[Back]:
    """Return the terms of a node's partial derivative, in the order in which they are added."""
    return [_back(node, part, sweeped, labels) for part in sweeped.parts(node)]


def _back(node: Node, part: Part, sweeped: Sweep, labels: Labels) -> Back:
    consumer, slot = part.consumer, part.slot
    above = partial(labels.of(sweeped.output), labels.of(consumer))
    arriving = sweeped[consumer]
    written = slope_text(consumer, slot, labels)
    if consumer.op.name == "matmul":
        return Back(labels.of(consumer), _product_text(consumer, slot, above, labels), "")
    if consumer.op.name in CONVOLVED:
        operands = (labels.of(source) for source in consumer.inputs)
        symbols = CONVOLVED[consumer.op.name][slot].format(*operands, above)
        return Back(labels.of(consumer), symbols, "")
    if not consumer.op.elementwise or written is None:
        moved = MOVED.get(consumer.op.name, f"through {consumer.op.name}")
        return Back(labels.of(consumer), f"{above}, {moved}", "")
    # With scalars the product by 1 shows the rule; with arrays it is only noise.
    product = above if written == "1" and consumer.ndim else f"{written} · {above}"
    symbols = product + _summed(node, consumer)
    numbers = ""
    if consumer.size == 1 and node.size == 1 and arriving is not None:
        slope = local_slope(consumer, slot)
        came = arriving.value().item()
        numbers = f"{factor(slope.item())} · {factor(came)}"
    return Back(labels.of(consumer), symbols, numbers)


def _summed(node: Node, consumer: Node) -> str:
    if node.shape == consumer.shape or node.size == consumer.size:
        return ""
    return ", summed where it was stretched"


def slope_text(consumer: Node, slot: int, labels: Labels) -> str | None:
    """Write the local derivative of an elementwise op with respect to one input."""
    slopes = consumer.op.slopes
    if slot >= len(slopes) or not slopes[slot]:
        return None
    arguments = [_operand(source, labels) for source in consumer.inputs]
    if consumer.op.name == "pow" and slot == 0 and consumer.inputs[1].op is CONSTANT:
        return _power_slope(arguments[0], consumer.inputs[1].value().item())
    own = BINDING["mul"]
    parts = [
        bracketed("mul", slopes[slot], i, text, TIGHT, own) if f"{{{i}}}" in slopes[slot] else text
        for i, text in enumerate(arguments)
    ]
    written = slopes[slot].format(*parts)
    simple = all(sign not in written for sign in (" - ", " + ", " / ")) or written[0] in "[("
    if simple and written.startswith("-"):
        return f"({written})"
    return written if simple else f"({written})"


def _power_slope(base: str, exponent: float) -> str:
    """Write the slope of a power whose exponent is a number.

    Example:
        >>> _power_slope("a", 2.0), _power_slope("a", 3.0), _power_slope("a", 0.5)
        ('2 · a', '3 · a ^ 2', '0.5 · a ^ (-0.5)')
    """
    power = "" if exponent == 2 else f" ^ {factor(exponent - 1)}"
    return f"{factor(exponent)} · {base}{power}"


def _operand(node: Node, labels: Labels) -> str:
    if node.op is CONSTANT and node.size == 1:
        return show(node.value().item())
    return labels.of(node)


def local_slope(consumer: Node, slot: int) -> Array:
    """Compute an elementwise op's local derivative: its own rule, given ones."""
    seed = constant_array(np.ones(consumer.shape, consumer.dtype.np), consumer.dtype)
    rule: Any = consumer.op.vjps[slot]
    with set_state(grad_enabled=False, recording=False):
        result: Array = rule(seed, consumer, *consumer.inputs, **consumer.attrs).value()
    return result


def _product_text(consumer: Node, slot: int, above: str, labels: Labels) -> str:
    """Write the derivative of a matrix product; see `ops.product` for the flags."""
    a, b = (labels.of(source) for source in consumer.inputs)
    ta, tb = consumer.attrs["ta"], consumer.attrs["tb"]
    if slot == 0:
        return f"{_flag(b, tb)} @ ({above})ᵀ" if ta else f"{above} @ {_flag(b, not tb)}"
    return f"({above})ᵀ @ {_flag(a, ta)}" if tb else f"{_flag(a, not ta)} @ {above}"


def _flag(label: str, transposed: bool) -> str:
    return f"{label}ᵀ" if transposed else label
