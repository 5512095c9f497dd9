"""Loops over time on the native engine: values, derivatives, bits, and how little is compiled."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engines import native
from chainrule.engines import numpy as reference
from chainrule.graph.graph import Graph

Array = np.ndarray[Any, Any]
Function = Callable[..., Any]


def draw(*shape: int, seed: int = 0) -> Array:
    made: Array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * 0.5
    return made


def traced(function: Function, *arrays: Array) -> tuple[Graph, list[Array]]:
    """The function's graph, and what its inputs are given."""
    tensors = [cr.tensor(array) for array in arrays]
    for tensor in tensors:
        if tensor.dtype.is_float:
            tensor.requires_grad_()
    made = cr.trace(function, *tensors)
    given = [*arrays, *(handle.node.value() for handle in made.captured)]
    return made.graph, [*given, *(np.asarray(getter()) for getter in made.getters)]


def check(function: Function, *arrays: Array, tolerance: float = 1e-5) -> native.Program:
    """The same values as NumPy's engine gives, and the same bits by 1 and 2 threads, twice."""
    graph, given = traced(function, *arrays)
    expected = reference.compile_graph(graph)(*given)
    programs = [native.compile_graph(graph, threads=count) for count in (1, 2)]
    found = [program(*given) for program in programs for _ in range(2)]
    for place, want in enumerate(expected):
        first = found[0][place]
        assert first.dtype == want.dtype
        np.testing.assert_allclose(first, want, rtol=tolerance, atol=tolerance)
        for other in found[1:]:
            np.testing.assert_array_equal(other[place], first)
    return programs[1]


# -- recurrent layers ----------------------------------------------------------------------------
def simple(h: Any, x: Any, w: Any, b: Any) -> tuple[Any, Any]:
    h = (x + h @ w[:, : w.shape[0]].T + b[: w.shape[0]]).tanh()
    return h, h


def lstm(carry: Any, x: Any, w: Any, b: Any) -> tuple[Any, Any]:
    h, c = carry
    enter, keep, new, show = (x + h @ w.T + b).chunk(4, 1)
    c = keep.sigmoid() * c + enter.sigmoid() * new.tanh()
    h = show.sigmoid() * c.tanh()
    return (h, c), h


def gru(h: Any, x: Any, w: Any, b: Any) -> tuple[Any, Any]:
    (xr, xz, xn), (hr, hz, hn) = x.chunk(3, 1), (h @ w.T + b).chunk(3, 1)
    new = (xn + (xr + hr).sigmoid() * hn).tanh()
    h = new + (xz + hz).sigmoid() * (h - new)
    return h, h


LAYERS = {"rnn": (simple, 1), "lstm": (lstm, 4), "gru": (gru, 3)}


def layer(kind: str, order: int, reverse: bool = False, last_only: bool = False) -> Function:
    """A layer's last state and outputs, and derivatives of a loss of both up to an order."""
    body, _ = LAYERS[kind]

    def run(x: Any, u: Any, w: Any, b: Any) -> list[Any]:
        zero = cr.zeros(x.shape[0], w.shape[1])
        start = (zero, zero) if kind == "lstm" else zero
        projected = (x @ u.T).transpose(0, 1)
        last, ys = cr.scan(body, start, projected, (w, b), reverse=reverse)
        states = list(last) if kind == "lstm" else [last]
        loss = sum(((state * state).sum() for state in states), start=cr.tensor(0.0))
        found = [*states] if last_only else [*states, ys]
        if not last_only:
            loss = loss + (ys * ys).sum()
        for _ in range(order):
            gradients = cr.grad(loss, [x, u, w, b])
            found += gradients
            loss = sum((one * one).sum() for one in gradients)
        return found

    return run


def sizes(kind: str, steps: int, batch: int, inputs: int, states: int) -> list[Array]:
    rows = LAYERS[kind][1] * states
    shapes = [(batch, steps, inputs), (rows, inputs), (rows, states), (rows,)]
    return [draw(*shape, seed=number) for number, shape in enumerate(shapes)]


@pytest.mark.parametrize(("kind", "reverse"), [("rnn", True), ("lstm", False), ("gru", True)])
def test_layers_and_their_gradients(kind: str, reverse: bool) -> None:
    arrays = sizes(kind, 5, 33, 3, 9)
    program = check(layer(kind, 1, reverse), *arrays, tolerance=1e-4)
    assert program.explain().count("each thread takes its rows through all steps") == 2
    graph, given = traced(layer(kind, 1, reverse), *arrays)
    three = native.compile_graph(graph, threads=3)(*given)
    for one, other in zip(program(*given), three, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", LAYERS)
def test_second_order(kind: str) -> None:
    graph, given = traced(layer(kind, 2), *sizes(kind, 3, 6, 2, 4))
    found = native.compile_graph(graph, threads=2)(*given)
    for one, want in zip(found, reference.compile_graph(graph)(*given), strict=True):
        np.testing.assert_allclose(one, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("batch", "states"), [(1, 17), (2, 1), (7, 8), (1, 1)])
def test_few_rows_and_odd_widths(batch: int, states: int) -> None:
    check(layer("lstm", 1), *sizes("lstm", 3, batch, 1, states), tolerance=1e-4)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_few_steps(steps: int) -> None:
    for reverse in (False, True):
        check(
            lambda x, s: cr.scan(lambda c, v: (c * 0.5 + v, c * v), s, x, reverse=reverse),  # noqa: B023
            draw(steps, 3),
            draw(3, seed=1),
        )


def test_nothing_is_stacked_where_only_the_last_state_is_asked_for() -> None:
    def last(x: Any, u: Any, w: Any, b: Any) -> Any:
        with cr.no_grad():
            return layer("lstm", 0, last_only=True)(x, u, w, b)

    arrays = sizes("lstm", 200, 4, 2, 16)
    graph, given = traced(last, *arrays)
    program = native.compile_graph(graph, threads=1)
    for found, want in zip(program(*given), reference.compile_graph(graph)(*given), strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)
    # The input's share is as long as the sequence; the states are not.
    assert program._built.layout.steps < 4 * (200 * 4 * 64 + 16 * 4 * 64)


def test_compiling_takes_no_longer_for_longer_sequences() -> None:
    lines = []
    for steps in (20, 200, 2000):
        graph, _ = traced(layer("lstm", 1), *sizes("lstm", steps, 4, 3, 8))
        lines.append(native.compile_graph(graph).llvm_ir().count("\n"))
    # Products and sums over many rows take other forms; the loop is the same text.
    assert lines[1] < 1.5 * lines[0] and lines[2] < 1.1 * lines[1]


def test_a_gradient_is_one_product_over_all_steps() -> None:
    graph, _ = traced(layer("lstm", 1), *sizes("lstm", 28, 20, 3, 8))
    text = native.compile_graph(graph).explain()
    assert "product 32x8 over 560" in text and "product 32x3 over 560" in text
    assert "added up" not in text


def test_a_body_that_projects_its_inputs_and_outputs_leaves_the_loop_only_its_own_product() -> None:
    def run(x: Any, u: Any, w: Any, b: Any) -> Any:
        def body(h: Any, x: Any) -> Any:
            h = (x @ u.T + h @ w.T + b).tanh()
            return h, h @ u

        last, ys = cr.scan(body, cr.zeros(x.shape[1], w.shape[1]), x)
        return [last, ys, *cr.grad((ys * ys).sum() + last.sum(), [x, u, w, b])]

    arrays = draw(6, 10, 3), draw(9, 3, seed=1), draw(9, 9, seed=2), draw(9, seed=3)
    text = check(run, *arrays, tolerance=1e-4).explain()
    assert text.count("\n    product") == 2, "one product in each loop"
    assert "product 60x9 over 3" in text and "product 9x3 over 60" in text


# -- carries -------------------------------------------------------------------------------------
def test_carries_that_change_places_stay_or_are_delayed() -> None:
    def body(carry: Any, x: Any) -> Any:
        a, b, still, late = carry
        return (b, a + x, still, a), (a, late, still)

    def run(x: Any, a: Any, b: Any) -> Any:
        return cr.scan(body, (a, b, a * b, b - a), x)

    check(run, draw(6, 4), draw(4, seed=1), draw(4, seed=2))
    check(lambda x, a, b: run(x, a, b)[0][3], draw(7, 4), draw(4, seed=1), draw(4, seed=2))


def test_whole_numbers_and_truth_values_are_carried() -> None:
    def body(carry: Any, x: Any) -> Any:
        count, seen, best = carry
        above = x > 0.3
        return (count + above.long(), seen | above, best.maximum(x)), count * 2

    def run(x: Any) -> Any:
        start = (cr.zeros(5, dtype=cr.int64), cr.zeros(5, dtype=cr.bool), cr.full((5,), -9.0))
        return cr.scan(body, start, x)

    check(run, draw(9, 5))


def test_numbers_without_dimensions_are_carried() -> None:
    def body(carry: Any, x: Any) -> Any:
        total, steps = carry
        return (total * 0.9 + x.sum(), steps + 1), total / (steps + 1)

    check(lambda x: cr.scan(body, (cr.tensor(0.0), cr.tensor(0.0)), x), draw(11, 6))


def test_outputs_that_are_inputs_or_the_same_at_each_step() -> None:
    def body(c: Any, x: Any, k: Any) -> Any:
        return c + x, (x, k * 2, c, c + x, c)

    check(lambda x, k: cr.scan(body, k, x, (k,)), draw(5, 3), draw(3, seed=1))
    check(lambda x, k: cr.scan(body, k, x, (k,), reverse=True), draw(5, 3), draw(3, seed=1))


# -- what a body may do --------------------------------------------------------------------------
def test_parts_that_do_not_lie_row_by_row_are_reshaped_in_the_body() -> None:
    def body(c: Any, x: Any) -> Any:
        flat = x.reshape(-1)
        return c + flat, flat.flip(0)

    check(lambda x, c: cr.scan(body, c, x.permute(1, 2, 0)), draw(4, 5, 3), draw(12, seed=1))
    check(lambda x, c: cr.scan(body, c, x[:, ::2]), draw(5, 6, 4), draw(12, seed=1))


def test_reductions_and_softmax_in_the_body() -> None:
    def body(c: Any, x: Any) -> Any:
        weights = cr.softmax(c + x, 1)
        return weights, (weights.sum(0), weights.amax(1), weights.argmax(1), x.sum())

    check(lambda x, c: cr.scan(body, c, x), draw(6, 7, 20), draw(7, 20, seed=1))


def test_gathers_and_scatters_in_the_body() -> None:
    def body(c: Any, places: Any) -> Any:
        rows = c[places]
        return c.index_add(0, places, rows * 0.1), rows

    places = np.random.default_rng(0).integers(0, 5, (4, 3))
    check(lambda c, p: cr.scan(body, c, p), draw(5, 6), places)


def test_several_loops_one_behind_the_other() -> None:
    def run(x: Any, u: Any, w: Any, b: Any) -> Any:
        zero = cr.zeros(x.shape[0], w.shape[1])
        start = (zero, zero)
        _, up = cr.scan(lstm, start, (x @ u.T).transpose(0, 1), (w, b))
        _, down = cr.scan(lstm, start, up @ w.T, (w, b), reverse=True)
        both = cr.cat([up, down], 2)
        return [both, *cr.grad((both * both).sum(), [x, u, w, b])]

    check(run, *sizes("lstm", 4, 10, 3, 6), tolerance=1e-4)


def test_a_loop_in_a_loop() -> None:
    def inner(c: Any, x: Any) -> Any:
        c = (c * x).tanh() + x
        return c, c * c

    def body(c: Any, x: Any, k: Any) -> Any:
        c, ys = cr.scan(inner, c + k, x, reverse=True)
        return c, ys

    def run(x: Any, c: Any, k: Any) -> Any:
        last, ys = cr.scan(body, c, x, (k,))
        return [last, ys, *cr.grad((ys * ys).sum() + last.sum(), [x, c, k])]

    check(run, draw(3, 4, 5, 6), draw(5, 6, seed=1), draw(6, seed=2), tolerance=1e-4)


def test_a_loop_that_is_the_same_at_each_step_runs_once() -> None:
    def body(c: Any, x: Any, k: Any) -> Any:
        _, ys = cr.scan(lambda a, b: (a + b, a * b), k[0], k)
        return c + ys.sum(0), x

    arrays = draw(3, 4), draw(4, seed=1), draw(5, 4, seed=2)
    program = check(lambda x, c, k: cr.scan(body, c, x, (k,))[0], *arrays)
    assert "    loop" not in program.explain()


def test_dropout_draws_anew_at_each_step() -> None:
    def body(c: Any, x: Any) -> Any:
        c = cr.nn.functional.dropout(c + x, 0.5)
        return c, c

    cr.manual_seed(3)
    graph, given = traced(lambda x: cr.scan(body, cr.zeros(6, 50), x)[1], draw(4, 6, 50))
    expected = reference.compile_graph(graph)(*given)[0]
    found = native.compile_graph(graph, threads=2)(*given)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    zeros = found == 0
    assert 0.3 < zeros.mean() < 0.7 and (zeros[0] != zeros[1]).any()


def test_what_no_product_or_sum_gives_is_added_up_in_the_loop_and_said() -> None:
    def body(c: Any, x: Any, k: Any) -> Any:
        c = c * k.exp() + x
        return c, c

    def run(x: Any, c: Any, k: Any) -> Any:
        last, _ = cr.scan(body, c, x, (k,))
        return cr.grad((last * last).sum(), [k, x])

    program = check(run, draw(6, 4, 5), draw(4, 5, seed=1), draw(4, 5, seed=2), tolerance=1e-4)
    assert "added up in the loop: carry" in program.explain()


def test_axes_of_length_0_and_1() -> None:
    check(lambda x, c: cr.scan(lambda c, x: (c + x, c), c, x), draw(4, 0, 3), draw(0, 3))
    check(lambda x, c: cr.scan(lambda c, x: (c + x, c), c, x), draw(4, 1, 1), draw(1, 1))
    check(lambda x, c: cr.scan(lambda c, x: (c, c @ x), c, x), draw(4, 1, 3), draw(2, 1))


def test_not_a_number_stays() -> None:
    x = draw(6, 4)
    x[2, 1], x[4, 3] = np.nan, np.inf
    check(lambda x, c: cr.scan(lambda c, v: (c * 0.5 + v, c.tanh()), c, x), x, draw(4, seed=1))


# -- training ------------------------------------------------------------------------------------
def test_truncated_backpropagation_through_time() -> None:
    """The state goes from chunk to chunk without its history, as an input and an output."""
    chunks = [draw(5, 4, 12, seed=k) for k in range(3)]

    def train(compiled: bool) -> list[Array]:
        cr.manual_seed(0)
        w = cr.nn.Parameter(cr.tensor(draw(12, 12, seed=9)))
        rule = cr.optim.SGD([w], lr=0.05)

        def step(h: Any, x: Any) -> tuple[Any, Any]:
            last, ys = cr.scan(lambda h, x: ((h @ w.T + x).tanh(),) * 2, h, x)
            loss = (ys * ys).mean()
            rule.zero_grad()
            loss.backward()
            rule.step()
            return loss, last.detach()

        run = cr.compile(step, engine="native") if compiled else step
        h, losses = cr.zeros(4, 12), []
        for chunk in chunks * 2:
            loss, h = run(h, cr.tensor(chunk))
            losses.append(loss.detach().numpy())
        return [*losses, h.detach().numpy(), w.detach().numpy()]

    for found, expected in zip(train(True), train(False), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
