"""``watch=``: the statistics are those of the values, and watching changes no bits."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import OptionError
from chainrule.train import Run, Trainer, Watch, open_run, session, trash

RNG = np.random.default_rng(2)
X = RNG.normal(size=(103, 7)).astype(np.float32)
Y = (X[:, :3].argmax(1)).astype(np.int64)
ENGINES = ("native", "numpy")


def make_trainer(engine: str = "native", rule: str = "adam", **options: Any) -> Trainer:
    cr.manual_seed(0)
    body = nn.Sequential(nn.Linear(7, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3))
    model = nn.Sequential(body, nn.Linear(16, 3))
    made: Any = (
        cr.optim.Adam(model.parameters(), lr=0.01)
        if rule == "adam"
        else cr.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    )
    settings = {"engine": engine, "seed": 3, "clip": 0.5} | options
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


def assert_same_looks(a: Run, b: Run) -> None:
    np.testing.assert_array_equal(a.watched.steps, b.watched.steps)
    assert list(a.watched) == list(b.watched)
    for name, statistics in a.watched.items():
        for statistic, numbers in statistics.items():
            np.testing.assert_array_equal(b.watched[name][statistic], numbers, err_msg=name)


@pytest.mark.parametrize("rule", ["adam", "sgd"])
@pytest.mark.parametrize("engine", ENGINES)
def test_watching_changes_no_bits(engine: str, rule: str) -> None:
    plain = make_trainer(engine, rule)
    expected = everything(plain, fit(plain))
    for watch in (True, Watch(every=1), Watch(["*.weight"], every=7)):
        watched = make_trainer(engine, rule, watch=watch)
        run = fit(watched)
        assert_same(everything(watched, run), expected)
        assert len(run.watched.steps) > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_the_statistics_are_those_of_the_values(engine: str) -> None:
    trainer = make_trainer(engine, watch=Watch(every=7))
    run = fit(trainer)
    # 6 steps an epoch, the last one small: step 35 is one such, and 36 is looked at for it.
    assert run.watched.steps.tolist() == [0, 7, 14, 21, 28, 36, 42, 49]
    for place, step in ((1, 7), (5, 36)):
        moment = run.at(step)
        outputs: dict[str, Any] = {}
        for name, module in moment.model.named_modules():
            module.register_forward_hook(
                lambda m, x, y, name=name, to=outputs: to.update({name: y.detach().numpy().copy()})
            )
        before = {n: p.detach().numpy().copy() for n, p in moment.model.named_parameters()}
        x = cr.tensor(moment.batch[0])
        moment.model(x)
        for name in ("0.0", "0.1", "0.2"):  # before the dropout, whose mask is another one
            value, seen = outputs[name].astype(np.float64), run.watched[name]
            assert seen["mean"][place] == pytest.approx(value.mean(), abs=1e-5)
            assert seen["std"][place] == pytest.approx(value.std(), rel=1e-4)
            assert seen["zeros"][place] == pytest.approx((value == 0).mean(), abs=1e-6)
        assert 0.3 < run.watched["0.2"]["zeros"][place] < 0.7
        for name, value in before.items():
            seen = run.watched[name]
            assert seen["mean"][place] == pytest.approx(value.mean(), abs=1e-6)
            assert seen["std"][place] == pytest.approx(value.std(), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_and_updates_of_a_network_without_randomness(engine: str) -> None:
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = cr.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    trainer = Trainer(
        model, nn.CrossEntropyLoss(), optimizer, engine=engine, seed=3, clip=0.1,
        penalty=lambda m: 0.01 * (m[0].weight ** 2).sum(), watch=Watch(["*"], every=5),
    )  # fmt: skip
    run = fit(trainer)
    moment = run.at(10)
    model, x, y = moment.model, *(cr.tensor(part) for part in moment.batch)
    loss = nn.CrossEntropyLoss()(model(x), y) + 0.01 * (model[0].weight ** 2).sum()
    loss.backward()
    before = {n: p.detach().numpy().copy() for n, p in model.named_parameters()}
    norms = {n: np.linalg.norm(p.grad.numpy()) for n, p in model.named_parameters()}
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    moment.optimizer.step()
    for name, parameter in model.named_parameters():
        seen = run.watched[name]
        assert seen["gradient_norm"][2] == pytest.approx(norms[name], rel=1e-4)
        change = np.linalg.norm(parameter.detach().numpy() - before[name])
        ratio = change / np.linalg.norm(before[name])
        assert seen["update_ratio"][2] == pytest.approx(ratio, rel=1e-3)


def test_engines_see_the_same() -> None:
    runs = [fit(make_trainer(engine, "sgd", watch=Watch(every=4))) for engine in ENGINES]
    np.testing.assert_array_equal(runs[0].watched.steps, runs[1].watched.steps)
    assert list(runs[0].watched) == list(runs[1].watched)
    for name, statistics in runs[0].watched.items():
        for statistic, numbers in statistics.items():
            other = runs[1].watched[name][statistic]
            np.testing.assert_allclose(other, numbers, rtol=5e-3, atol=5e-4, err_msg=name)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_watched_is_stored_and_goes_on_after_a_stop(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST_STEPS", 5)
    whole = fit(make_trainer(engine, watch=Watch(every=4)), run="whole")
    assert_same_looks(open_run("whole"), whole)
    first = make_trainer(engine, watch=Watch(every=4))

    def stop() -> None:
        while first._session is None or first._session.steps < 20:
            pass
        first.stop()

    worker = threading.Thread(target=stop)
    worker.start()
    part = fit(first, run="a", epochs=60)
    worker.join()
    assert part.status == "interrupted"
    assert_same_looks(open_run("a"), part)
    assert part.watched.steps[-1] < part.steps <= part.watched.steps[-1] + 5
    run = fit(make_trainer(engine, watch=Watch(every=4)), run="a", epochs=60, resume=True)
    longer = fit(make_trainer(engine, watch=Watch(every=4)), epochs=60)
    assert_same_looks(run, longer)
    assert_same_looks(open_run("a"), longer)
    trash.delete_run("whole")
    trash.restore_run("whole")
    assert_same_looks(open_run("whole"), whole)
    assert_same_looks(longer.save("saved"), longer)


def test_a_store_that_knew_no_watching_is_opened(tmp_path: Path) -> None:
    plain = fit(make_trainer(), run="old", epochs=1)
    assert plain.folder is not None
    with sqlite3.connect(plain.folder / "runs.sqlite3") as connection:
        connection.execute("DROP TABLE watch")
    assert len(open_run("old").watched) == 0
    run = fit(make_trainer(watch=True), run="new", epochs=1)
    assert_same_looks(open_run("new"), run)


def test_names_patterns_and_what_is_not_there() -> None:
    trainer = make_trainer(watch=["0", "1.*"])
    run = fit(trainer)
    assert list(run.watched) == ["0", "1.weight", "1.bias"]
    assert run.watched.steps.tolist() == [0]
    with pytest.raises(KeyError, match=r"'0\.0' was not watched; there are: 0, 1"):
        run.watched["0.0"]
    for engine in ENGINES:
        with pytest.raises(OptionError, match=r"watch names 'hidden'.*\n.*0\.0, 0\.1, 0\.2"):
            fit(make_trainer(engine, watch=["hidden"]))
    for given in ("weight", [], [3], 5.0):
        with pytest.raises(OptionError, match="watch takes True, or names or patterns"):
            make_trainer(watch=given)
    with pytest.raises(OptionError, match="every must be a whole number of 1 or more"):
        Watch(every=0)
    assert make_trainer(watch=False).watch is None


def test_a_stream_is_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rows(cr.data.Dataset):
        def __len__(self) -> int:
            return 103

        def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
            return X[index], int(Y[index])

    watch = Watch(every=3)
    streamed = make_trainer(watch=watch).fit(Rows(), epochs=5, batch_size=20)
    assert_same_looks(streamed, fit(make_trainer(watch=watch), epochs=5, validation=None))
