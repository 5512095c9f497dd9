"""Metrics, weights and own steps in compiled loops: equal to the numpy engine to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.train import EarlyStopping, Trainer, measures

RNG = np.random.default_rng(0)
X = RNG.normal(size=(203, 4)).astype(np.float32)
CLASSES = (X @ RNG.normal(size=(4, 3))).argmax(1)
ANSWERS = (X.sum(1, keepdims=True) > 0).astype(np.float32)
NUMBERS = (X @ RNG.normal(size=(4, 2))).astype(np.float32) + 2


def fit(engine: str, loss: Any, target: Any, outputs: int, fit_options: Any, **options: Any) -> Any:
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, outputs))
    optimizer = cr.optim.SGD(model.parameters(), lr=0.05)
    trainer = Trainer(
        model, loss, optimizer, engine=engine, seed=0, progress=False, threads=None, **options
    )
    held = (X[:70], target[:70])
    settings = {"epochs": 5, "batch_size": 16} | fit_options
    return trainer, trainer.fit((X, target), held, **settings)


def compare(loss: Any, target: Any, outputs: int, fit_options: Any = None, **options: Any) -> Any:
    """Both engines' histories, weights to rounding."""
    found = {
        engine: fit(engine, loss, target, outputs, fit_options or {}, **options)
        for engine in ("numpy", "native")
    }
    eager, compiled = found["numpy"][1].history, found["native"][1].history
    assert list(eager) == list(compiled)
    for name, series in eager.items():
        np.testing.assert_allclose(compiled[name], series, rtol=2e-4, atol=2e-5, err_msg=name)
    for a, b in zip(
        found["numpy"][0].model.parameters(), found["native"][0].model.parameters(), strict=True
    ):
        np.testing.assert_allclose(b.detach(), a.detach(), rtol=2e-4, atol=2e-6)
    return found["native"][1]


CLASSIFYING = ["accuracy", "precision", "recall", "f1", "auc"]


def test_metrics_of_classes() -> None:
    run = compare(nn.CrossEntropyLoss(), CLASSES, 3, metrics=CLASSIFYING)
    assert list(run.history)[:6] == ["loss", *CLASSIFYING]
    assert run.history["auc"][-1] > 0.7


def test_metrics_of_answers() -> None:
    compare(nn.BCEWithLogitsLoss(), ANSWERS, 1, metrics=CLASSIFYING)


def test_metrics_of_many_classes() -> None:
    compare(nn.CrossEntropyLoss(), CLASSES, 40, metrics=["precision", "f1", "auc"])


def test_metrics_of_numbers() -> None:
    run = compare(nn.MSELoss(), NUMBERS, 2, {"epochs": 8}, metrics=["mae", "rmse", "r2"])
    np.testing.assert_allclose(run.history["rmse"] ** 2, run.history["loss"], rtol=1e-5)


def test_metrics_are_those_of_the_outputs() -> None:
    trainer, run = fit("native", nn.CrossEntropyLoss(), CLASSES, 3, {}, metrics=["auc", "f1"])
    metrics = pytest.importorskip("sklearn.metrics")
    scores = trainer.predict(X[:70])
    powers = np.exp(scores.astype(np.float64))
    area = metrics.roc_auc_score(
        CLASSES[:70], powers / powers.sum(1, keepdims=True), multi_class="ovr"
    )
    assert run.history["validation_auc"][-1] == pytest.approx(area, abs=1e-6)
    expected = metrics.f1_score(CLASSES[:70], scores.argmax(1), average="macro")
    assert run.history["validation_f1"][-1] == pytest.approx(expected)


@pytest.mark.parametrize("rows", [1, 64, 5000])
def test_where_registers_are_read_changes_nothing(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, usual = fit("native", nn.CrossEntropyLoss(), CLASSES, 3, {}, metrics=["auc"])
    monkeypatch.setattr(cr.train.native, "REGISTER_ROWS", rows)
    monkeypatch.setattr(cr.train.native, "REGISTER_STEPS", 1)
    _, other = fit("native", nn.CrossEntropyLoss(), CLASSES, 3, {}, metrics=["auc"])
    for name, series in usual.history.items():
        np.testing.assert_array_equal(other.history[name], series, err_msg=name)


def test_weights_of_examples_and_classes() -> None:
    weights = {"sample_weight": RNG.random(203), "class_weight": "balanced"}
    compare(nn.CrossEntropyLoss(), CLASSES, 3, weights)
    compare(nn.MSELoss(), NUMBERS, 2, {"sample_weight": RNG.random(203)})
    compare(nn.CrossEntropyLoss(weight=cr.tensor([1.0, 2.0, 0.5])), CLASSES, 3, weights)


def test_computed_examples_with_weights_and_collected_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rows(cr.data.Dataset):
        def __len__(self) -> int:
            return len(X)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return cr.tensor(X[index]), int(CLASSES[index])

    weights = RNG.random(203)
    monkeypatch.setattr(cr.train.feed, "BUFFER_BYTES", 40 * 30)
    runs = []
    for data in (Rows(), (X, CLASSES)):
        cr.manual_seed(0)
        model = nn.Linear(4, 3)
        trainer = Trainer(
            model, nn.CrossEntropyLoss(), cr.optim.SGD(model.parameters(), lr=0.1),
            metrics=["auc"], engine="native", seed=0, progress=False,
        )  # fmt: skip
        runs.append(trainer.fit(data, epochs=3, batch_size=16, sample_weight=weights))
    for name, series in runs[0].history.items():
        np.testing.assert_array_equal(runs[1].history[name], series, err_msg=name)


def test_a_step_of_ones_own_is_compiled() -> None:
    def step(trainer: Trainer, batch: tuple[Any, ...]) -> dict[str, Any]:
        output = trainer.model(batch[0])
        loss = trainer.loss(output, batch[1]) + 0.01 * output.abs().mean()
        return {"loss": loss, "size": output.abs().mean(), "output": output}

    run = compare(nn.CrossEntropyLoss(), CLASSES, 3, step=step, metrics=["f1", "auc"])
    assert list(run.history)[:4] == ["loss", "size", "f1", "auc"]


def test_a_step_with_its_own_updates_is_compiled() -> None:
    def step(trainer: Trainer, batch: tuple[Any, ...]) -> Any:
        trainer.optimizer.zero_grad()
        loss = trainer.loss(trainer.model(batch[0]), batch[1])
        loss.backward()
        trainer.optimizer.step()
        after = trainer.loss(trainer.model(batch[0]), batch[1]).detach()
        return {"loss": loss.detach(), "after": after}

    run = compare(nn.CrossEntropyLoss(), CLASSES, 3, step=step)
    assert (run.history["after"] < run.history["loss"]).all()


def test_two_updates_of_a_parameter_in_a_step_are_compiled() -> None:
    def step(trainer: Trainer, batch: tuple[Any, ...]) -> Any:
        for _ in range(2):
            trainer.optimizer.zero_grad()
            loss = trainer.loss(trainer.model(batch[0]), batch[1])
            loss.backward()
            trainer.optimizer.step()
        return loss.detach()

    run = compare(nn.CrossEntropyLoss(), CLASSES, 3, step=step)
    assert run.history["loss"][-1] < run.history["loss"][0]


def test_the_best_weights_come_back() -> None:
    stop = EarlyStopping("validation_auc", patience=2)
    trainer, run = fit(
        "native", nn.CrossEntropyLoss(), CLASSES, 3, {"epochs": 60, "callbacks": [stop]},
        metrics=["auc"],
    )  # fmt: skip
    assert stop.best == run.history["validation_auc"].max()
    assert trainer.evaluate((X[:70], CLASSES[:70]))["auc"] == pytest.approx(stop.best, abs=1e-9)


def test_a_metric_with_another_average() -> None:
    run = compare(nn.CrossEntropyLoss(), CLASSES, 3, metrics=[measures.f1(average="micro")])
    accuracy = compare(nn.CrossEntropyLoss(), CLASSES, 3, metrics=["accuracy"])
    np.testing.assert_allclose(run.history["f1"], accuracy.history["accuracy"])
