"""Functions against PyTorch: values and gradients, on plain, extreme and larger inputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F

torch = pytest.importorskip("torch")
TF = torch.nn.functional
TOLERANCE = {"float32": dict(rtol=2e-5, atol=2e-6), "float64": dict(rtol=1e-11, atol=1e-12)}
Array = np.ndarray[Any, Any]


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> Array:
    return np.random.default_rng(seed).normal(0, 2, shape).astype(dtype)


def compare(ours: Callable[..., Any], theirs: Callable[..., Any], *arrays: Array) -> None:
    """Equal values, and equal gradients of all floating arguments under a random upstream one."""
    mine = [cr.tensor(array, requires_grad=array.dtype.kind == "f") for array in arrays]
    other = [torch.tensor(array, requires_grad=array.dtype.kind == "f") for array in arrays]
    a, b = ours(*mine), theirs(*other)
    limits = TOLERANCE[str(arrays[0].dtype)]
    assert tuple(a.shape) == tuple(b.shape)
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), **limits)
    upstream = np.random.default_rng(9).normal(size=tuple(b.shape)).astype(arrays[0].dtype)
    a.backward(cr.tensor(upstream))
    b.backward(torch.tensor(upstream))
    for one, two in zip(mine, other, strict=True):
        if two.grad is not None:
            np.testing.assert_allclose(one.grad.numpy(), two.grad.numpy(), **limits)


ACTIVATIONS: dict[str, dict[str, Any]] = {
    "relu": {},
    "relu6": {},
    "leaky_relu": {"negative_slope": 0.2},
    "elu": {"alpha": 1.5},
    "selu": {},
    "celu": {"alpha": 0.7},
    "gelu": {},
    "silu": {},
    "mish": {},
    "softplus": {},
    "softsign": {},
    "sigmoid": {},
    "logsigmoid": {},
    "hardsigmoid": {},
    "hardswish": {},
    "tanh": {},
    "tanhshrink": {},
    "hardtanh": {"min_val": -0.5, "max_val": 1.5},
    "softshrink": {"lambd": 0.4},
    "hardshrink": {"lambd": 0.4},
    "threshold": {"threshold": 0.3, "value": 2.0},
}
EDGES = np.array([0.0, -0.0, 3.0, -3.0, 6.0, 0.5, -0.5, 88.0, -88.0, 30.0, -30.0], np.float32)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations(name: str, dtype: str) -> None:
    if dtype == "float64" and name in ("celu", "hardsigmoid"):
        pytest.skip("PyTorch's slopes of these use constants of float32 in float64 too")
    options = ACTIVATIONS[name]
    ours, theirs = getattr(F, name), getattr(TF, name)
    x = numbers(3, 4, 5, dtype=dtype)
    compare(lambda t: ours(t, **options), lambda t: theirs(t, **options), x)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_at_bends_and_far_out(name: str) -> None:
    options = ACTIVATIONS[name]
    ours, theirs = getattr(F, name), getattr(TF, name)
    compare(lambda t: ours(t, **options), lambda t: theirs(t, **options), EDGES)


def test_activation_options() -> None:
    x = numbers(4, 6)
    compare(lambda t: F.gelu(t, "tanh"), lambda t: TF.gelu(t, approximate="tanh"), x)
    compare(lambda t: F.softplus(t, 2.0, 1.0), lambda t: TF.softplus(t, 2.0, 1.0), x)
    compare(lambda t: F.glu(t, 1), lambda t: TF.glu(t, 1), x)
    compare(F.prelu, TF.prelu, x, np.array([0.3], np.float32))
    compare(F.prelu, TF.prelu, numbers(2, 3, 5), numbers(3, seed=1))


@pytest.mark.parametrize("shape, dim", [((5,), 0), ((4, 3), 1), ((4, 3), 0), ((2, 3, 4), -2)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_softmax_family(name: str, shape: tuple[int, ...], dim: int) -> None:
    ours, theirs = getattr(F, name), getattr(TF, name)
    compare(lambda t: ours(t, dim=dim), lambda t: theirs(t, dim=dim), numbers(*shape))


def test_softmax_of_large_scores() -> None:
    x = np.array([[1000.0, 999.0, -1000.0], [-1e30, 0.0, 1e30]], np.float32)
    compare(lambda t: F.softmax(t, 1), lambda t: TF.softmax(t, 1), x)
    compare(lambda t: F.log_softmax(t, 1), lambda t: TF.log_softmax(t, 1), x)
    assert F.logsumexp(cr.tensor(x), 1).tolist() == torch.logsumexp(torch.tensor(x), 1).tolist()


def test_softmax_with_a_masked_score() -> None:
    x = np.array([[1.0, -np.inf, 2.0]], np.float32)
    compare(lambda t: F.softmax(t, 1), lambda t: TF.softmax(t, 1), x)


def test_logsumexp_axes() -> None:
    x = numbers(2, 3, 4)
    for dim, keepdim in [((0, 2), False), ((0, 2), True), (1, False)]:
        compare(
            lambda t, d=dim, k=keepdim: F.logsumexp(t, d, k),
            lambda t, d=dim, k=keepdim: torch.logsumexp(t, d, k),
            x,
        )
    empty_rows = np.full((2, 3), -np.inf, np.float32)
    assert F.logsumexp(cr.tensor(empty_rows), 1).tolist() == [-np.inf, -np.inf]


LOSSES: dict[str, dict[str, Any]] = {
    "mse_loss": {},
    "l1_loss": {},
    "smooth_l1_loss": {"beta": 0.7},
    "huber_loss": {"delta": 0.7},
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_regression_losses(name: str, reduction: str) -> None:
    ours, theirs = getattr(F, name), getattr(TF, name)
    options = {**LOSSES[name], "reduction": reduction}
    x, y = numbers(6, 2), numbers(6, 2, seed=1)
    compare(lambda a, b: ours(a, b, **options), lambda a, b: theirs(a, b, **options), x, y)


def test_smooth_l1_with_beta_zero_is_l1() -> None:
    x, y = numbers(6), numbers(6, seed=1)
    compare(
        lambda a, b: F.smooth_l1_loss(a, b, beta=0.0),
        lambda a, b: TF.smooth_l1_loss(a, b, beta=0.0),
        x,
        y,
    )


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weights_of_regression_losses(name: str) -> None:
    x, y, w = numbers(6), numbers(6, seed=1), np.abs(numbers(6, seed=2))
    terms = getattr(F, name)(cr.tensor(x), cr.tensor(y), reduction="none").numpy()
    weighted = getattr(F, name)(cr.tensor(x), cr.tensor(y), reduction="sum", weight=cr.tensor(w))
    assert weighted.item() == pytest.approx(float((terms * w).sum()), rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy(reduction: str, weighted: bool) -> None:
    p = 1 / (1 + np.exp(-numbers(5, 3)))
    y = (numbers(5, 3, seed=1) > 0).astype(np.float32)
    weight = np.abs(numbers(5, 3, seed=2)) if weighted else None
    compare(
        lambda a: F.binary_cross_entropy(
            a, cr.tensor(y), None if weight is None else cr.tensor(weight), reduction=reduction
        ),
        lambda a: TF.binary_cross_entropy(
            a,
            torch.tensor(y),
            None if weight is None else torch.tensor(weight),
            reduction=reduction,
        ),
        p.astype(np.float32),
    )


def test_binary_cross_entropy_at_certainty_is_finite() -> None:
    p = cr.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    y = cr.tensor([0.0, 1.0, 1.0, 0.0])
    loss = F.binary_cross_entropy(p, y, reduction="none")
    expected = TF.binary_cross_entropy(
        torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 1.0, 0.0]), reduction="none"
    )
    assert loss.tolist() == expected.tolist() == [0.0, 0.0, 100.0, 100.0]
    loss.sum().backward()
    assert np.isfinite(p.grad.numpy()).all()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weights", ["none", "weight", "pos_weight", "both"])
def test_binary_cross_entropy_with_logits(reduction: str, weights: str) -> None:
    z = np.concatenate([numbers(5, 3), [[100.0, -100.0, 0.0]]]).astype(np.float32)
    y = np.random.default_rng(3).uniform(size=(6, 3)).astype(np.float32)
    y[:3] = y[:3] > 0.5
    options: dict[str, Array] = {}
    if weights in ("weight", "both"):
        options["weight"] = np.abs(numbers(6, 3, seed=2))
    if weights in ("pos_weight", "both"):
        options["pos_weight"] = np.array([1.0, 3.0, 0.5], np.float32)
    mine = {name: cr.tensor(value) for name, value in options.items()}
    other = {name: torch.tensor(value) for name, value in options.items()}
    compare(
        lambda a, b: F.binary_cross_entropy_with_logits(a, b, reduction=reduction, **mine),
        lambda a, b: TF.binary_cross_entropy_with_logits(a, b, reduction=reduction, **other),
        z,
        y,
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [None, 2, -1])
@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5), (2, 4, 2, 3), (4,)])
def test_cross_entropy_of_class_numbers(
    shape: tuple[int, ...], ignored: int | None, weighted: bool, smoothing: float, reduction: str
) -> None:
    scores = numbers(*shape)
    wanted = (shape[0], *shape[2:]) if len(shape) > 1 else ()
    y = np.random.default_rng(1).integers(0, 4, wanted)
    if ignored == -1:
        y = np.where(np.random.default_rng(2).uniform(size=wanted) < 0.3, -1, y)
    weight = np.array([0.5, 1.0, 2.0, 3.0], np.float32)
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    if ignored is not None:
        options["ignore_index"] = ignored
    if ignored is not None and (y == ignored).all():
        y = np.zeros_like(y)
    compare(
        lambda a: F.cross_entropy(
            a, cr.tensor(y), cr.tensor(weight) if weighted else None, **options
        ),
        lambda a: TF.cross_entropy(
            a, torch.tensor(y), torch.tensor(weight) if weighted else None, **options
        ),
        scores,
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5), (4,)])
def test_cross_entropy_of_probabilities(
    shape: tuple[int, ...], weighted: bool, smoothing: float, reduction: str
) -> None:
    y = np.exp(numbers(*shape, seed=1))
    y /= y.sum(1 if len(shape) > 1 else 0, keepdims=True)
    weight = np.array([0.5, 1.0, 2.0, 3.0], np.float32)
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    compare(
        lambda a, b: F.cross_entropy(a, b, cr.tensor(weight) if weighted else None, **options),
        lambda a, b: TF.cross_entropy(a, b, torch.tensor(weight) if weighted else None, **options),
        numbers(*shape),
        y,
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_nll_loss(reduction: str, weighted: bool) -> None:
    y = np.array([0, 3, 2, -100, 1, 1])
    weight = np.array([0.5, 1.0, 2.0, 3.0], np.float32)
    compare(
        lambda a: F.nll_loss(
            a, cr.tensor(y), cr.tensor(weight) if weighted else None, reduction=reduction
        ),
        lambda a: TF.nll_loss(
            a, torch.tensor(y), torch.tensor(weight) if weighted else None, reduction=reduction
        ),
        numbers(6, 4),
    )


@pytest.mark.parametrize("kind", ["uint8", "int32", "int64"])
def test_class_numbers_of_any_whole_dtype(kind: str) -> None:
    scores = cr.tensor(numbers(4, 3))
    expected = F.cross_entropy(scores, cr.tensor([0, 1, 2, 0])).item()
    y = cr.tensor(np.array([0, 1, 2, 0], kind))
    assert F.cross_entropy(scores, y).item() == expected


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("reduction", ["batchmean", "mean", "sum", "none"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div(reduction: str, log_target: bool) -> None:
    x = np.log(np.random.default_rng(0).dirichlet(np.ones(4), 5)).astype(np.float32)
    y = np.random.default_rng(1).dirichlet(np.ones(4), 5).astype(np.float32)
    if not log_target:
        y[0] = [0, 0, 0.5, 0.5]
    y = np.log(y) if log_target else y
    options = {"reduction": reduction, "log_target": log_target}
    other = torch.tensor(y)
    compare(
        lambda a: F.kl_div(a, cr.tensor(y), **options),
        lambda a: TF.kl_div(a, other, **options),
        x,
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_hinge_embedding_and_poisson(reduction: str) -> None:
    x = numbers(7)
    y = np.sign(numbers(7, seed=1))
    compare(
        lambda a: F.hinge_embedding_loss(a, cr.tensor(y), 0.8, reduction=reduction),
        lambda a: TF.hinge_embedding_loss(a, torch.tensor(y), 0.8, reduction=reduction),
        x,
    )
    compare(
        lambda a: F.soft_margin_loss(a, cr.tensor(y), reduction=reduction),
        lambda a: TF.soft_margin_loss(a, torch.tensor(y), reduction=reduction),
        x,
    )
    counts = np.arange(7, dtype=np.float32)
    for log_input, full in [(True, False), (False, True), (True, True)]:
        given = x if log_input else np.abs(x)
        options = {"log_input": log_input, "full": full, "reduction": reduction}
        compare(
            lambda a, o=options: F.poisson_nll_loss(a, cr.tensor(counts), **o),
            lambda a, o=options: TF.poisson_nll_loss(a, torch.tensor(counts), **o),
            given,
        )


PAIRS: list[tuple[str, dict[str, Any]]] = [
    ("cosine_similarity", {}),
    ("cosine_similarity", {"dim": 0}),
    ("pairwise_distance", {}),
    ("pairwise_distance", {"p": 1.0, "keepdim": True}),
    ("pairwise_distance", {"p": 3.0}),
]


@pytest.mark.parametrize("name, options", PAIRS)
def test_distances(name: str, options: dict[str, Any]) -> None:
    ours, theirs = getattr(F, name), getattr(TF, name)
    x, y = numbers(5, 4), numbers(5, 4, seed=1)
    compare(lambda a, b: ours(a, b, **options), lambda a, b: theirs(a, b, **options), x, y)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_that_compare_examples(reduction: str) -> None:
    x1, x2, x3 = (numbers(6, 4, seed=seed) for seed in range(3))
    y = np.sign(numbers(6, seed=3))
    names = [("margin_ranking_loss", x1[:, 0], x2[:, 0]), ("cosine_embedding_loss", x1, x2)]
    for name, a, b in names:
        options = {"margin": 0.2, "reduction": reduction}
        compare(
            lambda p, q, n=name, o=options: getattr(F, n)(p, q, cr.tensor(y), **o),
            lambda p, q, n=name, o=options: getattr(TF, n)(p, q, torch.tensor(y), **o),
            a.copy(),
            b.copy(),
        )
    for more in ({}, {"p": 1.0, "margin": 3.0}, {"swap": True, "margin": 3.0}):
        options = {**more, "reduction": reduction}
        compare(
            lambda *t, o=options: F.triplet_margin_loss(*t, **o),
            lambda *t, o=options: TF.triplet_margin_loss(*t, **o),
            x1,
            x2,
            x3,
        )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_margin_losses_of_classes_and_labels(reduction: str) -> None:
    x, y = numbers(6, 4), np.array([0, 3, 2, 1, 1, 0])
    labels = (numbers(6, 4, seed=1) > 0).astype(np.float32)
    w = np.array([0.5, 1.0, 2.0, 3.0], np.float32)
    for p in (1, 2):
        compare(
            lambda a, p=p: F.multi_margin_loss(
                a, cr.tensor(y), p, 0.7, cr.tensor(w), reduction=reduction
            ),
            lambda a, p=p: TF.multi_margin_loss(
                a, torch.tensor(y), p, 0.7, torch.tensor(w), reduction=reduction
            ),
            x,
        )
    compare(
        lambda a: F.multilabel_soft_margin_loss(
            a, cr.tensor(labels), cr.tensor(w), reduction=reduction
        ),
        lambda a: TF.multilabel_soft_margin_loss(
            a, torch.tensor(labels), torch.tensor(w), reduction=reduction
        ),
        x,
    )
    variance = np.abs(numbers(6, 4, seed=2))
    variance[0] = 1e-9
    for full in (False, True):
        compare(
            lambda a, b, v, f=full: F.gaussian_nll_loss(a, b, v, f, reduction=reduction),
            lambda a, b, v, f=full: TF.gaussian_nll_loss(a, b, v, f, reduction=reduction),
            np.ones((6, 4), np.float32) * 1.001,
            np.ones((6, 4), np.float32),
            variance,
        )


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3), (2, 2, 4, 3), (0, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(shape: tuple[int, ...], bias: bool) -> None:
    w, b = numbers(5, 3, seed=1), numbers(5, seed=2)
    if bias:
        compare(F.linear, TF.linear, numbers(*shape), w, b)
    else:
        compare(F.linear, TF.linear, numbers(*shape), w)


def test_flatten() -> None:
    x = numbers(2, 3, 4, 5)
    for start, end in [(0, -1), (1, -1), (1, 2), (-2, -1)]:
        compare(
            lambda t, s=start, e=end: F.flatten(t, s, e),
            lambda t, s=start, e=end: torch.flatten(t, s, e),
            x,
        )


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "soft_margin_loss"])
def test_older_reduction_arguments(name: str) -> None:
    x, y = cr.tensor(numbers(4)), cr.tensor(numbers(4, seed=1))
    loss = getattr(F, name)
    assert loss(x, y, size_average=False).item() == loss(x, y, reduction="sum").item()
    assert loss(x, y, reduce=False).tolist() == loss(x, y, reduction="none").tolist()


def test_second_derivatives_of_losses() -> None:
    z = numbers(4, 3, dtype="float64")
    y = np.array([0, 2, 1, 1])
    mine = cr.tensor(z, requires_grad=True)
    loss = F.cross_entropy(mine, cr.tensor(y))
    (first,) = cr.grad(loss, [mine], create_graph=True)
    (second,) = cr.grad((first * first).sum(), [mine])
    other = torch.tensor(z, requires_grad=True)
    (gradient,) = torch.autograd.grad(
        TF.cross_entropy(other, torch.tensor(y)), [other], create_graph=True
    )
    (wanted,) = torch.autograd.grad((gradient * gradient).sum(), [other])
    np.testing.assert_allclose(second.detach().numpy(), wanted.numpy(), rtol=1e-9, atol=1e-12)
