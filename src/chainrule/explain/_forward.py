"""One pass of a model forward and back, on a copy, for views to read.

A view never changes the live model: parameters, buffers, training flags and random streams stay as
they are, so everything is computed on a deep copy.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autodiff import Sweep
from ..config import set_state
from ..dtypes import DType, float32
from ..graph.node import Node
from ..graph.walk import topological
from ..tensor import Tensor
from ..train.examples import read_examples
from ._backward import swept
from ._drawing import Array
from ._names import Labels


@dataclass
class Call:
    """One call of a module during a pass: who, what went in and what came out (the first of it)."""

    name: str
    module: Any
    given: tuple[Node, ...]
    result: Node


@dataclass
class Pass:
    """What one pass left behind.

    Attributes:
        model: The copy that was run.
        inputs: The node of x.
        output: The node of the model's output.
        cost: The node of the loss; None where no loss was given.
        calls: The calls of modules without children, in order.
        order: All nodes of the graph, each after its inputs.
    """

    model: Any
    inputs: Node
    output: Node
    cost: Node | None
    calls: list[Call] = field(default_factory=list)
    order: list[Node] = field(default_factory=list)

    @property
    def labels(self) -> Labels:
        """Labels for all nodes, the parameters named as in `state_dict`."""
        return Labels(self.order, self.cost or self.output, self.model)

    def sweep(self) -> Sweep:
        """Differentiate the loss with respect to every node."""
        assert self.cost is not None
        return swept(self.cost)


def run_copy(
    model: Any, x: Any, target: Any = None, loss: Any = None, *, training: bool = False
) -> Pass:
    """Run a copy of a model on a batch, keeping the history of everything.

    Args:
        model: A module; left as it is.
        x: Inputs, shape (examples, ...).
        target: What the loss compares with; None leaves the loss out.
        loss: `loss(output, target) -> 0-d tensor`.
        training: Run in training mode, with dropout; the default is evaluation mode.
    """
    twin, criterion = copy.deepcopy((model, loss))
    twin.train(training)
    return run(twin, x, target, criterion)


def run(model: Any, x: Any, target: Any = None, loss: Any = None) -> Pass:
    """Run a model that may be changed (a copy) on a batch; see `run_copy`."""
    inputs = as_input(x, float_type(model))
    calls: list[Call] = []
    removers = [_listen(name, module, calls) for name, module in _shown(model)]
    with set_state(recording=True, grad_enabled=True):
        try:
            output = model(inputs)
        finally:
            for handle in removers:
                handle.remove()
        cost = None
        if loss is not None and target is not None:
            cost = loss(output, as_input(target, float_type(model))).node
    found = Pass(model, inputs.node, output.node, cost, calls)
    found.order = topological([cost if cost is not None else output.node])
    return found


def _shown(model: Any) -> list[tuple[str, Any]]:
    """The modules without children, and those that are shown as one."""
    found: list[tuple[str, Any]] = []
    hidden: set[int] = set()
    for name, module in model.named_modules():
        if id(module) in hidden:
            continue
        if module._summary:
            hidden.update(id(inner) for inner in module.modules())
        if module._summary or not any(True for _ in module.children()):
            found.append((name, module))
    return found


def _listen(name: str, module: Any, calls: list[Call]) -> Any:
    def note(module: Any, given: tuple[Any, ...], result: Any) -> None:
        nodes = tuple(one.node for one in given if isinstance(one, Tensor))
        if isinstance(result, tuple) and result:
            result = result[0]
        if isinstance(result, Tensor):
            calls.append(Call(name, module, nodes, result.node))

    return module.register_forward_hook(note)


def float_type(model: Any) -> DType:
    """Return the dtype of a model's parameters."""
    types = (p.dtype for p in model.parameters() if p.dtype.is_float)
    return next(types, float32)


def as_input(values: Any, floating: DType) -> Tensor:
    """Return data as a tensor without history; floating-point data in the model's dtype."""
    array = values.detach().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.dtype.kind == "f":
        array = array.astype(floating.np)
    elif array.dtype.kind in "iu" and array.dtype.name not in ("uint8", "int32", "int64"):
        array = array.astype(np.int64)
    return Tensor(np.ascontiguousarray(array))


def arrays_of(data: Any, model: Any) -> tuple[Array, Array]:
    """Return data, in any form that `Trainer.fit` takes, as inputs and targets."""
    examples, _ = read_examples(data, None, False, float_type(model))
    arrays = examples.arrays if examples.rows is None else examples.gather(examples.rows)
    return arrays[0], arrays[-1]


def predict(model: Any, x: Array, rows: int = 2048) -> Array:
    """Return a model's outputs for all rows, computed on a copy in evaluation mode."""
    twin = copy.deepcopy(model)
    twin.eval()
    floating = float_type(model)
    with set_state(recording=False, grad_enabled=False):
        parts = [twin(as_input(x[i : i + rows], floating)).numpy() for i in range(0, len(x), rows)]
    return np.concatenate(parts)
