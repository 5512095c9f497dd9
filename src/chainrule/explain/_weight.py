"""`explain.weight`: the three factors of a weight's partial derivative.

For a layer z = x Wᵀ + b followed by an activation a = g(z), the chain rule gives for each example

    ∂J/∂W[i,k] = ∂J/∂a[i] · g'(z[i]) · x[k]:   error · activation slope · input,

and over a batch the sum of these products. A bias sees the input 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autodiff import Sweep, sweep
from ..config import set_state
from ..errors import IndexRangeError, OptionError
from ..graph.node import CONSTANT, Node
from ..graph.walk import consumers
from ..nn import CrossEntropyLoss
from ..ops import constant_array
from ._charts import Bar, bar_chart, table_text
from ._drawing import Array, Box, Drawing, Text
from ._expression import element_text
from ._forward import Pass, run_copy
from ._names import Labels
from ._numbers import factor, partial, plural, show
from ._view import View

MOST_ROWS = 8
UNKNOWN_NAME = (
    "the model has no parameter {name!r}.\n"
    "  given: {name!r}\n"
    "  expected: one of {known}\n"
    "  fix: cr.explain.weight(model, {first!r}, ...)"
)
NOT_LINEAR = (
    "explain.weight knows the weights and biases of Linear layers.\n"
    "  given: {name!r}, which is used by {ops}\n"
    "  expected: a parameter that is multiplied with the layer's input, x @ Wᵀ, or added to that\n"
    "  fix: cr.explain.graph(loss) shows the partial derivatives of every other parameter"
)
BAD_INDEX = (
    "the index does not name one element of {name!r}.\n"
    "  given: {index}\n"
    "  expected: {count} whole numbers within shape {shape}"
)


@dataclass(frozen=True)
class Factors:
    """The three factors of every weight of one layer, for every example.

    Attributes:
        error: ∂J/∂a, shape (examples, units).
        slope: g'(z), shape (examples, units).
        inputs: x, shape (examples, inputs); ones for a bias.
        before: Node of z.
        after: Node of a; the same as `before` where no activation follows.
        given: Node of x; None for a bias.
        partial: What autodiff gives for the parameter, of its shape.
    """

    error: Array
    slope: Array
    inputs: Array
    before: Node
    after: Node
    given: Node | None
    partial: Array

    def products(self, index: Sequence[int]) -> tuple[Array, Array, Array]:
        """Return error, slope and input of one weight for every example."""
        unit = index[0]
        source = self.inputs[:, index[1]] if len(index) > 1 else self.inputs[:, 0]
        return self.error[:, unit], self.slope[:, unit], source


def weight(
    model: Any,
    name: str = "0.weight",
    index: Sequence[int] = (0, 0),
    x: Any = None,
    target: Any = None,
    loss: Any = None,
) -> View:
    """Show the three factors of a weight's partial derivative: error, activation slope, input.

    Args:
        model: A module; it runs as a copy in evaluation mode.
        name: A weight or bias of a Linear layer, as in the model's `state_dict`.
        index: Which element: (unit, input) for a weight, (unit,) for a bias.
        x: A batch of inputs, shape (examples, ...).
        target: What the loss compares with.
        loss: `loss(output, target) -> 0-d tensor`; cross-entropy where left out.

    Returns:
        A view; `.data` has "examples" (the factors and their product for each), "sum", and
        "autodiff", which the sum is checked against.

    Raises:
        OptionError: There is no such parameter, or it is not one of a Linear layer.
        IndexRangeError: The index does not name one element.

    Example:
        >>> import chainrule as cr
        >>> model = cr.nn.Sequential(cr.nn.Linear(2, 1), cr.nn.Sigmoid())
        >>> model[0].weight.data[0] = cr.tensor([0.5, -0.5])
        >>> model[0].bias.data[0] = 0.0
        >>> view = weight(model, "0.weight", (0, 1), [[1.0, 1.0]], [[1.0]], cr.nn.MSELoss())
        >>> print(view.text())
        ∂J/∂w[0,1] = error · slope · input
                   = ∂J/∂a[0,0] · (σ(z) (1 - σ(z)))[0,0] · x[0,1]
                   = (-1) · 0.25 · 1
                   = -0.25
        autodiff gives -0.25, the difference is 0
        <BLANKLINE>
        w is parameter 0.weight, worth -0.5 here
    """
    found = run_copy(model, x, target, CrossEntropyLoss() if loss is None else loss)
    at = tuple(int(i) for i in ((index,) if isinstance(index, int) else index))
    node = parameter_node(found.model, name)
    at = _checked(name, at, node.shape)
    labels = found.labels
    factors = three_factors(found, node, name, found.sweep())
    data = _data(name, at, factors, labels, node)
    return View(data["title"], data, lambda: _lines(data), lambda: _draw(data))


def parameter_node(model: Any, name: str) -> Node:
    """Return the node of a model's parameter.

    Raises:
        OptionError: There is none of that name.
    """
    known = dict(model.named_parameters())
    if name not in known:
        first = next(iter(known), "")
        raise OptionError(UNKNOWN_NAME.format(name=name, known=", ".join(known), first=first))
    node: Node = known[name].node
    return node


def _checked(name: str, index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    good = len(index) == len(shape) and all(-n <= i < n for i, n in zip(index, shape, strict=True))
    if not good:
        details = {"name": name, "index": index, "count": len(shape), "shape": shape}
        raise IndexRangeError(BAD_INDEX.format(**details))
    return tuple(i % n for i, n in zip(index, shape, strict=True))


# --- finding the factors ---------------------------------------------------------------------


def three_factors(found: Pass, parameter: Node, name: str, sweeped: Sweep) -> Factors:
    """Find the three factors of a Linear layer's parameter in the graph.

    Raises:
        OptionError: The parameter is not used as a Linear layer uses its weight or bias.
    """
    users = consumers(found.order)
    product, before, is_bias = _layer_of(parameter, users, name)
    after = activation_end(before, found.order, users)
    error, gradient = sweeped[after], sweeped[parameter]
    assert error is not None and gradient is not None
    units = before.shape[-1]
    given = product.inputs[0] if product is not None else None
    examples = math.prod(before.shape[:-1])
    if is_bias or given is None:
        inputs = np.ones((examples, 1))
    else:
        source = np.swapaxes(given.value(), -1, -2) if product.attrs["ta"] else given.value()
        inputs = source.reshape(examples, -1).astype(np.float64)
    return Factors(
        error.value().reshape(examples, units).astype(np.float64),
        slope_between(before, after).reshape(examples, units).astype(np.float64),
        inputs,
        before,
        after,
        None if is_bias else given,
        gradient.value(),
    )


def _layer_of(
    parameter: Node, users: dict[Node, list[tuple[Node, int]]], name: str
) -> tuple[Any, Node, bool]:
    """Return the layer's product, its result z, and whether the parameter is the bias."""
    uses = users.get(parameter, [])
    if len(uses) == 1:
        user, slot = uses[0]
        if user.op.name == "matmul" and slot == 1 and user.attrs["tb"]:
            return user, _plus_bias(user, users), False
        if user.op.name == "add" and parameter.ndim == 1:
            other = user.inputs[1 - slot]
            return (other if other.op.name == "matmul" else None), user, True
    ops = ", ".join(user.op.name for user, _ in uses) or "nothing"
    raise OptionError(NOT_LINEAR.format(name=name, ops=ops))


def _plus_bias(product: Node, users: dict[Node, list[tuple[Node, int]]]) -> Node:
    following = users.get(product, [])
    if len(following) == 1 and following[0][0].op.name == "add":
        total, slot = following[0]
        bias = total.inputs[1 - slot]
        if not bias.inputs and bias.ndim == 1 and bias.op is not CONSTANT:
            return total
    return product


def activation_end(
    before: Node, order: Sequence[Node], users: dict[Node, list[tuple[Node, int]]]
) -> Node:
    """Return the last node through which all that follows from z passes, element by element.

    This is the activation's output, also where the activation is made of several ops; z itself
    where something else follows.
    """
    inside = {before}
    end = before
    for node in order:
        if node in inside or not node.inputs or not node.op.elementwise:
            continue
        rest = [source for source in node.inputs if source.op is not CONSTANT]
        if node.shape != before.shape or not rest or not all(s in inside for s in rest):
            continue
        inside.add(node)
        if _gathers(node, inside, users):
            end = node
    return end


def _gathers(node: Node, inside: set[Node], users: dict[Node, list[tuple[Node, int]]]) -> bool:
    """Whether nothing but `node` leads out of `inside`."""
    return all(
        user in inside for one in inside if one is not node for user, _ in users.get(one, ())
    )


def slope_between(before: Node, after: Node) -> Array:
    """Compute ∂a/∂z element by element: a sweep from a with ones."""
    if before is after:
        return np.ones(before.shape)
    seed = constant_array(np.ones(after.shape, after.dtype.np), after.dtype)
    with set_state(recording=False, grad_enabled=False):
        gradient = sweep(after, [before], seed)[before]
    assert gradient is not None
    result: Array = gradient.value()
    return result


def slope_name(before: Node, after: Node, labels: Labels) -> str:
    """Write the activation's slope; "1" where there is no activation."""
    if before is after:
        return "1"
    if len(after.inputs) >= 1 and before in after.inputs and after.op.slopes:
        arguments = [labels.of(source) for source in after.inputs]
        slot = after.inputs.index(before)
        return after.op.slopes[slot].format(*arguments)
    return f"∂{labels.of(after)}/∂{labels.of(before)}"


# --- showing ---------------------------------------------------------------------------------


def _data(
    name: str, index: tuple[int, ...], factors: Factors, labels: Labels, node: Node
) -> dict[str, Any]:
    error, slope, source = factors.products(index)
    products = error * slope * source
    label = element_text(labels.of(node), index)
    autodiff = float(factors.partial[index])
    total = math.fsum(products.tolist())
    output = labels.of(labels.output)
    written = slope_name(factors.before, factors.after, labels)
    return {
        "title": f"Three factors make {partial(output, label)} = {show(total)}",
        "name": name,
        "index": index,
        "label": label,
        "value": float(node.value()[index]),
        "partial": partial(output, label),
        "factors": [
            partial(output, labels.of(factors.after)),
            written,
            labels.of(factors.given) if factors.given is not None else "1 (a bias)",
        ],
        "unit": index[0],
        "input": index[1] if len(index) > 1 else None,
        "examples": [
            {"example": n, "error": e, "slope": s, "input": v, "product": p}
            for n, (e, s, v, p) in enumerate(
                zip(error.tolist(), slope.tolist(), source.tolist(), products.tolist(), strict=True)
            )
        ],
        "sum": total,
        "autodiff": autodiff,
        "difference": total - autodiff,
    }


def _elements(data: dict[str, Any], example: int | str) -> tuple[str, str, str]:
    error, slope, source = data["factors"]
    unit = f"[{example},{data['unit']}]"
    if slope != "1":
        bare = slope.startswith(("[", "∂"))
        slope = f"{slope if bare else f'({slope})'}{unit}"
    if data["input"] is not None:
        source = f"{source}[{example},{data['input']}]"
    return f"{error}{unit}", slope, source


def largest(data: dict[str, Any], count: int = MOST_ROWS) -> list[dict[str, Any]]:
    """Return the examples whose products are greatest in magnitude."""
    found = sorted(data["examples"], key=lambda one: -abs(one["product"]))
    return found[:count]


def _lines(data: dict[str, Any]) -> list[str]:
    head = data["partial"]
    pad = " " * len(head)
    examples = data["examples"]
    if len(examples) == 1:
        one = examples[0]
        lines = [
            f"{head} = error · slope · input",
            f"{pad} = {' · '.join(_elements(data, 0))}",
            f"{pad} = {factor(one['error'])} · {factor(one['slope'])} · {factor(one['input'])}",
            f"{pad} = {show(data['sum'])}",
        ]
    else:
        lines = [
            f"{head} = Σ_n error · slope · input, over {plural(len(examples), 'example')}",
            f"{pad} = Σ_n {' · '.join(_elements(data, 'n'))}",
            f"{pad} = {show(data['sum'])}",
            "",
            *_table(data),
        ]
    difference = show(data["difference"], 3)
    lines.append(f"autodiff gives {show(data['autodiff'])}, the difference is {difference}")
    label = data["label"].split("[")[0]
    return [*lines, "", f"{label} is parameter {data['name']}, worth {show(data['value'])} here"]


def _table(data: dict[str, Any]) -> list[str]:
    rows = [["example", "error", "slope", "input", "product"]]
    shown = largest(data)
    keys = ("error", "slope", "input", "product")
    rows += [[str(one["example"]), *(show(one[k], 4) for k in keys)] for one in shown]
    rest = len(data["examples"]) - len(shown)
    if rest > 0:
        remaining = data["sum"] - math.fsum(one["product"] for one in shown)
        rows.append([f"{rest} more", "", "", "", show(remaining, 4)])
    rows.append(["sum", "", "", "", show(data["sum"], 4)])
    return table_text(rows, dict.fromkeys(range(5), True))


def _draw(data: dict[str, Any]) -> Drawing:
    several = len(data["examples"]) > 1
    one = largest(data, 1)[0]
    names = _elements(data, one["example"])
    drawing = Drawing(760, 0, data["title"], " ".join(_lines(data)[:4]))
    note = "of one example" if not several else f"of example {one['example']}, which weighs most"
    drawing.add(Text(8, 24, f"{data['partial']} {note}", "ink", size=15, bold=True))
    cards = (
        ("error", names[0], one["error"], "backward", "backward-soft"),
        ("activation slope", names[1], one["slope"], "ink", "panel"),
        ("input", names[2], one["input"], "forward", "forward-soft"),
        ("product", "", one["product"], "ink", "paper"),
    )
    for number, (title, written, value, colour, fill) in enumerate(cards):
        x = 8 + 190 * number
        drawing.add(Box(x, 40, 164, 92, fill, "line", 8))
        drawing.add(Text(x + 82, 62, title, "muted", "middle", 12.5))
        drawing.add(Text(x + 82, 94, show(value, 5), colour, "middle", 20, True))
        drawing.add(Text(x + 82, 119, written, "muted", "middle", 11.5 if len(written) < 22 else 9))
        if number:
            drawing.add(Text(x - 13, 92, "·" if number < 3 else "=", "muted", "middle", 20, True))
    drawing.height = 150
    if several:
        chart = _examples_chart(data)
        drawing.place(chart, 8, 160)
        drawing.height += chart.height + 20
    return drawing


def _examples_chart(data: dict[str, Any]) -> Drawing:
    shown = largest(data)
    bars = [
        Bar(f"example {one['example']}", one["product"], show(one["product"], 4)) for one in shown
    ]
    rest = len(data["examples"]) - len(shown)
    if rest > 0:
        remaining = data["sum"] - math.fsum(one["product"] for one in shown)
        bars.append(Bar(f"{rest} more", remaining, show(remaining, 4)))
    bars.append(Bar("sum", data["sum"], show(data["sum"], 4)))
    heading = f"what each example adds to {data['partial']}"
    return bar_chart(bars, title=heading, width=740, colour="backward", heading=heading)
