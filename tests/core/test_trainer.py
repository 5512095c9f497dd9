"""The Trainer on the numpy engine: batches, order, seeds, metrics, validation, errors."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import DataError, OptionError, ShapeError
from chainrule.train import Finding, Run, Trainer
from chainrule.train.examples import Batching, read_examples

RNG = np.random.default_rng(0)
X = RNG.normal(size=(23, 3)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int64)


def make_model(dropout: float = 0.0, seed: int = 0) -> Any:
    cr.manual_seed(seed)
    layers = [nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)]
    if dropout:
        layers.insert(2, nn.Dropout(dropout))
    return nn.Sequential(*layers)


def make_trainer(dropout: float = 0.0, lr: float = 0.1, **options: Any) -> Trainer:
    model = make_model(dropout)
    optimizer = cr.optim.Adam(model.parameters(), lr=lr)
    settings = {"engine": "numpy", "seed": 3, "progress": False} | options
    return Trainer(model, nn.CrossEntropyLoss(), optimizer, **settings)


def state_of(model: Any) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# Order and batches


@pytest.mark.parametrize("count", [1, 5, 6, 7])
@pytest.mark.parametrize("size", [1, 3, 7, 10])
@pytest.mark.parametrize("drop_last", [False, True])
def test_steps_cover_the_examples(count: int, size: int, drop_last: bool) -> None:
    batching = Batching(count, size, drop_last=drop_last)
    rows = batching.rows_of_step()
    assert rows.sum() == batching.used == (count - count % size if drop_last else count)
    if batching.used:
        sizes = np.array(batching.sizes)
        np.testing.assert_array_equal(sizes[batching.variant_of_step()], rows)


def test_any_epoch_of_the_shuffle_can_be_made_alone() -> None:
    key = cr.random.stream_key(5, "shuffle")
    batching = Batching(37, 4)
    together = batching.orders(key, 0, 6, None)
    for epoch in range(6):
        alone = batching.orders(key, epoch * batching.blocks, 1, None)[0]
        np.testing.assert_array_equal(together[epoch], alone)
        assert sorted(alone.tolist()) == list(range(37))
    assert len({tuple(order) for order in together.tolist()}) == 6


@pytest.mark.parametrize("count", [4095, 4096, 70_000])
def test_long_shuffles_are_the_order_of_key_and_index(count: int) -> None:
    key = cr.random.stream_key(8, "shuffle")
    keys = cr.random.bits(key, 0, count)
    expected = np.lexsort((np.arange(count), keys))
    np.testing.assert_array_equal(cr.random.permutations(key, 0, count, 2)[0], expected)
    # Equal keys, which are rare among 2**32, stay in the order of their indices.
    coarse = (keys >> np.uint32(20)) << np.uint32(14)
    expected = np.lexsort((np.arange(count), coarse))
    np.testing.assert_array_equal(cr.random._order(coarse), expected)


def test_a_step_sees_the_rows_that_the_order_names() -> None:
    seen = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            if self.training:
                seen.append(x.numpy().copy())
            return self.inner(x)

    cr.manual_seed(0)
    model = Spy()
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, engine="numpy", seed=9)
    trainer.fit((X, Y), epochs=2, batch_size=10)
    batching = Batching(23, 10)
    orders = batching.orders(cr.random.stream_key(9, "shuffle"), 0, 2, None)
    expected = [X[orders[e][s : s + 10]] for e in range(2) for s in (0, 10, 20)]
    assert [part.shape for part in seen] == [(10, 3), (10, 3), (3, 3)] * 2
    for got, wanted in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_loaders_and_data_sets_are_the_same_as_arrays() -> None:
    def train(data: Any, **options: Any) -> dict[str, np.ndarray]:
        trainer = make_trainer()
        trainer.fit(data, epochs=2, **options)
        return state_of(trainer.model)

    tensors = cr.data.TensorDataset(cr.tensor(X), cr.tensor(Y))
    expected = train((X, Y), batch_size=5)
    assert_same(train(tensors, batch_size=5), expected)
    assert_same(train(cr.data.DataLoader(tensors, 5, shuffle=True)), expected)
    assert_same(train(cr.data.Subset(tensors, list(range(23))), batch_size=5), expected)
    labelled = cr.data.LabelledDataset(X, Y, class_names=["no", "yes"])
    assert_same(train(labelled, batch_size=5), expected)
    backwards = cr.data.Subset(tensors, list(range(23))[::-1])
    assert_same(
        train(backwards, batch_size=5, shuffle=False),
        train((X[::-1], Y[::-1]), batch_size=5, shuffle=False),
    )


class Squares(cr.data.Dataset):
    """Examples that exist only when they are asked for."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return cr.tensor(X[index]), int(Y[index])


def test_examples_that_are_computed_are_the_same_as_arrays() -> None:
    plain = make_trainer()
    expected = plain.fit((X, Y), (X, Y), epochs=2, batch_size=5)
    swapped = cr.data.DataLoader(
        [(y, x) for x, y in zip(X, Y.tolist(), strict=True)], 5, shuffle=True,
        collate_fn=lambda batch: cr.data.default_collate([(x, y) for y, x in batch]),
    )  # fmt: skip
    for data, options in ((Squares(), {"batch_size": 5}), (swapped, {})):
        trainer = make_trainer()
        run = trainer.fit(data, Squares(), epochs=2, **options)
        assert_same(state_of(trainer.model), state_of(plain.model))
        for name, series in expected.history.items():
            np.testing.assert_array_equal(run.history[name], series)


def test_going_on_with_computed_examples_says_what_cannot_be_promised() -> None:
    make_trainer().fit(Squares(), epochs=1, run="a")
    with pytest.warns(cr.train.ResumeWarning, match="perhaps with randomness of its own"):
        make_trainer().fit(Squares(), epochs=2, run="a", resume=True)


def test_examples_must_be_pairs() -> None:
    with pytest.raises(DataError, match="an example must be inputs and a target"):
        make_trainer().fit(list(X))
    with pytest.raises(DataError, match="the data set is empty"):
        make_trainer().fit([])


def test_float64_data_meets_float32_parameters_and_the_other_way_round() -> None:
    trainer = make_trainer()
    trainer.fit((X.astype(np.float64), Y), epochs=1)
    assert trainer.model[0].weight.dtype is cr.float32
    double = make_model().double()
    trainer = Trainer(
        double, nn.CrossEntropyLoss(), cr.optim.SGD(double.parameters(), lr=0.1), engine="numpy"
    )
    trainer.fit((X, Y), epochs=1)
    assert trainer.model[0].weight.dtype is cr.float64


# Numbers


def test_a_fit_is_the_plain_loop() -> None:
    trainer = make_trainer()
    run = trainer.fit((X, Y), epochs=3, batch_size=10, shuffle=False)
    model = make_model()
    optimizer = cr.optim.Adam(model.parameters(), lr=0.1)
    loss_function = nn.CrossEntropyLoss()
    losses, rights = [], []
    for _ in range(3):
        total, right = 0.0, 0
        for start in (0, 10, 20):
            x, y = cr.tensor(X[start : start + 10]), cr.tensor(Y[start : start + 10])
            optimizer.zero_grad()
            output = model(x)
            loss = loss_function(output, y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
            right += int((output.argmax(1) == y).sum().item())
        losses.append(total / 23)
        rights.append(right / 23)
    assert_same(state_of(trainer.model), state_of(model))
    np.testing.assert_allclose(run.history["loss"], losses, rtol=1e-12)
    np.testing.assert_allclose(run.history["accuracy"], rights, rtol=1e-12)


def test_clipping_a_penalty_and_a_schedule_are_those_of_the_plain_loop() -> None:
    def penalty(model: Any) -> Any:
        return 0.01 * sum((weight.abs().sum() for weight in model.parameters()), cr.tensor(0.0))

    model = make_model()
    optimizer = cr.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    schedule = cr.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.7)
    trainer = Trainer(
        model, nn.CrossEntropyLoss(), optimizer, engine="numpy", clip=0.3, penalty=penalty,
        scheduler=schedule,
    )  # fmt: skip
    run = trainer.fit((X, Y), epochs=4, batch_size=23, shuffle=False)
    plain = make_model()
    optimizer = cr.optim.SGD(plain.parameters(), lr=0.5, momentum=0.9)
    schedule = cr.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.7)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(plain(cr.tensor(X)), cr.tensor(Y))
        (loss + penalty(plain)).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.3)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert_same(state_of(model), state_of(plain))
    np.testing.assert_array_equal(run.history["loss"], losses)
    assert trainer.optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_a_schedule_of_plateaus_follows_the_validation_loss() -> None:
    def rates(validation: Any) -> list[float]:
        model = make_model()
        optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
        lower = cr.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
        trainer = Trainer(
            model, nn.CrossEntropyLoss(), optimizer, scheduler=lower, engine="numpy", seed=0
        )
        trainer.fit((X, Y), validation, epochs=6)
        return [group["lr"] for group in optimizer.param_groups]

    assert rates(None) == [0.1]  # the training loss falls
    assert rates((X, 1 - Y))[0] < 0.1  # that of wrong labels rises


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    states = []
    for seed in (3, 3, 4):
        trainer = make_trainer(dropout=0.5, seed=seed)
        trainer.fit((X, Y), epochs=3, batch_size=5)
        states.append(state_of(trainer.model))
    assert_same(states[0], states[1])
    assert any((states[0][name] != states[2][name]).any() for name in states[0])


def test_without_a_seed_the_global_one_counts() -> None:
    states = []
    for _ in range(2):
        trainer = make_trainer(dropout=0.5, seed=None)
        trainer.fit((X, Y), epochs=2, batch_size=5)
        states.append(state_of(trainer.model))
    assert_same(states[0], states[1])


def test_two_fits_are_one_long_fit() -> None:
    once, twice = make_trainer(dropout=0.5), make_trainer(dropout=0.5)
    whole = once.fit((X, Y), epochs=5, batch_size=5)
    first = twice.fit((X, Y), epochs=2, batch_size=5)
    second = twice.fit((X, Y), epochs=3, batch_size=5)
    assert_same(state_of(once.model), state_of(twice.model))
    joined = np.concatenate([first.history["loss"], second.history["loss"]])
    np.testing.assert_array_equal(joined, whole.history["loss"])


def test_observing_changes_no_bits() -> None:
    plain, watched = make_trainer(dropout=0.5), make_trainer(dropout=0.5, progress=True)
    a = plain.fit((X, Y), epochs=4, batch_size=5)
    b = watched.fit(
        (X, Y), (X[:7], Y[:7]), epochs=4, batch_size=5, run="watched", callbacks=[lambda run: None]
    )
    assert_same(state_of(plain.model), state_of(watched.model))
    for name in ("loss", "accuracy"):
        np.testing.assert_array_equal(a.history[name], b.history[name])


def test_validation_is_measured_in_evaluation_mode_after_each_epoch() -> None:
    trainer = make_trainer(dropout=0.5)
    run = trainer.fit((X, Y), (X, Y), epochs=3, batch_size=5)
    assert {name: len(series) for name, series in run.history.items()} == {
        "loss": 3, "accuracy": 3, "validation_loss": 3, "validation_accuracy": 3,
    }  # fmt: skip
    after = trainer.evaluate((X, Y))
    assert run.history["validation_loss"][-1] == after["loss"]
    assert run.history["validation_accuracy"][-1] == after["accuracy"]
    assert trainer.model.training


def test_prediction_does_not_depend_on_the_cut_and_keeps_the_mode() -> None:
    trainer = make_trainer(dropout=0.5)
    trainer.model.train()
    many = np.tile(X, (100, 1))
    out = trainer.predict(many)
    assert out.shape == (2300, 2)
    np.testing.assert_allclose(out[:23], trainer.predict(X), rtol=1e-6)
    assert trainer.model.training


@pytest.mark.parametrize(
    ("loss", "output", "target", "expected"),
    [
        (nn.CrossEntropyLoss(), [[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]], [0, 1, 1], 2),
        (nn.BCEWithLogitsLoss(), [0.3, -0.2, 0.4], [1.0, 0.0, 0.0], 2),
        (nn.MSELoss(), [[0.6], [0.4], [0.3]], [[1.0], [0.0], [1.0]], 2),
        (nn.BCEWithLogitsLoss(), [[1.0, -1.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]], 1.5),
    ],
)
def test_accuracy_counts_what_is_right(
    loss: Any, output: Any, target: Any, expected: float
) -> None:
    (metric,) = cr.train.metrics.choose_metrics(["accuracy"], loss)
    assert metric(cr.tensor(output), cr.tensor(target)).numbers[0].item() == expected


def test_metrics_of_the_user_are_means_over_the_batch() -> None:
    def error(output: Any, target: Any) -> Any:
        return (output.argmax(1) != target).float().mean()

    trainer = make_trainer(metrics=["accuracy", error])
    run = trainer.fit((X, Y), epochs=2, batch_size=10)
    np.testing.assert_allclose(run.history["error"], 1 - run.history["accuracy"], atol=1e-6)


# Callbacks, interruption, records in memory


def test_a_callback_sees_the_run_and_can_end_it() -> None:
    seen = []

    def watch(run: Run) -> bool:
        seen.append((run.epochs, len(run.history["loss"])))
        return run.epochs == 3

    run = make_trainer().fit((X, Y), epochs=10, callbacks=[watch])
    assert seen == [(1, 1), (2, 2), (3, 3)]
    assert (run.epochs, run.status) == (3, "finished")


def test_a_callback_may_change_the_learning_rate() -> None:
    trainer = make_trainer()

    def freeze(run: Run) -> None:
        trainer.optimizer.param_groups[0]["lr"] = 0.0

    states = []
    trainer.fit(
        (X, Y), epochs=3, callbacks=[freeze, lambda run: states.append(state_of(trainer.model))]
    )
    assert_same(states[0], states[2])


def interrupting(after: int) -> Callable[[Any, Any], Any]:
    calls = []

    def metric(output: Any, target: Any) -> Any:
        calls.append(1)
        if len(calls) == after:
            signal.raise_signal(signal.SIGINT)
        return output.sum() * 0

    return metric


def test_ctrl_c_ends_between_steps_and_leaves_a_consistent_model() -> None:
    trainer = make_trainer(metrics=[interrupting(7)])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit((X, Y), epochs=100, batch_size=10)
    run = trainer.run
    assert run is not None
    assert (run.status, run.steps, run.epochs) == ("interrupted", 7, 2)
    assert len(run.history["loss"]) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    counted = [state["step"].item() for state in trainer.optimizer.state.values()]
    assert counted == [7.0] * len(counted)


def test_stop_ends_a_fit_and_it_can_be_taken_up_again() -> None:
    whole, part = make_trainer(dropout=0.5), make_trainer(dropout=0.5)
    expected = whole.fit((X, Y), epochs=6, batch_size=5)
    part.stop()  # without a fit under way it has nothing to end
    run = part.fit(
        (X, Y), epochs=6, batch_size=5, run="a",
        callbacks=[lambda run: part.stop() if run.epochs == 2 else None],
    )  # fmt: skip
    assert (run.status, run.epochs) == ("interrupted", 2)
    run = part.fit((X, Y), epochs=6, batch_size=5, run="a", resume=True)
    assert repr(run).startswith("<run 'a': finished, 6 epochs, 30 steps  loss ")
    np.testing.assert_array_equal(run.history["loss"], expected.history["loss"])
    assert_same(state_of(whole.model), state_of(part.model))


def test_an_error_in_a_step_marks_the_run_as_failed() -> None:
    def broken(output: Any, target: Any) -> Any:
        raise ValueError("broken metric")

    trainer = make_trainer(metrics=[broken])
    with pytest.raises(ValueError, match="broken metric"):
        trainer.fit((X, Y), epochs=1, run="broken")
    assert cr.train.open_run("broken").status == "failed"


def test_a_record_in_memory_can_be_stored_later() -> None:
    trainer = make_trainer()
    run = trainer.fit((X, Y), epochs=2)
    assert run.checkpoints == []
    run.record_findings([Finding("overfitting", "warning", evidence={"gap": 0.1})])
    stored = run.save("kept")
    assert [found.kind for found in stored.findings()] == ["overfitting"]
    np.testing.assert_array_equal(stored.history["loss"], run.history["loss"])
    for name, array in stored.state_dict().items():
        np.testing.assert_array_equal(array, state_of(trainer.model)[name])
    assert [found.name for found in cr.train.list_runs()] == ["kept"]
    assert "kept" in str(stored)


def test_nothing_is_shown_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    make_trainer(progress=True).fit((X, Y), epochs=2)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    make_trainer(progress=True).fit((X, Y), epochs=2)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "accuracy" in shown


# Errors


def test_options_that_do_not_exist_are_refused() -> None:
    with pytest.raises(OptionError, match=r"no engine 'cuda'.*\n.*auto, native, numpy"):
        make_trainer(engine="cuda")
    with pytest.raises(OptionError, match="threads must be 1 or more"):
        make_trainer(threads=0)
    with pytest.raises(OptionError, match=r"no metric 'f2'"):
        make_trainer(metrics=["f2"])
    with pytest.raises(OptionError, match="every metric needs its own name"):
        make_trainer(metrics=["accuracy", "accuracy"])
    with pytest.raises(OptionError, match=r"no device 'cuda' .*\n  expected: 'cpu'"):
        make_trainer(device="cuda")
    with pytest.raises(OptionError, match=r"no precision 'bfloat16'.*\n.*'float32', 'float64'"):
        make_trainer(precision="bfloat16")
    with pytest.raises(OptionError, match=r"parameters of float32.\n  fix: model.double\(\)"):
        make_trainer(precision="float64")
    with pytest.raises(OptionError, match="watch takes True, or names or patterns"):
        make_trainer(watch="loss")
    with pytest.raises(OptionError, match=r"no check 'inf'.*\n  expected: 'nan'"):
        make_trainer(check="inf")
    with pytest.raises(OptionError, match=r"step must be a function \(trainer, batch\)"):
        make_trainer(step=3)
    make_trainer(device="cpu", precision="float32", check="nan")
    with pytest.raises(OptionError, match="clip must be above 0"):
        make_trainer(clip=0)


@pytest.mark.parametrize(
    ("data", "options", "error", "text"),
    [
        (X, {}, DataError, "training data of this kind is not supported"),
        ((X, Y[:5]), {}, ShapeError, r"different numbers of examples.*\n.*\(23, 3\), \(5,\)"),
        ((X, np.array(3)), {}, ShapeError, "one row for each example"),
        ((X, Y.astype(str)), {}, DataError, "data must be numbers"),
        ((X[:0], Y[:0]), {}, DataError, "there is nothing to train on: 0 examples"),
        ((X, Y), {"batch_size": 0}, OptionError, "batch_size must be a whole number of 1 or more"),
        ((X, Y), {"epochs": -1}, OptionError, "epochs must be 0 or more"),
        ((X, Y), {"resume": True}, OptionError, "resume=True needs the name of a run"),
    ],
)
def test_wrong_arguments_say_what_was_expected(
    data: Any, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        make_trainer().fit(data, **options)


def test_loaders_that_decide_for_themselves_are_refused() -> None:
    tensors = cr.data.TensorDataset(cr.tensor(X), cr.tensor(Y))
    sampler = cr.data.WeightedRandomSampler([1.0] * 23, 23)
    with pytest.raises(OptionError, match="its own sampler or batches"):
        make_trainer().fit(cr.data.DataLoader(tensors, 5, sampler=sampler))
    with pytest.raises(OptionError, match=r"batch_size=4 and a loader with batch_size=5"):
        make_trainer().fit(cr.data.DataLoader(tensors, 5), batch_size=4)


def test_a_loss_that_is_no_number_is_refused() -> None:
    model = make_model()
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, nn.CrossEntropyLoss(reduction="none"), optimizer, engine="numpy")
    with pytest.raises(ShapeError, match=r"the loss must be one number.*\n.*shape \(23,\)"):
        trainer.fit((X, Y))


def test_nothing_to_train_is_no_error() -> None:
    trainer = make_trainer()
    before = state_of(trainer.model)
    run = trainer.fit((X, Y), epochs=0)
    assert run.status == "finished"
    assert len(run.history["loss"]) == 0
    assert_same(before, state_of(trainer.model))


def test_a_fingerprint_notices_other_data() -> None:
    def digest(x: np.ndarray, y: np.ndarray) -> str:
        return read_examples((x, y), None, None, cr.float32)[0].fingerprint()

    changed = X.copy()
    changed[7, 1] += 1
    assert len({digest(X, Y), digest(changed, Y), digest(X, 1 - Y), digest(X[:20], Y[:20])}) == 4
    assert digest(X, Y) == digest(X.astype(np.float64), Y)


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize("where", ["train", "validation"])
def test_targets_are_checked_before_steps_that_cannot_raise(engine: str, where: str) -> None:
    x, good, bad = np.ones((3, 2), np.float32), np.array([0, 1, 2]), np.array([0, 1, 5])
    model = cr.nn.Linear(2, 3)
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    trainer = cr.Trainer(model, cr.nn.CrossEntropyLoss(), optimizer, engine=engine, progress=False)
    sets = ((x, bad), None) if where == "train" else ((x, good), (x, bad))
    with pytest.raises(cr.errors.IndexRangeError, match=r"given: 5 at target\[\d\]"):
        trainer.fit(*sets, batch_size=3)
