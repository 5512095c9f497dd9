"""Metrics beside scikit-learn's, over batches of uneven size; collected rows; errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.errors import OptionError, ShapeError
from chainrule.train import Metric, Rows, Sums, measures
from chainrule.train.measures import BY_NAME

sklearn = pytest.importorskip("sklearn.metrics")


def over_batches(metric: Metric, output: np.ndarray, target: np.ndarray, size: int) -> float:
    """The metric of an epoch, as the Trainer puts it together."""
    sums, rows, finish = [], [], None
    for start in range(0, len(output), size):
        part = slice(start, start + size)
        found = metric(cr.tensor(output[part]), cr.tensor(target[part]))
        if isinstance(found, Sums):
            sums.append([number.item() for number in found.numbers])
            finish = found.finish
        elif isinstance(found, Rows):
            rows.append(found.values.numpy())
            finish = found.finish
        else:
            sums.append([found.item() * len(output[part])])
    if rows:
        assert finish is not None
        return float(finish(np.concatenate(rows)))
    means = np.sum(sums, axis=0, dtype=np.float64)[None] / len(output)
    return float(means[0, 0] if finish is None else finish(means)[0])


NAMES = {
    "precision": sklearn.precision_score,
    "recall": sklearn.recall_score,
    "f1": sklearn.f1_score,
}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 40), st.integers(2, 5), st.integers(1, 9), st.integers(0, 2**32 - 1),
    st.sampled_from(sorted(NAMES)), st.sampled_from(measures.AVERAGES),
)  # fmt: skip
def test_counts_of_classes_are_scikit_learns(
    count: int, classes: int, size: int, seed: int, name: str, average: str
) -> None:
    draw = np.random.default_rng(seed)
    output = draw.normal(size=(count, classes)).astype(np.float32)
    target = draw.integers(0, classes, count)
    metric = getattr(measures, name)(average=average)
    binary = classes == 2
    expected = NAMES[name](
        target, output.argmax(1), average="binary" if binary else average, zero_division=0
    )
    assert over_batches(metric, output, target, size) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_many_classes_are_collected_and_agree(name: str) -> None:
    draw = np.random.default_rng(1)
    output = draw.normal(size=(300, 50)).astype(np.float32)
    target = draw.integers(0, 50, 300)
    expected = NAMES[name](target, output.argmax(1), average="macro", zero_division=0)
    found = over_batches(BY_NAME[name](0.5), output, target, 32)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("shape", [(30,), (30, 1), (30, 3)])
def test_yes_or_no_outputs_are_scikit_learns(name: str, shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(2)
    output = draw.normal(size=shape).astype(np.float32)
    target = (draw.random(shape) < 0.4).astype(np.float32)
    said, is_so = output > 0, target > 0.5
    if shape[1:] == (3,):
        expected = NAMES[name](is_so, said, average="macro", zero_division=0)
    else:
        expected = NAMES[name](is_so.reshape(-1), said.reshape(-1))
    assert over_batches(BY_NAME[name](0.0), output, target, 7) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 60), st.integers(2, 4), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_area_is_scikit_learns_with_equal_scores_too(
    count: int, classes: int, size: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    output = draw.integers(-3, 4, size=(count, classes)).astype(np.float64) / 2
    target = np.concatenate([np.arange(classes), draw.integers(0, classes, count - classes)])
    if classes == 2:
        expected = sklearn.roc_auc_score(target, output[:, 1] - output[:, 0])
    else:  # without equal scores, which softmax would round differently here and there
        output = draw.normal(size=(count, classes))
        powers = np.exp(output) / np.exp(output).sum(1, keepdims=True)
        expected = sklearn.roc_auc_score(target, powers, multi_class="ovr", labels=range(classes))
    found = over_batches(measures.auc(), output, target, size)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 4, 40])
@pytest.mark.parametrize("name", [*sorted(NAMES), "auc"])
def test_targets_that_the_loss_ignores_are_left_out(classes: int, name: str) -> None:
    draw = np.random.default_rng(6)
    output = draw.normal(size=(200, classes)).astype(np.float32)
    target = np.concatenate([np.arange(classes), draw.integers(0, classes, 200 - classes)])
    ignored = np.where(draw.random(200) < 0.3, -100, target)
    kept = ignored >= 0
    metric = BY_NAME[name](0.5)
    expected = over_batches(metric, output[kept], target[kept], 200)
    found = over_batches(metric, output, ignored, 17)
    assert found == pytest.approx(expected, nan_ok=True)


def test_the_area_of_labels_and_of_one_class_alone() -> None:
    draw = np.random.default_rng(3)
    output, target = draw.normal(size=(40, 2)), (draw.random((40, 2)) < 0.5).astype(np.float64)
    expected = sklearn.roc_auc_score(target, output)
    assert over_batches(measures.auc(), output, target, 9) == pytest.approx(expected)
    ones = np.ones(5)
    assert np.isnan(over_batches(measures.auc(), output[:5, 0], ones, 2))


@pytest.mark.parametrize("outputs", [1, 3, 40])
@pytest.mark.parametrize("shift", [0.0, 2e5])
def test_errors_of_numbers_are_scikit_learns(outputs: int, shift: float) -> None:
    draw = np.random.default_rng(4)
    target = (draw.normal(size=(50, outputs)) + shift).astype(np.float32)
    output = (target + 0.5 * draw.normal(size=target.shape)).astype(np.float32)
    exact, guess = target.astype(np.float64), output.astype(np.float64)
    squared = sklearn.mean_squared_error(exact, guess)
    expected = {
        "mae": sklearn.mean_absolute_error(exact, guess),
        "rmse": np.sqrt(squared),
        "r2": sklearn.r2_score(exact, guess),
    }
    for name, number in expected.items():
        found = over_batches(BY_NAME[name](0.5), output, target, 8)
        assert found == pytest.approx(number, rel=2e-5), name


def test_a_target_that_never_changes_explains_nothing() -> None:
    same = np.full((6, 1), 3.0, np.float32)
    assert over_batches(measures.r2(), same, same, 4) == 1.0
    assert over_batches(measures.r2(), same + 1, same, 4) == 0.0


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_shapes_that_do_not_fit_are_named(name: str) -> None:
    with pytest.raises(ShapeError, match=rf"(?s){name} .*output \(3, 1\), target \(4,\).*fix:"):
        BY_NAME[name](0.5)(cr.zeros(3, 1), cr.zeros(4))


def test_names_and_averages_that_do_not_exist() -> None:
    with pytest.raises(OptionError, match=r"no average 'mean'.*\n.*macro, weighted, micro"):
        measures.f1(average="mean")
    model = cr.nn.Linear(2, 1)
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(OptionError, match=r"(?s)no metric 'F1'.*accuracy, precision, recall, f1"):
        cr.Trainer(model, cr.nn.MSELoss(), optimizer, metrics=["F1"])


def trained(metrics: Any, **options: Any) -> Any:
    draw = np.random.default_rng(5)
    x = draw.normal(size=(70, 3)).astype(np.float32)
    y = (x @ [1.0, -1.0, 0.5] + draw.normal(size=70) > 0).astype(np.int64)
    cr.manual_seed(0)
    model = cr.nn.Sequential(cr.nn.Linear(3, 4), cr.nn.Tanh(), cr.nn.Linear(4, 2))
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    trainer = cr.Trainer(
        model, cr.nn.CrossEntropyLoss(), optimizer, metrics=metrics, engine="numpy", seed=0
    )
    return trainer, trainer.fit((x, y), (x[:33], y[:33]), batch_size=16, **options), x, y


def test_a_training_measures_all_of_them() -> None:
    names = ["accuracy", "precision", "recall", "f1", "auc"]
    trainer, run, x, y = trained(names, epochs=3)
    answer = trainer.predict(x[:33]).argmax(1)
    scores = trainer.predict(x[:33])
    assert run.history["validation_f1"][-1] == pytest.approx(sklearn.f1_score(y[:33], answer))
    area = sklearn.roc_auc_score(y[:33], scores[:, 1] - scores[:, 0])
    assert run.history["validation_auc"][-1] == pytest.approx(area)
    assert all(len(run.history[name]) == 3 for name in names)
    found = trainer.evaluate((x[:33], y[:33]))
    assert found == {name: run.history[f"validation_{name}"][-1] for name in found}
    assert np.all((run.history["auc"] > 0) & (run.history["auc"] < 1))


def test_an_epoch_taken_up_in_its_middle_has_the_same_area(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("CHAINRULE_HOME", str(tmp_path))
    monkeypatch.setattr(cr.train.session, "GROWTH", 1)
    _, whole, _, _ = trained(["auc"], epochs=2)
    calls = []
    original = cr.train.eager.EagerRunner.run

    def run(self: Any, plan: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            self.stop()
            active[0].stop()
        return original(self, plan)

    active: list[Any] = []
    init = cr.train.session.Session.run

    def begin(self: Any) -> str:
        active.append(self)
        return init(self)

    monkeypatch.setattr(cr.train.session.Session, "run", begin)
    monkeypatch.setattr(cr.train.eager.EagerRunner, "run", run)
    _, stopped, _, _ = trained(["auc"], epochs=2, run="a")
    assert stopped.status == "interrupted" and stopped.epochs == 0 and stopped.steps == 3
    _, resumed, _, _ = trained(["auc"], epochs=2, run="a", resume=True)
    np.testing.assert_array_equal(resumed.history["auc"], whole.history["auc"])
    np.testing.assert_array_equal(resumed.history["loss"], whole.history["loss"])
