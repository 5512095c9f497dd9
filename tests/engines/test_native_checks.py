"""Indices are checked while compiled code runs: the op is named and the state stays as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from native_graphs import Trained

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines import native
from chainrule.errors import IndexRangeError

ROWS = 60
DRAW = np.random.default_rng(0)
WORDS = DRAW.integers(0, 9, (ROWS, 4))
CLASSES = DRAW.integers(0, 3, ROWS)


def trained() -> Trained:
    cr.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 40), nn.Flatten(), nn.Linear(160, 3))
    return Trained(model, optim.Adam(model.parameters(), 0.01), nn.functional.cross_entropy)


def looped(words: Any, classes: Any, threads: int) -> tuple[Any, list[Any]]:
    """A loop over batches of ten rows, and what it is called with."""
    traced, step = trained().trace(WORDS[:10], CLASSES[:10])
    loop = native.compile_loop([step], [words, classes], threads=threads)
    for number, handle in enumerate(traced.captured):
        loop.write(number, handle.node.value())
    numbers = [float(getter()) for getter in traced.getters]
    return loop, [np.arange(ROWS, dtype=np.int32), np.zeros(6, np.int32), numbers]


def state(loop: Any, count: int) -> list[Any]:
    return [loop.read(number) for number in range(count)]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("name", "bad"), [("gather", 3), ("gather", -1), ("take", 9)])
def test_a_loop_stops_before_the_step_with_a_bad_index(name: str, bad: int, threads: int) -> None:
    words, classes = WORDS.copy(), CLASSES.copy()
    if name == "take":
        words[37, 2] = bad
    else:
        classes[37] = bad
    loop, (rows, plan, numbers) = looped(words, classes, threads)
    good, _ = looped(WORDS, CLASSES, threads)
    message = rf"(?s){name}: index {bad} is outside.*expected: 0 to.*step 4 of this call updated"
    with pytest.raises(IndexRangeError, match=message):
        loop.run(rows, plan, numbers)
    good.run(rows, plan[:3], numbers)
    count = len(loop._built.state)
    for one, other in zip(state(loop, count), state(good, count), strict=True):
        np.testing.assert_array_equal(one, other)
    # The loop can go on: the same rows without the bad one.
    found = loop.run(rows[:30], plan[:3], numbers)
    assert found.shape == (3, 1)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_a_compiled_step_leaves_the_model_as_it_was(engine: str) -> None:
    made = trained()
    step = cr.compile(made._step, engine=engine)
    step(cr.tensor(WORDS), cr.tensor(CLASSES))
    before = {name: value.numpy().copy() for name, value in made.model.state_dict().items()}
    bad = WORDS.copy()
    bad[5, 1] = -3
    with pytest.raises(IndexRangeError, match="index -3 is outside of an axis of length 9"):
        step(cr.tensor(bad), cr.tensor(CLASSES))
    for name, value in made.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    assert np.isfinite(step(cr.tensor(WORDS), cr.tensor(CLASSES)).item())


def test_the_layer_is_named() -> None:
    made = trained()
    with pytest.raises(IndexRangeError, match="in layer '0'"):
        cr.compile(lambda x: made.model(x))(cr.tensor(WORDS + 9))


def test_an_index_that_depends_on_an_update_is_found_after_it() -> None:
    class Walk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("place", cr.tensor([0]))

    walk, table = Walk(), cr.tensor(np.arange(3, dtype=np.float32))

    def step(by: Any) -> Any:
        walk.place += by
        value = table.index_select(0, walk.place)
        walk.place *= 1
        return value

    compiled = cr.compile(step, engine="native")
    assert compiled(cr.tensor([2])).tolist() == [2.0]
    with pytest.raises(IndexRangeError, match="index 4 is outside"):
        compiled(cr.tensor([2]))


def test_a_constant_index_is_refused_when_compiling() -> None:
    table = cr.ones(3, 2)
    where = cr.tensor([0, 7])
    with pytest.raises(IndexRangeError, match="index 7 is outside of an axis of length 3"):
        cr.compile(lambda x: (x * table).index_select(0, where), engine="native")(cr.ones(3, 2))


def test_indices_inside_of_a_loop_over_time() -> None:
    table = cr.tensor(np.arange(12, dtype=np.float32).reshape(4, 3))

    def given(times: Any, h: Any) -> Any:
        def body(h: Any, t: Any) -> Any:
            h = h * 0.5 + table.index_select(0, t)
            return h, h.sum(1)

        return cr.scan(body, h, times)

    def carried(times: Any, place: Any) -> Any:
        def body(place: Any, t: Any) -> Any:
            return place + t, table.index_select(0, place).sum(1)

        return cr.scan(body, place, times)

    for function, start in ((given, cr.zeros(2, 3)), (carried, cr.tensor([0, 1]))):
        times = np.array([[0, 1], [1, 0], [0, 1], [1, 0], [0, 0]])
        compiled = cr.compile(function, engine="native")
        one, other = (f(cr.tensor(times), start)[1] for f in (compiled, function))
        np.testing.assert_allclose(one.numpy(), other.numpy())
        times[2, 1] = 7
        with pytest.raises(
            IndexRangeError, match=r"take: index \d+ is outside of an axis of length 4"
        ):
            compiled(cr.tensor(times), start)


@pytest.mark.parametrize("lengths", [(4, 3), (1, 3), (4, 1), (2, 2)])
def test_indices_of_a_loop_inside_of_a_loop(lengths: tuple[int, int]) -> None:
    table = cr.tensor(np.arange(12, dtype=np.float32).reshape(4, 3))

    def function(times: Any, h: Any) -> Any:
        def outer(h: Any, ts: Any) -> Any:
            def inner(h: Any, t: Any) -> Any:
                h = h * 0.5 + table.index_select(0, t)
                return h, h.sum(1)

            h, seen = cr.scan(inner, h, ts)
            return h + table.index_select(0, ts[0]), seen

        return cr.scan(outer, h, times)

    times = np.random.default_rng(0).integers(0, 4, (*lengths, 2))
    compiled = cr.compile(function, engine="native")
    for one, other in zip(
        compiled(cr.tensor(times), cr.zeros(2, 3)), function(cr.tensor(times), cr.zeros(2, 3)),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(one.numpy(), other.numpy())
    for place in {(0, 0, 1), (lengths[0] - 1, lengths[1] - 1, 0)}:
        bad = times.copy()
        bad[place] = 9
        with pytest.raises(IndexRangeError, match="take: index 9 is outside of an axis of length"):
            compiled(cr.tensor(bad), cr.zeros(2, 3))


def test_a_bad_index_in_an_inner_loop_leaves_the_state_as_it_was() -> None:
    cr.manual_seed(0)
    table = cr.nn.Embedding(4, 3)
    optimizer = cr.optim.SGD(table.parameters(), lr=0.1)

    def step(times: Any) -> Any:
        optimizer.zero_grad()

        def outer(h: Any, ts: Any) -> Any:
            h, _ = cr.scan(lambda h, t: ((h + table(t)).tanh(), h), h, ts)
            return h, h

        loss = cr.scan(outer, cr.zeros(2, 3), times)[0].sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled = cr.compile(step, engine="native")
    times = np.random.default_rng(0).integers(0, 4, (3, 2, 2))
    compiled(cr.tensor(times))
    before = table.weight.detach().numpy().copy()
    times[2, 1, 1] = -2
    with pytest.raises(IndexRangeError, match="index -2 is outside"):
        compiled(cr.tensor(times))
    np.testing.assert_array_equal(table.weight.detach().numpy(), before)


KEYS = {
    "two": lambda x, i, j: x[i, j],
    "apart": lambda x, i, j: x[i, :, j],
    "behind": lambda x, i, j: x[:, i, j],
    "with a number": lambda x, i, j: x[i, 1],
    "with cuts": lambda x, i, j: x[1:, i, ::2],
    "broadcast": lambda x, i, j: x[i.unsqueeze(1), j],
    "each row's": lambda x, i, j: x[cr.arange(3), j],
    "one": lambda x, i, j: x[:, j],
}


@pytest.mark.parametrize("engine", ["numpy", "native"])
@pytest.mark.parametrize("name", KEYS)
def test_traced_indices_on_several_axes(name: str, engine: str) -> None:
    """As eager, which is NumPy's and PyTorch's meaning; negative ones count from the end."""
    key = KEYS[name]
    i, j = cr.tensor([0, -1, 3]), cr.tensor([4, 2, -5])
    x = cr.tensor(DRAW.standard_normal((4, 5, 6)).astype(np.float32), requires_grad=True)

    def both(x: Any, i: Any, j: Any) -> Any:
        y = key(x, i, j)
        return y, cr.grad((y * y).sum(), [x])[0]

    for one, other in zip(cr.compile(both, engine=engine)(x, i, j), both(x, i, j), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_a_traced_index_outside_of_its_own_axis_is_refused(engine: str) -> None:
    compiled = cr.compile(lambda x, i: x[i, i], engine=engine)
    assert compiled(cr.ones(4, 5), cr.tensor([3])).tolist() == [1.0]
    with pytest.raises(IndexRangeError, match="outside"):
        compiled(cr.ones(4, 5), cr.tensor([4]))


def test_none_beside_traced_indices_is_refused_with_the_fix() -> None:
    with pytest.raises(cr.errors.TraceError, match=r"fix: x\.unsqueeze"):
        cr.compile(lambda x, i: x[i, None, i])(cr.ones(4, 5), cr.tensor([3]))
