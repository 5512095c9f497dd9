"""`explain.layers`, `curves` and `confusion`: tables and pictures of a model and its training."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import explain
from chainrule.errors import OptionError
from chainrule.train import Run


def test_the_layer_table() -> None:
    model = cr.nn.Sequential(
        cr.nn.Linear(784, 100), cr.nn.Sigmoid(), cr.nn.Dropout(0.3), cr.nn.Linear(100, 10)
    )
    view = explain.layers(model, cr.zeros(7, 784))
    rows = view.data["layers"]
    assert [(r["name"], r["kind"], r["shape_in"], r["shape_out"]) for r in rows] == [
        ("0", "Linear", "N×784", "N×100"),
        ("1", "Sigmoid", "N×100", "N×100"),
        ("2", "Dropout", "N×100", "N×100"),
        ("3", "Linear", "N×100", "N×10"),
    ]
    assert [row["parameters"] for row in rows] == [78_500, 0, 0, 1_010]
    assert view.data["parameters"] == 79_510
    assert rows[0]["formula"] == "z1 = x @ w1ᵀ + b1"
    assert rows[1]["formula"] == "a1 = σ(z1)"
    assert rows[2]["formula"] == "passed on unchanged"
    assert "79,510" in view.text() and "79,510" in view.svg()


def test_a_layer_of_several_ops_is_written_out() -> None:
    model = cr.nn.Sequential(cr.nn.Linear(3, 2), cr.nn.SiLU())
    assert explain.layers(model, cr.zeros(1, 3)).data["layers"][1]["formula"].endswith("= z · σ(z)")


def test_layers_leave_hooks_and_flags_alone() -> None:
    model = cr.nn.Sequential(cr.nn.Linear(3, 2), cr.nn.Dropout())
    explain.layers(model, cr.zeros(1, 3))
    assert not model[0]._hooks and model.training


def history(**series: Any) -> Run:
    return Run(history={key: np.asarray(values, float) for key, values in series.items()})


def test_curves_name_the_best_epoch() -> None:
    run = history(
        loss=[2.0, 1.0, 0.5],
        accuracy=[0.3, 0.6, 0.9],
        validation_loss=[2.1, 1.2, 1.4],
        validation_accuracy=[0.2, 0.7, 0.6],
    )
    view = explain.curves(run)
    assert view.data["best"]["validation_loss"] == {"epoch": 2, "value": 1.2}
    assert view.data["best"]["validation_accuracy"] == {"epoch": 2, "value": 0.7}
    assert view.text().splitlines()[2].split() == ["2", "1", "0.6", "1.2", "0.7"]
    assert "lowest 1.2" in view.svg() and "highest 0.7" in view.svg()


def test_curves_bear_an_overflow() -> None:
    view = explain.curves(history(loss=[2.0, np.inf, np.nan]))
    assert view.data["best"]["loss"]["epoch"] == 1
    assert "nan" in view.text() and view.svg()
    assert np.isnan(explain.curves(history(loss=[np.nan])).data["best"]["loss"]["value"])


def test_curves_are_matplotlib_axes_with_the_extra() -> None:
    pytest.importorskip("matplotlib")
    figure = explain.curves(history(loss=[2.0, 1.0], accuracy=[0.1, 0.2])).figure()
    assert [axes.get_ylabel() for axes in figure.axes] == ["cost J", "accuracy"]


def test_curves_need_an_epoch() -> None:
    with pytest.raises(OptionError, match="at least one finished epoch"):
        explain.curves(Run())


def scorer(scores: Any) -> cr.nn.Module:
    """A model whose scores for one-hot inputs are given."""
    model = cr.nn.Linear(len(scores), len(scores[0]), bias=False)
    model.weight.data = cr.tensor(np.asarray(scores, "float32").T.copy())
    return model


def test_confusion_counts_and_ranks_mistakes() -> None:
    scores = [[2.0, 0.0, 0.0], [0.0, 5.0, 0.0], [1.0, 0.0, 0.0], [0.0, 9.0, 0.0]]
    truth = np.array([0, 1, 1, 2])
    view = explain.confusion(
        scorer(scores), (np.eye(4, dtype="float32"), truth), class_names=["cat", "dog", "cow"]
    )
    assert view.data["counts"].tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert view.data["accuracy"] == 0.5
    np.testing.assert_allclose(view.data["recall"], [1, 0.5, 0])
    worst, better = view.data["mistakes"]
    assert (worst["truth"], worst["guess"], worst["example"]) == ("cow", "dog", 3)
    assert worst["chance_of_truth"] == pytest.approx(np.exp(-9) / (1 + 2 * np.exp(-9)), rel=1e-4)
    assert better["example"] == 2
    assert "cow taken for dog" in view.text()


def test_confusion_of_one_score_for_yes_or_no() -> None:
    data = (np.eye(3, dtype="float32"), np.array([[1.0], [0.0], [1.0]], "float32"))
    view = explain.confusion(scorer([[4.0], [-3.0], [-1.0]]), data)
    assert view.data["counts"].tolist() == [[1, 0], [1, 1]]


def test_confusion_shows_unrolled_images() -> None:
    x = np.zeros((3, 64), "float32")
    x[:, 5] = 1
    view = explain.confusion(cr.nn.Linear(64, 2), (x, np.array([0, 1, 0])))
    assert view.svg().count("<image") == len(view.data["mistakes"])


def test_confusion_refuses_a_regression() -> None:
    with pytest.raises(OptionError, match="needs a classifier"):
        explain.confusion(cr.nn.Linear(2, 1), (np.zeros((3, 2)), np.array([0.1, 0.2, 0.3])))


def test_the_network_is_drawn_by_its_weights() -> None:
    cr.manual_seed(0)
    model = cr.nn.Sequential(cr.nn.Linear(3, 12), cr.nn.Tanh(), cr.nn.Linear(12, 2))
    view = explain.network(model, cr.zeros(1, 3))
    assert [(c["role"], c["units"]) for c in view.data["layers"]] == [
        ("input", 3), ("hidden", 12), ("readout", 2),
    ]  # fmt: skip
    assert "3 · 12 = 36" in view.text() and "a1 = tanh(z1)" in view.text()
    # Of 12 units 8 are drawn: 3 · 8 weights in, 8 · 2 weights out.
    (first, second) = [m for m in view.drawing().marks if getattr(m, "kind", "") == "weights"]
    assert (len(first.marks), len(second.marks)) == (24, 16)
    weight = model[0].weight.detach().numpy()
    colours = [line.colour for line in first.marks[:3]]
    assert colours == ["plus" if w >= 0 else "minus" for w in weight[0]]


def test_a_model_without_linear_layers_is_refused() -> None:
    with pytest.raises(OptionError, match="draws Linear layers that follow each other"):
        explain.network(cr.nn.Sequential(cr.nn.ReLU()), cr.zeros(1, 3))
