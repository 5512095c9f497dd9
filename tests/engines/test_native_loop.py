"""Whole training loops on the native engine against eager steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from native_graphs import Trained

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines import Step, native
from chainrule.errors import DTypeError, EngineError, ShapeError
from chainrule.graph.graph import Graph
from chainrule.graph.node import INPUT, Node, make_aval
from chainrule.ops.elementwise import ADD, MUL
from chainrule.ops.product import MATMUL
from chainrule.ops.reduction import SUM

ROWS, INPUTS, CLASSES = 230, 19, 5
PLAN = np.array([0, 0, 1, 0, 0, 1, 0], np.int32)
BATCH = (100, 30)

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
}


def network(dropout: float = 0.0) -> Any:
    layers = [nn.Linear(INPUTS, 37), nn.ReLU()]
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(37, 12), nn.Tanh(), nn.Linear(12, CLASSES))


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return (
        rng.standard_normal((ROWS, INPUTS)).astype(np.float32),
        rng.integers(0, CLASSES, ROWS),
    )


def trained(kind: str = "sgd", dropout: float = 0.0) -> Trained:
    cr.manual_seed(1)
    model = network(dropout)
    return Trained(model, OPTIMIZERS[kind](model.parameters()), nn.CrossEntropyLoss())


def order() -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(5)
    return np.concatenate([rng.permutation(ROWS)[: BATCH[k]] for k in PLAN]).astype(np.int32)


def compiled(work: Trained, arrays: Any, threads: int | None = None) -> tuple[Any, Any]:
    """The loop over both batch sizes, its state set, and what it was traced from."""
    traces = [work.trace(*(array[:rows] for array in arrays)) for rows in BATCH]
    loop = native.compile_loop([step for _, step in traces], arrays, threads=threads)
    for number, handle in enumerate(traces[0][0].captured):
        loop.write(number, handle.node.value())
    return loop, traces[0][0]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_loop_equals_eager_steps(kind: str, dropout: float) -> None:
    work, arrays = trained(kind, dropout), data()
    loop, made = compiled(work, arrays)
    numbers = [getter() for getter in made.getters]
    reported = loop.run(order(), PLAN, numbers)[:, 0]
    rows, expected = order(), []
    for variant in PLAN:
        now, rows = rows[: BATCH[variant]], rows[BATCH[variant] :]
        expected.append(work.eager(arrays[0][now], arrays[1][now]))
    np.testing.assert_allclose(reported, expected, rtol=2e-5)
    for number, handle in enumerate(made.captured):
        value = handle.node.value()
        # Adam divides by the gradient's size: where that is nearly 0, rounding is made large.
        near = np.isclose(loop.read(number), value, rtol=2e-4, atol=2e-5)
        assert near.mean() > (0.995 if kind == "adam" else 0.999999), made.captured[number]
        np.testing.assert_allclose(loop.read(number), value, atol=2e-3)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_threads_give_the_same_bits(kind: str) -> None:
    found = []
    for threads in (1, 2, 3):
        loop, made = compiled(trained(kind, 0.2), data(), threads)
        report = loop.run(order(), PLAN, [getter() for getter in made.getters])
        state = [loop.read(k).tobytes() for k in range(len(made.captured))]
        found.append((report.tobytes(), state))
    assert found[0] == found[1] == found[2]


def test_runs_continue_where_they_stopped() -> None:
    whole, made = compiled(trained("adam"), data())
    numbers = [getter() for getter in made.getters]
    together = whole.run(order(), PLAN, numbers)
    parts, _ = compiled(trained("adam"), data())
    first = sum(BATCH[k] for k in PLAN[:3])
    one = parts.run(order()[:first], PLAN[:3], numbers)
    two = parts.run(order()[first:], PLAN[3:], numbers)
    assert np.concatenate([one, two]).tobytes() == together.tobytes()


@pytest.mark.parametrize("dtype", [np.float64, np.uint8, np.int32])
def test_data_of_another_dtype_is_converted_as_it_is_gathered(dtype: Any) -> None:
    x, y = data()
    x = (np.abs(x) * 3).astype(dtype)
    plain = x.astype(np.float32)
    reports = []
    for given, labels in ((x, y.astype(np.int32)), (plain, y)):
        work = trained()
        steps = [work.trace(plain[:rows], y[:rows])[1] for rows in BATCH]
        loop = native.compile_loop(steps, [given, labels])
        for number, handle in enumerate(work.trace(plain[:4], y[:4])[0].captured):
            loop.write(number, handle.node.value())
        reports.append(loop.run(order(), PLAN, [0.1]))
    assert reports[0].tobytes() == reports[1].tobytes()


def test_evaluation_steps_share_the_state_and_leave_it() -> None:
    work, arrays = trained(), data()
    made, step = work.trace(arrays[0][:100], arrays[1][:100])

    def evaluate(x: Any, y: Any) -> Any:
        return work.loss(work.model(x), y)

    tensors = [cr.tensor(array[:100]) for array in arrays]
    seen = cr.trace(evaluate, *tensors)
    assert [id(h) for h in seen.captured] == [id(h) for h in made.captured]
    state = tuple((seen.arguments + k, -1) for k in range(len(seen.captured)))
    watch = Step(seen.graph, state, (0, 1), (), (0,))
    loop = native.compile_loop([step, watch], arrays)
    for number, handle in enumerate(made.captured):
        loop.write(number, handle.node.value())
    rows = np.arange(100, dtype=np.int32)
    report = loop.run(np.tile(rows, 4), [1, 0, 1, 1], [0.1])[:, 0]
    assert report[0] == report[1] > report[2] == report[3]


def _exchange() -> Step:
    """a, b -> b, a + b x: each state is read after the other was written."""
    aval = make_aval((4, 4), cr.float32)
    a, b, x = (Node(INPUT, (), {}, aval, name=name) for name in "abx")
    product = Node(MATMUL, (b, x), {"ta": False, "tb": False}, aval)
    total = Node(ADD, (a, product), {}, aval)
    sums = Node(MUL, (a, b), {}, aval)
    report = Node(SUM, (sums,), {"axes": (0, 1), "keepdims": False}, make_aval((), cr.float32))
    graph = Graph((a, b, x), (b, total, report))
    return Step(graph, ((0, 0), (1, 1)), (2,), (), (2,))


def test_states_that_are_read_after_they_would_be_overwritten() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 4)).astype(np.float32) * 0.3
    loop = native.compile_loop([_exchange()], [x], threads=2)
    a, b = (rng.standard_normal((4, 4)).astype(np.float32) for _ in range(2))
    loop.write(0, a)
    loop.write(1, b)
    report = loop.run(np.tile(np.arange(4, dtype=np.int32), 5), np.zeros(5, np.int32))
    for step in range(5):
        np.testing.assert_allclose(report[step, 0], (a * b).sum(), rtol=1e-4, atol=1e-5)
        a, b = b, a + b @ x
    np.testing.assert_allclose(loop.read(0), a, rtol=1e-4)
    np.testing.assert_allclose(loop.read(1), b, rtol=1e-4)


def test_a_loop_stops_after_the_step_it_is_at() -> None:
    loop, made = compiled(trained(), data(), 2)
    steps = 2_000_000
    rows = np.zeros(100 * steps // 50, np.int32)
    finished: list[Any] = []
    plan = np.ones(len(rows) // 30, np.int32)
    worker = threading.Thread(target=lambda: finished.append(loop.run(rows, plan, [0.1])))
    worker.start()
    time.sleep(0.1)
    loop.stop()
    worker.join(20)
    assert not worker.is_alive()
    assert 0 < len(finished[0]) < len(plan)
    assert np.isfinite(finished[0]).all() and (finished[0] != 0).all()
    assert len(made.captured) == 6
    # The next run is not stopped by the word of this one.
    assert len(loop.run(order(), PLAN, [0.1])) == len(PLAN)


def test_wrong_plans_and_states_are_refused() -> None:
    loop, _ = compiled(trained(), data())
    with pytest.raises(ShapeError, match="plan names a step"):
        loop.run(order(), [2], [0.1])
    with pytest.raises(ShapeError, match="takes 100 indices but 3"):
        loop.run(np.zeros(3, np.int32), [0], [0.1])
    with pytest.raises(ShapeError, match="1 run-time numbers but 0"):
        loop.run(order(), PLAN)
    with pytest.raises(ShapeError, match="state 0"):
        loop.write(0, np.zeros(3))


def test_wrong_data_is_refused() -> None:
    work, (x, y) = trained(), data()
    _, step = work.trace(x[:10], y[:10])
    with pytest.raises(ShapeError, match="rows of shape"):
        native.compile_loop([step], [x[:, :5], y])
    with pytest.raises(DTypeError, match="astype"):
        native.compile_loop([step], [x.astype(np.float16), y])
    with pytest.raises(EngineError, match="at least one step"):
        native.compile_loop([], [x, y])
    with pytest.raises(EngineError, match="2 batch inputs"):
        native.compile_loop([step], [x])


def test_indices_out_of_range_are_refused() -> None:
    loop, _ = compiled(trained(), data())
    rows = order()
    rows[7] = ROWS
    with pytest.raises(ShapeError, match=f"index {ROWS}"):
        loop.run(rows, PLAN, [0.1])


def test_explain_tells_fusions_memory_and_time() -> None:
    loop, _ = compiled(trained("adam"), data(), 2)
    text = loop.explain()
    assert "step 0: 100 rows" in text and "step 1: 30 rows" in text
    assert "-- barrier --" in text and "without reuse" in text and "compiled in" in text
    assert loop.compile_seconds > 0 and "define void @run" in loop.llvm_ir()


@pytest.mark.parametrize("threads", [1, 2])
def test_profile_tells_the_time_of_each_task_and_leaves_the_state(threads: int) -> None:
    loop, made = compiled(trained("adam"), data(), threads)
    numbers = [getter() for getter in made.getters]
    before = [loop.read(k).tobytes() for k in range(len(made.captured))]
    found = loop.profile(order(), PLAN, numbers)
    assert before == [loop.read(k).tobytes() for k in range(len(made.captured))]
    assert found.microseconds > 0 and abs(sum(line.share for line in found.lines) - 1) < 1e-6
    labels = " ".join(line.label for line in found.lines)
    assert "product 37x19 over 100" in labels and "gather 30 rows of 19" in labels
    assert ("waiting for other threads" in labels) == (threads == 2)
    assert "us a step" in str(found)


def test_the_update_is_the_epilogue_of_the_weight_gradient() -> None:
    """No gradient of a weight lies in memory."""
    work, arrays = trained("adam"), data()
    loop, _ = compiled(work, arrays)
    written = [
        argument.buffer.shape
        for task in loop._built.planned[0].tasks
        for argument in task.arguments
        if argument.writes and not argument.buffer.kept
    ]
    assert (37, INPUTS) not in written and (12, 37) not in written and (37,) not in written


def test_each_step_reads_its_row_of_the_run_time_numbers() -> None:
    table = np.array([[0.1], [0.0], [0.3]])
    turns = np.array([0, 0, 2, 1, 2, 2, 0], np.int32)
    reports, states = [], []
    for threads in (1, 2):
        loop, made = compiled(trained(), data(), threads)
        reports.append(loop.run(order(), PLAN, table, turns))
        states.append([loop.read(k).tobytes() for k in range(len(made.captured))])
    loop, made = compiled(trained(), data())
    rows, alone = order(), []
    for variant, turn in zip(PLAN, turns, strict=True):
        alone.append(loop.run(rows, [variant], table[turn]))
        rows = rows[BATCH[variant] :]
    states.append([loop.read(k).tobytes() for k in range(len(made.captured))])
    reports.append(np.concatenate(alone))
    assert reports[0].tobytes() == reports[1].tobytes() == reports[2].tobytes()
    assert states[0] == states[1] == states[2]
    with pytest.raises(ShapeError, match="turns must name one of 3 rows"):
        loop.run(order(), PLAN, table, turns + 1)


def test_a_step_that_looks_takes_its_rows_from_other_data_and_none_from_the_plan() -> None:
    work, (x, y) = trained(), data()
    _, step = work.trace(x[:100], y[:100])

    def look(x: Any, y: Any) -> Any:
        return work.loss(work.model(x), y), x.sum()

    seen = cr.trace(look, cr.tensor(x[:100]), cr.tensor(y[:100]))
    state = tuple((seen.arguments + k, -1) for k in range(len(seen.captured)))
    peek = Step(seen.graph, state, (0, 1), (), (0, 1), peeks=True)
    other = Step(seen.graph, state, (0, 1), (), (0, 1), data=2)
    shorter = x[:120] + 1, y[:120]
    loop = native.compile_loop([step, peek, other], [x, y, *shorter])
    for k, handle in enumerate(seen.captured):
        loop.write(k, handle.node.value())
    rows = np.concatenate([np.arange(50, 150), np.arange(100), np.arange(20, 120)])
    done, (losses, peeked, others) = loop.reports(rows, [1, 0, 2, 0], [0.1])
    assert done == 4 and losses.shape == (2, 1) and peeked.shape == others.shape == (1, 2)
    assert peeked[0, 0] == losses[0, 0]
    np.testing.assert_allclose(peeked[0, 1], x[50:150].sum(), rtol=1e-4)
    np.testing.assert_allclose(others[0, 1], shorter[0][:100].sum(), rtol=1e-4)
    assert losses[1, 0] != losses[0, 0]
    with pytest.raises(EngineError, match="different numbers of sums"):
        loop.run(rows, [0], [0.1])
    with pytest.raises(ShapeError, match="index 120 is outside of data with 120 rows"):
        loop.reports(np.arange(50, 150), [2], [0.1])
    with pytest.raises(ShapeError, match="takes 100 indices but 99"):
        loop.reports(rows[:99], [1], [0.1])
