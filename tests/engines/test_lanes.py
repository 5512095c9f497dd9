"""Lanes: each op with a training in every lane beside NumPy one by one, and the loop over them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from native_graphs import random_graph
from op_cases import CASES
from op_graphs import compare, graph_of, samples

import chainrule as cr
from chainrule import dtypes
from chainrule.engines import Step, native
from chainrule.engines import numpy as numpy_engine
from chainrule.engines.native import lanes
from chainrule.engines.native.crew import Shares, share_out
from chainrule.engines.native.lanes.structured import RULES
from chainrule.engines.native.target import Target
from chainrule.graph.graph import Graph
from chainrule.graph.node import INPUT, NO_ATTRS, Node
from chainrule.ops import Expr

GROUPS = 2
Array = np.ndarray[Any, Any]


def as_step(graph: Graph) -> Step:
    """The graph as a step: each input a state, each output written to a state of its own."""
    results: list[Node] = [Expr(INPUT, (), NO_ATTRS, node.aval) for node in graph.outputs]
    pairs = [(k, -1) for k in range(len(graph.inputs))]
    pairs += [(len(graph.inputs) + k, k) for k in range(len(results))]
    return Step(Graph((*graph.inputs, *results), graph.outputs), tuple(pairs), (), (), ())


def run_lanes(
    graph: Graph, inputs: list[Array], varies: list[bool], target: Target | None = None
) -> list[Array]:
    """The graph's outputs for each training; inputs (trainings, ...), or (...) where equal."""
    step = as_step(graph)
    differ = (*varies, *[False] * len(graph.outputs))
    loop = lanes.compile_lanes(
        [lanes.Kind(step, (), True, 1)], [], lanes.Differences(differ, (), False), target=target
    )
    memory = loop.groups(GROUPS)
    for number, values in enumerate(inputs):
        loop.write(memory, 0, number, values)
    nothing = np.zeros(GROUPS * loop.lanes, np.int64)
    one = np.zeros(1, np.int32)
    assert loop.run(
        (0, GROUPS), memory, loop.private(), nothing, 0, one, one, 1, one - 1, nothing,
        np.zeros(1, np.int64),
    )  # fmt: skip
    return [loop.read(memory, len(inputs) + k) for k in range(len(graph.outputs))]


def is_written(graph: Graph) -> bool:
    """Whether the native engine takes the graph, and lanes have a form of every op in it."""
    used = {node.op.name for node in graph.nodes()} - {"input", "constant"}
    if used - set(native.SUPPORT):
        return False
    step = as_step(graph)
    return not lanes.estimate([step], [lanes.prepared(step)], Target.host()).refused


def check(graph: Graph, draws: list[list[Array]], varies: list[bool], kind: dtypes.DType) -> None:
    """Lanes beside NumPy; `draws` has the inputs of each training."""
    stacked = [
        np.stack(column) if differs else column[0]
        for column, differs in zip(zip(*draws, strict=True), varies, strict=True)
    ]
    found = run_lanes(graph, stacked, varies)
    program = numpy_engine.compile_graph(graph)
    for training in (0, 1, len(draws) - 1):
        own = [
            column[training if differs else 0]
            for column, differs in zip(zip(*draws, strict=True), varies, strict=True)
        ]
        compare([each[training] for each in found], program(*own), kind)


@pytest.mark.parametrize("name", sorted(CASES))
def test_each_op_by_lanes(name: str) -> None:
    """Inputs that differ between trainings, and some or all of them shared."""
    written = 0
    for number, sample in enumerate(samples(name)):
        kinds = [one for one in CASES[name].types if one is not dtypes.uint32]
        kind = kinds[number % len(kinds)]
        graph, _ = graph_of(name, sample, kind)
        if not is_written(graph):
            continue
        written += 1
        count = GROUPS * lanes.lanes_of(as_step(graph), Target.host())
        draws = [replace(sample, seed=sample.seed + k).arrays(kind) for k in range(count)]
        check(graph, draws, [True] * len(graph.inputs), kind)
        if number == 0:
            for kept in (0, 1, 2):  # every second input, every other, none differs
                check(graph, draws, [k % 2 == kept for k in range(len(graph.inputs))], kind)
    if not written:
        assert not known(name), f"{name} has a form in lanes, and none of its examples was taken"
        pytest.skip("trainings with it run one by one")


def known(name: str) -> bool:
    """Whether lanes or the rewrites before them have a form of an op."""
    kinds = ("map", "view", "reduce", "leaf", "decomposed")
    return name in RULES or native.SUPPORT.get(name) in kinds


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_by_lanes(seed: int) -> None:
    graph, arrays = random_graph(seed)
    if not is_written(graph):
        pytest.skip("it has an op that lanes have no form of")
    count = GROUPS * lanes.lanes_of(as_step(graph), Target.host())
    rng = np.random.default_rng(seed)
    draws = [
        [a * a.dtype.type(rng.uniform(0.8, 1.2)) if a.dtype.kind == "f" else a for a in arrays]
        for _ in range(count)
    ]
    check(graph, draws, [a.dtype.kind == "f" for a in arrays], dtypes.float32)


@pytest.mark.parametrize("level", ["avx2", "sse2"])
def test_narrower_processors_give_the_same_numbers(level: str) -> None:
    def step(x: Any, w: Any) -> Any:
        y = cr.tanh(x @ w)
        return y.sum(0), cr.nn.functional.softmax(y, 1), y.argmax(1)

    target = Target.host().restrict(level)
    x, w = cr.randn(5, 3), cr.randn(3, 4)
    graph = cr.trace(step, x, w).graph
    count = GROUPS * lanes.lanes_of(as_step(graph), target)
    draws = np.random.default_rng(0).normal(size=(count, 3, 4)).astype(np.float32)
    found = run_lanes(graph, [x.numpy(), draws], [False, True], target)
    program = numpy_engine.compile_graph(graph)
    for k in (0, count - 1):
        compare([each[k] for each in found], program(x.numpy(), draws[k]), dtypes.float32)


def test_a_counter_that_all_share_stays_a_number() -> None:
    """What is equal in all trainings is computed once: Adam's powers, a step count."""
    graph = cr.trace(lambda t, w: (t + 1, w * t), cr.zeros(()), cr.ones(2)).graph
    step = Step(graph, ((0, 0), (1, 1)), (), (), ())
    found, states = lanes.varying(
        [step], [graph], [False], lanes.Differences((False, True), (), False)
    )
    assert states == (False, True)
    assert graph.outputs[0] not in found and graph.outputs[1] in found


def test_a_state_that_begins_equal_differs_once_its_step_does() -> None:
    graph = cr.trace(lambda w, v: (w + v, v * 1.5), cr.ones(2), cr.ones(2)).graph
    step = Step(graph, ((0, 0), (1, 1)), (), (), ())
    given = lanes.Differences((False, True), (), False)
    assert lanes.varying([step], [graph], [False], given)[1] == (True, True)


def test_large_steps_and_few_trainings_run_one_by_one() -> None:
    small = lanes.Estimate(8, 1000, 1 << 20, ())
    target = replace(Target.host(), second_cache=1 << 20)
    assert small.why_not(target, 100) == ""
    assert "3 trainings would leave most of 8 lanes empty" in small.why_not(target, 3)
    large = lanes.Estimate(8, 10**7, 100 << 20, ())
    assert "takes 100 MB, and lanes are faster up to 8 MB" in large.why_not(target, 100)
    other = lanes.Estimate(8, 1000, 1 << 20, ("fft",))
    assert other.why_not(target, 100) == "lanes have no form of fft"


def test_shares_are_given_once_and_errors_come_back() -> None:
    seen: list[int] = []

    def work(thread: int, first: int, last: int) -> bool:
        seen.extend(range(first, last))
        if 40 in range(first, last):
            raise ValueError("at 40")
        return True

    with pytest.raises(ValueError, match="at 40"):
        share_out(Shares(100, 2), 2, work, lambda share: None)
    assert len(seen) == len(set(seen)) and 40 in seen
    seen.clear()
    parts: list[float] = []
    share_out(Shares(39, 2), 2, work, parts.append)
    assert sorted(seen) == list(range(39)) and parts[-1] == 1.0
