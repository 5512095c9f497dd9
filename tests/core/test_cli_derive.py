"""`chainrule derive`: the tree, the nudges, and errors that point at the place."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from chainrule.cli.app import app
from chainrule.cli.derive import derive
from chainrule.cli.expression import FUNCTIONS, ExpressionError, parse, parse_values

BOOK = ["3*(a + b*c)", "a=5", "b=3", "c=2"]


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["derive", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def text(formula: str, *values: str) -> str:
    return derive(parse(formula), parse_values(list(values))).text()


def test_the_example_of_the_books():
    output = run(*BOOK)
    lines = [
        r"J = 3 · v = 33\s+∂J/∂J = 1",
        r"v = a \+ u = 11\s+∂J/∂v = 3 · ∂J/∂J = 3 · 1 = 3",
        r"a = 5\s+∂J/∂a = 1 · ∂J/∂v = 1 · 3 = 3",
        r"u = b · c = 6\s+∂J/∂u = 1 · ∂J/∂v = 1 · 3 = 3",
        r"b = 3\s+∂J/∂b = c · ∂J/∂u = 2 · 3 = 6",
        r"c = 2\s+∂J/∂c = b · ∂J/∂u = 3 · 3 = 9",
        r"nudge a to 5.001: J 33 -> 33.003",
        r"nudge b to 3.001: J 33 -> 33.006",
        r"nudge c to 2.001: J 33 -> 33.009",
    ]
    found = output.splitlines()
    assert len(found) == len(lines) + 1  # and an empty line
    for pattern, line in zip(lines, [line for line in found if line], strict=True):
        assert re.search(pattern + "$", line), (pattern, line)


def test_a_variable_used_twice_has_two_terms():
    output = text("a*b + a", "a=2", "b=5")
    assert "∂J/∂a = 1 · ∂J/∂J + b · ∂J/∂u = 1 · 1 + 5 · 1 = 6" in output or (
        "∂J/∂a = b · ∂J/∂u + 1 · ∂J/∂J = 5 · 1 + 1 · 1 = 6" in output
    )
    assert "(above)" in output
    assert "∂J/∂a = a · ∂J/∂J + a · ∂J/∂J = 3 · 1 + 3 · 1 = 6" in text("a*a", "a=3")


def test_names_that_the_formula_uses_are_not_given_again():
    output = text("u*v + J", "u=2", "v=3", "J=1")
    assert re.search(r"L = w \+ J = 7", output)
    assert re.search(r"w = u · v = 6", output)


def test_a_formula_may_begin_with_a_minus_sign():
    assert "J = u · b = -6" in run("-a*b", "a=2", "b=3")
    assert "∂J/∂a" in run("-a*b", "a=-2.5e0", "b=.5")


def test_a_power_with_a_number_has_its_simple_slope():
    assert "∂J/∂a = 3 · a ^ 2 · ∂J/∂J = 12 · 1 = 12" in text("a**3", "a=2")
    assert "∂J/∂a = 2 · a · ∂J/∂J = 4 · 1 = 4" in text("a**2", "a=2")


def test_typographic_signs_and_spaces():
    assert "J = u - 1 = 3" in text("  a · b − 1 ", "a=2", "b=2")


def test_arrays_keep_their_shapes_and_each_element_is_nudged():
    output = text("sum(a*b)", "a=[1,2,3]", "b=[4,5,6]")
    assert "a = [1, 2, 3]" in output
    assert re.search(r"∂J/∂a = b · ∂J/∂u; \[4, 5, 6\]$", output, re.M)
    assert "nudge a[1] to 2.001: J 32 -> 32.005" in output
    assert "nudge b[2] to 6.001: J 32 -> 32.003" in output
    assert re.search(r"∂J/∂u = ∂J/∂J, repeated over the summed axes; \[1, 1, 1\]$", output, re.M)
    matrix = text("mean(a @ b)", "a=[[1,2],[3,4]]", "b=[[1],[1]]")
    assert "a = [[1, 2], [3, 4]]" in matrix
    assert "∂J/∂a = ∂J/∂u @ bᵀ; [[0.5, 0.5], [0.5, 0.5]]" in matrix
    assert "nudge a[1,0]" in matrix
    many = text("sum(a*a)", f"a={list(range(9))}")
    assert "(and 3 more elements of a)" in many


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_derives(name):
    result = derive(parse(f"sum({name}(a*b))"), parse_values(["a=0.7", "b=1.3"]))
    expected = result.partials()["a"]
    below, above = (
        derive(parse(f"sum({name}(a*b))"), {"a": np.array(a), "b": np.array(1.3)}).output.item()
        for a in (0.7 - 1e-6, 0.7 + 1e-6)
    )
    assert expected == pytest.approx((above - below) / 2e-6, rel=1e-6)
    assert "∂J/∂a" in result.text()


ERRORS = [
    (["a +", "a=1"], ["the formula ends too early.", "a +\n     ^"]),
    (["3*(a + b", "a=1", "b=2"], ["never closed", "3*(a + b\n    ^"]),
    (["3a", "a=1"], ["A product is written with *", "3a\n  ^"]),
    (["2(a)", "a=1"], ["a product is written with *"]),
    (["a^2", "a=1"], ["a power is written **", "a^2\n   ^"]),
    (["a.b", "a=1"], ["a formula is made of numbers"]),
    (["__import__('os')"], ["there is no function __import__"]),
    (["a if b else c", "a=1"], ["a formula is made of"]),
    (["tan(a)", "a=1"], ["no function tan. Did you mean tanh?"]),
    (["exp(a, b)", "a=1", "b=1"], ["exp takes one value"]),
    (["a // b", "a=1", "b=1"], ["the operators are + - * / ** and @"]),
    (["a*b", "a=1"], ["b has no value", "a*b\n    ^", "fix: add b=1"]),
    (["a*b*c", "a=1"], ["b and c have no value", "add b=1 c=1"]),
    (["a", "a=1", "z=2"], ["z is not in the formula", "its variables: a"]),
    (["a", "a=x"], ["'x' is not a number"]),
    (["a", "a=nan"], ["is not a number"]),
    (["a", "a=[]"], ["is not a number or an array"]),
    (["a", "a=[1,[2]]"], ["is not a number or an array"]),
    (["a", "a"], ["cannot read 'a'", "expected: name=value"]),
    (["a", "--opne"], ["cannot read '--opne'"]),
    (["a", "a=1", "a=2"], ["a is given twice"]),
    (["exp", "exp=1"], ["exp is a function"]),
    (["a*2", "a=[1,2]"], ["an array of shape (2,)", 'sum it, "sum(a*2)"']),
    (["a + b", "a=[1,2]", "b=[1,2,3]"], ["a + b\n    ^"]),
    (["1 + 2"], ["no variable"]),
    ([""], ["the formula is empty"]),
    (["a" * 10_001, "a=1"], ["more than 10000 characters"]),
    (["True", "a=1"], ["only numbers"]),
    (["1e400*a", "a=1"], ["too large"]),
    ([f"{'(' * 300}a{')' * 300}", "a=1"], ["nested too deeply"]),
]


@pytest.mark.parametrize(("words", "expected"), ERRORS, ids=range(len(ERRORS)))
def test_wrong_input_says_what_and_where(words, expected, monkeypatch, capsys):
    from chainrule.cli import main

    monkeypatch.setattr("sys.argv", ["chainrule", "derive", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    message = capsys.readouterr().err
    for part in expected:
        assert part in message
    assert "Traceback" not in message


def test_division_by_zero_is_a_value_and_no_crash():
    assert "inf" in text("a / b", "a=1", "b=0")


@settings(max_examples=60)
@given(st.text(st.sampled_from("ab+-*/()., 01^e\"'[]:=_\\\n"), max_size=30))
def test_no_text_crashes_the_parser(formula):
    try:
        parse(formula)
    except ExpressionError as error:
        assert str(error)


NUMBERS = st.floats(0.5, 2.0).map(lambda x: round(x, 3))


@st.composite
def formulas(draw, depth=3):
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(["a", "b", "c", "2", "0.5"]))
    left, right = draw(formulas(depth=depth - 1)), draw(formulas(depth=depth - 1))
    operator = draw(st.sampled_from(["+", "-", "*", "/"]))
    name = draw(st.sampled_from(["", "", "tanh", "sigmoid", "sin"]))
    return f"{name}({left} {operator} {right})"


@given(formulas(), NUMBERS, NUMBERS, NUMBERS)
def test_derivatives_are_what_small_nudges_say(formula, a, b, c):
    values = {"a": np.array(a), "b": np.array(b), "c": np.array(c)}
    tree = parse(formula)
    values = {name: value for name, value in values.items() if name in tree.variables}
    if not values:
        return
    result = derive(tree, values)
    inside = np.concatenate([np.ravel(node["value"]) for node in result.view.data["nodes"]])
    if not np.isfinite(inside).all():
        return  # tanh(1/0) is 1, and its derivative 0 · inf: no number
    h = 1e-5
    for name, partial in result.partials().items():
        ends = [
            derive(tree, values | {name: values[name] + step}).output.item() for step in (-h, h)
        ]
        slope = (ends[1] - ends[0]) / (2 * h)
        here = partial.item()
        if math.isfinite(slope) and abs(slope) < 1e4:
            assert here == pytest.approx(slope, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("suffix", [".svg", ".html", ".txt", ".json"])
def test_the_graph_is_drawn_into_a_file(tmp_path: Path, suffix):
    path = tmp_path / f"graph{suffix}"
    assert f"drawn in {path}" in run(*BOOK, "--save", str(path))
    assert path.stat().st_size > 100


def test_open_draws_and_opens(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    run(*BOOK, "--open")
    assert opened[0].startswith("file://")
    assert "<svg" in Path(opened[0].removeprefix("file://")).read_text(encoding="utf-8")
