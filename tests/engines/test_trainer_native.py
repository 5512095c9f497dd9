"""The Trainer on the native engine: the numpy engine's numbers, the same bits however observed."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engines import native
from chainrule.errors import EngineError, OptionError, TraceError
from chainrule.train import EngineWarning, ResumeWarning, Run, Trainer, feed, recorder, session
from chainrule.train import native as train_native

RNG = np.random.default_rng(2)
X = RNG.normal(size=(103, 7)).astype(np.float32)
Y = (X[:, :3].argmax(1)).astype(np.int64)


def make_trainer(optimizer: str = "adam", dropout: float = 0.2, **options: Any) -> Trainer:
    cr.manual_seed(0)
    layers = [nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 3)]
    if dropout:
        layers.insert(2, nn.Dropout(dropout))
    model = nn.Sequential(*layers)
    made: Any = {
        "sgd": lambda: cr.optim.SGD(model.parameters(), lr=0.05),
        "momentum": lambda: cr.optim.SGD(
            model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.001
        ),
        "adam": lambda: cr.optim.Adam(model.parameters(), lr=0.01),
    }[optimizer]()
    settings = {"engine": "native", "seed": 3} | options
    return Trainer(model, nn.CrossEntropyLoss(), made, **settings)


def fit(trainer: Trainer, **options: Any) -> Run:
    settings = {"epochs": 9, "batch_size": 20, "validation": (X[:31], Y[:31])} | options
    return trainer.fit((X, Y), **settings)


def everything(trainer: Trainer, run: Run) -> dict[str, np.ndarray]:
    found = {name: tensor.numpy().copy() for name, tensor in trainer.model.state_dict().items()}
    found |= {f"history {name}": series for name, series in run.history.items()}
    for number, held in trainer.optimizer.state_dict()["state"].items():
        found |= {f"{number} {name}": tensor.numpy().copy() for name, tensor in held.items()}
    return found


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every loop that is compiled from now on; none is there yet."""
    made: list[Any] = []
    compile_loop = native.compile_loop

    def count(*arguments: Any, **options: Any) -> Any:
        made.append(compile_loop(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(native, "compile_loop", count)
    monkeypatch.setattr(train_native, "POOL", train_native.LoopPool())
    return made


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_engines_agree_to_rounding_over_two_hundred_steps(optimizer: str) -> None:
    found = []
    for engine in ("numpy", "native"):
        trainer = make_trainer(optimizer, engine=engine)
        found.append(everything(trainer, fit(trainer, epochs=34)))  # 34 * 6 = 204 steps
    assert list(found[0]) == list(found[1])
    for name, eager in found[0].items():
        np.testing.assert_allclose(found[1][name], eager, rtol=2e-3, atol=2e-4, err_msg=name)


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (nn.MSELoss(), X[:, :1] * 2),
        (nn.BCEWithLogitsLoss(), (X[:, :1] > 0).astype(np.float32)),
    ],
)
def test_other_losses_agree(loss: Any, target: np.ndarray) -> None:
    histories = []
    for engine in ("numpy", "native"):
        cr.manual_seed(1)
        model = nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 1))
        optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
        trainer = Trainer(model, loss, optimizer, engine=engine, metrics=["accuracy"], seed=0)
        histories.append(trainer.fit((X, target), epochs=10, batch_size=16).history)
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-4)


def test_clipping_penalties_and_schedules_agree(compilations: list[Any]) -> None:
    found = []
    for engine in ("numpy", "native"):
        trainer = make_trainer(
            "momentum",
            engine=engine,
            clip=0.5,
            penalty=lambda model: 0.001 * (model[0].weight ** 2).sum(),
        )
        schedules = cr.optim.lr_scheduler
        trainer.scheduler = schedules.CosineAnnealingLR(trainer.optimizer, T_max=9)
        found.append(everything(trainer, fit(trainer)))
    for name, eager in found[0].items():
        np.testing.assert_allclose(found[1][name], eager, rtol=2e-3, atol=2e-4, err_msg=name)
    assert len(compilations) == 1  # another learning rate is no reason to compile


def test_one_and_two_threads_give_the_same_bits() -> None:
    found = []
    for threads in (1, 2):
        trainer = make_trainer(threads=threads)
        found.append(everything(trainer, fit(trainer)))
    assert_same(*found)


class Computed(cr.data.Dataset):
    """Examples that exist only when they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return X[index], int(Y[index])


@pytest.mark.parametrize("buffer", [1, 1000, 10**6])
def test_computed_examples_stream_through_a_buffer(
    buffer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "BUFFER_BYTES", buffer)
    plain, streamed = make_trainer(), make_trainer()
    expected = everything(plain, fit(plain))
    run = streamed.fit(Computed(103), Computed(31), epochs=9, batch_size=20)
    assert_same(everything(streamed, run), expected)


def test_a_stream_can_be_stopped_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "BUFFER_BYTES", 1)
    plain, first, again = make_trainer(), make_trainer(), make_trainer()
    expected = everything(plain, fit(plain))

    class Stopping(Computed):
        calls = 0

        def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
            self.calls += 1
            if self.calls == 450:
                first.stop()
            return super().__getitem__(index)

    run = first.fit(Stopping(103), Computed(31), epochs=9, batch_size=20, run="a")
    assert run.status == "interrupted"
    assert 0 < run.steps < 9 * 6
    with pytest.warns(ResumeWarning):
        run = again.fit(Stopping(103), Computed(31), epochs=9, batch_size=20, run="a", resume=True)
    assert_same(everything(again, run), expected)


@pytest.mark.parametrize("rows", [1, 20, 103, 500])
def test_where_chunks_end_changes_no_bits(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = make_trainer()
    expected = everything(plain, fit(plain))
    for name in ("CHECKPOINT_INTERVAL", "LONG_EPOCH", "METRICS_INTERVAL"):
        monkeypatch.setattr(recorder, name, 0.0)
    monkeypatch.setattr(session, "MOST_ROWS", rows)
    watched = make_trainer()
    run = fit(watched, run="watched", callbacks=[lambda run: None])
    assert_same(everything(watched, run), expected)


@pytest.mark.parametrize("rows", [20, 60, 240])
def test_stopped_between_chunks_and_resumed_gives_the_same_bits(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make_trainer()
    expected = everything(plain, fit(plain))
    monkeypatch.setattr(session, "MOST_ROWS", rows)
    first = make_trainer()

    def press(run: Run) -> None:
        if run.epochs == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(first, run="a", callbacks=[press])
    again = make_trainer()
    assert_same(everything(again, fit(again, run="a", resume=True)), expected)


def test_ctrl_c_inside_the_compiled_loop_ends_at_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer("adam", dropout=0.0)
    epochs = 200_000
    fit(trainer, epochs=1, validation=None)  # compiled, so that the timer meets the loop
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fit(trainer, epochs=epochs, validation=None, run="a")
    timer.join()
    run = trainer.run
    assert run is not None
    assert 0 < run.steps < epochs * 6
    assert run.status == "interrupted"
    counted = {state["step"].item() for state in trainer.optimizer.state.values()}
    assert counted == {run.steps + 6.0}
    assert cr.train.open_run("a").steps == run.steps


@pytest.mark.parametrize("observed", [False, True])
def test_python_is_returned_to_a_few_times_a_second(observed: bool) -> None:
    trainer = make_trainer(dropout=0.0, metrics=[])
    held = (X[:31], Y[:31]) if observed else None
    if observed:
        trainer.scheduler = SCHEDULES["cosine"](trainer.optimizer)
    fit(trainer, epochs=1, validation=held)
    calls = []
    loop = trainer.compiled.loop
    plain = loop.reports
    loop.reports = lambda *arguments: calls.append(len(arguments[1])) or plain(*arguments)
    run = fit(trainer, epochs=5000, validation=held)
    assert run.steps == 30_000
    assert sum(calls) == run.steps + 5000 * observed
    assert len(calls) < 8 + 10 * run.seconds
    assert trainer.compile_seconds > 0
    assert "fused" in loop.explain() or "kernel" in loop.explain()


def test_what_was_compiled_for_a_fit_can_be_read_and_timed() -> None:
    trainer = make_trainer()
    with pytest.raises(EngineError, match=r"nothing is compiled yet\.\n  fix: trainer\.fit"):
        _ = trainer.compiled
    seen = []
    run = fit(
        trainer, epochs=2, validation=(X[:31], Y[:31]),
        callbacks=[lambda run: seen.append(trainer.compiled.profile(5).microseconds > 0) and None],
    )  # fmt: skip
    assert seen == [True, True]
    before = everything(trainer, run)
    compiled = trainer.compiled
    assert "product" in compiled.explain() and "define" in compiled.llvm_ir()
    profile = compiled.profile()
    assert profile.microseconds > 0 and any("product" in str(line) for line in profile.lines)
    with pytest.raises(OptionError, match=r"steps must be 1 or more\.\n  given: 0"):
        compiled.profile(0)
    assert_same(everything(trainer, run), before)
    other = make_trainer()  # the same training, with nobody looking
    assert_same(everything(other, fit(other, epochs=2, validation=(X[:31], Y[:31]))), before)
    slow = make_trainer(engine="numpy")
    fit(slow, epochs=1)
    with pytest.raises(EngineError, match=r"step by step on the numpy engine.*\n.*engine='native'"):
        _ = slow.compiled


SCHEDULES: dict[str, Any] = {
    "step": lambda o: cr.optim.lr_scheduler.StepLR(o, 2, gamma=0.5),
    "cosine": lambda o: cr.optim.lr_scheduler.CosineAnnealingLR(o, T_max=5),
    "cycle": lambda o: cr.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=30),
    "sequence": lambda o: cr.optim.lr_scheduler.SequentialLR(
        o,
        [
            cr.optim.lr_scheduler.LinearLR(o, total_iters=3),
            cr.optim.lr_scheduler.ExponentialLR(o, 0.8),
        ],
        milestones=[3],
    ),
    "called": lambda o: cr.optim.lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "plateau": lambda o: cr.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.05),
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_epochs_in_one_call_are_those_of_one_call_each(kind: str) -> None:
    found, schedules, calls = [], [], []
    for callbacks in ([], [lambda run: None]):  # a callback is told after each epoch
        trainer = make_trainer("momentum")
        trainer.scheduler = SCHEDULES[kind](trainer.optimizer)
        fit(trainer, epochs=1, callbacks=callbacks)
        loop, count = trainer.compiled.loop, []
        plain = loop.reports
        loop.reports = lambda *a, f=plain, c=count: c.append(a) or f(*a)
        run = fit(trainer, epochs=20, callbacks=callbacks)
        del loop.reports
        found.append(everything(trainer, run))
        schedules.append((trainer.scheduler.state_dict(), trainer.optimizer.param_groups[0]["lr"]))
        calls.append(len(count))
    assert_same(*found)
    assert schedules[0] == schedules[1]
    assert calls[1] == 20
    assert calls[0] == (20 if kind in ("called", "plateau") else 1)


def test_a_schedule_that_ends_says_so_when_it_is_reached() -> None:
    trainer = make_trainer("momentum")
    trainer.scheduler = cr.optim.lr_scheduler.OneCycleLR(trainer.optimizer, 0.1, total_steps=6)
    fit(trainer, epochs=1)
    with pytest.raises(OptionError, match="step 7 lies beyond the end of the cycle"):
        fit(trainer, epochs=30)
    assert trainer.run is not None and trainer.run.epochs == 6


def test_a_stop_between_foreseen_epochs_leaves_the_schedule_where_the_model_is() -> None:
    def make() -> Trainer:
        trainer = make_trainer("momentum")
        trainer.scheduler = SCHEDULES["cosine"](trainer.optimizer)
        return trainer

    plain, first, again = make(), make(), make()
    expected = everything(plain, fit(plain, epochs=20_000))
    fit(first, epochs=1)
    loop, first = first.compiled.loop, make()
    plain_reports = loop.reports

    def stopping(rows: Any, plan: Any, *others: Any) -> Any:
        if len(plan) > 10_000:
            threading.Timer(0.003, first.stop).start()
        return plain_reports(rows, plan, *others)

    loop.reports = stopping
    run = fit(first, epochs=20_000, run="a")
    del loop.reports
    assert run.status == "interrupted" and 0 < run.epochs < 20_000
    assert first.scheduler.last_epoch == run.epochs
    assert_same(everything(again, fit(again, epochs=20_000, run="a", resume=True)), expected)


def test_trainings_of_one_kind_compile_once(compilations: list[Any]) -> None:
    trainer = make_trainer()
    fit(trainer)
    assert len(compilations) == 1  # training and validation are one loop
    trainer.fit((X.astype(np.float64), Y), (X[:31] + 1, Y[:31]), epochs=2, batch_size=20)
    fit(trainer)
    fit(make_trainer(seed=9))
    trainer.optimizer.param_groups[0]["lr"] = 0.5
    fit(trainer)
    assert len(compilations) == 1
    fit(make_trainer("sgd"), validation=None)
    assert len(compilations) == 2
    for loop in compilations:
        assert loop._built.data == []  # a loop that waits holds no data


def test_a_repeated_fit_traces_nothing(compilations: list[Any]) -> None:
    plain = make_trainer()
    for _ in range(3):
        again = fit(plain, epochs=3)
        plain.optimizer.param_groups[0]["lr"] *= 0.9
        plain._known_traces = None  # traced anew each time
    trainer = make_trainer()
    for _ in range(3):
        run = fit(trainer, epochs=3)
        trainer.evaluate((X, Y))
        trainer.predict(X)
        trainer.optimizer.param_groups[0]["lr"] *= 0.9
    assert trainer._traces().traced == 1
    assert_same(everything(trainer, run), everything(plain, again))
    fit(trainer, validation=None)
    fit(trainer)
    fit(trainer, validation=None)
    assert trainer._traces().traced == 2


class Scaled(nn.Module):
    """A module of a user, with a setting that the library knows nothing of."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = 1.0
        self.inner = nn.Linear(7, 3)

    def forward(self, x: Any) -> Any:
        return self.inner(x) * self.factor


def _freeze(trainer: Trainer) -> None:
    trainer.model.inner.bias.requires_grad_(False)


def _forget(trainer: Trainer) -> None:
    trainer.optimizer.state.clear()


CHANGES: dict[str, Any] = {
    "a setting of the user's module": lambda t: setattr(t.model, "factor", 2.0),
    "a setting of our layer": lambda t: setattr(t.loss, "label_smoothing", 0.2),
    "a frozen parameter": _freeze,
    "another layer": lambda t: setattr(t.model.inner, "bias", nn.Parameter(cr.ones(3))),
    "a number of the optimizer's that turns on a term": lambda t: t.optimizer.param_groups[
        0
    ].update(weight_decay=0.1),
    "the optimizer's state": _forget,
    "a hook": lambda t: t.model.inner.register_forward_hook(lambda m, x, y: y * 0.5),
    "a variable that the penalty reads": lambda t: t.settings.update(weight=0.3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_between_fits_is_traced_anew(change: str) -> None:
    found = []
    for engine in ("numpy", "native"):
        cr.manual_seed(0)
        model = Scaled()
        optimizer = cr.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        settings = {"weight": 0.0}
        trainer = Trainer(
            model, nn.CrossEntropyLoss(), optimizer, engine=engine, seed=3,
            penalty=lambda m, s=settings: s["weight"] * (m.inner.weight**2).sum(),
        )  # fmt: skip
        trainer.settings = settings  # type: ignore[attr-defined]
        fit(trainer, epochs=2)
        before = trainer._known_traces.traced if engine == "native" else 0
        CHANGES[change](trainer)
        run = fit(trainer, epochs=3)
        found.append(everything(trainer, run))
        assert engine == "numpy" or trainer._known_traces.traced == before + 1
    for name, eager in found[0].items():
        np.testing.assert_allclose(found[1][name], eager, rtol=2e-3, atol=2e-5, err_msg=name)


def test_a_loop_taken_from_the_pool_changes_no_bits(compilations: list[Any]) -> None:
    first, other, second = make_trainer(), make_trainer(seed=9), make_trainer()
    expected = everything(first, fit(first))
    fit(other)
    assert_same(everything(second, fit(second)), expected)
    assert len(compilations) == 1


def test_trainings_inside_each_other_share_no_loop(compilations: list[Any]) -> None:
    plain = make_trainer()
    expected = everything(plain, fit(plain))
    inner_results = []

    def train_another(run: Run) -> None:
        if run.epochs == 3:
            inner = make_trainer()
            inner_results.append(everything(inner, fit(inner)))

    outer = make_trainer()
    run = fit(outer, callbacks=[train_another])
    assert_same(everything(outer, run), expected)
    assert_same(inner_results[0], expected)


def test_the_pool_is_bounded(compilations: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_native.LoopPool, "LIMIT", 2)
    for size in (20, 30, 40):
        fit(make_trainer(), epochs=1, batch_size=size, validation=None)
    assert sum(map(len, train_native.POOL._idle.values())) == 2
    fit(make_trainer(), epochs=1, batch_size=40, validation=None)
    assert len(compilations) == 3
    fit(make_trainer(), epochs=1, batch_size=20, validation=None)
    assert len(compilations) == 4


def test_the_learning_rate_acts_without_compiling() -> None:
    trainer = make_trainer("sgd")
    fit(trainer, epochs=1)
    before = trainer.model[0].weight.detach().numpy().copy()
    trainer.optimizer.param_groups[0]["lr"] = 1e-30
    fit(trainer, epochs=1)
    np.testing.assert_array_equal(trainer.model[0].weight.detach().numpy(), before)


def test_what_the_user_changes_between_fits_and_in_callbacks_is_taken_over() -> None:
    def reset(trainer: Trainer) -> None:
        with cr.no_grad():
            for parameter in trainer.model.parameters():
                parameter.data = cr.zeros_like(parameter)

    states = []
    for engine in ("numpy", "native"):
        trainer = make_trainer("momentum", engine=engine)
        fit(trainer, epochs=2)
        reset(trainer)
        run = fit(
            trainer, epochs=3, callbacks=[lambda run, t=trainer: run.epochs == 2 and reset(t)]
        )
        states.append(everything(trainer, run))
    for name, eager in states[0].items():
        np.testing.assert_allclose(states[1][name], eager, rtol=2e-4, atol=2e-5, err_msg=name)


def test_tensors_hold_what_the_loop_reached() -> None:
    trainer = make_trainer()
    weight = trainer.model[0].weight
    before = weight.detach().numpy().copy()
    fit(trainer)
    assert isinstance(weight, nn.Parameter)
    assert weight.requires_grad
    assert weight.grad is None
    assert (weight.detach().numpy() != before).any()
    kept = weight.detach().numpy().copy()
    detached = weight.detach()
    fit(trainer, epochs=1)
    np.testing.assert_array_equal(detached.numpy(), kept)  # a value read is a value kept


class Peeking(nn.Module):
    """A layer that looks at a number while it runs, which no compiled step can."""

    def forward(self, x: Any) -> Any:
        return x * 2 if x.sum().item() > 0 else x


def test_going_on_with_another_engine_is_said() -> None:
    fit(make_trainer(engine="numpy"), run="a", epochs=1)
    with pytest.warns(ResumeWarning, match="the engine was numpy and is native"):
        run = fit(make_trainer(), run="a", epochs=2, resume=True)
    assert run.epochs == 2
    assert cr.train.open_run("a").config["engine"] == "native"


def test_auto_says_why_it_takes_the_slower_engine() -> None:
    model = nn.Sequential(Peeking(), nn.Linear(7, 3))
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer)
    with pytest.warns(EngineWarning, match=r"numpy engine is used.*\.item\(\)"):
        run = trainer.fit((X, Y), epochs=1)
    assert run.config["engine"] == "numpy"
    assert "numpy engine is used" in run.notes[0]


def test_native_refuses_what_it_cannot_run() -> None:
    model = nn.Sequential(Peeking(), nn.Linear(7, 3))
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, engine="native")
    with pytest.raises((EngineError, TraceError), match=r"\.item\(\)"):
        trainer.fit((X, Y), epochs=1)
    assert trainer.run is not None
    assert trainer.run.status == "failed"
    trainer.engine = "numpy"  # a refused trace leaves the model as it was
    assert np.isfinite(trainer.fit((X, Y), epochs=1).history["loss"]).all()


def test_auto_takes_the_native_engine() -> None:
    trainer = make_trainer(engine="auto")
    assert fit(trainer, epochs=1).config["engine"] == "native"
