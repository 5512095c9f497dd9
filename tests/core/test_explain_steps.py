"""`explain.steps`: a rule for every op, and each formula evaluates to the value it explains."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import explain, ops
from chainrule.config import set_state
from chainrule.errors import IndexRangeError, OptionError
from chainrule.explain._expression import Element
from chainrule.explain._rules import RULES
from chainrule.explain._steps import Step, tree_of
from chainrule.tensor import Tensor

RNG = np.random.default_rng(7)
BORDER: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 0), (0, 1)), "dilation": (1, 2)}
STRUCTURED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "matmul": ([RNG.normal(size=(2, 4, 3)), RNG.normal(size=(5, 4))], {"ta": True, "tb": True}),
    "sum": ([RNG.normal(size=(2, 3, 4))], {"axes": (0, 2), "keepdims": False}),
    "amax": ([RNG.normal(size=(2, 3, 4))], {"axes": (1,), "keepdims": True}),
    "argmax": ([RNG.normal(size=(3, 4))], {"axis": 1, "keepdims": False}),
    "cumsum": ([RNG.normal(size=(3, 4))], {"axis": 1}),
    "argsort": ([RNG.normal(size=(3, 4))], {"axis": 1, "descending": True}),
    "reshape": ([RNG.normal(size=(2, 6))], {"shape": (3, 4)}),
    "permute": ([RNG.normal(size=(2, 3, 4))], {"axes": (2, 0, 1)}),
    "expand": ([RNG.normal(size=(3, 1))], {"shape": (2, 3, 4)}),
    "slice": ([RNG.normal(size=(5, 6))], {"starts": (1, 0), "stops": (5, 6), "steps": (2, 3)}),
    "pad": ([RNG.normal(size=(2, 3))], {"low": (1, 0), "high": (0, 2), "interior": (1, 1)}),
    "flip": ([RNG.normal(size=(2, 3))], {"axes": (1,)}),
    "concat": ([RNG.normal(size=(2, 3)), RNG.normal(size=(2, 2))], {"axis": 1}),
    "iota": ([], {"shape": (2, 3), "axis": 1, "dtype": cr.int64}),
    "take": ([RNG.normal(size=(4, 3)), np.array([[2, 0], [3, 3]])], {"axis": 0}),
    "take_add": ([RNG.normal(size=(3, 2)), np.array([1, 0, 1])], {"axis": 0, "size": 3}),
    "gather": ([RNG.normal(size=(3, 4)), np.array([[1, 0], [2, 2], [3, 0]])], {"axis": 1}),
    "scatter_add": (
        [RNG.normal(size=(2, 3)), np.array([[0, 2, 0], [1, 1, 1]])],
        {"axis": 1, "size": 4},
    ),
    "convolution": (
        [RNG.normal(size=(2, 4, 4, 4)), RNG.normal(size=(4, 2, 2, 2))],
        BORDER | {"groups": 2},
    ),
    "convolution_input": (
        [RNG.normal(size=(2, 4, 2, 3)), RNG.normal(size=(4, 2, 2, 2))],
        BORDER | {"groups": 2, "size": (4, 4)},
    ),
    "convolution_weight": (
        [RNG.normal(size=(2, 4, 4, 4)), RNG.normal(size=(2, 4, 2, 3))],
        BORDER | {"groups": 2, "kernel": (2, 2)},
    ),
    "max_pool": ([RNG.normal(size=(1, 2, 4, 4))], BORDER | {"window": (2, 2)}),
    "max_pool_index": ([RNG.normal(size=(1, 2, 4, 4))], BORDER | {"window": (2, 2)}),
    "max_pool_input": (
        [RNG.normal(size=(1, 1, 2, 3)), np.array([[[[0, 1, 1], [8, 8, 15]]]])],
        BORDER | {"window": (2, 2), "size": (4, 4)},
    ),
    "window_sum": ([RNG.normal(size=(1, 2, 4, 4))], BORDER | {"window": (2, 2)}),
    "window_spread": (
        [RNG.normal(size=(1, 2, 2, 3))],
        BORDER | {"window": (2, 2), "size": (4, 4)},
    ),
    "random_bits": ([np.array([1, 2], np.uint32), np.array(0, np.int64)], {"shape": (2, 2)}),
}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "cast": {"dtype": cr.float64},
    "shift_right": {"count": 3},
}


def made(op: ops.Op) -> Any:
    """A node of the op on sampled inputs."""
    if op.elementwise:
        count = max(len(op.vjps), 1)
        arrays: list[Any] = [RNG.uniform(*op.domain, size=(2, 3)) for _ in range(count)]
        if op.name == "where":
            arrays[0] = arrays[0] > 0
        elif op.name.startswith("logical"):
            arrays = [array > 0 for array in arrays]
        elif op.name == "shift_right":
            arrays = [RNG.integers(0, 1000, (2, 3)).astype(np.uint32)]
        if count == 2 and not op.name.startswith("logical"):
            arrays[1] = arrays[1][:1]  # broadcasts
        attrs = ATTRIBUTES.get(op.name, {})
    else:
        arrays, attrs = STRUCTURED[op.name]
    nodes = [
        Tensor(array.astype("float32") if array.dtype.kind == "f" else array).node
        for array in map(np.asarray, arrays)
    ]
    with set_state(recording=True):
        return ops.apply(op, *nodes, **attrs)


def test_no_op_is_without_a_rule() -> None:
    missing = [op.name for op in ops.ALL if not op.elementwise and op.name not in RULES]
    assert missing == []


# What a loop gives is explained by unrolling it, which eager mode does; what a derivative of one's
# own stands on, by the results that it passes on.
LOOPS = ("scan", "pick", "custom")


@pytest.mark.parametrize(
    "op", [op for op in ops.ALL if op.name not in LOOPS], ids=lambda op: op.name
)
def test_each_formula_gives_the_value(op: ops.Op) -> None:
    node = made(op)
    for index in np.ndindex(node.shape):
        element = Element(node, index)
        step = Step(element, tree_of(element), 1)
        assert step.holds, (index, step.value, step.computed)


def test_a_linear_layer_in_full() -> None:
    x = cr.tensor([[1.0, 2.0, -3.0]]).named("x")
    w = cr.tensor([[0.5, -1.0, 2.0], [1.0, 1.0, 1.0]], requires_grad=True).named("w")
    b = cr.tensor([0.25, -4.0], requires_grad=True).named("b")
    z = (x @ w.T + b).named("z")
    for view in (explain.steps(z, (0, 1)), explain.steps(z[0, 1])):
        assert view.text().splitlines() == [
            "z[0,1] = Σ_k x[0,k]·w[1,k] + b[1]",
            "       = 1·1 + 2·1 + (-3)·1 + (-4)",
            "       = -4",
        ]


def test_a_convolution_in_full() -> None:
    x = cr.tensor([[[1.0, 2.0, -3.0, 0.5]]]).named("x")
    w = cr.tensor([[[0.5, -1.0]]], requires_grad=True).named("w")
    b = cr.tensor([0.25], requires_grad=True).named("b")
    z = cr.nn.functional.conv1d(x, w, b, stride=2).named("z")
    assert explain.steps(z, (0, 0, 1)).text().splitlines() == [
        "z[0,0,1] = Σ_{c,k} x[0,c,t+k]·w[0,c,k] + b[0]",
        "         = (-3)·0.5 + 0.5·(-1) + 0.25",
        "         = -1.75",
    ]
    pooled = cr.nn.functional.max_pool1d(z, 2).named("p")
    assert "= max(-1.25, -1.75)" in explain.steps(pooled, (0, 0, 0)).text()


def test_of_many_terms_the_largest_and_the_rest() -> None:
    cr.manual_seed(0)
    layer = cr.nn.Linear(784, 10)
    x = cr.tensor(RNG.normal(size=(2, 784)).astype("float32"))
    step = explain.steps(layer(x), (1, 3), model=layer).data["steps"][0]
    assert step["formula"] == "Σ_k x[1,k]·w[3,k] + b[3]"
    assert "(780 more)" in step["numbers"]
    assert step["within_rounding"] and abs(step["difference"]) < 1e-5
    terms = step["terms"][0]
    total = sum(term["value"] for term in terms["largest"]) + terms["rest"]
    assert total + layer.bias[3].item() == pytest.approx(step["value"], abs=1e-5)
    sizes = [abs(term["value"]) for term in terms["largest"]]
    assert sizes == sorted(sizes, reverse=True)


def test_depth_goes_back_to_the_leaves() -> None:
    a, b = cr.tensor(5.0, requires_grad=True).named("a"), cr.tensor(2.0).named("b")
    u = (a * b).named("u")
    J = (u.sin() + 1).named("J")
    assert [s["element"] for s in explain.steps(J).data["steps"]] == ["J"]
    deep = explain.steps(J, depth=None).data["steps"]
    assert [s["formula"] for s in deep] == ["v + 1", "sin(u)", "a · b"]
    assert all(s["within_rounding"] for s in deep)


def test_brackets_stand_where_they_must() -> None:
    a, b, c = (cr.tensor(v, requires_grad=True) for v in (6.0, -3.0, 2.0))
    a, b, c = a.named("a"), b.named("b"), c.named("c")

    def written(y: cr.Tensor) -> tuple[str, str]:
        step = explain.steps(y).data["steps"][0]
        return step["formula"], step["numbers"]

    assert written((a - 2) * 4) == ("(a - 2) · 4", "(6 - 2) · 4")
    assert written(-(b + 1)) == ("-(b + 1)", "-(-3 + 1)")
    assert written(a - (b - c)) == ("a - (b - c)", "6 - (-3 - 2)")
    assert written(a - b) == ("a - b", "6 - (-3)")
    assert written(b * c) == ("b · c", "(-3) · 2")
    assert written(b.relu()) == ("max(b, 0)", "max(-3, 0)")
    assert written(b.abs()) == ("|b|", "|-3|")


@given(st.integers(0, 3), st.integers(0, 9))
def test_any_element_of_a_network(row: int, column: int) -> None:
    cr.manual_seed(3)
    model = cr.nn.Sequential(
        cr.nn.Linear(6, 8), cr.nn.GELU(), cr.nn.Linear(8, 10), cr.nn.Softmax(1)
    )
    with cr.record():
        y = model(cr.tensor(np.random.default_rng(1).normal(size=(4, 6)).astype("float32")))
    for step in explain.steps(y, (row, column), depth=6).data["steps"]:
        assert step["within_rounding"], step


def test_gradients_have_formulas_too() -> None:
    x = cr.tensor([[1.0, 2.0]], requires_grad=True).named("x")
    w = cr.tensor([[3.0], [4.0]], requires_grad=True).named("w")
    with cr.record():
        (gradient,) = cr.grad((x @ w).tanh().sum(), [w], create_graph=True)
    step = explain.steps(gradient, (1, 0)).data["steps"][0]
    assert step["formula"].startswith("Σ_k x[k,1]·") and step["within_rounding"]


@pytest.mark.parametrize("index", [None, (0,), (0, 9), (0, 0, 0), 1])
def test_a_wrong_index_shows_the_fix(index: Any) -> None:
    with pytest.raises(IndexRangeError, match=r"fix: cr.explain.steps\(tensor, \(0, 0\)\)"):
        explain.steps(cr.zeros(2, 3), index)


@pytest.mark.parametrize("depth", [0, -1, 1.5])
def test_a_wrong_depth_shows_the_fix(depth: Any) -> None:
    with pytest.raises(OptionError, match="a whole number of 1 or more, or None"):
        explain.steps(cr.tensor(1.0), depth=depth)


def test_infinities_and_nan_are_written_as_they_are() -> None:
    x = cr.tensor([0.0], requires_grad=True)
    step = explain.steps(x.log(), (0,)).data["steps"][0]
    assert step["value"] == -np.inf and step["within_rounding"]
