"""A training that was broken off goes on to the bits of the unbroken one."""

from __future__ import annotations

import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import StoreError
from chainrule.train import (
    CheckpointWarning,
    ResumeWarning,
    Run,
    Store,
    Trainer,
    recorder,
    session,
)
from chainrule.train import trainer as trainer_module

RNG = np.random.default_rng(1)
X = RNG.normal(size=(23, 3)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int64)
EPOCHS = 6


class Stop:
    """A metric that presses Ctrl-C when it is computed for the n-th time."""

    __name__ = "stop"

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def __call__(self, output: Any, target: Any) -> Any:
        self.count += 1
        if self.count == self.at:
            signal.raise_signal(signal.SIGINT)
        return output.sum() * 0


def make_trainer(stop: int = 0, optimizer: str = "adam", **options: Any) -> Trainer:
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(0.3), nn.Linear(5, 2))
    made: Any = (
        cr.optim.Adam(model.parameters(), lr=0.05)
        if optimizer == "adam"
        else cr.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    )
    settings = {"engine": "numpy", "seed": 3, "metrics": [Stop(stop)]} | options
    return Trainer(model, nn.CrossEntropyLoss(), made, **settings)


def fit(trainer: Trainer, **options: Any) -> Run:
    settings = {"epochs": EPOCHS, "batch_size": 5, "validation": (X[:9], Y[:9])} | options
    return trainer.fit((X, Y), **settings)


def everything(trainer: Trainer, run: Run) -> dict[str, np.ndarray]:
    found = {name: tensor.numpy().copy() for name, tensor in trainer.model.state_dict().items()}
    found |= {f"history {name}": series for name, series in run.history.items()}
    moments = trainer.optimizer.state_dict()["state"]
    for number, held in moments.items():
        found |= {f"{number} {name}": tensor.numpy().copy() for name, tensor in held.items()}
    return found


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture(params=["adam", "sgd"])
def unbroken(request: pytest.FixtureRequest) -> tuple[str, dict[str, np.ndarray]]:
    trainer = make_trainer(optimizer=request.param)
    return request.param, everything(trainer, fit(trainer))


@pytest.mark.parametrize("stop", [1, 5, 7, 13, 30])
def test_interrupted_anywhere_and_resumed_gives_the_same_bits(
    stop: int, unbroken: tuple[str, dict[str, np.ndarray]]
) -> None:
    optimizer, expected = unbroken
    first = make_trainer(stop, optimizer)
    with pytest.raises(KeyboardInterrupt):
        fit(first, run="a", resume=True)
    assert first.run is not None
    assert first.run.steps <= stop
    assert cr.train.open_run("a").status == "interrupted"
    again = make_trainer(optimizer=optimizer)
    run = fit(again, run="a", resume=True)
    assert_same(everything(again, run), expected)
    stored = cr.train.open_run("a")
    assert (stored.status, stored.epochs, stored.steps) == ("finished", EPOCHS, EPOCHS * 5)
    assert list(stored.history) == list(run.history)
    for name, series in run.history.items():
        np.testing.assert_array_equal(stored.history[name], series)


def test_checkpoints_at_every_chunk_change_no_bits(
    monkeypatch: pytest.MonkeyPatch, unbroken: tuple[str, dict[str, np.ndarray]]
) -> None:
    optimizer, expected = unbroken
    for name in ("CHECKPOINT_INTERVAL", "LONG_EPOCH", "METRICS_INTERVAL"):
        monkeypatch.setattr(recorder, name, 0.0)
    monkeypatch.setattr(session, "MOST_STEPS", 6)  # an epoch, its validation included
    trainer = make_trainer(optimizer=optimizer)
    run = fit(trainer, run="a")
    assert_same(everything(trainer, run), expected)
    steps = [mark.step for mark in run.checkpoints]
    assert steps[0] == 0
    assert steps[-1] == EPOCHS * 5
    assert len(steps) == 5  # thinned out: the first and the newest


def test_a_finished_run_can_be_lengthened() -> None:
    whole, part = make_trainer(), make_trainer()
    expected = everything(whole, fit(whole))
    fit(part, run="a", epochs=2)
    longer = make_trainer()
    run = fit(longer, run="a", resume=True)
    assert_same(everything(longer, run), expected)
    assert [record.name for record in cr.train.list_runs()] == ["a"]


@pytest.mark.parametrize("kind", ["StepLR", "ReduceLROnPlateau", "OneCycleLR"])
def test_schedules_go_on_where_they_stood(kind: str) -> None:
    def make(stop: int = 0) -> Trainer:
        trainer = make_trainer(stop)
        options: dict[str, Any] = {
            "StepLR": {"step_size": 2, "gamma": 0.5},
            "ReduceLROnPlateau": {"patience": 0, "factor": 0.5},
            "OneCycleLR": {"max_lr": 0.1, "total_steps": EPOCHS + 1},
        }[kind]
        schedules = cr.optim.lr_scheduler
        trainer.scheduler = getattr(schedules, kind)(trainer.optimizer, **options)
        return trainer

    whole, part, again = make(), make(17), make()
    expected = everything(whole, fit(whole))
    with pytest.raises(KeyboardInterrupt):
        fit(part, run="a")
    assert_same(everything(again, fit(again, run="a", resume=True)), expected)
    assert again.optimizer.param_groups[0]["lr"] == whole.optimizer.param_groups[0]["lr"]


def test_validation_may_come_and_go_between_sittings() -> None:
    data = (X[:9], Y[:9])
    fit(make_trainer(), run="a", epochs=2, validation=None)
    fit(make_trainer(), run="a", epochs=4, validation=data, resume=True)
    run = fit(make_trainer(), run="a", epochs=5, validation=None, resume=True)
    missing = np.isnan(run.history["validation_loss"])
    assert missing.tolist() == [True, True, False, False, True]
    stored = cr.train.open_run("a").history
    for name, series in run.history.items():
        np.testing.assert_array_equal(stored[name], series)


def test_resuming_what_is_done_only_loads_it() -> None:
    first, again = make_trainer(), make_trainer()
    run = fit(first, run="a")
    assert_same(everything(again, fit(again, run="a", resume=True)), everything(first, run))


def test_a_name_in_use_is_refused_without_resume() -> None:
    fit(make_trainer(), run="a", epochs=1)
    with pytest.raises(StoreError, match=r"already a run 'a'.*\n.*resume=True"):
        fit(make_trainer(), run="a")


def test_killed_before_the_first_checkpoint_starts_again() -> None:
    with Store() as store:
        store.create("a", seed=3, config={})
    trainer, plain = make_trainer(), make_trainer()
    run = fit(trainer, run="a", resume=True)
    assert_same(everything(trainer, run), everything(plain, fit(plain)))


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "CHECKPOINT_INTERVAL", 0.0)
    monkeypatch.setattr(session, "MOST_STEPS", 6)
    plain = make_trainer()
    expected = everything(plain, fit(plain))
    before = fit(make_trainer(), run="a", epochs=4)
    newest = before.checkpoints[-1].path
    content = newest.read_bytes()
    if damage == "gone":
        newest.unlink()
    else:
        newest.write_bytes(content[:-100] if damage == "cut" else content[:-1] + b"!")
    trainer = make_trainer()
    with pytest.warns(CheckpointWarning, match=r"(?s)000020.*The one before it is used: step 15"):
        run = fit(trainer, run="a", resume=True)
    assert_same(everything(trainer, run), expected)


def test_when_no_checkpoint_is_whole_that_is_said() -> None:
    run = fit(make_trainer(), run="a", epochs=1)
    for mark in run.checkpoints:
        mark.path.write_bytes(b"")
    with pytest.raises(StoreError, match=r"no checkpoint of this run can be used") as caught:
        fit(make_trainer(), run="a", resume=True)
    assert "fix: restore the files from a copy" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"batch_size": 6}, "batch size: was 5, is 6"),
        ({"shuffle": False}, "shuffle: was True, is False"),
    ],
)
def test_other_settings_are_refused(changes: dict[str, Any], text: str) -> None:
    fit(make_trainer(), run="a", epochs=1)
    with pytest.raises(StoreError, match=text):
        fit(make_trainer(), run="a", resume=True, **changes)


def test_other_data_and_another_seed_are_refused() -> None:
    fit(make_trainer(), run="a", epochs=1)
    with pytest.raises(StoreError, match=r"seed: was 3, is 4"):
        fit(make_trainer(seed=4), run="a", resume=True)
    with pytest.raises(StoreError, match=r"data \(digest\): was"):
        make_trainer().fit((X + 1, Y), epochs=2, batch_size=5, run="a", resume=True)


def test_another_machine_is_said_and_does_not_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    fit(make_trainer(), run="a", epochs=1)
    monkeypatch.setattr(trainer_module, "differences", lambda *before: ["numpy was 1 and is 2"])
    with pytest.warns(ResumeWarning, match="its bits may differ .*: numpy was 1 and is 2"):
        fit(make_trainer(), run="a", resume=True)


def test_buffers_outside_the_state_dict_and_callbacks_are_kept() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 2)
            self.register_buffer("seen", cr.zeros(1), persistent=False)

        def forward(self, x: Any) -> Any:
            if self.training:
                self.seen = self.seen + 1
            return self.inner(x)

    class Patience:
        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, run: Run) -> None:
            self.calls += 1

        def state_dict(self) -> dict[str, int]:
            return {"calls": self.calls}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.calls = state["calls"]

    def train(epochs: int) -> tuple[float, int]:
        cr.manual_seed(0)
        model, patience = Counting(), Patience()
        optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
        trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, engine="numpy", seed=0)
        trainer.fit((X, Y), epochs=epochs, callbacks=[patience], run="a", resume=True)
        return model.seen.item(), patience.calls

    assert train(2) == (2, 2)
    assert train(5) == (5, 5)


def test_a_full_disk_says_so_and_the_run_goes_on_later(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAINRULE_HOME", str(small_disk / "runs"))
    monkeypatch.setattr(recorder, "CHECKPOINT_INTERVAL", 0.0)
    plain = make_trainer()
    expected = everything(plain, fit(plain))
    ballast = small_disk / "ballast"
    epochs_done = []

    def fill(run: Run) -> None:
        epochs_done.append(run.epochs)
        if run.epochs == 3:
            with pytest.raises(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(512))

    trainer = make_trainer()
    with pytest.raises(StoreError, match="disk is full"):
        fit(trainer, run="a", callbacks=[fill])
    assert epochs_done == [1, 2, 3]
    assert all(np.isfinite(tensor.numpy()).all() for tensor in trainer.model.state_dict().values())
    ballast.unlink()
    again = make_trainer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # every checkpoint that is named is whole
        run = fit(again, run="a", resume=True)
    assert_same(everything(again, run), expected)
