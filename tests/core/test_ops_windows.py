"""Convolution and pooling as ops: batches of batches, what is refused, ties and NaN."""

from typing import Any

import numpy as np
import op_cases
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import dtypes, ops
from chainrule.errors import DTypeError, ShapeError
from chainrule.graph import make_aval

WINDOWED = [op.name for op in (*ops.convolution.ALL, *ops.pooling.ALL)]


@pytest.mark.parametrize("name", WINDOWED)
@settings(max_examples=12)
@given(data=st.data())
def test_vmap_is_a_loop(name: str, data: Any) -> None:
    """Each operand with or without a batch of its own gives what a loop over members gives."""
    case = op_cases.CASES[name]
    sample = data.draw(case.sample)
    arrays = sample.arrays(dtypes.float64)
    batched = [data.draw(st.booleans()) for _ in arrays]
    batched[data.draw(st.integers(0, len(arrays) - 1))] = True
    rng = np.random.default_rng(sample.seed)
    members = 3
    many = [
        np.stack([rng.permutation(array) for _ in range(members)]) if each else array
        for array, each in zip(arrays, batched, strict=True)
    ]

    def run(*tensors: Any) -> Any:
        return cr.Tensor(ops.apply(case.op, *(one.node for one in tensors), **sample.attrs))

    dims = tuple(0 if each else None for each in batched)
    found = cr.vmap(run, in_dims=dims)(*map(cr.tensor, many)).numpy()
    for member in range(members):
        own = [a[member] if each else a for a, each in zip(many, batched, strict=True)]
        np.testing.assert_allclose(found[member], run(*map(cr.tensor, own)).numpy(), atol=1e-12)


IMAGE = make_aval((2, 4, 5, 5), dtypes.float32)
WEIGHT = make_aval((6, 4, 3, 3), dtypes.float32)
VALUES = make_aval((2, 6, 3, 3), dtypes.float32)
PLAIN: dict[str, Any] = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
CONV = PLAIN | {"groups": 1}
POOL = PLAIN | {"window": (2, 2)}
BACK = POOL | {"size": (4, 4)}


def image(*shape: int, dtype: Any = dtypes.float32) -> Any:
    return make_aval(shape, dtype)


@pytest.mark.parametrize(
    ("op", "avals", "attrs", "error", "text"),
    [
        (ops.CONVOLUTION, [image(4, 5), WEIGHT], CONV, ShapeError, "a batch of images"),
        (ops.CONVOLUTION, [image(2, 4, 5), WEIGHT], CONV, ShapeError, "needs a weight of as many"),
        (
            ops.CONVOLUTION,
            [image(2, 3, 5, 5), WEIGHT],
            CONV,
            ShapeError,
            "has 3",
        ),
        (ops.CONVOLUTION, [IMAGE, WEIGHT], CONV | {"groups": 4}, ShapeError, "into 4 groups"),
        (ops.CONVOLUTION, [image(2, 4, 5, 2), WEIGHT], CONV, ShapeError, "larger than the padded"),
        (ops.CONVOLUTION, [IMAGE, WEIGHT], CONV | {"stride": (0, 1)}, ShapeError, "are 1 or more"),
        (ops.CONVOLUTION, [IMAGE, WEIGHT], CONV | {"stride": (1,)}, ShapeError, "for each"),
        (
            ops.CONVOLUTION,
            [IMAGE, image(6, 4, 3, 3, dtype=dtypes.float64)],
            CONV,
            DTypeError,
            "floats of one dtype",
        ),
        (
            ops.CONVOLUTION_INPUT,
            [image(2, 5, 3, 3), WEIGHT],
            CONV | {"size": (5, 5)},
            ShapeError,
            "do not meet",
        ),
        (
            ops.CONVOLUTION_INPUT,
            [VALUES, WEIGHT],
            CONV | {"size": (6, 5)},
            ShapeError,
            "name another size",
        ),
        (
            ops.CONVOLUTION_WEIGHT,
            [IMAGE, image(3, 6, 3, 3)],
            CONV | {"kernel": (3, 3)},
            ShapeError,
            "do not meet in 1 groups",
        ),
        (
            ops.CONVOLUTION_WEIGHT,
            [IMAGE, VALUES],
            CONV | {"kernel": (2, 3)},
            ShapeError,
            "name another size",
        ),
        (ops.MAX_POOL, [image(1, 1, 5, dtype=dtypes.int64)], POOL, DTypeError, "takes floats"),
        (ops.WINDOW_SUM, [image(1, 1, 5, 1)], POOL, ShapeError, "larger than the padded input"),
        (ops.MAX_POOL_INPUT, [VALUES, VALUES], BACK, DTypeError, "places of int64"),
        (
            ops.MAX_POOL_INPUT,
            [VALUES, image(2, 6, 3, 2, dtype=dtypes.int64)],
            BACK,
            ShapeError,
            "differ",
        ),
        (ops.WINDOW_SPREAD, [VALUES], BACK | {"size": (9, 4)}, ShapeError, "name another size"),
    ],
)
def test_shape_rules_refuse(
    op: ops.Op, avals: list[Any], attrs: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        op.infer(*avals, **attrs)


@pytest.mark.parametrize("spread", ["ties", "nan", "-inf", "mixed"])
def test_the_largest_of_a_window_is_that_of_torch(spread: str) -> None:
    """Of equal elements the first, of NaN the last, never the border."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 2, (2, 3, 6, 7)).astype(np.float32)
    if spread in ("nan", "mixed"):
        x[rng.random(x.shape) < 0.3] = np.nan
    if spread in ("-inf", "mixed"):
        x[rng.random(x.shape) < 0.7] = -np.inf
    attrs = {"window": (3, 2), "stride": (1, 2), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    expected, places = torch.nn.functional.max_pool2d(
        torch.from_numpy(x), (3, 2), (1, 2), (1, 1), return_indices=True
    )
    node = cr.tensor(x).node
    np.testing.assert_array_equal(ops.apply(ops.MAX_POOL, node, **attrs).value(), expected.numpy())
    found = ops.apply(ops.MAX_POOL_INDEX, node, **attrs).value()
    np.testing.assert_array_equal(found, places.numpy())
    from chainrule.engines.xla.program import wide
    from chainrule.xp import jax_

    with wide():
        values = ops.MAX_POOL.array(jax_, jax_.as_array(x), **attrs)
        index = ops.MAX_POOL_INDEX.array(jax_, jax_.as_array(x), **attrs)
    np.testing.assert_array_equal(np.asarray(values), expected.numpy())
    np.testing.assert_array_equal(np.asarray(index), places.numpy())
