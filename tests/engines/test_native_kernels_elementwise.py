"""Elementwise kernels against NumPy: every dtype, shape and stride, on three kinds of processor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_harness import HOST, TARGETS, Compiled, dense

from chainrule.dtypes import ALL, bool_, float32, float64, int32, int64, uint8, uint32
from chainrule.engines.native.kernels.common import Operand, spans
from chainrule.engines.native.kernels.elementwise import elementwise

RNG = np.random.default_rng(5)
SHAPES = [(1, 1), (3, 100), (7, 16), (5, 17), (100, 10), (2, 784), (0, 5), (4, 0), (1, 1025)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES)
def test_several_operands_and_outputs(target, shape):
    rows, cols = shape
    x = RNG.standard_normal(shape).astype("f4")
    row = RNG.standard_normal(cols).astype("f4")
    column = RNG.standard_normal(rows)
    rate = np.array(0.5)

    def body(e, x, row, column, rate):
        total = e.add(e.fma(x, e.cast(rate, float32), row), e.cast(column, float32))
        return total, e.gt(x, row)

    kernel = Compiled(
        lambda m: elementwise(
            m,
            (cols,),
            [
                dense(float32, rows, cols),
                Operand(float32, (0, 1)),
                Operand(float64, (1, 0)),
                Operand(float64, (0, 0)),
            ],
            [dense(float32, rows, cols), dense(bool_, rows, cols)],
            body,
        ),
        TARGETS[target],
    )
    arrays = [x, row, column, rate, np.zeros(shape, "f4"), np.zeros(shape, "?")]
    *_, total, mask = kernel(arrays, rows, splits=(rows // 3,))
    np.testing.assert_allclose(total, x * 0.5 + row + column[:, None], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(mask, x > row)


@pytest.mark.parametrize("target", TARGETS)
def test_casts_between_all_dtypes(target):
    values = np.concatenate([RNG.random(33) * 100, [0.0, 0.5, 1.0, 255.0]])
    for have in ALL:
        x = values.astype(have.np)
        for want in ALL:
            kernel = Compiled(
                lambda m, have=have, want=want: elementwise(
                    m,
                    (),
                    [Operand(have, (1,))],
                    [Operand(want, (1,))],
                    lambda e, value, want=want: e.cast(value, want),
                ),
                TARGETS[target],
            )
            made = kernel([x, np.zeros(x.size, want.np)], x.size)[1]
            np.testing.assert_array_equal(made, x.astype(want.np), err_msg=f"{have} {want}")


def test_float_to_integer_is_guarded():
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, -2.7], "f4")
    kernel = Compiled(
        lambda m: elementwise(
            m,
            (),
            [Operand(float32, (1,))],
            [Operand(int32, (1,)), Operand(int64, (1,))],
            lambda e, x: (e.cast(x, int32), e.cast(x, int64)),
        )
    )
    _, narrow, wide = kernel([x, np.zeros(6, "i4"), np.zeros(6, "i8")], 6)
    top, bottom = 2**31 - 1, -(2**31)
    assert narrow.tolist() == [0, top, bottom, top, bottom, -2]
    assert wide.tolist() == [0, 2**63 - 1, -(2**63), 2**63 - 1, -(2**63), -2]


def test_integer_division_is_guarded():
    for dtype in (int32, int64, uint8, uint32):
        low = np.iinfo(dtype.np).min
        a = np.array([7, low, low, 5, 9], dtype.np)
        b = np.array([2, 0, 1, 0, 3], dtype.np)
        if dtype in (int32, int64):
            b[2] = -1
        operand = Operand(dtype, (1,))
        kernel = Compiled(
            lambda m, o=operand: elementwise(m, (), [o, o], [o], lambda e, x, y: e.div(x, y))
        )
        made = kernel([a, b, np.zeros(5, dtype.np)], 5)[2]
        assert made.tolist() == [3, 0, low, 0, 3]


@pytest.mark.parametrize("target", TARGETS)
def test_extremes_pass_not_a_number(target):
    values = [1.0, np.nan, -np.inf, np.inf, -0.5]
    a, b = (each.ravel().astype("f4") for each in np.meshgrid(values, values))
    one = Operand(float32, (1,))
    kernel = Compiled(
        lambda m: elementwise(
            m,
            (),
            [one, one],
            [one, one, one],
            lambda e, a, b: (e.max(a, b), e.min(a, b), e.max(a, 0)),
        ),
        TARGETS[target],
    )
    outs = kernel([a, b, *(np.zeros(a.size, "f4") for _ in range(3))], a.size)[2:]
    for made, wanted in zip(
        outs, (np.maximum(a, b), np.minimum(a, b), np.maximum(a, 0)), strict=True
    ):
        np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize("target", TARGETS)
def test_index_of_a_point(target):
    out = dense(int64, 6, 3, 5)
    kernel = Compiled(
        lambda m: elementwise(
            m, (3, 5), [], [out, out, out], lambda e: tuple(e.index(k) for k in range(3))
        ),
        TARGETS[target],
    )
    made = kernel([np.zeros((6, 3, 5), "i8") for _ in range(3)], 6, splits=(1, 4))
    for found, wanted in zip(made, np.indices((6, 3, 5)), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", [(9, 5, 6), (37, 18, 50), (16, 16, 16), (1, 64, 33)])
@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (0, 2, 1), (2, 0, 1)])
def test_permutations(target, shape, order):
    """Small ones, and those that are turned over in squares with edges left over."""
    for dtype in (float32, float64, uint8):
        x = (RNG.standard_normal(shape) * 50).astype(dtype.np)
        wanted = np.ascontiguousarray(x.transpose(order))
        # The domain is x's; the output's strides are those of its axes in x's order.
        steps = dict(zip(order, dense(dtype, *wanted.shape).strides, strict=True))
        out = Operand(dtype, (steps[0], steps[1], steps[2]))
        kernel = Compiled(
            lambda m, out=out, dtype=dtype: elementwise(
                m, shape[1:], [dense(dtype, *shape)], [out], lambda e, value: value
            ),
            TARGETS[target],
        )
        made = kernel([x, np.zeros_like(wanted)], shape[0], splits=(shape[0] // 3,))[1]
        np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize("target", TARGETS)
def test_turned_operands_beside_others_and_indices(target):
    x = RNG.standard_normal((40, 70)).astype("f4")
    y = RNG.standard_normal((70, 40)).astype("f4")
    row, rate = RNG.standard_normal(40).astype("f4"), np.array(0.5)
    operands = [
        Operand(float32, (1, 70)),
        dense(float32, 70, 40),
        Operand(float32, (0, 1)),
        Operand(float64, (0, 0)),
    ]

    def body(e, x, y, row, rate):
        return e.fma(x, y, e.mul(row, e.cast(rate, float32)))

    def indexed(e, *values):
        return e.add(body(e, *values), e.cast(e.index(0), float32))

    for chosen, added in ((body, 0), (indexed, np.arange(70)[:, None])):
        kernel = Compiled(
            lambda m, chosen=chosen: elementwise(
                m, (40,), operands, [dense(float32, 70, 40)], chosen
            ),
            TARGETS[target],
        )
        made = kernel([x, y, row, rate, np.zeros((70, 40), "f4")], 70, splits=(13,))[4]
        np.testing.assert_allclose(made, x.T * y + row * 0.5 + added, rtol=1e-5, atol=1e-5)


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.integers(1, 3),
)
def test_broadcasts_and_gaps(shape, repeated, gap):
    """Any axis may repeat; rows may lie further apart than they are long."""
    full = dense(float32, *shape).strides
    strides = tuple(0 if r else s * gap for s, r in zip(full, repeated, strict=False))
    size = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    x = np.arange(size, dtype="f4")
    view = np.lib.stride_tricks.as_strided(x, shape, [4 * s for s in strides])
    kernel = Compiled(
        lambda m: elementwise(
            m,
            shape[1:],
            [Operand(float32, strides)],
            [Operand(float32, full)],
            lambda e, x: e.add(x, 1.0),
        )
    )
    made = kernel([x, np.zeros(shape, "f4")], shape[0])[1]
    np.testing.assert_array_equal(made, view + 1)


def test_update_in_place():
    """An output may be the buffer of an operand with the same strides."""
    x = RNG.standard_normal(1000).astype("f4")
    one = Operand(float32, (1,))
    kernel = Compiled(lambda m: elementwise(m, (), [one], [one], lambda e, x: e.mul(x, 2.0)))
    from native_harness import Guarded

    kept = Guarded(x)
    kernel._entry(kept.array.ctypes.data, kept.array.ctypes.data, 0, 1000)
    kept.check()
    np.testing.assert_array_equal(kept.array, 2 * x)


def test_equal_kernels_are_one():
    from chainrule.engines.native.emit.ir import Module

    module = Module(HOST)
    one = Operand(float32, (1,))
    names = {elementwise(module, (), [one], [one], lambda e, x: e.exp(x)).name for _ in range(3)}
    other = elementwise(module, (), [one], [one], lambda e, x: e.log(x)).name
    assert len(names) == 1 and other not in names
    assert len(module.names()) == 2


def test_spans_cover_every_column_once():
    for count in range(70):
        covered = [s.start + i for s in spans(0, count, 16) for i in range(s.count)]
        assert covered == list(range(count))
