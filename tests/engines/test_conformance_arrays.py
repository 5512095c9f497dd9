"""Each op's meaning: in float32 against float64, and in NumPy against jax.numpy."""

import functools
from typing import Any

import numpy as np
import op_cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases import CASES, Case, Sample

from chainrule import dtypes, ops
from chainrule.engines.xla.program import wide
from chainrule.xp import jax_, numpy_

NAMES = sorted(CASES)
# What two ways of computing the same thing may differ by, relative to the value (and absolutely,
# near 0). Ops not named here agree to the dtype's own figure; moves and whole numbers exactly.
TOLERANCE = {dtypes.float32: 2e-6, dtypes.float64: 4e-15}
LOOSER = {"convolution": 8, "convolution_input": 8, "convolution_weight": 32, "window_sum": 8}
LOOSER |= {"window_spread": 8, "max_pool_input": 8}
LOOSER |= {"erf": 4, "matmul": 4, "sum": 4, "scan": 4, "pow": 4, "softplus": 4, "take_add": 4}
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-30])


def compute(case: Case, xp: Any, arrays: list[np.ndarray], attrs: dict[str, Any]) -> list[Any]:
    with np.errstate(all="ignore"):
        result = case.op.array(xp, *map(xp.as_array, arrays), **attrs)
    several = result if isinstance(result, tuple) else (result,)
    return [np.asarray(one) for one in several]


def agree(name: str, found: list[Any], expected: list[Any], dtype: dtypes.DType) -> None:
    scale = TOLERANCE.get(dtype, 0) * LOOSER.get(name, 1)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=scale, atol=scale, equal_nan=True)
        else:
            np.testing.assert_array_equal(one, other)


def drawn(case: Case, data: Any, kinds: Any) -> tuple[Sample, dtypes.DType, dict[str, Any]]:
    sample = data.draw(case.sample)
    kind = data.draw(st.sampled_from(kinds))
    return sample, kind, op_cases.attributes(sample, kind)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10)
@given(data=st.data())
def test_float32_is_float64_to_rounding(name: str, data: Any) -> None:
    case = CASES[name]
    if dtypes.float32 not in case.types or name == "cast":
        return
    sample, _, attrs = drawn(case, data, [dtypes.float32])
    narrow = sample.arrays(dtypes.float32)
    exact = [array.astype(np.float64) if array.dtype.kind == "f" else array for array in narrow]
    found = compute(case, numpy_, narrow, attrs)
    expected = compute(case, numpy_, exact, op_cases.attributes(sample, dtypes.float64))
    # A quotient a hair below a whole number may round up to it.
    if name != "floor_div":
        agree(name, found, expected, dtypes.float32)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=5)
@given(data=st.data())
def test_numpy_is_jax(name: str, data: Any) -> None:
    case = CASES[name]
    sample, kind, attrs = drawn(case, data, case.types)
    arrays = sample.arrays(kind)
    found = compute(case, numpy_, arrays, attrs)
    nodes = [ops.constant_array(array, dtypes.of_numpy(array.dtype)) for array in arrays]
    inferred = case.op.infer(*(node.aval for node in nodes), **attrs)
    with wide():
        other = compute(case, jax_, arrays, attrs)
    for aval, ours, theirs in zip(
        inferred if isinstance(inferred, tuple) else (inferred,), found, other, strict=True
    ):
        assert ours.shape == theirs.shape == aval.shape
        assert ours.dtype == theirs.dtype == aval.dtype.np
    agree(name, found, other, kind)


@pytest.mark.parametrize("name", NAMES)
def test_strides_do_not_matter(name: str) -> None:
    """Inputs that are reversed, transposed or stretched views give what copies of them give."""
    case = CASES[name]
    rng = np.random.default_rng(0)
    for _ in range(8):
        sample = _some_sample(case, rng)
        kind = case.types[int(rng.integers(len(case.types)))]
        attrs = op_cases.attributes(sample, kind)
        plain = sample.arrays(kind)
        strange = [_strange(array) for array in plain]
        found, expected = (compute(case, numpy_, some, attrs) for some in (strange, plain))
        agree(name, found, expected, kind)


def _strange(array: np.ndarray) -> np.ndarray:
    """The same values in memory that runs backwards, with gaps, in the other order of axes."""
    if array.ndim == 0:
        return array
    wide = np.repeat(np.ascontiguousarray(array.T[..., ::-1]), 2, axis=-1)
    return np.asarray(wide[..., ::-2].T)


def _some_sample(case: Case, rng: np.random.Generator) -> Sample:
    found = _samples(case.op.name)
    return found[int(rng.integers(len(found)))]


@functools.cache
def _samples(name: str) -> list[Sample]:
    found: list[Sample] = []

    @settings(max_examples=16, database=None, derandomize=True)
    @given(CASES[name].sample)
    def collect(sample: Sample) -> None:
        found.append(sample)

    collect()
    return found


@pytest.mark.parametrize("name", [n for n in NAMES if CASES[n].op.elementwise])
@pytest.mark.parametrize("dtype", op_cases.FLOATS, ids=lambda one: one.name)
def test_special_values_are_those_of_jax(name: str, dtype: dtypes.DType) -> None:
    """Zeros of both signs, NaN, infinities, huge and tiny numbers, every pair of them."""
    case = CASES[name]
    if dtype not in case.types:
        return
    count = {"where": 3}.get(name, len(_samples(name)[0].specs))
    values = SPECIAL.astype(dtype.np)
    if count == 1:
        arrays = [values]
    elif count == 2:
        arrays = [np.repeat(values, len(values)), np.tile(values, len(values))]
    else:
        arrays = [np.arange(len(values)) % 2 == 0, values, values[::-1].copy()]
    attrs = _samples(name)[0].attrs
    found = compute(case, numpy_, arrays, attrs)
    with wide():
        other = compute(case, jax_, arrays, attrs)
    agree(name, found, other, dtype)


@pytest.mark.parametrize("dtype", op_cases.INTS, ids=lambda one: one.name)
def test_whole_numbers_of_floats_out_of_range(dtype: dtypes.DType) -> None:
    given = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**31, 300, 255, -1, -5, 3.7, -3.7])
    found = compute(CASES["cast"], numpy_, [given], {"dtype": dtype})
    with wide():
        other = compute(CASES["cast"], jax_, [given], {"dtype": dtype})
    agree("cast", found, other, dtype)
    assert found[0][0] == 0 and found[0][-2] == 3
    if dtype is dtypes.int32:
        assert found[0][1] == 2**31 - 1 and found[0][2] == -(2**31)


@pytest.mark.parametrize("dtype", [dtypes.int32, dtypes.int64, dtypes.uint8], ids=lambda d: d.name)
@pytest.mark.parametrize("name", ["pow", "floor_div"])
def test_whole_numbers_at_the_edges(name: str, dtype: dtypes.DType) -> None:
    """Division by 0 gives 0; negative powers are cut towards 0."""
    line = np.arange(-4, 5).astype(dtype.np)
    arrays = [np.repeat(line, len(line)), np.tile(line, len(line))]
    found = compute(CASES[name], numpy_, arrays, {})
    with wide():
        other = compute(CASES[name], jax_, arrays, {})
    agree(name, found, other, dtype)
    if name == "floor_div":
        assert not found[0][arrays[1] == 0].any()


REDUCING = {
    "sum": {"axes": (1,), "keepdims": False},
    "amax": {"axes": (1,), "keepdims": True},
    "argmax": {"axis": 1, "keepdims": False},
    "argsort": {"axis": 1, "descending": True},
    "cumsum": {"axis": 1},
}


@pytest.mark.parametrize("name", REDUCING)
def test_special_values_in_reductions(name: str) -> None:
    """NaN wins a maximum and is sorted last, infinities add up to NaN, on both."""
    rows = [SPECIAL, SPECIAL[::-1], SPECIAL[[0, 2, 3]].repeat(4)[:10], np.full(10, np.nan)]
    for dtype in op_cases.FLOATS:
        array = np.array(rows).astype(dtype.np)
        found = compute(CASES[name], numpy_, [array], REDUCING[name])
        with wide():
            other = compute(CASES[name], jax_, [array], REDUCING[name])
        agree(name, found, other, dtype)


@pytest.mark.parametrize("name", REDUCING)
@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_reductions_of_nothing(name: str, shape: tuple[int, ...]) -> None:
    """Other axes may be empty; a maximum over an empty axis is refused elsewhere."""
    last = len(shape) - 1
    attrs = {
        k: last if k == "axis" else (last,) if k == "axes" else v for k, v in REDUCING[name].items()
    }
    array = np.zeros(shape, np.float32)
    found = compute(CASES[name], numpy_, [array], attrs)
    with wide():
        other = compute(CASES[name], jax_, [array], attrs)
    agree(name, found, other, dtypes.float32)


@pytest.mark.parametrize("dtype", op_cases.FLOATS, ids=lambda one: one.name)
@pytest.mark.parametrize("other", [0.0, -0.0, 1.5])
def test_a_choice_keeps_the_bits_of_what_it_takes(dtype: dtypes.DType, other: float) -> None:
    """Large arrays beside a number, which NumPy's engine takes by bits where it is zero."""
    rng = np.random.default_rng(0)
    values = SPECIAL[rng.integers(0, len(SPECIAL), (3, 1000, 2))].astype(dtype.np)
    for yes in (values, values[:, ::-1, :1].repeat(2, 2), values.transpose(2, 1, 0)):
        mask = rng.random(yes.shape) < 0.5
        number = np.asarray(other, dtype.np)
        found = numpy_.where(mask, yes, number)
        expected = np.where(mask, yes, number)
        assert found.dtype == expected.dtype and found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("most", [1, 3, 40], ids=lambda most: f"up to {most} of a place")
def test_many_slices_are_added_where_they_belong(most: int) -> None:
    """Sizes at which NumPy's engine adds in rounds, or in the order of places."""
    rng = np.random.default_rng(most)
    index = rng.permutation(np.arange(120) // most).reshape(4, 30)
    g = rng.standard_normal((3, 4, 30, 50))
    expected = np.zeros((3, 130, 50))
    np.add.at(expected, (slice(None), index), g)
    found = numpy_.take_add(g, index, 1, 130)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)
