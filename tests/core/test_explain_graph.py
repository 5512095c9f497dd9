"""`explain.graph`: the textbook's numbers, every node's value and partial, folding."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import explain
from chainrule.errors import OptionError


def textbook() -> tuple[cr.Tensor, cr.Tensor, cr.Tensor, cr.Tensor]:
    """J = 3(a + bc) at a=5, b=3, c=2 (question T3)."""
    a, b, c = (cr.tensor(v, requires_grad=True) for v in (5.0, 3.0, 2.0))
    a, b, c = a.named("a"), b.named("b"), c.named("c")
    return 3 * (a + b * c), a, b, c


def network(layers: int = 2, width: int = 5) -> tuple[cr.nn.Sequential, cr.Tensor]:
    cr.manual_seed(1)
    parts: list[cr.nn.Module] = []
    for _ in range(layers):
        parts += [cr.nn.Linear(width, width), cr.nn.Tanh()]
    model = cr.nn.Sequential(*parts)
    x = cr.tensor(np.random.default_rng(0).normal(size=(3, width)).astype("float32"))
    return model, (model(x) ** 2).mean()


def test_the_textbook_example() -> None:
    nodes = {node["label"]: node for node in explain.graph(textbook()[0]).data["nodes"]}
    values = {label: float(node["value"]) for label, node in nodes.items()}
    partials = {label: float(node["partial"]) for label, node in nodes.items()}
    assert values == {"a": 5, "b": 3, "c": 2, "u": 6, "v": 11, "J": 33}
    assert partials == {"J": 1, "v": 3, "u": 3, "a": 3, "b": 6, "c": 9}
    assert nodes["b"]["backs"] == [{"consumer": "u", "symbols": "c · ∂J/∂u", "numbers": "2 · 3"}]


def test_the_textbook_example_as_text() -> None:
    assert explain.graph(textbook()[0]).text().splitlines() == [
        "J = 3 · v = 33        ∂J/∂J = 1",
        "└─ v = a + u = 11     ∂J/∂v = 3 · ∂J/∂J = 3 · 1 = 3",
        "   ├─ a = 5           ∂J/∂a = 1 · ∂J/∂v = 1 · 3 = 3",
        "   └─ u = b · c = 6   ∂J/∂u = 1 · ∂J/∂v = 1 · 3 = 3",
        "      ├─ b = 3        ∂J/∂b = c · ∂J/∂u = 2 · 3 = 6",
        "      └─ c = 2        ∂J/∂c = b · ∂J/∂u = 3 · 3 = 9",
    ]


def test_a_node_used_twice_adds_its_terms_and_is_written_once() -> None:
    x = cr.tensor(3.0, requires_grad=True).named("x")
    text = explain.graph(x * x + x).text()
    assert "∂J/∂x = 1 · ∂J/∂J + x · ∂J/∂u + x · ∂J/∂u = 1 · 1 + 3 · 1 + 3 · 1 = 7" in text
    assert text.count("∂J/∂x") == 1 and "x (above)" in text


def test_every_partial_is_what_autodiff_gives() -> None:
    model, cost = network()
    nodes = explain.graph(cost, model=model).data["nodes"]
    wanted = cr.grad(cost, list(model.parameters()))
    found = {node["label"]: node["partial"] for node in nodes}
    for label, gradient in zip(("w1", "b1", "w2", "b2"), wanted, strict=True):
        np.testing.assert_array_equal(found[label], gradient.detach().numpy())
    assert all(node["partial"] is not None for node in nodes)


def test_nudging_a_leaf_changes_the_output_as_its_partial_says() -> None:
    a, b, c = 5.0, 3.0, 2.0
    assert 3 * (a + 3.001 * c) == pytest.approx(33.006)
    node = next(n for n in explain.graph(textbook()[0]).data["nodes"] if n["label"] == "b")
    assert 33 + 0.001 * float(node["partial"]) == pytest.approx(3 * (a + (b + 0.001) * c))


def test_parameters_are_named_by_their_layer() -> None:
    model, cost = network()
    legend = explain.graph(cost, model=model).data["legend"]
    assert legend["w1"] == "parameter 0.weight" and legend["b2"] == "parameter 2.bias"
    assert explain.graph(cost).data["legend"]["w1"] == "parameter 0.weight"


def test_results_outside_of_gradients_are_seen_when_recorded() -> None:
    with cr.record():
        y = cr.tensor(2.0).named("a") * cr.tensor(4.0).named("b")
    partials = {n["label"]: float(n["partial"]) for n in explain.graph(y).data["nodes"]}
    assert partials == {"a": 4.0, "b": 2.0, "J": 1.0}


def test_several_elements_are_differentiated_as_their_sum() -> None:
    x = cr.tensor([1.0, 2.0, 3.0], requires_grad=True).named("x")
    nodes = {n["label"]: n for n in explain.graph(x * x).data["nodes"]}
    np.testing.assert_array_equal(nodes["x"]["partial"], [2.0, 4.0, 6.0])
    assert float(nodes["J"]["value"]) == 14.0


def test_equal_layers_in_a_row_fold_into_one() -> None:
    _, cost = network(layers=12)
    view = explain.graph(cost)
    repeats = [block["repeats"] for block in view.data["blocks"]]
    assert len(view.data["blocks"]) <= 8 and 12 in repeats
    assert "×12" in view.text() and "×12" in view.svg()


def test_folding_can_be_asked_for_and_refused() -> None:
    _, cost = network()
    whole = explain.graph(cost, fold=False).data
    assert len(whole["blocks"]) == len(whole["nodes"])
    folded = explain.graph(cost, fold=True).data
    assert [block["repeats"] for block in folded["blocks"] if block["scope"]] == [2]


def test_a_layer_called_twice_folds_into_two_visits() -> None:
    class Twice(cr.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cr.nn.Linear(3, 3)

        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return self.cell(self.cell(x).sin() + x.cos())

    cost = Twice()(cr.ones(2, 3)).sum()
    blocks = explain.graph(cost, fold=True).data["blocks"]
    assert [block["scope"] for block in blocks].count("cell") == 2


def test_a_wrong_fold_shows_the_fix() -> None:
    with pytest.raises(OptionError, match="expected: 'auto', True, False, or how many levels"):
        explain.graph(textbook()[0], fold="never")


def test_the_graph_is_left_as_it_was() -> None:
    model, cost = network()
    before = [parameter.detach().numpy().copy() for parameter in model.parameters()]
    explain.graph(cost, model=model).svg()
    assert all(parameter.grad is None for parameter in model.parameters())
    for parameter, old in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.detach().numpy(), old)


def test_sixty_nodes_stay_readable() -> None:
    x = cr.tensor(1.0, requires_grad=True)
    for k in range(58):
        x = x + float(k) if k % 2 else x.sin()
    view = explain.graph(x)
    drawing = view.drawing()
    assert len(view.data["nodes"]) == 59
    assert drawing.width < 1500 or drawing.height < 6000


def test_a_result_without_history_says_how_to_keep_it() -> None:
    y = cr.tensor(2.0) * 3.0
    assert "`with cr.record():` keeps" in explain.graph(y).text()
    assert "`with cr.record():` keeps" in explain.steps(y).text()


def test_a_long_chain_is_written_in_pieces() -> None:
    x = cr.tensor(0.5, requires_grad=True)
    for _ in range(400):
        x = x.sin()
    lines = explain.graph(x).text().splitlines()
    assert len([line for line in lines if "(below)" in line]) > 10
    assert max(len(line) for line in lines) < 250


def test_a_derivative_of_ones_own_is_refused_by_name():
    class Straight(cr.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sign()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    y = Straight.apply(cr.tensor([-2.0, 3.0], requires_grad=True)).sum()
    with pytest.raises(OptionError, match=r"several results.\n  given: the op custom Straight"):
        cr.explain.graph(y)


def test_derivatives_of_a_convolution_are_written_as_such() -> None:
    cr.manual_seed(0)
    model = cr.nn.Sequential(cr.nn.Conv1d(1, 2, 2), cr.nn.MaxPool1d(2), cr.nn.AvgPool1d(1))
    x = cr.tensor([[[1.0, 2.0, -3.0]]], requires_grad=True).named("x")
    with cr.record():
        loss = model(x).sum()
        text = cr.explain.graph(loss, model=model, fold=False).text()
    assert "p = x ⋆ w" in text and "z = p + " in text
    assert "∂J/∂x = ∂J/∂p ⋆ᵀ w" in text
    assert "∂J/∂w = Σ x ⋆ ∂J/∂p" in text
    assert "where the largest of each window was" in text
    assert "repeated over each window" in text
