"""Row programs, column folds and whole folds against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_harness import HOST, TARGETS, Compiled, dense

from chainrule.dtypes import float32, float64, int32, int64, uint8, uint32
from chainrule.engines.native.emit.ir import Module
from chainrule.engines.native.kernels.columns import reduce_columns
from chainrule.engines.native.kernels.common import Operand
from chainrule.engines.native.kernels.folds import Fold
from chainrule.engines.native.kernels.rows import Phase, row_program
from chainrule.engines.native.kernels.whole import reduce_all
from chainrule.errors import EngineError

RNG = np.random.default_rng(7)
# In registers and in scratch memory, with and without a last vector that is not full.
SHAPES = [(100, 10), (3, 1), (7, 17), (5, 100), (4, 1000), (3, 777), (2, 64), (0, 9)]
REDUCE = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}


def cross_entropy(cols):
    """Softmax with cross-entropy and its derivative, in one program."""

    def exponentials(e, z, top):
        p = e.exp(e.sub(z, top))
        return p, p

    def derivative(e, p, total, label, scale):
        hot = e.select(e.eq(e.index(1), label), 1.0, e.const(0.0, p))
        return e.mul(e.sub(e.div(p, total), hot), e.cast(scale, float32))

    def chosen(e, z, label):
        return e.select(e.eq(e.index(1), label), z, 0.0)

    phases = [
        Phase(lambda e, z: z, ("z",), folds=(("max", "top"),)),
        Phase(exponentials, ("z", "top"), ("p",), (("sum", "total"),)),
        Phase(derivative, ("p", "total", "label", "scale"), ("slope",)),
        Phase(chosen, ("z", "label"), (), (("sum", "true"),)),
        Phase(
            lambda e, total, top, true: e.sub(e.add(e.log(total), top), true),
            ("total", "top", "true"),
            ("loss",),
        ),
    ]
    operands = {
        "z": Operand(float32, (cols, 1)),
        "label": Operand(int64, (1, 0)),
        "scale": Operand(float64, (0, 0)),
    }
    outputs = {"slope": Operand(float32, (cols, 1)), "loss": Operand(float32, (1, 0))}
    return lambda m: row_program(m, cols=cols, operands=operands, phases=phases, outputs=outputs)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy(target, shape):
    rows, cols = shape
    z = RNG.standard_normal(shape).astype("f4") * 5
    label = RNG.integers(0, cols, rows)
    scale = np.array(1 / max(rows, 1))
    kernel = Compiled(cross_entropy(cols), TARGETS[target])
    arrays = [z, label, scale, np.zeros(shape, "f4"), np.zeros(rows, "f4")]
    *_, slope, loss = kernel(arrays, rows, splits=(rows // 2,))
    if not rows:
        return
    exact = z.astype("f8")
    top = exact.max(1, keepdims=True)
    p = np.exp(exact - top)
    total = p.sum(1, keepdims=True)
    np.testing.assert_allclose(slope, (p / total - np.eye(cols)[label]) * scale, atol=1e-6)
    wanted = np.log(total[:, 0]) + top[:, 0] - exact[np.arange(rows), label]
    np.testing.assert_allclose(loss, wanted, rtol=1e-5, atol=1e-5)


def test_long_rows_need_scratch_and_short_ones_none():
    module = Module(HOST)
    assert cross_entropy(10)(module).scratch == 0
    assert cross_entropy(5000)(module).scratch >= 5000 * 4


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [float32, float64, int32, int64, uint8, uint32], ids=str)
@pytest.mark.parametrize("shape", [(5, 10), (3, 1), (2, 1001), (4, 64)])
def test_place_of_the_largest(target, dtype, shape):
    rows, cols = shape
    x = np.abs(RNG.standard_normal(shape) * 50).astype(dtype.np)
    x[0] = x[0, 0]
    if dtype.is_float:
        x[-1] = -np.inf
    if dtype.is_float and cols > 3:
        x[1, 3] = np.nan
        x[1, 5] = np.nan
    kernel = Compiled(
        lambda m: row_program(
            m,
            cols=cols,
            operands={"x": Operand(dtype, (cols, 1))},
            phases=[Phase(lambda e, x: x, ("x",), folds=(("argmax", "place"),))],
            outputs={"place": Operand(int64, (1, 0))},
        ),
        TARGETS[target],
    )
    np.testing.assert_array_equal(kernel([x, np.zeros(rows, "i8")], rows)[1], x.argmax(1))


@pytest.mark.parametrize("cols", [5, 300])
def test_masks_kept_between_phases(cols):
    """any and all, and a mask that a later phase reads."""
    x = RNG.standard_normal((6, cols)).astype("f4")
    x[0], x[1] = np.abs(x[0]), -np.abs(x[1])

    def signs(e, x):
        positive = e.gt(x, 0.0)
        return positive, positive, positive

    kernel = Compiled(
        lambda m: row_program(
            m,
            cols=cols,
            operands={"x": Operand(float32, (cols, 1))},
            phases=[
                Phase(signs, ("x",), ("positive",), (("any", "some"), ("all", "every"))),
                Phase(
                    lambda e, p, s, x: e.select(e.land(p, s), x, 0.0),
                    ("positive", "some", "x"),
                    ("kept",),
                ),
            ],
            outputs={
                "kept": Operand(float32, (cols, 1)),
                "some": Operand(uint8, (1, 0)),
                "every": Operand(uint8, (1, 0)),
            },
        )
    )
    arrays = [x, np.zeros_like(x), np.zeros(6, "u1"), np.zeros(6, "u1")]
    _, kept, some, every = kernel(arrays, 6)
    np.testing.assert_array_equal(kept, np.maximum(x, 0))
    np.testing.assert_array_equal(some, (x > 0).any(1))
    np.testing.assert_array_equal(every, (x > 0).all(1))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shape", [(100, 10), (1, 1), (7, 100), (0, 5), (9, 37), (5, 1)])
def test_columns_with_an_update_behind(target, shape):
    rows, cols = shape
    x = RNG.standard_normal(shape).astype("f4")
    bias, rate = RNG.standard_normal(cols).astype("f4"), np.array(0.1)
    kernel = Compiled(
        lambda m: reduce_columns(
            m,
            cols=cols,
            kind=("sum", "max"),
            operands=[Operand(float32, (cols, 1))],
            pre=lambda e, x: (x, e.mul(x, 2.0)),
            after=[Operand(float32, (1,)), Operand(float64, (0,))],
            outputs=[Operand(float32, (1,)), Operand(float32, (1,))],
            post=lambda e, s, m, b, r: (e.sub(b, e.mul(e.cast(r, float32), s)), m),
        ),
        TARGETS[target],
    )
    arrays = [x, bias, rate, np.zeros(cols, "f4"), np.zeros(cols, "f4")]
    made = kernel(arrays, cols, (rows,), splits=(cols // 3,))
    np.testing.assert_allclose(made[3], bias - 0.1 * x.sum(0), atol=1e-5)
    if rows:
        np.testing.assert_array_equal(made[4], 2 * x.max(0))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [float32, float64, int32, int64, uint8], ids=str)
@pytest.mark.parametrize("kind", REDUCE)
def test_folds_of_every_dtype(target, dtype, kind):
    x = (RNG.random((6, 37)) * 3).astype(dtype.np)
    wanted = REDUCE[kind](x, axis=0, dtype=dtype.np) if kind in ("sum", "prod") else None
    wanted = REDUCE[kind](x, axis=0) if wanted is None else wanted
    columns = Compiled(
        lambda m: reduce_columns(
            m,
            cols=37,
            kind=kind,
            operands=[Operand(dtype, (37, 1))],
            pre=lambda e, x: x,
            outputs=[Operand(dtype, (1,))],
        ),
        TARGETS[target],
    )
    np.testing.assert_allclose(columns([x, np.zeros(37, dtype.np)], 37, (6,))[1], wanted, rtol=1e-5)
    rows = Compiled(
        lambda m: row_program(
            m,
            cols=37,
            operands={"x": Operand(dtype, (37, 1))},
            phases=[Phase(lambda e, x: x, ("x",), folds=((kind, "r"),))],
            outputs={"r": Operand(dtype, (1, 0))},
        ),
        TARGETS[target],
    )
    along = REDUCE[kind](x, axis=1, **({"dtype": dtype.np} if kind in ("sum", "prod") else {}))
    np.testing.assert_allclose(rows([x, np.zeros(6, dtype.np)], 6)[1], along, rtol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        ((100,), None),
        ((1,), None),
        ((37, 5), None),
        ((3, 5, 7), (1, 21, 3)),
        ((1000, 13), None),
        ((4, 100), (200, 2)),
        ((0, 3), None),
        ((5, 4), (0, 1)),
    ],
)
def test_whole_folds(target, shape, strides):
    strides = strides or dense(float32, *shape).strides
    size = 1 + sum(max(n - 1, 0) * s for n, s in zip(shape, strides, strict=True))
    x = RNG.standard_normal(size).astype("f4")
    view = np.lib.stride_tricks.as_strided(x, shape, [4 * s for s in strides])
    kernel = Compiled(
        lambda m: reduce_all(
            m,
            inner=shape[1:],
            kind=("sum", "max"),
            operands=[Operand(float32, strides)],
            pre=lambda e, x: (e.mul(x, x), e.cast(x, float64)),
            outputs=[Operand(float32, ()), Operand(float64, ())],
            post=lambda e, s, m: (e.mul(s, 0.5), m),
        ),
        TARGETS[target],
    )
    _, half, top = kernel([x, np.zeros((), "f4"), np.zeros(())], shape[0])
    np.testing.assert_allclose(half, (view.astype("f8") ** 2).sum() / 2, rtol=1e-5, atol=1e-7)
    assert top == (view.max() if view.size else -np.inf)


@given(st.integers(0, 300), st.integers(1, 40))
def test_whole_sums_of_any_size(rows, cols):
    x = RNG.integers(-9, 9, (rows, cols)).astype("f8")
    kernel = Compiled(
        lambda m: reduce_all(
            m,
            inner=(cols,),
            kind="sum",
            operands=[dense(float64, max(rows, 1), cols)],
            pre=lambda e, x: x,
            outputs=[Operand(float64, ())],
        )
    )
    assert kernel([x, np.zeros(())], rows)[1] == x.sum()


def test_an_unknown_fold_is_refused_by_name():
    with pytest.raises(EngineError, match=r"no fold 'median'\.\n  expected: one of sum, prod"):
        Fold("median")
