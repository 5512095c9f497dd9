"""What the native engine does with each op: one explicit table.

Each op is supported (it has a kernel form), viewed (resolved into strides, or copied where strides
cannot say it), decomposed (rewritten into other ops before lowering) or refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable

from ....errors import EngineError
from ....graph.node import Node

# Form of lowering -> what becomes of such an op.
FORMS = {
    "leaf": "a given value",
    "map": "elementwise, fused into the kernels around it",
    "view": "resolved into strides where possible, else copied",
    "reduce": "a row program, a column reduction or a whole reduction",
    "product": "a register-tiled product with an epilogue",
    "move": "a kernel of its own that moves elements",
    "window": "a kernel over the windows of images, with an epilogue",
    "alone": "a kernel over the windows of images, without one",
    "loop": "a native loop over time, and what it gives",
    "decomposed": "rewritten into other ops",
}

_MAPPED = (
    *("neg", "exp", "log", "log1p", "expm1", "sqrt", "abs", "sign", "floor", "sin", "cos", "tanh"),
    *("sigmoid", "relu", "softplus", "erf", "add", "sub", "mul", "div", "floor_div", "pow"),
    *("maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or"),
    *("logical_not", "where", "cast", "shift_right", "iota", "copy", "laid"),
)
_MOVED = (
    *("take", "take_add", "gather", "scatter_add", "random_bits", "pad", "concat", "check_index"),
    *("argsort", "cumsum"),
)

_WINDOWS = (
    *("convolution", "convolution_input", "convolution_weight", "max_pool", "max_pool_index"),
    *("max_pool_input", "window_sum", "window_spread"),
)

SUPPORT: dict[str, str] = {
    "input": "leaf",
    "constant": "leaf",
    **dict.fromkeys(_MAPPED, "map"),
    **dict.fromkeys(("reshape", "permute", "expand", "slice", "flip"), "view"),
    **dict.fromkeys(("sum", "amax", "argmax"), "reduce"),
    "matmul": "product",
    **dict.fromkeys(_MOVED, "move"),
    **dict.fromkeys(("scan", "pick"), "loop"),
    **dict.fromkeys(("detach", "custom"), "decomposed"),
    **dict.fromkeys(_WINDOWS, "decomposed"),
    **dict.fromkeys(
        ("convolve_rows", "pool_rows", "spread_rows", "convolve_places", "convolve_pool"),
        "window",
    ),
    **dict.fromkeys(("weigh_rows", "weigh_places"), "alone"),
}

REFUSED = (
    "the native engine cannot run {count} op{plural} of this graph: {names}.\n"
    "{places}"
    "  expected: ops of the native engine ({known})\n"
    '  fix: use engine="numpy" for this function, or write it with other ops'
)


def form(node: Node) -> str:
    """The form of lowering of a node's op; '' when it is refused.

    Ops that are not in the table but have a scalar body (a user's own elementwise op) are mapped.

    Example:
        >>> from chainrule.graph.node import INPUT, Node, make_aval
        >>> from chainrule import float32
        >>> form(Node(INPUT, (), {}, make_aval((2,), float32)))
        'leaf'
    """
    known = SUPPORT.get(node.op.name)
    if known is None:
        return "map" if node.op.scalar is not None else ""
    return known


def check_supported(nodes: Iterable[Node]) -> None:
    """Refuse, by name, every op that the engine has no form for.

    Raises:
        EngineError: naming each refused op, its layer and the line that made it.
    """
    refused = [node for node in nodes if not form(node)]
    if not refused:
        return
    names = sorted({node.op.name for node in refused})
    places = "".join(f"  given: {node.describe()}\n" for node in refused[:5])
    raise EngineError(
        REFUSED.format(
            count=len(names),
            plural="" if len(names) == 1 else "s",
            names=", ".join(names),
            places=places,
            known=", ".join(sorted(SUPPORT)),
        )
    )
