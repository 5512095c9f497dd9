"""Teams for single steps: members that linger between calls, sleep, and wake."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
import pytest

from chainrule.engines.native import jit
from chainrule.engines.native.linger import Lingering
from chainrule.engines.native.target import Target

# Adds to the member's own counter, and notes the arguments' sum there.
COUNT = """
define void @count(ptr %counters, i64 %a, i64 %member) {
  %place = getelementptr [8 x i64], ptr %counters, i64 %member
  %v = load i64, ptr %place
  %w = add i64 %v, %a
  store i64 %w, ptr %place
  ret void
}
"""


@pytest.fixture
def team() -> Any:
    """Three members that count, and their counters."""
    machine = jit.compile(COUNT, Target.host())
    counters = np.zeros((3, 8), np.int64)
    made = Lingering(machine.address("count"), (counters.ctypes.data, 2), 3)
    yield made, counters, machine
    made.close()


def test_every_member_makes_every_call_once(team: Any) -> None:
    made, counters, _ = team
    for _ in range(2000):
        made()
    assert counters[:, 0].tolist() == [4000] * 3


def test_members_that_fell_asleep_are_woken(team: Any) -> None:
    made, counters, _ = team
    for pause in (0, 1e-4, 3e-4, 1e-3, 5e-3) * 20:
        time.sleep(pause)
        made()
    assert counters[:, 0].tolist() == [200] * 3


def test_a_closed_team_starts_again(team: Any) -> None:
    made, counters, _ = team
    made()
    before = threading.active_count()
    made.close()
    assert threading.active_count() == before - 2
    made()
    assert counters[:, 0].tolist() == [4] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_members_of_its_own(team: Any) -> None:
    made, counters, _ = team
    made()
    child = os.fork()
    if child == 0:
        made()
        os._exit(0 if counters[:, 0].tolist() == [4] * 3 else 1)
    assert os.waitpid(child, 0)[1] == 0
    made()
    assert counters[:, 0].tolist() == [4] * 3


def test_a_team_may_go_while_its_members_linger() -> None:
    machine = jit.compile(COUNT, Target.host())
    counters = np.zeros((3, 8), np.int64)
    for _ in range(300):
        made = Lingering(machine.address("count"), (counters.ctypes.data, 1), 3)
        made()
        del made
        np.ones(4096, np.uint8).fill(7)  # takes the memory that was let go of
    assert counters[:, 0].tolist() == [300] * 3
