"""What a report shows, as plain data: each part is gathered by itself, and may be missing."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..diagnose import diagnose
from ..errors import OptionError
from ..explain._blame import blame
from ..explain._confusion import Answers, answers, as_images, names_of_classes
from ..explain._drawing import Array, Drawing
from ..explain._expression import Element
from ..explain._fold import singles
from ..explain._forward import Pass, arrays_of, run_copy
from ..explain._graph import Seen, look
from ..explain._graph_drawing import draw_blocks, pixels
from ..explain._layers import layer_rows
from ..explain._names import Labels
from ..explain._network import network
from ..explain._numbers import partial
from ..explain._steps import Step, formula_of, numbers_of, tree_of
from ..explain._weight import Factors, slope_name, three_factors
from ..graph.node import Node

# Above this many elements a node's numbers are shown shrunk, so that the page stays small.
MOST_NUMBERS = 120_000
MOST_FORMULAS = 256
BLAME_EXAMPLES = 256
WORST = 12


@dataclass(frozen=True)
class Facts:
    """What a report is made from."""

    run: Any
    model: Any
    loss: Any
    optimizer: Any
    train: Any
    shown: Any
    arrays: tuple[Array, Array]
    example: int | None
    title: str


class _Output:
    """Stands for a tensor where a view only wants its node."""

    def __init__(self, node: Node) -> None:
        self.node = node


def gather(facts: Facts) -> dict[str, Any]:
    """Compute everything a report shows."""
    x, target = facts.arrays
    found = _answers(facts.model, x, target)
    images = as_images(x, getattr(facts.shown, "image_shape", None))
    count = found.chances.shape[1] if found is not None else 0
    names = names_of_classes(facts.shown, None, count)
    which = _chosen(facts, found)
    one = run_copy(facts.model, x[which : which + 1], target[which : which + 1], facts.loss)
    assert one.cost is not None
    seen, labels = look(_Output(one.cost), one.model)
    return {
        "title": facts.title,
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "run": facts.run,
        "parameters": sum(p.numel() for p in facts.model.parameters()),
        "examples": len(x),
        "answers": found,
        "names": names,
        "images": images,
        "example": _example(which, found, names, target),
        "graph": _graph(seen, labels, images, which, _features(facts.shown, x)),
        "drawing": _graph_drawing(seen, labels),
        "weights": _weights(one, images, {s.node: s.key for s in seen}),
        "layers": layer_rows(one),
        "network": _network(facts.model, x[:1]),
        "blame": _blame(facts),
        "findings": diagnose(facts.run, facts.model, facts.train, facts.shown),
        "mistakes": found.worst(WORST).tolist() if found is not None else [],
    }


def _answers(model: Any, x: Array, target: Array) -> Answers | None:
    try:
        return answers(model, x, target)
    except OptionError:
        return None


def _chosen(facts: Facts, found: Answers | None) -> int:
    """Return the example to step through: as asked, or the hardest that the model gets right."""
    if facts.example is not None:
        return facts.example
    if found is None:
        return 0
    right = np.flatnonzero(found.truth == found.guess)
    if not len(right):
        return 0
    chance = found.chances[right, found.truth[right]]
    return int(right[chance.argmin()])


def _example(which: int, found: Answers | None, names: list[str], target: Array) -> dict[str, Any]:
    if found is None:
        return {"index": which, "truth": str(target[which]), "chances": []}
    chances = [(names[c], float(found.chances[which, c])) for c in range(found.chances.shape[1])]
    return {
        "index": which,
        "truth": names[int(found.truth[which])],
        "guess": names[int(found.guess[which])],
        "chances": chances,
    }


# --- the graph of one example ------------------------------------------------------------------


def _features(data: Any, x: Array) -> list[str]:
    """Return the names of the inputs' columns; none where they have none."""
    names = [str(name) for name in getattr(data, "feature_names", None) or ()]
    return names if x.ndim == 2 and len(names) == x.shape[1] else []


def _graph(
    seen: list[Seen], labels: Labels, images: Array | None, which: int, features: list[str]
) -> dict[str, Any]:
    """Return the nodes with their numbers, in the order of the forward pass."""
    output = labels.of(labels.output)
    picture = images[which].shape if images is not None else None
    return {
        "output": output,
        "nodes": [_node(one, labels, picture) for one in seen],
        "features": features,
        "legend": labels.legend,
    }


def _node(one: Seen, labels: Labels, picture: tuple[int, ...] | None) -> dict[str, Any]:
    output = labels.of(labels.output)
    data: dict[str, Any] = {
        "key": one.key,
        "label": one.label,
        "kind": one.kind,
        "formula": one.formula,
        "scope": one.node.scope,
        "meaning": labels.legend.get(one.label, ""),
        "shape": list(one.value.shape),
        "value": packed(one.value),
        "partial": packed(one.partial) if one.partial is not None else None,
        "name": partial(output, one.label),
        "backs": [
            {"from": b.consumer, "symbols": b.symbols, "numbers": b.numbers} for b in one.backs
        ],
        "inputs": list(one.inputs),
        "data": one.kind == "input" and one.node.ndim == 2,
        "rows": _formulas(one.node, labels),
        "back_rows": _back_formulas(one, labels),
    }
    if picture is not None and one.kind == "input" and one.value.size == picture[0] * picture[1]:
        data["picture"] = list(picture)
    return data


def packed(array: Array) -> dict[str, Any]:
    """Return numbers for the page: float32 in base64, shrunk where they are too many."""
    shrunk = array.size > MOST_NUMBERS
    numbers = pixels(array, 48, 192) if shrunk else array
    flat = np.ascontiguousarray(numbers, np.float32)
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    return {
        "shape": list(flat.shape),
        "shrunk": shrunk,
        "data": base64.b64encode(flat.tobytes()).decode("ascii"),
        "low": float(finite.min()) if finite.size else 0.0,
        "high": float(finite.max()) if finite.size else 0.0,
        "length": float(np.linalg.norm(finite.astype(np.float64).ravel())),
    }


def _formulas(node: Node, labels: Labels) -> list[list[str]]:
    """Return each element's formula and numbers, for nodes of moderate size."""
    if not node.inputs or node.size > MOST_FORMULAS:
        return []
    rows = []
    for index in np.ndindex(node.shape):
        step = Step(Element(node, index), tree_of(Element(node, index)), 1)
        rows.append([formula_of(step, labels), numbers_of(step)])
    return rows


def _back_formulas(one: Seen, labels: Labels) -> list[list[str]]:
    """Return the same for the partial derivatives; none where one is a consumer's, unchanged."""
    gradient = one.gradient
    if gradient is None or not gradient.wrt or gradient.wrt[0] is not one.node:
        return []
    return _formulas(gradient, labels)


def _graph_drawing(seen: list[Seen], labels: Labels) -> Drawing:
    blocks = singles([one.node for one in seen])
    known = {one.node: one for one in seen}
    return draw_blocks(
        blocks, known, labels, "The graph of one example", down=True, interactive=True
    )


# --- the three factors ---------------------------------------------------------------------------


def _weights(found: Pass, images: Array | None, keys: dict[Node, str]) -> list[dict[str, Any]]:
    """Return the three factors of every weight of every Linear layer, for the one example."""
    sweeped, labels = found.sweep(), found.labels
    layers = []
    for name, parameter in found.model.named_parameters():
        node = parameter.node
        if parameter.ndim != 2 or parameter.numel() > MOST_NUMBERS:
            continue
        try:
            factors = three_factors(found, node, name, sweeped)
        except OptionError:
            continue
        layers.append({**_layer(name, node, factors, labels, images), "node": keys[node]})
    return layers


def _layer(
    name: str, node: Node, factors: Factors, labels: Labels, images: Array | None
) -> dict[str, Any]:
    output = labels.of(labels.output)
    given = factors.given
    data: dict[str, Any] = {
        "name": name,
        "label": labels.of(node),
        "output": output,
        "error_name": partial(output, labels.of(factors.after)),
        "slope_name": slope_name(factors.before, factors.after, labels),
        "input_name": labels.of(given) if given is not None else "1",
        "error": packed(factors.error[0]),
        "slope": packed(factors.slope[0]),
        "input": packed(factors.inputs[0]),
        "start": _start(factors),
        "data": given is not None and not given.inputs,
    }
    of_image = images is not None and factors.inputs.shape[1] == images[0].size
    if images is not None and of_image and given is not None and not given.inputs:
        data["picture"] = list(images[0].shape)
    return data


def _start(factors: Factors) -> list[int]:
    """Return the weight to show first: the one with the greatest partial derivative."""
    return [
        int(i) for i in np.unravel_index(np.abs(factors.partial).argmax(), factors.partial.shape)
    ]


def _network(model: Any, x: Array) -> Drawing | None:
    """Return the picture of units and weights, for models of Linear layers."""
    try:
        return network(model, x).drawing()
    except OptionError:
        return None


# --- the step --------------------------------------------------------------------------------


def _blame(facts: Facts) -> dict[str, Any] | None:
    if facts.optimizer is None:
        return None
    data = facts.train if facts.train is not None else facts.shown
    x, y = arrays_of(data, facts.model)
    view = blame(facts.model, facts.loss, facts.optimizer, x[:BLAME_EXAMPLES], y[:BLAME_EXAMPLES])
    return {**view.data, "examples": min(len(x), BLAME_EXAMPLES), "title": view.title}
