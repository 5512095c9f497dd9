"""Every op on every engine: supported, decomposed or refused by name, and right where supported."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from op_cases import CASES
from op_graphs import compare, graph_of, samples

from chainrule import dtypes, ops
from chainrule.engines.native.lower import window_ops
from chainrule.errors import EngineError

ENGINES = ("numpy", "xla", "native")
NAMES = sorted(CASES)


def engine(name: str) -> Any:
    return importlib.import_module(f"chainrule.engines.{name}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", ["xla", "native"])
def test_engine_agrees_with_numpy(other: str, name: str) -> None:
    support = engine(other).SUPPORT
    options = {"guards": True} if other == "native" else {}
    for number, sample in enumerate(samples(name)):
        kinds = [one for one in CASES[name].types if one is not dtypes.uint32]
        kind = kinds[number % len(kinds)]
        graph, arrays = graph_of(name, sample, kind)
        graph.verify()
        used = {node.op.name for node in graph.nodes()} - {"input", "constant"}
        refused = sorted(used - set(support))
        if refused:
            with pytest.raises(EngineError, match=refused[0]):
                engine(other).compile_graph(graph)
            continue
        expected = engine("numpy").compile_graph(graph)(*arrays)
        compare(engine(other).compile_graph(graph, **options)(*arrays), expected, kind)


def refusal(op: ops.Op, name: str) -> str:
    """Whether an engine refuses an op by its name, as the test above also sees."""
    graph, _ = graph_of(op.name, samples(op.name)[0], CASES[op.name].types[0])
    try:
        engine(name).compile_graph(graph)
    except EngineError as error:
        return "refused" if op.name in str(error) else ""
    return ""


def test_matrix_of_ops_and_engines_has_no_gap() -> None:
    """Prints op x engine; an op that an engine neither runs nor refuses by name is a gap."""
    width = max(len(op.name) for op in ops.ALL)
    print("\n" + "op".ljust(width), *(name.ljust(12) for name in ENGINES))
    gaps = []
    for op in ops.ALL:
        row = [engine(name).SUPPORT.get(op.name) or refusal(op, name) for name in ENGINES]
        gaps += [
            f"{op.name} on {name}" for name, cell in zip(ENGINES, row, strict=True) if not cell
        ]
        print(op.name.ljust(width), *(cell.ljust(12) for cell in row))
    assert not gaps, f"neither supported nor refused by name: {', '.join(gaps)}"


def test_engines_name_no_op_that_does_not_exist() -> None:
    known = {op.name for op in (*ops.ALL, *window_ops.ALL)}
    known |= {"input", "constant", "copy", "laid", "check_index"}
    for name in ENGINES:
        assert set(engine(name).SUPPORT) <= known


def test_the_page_of_ops_and_engines_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parents[2]
    monkeypatch.syspath_prepend(str(root / "tools"))
    page = importlib.import_module("ops_page")
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "run: python tools/ops_page.py"
    assert "| no |" not in page.page()
