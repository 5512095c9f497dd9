"""The stages between a graph and its kernels: rewrites, views, fusion, schedule, memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_graphs import Trained, random_graph

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines import native
from chainrule.engines import numpy as reference
from chainrule.engines.native.kernels.common import Kernel
from chainrule.engines.native.lower.buffers import Buffer
from chainrule.engines.native.lower.fuse import fuse
from chainrule.engines.native.lower.memory import place
from chainrule.engines.native.lower.plan import prepare
from chainrule.engines.native.lower.rewrites import REWRITES
from chainrule.engines.native.lower.schedule import phases
from chainrule.engines.native.lower.simplify import simplify
from chainrule.engines.native.lower.support import FORMS, SUPPORT
from chainrule.engines.native.lower.tasks import Argument, Task
from chainrule.engines.native.lower.views import dense, reshaped
from chainrule.graph.graph import Graph


def graph_of(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Graph:
    return cr.trace(function, *(cr.ones(*shape) for shape in shapes)).graph


def simplified(function: Callable[..., Any], *shapes: tuple[int, ...]) -> str:
    graph, _ = simplify(graph_of(function, *shapes))
    graph.verify()
    names = [node.op.name for node in graph.nodes() if node.inputs]
    return " ".join(names)


# -- rewrites ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("function", "left"),
    [
        (lambda x: x.neg().neg(), ""),
        (lambda x: x * 1.0, ""),
        (lambda x: x * -1.0, "neg"),
        (lambda x: x - 0.0, ""),
        (lambda x: x / 4.0, "mul"),
        (lambda x: x / 3.0, "div"),
        (lambda x: x**2, "mul"),
        (lambda x: x.permute(1, 0).permute(1, 0), ""),
        (lambda x: x.reshape(12).reshape(3, 4), ""),
        (lambda x: x.detach() + x, "add"),
        (lambda x: x.double().float(), ""),
        (lambda x: (x + 1).exp() + (x + 1).exp(), "add exp add"),
        (lambda x: x.permute(1, 0) @ x, "matmul"),
        (lambda x: (x @ x.permute(1, 0)).permute(1, 0), "matmul"),
        (lambda x: x.sum(), "sum reshape"),
    ],
)
def test_rewrites_leave_the_simplest_graph(function: Any, left: str) -> None:
    found = simplified(function, (3, 4))
    assert found == left


def test_reading_one_element_a_row_is_a_masked_sum() -> None:
    index = cr.tensor([[1], [0]])
    assert simplified(lambda x: (x * 2).gather(1, index), (2, 3)) == "eq mul where sum check_index"


def test_each_rewrite_says_its_identity_and_is_used_once() -> None:
    every = {rewrite for rewrites in REWRITES.values() for rewrite in rewrites}
    assert all(rewrite.__doc__ and rewrite.__doc__.strip().endswith(".") for rewrite in every)
    assert set(REWRITES) - {"*"} <= set(SUPPORT)


@given(st.integers(0, 2**32 - 1))
def test_simplified_graphs_mean_the_same(seed: int) -> None:
    graph, arrays = random_graph(seed)
    simple, _ = simplify(graph)
    simple.verify()
    expected = reference.compile_graph(graph)(*arrays)
    found = reference.compile_graph(simple)(*arrays)[: len(expected)]  # behind them are checks
    for a, b in zip(expected, found, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(a).max(initial=0)))


def test_every_op_has_a_known_form() -> None:
    assert {op.name for op in cr.ops.ALL} <= set(SUPPORT)
    assert set(SUPPORT.values()) == set(FORMS)


# -- views ---------------------------------------------------------------------------------------
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_reshaped_strides_are_those_of_numpy(shape: list[int], random: Any) -> None:
    order = list(range(len(shape)))
    random.shuffle(order)
    array = np.arange(np.prod(shape)).reshape(shape).transpose(order)
    size = int(array.size)
    divisor = random.choice([d for d in range(1, size + 1) if size % d == 0])
    new = random.choice([(size,), (divisor, size // divisor), (1, size, 1)])
    strides = tuple(step // array.itemsize for step in array.strides)
    found = reshaped(array.shape, strides, new)
    view = array.view()
    try:
        view.shape = new
    except AttributeError:
        assert found is None
        return
    assert found is not None
    spread = np.lib.stride_tricks.as_strided(array, new, [s * array.itemsize for s in found])
    np.testing.assert_array_equal(spread, view)


def test_reshape_of_a_permuted_array_is_copied() -> None:
    graph = graph_of(lambda x: x.permute(1, 0).reshape(12) * 2, (3, 4))
    prepared, _ = prepare(graph, {0})
    assert [n.op.name for n in prepared.nodes() if n.inputs].count("copy") == 1


# -- fusion --------------------------------------------------------------------------------------
def kinds(function: Callable[..., Any], *shapes: tuple[int, ...]) -> list[str]:
    graph = graph_of(function, *shapes)
    prepared, _ = prepare(graph, set(range(len(graph.outputs))))
    return [cluster.kind for cluster in fuse(prepared).clusters()]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: ((x * 2 + 1).exp() / 3).tanh(), ["map"]),
        (lambda x: (x @ x.permute(1, 0) + 1).relu(), ["product"]),
        (lambda x: cr.softmax(x, 1), ["row"]),
        (lambda x: (cr.softmax(x, 1), cr.log_softmax(x, 1)), ["row"]),
        (lambda x: (x * x).sum(0) * 2 + 1, ["column"]),
        (lambda x: (x * x).sum() * 2, ["whole", "scalar"]),
        (lambda x: x.relu() @ x.permute(1, 0).exp(), ["map", "map", "product"]),
        (lambda x: x.sum((0, 1), True) - x, ["map", "whole"]),
    ],
)
def test_what_is_fused(function: Any, expected: list[str]) -> None:
    assert sorted(kinds(function, (6, 5))) == sorted(expected)


def test_cross_entropy_and_its_derivative_are_one_row_program() -> None:
    layer = nn.Linear(5, 4)
    work = Trained(layer, optim.SGD(layer.parameters(), lr=0.1), nn.CrossEntropyLoss())
    _, step = work.trace(np.ones((8, 5), np.float32), np.zeros(8, np.int64))
    prepared, _ = prepare(step.graph, {output for _, output in step.state})
    found = fuse(prepared).clusters()
    rows = [cluster for cluster in found if cluster.kind == "row"]
    assert len(rows) == 1 and {"amax", "exp", "log", "div"} <= {n.op.name for n in rows[0].axes}
    products = [cluster for cluster in found if cluster.kind == "product"]
    assert [len(cluster.axes) for cluster in products] == [2, 3]  # with bias; with the update


def test_clusters_never_wait_for_each_other() -> None:
    """x feeds a reduction whose result meets x again: they cannot be one elementwise kernel."""

    def function(x: Any) -> Any:
        y = x.exp()
        return y - y.sum()

    assert sorted(kinds(function, (30,))) == ["map", "map", "whole"]


# -- schedule ------------------------------------------------------------------------------------
def task(
    label: str, reads: list[tuple[Buffer, int]], writes: list[tuple[Buffer, int]], length: int = 8
) -> Task:
    kernel = Kernel(label, (), (), "rows")
    arguments = [Argument(b, 0, split, (), ((1, 4),)) for b, split in reads]
    arguments += [Argument(b, 0, split, (), ((1, 4),), True, False) for b, split in writes]
    return Task(label, kernel, arguments, (), length)


def test_a_barrier_stands_only_where_rows_meet_other_rows() -> None:
    x, y, z, w = (Buffer(name, (8, 4), cr.float32, (4, 1)) for name in "xyzw")
    chain = [task("a", [(x, 4)], [(y, 4)]), task("b", [(y, 4)], [(z, 4)])]
    mixed = task("c", [(z, 0)], [(w, 4)])
    found = phases([*chain, mixed])
    assert [[each.label for each in phase] for phase in found] == [["a", "b"], ["c"]]


def test_a_writer_waits_for_earlier_readers() -> None:
    x, y = (Buffer(name, (8, 4), cr.float32, (4, 1)) for name in "xy")
    found = phases([task("read", [(x, 0)], [(y, 4)]), task("write", [], [(x, 4)])])
    assert len(found) == 2


# -- memory --------------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 9), st.integers(0, 5)), max_size=30))
def test_arrays_in_use_at_the_same_time_do_not_overlap(drawn: list[tuple[int, int, int]]) -> None:
    buffers = []
    for size, first, length in drawn:
        buffer = Buffer("b", (size,), cr.float32, (1,))
        buffer.first, buffer.last = first, first + length
        buffers.append(buffer)
    end = place(buffers, 128)
    for number, a in enumerate(buffers):
        assert a.offset >= 128 and a.offset % 64 == 0 and a.offset + a.bytes <= end
        for b in buffers[:number]:
            apart = a.last < b.first or b.last < a.first
            assert apart or a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset


def test_memory_of_a_chain_is_reused() -> None:
    def function(x: Any) -> Any:
        for _ in range(12):
            x = (x @ x).tanh()
        return x

    graph = graph_of(function, (32, 32))
    layout = native.compile_graph(graph, threads=1)._built.layout
    assert layout.steps == 2 * 32 * 32 * 4 < layout.unshared


def test_row_major_strides() -> None:
    assert dense(()) == () and dense((4,)) == (1,) and dense((2, 0, 3)) == (0, 3, 1)


# -- values computed anew, sums side by side -----------------------------------------------------
def test_normalised_values_are_computed_by_each_reader_and_sums_share_a_pass() -> None:
    """Batch norm over many rows: neither the centred nor the scaled values are stored."""

    def function(x: Any, w: Any) -> Any:
        apart = x - x.mean(0, True)
        scaled = apart / ((apart * apart).mean(0, True) + 1e-5).sqrt()
        return (scaled * w).sum(0), (scaled * x).sum(0), scaled.relu()

    x = np.random.default_rng(0).standard_normal((5000, 17)).astype(np.float32)
    w = np.linspace(0.5, 2, 17, dtype=np.float32)
    graph = cr.trace(function, cr.tensor(x), cr.tensor(w)).graph
    clusters = fuse(prepare(graph, set())[0]).clusters()
    assert sorted(cluster.kind for cluster in clusters) == ["column", "column", "column", "map"]
    one, two = (native.compile_graph(graph, threads=n)(x, w) for n in (1, 2))
    for a, b, c in zip(reference.compile_graph(graph)(x, w), one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=2e-3)
        assert b.tobytes() == c.tobytes()


def test_sums_that_wait_for_each_other_stay_apart() -> None:
    def function(x: Any) -> Any:
        total = x.sum(0, True)
        return total, (x * total).sum(0, True)

    graph = cr.trace(function, cr.ones(3000, 40)).graph
    clusters = fuse(prepare(graph, set())[0]).clusters()
    assert [cluster.kind for cluster in clusters] == ["column", "column"]


def test_the_distance_from_a_mean_is_computed_by_its_readers() -> None:
    """It is stored nowhere, so that no thread waits for it."""

    def normalised(x: Any) -> Any:
        apart = x - x.mean(0, keepdim=True)
        return apart / ((apart * apart).mean(0, keepdim=True) + 1e-5).sqrt()

    x = np.random.default_rng(0).standard_normal((128, 64)).astype(np.float32)
    program = native.compile_graph(cr.trace(normalised, cr.tensor(x)).graph)
    assert " [sub] -> " not in program.explain()
    np.testing.assert_allclose(program(x)[0], normalised(cr.tensor(x)).numpy(), atol=1e-5)
