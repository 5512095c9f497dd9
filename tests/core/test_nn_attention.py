"""Attention, transformers, positions and sampling: beside PyTorch, in distribution, and errors."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn
from chainrule.errors import OptionError, ShapeError
from chainrule.nn import functional as F

TF = torch.nn.functional


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape)


def close(found: Any, expected: Any, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol, atol)


def leaves(*arrays: np.ndarray[Any, Any]) -> tuple[list[Any], list[Any]]:
    return (
        [cr.tensor(one, requires_grad=True) for one in arrays],
        [torch.tensor(one, requires_grad=True) for one in arrays],
    )


def compare(found: Any, expected: Any, pairs: list[tuple[Any, Any]]) -> None:
    """Values, and the gradients of a sum in which each element counts differently."""
    close(found, expected)
    weights = array(*found.shape, seed=9)
    (found * cr.tensor(weights)).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    for a, b in pairs:
        close(a.grad, b.grad, 1e-7, 1e-9)


def pair(kind: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    """A module of ours and one of PyTorch's with the same weights, in float64."""
    theirs = getattr(torch.nn, kind)(*args, **options, dtype=torch.float64)
    ours = getattr(nn, kind)(*args, **options, dtype=cr.float64)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.named_parameters():  # zeros and ones would hide mistakes
        with torch.no_grad():
            value += torch.tensor(array(*value.shape, seed=len(name)) * 0.1)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize("mask", ["none", "bool", "float", "causal"])
@given(
    lead=st.sampled_from([(), (1,), (2, 3)]),
    rows=st.sampled_from([1, 2, 5]),
    columns=st.sampled_from([1, 3, 7]),
    width=st.sampled_from([1, 4]),
    scale=st.sampled_from([None, 0.3]),
)
def test_scaled_dot_product_attention(
    mask: str, lead: tuple[int, ...], rows: int, columns: int, width: int, scale: float | None
) -> None:
    arrays = (
        array(*lead, rows, width),
        array(*lead, columns, width, seed=1),
        array(*lead, columns, 2, seed=2),
    )
    a, b = leaves(*arrays)
    options: dict[str, Any] = {"scale": scale, "is_causal": mask == "causal"}
    given: Any = None
    if mask == "bool":
        given = array(rows, columns, seed=3) > 0  # a row of nothing gives zeros, as in PyTorch
    elif mask == "float":
        given = array(rows, columns, seed=3)
    found = F.scaled_dot_product_attention(
        *a, attn_mask=None if given is None else cr.tensor(given), **options
    )
    expected = TF.scaled_dot_product_attention(
        *b, attn_mask=None if given is None else torch.tensor(given), **options
    )
    compare(found, expected, list(zip(a, b, strict=True)))


def test_fewer_heads_of_keys_than_of_queries() -> None:
    a, b = leaves(array(2, 6, 3, 4), array(2, 2, 5, 4, seed=1), array(2, 2, 5, 4, seed=2))
    found = F.scaled_dot_product_attention(*a, enable_gqa=True)
    compare(
        found, TF.scaled_dot_product_attention(*b, enable_gqa=True), list(zip(a, b, strict=True))
    )


def test_second_order_of_attention_is_that_of_torch() -> None:
    a, b = leaves(array(2, 3, 4), array(2, 5, 4, seed=1), array(2, 5, 4, seed=2))
    mask = array(3, 5, seed=3)
    first = cr.grad((F.scaled_dot_product_attention(*a, cr.tensor(mask)) ** 2).sum(), a)
    found = cr.grad(sum((g * g).sum() for g in first), a)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        y = (TF.scaled_dot_product_attention(*b, torch.tensor(mask)) ** 2).sum()
        wanted = torch.autograd.grad(y, b, create_graph=True)
        expected = torch.autograd.grad(sum((g * g).sum() for g in wanted), b)
    for one, other in zip(found, expected, strict=True):
        close(one, other, 1e-7, 1e-9)


def test_dropout_of_attention_weights() -> None:
    cr.manual_seed(0)
    q, v = cr.zeros(1, 400), cr.ones(300, 1)
    found = F.scaled_dot_product_attention(q, cr.zeros(300, 400), v, dropout_p=0.4)
    assert found.item() == pytest.approx(1.0, abs=0.2) and found.item() != 1.0
    layer = nn.MultiheadAttention(4, 2, dropout=0.5)
    x = cr.ones(6, 1, 4)
    assert (layer(x, x, x)[1] == 0).any() and not (layer.eval()(x, x, x)[1] == 0).any()


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch first": {"batch_first": True},
    "no bias": {"bias": False},
    "other widths": {"kdim": 3, "vdim": 5},
    "trained key and zeros": {"add_bias_kv": True, "add_zero_attn": True},
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("masks", ["none", "both", "heads", "numbers", "mixed"])
@pytest.mark.parametrize("batch", [None, 3])
def test_multihead_attention(name: str, masks: str, batch: int | None) -> None:
    options = CONFIGURATIONS[name]
    ours, theirs = pair("MultiheadAttention", 8, 2, **options)
    rows, columns = 4, 6

    def inputs(length: int, width: int, seed: int) -> np.ndarray[Any, Any]:
        if batch is None:
            return array(length, width, seed=seed)
        first = options.get("batch_first")
        axes = (batch, length) if first else (length, batch)
        return array(*axes, width, seed=seed)

    a, b = leaves(
        inputs(rows, 8, 0),
        inputs(columns, options.get("kdim", 8), 1),
        inputs(columns, options.get("vdim", 8), 2),
    )
    heads = 2 * (batch or 1)
    padding = np.zeros((columns,) if batch is None else (batch, columns), bool)
    padding[..., -2:] = True
    hidden = np.triu(np.ones((rows, columns), bool), 2)
    given: dict[str, Any] = {
        "none": {},
        "both": {"attn_mask": hidden, "key_padding_mask": padding},
        "heads": {"attn_mask": np.tile(hidden, (heads, 1, 1))},
        "numbers": {"attn_mask": array(rows, columns, seed=3)},
        "mixed": {"attn_mask": array(rows, columns, seed=3), "key_padding_mask": padding * -2.0},
    }[masks]
    average = masks != "heads"
    found, weights = ours(
        *a, **{k: cr.tensor(v) for k, v in given.items()}, average_attn_weights=average
    )
    expected, wanted = theirs(
        *b, **{k: torch.tensor(v) for k, v in given.items()}, average_attn_weights=average
    )
    close(weights, wanted)
    pairs = list(zip(ours.parameters(), theirs.parameters(), strict=True))
    compare(found, expected, [*zip(a, b, strict=True), *pairs])
    again, nothing = ours(*a, **{k: cr.tensor(v) for k, v in given.items()}, need_weights=False)
    assert nothing is None
    close(again, expected)


def test_self_attention_and_shared_memory_take_fewer_products() -> None:
    ours, theirs = pair("MultiheadAttention", 8, 2)
    (x, m), (y, n) = leaves(array(4, 3, 8), array(5, 3, 8, seed=1))
    compare(
        ours(x, x, x, is_causal=True)[0],
        theirs(y, y, y, attn_mask=torch.ones(4, 4).triu(1).bool())[0],
        [(x, y)],
    )
    close(ours(x, m, m)[0], theirs(y, n, n)[0])

    def products(*args: Any) -> int:
        nodes = cr.trace(lambda *a: ours(*a)[0], *args).graph.nodes()
        return sum(node.op.name == "matmul" for node in nodes)

    assert products(x, m, m) == 6
    traced = cr.trace(lambda a: ours(a, a, a)[0], x).graph.nodes()
    assert sum(node.op.name == "matmul" for node in traced) == 4


def test_a_query_that_may_look_at_nothing_gets_zeros() -> None:
    layer = nn.MultiheadAttention(4, 2, bias=False)
    x = cr.ones(3, 1, 4)
    mask = cr.ones(3, 3, dtype=cr.bool)
    output, weights = layer(x, x, x, attn_mask=mask)
    assert not output.any() and not weights.any()


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer_layers(norm_first: bool, batch_first: bool, activation: str) -> None:
    options = {
        "dim_feedforward": 6,
        "dropout": 0.0,
        "norm_first": norm_first,
        "batch_first": batch_first,
        "activation": activation,
    }
    (x, m), (y, n) = leaves(array(3, 5, 8), array(3, 5, 8, seed=1))
    ours, theirs = pair("TransformerEncoderLayer", 8, 2, **options)
    length = 5 if batch_first else 3
    hidden = np.triu(np.ones((length, length), bool), 1)
    pairs = [(x, y), *zip(ours.parameters(), theirs.parameters(), strict=True)]
    compare(ours(x, is_causal=True), theirs(y, torch.tensor(hidden)), pairs)
    ours, theirs = pair("TransformerDecoderLayer", 8, 2, **options)
    pairs = [(m, n), *zip(ours.parameters(), theirs.parameters(), strict=True)]
    masks = {"tgt_mask": hidden, "memory_mask": hidden.T.copy()}
    mine = {k: cr.tensor(v) for k, v in masks.items()}
    compare(
        ours(x, m, **mine), theirs(y, n, **{k: torch.tensor(v) for k, v in masks.items()}), pairs
    )


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")
def test_a_whole_transformer() -> None:
    sizes = {"dim_feedforward": 6, "dropout": 0.0}
    ours, theirs = pair("Transformer", 8, 2, 2, 2, **sizes)
    (x, t), (y, u) = leaves(array(4, 3, 8), array(5, 3, 8, seed=1))
    padding = np.zeros((3, 4), bool)
    padding[0, 3] = True
    mask = ours.generate_square_subsequent_mask(5)
    close(mask, theirs.generate_square_subsequent_mask(5))
    found = ours(x, t, tgt_mask=mask, src_key_padding_mask=cr.tensor(padding))
    expected = theirs(
        y,
        u,
        tgt_mask=torch.tensor(mask.numpy()).double(),
        src_key_padding_mask=torch.tensor(padding)
        .double()
        .masked_fill(torch.tensor(padding), -np.inf),
    )
    pairs = [(x, y), *zip(ours.parameters(), theirs.parameters(), strict=True)]
    compare(found, expected, pairs)
    first, second = ours.encoder.layers
    assert first.linear1.weight is not second.linear1.weight


def test_weights_start_as_in_torch() -> None:
    cr.manual_seed(0)
    layer = nn.MultiheadAttention(60, 3)
    bound = np.sqrt(6 / (60 + 180))
    weight = layer.in_proj_weight.detach().numpy()
    assert abs(weight).max() <= bound
    assert weight.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    assert not layer.in_proj_bias.any() and not layer.out_proj.bias.any()


def test_positions() -> None:
    layer = nn.SinusoidalPositions(6, 50)
    rows = layer(cr.zeros(50, 6)).numpy()
    place, column = np.mgrid[:50, :6]
    angle = place / 10000 ** ((column // 2 * 2) / 6)
    np.testing.assert_allclose(rows, np.where(column % 2, np.cos(angle), np.sin(angle)), atol=2e-6)
    x = array(4, 7, 6).astype(np.float32)
    np.testing.assert_allclose(layer(cr.tensor(x)).numpy(), x + rows[:4, None], rtol=1e-6)
    assert list(layer.state_dict()) == []
    learned = nn.LearnedPositions(6, 9, batch_first=True)
    y = learned(cr.tensor(x))
    close(y, torch.tensor(x) + torch.tensor(learned.weight.detach().numpy()[:7]), 1e-6)
    y.sum().backward()
    assert learned.weight.grad[:7].eq(4).all() and not learned.weight.grad[7:].any()
    assert repr(learned) == "LearnedPositions(6, max_length=9, batch_first=True)"


def test_samples_come_as_often_as_they_should() -> None:
    cr.manual_seed(0)
    logits = cr.tensor([0.0, 1.0, 2.0, -1.0])
    many = logits.expand(40_000, 4)
    for temperature, top_k in ((1.0, None), (0.5, None), (3.0, 2), (cr.tensor(2.0), 3)):
        counts = np.bincount(F.sample(many, temperature, top_k).numpy(), minlength=4) / 40_000
        scores = logits.numpy() / float(temperature)
        if top_k:
            scores = np.where(scores >= np.sort(scores)[-top_k], scores, -np.inf)
        share = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(counts, share, atol=4 * np.sqrt(0.25 / 40_000))
    assert F.sample(many[:5], 0.0).tolist() == [2] * 5
    source = cr.Generator().manual_seed(3)
    first = F.sample(many, generator=source).tolist()
    assert F.sample(many, generator=source.manual_seed(3)).tolist() == first


@pytest.mark.parametrize(
    ("error", "text", "make"),
    [
        (OptionError, "3 heads do not divide embed_dim=8", lambda: nn.MultiheadAttention(8, 3)),
        (
            ShapeError,
            r"value does not fit.\n  given: \(4, 1, 8\)\n  expected: \(S, N, 8\)",
            lambda: nn.MultiheadAttention(8, 2)(*(cr.ones(n, 1, 8) for n in (5, 5, 4))),
        ),
        (
            ShapeError,
            r"key does not fit.\n  given: \(5, 1, 7\)",
            lambda: nn.MultiheadAttention(8, 2)(*(cr.ones(5, 1, n) for n in (8, 7, 8))),
        ),
        (
            ShapeError,
            r"attn_mask does not fit.\n  given: \(5, 4\)\n  expected: \(5, 5\) or \(2, 5, 5\)",
            lambda: nn.MultiheadAttention(8, 2)(
                *[cr.ones(5, 1, 8)] * 3, attn_mask=cr.zeros(5, 4, dtype=cr.bool)
            ),
        ),
        (
            ShapeError,
            r"key_padding_mask does not fit.\n  given: \(5, 1\)\n  expected: \(1, 5\)",
            lambda: nn.MultiheadAttention(8, 2)(
                *[cr.ones(5, 1, 8)] * 3, key_padding_mask=cr.zeros(5, 1, dtype=cr.bool)
            ),
        ),
        (
            ShapeError,
            "query, key and value do not fit together",
            lambda: F.scaled_dot_product_attention(*(cr.ones(3, n) for n in (4, 5, 4))),
        ),
        (
            ShapeError,
            r"mask does not broadcast to the scores.\n  given: mask \(2, 2\)",
            lambda: F.scaled_dot_product_attention(*[cr.ones(3, 4)] * 3, cr.ones(2, 2)),
        ),
        (
            OptionError,
            "give attn_mask or is_causal=True, not both",
            lambda: F.scaled_dot_product_attention(
                *[cr.ones(3, 4)] * 3, cr.ones(3, 3), is_causal=True
            ),
        ),
        (
            OptionError,
            "dropout_p must be from 0 to 1; 2.0",
            lambda: F.scaled_dot_product_attention(*[cr.ones(3, 4)] * 3, dropout_p=2.0),
        ),
        (
            OptionError,
            "activation='sin' does not exist",
            lambda: nn.TransformerEncoderLayer(8, 2, activation="sin"),
        ),
        (ShapeError, r"fix: .*max_length=9", lambda: nn.LearnedPositions(4, 8)(cr.ones(9, 4))),
        (OptionError, "max_length must be 1 or more", lambda: nn.LearnedPositions(4, 0)),
        (OptionError, "dropout must be from 0", lambda: nn.SinusoidalPositions(4, dropout=-1.0)),
        (OptionError, "temperature must be 0 or more; given -1", lambda: F.sample(cr.ones(2), -1)),
        (OptionError, "top_k must be from 1 to the 2", lambda: F.sample(cr.ones(2), top_k=3)),
    ],
)
def test_errors_say_what_fits(error: Any, text: str, make: Any) -> None:
    with pytest.raises(error, match=text):
        make()
