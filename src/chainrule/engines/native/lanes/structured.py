"""The ops that bring elements together or move them, by lanes: one rule each, in :data:`RULES`.

Sums are added one element after the other in row-major order, whatever the width of vectors, so
that every processor with a fused multiply-add gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable

from ....graph.node import Node
from ..emit.memory import extract
from ..emit.shuffle import vector_of
from ..emit.types import Value
from ..kernels.bits import philox
from .cells import Flat, Memory
from .writer import Index, Writer

ROWS, COLUMNS = 4, 2  # a product's tile: with 16 registers, 8 sums and what they are made of
SUMS = 4  # sums that are made side by side


def _sum(w: Writer, node: Node) -> None:
    """The sum over axes."""
    _folded(w, node, w.zero(node), lambda total, x: w.e.add(total, x))


def _amax(w: Writer, node: Node) -> None:
    """The largest over axes; not-a-number where one is."""
    if node.dtype.is_float:
        least: float | int = float("-inf")
    else:
        least = -(1 << (8 * node.dtype.itemsize - 1)) if node.dtype.name[0] == "i" else 0
    _folded(w, node, w.zero(node, least), lambda most, x: w.e.max(most, x))


def _folded(w: Writer, node: Node, start: Value, combine: Callable[[Value, Value], Value]) -> None:
    x, axes = node.inputs[0], node.attrs["axes"]
    kept = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    reduced = [n if axis in axes else 1 for axis, n in enumerate(x.shape)]
    last = max((axis for axis, n in enumerate(kept) if n > 1), default=0)
    others = [1 if axis == last else n for axis, n in enumerate(kept)]

    def group(index: Index, first: Flat, width: int) -> None:
        places = [_at(index, last, w.plus(first, k)) for k in range(width)]

        def turn(inner: Index, totals: list[Value]) -> list[Value]:
            return [
                combine(total, w.value(x, _merged(place, inner, axes)))
                for total, place in zip(totals, places, strict=True)
            ]

        for place, total in zip(places, w.fold(reduced, [start] * width, turn), strict=True):
            w.keep(node, place, total)

    w.each(others, lambda index: w.tiled(kept[last], SUMS, lambda at, n: group(index, at, n)))


def _at(index: Index, axis: int, place: Flat) -> Index:
    return (*index[:axis], place, *index[axis + 1 :])


def _merged(kept: Index, inner: Index, axes: tuple[int, ...]) -> Index:
    return tuple(
        inside if axis in axes else outside
        for axis, (outside, inside) in enumerate(zip(kept, inner, strict=True))
    )


def _argmax(w: Writer, node: Node) -> None:
    """The first place of the largest; of not-a-number where one is."""
    x, axis, e = node.inputs[0], node.attrs["axis"], w.e
    kept = [1 if d == axis else n for d, n in enumerate(x.shape)]

    def one(index: Index) -> None:
        first = w.value(x, index)
        if x in w.varies:
            first = e.splat(first)

        def turn(inner: Index, carried: list[Value]) -> list[Value]:
            most, place = carried
            at = w.plus(inner[0], 1)
            new = w.value(x, _at(index, axis, at))
            number = w.function.i64(at)
            wrong = e.land(e.ne(new, new), e.eq(most, most))
            better = e.lor(e.gt(new, most), wrong) if x.dtype.is_float else e.gt(new, most)
            return [e.select(better, new, most), e.select(better, number, place)]

        _, place = w.fold([x.shape[axis] - 1], [first, w.zero(node)], turn)
        w.keep(node, index, place)

    w.each(kept, one)


def _matmul(w: Writer, node: Node) -> None:
    """The product of matrices, a tile of sums at a time along the depth."""
    left, right = node.inputs
    turned, other = node.attrs["ta"], node.attrs["tb"]
    depth = left.shape[-2 if turned else -1]

    def tile(lead: Index, row: Flat, rows: int, column: Flat, columns: int) -> None:
        down = [w.plus(row, k) for k in range(rows)]
        across = [w.plus(column, k) for k in range(columns)]

        def turn(inner: Index, totals: list[Value]) -> list[Value]:
            k = inner[0]
            ours = [w.value(left, _matrix(left, lead, (k, r) if turned else (r, k))) for r in down]
            theirs = [
                w.value(right, _matrix(right, lead, (c, k) if other else (k, c))) for c in across
            ]
            pairs = [(a, b) for a in ours for b in theirs]
            return [w.e.fma(a, b, total) for (a, b), total in zip(pairs, totals, strict=True)]

        totals = w.fold([depth], [w.zero(node)] * (rows * columns), turn)
        places = [(r, c) for r in down for c in across]
        for (r, c), total in zip(places, totals, strict=True):
            w.keep(node, (*lead, r, c), total)

    def rows_of(lead: Index, row: Flat, rows: int) -> None:
        w.tiled(node.shape[-1], COLUMNS, lambda column, n: tile(lead, row, rows, column, n))

    w.each(
        node.shape[:-2],
        lambda lead: w.tiled(node.shape[-2], ROWS, lambda row, n: rows_of(lead, row, n)),
    )


def _matrix(x: Node, lead: Index, place: Index) -> Index:
    """A place in one matrix of a stack; stacks of one serve all."""
    skipped = len(lead) - (x.ndim - 2)
    outer = lead[skipped:]
    return (*(0 if n == 1 else at for n, at in zip(x.shape[:-2], outer, strict=True)), *place)


def _bounded(w: Writer, index: Value, size: int) -> Value:
    """An index that counts from the end where it is below 0, held to the places there are."""
    e = w.e
    number = e.cast_to(index, "int64")
    number = e.select(e.lt(number, 0), e.add(number, size), number)
    return e.min(e.max(number, 0), size - 1)


def _take(w: Writer, node: Node) -> None:
    """Rows of a matrix by a vector of indices."""
    x, indices = node.inputs

    def one(at: Index) -> None:
        row = _bounded(w, w.value(indices, at), x.shape[0])
        taken = _by_lane if row.lanes else _row_of
        w.each((x.shape[1],), lambda c: w.keep(node, (*at, *c), taken(w, x, row, c[0])))

    w.each((indices.shape[0],), one)


def _row_of(w: Writer, x: Node, row: Value, column: Flat) -> Value:
    """x[row, column] with one row for all lanes."""
    return w.value(x, (row, column))


def _by_lane(w: Writer, x: Node, row: Value, column: Flat) -> Value:
    """x[row, column] with a row of its own in each lane."""
    chosen = []
    for lane in range(w.lanes):
        value = w.value(x, (extract(w.e, row, lane), column))
        chosen.append(extract(w.e, value, lane) if value.lanes else value)
    return vector_of(w.e, chosen, w.lanes)


def _take_add(w: Writer, node: Node) -> None:
    """Rows added to a matrix of zeros at the places of a vector of indices, in their order."""
    g, indices = node.inputs
    size, columns = node.shape
    e, cells = w.e, w.cells[node]
    w.each(node.shape, lambda index: w.keep(node, index, w.zero(node)))

    def add(at: Index, column: Index, row: Value) -> None:
        value = w.value(g, (*at, *column))
        if not row.lanes:
            flat = w.flat((row, *column), (columns, 1))
            cells.set(e, flat, e.add(cells.get(e, flat), value))
        else:
            rows = [extract(e, row, lane) for lane in range(w.lanes)]
            _add_by_lane(w, cells, [w.flat((r, *column), (columns, 1)) for r in rows], value)

    def one(at: Index) -> None:
        row = _bounded(w, w.value(indices, at), size)
        w.each((columns,), lambda column: add(at, column, row))

    w.each((indices.shape[0],), one)


def _add_by_lane(w: Writer, cells: Memory, places: list[Flat], value: Value) -> None:
    """Add each lane's number at a place of its own."""
    e = w.e
    for lane, place in enumerate(places):
        one = extract(e, value, lane) if value.lanes else value
        address = w.function.offset(cells.address(e, place), lane * one.type.bytes)
        before = w.function.load(address, one.type)
        w.function.store(e.add(before, one), address)


def _random_bits(w: Writer, node: Node) -> None:
    """Philox's words: element i is word i % 4 of block counter + i // 4."""
    key, counter = node.inputs
    e, cells = w.e, w.cells[node]
    words = [w.value(key, (k,)) for k in range(2)]
    begin = w.value(counter, ())

    def block(at: Flat, count: int) -> None:
        number = e.add(begin, w.function.i64(at)) if at != 0 else begin
        made = philox(e, words, number)
        for k in range(count):
            cells.set(e, w.plus(w.times(at, 4), k), made[k])

    whole, rest = divmod(node.size, 4)
    w.each((whole,), lambda index: block(index[0], 4))
    if rest:
        block(whole, rest)


def _concat(w: Writer, node: Node) -> None:
    """Parts one after the other along an axis."""
    axis, start = node.attrs["axis"], 0
    for part in node.inputs:
        _copied(w, node, part, tuple(start if d == axis else 0 for d in range(node.ndim)), None)
        start += part.shape[axis]


def _pad(w: Writer, node: Node) -> None:
    """Zeros around and between."""
    w.each(node.shape, lambda index: w.keep(node, index, w.zero(node)))
    steps = tuple(gap + 1 for gap in node.attrs["interior"])
    _copied(w, node, node.inputs[0], node.attrs["low"], steps)


def _copied(
    w: Writer, node: Node, part: Node, starts: tuple[int, ...], steps: tuple[int, ...] | None
) -> None:
    along = steps or (1,) * node.ndim

    def one(index: Index) -> None:
        moved = tuple(
            w.plus(w.times(at, step), start)
            for at, step, start in zip(index, along, starts, strict=True)
        )
        w.keep(node, moved, w.value(part, index))

    w.each(part.shape, one)


def _check_index(w: Writer, node: Node) -> None:
    """Whether an index is outside of its axis, and which."""
    index, e = node.inputs[0], w.e

    def turn(place: Index, carried: list[Value]) -> list[Value]:
        flag, bad = carried
        number = e.cast_to(w.value(index, place), "int64")
        wrong = e.lor(e.lt(number, 0), e.ge(number, node.attrs["size"]))
        return [e.select(wrong, 1, flag), e.select(wrong, number, bad)]

    found = w.fold(index.shape, [w.zero(node)] * 2, turn)
    for place, value in enumerate(found):
        w.keep(node, (place,), value)


RULES: dict[str, Callable[[Writer, Node], None]] = {
    "sum": _sum,
    "amax": _amax,
    "argmax": _argmax,
    "matmul": _matmul,
    "take": _take,
    "take_add": _take_add,
    "random_bits": _random_bits,
    "concat": _concat,
    "pad": _pad,
    "check_index": _check_index,
}


def write_node(w: Writer, node: Node) -> None:
    """Write all elements of a node that is kept."""
    if 0 in node.shape:
        return
    rule = RULES.get(node.op.name)
    if rule is not None:
        rule(w, node)
        return
    w.each(node.shape, lambda index: w.keep(node, index, w.compute(node, index)))
