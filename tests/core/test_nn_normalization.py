"""Normalisation, embeddings, clipping, one-hot: against PyTorch, eager and compiled."""

import math
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import nn
from chainrule.errors import (
    DTypeError,
    GradientError,
    IndexRangeError,
    OptionError,
    ShapeError,
)

torch = pytest.importorskip("torch")
TF = torch.nn.functional


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return (np.random.default_rng(seed).normal(size=shape) * 2 + 0.5).astype(np.float32)


def alike(mine: Any, other: Any, rtol: float = 2e-5, atol: float = 3e-6) -> None:
    np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=rtol, atol=atol)


def both(name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """Our layer and PyTorch's, with equal random parameters."""
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    rng = np.random.default_rng(5)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.tensor(rng.normal(size=tuple(parameter.shape))))
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    return ours, theirs


NORMS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("BatchNorm1d", (3,), {}, (6, 3)),
    ("BatchNorm1d", (3,), {"momentum": 0.4, "eps": 1e-2}, (6, 3, 5)),
    ("BatchNorm1d", (3,), {"momentum": None}, (6, 3)),
    ("BatchNorm1d", (3,), {"affine": False}, (6, 3)),
    ("BatchNorm1d", (3,), {"bias": False}, (6, 3)),
    ("BatchNorm1d", (3,), {"track_running_stats": False}, (6, 3)),
    ("BatchNorm2d", (3,), {}, (4, 3, 2, 5)),
    ("BatchNorm3d", (2,), {}, (3, 2, 2, 2, 2)),
    ("LayerNorm", (4,), {}, (6, 4)),
    ("LayerNorm", ((3, 4),), {"eps": 1e-2}, (2, 3, 4)),
    ("LayerNorm", (4,), {"bias": False}, (6, 4)),
    ("LayerNorm", (4,), {"elementwise_affine": False}, (6, 4)),
    ("GroupNorm", (2, 6), {}, (3, 6)),
    ("GroupNorm", (3, 6), {"affine": False, "eps": 1e-2}, (2, 6, 2, 3)),
    ("RMSNorm", (4,), {}, (6, 4)),
    ("RMSNorm", ((3, 4),), {"eps": 0.1, "elementwise_affine": False}, (2, 3, 4)),
]


@pytest.mark.parametrize("name, args, options, shape", NORMS)
def test_layers(
    name: str, args: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Three training batches, values and gradients; then evaluation; state and repr."""
    ours, theirs = both(name, *args, **options)
    assert repr(ours) == repr(theirs)
    for seed in range(3):
        x = array(*shape, seed=seed)
        mine, other = cr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        a, b = ours(mine), theirs(other)
        alike(a, b)
        upstream = array(*shape, seed=seed + 10)
        a.backward(cr.tensor(upstream))
        b.backward(torch.tensor(upstream))
        alike(mine.grad, other.grad, atol=2e-5)
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        alike(one.grad, two.grad, rtol=1e-4, atol=2e-5)
    ours.eval()
    theirs.eval()
    x = array(*shape, seed=7)
    alike(ours(cr.tensor(x)), theirs(torch.tensor(x)))
    state, wanted = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(wanted)
    for key, value in wanted.items():
        alike(state[key], value)
        assert str(state[key].dtype).split(".")[1] == str(value.dtype).split(".")[1]


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_of_compiled_steps(momentum: float | None) -> None:
    layer, eager = nn.BatchNorm1d(3, momentum=momentum), nn.BatchNorm1d(3, momentum=momentum)
    compiled = cr.compile(lambda x: layer(x).sum(), engine="numpy")
    for seed in range(4):
        x = cr.tensor(array(6, 3, seed=seed))
        assert compiled(x).item() == eager(x).sum().item()
    assert layer.num_batches_tracked.item() == 4
    for key, value in eager.state_dict().items():
        assert layer.state_dict()[key].tolist() == value.tolist()
    layer.eval()
    kept = layer.running_mean.tolist()
    compiled(cr.tensor(array(6, 3)))
    assert layer.running_mean.tolist() == kept and layer.num_batches_tracked.item() == 4


def test_running_statistics_carry_no_history() -> None:
    layer = nn.BatchNorm1d(2)
    for seed in range(3):
        layer(cr.tensor(array(4, 2, seed=seed), requires_grad=True)).sum().backward()
    assert layer.running_mean.is_leaf and not layer.running_mean.requires_grad
    layer.reset_running_stats()
    assert layer.running_var.tolist() == [1.0, 1.0] and layer.num_batches_tracked.item() == 0


def test_settings_of_layers_compile_anew() -> None:
    layer = nn.LayerNorm(3, elementwise_affine=False)
    compiled = cr.compile(lambda x: layer(x), engine="numpy")
    x = cr.tensor(array(2, 3))
    before = compiled(x).tolist()
    layer.eps = 10.0
    assert compiled(x).tolist() == layer(x).tolist() != before


def test_normalize() -> None:
    x = array(4, 3)
    x[1] = 0
    for p, dim in [(2.0, 1), (1.0, 0), (3.0, 1), (math.inf, 1)]:
        alike(F.normalize(cr.tensor(x), p, dim), TF.normalize(torch.tensor(x), p, dim))
    mine = cr.tensor(x, requires_grad=True)
    F.normalize(mine).sum().backward()
    assert np.isfinite(mine.grad.numpy()).all()


def test_errors_of_normalisation() -> None:
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ShapeError, match=r"(?s)more than one value.*\(1, 3\).*drop_last=True"):
        layer(cr.zeros(1, 3))
    layer.eval()(cr.zeros(1, 3))
    with pytest.raises(ShapeError, match=r"(?s)4 channels \(axis 1\), the layer 3.*BatchNorm1d\(4"):
        layer(cr.zeros(2, 4))
    with pytest.raises(ShapeError, match=r"BatchNorm2d: the input must have 4 axes"):
        nn.BatchNorm2d(3)(cr.zeros(2, 3))
    with pytest.raises(ShapeError, match=r"must be \(N, C\) or \(N, C, ...\); given \(3,\)"):
        F.batch_norm(cr.zeros(3), None, None, training=True)
    with pytest.raises(OptionError, match="evaluation needs running_mean and running_var"):
        F.batch_norm(cr.zeros(3, 2), None, None)
    with pytest.raises(ShapeError, match=r"weight must be \(2,\), one a channel; its shape is \(3"):
        F.batch_norm(cr.zeros(3, 2), None, None, cr.ones(3), training=True)
    with pytest.raises(ShapeError, match=r"(?s)last axes must be \(4,\); its shape is \(2, 3\)"):
        nn.LayerNorm(4)(cr.zeros(2, 3))
    with pytest.raises(OptionError, match="GroupNorm: 4 groups do not divide 6 channels"):
        nn.GroupNorm(4, 6)
    with pytest.raises(ShapeError, match=r"must part into 2 equal groups.*shape is \(2, 3\)"):
        F.group_norm(cr.zeros(2, 3), 2)


@pytest.mark.parametrize("padding", [None, 1, -1])
def test_embedding(padding: int | None) -> None:
    ours, theirs = both("Embedding", 5, 3, padding_idx=padding)
    assert repr(ours) == repr(theirs)
    numbers = np.array([[0, 1, 4], [1, 1, 3]])
    a, b = ours(cr.tensor(numbers)), theirs(torch.tensor(numbers))
    alike(a, b)
    upstream = array(2, 3, 3)
    a.backward(cr.tensor(upstream))
    b.backward(torch.tensor(upstream))
    alike(ours.weight.grad, theirs.weight.grad)


def test_embedding_starts_normal_with_a_zero_row() -> None:
    cr.manual_seed(0)
    layer = nn.Embedding(500, 40, padding_idx=3)
    weight = layer.weight.detach().numpy()
    assert not weight[3].any()
    assert weight.std() == pytest.approx(1.0, rel=0.02) and layer.weight.requires_grad
    fixed = nn.Embedding.from_pretrained(cr.eye(3))
    assert fixed(cr.tensor([2])).tolist() == [[0.0, 0.0, 1.0]] and not fixed.weight.requires_grad
    assert nn.Embedding.from_pretrained(cr.eye(3), freeze=False).weight.requires_grad


def test_errors_of_embedding() -> None:
    layer = nn.Embedding(3, 2)
    with pytest.raises(IndexRangeError, match=r"(?s)given: 3.*from 0 to 2.*num_embeddings=4"):
        layer(cr.tensor([0, 3]))
    with pytest.raises(IndexRangeError, match=r"given: -1"):
        layer(cr.tensor([0, -1]))
    with pytest.raises(DTypeError, match=r"(?s)whole numbers, its dtype is float32.*input.long"):
        layer(cr.zeros(2))
    with pytest.raises(ShapeError, match=r"weight must be \(rows, width\); it is \(2,\)"):
        F.embedding(cr.tensor([0]), cr.zeros(2))
    with pytest.raises(OptionError, match="padding_idx=3 is none of the 3 numbers"):
        nn.Embedding(3, 2, padding_idx=3)
    with pytest.raises(OptionError, match="padding_idx=5 is none of the 3 rows"):
        F.embedding(cr.tensor([0]), cr.zeros(3, 2), 5)
    with pytest.raises(ShapeError, match=r"takes a table \(rows, width\); given \(2,\)"):
        nn.Embedding.from_pretrained(cr.zeros(2))


def test_one_hot() -> None:
    numbers = np.array([[0, 2], [1, 0]])
    mine = F.one_hot(cr.tensor(numbers))
    assert mine.tolist() == TF.one_hot(torch.tensor(numbers)).tolist() and mine.dtype is cr.int64
    assert F.one_hot(cr.tensor([1]), 4).tolist() == [[0, 1, 0, 0]]
    with pytest.raises(DTypeError, match="one_hot: whole numbers are expected, not float32"):
        F.one_hot(cr.zeros(2))


@pytest.mark.parametrize("norm", [2.0, 1.0, 3.0, math.inf])
@pytest.mark.parametrize("largest", [0.1, 1000.0])
def test_clipping_the_norm(norm: float, largest: float) -> None:
    pair = []
    for library in (cr, torch):
        parameters = [
            library.tensor(array(3, 2), requires_grad=True),
            library.tensor(array(4, seed=1), requires_grad=True),
            library.tensor(array(1), requires_grad=True),
        ]
        (parameters[0].exp().sum() + (parameters[1] ** 2).sum()).backward()
        utils = library.nn.utils
        total = utils.clip_grad_norm_(parameters, largest, norm_type=norm)
        pair.append((parameters, total, utils))
    (mine, a, ours), (other, b, theirs) = pair
    alike(a, b)
    for one, two in zip(mine[:2], other[:2], strict=True):
        alike(one.grad, two.grad)
    assert mine[2].grad is None
    again = ours.get_total_norm([one.grad for one in mine[:2]], norm)
    alike(again, theirs.get_total_norm([one.grad for one in other[:2]], norm))
    ours.clip_grad_value_(mine, 0.05)
    theirs.clip_grad_value_(other, 0.05)
    for one, two in zip(mine[:2], other[:2], strict=True):
        alike(one.grad, two.grad)


def test_clipping_in_a_compiled_step() -> None:
    def trained(compiled: bool) -> list[float]:
        w = cr.tensor([3.0, 4.0], requires_grad=True)
        optimizer = cr.optim.SGD([w], lr=0.5)

        def step() -> cr.Tensor:
            optimizer.zero_grad()
            loss = (w * w).sum()
            loss.backward()
            nn.utils.clip_grad_norm_([w], 1.0)
            optimizer.step()
            return loss

        run = cr.compile(step, engine="numpy") if compiled else step
        for _ in range(5):
            run()
        values: list[float] = w.tolist()
        return values

    assert trained(True) == trained(False)


def test_clipping_edges() -> None:
    assert nn.utils.clip_grad_norm_([cr.zeros(1, requires_grad=True)], 1.0).item() == 0.0
    assert nn.utils.get_total_norm([]).item() == 0.0
    w = cr.tensor([1.0], requires_grad=True)
    w.grad = cr.tensor([math.nan])
    with pytest.raises(GradientError, match=r"(?s)norm of the gradients is nan.*learning rate"):
        nn.utils.clip_grad_norm_(w, 1.0, error_if_nonfinite=True)


def test_parameters_as_a_vector() -> None:
    model = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert tuple(vector.shape) == (9,)
    nn.utils.vector_to_parameters(vector.detach() * 2, model.parameters())
    again = nn.utils.parameters_to_vector(model.parameters())
    np.testing.assert_array_equal(again.detach().numpy(), 2 * vector.detach().numpy())
    assert model.weight.requires_grad and model.weight.is_leaf
    again.sum().backward()
    assert model.weight.grad.tolist() == [[1.0, 1.0]] * 3
    with pytest.raises(ShapeError, match=r"the vector has shape \(3,\), the parameters need \(9,"):
        nn.utils.vector_to_parameters(cr.zeros(3), model.parameters())
