"""Indexing and item assignment beside PyTorch's and NumPy's, with gradients."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule.errors import DTypeError, IndexRangeError, ShapeError

CUBE = np.arange(24, dtype=np.float64).reshape(2, 3, 4)


def keys(make: Any) -> list[Any]:
    """Keys, their index arrays made by ``make``."""
    mask = CUBE % 3 == 0
    return [
        0,
        -1,
        (1, 2),
        (0, -1, 3),
        slice(None),
        slice(1, None),
        (slice(None), slice(0, 3, 2)),
        (Ellipsis, 0),
        (0, Ellipsis),
        (None, 1),
        (slice(None), None, 2),
        (Ellipsis, None),
        make(np.array([1, 0, 1])),
        make(np.array([[0, 1], [1, 1]])),
        make(np.array([-1, 0])),
        (slice(None), make(np.array([2, 0]))),
        (slice(None), slice(None), make(np.array([3, -1, 0]))),
        (make(np.array([0, 1])), make(np.array([2, 1]))),
        (make(np.array([[0], [1]])), make(np.array([2, 1]))),
        (0, make(np.array([2, 1]))),
        (make(np.array([0, 1])), slice(None), make(np.array([3, 2]))),
        (slice(1, 2), make(np.array([2, 1]))),
        make(mask),
        make(mask[:, :, 0]),
        (slice(None), make(np.array([True, False, True]))),
        (make(np.array([True, False])), 1),
        (slice(0, 0),),
        make(np.zeros(0, np.int64)),
    ]


COUNT = len(keys(np.asarray))


@pytest.mark.parametrize("number", range(COUNT))
def test_keys(number: int) -> None:
    ours, theirs = keys(cr.tensor)[number], keys(torch.tensor)[number]
    x, t = cr.tensor(CUBE, requires_grad=True), torch.tensor(CUBE, requires_grad=True)
    found, expected = x[ours], t[theirs]
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_array_equal(found.detach().numpy(), expected.detach().numpy())
    (found * found).sum().backward()
    (expected * expected).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), t.grad.numpy())


@pytest.mark.parametrize("number", range(COUNT))
@pytest.mark.parametrize("whole", [False, True])
def test_item_assignment(number: int, whole: bool) -> None:
    ours, theirs = keys(cr.tensor)[number], keys(torch.tensor)[number]
    x, t = cr.tensor(CUBE, requires_grad=True), torch.tensor(CUBE, requires_grad=True)
    shape = tuple(t[theirs].shape)
    values = -np.ones(shape) if whole else np.asarray(-7.0)
    v, u = cr.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    y, z = x * 1, t * 1
    before = y * 1
    y[ours] = v
    z[theirs] = u
    np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())
    np.testing.assert_array_equal(before.detach().numpy(), CUBE)
    (y * y).sum().backward()
    (z * z).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), t.grad.numpy())
    # PyTorch counts a value once for each place that it was sent to, even where the place is
    # written twice and holds it once.
    places = torch.arange(24).reshape(CUBE.shape)[theirs]
    if not whole and 0 < len(places.unique()) == places.numel():
        np.testing.assert_array_equal(v.grad.numpy(), u.grad.numpy())


SLICES = st.builds(
    slice,
    st.none() | st.integers(-6, 6),
    st.none() | st.integers(-6, 6),
    st.none() | st.integers(-3, 3).filter(bool),
)


@given(st.data())
def test_basic_keys_are_those_of_numpy(data: Any) -> None:
    """Negative steps too, which PyTorch lacks."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    array = np.arange(int(np.prod(shape)), dtype=np.float64).reshape(shape)
    entry = SLICES | st.none()
    key = tuple(data.draw(entry) for _ in shape[: data.draw(st.integers(0, len(shape)))])
    key = (*key, Ellipsis) if data.draw(st.booleans()) else key
    x = cr.tensor(array, requires_grad=True)
    found = x[key]
    np.testing.assert_array_equal(found.detach().numpy(), array[key])
    weights = np.random.default_rng(0).standard_normal(found.shape)
    (found * cr.tensor(weights)).sum().backward()
    expected = np.zeros(shape)
    expected[key] = weights.reshape(array[key].shape)
    np.testing.assert_allclose(x.grad.numpy(), expected)
    y = cr.tensor(array)
    part = y[key]  # nobody needs its history: another way to the same
    np.testing.assert_array_equal(part.numpy(), array[key])
    assert part.shape == array[key].shape and part.dtype is y.dtype
    assert part.numel() == 0 or np.shares_memory(part.numpy(), y.numpy())
    y[key] = -1.0
    expected = array.copy()
    expected[key] = -1.0
    np.testing.assert_array_equal(y.numpy(), expected)


def test_duplicates_add_up_in_the_gradient_and_the_last_wins_in_assignment() -> None:
    x = cr.zeros(3, requires_grad=True)
    x[cr.tensor([1, 1, 2])].sum().backward()
    assert x.grad.tolist() == [0.0, 2.0, 1.0]
    y, v = cr.zeros(3), cr.tensor([5.0, 6.0, 7.0], requires_grad=True)
    y[cr.tensor([1, 1, 2])] = v
    assert y.tolist() == [0.0, 6.0, 7.0]
    y.sum().backward()
    assert v.grad.tolist() == [0.0, 1.0, 1.0]


def test_one_element_is_a_view_that_refuses_to_be_written() -> None:
    x = cr.tensor([1.0, 2.0, 3.0])
    for key in (1, (1,), (..., 1)):
        one = x[key]
        assert one.shape == () and one.item() == 2.0
        with pytest.raises(cr.errors.GradientError, match="indexing of another tensor"):
            one.add_(1.0)
    assert x[:] is x
    with cr.no_grad():  # no history either
        part = cr.tensor([1.0, 2.0], requires_grad=True)[:1]
    assert part.is_leaf and not part.requires_grad


def test_lists_are_index_arrays() -> None:
    x, t = cr.tensor(CUBE), torch.tensor(CUBE)
    assert x[[1, 0]].tolist() == t[[1, 0]].tolist()
    assert x[:, [0, 2]].tolist() == t[:, [0, 2]].tolist()
    assert x[[True, False]].tolist() == t[[True, False]].tolist()


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        (2, IndexRangeError, "index 2 is outside of axis 0 of length 2"),
        ((0, -4), IndexRangeError, "index -4 is outside of axis 1 of length 3"),
        ((0, 0, 0, 0), IndexRangeError, "4 indices for a tensor of 3 dimensions"),
        (lambda: cr.tensor([0, 5]), IndexRangeError, "index 5 is outside of an axis of length 2"),
        (lambda: (0, cr.tensor([0, 5])), IndexRangeError, "does not fit a tensor of shape"),
    ],
)
def test_errors(key: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        cr.tensor(CUBE)[key() if callable(key) else key]
    assert issubclass(error, IndexError)


def test_assignment_errors() -> None:
    x = cr.tensor(CUBE)
    with pytest.raises(ShapeError, match="do not fit the places"):
        x[0] = cr.zeros(5)
    with pytest.raises(DTypeError, match=r"values of chainrule.float32 do not fit"):
        x.long()[0] = cr.tensor(0.5)


def test_take_and_gather_refuse_what_is_out_of_range() -> None:
    x = cr.tensor(CUBE)
    with pytest.raises(IndexRangeError, match="take: index 3 is outside of an axis of length 3"):
        x.index_select(1, cr.tensor([3]))
    with pytest.raises(IndexRangeError, match="gather: index -1 is outside"):
        x[0].gather(0, cr.tensor([[-1, 0, 0, 0]]))
