"""Random graphs for the native engine's tests, and training steps traced for its loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import ops
from chainrule.config import STATE
from chainrule.engines import Step
from chainrule.errors import ShapeError
from chainrule.graph.graph import Graph
from chainrule.graph.node import make_aval
from chainrule.graph.trace import Trace
from chainrule.ops import apply
from chainrule.ops import elementwise as e
from chainrule.ops import index as i
from chainrule.ops import product as p
from chainrule.ops import reduction as r
from chainrule.ops import shape as s
from chainrule.ops.expr import Expr

SHAPES = [
    (),
    (1,),
    (5,),
    (17,),
    (4, 3),
    (3, 17),
    (1, 6),
    (5, 1),
    (2, 3, 4),
    (2, 1, 5),
    (33,),
    (20, 40),
]
LARGEST = 6000
UNARY = (e.TANH, e.SIGMOID, e.RELU, e.ABS, e.SIN, e.NEG, e.SOFTPLUS)
BINARY = (e.ADD, e.SUB, e.MUL, e.MAXIMUM, e.MINIMUM)
COMPARE = (e.GT, e.LE, e.EQ)


class _Maker:
    """Grows a random graph, one op at a time."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.pool: list[Any] = []
        self.index: Any = None

    def pick(self) -> Any:
        """A node, more often a late one."""
        first = max(0, len(self.pool) - 6) if self.random.random() < 0.7 else 0
        return self.pool[self.random.integers(first, len(self.pool))]

    def one_of(self, choices: Any) -> Any:
        return choices[self.random.integers(len(choices))]

    def unary(self) -> Any:
        return apply(self.one_of(UNARY), self.pick())

    def binary(self) -> Any:
        return apply(self.one_of(BINARY), self.pick(), self.pick())

    def choose(self) -> Any:
        a, b = self.pick(), self.pick()
        return apply(e.WHERE, apply(self.one_of(COMPARE), a, b), a, b)

    def reduce(self) -> Any:
        x = self.pick()
        if not x.ndim:
            return None
        count = self.random.integers(1, x.ndim + 1)
        axes = tuple(sorted(self.random.choice(x.ndim, count, replace=False).tolist()))
        kept = bool(self.random.integers(2))
        return apply(self.one_of((r.SUM, r.AMAX)), x, axes=axes, keepdims=kept)

    def permute(self) -> Any:
        x = self.pick()
        return apply(s.PERMUTE, x, axes=tuple(self.random.permutation(x.ndim).tolist()))

    def slice(self) -> Any:
        x = self.pick()
        starts = [int(self.random.integers(0, max(1, n // 2))) for n in x.shape]
        stops = [
            int(self.random.integers(a + 1, n + 1)) for a, n in zip(starts, x.shape, strict=True)
        ]
        steps = self.random.integers(1, 3, x.ndim).tolist()
        return apply(s.SLICE, x, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))

    def pad(self) -> Any:
        x = self.pick()
        low, high = (tuple(self.random.integers(0, 3, x.ndim).tolist()) for _ in range(2))
        gaps = tuple(self.random.integers(0, 2, x.ndim).tolist())
        return apply(s.PAD, x, low=low, high=high, interior=gaps)

    def reshape(self) -> Any:
        x = self.pick()
        shapes = [(x.size,), (1, x.size), (x.size, 1)]
        shapes += [(d, x.size // d) for d in (2, 3, 4, 5) if x.size % d == 0]
        return apply(s.RESHAPE, x, shape=self.one_of(shapes))

    def flip(self) -> Any:
        x = self.pick()
        return apply(s.FLIP, x, axes=(int(self.random.integers(x.ndim)),)) if x.ndim else None

    def expand(self) -> Any:
        x = self.pick()
        return apply(s.EXPAND, x, shape=(3, *x.shape)) if x.size < 200 else None

    def concat(self) -> Any:
        x = self.pick()
        return (
            apply(s.CONCAT, x, x * 2.0, axis=int(self.random.integers(x.ndim))) if x.ndim else None
        )

    def multiply(self) -> Any:
        fitting = []
        for a in self.pool:
            for b in self.pool:
                fitting += [
                    (a, b, *flags) for flags in np.ndindex(2, 2) if _multiplies(a, b, *flags)
                ]
        if not fitting:
            return None
        a, b, ta, tb = self.one_of(fitting)
        return apply(p.MATMUL, a, b, ta=bool(ta), tb=bool(tb)) * 0.2

    def indexed(self) -> Any:
        x = self.pick()
        if not x.ndim or not x.size:
            return None
        axis = int(self.random.integers(x.ndim))
        length = x.shape[axis]
        size = ops.constant(length, cr.int64)
        where = apply(e.SUB, self.index, apply(e.MUL, apply(e.FLOOR_DIV, self.index, size), size))
        kind = self.random.integers(4)
        if kind == 0:
            return apply(i.TAKE, x, where, axis=axis)
        if kind == 1:
            taken = apply(i.TAKE, x, where, axis=axis)
            return apply(i.TAKE_ADD, taken, where, axis=axis, size=length)
        if kind == 2:
            return apply(e.CAST, apply(r.ARGMAX, x, axis=axis, keepdims=True), dtype=cr.float32)
        line = tuple(6 if k == axis else 1 for k in range(x.ndim))
        full = tuple(6 if k == axis else n for k, n in enumerate(x.shape))
        grid = apply(s.EXPAND, apply(s.RESHAPE, where, shape=line), shape=full)
        gathered = apply(i.GATHER, x, grid, axis=axis)
        return apply(i.SCATTER_ADD, gathered, grid, axis=axis, size=length)

    def grow(self) -> None:
        """Add one node, or none where the chosen op does not fit."""
        makers = (self.unary, self.unary, self.unary, self.binary, self.binary, self.binary)
        makers += (self.choose, self.reduce, self.permute, self.slice, self.pad, self.reshape)
        makers += (self.flip, self.expand, self.multiply, self.concat, self.indexed)
        try:
            made = self.one_of(makers)()
        except ShapeError:
            return
        if made is not None and made.size <= LARGEST:
            self.pool.append(made)


def _multiplies(a: Any, b: Any, ta: int, tb: int) -> bool:
    if a.ndim < 2 or b.ndim < 2:
        return False
    inner = a.shape[-2] if ta else a.shape[-1]
    same = inner == (b.shape[-1] if tb else b.shape[-2])
    return same and (a.ndim == 2 or b.ndim == 2 or a.shape[:-2] == b.shape[:-2])


def random_graph(seed: int) -> tuple[Graph, list[np.ndarray[Any, Any]]]:
    """A random graph and arrays for its inputs; the same for a seed."""
    random = np.random.default_rng(seed)
    maker = _Maker(random)
    trace = Trace(Expr)
    STATE.trace = trace
    try:
        for _ in range(random.integers(1, 4)):
            shape = SHAPES[random.integers(len(SHAPES))]
            maker.pool.append(trace.placeholder(make_aval(shape, cr.float32)))
        inputs = [*maker.pool, trace.placeholder(make_aval((6,), cr.int64))]
        maker.index = inputs[-1]
        for _ in range(random.integers(3, 25)):
            maker.grow()
    finally:
        STATE.trace = None
    outputs = [maker.pool[-1]]
    outputs += [maker.one_of(maker.pool) for _ in range(random.integers(0, 3))]
    arrays = [
        random.standard_normal(node.shape).astype(np.float32)
        if node.dtype.is_float
        else random.integers(0, 100, node.shape)
        for node in inputs
    ]
    return Graph(tuple(inputs), tuple(outputs)), arrays


class Trained:
    """A training step of a model, traced for batches of some size."""

    def __init__(self, model: Any, optimizer: Any, loss: Callable[..., Any]) -> None:
        self.model, self.optimizer, self.loss = model, optimizer, loss

    def eager(self, x: Any, y: Any) -> float:
        """One step with NumPy."""
        return float(self._step(cr.tensor(x), cr.tensor(y)).item())

    def _step(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def trace(self, x: Any, y: Any) -> tuple[Any, Step]:
        """The trace, and the step as engines take it."""
        traced = cr.trace(self._step, cr.tensor(x), cr.tensor(y))
        new = {id(h): traced.results + k for k, h in enumerate(traced.rebound)}
        state = tuple(
            (traced.arguments + k, new.get(id(h), -1)) for k, h in enumerate(traced.captured)
        )
        first = traced.arguments + len(traced.captured)
        scalars = tuple(range(first, first + len(traced.getters)))
        return traced, Step(traced.graph, state, (0, 1), scalars, (0,))
