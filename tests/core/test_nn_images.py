"""Layers of images beside PyTorch: values, gradients, state both ways, repr, first weights."""

import math
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import nn
from chainrule.errors import OptionError, ShapeError

torch = pytest.importorskip("torch")


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def alike(mine: Any, other: Any, scale: float = 2e-5) -> None:
    np.testing.assert_allclose(
        mine.detach().numpy(), other.detach().numpy(), rtol=scale, atol=scale, equal_nan=True
    )


Case = tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]
LAYERS: list[Case] = [
    ("Conv1d", (2, 4, 3), {}, (3, 2, 9)),
    ("Conv1d", (4, 6, 4), {"stride": 2, "padding": 2, "dilation": 2, "groups": 2}, (2, 4, 11)),
    ("Conv1d", (2, 4, 3), {"padding": "same", "padding_mode": "circular"}, (3, 2, 9)),
    ("Conv2d", (1, 16, 5), {"stride": 1, "padding": 2}, (3, 1, 8, 9)),
    ("Conv2d", (3, 5, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "bias": False}, (2, 3, 7, 6)),
    ("Conv2d", (4, 8, 3), {"groups": 4, "padding": "same", "dilation": 2}, (2, 4, 7, 6)),
    ("Conv2d", (3, 5, 3), {"padding": "valid"}, (3, 7, 6)),
    ("Conv2d", (3, 5, 3), {"padding": (2, 1), "padding_mode": "reflect"}, (2, 3, 5, 4)),
    ("Conv2d", (3, 5, 3), {"padding": 1, "padding_mode": "replicate", "stride": 2}, (2, 3, 5, 4)),
    ("Conv3d", (2, 4, 3), {"padding": 1, "stride": (1, 2, 2)}, (2, 2, 4, 5, 6)),
    ("Conv3d", (2, 4, (1, 2, 3)), {"groups": 2}, (2, 4, 5, 6)),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "groups": 2, "output_padding": 1}, (2, 4, 5)),
    ("ConvTranspose2d", (3, 5, 3), {"stride": 2, "padding": 1}, (2, 3, 4, 5)),
    ("ConvTranspose2d", (3, 5, (2, 3)), {"dilation": 2, "bias": False}, (3, 4, 5)),
    ("ConvTranspose3d", (2, 3, 2), {"stride": 2, "padding": (1, 0, 0)}, (1, 2, 3, 2, 2)),
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1}, (2, 3, 8)),
    ("MaxPool2d", (2,), {}, (2, 3, 7, 8)),
    ("MaxPool2d", ((3, 2),), {"dilation": 2, "ceil_mode": True, "stride": 2}, (2, 3, 8, 9)),
    ("MaxPool3d", (2,), {"padding": 1}, (2, 3, 4, 5, 4)),
    ("AvgPool1d", (3,), {"padding": 1, "count_include_pad": False}, (2, 3, 8)),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 8, 6)),
    ("AvgPool2d", (2,), {"divisor_override": 3}, (3, 8, 6)),
    ("AvgPool3d", ((1, 2, 3),), {}, (2, 3, 4, 4, 6)),
    ("LPPool1d", (2, 2), {}, (2, 3, 8)),
    ("LPPool2d", (2, 3), {"stride": 2, "ceil_mode": True}, (2, 3, 8, 8)),
    ("LPPool3d", (2, 2), {}, (2, 3, 4, 4, 4)),
    ("AdaptiveAvgPool1d", (3,), {}, (2, 3, 8)),
    ("AdaptiveAvgPool2d", ((3, None),), {}, (2, 3, 8, 5)),
    ("AdaptiveAvgPool3d", (1,), {}, (2, 3, 4, 5, 4)),
    ("AdaptiveMaxPool1d", (3,), {}, (2, 3, 8)),
    ("AdaptiveMaxPool2d", ((4, 2),), {}, (2, 3, 8, 5)),
    ("AdaptiveMaxPool3d", (2,), {}, (3, 4, 5, 4)),
    ("Upsample", (), {"scale_factor": 2, "mode": "bilinear"}, (2, 3, 4, 5)),
    ("Upsample", (), {"size": (3, 7)}, (2, 3, 4, 5)),
    ("UpsamplingNearest2d", (), {"scale_factor": 2}, (2, 3, 4, 5)),
    ("UpsamplingBilinear2d", ((7, 6),), {}, (2, 3, 4, 5)),
    ("Unfold", ((2, 3),), {"padding": 1, "stride": 2}, (2, 3, 5, 6)),
    ("Fold", ((5, 6), (2, 3)), {"padding": 1, "stride": 2}, (2, 18, 9)),
    ("PixelShuffle", (2,), {}, (2, 8, 3, 3)),
    ("PixelUnshuffle", (2,), {}, (2, 2, 4, 6)),
    ("ConstantPad1d", (2, 3.5), {}, (2, 3, 4)),
    ("ConstantPad2d", ((1, 2, 0, -1), 3.5), {}, (2, 3, 4, 4)),
    ("ConstantPad3d", (1, 0.5), {}, (2, 3, 2, 2, 2)),
    ("ZeroPad1d", (2,), {}, (2, 3, 4)),
    ("ZeroPad2d", ((1, 2, 3, 0),), {}, (3, 4, 4)),
    ("ZeroPad3d", (1,), {}, (2, 3, 2, 2, 2)),
    ("ReflectionPad1d", ((1, 2),), {}, (2, 3, 4)),
    ("ReflectionPad2d", (2,), {}, (2, 3, 4, 4)),
    ("ReflectionPad3d", (1,), {}, (2, 3, 2, 2, 2)),
    ("ReplicationPad1d", ((1, 5),), {}, (2, 3, 4)),
    ("ReplicationPad2d", ((1, 2, 3, 0),), {}, (2, 3, 4, 4)),
    ("ReplicationPad3d", (1,), {}, (2, 3, 2, 2, 2)),
    ("CircularPad1d", ((1, 2),), {}, (2, 3, 4)),
    ("CircularPad2d", ((1, 2, 3, 0),), {}, (2, 3, 4, 4)),
    ("CircularPad3d", (1,), {}, (2, 3, 2, 2, 2)),
    ("InstanceNorm1d", (3,), {"affine": True}, (4, 3, 5)),
    ("InstanceNorm2d", (3,), {}, (4, 3, 2, 5)),
    ("InstanceNorm2d", (3,), {"track_running_stats": True, "momentum": 0.3}, (4, 3, 2, 5)),
    ("InstanceNorm2d", (3,), {"affine": True, "track_running_stats": True}, (3, 2, 5)),
    ("InstanceNorm3d", (2,), {"eps": 1e-2}, (3, 2, 2, 2, 2)),
    ("GroupNorm", (2, 6), {}, (3, 6, 4, 5)),
    ("LocalResponseNorm", (3,), {"alpha": 0.5}, (3, 6, 4, 5)),
]


def names(case: Case) -> str:
    return f"{case[0]}-{'-'.join(case[2])}"


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("case", LAYERS, ids=names)
def test_a_layer_is_that_of_torch(case: Case) -> None:
    """Twice in training with gradients, once in evaluation; state one way and the other."""
    name, args, options, shape = case
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.tensor(array(*parameter.shape, seed=5)))
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    for seed in range(2):
        x = array(*shape, seed=seed)
        if name.startswith("LPPool"):
            x = np.abs(x) + 0.1
        mine, other = cr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        a, b = ours(mine), theirs(other)
        alike(a, b)
        upstream = array(*b.shape, seed=seed + 10)
        a.backward(cr.tensor(upstream))
        b.backward(torch.tensor(upstream))
        alike(mine.grad, other.grad)
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        alike(one.grad, two.grad, 1e-4)
    x = np.abs(array(*shape, seed=7)) + 0.1
    alike(ours.eval()(cr.tensor(x)), theirs.eval()(torch.tensor(x)))
    state = {key: torch.tensor(value.numpy()) for key, value in ours.state_dict().items()}
    wanted = theirs.state_dict()
    assert list(state) == list(wanted)
    for key, value in wanted.items():
        alike(ours.state_dict()[key], value)
    theirs.load_state_dict(state)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_first_weights_lie_where_those_of_torch_lie(rank: int) -> None:
    cr.manual_seed(0)
    torch.manual_seed(0)
    for name in ("Conv", "ConvTranspose"):
        layer = getattr(nn, f"{name}{rank}d")(8, 16, 3, groups=2)
        other = getattr(torch.nn, f"{name}{rank}d")(8, 16, 3, groups=2)
        assert tuple(layer.weight.shape) == tuple(other.weight.shape)
        bound = 1 / math.sqrt(layer.weight.shape[1] * 3**rank)
        for one, two in ((layer.weight, other.weight), (layer.bias, other.bias)):
            for values in (one.detach().numpy(), two.detach().numpy()):
                assert np.abs(values).max() <= bound
                assert np.abs(values).max() > 0.6 * bound
        deviation = layer.weight.detach().numpy().std()
        assert deviation == pytest.approx(bound / math.sqrt(3), rel=0.15)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_output_size_of_a_transposed_convolution(rank: int) -> None:
    shape = (2, 3, *(4, 5, 3)[:rank])
    name = f"ConvTranspose{rank}d"
    ours = getattr(nn, name)(3, 2, 3, stride=3, padding=1)
    theirs = getattr(torch.nn, name)(3, 2, 3, stride=3, padding=1)
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    x = array(*shape)
    for more in (0, 2):
        size = [(n - 1) * 3 - 2 + 3 + more for n in shape[2:]]
        for asked in (size, [2, 2, *size]):
            alike(ours(cr.tensor(x), output_size=asked), theirs(torch.tensor(x), output_size=asked))
    with pytest.raises(ShapeError, match=r"output_size=.* is not possible.*\n.*expected: from"):
        ours(cr.tensor(x), output_size=[1] * rank)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pooling_and_back(rank: int) -> None:
    x = array(2, 3, *(6, 7, 4)[:rank])
    pool, back = (getattr(nn, f"{kind}{rank}d") for kind in ("MaxPool", "MaxUnpool"))
    pool2, back2 = (getattr(torch.nn, f"{kind}{rank}d") for kind in ("MaxPool", "MaxUnpool"))
    assert repr(back(2, 2)) == repr(back2(2, 2))
    y, places = pool(2, return_indices=True)(cr.tensor(x))
    y2, places2 = pool2(2, return_indices=True)(torch.tensor(x))
    assert places.tolist() == places2.tolist()
    size = tuple(x.shape)
    alike(back(2)(y, places, output_size=size), back2(2)(y2, places2, output_size=size))
    adaptive = getattr(nn, f"AdaptiveMaxPool{rank}d")(3, return_indices=True)
    adaptive2 = getattr(torch.nn, f"AdaptiveMaxPool{rank}d")(3, return_indices=True)
    for one, two in zip(adaptive(cr.tensor(x)), adaptive2(torch.tensor(x)), strict=True):
        alike(one, two)


DROPPED = [
    ("Dropout1d", (40, 50, 3)),
    ("Dropout2d", (40, 50, 3, 2)),
    ("Dropout3d", (4, 50, 2, 2, 2)),
]


@pytest.mark.parametrize(("name", "shape"), DROPPED)
def test_channels_are_dropped_as_a_whole(name: str, shape: tuple[int, ...]) -> None:
    cr.manual_seed(1)
    layer = getattr(nn, name)(0.3)
    assert repr(layer) == repr(getattr(torch.nn, name)(0.3))
    x = cr.tensor(np.abs(array(*shape)) + 0.1, requires_grad=True)
    y = layer(x)
    ratio = (y.detach() / x.detach()).numpy().reshape(*shape[:2], -1)
    # Each channel stays or goes as one.
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :, :1], ratio.shape), rtol=1e-6)
    kept = ratio[:, :, 0] > 0
    np.testing.assert_allclose(ratio[:, :, 0][kept], 1 / 0.7, rtol=1e-6)
    assert kept.mean() == pytest.approx(0.7, abs=4 * math.sqrt(0.21 / kept.size))
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy().reshape(ratio.shape), ratio, rtol=1e-6)
    assert layer.eval()(x) is x
    one = F.dropout1d(cr.ones(50, 3), 0.5) if name == "Dropout1d" else None
    if one is not None:
        assert set(one.sum(1).tolist()) == {0.0, 6.0}


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    cr.manual_seed(2)
    for layer, shape in (
        (nn.AlphaDropout(0.3), (200, 500)),
        (nn.FeatureAlphaDropout(0.3), (400, 500, 1)),
    ):
        assert repr(layer) == repr(getattr(torch.nn, type(layer).__name__)(0.3))
        y = layer(cr.tensor(array(*shape))).numpy()
        assert y.mean() == pytest.approx(0, abs=0.03) and y.var() == pytest.approx(1, abs=0.05)
    torch.manual_seed(0)
    x = array(300, 400)
    ours = np.unique(F.alpha_dropout(cr.tensor(x * 0 + 0.5), 0.3, True).numpy())
    theirs = np.unique(torch.nn.functional.alpha_dropout(torch.tensor(x * 0 + 0.5), 0.3, True))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert F.alpha_dropout(cr.ones(3), 1.0, True).tolist() == [0.0] * 3


def test_weight_noise() -> None:
    cr.manual_seed(3)
    layer = nn.Linear(200, 300)
    noisy = nn.WeightNoise(layer, 0.5)
    assert [name for name, _ in noisy.named_parameters()] == ["module.weight", "module.bias"]
    weight = layer.weight
    x = cr.eye(200)
    apart = (noisy(x) - layer(x)).detach().numpy()
    assert apart.std() == pytest.approx(0.5, rel=0.02) and apart.mean() == pytest.approx(
        0, abs=0.01
    )
    assert layer.weight is weight
    noisy(x).sum().backward()
    np.testing.assert_array_equal(weight.grad.numpy(), np.ones((300, 200), np.float32))
    assert noisy.eval()(x).tolist() == layer(x).tolist()
    # The gradient is that at the noisy weights, and a failed call leaves the weights in place.
    square = nn.WeightNoise(nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1)), 0.1)
    with pytest.raises(ShapeError):
        square(cr.ones(1, 4))
    assert all(isinstance(one, nn.Parameter) for one in square.parameters())
    with pytest.raises(OptionError, match=r"called kernel.\n  given: weight, bias"):
        nn.WeightNoise(nn.Linear(2, 2), 0.1, ("kernel",))
    with pytest.raises(OptionError, match="std must be 0 or more"):
        nn.WeightNoise(layer, -1.0)


def test_weight_noise_in_a_compiled_step_is_drawn_anew() -> None:
    cr.manual_seed(4)
    noisy = nn.WeightNoise(nn.Linear(3, 2), 0.5)
    compiled = cr.compile(lambda x: noisy(x), engine="numpy")
    x = cr.ones(1, 3)
    first, second = compiled(x).tolist(), compiled(x).tolist()
    assert first != second


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Conv2d(0, 1, 3), "must be 1 or more; 0 and 1"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "groups=2 must divide in_channels=3"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), r"Conv2d: kernel_size=\(3, 3, 3\)"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "'same' or 'valid'"),
        (lambda: nn.Conv2d(3, 4, 3, 2, "same"), "padding='same' needs a stride of 1"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"), "padding_mode='mirror' does not exist"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"), "expected: 'zeros'"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding="same"), "expected: numbers"),
        (lambda: nn.ZeroPad2d((1, 2)), "a whole number, or 4 of them"),
        (lambda: nn.MaxUnpool2d((1, 2, 3)), "kernel_size="),
        (lambda: nn.Dropout2d(2.0), "p must be from 0 to 1"),
    ],
)
def test_settings_that_do_not_exist(make: Any, text: str) -> None:
    with pytest.raises(OptionError, match=text):
        make()


def test_a_wrong_input_names_the_layer_and_the_fix() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(8, 4, 3))
    with pytest.raises(ShapeError) as caught:
        model(cr.zeros(2, 1, 8, 8))
    text = str(caught.value)
    assert "conv2d: the weight takes 8 channels, the input has 4" in text
    assert "fix: build the layer for 4 input channels" in text
    assert "layer '1'" in text and "test_nn_images.py" in text
    with pytest.raises(ShapeError, match=r"larger than the padded input(.|\n)*layer '0'"):
        model(cr.zeros(2, 1, 2, 8))
    with pytest.raises(ShapeError, match=r"InstanceNorm2d: the input has 4 channels(.|\n)*\(4\)"):
        nn.InstanceNorm2d(3)(cr.zeros(2, 4, 3, 3))
    with pytest.raises(ShapeError, match="must have 3 axes or, with a batch, 4"):
        nn.InstanceNorm2d(3)(cr.zeros(2, 4))
    with pytest.raises(ShapeError, match="ReflectionPad2d: the input must have 3 axes"):
        nn.ReflectionPad2d(1)(cr.zeros(2, 4))


def test_a_network_on_every_engine_that_runs_it() -> None:
    cr.manual_seed(5)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="reflect"),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    x, y = cr.tensor(array(5, 1, 8, 8)), cr.tensor(np.arange(5) % 3)
    parameters = list(model.parameters())

    def step(x: Any, y: Any) -> Any:
        loss = nn.CrossEntropyLoss()(model(x), y)
        return [loss, *cr.grad(loss, parameters)]

    expected = step(x, y)
    for engine in ("numpy", "xla"):
        for one, two in zip(cr.compile(step, engine=engine)(x, y), expected, strict=True):
            np.testing.assert_allclose(one.detach().numpy(), two.detach().numpy(), 1e-4, 1e-5)
