"""``cr.compile``: one function, any engine."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import EngineError, OptionError, TraceError

ENGINES = ["numpy", "native"]


def a_step():
    """A network, its optimizer, and one training step on them."""
    cr.manual_seed(3)
    model = nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    loss = nn.CrossEntropyLoss()

    def step(x, y):
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    return model, optimizer, step


def batch(rows=4):
    """Random rows and classes."""
    draw = np.random.default_rng(rows)
    x = cr.tensor(draw.standard_normal((rows, 7)).astype(np.float32))
    return x, cr.tensor(draw.integers(0, 3, rows))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_compiled_step_trains_as_the_eager_one(engine):
    model, _, step = a_step()
    eager = [step(*batch()).item() for _ in range(20)]
    expected = {name: value.numpy() for name, value in model.state_dict().items()}
    model, _, step = a_step()
    compiled = cr.compile(step, engine=engine)
    losses = [compiled(*batch()).item() for _ in range(20)]
    np.testing.assert_allclose(losses, eager, rtol=2e-5)
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_state_made_in_the_first_step_does_not_compile_a_second_time(engine):
    _, _, step = a_step()
    compiled = cr.compile(step, engine=engine)
    for _ in range(3):
        compiled(*batch())
    assert len(compiled.programs()) == 1
    compiled(*batch(6))
    assert len(compiled.programs()) == 2


def test_a_changed_rate_acts_without_compiling():
    model, optimizer, step = a_step()
    compiled = cr.compile(step, engine="numpy")
    compiled(*batch())
    before = model[0].weight.detach().numpy().copy()
    optimizer.param_groups[0]["lr"] = 1e-30
    compiled(*batch())
    assert np.array_equal(model[0].weight.detach().numpy(), before)
    assert len(compiled.programs()) == 1


def test_training_mode_is_part_of_what_is_compiled():
    model = nn.Sequential(nn.Dropout(0.5))
    compiled = cr.compile(lambda x: model(x), engine="numpy")
    x = cr.ones(200)
    assert 0 in compiled(x).tolist()
    model.eval()
    assert compiled(x).tolist() == [1.0] * 200


@pytest.mark.parametrize("engine", ENGINES)
def test_arrays_are_arguments_and_not_constants(engine):
    compiled = cr.compile(lambda x: x.sum(), engine=engine)
    first, second = np.zeros(5000, np.float32), np.zeros(5000, np.float32)
    second[2500] = 1
    assert compiled(first).item() == 0
    assert compiled(second).item() == 1
    assert len(compiled.programs()) == 1


def test_floats_are_arguments_and_flags_are_constants():
    compiled = cr.compile(lambda x, scale, twice: x * scale * (2 if twice else 1), engine="numpy")
    x = cr.ones(2)
    assert compiled(x, 3.0, True).tolist() == [6.0, 6.0]
    assert compiled(x, 5.0, False).tolist() == [5.0, 5.0]
    assert compiled(x, 7.0, False).tolist() == [7.0, 7.0]
    assert len(compiled.programs()) == 2


def test_gradients_are_kept_where_asked():
    model, _, step = a_step()
    cr.compile(step, engine="numpy")(*batch())
    assert model[0].weight.grad is None
    cr.compile(step, engine="numpy", keep_grads=True)(*batch())
    assert model[0].weight.grad.shape == model[0].weight.shape


def test_many_shapes_are_warned_of():
    compiled = cr.compile(lambda x: x + 1, engine="numpy")
    with pytest.warns(UserWarning, match="met 16 sets of shapes"):
        for size in range(1, 20):
            compiled(cr.ones(size))


def test_a_value_asked_for_is_refused_with_the_fix():
    def careless(x):
        return x if x.sum().item() > 0 else -x

    with pytest.raises(TraceError, match=r"fix: return the tensor .* cr.where"):
        cr.compile(careless)(cr.ones(2))


def test_an_engine_that_does_not_exist():
    with pytest.raises(OptionError, match=r"no engine 'gpu'.\n  expected: one of auto, numpy"):
        cr.compile(lambda x: x, engine="gpu")


@pytest.mark.parametrize("engine", ENGINES)
def test_two_updates_of_one_parameter_in_one_step(engine):
    def double(step):
        def both(x, y):
            step(x, y)
            return step(x, y)

        return both

    model, _, step = a_step()
    expected = [double(step)(*batch()).item() for _ in range(5)]
    weights = model[0].weight.detach().numpy().copy()
    model, _, step = a_step()
    compiled = cr.compile(double(step), engine=engine)
    losses = [compiled(*batch()).item() for _ in range(5)]
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    np.testing.assert_allclose(model[0].weight.detach().numpy(), weights, rtol=1e-4, atol=1e-5)
    assert model[0].weight.requires_grad


def counter(rows=3):
    """A compiled function that adds to a tensor from outside, and that tensor."""
    state = cr.zeros(rows)

    def add(x):
        with cr.no_grad():
            state.add_(x)
        return state.sum()

    return state, cr.compile(add, engine="native")


@pytest.mark.parametrize("rows", [3, 10_000])
def test_what_was_held_before_a_call_keeps_its_value(rows):
    state, add = counter(rows)
    one = cr.ones(rows)
    held = []
    for _ in range(4):
        held.append(state.detach())
        add(one)
    assert [float(each.max()) for each in held] == [0, 1, 2, 3]
    assert float(state.min()) == 4


def test_a_tensor_that_nobody_else_looks_at_keeps_its_node():
    state, add = counter()
    one = cr.ones(3)
    for _ in range(2):
        add(one)
    node, value = id(state._node), id(state._node.owner)
    for _ in range(5):
        add(one)
    assert (id(state._node), id(state._node.owner)) == (node, value)
    held = state._node  # somebody does: this one keeps its value, and the tensor gets another
    add(one)
    assert state._node is not held and held.value().max() == 7
    assert state.max().item() == 8
    for _ in range(3):
        alias = state.detach()
        add(one)
        add(one)
        assert alias.max().item() == state.max().item() - 2


def test_tensors_that_change_places_between_calls():
    """Each is written to the other's place, from which its own value must have been read before."""
    one, other = cr.zeros(3), cr.zeros(3)

    def add():
        with cr.no_grad():
            one.add_(1.0)
            other.add_(10.0)

    add = cr.compile(add, engine="native")
    for _ in range(3):
        add()
        add()
        one.data, other.data = other.data, one.data
    assert one.tolist() == [42.0] * 3 and other.tolist() == [24.0] * 3


def test_an_argument_that_is_rebound_too():
    state, add = counter()
    for _ in range(4):
        add(state)
        with cr.no_grad():
            state.add_(1.0)
    # 0 + 0, + 1, doubled, + 1, doubled, + 1, doubled, + 1
    assert state.tolist() == [15.0] * 3
    for _ in range(3):
        add(state)
    assert state.tolist() == [120.0] * 3


@pytest.mark.parametrize("rows", [3, 10_000])
def test_state_changed_between_calls_is_taken_over(rows):
    state, add = counter(rows)
    one = cr.ones(rows)
    add(one)
    with cr.no_grad():
        state.mul_(10)
    assert add(one).item() == 11 * rows
    state.numpy()[...] = 5  # what numpy() gives shares memory
    assert add(one).item() == 6 * rows
    state.data = cr.full((rows,), 2.0)
    assert add(one).item() == 3 * rows


@pytest.mark.parametrize("rows", [3, 10_000])
def test_two_compiled_functions_share_a_tensor(rows):
    state, add = counter(rows)
    other = cr.ones(rows)

    def double():
        with cr.no_grad():
            state.mul_(2)
            other.add_(state)

    double = cr.compile(double, engine="native")
    read = cr.compile(lambda: state + other, engine="native")
    for _ in range(3):
        add(cr.ones(rows))
        double()
    assert state.tolist() == [14.0] * rows
    assert read().tolist() == [14.0 + 1 + 2 + 6 + 14] * rows


@pytest.mark.parametrize("rows", [3, 10_000])
def test_arrays_written_in_place_are_read_anew(rows):
    weight, x = np.ones(rows, np.float32), np.ones(rows, np.float32)
    outside, inside = cr.from_numpy(weight), cr.from_numpy(x)
    product = cr.compile(lambda x: (x * outside).sum(), engine="native")
    assert product(inside).item() == rows
    weight[...] = 3
    assert product(inside).item() == 3 * rows
    x[...] = 2
    assert product(inside).item() == 6 * rows


def test_a_tensor_whose_shape_changes_is_rebound():
    buffer = cr.zeros(2)

    def grow(x):
        buffer.data = cr.cat([buffer, x])
        return buffer.sum()

    grow = cr.compile(grow, engine="native")
    assert grow(cr.ones(1)).item() == 1
    assert tuple(buffer.shape) == (3,)


def test_parameters_stay_parameters_in_the_programs_memory():
    model, _, step = a_step()
    compiled = cr.compile(step, engine="native")
    for _ in range(2):
        compiled(*batch())
    weight = model[0].weight
    assert weight.requires_grad and weight.is_leaf
    copy = {name: value.clone() for name, value in model.state_dict().items()}
    compiled(*batch())
    assert not np.array_equal(copy["0.weight"].numpy(), weight.detach().numpy())
    loss = model(batch()[0]).sum()  # eager code goes on from the same values
    loss.backward()
    assert weight.grad.shape == weight.shape
    model.load_state_dict(copy)
    assert np.array_equal(copy["0.weight"].numpy(), weight.detach().numpy())


def test_a_profile_tells_each_task_and_changes_nothing():
    model, _, step = a_step()
    compiled = cr.compile(step, engine="native")
    compiled(*batch())
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    found = compiled.profile(*batch(), runs=50)
    assert 0.99 < sum(line.share for line in found.lines) < 1.01
    assert found.peak > 0 and any("matmul" in line.label for line in found.lines)
    assert "us a step on 1 thread" in str(found)
    for name, value in model.state_dict().items():
        assert np.array_equal(value.numpy(), before[name])
    losses = compiled(*batch()).item()
    model, _, step = a_step()
    again = cr.compile(step, engine="native")
    assert [again(*batch()).item() for _ in range(2)][1] == losses


def test_what_was_compiled_can_be_read():
    _, _, step = a_step()
    compiled = cr.compile(step, engine="native")
    compiled(*batch())
    text = compiled.explain()
    for part in ("tile of", "read,", "written", "bytes kept", "without reuse", "machine code"):
        assert part in text
    assert "define void @run" in compiled.llvm_ir()
    plain = cr.compile(lambda x: x * 2, engine="numpy")
    plain(cr.ones(2))
    with pytest.raises(EngineError, match="engine='native'"):
        plain.llvm_ir()
    with pytest.raises(EngineError, match="engine='native'"):
        plain.profile(cr.ones(2))


def test_a_step_on_several_threads_gives_the_bits_of_one(monkeypatch):
    """Wide enough to be shared by threads; the pace chooses between one and all as it goes."""
    losses = []
    for threads in (1, 2):
        monkeypatch.setattr("chainrule.engines.native.machine.thread_count", lambda n=threads: n)
        cr.manual_seed(1)
        model = nn.Sequential(nn.Linear(7, 300), nn.Tanh(), nn.Linear(300, 3))
        optimizer, loss = optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss()

        def step(x, y, model=model, optimizer=optimizer, loss=loss):
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
            return value

        compiled = cr.compile(step, engine="native")
        losses.append([compiled(*batch(64)).item() for _ in range(300)])
        assert compiled.programs()[0]._built.threads == threads
    assert losses[0] == losses[1]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_parameter_that_is_frozen_stops_learning(engine):
    model, _, step = a_step()
    compiled = cr.compile(step, engine=engine)
    compiled(*batch())
    model[0].weight.requires_grad_(False)
    before = model[0].weight.numpy().copy(), model[2].weight.detach().numpy().copy()
    for _ in range(2):
        compiled(*batch())
    assert np.array_equal(model[0].weight.numpy(), before[0])
    assert not np.array_equal(model[2].weight.detach().numpy(), before[1])
    model[0].weight.requires_grad_(True)
    compiled(*batch())
    assert not np.array_equal(model[0].weight.detach().numpy(), before[0])
