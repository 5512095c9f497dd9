"""Callbacks, weights, steps of the user's own and the check for NaN, on the numpy engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import DataError, NonFiniteError, OptionError, ShapeError
from chainrule.train import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    Trainer,
    View,
    nonfinite,
    session,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int64)
Z = X.sum(1, keepdims=True)


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("CHAINRULE_HOME", str(tmp_path / "store"))
    return tmp_path / "store"


def make(loss: Any = None, outputs: int = 2, lr: float = 0.1, **options: Any) -> Trainer:
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, outputs))
    settings = {"engine": "numpy", "seed": 1, "progress": False} | options
    optimizer = cr.optim.SGD(model.parameters(), lr=lr)
    chosen = nn.CrossEntropyLoss() if loss is None else loss
    return Trainer(model, None if loss == "none" else chosen, optimizer, **settings)


def weights_of(trainer: Trainer) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in trainer.model.parameters()])


# Callbacks


def run_with(numbers: list[float], stop: EarlyStopping) -> tuple[int, int]:
    """How many epochs a training lasts whose number is scripted, and its best epoch."""
    trainer = make(metrics=[])
    series = iter(numbers)
    original = stop.on_epoch_end

    def end(view: View) -> object:
        shown = View(view.run, view.epoch, view.step, {"score": next(series)}, *rest(view))
        return original(shown)

    stop.on_epoch_end = end  # type: ignore[method-assign]
    run = trainer.fit((X, Y), epochs=len(numbers), callbacks=[stop])
    return run.epochs, stop.best_epoch


def rest(view: View) -> tuple[Any, Any]:
    return view.model, view.optimizer


@pytest.mark.parametrize(
    ("numbers", "options", "expected"),
    [
        ([5, 4, 3, 2, 1], {"patience": 1, "mode": "min"}, (5, 5)),
        ([5, 4, 4.5, 4.6, 1], {"patience": 2, "mode": "min"}, (4, 2)),
        ([1, 2, 1, 2.05, 3], {"patience": 2, "min_delta": 0.1}, (4, 2)),
        ([1, 2, 1, 2.05, 3], {"patience": 2}, (5, 5)),
        ([float("nan"), 1, float("nan"), 2], {"patience": 2}, (4, 4)),
        ([1, float("inf"), float("nan"), 3], {"patience": 1, "mode": "min"}, (2, 1)),
    ],
)
def test_stopping_early_waits_as_long_as_it_was_told(
    numbers: list[float], options: dict[str, Any], expected: tuple[int, int]
) -> None:
    assert run_with(numbers, EarlyStopping("score", **options)) == expected


def test_the_best_weights_come_back_and_are_kept_beside_the_last(store: Path) -> None:
    stop = EarlyStopping("validation_loss", patience=3)
    kept: dict[int, np.ndarray] = {}

    class Keep(Callback):
        def on_epoch_end(self, view: View) -> None:
            kept[view.epoch] = weights_of(trainer)

    trainer = make(lr=5.0)
    run = trainer.fit((X, Y), (X[:5], 1 - Y[:5]), epochs=50, callbacks=[Keep(), stop], run="a")
    assert run.status == "finished"
    assert stop.stopped_epoch == run.epochs < 50
    losses = run.history["validation_loss"]
    assert stop.best_epoch == int(losses.argmin()) + 1
    np.testing.assert_array_equal(weights_of(trainer), kept[stop.best_epoch])
    stored = cr.train.open_run("a")
    last = np.concatenate([array.ravel() for array in stored.state_dict().values()])
    best = np.concatenate([array.ravel() for array in stored.state_dict("best").values()])
    np.testing.assert_array_equal(last, kept[run.epochs])
    np.testing.assert_array_equal(best, kept[stop.best_epoch])


def test_stopping_early_goes_on_after_an_interruption() -> None:
    def train(cut: int | None) -> tuple[int, int]:
        for epochs in (cut, 40) if cut else (40,):
            stop = EarlyStopping(patience=4, restore_best=False)
            make(lr=5.0).fit(
                (X, Y), (X[:5], 1 - Y[:5]), epochs=epochs, callbacks=[stop],
                run=f"cut {cut}", resume=True,
            )  # fmt: skip
        return cr.train.open_run(f"cut {cut}").epochs, stop.best_epoch

    assert train(None) == train(3)


def test_a_training_that_was_ended_stays_ended() -> None:
    def train(epochs: int) -> tuple[int, np.ndarray]:
        stop = EarlyStopping(patience=2)
        trainer = make(lr=5.0)
        data = (X, Y), (X[:5], 1 - Y[:5])
        run = trainer.fit(*data, epochs=epochs, callbacks=[stop], run="a", resume=True)
        assert stop.stopped_epoch == run.epochs
        return run.epochs, weights_of(trainer)

    first, second = train(40), train(60)
    assert first[0] == second[0] < 40
    np.testing.assert_array_equal(first[1], second[1])


def test_without_kept_weights_that_is_said() -> None:
    run = make().fit((X, Y))
    with pytest.raises(KeyError, match=r"kept no 'best' weights; fit\(..., callbacks="):
        run.state_dict("best")


def test_a_number_that_is_not_measured_is_named() -> None:
    stop = EarlyStopping("validation_f1")
    with pytest.raises(OptionError, match=r"(?s)'validation_f1'.*one of loss, accuracy.*fix:"):
        make().fit((X, Y), callbacks=[stop])
    with pytest.raises(OptionError, match=r"no mode 'up'.*\n.*auto, min, max"):
        EarlyStopping(mode="up")
    with pytest.raises(OptionError, match="patience must be 0 or more"):
        EarlyStopping(patience=-1)
    with pytest.raises(OptionError, match="min_delta must be 0 or more"):
        EarlyStopping(min_delta=-1)


def test_a_file_holds_the_best_weights(tmp_path: Path) -> None:
    trainer = make(lr=0.5)
    keep = ModelCheckpoint(tmp_path / "epoch-{epoch}.safetensors", "loss")
    run = trainer.fit((X, Y), epochs=4, callbacks=[keep])
    best = int(run.history["loss"].argmin()) + 1
    assert keep.newest == tmp_path / f"epoch-{best}.safetensors"
    assert sorted(cr.load(keep.newest)) == sorted(trainer.model.state_dict())


def test_a_callback_sees_a_training_and_cannot_change_what_it_sees() -> None:
    seen: list[View] = []

    class Look(Callback):
        def on_fit_begin(self, view: View) -> None:
            seen.append(view)

        def on_epoch_end(self, view: View) -> object:
            seen.append(view)
            return view.epoch == 2

        def on_fit_end(self, view: View) -> None:
            seen.append(view)

    trainer = make()
    run = trainer.fit((X, Y), (X, Y), epochs=5, batch_size=10, callbacks=[Look()])
    assert [(view.epoch, view.step) for view in seen] == [(0, 0), (1, 2), (2, 4), (2, 4)]
    assert list(seen[1].numbers) == ["loss", "accuracy", "validation_loss", "validation_accuracy"]
    assert seen[-1].numbers["loss"] == run.history["loss"][-1]
    with pytest.raises(TypeError):
        seen[1].numbers["loss"] = 0.0  # type: ignore[index]
    with pytest.raises(AttributeError):
        seen[1].epoch = 9  # type: ignore[misc]


# Weights


LOSSES = [
    (nn.CrossEntropyLoss(), 2, Y),
    (nn.CrossEntropyLoss(weight=cr.tensor([1.0, 3.0])), 2, Y),
    (nn.CrossEntropyLoss(ignore_index=1), 2, Y),
    (nn.CrossEntropyLoss(label_smoothing=0.1), 2, Y),
    (nn.MSELoss(), 1, Z),
    (nn.L1Loss(reduction="sum"), 1, Z),
    (nn.functional.mse_loss, 1, Z),
]


@pytest.mark.parametrize(("loss", "outputs", "target"), LOSSES, ids=range(len(LOSSES)))
def test_a_weight_of_two_is_a_row_twice(loss: Any, outputs: int, target: np.ndarray) -> None:
    counts = RNG.integers(0, 4, len(X))
    counts[0] = 1
    rows = np.repeat(np.arange(len(X)), counts)
    options = {"epochs": 5, "batch_size": 100, "shuffle": False}
    weighted, repeated = make(loss, outputs, 0.02), make(loss, outputs, 0.02)
    a = weighted.fit((X, target), sample_weight=counts, **options)
    b = repeated.fit((X[rows], target[rows]), **options)
    np.testing.assert_allclose(weights_of(weighted), weights_of(repeated), rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(a.history["loss"], b.history["loss"], rtol=1e-5)


def test_an_epochs_loss_counts_batches_by_their_weights() -> None:
    weights = RNG.random(len(X))
    trainer = make(nn.MSELoss(), 1, lr=0.0)
    run = trainer.fit((X, Z), batch_size=6, sample_weight=weights)
    errors = np.square(trainer.predict(X) - Z)[:, 0]
    assert run.history["loss"][0] == pytest.approx(np.average(errors, weights=weights), rel=1e-5)


def test_weights_of_classes() -> None:
    def train(**options: Any) -> np.ndarray:
        trainer = make()
        trainer.fit((X, Y), epochs=3, batch_size=7, **options)
        return weights_of(trainer)

    expected = train(sample_weight=np.where(Y == 1, 3.0, 1.0))
    np.testing.assert_array_equal(train(class_weight={0: 1.0, 1: 3.0}), expected)
    np.testing.assert_array_equal(train(class_weight=[1.0, 3.0]), expected)
    np.testing.assert_array_equal(train(class_weight=cr.tensor([1.0, 3.0])), expected)
    balanced = len(Y) / (2 * np.bincount(Y))
    np.testing.assert_array_equal(train(class_weight="balanced"), train(sample_weight=balanced[Y]))
    own = make(nn.CrossEntropyLoss(weight=cr.tensor([1.0, 3.0])))
    own.fit((X, Y), epochs=3, batch_size=7)
    np.testing.assert_allclose(weights_of(own), expected, rtol=2e-5, atol=1e-7)


def test_weights_of_a_subset_are_in_its_order() -> None:
    rows = [5, 3, 8, 1]
    weights = np.array([1.0, 0.0, 2.0, 0.5])
    whole, part = make(), make()
    whole.fit((X[rows], Y[rows]), sample_weight=weights, shuffle=False)
    tensors = cr.data.TensorDataset(cr.tensor(X), cr.tensor(Y))
    part.fit(cr.data.Subset(tensors, rows), sample_weight=weights, shuffle=False)
    np.testing.assert_array_equal(weights_of(whole), weights_of(part))


def test_a_batch_without_weight_changes_nothing() -> None:
    trainer = make()
    before = weights_of(trainer)
    trainer.fit((X, Y), sample_weight=np.arange(20) >= 19, batch_size=19, shuffle=False, epochs=1)
    after = weights_of(trainer)
    assert np.isfinite(after).all()
    assert not np.array_equal(before, after)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"sample_weight": [1.0]}, ShapeError, r"given: shape \(1,\)\n  expected: \(20,\)"),
        ({"sample_weight": [-1.0] * 20}, DataError, r"given: -1.0 at sample_weight\[0\]"),
        ({"sample_weight": [np.nan] * 20}, DataError, "finite and 0 or more"),
        ({"sample_weight": [0.0] * 20}, DataError, "all weights are 0"),
        ({"class_weight": {0: 1.0}}, OptionError, r"no number for class 1"),
        ({"class_weight": "even"}, OptionError, "no class_weight 'even'"),
        ({"class_weight": [1.0, -1.0]}, OptionError, "finite and 0 or more"),
    ],
)
def test_weights_that_cannot_be_are_refused(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        make().fit((X, Y), **options)


def test_weights_need_a_loss_of_each_example_and_classes() -> None:
    with pytest.raises(OptionError, match=r"(?s)need a loss of each example.*fix:.*reduction"):
        make(lambda o, t: ((o - t) ** 2).mean(), 1).fit((X, Z), sample_weight=np.ones(20))
    with pytest.raises(DataError, match="one class number for each example"):
        make(nn.MSELoss(), 1).fit((X, Z), class_weight="balanced")
    with pytest.raises(OptionError, match="do not reach into a step of your own"):
        make(step=lambda t, b: t.loss(t.model(b[0]), b[1])).fit((X, Y), class_weight="balanced")


# A step of the user's own


def test_a_step_of_ones_own_is_the_usual_one() -> None:
    def step(trainer: Trainer, batch: tuple[Any, ...]) -> dict[str, Any]:
        x, y = batch
        output = trainer.model(x)
        return {
            "loss": trainer.loss(output, y), "largest": output.abs().max(), "output": output
        }  # fmt: skip

    usual, own = make(), make(step=step)
    a = usual.fit((X, Y), (X, Y), epochs=3, batch_size=6)
    b = own.fit((X, Y), (X, Y), epochs=3, batch_size=6)
    np.testing.assert_array_equal(weights_of(usual), weights_of(own))
    for name, series in a.history.items():
        np.testing.assert_array_equal(b.history[name], series)
    assert (b.history["largest"] > 0).all()


def test_a_step_may_be_all_there_is() -> None:
    def step(trainer: Trainer, batch: tuple[Any, ...]) -> Any:
        return ((trainer.model(batch[0]) - batch[1]) ** 2).mean()

    trainer = make("none", 1, step=step)
    run = trainer.fit((X, Z), (X, Z), epochs=30)
    assert run.history["validation_loss"][-1] < run.history["validation_loss"][0] / 2


def test_a_step_may_do_its_own_updates() -> None:
    def step(trainer: Trainer, batch: tuple[Any, ...]) -> Any:
        losses = []
        for _ in range(2):
            trainer.optimizer.zero_grad()
            loss = trainer.loss(trainer.model(batch[0]), batch[1])
            loss.backward()
            trainer.optimizer.step()
            losses.append(loss.detach())
        return {"loss": losses[0], "second": losses[1]}

    run = make(step=step).fit((X, Y), epochs=2)
    assert (run.history["second"] < run.history["loss"]).all()


@pytest.mark.parametrize("returned", [{}, {"los": 1}, 3.0, None])
def test_what_a_step_returns_is_checked(returned: Any) -> None:
    with pytest.raises(OptionError, match="step must return the loss, or a dict with 'loss'"):
        make(step=lambda trainer, batch: returned).fit((X, Y))


# NaN


class Logarithm(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.log()


def failing(engine: str, *layers: Any, data: Any = (X, Z), lr: float = 0.1, **fit: Any) -> Any:
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), *layers, nn.Linear(4, 1))
    optimizer = cr.optim.SGD(model.parameters(), lr=lr)
    trainer = Trainer(
        model, nn.MSELoss(), optimizer, engine=engine, seed=0, check="nan", progress=False
    )
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit(data, batch_size=5, **({"epochs": 100} | fit))
    assert trainer.run is not None and trainer.run.status == "failed"
    assert np.isfinite(weights_of(trainer)).all()
    return trainer, str(caught.value)


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_the_node_that_made_a_nan_is_named(engine: str) -> None:
    _, text = failing(engine, Logarithm())
    assert "the loss is nan at step 0 (epoch 0)" in text
    assert "first: log gives nan in" in text
    assert f"where: layer '1', \"{__file__}\", line" in text
    assert "input " in text and "float32[5, 4], from -" in text
    assert "fix: keep its input above 0" in text


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_a_step_in_the_middle_is_found_again(engine: str) -> None:
    trainer, text = failing(engine, nn.ReLU(), lr=50.0)
    step = int(text.partition("step ")[2].split()[0])
    assert step > 0
    # The model holds what the good steps before it gave.
    assert trainer.run.steps <= step
    fresh = failing(engine, nn.ReLU(), lr=50.0)[0]
    np.testing.assert_array_equal(weights_of(fresh), weights_of(trainer))


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_a_nan_in_the_data_is_found(engine: str) -> None:
    data = X.copy()
    data[13, 1] = np.nan
    _, text = failing(engine, nn.Tanh(), data=(data, Z))
    assert "the inputs hold 1 such numbers" in text
    assert "where: example 13 of the training data" in text


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_a_nan_of_a_gradient_is_found(engine: str) -> None:
    class Root(nn.Module):
        def forward(self, x: Any) -> Any:
            return (x * 0.0).sqrt()

    _, text = failing(engine, Root())
    assert "the loss is finite, and the gradient of " in text
    assert "it is part of the gradient of" in text
    assert "layer '1'" in text


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_a_weight_that_no_loss_shows_is_found_though_it_is_looked_at_late(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 1)
            self.w = nn.Parameter(cr.ones(2))

        def forward(self, x: Any) -> Any:
            return self.inner(x) + cr.where(self.w.detach() == 7.0, self.w, 0.0 * x[0, 0]).sum()

    def fit(share: float) -> tuple[str, float]:
        monkeypatch.setattr(nonfinite, "SHARE", share)
        cr.manual_seed(0)
        model = Hidden()
        groups = [
            {"params": model.inner.parameters(), "weight_decay": 0.0},
            {"params": [model.w], "weight_decay": 3e6},  # it doubles in each step
        ]
        optimizer = cr.optim.SGD(groups, lr=1e-6)
        trainer = Trainer(model, nn.MSELoss(), optimizer, engine=engine, seed=0, check="nan")
        with pytest.raises(NonFiniteError) as caught:
            trainer.fit((X, Z), epochs=60, batch_size=5)
        return str(caught.value), abs(model.w[0].item())

    monkeypatch.setattr(session, "MOST_STEPS", 3)  # many chunks
    for share in (1e-9, 1e9):
        text, value = fit(share)
        assert text.startswith("step 107 (epoch 26) ")
        assert "is the first after which a weight is not finite" in text
        assert value == 2.0**107


def test_without_the_check_the_run_says_when_it_was_lost() -> None:
    trainer = make(nn.MSELoss(), 1, lr=1e9)
    run = trainer.fit((X, Z), epochs=20, batch_size=5)
    (note,) = run.notes
    lost = int(np.flatnonzero(~np.isfinite(run.history["loss"]))[0]) + 1
    assert f"in epoch {lost}. Trainer(..., check='nan') stops there" in note


def test_the_check_changes_no_bits() -> None:
    usual, checked = make(), make(check="nan")
    usual.fit((X, Y), epochs=4, batch_size=6)
    checked.fit((X, Y), epochs=4, batch_size=6)
    np.testing.assert_array_equal(weights_of(usual), weights_of(checked))
