"""Matrix products in register tiles, with any elementwise body behind them.

Notation: C[m, n] = sum over k of A[m, k] B[k, n]. A tile is R rows by V vectors of C, held in
registers while k runs. Three forms:

broadcast  B has neighbours along n: a vector of B times one element of A, spread.
dot        A and B have neighbours along k: vectors of both, folded across lanes at the end.
blocked    anything else, and large products: blocks of both are copied (see ``blocked.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..emit.ir import Module
from ..emit.types import Value
from . import blocked, tiles
from .ahead import Ahead
from .broadcast import write_broadcast
from .common import Body, Kernel, Operand, numbered, parameters
from .dot import write_dot
from .tiles import Problem


def product(
    module: Module,
    *,
    n: int,
    a: Operand,
    b: Operand,
    outputs: Sequence[Operand],
    rows: int,
    depth: int,
    bias: Operand | None = None,
    operands: Sequence[Operand] = (),
    body: Body | None = None,
    ahead: Ahead | None = None,
    gathered: int = 0,
) -> Kernel:
    """Add a kernel for a matrix product whose result goes through a body.

    Args:
        module: where to add it.
        n: columns of C.
        a: strides along (m, k); float32 or float64.
        b: strides along (k, n), of the same type.
        outputs: strides along (m, n); an output may be the buffer of an operand of equal strides.
        rows: the m to expect, for choosing tiles; any m is right.
        depth: the k to expect; any k of at least 1 is right, but for the dot form, which takes no
            extent k and runs to exactly this depth.
        bias: what the sums start from, strides along (m, n) with 0 where it repeats.
        operands: what the body takes besides the product, strides along (m, n).
        body: ``body(e, c, *operands)`` returns one value for each output; None stores c.
        ahead: rows of the next batch to ask memory for; the blocked form does not.
        gathered: rows of a data array, of A's type and of ``depth`` columns, from which A is filled
            by index while it is first read; 0 where A is there. The dot form alone does it.

    Returns:
        The kernel: pointers a, b, bias if given, operands, outputs; ``source`` and ``indices``
        (int32) if it fills A; ``data`` and ``chosen`` if it asks ahead; scratch if any. Split along
        rows it takes the extent k (none in the dot form), along columns m and k.
    """
    problem = Problem(
        n, a, b, bias, tuple(operands), tuple(outputs), body or _keep, rows, depth, ahead
    )
    form = choose_form(problem)
    if form == "dot":
        problem = replace(problem, gathered=gathered)
    names = ["a", "b", *(["bias"] if bias else [])]
    names += [*numbered("in", len(operands)), *numbered("out", len(outputs))]
    if form == "blocked":
        return blocked.add(module, problem, names)
    names += ["source", "indices"] if problem.gathered else []
    names += ["data", "chosen"] if ahead else []
    if form == "dot":
        tile = tiles.choose_dot(module.target, problem)
        name = module.shared("dot", parameters(names, ()), lambda f: write_dot(f, problem, tile))
        return Kernel(name, tuple(names), (), "rows", tile.rows, form="dot", tile=tile.shape)
    tile = tiles.choose_broadcast(module.target, problem)
    by_columns = tiles.split_columns(problem, tile)
    extents = ("m", "k") if by_columns else ("k",)
    name = module.shared(
        "product",
        parameters(names, extents),
        lambda f: write_broadcast(f, problem, tile, by_columns),
    )
    axis, grain = ("columns", tile.columns) if by_columns else ("rows", tile.rows)
    return Kernel(name, tuple(names), extents, axis, grain, form="broadcast", tile=tile.shape)


def choose_form(problem: Problem) -> str:
    """``broadcast``, ``dot`` or ``blocked``, by layout and size."""
    sizes = problem.rows, problem.n, problem.depth
    if blocked.pays(sizes, problem.a, problem.b):
        return "blocked"
    along_k = problem.a.strides[1] == 1 and problem.b.strides[0] == 1
    if along_k and (problem.n == 1 or problem.b.strides[1] != 1):
        return "dot"
    return "broadcast" if problem.b.strides[1] == 1 or problem.n == 1 else "blocked"


def _keep(_: object, c: Value) -> Value:
    return c
