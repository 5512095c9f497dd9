"""Machine code and kernels' texts kept on disk: loaded where they are whole and nobody else's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engines import native
from chainrule.engines.native import cache, jit, library
from chainrule.engines.native.target import Target
from chainrule.graph.graph import Graph
from chainrule.graph.node import INPUT, Node, make_aval
from chainrule.ops._families import unary

ADD_ONE = """
define void @run(ptr %p) {
  %v = load i32, ptr %p
  %w = add i32 %v, 1
  store i32 %w, ptr %p
  ret void
}
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for machine code, and no kernel known yet."""
    place = tmp_path / "machine-code"
    monkeypatch.setenv("CHAINRULE_CACHE", str(place))
    monkeypatch.setattr(library, "_texts", {})
    return place


def run(machine: jit.Machine) -> int:
    """What the function makes of 41."""
    import ctypes

    number = ctypes.c_int32(41)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(machine.address("run"))(ctypes.addressof(number))
    return number.value


def test_code_is_compiled_once_and_then_loaded(kept: Path) -> None:
    first, second = (jit.compile(ADD_ONE, Target.host()) for _ in range(2))
    assert (first.loaded, second.loaded) == (False, True)
    assert run(first) == run(second) == 42
    assert kept.stat().st_mode & 0o777 == 0o700


def test_names_depend_on_the_text_and_the_processor() -> None:
    host = Target.host()
    names = {
        cache.name_of(ADD_ONE, host),
        cache.name_of(ADD_ONE + " ", host),
        cache.name_of(ADD_ONE, host.restrict("sse2")),
    }
    assert len(names) == (3 if host.architecture == "x86_64" else 2)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:10], lambda b: b"", bytes.swapcase]
)
def test_a_damaged_file_is_compiled_anew(kept: Path, damage: Any) -> None:
    jit.compile(ADD_ONE, Target.host())
    (path,) = kept.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    again = jit.compile(ADD_ONE, Target.host())
    assert not again.loaded
    assert run(again) == 42
    assert jit.compile(ADD_ONE, Target.host()).loaded


def test_a_folder_that_others_may_write_to_is_not_used(kept: Path) -> None:
    kept.mkdir()
    kept.chmod(0o777)
    assert not jit.compile(ADD_ONE, Target.host()).loaded
    assert not list(kept.iterdir())


def test_a_link_to_a_folder_is_not_used(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    kept.symlink_to(tmp_path / "elsewhere")
    assert cache.folder() is None


def test_the_cache_can_be_switched_off_or_be_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for value in ("off", str(tmp_path / "file" / "below")):
        monkeypatch.setenv("CHAINRULE_CACHE", value)
        assert cache.folder() is None
        assert run(jit.compile(ADD_ONE, Target.host())) == 42


def test_what_was_used_longest_ago_goes_first(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate("abc"):
        cache.save(name, bytes(1000))
        os.utime(kept / name, (number, number))
    monkeypatch.setattr(cache, "MOST_BYTES", 3000)
    monkeypatch.setattr(cache, "_PRUNE_EVERY", 1)
    assert cache.load("a") is not None  # used now
    cache.save("d", bytes(1000))
    assert {path.name for path in kept.iterdir()} == {"a", "d"}


def a_graph() -> Any:
    """A graph with a product, a row program and elementwise work, and arrays for it."""
    draw = np.random.default_rng(0)
    arrays = [draw.standard_normal(s).astype(np.float32) for s in ((9, 7), (7, 5))]
    graph = cr.trace(lambda a, b: cr.softmax(a @ b, 1).exp() * 2, *map(cr.from_numpy, arrays)).graph
    return graph, arrays


def test_kernels_from_disk_are_those_that_were_written(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, arrays = a_graph()
    first = native.compile_graph(graph, threads=1)
    cache.flush()
    monkeypatch.setattr(library, "_texts", {})

    def refuse(name: str, code: bytes) -> None:
        raise AssertionError(f"{name} was written a second time")

    monkeypatch.setattr(cache, "save_later", refuse)
    second = native.compile_graph(graph, threads=1)
    assert second.llvm_ir() == first.llvm_ir()
    for one, two in zip(first(*arrays), second(*arrays), strict=True):
        assert one.tobytes() == two.tobytes()


def test_kernels_of_a_users_op_stay_in_memory(kept: Path) -> None:
    """The same name may mean another thing in the next process."""
    arrays = [np.linspace(-1, 1, 20, dtype=np.float32)]
    for factor in (2.0, 3.0):
        scaled = unary(
            "scaled",
            array=lambda xp, x, f=factor: x * f,
            vjp=lambda g, y, x, f=factor: g * f,
            scalar=lambda e, x, f=factor: e.mul(x, f),
            text="scaled({0})",
            tex="s({0})",
        )
        x = Node(INPUT, (), {}, make_aval((20,), cr.float32))
        graph = Graph((x,), (Node(scaled, (x,), {}, x.aval),))
        program = native.compile_graph(graph, threads=1)
        np.testing.assert_array_equal(program(*arrays)[0], arrays[0] * np.float32(factor))
    cache.flush()
    assert not [path for path in kept.iterdir() if path.suffix == ".kernel"]
