"""Recurrent layers and cells beside PyTorch: values, gradients, names, lengths, and errors."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn
from chainrule.errors import OptionError, ShapeError, TraceError
from chainrule.nn.utils import rnn as ours_rnn

theirs_rnn = torch.nn.utils.rnn
KINDS = ("RNN", "LSTM", "GRU")


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape)


def pair(kind: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """A layer of ours and one of PyTorch's with the same weights, in float64."""
    theirs = getattr(torch.nn, kind)(*args, **options, dtype=torch.float64)
    ours = getattr(nn, kind)(*args, **options, dtype=cr.float64)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    return ours, theirs


def flat(value: Any) -> list[np.ndarray[Any, Any]]:
    """Every array in what a layer returns."""
    if value is None:
        return []
    if isinstance(value, tuple):
        return [one for part in value for one in flat(part)]
    return [value.detach().numpy()]


def check(ours: Any, theirs: Any, x: Any, hx: Any = None, **extra: Any) -> Any:
    """Outputs, states and all gradients of a weighted sum of them; returns ours."""
    inputs: list[tuple[Any, Any]] = []

    def both(value: Any) -> tuple[Any, Any]:
        if isinstance(value, tuple):
            a, b = zip(*map(both, value), strict=True)
            return tuple(a), tuple(b)
        leaves = cr.tensor(value, requires_grad=True), torch.tensor(value, requires_grad=True)
        inputs.append(leaves)
        return leaves

    (x1, x2), (h1, h2) = both(x), (None, None) if hx is None else both(hx)
    found = ours(x1, h1, **extra) if h1 is not None else ours(x1, **extra)
    expected = theirs(x2, h2) if h2 is not None else theirs(x2)
    compare(found, expected, ours, theirs, inputs)
    return found


def compare(found: Any, expected: Any, ours: Any, theirs: Any, inputs: Any) -> None:
    results = flat(found), flat(expected)
    assert len(results[0]) == len(results[1])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    for value, tensor in ((found, cr.tensor), (expected, torch.tensor)):
        total(value, tensor).backward()
    for a, b in [*inputs, *zip(ours.parameters(), theirs.parameters(), strict=True)]:
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-7, atol=1e-9)


def total(value: Any, tensor: Any, seed: int = 3) -> Any:
    """A sum in which every element counts, each differently."""
    if isinstance(value, tuple):
        return sum(total(part, tensor, seed + k) for k, part in enumerate(value))
    return (value * tensor(array(*value.shape, seed=seed))).sum()


@pytest.mark.parametrize("kind", KINDS)
@given(
    steps=st.sampled_from([1, 2, 5]),
    batch=st.sampled_from([None, 1, 3]),
    sizes=st.sampled_from([(1, 1), (3, 2), (2, 5)]),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    bias=st.booleans(),
    batch_first=st.booleans(),
    given_state=st.booleans(),
)
def test_a_layer_is_that_of_torch(
    kind: str,
    steps: int,
    batch: int | None,
    sizes: tuple[int, int],
    layers: int,
    bidirectional: bool,
    bias: bool,
    batch_first: bool,
    given_state: bool,
) -> None:
    ours, theirs = pair(
        kind, *sizes, layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional
    )
    axes = (steps,) if batch is None else (batch, steps) if batch_first else (steps, batch)
    rows = layers * (2 if bidirectional else 1)
    state: Any = None
    if given_state:
        shape = (rows, sizes[1]) if batch is None else (rows, batch, sizes[1])
        state = array(*shape, seed=1)
        if kind == "LSTM":
            state = (state, array(*shape, seed=2))
    check(ours, theirs, array(*axes, sizes[0]), state)


def test_relu_and_projection() -> None:
    check(*pair("RNN", 3, 4, 2, nonlinearity="relu"), array(5, 2, 3))
    ours, theirs = pair("LSTM", 3, 4, 2, proj_size=2, bidirectional=True)
    check(ours, theirs, array(5, 2, 3), (array(4, 2, 2), array(4, 2, 4, seed=1)))


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_a_cell_is_that_of_torch(kind: str) -> None:
    for bias in (True, False):
        ours, theirs = pair(kind, 3, 4, bias=bias)
        check(ours, theirs, array(2, 3))
        state = array(2, 4, seed=1)
        given = (state, array(2, 4, seed=2)) if kind == "LSTMCell" else state
        ours, theirs = pair(kind, 3, 4, bias=bias)
        check(ours, theirs, array(2, 3), given)
        ours, theirs = pair(kind, 3, 4, bias=bias)
        check(ours, theirs, array(3))
    check(*pair("RNNCell", 3, 4, nonlinearity="relu"), array(2, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_second_order_is_that_of_torch(kind: str) -> None:
    ours, theirs = pair(kind, 2, 3)
    x = array(4, 2, 2)
    a = cr.grad((ours(cr.tensor(x))[0] ** 2).sum(), list(ours.parameters()))
    a = cr.grad(sum((g * g).sum() for g in a), list(ours.parameters()))
    b = torch.autograd.grad(
        (theirs(torch.tensor(x))[0] ** 2).sum(), list(theirs.parameters()), create_graph=True
    )
    b = torch.autograd.grad(sum((g * g).sum() for g in b), list(theirs.parameters()))
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.numpy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sort", [True, False])
def test_packed_sequences(kind: str, sort: bool) -> None:
    ours, theirs = pair(kind, 3, 4, 2, bidirectional=True, batch_first=True)
    lengths = [5, 3, 1] if sort else [3, 5, 1]
    x = array(3, 6, 3)
    state = array(4, 3, 4, seed=1)
    state = (state, array(4, 3, 4, seed=2)) if kind == "LSTM" else state
    options = {"batch_first": True, "enforce_sorted": sort}
    x1, x2 = cr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    p1 = ours_rnn.pack_padded_sequence(x1, lengths, **options)
    p2 = theirs_rnn.pack_padded_sequence(x2, lengths, **options)
    wrap = lambda t: tuple(map(t, state)) if isinstance(state, tuple) else t(state)  # noqa: E731
    found, expected = ours(p1, wrap(cr.tensor)), theirs(p2, wrap(torch.tensor))
    for a, b in zip(found[0], expected[0], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9)
    ends = found[0].data, found[1]
    compare(ends, (expected[0].data, expected[1]), ours, theirs, [(x1, x2)])
    padded, sizes = ours_rnn.pad_packed_sequence(found[0], True, -1.0, 7)
    wanted, theirs_sizes = theirs_rnn.pad_packed_sequence(expected[0], True, -1.0, 7)
    np.testing.assert_allclose(padded.detach().numpy(), wanted.detach().numpy(), rtol=1e-9)
    assert sizes.tolist() == theirs_sizes.tolist() == lengths


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_mean_what_packing_means_and_compile(kind: str) -> None:
    cr.manual_seed(0)
    layer = getattr(nn, kind)(3, 4, bidirectional=True)
    x, lengths = cr.tensor(array(5, 3, 3).astype(np.float32)), cr.tensor([2, 5, 0])
    y, last = layer(x, lengths=lengths)
    packed = ours_rnn.pack_padded_sequence(x[:, :2], [2, 5], enforce_sorted=False)
    again, last_packed = layer(packed)
    padded, _ = ours_rnn.pad_packed_sequence(again)
    np.testing.assert_allclose(y[:, :2].detach().numpy(), padded.detach().numpy(), rtol=1e-6)
    assert not y[:, 2].any() and not flat(last)[0][:, 2].any()
    np.testing.assert_allclose(flat(last)[-1][:, :2], flat(last_packed)[-1], rtol=1e-6)
    compiled = cr.compile(lambda x, n: layer(x, lengths=n)[0], engine="numpy")
    np.testing.assert_allclose(compiled(x, lengths).numpy(), y.detach().numpy(), rtol=1e-6)
    with pytest.raises(ShapeError, match=r"lengths= must be \(3,\)"):
        compiled(x, cr.tensor([1, 2]))
    with pytest.raises(ShapeError, match=r"given: \[2, 6, 0\]\n  expected: 3 whole numbers from 0"):
        layer(x, lengths=[2, 6, 0])
    with pytest.raises(OptionError, match="lengths= is for batches"):
        layer(x[:, 0], lengths=[2])


def test_padding_and_packing_functions() -> None:
    parts = [array(3, 2), array(1, 2, seed=1), array(4, 2, seed=2)]
    a, b = [cr.tensor(one) for one in parts], [torch.tensor(one) for one in parts]
    for options in ({}, {"batch_first": True, "padding_value": 2.0}, {"padding_side": "left"}):
        x, y = ours_rnn.pad_sequence(a, **options), theirs_rnn.pad_sequence(b, **options)
        np.testing.assert_array_equal(x.numpy(), y.numpy())
    p, q = (m.pack_sequence(s, enforce_sorted=False) for m, s in ((ours_rnn, a), (theirs_rnn, b)))
    for one, other in zip(p, q, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    for one, other in zip(ours_rnn.unpack_sequence(p), parts, strict=True):
        np.testing.assert_array_equal(one.numpy(), other)
    cut = ours_rnn.unpad_sequence(ours_rnn.pad_sequence(a), [3, 1, 4])
    np.testing.assert_array_equal(cut[2].numpy(), parts[2])
    with pytest.raises(OptionError, match=r"not in falling order.\n  given: \[3, 1, 4\]"):
        ours_rnn.pack_sequence(a)
    with pytest.raises(ShapeError, match=r"given: \[0\]\n  expected: 1 whole numbers from 1 to 3"):
        ours_rnn.pack_padded_sequence(a[0].unsqueeze(1), [0])
    with pytest.raises(OptionError, match="total_length=2 is below the longest sequence, of 4"):
        ours_rnn.pad_packed_sequence(p, total_length=2)
    with pytest.raises(OptionError, match="there are no sequences"):
        ours_rnn.pad_sequence([])
    with pytest.raises(OptionError, match="padding_side='top' does not exist"):
        ours_rnn.pad_sequence(a, padding_side="top")
    with pytest.raises(TraceError, match=r"does not know the values of the lengths.*\n.*lengths="):
        cr.compile(ours_rnn.pack_padded_sequence, engine="numpy")(cr.ones(3, 1), cr.tensor([3]))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_start_as_in_torch(kind: str) -> None:
    cr.manual_seed(0)
    layer = getattr(nn, kind)(50, 100, 2)
    for name, weight in layer.named_parameters():
        values = weight.detach().numpy()
        assert abs(values).max() <= 0.1, name
        assert values.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.1), name
    assert [len(group) for group in layer.all_weights] == [4, 4]
    assert layer.all_weights[1][0] is layer.weight_ih_l1
    assert layer.flatten_parameters() is None


def test_dropout_between_layers() -> None:
    cr.manual_seed(0)
    layer = nn.GRU(2, 200, 2, dropout=0.5)
    x = cr.ones(3, 1, 2)
    first, _ = layer(x)
    assert not np.allclose(first.detach().numpy(), layer(x)[0].detach().numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    with pytest.warns(UserWarning, match="dropout acts between layers, and num_layers is 1"):
        nn.LSTM(1, 1, dropout=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.LSTM(1, 1, 2, dropout=0.5)


def test_two_thousand_steps_run_and_are_differentiated_eagerly() -> None:
    cr.manual_seed(0)
    layer = nn.RNN(1, 2)
    x = cr.ones(2000, 1, 1, requires_grad=True)
    layer(x)[0].sum().backward()
    theirs = torch.nn.RNN(1, 2)
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in layer.state_dict().items()})
    y = torch.ones(2000, 1, 1, requires_grad=True)
    theirs(y)[0].sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("error", "text", "make"),
    [
        (ShapeError, r"2 axes \(one sequence\) or 3", lambda: nn.RNN(3, 4)(cr.ones(3))),
        (ShapeError, r"5 features, the layer takes 3", lambda: nn.GRU(3, 4)(cr.ones(2, 2, 5))),
        (ShapeError, r"fix: GRU\(5, 4\)", lambda: nn.GRU(3, 4)(cr.ones(2, 2, 5))),
        (
            ShapeError,
            r"initial h does not fit.\n  given: \(1, 2, 5\)\n  expected: \(1, 2, 4\)",
            lambda: nn.GRU(3, 4)(cr.ones(6, 2, 3), cr.ones(1, 2, 5)),
        ),
        (OptionError, r"a pair of tensors", lambda: nn.LSTM(3, 4)(cr.ones(2, 3), cr.ones(1, 4))),
        (OptionError, r"nonlinearity='sin'", lambda: nn.RNN(3, 4, nonlinearity="sin")),
        (OptionError, r"num_layers must be 1 or more; 3, 4 and 0", lambda: nn.RNN(3, 4, 0)),
        (OptionError, r"dropout must be from 0 to 1; 2.0", lambda: nn.RNN(3, 4, 2, dropout=2)),
        (OptionError, r"below hidden_size=4; 4 was", lambda: nn.LSTM(3, 4, proj_size=4)),
        (ShapeError, r"RNNCell: the input must be \(N, 3\)", lambda: nn.RNNCell(3, 4)(cr.ones(4))),
        (
            ShapeError,
            r"GRUCell: the state must be \(2, 4\)",
            lambda: nn.GRUCell(3, 4)(cr.ones(2, 3), cr.ones(1, 4)),
        ),
        (
            OptionError,
            r"LSTMCell: the initial state is a pair",
            lambda: nn.LSTMCell(3, 4)(cr.ones(2, 3), cr.ones(2, 4)),
        ),
        (OptionError, r"hidden_size must be 1 or more; 0 and 4", lambda: nn.GRUCell(0, 4)),
    ],
)
def test_errors_say_what_fits(error: Any, text: str, make: Any) -> None:
    with pytest.raises(error, match=text):
        make()
