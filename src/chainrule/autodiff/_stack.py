"""Sums over the steps of a loop that are done once, behind it, instead of at each step.

Σ_t A_tᵀ B_t is one product of the steps' matrices put on top of each other; Σ_t of a sum over axes
is one sum over those axes and time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..graph.node import Node
from ..ops import ADD, MATMUL, PERMUTE, RESHAPE, SUM, apply


class Addend:
    """One term of a gradient that adds up over the steps.

    Args:
        node: the term.
        how: the product or sum that it is, behind the moves; None where it is something else.
        moves: the reshapes and permutes that come after, the last first.
        operands: see the attribute.

    Attributes:
        operands: the nodes of one step that it is computed from.
        stacks: whether it is computed from all steps at once; else its one operand is the term
            itself, to be added up in the loop.
    """

    def __init__(
        self,
        node: Node,
        how: Node | None,
        moves: tuple[Node, ...],
        operands: tuple[Node, ...],
    ) -> None:
        self.node = node
        self.how = how
        self.moves = moves
        self.operands = operands
        self.stacks = how is not None

    def total(self, over: list[Any], length: int) -> Any:
        """The sum over all steps.

        Args:
            over: the operands at all steps: with time as the first axis.
            length: the number of steps.
        """
        how = self.how
        assert how is not None
        if how.op is SUM:
            axes = tuple(axis + 1 for axis in how.attrs["axes"])
            total = over[0].sum((0, *axes), False)
        else:
            left = _rows(over[0], 1 if how.attrs["ta"] else 2, length)
            right = _rows(over[1], 2 if how.attrs["tb"] else 1, length)
            total = left.matmul(right, ta=True, tb=False)
        total = total.reshape(how.shape)
        for move in reversed(self.moves):
            total = apply(move.op, total, **move.attrs)
        return total


def _rows(stacked: Any, axis: int, length: int) -> Any:
    """Matrices of all steps on top of each other, the axis that is summed over going down."""
    if axis == 2:
        stacked = stacked.permute((0, 2, 1))
    return stacked.reshape((length * stacked.shape[1], stacked.shape[2]))


def addends(gradient: Node, steady: Callable[[Node], bool]) -> list[Addend]:
    """The terms that a gradient is the sum of.

    Args:
        gradient: a constant's gradient in one step.
        steady: whether a node is the same at each step.
    """
    found: list[Addend] = []
    stack = [gradient]
    while stack:
        node = stack.pop()
        if node.op is ADD and all(source.aval is node.aval for source in node.inputs):
            stack.extend(reversed(node.inputs))
            continue
        how, moves = node, []
        while how.op in (RESHAPE, PERMUTE):
            moves.append(how)
            how = how.inputs[0]
        product = how.op is MATMUL and all(source.ndim == 2 for source in how.inputs)
        if (product or how.op is SUM) and not any(steady(source) for source in how.inputs):
            found.append(Addend(node, how, tuple(moves), how.inputs))
        else:
            found.append(Addend(node, None, (), (node,)))
    return found
