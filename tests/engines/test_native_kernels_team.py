"""The thread team and the barrier; targets and refusals of the compiler."""

import os
import threading

import numpy as np
import pytest
from native_harness import HOST, TARGETS

from chainrule.dtypes import float32, float64
from chainrule.engines.native import jit, team
from chainrule.engines.native.emit.driver import BARRIER_BYTES, LATE, barrier, flush_denormals
from chainrule.engines.native.emit.ir import Module
from chainrule.engines.native.emit.types import FLOAT32, INT32, INT64, PTR, literal
from chainrule.engines.native.pace import Pace
from chainrule.engines.native.team import Team, thread_count
from chainrule.errors import EngineError


def aligned(size):
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def counting_machine(threads):
    """Each member adds, at every step, what all members reached in the step before."""
    module = Module(HOST)
    wait = barrier(module)
    run = module.function("run", [("arena", PTR), ("steps", INT64), ("me", INT64)], exported=True)
    arena, steps, me = run.params
    slots = run.offset(arena, BARRIER_BYTES)
    mine = run.offset(slots, run.mul(me, 64))

    def step(_, __):
        total = run.i64(0)
        for member in range(threads):
            total = run.add(total, run.load(run.offset(slots, 64 * member), INT64))
        run.call(wait, [arena, literal(threads, INT32)])
        run.store(run.add(total, 1), mine)
        run.call(wait, [arena, literal(threads, INT32)])

    run.loop(0, steps, 1, [], step)
    run.ret()
    return jit.compile(module.text(), HOST)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_members_keep_in_step(threads):
    machine = counting_machine(threads)
    members = Team(machine.address("run"), threads)
    arena = aligned(BARRIER_BYTES + 64 * threads)
    for _ in range(3):
        arena[:] = 0
        members(arena.ctypes.data, 10)
        reached = arena[BARRIER_BYTES:].view(np.int64)[::8]
        wanted = 0
        for _ in range(10):
            wanted = wanted * threads + 1
        assert reached.tolist() == [wanted] * threads
    members.close()


def test_threads_end_and_come_back():
    machine = counting_machine(2)
    before = threading.active_count()
    members = Team(machine.address("run"), 2)
    arena = aligned(BARRIER_BYTES + 128)
    members(arena.ctypes.data, 1)
    assert threading.active_count() == before + 1
    members.close()
    assert threading.active_count() == before
    members(arena.ctypes.data, 1)
    members.close()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no processor sets here")
def test_the_callers_processors_are_given_back():
    allowed = os.sched_getaffinity(0)
    machine = counting_machine(2)
    members = Team(machine.address("run"), 2)
    members(aligned(BARRIER_BYTES + 128).ctypes.data, 5)
    assert os.sched_getaffinity(0) == allowed
    members.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_makes_its_own_threads():
    machine = counting_machine(2)
    members = Team(machine.address("run"), 2)
    arena = aligned(BARRIER_BYTES + 128)
    members(arena.ctypes.data, 2)
    child = os.fork()
    if child == 0:
        members(arena.ctypes.data, 2)
        os._exit(0 if arena[BARRIER_BYTES:].view(np.int64)[0] > 3 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    members.close()


def test_thread_count_keeps_to_the_quota(tmp_path, monkeypatch):
    limit = tmp_path / "cpu.max"
    monkeypatch.setattr(team, "_QUOTA", limit)
    monkeypatch.setattr(team, "_OLD_QUOTA", tmp_path / "none")
    monkeypatch.setattr(team, "_allowed", lambda: list(range(8)))
    for text, wanted in (("max 100000", 8), ("300000 100000", 3), ("50000 100000", 1), ("", 8)):
        limit.write_text(text)
        assert thread_count() == wanted


def test_a_team_of_none_is_refused():
    with pytest.raises(EngineError, match="at least one thread"):
        Team(0, 0)


def test_denormals_are_flushed_between_the_two_calls():
    module = Module(HOST)
    run = module.function("run", [("p", PTR), ("me", INT64)], exported=True)
    pointer = run.params[0]

    def halve(slot):
        half = run.mul(run.load(pointer, FLOAT32), literal(0.5, FLOAT32))
        run.store(half, pointer, slot)

    back = flush_denormals(run)
    halve(1)
    back()
    halve(2)
    run.ret()
    machine = jit.compile(module.text(), HOST)
    values = aligned(64).view(np.float32)
    values[0] = np.finfo(np.float32).tiny
    Team(machine.address("run"), 1)(values.ctypes.data)
    assert values[1] == 0.0
    assert values[2] == np.finfo(np.float32).tiny / 2


def test_targets():
    assert HOST.lanes(float32) == 2 * HOST.lanes(float64)
    assert TARGETS["avx2"].lanes(float32) in (8, HOST.lanes(float32))
    with pytest.raises(EngineError, match=r"no such instruction set: 'mmx'"):
        HOST.restrict("mmx")


def test_a_fault_in_the_text_is_reported_with_llvms_words():
    with pytest.raises(EngineError, match="LLVM says"):
        jit.compile("define void @f() { ret i32 0 }", HOST)
    machine = jit.compile("define void @f() { ret void }", HOST)
    assert machine.seconds > 0 and "ret" in machine.assembly()
    with pytest.raises(EngineError, match="no function 'g'"):
        machine.address("g")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor sets here")
def test_members_keep_to_processors_where_asked_to_and_no_other_team_runs(monkeypatch):
    asked = []
    monkeypatch.setattr(team, "_allowed", lambda: sorted(os.sched_getaffinity(0)) * 2)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, places: asked.append(set(places)))
    machine = counting_machine(2)
    members = Team(machine.address("run"), 2)
    arena = aligned(BARRIER_BYTES + 128)
    count = len(os.sched_getaffinity(0))
    members(arena.ctypes.data, 1, pinned=False)
    monkeypatch.setattr(team, "_calls", [members])
    members(arena.ctypes.data, 1)
    assert all(len(places) == count for places in asked)
    monkeypatch.setattr(team, "_calls", [])
    members(arena.ctypes.data, 1)
    assert sum(len(places) == 1 for places in asked) >= (1 if count == 2 else 2)
    members.close()


def test_a_member_that_waits_in_vain_says_so():
    machine = counting_machine(2)
    members = Team(machine.address("run"), 2)
    arena = aligned(BARRIER_BYTES + 128)
    members(arena.ctypes.data, 10)
    arena[:] = 0
    # The second member comes a while after the first.
    slow = members._workers[0]
    start = slow.start

    def late(*given):
        threading.Timer(0.05, start, given).start()

    slow.start = late
    share = members(arena.ctypes.data, 10)
    assert arena[LATE] == 1 and share < 0.75
    members.close()


def test_one_thread_runs_while_others_hold_the_team_up_and_the_team_comes_back():
    pace = Pace(2, fixed=False)
    ran = {1: 0.0, 2: 0.0}

    def run(seconds, share):
        spent = 0.0
        while spent < seconds:
            threads, steps = pace.next(1_000_000)
            each = 0.002 if threads == 1 else 0.001 / share**2
            if threads == 2 and share < 0.75:
                steps = min(steps, 5)  # the loop comes back when members wait too long
            pace.note(threads, steps, each * steps, share)
            ran[threads] += each * steps
            spent += each * steps

    run(2.0, share=1.0)
    assert ran[2] > 0.9 * sum(ran.values())
    ran.update({1: 0.0, 2: 0.0})
    run(5.0, share=0.4)
    assert ran[1] > 0.85 * sum(ran.values())
    run(0.5, share=1.0)  # what is left of the longest rest
    ran.update({1: 0.0, 2: 0.0})
    run(2.0, share=1.0)
    assert ran[2] > 0.9 * sum(ran.values())


def test_a_team_that_is_hindered_and_still_faster_goes_on():
    """As on a virtual machine whose processors are taken away now and then."""
    pace = Pace(2, fixed=False)
    ran = {1: 0.0, 2: 0.0}
    for turn in range(600):
        threads, steps = pace.next(1_000_000)
        late = threads == 2 and turn % 3 == 0
        steps = min(steps, 5) if late else min(steps, 10)
        spent = steps * (0.002 if threads == 1 else 0.0018 if late else 0.001)
        pace.note(threads, steps, spent, share=0.6 if late else 1.0)
        ran[threads] += spent
    assert ran[2] > 0.9 * sum(ran.values())


def test_work_that_a_team_does_more_slowly_stays_with_one_thread():
    pace = Pace(2, fixed=False)
    ran = {1: 0.0, 2: 0.0}
    for _ in range(300):
        threads, steps = pace.next(1_000_000)
        spent = steps * (1e-5 if threads == 1 else 2e-5)
        pace.note(threads, steps, spent)
        ran[threads] += spent
    assert ran[1] > 0.95 * sum(ran.values())


def test_a_team_of_fixed_size_tries_both_ways_beside_others():
    pace = Pace(2, fixed=True)
    assert pace.next(50) == (2, 4) and pace.pinned
    pace.note(2, 50, 0.1, share=0.5)
    assert not pace.pinned
    pace.note(2, 50, 0.1, share=0.9)
    assert not pace.pinned


@pytest.mark.parametrize("threads", [1, 2])
def test_pieces_of_a_long_plan_are_short(threads):
    """Between them Python sees Ctrl-C."""
    pace = Pace(threads, fixed=True)
    for seconds in (1e-6, 1e-3, 0.5):
        pace.note(threads, 10, 10 * seconds)
        assert pace.next(1 << 40)[1] * seconds <= max(0.2, seconds) * 1.01
