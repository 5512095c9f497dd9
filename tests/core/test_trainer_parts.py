"""The Trainer's parts by themselves: sums over epochs, throttled progress, Ctrl-C, signatures."""

from __future__ import annotations

import io
import signal
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import chainrule as cr
from chainrule.train.bar import Bar
from chainrule.train.compiled import signature, trace_loop
from chainrule.train.examples import Batching, Examples, read_examples
from chainrule.train.interrupts import Interrupts
from chainrule.train.layout import Layout, Reading
from chainrule.train.ledger import Ledger
from chainrule.train.progress import Silent, Throttled, describe, make_progress


@given(
    st.integers(1, 40), st.integers(1, 12), st.integers(1, 4), st.data(), st.integers(0, 2**32 - 1)
)
def test_an_epochs_mean_has_the_same_bits_however_its_steps_are_grouped(
    count: int, size: int, epochs: int, data: Any, seed: int
) -> None:
    batching = Batching(count, size)
    total = batching.steps * epochs
    numbers = np.random.default_rng(seed).normal(size=(total, 2)) * 10.0 ** np.arange(2)
    layout = Layout([])
    layout.readings = (Reading("a"), Reading("b", weighted=False))
    whole = Ledger(layout, batching)
    assert whole.add(numbers) == epochs
    parts = Ledger(layout, batching)
    cuts = sorted(data.draw(st.lists(st.integers(0, total), max_size=6)))
    done = 0
    for start, stop in zip([0, *cuts], [*cuts, total], strict=True):
        # As a resumed run does: a new ledger takes over means, step and sums.
        taken = Ledger(layout, batching)
        taken.resume({name: parts.series(name) for name in "ab"}, parts.step, parts.carry)
        parts = taken
        done += parts.add(numbers[start:stop])
    assert done == epochs == parts.epochs
    np.testing.assert_array_equal([parts.series(n) for n in "ab"], [whole.series(n) for n in "ab"])
    rows = np.tile(batching.rows_of_step(), epochs).reshape(epochs, -1)
    expected = (numbers[:, 0].reshape(epochs, -1) * rows).sum(1) / count
    np.testing.assert_allclose(whole.series("a"), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        whole.series("b"), numbers[:, 1].reshape(epochs, -1).sum(1) / count, rtol=1e-9, atol=1e-9
    )


def test_a_progress_is_drawn_ten_times_a_second_and_at_its_end() -> None:
    drawn: list[float] = []
    now = [0.0]

    class Drawer:
        def draw(self, epoch: float, step: int, numbers: Any) -> None:
            drawn.append(epoch)

        def close(self) -> None:
            drawn.append(-1)

    shown = Throttled(Drawer(), clock=lambda: now[0])
    for tick in range(1000):
        now[0] = tick / 1000
        shown.update(tick, tick, {})
    shown.close()
    assert len(drawn) <= 12
    assert drawn[0] == 0
    assert drawn[-2:] == [999, -1]


def test_progress_is_silent_where_it_is_not_wanted() -> None:
    assert isinstance(make_progress(False, 3), Silent)
    assert isinstance(make_progress(True, 3), Silent)  # pytest's standard error is no terminal


def test_numbers_are_written_for_people() -> None:
    assert "accuracy 97.25 %" in describe({"loss": 0.5, "accuracy": 0.9725})
    assert "loss 0.5" in describe({"loss": 0.5})


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_bar_fits_its_line(width: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    bar = Bar(10, console)
    bar.draw(5, 50, {"loss": 0.123, "accuracy": 0.5, "validation_loss": 0.2})
    bar.note("compiled in 0.7 s")
    bar.close()
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "5/10" in text
    assert "compiled in 0.7 s" in text


def test_a_second_ctrl_c_insists() -> None:
    asked = []
    with Interrupts(lambda: asked.append(1)) as interrupts:
        signal.raise_signal(signal.SIGINT)
        assert interrupts.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert asked == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_of_others_and_other_threads_are_left_alone() -> None:
    def own(number: int, frame: Any) -> None: ...

    before = signal.signal(signal.SIGINT, own)
    try:
        with Interrupts(lambda: None):
            assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)
    found = []

    def elsewhere() -> None:
        with Interrupts(lambda: None):
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_rows_of_a_subset_are_not_copied() -> None:
    x, y = np.zeros((10, 2), np.float32), np.arange(10)
    tensors = cr.data.TensorDataset(cr.from_numpy(x), cr.from_numpy(y))
    examples, batching = read_examples(cr.data.Subset(tensors, [7, 3, 1]), 2, False, cr.float32)
    assert np.shares_memory(examples.arrays[0], x)
    order = batching.orders(np.zeros(2, np.uint32), 0, 1, examples.rows)
    assert examples.gather(order[0])[1].tolist() == [7, 3, 1]


def test_a_batch_of_everything_is_not_shuffled() -> None:
    batching = Batching(4, 4)
    assert batching.blocks == 0
    orders = batching.orders(np.zeros(2, np.uint32), 0, 3, None)
    np.testing.assert_array_equal(orders, np.tile(np.arange(4), (3, 1)))


def test_a_signature_tells_steps_apart() -> None:
    weight = cr.tensor([1.0, 2.0], requires_grad=True)
    data = Examples((np.zeros((6, 2), np.float32),))

    def of(function: Any, sizes: tuple[int, ...] = (2,)) -> Any:
        return signature(trace_loop(function, data, sizes))

    plain = of(lambda x: [(x * weight).sum()])
    assert plain == of(lambda x: [(x * weight).sum()])
    assert hash(plain) == hash(of(lambda x: [(x * weight).sum()]))
    others = [
        of(lambda x: [(x + weight).sum()]),
        of(lambda x: [(x * weight * 2).sum()]),
        of(lambda x: [(x * weight).sum(), x.sum()]),
        of(lambda x: [(x * weight).sum()], (3,)),
        of(lambda x: [(x * weight).sum()], (2, 1)),
        of(lambda x: [(x * weight * cr.tensor([1.0, 3.0])).sum()]),
    ]
    assert len({plain, *others}) == 1 + len(others)


def test_what_a_step_only_writes_or_only_reads_has_its_place_in_the_state() -> None:
    read, written, both = (cr.tensor(float(k)) for k in range(3))

    def step(x: Any) -> Any:
        written.data = x.sum()
        both.add_(read)
        return [x.sum() * 1.0]

    loop = trace_loop(step, Examples((np.ones((4, 2), np.float32),)), (2,))
    written_of = {id(h): w for h, w in zip(loop.handles, loop.written, strict=True)}
    assert written_of == {id(read): False, id(both): True, id(written): True}
    loop.steps[0].graph.verify()
    for (source, output), changed in zip(loop.steps[0].state, loop.written, strict=True):
        assert (output >= 0) is changed
        assert source >= 1
    assert (read.item(), written.item(), both.item()) == (0.0, 1.0, 2.0)  # a trace changes nothing
