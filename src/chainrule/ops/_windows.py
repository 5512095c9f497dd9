"""Where windows lie that move over an image: the lengths that convolution and pooling share.

Notation: an image has shape (N, C, \\*S), a window the lengths K; it takes T places on each axis,
the first ``low`` before the image, each ``stride`` behind the last, elements ``dilation`` apart.
"""

from __future__ import annotations

from ..errors import DTypeError, ShapeError
from ..graph.node import Aval

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def span(window: Ints, dilation: Ints) -> Ints:
    """How far a window reaches on each axis.

    Example:
        >>> span((3, 1), (2, 5))
        (5, 1)
    """
    return tuple(gap * (k - 1) + 1 for k, gap in zip(window, dilation, strict=True))


def places(size: Ints, window: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Ints:
    """How many places a window takes on each axis; 0 or less where it does not fit.

    Example:
        >>> places((28, 28), (5, 5), (1, 2), ((2, 2), (0, 0)), (1, 1))
        (28, 12)
    """
    reach = span(window, dilation)
    return tuple(
        (n + low + high - k) // step + 1
        for n, k, step, (low, high) in zip(size, reach, stride, padding, strict=True)
    )


def check_window(
    what: str, size: Ints, window: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> Ints:
    """The places of a window, or an error that says on which axis it does not fit."""
    rank = len(size)
    if not rank == len(window) == len(stride) == len(padding) == len(dilation):
        raise ShapeError(
            f"{what}: an image of {rank} spatial axes needs a window, stride, padding and dilation"
            f" for each.\n  given: window {window}, stride {stride}, padding {padding},"
            f" dilation {dilation}"
        )
    amounts = [n for pair in padding for n in pair]
    if min((*window, *stride, *dilation, 1)) < 1 or min((*amounts, 0)) < 0:
        raise ShapeError(
            f"{what}: a window's lengths, its stride and dilation are 1 or more, padding is 0 or"
            f" more.\n  given: window {window}, stride {stride}, padding {padding},"
            f" dilation {dilation}"
        )
    found = places(size, window, stride, padding, dilation)
    if min(found) < 1:
        padded = tuple(n + low + high for n, (low, high) in zip(size, padding, strict=True))
        raise ShapeError(
            f"{what}: the window is larger than the padded input.\n"
            f"  given: input {size}, with its padding {padded}; window {window}, which with"
            f" dilation {dilation} reaches over {span(window, dilation)}\n"
            "  expected: a reach of at most the padded length on each axis\n"
            "  fix: a smaller window, more padding, or a larger input"
        )
    return found


def check_image(what: str, x: Aval) -> None:
    """Refuse what is no floating-point image (N, C, \\*S)."""
    if x.ndim < 3:
        raise ShapeError(
            f"{what} takes a batch of images (N, C, *S) with one or more spatial axes.\n"
            f"  given: {x!r}"
        )
    check_float(what, x)


def check_float(what: str, *avals: Aval) -> None:
    """Refuse numbers that are not real, and mixed dtypes."""
    if any(not aval.dtype.is_float or aval.dtype is not avals[0].dtype for aval in avals):
        raise DTypeError(
            f"{what} takes floats of one dtype.\n  given: {', '.join(map(repr, avals))}\n"
            "  fix: convert first, for example x.float()"
        )


def check_places(what: str, given: Ints, size: Ints, found: Ints) -> None:
    """Refuse a gradient whose lengths are not the places that a window takes."""
    if given != found:
        raise ShapeError(
            f"{what}: an image of lengths {size} gives {found} places, and the values lie on"
            f" {given}.\n  fix: name another size"
        )
