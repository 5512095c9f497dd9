"""What runs a traced function, call after call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.node import Node
from ..graph.trace import Traced
from ._handle import array_leaf, leaf
from ._tensor import Tensor
from ._trace import rebuild

UNFIT: Any = object()  # no result: the function has to be traced again


class Runner:
    """What runs a traced function.

    Args:
        traced: its graph, and what its inputs and outputs stand for.
    """

    def __init__(self, traced: Traced) -> None:
        self.traced = traced
        self._flags = [handle._node.requires_grad for handle in traced.captured]

    def fits(self) -> bool:
        """Whether the same tensors from outside require grad as when it was traced."""
        return self._flags == [handle._node.requires_grad for handle in self.traced.captured]

    def again(self, tensors: Sequence[Tensor]) -> Any:
        """Run it on other arguments of the same kinds; :data:`UNFIT` where it does not fit."""
        return self(tensors) if self.fits() else UNFIT

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        """Run it on the arguments; tensors from outside are read and rebound."""
        raise NotImplementedError


class Plain(Runner):
    """Runs a program that takes all arrays and gives all arrays at each call."""

    def __init__(self, traced: Traced, program: Any, seen: Any = None) -> None:
        super().__init__(traced)
        self.program = program
        self._seen = seen  # the program of the statistics

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        """Run it."""
        traced = self.traced
        outputs = self._run(self._inputs(tensors))
        results = traced.results
        for handle, array in zip(traced.rebound, outputs[results:], strict=False):
            handle._rebind(_result(array))
        for handle, array in zip(
            traced.grads, outputs[results + len(traced.rebound) :], strict=True
        ):
            handle.grad = Tensor(_result(array))
        return rebuild(traced.structure, [Tensor(_result(array)) for array in outputs[:results]])

    def look(self, tensors: Sequence[Tensor]) -> list[Any]:
        """Statistics of the call that comes; it is not taken."""
        found: list[Any] = self._seen(*self._inputs(tensors))
        return found

    def _inputs(self, tensors: Sequence[Tensor]) -> list[Any]:
        """What the graph takes."""
        traced = self.traced
        inputs = [tensor._node.value() for tensor in tensors]
        inputs += [handle._node.value() for handle in traced.captured]
        return inputs + [np.asarray(getter(), np.float64) for getter in traced.getters]

    def _run(self, inputs: Sequence[Any]) -> list[Any]:
        outputs: list[Any] = self.program(*inputs)
        return outputs


def _result(array: Any) -> Node:
    if isinstance(array, np.ndarray):
        return array_leaf(array)
    return leaf(array, array.dtype, array.shape)
