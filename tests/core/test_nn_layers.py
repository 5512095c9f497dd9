"""Layers, losses as modules and initialisers: against PyTorch, in distribution, and compiled."""

import math
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import OptionError, ShapeError

torch = pytest.importorskip("torch")


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_linear_starts_as_in_pytorch() -> None:
    cr.manual_seed(0)
    layer = nn.Linear(400, 300)
    bound = 1 / 20
    weight = layer.weight.detach().numpy()
    assert weight.dtype == np.float32 and abs(weight).max() <= bound
    assert abs(weight.mean()) < 1e-3
    assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    theirs = torch.nn.Linear(400, 300).weight.detach().numpy()
    assert weight.std() == pytest.approx(theirs.std(), rel=0.02)
    assert abs(layer.bias.detach().numpy()).max() <= bound


def test_same_seed_same_weights() -> None:
    def weights(seed: int) -> list[Any]:
        cr.manual_seed(seed)
        return nn.Linear(5, 4).weight.tolist()

    assert weights(3) == weights(3) != weights(4)


def test_linear_in_float64_without_bias() -> None:
    layer = nn.Linear(3, 2, bias=False, dtype=cr.float64)
    assert layer.weight.dtype is cr.float64 and layer.bias is None
    assert layer(cr.ones(1, 3, dtype=cr.float64)).dtype is cr.float64
    with pytest.raises(OptionError, match="must be 0 or more; -1 and 2 were given"):
        nn.Linear(-1, 2)


def test_default_dtype_is_taken() -> None:
    cr.set_default_dtype(cr.float64)
    try:
        assert nn.Linear(2, 2).weight.dtype is cr.float64
    finally:
        cr.set_default_dtype(cr.float32)


LOSSES: list[tuple[str, dict[str, Any]]] = [
    ("MSELoss", {}),
    ("L1Loss", {"reduction": "sum"}),
    ("SmoothL1Loss", {"beta": 0.5}),
    ("HuberLoss", {"delta": 0.5}),
    ("BCEWithLogitsLoss", {}),
    ("SoftMarginLoss", {}),
    ("HingeEmbeddingLoss", {"margin": 0.7}),
    ("PoissonNLLLoss", {}),
    ("KLDivLoss", {"reduction": "batchmean"}),
]


@pytest.mark.parametrize("name, options", LOSSES)
def test_loss_modules(name: str, options: dict[str, Any]) -> None:
    x, y = array(4, 3), np.sign(array(4, 3, seed=1))
    if name in ("BCEWithLogitsLoss", "KLDivLoss", "PoissonNLLLoss"):
        y = np.abs(y)
    ours = getattr(nn, name)(**options)(cr.tensor(x), cr.tensor(y)).item()
    theirs = getattr(torch.nn, name)(**options)(torch.tensor(x), torch.tensor(y)).item()
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_loss_modules_with_weights() -> None:
    x, y = array(6, 3), np.array([0, 1, 2, 2, 1, 0])
    w = np.array([1.0, 2.0, 3.0], np.float32)
    options = {"ignore_index": 1, "label_smoothing": 0.1}
    ours = nn.CrossEntropyLoss(cr.tensor(w), **options)
    theirs = torch.nn.CrossEntropyLoss(torch.tensor(w), **options)
    expected = theirs(torch.tensor(x), torch.tensor(y)).item()
    assert ours(cr.tensor(x), cr.tensor(y)).item() == pytest.approx(expected, rel=1e-5)
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["weight"]
    log_p = cr.tensor(x).log_softmax(1)
    nll = nn.NLLLoss(cr.tensor(w), ignore_index=1)(log_p, cr.tensor(y)).item()
    expected = torch.nn.NLLLoss(torch.tensor(w), ignore_index=1)(
        torch.tensor(x).log_softmax(1), torch.tensor(y)
    ).item()
    assert nll == pytest.approx(expected, rel=1e-5)
    z = (array(6, 3, seed=2) > 0).astype(np.float32)
    both = {"weight": w, "pos_weight": w[::-1].copy()}
    ours_bce = nn.BCEWithLogitsLoss(**{name: cr.tensor(value) for name, value in both.items()})
    theirs_bce = torch.nn.BCEWithLogitsLoss(
        **{name: torch.tensor(value) for name, value in both.items()}
    )
    expected = theirs_bce(torch.tensor(x), torch.tensor(z)).item()
    assert ours_bce(cr.tensor(x), cr.tensor(z)).item() == pytest.approx(expected, rel=1e-5)
    p = 1 / (1 + np.exp(-x))
    expected = torch.nn.BCELoss(torch.tensor(w))(torch.tensor(p), torch.tensor(z)).item()
    ours_p = nn.BCELoss(cr.tensor(w))(cr.tensor(p), cr.tensor(z)).item()
    assert ours_p == pytest.approx(expected, rel=1e-5)


def test_pair_losses_as_modules() -> None:
    a, b, c = array(5, 3), array(5, 3, seed=1), array(5, 3, seed=2)
    y = np.sign(array(5, seed=3))
    classes = np.array([0, 1, 2, 2, 1])
    cases: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
        ("CosineSimilarity", {}, (a, b)),
        ("PairwiseDistance", {"p": 1.0}, (a, b)),
        ("MarginRankingLoss", {"margin": 0.3}, (a[:, 0].copy(), b[:, 0].copy(), y)),
        ("CosineEmbeddingLoss", {"margin": 0.3}, (a, b, y)),
        ("TripletMarginLoss", {"swap": True}, (a, b, c)),
        ("MultiMarginLoss", {"p": 2}, (a, classes)),
        ("MultiLabelSoftMarginLoss", {}, (a, (b > 0).astype(np.float32))),
        ("GaussianNLLLoss", {"full": True}, (a, b, np.abs(c))),
    ]
    for name, options, inputs in cases:
        ours = getattr(nn, name)(**options)(*map(cr.tensor, inputs))
        theirs = getattr(torch.nn, name)(**options)(*map(torch.tensor, inputs))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-5, atol=1e-6)


def test_dropout_in_numbers() -> None:
    cr.manual_seed(0)
    layer = nn.Dropout(0.3)
    x = cr.ones(200, 100, requires_grad=True)
    y = layer(x)
    values = y.detach().numpy()
    kept = values != 0
    assert kept.mean() == pytest.approx(0.7, abs=0.01)
    np.testing.assert_allclose(values[kept], 1 / 0.7, rtol=1e-6)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), values)
    assert not (layer(x).detach().numpy() == values).all()
    assert layer.eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    assert not nn.Dropout(1.0)(x).any()
    with pytest.raises(OptionError, match=r"Dropout: p must be from 0 to 1; -0.1 was given"):
        nn.Dropout(-0.1)


def test_dropout_draws_anew_in_each_compiled_call_and_as_eager_does() -> None:
    layer = nn.Dropout(0.5)
    x = cr.ones(64)
    compiled = cr.compile(lambda x: layer(x), engine="numpy")
    cr.manual_seed(5)
    eager = [layer(x).tolist() for _ in range(3)]
    cr.manual_seed(5)
    assert [compiled(x).tolist() for _ in range(3)] == eager
    assert eager[0] != eager[1]
    layer.eval()
    assert compiled(x).tolist() == x.tolist()


def test_flatten_unflatten_identity() -> None:
    x = cr.zeros(2, 3, 4)
    assert tuple(nn.Flatten()(x).shape) == (2, 12)
    assert tuple(nn.Flatten(0, 1)(x).shape) == (6, 4)
    assert tuple(nn.Unflatten(-1, (2, 2))(x).shape) == (2, 3, 2, 2)
    assert nn.Identity("anything", size=3)(x) is x
    assert repr(nn.Unflatten(1, (2, 3))) == "Unflatten(dim=1, unflattened_size=(2, 3))"


ACTIVATIONS: list[tuple[str, tuple[Any, ...]]] = [
    ("ReLU", ()),
    ("ReLU6", ()),
    ("LeakyReLU", (0.2,)),
    ("ELU", (0.5,)),
    ("SELU", ()),
    ("CELU", (0.5,)),
    ("GELU", ("tanh",)),
    ("SiLU", ()),
    ("Mish", ()),
    ("Softplus", (2, 5)),
    ("Softsign", ()),
    ("Sigmoid", ()),
    ("LogSigmoid", ()),
    ("Hardsigmoid", ()),
    ("Hardswish", ()),
    ("Tanh", ()),
    ("Tanhshrink", ()),
    ("Hardtanh", (-0.5, 0.5)),
    ("Softshrink", (0.3,)),
    ("Hardshrink", (0.3,)),
    ("Threshold", (0.1, 2.0)),
    ("GLU", ()),
    ("PReLU", (4,)),
    ("Softmax", (1,)),
    ("LogSoftmax", (1,)),
    ("Softmin", (1,)),
]


@pytest.mark.parametrize("name, options", ACTIVATIONS)
def test_activation_modules(name: str, options: tuple[Any, ...]) -> None:
    x = array(3, 4)
    ours, theirs = getattr(nn, name)(*options), getattr(torch.nn, name)(*options)
    np.testing.assert_allclose(
        ours(cr.tensor(x)).detach().numpy(),
        theirs(torch.tensor(x)).detach().numpy(),
        rtol=1e-5,
        atol=1e-6,
    )
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_abs() -> None:
    assert nn.Abs()(cr.tensor([-1.0, 2.0])).tolist() == [1.0, 2.0]


def spread(name: str, shape: tuple[int, ...], **options: Any) -> tuple[float, float]:
    """Standard deviations of ours and of PyTorch's."""
    cr.manual_seed(0)
    torch.manual_seed(0)
    ours = getattr(nn.init, name)(cr.zeros(shape), **options)
    theirs = getattr(torch.nn.init, name)(torch.zeros(shape), **options)
    return float(ours.numpy().std()), float(theirs.numpy().std())


@pytest.mark.parametrize(
    "name, options",
    [
        ("uniform_", {"a": -2.0, "b": 1.0}),
        ("normal_", {"mean": 1.0, "std": 3.0}),
        ("trunc_normal_", {"std": 2.0, "a": -1.0, "b": 3.0}),
        ("xavier_uniform_", {"gain": 2.0}),
        ("xavier_normal_", {"gain": 2.0}),
        ("kaiming_uniform_", {"a": math.sqrt(5)}),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("sparse_", {"sparsity": 0.2, "std": 2.0}),
        ("orthogonal_", {"gain": 3.0}),
    ],
)
def test_initialisers_spread_as_in_pytorch(name: str, options: dict[str, Any]) -> None:
    ours, theirs = spread(name, (200, 100), **options)
    assert ours == pytest.approx(theirs, rel=0.03)


def test_initialisers_that_are_exact() -> None:
    weight = nn.Parameter(cr.zeros(3, 5))
    assert nn.init.constant_(weight, 0.5) is weight
    assert weight.requires_grad and weight.is_leaf and weight.tolist() == [[0.5] * 5] * 3
    assert nn.init.ones_(weight).sum().item() == 15 and not nn.init.zeros_(weight).any()
    np.testing.assert_array_equal(nn.init.eye_(weight).detach().numpy(), np.eye(3, 5))
    rows = nn.init.orthogonal_(weight).detach().numpy()
    np.testing.assert_allclose(rows @ rows.T, np.eye(3), atol=1e-6)
    for name in ("linear", "relu", "tanh", "selu", "sigmoid", "conv2d"):
        assert nn.init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert nn.init.calculate_gain("leaky_relu", 0.2) == pytest.approx(
        torch.nn.init.calculate_gain("leaky_relu", 0.2)
    )


def test_errors_of_initialisers() -> None:
    vector, matrix = cr.zeros(3), cr.zeros(2, 2)
    for fill in (nn.init.eye_, nn.init.orthogonal_, nn.init.xavier_normal_):
        with pytest.raises(ShapeError, match=r"shape \(3,\)"):
            fill(vector)
    with pytest.raises(ShapeError, match="sparse_ fills matrices"):
        nn.init.sparse_(vector, 0.1)
    with pytest.raises(OptionError, match=r"uniform_: a=1.0 lies above b=0.0"):
        nn.init.uniform_(vector, 1.0, 0.0)
    with pytest.raises(OptionError, match=r"std must be 0 or more; -1.0"):
        nn.init.normal_(vector, 0.0, -1.0)
    with pytest.raises(OptionError, match=r"a=2.0 must lie below b=2.0"):
        nn.init.trunc_normal_(vector, a=2.0)
    with pytest.raises(OptionError, match="no gain is known for 'gelu'"):
        nn.init.calculate_gain("gelu")
    with pytest.raises(OptionError, match="mode='both' does not exist"):
        nn.init.kaiming_normal_(matrix, mode="both")


def test_training_a_network_as_pytorch_does() -> None:
    """The same start, data and rule: 30 steps stay together."""
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    ours = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    x, y = array(20, 4), np.random.default_rng(1).integers(0, 3, 20)
    losses = []
    for library, model in ((cr, ours), (torch, theirs)):
        loss_of = library.nn.CrossEntropyLoss()
        optimizer = library.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
        for _ in range(30):
            optimizer.zero_grad()
            loss = loss_of(model(library.tensor(x)), library.tensor(y))
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    np.testing.assert_allclose(
        ours[0].weight.detach().numpy(), theirs[0].weight.detach().numpy(), rtol=1e-3, atol=1e-4
    )
