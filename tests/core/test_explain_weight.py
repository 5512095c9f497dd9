"""`explain.weight`: the three factors multiply to what autodiff gives, for any Linear layer."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import explain
from chainrule.errors import IndexRangeError, OptionError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(12, 6)).astype("float32")
Y = RNG.integers(0, 4, 12)


def network(activation: type[cr.nn.Module]) -> cr.nn.Sequential:
    cr.manual_seed(2)
    hidden = [cr.nn.Linear(6, 7), activation(), cr.nn.Linear(7, 5, bias=False), activation()]
    return cr.nn.Sequential(*hidden, cr.nn.Linear(5, 4))


@pytest.mark.parametrize(
    "activation", [cr.nn.ReLU, cr.nn.Tanh, cr.nn.Sigmoid, cr.nn.GELU, cr.nn.SiLU, cr.nn.Identity]
)
@pytest.mark.parametrize("name", ["0.weight", "0.bias", "2.weight", "4.weight", "4.bias"])
def test_the_factors_multiply_to_the_partial(activation: type[cr.nn.Module], name: str) -> None:
    model = network(activation)
    parameter = model.get_parameter(name)
    cost = cr.nn.CrossEntropyLoss()(model(cr.tensor(X)), cr.tensor(Y))
    (wanted,) = cr.grad(cost, [parameter])
    for index in np.ndindex(tuple(parameter.shape)):
        data = explain.weight(model, name, index, X, Y).data
        assert data["autodiff"] == pytest.approx(wanted[index].item(), abs=1e-9)
        assert data["sum"] == pytest.approx(data["autodiff"], abs=2e-7)
        for one in data["examples"]:
            product = one["error"] * one["slope"] * one["input"]
            assert one["product"] == pytest.approx(product)
        if sum(index) > 2:
            break


def test_the_slope_is_the_activation_s_own() -> None:
    model = network(cr.nn.Tanh)
    data = explain.weight(model, "0.weight", (3, 1), X[:1], Y[:1]).data
    z = model[0](cr.tensor(X[:1]))[0, 3].item()
    assert data["examples"][0]["slope"] == pytest.approx(1 - np.tanh(z) ** 2, rel=1e-5)
    assert data["factors"] == ["∂J/∂a1", "1 - tanh²(z1)", "x"]


def test_a_composed_activation_is_one_slope() -> None:
    data = explain.weight(network(cr.nn.SiLU), "0.weight", (3, 1), X[:2], Y[:2]).data
    z = network(cr.nn.SiLU)[0](cr.tensor(X[:2]))[:, 3].detach().numpy().astype(float)
    s = 1 / (1 + np.exp(-z))
    slopes = [one["slope"] for one in data["examples"]]
    np.testing.assert_allclose(slopes, s * (1 + z * (1 - s)), rtol=1e-5)


def test_the_readout_layer_has_slope_one() -> None:
    data = explain.weight(network(cr.nn.ReLU), "4.weight", (0, 0), X, Y).data
    assert {one["slope"] for one in data["examples"]} == {1.0}


def test_a_regression_with_its_own_loss() -> None:
    cr.manual_seed(0)
    model = cr.nn.Linear(6, 1)
    target = RNG.normal(size=(12, 1)).astype("float32")
    data = explain.weight(model, "weight", (0, 2), X, target, cr.nn.MSELoss()).data
    error = model(cr.tensor(X)).detach().numpy() - target
    assert data["sum"] == pytest.approx(float((2 * error * X[:, 2:3]).mean()), rel=1e-4)


def test_the_text_names_everything() -> None:
    text = explain.weight(network(cr.nn.ReLU), "0.weight", (3, 1), X, Y).text()
    assert "∂J/∂w1[3,1] = Σ_n error · slope · input, over 12 examples" in text
    assert "Σ_n ∂J/∂a1[n,3] · [z1 > 0][n,3] · x[n,1]" in text
    assert "4 more" in text and "autodiff gives" in text


def test_the_live_model_is_left_alone() -> None:
    model = cr.nn.Sequential(cr.nn.Linear(6, 8), cr.nn.Dropout(0.5), cr.nn.Linear(8, 4))
    before = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    state = cr.rand(3).numpy()
    cr.manual_seed(9)
    explain.weight(model, "0.weight", (1, 1), X, Y).svg()
    drawn = cr.rand(3).numpy()
    cr.manual_seed(9)
    np.testing.assert_array_equal(drawn, cr.rand(3).numpy())
    assert model.training and all(module.training for module in model.modules())
    assert all(p.grad is None for p in model.parameters()) and len(state) == 3
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(before[name], parameter.detach().numpy())


@pytest.mark.parametrize(
    ("name", "index", "error", "text"),
    [
        (
            "9.weight",
            (0, 0),
            OptionError,
            r"the model has no parameter '9\.weight'.*0\.weight, 0\.bias",
        ),
        ("0.weight", (0,), IndexRangeError, r"2 whole numbers within shape \(7, 6\)"),
        ("0.weight", (7, 0), IndexRangeError, "does not name one element of '0.weight'"),
    ],
)
def test_mistakes_show_the_fix(name: str, index: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=f"(?s){text}"):
        explain.weight(network(cr.nn.ReLU), name, index, X, Y)


def test_parameters_of_other_layers_are_refused_by_name() -> None:
    class Scale(cr.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.by = cr.nn.Parameter(cr.ones(6))

        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return x * self.by

    model = cr.nn.Sequential(Scale(), cr.nn.Linear(6, 4))
    with pytest.raises(OptionError, match=r"given: '0\.by', which is used by mul"):
        explain.weight(model, "0.by", (0,), X, Y)
