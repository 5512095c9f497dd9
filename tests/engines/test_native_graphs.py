"""The native engine against the meaning of each op: random graphs, shapes at the edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_graphs import random_graph

import chainrule as cr
from chainrule.engines import native
from chainrule.engines import numpy as reference
from chainrule.errors import DTypeError, EngineError, ShapeError
from chainrule.graph.graph import Graph
from chainrule.graph.node import INPUT, Node, Op, make_aval
from chainrule.ops.order import ARGSORT, CUMSUM


def close(a: Any, b: Any) -> None:
    """Equal to float32 rounding, measured against the largest element."""
    finite = np.abs(np.where(np.isfinite(a), a, 0))
    scale = max(1.0, float(finite.max())) if a.size else 1.0
    np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-4 * scale)


def check(graph: Graph, arrays: list[Any]) -> None:
    """Native equals NumPy, and two threads give the bits of one."""
    expected = reference.compile_graph(graph)(*arrays)
    one, two = (native.compile_graph(graph, threads=n)(*arrays) for n in (1, 2))
    for a, b, c in zip(expected, one, two, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        close(a, b)
        assert b.tobytes() == c.tobytes()


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_random_graphs(seed: int) -> None:
    check(*random_graph(seed))


def traced(function: Any, *arrays: Any) -> tuple[Graph, list[Any]]:
    tensors = [cr.tensor(array) for array in arrays]
    return cr.trace(function, *tensors).graph, [t.numpy() for t in tensors]


def draw(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 2, 7, 100])
@pytest.mark.parametrize("columns", [1, 3, 10, 16, 100, 300])
def test_softmax_and_its_sums(rows: int, columns: int) -> None:
    def function(x: Any) -> Any:
        y = cr.softmax(x, 1)
        return y, y.sum(), y.sum(0), y.max(1).values, y.argmax(1)

    check(*traced(function, draw(rows, columns)))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_arrays_without_elements(shape: tuple[int, ...]) -> None:
    check(*traced(lambda x: (x * 2, x.sum(), x.sum(0)), np.zeros(shape, np.float32)))


def test_products_of_nothing_are_zero() -> None:
    check(*traced(lambda a, b: a @ b, np.zeros((2, 0), np.float32), np.zeros((0, 3), np.float32)))


@pytest.mark.parametrize("n", [1, 5, 64, 1000])
def test_column_sums_of_several_shapes(n: int) -> None:
    check(*traced(lambda x: ((x * x).sum(0) + 1, x.sum(1), x.amax(0)), draw(9, n)))


def test_batched_products_and_transposes() -> None:
    def function(a: Any, b: Any) -> Any:
        c = a @ b
        return c.relu(), c.permute(0, 2, 1) @ a, (a @ b[0]).sum(0)

    check(*traced(function, draw(3, 4, 5), draw(3, 5, 6)))


def test_whole_numbers() -> None:
    def function(a: Any, b: Any) -> Any:
        return a @ b, a.sum(), a // 3, (a > 2).sum(), a.float() / 2

    rng = np.random.default_rng(0)
    check(*traced(function, rng.integers(-9, 9, (3, 4)), rng.integers(-9, 9, (4, 2))))


def test_float64_stays_float64() -> None:
    check(
        *traced(lambda x: (cr.softmax(x, 1), (x @ x.T).exp()), draw(5, 7).astype(np.float64) * 0.1)
    )


def test_nan_and_infinity_pass() -> None:
    x = np.array([[1, np.nan, 2], [np.inf, 3, -np.inf], [0, -0.0, 5]], np.float32)
    graph, arrays = traced(lambda x: (x.relu(), x.sum(1), x.amax(1), x.exp(), x * 0), x)
    expected = reference.compile_graph(graph)(*arrays)
    for a, b in zip(expected, native.compile_graph(graph)(*arrays), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5)


def test_random_words_are_those_of_numpy() -> None:
    def function(x: Any) -> Any:
        return cr.nn.functional.dropout(x, 0.4, training=True)

    cr.manual_seed(3)
    model = cr.nn.Dropout(0.4)
    graph_input = cr.ones(37, 11)
    made = cr.trace(lambda x: model(x), graph_input)
    arrays = [graph_input.numpy(), *(handle.node.value() for handle in made.captured)]
    arrays += [np.float64(getter()) for getter in made.getters]
    check(made.graph, arrays)
    assert function is not None


def test_an_output_may_be_an_input_or_stand_twice() -> None:
    check(*traced(lambda x: (x, x.T, x.T, x + 1, x), draw(3, 5)))


def test_refused_ops_are_named_with_their_place() -> None:
    odd = Op("fold_protein", infer=lambda x: x, array=lambda xp, x: x)
    x = Node(INPUT, (), {}, make_aval((3,), cr.float32))
    y = Node(odd, (x,), {}, x.aval, scope="encoder.layer1")
    with pytest.raises(EngineError, match=r'(?s)fold_protein.*encoder.layer1.*engine="numpy"'):
        native.compile_graph(Graph((x,), (y,)))


def test_wrong_arrays_are_refused() -> None:
    graph, _ = traced(lambda x: x + 1, draw(3))
    program = native.compile_graph(graph)
    with pytest.raises(ShapeError, match="takes 1 arrays but 2"):
        program(draw(3), draw(3))
    with pytest.raises(ShapeError, match="has shape"):
        program(draw(4))
    with pytest.raises(DTypeError, match="float32"):
        program(np.zeros(3))


def test_explain_and_ir_name_the_kernels() -> None:
    graph, _ = traced(lambda x: cr.softmax(x @ x.T, 1), draw(4, 4))
    program = native.compile_graph(graph)
    text = program.explain()
    for part in ("product 4x4 over 4", "row 4x4", "amax sub exp sum", "memory:", "compiled in"):
        assert part in text
    assert "define void @run" in program.llvm_ir()


ORDERED = [((7,), 0), ((4, 9), 0), ((3, 4, 5), 1), ((1,), 0)]
ORDERED += [
    ((33,), 0),
    ((2049,), 0),
    ((3, 1025), 1),
    ((65, 7), 0),
    ((2, 50, 3, 2), 1),
    ((1, 40, 9), 1),
]


@pytest.mark.parametrize(("shape", "axis"), ORDERED)
@pytest.mark.parametrize("dtype", [cr.float32, cr.int64, cr.uint8], ids=str)
def test_sorting_and_running_sums(shape: tuple[int, ...], axis: int, dtype: Any) -> None:
    values = np.random.default_rng(0).integers(0, 6, shape).astype(dtype.np)
    if dtype.is_float:
        values.ravel()[:: 5 if values.size < 60 else 60] = np.nan
    x = Node(INPUT, (), {}, make_aval(shape, dtype))
    outputs = [Node(CUMSUM, (x,), {"axis": axis}, x.aval)]
    for descending in (False, True):
        attrs = {"axis": axis, "descending": descending}
        outputs.append(Node(ARGSORT, (x,), attrs, make_aval(shape, cr.int64)))
    check(Graph((x,), tuple(outputs)), [values])
