"""Products against NumPy in float64: forms, layouts, tails, bodies, splits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_harness import HOST, TARGETS, Compiled

from chainrule.dtypes import float32, float64
from chainrule.engines.native.kernels.common import Operand
from chainrule.engines.native.kernels.product import product

RNG = np.random.default_rng(6)
SIZES = [(1, 1, 1), (7, 10, 13), (37, 100, 29), (3, 17, 100), (5, 1, 33), (64, 48, 16), (0, 5, 7)]
TOLERANCE = {float32: 3e-6, float64: 1e-14}


def operand(dtype, shape, turned):
    """The strides of a matrix stored as it is or turned over."""
    rows, cols = shape
    return Operand(dtype, (1, rows) if turned else (cols, 1))


def stored(matrix, turned):
    return np.ascontiguousarray(matrix.T if turned else matrix)


def extents_of(compiled, m, k):
    return tuple({"m": m, "k": k}[name] for name in compiled.kernel.extents)


def run(m, n, k, turned_a, turned_b, dtype, target=HOST, rows=None, depth=None, parts=2):
    a = RNG.standard_normal((m, k)).astype(dtype.np)
    b = RNG.standard_normal((k, n)).astype(dtype.np)
    bias = RNG.standard_normal(n).astype(dtype.np)
    compiled = Compiled(
        lambda module: product(
            module,
            n=n,
            a=operand(dtype, (m, k), turned_a),
            b=operand(dtype, (k, n), turned_b),
            bias=Operand(dtype, (0, 1)),
            outputs=[Operand(dtype, (n, 1))],
            rows=m if rows is None else rows,
            depth=depth or k,
        ),
        target,
    )
    by_columns = compiled.kernel.axis == "columns"
    extents, stop = extents_of(compiled, m, k), n if by_columns else m
    arrays = [stored(a, turned_a), stored(b, turned_b), bias, np.full((m, n), np.nan, dtype.np)]
    made = compiled(arrays, stop, extents, [stop * i // parts for i in range(1, parts)])[-1]
    wanted = a.astype("f8") @ b.astype("f8") + bias
    scale = np.abs(a.astype("f8")) @ np.abs(b.astype("f8")) + np.abs(bias)
    assert (np.abs(made - wanted) <= TOLERANCE[dtype] * scale).all()
    return compiled.kernel, made


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [float32, float64], ids=["float32", "float64"])
@pytest.mark.parametrize("turned_a", [False, True])
@pytest.mark.parametrize("turned_b", [False, True])
def test_layouts_and_sizes(target, dtype, turned_a, turned_b):
    for m, n, k in SIZES:
        run(m, n, k, turned_a, turned_b, dtype, TARGETS[target])


@given(
    st.integers(1, 40),
    st.integers(1, 70),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
    st.integers(1, 4),
)
def test_any_size_in_any_number_of_parts(m, n, k, turned_a, turned_b, parts):
    run(m, n, k, turned_a, turned_b, float32, parts=parts)


def test_forms():
    assert run(9, 20, 30, False, False, float32)[0].form == "broadcast"
    assert run(9, 20, 30, False, True, float32)[0].form == "dot"
    assert run(9, 20, 30, True, True, float32)[0].form == "blocked"
    assert run(100, 100, 400, False, True, float32)[0].form == "dot"
    assert run(300, 200, 300, False, True, float32)[0].form == "blocked"
    assert run(300, 200, 300, False, False, float32)[0].form == "blocked"
    # Rows of B that are a large part of the first cache apart push each other out of it.
    assert run(100, 1024, 60, False, False, float32)[0].form == "blocked"
    assert run(100, 1000, 60, False, False, float32)[0].form == "broadcast"
    # Walking down a long sum, each step touches new lines of both factors.
    assert run(30, 40, 600, True, False, float32)[0].form == "blocked"


@pytest.mark.parametrize("target", TARGETS)
def test_blocks_of_rows_columns_and_depth(target):
    """More rows, columns and depth than one block holds, and last panels that are not full."""
    run(400, 70, 530, False, False, float32, TARGETS[target], rows=1000, depth=10_000)
    run(400, 70, 530, True, False, float32, TARGETS[target], rows=1000, depth=10_000)
    run(400, 70, 140, True, False, float64, TARGETS[target], rows=1000, depth=10_000)
    run(14, 1100, 300, False, True, float32, TARGETS[target], rows=2000, depth=10_000)
    assert run(390, 20, 270, True, True, float32, TARGETS[target])[0].axis == "rows"
    assert run(40, 300, 270, True, True, float32, TARGETS[target])[0].axis == "columns"


def long_body(e, c):
    """More instructions than are written for each vector of a tile."""
    for number in range(6):
        c = e.add(e.mul(c, 0.9), e.div(c, e.add(e.sqrt(e.abs(c)), 1.0 + number)))
    return c


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("body", [None, long_body])
@pytest.mark.parametrize("layout", [(False, False), (False, True), (True, True)])
def test_bits_do_not_depend_on_the_split(layout, body, target):
    """Each element is summed in one order, whoever computes it and whatever is beside it."""
    for m, n, k in ((100, 100, 64), (33, 130, 50), (3, 300, 17)):
        a, b = (RNG.standard_normal(s).astype("f4") for s in ((m, k), (k, n)))
        compiled = Compiled(
            lambda module, m=m, n=n, k=k: product(
                module,
                n=n,
                a=operand(float32, (m, k), layout[0]),
                b=operand(float32, (k, n), layout[1]),
                outputs=[Operand(float32, (n, 1))],
                body=body,
                rows=m,
                depth=k,
            ),
            TARGETS[target],
        )
        by_columns = compiled.kernel.axis == "columns"
        extents, stop = extents_of(compiled, m, k), n if by_columns else m
        arrays = [stored(a, layout[0]), stored(b, layout[1]), np.zeros((m, n), "f4")]
        whole = compiled(arrays, stop, extents)[-1]
        if body is None:
            np.testing.assert_allclose(whole, a @ b, atol=1e-4)
        for parts in (2, 3, 7):
            splits = [stop * i // parts for i in range(1, parts)]
            np.testing.assert_array_equal(compiled(arrays, stop, extents, splits)[-1], whole)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("form", ["broadcast", "dot", "blocked"])
def test_body_with_operands_of_every_kind(target, form):
    """Adam's update behind a product: several outputs in place, numbers, a row, a column."""
    m, n, k = 23, 37, 19
    turned_a, turned_b = {"broadcast": (0, 0), "dot": (0, 1), "blocked": (1, 1)}[form]
    a, b = (RNG.standard_normal(s).astype("f4") for s in ((m, k), (k, n)))
    weight, mean, square = (RNG.random((m, n)).astype("f4") for _ in range(3))
    row, column, rate = RNG.random(n).astype("f4"), RNG.random(m).astype("f4"), np.array(0.1)

    def body(e, c, weight, mean, square, row, column, rate):
        g = e.mul(e.add(c, row), column)
        mean = e.fma(g, 0.1, e.mul(mean, 0.9))
        square = e.fma(e.mul(g, g), 0.01, e.mul(square, 0.99))
        step = e.div(e.mul(mean, e.cast(rate, float32)), e.add(e.sqrt(square), 1e-3))
        return e.sub(weight, step), mean, square, e.gt(c, 0.0)

    full = Operand(float32, (n, 1))
    from chainrule.dtypes import bool_

    compiled = Compiled(
        lambda module: product(
            module,
            n=n,
            a=operand(float32, (m, k), turned_a),
            b=operand(float32, (k, n), turned_b),
            operands=[
                full,
                full,
                full,
                Operand(float32, (0, 1)),
                Operand(float32, (1, 0)),
                Operand(float64, (0, 0)),
            ],
            outputs=[full, full, full, Operand(bool_, (n, 1))],
            body=body,
            rows=m,
            depth=k,
        ),
        TARGETS[target],
    )
    assert compiled.kernel.form == form
    extents = extents_of(compiled, m, k)
    stop = n if compiled.kernel.axis == "columns" else m
    outs = [np.zeros((m, n), "f4") for _ in range(3)] + [np.zeros((m, n), "?")]
    arrays = [stored(a, turned_a), stored(b, turned_b), weight, mean, square, row, column, rate]
    made = compiled([*arrays, *outs], stop, extents)[-4:]
    c = a.astype("f8") @ b.astype("f8")
    g = (c + row) * column[:, None]
    mean = g * 0.1 + mean * 0.9
    square = g * g * 0.01 + square * 0.99
    np.testing.assert_allclose(made[1], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made[2], square, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        made[0], weight - mean * 0.1 / (np.sqrt(square) + 1e-3), rtol=1e-3, atol=1e-3
    )
    np.testing.assert_array_equal(made[3][np.abs(c) > 1e-4], (c > 0)[np.abs(c) > 1e-4])


def test_not_a_number_reaches_its_row_and_no_other():
    m, n, k = 20, 33, 21
    a, b = np.ones((m, k), "f4"), np.ones((k, n), "f4")
    a[3, 4] = np.nan
    for turned in (False, True):
        compiled = Compiled(
            lambda module, turned=turned: product(
                module,
                n=n,
                a=operand(float32, (m, k), False),
                b=operand(float32, (k, n), turned),
                outputs=[Operand(float32, (n, 1))],
                rows=m,
                depth=k,
            )
        )
        stop = n if compiled.kernel.axis == "columns" else m
        arrays = [a, stored(b, turned), np.zeros((m, n), "f4")]
        made = compiled(arrays, stop, extents_of(compiled, m, k))[-1]
        assert np.isnan(made[3]).all()
        assert (np.delete(made, 3, 0) == k).all()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layout", [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize("shape", [(37, 19, 24), (5, 1, 9), (16, 64, 64)])
def test_long_bodies_take_bias_numbers_and_operands_of_their_own_point(target, layout, shape):
    """They run behind the sums in a function of their own, over whole rows in the dot form."""
    m, n, k = shape
    a, b = RNG.standard_normal((m, k)), RNG.standard_normal((k, n))
    bias, each, rate = RNG.standard_normal(n), RNG.standard_normal((m, n)), RNG.standard_normal(1)
    points = Operand(float32, (n, 1))

    def body(e, c, x, number):
        once = e.tanh(e.add(c, e.mul(x, number)))
        return [once, e.sub(x, e.mul(e.tanh(e.mul(once, 2.0)), number))]

    compiled = Compiled(
        lambda module: product(
            module,
            n=n,
            a=operand(float32, (m, k), layout[0]),
            b=operand(float32, (k, n), layout[1]),
            bias=Operand(float32, (0, 1)),
            operands=[points, Operand(float32, (0, 0))],
            outputs=[points, points],
            body=body,
            rows=m,
            depth=k,
        ),
        TARGETS[target],
    )
    inputs = [stored(a, layout[0]), stored(b, layout[1]), bias, each, rate]
    arrays = [np.asarray(x, np.float32) for x in inputs] + [np.zeros((m, n), np.float32)] * 2
    by_columns = compiled.kernel.axis == "columns"
    stop = n if by_columns else m
    first, second = compiled(arrays, stop, extents_of(compiled, m, k), [stop // 2])[-2:]
    once = np.tanh(a @ b + bias + each * rate)
    np.testing.assert_allclose(first, once, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(second, each - np.tanh(2 * once) * rate, rtol=2e-4, atol=5e-5)
