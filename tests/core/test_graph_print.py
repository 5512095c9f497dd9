"""Graphs: printing, verification, walks, substitution."""

import re
from typing import Any

import pytest

import chainrule as cr
from chainrule import dtypes, nn, ops
from chainrule.errors import GraphError
from chainrule.graph import INPUT, Graph, Node, consumers, make_aval, topological
from chainrule.graph.rewrite import substitute

LINEAR = """\
graph(x: float32[5,3], weight: float32[2,3], bias: float32[2])
  %1 = matmul(x, weight; ta=False, tb=True)  float32[5,2]
  %4 = add(%1, bias)  float32[5,2]
  %6 = maximum(%4, 0)  float32[5,2]
return %6"""

GRADIENT = """\
graph(w: float32[3])
  %2 = mul(w, w)  float32[3]
  %3 = sum(%2; axes=(0,), keepdims=False)  float32[]
  %5 = expand(1; shape=(3,))  float32[3]
  %6 = mul(%5, w)  float32[3]
  %7 = mul(%5, w)  float32[3]
  %8 = add(%6, %7)  float32[3]
return %3, %8"""

LOOP = """\
graph(%0: float32[], %1: float32[4])
  %2 = scan(%0, %1; body=<body of 2 ops>, length=4, reverse=False)  (float32[], float32[4])
  %3 = pick(%2; index=0)  float32[]
  %4 = pick(%2; index=1)  float32[4]
return %3, %4"""


def numbered(text: str) -> str:
    """The text with node numbers replaced by their order of appearance."""
    seen: dict[str, str] = {}
    return re.sub(r"%\d+", lambda m: seen.setdefault(m[0], f"%{len(seen)}"), text)


def same_text(found: str, expected: str) -> None:
    assert numbered(found) == numbered(expected)


def test_a_layer_is_printed() -> None:
    w, b = cr.ones(2, 3).named("weight"), cr.ones(2).named("bias")
    traced = cr.trace(lambda x: (x @ w.T + b).maximum(0), cr.ones(5, 3).named("x"))
    assert "permute" in str(traced.graph)
    traced = cr.trace(
        lambda x: (nn.functional.linear(x, w, b)).maximum(0), cr.ones(5, 3).named("x")
    )
    same_text(str(traced.graph), LINEAR)


def test_a_gradient_is_printed() -> None:
    w = cr.ones(3, requires_grad=True).named("w")

    def f() -> Any:
        y = (w * w).sum()
        return y, *cr.grad(y, [w])

    same_text(str(cr.trace(f).graph), GRADIENT)


def test_a_loop_is_printed() -> None:
    traced = cr.trace(
        lambda c, x: cr.scan(lambda c, x: (c + x, c + x), c, x), cr.ones(()), cr.ones(4)
    )
    same_text(str(traced.graph), LOOP)


def test_layers_are_named_behind_their_nodes() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    text = str(cr.trace(model, cr.ones(1, 2)).graph)
    assert "tanh(" in text and text.count("# 0") == 2 and "# 1" in text


def traced_graph() -> Graph:
    w = cr.ones(3)
    return cr.trace(lambda x: (x * w + 1).sum(), cr.ones(3)).graph


def test_a_sound_graph_passes() -> None:
    traced_graph().verify()


def broken_aval() -> Graph:
    x = Node(INPUT, (), {}, make_aval((3,), dtypes.float32))
    return Graph((x,), (Node(ops.EXP, (x,), {}, make_aval((4,), dtypes.float32)),))


def broken_dtypes() -> Graph:
    x = Node(INPUT, (), {}, make_aval((3,), dtypes.float32))
    y = Node(INPUT, (), {}, make_aval((3,), dtypes.float64))
    return Graph((x, y), (Node(ops.ADD, (x, y), {}, make_aval((3,), dtypes.float64)),))


def forgotten_input() -> Graph:
    x = Node(INPUT, (), {}, make_aval((3,), dtypes.float32))
    return Graph((), (x,))


def doubled_input() -> Graph:
    x = Node(INPUT, (), {}, make_aval((3,), dtypes.float32))
    return Graph((x, x), (x,))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (broken_aval, "a node's shape or dtype is not what its op gives"),
        (broken_dtypes, "inputs of different dtypes meet without a cast"),
        (forgotten_input, "a leaf is no input of the graph and has no value"),
        (doubled_input, "names one of its inputs twice"),
    ],
)
def test_verification_names_what_is_wrong(make: Any, text: str) -> None:
    with pytest.raises(GraphError, match=text):
        make().verify()


def test_walks() -> None:
    graph = traced_graph()
    order = topological(graph.outputs)
    place = {node: k for k, node in enumerate(order)}
    assert all(place[source] < place[node] for node in order for source in node.inputs)
    users = consumers(order)
    assert [(node.op.name, slot) for node, slot in users[graph.inputs[0]]] == [("mul", 0)]
    unused = Graph((*graph.inputs, Node(INPUT, (), {}, make_aval((), dtypes.int64))), graph.outputs)
    assert unused.inputs[-1] in unused.nodes()


def test_substitution_copies_what_depends_on_it_and_shares_the_rest() -> None:
    def f(x: Any, y: Any) -> Any:
        return x.exp() * 2 + y.log().named("kept")

    graph = cr.trace(f, cr.ones(2), cr.ones(2)).graph
    x, y = graph.inputs
    other = Node(INPUT, (), {}, x.aval)
    (found,) = substitute(graph.outputs, {x: other})
    Graph((other, y), (found,)).verify()
    assert found is not graph.outputs[0]
    assert found.inputs[1] is graph.outputs[0].inputs[1]
    assert found.line == graph.outputs[0].line
    assert substitute(graph.outputs, {}) == list(graph.outputs)


def test_avals_are_interned_and_printed() -> None:
    assert make_aval((2, 3), dtypes.float32) is make_aval((2, 3), dtypes.float32)
    assert repr(make_aval((2, 3), dtypes.float32)) == "float32[2,3]"
    assert "mul float32[3]" in repr((cr.ones(3, requires_grad=True) * 2).node)
