"""Each op's value, gradient and second derivative: against PyTorch, and against differences."""

from typing import Any

import numpy as np
import op_cases
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases import CASES, Case, Sample

import chainrule as cr
from chainrule import autodiff, dtypes, ops
from chainrule.tensor._handle import array_leaf

NAMES = sorted(CASES)
WITH_RULES = [name for name in NAMES if any(CASES[name].op.vjps) and CASES[name].torch]


def weighted(outputs: list[Any], weights: list[np.ndarray]) -> Any:
    """One number that depends on every element of every output, for nodes and torch tensors."""
    total = 0
    for output, weight in zip(outputs, weights, strict=True):
        if isinstance(output, torch.Tensor):
            total = total + (output * torch.from_numpy(weight)).sum()
        elif output.dtype.is_float:
            product = output * array_leaf(weight)
            total = product.sum(tuple(range(product.ndim)), False) + total
    return total


def leaves(arrays: list[np.ndarray]) -> list[Any]:
    return [array_leaf(array, array.dtype.kind == "f") for array in arrays]


def torch_leaves(arrays: list[np.ndarray]) -> list[torch.Tensor]:
    return [
        torch.from_numpy(array.copy()).requires_grad_(array.dtype.kind == "f") for array in arrays
    ]


def run_torch(case: Case, inputs: list[torch.Tensor], sample: Sample) -> list[torch.Tensor]:
    result = case.torch(*inputs, **sample.attrs)
    return list(result) if isinstance(result, tuple) else [result]


def close(ours: Any, theirs: Any, scale: float = 1e-9) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=scale, atol=scale, equal_nan=True)


def test_every_op_has_a_case() -> None:
    assert set(CASES) | {"pick"} == {op.name for op in ops.ALL}
    assert len(ops.ALL) == len(ops.BY_NAME)


@pytest.mark.parametrize("name", [n for n in NAMES if CASES[n].torch])
@settings(max_examples=10)
@given(data=st.data())
def test_value_is_that_of_torch(name: str, data: Any) -> None:
    case = CASES[name]
    sample = data.draw(case.sample)
    kind = data.draw(st.sampled_from([one for one in case.types if one is not dtypes.uint32]))
    attrs = op_cases.attributes(sample, kind if kind.is_float else dtypes.float64)
    arrays = sample.arrays(kind)
    ours = op_cases.outputs(case, leaves(arrays), attrs)
    theirs = run_torch(case, [torch.from_numpy(array.copy()) for array in arrays], sample)
    for node, tensor in zip(ours, theirs, strict=True):
        expected = tensor.numpy()
        assert node.value().shape == node.shape == expected.shape
        assert node.value().dtype == node.dtype.np
        scale = 1e-6 if kind is dtypes.float32 else 1e-13
        close(node.value(), expected.astype(node.dtype.np), scale)


@pytest.mark.parametrize("name", WITH_RULES)
@settings(max_examples=10)
@given(data=st.data())
def test_gradients_of_first_and_second_order_are_those_of_torch(name: str, data: Any) -> None:
    case = CASES[name]
    sample = data.draw(case.sample)
    attrs = op_cases.attributes(sample, dtypes.float64)
    arrays = sample.arrays(dtypes.float64)
    rng = np.random.default_rng(sample.seed + 1)
    nodes, tensors = leaves(arrays), torch_leaves(arrays)
    ours, theirs = (
        op_cases.outputs(case, nodes, attrs),
        run_torch(case, tensors, sample),
    )
    weights = [np.asarray(rng.standard_normal(node.shape)) for node in ours]
    if not any(tensor.requires_grad for tensor in theirs):
        assert not any(node.requires_grad for node in ours if node.dtype.is_float)
        return
    wanted = [node for node in nodes if node.requires_grad]
    torch_wanted = [tensor for tensor in tensors if tensor.requires_grad]
    first = autodiff.sweep(weighted(ours, weights), wanted)
    torch_first = torch.autograd.grad(
        weighted(theirs, weights), torch_wanted, create_graph=True, allow_unused=True
    )
    for node, expected in zip(wanted, torch_first, strict=True):
        found = first[node]
        value = np.zeros(node.shape) if found is None else found.value()
        close(
            value, np.zeros(node.shape) if expected is None else expected.detach().numpy(force=True)
        )
    directions = [np.asarray(rng.standard_normal(node.shape)) for node in wanted]
    again = [(first[n], d) for n, d in zip(wanted, directions, strict=True) if first[n]]
    torch_again = [
        (t, d)
        for t, d in zip(torch_first, directions, strict=True)
        if t is not None and t.requires_grad
    ]
    if not torch_again:
        return
    second = autodiff.sweep(weighted(*map(list, zip(*again, strict=True))), wanted)
    torch_second = torch.autograd.grad(
        weighted(*map(list, zip(*torch_again, strict=True))), torch_wanted, allow_unused=True
    )
    for node, expected in zip(wanted, torch_second, strict=True):
        found = second[node]
        value = np.zeros(node.shape) if found is None else found.value()
        wanted_value = np.zeros(node.shape) if expected is None else expected.numpy(force=True)
        close(value, wanted_value, 1e-8)


@pytest.mark.parametrize("name", [n for n in WITH_RULES if CASES[n].smooth])
@settings(max_examples=6)
@given(data=st.data())
def test_gradients_are_those_of_differences(name: str, data: Any) -> None:
    """Central differences along one random direction: of the value, and of the gradient."""
    case = CASES[name]
    sample = data.draw(case.sample)
    attrs = op_cases.attributes(sample, dtypes.float64)
    arrays = sample.arrays(dtypes.float64)
    rng = np.random.default_rng(sample.seed + 2)

    def direction() -> list[Any]:
        return [
            np.asarray(rng.standard_normal(array.shape)) if array.dtype.kind == "f" else None
            for array in arrays
        ]

    along, second = direction(), direction()
    shapes = [node.shape for node in op_cases.outputs(case, leaves(arrays), attrs)]
    weights = [np.asarray(rng.standard_normal(shape)) for shape in shapes]

    def slope(at: list[np.ndarray], once: list[Any] | None, twice: Any = None) -> Any:
        """J, or its derivative along a direction, or that one's along another, at a point."""
        nodes = leaves(at)
        total = weighted(op_cases.outputs(case, nodes, attrs), weights)
        for way in (once, twice):
            if way is None:
                break
            if not getattr(total, "requires_grad", False):
                return 0.0
            result = autodiff.sweep(total, [node for node in nodes if node.requires_grad])
            pairs = [(result[n], w) for n, w in zip(nodes, way, strict=True) if result[n]]
            total = weighted(*map(list, zip(*pairs, strict=True))) if pairs else 0.0
        return total if isinstance(total, float) else total.value().item()

    def moved(step: float) -> list[np.ndarray]:
        return [
            array if way is None else np.asarray(array + step * way)
            for array, way in zip(arrays, along, strict=True)
        ]

    h = 1e-5
    first = (slope(moved(h), None) - slope(moved(-h), None)) / (2 * h)
    assert slope(arrays, along) == pytest.approx(first, rel=1e-5, abs=1e-5)
    change = (slope(moved(h), second) - slope(moved(-h), second)) / (2 * h)
    assert slope(arrays, second, along) == pytest.approx(change, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: x.maximum(cr.zeros(3)), lambda x: torch.maximum(x, torch.zeros(3))),
        (lambda x: x.minimum(cr.zeros(3)), lambda x: torch.minimum(x, torch.zeros(3))),
        (lambda x: x.relu(), lambda x: x.relu()),
        (lambda x: x.abs(), lambda x: x.abs()),
        (lambda x: x.amax(), lambda x: x.amax()),
        (lambda x: x.clamp(0, 1), lambda x: x.clamp(0, 1)),
        (lambda x: x**2, lambda x: x**2),
        (lambda x: x**0, lambda x: x**0),
        (lambda x: x**1, lambda x: x**1),
        (lambda x: x ** cr.tensor([0.0, 1.0, 2.0]), lambda x: x ** torch.tensor([0.0, 1.0, 2.0])),
        (lambda x: 2.0**x, lambda x: 2.0**x),
    ],
)
def test_ties_and_corners_are_those_of_torch(ours: Any, theirs: Any) -> None:
    x, t = cr.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    ours(x).sum().backward()
    theirs(t).sum().backward()
    close(x.grad.numpy(), t.grad.numpy())
