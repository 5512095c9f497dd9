"""The machine code of products for processors that need not be here: no loop touches the stack."""

from __future__ import annotations

import re
from dataclasses import dataclass

import emulated
import numpy as np
import pytest
from native_graphs import Trained

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines import native
from chainrule.engines.native import jit
from chainrule.engines.native.target import Target


@dataclass(frozen=True)
class Kind:
    """How one processor's assembly is read."""

    target: Target
    multiplies: str
    jump: str
    stack: str
    comment: str


# x86-64 code here keeps no frame pointer: rbp is one more address, and the stack is rsp alone.
KINDS = {
    "arm": Kind(Target.arm(), r"fmla\t", r"b\S*\s", r"\[sp|\[x29", "//"),
    "avx512": Kind(Target.avx512(), r"vfn?m(add|sub)\w+\t", r"j\w+\s", r"\(%rsp", "#"),
}


def hot_blocks(assembly: str, kind: Kind) -> list[tuple[str, list[str]]]:
    """Loops with multiply-adds: (function, instructions) of each block that jumps to itself."""
    found = []
    function = ""
    for part in re.split(r"^(?=[\w.\"]+:)", assembly, flags=re.MULTILINE):
        label, _, rest = part.partition(":")
        if not label.startswith(".L"):
            function = label
        lines = [line.strip() for line in rest.splitlines() if line.startswith("\t")]
        code = [line for line in lines if not line.startswith((".", kind.comment))]
        jumps = re.compile(kind.jump + ".*" + re.escape(label) + "$")
        back = [k for k, line in enumerate(code) if jumps.match(line)]
        code = code[: back[-1] + 1] if back else []  # behind it the function may end
        if sum(bool(re.match(kind.multiplies, line)) for line in code) >= 4:
            found.append((function, code))
    return found


@pytest.mark.parametrize("shape", [(100, 784, 100), (100, 100, 10), (512, 512, 512), (64, 64, 64)])
@pytest.mark.parametrize("name", KINDS)
def test_products_keep_their_tiles_in_registers(
    name: str, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No loop of a product touches the stack, forward, backward, and with their updates."""
    kind = KINDS[name]
    monkeypatch.setattr(native.machine.Target, "host", staticmethod(lambda: kind.target))
    monkeypatch.setattr(native.machine.jit, "compile", emulated.Recorded)
    rows, inner, columns = shape
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(inner, columns), nn.ReLU(), nn.Linear(columns, inner))
    made = Trained(model, optim.SGD(model.parameters(), 0.1), nn.functional.mse_loss)
    x = np.zeros((rows, inner), np.float32)
    _, step = made.trace(x, x)
    ir = native.compile_loop([step], [x, x], threads=1)._built.machine.ir
    assembly = jit.assembly(ir, kind.target)
    assert not re.search(r"%rsp, %rbp", assembly), "a frame pointer: the pattern misses spills"
    blocks = hot_blocks(assembly, kind)
    # Large products share one function; the others have one each, forward and backward.
    expected = 1 if rows == 512 else 3
    assert len(blocks) >= expected, "no product was found in the code"
    for function, code in blocks:
        spills = [line for line in code if re.search(kind.stack, line)]
        assert not spills, f"{function} spills: {spills}"


def test_avx512_uses_its_wide_registers_and_masks() -> None:
    """The tiles are of 64-byte vectors, and edges are masked, not looped over."""
    assembly = jit.assembly(_product_of(33, 20, 37), Target.avx512())
    hot = [line for _, code in hot_blocks(assembly, KINDS["avx512"]) for line in code]
    assert any(line.startswith("vfm") and "%zmm" in line for line in hot)
    assert re.search(r"vmov\w+\t.*%[yz]mm\d+.*\{%k\d\}", assembly)


def _product_of(rows: int, inner: int, columns: int) -> str:
    x, w = cr.tensor(np.zeros((rows, inner), "f4")), cr.tensor(np.zeros((inner, columns), "f4"))
    graph = cr.trace(lambda a, b: a @ b, x, w).graph
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native.machine.Target, "host", staticmethod(Target.avx512))
        patch.setattr(native.machine.jit, "compile", emulated.Recorded)
        return str(native.compile_graph(graph, threads=1)._built.machine.ir)


SPILLED = {
    "arm": (
        "\tfmla\tv0.4s, v1.4s, v2.4s\n",
        "str\tq0, [sp, #16]",
        "b.lt",
        "\tldp\td9, d8, [sp]\n",
    ),
    "avx512": (
        "\tvfmadd231ps\t(%rbp), %zmm1, %zmm2\n",
        "vmovups\t%zmm2, 64(%rsp)",
        "jl",
        "\tmovq\t8(%rsp), %rbx\n",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_spill_would_be_found(name: str) -> None:
    multiply, spill, jump, restore = SPILLED[name]
    loop = f".L1:\n{multiply * 4}\t{spill}\n\t{jump}\t.L1\n"
    text = f"kernel:\n\tmov\tx0, x1\n{loop}{restore}\tret\n"
    kind = KINDS[name]
    [(function, code)] = hot_blocks(text, kind)
    assert function == "kernel"
    assert [line for line in code if re.search(kind.stack, line)] == [spill]
