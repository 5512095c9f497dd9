"""`explain.blame`: the way of the error back through the layers, and who owns the step.

Backpropagation computes, the optimizer updates: two things. The messages ∂J/∂a of all layers come
from one pass at the old weights; then one step changes all layers at once. To first order it
changes J by Σ_l g_l·Δθ_l, so the share of layer l in the step is -g_l·Δθ_l over the sum: right for
any update rule, as Δθ is taken from a real step on a copy.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from ..config import set_state
from ..dtypes import float64
from ..errors import OptionError
from ._charts import Bar, bar_chart, beside, table_text
from ._drawing import Array, Drawing, Text
from ._forward import Pass, as_input, float_type, run
from ._numbers import percent, shape_text, show
from ._view import View

MESSAGES = "the error's way back: length of the message at each layer's output"
UPHILL = (
    "the step goes uphill on these examples: what the optimizer keeps of earlier batches"
    " outweighs their gradient"
)
SHARES = "each layer's share of the step: -g·Δθ over the sum"
NOT_ITS_OPTIMIZER = (
    "the optimizer does not hold this model's parameters.\n"
    "  given: {optimizer} and {model}, which have no parameter in common\n"
    "  fix: optimizer = cr.optim.SGD(model.parameters(), lr=0.1)"
)


def blame(model: Any, loss: Any, optimizer: Any, x: Any, y: Any) -> View:
    """Show the error's way back, and each layer's share of one optimizer step.

    The step is made on a copy of model, loss and optimizer, in evaluation mode: nothing live
    changes.

    Args:
        model: A module.
        loss: `loss(output, target) -> 0-d tensor`.
        optimizer: The optimizer of the model's parameters, with its state as it is now.
        x: A batch of inputs, shape (examples, ...).
        y: What the loss compares with.

    Returns:
        A view; `.data` has "messages" (length of ∂J/∂a at each layer's output), "layers" (length
        of gradient and step, -g·Δθ, share) and the predicted and actual change of J.

    Raises:
        OptionError: The optimizer holds none of the model's parameters.

    Example:
        >>> import chainrule as cr
        >>> model = cr.nn.Sequential(cr.nn.Linear(2, 2), cr.nn.Linear(2, 1))
        >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.01)
        >>> view = blame(model, cr.nn.MSELoss(), optimizer, [[1.0, 2.0]], [[3.0]])
        >>> round(sum(layer["share"] for layer in view.data["layers"]), 6)
        1.0
    """
    twin, criterion, stepper = copy.deepcopy((model, loss, optimizer))
    twin.eval()
    held = {id(p) for group in stepper.param_groups for p in group["params"]}
    if not any(id(p) in held for p in twin.parameters()):
        details = {"optimizer": type(optimizer).__name__, "model": type(model).__name__}
        raise OptionError(NOT_ITS_OPTIMIZER.format(**details))
    found = run(twin, x, y, criterion)
    messages = _messages(found)
    before = _values(twin)
    cost = _exact_cost(twin, criterion, x, y)
    gradients = _step(twin, criterion, stepper, x, y)
    steps = {name: value - before[name] for name, value in _values(twin).items()}
    after = _exact_cost(twin, criterion, x, y)
    data = _data(messages, _by_layer(gradients, steps), cost, after)
    data["optimizer"] = type(optimizer).__name__
    title = (
        f"One {data['optimizer']} step takes J from {show(cost)} to {show(after)};"
        " the way of the error back and each layer's share"
    )
    return View(title, data, lambda: _lines(data), lambda: _draw(data, title))


def _messages(found: Pass) -> list[dict[str, Any]]:
    """Return the length of ∂J/∂a at each layer's output, from the last layer to the first."""
    sweeped, labels = found.sweep(), found.labels
    assert found.cost is not None
    rows: list[dict[str, Any]] = []
    for call in reversed(found.calls):
        gradient = sweeped[call.result]
        if gradient is None or call.result in call.given:
            continue
        message = gradient.value().astype(np.float64)
        rows.append(
            {
                "layer": call.name,
                "kind": type(call.module).__name__,
                "label": labels.of(call.result),
                "shape": message.shape,
                "length": float(np.linalg.norm(message)),
                "zeros": float((message == 0).mean()) if message.size else 0.0,
            }
        )
    return rows


def _values(model: Any) -> dict[str, Array]:
    return {n: p.detach().numpy().astype(np.float64) for n, p in model.named_parameters()}


def _exact_cost(model: Any, loss: Any, x: Any, y: Any) -> float:
    """Return J in double precision: a small step changes it by less than single precision shows."""
    twin, criterion = copy.deepcopy((model, loss))
    for module in (twin, criterion):
        if hasattr(module, "parameters"):
            module.to(float64)
    with set_state(grad_enabled=False):
        output = twin(as_input(x, float64))
        return float(criterion(output, as_input(y, float64)).item())


def _step(model: Any, loss: Any, optimizer: Any, x: Any, y: Any) -> dict[str, Array]:
    """Make one optimizer step on a copy; return the gradients it began with."""
    gradients: dict[str, Array] = {}
    inputs, target = as_input(x, float_type(model)), as_input(y, float_type(model))

    def closure() -> Any:
        optimizer.zero_grad()
        cost = loss(model(inputs), target)
        cost.backward()
        if not gradients:
            for name, parameter in model.named_parameters():
                if parameter.grad is not None:
                    gradients[name] = parameter.grad.numpy().astype(np.float64)
        return cost

    with set_state(grad_enabled=True, recording=False):
        optimizer.step(closure)
    return gradients


def _by_layer(gradients: dict[str, Array], steps: dict[str, Array]) -> list[dict[str, Any]]:
    layers: dict[str, list[str]] = {}
    for name in gradients:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    rows: list[dict[str, Any]] = []
    for layer, names in layers.items():
        gain = -math.fsum(float((gradients[n] * steps[n]).sum()) for n in names)
        rows.append(
            {
                "layer": layer,
                "parameters": names,
                "gradient": math.sqrt(sum(float((gradients[n] ** 2).sum()) for n in names)),
                "step": math.sqrt(sum(float((steps[n] ** 2).sum()) for n in names)),
                "gain": gain,
            }
        )
    total = math.fsum(row["gain"] for row in rows)
    for row in rows:
        row["share"] = row["gain"] / total if total else float("nan")
    return rows


def _data(
    messages: list[dict[str, Any]], layers: list[dict[str, Any]], before: float, after: float
) -> dict[str, Any]:
    predicted = -math.fsum(row["gain"] for row in layers)
    return {
        "messages": messages,
        "layers": layers,
        "cost_before": before,
        "cost_after": after,
        "predicted": predicted,
        "actual": after - before,
        "remainder": after - before - predicted,
    }


def _lines(data: dict[str, Any]) -> list[str]:
    messages = [["the error's way back", "", "shape", "length of the message", "zeros"]]
    messages += [
        [
            f"{m['layer']} {m['kind']}",
            f"∂J/∂{m['label']}",
            shape_text(m["shape"]),
            show(m["length"], 4),
            percent(m["zeros"], 0),
        ]
        for m in data["messages"]
    ]
    layers = [["layer", "length of g", "length of Δθ", "-g·Δθ", "share of the step"]]
    layers += [
        [
            row["layer"],
            show(row["gradient"], 4),
            show(row["step"], 4),
            show(row["gain"], 4),
            percent(row["share"]),
        ]
        for row in data["layers"]
    ]
    layers.append(
        [
            "sum",
            "",
            "",
            show(-data["predicted"], 4),
            percent(math.fsum(row["share"] for row in data["layers"])),
        ]
    )
    return [
        *table_text(messages, {3: True, 4: True}),
        "",
        *table_text(layers, dict.fromkeys(range(1, 5), True)),
        "",
        *change_lines(data),
    ]


def change_lines(data: dict[str, Any]) -> list[str]:
    """Say what the step was predicted to change J by, and what it did."""
    before, after = show(data["cost_before"]), show(data["cost_after"])
    return [
        f"{data['optimizer']} step: J {before} -> {after}",
        f"predicted change (Σ g·Δθ)  {show(data['predicted'])}",
        f"actual change              {show(data['actual'])}",
        f"remainder (curvature)      {show(data['remainder'])}",
        *([UPHILL] if data["predicted"] > 0 else []),
    ]


def message_chart(data: dict[str, Any], width: float = 500, *, headed: bool = True) -> Drawing:
    """Draw the messages as bars, from the last layer to the first."""
    bars = [
        Bar(f"{m['layer']} {m['kind']}", m["length"], f"∂J/∂{m['label']}  {show(m['length'], 3)}")
        for m in data["messages"]
    ]
    return bar_chart(
        bars, title=MESSAGES, width=width, colour="backward", heading=MESSAGES if headed else ""
    )


def share_chart(data: dict[str, Any], width: float = 500, *, headed: bool = True) -> Drawing:
    """Draw each layer's share of the step, last layer first like the messages."""
    bars = [
        Bar(
            f"layer {row['layer']}",
            row["share"] if math.isfinite(row["share"]) else 0.0,
            f"{percent(row['share'])}  ({show(row['gain'], 3)})",
        )
        for row in reversed(data["layers"])
    ]
    return bar_chart(bars, title=SHARES, width=width, heading=SHARES if headed else "")


def _draw(data: dict[str, Any], title: str) -> Drawing:
    sheet = beside([message_chart(data), share_chart(data)], title)
    lines = change_lines(data)
    text = Drawing(sheet.width, sheet.height + 24 * len(lines) + 16, title, " ".join(lines))
    text.place(sheet, 0, 0)
    for number, line in enumerate(lines):
        text.add(Text(0, sheet.height + 28 + 24 * number, line, "ink", size=13))
    return text
