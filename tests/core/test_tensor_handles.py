"""What a handle does: in-place forms, views, .data, hooks, gradients that add up, refusals."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule.errors import ChainruleError, DTypeError, GradientError, ShapeError


def leaves(values: Any) -> tuple[Any, Any]:
    return cr.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)


IN_PLACE = [
    lambda x: x.add_(2),
    lambda x: x.add_(x, alpha=3),
    lambda x: x.sub_(1),
    lambda x: x.mul_(x.clone()),
    lambda x: x.div_(4),
    lambda x: x.fill_(3.0),
    lambda x: x.zero_(),
    lambda x: x.copy_(x * 2),
    lambda x: x.masked_fill_(x > 1, 9.0),
    lambda x: x.__iadd__(1),
    lambda x: x.__isub__(1),
    lambda x: x.__imul__(2),
    lambda x: x.__itruediv__(2),
]


@pytest.mark.parametrize("change", IN_PLACE)
def test_in_place_forms_and_their_gradients(change: Any) -> None:
    x, t = leaves([1.0, 2.0, 3.0])
    y, z = x * 1, t * 1
    old = y.node
    for one in (y, z):
        assert change(one) is one
    assert y.tolist() == z.tolist()
    assert old.value().tolist() == [1.0, 2.0, 3.0]
    (y * y + x).sum().backward()
    (z * z + t).sum().backward()
    assert x.grad.tolist() == t.grad.tolist()


def test_those_who_used_the_old_node_keep_it() -> None:
    """PyTorch refuses this at backward; here the old node is still there, and right."""
    x = cr.tensor([2.0], requires_grad=True)
    y = x * 1
    square = y * y
    y += 5
    (square + y).sum().backward()
    assert x.grad.tolist() == [5.0]


def test_in_place_keeps_shape_and_dtype() -> None:
    x = cr.ones(3)
    with pytest.raises(ShapeError, match="cannot change a tensor's shape"):
        x += cr.ones(2, 3)
    whole = cr.tensor([1, 2])
    with pytest.raises(DTypeError, match=r"cannot be written into a tensor of chainrule\.int64"):
        whole += 0.5
    whole += 1
    assert whole.dtype is cr.int64
    x += cr.ones(3, dtype=cr.float64)
    assert x.dtype is cr.float32


def test_a_leaf_that_requires_grad_is_not_overwritten() -> None:
    x = cr.ones(2, requires_grad=True)
    for change in (lambda: x.add_(1), lambda: x.__setitem__(0, 2.0), lambda: x.zero_()):
        with pytest.raises(GradientError, match=r"fix: do it inside `with cr.no_grad\(\):`"):
            change()
    with cr.no_grad():
        x -= 0.5
        x[0] = 7.0
    assert x.tolist() == [7.0, 0.5] and x.requires_grad and x.is_leaf


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.reshape(4),
        lambda x: x[0],
        lambda x: x.T,
        lambda x: x.expand(3, 2, 2),
        lambda x: x.detach(),
        lambda x: x.unsqueeze(0),
        lambda x: x[:, 1],
    ],
)
def test_writing_to_a_view_is_refused_with_the_fix(view: Any) -> None:
    x = cr.ones(2, 2)
    seen = view(x)
    with pytest.raises(GradientError, match="write to the owner") as refused:
        seen += 1
    assert ".clone()" in str(refused.value)
    with pytest.raises(GradientError):
        seen.zero_()
    copied = view(x).clone()
    copied += 1
    assert x.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_data_writes_through() -> None:
    x, t = leaves([1.0, 2.0])
    for one in (x, t):
        one.data += 1
        one.data[0] = 5.0
        one.data.mul_(2)
    assert x.tolist() == t.tolist() == [10.0, 6.0]
    assert x.requires_grad and x.is_leaf and not x.data.requires_grad
    x.data = cr.tensor([3.0, 4.0])
    (x * x).sum().backward()
    assert x.grad.tolist() == [6.0, 8.0]


def test_data_of_a_result_leaves_its_history_alone() -> None:
    x = cr.tensor([1.0], requires_grad=True)
    y = x * 3
    assert y.data.tolist() == [3.0] and y.data.is_leaf


def test_gradients_add_up_over_calls_and_zero_by_none() -> None:
    x, t = leaves([1.0, 2.0])
    for one in (x, t):
        loss = (one * one).sum()
        loss.backward(retain_graph=True)
        loss.backward()
    assert x.grad.tolist() == t.grad.tolist() == [4.0, 8.0]
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_grad_that_somebody_holds_grows_with_backward() -> None:
    x = cr.tensor([1.0], requires_grad=True)
    (x * 2).sum().backward()
    held = x.grad
    (x * 2).sum().backward()
    assert held is x.grad and held.tolist() == [4.0]


def test_backward_takes_a_gradient() -> None:
    x, t = leaves([[1.0, 2.0], [3.0, 4.0]])
    (x * x).backward(cr.tensor([[1.0, 0.0], [0.5, 2.0]]))
    (t * t).backward(torch.tensor([[1.0, 0.0], [0.5, 2.0]]))
    assert x.grad.tolist() == t.grad.tolist()
    with pytest.raises(ShapeError, match=r"shape \(2,\), the tensor \(2, 2\)"):
        (x * x).backward(cr.ones(2))


def test_backward_without_gradient_needs_one_element() -> None:
    x = cr.ones(2, requires_grad=True)
    with pytest.raises(GradientError, match=r"fix: y\.sum\(\)\.backward\(\)"):
        (x * 2).backward()
    with pytest.raises(GradientError, match="nothing that this tensor was computed from"):
        cr.ones(1).backward()


def test_retain_grad_and_hooks_as_in_torch() -> None:
    x, t = leaves([1.0, 2.0])
    seen: list[Any] = []
    for one in (x, t):
        middle = one * one
        middle.retain_grad()
        middle.register_hook(lambda g: seen.append(g.tolist()))
        middle.register_hook(lambda g: g * 10)
        (middle * 3).sum().backward()
        seen.append(middle.grad.tolist())
    half = len(seen) // 2
    assert seen[:half] == seen[half:] == [[3.0, 3.0], [30.0, 30.0]]
    assert x.grad.tolist() == t.grad.tolist() == [60.0, 120.0]


def test_hooks_on_leaves_can_be_removed() -> None:
    x = cr.ones(2, requires_grad=True)
    calls = []
    remove = x.register_hook(calls.append)
    (x * 2).sum().backward()
    remove()
    (x * 2).sum().backward()
    assert len(calls) == 1 and calls[0].tolist() == [2.0, 2.0]
    with pytest.raises(GradientError, match="a hook waits for a gradient"):
        cr.ones(1).register_hook(print)


def test_hooks_see_the_whole_gradient_once() -> None:
    x = cr.ones(1, requires_grad=True)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    (y * 3 + y * 4).sum().backward()
    assert seen == [[7.0]]


def test_no_grad_detach_and_requires_grad() -> None:
    x = cr.ones(2, requires_grad=True)
    with cr.no_grad():
        assert not (x * 2).requires_grad
        with cr.enable_grad():
            assert (x * 2).requires_grad
    with cr.inference_mode():
        assert not (x + 1).requires_grad
    assert not x.detach().requires_grad
    assert not (x.detach() * 2).requires_grad

    @cr.no_grad()
    def quiet() -> Any:
        return x * 2

    assert not quiet().requires_grad
    with cr.set_grad_enabled(False):
        assert not cr.is_grad_enabled()
    assert cr.is_grad_enabled()

    @cr.set_grad_enabled(False)
    def also_quiet() -> Any:
        return x * 2

    assert cr.is_grad_enabled() and not also_quiet().requires_grad
    with pytest.raises(GradientError, match="leaves only"):
        (x * 2).requires_grad_(False)
    with pytest.raises(DTypeError, match="only floating-point tensors have gradients"):
        cr.tensor([1], requires_grad=True)


def test_grad_of_results_of_whole_numbers_is_refused() -> None:
    x = cr.ones(2, requires_grad=True)
    assert not (x > 0).requires_grad and not x.argmax().requires_grad
    assert x.long().requires_grad is False


def test_grad_function_gives_history_again() -> None:
    x = cr.tensor([2.0], requires_grad=True)
    (first,) = cr.grad((x**4).sum(), x)
    (second,) = cr.grad(first.sum(), x)
    (third,) = cr.grad(second.sum(), [x])
    assert [one.item() for one in (first, second, third)] == [32.0, 48.0, 48.0]
    y = cr.ones(1, requires_grad=True)
    with pytest.raises(GradientError, match="allow_unused=True"):
        cr.grad(x.sum(), [y])
    assert cr.grad(x.sum(), [y], allow_unused=True) == [None]
    with pytest.raises(GradientError, match="keeps no history"):
        cr.grad(cr.ones(1).sum(), [y])


def test_grad_of_intermediate_results() -> None:
    x = cr.tensor([2.0], requires_grad=True)
    y = x * x
    z = (y * y).sum()
    assert [one.item() for one in cr.grad(z, [y, x])] == [8.0, 32.0]


@pytest.mark.filterwarnings("ignore:Using backward")
def test_create_graph_keeps_history_in_grad() -> None:
    x, t = leaves([3.0])
    for one in (x, t):
        (one**3).sum().backward(create_graph=True)
    assert x.grad.requires_grad and t.grad.requires_grad
    x.grad.sum().backward()
    t.grad.sum().backward()
    assert x.grad.item() == t.grad.item() == 45.0
    y = cr.tensor([3.0], requires_grad=True)
    (y**3).sum().backward()
    assert not y.grad.requires_grad and not y.grad.inputs


def test_numpy_shares_memory_and_refuses_history() -> None:
    array = np.ones(2, np.float32)
    x = cr.from_numpy(array)
    array[0] = 9
    assert x.tolist() == [9.0, 1.0]
    assert np.shares_memory(x.numpy(), array)
    assert not np.shares_memory(cr.tensor(array).numpy(), array)
    with pytest.raises(GradientError, match=r"x\.detach\(\)\.numpy\(\)"):
        cr.ones(1, requires_grad=True).numpy()
    assert np.asarray(x).tolist() == [9.0, 1.0]
    assert (np.ones(2, np.float32) + x).tolist() == [10.0, 2.0]


def test_deep_copies_are_leaves_of_their_own() -> None:
    x = cr.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    other = copy.deepcopy(x)
    with cr.no_grad():
        other += 1
    assert x.tolist() == [1.0, 1.0] and other.requires_grad and other.grad.tolist() == [2.0, 2.0]
    with pytest.raises(GradientError, match="only leaves can be deep-copied"):
        copy.deepcopy(x * 2)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (lambda: cr.ones(2, 3) + cr.ones(4), r"shapes \(2, 3\) and \(4,\) do not meet: axis -1"),
        (lambda: cr.ones(2, 3) @ cr.ones(4, 5), "the inner lengths differ, 3 and 4"),
        (lambda: cr.ones(2) @ cr.tensor(1.0), "for a number use"),
        (lambda: cr.ones(6).reshape(4, 2), "cannot be reshaped to"),
        (lambda: cr.ones(6).reshape(4, -1), "do not divide its elements"),
        (lambda: cr.ones(2, 3).sum(2), "axis 2 does not exist in a tensor with 2 dimensions"),
        (lambda: cr.ones(2, 3).permute(0, 0), "do not name distinct axes"),
        (lambda: cr.ones(2, 3).expand(4, 3), "cannot be expanded to"),
        (lambda: cr.tensor([1, 2]).mean(), r"fix: x\.float\(\)\.mean\(\)"),
        (lambda: bool(cr.ones(2)), r"fix: x\.any\(\) or x\.all\(\)"),
        (lambda: cr.ones(2).item(), r"fix: x\.tolist\(\)"),
        (lambda: len(cr.tensor(1.0)), "a 0-d tensor has no length"),
        (lambda: cr.ones(2) + "a", "cannot be combined with str"),
        (lambda: cr.tensor(["a"]), "holds numbers or booleans"),
        (lambda: cr.tensor([[1, 2], [3]]), "lists of equal lengths"),
        (lambda: cr.tensor([True]) - cr.tensor([True]), "is not defined for booleans"),
        (lambda: cr.cat([cr.ones(2, 3), cr.ones(3, 2)]), "cannot be joined along axis 0"),
        (lambda: cr.zeros(0, 3).amax(0), "over an axis of length 0 has no result"),
        (lambda: cr.ones(3).split([1, 1]), "do not add up to 3"),
        (lambda: cr.ones(2).to("cuda"), "eager values live on the host"),
        (lambda: cr.ones(2).to("moon"), "there is no device 'moon'"),
        (lambda: cr.ones(2).type("float17"), "is no dtype"),
        (lambda: cr.ones(2).view(cr.int32), r"to convert use x\.to\(dtype\)"),
    ],
)
def test_errors_say_what_is_wrong(line: Any, text: str) -> None:
    with pytest.raises(ChainruleError, match=text):
        line()


def test_errors_name_op_layer_line_and_tensors() -> None:
    x = cr.ones(2, 3).named("pixels")
    with pytest.raises(ShapeError) as raised:
        x @ cr.ones(4, 5)
    text = str(raised.value)
    assert "where: op matmul" in text and "'pixels' float32[2,3]" in text
    assert f'"{__file__}", line ' in text


def test_printing() -> None:
    assert repr(cr.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert repr(cr.tensor(3)) == "tensor(3)"
    assert repr(cr.tensor([1.0], dtype=cr.float64)) == "tensor([1.], dtype=chainrule.float64)"
    assert repr(cr.zeros(0, 3)) == "tensor([], shape=(0, 3))"
    x = cr.ones(1, requires_grad=True).named("w")
    assert repr(x) == "tensor([1.], name='w', requires_grad=True)"
    assert repr(x * 2) == "tensor([2.], op=mul)"
    assert f"{cr.tensor(2.5):.2f}" == "2.50"
