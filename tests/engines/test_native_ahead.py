"""Batches that products gather as they read them, and ask memory for a step ahead."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from native_graphs import Trained
from native_harness import HOST, TARGETS, Compiled

import chainrule as cr
from chainrule import nn, optim
from chainrule.dtypes import float32
from chainrule.engines import native
from chainrule.engines.native.kernels.ahead import Ahead
from chainrule.engines.native.kernels.common import Operand
from chainrule.engines.native.kernels.product import product

BATCH, ROW, LINE = 100, 3136, 64
EXAMPLES = 400
# (rows, columns, depth, whether A and B are stored turned over, split axis)
PRODUCTS = {
    "layer": ((100, 100, 784), (False, True), "rows"),
    "few classes": ((100, 10, 784), (False, True), "rows"),
    "gradient": ((100, 784, 100), (True, False), "rows"),
    "gradient of few": ((10, 784, 100), (True, False), "columns"),
    "uneven": ((97, 61, 90), (False, False), "rows"),
}


def marked(text: str) -> str:
    """The text of a kernel that marks with a byte what it would have asked for."""
    return re.sub(r"call void @llvm.prefetch.p0\(ptr ([^,]+),[^)]*\)", r"store i8 1, ptr \1", text)


def asked(name: str, first: int, last: int, target: Any, part: float, chosen: Any) -> Any:
    """Which lines of the data a product asks for: bool[examples, lines]."""
    (m, n, k), (turned_a, turned_b), axis = PRODUCTS[name]
    ratios = [(1, 1) if extent == BATCH else (BATCH, extent) for extent in (m, n)]
    compiled = Compiled(
        lambda module: product(
            module,
            n=n,
            a=Operand(float32, (1, m) if turned_a else (k, 1)),
            b=Operand(float32, (1, k) if turned_b else (n, 1)),
            outputs=[Operand(float32, (n, 1))],
            rows=m,
            depth=k,
            ahead=Ahead(ROW, first, last, *ratios),
        ),
        target,
        marked,
    )
    assert compiled.kernel.axis == axis
    whole = n if axis == "columns" else m
    extents = [{"m": m, "k": k}[each] for each in compiled.kernel.extents]
    matrices = [np.ones(size, np.float32) for size in (m * k, k * n, m * n)]
    data = np.zeros((EXAMPLES + 1, ROW), np.uint8)
    found = compiled([*matrices, data, chosen], int(whole * part), extents)
    np.testing.assert_array_equal(found[2].reshape(m, n)[: int(m * part), : int(n * part)], k)
    return found[3][:-1].reshape(EXAMPLES, ROW // LINE, LINE).any(2)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_the_rows_of_the_next_batch_are_asked_for_and_hardly_any_others(
    name: str, target: str
) -> None:
    chosen = np.random.default_rng(0).permutation(EXAMPLES)[:BATCH].astype(np.int32)
    lines = asked(name, 0, ROW, TARGETS[target], 1.0, chosen)
    assert lines[chosen].mean() > 0.9
    others = np.setdiff1d(np.arange(EXAMPLES), chosen)
    assert lines[others].mean() < 0.03


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_thread_asks_for_the_rows_that_it_will_gather(name: str) -> None:
    chosen = np.random.default_rng(0).permutation(EXAMPLES)[:BATCH].astype(np.int32)
    lines = asked(name, 0, ROW, HOST, 0.5, chosen)
    half = BATCH // 2
    assert lines[chosen[: half - 2]].mean() > 0.9
    assert lines[chosen[half + 3 :]].mean() < 0.03


def test_a_product_asks_for_its_part_of_each_row() -> None:
    chosen = np.random.default_rng(0).permutation(EXAMPLES)[:BATCH].astype(np.int32)
    lines = asked("layer", 20 * LINE, 30 * LINE, HOST, 1.0, chosen)
    assert lines[chosen, 20:30].mean() > 0.9
    assert lines[chosen, :20].mean() + lines[chosen, 31:].mean() < 0.05


def data(rows: int, dtype: Any = np.float32) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 400)) * 40
    return x.astype(dtype), rng.integers(0, 5, rows)


PLAN = np.array([0, 0, 1, 0, 0, 0, 1, 1], np.int32)
SIZES = (100, 30)


def compiled(arrays: Any, threads: int | None = None) -> tuple[Any, Any]:
    cr.manual_seed(1)
    model = nn.Sequential(nn.Linear(400, 40), nn.ReLU(), nn.Linear(40, 5))
    rule = optim.Adam(model.parameters(), lr=0.01)
    work = Trained(model, rule, nn.CrossEntropyLoss())
    traces = [work.trace(arrays[0][:n].astype(np.float32), arrays[1][:n]) for n in SIZES]
    loop = native.compile_loop([step for _, step in traces], arrays, threads=threads)
    for number, handle in enumerate(traces[0][0].captured):
        loop.write(number, handle.node.value())
    return loop, [getter() for getter in traces[0][0].getters]


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_batches_asked_for_ahead_give_the_bits_of_single_steps(dtype: Any) -> None:
    """Steps run one by one have no next batch; threads ask for their own rows only."""
    arrays = data(4000, dtype)
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 4000, sum(SIZES[k] for k in PLAN)).astype(np.int32)
    found = []
    for threads in (1, 2, 3):
        loop, numbers = compiled(arrays, threads)
        assert "next batch asked for" in loop.explain()
        report = loop.run(rows, PLAN, numbers)
        found.append((report.tobytes(), [loop.read(k).tobytes() for k in range(4)]))
    loop, numbers = compiled(arrays, 1)
    ends = np.cumsum([0, *(SIZES[k] for k in PLAN)])
    pieces = [
        loop.run(rows[a:b].copy(), PLAN[k : k + 1], numbers)
        for k, (a, b) in enumerate(itertools.pairwise(ends))
    ]
    found.append((np.concatenate(pieces).tobytes(), [loop.read(k).tobytes() for k in range(4)]))
    assert all(each == found[0] for each in found)


def test_a_batch_gathered_by_a_product_gives_the_bits_of_one_gathered_before() -> None:
    """A data set of one batch is near, and gathered by a task of its own."""
    x, y = data(4000)
    rows = np.random.default_rng(5).integers(0, 4000, 100).astype(np.int32)
    found = []
    for arrays, chosen in (((x, y), rows), ((x[rows], y[rows]), np.arange(100, dtype=np.int32))):
        loop, numbers = compiled(arrays, 2)
        assert ("batch gathered by it" in loop.explain()) == (len(arrays[0]) == 4000)
        report = loop.run(np.concatenate([chosen, chosen]), np.zeros(2, np.int32), numbers)
        found.append((report.tobytes(), [loop.read(k).tobytes() for k in range(4)]))
    assert found[0] == found[1]


def test_a_batch_of_another_dtype_is_gathered_by_a_task_that_converts_it() -> None:
    loop, _ = compiled(data(4000, np.uint8))
    assert "gathered by it" not in loop.explain()
    assert "gather 100 rows of 400" in loop.explain()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", [(100, 10, 784), (7, 3, 13), (33, 41, 50), (1, 1, 5)])
@pytest.mark.parametrize("long", [False, True])
def test_products_fill_their_left_factor_with_rows_of_data(
    size: tuple[int, int, int], target: str, long: bool
) -> None:
    m, n, k = size
    rng = np.random.default_rng(1)
    source, b = rng.standard_normal((60, k)), rng.standard_normal((n, k))
    chosen = rng.integers(0, 60, m).astype(np.int32)

    def body(e: Any, c: Any) -> Any:
        for _ in range(10 if long else 1):
            c = e.div(e.mul(c, 0.9), e.add(e.abs(c), 1.0))
        return c

    def run(gathered: int, left: Any, *more: Any) -> list[Any]:
        compiled = Compiled(
            lambda module: product(
                module,
                n=n,
                a=Operand(float32, (k, 1)),
                b=Operand(float32, (1, k)),
                outputs=[Operand(float32, (n, 1))],
                rows=m,
                depth=k,
                body=body,
                gathered=gathered,
            ),
            TARGETS[target],
        )
        arrays = [left, b.astype("f4"), np.full((m, n), np.nan, np.float32), *more]
        return compiled(arrays, m, splits=[m // 3])

    given = run(0, source.astype("f4")[chosen])
    filled = run(60, np.full((m, k), np.nan, np.float32), source.astype("f4"), chosen)
    assert filled[0].tobytes() == given[0].tobytes()
    assert filled[2].tobytes() == given[2].tobytes()


def test_data_that_lie_near_are_not_asked_for() -> None:
    loop, _ = compiled(data(200))
    assert "asked for" not in loop.explain()
