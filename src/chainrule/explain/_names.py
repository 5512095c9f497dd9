"""Labels for the nodes of one graph: short enough for a formula, with a legend that explains them.

A name that the user gave stays. The rest follows the books: x and y are data, w and b a layer's
weights and bias, z its output before and a after the activation, J the cost; a number tells layers
apart. What remains is u, v, ... where few, else t1, t2, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph.node import CONSTANT, Node
from ..graph.walk import consumers

# Ops whose result is what a layer gives, before a bias is added.
PRODUCTS = ("matmul", "convolution", "convolution_input")
LETTERS = "uvpqrs"
ACTIVATIONS = frozenset(("relu", "tanh", "sigmoid", "softplus", "erf", "abs", "sin"))


class Labels:
    """The label of every node of a graph, and what each label means."""

    def __init__(self, nodes: Sequence[Node], output: Node, model: Any = None) -> None:
        self.output = output
        self.legend: dict[str, str] = {}
        self._labels: dict[Node, str] = {}
        self._taken: set[str] = set()
        self._users = consumers(nodes)
        self._parameters = _parameter_names(model)
        self._buffers = _buffer_names(model)
        self._nodes = [node for node in nodes if not _plain(node)]
        for node in self._nodes:
            if node.name:
                self._take(node, node.name)
        one = not isinstance(output.aval, tuple) and output.size == 1
        if one and output not in self._labels:
            self._take(output, "J")
        self._label_layers()
        if output not in self._labels:
            self._take(output, "y")
        self._label_leaves()
        self._label_rest()

    def of(self, node: Node) -> str:
        """Return a node's label; a partial derivative is labelled by what it is one of."""
        found = self._labels.get(node)
        if found is None and node.wrt:
            found = f"∂{self.of(self.output)}/∂{self.of(node.wrt[0])}"
        if found is None:
            found = self._take(node, f"t{len(self._labels) + 1}")
        return found

    def _take(self, node: Node, wanted: str, meaning: str = "") -> str:
        label, number = wanted, 1
        while label in self._taken:
            number += 1
            label = f"{wanted}_{number}"
        self._taken.add(label)
        self._labels[node] = label
        if meaning:
            self.legend[label] = meaning
        return label

    def _label_layers(self) -> None:
        products = [n for n in self._nodes if n.op.name in PRODUCTS and not n.wrt]
        scopes = list(dict.fromkeys(n.scope for n in products))
        for product in products:
            number = str(scopes.index(product.scope) + 1) if len(scopes) > 1 else ""
            self._label_layer(product, number)

    def _label_layer(self, product: Node, number: str) -> None:
        layer = f"layer {product.scope}" if product.scope else "this layer"
        for source in product.inputs:
            if source.is_leaf and source.requires_grad:
                self._leaf(source, f"w{number}", "weight", product.scope)
        result = self._with_bias(product, number)
        if result not in self._labels:
            self._take(result, f"z{number}", f"what {layer} gives")
        for user, _ in self._users.get(result, ()):
            if user.op.name in ACTIVATIONS and user not in self._labels:
                self._take(user, f"a{number}", f"{user.op.name} of {self.of(result)}")

    def _with_bias(self, product: Node, number: str) -> Node:
        users = self._users.get(product, [])
        if len(users) == 1 and users[0][0].op.name == "add":
            total, slot = users[0]
            bias = total.inputs[1 - slot]
            if bias.op.name == "reshape":  # one value a channel
                bias = bias.inputs[0]
            if bias.is_leaf and bias.requires_grad:
                self._leaf(bias, f"b{number}", "bias", product.scope)
                if product not in self._labels:
                    self._take(product, f"p{number}", "the product before the bias is added")
                return total
        return product

    def _leaf(self, node: Node, wanted: str, kind: str, scope: str) -> None:
        if node in self._labels:
            return
        name = self._parameters.get(node) or (f"{scope}.{kind}" if scope else kind)
        self._take(node, wanted, f"parameter {name}")

    def _label_leaves(self) -> None:
        for node in self._nodes:
            if node in self._labels or not node.is_leaf or isinstance(node.aval, tuple):
                continue
            if node in self._parameters:
                self._take(node, self._parameters[node], f"parameter {self._parameters[node]}")
            elif node in self._buffers:
                self._take(node, self._buffers[node], f"buffer {self._buffers[node]}")
            elif node.requires_grad:
                self._take(node, "w")
            elif node.dtype.is_float:
                self._take(node, "x" if "x" not in self._taken else "target", "data")
            else:
                self._take(node, "target", "data")

    def _label_rest(self) -> None:
        rest = [node for node in self._nodes if node not in self._labels]
        free = [letter for letter in LETTERS if letter not in self._taken]
        few = len(rest) <= len(free)
        for number, node in enumerate(rest):
            self._take(node, free[number] if few else f"t{number + 1}")


def _plain(node: Node) -> bool:
    """Whether a node is a literal number, which stands in formulas as itself."""
    return node.op is CONSTANT and node.size == 1 and node.name is None


def _parameter_names(model: Any) -> dict[Node, str]:
    if model is None:
        return {}
    return {parameter.node: name for name, parameter in model.named_parameters()}


def _buffer_names(model: Any) -> dict[Node, str]:
    if model is None:
        return {}
    return {buffer.node: name for name, buffer in model.named_buffers()}
