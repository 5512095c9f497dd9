"""Compiled code beside other things: Ctrl-C, threads, forked children, other processes."""

from __future__ import annotations

import _thread
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_graphs import Trained

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines import native

ROWS, BATCH = 40, 8
DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((ROWS, 30)).astype(np.float32)
Y = DRAW.integers(0, 4, ROWS)


def compiled(threads: int, width: int = 40) -> tuple[Any, list[float], int]:
    """A loop, its run-time numbers, and how many arrays of state it has."""
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, width), nn.Tanh(), nn.Linear(width, 4))
    made = Trained(model, optim.SGD(model.parameters(), 0.01), nn.functional.cross_entropy)
    traced, step = made.trace(X[:BATCH], Y[:BATCH])
    loop = native.compile_loop([step], [X, Y], threads=threads)
    for number, handle in enumerate(traced.captured):
        loop.write(number, handle.node.value())
    return loop, [float(getter()) for getter in traced.getters], len(traced.captured)


def plan(steps: int) -> tuple[Any, Any]:
    rows = np.resize(np.arange(ROWS, dtype=np.int32), steps * BATCH)
    return rows, np.zeros(steps, np.int32)


def state(loop: Any, count: int) -> list[Any]:
    return [loop.read(number) for number in range(count)]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_ends_a_long_plan_within_a_second(threads: int) -> None:
    loop, numbers, count = compiled(threads, width=400)
    rows, steps = plan(1_000_000)
    loop.run(rows, steps[:50], numbers)
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        loop.run(rows, steps, numbers)
    assert time.perf_counter() - started < 1.3
    # The state is one that whole steps left: the loop goes on from it, to a lower loss.
    assert all(np.isfinite(each).all() for each in state(loop, count))
    report = loop.run(rows, steps[:100], numbers)
    assert len(report) == 100 and report[-5:].mean() < np.log(4)


def test_stop_from_another_thread_ends_a_plan_on_one_thread() -> None:
    loop, numbers, _ = compiled(1, width=400)
    rows, steps = plan(1_000_000)
    threading.Timer(0.2, loop.stop).start()
    started = time.perf_counter()
    report = loop.run(rows, steps, numbers)
    assert time.perf_counter() - started < 1.2
    assert 0 < len(report) < len(steps)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_share_a_loop(threads: int) -> None:
    """Each call is a whole one: two of them, from two threads, are those of one thread."""
    shared, numbers, count = compiled(threads)
    alone, _, _ = compiled(threads)
    rows, steps = plan(25)
    workers = [threading.Thread(target=shared.run, args=(rows, steps, numbers)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for _ in workers:
        alone.run(rows, steps, numbers)
    for one, other in zip(state(shared, count), state(alone, count), strict=True):
        np.testing.assert_array_equal(one, other)


def test_threads_compile_and_run_at_once() -> None:
    wrong: list[Any] = []
    shared = cr.compile(lambda x: (x @ x.T).exp().sum(1), engine="native")

    def work(number: int) -> None:
        draw = np.random.default_rng(number)
        own = cr.compile(lambda x: (x * number).tanh().sum(0), engine="native")
        for _ in range(15):
            x = draw.standard_normal((150, 20 + number)).astype(np.float32) * 0.1
            found = own(cr.tensor(x)).numpy(), shared(cr.tensor(x)).numpy()
            expected = np.tanh(x * number).sum(0), np.exp(x @ x.T).sum(1)
            for one, other in zip(found, expected, strict=True):
                if not np.allclose(one, other, rtol=1e-4, atol=1e-4):
                    wrong.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not any(worker.is_alive() for worker in workers)
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_goes_on_with_a_loop_and_compiles_new_ones(threads: int) -> None:
    loop, numbers, count = compiled(threads)
    rows, steps = plan(20)
    loop.run(rows, steps, numbers)  # the team has threads now
    child = os.fork()
    if not child:
        good = False
        try:
            loop.run(rows, steps, numbers)
            fresh, _, _ = compiled(threads)
            fresh.run(*plan(40), numbers)
            same = zip(state(loop, count), state(fresh, count), strict=True)
            good = all(np.array_equal(one, other) for one, other in same)
        finally:
            os._exit(0 if good else 1)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.02)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0
    loop.run(rows, steps, numbers)  # and the parent goes on


_SCRIPT = """
import sys
import numpy as np
import chainrule as cr
from chainrule import nn, optim
cr.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 5))
optimizer = optim.Adam(model.parameters(), 0.01)
def step(x, y):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss
run = cr.compile(step, engine="native")
draw = np.random.default_rng(0)
x = cr.tensor(draw.standard_normal((200, 64)).astype("f4"))
y = cr.tensor(draw.integers(0, 5, 200))
for _ in range(30):
    loss = run(x, y)
print(float(loss.item()).hex())
"""


def test_two_processes_at_once(tmp_path: Path) -> None:
    """They share the cache of machine code, and give the same bits."""
    environment = os.environ | {"CHAINRULE_CACHE": str(tmp_path / "code")}
    command = [sys.executable, "-c", _SCRIPT]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    results = [process.communicate(timeout=90)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert results[0].startswith("0x") and len(set(results)) == 1
