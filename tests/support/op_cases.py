"""One table of cases for every op: how to draw inputs and attributes, and what PyTorch calls it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import op_torch
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule import dtypes, ops
from chainrule.dtypes import DType
from chainrule.ops.custom import Rule
from chainrule.ops.scan import Body
from chainrule.xp import numpy_

FLOATS = (dtypes.float32, dtypes.float64)
INTS = (dtypes.int32, dtypes.int64, dtypes.uint8, dtypes.uint32)
NUMBERS = (*FLOATS, *INTS)
EVERY = (*NUMBERS, dtypes.bool_)


@dataclass(frozen=True)
class Real:
    """An input of the case's dtype, drawn from an interval."""

    shape: tuple[int, ...]
    low: float = -3.0
    high: float = 3.0


@dataclass(frozen=True)
class Index:
    """An input of whole numbers below ``size``."""

    shape: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class Fixed:
    """An input that is given."""

    value: Any


@dataclass(frozen=True)
class Mask:
    """An input of booleans."""

    shape: tuple[int, ...]


Spec = Real | Index | Fixed | Mask


@dataclass(frozen=True)
class Sample:
    """One example of an op: its inputs and attributes, and where its values come from."""

    specs: tuple[Spec, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def arrays(self, dtype: DType) -> list[np.ndarray]:
        """The inputs, with the reals in a dtype."""
        rng = np.random.default_rng(self.seed)
        return [_draw(spec, dtype, rng) for spec in self.specs]


@dataclass(frozen=True)
class Case:
    """How one op is tested.

    Attributes:
        sample: a strategy of samples.
        torch: the same thing in PyTorch, on tensors and attributes; None where it has none.
        types: the dtypes that its real inputs may have.
        smooth: whether the derivative is continuous almost everywhere, so that differences can
            check it.
    """

    op: ops.Op
    sample: st.SearchStrategy[Sample]
    torch: Callable[..., Any] | None
    types: tuple[DType, ...] = FLOATS
    smooth: bool = True


def _draw(spec: Spec, dtype: DType, rng: np.random.Generator) -> np.ndarray:
    if isinstance(spec, Fixed):
        return np.asarray(spec.value)
    if isinstance(spec, Mask):
        return np.asarray(rng.random(spec.shape) < 0.5)
    if isinstance(spec, Index):
        return np.asarray(rng.integers(0, max(spec.size, 1), spec.shape, dtype=np.int64))
    if dtype is dtypes.bool_:
        return np.asarray(rng.random(spec.shape) < 0.5)
    if dtype.is_int:
        low = max(int(np.ceil(spec.low)), 0 if dtype.name.startswith("u") else -(2**31))
        return np.asarray(rng.integers(low, max(int(spec.high), low) + 1, spec.shape)).astype(
            dtype.np
        )
    return np.asarray(rng.uniform(spec.low, spec.high, spec.shape)).astype(dtype.np)


SEEDS = st.integers(0, 2**31)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
FULL = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)


@st.composite
def one_input(draw: Any, low: float, high: float, attrs: dict[str, Any]) -> Sample:
    return Sample((Real(draw(SHAPES), low, high),), attrs, draw(SEEDS))


@st.composite
def two_inputs(draw: Any, low: float, high: float) -> Sample:
    shapes = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=4, max_dims=3)
    )
    return Sample(tuple(Real(s, low, high) for s in shapes.input_shapes), {}, draw(SEEDS))


@st.composite
def masked(draw: Any) -> Sample:
    shapes = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=3, min_side=0, max_side=3, max_dims=3)
    ).input_shapes
    return Sample((Mask(shapes[0]), Real(shapes[1]), Real(shapes[2])), {}, draw(SEEDS))


@st.composite
def products(draw: Any) -> Sample:
    m, k, n = (draw(st.integers(0, 4)) for _ in range(3))
    ta, tb = draw(st.booleans()), draw(st.booleans())
    lead = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=2, max_dims=2)
    ).input_shapes
    a = (k, m) if ta else (m, k)
    b = (n, k) if tb else (k, n)
    return Sample((Real((*lead[0], *a)), Real((*lead[1], *b))), {"ta": ta, "tb": tb}, draw(SEEDS))


@st.composite
def reductions(draw: Any, empty: bool) -> Sample:
    shape = draw(SHAPES if empty else FULL)
    axes = draw(st.sets(st.integers(0, max(len(shape) - 1, 0)))) if shape else set()
    attrs = {"axes": tuple(sorted(axes)), "keepdims": draw(st.booleans())}
    return Sample((Real(shape),), attrs, draw(SEEDS))


@st.composite
def places(draw: Any) -> Sample:
    shape = draw(FULL)
    attrs = {"axis": draw(st.integers(0, len(shape) - 1)), "keepdims": draw(st.booleans())}
    return Sample((Real(shape),), attrs, draw(SEEDS))


@st.composite
def orders(draw: Any, **attrs: Any) -> Sample:
    shape = draw(FULL)
    attrs["axis"] = draw(st.integers(0, len(shape) - 1))
    if "descending" in attrs:
        attrs["descending"] = draw(st.booleans())
    return Sample((Real(shape),), attrs, draw(SEEDS))


@st.composite
def reshapes(draw: Any) -> Sample:
    shape = draw(SHAPES)
    size = int(np.prod(shape))
    options = [(size,), (1, size), (size, 1, 1), shape[::-1]]
    if size % 2 == 0:
        options.append((2, size // 2))
    if size == 1:
        options.append(())
    return Sample((Real(shape),), {"shape": draw(st.sampled_from(options))}, draw(SEEDS))


@st.composite
def permutes(draw: Any) -> Sample:
    shape = draw(SHAPES)
    axes = tuple(draw(st.permutations(range(len(shape)))))
    return Sample((Real(shape),), {"axes": axes}, draw(SEEDS))


@st.composite
def expands(draw: Any) -> Sample:
    full = draw(SHAPES)
    keep = draw(st.integers(0, len(full)))
    shape = tuple(1 if draw(st.booleans()) else n for n in full[len(full) - keep :])
    return Sample((Real(shape),), {"shape": full}, draw(SEEDS))


@st.composite
def slices(draw: Any) -> Sample:
    shape = draw(SHAPES)
    starts, stops, steps = [], [], []
    for n in shape:
        start = draw(st.integers(0, n))
        starts.append(start)
        stops.append(draw(st.integers(start, n)))
        steps.append(draw(st.integers(1, 3)))
    attrs = {"starts": tuple(starts), "stops": tuple(stops), "steps": tuple(steps)}
    return Sample((Real(shape),), attrs, draw(SEEDS))


@st.composite
def pads(draw: Any) -> Sample:
    shape = draw(SHAPES)
    amounts = st.tuples(*(st.integers(0, 2) for _ in shape))
    attrs = {"low": draw(amounts), "high": draw(amounts), "interior": draw(amounts)}
    return Sample((Real(shape),), attrs, draw(SEEDS))


@st.composite
def flips(draw: Any) -> Sample:
    shape = draw(SHAPES)
    axes = draw(st.sets(st.integers(0, len(shape) - 1))) if shape else set()
    return Sample((Real(shape),), {"axes": tuple(sorted(axes))}, draw(SEEDS))


@st.composite
def concats(draw: Any) -> Sample:
    shape = draw(FULL)
    axis = draw(st.integers(0, len(shape) - 1))
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    specs = tuple(Real((*shape[:axis], n, *shape[axis + 1 :])) for n in lengths)
    return Sample(specs, {"axis": axis}, draw(SEEDS))


@st.composite
def iotas(draw: Any) -> Sample:
    shape = draw(FULL)
    kind = draw(st.sampled_from([dtypes.int64, dtypes.int32, dtypes.float32]))
    attrs = {"shape": shape, "axis": draw(st.integers(0, len(shape) - 1)), "dtype": kind}
    return Sample((), attrs, 0)


@st.composite
def takes(draw: Any) -> Sample:
    shape = draw(FULL)
    axis = draw(st.integers(0, len(shape) - 1))
    index = Index(draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0)), shape[axis])
    return Sample((Real(shape), index), {"axis": axis}, draw(SEEDS))


@st.composite
def take_adds(draw: Any) -> Sample:
    shape = draw(FULL)
    axis, size = draw(st.integers(0, len(shape) - 1)), draw(st.integers(1, 4))
    rank = draw(st.integers(0, len(shape) - axis))
    index = Index(shape[axis : axis + rank], size)
    return Sample((Real(shape), index), {"axis": axis, "size": size}, draw(SEEDS))


@st.composite
def gathers(draw: Any) -> Sample:
    shape = draw(FULL)
    axis = draw(st.integers(0, len(shape) - 1))
    length = draw(st.integers(0, 4))
    index = Index((*shape[:axis], length, *shape[axis + 1 :]), shape[axis])
    return Sample((Real(shape), index), {"axis": axis}, draw(SEEDS))


@st.composite
def scatters(draw: Any) -> Sample:
    shape = draw(FULL)
    axis, size = draw(st.integers(0, len(shape) - 1)), draw(st.integers(1, 4))
    return Sample((Real(shape), Index(shape, size)), {"axis": axis, "size": size}, draw(SEEDS))


@st.composite
def bits(draw: Any) -> Sample:
    key = np.array(draw(st.tuples(*[st.integers(0, 2**32 - 1)] * 2)), np.uint32)
    counter = np.asarray(draw(st.integers(0, 2**40)), np.int64)
    return Sample((Fixed(key), Fixed(counter)), {"shape": draw(SHAPES)}, 0)


def _backward(gradients: Any, asked: Any) -> list[Any]:
    """The derivative of (first, second) with respect to (x, y) that their user wrote down."""
    first, second = gradients
    none = first is None and second is None
    return [None if first is None else first * 3, None if none or second is None else second * 2]


@st.composite
def customs(draw: Any) -> Sample:
    """Two results, of which a user said how they depend on two inputs."""
    shape = draw(SHAPES)
    rule = Rule("user", 2, _backward)
    return Sample(tuple(Real(shape) for _ in range(4)), {"rule": rule}, draw(SEEDS))


def _bodies() -> dict[DType, Body]:
    """A small recurrent body of each floating dtype: c' = tanh(c k + x), y = (c' x, c)."""
    found = {}
    for dtype in FLOATS:

        def loop(c: Any, x: Any, k: Any) -> Any:
            def step(c: Any, x: Any, k: Any) -> Any:
                new = (c * k + x).tanh()
                return new, (new * x, c)

            return cr.scan(step, c, x, (k,))

        ones = [cr.ones(*shape, dtype=dtype, requires_grad=True) for shape in ((2,), (3, 2), (2,))]
        graph = cr.trace(loop, *ones).graph
        (node,) = [one for one in graph.nodes() if one.op is ops.SCAN]
        found[dtype] = node.attrs["body"]
    return found


@st.composite
def loops(draw: Any) -> Sample:
    length = draw(st.integers(0, 4))
    attrs = {"length": length, "reverse": draw(st.booleans()), "body": None}
    return Sample((Real((2,)), Real((length, 2)), Real((2,))), attrs, draw(SEEDS))


BODIES: dict[DType, Body] = _bodies()


@st.composite
def windows(draw: Any, kind: str) -> Sample:
    """Convolution and pooling in one to three dimensions; windows that reach over the border."""
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    most = 3 if rank == 3 else 6

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    window, stride, dilation = each(1, 3), each(1, 3), each(1, 2)
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    # Pooling's border is less than its window; a window over nothing but border has no maximum.
    widest = 2 if "convolution" in kind else 1
    padding = tuple(
        tuple(draw(st.integers(0, min(widest, r - 1) if widest == 1 else 2)) for _ in range(2))
        if widest == 2 or d == 1
        else (0, 0)
        for r, d in zip(reach, dilation, strict=True)
    )
    size = tuple(
        max(r - a - b, 0) + draw(st.integers(1, most))
        for r, (a, b) in zip(reach, padding, strict=True)
    )
    count = tuple(
        (n + a + b - r) // s + 1
        for n, (a, b), r, s in zip(size, padding, reach, stride, strict=True)
    )
    images = draw(st.integers(0, 3))
    at: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    if "convolution" in kind:
        groups, inner, outer = (draw(st.integers(1, 2)) for _ in range(3))
        at["groups"] = groups
        shapes = {
            "x": (images, groups * inner, *size),
            "w": (groups * outer, inner, *window),
            "g": (images, groups * outer, *count),
        }
        if kind == "convolution":
            names = "xw"
        elif kind == "convolution_input":
            names, at["size"] = "gw", size
        else:
            names, at["kernel"] = "xg", window
        specs = tuple(Real(shapes[one], -1.5, 1.5) for one in names)
        return Sample(specs, at, draw(SEEDS))
    channels = draw(st.integers(1, 2))
    at["window"] = window
    if kind == "pool":
        return Sample((Real((images, channels, *size)),), at, draw(SEEDS))
    at["size"] = size
    values = Real((images, channels, *count))
    if kind == "spread":
        return Sample((values,), at, draw(SEEDS))
    seed = draw(SEEDS)
    image = np.random.default_rng(seed).standard_normal((images, channels, *size))
    attrs = {name: at[name] for name in ("window", "stride", "padding", "dilation")}
    index = ops.MAX_POOL_INDEX.array(numpy_, image, **attrs)
    return Sample((values, Fixed(index)), at, seed)


def _unary(op: ops.Op, torch: Any, types: Any = FLOATS, smooth: bool = True, **attrs: Any) -> Case:
    return Case(op, one_input(*op.domain, attrs), torch, types, smooth)


def _binary(op: ops.Op, torch: Any, types: Any = EVERY, smooth: bool = True) -> Case:
    return Case(op, two_inputs(*op.domain), torch, types, smooth)


def _torch_cases() -> list[Case]:
    flat = {"smooth": False}
    return [
        _unary(ops.NEG, torch.neg, NUMBERS),
        _unary(ops.EXP, torch.exp),
        _unary(ops.LOG, torch.log),
        _unary(ops.LOG1P, torch.log1p),
        _unary(ops.EXPM1, torch.expm1),
        _unary(ops.SQRT, torch.sqrt),
        _unary(ops.ABS, torch.abs, NUMBERS),
        _unary(ops.SIGN, torch.sign, NUMBERS, **flat),
        _unary(ops.FLOOR, torch.floor, **flat),
        _unary(ops.SIN, torch.sin),
        _unary(ops.COS, torch.cos),
        _unary(ops.TANH, torch.tanh),
        _unary(ops.SIGMOID, torch.sigmoid),
        _unary(ops.RELU, torch.relu),
        _unary(ops.SOFTPLUS, torch.nn.functional.softplus),
        _unary(ops.ERF, torch.erf),
        _unary(ops.LOGICAL_NOT, torch.logical_not, EVERY),
        _unary(ops.DETACH, torch.Tensor.detach, EVERY, smooth=False),
        _unary(ops.CAST, op_torch.cast, EVERY, dtype=dtypes.float64),
        _unary(ops.SHIFT_RIGHT, lambda x, *, count: x >> count, INTS, count=1),
        _binary(ops.ADD, torch.add),
        _binary(ops.SUB, torch.sub, NUMBERS),
        _binary(ops.MUL, torch.mul),
        _binary(ops.DIV, torch.div, FLOATS),
        _binary(ops.FLOOR_DIV, torch.floor_divide, NUMBERS, smooth=False),
        _binary(ops.POW, torch.pow, NUMBERS),
        _binary(ops.MAXIMUM, torch.maximum),
        _binary(ops.MINIMUM, torch.minimum),
        _binary(ops.EQ, torch.eq),
        _binary(ops.NE, torch.ne),
        _binary(ops.LT, torch.lt),
        _binary(ops.LE, torch.le),
        _binary(ops.GT, torch.gt),
        _binary(ops.GE, torch.ge),
        _binary(ops.LOGICAL_AND, torch.logical_and),
        _binary(ops.LOGICAL_OR, torch.logical_or),
        Case(ops.WHERE, masked(), torch.where, EVERY),
        Case(
            ops.MATMUL,
            products(),
            lambda a, b, *, ta, tb: op_torch.swap(a, ta) @ op_torch.swap(b, tb),
            (*FLOATS, dtypes.int64),
        ),
        Case(ops.SUM, reductions(True), op_torch.total, NUMBERS),
        Case(ops.AMAX, reductions(False), op_torch.amax, EVERY),
        Case(
            ops.ARGMAX,
            places(),
            lambda x, *, axis, keepdims: torch.argmax(x.double(), axis, keepdims),
            EVERY,
        ),
        Case(ops.RESHAPE, reshapes(), lambda x, *, shape: x.reshape(shape), EVERY),
        Case(ops.PERMUTE, permutes(), lambda x, *, axes: x.permute(axes), EVERY),
        Case(ops.EXPAND, expands(), lambda x, *, shape: x.expand(shape), EVERY),
        Case(ops.SLICE, slices(), op_torch.slicing, EVERY),
        Case(ops.PAD, pads(), op_torch.pad, EVERY),
        Case(ops.FLIP, flips(), lambda x, *, axes: x.flip(axes), EVERY),
        Case(ops.CONCAT, concats(), lambda *parts, axis: torch.cat(parts, axis), EVERY),
        Case(ops.IOTA, iotas(), op_torch.iota),
        Case(ops.TAKE, takes(), op_torch.take, EVERY),
        Case(ops.TAKE_ADD, take_adds(), op_torch.take_add, NUMBERS),
        Case(ops.GATHER, gathers(), lambda x, i, *, axis: x.gather(axis, i), EVERY),
        Case(ops.SCATTER_ADD, scatters(), op_torch.scatter, NUMBERS),
        Case(ops.RANDOM_BITS, bits(), None),
        Case(ops.ARGSORT, orders(descending=True), op_torch.argsort, EVERY),
        Case(ops.CUMSUM, orders(), lambda x, *, axis: x.cumsum(axis), NUMBERS),
        Case(ops.CONVOLUTION, windows("convolution"), op_torch.convolution),
        Case(ops.CONVOLUTION_INPUT, windows("convolution_input"), op_torch.convolution_input),
        Case(ops.CONVOLUTION_WEIGHT, windows("convolution_weight"), op_torch.convolution_weight),
        Case(ops.MAX_POOL, windows("pool"), op_torch.max_pool),
        Case(ops.MAX_POOL_INDEX, windows("pool"), op_torch.max_pool_index),
        Case(ops.MAX_POOL_INPUT, windows("back"), op_torch.max_pool_input),
        Case(ops.WINDOW_SUM, windows("pool"), op_torch.window_sum),
        Case(ops.WINDOW_SPREAD, windows("spread"), op_torch.window_spread),
        Case(ops.SCAN, loops(), op_torch.scan),
        Case(ops.CUSTOM, customs(), op_torch.custom, smooth=False),
    ]


# Pick is tested with op_torch.scan, whose outputs it gives.
CASES: dict[str, Case] = {case.op.name: case for case in _torch_cases()}


def attributes(sample: Sample, dtype: DType) -> dict[str, Any]:
    """The attributes, the loop's body being one of the dtype."""
    if "body" in sample.attrs:
        return {**sample.attrs, "body": BODIES[dtype]}
    return sample.attrs


def outputs(case: Case, nodes: list[Any], attrs: dict[str, Any]) -> list[Any]:
    """The op applied to nodes: its output, or those of a loop that a user would see."""
    node = ops.apply(case.op, *nodes, **attrs)
    if case.op is ops.SCAN:
        return [ops.apply(ops.PICK, node, index=place) for place in range(3)]
    if case.op is ops.CUSTOM:
        return [ops.apply(ops.PICK, node, index=place) for place in range(2)]
    return [node]
