"""Programs that do not fit into memory are refused before anything of them is allocated."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

import chainrule as cr
from chainrule.engines import capacity, native
from chainrule.engines.native.lower import arena
from chainrule.errors import MemoryLimitError


def test_a_program_larger_than_the_machine_is_refused() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    compiled = cr.compile(lambda x: (x.unsqueeze(0) * x.unsqueeze(1)).exp().cumsum(0))
    with pytest.raises(
        MemoryLimitError, match=r"(?s)given: [\d,]+ bytes.*expected: at most [\d,]+ by"
    ):
        compiled(cr.zeros(2_000_000))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 200_000  # kilobytes
    # The message is not one that makes the "auto" engine fall back to another.
    assert issubclass(MemoryLimitError, MemoryError)


def test_what_fits_exactly_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = cr.trace(lambda x: (x + 1).cumsum(0), cr.zeros(10_000_000)).graph
    program = native.compile_graph(graph, threads=1)
    total = program._built.layout.total
    monkeypatch.setattr(arena, "available_memory", lambda: total)
    native.compile_graph(graph, threads=1)
    monkeypatch.setattr(arena, "available_memory", lambda: total - 1)
    with pytest.raises(MemoryLimitError, match=f"given: {total:,} bytes"):
        native.compile_graph(graph, threads=1)


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = capacity.available_memory()
    assert whole is not None and whole > 1 << 20
    monkeypatch.setattr(capacity, "_GROUP", tmp_path)
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 200000\n")
    assert capacity.available_memory() == 2_200_000
    (tmp_path / "memory.max").write_text("max\n")
    machine = capacity.available_memory()
    assert machine is not None and machine > 2_200_000
    monkeypatch.setattr(capacity, "_MACHINE", tmp_path / "nothing")
    assert capacity.available_memory() is None


def test_memory_is_stated() -> None:
    graph = cr.trace(lambda x: x @ x, cr.zeros(64, 64)).graph
    text = native.compile_graph(graph).explain()
    assert "bytes kept" in text and "for a step" in text
