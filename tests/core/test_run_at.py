"""Past steps of a run made again: weights, optimizer, batch and losses, to the bit, on engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import OptionError, StoreError
from chainrule.train import MomentWarning, Trainer, open_run

RNG = np.random.default_rng(0)
X = RNG.normal(size=(23, 3)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int64)
ENGINES = pytest.mark.parametrize("engine", ["numpy", "native"])


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHAINRULE_HOME", str(tmp_path / "store"))


def make(engine: str = "numpy", scheduled: bool = True, **options: Any) -> Trainer:
    cr.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.3), nn.Linear(4, 2)
    )
    optimizer = cr.optim.Adam(model.parameters(), lr=0.05)
    scheduler = None
    if scheduled:
        scheduler = cr.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    settings = {"seed": 4, "progress": False, "scheduler": scheduler} | options
    return Trainer(model, nn.CrossEntropyLoss(), optimizer, engine=engine, **settings)


def everything(model: Any, optimizer: Any) -> list[np.ndarray]:
    arrays = [tensor.numpy().copy() for tensor in model.state_dict().values()]
    for state in optimizer.state_dict()["state"].values():
        arrays += [np.array(cr.train.state.plain(value)) for value in state.values()]
    return [*arrays, np.array([group["lr"] for group in optimizer.param_groups])]


def assert_same(a: list[np.ndarray], b: list[np.ndarray]) -> None:
    assert len(a) == len(b)
    for left, right in zip(a, b, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("stored", [False, True])
def test_every_step_is_made_again_to_the_bit(stored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    moments: list[tuple[list[np.ndarray], np.ndarray]] = []
    original = cr.train.eager.call
    trainer = make()

    def spy(step: Any, arrays: Any) -> Any:
        if step is trainer._step:
            moments.append((everything(trainer.model, trainer.optimizer), arrays[0].copy()))
        return original(step, arrays)

    monkeypatch.setattr(cr.train.eager, "call", spy)
    run = trainer.fit((X, Y), (X, Y), epochs=4, batch_size=5, run="a" if stored else None)
    assert len(moments) == run.steps == 20
    for step in (0, 1, 4, 5, 11, 19):
        state, rows = moments[step]
        found = run.at(step)
        made = everything(found.model, found.optimizer)
        # Adam makes its moments at the first step.
        assert_same(made, state)
        np.testing.assert_array_equal(found.batch[0], rows)
        np.testing.assert_array_equal(X[found.indices], rows)
        assert found.epoch == step // 5 and found.step == step
        assert found.model.training
    assert_same(
        everything(run.at(20).model, run.at(20).optimizer),
        everything(trainer.model, trainer.optimizer),
    )


@ENGINES
def test_the_losses_of_the_examples_are_those_of_the_step(engine: str) -> None:
    trainer = make(engine, scheduled=False)
    run = trainer.fit((X, Y), epochs=3, batch_size=5)
    losses = [run.at(step).loss for step in range(5, 10)]
    assert [len(loss) for loss in losses] == [5, 5, 5, 5, 3]
    # Dropout's masks and the batch's statistics are those of the step.
    epoch = sum(loss.sum() for loss in losses) / 23
    assert epoch == pytest.approx(run.history["loss"][1], rel=1e-6)


@ENGINES
def test_epoch_ends_are_those_of_shorter_trainings(engine: str) -> None:
    run = make(engine).fit((X, Y), (X, Y), epochs=6, batch_size=5)
    for epochs in (1, 2, 5):
        shorter = make(engine)
        shorter.fit((X, Y), (X, Y), epochs=epochs, batch_size=5)
        found = run.at(5 * epochs)
        assert_same(
            everything(found.model, found.optimizer), everything(shorter.model, shorter.optimizer)
        )


@ENGINES
def test_a_stored_run_needs_its_code_and_data(engine: str) -> None:
    trainer = make(engine)
    run = trainer.fit((X, Y), (X, Y), epochs=3, batch_size=5, run="a", sample_weight=Y + 1.0)
    stored = open_run("a")
    with pytest.raises(OptionError, match=r"neither its code nor its data.\n  fix: run.at\(step"):
        stored.at(7)
    with pytest.raises(OptionError, match="also needs the training data"):
        stored.at(7, trainer=make(engine))
    with pytest.raises(StoreError, match=r"data \(digest\)"):
        stored.at(7, trainer=make(engine), train=(X, Y))
    found = stored.at(7, trainer=make(engine), train=(X, Y), sample_weight=Y + 1.0)
    expected = run.at(7)
    assert_same(
        everything(found.model, found.optimizer), everything(expected.model, expected.optimizer)
    )
    np.testing.assert_array_equal(found.loss, expected.loss)
    np.testing.assert_array_equal(found.indices, expected.indices)
    assert len(found.batch) == 3


def test_looking_back_changes_nothing() -> None:
    trainer, other = make(), make()
    run = trainer.fit((X, Y), epochs=2, batch_size=5)
    before = everything(trainer.model, trainer.optimizer)
    counter = cr.train.state.default_generator().get_state()
    trainer.at(6)
    assert cr.train.state.default_generator().get_state() == counter
    assert_same(everything(trainer.model, trainer.optimizer), before)
    trainer.fit((X, Y), epochs=2, batch_size=5)
    other.fit((X, Y), epochs=2, batch_size=5)
    other.fit((X, Y), epochs=2, batch_size=5)
    assert_same(
        everything(trainer.model, trainer.optimizer), everything(other.model, other.optimizer)
    )
    assert run.at(3).step == 3  # of the first fit, although another has followed


def test_a_second_fit_begins_its_own_steps() -> None:
    trainer = make()
    trainer.fit((X, Y), epochs=2, batch_size=5)
    before = everything(trainer.model, trainer.optimizer)
    run = trainer.fit((X, Y), epochs=2, batch_size=5)
    found = run.at(0)
    assert_same(everything(found.model, found.optimizer), before)


def test_what_callbacks_changed_is_noticed() -> None:
    def halve(run: Any) -> None:
        for group in trainer.optimizer.param_groups:
            group["lr"] /= 2

    trainer = make(scheduled=False)
    run = trainer.fit((X, Y), epochs=4, batch_size=5, callbacks=[halve])
    with pytest.warns(MomentWarning, match=r"epoch 2 has the loss .*; recorded is .*A callback"):
        run.at(15)


def test_a_damaged_checkpoint_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cr.train.recorder, "CHECKPOINT_INTERVAL", 0.0)
    run = make().fit((X, Y), epochs=3, batch_size=5, run="a")
    expected = run.at(12)
    for record in run.checkpoints:
        if record.step == 10:
            record.path.write_bytes(record.path.read_bytes()[:100])
    assert [record.step for record in run.checkpoints] == [0, 5, 10, 15]
    found = run.at(12)
    assert_same(
        everything(found.model, found.optimizer), everything(expected.model, expected.optimizer)
    )
    for record in run.checkpoints:
        record.path.unlink()
    with pytest.raises(StoreError, match=r"no checkpoint at or before step 12 is whole"):
        run.at(12)


def test_steps_that_do_not_exist() -> None:
    run = make().fit((X, Y), epochs=1, batch_size=5)
    for step in (-1, 6):
        with pytest.raises(OptionError, match=rf"no step {step} in this run.\n.*from 0 to 5"):
            run.at(step)
    with pytest.raises(OptionError, match="there is no run to look into"):
        make().at(0)


def test_a_moment_lists_the_examples_that_cost_most() -> None:
    targets = np.zeros((8, 1), np.float32)
    targets[5] = 100.0
    model = nn.Linear(3, 1)
    trainer = Trainer(
        model, lambda o, t: ((o - t) ** 2).mean(), cr.optim.SGD(model.parameters(), lr=0.0),
        engine="numpy", seed=0,
    )  # fmt: skip
    run = trainer.fit((X[:8], targets), epochs=2, batch_size=4)
    step = next(step for step in range(2, 4) if 5 in run.at(step).indices)
    lines = run.at(step).text(2).splitlines()
    assert lines[0].startswith(f"step {step} (epoch 1): 4 examples, mean loss ")
    assert lines[2].split()[0] == "5" and "[100.]" in lines[2]
    assert lines[-1] == "  and 2 more"


def test_a_step_of_ones_own_has_no_losses_of_examples() -> None:
    cr.manual_seed(0)
    model = nn.Linear(3, 2)
    trainer = Trainer(
        model, None, cr.optim.SGD(model.parameters(), lr=0.1), engine="numpy", seed=0,
        step=lambda trainer, batch: (trainer.model(batch[0]) ** 2).mean(),
    )  # fmt: skip
    found = trainer.fit((X, Y), epochs=2, batch_size=5).at(7)
    assert found.loss is None and found.output is None
    assert "not known to a step of your own" in found.text()
    assert found.model is not model
