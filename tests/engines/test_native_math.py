"""The elementary functions: units in the last place, edges, on three kinds of processor."""

import functools
import re
from pathlib import Path

import numpy as np
import pytest
from function_edges import EDGES, INF, NAN, ULPS
from native_harness import TARGETS, Compiled

import chainrule as cr
from chainrule.dtypes import float32, float64
from chainrule.engines.native.kernels.common import Operand
from chainrule.engines.native.kernels.elementwise import elementwise

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    *("exp", "log", "log1p", "expm1", "tanh", "sigmoid", "softplus", "sin", "cos", "erf", "sqrt"),
)


@pytest.fixture
def ulp(monkeypatch):
    """The benchmark that measures errors, on fewer points than its table."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import ulp as found

    return found


@functools.cache
def compiled(name, dtype, target):
    one = Operand(dtype, (1,))
    return Compiled(
        lambda m: elementwise(m, (), [one], [one], lambda e, x: getattr(e, name)(x)),
        TARGETS[target],
    )


def apply(name, x, target="host"):
    dtype = float32 if x.dtype == np.float32 else float64
    return compiled(name, dtype, target)([x, np.zeros_like(x)], x.size)[1]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", [*NAMES, "exp2", "log2", "pow"])
def test_units_in_the_last_place(ulp, name, dtype, target):
    """All exponents, denormal arguments and results, and the ends of the range."""
    worst, where, _ = ulp.worst(name, dtype, TARGETS[target], 0.06)
    assert worst <= ULPS, f"{name} is {worst:.2f} units off at {where}"


def test_the_page_of_errors_names_every_function_within_the_bound(ulp):
    page = (ROOT / "docs" / "numerics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", page, re.MULTILINE)
    assert [name for name, _ in rows] == list(ulp.FUNCTIONS)
    assert all(float(each) <= ULPS for _, row in rows for each in row.split("|"))


def test_a_compiled_graph_tells_denormal_numbers_from_zero():
    x = np.array([1e-40, 3e-45, 0.0, -1e-40], "f4")
    log, root, over = cr.compile(lambda x: (x.log(), x.abs().sqrt(), 1e-3 / x))(cr.tensor(x))
    wide = x.astype("f8")
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(log.numpy(), np.log(wide), rtol=1e-6)
        np.testing.assert_allclose(root.numpy(), np.sqrt(abs(wide)), rtol=1e-6)
        np.testing.assert_allclose(over.numpy(), (1e-3 / wide).astype("f4"), rtol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_edges_are_exact(name, dtype, target):
    given = np.array([*(x for x, _ in EDGES[name]), NAN], dtype)
    wanted = np.array([*(y for _, y in EDGES[name]), NAN], dtype)
    made = apply(name, given, target)
    np.testing.assert_array_equal(made, wanted)
    known = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(made[known]), np.signbit(wanted[known]))


def test_tiny_results_and_arguments_are_denormal_numbers():
    x = np.array([-88.0, -95.0, -103.0], "f4")
    np.testing.assert_allclose(apply("exp", x), np.exp(x.astype("f8")), rtol=1e-2, atol=1e-45)
    tiny = np.array([1e-40, 3e-45], "f4")
    np.testing.assert_allclose(apply("log", tiny), np.log(tiny.astype("f8")), rtol=1e-6)
    np.testing.assert_array_equal(apply("expm1", tiny), tiny)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_are_monotonic_where_they_saturate(dtype):
    for name, x in (("tanh", np.linspace(5, 25, 3000)), ("erf", np.linspace(3, 7, 3000))):
        made = apply(name, x.astype(dtype))
        assert made.max() == 1.0
        assert (np.diff(made) >= -np.finfo(dtype).eps).all()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_powers(dtype, target):
    values = [0.0, -0.0, 0.5, 1.0, 2.5, -2.0, INF, -INF, NAN]
    x, y = (each.ravel().astype(dtype.np) for each in np.meshgrid(values, [*values, 3.0, -3.0]))
    one = Operand(dtype, (1,))
    kernel = Compiled(
        lambda m: elementwise(m, (), [one, one], [one], lambda e, x, y: e.pow(x, y)),
        TARGETS[target],
    )
    made = kernel([x, y, np.zeros_like(x)], x.size)[2]
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(made, np.power(x, y), rtol=1e-6 if dtype is float32 else 1e-14)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0, -1.0])
def test_known_powers_are_products(exponent):
    one = Operand(float32, (1,))
    kernel = Compiled(lambda m: elementwise(m, (), [one], [one], lambda e, x: e.pow(x, exponent)))
    assert "llvm.pow" not in kernel.text
    x = np.linspace(-3, 3, 20, dtype="f4")
    np.testing.assert_allclose(kernel([x, np.zeros_like(x)], 20)[1], x**exponent, rtol=1e-6)


def test_numbers_are_computed_once_not_for_each_point():
    """What depends on numbers alone stays out of the loop."""
    kernel = Compiled(
        lambda m: elementwise(
            m,
            (),
            [Operand(float32, (1,)), Operand(float64, (0,))],
            [Operand(float32, (1,))],
            lambda e, x, rate: e.mul(x, e.cast(e.exp(rate), float32)),
        )
    )
    entry = kernel.text.split("entry:")[1].split("br ")[0]
    assert "shl i64" in entry
    assert kernel.text.count("shl i64") == entry.count("shl i64")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_do_not_depend_on_where_a_point_stands(dtype, target):
    """A point computed in a vector, under a mask or singly has the same bits."""
    x = np.random.default_rng(0).uniform(0.1, 3, 101).astype(dtype)
    for name in NAMES:
        kernel = compiled(name, float32 if dtype is np.float32 else float64, target)
        whole = kernel([x, np.zeros_like(x)], x.size)[1]
        parts = kernel([x, np.zeros_like(x)], x.size, splits=(1, 18, 19, 50, 77))[1]
        np.testing.assert_array_equal(whole.view(np.uint8), parts.view(np.uint8), err_msg=name)


@pytest.mark.parametrize("target", TARGETS)
def test_bits_of_a_chain_do_not_depend_on_where_a_point_stands(target):
    """Also where products and sums may be contracted."""

    def body(e, x, rate):
        rate = e.cast(rate, float32)
        y = e.add(e.mul(x, rate), e.mul(e.sigmoid(x), e.sub(x, rate)))
        return e.sub(e.mul(y, y), e.div(e.mul(x, 0.3), e.add(e.sqrt(e.abs(y)), 1e-3)))

    one = Operand(float32, (1,))
    kernel = Compiled(
        lambda m: elementwise(m, (), [one, Operand(float64, (0,))], [one], body), TARGETS[target]
    )
    x = np.random.default_rng(1).standard_normal(203).astype("f4")
    arrays = [x, np.array(0.7), np.zeros_like(x)]
    whole = kernel(arrays, x.size)[2]
    for splits in ((1,), (7, 40, 41), (16, 33, 100, 150)):
        np.testing.assert_array_equal(kernel(arrays, x.size, splits=splits)[2], whole)


def test_the_smallest_normal_numbers_are_their_own_expm1_in_compiled_graphs():
    """There denormal numbers are flushed to zero, also those on the way."""
    least = np.finfo("f4").tiny
    x = np.array([least, -least, 1.5 * least, -1.9 * least, 1e-37, -0.0], "f4")
    found = cr.compile(lambda x: x.expm1(), engine="native")(cr.tensor(x)).numpy()
    np.testing.assert_array_equal(found, x)
    assert np.signbit(found[-1])
