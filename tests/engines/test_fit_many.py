"""`fit_many`: each training has the history of its own `fit`, however many run beside it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import EngineError, ModuleError, OptionError, StoreError
from chainrule.tensor._random import default_generator
from chainrule.train import Choice, LogUniform, Runs, Trainer, Uniform, search
from chainrule.train.many import kept

RNG = np.random.default_rng(4)
X = RNG.normal(size=(50, 6)).astype(np.float32)
Y = X[:, :3].argmax(1).astype(np.int64)
V = RNG.normal(size=(23, 6)).astype(np.float32), RNG.integers(0, 3, 23)
RATES = np.geomspace(0.001, 0.1, 11)
# Float32 sums in another order: relative to the number, and to the size of a weight.
CLOSE = {"rtol": 3e-5, "atol": 3e-6}


def plain() -> Any:
    return nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))


def dropped() -> Any:
    return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Dropout(0.3), nn.Linear(9, 3))


def normed() -> Any:
    return nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.GELU(), nn.Linear(9, 3))


def sgd(parameters: Any) -> Any:
    return cr.optim.SGD(parameters, lr=0.05, momentum=0.9)


def adam(parameters: Any) -> Any:
    return cr.optim.Adam(parameters, lr=0.01)


def trainer_of(
    make: Callable[[], Any] = plain, rule: Callable[[Any], Any] = sgd, **options: Any
) -> Trainer:
    cr.manual_seed(5)
    model = make()
    given = {"seed": 3, "progress": False, "engine": "native"} | options
    return Trainer(model, nn.CrossEntropyLoss(), rule(model.parameters()), **given)


def single(
    runs: Runs, number: int, make: Callable[[], Any], rule: Callable[[Any], Any], **fit: Any
) -> tuple[Any, Any]:
    """What `fit` gives with the settings of one of the trainings: its record and its model."""
    settings = runs.of(number)
    seed = settings.pop("seed", None)
    trainer = trainer_of(make, rule, seed=3 if seed is None else seed)
    if seed is not None:
        cr.manual_seed(seed)
        trainer = Trainer(
            model := make(), nn.CrossEntropyLoss(), rule(model.parameters()), seed=seed,
            progress=False, engine="native",
        )  # fmt: skip
    for group in trainer.optimizer.param_groups:
        group.update(settings)
    return trainer.fit((X, Y), V, epochs=3, batch_size=16, **fit), trainer.model


CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "rates": (plain, sgd, {"lr": RATES}),
    "some without momentum": (plain, sgd, {"lr": RATES, "momentum": [0, 0.9, 0.5] * 3 + [0, 0]}),
    "seeds": (plain, sgd, {"seed": range(9)}),
    "seeds by rates": (plain, sgd, {"seed": [1, 2], "lr": RATES[:8], "grid": True}),
    "adam": (plain, adam, {"lr": RATES, "weight_decay": RATES}),
    "betas": (plain, adam, {"betas": [(0.9, 0.99), (0.5, 0.9)] * 4}),
    "dropout of seeds": (dropped, sgd, {"seed": range(9)}),
    "dropout of one seed": (dropped, sgd, {"lr": RATES}),
    "batch norm": (normed, sgd, {"lr": RATES}),
}


@pytest.mark.parametrize("way", ["lanes", "arenas"])
@pytest.mark.parametrize("name", list(CASES))
def test_each_training_is_a_fit(name: str, way: str) -> None:
    """By arenas bit for bit; by lanes within rounding. History, validation, metrics, weights."""
    make, rule, options = CASES[name]
    start = {"initialize": make} if "seed" in options else {}
    trainer = trainer_of(make, rule)
    runs = trainer.fit_many((X, Y), V, epochs=3, batch_size=16, way=way, **start, **options)
    assert runs.status == "finished" and runs.finished.all() and runs.way.startswith(way)
    for number in (0, len(runs) // 2, len(runs) - 1):
        run, model = single(runs, number, make, rule)
        assert list(run.history) == list(runs.history)
        pairs = [(runs.history[key][number], run.history[key]) for key in run.history]
        own = runs.model(number).state_dict()
        pairs += [(own[key].numpy(), value.numpy()) for key, value in model.state_dict().items()]
        for found, expected in pairs:
            if way == "arenas":
                np.testing.assert_array_equal(found, expected)
            else:
                np.testing.assert_allclose(found, expected, **CLOSE)


def test_numbers_that_are_no_means_and_weights_of_classes() -> None:
    target = (Y == 1)[:, None].astype(np.float32)

    def make() -> Trainer:
        cr.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 1))
        optimizer = cr.optim.SGD(model.parameters(), lr=0.5)
        return Trainer(
            model, nn.BCEWithLogitsLoss(), optimizer, metrics=["f1", "accuracy"], seed=0,
            progress=False, engine="native",
        )  # fmt: skip

    fit = {"epochs": 5, "batch_size": 16, "class_weight": "balanced"}
    trainer = make()
    trainer.optimizer.param_groups[0]["lr"] = 1.0
    run = trainer.fit((X, target), **fit)
    for way in ("lanes", "arenas"):
        runs = make().fit_many((X, target), lr=[0.5] * 4 + [1.0] * 4, way=way, **fit)
        for key in run.history:
            np.testing.assert_allclose(runs.history[key][6], run.history[key], **CLOSE)


def own_step(trainer: Any, batch: Any) -> Any:
    output = trainer.model(batch[0])
    loss = nn.CrossEntropyLoss()(output, batch[1])
    return {"loss": loss, "size": (output * output).mean(), "output": output}


def smallness(model: Any) -> Any:
    return sum((p * p).sum() for p in model.parameters()) * 0.01


PAIRS = cr.data.TensorDataset(cr.tensor(X), cr.tensor(Y))
OTHERS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "a step, a penalty, clipped": (
        (X, Y), {"step": own_step, "clip": 0.5, "penalty": smallness}, {"batch_size": 16}
    ),
    "a loader without its rest": (
        cr.data.DataLoader(PAIRS, batch_size=16, shuffle=True, drop_last=True), {}, {}
    ),
    "a part, weighted": (
        cr.data.random_split(PAIRS, [40, 10])[0], {},
        {"batch_size": 16, "sample_weight": np.linspace(0, 1, 40)},
    ),
    "in order, one batch": ((X, Y), {}, {"shuffle": False, "batch_size": 64}),
}  # fmt: skip


@pytest.mark.parametrize("name", list(OTHERS))
def test_other_data_and_steps(name: str) -> None:
    data, options, fit = OTHERS[name]
    trainer = trainer_of(**options)
    trainer.optimizer.param_groups[0]["lr"] = float(RATES[5])
    run = trainer.fit(data, V, epochs=2, **fit)
    lanes = trainer_of(**options).fit_many(data, V, epochs=2, lr=RATES, way="lanes", **fit)
    arenas = trainer_of(**options).fit_many(data, V, epochs=2, lr=RATES, way="arenas", **fit)
    for key, series in run.history.items():
        np.testing.assert_array_equal(arenas.history[key][5], series)
        np.testing.assert_allclose(lanes.history[key][5], series, **CLOSE)


@pytest.mark.parametrize("way", ["lanes", "arenas"])
def test_threads_and_company_change_no_bit(way: str) -> None:
    options = {"epochs": 3, "batch_size": 16, "way": way, "initialize": dropped}
    alone = trainer_of(dropped, threads=1).fit_many((X, Y), V, seed=range(20), **options)
    for threads in (2, 3):
        others = trainer_of(dropped, threads=threads)
        runs = others.fit_many((X, Y), V, seed=range(20), **options)
        for key, series in alone.history.items():
            np.testing.assert_array_equal(runs.history[key], series)
    # In another place, beside other trainings, in lanes that share their rows.
    grid = trainer_of(dropped).fit_many((X, Y), V, seed=[7, 2], lr=[0.05] * 9, grid=True, **options)
    for key, series in alone.history.items():
        np.testing.assert_array_equal(grid.history[key][[0, 9]], series[[7, 2]])


@pytest.mark.parametrize("way", ["lanes", "arenas"])
def test_trainings_that_diverge_stop_nobody(way: str) -> None:
    rates = np.array([0.01, 1e30, 0.02, 1e38, 0.03, 0.01, 0.01, 0.01])
    runs = trainer_of().fit_many((X, Y), epochs=20, batch_size=16, lr=rates, way=way)
    assert runs.diverged.tolist() == (rates > 1).tolist() and "2 diverged" in str(runs)
    assert runs.finished.all() and runs.best("loss") == 4
    calm = trainer_of().fit_many(
        (X, Y), epochs=20, batch_size=16, lr=np.minimum(rates, 0.05), way=way
    )
    fine = rates < 1
    np.testing.assert_array_equal(runs.history["loss"][fine], calm.history["loss"][fine])


def test_trainer_is_left_as_it_was() -> None:
    trainer = trainer_of()
    trainer.fit((X, Y), epochs=1)
    before = {key: value.numpy().copy() for key, value in trainer.model.state_dict().items()}
    moments = {k: dict(v) for k, v in trainer.optimizer.state.items()}
    cr.manual_seed(9)
    cr.rand(3)
    drawn = default_generator().get_state()
    first = trainer.fit_many((X, Y), lr=RATES, epochs=2)
    assert default_generator().get_state() == drawn
    for key, value in trainer.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])
    assert {k: dict(v) for k, v in trainer.optimizer.state.items()} == moments
    assert trainer.optimizer.param_groups[0]["lr"] == 0.05 and trainer.runs is first
    again = trainer.fit_many((X, Y), lr=RATES, epochs=2)
    np.testing.assert_array_equal(again.history["loss"], first.history["loss"])


def test_history_keeps_what_is_asked_for() -> None:
    options = {"epochs": 7, "batch_size": 16, "lr": RATES}
    every = trainer_of().fit_many((X, Y), V, **options)
    assert every.epochs.tolist() == [1, 2, 3, 4, 5, 6, 7]
    third = trainer_of().fit_many((X, Y), V, history=3, **options)
    last = trainer_of().fit_many((X, Y), V, history="last", **options)
    assert third.epochs.tolist() == [3, 6, 7] and last.epochs.tolist() == [7]
    for key, series in every.history.items():
        np.testing.assert_array_equal(third.history[key], series[:, [2, 5, 6]])
        np.testing.assert_array_equal(last.history[key], series[:, [6]])


def test_a_large_history_is_thinned_and_a_larger_one_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    epochs, note = kept.kept_epochs(None, 3000, 65_536 * 8)
    assert len(epochs) == 500 and epochs[-1] == 3000
    assert note.startswith("the history keeps every 6th epoch: all would take 1.6 GB")
    monkeypatch.setattr(kept, "available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match=r"given: 1.8 kB of history, 4.1 kB of weights"):
        trainer_of().fit_many((X, Y), lr=RATES, epochs=10, history="all")


def test_initial_weights_by_list_and_by_function() -> None:
    cr.manual_seed(11)
    first, second = plain(), plain()
    given = [first.state_dict(), second]
    runs = trainer_of().fit_many((X, Y), epochs=2, initialize=given * 4)
    assert runs.settings["start"].tolist() == list(range(8))
    loss = runs.history["loss"]
    assert (loss[0] == loss[2]).all() and (loss[0] != loss[1]).all()
    other = trainer_of()
    other.model.load_state_dict(second.state_dict())
    expected = other.fit((X, Y), epochs=2).history["loss"]
    np.testing.assert_allclose(loss[1], expected, **CLOSE)
    spread = trainer_of().fit_many((X, Y), epochs=2, initialize=given, lr=RATES, grid=True)
    assert spread.shape == (11, 2) and list(spread.axes) == ["lr", "start"]


def interrupt_after(seconds: float) -> None:
    threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGINT)).start()


@pytest.mark.parametrize("way", ["lanes", "arenas"])
def test_interrupt_ends_all_within_a_second(way: str) -> None:
    trainer = trainer_of()
    interrupt_after(1.0)
    begun = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit_many(
            (X, Y), V, epochs=100_000, lr=np.geomspace(0.001, 0.1, 2000), way=way, history=10_000
        )
    assert time.perf_counter() - begun < 2.0
    runs = trainer.runs
    assert runs is not None and runs.status == "interrupted" and not runs.finished.all()
    assert np.isnan(runs.last("loss")[~runs.finished]).all() and not runs.diverged.any()
    left = int(np.flatnonzero(~runs.finished)[0])
    with pytest.raises(OptionError, match=f"training {left} was not finished"):
        runs.model(left)


def test_results_are_saved_and_loaded(tmp_path: Path) -> None:
    runs = trainer_of().fit_many((X, Y), V, epochs=2, lr=[0.01, 0.1], seed=[1, 2, 3], grid=True)
    path = runs.save(tmp_path / "runs.safetensors")
    loaded = Runs.load(path, model=plain())
    assert str(loaded) == str(runs) and loaded.of(4) == runs.of(4) == {"lr": 0.1, "seed": 2}
    assert loaded.shape == (2, 3) and loaded.axes == runs.axes and loaded.way == runs.way
    np.testing.assert_array_equal(loaded.history["loss"], runs.history["loss"])
    x = cr.tensor(V[0])
    np.testing.assert_array_equal(
        loaded.model(4)(x).detach().numpy(), runs.model(4)(x).detach().numpy()
    )
    with pytest.raises(StoreError, match="do not know the model's code"):
        Runs.load(path).model(0)
    cr.save(plain().state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(StoreError, match="holds no runs"):
        Runs.load(tmp_path / "other.safetensors")


def test_table_best_grid_and_spread() -> None:
    runs = trainer_of().fit_many(
        (X, Y), V, epochs=2, lr=[0.01, 0.1, 1e38], seed=range(4), grid=True, initialize=plain
    )
    loss = runs.last("validation_loss")
    assert runs.grid("validation_loss").shape == (3, 4)
    assert runs.best("validation_loss") == int(np.nanargmin(loss))
    accuracy = runs.last("validation_accuracy")
    assert accuracy[runs.best("validation_accuracy")] == np.nanmax(accuracy)
    frame = runs.frame()
    assert list(frame)[:2] == ["lr", "seed"] and len(frame["diverged"]) == 12
    spread = runs.spread("validation_loss", level=0.5)
    assert spread.count.tolist() == [4, 4, 0] and spread.diverged.tolist() == [0, 0, 4]
    for row in range(2):
        mine = loss[4 * row : 4 * row + 4]
        assert spread.median[row] == np.median(mine)
        assert (spread.low[row], spread.high[row]) == tuple(np.quantile(mine, [0.25, 0.75]))
    assert spread.text().splitlines()[2].endswith("0 trainings, 4 diverged")
    assert "12 trainings over lr, seed: finished, 2 epochs, 4 diverged" in runs.text(most=3)
    assert runs.text(most=3).endswith("and 9 more")


def test_a_search_draws_the_same_settings_at_any_length() -> None:
    options = {"epochs": 2, "lr": LogUniform(1e-3, 1.0), "momentum": Choice([0.0, 0.9])}
    short = search(trainer_of(), (X, Y), trials=8, **options)
    long = search(trainer_of(), (X, Y), V, trials=16, weight_decay=Uniform(0, 0.1), **options)
    assert short.settings["lr"].tolist() == long.settings["lr"][:8].tolist()
    assert long.settings["lr"].min() >= 1e-3 and long.settings["lr"].max() < 1.0
    assert set(long.settings["momentum"]) == {0.0, 0.9} and "weight_decay" in long.settings
    other = search(trainer_of(), (X, Y), trials=8, draw_seed=1, **options)
    assert other.settings["lr"].tolist() != short.settings["lr"].tolist()


class Computed:
    """A data set whose examples are computed."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, number: int) -> Any:
        return X[number], Y[number]


def schedule(trainer: Trainer) -> Any:
    return cr.optim.lr_scheduler.StepLR(trainer.optimizer, 1)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing differs": ({"lr": 0.1}, "given nothing in which the trainings differ"),
    "unknown option": (
        {"momentums": [0.1]},
        r"SGD has no option 'momentums'.*\n.*one of lr, momentum.*\n  fix: momentum=",
    ),
    "lengths": (
        {"lr": [0.1, 0.2], "momentum": [0.1, 0.2, 0.3]},
        r"given: 2 of lr, 3 of momentum\n.*grid=True for all 6 combinations",
    ),
    "empty": ({"lr": []}, "lr was given an empty list"),
    "out of range": ({"lr": [0.1, -1.0]}, "lr must be 0 or more"),
    "a matrix": ({"lr": np.ones((2, 2))}, "each training takes one number of an option"),
    "seeds": ({"seed": [1, -2]}, r"seed must be whole numbers.*\n  given: \[1, -2\]"),
    "seed text": ({"seed": "abc"}, "seed must be whole numbers"),
    "epochs": ({"lr": [0.1], "epochs": 0}, "epochs must be 1 or more"),
    "history": ({"lr": [0.1], "history": "some"}, "there is no history 'some'"),
    "way": ({"lr": [0.1], "way": "gpu"}, "there is no way 'gpu'"),
    "start": ({"initialize": 3}, "initialize must be a function that makes the model"),
    "made nothing": ({"seed": [1], "initialize": lambda: None}, "must give a model or a state"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_refused(name: str) -> None:
    options, text = REFUSED[name]
    with pytest.raises(OptionError, match=text):
        trainer_of().fit_many((X, Y), **options)


def test_what_only_fit_can_do_is_refused() -> None:
    trainer = trainer_of()
    with pytest.raises(OptionError, match="data that is in memory"):
        trainer.fit_many(Computed(), lr=[0.1])
    with pytest.raises(ModuleError, match=r"given: 0.weight of shape nothing"):
        trainer.fit_many((X, Y), initialize=[{}])
    trainer.scheduler = schedule(trainer)
    with pytest.raises(OptionError, match="given: a schedule, StepLR"):
        trainer.fit_many((X, Y), lr=[0.1])
    with pytest.raises(OptionError, match="check='nan' would stop"):
        trainer_of(check="nan").fit_many((X, Y), lr=[0.1])
    with pytest.raises(OptionError, match="fit_many keeps no statistics of layers"):
        trainer_of(watch=True).fit_many((X, Y), lr=[0.1])
    with pytest.raises(OptionError, match="runs on the native engine"):
        trainer_of(engine="numpy").fit_many((X, Y), lr=[0.1])
    one = nn.Linear(6, 1)
    auc = Trainer(
        one, nn.BCEWithLogitsLoss(), sgd(one.parameters()), metrics=["auc"], progress=False
    )
    with pytest.raises(OptionError, match="cannot measure auc"):
        auc.fit_many((X, (Y[:, None] == 1).astype(np.float32)), lr=[0.1])


def test_what_runs_do_not_hold_is_refused() -> None:
    runs = trainer_of().fit_many((X, Y), lr=[1e38, 1e38], epochs=5)
    with pytest.raises(OptionError, match=r"no 'validation_loss'.*\n  expected: one of loss"):
        runs.last("validation_loss")
    with pytest.raises(OptionError, match="all 2 diverged"):
        runs.best("loss")
    with pytest.raises(OptionError, match=r"there is no training 2.\n  expected: 0 to 1"):
        runs.of(2)
    with pytest.raises(OptionError, match="these runs have one seed"):
        runs.spread()
    with pytest.raises(OptionError, match="level must lie between 0 and 1"):
        runs.spread(level=1.0)
    with pytest.raises(OptionError, match="given nothing to draw"):
        search(trainer_of(), (X, Y), trials=3, lr=[0.1])
    with pytest.raises(OptionError, match="trials must be a whole number"):
        search(trainer_of(), (X, Y), trials=0, lr=Uniform(0, 1))
    with pytest.raises(OptionError, match="LogUniform takes two ends above 0"):
        LogUniform(0.0, 1.0)
    with pytest.raises(OptionError, match="Uniform takes two ends, the smaller first"):
        Uniform(1.0, 1.0)


def test_lanes_refuse_an_op_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.engines.native.lanes import structured

    monkeypatch.delitem(structured.RULES, "amax")
    with pytest.raises(EngineError, match="lanes have no form of amax"):
        trainer_of().fit_many((X, Y), lr=RATES, way="lanes")
    runs = trainer_of().fit_many((X, Y), lr=RATES)
    assert runs.way == ("arenas: one training at a time, because lanes have no form of amax")


@pytest.mark.parametrize("way", ["lanes", "arenas"])
def test_embeddings_train_and_a_bad_index_is_named(way: str) -> None:
    tokens = RNG.integers(0, 7, (50, 3))

    def make() -> Any:
        return nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 3))

    options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "way": way, "initialize": make}
    runs = trainer_of(make).fit_many((tokens, Y), seed=range(9), **options)
    cr.manual_seed(4)
    model = make()
    trainer = Trainer(
        model, nn.CrossEntropyLoss(), sgd(model.parameters()), seed=4, progress=False,
        engine="native",
    )  # fmt: skip
    run = trainer.fit((tokens, Y), epochs=2, batch_size=16)
    np.testing.assert_allclose(runs.history["loss"][4], run.history["loss"], **CLOSE)
    tokens[17, 1] = 8
    with pytest.raises(IndexError, match="index 8 is outside of an axis of length 7"):
        trainer_of(make).fit_many((tokens, Y), seed=range(9), **options)
