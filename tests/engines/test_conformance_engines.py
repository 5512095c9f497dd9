"""Every op on every engine: supported, decomposed or refused by name, and right where supported."""

import functools
import importlib
from typing import Any

import numpy as np
import op_cases
import pytest
from hypothesis import given, settings
from op_cases import CASES, Sample

import chainrule as cr
from chainrule import dtypes, ops
from chainrule.engines.native.lower import window_ops
from chainrule.errors import EngineError

ENGINES = ("numpy", "xla", "native")
NAMES = sorted(CASES)
# Relative to the largest value of an output, and absolute below 1.
TOLERANCE = {dtypes.float32: 1e-5, dtypes.float64: 1e-11}
SAMPLES = 3


def engine(name: str) -> Any:
    return importlib.import_module(f"chainrule.engines.{name}")


@functools.cache
def samples(name: str) -> list[Sample]:
    """A few examples of an op, the same in every run; the first that hypothesis makes are small."""
    found: list[Sample] = []

    @settings(max_examples=40, database=None, derandomize=True)
    @given(CASES[name].sample)
    def collect(sample: Sample) -> None:
        found.append(sample)

    collect()
    fuller = sorted(found, key=lambda one: -sum(a.size for a in one.arrays(dtypes.float32)))
    return [*fuller[: SAMPLES - 1], found[0]]


def graph_of(name: str, sample: Sample, kind: dtypes.DType) -> tuple[Any, list[np.ndarray]]:
    """The op as a graph, with its derivatives where it has some."""
    case = CASES[name]
    attrs = op_cases.attributes(sample, kind)
    arrays = sample.arrays(kind)
    tensors = [cr.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]

    def run(*given: Any) -> list[Any]:
        results = [cr.Tensor(n) for n in op_cases.outputs(case, [t.node for t in given], attrs)]
        if not any(result.requires_grad for result in results):
            return results
        total = sum((r * r).sum() for r in results if r.requires_grad)
        wanted = [one for one in given if one.requires_grad]
        return results + [g for g in cr.grad(total, wanted, allow_unused=True) if g is not None]

    return cr.trace(run, *tensors).graph, arrays


def compare(found: list[Any], expected: list[Any], kind: dtypes.DType) -> None:
    scale = TOLERANCE.get(kind, 0)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        one = np.asarray(one)
        assert one.shape == other.shape and one.dtype == other.dtype
        if one.dtype.kind == "f":
            size = np.abs(other[np.isfinite(other)]).max(initial=1.0)
            np.testing.assert_allclose(one, other, rtol=scale, atol=scale * size, equal_nan=True)
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", ["xla", "native"])
def test_engine_agrees_with_numpy(other: str, name: str) -> None:
    support = engine(other).SUPPORT
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
        compare(engine(other).compile_graph(graph)(*arrays), expected, kind)


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
    known |= {"input", "constant", "copy", "check_index"}
    for name in ENGINES:
        assert set(engine(name).SUPPORT) <= known
