"""The loop over time steps: seen step by step when eager, one op in a trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autodiff import scan_nodes
from ..config import STATE
from ..errors import ShapeError, TraceError
from ..graph.node import Node, make_aval
from ..graph.trace import Trace
from ..ops import Expr
from ..ops.scan import check_carry
from ._functions import stack
from ._handle import array_leaf
from ._tensor import Tensor
from ._trace import flatten, rebuild


def scan(
    body: Callable[..., Any], carry: Any, xs: Any, consts: Sequence[Any] = (), reverse: bool = False
) -> tuple[Any, Any]:
    """Run a body once for each time step, carrying state from step to step.

    It means ``for t in range(T): carry, y[t] = body(carry, x[t], *consts)``. Eager, that loop is
    run, and every step is seen in the graph. In a compiled function it becomes one op, whatever
    the number of steps, and so does its derivative.

    Args:
        body: ``(carry, x, *consts) -> (carry, y)``. It may read other tensors, and rebind them (a
            random generator's counter, running statistics).
        carry: a tensor, or tuples, lists and dicts of them; the body returns the same shapes and
            dtypes that it is given.
        xs: a tensor, or such a structure, whose first axis is time.
        consts: further arguments of the body, the same at each step.
        reverse: whether to begin at the last step; each y stands where its x stands.

    Returns:
        The last carry, and what the body returned as y with all steps stacked on a new first axis.

    Raises:
        ShapeError: when lengths differ, or the body changes the carry's shape.
        DTypeError: when the body changes the carry's dtype.

    Example:
        >>> import chainrule as cr
        >>> total, sums = scan(lambda c, x: (c + x, c + x), cr.tensor(0.0), cr.ones(3))
        >>> total, sums
        (tensor(3.), tensor([1., 2., 3.]))
    """
    parts: list[Node] = []
    structure = flatten(xs, parts)
    length = _length(parts)
    if STATE.trace is None and length:
        return _unrolled(body, carry, (structure, parts), consts, reverse)
    return _Recorded(body, carry, (structure, parts), consts, length, reverse).run()


def _length(parts: list[Node]) -> int:
    if not parts:
        raise ShapeError(
            "scan needs at least one tensor to scan over.\n"
            "  fix: xs=cr.arange(steps) for a loop without inputs"
        )
    lengths = {node.shape[0] if node.ndim else None for node in parts}
    if len(lengths) > 1 or None in lengths:
        given = ", ".join(str(node.shape) for node in parts)
        raise ShapeError(
            f"scan: the first axis of every scanned tensor is time.\n  given: {given}\n"
            "  expected: first axes of one length"
        )
    return int(next(iter(lengths)) or 0)


def _pair(returned: Any) -> tuple[Any, Any]:
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise ShapeError(
            "scan: the body must return two things, the new carry and this step's y.\n"
            f"  given: {type(returned).__name__}\n  fix: return carry, None if there is no y"
        )
    return returned


def _check_structure(before: Any, after: Any, what: str) -> None:
    if before != after:
        raise ShapeError(
            f"scan: the body returns another structure of {what} than before.\n"
            f"  given: {after!r}\n  expected: {before!r} (numbers stand for tensors)"
        )


def _unrolled(
    body: Callable[..., Any], carry: Any, scanned: Any, consts: Sequence[Any], reverse: bool
) -> tuple[Any, Any]:
    structure, parts = scanned
    tensors = [Tensor(node) for node in parts]
    length = parts[0].shape[0]
    before: list[Node] = []
    expected = flatten(carry, before)
    ys: list[Any] = [None] * length
    shape_of_y: Any = None
    order = range(length)
    for t in reversed(order) if reverse else order:
        x = rebuild(structure, [one[t] for one in tensors])
        carry, y = _pair(body(carry, x, *consts))
        after: list[Node] = []
        _check_structure(expected, flatten(carry, after), "carries")
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            check_carry(place, old.aval, new.aval)
        nodes: list[Node] = []
        found = flatten(y, nodes)
        if shape_of_y is not None:
            _check_structure(shape_of_y, found, "ys")
        shape_of_y = found
        ys[t] = [Tensor(node) for node in nodes]
    return carry, rebuild(shape_of_y, [stack(column) for column in zip(*ys, strict=True)])


class _Recorded:
    """A loop being recorded in a trace.

    Tensors from outside that the body reads become constants of the loop; those that it rebinds
    become carries.
    """

    def __init__(
        self,
        body: Callable[..., Any],
        carry: Any,
        scanned: Any,
        consts: Sequence[Any],
        length: int,
        reverse: bool,
    ) -> None:
        self.body = body
        self.carry: list[Node] = []
        self.carry_structure = flatten(carry, self.carry)
        self.xs_structure, self.xs = scanned
        self.consts: list[Node] = []
        self.consts_structure = flatten(tuple(consts), self.consts)
        self.length = length
        self.reverse = reverse

    def run(self) -> tuple[Any, Any]:
        """Record the body, then the loop."""
        # A carry may need a gradient only because the body mixes a parameter into it.
        asked = [node.requires_grad for node in self.carry]
        hidden: list[Any] = []
        while True:
            self._record(asked, hidden)
            places = list(zip(self.carry_in, self.carry_out, strict=True))
            after = [before.requires_grad or out.requires_grad for before, out in places]
            again = [before.requires_grad for before, _ in places] != after
            asked = after[: len(self.carry)]
            hidden = [
                handle
                for handle, needs in zip(self.hidden, after[len(self.carry) :], strict=True)
                if needs
            ]
            if not again:
                break
        if STATE.trace is None:
            return self._of_no_steps()
        return self._loop()

    def _record(self, asked: list[bool], hidden: list[Any]) -> None:
        """Run the body once on placeholders."""
        inner = self.inner = Trace(Expr)
        carry = [inner.placeholder(node.aval, name=node.name) for node in self.carry]
        for node, needs in zip(carry, asked, strict=True):
            node.requires_grad = needs
        steps = [make_aval(node.shape[1:], node.dtype) for node in self.xs]
        xs = [inner.placeholder(aval) for aval in steps]
        consts = [inner.placeholder(node.aval, name=node.name) for node in self.consts]
        for node, outside in zip((*xs, *consts), (*self.xs, *self.consts), strict=True):
            node.requires_grad = outside.requires_grad
        for handle in hidden:
            inner.read(handle).requires_grad = True
        before = STATE.trace
        STATE.trace = inner
        try:
            new, y = _pair(
                self.body(
                    _built(self.carry_structure, carry),
                    _built(self.xs_structure, xs),
                    *_built(self.consts_structure, consts),
                )
            )
            out: list[Node] = []
            _check_structure(self.carry_structure, flatten(new, out), "carries")
            self.ys: list[Node] = []
            self.ys_structure = flatten(y, self.ys)
            self.hidden = [handle for handle, _ in inner.rebound.values()]
            out += [handle._node for handle in self.hidden]
            grads = bool(inner.grads)
        finally:
            STATE.trace = before
            inner.restore()
        if grads:
            raise TraceError(
                "the body of a scan leaves gradients in .grad, which only its last step could"
                " keep.\n  fix: call backward() on what scan returns, or use cr.grad in the body"
            )
        self.carry_in = carry + [inner.read(handle) for handle in self.hidden]
        self.carry_out = out
        for place, (old, fresh) in enumerate(zip(self.carry_in, out, strict=True)):
            check_carry(place, old.aval, fresh.aval)
        self.scanned_in = xs
        self.consts_in = consts

    def _loop(self) -> tuple[Any, Any]:
        hidden = {id(handle) for handle in self.hidden}
        captured = [pair for pair in self.inner.captured if id(pair[0]) not in hidden]
        numbers = self.inner.runtimes
        keys = {node: key for key, node in self.inner._numbers.items()}
        consts_in = [
            *self.consts_in,
            *(node for _, node in captured),
            *(node for _, node in numbers),
        ]
        consts = [
            *self.consts,
            *(handle.node for handle, _ in captured),
            *(STATE.trace.runtime(get, node.dtype, keys.get(node)) for get, node in numbers),
        ]
        nodes = scan_nodes(
            self.inner,
            [*self.carry_in, *self.scanned_in, *consts_in],
            [*self.carry_out, *self.ys],
            [*self.carry, *(handle.node for handle in self.hidden), *self.xs, *consts],
            carries=len(self.carry_in),
            scanned=len(self.xs),
            length=self.length,
            reverse=self.reverse,
        )
        count = len(self.carry)
        for handle, node in zip(self.hidden, nodes[count:], strict=False):
            handle._rebind(node)
        ys = nodes[len(self.carry_in) :]
        return _built(self.carry_structure, nodes[:count]), _built(self.ys_structure, ys)

    def _of_no_steps(self) -> tuple[Any, Any]:
        """Eager, and nothing to run: the carry as it was, and ys of length 0."""
        ys = [array_leaf(np.zeros((0, *node.shape), node.dtype.np)) for node in self.ys]
        return _built(self.carry_structure, self.carry), _built(self.ys_structure, ys)


def _built(structure: Any, nodes: Sequence[Node]) -> Any:
    return rebuild(structure, [Tensor(node) for node in nodes])
