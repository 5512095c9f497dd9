"""Convolution and pooling natively: kernels against their meaning, small networks against eager."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_harness import HOST, TARGETS, Compiled

import chainrule as cr
from chainrule import ops
from chainrule.dtypes import DType, float32, float64
from chainrule.engines import native
from chainrule.engines import numpy as reference
from chainrule.engines.native.kernels.channels import channelwise, largest, summed
from chainrule.engines.native.kernels.common import Operand
from chainrule.engines.native.kernels.convolution import Weights, convolution, panel_of
from chainrule.engines.native.kernels.places import (
    Behind,
    input_behind_pool,
    weights_behind_pool,
)
from chainrule.engines.native.kernels.spread import spread
from chainrule.engines.native.kernels.weights import convolution_weights
from chainrule.engines.native.kernels.windows import Frame, Windows
from chainrule.engines.native.lower.fuse import fuse
from chainrule.engines.native.lower.plan import prepare
from chainrule.engines.native.lower.simplify import simplify
from chainrule.engines.native.lower.window_ops import (
    CONVOLVE,
    CONVOLVE_PLACES,
    CONVOLVE_POOL,
    POOL,
    SPREAD,
    WEIGH,
    WEIGH_PLACES,
)
from chainrule.errors import EngineError
from chainrule.graph.graph import Graph
from chainrule.tensor import Tensor

ONES, ZEROS = (1, 1, 1), (0, 0, 0)
TOLERANCE = {float32: 2e-5, float64: 1e-13}
# (windows, channels of a group, outputs of a group, groups)
CASES = [
    (Windows(3, (1, 9, 11), (1, 9, 11), (1, 5, 5), ONES, ONES, (0, 2, 2)), 1, 16, 1),
    (Windows(2, (1, 7, 8), (1, 3, 4), (1, 3, 3), (1, 2, 2), (1, 2, 1), (0, 1, 1)), 5, 24, 1),
    (Windows(2, (1, 1, 40), (1, 1, 32), (1, 1, 9), ONES, ONES, ZEROS), 3, 32, 1),
    (Windows(2, (4, 3, 5), (4, 3, 5), (3, 3, 3), ONES, ONES, ONES), 4, 7, 1),
    (Windows(1, (1, 4, 4), (1, 8, 8), (1, 3, 3), ONES, ONES, (0, 1, 1), (1, 2, 2)), 16, 3, 1),
    (Windows(2, (1, 6, 6), (1, 6, 6), (1, 3, 3), ONES, ONES, (0, 1, 1)), 2, 3, 2),
    (Windows(2, (1, 6, 7), (1, 3, 7), (1, 3, 3), (1, 2, 1), ONES, (0, 1, 1)), 1, 1, 19),
    (Windows(2, (1, 1, 13), (1, 1, 13), ONES, ONES, ONES, ZEROS), 17, 40, 1),
    (Windows(1, (1, 8, 8), (1, 5, 5), (1, 2, 2), ONES, ONES, (0, -2, -1)), 3, 8, 1),
]


def draw(shape: tuple[int, ...], dtype: DType) -> Any:
    made = np.random.default_rng(sum(shape)).standard_normal(shape)
    return made.astype(dtype.np)


def close(made: Any, wanted: Any, dtype: DType) -> None:
    scale = TOLERANCE[dtype] * max(1.0, float(np.abs(wanted).max(initial=0)))
    np.testing.assert_allclose(made, wanted, rtol=TOLERANCE[dtype], atol=scale)


def run_convolution(case: Any, dtype: DType, target: Any) -> None:
    at, channels, each, groups = case
    outputs = each * groups
    panel = panel_of(outputs, groups)
    x = draw((at.images * at.rows, channels * groups), dtype)
    w = draw((outputs // panel, *at.window, channels, panel), dtype)
    bias = draw((outputs,), dtype)
    compiled = Compiled(
        lambda module: convolution(
            module,
            at=at,
            x=Operand(dtype, (channels * groups, 1)),
            weights=Weights(channels, outputs, panel, groups),
            operands=[Operand(dtype, (0, 1))],
            outputs=[Operand(dtype, (outputs, 1))],
            body=lambda e, y, b: e.max(e.add(y, b), 0.0),
        ),
        target,
    )
    out = np.full((at.images * at.outputs, outputs), np.nan, dtype.np)
    made = compiled([x, w, bias, out], at.images, splits=range(1, at.images))[-1]
    wanted = CONVOLVE.array(np, x, w, at=at, groups=groups) + bias
    close(made, np.maximum(wanted, 0), dtype)


def run_weights(case: Any, dtype: DType, target: Any) -> None:
    at, channels, each, groups = case
    outputs, parts = each * groups, min(2, at.images)
    x = draw((at.images * at.rows, channels * groups), dtype)
    g = draw((at.images * at.outputs, outputs), dtype)
    compiled = Compiled(
        lambda module: convolution_weights(
            module,
            at=at,
            x=Operand(dtype, (channels * groups, 1)),
            g=Operand(dtype, (outputs, 1)),
            weights=Weights(channels, outputs, outputs, groups),
            parts=parts,
        ),
        target,
    )
    out = np.full((parts, *at.window, channels, outputs), np.nan, dtype.np)
    made = compiled([x, g, out], parts, splits=range(1, parts))[-1]
    close(made, WEIGH.array(np, x, g, at=at, groups=groups, parts=parts), dtype)


def run_pools(case: Any, dtype: DType, target: Any) -> None:
    at, channels = case[0], case[1] * case[3]
    x = draw((at.images * at.rows, channels), dtype).round(1)
    for what in ("value", "code", "place", "sum"):
        frame = Frame(at, channels, Operand(dtype, (channels, 1)), _border(what))
        wanted = POOL.array(np, x, at=at, what=what)
        core = summed if what == "sum" else largest([what])
        kind = cr.dtypes.uint8 if what == "code" else cr.int64 if what == "place" else dtype
        out = np.zeros(wanted.shape, kind.np)
        compiled = Compiled(
            lambda module, frame=frame, core=core, kind=kind: channelwise(
                module,
                "pool",
                frame,
                [],
                core,
                [],
                [Operand(kind, (channels, 1))],
                lambda e, y: y,
            ),
            target,
        )
        made = compiled([x, out], at.images, splits=range(1, at.images))[-1]
        if what == "sum":
            close(made, wanted, dtype)
        else:
            np.testing.assert_array_equal(made, wanted)


def _border(what: str) -> float:
    return 0.0 if what == "sum" else float("-inf")


def run_spread(case: Any, dtype: DType, target: Any) -> None:
    at, channels = case[0], case[1] * case[3]
    g = draw((at.images * at.outputs, channels), dtype)
    code = np.random.default_rng(1).integers(0, at.taps, g.shape).astype(np.uint8)
    for codes in ([], [code]):
        compiled = Compiled(
            lambda module, codes=codes: spread(
                module,
                at=at,
                channels=channels,
                values=Operand(dtype, (channels, 1)),
                codes=Operand(cr.dtypes.uint8, (channels, 1)) if codes else None,
                outputs=[Operand(dtype, (channels, 1))],
            ),
            target,
        )
        out = np.full((at.images * at.rows, channels), np.nan, dtype.np)
        made = compiled([g, *codes, out], at.images, splits=range(1, at.images))[-1]
        close(made, SPREAD.array(np, g, *codes, at=at), dtype)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("number", range(len(CASES)))
def test_kernels_on_every_target(number: int, target: str) -> None:
    case, dtype = CASES[number], float64 if number % 3 == 1 else float32
    run_convolution(case, dtype, TARGETS[target])
    run_weights(case, dtype, TARGETS[target])
    at = case[0]
    if at.spread == ONES and min(at.low) >= 0:
        run_pools(case, dtype, TARGETS[target])
        run_spread(case, dtype, TARGETS[target])


@st.composite
def cases(draw: Any) -> Any:
    """Windows of any kind on images of one to three axes."""
    rank = draw(st.integers(1, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return (*ONES[rank:], *(draw(st.integers(low, high)) for _ in range(rank)))

    window, stride, dilation, spread_by = each(1, 3), each(1, 3), each(1, 2), each(1, 2)
    size, low = each(1, 7 if rank < 3 else 3), tuple(n - 1 for n in each(0, 3))
    low = tuple(a if n > 1 else max(0, min(a, k - 1)) for a, n, k in zip(low, size, window))  # noqa: B905
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    span = [max(0, (n - 1) * s + 1 + a) for n, s, a in zip(size, spread_by, low, strict=True)]
    places = tuple(
        max(1, (n + draw(st.integers(0, 2)) - r) // s + 1)
        for n, r, s in zip(span, reach, stride, strict=True)
    )
    at = Windows(draw(st.integers(1, 3)), size, places, window, stride, dilation, low, spread_by)
    groups = draw(st.sampled_from([1, 1, 2, 9]))
    channels, outputs = draw(st.sampled_from([(1, 1), (1, 16), (3, 5), (8, 32), (17, 8)]))
    return at, channels, outputs, groups


@settings(max_examples=25)
@given(cases())
def test_convolution_of_any_windows(case: Any) -> None:
    run_convolution(case, float32, HOST)
    run_weights(case, float32, HOST)


# -- graphs --------------------------------------------------------------------------------------
def traced(function: Any, *arrays: Any) -> Graph:
    """The graph of a function of arrays, with what its gradients need."""
    floats = [array.dtype.kind == "f" for array in arrays]
    given = [cr.tensor(a, requires_grad=f) for a, f in zip(arrays, floats, strict=True)]
    return cr.trace(function, *given).graph


def check(function: Any, *arrays: Any) -> None:
    """Native equals NumPy, and two threads give the bits of one."""
    graph = traced(function, *arrays)
    expected = reference.compile_graph(graph)(*arrays)
    one, two = (native.compile_graph(graph, threads=n)(*arrays) for n in (1, 2))
    for a, b, c in zip(expected, one, two, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        close(b, a, float32)
        assert b.tobytes() == c.tobytes()


def convolved(x: Any, w: Any, **at: Any) -> Any:
    rank = x.ndim - 2
    settings = {"stride": (1,) * rank, "padding": ((1, 1),) * rank, "dilation": (1,) * rank}
    return Tensor(ops.apply(ops.CONVOLUTION, x.node, w.node, **{**settings, "groups": 1, **at}))


POOLING = {"window": (2, 2), "stride": (2, 2), "padding": ((0, 0),) * 2, "dilation": (1, 1)}


def pooled(x: Any, **at: Any) -> Any:
    return Tensor(ops.apply(ops.MAX_POOL, x.node, **{**POOLING, **at}))


def test_a_chain_of_layers_and_its_gradients() -> None:
    def function(x: Any, w: Any, v: Any, m: Any) -> Any:
        y = pooled(convolved(x, w).relu())
        z = pooled((convolved(y, v) + 0.1).tanh(), padding=((1, 0), (0, 1)))
        s = (z.reshape(z.shape[0], -1) @ m).exp().sum()
        return (s, *cr.grad(s, [x, w, v, m]))

    shapes = ((3, 1, 12, 10), (16, 1, 3, 3), (8, 16, 3, 3), (8 * 3 * 3, 4))
    check(function, *(draw(shape, float32) * np.float32(0.3) for shape in shapes))


LINE = Windows(2, (1, 1, 40), (1, 1, 19), (1, 1, 4), (1, 1, 2), (1, 1, 2), (0, 0, 3))
POOLED = [
    (Windows(3, (1, 9, 10), (1, 9, 10), (1, 5, 5), ONES, ONES, (0, 2, 2)), (1, 2, 2), 1, 16),
    (Windows(2, (1, 8, 9), (1, 6, 7), (1, 3, 3), ONES, ONES, ZEROS), (1, 3, 2), 16, 8),
    (Windows(2, (4, 6, 4), (4, 6, 4), (3, 3, 3), ONES, ONES, ONES), (2, 2, 2), 5, 3),
    (LINE, (1, 1, 4), 7, 9),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("number", range(len(POOLED)))
def test_gradients_behind_max_pooling(number: int, target: str) -> None:
    """Sums over the places of maxima alone, against those over everything."""
    at, window, channels, outputs = POOLED[number]
    dtype = float64 if number == 1 else float32
    places = tuple(n // k for n, k in zip(at.places, window, strict=True))
    pool = Windows(at.images, at.places, places, window, window, ONES, ZEROS)
    behind = Behind(at, pool, channels, outputs)
    x = draw((at.images * at.rows, channels), dtype)
    y = draw((at.images * at.outputs, outputs), dtype)
    code = POOL.array(np, y, at=pool, what="code")
    g, w = draw(code.shape, dtype), draw((outputs, *at.window, channels), dtype)
    operands = {
        "g": Operand(dtype, (outputs, 1)),
        "codes": Operand(cr.dtypes.uint8, (outputs, 1)),
    }
    compiled = Compiled(
        lambda module: weights_behind_pool(
            module, behind=behind, x=Operand(dtype, (channels, 1)), **operands, parts=2
        ),
        TARGETS[target],
    )
    out = np.full((2, outputs, *at.window, channels), np.nan, dtype.np)
    made = compiled([x, g, code, out], 2, splits=[1])[-1]
    close(made, WEIGH_PLACES.array(np, x, g, code, at=at, pool=pool, parts=2), dtype)
    compiled = Compiled(
        lambda module: input_behind_pool(
            module, behind=behind, **operands, outputs=[Operand(dtype, (channels, 1))]
        ),
        TARGETS[target],
    )
    out = np.full((at.images * at.rows, channels), np.nan, dtype.np)
    made = compiled([g, code, w, out], at.images, splits=[1])[-1]
    close(made, CONVOLVE_PLACES.array(np, g, code, w, at=at, pool=pool), dtype)


def test_behind_pooling_neither_the_convolution_nor_its_gradient_is_stored() -> None:
    def function(x: Any, w: Any, b: Any) -> Any:
        y = pooled((convolved(x, w) + b.reshape(1, -1, 1, 1)).relu())
        s = (y * y).sum()
        return (y, *cr.grad(s, [x, w, b]))

    arrays = draw((3, 4, 8, 8), float32), draw((8, 4, 3, 3), float32), draw((8,), float32)
    check(function, *arrays)
    graph, rewrites = prepare(traced(function, *arrays), set(range(4)))
    assert rewrites["mask_before_spread"] and rewrites["sum_of_spread"]
    names = {node.op.name for node in graph.nodes()}
    assert {"convolve_pool", "convolve_places", "weigh_places"} <= names
    assert not {"convolve_rows", "spread_rows"} & names
    kinds = [c.kind for c in fuse(graph).clusters() if c.anchor and c.anchor.op is CONVOLVE_POOL]
    assert kinds == ["window"]  # maxima, their codes, bias and ReLU are one kernel


def test_a_result_that_others_read_is_stored() -> None:
    def function(x: Any, w: Any) -> Any:
        y = convolved(x, w)
        return pooled(y), y

    check(function, draw((2, 3, 6, 6), float32), draw((4, 3, 3, 3), float32))


def test_maxima_where_windows_overlap_and_of_nothing_but_infinities() -> None:
    x = draw((2, 3, 9, 9), float32).round(1)
    x[0, 0, 2:7, 2:7], x[0, 1, 2, 2], x[1, 2, 5] = -np.inf, np.nan, np.inf

    def function(x: Any) -> Any:
        y = pooled(x, window=(3, 3), padding=((1, 1),) * 2)
        return y, cr.grad((y * 2.0).sum(), [x])[0]

    graph = traced(function, x)
    for a, b in zip(reference.compile_graph(graph)(x), native.compile_graph(graph)(x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_places_from_elsewhere_are_scattered() -> None:
    values, places = draw((2, 3, 2, 2), float32), np.arange(24).reshape(2, 3, 2, 2) % 16

    def function(values: Any, places: Any) -> Any:
        made = ops.apply(ops.MAX_POOL_INPUT, values.node, places.node, **POOLING, size=(4, 4))
        return Tensor(made)

    check(function, values, places)


def test_statistics_of_channels_stay_in_rows() -> None:
    """Batch norm behind a convolution: no array is turned over between them."""

    def function(x: Any, w: Any) -> Any:
        y = convolved(x, w)
        mean = y.mean((0, 2, 3), True)
        apart = y - mean
        z = (apart / ((apart * apart).mean((0, 2, 3), True) + 1e-5).sqrt()).relu()
        s = (z * z).amax(1).sum() + z.mean((2, 3)).exp().sum()
        return (s, *cr.grad(s, [x, w]))

    arrays = draw((4, 8, 6, 6), float32), draw((16, 8, 3, 3), float32)
    check(function, *arrays)
    graph = traced(lambda x, w: function(x, w)[0], *arrays)
    simple, _ = simplify(graph)
    turned = [n for n in simple.nodes() if n.op.name == "permute" and n.size >= 4 * 16 * 36]
    assert not turned


def test_convolution_over_no_channels_or_images_is_zero() -> None:
    for n, channels in ((2, 0), (0, 2)):
        x, w = np.zeros((n, channels, 4, 4), "f4"), np.zeros((3, channels, 3, 3), "f4")
        made = native.compile_graph(traced(convolved, x, w))(x, w)[0]
        assert made.shape == (n, 3, 4, 4) and not made.any()


def test_four_spatial_axes_are_refused_by_name() -> None:
    x, w = np.zeros((1, 1, 2, 2, 2, 2), "f4"), np.zeros((1, 1, 1, 1, 1, 1), "f4")
    graph = traced(convolved, x, w)
    with pytest.raises(EngineError, match=r'(?s)one to three spatial axes.*convolution.*"numpy"'):
        native.compile_graph(graph)(x, w)


def test_values_of_whole_images_are_not_spread_out_in_memory() -> None:
    """Global average pooling: its gradient is read where it stands."""

    def function(x: Any, w: Any) -> Any:
        y = convolved(x, w).relu()
        s = y.mean((2, 3)).exp().sum()
        return (s, *cr.grad(s, [x, w]))

    arrays = draw((3, 2, 9, 5), float32), draw((19, 2, 3, 3), float32)
    check(function, *arrays)
    graph, _ = prepare(traced(function, *arrays), set(range(3)))
    full = [n for n in graph.nodes() if n.op.name in ("copy", "expand") and n.size >= 3 * 19 * 45]
    assert not full


def test_weights_of_images_in_pieces() -> None:
    """Images that do not fit the first cache are summed piece by piece, in the same order."""
    for size, places, channels in (((1, 50, 40), (1, 50, 40), 8), ((1, 1, 999), (1, 1, 999), 16)):
        window = (1, 1, 3) if size[1] == 1 else (1, 3, 3)
        low = tuple(k // 2 for k in window)
        at = Windows(2, size, places, window, ONES, ONES, low)
        run_weights((at, channels, 24, 1), float32, HOST)
        run_weights((at, 1, 1, 17), float32, HOST)
