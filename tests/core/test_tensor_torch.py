"""The tensor's surface beside PyTorch's: the same line gives the same values, shapes and dtypes."""

import itertools
import operator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr

KINDS = ("float32", "float64", "int32", "int64", "uint8", "bool")


def both(array: Any, grad: bool = False) -> tuple[Any, Any]:
    array = np.asarray(array)
    return cr.tensor(array, requires_grad=grad), torch.tensor(array, requires_grad=grad)


def same(ours: Any, theirs: Any, scale: float = 1e-6) -> None:
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
    expected = theirs.detach().numpy()
    np.testing.assert_allclose(
        ours.detach().numpy(), expected, rtol=scale, atol=scale, equal_nan=True
    )


RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((3, 4)).astype(np.float32)
CUBE = RNG.standard_normal((2, 3, 4)).astype(np.float32)

LINES = [
    lambda x: x + x,
    lambda x: x - 1,
    lambda x: 2 - x,
    lambda x: x * 3,
    lambda x: 1 / x,
    lambda x: x / 2,
    lambda x: x // 2,
    lambda x: x % 2,
    lambda x: x % -2,
    lambda x: 5 % x,
    lambda x: x**2,
    lambda x: x**0.0,
    lambda x: 2**x,
    lambda x: abs(x) ** 0.5,
    lambda x: -x,
    lambda x: +x,
    lambda x: x == x,
    lambda x: x != 0,
    lambda x: x < 0,
    lambda x: x <= 0,
    lambda x: x > 0,
    lambda x: x >= 0,
    lambda x: (x > 0) & (x < 1),
    lambda x: (x > 0) | (x < -1),
    lambda x: ~(x > 0),
    lambda x: (x > 0) ^ (x < 1),
    lambda x: x.abs(),
    lambda x: x.sign(),
    lambda x: x.exp(),
    lambda x: x.expm1(),
    lambda x: x.abs().log(),
    lambda x: x.abs().log1p(),
    lambda x: x.abs().sqrt(),
    lambda x: x.square(),
    lambda x: x.reciprocal(),
    lambda x: x.floor(),
    lambda x: x.ceil(),
    lambda x: x.sin(),
    lambda x: x.cos(),
    lambda x: x.tanh(),
    lambda x: x.sigmoid(),
    lambda x: x.relu(),
    lambda x: x.erf(),
    lambda x: x.clamp(-0.5, 0.5),
    lambda x: x.clamp(min=0),
    lambda x: x.clamp(max=0),
    lambda x: x.clip(-1, 0),
    lambda x: x.maximum(x * 0),
    lambda x: x.minimum(x * 0),
    lambda x: x.logical_and(x > 0),
    lambda x: x.logical_or(x > 0),
    lambda x: x.logical_not(),
    lambda x: x.add(x, alpha=2),
    lambda x: x.sub(x, alpha=3),
    lambda x: x.mul(2),
    lambda x: x.div(2),
    lambda x: x.pow(2),
    lambda x: x.eq(0),
    lambda x: x.ne(0),
    lambda x: x.neg(),
    lambda x: x.sum(),
    lambda x: x.sum(0),
    lambda x: x.sum(-1, keepdim=True),
    lambda x: x.sum((0, 1)),
    lambda x: x.mean(),
    lambda x: x.mean(1),
    lambda x: x.mean((0, 1), keepdim=True),
    lambda x: x.var(),
    lambda x: x.var(0),
    lambda x: x.std(),
    lambda x: x.std(1),
    lambda x: x.norm(),
    lambda x: x.norm(1),
    lambda x: x.norm(float("inf")),
    lambda x: x.norm(2, dim=1),
    lambda x: x.norm(3, dim=0),
    lambda x: x.amax(),
    lambda x: x.amax(1),
    lambda x: x.amin(0, keepdim=True),
    lambda x: x.max(),
    lambda x: x.min(),
    lambda x: x.max(1),
    lambda x: x.min(0),
    lambda x: x.max(0).values,
    lambda x: x.max(1, keepdim=True).indices,
    lambda x: x.argmax(),
    lambda x: x.argmin(),
    lambda x: x.argmax(1),
    lambda x: x.argmin(0, keepdim=True),
    lambda x: x.softmax(1),
    lambda x: x.log_softmax(0),
    lambda x: x.logsumexp(1),
    lambda x: (x > 0).any(),
    lambda x: (x > 0).all(),
    lambda x: (x > 0).any(1),
    lambda x: (x > 0).all(0),
    lambda x: (x > 0).sum(),
    lambda x: x.reshape(4, 3),
    lambda x: x.reshape(-1),
    lambda x: x.reshape((2, -1)),
    lambda x: x.view(2, 6),
    lambda x: x.flatten(),
    lambda x: x.permute(1, 0),
    lambda x: x.permute((1, 0)),
    lambda x: x.transpose(0, 1),
    lambda x: x.T,
    lambda x: x.t(),
    lambda x: x.mT,
    lambda x: x.unsqueeze(0),
    lambda x: x.unsqueeze(-1),
    lambda x: x.unsqueeze(1).squeeze(1),
    lambda x: x.unsqueeze(0).squeeze(),
    lambda x: x.unsqueeze(0).expand(5, 3, 4),
    lambda x: x[:1].expand(3, -1),
    lambda x: x.repeat(2, 1),
    lambda x: x.repeat(2, 1, 2),
    lambda x: x.flip(0),
    lambda x: x.flip(0, 1),
    lambda x: x.chunk(2),
    lambda x: x.chunk(3, 1),
    lambda x: x.split(2),
    lambda x: x.split([1, 3], 1),
    lambda x: x.unbind(0),
    lambda x: x.unbind(1),
    lambda x: x @ x.T,
    lambda x: x.matmul(x.T),
    lambda x: x.mm(x.T),
    lambda x: x[0] @ x[1],
    lambda x: x @ x[0],
    lambda x: x[:, 0] @ x,
    lambda x: x[0].dot(x[1]),
    lambda x: x.float(),
    lambda x: x.double(),
    lambda x: x.long(),
    lambda x: x.int(),
    lambda x: x.bool(),
    lambda x: x.to(x),
    lambda x: x.type_as(x),
    lambda x: x.numel(),
    lambda x: x.dim(),
    lambda x: x.size(),
    lambda x: x.size(1),
    lambda x: x.shape,
    lambda x: x.ndim,
    lambda x: len(x),
    lambda x: x.tolist(),
    lambda x: x[0, 0].item(),
    lambda x: x.clone(),
    lambda x: x.detach(),
    lambda x: x.unflatten(1, (2, 2)),
    lambda x: x.view_as(x.T),
    lambda x: x.masked_fill(x > 0, 7.0),
    lambda x: list(x),
    lambda x: x[1:] + x[:1],
    lambda x: x.sum(dtype=x.double().dtype),
    lambda x: x.contiguous(),
    lambda x: x.is_floating_point(),
    lambda x: float(x[0, 0]),
    lambda x: bool(x[0, 0] > 5),
    lambda x: x.cpu(),
    lambda x: x.double().mean().item() > 5,
]


def line_number(function: Any) -> str:
    return f"line {function.__code__.co_firstlineno}"


@pytest.mark.parametrize("line", LINES, ids=line_number)
def test_lines(line: Any) -> None:
    x, t = both(MATRIX)
    same(line(x), line(t), 2e-6)


FUNCTIONS = [
    lambda m, x: m.zeros(2, 3),
    lambda m, x: m.ones((2,)),
    lambda m, x: m.full((2,), 3),
    lambda m, x: m.full((2,), 3.0),
    lambda m, x: m.full((), True),
    lambda m, x: m.eye(3),
    lambda m, x: m.eye(2, 3),
    lambda m, x: m.arange(5),
    lambda m, x: m.arange(1, 7, 2),
    lambda m, x: m.arange(0.0, 1.0, 0.25),
    lambda m, x: m.arange(5, dtype=m.float32),
    lambda m, x: m.linspace(0, 1, 5),
    lambda m, x: m.zeros_like(x),
    lambda m, x: m.ones_like(x),
    lambda m, x: m.full_like(x, 2),
    lambda m, x: m.cat([x, x]),
    lambda m, x: m.cat([x, x], dim=1),
    lambda m, x: m.stack([x, x]),
    lambda m, x: m.stack([x, x], dim=-1),
    lambda m, x: m.where(x > 0, x, 0.0),
    lambda m, x: m.where(x > 0, 1.0, x),
    lambda m, x: m.where(x > 0, x, -x),
    lambda m, x: m.max(x),
    lambda m, x: m.max(x, 1),
    lambda m, x: m.min(x, dim=0),
    lambda m, x: m.sum(x, 1),
    lambda m, x: m.mean(x),
    lambda m, x: m.exp(x),
    lambda m, x: m.sigmoid(x),
    lambda m, x: m.tanh(x),
    lambda m, x: m.relu(x),
    lambda m, x: m.softmax(x, 1),
    lambda m, x: m.log_softmax(x, dim=1),
    lambda m, x: m.matmul(x, x.T),
    lambda m, x: m.mm(x, x.T),
    lambda m, x: m.bmm(x[None], x.T[None]),
    lambda m, x: m.argmax(x, dim=1),
    lambda m, x: m.norm(x),
    lambda m, x: m.transpose(x, 0, 1),
    lambda m, x: m.permute(x, (1, 0)),
    lambda m, x: m.squeeze(x[None]),
    lambda m, x: m.unsqueeze(x, 0),
    lambda m, x: m.flatten(x),
    lambda m, x: m.reshape(x, (4, 3)),
    lambda m, x: m.chunk(x, 2),
    lambda m, x: m.split(x, 2),
    lambda m, x: m.unbind(x),
    lambda m, x: m.flip(x, (0,)),
    lambda m, x: m.abs(x),
    lambda m, x: m.clamp(x, 0),
    lambda m, x: m.maximum(x, -x),
    lambda m, x: m.eq(x, x),
    lambda m, x: m.any(x > 0),
    lambda m, x: m.all(x > 9),
    lambda m, x: m.std(x),
    lambda m, x: m.var(x, 0),
    lambda m, x: m.logsumexp(x, 1),
    lambda m, x: m.index_select(x, 1, m.tensor([0, 2])),
    lambda m, x: m.is_tensor(x),
    lambda m, x: m.numel(x),
    lambda m, x: m.gather(x, 1, m.tensor([[0], [3], [1]])),
    lambda m, x: m.masked_fill(x, x > 0, 0),
    lambda m, x: m.square(x),
    lambda m, x: m.pow(x, 2),
    lambda m, x: m.logical_not(x > 0),
    lambda m, x: m.amax(x, 1),
    lambda m, x: m.t(x),
    lambda m, x: m.clone(x),
    lambda m, x: m.dot(x[0], x[1]),
    lambda m, x: m.tensor([1, 2]),
    lambda m, x: m.tensor([1.0, 2]),
    lambda m, x: m.tensor([True]),
    lambda m, x: m.tensor(3),
    lambda m, x: m.tensor(2.5),
    lambda m, x: m.tensor([[1, 2], [3, 4]], dtype=m.float64),
    lambda m, x: m.tensor([0.5]).to(m.int64),
]


@pytest.mark.parametrize("line", FUNCTIONS, ids=line_number)
def test_functions(line: Any) -> None:
    x, t = both(MATRIX)
    same(line(cr, x), line(torch, t), 2e-6)


OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "**": operator.pow,
    "==": operator.eq,
    "<": operator.lt,
}


@pytest.mark.parametrize("sign", OPERATORS)
@pytest.mark.parametrize("ranks", [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_promotion(sign: str, ranks: tuple[int, int]) -> None:
    """Every pair of dtypes, with and without dimensions, meets in PyTorch's dtype."""
    apply = OPERATORS[sign]
    for left, right in itertools.product(KINDS, KINDS):
        values = [np.array([2, 1]) if rank else np.asarray(2) for rank in ranks]
        (a, c), (b, d) = both(values[0].astype(left)), both(values[1].astype(right))
        try:
            expected = apply(c, d)
        except RuntimeError:
            continue  # not defined for booleans in PyTorch
        if "bool" in (left, right) and sign in ("//", "**"):
            continue
        same(apply(a, b), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [2, 2.5, True])
def test_numbers_take_the_dtype_that_torch_gives_them(kind: str, number: Any) -> None:
    x, t = both(np.array([1, 0, 3]).astype(kind))
    for sign in ("+", "*", "/", "==", "<"):
        same(OPERATORS[sign](x, number), OPERATORS[sign](t, number))
    same(number + x, number + t)
    same(number * x.long(), number * t.long())


@given(st.data())
def test_broadcasting(data: Any) -> None:
    shapes = data.draw(
        hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=4, max_dims=4)
    ).input_shapes
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    pairs = [both(rng.standard_normal(shape), grad=True) for shape in shapes]
    (a, c), (b, d) = pairs
    for ours, theirs in ((a * b + a, c * d + c), (a.maximum(b), torch.maximum(c, d))):
        same(ours, theirs)
    (a * b + b).sum().backward()
    (c * d + d).sum().backward()
    same(a.grad, c.grad)
    same(b.grad, d.grad)
