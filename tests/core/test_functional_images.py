"""Convolution, pooling, padding and resizing beside PyTorch: values, gradients, second order."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from beside_torch import agree
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
import chainrule.nn.functional as F
from chainrule.errors import DTypeError, IndexRangeError, OptionError, ShapeError

TF = torch.nn.functional


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape)


def each(draw: Any, rank: int, low: int, high: int) -> tuple[int, ...]:
    return tuple(draw(st.integers(low, high)) for _ in range(rank))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@settings(max_examples=30)
@given(data=st.data())
def test_convolution(data: Any) -> None:
    draw = data.draw
    rank = draw(st.sampled_from([1, 2, 3]))
    window, dilation, padding = (each(draw, rank, *ends) for ends in ((1, 3), (1, 2), (0, 2)))
    groups, inner, outer = (draw(st.integers(1, 3)) for _ in range(3))
    size = [
        max((k - 1) * d + 1 - 2 * p, 1) + draw(st.integers(0, 7 if rank < 3 else 2))
        for k, d, p in zip(window, dilation, padding, strict=True)
    ]
    batch = draw(st.sampled_from([(), (1,), (3,)]))
    x = array(*batch, groups * inner, *size)
    w, b = array(groups * outer, inner, *window, seed=1), array(groups * outer, seed=2)
    mode = draw(st.sampled_from(["numbers", "same", "valid"]))
    stride = each(draw, rank, 1, 3) if mode != "same" else 1
    if mode == "valid" and any(
        n < (k - 1) * d + 1 for n, k, d in zip(size, window, dilation, strict=True)
    ):
        mode = "numbers"
    around = padding if mode == "numbers" else mode
    name = f"conv{rank}d"
    agree(
        lambda *a: getattr(F, name)(*a, stride, around, dilation, groups),
        lambda *a: getattr(torch, name)(*a, stride, around, dilation, groups),
        [x, w, b],
    )


@settings(max_examples=25)
@given(data=st.data())
def test_transposed_convolution(data: Any) -> None:
    draw = data.draw
    rank = draw(st.sampled_from([1, 2, 3]))
    window, stride, dilation = (each(draw, rank, *ends) for ends in ((1, 3), (1, 3), (1, 3)))
    groups, inner, outer = (draw(st.integers(1, 2)) for _ in range(3))
    padding = each(draw, rank, 0, 1)
    added = tuple(
        draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
    )
    # So that something is left: (t - 1) s - 2 p + d (k - 1) + o + 1 of 1 or more.
    size = [draw(st.integers(1, 3)) + 2 * p for p in padding]
    x = array(2, groups * inner, *size)
    w, b = array(groups * inner, outer, *window, seed=1), array(groups * outer, seed=2)
    name = f"conv_transpose{rank}d"
    agree(
        lambda *a: getattr(F, name)(*a, stride, padding, added, groups, dilation),
        lambda *a: getattr(TF, name)(*a, stride, padding, added, groups, dilation),
        [x, w, b],
    )


def test_true_convolution_flips_the_kernel() -> None:
    x, w = array(2, 3, 6, 7), array(4, 3, 2, 3, seed=1)
    for ours, flipped in (
        (F.convolve(cr.tensor(x), cr.tensor(w), padding=1), w[..., ::-1, ::-1]),
        (F.conv2d(cr.tensor(x), cr.tensor(w), padding=1), w),
    ):
        expected = TF.conv2d(torch.tensor(x), torch.tensor(flipped.copy()), padding=1)
        np.testing.assert_allclose(ours.numpy(), expected.numpy(), atol=1e-12)
    signal, kernel = array(1, 9), array(1, 1, 4, seed=1)
    found = F.convolve(cr.tensor(signal), cr.tensor(kernel), padding=3)
    np.testing.assert_allclose(found.numpy()[0], np.convolve(signal[0], kernel[0, 0]), atol=1e-12)
    # It is commutative; cross-correlation is not.
    swapped = F.convolve(cr.tensor(kernel[0]), cr.tensor(signal[None]), padding=8)
    np.testing.assert_allclose(found.numpy(), swapped.numpy(), atol=1e-12)
    symmetric = cr.tensor(np.array([[[1.0, 2.0, 1.0]]]))
    one, two = F.convolve(cr.tensor(signal), symmetric), F.conv1d(cr.tensor(signal), symmetric)
    np.testing.assert_array_equal(one.numpy(), two.numpy())
    with pytest.raises(ShapeError, match=r"convolve: the weight's shape is \(4,\)"):
        F.convolve(cr.ones(4), cr.ones(4))


def pooling(draw: Any, rank: int) -> tuple[Any, ...]:
    window, stride = each(draw, rank, 1, 4), each(draw, rank, 1, 4)
    padding = tuple(draw(st.integers(0, k // 2)) for k in window)
    size = [
        (k if rank == 3 else max(k - 2 * p, 1)) + draw(st.integers(0, 6 if rank < 3 else 3))
        for k, p in zip(window, padding, strict=True)
    ]
    batch = draw(st.sampled_from([(), (2,)]))
    return window, stride, padding, array(*batch, 2, *size), draw(st.booleans())


@settings(max_examples=30)
@given(data=st.data())
def test_max_pooling(data: Any) -> None:
    rank = data.draw(st.sampled_from([1, 2, 3]))
    window, stride, padding, x, ceil = pooling(data.draw, rank)
    name = f"max_pool{rank}d"
    agree(
        lambda a: getattr(F, name)(a, window, stride, padding, 1, ceil, True),
        lambda a: getattr(TF, name)(a, window, stride, padding, 1, ceil, True),
        [x],
        second=False,
    )


def test_max_pooling_with_dilation_and_ties() -> None:
    x = np.random.default_rng(1).integers(0, 3, (2, 3, 11, 12)).astype(float)
    for at in ((3, 2, 1, 2, False), ((2, 3), (1, 2), (1, 1), (3, 1), True), (3, 1, 0, 1, False)):
        agree(
            lambda a, at=at: F.max_pool2d(a, *at, True),
            lambda a, at=at: TF.max_pool2d(a, *at, True),
            [x],
            second=False,
        )


def test_the_second_derivative_through_a_maximum() -> None:
    x = array(2, 2, 6, 7)
    agree(lambda a: F.max_pool2d(a * a * a, 3, 2, 1), lambda a: TF.max_pool2d(a**3, 3, 2, 1), [x])


@settings(max_examples=30)
@given(data=st.data())
def test_average_pooling(data: Any) -> None:
    rank = data.draw(st.sampled_from([1, 2, 3]))
    window, stride, padding, x, ceil = pooling(data.draw, rank)
    rest: tuple[Any, ...] = (ceil, data.draw(st.booleans()))
    if rank > 1:
        rest += (data.draw(st.sampled_from([None, 3])),)
    name = f"avg_pool{rank}d"
    agree(
        lambda a: getattr(F, name)(a, window, stride, padding, *rest),
        lambda a: getattr(TF, name)(a, window, stride, padding, *rest),
        [x],
        second=False,
    )


@settings(max_examples=30)
@given(data=st.data())
def test_adaptive_pooling(data: Any) -> None:
    rank = data.draw(st.sampled_from([1, 2, 3]))
    size = each(data.draw, rank, 1, 8 if rank < 3 else 5)
    wanted = each(data.draw, rank, 1, 6)
    x = array(2, 2, *size)
    asked: Any = wanted[0] if rank == 1 else wanted
    agree(
        lambda a: getattr(F, f"adaptive_avg_pool{rank}d")(a, asked),
        lambda a: getattr(TF, f"adaptive_avg_pool{rank}d")(a, asked),
        [x],
        second=False,
    )
    agree(
        lambda a: getattr(F, f"adaptive_max_pool{rank}d")(a, asked, True),
        lambda a: getattr(TF, f"adaptive_max_pool{rank}d")(a, asked, True),
        [x],
        second=False,
    )


def test_adaptive_windows_keep_infinities_to_themselves() -> None:
    x = np.arange(14.0).reshape(1, 2, 7)
    x[0, 0, 0], x[0, 1, 6] = np.inf, np.nan
    for places in (1, 3, 5, 7):
        for name in ("adaptive_avg_pool1d", "adaptive_max_pool1d"):
            found = getattr(F, name)(cr.tensor(x), places).numpy()
            expected = getattr(TF, name)(torch.tensor(x), places).numpy()
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_lp_pooling(rank: int) -> None:
    x = np.abs(array(2, 3, *(7, 8, 6)[:rank])) + 0.1
    for ceil in (False, True):
        agree(
            lambda a, ceil=ceil: getattr(F, f"lp_pool{rank}d")(a, 3, 2, 2, ceil),
            lambda a, ceil=ceil: getattr(TF, f"lp_pool{rank}d")(a, 3, 2, 2, ceil),
            [x],
        )


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unpooling(rank: int) -> None:
    size = (7, 8, 6)[:rank]
    x = array(2, 2, *size)
    for batch in (x, x[0]):
        pooled, places = getattr(TF, f"max_pool{rank}d")(
            torch.tensor(batch), 2, 2, return_indices=True
        )
        index = cr.tensor(places.numpy())
        agree(
            lambda a, i=index: getattr(F, f"max_unpool{rank}d")(a, i, 2, 2, 0, size),
            lambda a, i=places: getattr(TF, f"max_unpool{rank}d")(a, i, 2, 2, 0, size),
            [pooled.numpy()],
        )


def test_unpooling_of_overlapping_windows_and_what_it_refuses() -> None:
    x = cr.tensor([[[1.0, 5.0, 2.0]]])
    y, places = F.max_pool1d(x, 2, 1, return_indices=True)
    assert F.max_unpool1d(y, places, 2, 1).tolist() == [[[0.0, 5.0, 0.0]]]
    with pytest.raises(ShapeError, match=r"output_size=\(9,\) is not possible"):
        F.max_unpool1d(y, places, 2, 1, output_size=(9,))
    with pytest.raises(ShapeError, match="return_indices=True"):
        F.max_unpool1d(y, places.float(), 2, 1)
    with pytest.raises(IndexRangeError, match="index 7 is outside"):
        F.max_unpool1d(y, cr.tensor([[[7, 0]]]), 2, 1)


PADS: list[tuple[tuple[int, ...], tuple[int, ...], str, float | None]] = [
    ((2, 3, 4), (1, 2), "constant", None),
    ((2, 3, 4), (1, 0, 2, 1), "constant", 1.5),
    ((2, 3, 4), (-1, 2, 0, -1, 1, 1), "constant", -np.inf),
    ((5,), (-2, -1), "constant", None),
    ((2, 3, 4), (3, 2), "reflect", None),
    ((2, 2, 3, 4), (3, 2, 1, 2), "reflect", None),
    ((1, 2, 3, 4, 3), (1, 2, 1, 2, 2, 0), "reflect", None),
    ((2, 3, 4), (6, 2), "replicate", None),
    ((2, 2, 3, 4), (3, 2, 5, 0), "replicate", None),
    ((1, 2, 3, 2, 2), (1, 2, 1, 2, 2, 0), "replicate", None),
    ((2, 3, 4), (4, 2), "circular", None),
    ((2, 2, 3, 4), (3, 2, 1, 0), "circular", None),
    ((1, 2, 3, 2, 2), (1, 2, 1, 2, 2, 0), "circular", None),
]


@pytest.mark.parametrize(("shape", "amounts", "mode", "value"), PADS)
def test_padding(shape: Any, amounts: Any, mode: str, value: Any) -> None:
    agree(
        lambda a: F.pad(a, amounts, mode, value),
        lambda a: TF.pad(a, amounts, mode, value),
        [array(*shape)],
        second=False,
    )


def test_padding_of_other_dtypes() -> None:
    for line in (np.array([True, False]), np.array([3, 4])):
        for value in (0, 1):
            found = F.pad(cr.tensor(line), (1, 2), value=value)
            expected = TF.pad(torch.tensor(line), (1, 2), value=value)
            assert found.tolist() == expected.tolist()
            assert found.numpy().dtype == expected.numpy().dtype


RESIZED: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((5,), {"size": 8}),
    ((5,), {"scale_factor": 1.7}),
    ((5, 4), {"size": (3, 7), "mode": "nearest-exact"}),
    ((5, 4, 3), {"scale_factor": (2.0, 0.6, 1.0)}),
    ((5,), {"size": 8, "mode": "linear"}),
    ((5,), {"size": 3, "mode": "linear", "align_corners": True}),
    ((5, 4), {"scale_factor": 2, "mode": "bilinear"}),
    ((5, 4), {"scale_factor": 1.3, "mode": "bilinear"}),
    ((5, 4), {"scale_factor": 1.3, "mode": "bilinear", "recompute_scale_factor": True}),
    ((5, 4), {"size": (1, 9), "mode": "bilinear", "align_corners": True}),
    ((5, 4), {"size": (8, 3), "mode": "bicubic"}),
    ((5, 4), {"size": (3, 9), "mode": "bicubic", "align_corners": True}),
    ((3, 4, 2), {"size": (5, 3, 4), "mode": "trilinear"}),
    ((3, 4, 2), {"scale_factor": 2, "mode": "trilinear", "align_corners": True}),
    ((5, 7), {"size": (2, 3), "mode": "area"}),
    ((5, 4), {"size": (5, 4), "mode": "bilinear"}),
]


@pytest.mark.parametrize(("size", "options"), RESIZED, ids=lambda one: str(one))
def test_resizing(size: tuple[int, ...], options: dict[str, Any]) -> None:
    agree(
        lambda a: F.interpolate(a, **options),
        lambda a: TF.interpolate(a, **options),
        [array(2, 3, *size)],
        second=False,
    )


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_places_are_those_of_torch_in_float32(mode: str) -> None:
    for length in (1, 3, 7, 10, 49):
        x = np.arange(length, dtype=np.float32).reshape(1, 1, -1)
        for wanted in (1, 5, 7, 21, 100, 127):
            found = F.interpolate(cr.tensor(x), wanted, mode=mode).tolist()
            assert found == TF.interpolate(torch.tensor(x), wanted, mode=mode).tolist()


@settings(max_examples=20)
@given(data=st.data())
def test_unfold_and_fold(data: Any) -> None:
    draw = data.draw
    window, stride, dilation = each(draw, 2, 1, 3), each(draw, 2, 1, 3), each(draw, 2, 1, 2)
    padding = each(draw, 2, 0, 2)
    size = tuple(
        max((k - 1) * d + 1 - 2 * p, 1) + draw(st.integers(0, 4))
        for k, d, p in zip(window, dilation, padding, strict=True)
    )
    at = (window, dilation, padding, stride)
    x = array(*draw(st.sampled_from([(), (2,)])), 2, *size)
    agree(lambda a: F.unfold(a, *at), lambda a: TF.unfold(a, *at), [x], second=False)
    columns = TF.unfold(torch.tensor(x), *at).numpy()
    agree(lambda a: F.fold(a, size, *at), lambda a: TF.fold(a, size, *at), [columns], second=False)


def test_pixel_shuffle() -> None:
    x = array(2, 12, 3, 4)
    agree(lambda a: F.pixel_shuffle(a, 2), lambda a: TF.pixel_shuffle(a, 2), [x], second=False)
    y = array(2, 3, 6, 9)
    agree(lambda a: F.pixel_unshuffle(a, 3), lambda a: TF.pixel_unshuffle(a, 3), [y], second=False)
    with pytest.raises(ShapeError, match="groups of 2² = 4"):
        F.pixel_shuffle(cr.zeros(1, 3, 2, 2), 2)
    with pytest.raises(ShapeError, match="multiples of 2"):
        F.pixel_unshuffle(cr.zeros(1, 3, 3, 2), 2)


def test_normalising_channels() -> None:
    x, w, b = array(3, 4, 5, 2), array(4, seed=1), array(4, seed=2)
    agree(
        lambda a, w, b: F.instance_norm(a, weight=w, bias=b),
        lambda a, w, b: TF.instance_norm(a, weight=w, bias=b),
        [x, w, b],
        scale=1e-7,
    )
    for size in (1, 2, 5):
        agree(
            lambda a, n=size: F.local_response_norm(a, n, 0.5, 0.6, 2.0),
            lambda a, n=size: TF.local_response_norm(a, n, 0.5, 0.6, 2.0),
            [x],
        )
    with pytest.raises(ShapeError, match="more than one value"):
        F.instance_norm(cr.ones(2, 3, 1))
    with pytest.raises(OptionError, match="running_mean and running_var"):
        F.instance_norm(cr.ones(2, 3, 2), use_input_stats=False)
    with pytest.raises(ShapeError, match=r"must be \(N, C, \*S\)"):
        F.instance_norm(cr.ones(2, 3))
    with pytest.raises(ShapeError, match="size 1 or more"):
        F.local_response_norm(cr.ones(2, 3, 4), 0)


ONE, KERNEL = cr.zeros(2, 3, 8, 8), cr.zeros(4, 3, 3, 3)
REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: F.conv2d(cr.zeros(2, 5, 8, 8), KERNEL),
        ShapeError,
        "takes 3 channels, the input has 5",
    ),
    (lambda: F.conv2d(cr.zeros(2, 8, 8, 3), KERNEL), ShapeError, r"permute\(0, 3, 1, 2\)"),
    (lambda: F.conv2d(cr.zeros(9, 8, 8), cr.zeros(4, 1, 3, 3)), ShapeError, r"unsqueeze\(1\)"),
    (lambda: F.conv2d(cr.zeros(8, 8), KERNEL), ShapeError, r"a batch \(N, C, H, W\) or one image"),
    (lambda: F.conv2d(cr.zeros(1, 2, 3, 8, 8), KERNEL), ShapeError, r"input.flatten\(0, 1\)"),
    (lambda: F.conv2d(ONE, cr.zeros(4, 3, 3)), ShapeError, "must have 4 axes"),
    (lambda: F.conv2d(ONE, KERNEL.double()), DTypeError, "the weight float64"),
    (lambda: F.conv2d(ONE, KERNEL, cr.zeros(3)), ShapeError, r"bias must be \(4,\)"),
    (lambda: F.conv2d(ONE, KERNEL, groups=3), ShapeError, "do not part into groups=3"),
    (lambda: F.conv2d(ONE, KERNEL, stride=0), OptionError, "whole number of 1 or more"),
    (lambda: F.conv2d(ONE, KERNEL, padding=(1, 2, 3)), OptionError, r"or 2 of them \(H, W\)"),
    (lambda: F.conv2d(ONE, KERNEL, stride=2, padding="same"), OptionError, "needs a stride of 1"),
    (lambda: F.conv2d(ONE, KERNEL, padding="most"), OptionError, "'same' or 'valid'"),
    (lambda: F.conv2d(ONE, KERNEL, dilation=4), ShapeError, "larger than the padded input"),
    (lambda: F.conv2d(ONE.long(), KERNEL), DTypeError, "must be floating-point"),
    (
        lambda: F.conv_transpose2d(cr.zeros(1, 3, 4, 4), KERNEL),
        ShapeError,
        "takes 4 channels, the input has 3",
    ),
    (
        lambda: F.conv_transpose2d(cr.zeros(1, 4, 4, 4), KERNEL, output_padding=1),
        OptionError,
        "below the stride or the dilation",
    ),
    (
        lambda: F.conv_transpose2d(cr.zeros(1, 4, 1, 1), KERNEL, padding=2),
        ShapeError,
        "cuts off more than there is",
    ),
    (lambda: F.max_pool2d(ONE, 9), ShapeError, "larger than the padded input"),
    (lambda: F.max_pool2d(ONE, 2, padding=2), OptionError, "more than half of the window"),
    (lambda: F.avg_pool2d(ONE, 2, divisor_override=0), OptionError, "must be 1 or more"),
    (lambda: F.adaptive_avg_pool2d(ONE, (0, 1)), OptionError, "output_size="),
    (lambda: F.pad(ONE, (1,)), OptionError, "two for each axis"),
    (lambda: F.pad(ONE, (1,) * 10), ShapeError, "10 amounts for an input with 4 axes"),
    (lambda: F.pad(ONE, (1, 1), "mirror"), OptionError, "mode='mirror' does not exist"),
    (lambda: F.pad(ONE, (1, 1), "reflect", 1.0), OptionError, "means nothing to mode='reflect'"),
    (lambda: F.pad(ONE, (8, 0), "reflect"), ShapeError, "at most 7 on an axis of length 8"),
    (lambda: F.pad(ONE, (9, 0), "circular"), ShapeError, "at most 8"),
    (lambda: F.pad(ONE, (-5, -4)), ShapeError, "cuts off more than axis 3"),
    (lambda: F.interpolate(ONE), OptionError, "either size or scale_factor"),
    (lambda: F.interpolate(ONE, 4, mode="linear"), OptionError, "one of 'nearest'"),
    (lambda: F.interpolate(cr.zeros(2, 3), 4), OptionError, r"an input \(N, C, \*S\)"),
    (lambda: F.interpolate(ONE, 4, align_corners=True), OptionError, "align_corners means nothing"),
    (lambda: F.interpolate(ONE, 4, mode="bilinear", antialias=True), OptionError, "not there"),
    (lambda: F.interpolate(ONE, scale_factor=0.01), OptionError, "lengths of 1 or more"),
    (lambda: F.unfold(ONE, 9), ShapeError, "unfold: the window"),
    (lambda: F.fold(cr.zeros(1, 9, 5), (4, 4), 3), ShapeError, "give 4 windows"),
    (lambda: F.dropout2d(cr.zeros(3, 3)), ShapeError, "dropout2d: the input must have"),
    (lambda: F.dropout1d(ONE[0], 1.5), OptionError, "p must be from 0 to 1"),
    (lambda: F.feature_alpha_dropout(cr.zeros(3), training=True), ShapeError, r"\(N, C, ...\)"),
]


@pytest.mark.parametrize(("call", "error", "text"), REFUSED, ids=lambda one: str(one)[:24])
def test_what_is_refused(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
