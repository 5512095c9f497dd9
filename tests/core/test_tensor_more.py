"""Sorting, joining, diagonals, order statistics, in-place forms and their like, beside PyTorch's:
values, dtypes and gradients, on shapes that hypothesis makes."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule.errors import ChainruleError, DTypeError, GradientError, OptionError, ShapeError

SEEDS = st.integers(0, 2**31)
ANY = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4)
FULL = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)
MATRICES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=5)
VECTORS = hnp.array_shapes(min_dims=1, max_dims=1, min_side=1, max_side=6)
DEEP = hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=3)


def same(ours: Any, theirs: Any, scale: float = 1e-12) -> None:
    if isinstance(theirs, (tuple, list)) and not isinstance(theirs, torch.Size):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other, scale)
        return
    if not isinstance(theirs, torch.Tensor):
        assert ours == theirs
        return
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert ours.dtype.name == str(theirs.dtype).removeprefix("torch.")
    found, expected = ours.detach().numpy(), theirs.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=scale, atol=scale, equal_nan=True)


def slopes(results: Any, weights: Any, x: Any, m: Any) -> Any:
    """The gradient of a weighted sum of all floating-point results."""
    parts = results if isinstance(results, (tuple, list)) else (results,)
    total = None
    for k, part in enumerate(parts):
        if part.dtype == m.float64 and part.requires_grad:
            weight = weights.standard_normal(tuple(part.shape))
            term = (part * m.from_numpy(np.asarray(weight))).sum()
            total = term if k == 0 or total is None else total + term
    if total is None:
        return None
    total.backward()
    return x.grad


def compare(line: Any, array: np.ndarray, scale: float = 1e-12) -> None:
    """A line's values and its gradient, in float64."""
    ours = cr.tensor(array, requires_grad=True)
    theirs = torch.tensor(array, requires_grad=True)
    found, expected = line(cr, ours), line(torch, theirs)
    same(found, expected, scale)
    seed = 5
    mine = slopes(found, np.random.default_rng(seed), ours, cr)
    other = slopes(expected, np.random.default_rng(seed), theirs, torch)
    if other is not None:
        same(mine, other, 10 * scale)


# What takes one tensor and gives as many elements or others: (line, shapes, from, to).
LINES: dict[str, tuple[Any, Any, float, float]] = {
    "sort": (lambda m, x: m.sort(x), ANY, -3, 3),
    "sort 0": (lambda m, x: x.sort(dim=0, descending=True), FULL, -3, 3),
    "argsort": (lambda m, x: m.argsort(x), ANY, -3, 3),
    "topk 1": (lambda m, x: m.topk(x, 1), FULL, -3, 3),
    "topk all": (lambda m, x: x.topk(x.shape[0], dim=0, largest=False), FULL, -3, 3),
    "kthvalue": (lambda m, x: m.kthvalue(x, 1), FULL, -3, 3),
    "kthvalue last": (lambda m, x: x.kthvalue(x.shape[0], 0, keepdim=True), FULL, -3, 3),
    "median": (lambda m, x: m.median(x), ANY, -3, 3),
    "median 0": (lambda m, x: x.median(0), FULL, -3, 3),
    "median keep": (lambda m, x: x.median(-1, keepdim=True), FULL, -3, 3),
    "cumsum": (lambda m, x: m.cumsum(x, 0), ANY, -3, 3),
    "cumsum -1": (lambda m, x: x.cumsum(-1), FULL, -3, 3),
    "cumprod": (lambda m, x: m.cumprod(x, 0), ANY, 0.5, 2),
    "cumprod -1": (lambda m, x: x.cumprod(dim=-1), FULL, -2, -0.5),
    "prod": (lambda m, x: m.prod(x), ANY, -2, 2),
    "prod 0": (lambda m, x: x.prod(0), FULL, -2, 2),
    "prod keep": (lambda m, x: x.prod(-1, keepdim=True), FULL, -2, 2),
    "tril": (lambda m, x: m.tril(x), DEEP, -3, 3),
    "tril 1": (lambda m, x: x.tril(1), DEEP, -3, 3),
    "triu": (lambda m, x: m.triu(x, -1), DEEP, -3, 3),
    "outer": (lambda m, x: m.outer(x, x), VECTORS, -3, 3),
    "ger": (lambda m, x: x.ger(x), VECTORS, -3, 3),
    "einsum trace": (lambda m, x: m.einsum("ij,ij->", x, x), MATRICES, -3, 3),
    "einsum turn": (lambda m, x: m.einsum("ij->ji", x), MATRICES, -3, 3),
    "einsum product": (lambda m, x: m.einsum("ij,kj->ik", x, x), MATRICES, -3, 3),
    "einsum three": (lambda m, x: m.einsum("ij,kj,kl", x, x, x), MATRICES, -3, 3),
    "einsum sum": (lambda m, x: m.einsum("ij->j", x), MATRICES, -3, 3),
    "masked_select": (lambda m, x: m.masked_select(x, x > 0), ANY, -3, 3),
    "nonzero": (lambda m, x: m.nonzero(x > 0), FULL, -3, 3),
    "argwhere": (lambda m, x: m.argwhere(x > 0), FULL, -3, 3),
    "isnan": (lambda m, x: m.isnan(x / 0), ANY, -1, 1),
    "isinf": (lambda m, x: (x / 0).isinf(), ANY, -1, 1),
    "isfinite": (lambda m, x: m.isfinite(x), ANY, -1, 1),
    "roll": (lambda m, x: m.roll(x, 2), ANY, -3, 3),
    "roll 0": (lambda m, x: x.roll(-1, 0), FULL, -3, 3),
    "meshgrid": (lambda m, x: m.meshgrid(x, x + 1, indexing="xy"), VECTORS, -3, 3),
    "log2": (lambda m, x: m.log2(x), ANY, 0.1, 9),
    "log10": (lambda m, x: x.log10(), ANY, 0.1, 9),
    "exp2": (lambda m, x: m.exp2(x), ANY, -3, 3),
    "rsqrt": (lambda m, x: x.rsqrt(), ANY, 0.1, 9),
    "reciprocal": (lambda m, x: m.reciprocal(x), ANY, 0.1, 9),
    "round": (lambda m, x: m.round(x * 2) + x.round(decimals=1), ANY, -4, 4),
    "trunc": (lambda m, x: m.trunc(x), ANY, -4, 4),
    "frac": (lambda m, x: x.frac(), ANY, -4, 4),
    "tan": (lambda m, x: m.tan(x), ANY, -1, 1),
    "sinh": (lambda m, x: m.sinh(x), ANY, -3, 3),
    "cosh": (lambda m, x: x.cosh(), ANY, -3, 3),
    "logit": (lambda m, x: m.logit(x), ANY, 0.05, 0.95),
    "logit eps": (lambda m, x: x.logit(0.1), ANY, 0.01, 0.99),
    "lerp": (lambda m, x: m.lerp(x, x * x, 0.3), ANY, -3, 3),
    "addcmul": (lambda m, x: m.addcmul(x, x, x, value=0.5), ANY, -3, 3),
    "addcdiv": (lambda m, x: x.addcdiv(x, x + 9, value=2), ANY, -3, 3),
    "fmod": (lambda m, x: m.fmod(x, 1.3), ANY, -4, 4),
    "remainder": (lambda m, x: m.remainder(x, -1.3), ANY, -4, 4),
    "floor_divide": (lambda m, x: m.floor_divide(x.detach(), 0.7), ANY, -4, 4),
    "hypot": (lambda m, x: m.hypot(x, x * x), ANY, 0.1, 4),
    "logaddexp": (lambda m, x: m.logaddexp(x * 300, x), ANY, -4, 4),
    "logical_xor": (lambda m, x: m.logical_xor(x > 0, x > 1), ANY, -4, 4),
    "clamp_min": (lambda m, x: m.clamp_min(x, 0.5), ANY, -4, 4),
    "clamp_max": (lambda m, x: x.clamp_max(0.5), ANY, -4, 4),
    "clip": (lambda m, x: m.clip(x, -1, 1), ANY, -4, 4),
    "nan_to_num": (lambda m, x: m.nan_to_num(x / x.trunc(), 7.0, 8.0, -8.0), ANY, -3, 3),
    "isclose": (lambda m, x: m.isclose(x, x.round(), atol=0.2), ANY, -3, 3),
    "hstack": (lambda m, x: m.hstack([x, 2 * x]), ANY, -3, 3),
    "vstack": (lambda m, x: m.vstack([x, 2 * x]), ANY, -3, 3),
    "column_stack": (lambda m, x: m.column_stack([x, 2 * x]), VECTORS, -3, 3),
    "ravel": (lambda m, x: m.ravel(x), ANY, -3, 3),
    "unflatten": (lambda m, x: m.unflatten(x, 0, (1, -1)), FULL, -3, 3),
    "narrow": (lambda m, x: m.narrow(x, 0, 0, 1), FULL, -3, 3),
    "narrow end": (lambda m, x: x.narrow(-1, -1, 1), FULL, -3, 3),
    "select": (lambda m, x: m.select(x, -1, 0), FULL, -3, 3),
    "movedim": (lambda m, x: m.movedim(x, 0, -1), FULL, -3, 3),
    "moveaxis": (lambda m, x: x.moveaxis((0, 1), (1, 0)), DEEP, -3, 3),
    "swapaxes": (lambda m, x: m.swapaxes(x, 0, -1), FULL, -3, 3),
    "broadcast_to": (lambda m, x: m.broadcast_to(x, (2, *x.shape)), ANY, -3, 3),
    "broadcast_tensors": (lambda m, x: m.broadcast_tensors(x, x[:1]), FULL, -3, 3),
    "tile": (lambda m, x: m.tile(x, (2, 2)), ANY, -3, 3),
    "repeat_interleave": (lambda m, x: m.repeat_interleave(x, 2), ANY, -3, 3),
    "repeat_interleave 0": (lambda m, x: x.repeat_interleave(3, dim=0), FULL, -3, 3),
    "fliplr": (lambda m, x: m.fliplr(x), DEEP, -3, 3),
    "flipud": (lambda m, x: x.flipud(), FULL, -3, 3),
    "diagonal": (lambda m, x: m.diagonal(x), DEEP, -3, 3),
    "diagonal 1": (lambda m, x: x.diagonal(1, -2, -1), DEEP, -3, 3),
    "diagonal -1": (lambda m, x: x.diagonal(-1, 1, 0), DEEP, -3, 3),
    "diag": (lambda m, x: m.diag(x, 1), MATRICES, -3, 3),
    "diag of vector": (lambda m, x: x.diag(-2), VECTORS, -3, 3),
    "trace": (lambda m, x: x.trace(), MATRICES, -3, 3),
    "index_add": (lambda m, x: m.index_add(x, 0, m.tensor([0, 0]), x[[0, -1]]), FULL, -3, 3),
    "index_fill": (lambda m, x: x.index_fill(0, m.tensor([0]), 7.0), FULL, -3, 3),
    "take": (lambda m, x: m.take(x, m.tensor([[0, 0]])), FULL, -3, 3),
    "take_along_dim": (lambda m, x: m.take_along_dim(x, x.argsort(0), 0), FULL, -3, 3),
    "diff": (lambda m, x: m.diff(x), FULL, -3, 3),
    "diff 2": (lambda m, x: x.diff(2, 0), FULL, -3, 3),
    "scatter": (
        lambda m, x: m.scatter(x, 0, m.zeros((1, *x.shape[1:]), dtype=m.int64), x[:1] * 5),
        FULL, -3, 3,
    ),
    "scatter number": (
        lambda m, x: x.scatter(0, m.zeros((1, *x.shape[1:]), dtype=m.int64), 2.5), FULL, -3, 3,
    ),
    "scatter_add": (
        lambda m, x: x.scatter_add(0, m.zeros(tuple(x.shape), dtype=m.int64), x * x), FULL, -3, 3,
    ),
    "gather": (lambda m, x: m.gather(x, 0, m.zeros((1,) * x.ndim, dtype=m.int64)), FULL, -3, 3),
    "scatter short": (
        lambda m, x: x.scatter(0, m.zeros((1,) * x.ndim, dtype=m.int64), x.detach() * 2),
        FULL, -3, 3,
    ),
    "count_nonzero": (lambda m, x: m.count_nonzero(x > 0), ANY, -3, 3),
    "std_mean": (lambda m, x: m.std_mean(m.stack([x, x * x])), ANY, 0.5, 3),
    "var_mean": (lambda m, x: m.var_mean(m.stack([x, x * x]), dim=0), ANY, -3, 3),
    "aminmax": (lambda m, x: tuple(m.aminmax(x, dim=0)), FULL, -3, 3),
    "quantile": (lambda m, x: m.quantile(x, 0.3), ANY, -3, 3),
    "quantile 0": (lambda m, x: x.quantile(0.75, dim=0, keepdim=True), FULL, -3, 3),
    "mv": (lambda m, x: m.mv(x, x[0]), MATRICES, -3, 3),
    "inner": (lambda m, x: m.inner(x, x), FULL, -3, 3),
    "tensordot": (lambda m, x: m.tensordot(x, x, ([0], [0])), FULL, -3, 3),
    "tensordot 1": (lambda m, x: m.tensordot(x, x.t(), 1), MATRICES, -3, 3),
    "addmm": (lambda m, x: m.addmm(x[:, :1], x, x.t(), beta=2, alpha=0.5), MATRICES, -3, 3),
    "dist": (lambda m, x: m.dist(x, x * x + 1), ANY, -3, 3),
    "norm 1": (lambda m, x: m.norm(x, 1), ANY, 0.1, 3),
    "norm inf": (lambda m, x: m.norm(x, float("inf")), ANY, 0.1, 3),
    "masked_fill": (lambda m, x: m.masked_fill(x, x > 0, 2.0), ANY, -3, 3),
    "where method": (lambda m, x: x.where(x > 0, x * 2), ANY, -3, 3),
    "bmm": (lambda m, x: m.bmm(x.unsqueeze(0), x.t().unsqueeze(0)), MATRICES, -3, 3),
    "new": (lambda m, x: x.new_ones(2) + x.new_full((2,), 3) + x.new_tensor([1, 2]), ANY, -3, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
@settings(max_examples=8)
@given(data=st.data())
def test_values_and_gradients_are_those_of_torch(name: str, data: Any) -> None:
    line, shapes, low, high = LINES[name]
    rng = np.random.default_rng(data.draw(SEEDS))
    compare(line, np.asarray(rng.uniform(low, high, data.draw(shapes))))


IN_PLACE: dict[str, Any] = {
    "pow_": lambda m, x: x.pow_(2),
    "neg_": lambda m, x: x.neg_(),
    "abs_": lambda m, x: x.abs_(),
    "sign_": lambda m, x: x.sign_(),
    "exp_": lambda m, x: x.exp_(),
    "log_": lambda m, x: x.log_(),
    "sqrt_": lambda m, x: x.sqrt_(),
    "rsqrt_": lambda m, x: x.rsqrt_(),
    "square_": lambda m, x: x.square_(),
    "reciprocal_": lambda m, x: x.reciprocal_(),
    "floor_": lambda m, x: x.floor_(),
    "ceil_": lambda m, x: x.ceil_(),
    "round_": lambda m, x: x.round_(),
    "trunc_": lambda m, x: x.trunc_(),
    "sin_": lambda m, x: x.sin_(),
    "cos_": lambda m, x: x.cos_(),
    "tanh_": lambda m, x: x.tanh_(),
    "sigmoid_": lambda m, x: x.sigmoid_(),
    "relu_": lambda m, x: x.relu_(),
    "clamp_": lambda m, x: x.clamp_(0.5, 1.5),
    "clip_": lambda m, x: x.clip_(max=1.0),
    "clamp_min_": lambda m, x: x.clamp_min_(1.0),
    "clamp_max_": lambda m, x: x.clamp_max_(1.0),
    "lerp_": lambda m, x: x.lerp_(x * 2, 0.5),
    "addcmul_": lambda m, x: x.addcmul_(m.full((3, 4), 2.0), m.ones(3, 4), value=2),
    "addcdiv_": lambda m, x: x.addcdiv_(m.full((3, 4), 2.0), m.full((3, 4), 4.0)),
    "scatter_": lambda m, x: x.scatter_(1, m.tensor([[1], [0], [2]]), 1.0),
    "scatter_add_": lambda m, x: x.scatter_add_(1, m.tensor([[1], [0], [2]]), m.ones(3, 1)),
    "index_add_": lambda m, x: x.index_add_(0, m.tensor([1, 1]), m.ones(2, 4), alpha=2),
    "index_fill_": lambda m, x: x.index_fill_(1, m.tensor([0, 3]), 9.0),
    "tril_": lambda m, x: x.tril_(),
    "triu_": lambda m, x: x.triu_(1),
    "fill_diagonal_": lambda m, x: x.fill_diagonal_(5.0),
    "masked_fill_": lambda m, x: x.masked_fill_(x > 1, 0.0),
    "unsqueeze_": lambda m, x: x.unsqueeze_(1),
    "squeeze_": lambda m, x: x.unsqueeze_(0).squeeze_(0),
    "t_": lambda m, x: x.t_(),
    "transpose_": lambda m, x: x.transpose_(0, 1),
    "nan_to_num_": lambda m, x: x.nan_to_num_(),
    "**=": lambda m, x: x.__ipow__(3),
    "//=": lambda m, x: x.__ifloordiv__(0.3),
    "%=": lambda m, x: x.__imod__(0.7),
    "zero_": lambda m, x: x.zero_(),
}
MATRIX = np.random.default_rng(1).uniform(0.2, 2.0, (3, 4)).astype(np.float32)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_forms_change_the_tensor_as_torch_does(name: str) -> None:
    ours, theirs = cr.tensor(MATRIX), torch.tensor(MATRIX)
    assert IN_PLACE[name](cr, ours) is ours
    IN_PLACE[name](torch, theirs)
    same(ours, theirs, 1e-6)


@pytest.mark.parametrize("name", [n for n in IN_PLACE if n not in ("//=", "zero_")])
def test_gradients_flow_through_in_place_forms(name: str) -> None:
    found = []
    for m in (cr, torch):
        x = m.tensor(MATRIX, requires_grad=True)
        y = x * 1
        IN_PLACE[name](m, y)
        (y * y).sum().backward()
        found.append(x.grad)
    same(found[0], found[1], 1e-5)


def test_in_place_forms_refuse_what_would_mislead() -> None:
    with pytest.raises(GradientError, match="exp_ would overwrite a leaf"):
        cr.ones(2, requires_grad=True).exp_()
    with pytest.raises(GradientError, match="would write into a view"):
        cr.ones(2, 2)[0].exp_()
    with pytest.raises(DTypeError, match=r"cannot be written into a tensor of chainrule\.int64"):
        cr.tensor([1, 2]).sqrt_()
    with pytest.raises(ShapeError, match=r"pow_ cannot change a tensor's shape from \(1,\) to"):
        cr.ones(1).pow_(cr.ones(3))
    with pytest.raises(ShapeError, match="fill_diagonal_ takes a matrix"):
        cr.ones(3).fill_diagonal_(1.0)


WHOLE = [
    lambda m, x: m.sort(x),
    lambda m, x: m.cumsum(x, 0),
    lambda m, x: m.cumprod(x, 0),
    lambda m, x: m.prod(x),
    lambda m, x: m.median(x),
    lambda m, x: m.unique(x),
    lambda m, x: m.unique(x, return_inverse=True, return_counts=True),
    lambda m, x: m.bincount(x.reshape(-1)),
    lambda m, x: m.log2(x),
    lambda m, x: m.rsqrt(x),
    lambda m, x: m.round(x) if m is cr else x,
    lambda m, x: m.remainder(x, 3),
    lambda m, x: m.floor_divide(x, 3),
    lambda m, x: m.diff(x, dim=0),
    lambda m, x: m.count_nonzero(x),
    lambda m, x: x.tril(),
    lambda m, x: m.diag(x),
    lambda m, x: x.float().mean(),
    lambda m, x: (3 in x, 77 in x),
    lambda m, x: x.element_size(),
    lambda m, x: x.byte(),
    lambda m, x: m.repeat_interleave(x, m.tensor([1, 0, 2]), 0),
    lambda m, x: m.scatter(x, 0, m.tensor([[1, 0]]), 9),
]


@pytest.mark.parametrize("kind", ["int64", "int32", "uint8"])
@pytest.mark.parametrize("line", WHOLE)
def test_whole_numbers_are_as_torchs(line: Any, kind: str) -> None:
    array = np.random.default_rng(2).integers(1, 9, (3, 3)).astype(kind)
    same(line(cr, cr.tensor(array)), line(torch, torch.tensor(array)), 1e-6)


def test_equal_elements_keep_their_order() -> None:
    array = np.array([2.0, 1.0, 2.0, 1.0, 1.0, float("nan"), 2.0])
    for descending in (False, True):
        same(
            cr.sort(cr.tensor(array), descending=descending),
            torch.sort(torch.tensor(array), descending=descending, stable=True),
        )


def test_comparisons_of_whole_tensors() -> None:
    a, b = cr.tensor([1.0, 2.0]), cr.tensor([1.0, 2.0 + 1e-7])
    assert cr.allclose(a, b) and a.allclose(b) and not a.allclose(b + 1)
    assert cr.equal(a, a.clone()) and not a.equal(cr.ones(3))


def test_one_hot_by_scatter() -> None:
    classes = [2, 0, 1, 2]
    ours = cr.zeros(4, 3).scatter_(1, cr.tensor(classes).unsqueeze(1), 1)
    theirs = torch.zeros(4, 3).scatter_(1, torch.tensor(classes).unsqueeze(1), 1)
    same(ours, theirs)


CONSTRUCTED = [
    lambda m: m.Tensor([1, 2]),
    lambda m: m.Tensor([[1, 2], [3, 4]]),
    lambda m: m.Tensor(2, 3).shape == (2, 3),
    lambda m: m.Tensor(4).shape == (4,),
    lambda m: m.Tensor([]),
    lambda m: m.FloatTensor([1, 2]),
    lambda m: m.DoubleTensor([1, 2]),
    lambda m: m.LongTensor([1, 2]),
    lambda m: m.IntTensor([1, 2]),
    lambda m: m.ByteTensor([1, 2]),
    lambda m: m.BoolTensor([True, False]),
    lambda m: m.FloatTensor(2, 3).shape == (2, 3),
    lambda m: m.ones(2).type(m.LongTensor),
    lambda m: m.ones(2).type(m.DoubleTensor),
    lambda m: isinstance(m.ones(2), m.FloatTensor),
    lambda m: isinstance(m.ones(2), m.LongTensor),
    lambda m: m.logspace(0, 2, 5),
    lambda m: m.finfo(m.float32).eps,
    lambda m: m.iinfo(m.int32).max,
    lambda m: m.asarray([1.0, 2.0]),
    lambda m: m.detach(m.ones(2, requires_grad=True)).requires_grad,
    lambda m: m.is_floating_point(m.ones(2)),
    lambda m: (m.pi, m.e, m.inf),
]


@pytest.mark.parametrize("line", CONSTRUCTED)
def test_old_constructors_are_as_torchs(line: Any) -> None:
    same(line(cr), line(torch), 1e-6)


def test_old_constructors_refuse() -> None:
    with pytest.raises(OptionError, match="takes values, or sizes as whole numbers"):
        cr.Tensor([1.0], [2.0])
    with pytest.raises(OptionError, match="FloatTensor takes one list of values, or sizes"):
        cr.FloatTensor([1.0], [2.0])
    assert repr(cr.LongTensor) == "<chainrule.LongTensor>"


def test_the_default_dtype_can_be_set_by_a_constructor() -> None:
    try:
        cr.set_default_tensor_type("torch.DoubleTensor")
        assert cr.ones(1).dtype is cr.float64 and cr.Tensor([1]).dtype is cr.float64
    finally:
        cr.set_default_tensor_type(cr.FloatTensor)
    assert cr.ones(1).dtype is cr.float32


@pytest.mark.parametrize(
    ("draw", "mean", "deviation"),
    [
        (lambda: cr.empty(40000).uniform_(-1, 3), 1.0, 4 / 12**0.5),
        (lambda: cr.empty(40000).normal_(2, 0.5), 2.0, 0.5),
        (lambda: cr.empty(40000).exponential_(2.0), 0.5, 0.5),
        (lambda: cr.empty(40000).bernoulli_(0.25), 0.25, 0.1875**0.5),
        (lambda: cr.empty(40000).random_(2, 12), 6.5, 99**0.5 / 12**0.5),
        (lambda: cr.empty(40000).random_(10), 4.5, 99**0.5 / 12**0.5),
        (lambda: cr.normal(1.0, 2.0, (40000,)), 1.0, 2.0),
        (lambda: cr.normal(cr.full((40000,), 3.0), 2.0), 3.0, 2.0),
        (lambda: cr.bernoulli(cr.full((40000,), 0.5)), 0.5, 0.5),
        (lambda: cr.randint_like(cr.empty(40000), 10), 4.5, 99**0.5 / 12**0.5),
        (lambda: cr.multinomial(cr.tensor([1.0, 3.0]), 40000, True).float(), 0.75, 0.1875**0.5),
    ],
)
def test_draws_have_the_mean_and_deviation_asked_for(
    draw: Any, mean: float, deviation: float
) -> None:
    cr.manual_seed(11)
    drawn = draw()
    assert drawn.mean().item() == pytest.approx(mean, abs=5 * deviation / 200)
    assert drawn.std().item() == pytest.approx(deviation, rel=0.05)
    cr.manual_seed(11)
    assert draw().equal(drawn)


def test_draws_without_replacement_are_distinct_and_weighted() -> None:
    cr.manual_seed(3)
    weights = cr.tensor([[0.0, 1.0, 2.0, 3.0]]).expand(3000, 4)
    drawn = cr.multinomial(weights, 2)
    assert all(len(set(row)) == 2 and 0 not in row for row in drawn.tolist())
    shares = [(drawn[:, 0] == k).float().mean().item() for k in range(1, 4)]
    assert shares == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=0.04)
    for wrong in (cr.tensor([-1.0, 1.0]), cr.tensor([0.0, 0.0]), cr.tensor([float("nan")])):
        with pytest.raises(OptionError, match="finite weights of 0 or more"):
            cr.multinomial(wrong, 1)
    with pytest.raises(OptionError, match="2 draws without replacement from 1 places"):
        cr.multinomial(cr.tensor([0.0, 1.0]), 2)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: cr.topk(cr.ones(3), 4), ShapeError, "topk: k is 4, and axis -1 has 3 elements"),
        (lambda: cr.kthvalue(cr.ones(3), 0), ShapeError, "kthvalue: k is 0"),
        (lambda: cr.narrow(cr.ones(3), 0, 2, 2), ShapeError, "narrow: 2 slices from 2 on"),
        (lambda: cr.movedim(cr.ones(2, 3), (0, 1), 0), ShapeError, "2 axes cannot go to 1 places"),
        (lambda: cr.diagonal(cr.ones(3)), ShapeError, "a diagonal needs two axes|does not exist"),
        (lambda: cr.diag(cr.ones(2, 2, 2)), ShapeError, "diag takes a vector or a matrix"),
        (lambda: cr.quantile(cr.ones(3), 1.5), OptionError, "a share lies between 0 and 1"),
        (lambda: cr.tril(cr.ones(3)), ShapeError, "a triangle needs two dimensions"),
        (lambda: cr.einsum("ij,jk", cr.ones(2, 2)), OptionError, "names 2 operands, and 1 were"),
        (lambda: cr.einsum("i...", cr.ones(2)), OptionError, "is not understood"),
        (lambda: cr.einsum("ij", cr.ones(2)), OptionError, "names 2 axes of an operand of shape"),
        (lambda: cr.einsum("ij->k", cr.ones(2, 2)), OptionError, "names an axis twice, or one"),
        (lambda: cr.einsum("i,i", cr.ones(2), cr.ones(3)), ShapeError, "has lengths 2 and 3"),
        (lambda: cr.tensordot(cr.ones(2), cr.ones(3), 1), ShapeError, "differ in length"),
        (lambda: cr.meshgrid(cr.ones(2), indexing="no"), OptionError, "indexing is 'ij' or 'xy'"),
    ],
)
def test_errors_say_what_is_wrong(call: Any, error: type[ChainruleError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize(
    "name", ["sort", "cumsum", "topk 1", "prod 0", "tril", "diagonal", "median 0"]
)
def test_traced_and_compiled_functions_give_the_same(name: str) -> None:
    line = LINES[name][0]
    x = cr.tensor(MATRIX)

    def total(x: Any) -> Any:
        result = line(cr, x)
        return result[0] if isinstance(result, tuple) else result

    expected = total(x)
    for engine in ("numpy", "native"):
        found = cr.compile(total, engine=engine)(x)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)


SPELLINGS = [
    lambda m, x: m.zeros(size=(2, 2)) + m.ones(size=(2, 2)) + m.empty(size=(2, 2)) * 0,
    lambda m, x: m.zeros(2, device="cpu", dtype=m.float64),
    lambda m, x: m.zeros([2, 3], dtype=m.int32),
    lambda m, x: m.rand(size=(2, 3)).shape == m.randn(size=(2, 3), device="cpu").shape,
    lambda m, x: m.arange(start=1, end=7, step=2),
    lambda m, x: m.arange(1, end=4),
    lambda m, x: m.arange(5, device="cpu", dtype=m.float32),
    lambda m, x: m.arange(0, 1, step=0.25),
    lambda m, x: m.linspace(0, 1, steps=5, device=m.device("cpu")),
    lambda m, x: m.eye(2, 3, device="cpu"),
    lambda m, x: m.full((2,), 3, device="cpu"),
    lambda m, x: m.full_like(x, 2.0, requires_grad=True).requires_grad,
    lambda m, x: m.zeros_like(x, device="cpu", dtype=m.int64),
    lambda m, x: m.ones_like(x, requires_grad=True).requires_grad,
    lambda m, x: m.empty_like(x, device="cpu").shape == x.shape,
    lambda m, x: m.rand_like(x, dtype=m.float64).dtype == m.float64,
    lambda m, x: m.randn_like(x, requires_grad=True).requires_grad,
    lambda m, x: m.randint(low=0, high=2, size=(3, 2), device="cpu").dtype == m.int64,
    lambda m, x: sorted(m.randperm(4, device="cpu").tolist()),
    lambda m, x: m.where(x > 1),
    lambda m, x: x.sum(axis=1),
    lambda m, x: m.sum(x, axis=0, keepdims=True),
    lambda m, x: m.mean(x, axis=(0, 1)),
    lambda m, x: x.max(axis=1),
    lambda m, x: m.min(x, dim=0, keepdims=True),
    lambda m, x: m.argmax(x, axis=1),
    lambda m, x: m.cat([x, x], axis=1),
    lambda m, x: m.stack([x, x], axis=-1),
    lambda m, x: x.std(0, unbiased=False),
    lambda m, x: x.std(1, False),
    lambda m, x: x.std(False),
    lambda m, x: m.var(x, 1, unbiased=True, keepdim=True),
    lambda m, x: m.var(x, dim=0, correction=0),
    lambda m, x: m.flip(x, dims=[0]),
    lambda m, x: m.permute(x, dims=(1, 0)),
    lambda m, x: m.reshape(x, shape=(4, 3)),
    lambda m, x: str(m.ones(1).device),
    lambda m, x: (str(m.device("cuda:1")), str(m.device("cuda", 1)), repr(m.device("cpu"))),
    lambda m, x: f"{x[0, 0]:.3f} {x[0, 0].item():.3f} {m.tensor(3):d}",
    lambda m, x: "%d %.2f" % (m.tensor(3), m.tensor(2.5)),  # noqa: UP031 - as tutorials print
    lambda m, x: [row.sum() for row in x],
    lambda m, x: sum([x[0], x[1]]),
    lambda m, x: max([m.tensor(1.0), m.tensor(2.0)]),
]


@pytest.mark.parametrize("line", SPELLINGS)
def test_other_spellings_of_the_same_arguments(line: Any) -> None:
    same(line(cr, cr.tensor(MATRIX)), line(torch, torch.tensor(MATRIX)), 1e-6)


@pytest.mark.parametrize("name", ["zeros", "ones", "empty", "rand", "randn", "eye", "randperm"])
def test_a_device_that_holds_no_eager_tensors_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="'cuda' holds no eager tensors"):
        getattr(cr, name)(2, device="cuda")


def descent(m: Any) -> Any:
    """Descent by hand, in the two ways in which tutorials write it."""
    w = m.zeros(1, requires_grad=True)
    b = m.autograd.Variable(m.zeros(1), requires_grad=True)
    x = m.linspace(0, 1, 20)
    for step in range(60):
        loss = ((x * w + b - (2 * x + 1)) ** 2).mean()
        loss.backward()
        if step % 2:
            w.data -= 0.5 * w.grad.data
            b.data = b.data - 0.5 * b.grad.data
            w.grad.data.zero_()
            b.grad.zero_()
        else:
            with m.no_grad():
                w -= 0.5 * w.grad
                b.sub_(b.grad, alpha=0.5)
            w.grad, b.grad = None, None
    return w, b, loss


def test_descent_by_hand() -> None:
    same(descent(cr), descent(torch), 1e-5)
