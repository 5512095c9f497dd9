"""Modules cut into parts that are compiled at the same time."""

from __future__ import annotations

import ctypes
import re

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engines.native import jit, parts
from chainrule.engines.native.target import Target
from chainrule.errors import EngineError

# Each function calls the next one, with a pointer and a number.
CHAIN = """declare double @llvm.sqrt.f64(double)
define internal void @root(ptr %x, i64 %n) #0 {
 %a = load double, ptr %x
 %b = call double @llvm.sqrt.f64(double %a)
 store double %b, ptr %x
 ret void
}
define internal void @times(ptr %x, i64 %n) #0 {
 %a = load double, ptr %x
 %f = sitofp i64 %n to double
 %b = fmul double %a, %f
 store double %b, ptr %x
 call void @root(ptr %x, i64 %n)
 ret void
}
define void @run(ptr %x) #0 {
 call void @times(ptr %x, i64 3)
 call void @root(ptr %x, i64 3)
 ret void
}
attributes #0 = { noinline nounwind }
"""


def value_of(machine: jit.Machine) -> float:
    number = np.full(1, 27.0)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(machine.address("run"))(number.ctypes.data)
    return float(number[0])


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded, and short texts are cut on any number of processors."""
    monkeypatch.setenv("CHAINRULE_CACHE", "off")
    monkeypatch.setattr(parts, "LEAST_LINES", 5)
    monkeypatch.setattr(parts, "thread_count", lambda: 8)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_function_is_in_one_part_and_finds_the_others(count: int) -> None:
    texts = parts.cut(CHAIN, count)
    assert len(texts) == min(count, 3)
    defined = [name for text in texts for name in re.findall(r"^define .*@(\w+)\(", text, re.M)]
    assert sorted(defined) == ["root", "run", "times"]
    assert len(parts.objects(texts, lambda: jit._target_machine(Target.host()))) == len(texts)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("locked", [False, True])
def test_the_parts_are_one_machine(locked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if locked:  # an llvmlite of another form
        monkeypatch.setattr(parts, "_unlocked", lambda: None)
    assert len(parts.cut(CHAIN)) > 1
    assert value_of(jit.compile(CHAIN, Target.host())) == 3.0


@pytest.mark.usefixtures("fresh")
def test_a_refused_part_is_told() -> None:
    with pytest.raises(EngineError, match="LLVM says"):
        jit.compile(CHAIN.replace("double %a, %f", "double %a, %g"), Target.host())


@pytest.mark.usefixtures("fresh")
def test_parts_come_from_the_disk_too(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE", f"{tmp_path}/kept")
    assert not jit.compile(CHAIN, Target.host()).loaded
    again = jit.compile(CHAIN, Target.host())
    assert again.loaded and value_of(again) == 3.0


def test_a_step_has_the_same_bits_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE", "off")
    draw = np.random.default_rng(0)
    x = cr.from_numpy(draw.standard_normal((32, 50)).astype(np.float32))
    y = cr.from_numpy(draw.integers(0, 10, 32))
    weights = []
    for least in (1 << 30, 100):
        monkeypatch.setattr(parts, "LEAST_LINES", least)
        monkeypatch.setattr(parts, "thread_count", lambda: 4)
        cr.manual_seed(0)
        model = nn.Sequential(nn.Linear(50, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 10))
        rule = cr.optim.Adam(model.parameters())

        def step(x, y, model=model, rule=rule):
            rule.zero_grad()
            loss = nn.CrossEntropyLoss()(model(x), y)
            loss.backward()
            rule.step()
            return loss

        step = cr.compile(step, engine="native")
        for _ in range(3):
            step(x, y)
        weights.append([value.numpy() for value in model.state_dict().values()])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
