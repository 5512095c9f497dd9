"""Long bodies behind a product: over sums in a buffer, a vector at a time, in a function of their
own.

Written behind the inner loop itself, what a body needs in each turn (constants, pointers) would be
kept in registers through that loop, which has none to spare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..emit.body import Emitter
from ..emit.ir import Function
from ..emit.types import INT64, PTR, Type, Value, of
from .common import Span
from .tiles import Ending, Problem


@dataclass(frozen=True)
class Block:
    """Sums that lie in a buffer.

    Attributes:
        sums: the buffer.
        width: elements from one row to the next.
        row, rows: the first row of C that they belong to, and how many.
        column: their first column.
        pieces: the vectors of a row.
    """

    sums: Value
    width: int
    row: Value
    rows: Value | int
    column: Value | int
    pieces: Sequence[Span]


def finish(function: Function, ending: Ending, block: Block, *, add_bias: bool = False) -> None:
    """Write what sends a block through the body.

    Args:
        function: where to write.
        ending: the body.
        block: the sums.
        add_bias: whether the sums did not start from the bias.
    """
    if any(span.mask is not None for span in block.pieces):
        # A mask is known in this function only.
        _lines(function, ending, block, add_bias)
        return
    problem, pointers = ending.problem, ending.bound.pointers
    params: list[tuple[str, Type]] = [("sums", PTR)]
    params += [(name, INT64) for name in ("row", "rows", "column")]
    params += [(f"p{number}", PTR) for number in range(len(pointers))]

    def write(inner: Function) -> None:
        sums, row, rows, column, *places = inner.params
        here = replace(block, sums=sums, row=row, rows=rows, column=column)
        _lines(inner, Ending(inner, problem, places), here, add_bias)
        inner.ret()

    name = function.module.shared("ending", params, write)
    numbers = [function.i64(each) for each in (block.row, block.rows, block.column)]
    function.call(name, [block.sums, *numbers, *pointers])


def _lines(function: Function, ending: Ending, block: Block, add_bias: bool) -> None:
    problem: Problem = ending.problem
    type, lanes = of(problem.dtype), function.target.lanes(problem.dtype)

    def visit(r: Value, start: Value | int, span: Span) -> None:
        place = function.add(function.mul(r, block.width), start)
        ending.begin(function.add(block.row, r), function.add(block.column, start))
        at = function.offset(block.sums, place, type.element)
        e, here = Emitter(function, span.lanes), replace(span, start=0)
        c = function.load(at, type.with_lanes(span.lanes))
        if add_bias:
            c = e.add(c, ending.start(e, 0, here))
        ending.finish(e, c, 0, here)

    full = [span for span in block.pieces if span.part is None and span.lanes == lanes]

    def line(r: Value, _: list[Value]) -> None:
        if full:
            end = len(full) * lanes
            function.loop(0, end, lanes, [], lambda at, _: visit(r, at, full[0]))
        for span in block.pieces[len(full) :]:
            visit(r, span.start, span)

    function.loop(0, block.rows, 1, [], line)
