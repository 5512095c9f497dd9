"""``cr.compile(watch=, check=, precision=)``: what is seen of a compiled function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import DTypeError, IndexRangeError, NonFiniteError, OptionError
from chainrule.tensor import _checked_native
from chainrule.train import Watch

ENGINES = ["numpy", "native", "xla"]
X = np.random.default_rng(1).standard_normal((64, 5)).astype(np.float32)
Y = X[:, :1] * 0.5 + 0.1


def a_step(*layers: Any, rule: Any = optim.Adam, lr: float = 0.01) -> Any:
    """A network, its optimizer, and a training step with a value of its own name."""
    cr.manual_seed(2)
    model = nn.Sequential(nn.Linear(5, 16), *(layers or (nn.ReLU(),)), nn.Linear(16, 1))
    optimizer = rule(model.parameters(), lr=lr)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        error = (model(x) - y).named("error")
        loss = (error * error).mean()
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, step


def weights(model: Any) -> list[np.ndarray]:
    return [value.numpy().copy() for value in model.state_dict().values()]


def assert_same(a: list[np.ndarray], b: list[np.ndarray]) -> None:
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("engine", ENGINES)
def test_watching_and_checking_change_no_bits(engine: str) -> None:
    found = []
    for options in ({}, {"watch": Watch(every=3), "check": "nan"}, {"watch": ["0.*"]}):
        model, _, step = a_step(nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3))
        compiled = cr.compile(step, engine=engine, **options)
        losses = [compiled(X[k : k + 20], Y[k : k + 20]).item() for k in range(10)]
        found.append([np.array(losses), *weights(model)])
    assert_same(found[0], found[1])
    assert_same(found[0], found[2])


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_seen_is_what_the_eager_step_has(engine: str) -> None:
    model, _, step = a_step(rule=optim.SGD, lr=0.1)
    compiled = cr.compile(step, engine=engine, watch=Watch(every=2))
    for k in range(3):
        compiled(X[k:40], Y[k:40])
        if k == 1:
            before = weights(model)
    assert compiled.watched.steps.tolist() == [0, 2]
    twin, _, again = a_step(rule=optim.SGD, lr=0.1)
    twin.load_state_dict(dict(zip(twin.state_dict(), map(cr.tensor, before), strict=True)))
    hidden = twin[1](twin[0](cr.tensor(X[2:40])))
    error = twin[2](hidden) - cr.tensor(Y[2:40])
    hidden = hidden.detach()
    error.retain_grad()
    (error * error).mean().backward()
    seen = {name: {k: v[1] for k, v in each.items()} for name, each in compiled.watched.items()}
    assert list(seen) == ["0", "1", "2", "error", "0.weight", "0.bias", "2.weight", "2.bias"]
    assert seen["1"]["zeros"] == pytest.approx((hidden.numpy() == 0).mean(), abs=1e-6)
    assert seen["error"]["mean"] == pytest.approx(error.detach().numpy().mean(), abs=1e-5)
    assert seen["error"]["gradient_norm"] == pytest.approx(
        np.linalg.norm(error.grad.numpy()), rel=1e-4
    )
    for name, parameter in twin.named_parameters():
        norm = np.linalg.norm(parameter.grad.numpy())
        value = np.linalg.norm(parameter.detach().numpy())
        assert seen[name]["gradient_norm"] == pytest.approx(norm, rel=1e-4)
        assert seen[name]["update_ratio"] == pytest.approx(0.1 * norm / value, rel=1e-3)
    assert again is not None


def test_names_of_networks_and_of_tensors_without_one() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    w = cr.ones(2, requires_grad=True)
    compiled = cr.compile(lambda x: second(first(x)) * w, engine="numpy", watch=True)
    compiled(cr.ones(1, 2))
    assert list(compiled.watched) == ["weight", "bias", "weight (2)", "bias (2)", "parameter 4"]
    with pytest.raises(OptionError, match=r"watch names 'hidden', which is no layer, named value"):
        cr.compile(lambda x: x * w, engine="numpy", watch=["hidden"])(cr.ones(2))
    with pytest.raises(OptionError, match="this function is not watched"):
        cr.compile(lambda x: x).watched  # noqa: B018
    nothing = cr.compile(lambda x: x * 2.0, engine="native", watch=True)
    assert nothing(cr.ones(2)).tolist() == [2.0, 2.0]
    assert len(nothing.watched) == 0


def test_small_functions_are_looked_at_less_often_and_shapes_share_the_count() -> None:
    model = nn.Linear(3, 2)
    compiled = cr.compile(model, engine="native", watch=["weight"])
    for k in range(1001):
        compiled(cr.ones(1 + k % 2, 3))
    assert compiled.watched.steps.tolist() == [0, 1000]
    assert "step 1" in compiled.explain()  # the graph that looks
    assert compiled.profile(cr.ones(1, 3), runs=3).microseconds > 0


class Logarithm(nn.Module):
    """A layer that fails on what is below 0."""

    def forward(self, x: Any) -> Any:
        return x.log()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_first_bad_node_is_named_and_the_state_is_that_before(engine: str) -> None:
    model, _, step = a_step(Logarithm(), lr=0.0)
    with cr.no_grad():
        model[0].weight.mul_(0.0)
        model[0].bias.add_(3.0)
    compiled = cr.compile(step, engine=engine, check="nan")
    for _ in range(4):
        compiled(X, Y)
    with cr.no_grad():
        model[0].bias.sub_(10.0)
    before = weights(model)
    with pytest.raises(NonFiniteError) as caught:
        compiled(X, Y)
    text = str(caught.value)
    assert text.startswith("the result is nan in call 4 of a_step.<locals>.step.\n  first: log giv")
    assert f"where: layer '1', \"{__file__}\", line" in text
    assert "input add: float32[64, 16], from -" in text
    assert "fix: keep its input above 0" in text
    assert_same(weights(model), before)
    with cr.no_grad():
        model[0].bias.add_(10.0)
    assert np.isfinite(compiled(X, Y).item())  # it goes on


@pytest.mark.parametrize("engine", ENGINES)
def test_a_bad_gradient_is_found_though_results_are_finite(engine: str) -> None:
    model = nn.Linear(5, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x: Any, scale: Any) -> Any:
        optimizer.zero_grad()
        loss = ((model(x) ** 2).sum() * scale).sqrt()
        loss.backward()
        optimizer.step()
        return loss

    compiled = cr.compile(step, engine=engine, check="nan")
    for _ in range(3):
        compiled(X, cr.tensor(1.0))
    before = weights(model)
    with pytest.raises(NonFiniteError) as caught:
        for _ in range(3):  # natively it is seen by the result of the call after it
            compiled(X, cr.tensor(0.0))
    text = str(caught.value)
    assert "the new value of weight holds nan in call 3 of" in text
    assert "it is part of the gradient of" in text
    assert_same(weights(model), before)


@pytest.mark.parametrize("copies", [0.0, 1e9])
def test_weights_that_blow_up_are_found_at_the_same_call(
    copies: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_checked_native, "COPY_SECONDS", copies)

    def run(engine: str) -> tuple[str, list[np.ndarray]]:
        model, _, step = a_step(rule=optim.SGD, lr=40.0)
        compiled = cr.compile(step, engine=engine, check="nan")
        with pytest.raises(NonFiniteError) as caught:
            for k in range(1000):
                compiled(X[: 20 + k % 2], Y[: 20 + k % 2])  # two graphs share the weights
        return str(caught.value), weights(model)

    (text, after), (expected, _) = run("native"), run("numpy")
    assert text.split("\n")[0] == expected.split("\n")[0]
    assert all(np.isfinite(each).all() for each in after)


def test_a_bad_argument_and_a_bad_weight() -> None:
    model, _, step = a_step()
    compiled = cr.compile(step, engine="native", check="nan")
    x = X.copy()
    x[7, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"argument 0 holds 1 such numbers\n.*at \[7, 2\]"):
        compiled(x, Y)
    compiled(X, Y)
    with cr.no_grad():
        model[0].weight[0, 0] = float("inf")
    with pytest.raises(NonFiniteError, match=r"0\.weight holds numbers that are not finite before"):
        compiled(X, Y)
    with pytest.raises(OptionError, match="there is no check 'inf'"):
        cr.compile(step, check="inf")


def test_a_loop_over_time_names_the_op_and_the_time_step() -> None:
    cr.manual_seed(0)

    def body(carry: Any, x: Any) -> Any:
        following = (carry - x).sqrt()
        return following, following

    def run(x: Any) -> Any:
        return cr.scan(body, cr.full((3,), 4.0), x)[0]

    x = np.zeros((6, 3), np.float32)
    x[4, 1] = 9.0
    for engine in ENGINES:
        compiled = cr.compile(run, engine=engine, check="nan")
        with pytest.raises(
            NonFiniteError, match=r"sqrt gives nan in 1 of 3 numbers, in time step 4"
        ):
            compiled(x)


def test_a_bad_index_counts_as_no_call() -> None:
    table = nn.Embedding(4, 2)
    optimizer = optim.SGD(table.parameters(), lr=0.1)

    def step(index: Any) -> Any:
        optimizer.zero_grad()
        loss = table(index).sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled = cr.compile(step, engine="native", check="nan", watch=Watch(every=1))
    compiled(cr.tensor([1]))
    with pytest.raises(IndexRangeError):
        compiled(cr.tensor([9]))
    compiled(cr.tensor([2]))
    assert compiled.watched.steps.tolist() == [0, 1]


@pytest.mark.parametrize("engine", ENGINES)
def test_precision(engine: str) -> None:
    model, _, step = a_step()
    compiled = cr.compile(step, engine=engine, precision="float32")
    assert compiled(X.astype(np.float64), Y.astype(np.float64)).dtype is cr.float32
    assert len(compiled.programs()) == 1
    compiled(X, y=Y)
    model.double()
    with pytest.raises(DTypeError, match="the input is float32, the weight float64"):
        compiled(X, Y)
    scale = nn.PReLU().double()
    wrong = cr.compile(lambda x: x * scale.weight, engine=engine, precision="float32")
    with pytest.raises(OptionError, match=r"reads a parameter of float64.*\n.*\n.*model\.float"):
        wrong(X)
    made = cr.compile(lambda x: (x + cr.ones(2), cr.zeros(1)), engine=engine, precision=cr.float64)
    assert [each.dtype for each in made([cr.ones(2)][0])] == [cr.float64, cr.float64]
    assert cr.ones(1).dtype is cr.float32
    with pytest.raises(OptionError, match="there is no precision 'bfloat16'"):
        cr.compile(step, precision="bfloat16")
