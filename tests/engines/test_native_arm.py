"""Code for 64-bit Arm: run under qemu where that is there, and looked at for spills anywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import emulated
import numpy as np
import pytest
from native_graphs import Trained, random_graph

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines import native
from chainrule.engines import numpy as reference
from chainrule.engines.native import jit, program
from chainrule.engines.native.target import Target


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> emulated.Emulated:
    """The engine, compiling for Arm and run under the emulator."""
    lacks = emulated.missing()
    if lacks:
        pytest.skip(f"64-bit Arm cannot be run here: {lacks} missing")
    made = emulated.Emulated(tmp_path)
    made.install(monkeypatch)
    monkeypatch.setattr(program, "_COPIED", 1 << 40)  # inputs lie in the program's memory
    return made


def close(found: Any, expected: Any) -> None:
    finite = np.abs(np.where(np.isfinite(expected), expected, 0))
    scale = max(1.0, float(finite.max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4 * scale)


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs(arm: emulated.Emulated, seed: int) -> None:
    graph, arrays = random_graph(seed)
    expected = reference.compile_graph(graph)(*arrays)
    # Code for a team, run by one member: barriers and parts are in it.
    found = native.compile_graph(graph, threads=2 if seed % 2 else 1)(*arrays)
    for one, other in zip(found, expected, strict=True):
        close(one, other)
    assert arm.runs == 1


def test_elementary_functions(arm: emulated.Emulated) -> None:
    def function(x: Any) -> Any:
        y = x.abs() + 0.1
        return (
            *(x.exp(), y.log(), y.log1p(), x.expm1(), x.tanh(), x.sigmoid(), x.erf()),
            *(x.sin(), x.cos(), cr.nn.functional.softplus(x), y.sqrt(), y**1.7, x.floor()),
        )

    for dtype, rtol in ((np.float32, 1e-6), (np.float64, 4e-15)):
        x = np.linspace(-9, 9, 333).astype(dtype)
        x[5] = 1e9  # beyond the reduction: the C library's sine
        graph = cr.trace(function, cr.tensor(x)).graph
        expected = reference.compile_graph(graph)(x)
        for one, other in zip(native.compile_graph(graph)(x), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)


def networks() -> dict[str, Any]:
    return {
        "fnn": lambda: (nn.Sequential(nn.Linear(20, 33), nn.ReLU(), nn.Linear(33, 5)), (20,)),
        "norms": lambda: (
            nn.Sequential(
                *(nn.Linear(20, 16, bias=False), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2)),
                *(nn.Linear(16, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 5)),
            ),
            (20,),
        ),
        "cnn": lambda: (
            nn.Sequential(
                *(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)),
            ),
            (1, 8, 8),
        ),
    }


@pytest.mark.parametrize("name", networks())
def test_training_loops(arm: emulated.Emulated, name: str) -> None:
    """Twelve steps of Adam, data gathered by index, against eager steps."""
    rows, draw = 24, np.random.default_rng(0)
    shape = networks()[name]()[1]
    x = draw.standard_normal((rows, *shape)).astype(np.float32)
    y = draw.integers(0, 5, rows)
    results = []
    for engine in ("native", "eager"):
        cr.manual_seed(0)
        model, _ = networks()[name]()
        made = Trained(model, optim.Adam(model.parameters(), 0.01), nn.functional.cross_entropy)
        order = np.concatenate([np.random.default_rng(k).permutation(rows) for k in range(4)])
        if engine == "eager":
            batches = order.reshape(-1, 8)
            results.append([made.eager(x[batch], y[batch]) for batch in batches])
            continue
        traced, step = made.trace(x[:8], y[:8])
        loop = native.compile_loop([step], [x, y], threads=2)
        for number, handle in enumerate(traced.captured):
            loop.write(number, handle.node.value())
        numbers = [float(getter()) for getter in traced.getters]
        report = loop.run(order.astype(np.int32), np.zeros(12, np.int32), numbers)
        results.append(report[:, 0])
    assert arm.runs >= 1
    np.testing.assert_allclose(results[0], results[1], rtol=2e-3, atol=2e-4)


# -- the code ------------------------------------------------------------------------------------
def hot_blocks(assembly: str) -> list[tuple[str, list[str]]]:
    """Loops with multiply-adds: (function, instructions) of each block that jumps to itself."""
    found = []
    function = ""
    for part in re.split(r"^(?=[\w.\"]+:)", assembly, flags=re.MULTILINE):
        label, _, rest = part.partition(":")
        if not label.startswith(".L"):
            function = label
        lines = [line.strip() for line in rest.splitlines() if line.startswith("\t")]
        code = [line for line in lines if not line.startswith((".", "//"))]
        back = [k for k, line in enumerate(code) if line.startswith("b") and line.endswith(label)]
        code = code[: back[-1] + 1] if back else []  # behind it the function may end
        if sum("fmla" in line for line in code) >= 4:
            found.append((function, code))
    return found


@pytest.mark.parametrize("shape", [(100, 784, 100), (100, 100, 10), (512, 512, 512), (64, 64, 64)])
def test_products_keep_their_tiles_in_registers(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No loop of a product touches the stack, forward, backward, and with their updates."""
    target = Target.arm()
    monkeypatch.setattr(native.machine.Target, "host", staticmethod(lambda: target))
    monkeypatch.setattr(native.machine.jit, "compile", emulated.Recorded)
    rows, inner, columns = shape
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(inner, columns), nn.ReLU(), nn.Linear(columns, inner))
    made = Trained(model, optim.SGD(model.parameters(), 0.1), nn.functional.mse_loss)
    x = np.zeros((rows, inner), np.float32)
    _, step = made.trace(x, x)
    ir = native.compile_loop([step], [x, x], threads=1)._built.machine.ir
    blocks = hot_blocks(jit.assembly(ir, target))
    # Large products share one function; the others have one each, forward and backward.
    expected = 1 if rows == 512 else 3
    assert len(blocks) >= expected, "no product was found in the code"
    for function, code in blocks:
        spills = [line for line in code if re.search(r"\[sp|\[x29", line)]
        assert not spills, f"{function} spills: {spills}"


def test_a_spill_would_be_found() -> None:
    turn = "\tfmla\tv0.4s, v1.4s, v2.4s\n" * 4
    spilled = f".L1:\n{turn}\tstr\tq0, [sp, #16]\n\tb.lt\t.L1\n"
    text = f"kernel:\n\tmov\tx0, x1\n{spilled}\tldp\td9, d8, [sp]\n\tret\n"
    [(function, code)] = hot_blocks(text)
    assert function == "kernel"
    assert [line for line in code if "[sp" in line] == ["str\tq0, [sp, #16]"]
