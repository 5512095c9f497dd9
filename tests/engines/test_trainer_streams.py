"""Data that is fetched while the compiled loop runs, and stops from anywhere, within a second."""

from __future__ import annotations

import os
import signal
import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import DataError, OptionError
from chainrule.train import ResumeWarning, Run, Trainer, feed, session

RNG = np.random.default_rng(2)
X = RNG.normal(size=(103, 7)).astype(np.float32)
Y = (X[:, :3].argmax(1)).astype(np.int64)
WITHIN = 1.0  # seconds


def make_trainer(**options: Any) -> Trainer:
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = cr.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return Trainer(
        model, nn.CrossEntropyLoss(), optimizer, **({"engine": "native", "seed": 3} | options)
    )


class Rows(cr.data.Dataset):
    """Examples that exist only when they are asked for."""

    def __init__(self, count: int = 103) -> None:
        self.count = count
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        self.threads.add(threading.current_thread().name)
        self.at(index)
        return X[index % 103], int(Y[index % 103])

    def at(self, index: int) -> None:
        """What happens when an example is asked for."""


class Failing(Rows):
    def at(self, index: int) -> None:
        if index == 77:
            raise RuntimeError("the disk is gone")


class Slow(Rows):
    asked = 0

    def at(self, index: int) -> None:
        self.asked += 1
        time.sleep(0.004)


class Hanging(Rows):
    """From the second epoch on an example does not come."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.released = 0, threading.Event()

    def at(self, index: int) -> None:
        self.asked += 1
        if self.asked > 150:
            self.released.wait(30)


def interrupted(fit: Any, now: Any) -> float:
    """Press Ctrl-C as soon as `now()` while a fit runs; the seconds until it has ended."""
    pressed: list[float] = []
    over = threading.Event()

    def press() -> None:
        while not now():
            if over.wait(0.002):
                return
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=press)
    watcher.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            fit()
    finally:
        over.set()
        watcher.join()
    return time.perf_counter() - pressed[0]


def test_examples_are_fetched_by_a_thread_of_their_own() -> None:
    data, trainer, plain = Rows(), make_trainer(), make_trainer()
    run = trainer.fit(data, Rows(31), epochs=3, batch_size=20)
    expected = plain.fit((X, Y), (X[:31], Y[:31]), epochs=3, batch_size=20)
    for name, series in expected.history.items():
        np.testing.assert_array_equal(run.history[name], series)
    # The first example shows the shapes, before anything runs.
    assert data.threads == {"MainThread", "chainrule-prefetch"}
    names = [thread.name for thread in threading.enumerate()]
    deadline = time.perf_counter() + 2
    while "chainrule-prefetch" in names and time.perf_counter() < deadline:
        names = [thread.name for thread in threading.enumerate()]
    assert "chainrule-prefetch" not in names


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_an_error_of_the_data_set_comes_out_as_itself(engine: str) -> None:
    trainer = make_trainer(engine=engine)
    with pytest.raises(RuntimeError, match="the disk is gone") as caught:
        trainer.fit(Failing(), epochs=3, batch_size=20)
    assert "while fetching example 77 of a Failing" in caught.value.__notes__
    assert trainer.run is not None and trainer.run.status == "failed"
    assert np.isfinite(trainer.model[0].weight.detach().numpy()).all()
    assert trainer.fit(Rows(), epochs=1, batch_size=20).status == "finished"


def test_a_stream_takes_the_same_memory_however_long_it_is(monkeypatch: Any) -> None:
    monkeypatch.setattr(feed, "BUFFER_BYTES", 2 << 20)

    class Wide(cr.data.Dataset):
        def __init__(self, count: int) -> None:
            self.count = count

        def __len__(self) -> int:
            return self.count

        def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
            return np.full(5000, index % 7, np.float32), index % 3

    def peak(count: int) -> int:
        cr.manual_seed(0)
        model = nn.Linear(5000, 3)
        optimizer = cr.optim.SGD(model.parameters(), lr=1e-5)
        trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, engine="native")
        trainer.fit(Wide(40), epochs=1, batch_size=20)
        tracemalloc.start()
        trainer.fit(Wide(count), epochs=1, batch_size=20)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    short, long = peak(300), peak(1800)  # 6 and 36 MB
    assert long < short + (2 << 20)
    assert long < 12 << 20


@pytest.mark.parametrize("kind", [Slow, Hanging])
def test_ctrl_c_in_a_stream_ends_the_fit_within_a_second(kind: Any) -> None:
    data, trainer = kind(), make_trainer()
    spent = interrupted(
        lambda: trainer.fit(data, epochs=10, batch_size=20), lambda: data.asked > 150
    )
    if kind is Hanging:
        data.released.set()
    assert spent < WITHIN
    assert trainer.run is not None and trainer.run.status == "interrupted"
    again = make_trainer()
    run = again.fit((X, Y), epochs=10, batch_size=20)  # the same bits up to there
    moment = run.at(trainer.run.steps)
    np.testing.assert_array_equal(
        moment.model[0].weight.detach().numpy(), trainer.model[0].weight.detach().numpy()
    )


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_ctrl_c_in_a_long_validation_ends_within_a_second(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CHUNK_SECONDS", 0.02)
    order = np.arange(20_000) % 103
    held = X[order], Y[order]

    def make() -> Trainer:
        cr.manual_seed(0)
        model = nn.Sequential(nn.Linear(7, 512), nn.ReLU(), nn.Linear(512, 512), nn.Linear(512, 3))
        optimizer = cr.optim.SGD(model.parameters(), lr=0.05)
        return Trainer(model, nn.CrossEntropyLoss(), optimizer, engine=engine, seed=3)

    def fit(trainer: Trainer, **options: Any) -> Run:
        return trainer.fit((X, Y), held, epochs=2, batch_size=20, **options)

    def in_the_second_validation() -> bool:
        now = trainer._session
        return now is not None and now.ledger.epochs == 1 and now.ledger.step == 6

    plain, trainer, again = make(), make(), make()
    expected = fit(plain)
    assert interrupted(lambda: fit(trainer, run="a"), in_the_second_validation) < WITHIN
    assert trainer.run is not None and trainer.run.status == "interrupted"
    # The training of the second epoch is done, and its validation is not: it is not finished.
    assert (trainer.run.epochs, trainer.run.steps) == (1, 12)
    assert len(trainer.run.history["validation_loss"]) == 1
    run = fit(again, run="a", resume=True)
    assert run.status == "finished"
    for name, series in expected.history.items():
        np.testing.assert_array_equal(run.history[name], series)
    for name, tensor in plain.model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), again.model.state_dict()[name].numpy())


def test_a_fit_in_another_thread_is_stopped_from_this_one() -> None:
    trainer = make_trainer()
    trainer.fit(Slow(), epochs=1, batch_size=60)
    found: list[Run] = []
    worker = threading.Thread(
        target=lambda: found.append(trainer.fit(Slow(), epochs=50, batch_size=20))
    )
    worker.start()
    time.sleep(0.5)
    begun = time.perf_counter()
    trainer.stop()
    worker.join(10)
    assert time.perf_counter() - begun < WITHIN
    assert found[0].status == "interrupted" and 0 < found[0].steps < 300


def test_a_stream_broken_off_inside_an_epoch_goes_on_to_the_same_bits() -> None:
    plain, first, again = make_trainer(), make_trainer(), make_trainer()
    expected = plain.fit((X, Y), epochs=4, batch_size=20)

    class Stopping(Rows):
        asked = 0

        def at(self, index: int) -> None:
            self.asked += 1
            if self.asked == 260:
                first.stop()

    first.fit(Stopping(), epochs=4, batch_size=20, run="a")
    with pytest.warns(ResumeWarning):
        run = again.fit(Stopping(), epochs=4, batch_size=20, run="a", resume=True)
    np.testing.assert_array_equal(run.history["loss"], expected.history["loss"])


class Counted(cr.data.IterableDataset):
    """Examples that come in order only."""

    def __init__(self, count: int = 103, given: int | None = None) -> None:
        self.count, self.given = count, count if given is None else given

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Any:
        return ((X[k], int(Y[k])) for k in range(self.given))


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_a_stream_without_numbers_trains_as_its_rows_do(engine: str) -> None:
    plain = make_trainer(engine=engine)
    rows = {"epochs": 4, "batch_size": 20, "shuffle": False}
    expected = plain.fit((X, Y), (X[:31], Y[:31]), **rows).history
    loader = cr.data.DataLoader(Counted(), batch_size=20)
    for train in (Counted(), loader):
        trainer = make_trainer(engine=engine)
        batch_size = None if train is loader else 20
        run = trainer.fit(train, Counted(31), epochs=4, batch_size=batch_size)
        for name, series in expected.items():
            np.testing.assert_array_equal(run.history[name], series)
        assert trainer.evaluate(Counted(31)).keys() == {"loss", "accuracy"}
    moment = run.at(8)
    assert moment.indices.tolist() == list(range(40, 60))
    np.testing.assert_array_equal(moment.batch[0], X[40:60])


def test_a_stream_without_numbers_goes_on_where_it_was_broken_off() -> None:
    plain, first, again = make_trainer(), make_trainer(), make_trainer()
    expected = plain.fit((X, Y), epochs=4, batch_size=20, shuffle=False).history

    class Stopping(Counted):
        walks = 0

        def __iter__(self) -> Any:
            self.walks += 1
            if self.walks == 4:  # the first one only shows an example
                first.stop()
            return super().__iter__()

    part = first.fit(Stopping(), epochs=4, batch_size=20, run="a")
    assert part.status == "interrupted" and 0 < part.steps < 24
    with pytest.warns(ResumeWarning):
        run = again.fit(Stopping(), epochs=4, batch_size=20, run="a", resume=True)
    np.testing.assert_array_equal(run.history["loss"], expected["loss"])


def test_streams_that_cannot_be_trained_on_are_refused() -> None:
    class Endless(cr.data.IterableDataset):
        def __iter__(self) -> Any:
            while True:
                yield X[0], 0

    class Single(Counted):
        def __iter__(self) -> Any:
            return iter(X)

    trainer = make_trainer()
    with pytest.raises(TypeError, match="Endless has no __len__"):
        trainer.fit(Endless())
    with pytest.raises(OptionError, match=r"its examples come in its own order.*\n.*shuffle=True"):
        trainer.fit(Counted(), shuffle=True)
    with pytest.raises(DataError, match="ended after 90 examples; its length is 103"):
        trainer.fit(Counted(given=90), batch_size=20)
    with pytest.raises(DataError, match="must be inputs and a target"):
        trainer.fit(Single(), batch_size=20)
    with pytest.raises(DataError, match="the data set is empty"):
        trainer.fit(Counted(0))
