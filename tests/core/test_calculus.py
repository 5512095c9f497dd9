"""Jacobians, Hessians, products with them, batching, checks of gradients, derivatives and ops of
one's own: beside PyTorch's, on shapes that hypothesis makes."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.autograd import functional as torch_functional

import chainrule as cr
from chainrule.errors import EngineError, GradientError, OptionError, ShapeError

SEEDS = st.integers(0, 2**31)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=3)
MATRICES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=4)


def draw(data: Any, shapes: Any = SHAPES) -> np.ndarray:
    rng = np.random.default_rng(data.draw(SEEDS))
    return np.asarray(rng.uniform(0.3, 2.0, data.draw(shapes)))


def close(ours: Any, theirs: Any, scale: float = 1e-9) -> None:
    if isinstance(theirs, tuple):
        for one, other in zip(ours, theirs, strict=True):
            close(one, other, scale)
        return
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(
        ours.detach().numpy(), theirs.detach().numpy(), rtol=scale, atol=scale
    )


FUNCTIONS = {
    "square": lambda x: x**2,
    "sum": lambda x: (x * x.log()).sum(),
    "sine of all": lambda x: x.sin() * x.sum(),
    "product": lambda x: x.reshape(-1, 1) @ x.reshape(1, -1),
    "softmax": lambda x: x.reshape(-1).softmax(0),
    "largest": lambda x: x.reshape(-1).max() * x,
    "sorted": lambda x: x.reshape(-1).sort()[0] ** 2,
    "running": lambda x: x.reshape(-1).cumsum(0) ** 2,
    "picked": lambda x: x.reshape(-1)[[0, -1]] ** 3,
    "constant": lambda x: x.detach() * 3 + 0 * x,
}
NUMBERS = {name: (lambda x, f=f: (f(x) ** 2).sum()) for name, f in FUNCTIONS.items()}
NUMBERS["straight"] = lambda x: 3 * x.sum()


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=8)
@given(data=st.data())
def test_jacobian(name: str, data: Any) -> None:
    array, function = draw(data), FUNCTIONS[name]
    expected = torch_functional.jacobian(function, torch.tensor(array))
    close(cr.jacobian(function, cr.tensor(array)), expected)


@pytest.mark.parametrize("name", NUMBERS)
@settings(max_examples=8)
@given(data=st.data())
def test_hessian_and_its_product(name: str, data: Any) -> None:
    array, function = draw(data), NUMBERS[name]
    expected = torch_functional.hessian(function, torch.tensor(array))
    close(cr.hessian(function, cr.tensor(array)), expected, 1e-8)
    vector = np.random.default_rng(1).standard_normal(array.shape)
    found = cr.hvp(function, cr.tensor(array), cr.tensor(vector))
    theirs = torch_functional.hvp(function, torch.tensor(array), torch.tensor(vector))
    close(found, theirs, 1e-8)


@settings(max_examples=10)
@given(data=st.data())
def test_several_inputs(data: Any) -> None:
    a, b = draw(data, MATRICES), draw(data, MATRICES)

    def function(x: Any, y: Any) -> Any:
        return (x.sum() * y) ** 2

    def number(x: Any, y: Any) -> Any:
        return function(x, y).sum() + (x**3).sum()

    ours, theirs = (cr.tensor(a), cr.tensor(b)), (torch.tensor(a), torch.tensor(b))
    close(cr.jacobian(function, ours), torch_functional.jacobian(function, theirs))
    close(cr.hessian(number, ours), torch_functional.hessian(number, theirs), 1e-8)
    found = cr.hvp(number, ours, ours)
    close(found, torch_functional.hvp(number, theirs, theirs), 1e-8)


def test_a_jacobian_can_be_differentiated_again() -> None:
    array = np.array([0.5, 1.5, 2.0])
    ours = cr.tensor(array, requires_grad=True)
    theirs = torch.tensor(array, requires_grad=True)
    (cr.jacobian(lambda x: x**3, ours, create_graph=True) ** 2).sum().backward()
    (torch_functional.jacobian(lambda x: x**3, theirs, create_graph=True) ** 2).sum().backward()
    close(ours.grad, theirs.grad)


def test_a_jacobian_leaves_its_input_as_it_was() -> None:
    x = cr.tensor([1.0, 2.0])
    cr.jacobian(lambda x: x * x, x)
    cr.hessian(lambda x: (x * x).sum(), x)
    assert not x.requires_grad and x.grad is None


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: cr.jacobian(lambda x: (x, x), x), GradientError, "must return one tensor"),
        (lambda x: cr.hessian(lambda x: x, x), GradientError, "a tensor of one element; got"),
        (lambda x: cr.hvp(lambda x: x, x, x), GradientError, "fix: sum the result"),
        (lambda x: cr.hvp(lambda x: x.sum(), x, cr.ones(3)), ShapeError, "shapes of the inputs"),
    ],
)
def test_calculus_refuses(call: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        call(cr.ones(2))


ROWS = {
    "sum of squares": lambda row: (row * row).sum(),
    "products": lambda row: row.unsqueeze(1) @ row.unsqueeze(0),
    "softmax": lambda row: row.softmax(0),
    "largest": lambda row: row.max(0)[0] + row.argmax(0),
    "sorted": lambda row: row.sort()[0],
    "running": lambda row: row.cumsum(0),
    "flipped": lambda row: row.flip(0) - row[:1],
    "stacked": lambda row: row.reshape(1, -1).expand(2, row.shape[0]),
}


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=8)
@given(data=st.data())
def test_vmap(name: str, data: Any) -> None:
    array, function = draw(data, MATRICES), ROWS[name]
    expected = torch.stack([function(row) for row in torch.tensor(array)])
    close(cr.vmap(function)(cr.tensor(array)), expected)
    close(cr.vmap(function, in_dims=1)(cr.tensor(array.T.copy())), expected)
    last = cr.vmap(function, out_dims=-1)(cr.tensor(array))
    close(last, torch.movedim(expected, 0, -1))


@settings(max_examples=8)
@given(data=st.data())
def test_vmap_of_gradients_gives_each_example_s_own(data: Any) -> None:
    x = draw(data, MATRICES)
    w = np.random.default_rng(2).standard_normal((x.shape[1], 2))

    def slope(row: Any, weight: Any) -> Any:
        return cr.grad(((row @ weight).tanh() ** 2).sum(), [weight])[0]

    found = cr.vmap(slope, in_dims=(0, None))(cr.tensor(x), cr.tensor(w, requires_grad=True))
    theirs = []
    for row in torch.tensor(x):
        weight = torch.tensor(w, requires_grad=True)
        ((row @ weight).tanh() ** 2).sum().backward()
        theirs.append(weight.grad)
    close(found, torch.stack(theirs))


def test_vmap_refuses() -> None:
    with pytest.raises(OptionError, match="in_dims names 1 arguments, and 2 were given"):
        cr.vmap(lambda a, b: a + b, in_dims=(0,))(cr.ones(2), cr.ones(2))
    with pytest.raises(ShapeError, match=r"the arguments have \[2, 3\] examples"):
        cr.vmap(lambda a, b: a + b)(cr.ones(2), cr.ones(3))
    with pytest.raises(ShapeError, match="have no examples"):
        cr.vmap(lambda a: a, in_dims=None)(cr.ones(2))
    total = cr.zeros(())
    with pytest.raises(OptionError, match="changes a tensor from outside"):
        cr.vmap(lambda a: total.add_(a))(cr.ones(2))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_check_grad_passes_what_is_right(name: str) -> None:
    if name == "constant":
        pytest.skip("differences see through detach")
    assert cr.check_grad(FUNCTIONS[name], cr.tensor([0.7, 1.9]))


def test_check_grad_names_what_is_wrong() -> None:
    class Wrong(cr.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 3

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * cr.tensor([3.0, 2.0])

    text = "(?s)differs from its central difference.*output element 1, input 0, element \\(1,\\)"
    with pytest.raises(GradientError, match=text):
        cr.check_grad(Wrong.apply, cr.tensor([1.0, 2.0]))


def functions(m: Any) -> dict[str, Any]:
    """The same user-written derivatives for PyTorch and for chainrule."""

    class Cube(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            (x,) = ctx.saved_tensors
            return gradient * 3 * x * x

    class Scaled(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, factor: float, y: Any) -> Any:
            ctx.factor = factor
            ctx.save_for_backward(x, y)
            return x * y * factor

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            x, y = ctx.saved_tensors
            assert ctx.needs_input_grad == (True, False, True)
            return gradient * y * ctx.factor, None, gradient * x * ctx.factor

    class Two(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x.sin(), x.cos()

        @staticmethod
        def backward(ctx: Any, first: Any, second: Any) -> Any:
            (x,) = ctx.saved_tensors
            return first * x.cos() - second * x.sin()

    class Straight(m.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.sign()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient

    return {
        "cube": lambda x: Cube.apply(x),
        "scaled": lambda x: Scaled.apply(x, 2.5, x + 1),
        "two": lambda x: Two.apply(x)[0] * 2 + Two.apply(x)[1],
        "one of two": lambda x: Two.apply(x * x)[1],
        "straight": lambda x: Straight.apply(x - 1) * x,
    }


OURS, THEIRS = functions(cr), functions(torch)


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=8)
@given(data=st.data())
def test_derivatives_of_one_s_own(name: str, data: Any) -> None:
    array = draw(data)
    ours, theirs = cr.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    y, z = OURS[name](ours), THEIRS[name](theirs)
    close(y, z)
    (y * y).sum().backward()
    (z * z).sum().backward()
    close(ours.grad, theirs.grad)


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=5)
@given(data=st.data())
def test_derivatives_of_one_s_own_of_second_order(name: str, data: Any) -> None:
    array = draw(data)
    found = []
    for m, line in ((cr, OURS[name]), (torch, THEIRS[name])):
        x = m.tensor(array, requires_grad=True)
        (slope,) = m.autograd.grad((line(x) ** 2).sum(), [x], create_graph=True)
        found.append(m.autograd.grad((slope**2).sum(), [x])[0])
    close(found[0], found[1], 1e-8)


@pytest.mark.parametrize("engine", ["numpy", "native", "xla"])
@pytest.mark.parametrize("name", OURS)
def test_derivatives_of_one_s_own_compile(name: str, engine: str) -> None:
    if engine == "xla":
        pytest.importorskip("jax")

    def slope(x: Any) -> Any:
        return cr.grad((OURS[name](x) ** 2).sum(), [x])[0]

    x = cr.tensor(np.array([0.5, 1.5, 2.5], np.float32), requires_grad=True)
    found = cr.compile(slope, engine=engine)(x)
    np.testing.assert_allclose(found.numpy(), slope(x).detach().numpy(), rtol=1e-5)


def test_a_function_is_asked_for_both_its_parts() -> None:
    class Nothing(cr.autograd.Function):
        pass

    with pytest.raises(OptionError, match="needs a static method forward"):
        Nothing.apply(cr.ones(1))

    class Forward(cr.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any = None) -> Any:
            return x * 2

    with pytest.raises(OptionError, match="needs a static method backward"):
        Forward.apply(cr.ones(1, requires_grad=True)).backward()

    class Short(Forward):
        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient

    with pytest.raises(GradientError, match=r"(?s)one gradient for each argument.*expected: 2"):
        Short.apply(cr.ones(1, requires_grad=True), 3).backward()

    class Narrow(Forward):
        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient.sum()

    with pytest.raises(ShapeError, match=r"argument 0 has shape \(\), the argument \(2,\)"):
        Narrow.apply(cr.ones(2, requires_grad=True)).sum().backward()


def test_a_custom_op_is_an_op() -> None:
    arctan = cr.custom_op(
        "arctan of a test",
        lambda xp, x: np.arctan(x),
        [lambda g, y, x: g / (x * x + 1)],
        text="atan({0})",
    )
    array = np.array([[0.5, -1.0], [2.0, 0.0]])
    x, t = cr.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    y = arctan(x)
    close(y, t.arctan())
    (y * y).sum().backward()
    (t.arctan() ** 2).sum().backward()
    close(x.grad, t.grad)
    assert y.op == "arctan of a test"
    assert cr.check_grad(arctan, x)
    close(
        cr.hessian(lambda x: arctan(x).sum(), cr.tensor(array)),
        torch_functional.hessian(lambda x: x.arctan().sum(), torch.tensor(array)),
    )
    with pytest.raises(EngineError, match="arctan of a test"):
        cr.compile(arctan, engine="native")(x)
    found = cr.compile(arctan, engine="numpy")(x)
    close(found, t.arctan())


def test_a_custom_op_with_attributes_and_two_inputs() -> None:
    weighted = cr.custom_op(
        "weighted",
        lambda xp, a, b, *, weight: a * b * weight,
        [lambda g, y, a, b, *, weight: g * b * weight, None],
        infer=lambda a, b, *, weight: a,
    )
    a, b = cr.ones(3, requires_grad=True), cr.full((3,), 2.0, dtype=cr.float32)
    y = weighted(a, b, weight=5.0)
    assert y.tolist() == [10.0, 10.0, 10.0]
    y.sum().backward()
    assert a.grad.tolist() == [10.0, 10.0, 10.0]
    with pytest.raises(OptionError, match="weighted takes 2 inputs"):
        weighted(a)
    with pytest.raises(OptionError, match="there is an op 'exp' already"):
        cr.custom_op("exp", lambda xp, x: x, [None])
