"""Convolution in any number of dimensions: three bilinear ops, each other's derivatives.

With x (N, C, \\*S), w (O, C / groups, \\*K), and t a place of the window (cross-correlation, as in
PyTorch; Goodfellow, Bengio, Courville, Deep Learning, eq. 9.6):

- ``convolution``: y[n, o, t] = Σ_{c, k} x[n, c, t · stride + k · dilation - low] · w[o, c, k]
- ``convolution_input``: the same sum's transpose from y to x, which is also transposed convolution
- ``convolution_weight``: the same sum's transpose from y to w

Each is linear in both of its operands, and each one's two derivatives are the other two, so that
every order of derivative stays inside these three. Composing them of slices and products would
store every window, K times the image.
"""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..graph.node import Aval, Op, make_aval
from ._windows import Ints, Pairs, check_float, check_image, check_places, check_window

CHANNELS = (
    "convolution: the weight takes {wanted} channels, the input has {given}.\n"
    "  given: input {input}, weight {weight} (outputs, channels of a group, *window),"
    " groups {groups}\n"
    "  expected: an input of {wanted} channels on axis 1\n"
    "  fix: build the layer for {given} input channels, or give it images of {wanted}"
)


def _check_groups(what: str, outputs: int, groups: int) -> None:
    if groups < 1 or outputs % groups:
        raise ShapeError(f"{what}: {outputs} output channels do not part into {groups} groups")


def _infer(x: Aval, w: Aval, *, groups: int, **at: Any) -> Aval:
    check_image("convolution", x)
    check_float("convolution", x, w)
    if w.ndim != x.ndim:
        raise ShapeError(
            f"convolution: an input {x.shape} of {x.ndim - 2} spatial axes needs a weight of as"
            f" many; given {w.shape}"
        )
    _check_groups("convolution", w.shape[0], groups)
    if w.shape[1] * groups != x.shape[1]:
        wanted = w.shape[1] * groups
        raise ShapeError(
            CHANNELS.format(
                wanted=wanted, given=x.shape[1], input=x.shape, weight=w.shape, groups=groups
            )
        )
    found = check_window("convolution", x.shape[2:], w.shape[2:], **at)
    return make_aval((x.shape[0], w.shape[0], *found), x.dtype)


def _infer_input(g: Aval, w: Aval, *, groups: int, size: Ints, **at: Any) -> Aval:
    what = "convolution_input"
    check_image(what, g)
    check_float(what, g, w)
    _check_groups(what, w.shape[0], groups)
    if w.ndim != g.ndim or w.shape[0] != g.shape[1]:
        raise ShapeError(
            f"{what}: values {g.shape} and weight {w.shape} do not meet.\n"
            f"  expected: {w.shape[0]} channels of values, one for each output of the weight"
        )
    found = check_window(what, size, w.shape[2:], **at)
    check_places(what, g.shape[2:], size, found)
    return make_aval((g.shape[0], w.shape[1] * groups, *size), g.dtype)


def _infer_weight(x: Aval, g: Aval, *, groups: int, kernel: Ints, **at: Any) -> Aval:
    what = "convolution_weight"
    check_image(what, x)
    check_float(what, x, g)
    _check_groups(what, g.shape[1], groups)
    if g.ndim != x.ndim or g.shape[0] != x.shape[0] or x.shape[1] % groups:
        raise ShapeError(
            f"{what}: input {x.shape} and values {g.shape} do not meet in {groups} groups"
        )
    found = check_window(what, x.shape[2:], kernel, **at)
    check_places(what, g.shape[2:], x.shape[2:], found)
    return make_aval((g.shape[1], x.shape[1] // groups, *kernel), x.dtype)


def _forward(
    xp: Any, x: Any, w: Any, *, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    return xp.convolution(x, w, stride, padding, dilation, groups)


def _input(
    xp: Any,
    g: Any,
    w: Any,
    *,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    size: Ints,
) -> Any:
    return xp.convolution_input(g, w, stride, padding, dilation, groups, size)


def _weight(
    xp: Any,
    x: Any,
    g: Any,
    *,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    kernel: Ints,
) -> Any:
    return xp.convolution_weight(x, g, stride, padding, dilation, groups, kernel)


CONVOLUTION = Op(
    name="convolution",
    infer=_infer,
    array=_forward,
    vjps=(
        lambda g, y, x, w, **at: g.convolution_input(w, size=x.shape[2:], **at),
        lambda g, y, x, w, **at: x.convolution_weight(g, kernel=w.shape[2:], **at),
    ),
    text="{0} ⋆ {1}",
    tex=r"{0} \star {1}",
)
CONVOLUTION_INPUT = Op(
    name="convolution_input",
    infer=_infer_input,
    array=_input,
    vjps=(
        lambda h, y, g, w, *, size, **at: h.convolution(w, **at),
        lambda h, y, g, w, *, size, **at: h.convolution_weight(g, kernel=w.shape[2:], **at),
    ),
    text="{0} ⋆ᵀ {1}",
    tex=r"{0} \star^\top {1}",
)
CONVOLUTION_WEIGHT = Op(
    name="convolution_weight",
    infer=_infer_weight,
    array=_weight,
    vjps=(
        lambda v, y, x, g, *, kernel, **at: g.convolution_input(v, size=x.shape[2:], **at),
        lambda v, y, x, g, *, kernel, **at: x.convolution(v, **at),
    ),
    text="Σ {0} ⋆ {1}",
    tex=r"\sum {0} \star {1}",
)

ALL = (CONVOLUTION, CONVOLUTION_INPUT, CONVOLUTION_WEIGHT)
