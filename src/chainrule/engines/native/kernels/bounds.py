"""Looking for indices that are outside of the axis they choose from."""

from __future__ import annotations

from collections.abc import Sequence

from ..emit.body import Emitter
from ..emit.ir import Function, Module
from ..emit.types import INT64, Value, literal, of
from .common import Bound, Kernel, Operand, parameters
from .elementwise import merged


def check_bounds(module: Module, *, inner: Sequence[int], index: Operand) -> Kernel:
    """Add a kernel that notes an index below 0, or not below a size.

    Args:
        module: where to add it.
        inner: extents of the index's axes after the first; the first, rows, is given at run time.
        index: whole numbers, strides along the axes.

    Returns:
        The kernel: pointers index, note (two int64), word (int64); extent size; split along rows. A
        bad index sets the first of the note and the word to 1, and the second of the note to
        itself: with several any of them.
    """
    names, extents = ["index", "note", "word"], ["size"]
    domain = merged(tuple(inner), [index.strides])

    def write(function: Function) -> None:
        source, note, word, size, start, stop = function.params
        bound = Bound(function, [Operand(index.dtype, domain.strides[0])], [source])
        e = Emitter(function, 0)

        def visit(place: list[Value | int]) -> None:
            raw = e.cast_to(function.load(bound.at(0, place), of(index.dtype)), "int64")
            bad = e.lor(e.lt(raw, 0), e.ge(raw, size))

            def tell() -> None:
                one = literal(1, INT64)
                function.store(one, note)
                function.store(raw, note, 1)
                function.store(one, word)

            function.when(bad, tell)

        def level(place: list[Value | int]) -> None:
            if len(place) > len(domain.inner):
                visit(place)
                return
            low, high = (0, domain.inner[len(place) - 1]) if place else rows
            function.loop(low, high, 1, [], lambda at, _: level([*place, at]), guard=True)

        rows = (function.mul(start, domain.factor), function.mul(stop, domain.factor))
        level([])
        function.ret()

    name = module.shared("bounds", parameters(names, extents), write)
    return Kernel(name, tuple(names), tuple(extents), "rows")
