"""Rewrites of convolution and pooling, and of what stands around them, into ops on rows.

An image x (N, C, *S) is *in rows* where it is a matrix [N S, C] reshaped and permuted: P(rows). The
rewrites here push P from the inputs towards the outputs, so that between two convolutions there are
only matrices, whose rows lie in memory as kernels want them.
"""

from __future__ import annotations

from math import prod

from ....errors import EngineError
from ....graph.node import Node
from ....ops import elementwise as e
from ....ops import index as i
from ....ops import reduction, shape
from ..kernels.convolution import panel_of
from ..kernels.windows import Triple, Windows
from .build import COPY, Builder, scalar_of
from .support import form
from .window_ops import CONVOLVE, CONVOLVE_PLACES, POOL, SPREAD, WEIGH, WEIGH_PLACES

# So many rows are divided by multiplying with a reciprocal.
_MANY_ROWS = 64
_COMPARED = ("gt", "ge", "lt", "le", "eq", "ne")
# Bytes that sums of a weight's gradient may take for all parts together, and the most parts.
_PARTS_BYTES = 4 << 20
_MOST_PARTS = 16
# Gradients are taken at pooled places alone where these are so many times fewer, and told apart by
# so few codes.
_FEW_PLACES, _FEW_CODES = 2, 16

TOO_MANY_AXES = (
    "the native engine has windows of one to three spatial axes.\n"
    "  given: {place}\n"
    '  fix: use engine="numpy" or engine="xla" for this function'
)


# -- images and rows -----------------------------------------------------------------------------
def matrix_of(node: Node) -> Node | None:
    """The matrix of rows that an image is made of, or None where it is none."""
    shape_of = node.shape
    if node.ndim < 3:
        return None
    if node.op is shape.PERMUTE:
        last = node.ndim - 1
        if node.attrs["axes"] != (0, last, *range(1, last)):
            return None
        node = node.inputs[0]
    elif shape_of[1] != 1 and prod(shape_of[2:]) != 1:
        return None
    if node.op is not shape.RESHAPE:
        return None
    source = node.inputs[0]
    wanted = (shape_of[0] * prod(shape_of[2:]), shape_of[1])
    return source if source.shape == wanted else None


def image_of(b: Builder, rows: Node, new: tuple[int, ...]) -> Node:
    """P: the image of a shape (N, C, *S) that a matrix of rows is."""
    last = b.reshape(rows, (new[0], *new[2:], new[1]))
    return b.permute(last, (0, len(new) - 1, *range(1, len(new) - 1)))


def rows_of(b: Builder, image: Node) -> Node:
    """The matrix of rows of any image."""
    found = matrix_of(image)
    if found is not None:
        return found
    turned = b.permute(image, (0, *range(2, image.ndim), 1))
    return b.reshape(turned, (turned.size // image.shape[1], image.shape[1]))


def _triple(values: tuple[int, ...], fill: int) -> Triple:
    a, c, d = (*(fill,) * (3 - len(values)), *values)
    return a, c, d


def _has_elements(node: Node) -> bool:
    """Whether there is anything to compute; a rank that no kernel has is refused.

    Raises:
        EngineError: for more than three spatial axes, naming the op.
    """
    if node.ndim > 5:
        raise EngineError(TOO_MANY_AXES.format(place=node.describe()))
    return node.size > 0 and all(source.size > 0 for source in node.inputs)


def of_nothing(b: Builder, node: Node) -> Node | None:
    """A convolution over no channels or no images is 0."""
    return None if _has_elements(node) or not node.size else b.full(0, node)


def _windows(
    images: int,
    size: tuple[int, ...],
    places: tuple[int, ...],
    window: tuple[int, ...],
    attrs: dict[str, tuple[int, ...]],
) -> Windows:
    """The windows of an op's attributes."""
    low = tuple(pair[0] for pair in attrs["padding"])  # type: ignore[index]
    at = Windows(
        images,
        _triple(size, 1),
        _triple(places, 1),
        _triple(window, 1),
        _triple(attrs["stride"], 1),
        _triple(attrs["dilation"], 1),
        _triple(low, 0),
    )
    return _flat(at)


def _flat(at: Windows) -> Windows:
    """Windows of one element at every place of an image: one long line."""
    ones = (1, 1, 1)
    if at.taps > 1 or at.places != at.size or at.stride != ones or at.low != (0, 0, 0):
        return at
    line = (1, 1, at.rows)
    return Windows(at.images, line, line, ones, ones, ones, (0, 0, 0))


# -- convolution ---------------------------------------------------------------------------------
def _packed(b: Builder, w: Node, window: Triple, groups: int) -> Node:
    """Weights (O, C / groups, *K) as [O / panel][K][C / groups][panel]."""
    outputs, channels = w.shape[:2]
    panel = panel_of(outputs, groups)
    parted = b.reshape(w, (outputs // panel, panel, channels, *window))
    return b.make(COPY, b.permute(parted, (0, 3, 4, 5, 2, 1)))


def _packed_back(b: Builder, w: Node, window: Triple, groups: int) -> Node:
    """The weights of the transposed convolution: taps in opposite order, inputs for outputs."""
    outputs, channels = w.shape[:2]
    total = groups * channels
    panel = panel_of(total, groups)
    each = outputs // groups
    parted = b.reshape(w, (groups, each, channels // panel or 1, min(panel, channels), *window))
    turned = b.make(shape.FLIP, parted, axes=(4, 5, 6))
    if panel < total:
        packed = b.make(COPY, b.permute(turned, (2, 0, 4, 5, 6, 1, 3)))
    else:
        packed = b.make(COPY, b.permute(turned, (2, 4, 5, 6, 1, 0, 3)))
    return b.reshape(packed, (total // panel, *window, each, panel))


def convolution_of_rows(b: Builder, node: Node) -> Node | None:
    """Convolution of an image = P(convolution of its rows)."""
    if not _has_elements(node):
        return None
    x, w = node.inputs
    attrs = dict(node.attrs)
    at = _windows(x.shape[0], x.shape[2:], node.shape[2:], w.shape[2:], attrs)
    packed = _packed(b, w, at.window, attrs["groups"])
    y = b.make(CONVOLVE, rows_of(b, x), packed, at=at, groups=attrs["groups"])
    return image_of(b, y, node.shape)


def transposed_of_rows(b: Builder, node: Node) -> Node | None:
    """The transpose of convolution in x = a convolution of g, its elements a stride apart, with
    the taps in opposite order."""
    if not _has_elements(node):
        return None
    g, w = node.inputs
    attrs = dict(node.attrs)
    forward = _windows(g.shape[0], node.shape[2:], g.shape[2:], w.shape[2:], attrs)
    low = tuple(
        (k - 1) * d - a
        for k, d, a in zip(forward.window, forward.dilation, forward.low, strict=True)
    )
    ones = (1, 1, 1)
    at = Windows(
        forward.images,
        forward.places,
        forward.size,
        forward.window,
        ones,
        forward.dilation,
        _triple(low, 0),
        forward.stride,
    )
    rows = rows_of(b, g)
    if _is_placed(rows, forward, attrs["groups"]):
        pool, (values, code) = rows.attrs["at"], rows.inputs
        parted = b.reshape(w, (*w.shape[:2], *at.window))
        each = b.make(COPY, b.permute(parted, (0, 2, 3, 4, 1)))
        y = b.make(CONVOLVE_PLACES, values, code, each, at=forward, pool=pool)
        return image_of(b, y, node.shape)
    packed = _packed_back(b, w, at.window, attrs["groups"])
    y = b.make(CONVOLVE, rows, packed, at=at, groups=attrs["groups"])
    return image_of(b, y, node.shape)


def weight_of_rows(b: Builder, node: Node) -> Node | None:
    """The transpose of convolution in w = the sum of what parts of the images give."""
    if not _has_elements(node):
        return None
    x, g = node.inputs
    attrs = dict(node.attrs)
    groups = attrs["groups"]
    at = _windows(x.shape[0], x.shape[2:], g.shape[2:], attrs["kernel"], attrs)
    size = node.size * node.dtype.itemsize
    rank = len(attrs["kernel"])
    parts = max(1, min(_MOST_PARTS, at.images, _PARTS_BYTES // size))
    rows = rows_of(b, g)
    if _is_placed(rows, at, groups):
        pool, (values, code) = rows.attrs["at"], rows.inputs
        x = rows_of(b, x)
        sums = b.make(WEIGH_PLACES, x, values, code, at=at, pool=pool, parts=parts)
        whole = b.make(reduction.SUM, sums, axes=(0,), keepdims=True)
        plain = b.reshape(whole, (sums.shape[1], *attrs["kernel"], sums.shape[-1]))
        return b.permute(plain, (0, rank + 1, *range(1, rank + 1)))
    sums = b.make(WEIGH, rows_of(b, x), rows, at=at, groups=groups, parts=parts)
    whole = b.make(reduction.SUM, sums, axes=(0,), keepdims=True)
    plain = b.reshape(whole, (*attrs["kernel"], *sums.shape[4:]))
    return b.permute(plain, (rank + 1, rank, *range(rank)))


def _is_placed(g: Node, at: Windows, groups: int) -> bool:
    """Whether a convolution's gradient is zero but at one place of each of few windows."""
    if g.op is not SPREAD or len(g.inputs) != 2 or groups != 1:
        return False
    pool = g.attrs["at"]
    few = pool.outputs * _FEW_PLACES <= pool.rows and pool.taps <= _FEW_CODES
    # A border could be named by a code where a window holds nothing but infinities.
    return few and pool.is_bare and pool.size == at.places and min(at.low) >= 0


# -- pooling -------------------------------------------------------------------------------------
def _pooling(node: Node, size: tuple[int, ...], places: tuple[int, ...]) -> Windows:
    attrs = dict(node.attrs)
    return _windows(node.shape[0], size, places, attrs["window"], attrs)


def _pool(b: Builder, node: Node, what: str) -> Node | None:
    if not _has_elements(node):
        return None
    x = node.inputs[0]
    at = _pooling(node, x.shape[2:], node.shape[2:])
    return image_of(b, b.make(POOL, rows_of(b, x), at=at, what=what), node.shape)


def max_pool_of_rows(b: Builder, node: Node) -> Node | None:
    """The largest elements of an image's windows = P(those of its rows)."""
    return _pool(b, node, "value")


def places_of_rows(b: Builder, node: Node) -> Node | None:
    """The places of the largest elements of an image's windows = P(those of its rows)."""
    return _pool(b, node, "place")


def window_sum_of_rows(b: Builder, node: Node) -> Node | None:
    """The sum of the only window, which is the image, = a sum; other sums = P(those of rows)."""
    x = node.inputs[0]
    if _has_elements(node) and _is_whole(node, x.shape[2:]):
        return b.sum(x, tuple(range(2, x.ndim)), True)
    return _pool(b, node, "sum")


def _is_whole(node: Node, size: tuple[int, ...]) -> bool:
    """Whether the one window of each image is the image."""
    attrs = node.attrs
    bare = all(pair == (0, 0) for pair in attrs["padding"])
    return bare and attrs["window"] == size and set(attrs["dilation"]) == {1}


def max_pool_back_of_rows(b: Builder, node: Node) -> Node | None:
    """Values added where places say = P(values of rows added by codes), where the places are those
    of a max pool's own windows; else a scatter along the flat image."""
    if not _has_elements(node):
        return None
    g, places = node.inputs
    at = _pooling(node, node.shape[2:], g.shape[2:])
    found = matrix_of(places)
    if found is not None and found.op is POOL and found.attrs == {"at": at, "what": "place"}:
        code = b.make(POOL, found.inputs[0], at=at, what="code")
        back = b.make(SPREAD, rows_of(b, g), code, at=at)
        return image_of(b, back, node.shape)
    lead = node.shape[:2]
    count, length = prod(g.shape[2:]), prod(node.shape[2:])
    flat = (*lead, count)
    added = b.make(i.SCATTER_ADD, b.reshape(g, flat), b.reshape(places, flat), axis=2, size=length)
    return b.reshape(added, node.shape)


def mask_before_spread(b: Builder, node: Node) -> Node | None:
    """(values at maxima of x if x > c else 0) = (values if the maxima > c else 0) at the same."""
    condition, back, other = node.inputs
    if back.op is not SPREAD or len(back.inputs) != 2 or scalar_of(other) != 0:
        return None
    values, code = back.inputs
    compared = condition.op.name in _COMPARED and condition.inputs[0] is code.inputs[0]
    if not compared or scalar_of(condition.inputs[1]) is None or code.op is not POOL:
        return None
    best = b.make(POOL, code.inputs[0], at=back.attrs["at"], what="value")
    met = b.make(condition.op, best, condition.inputs[1], **condition.attrs)
    return b.make(
        SPREAD, b.where(met, values, b.constant(0, values.dtype)), code, at=back.attrs["at"]
    )


def sum_of_spread(b: Builder, node: Node) -> Node | None:
    """The sum of values that were added to their windows' maxima = the sum of the values."""
    back = node.inputs[0]
    whole = node.attrs["axes"] == (0,) and node.attrs["keepdims"]
    if back.op is not SPREAD or len(back.inputs) != 2 or not whole:
        return None
    return b.make(reduction.SUM, back.inputs[0], axes=(0,), keepdims=True)


def window_spread_of_rows(b: Builder, node: Node) -> Node | None:
    """Values added to all elements of their windows = P(those of rows); one window that is the
    image repeats its value."""
    if not _has_elements(node):
        return None
    g = node.inputs[0]
    if _is_whole(node, node.shape[2:]):
        return b.expand(g, node.shape)
    at = _pooling(node, node.shape[2:], g.shape[2:])
    return image_of(b, b.make(SPREAD, rows_of(b, g), at=at), node.shape)


# -- what stands around --------------------------------------------------------------------------
def map_of_rows(b: Builder, node: Node) -> Node | None:
    """f(P(a), P(c)) = P(f(a, c))."""
    if node.ndim < 3 or form(node) != "map" or not node.inputs or not node.size:
        return None
    if not any(x.shape == node.shape and matrix_of(x) is not None for x in node.inputs):
        return None
    rows = [_aligned(b, x, node.shape) for x in node.inputs]
    return image_of(b, b.make(node.op, *rows, **node.attrs), node.shape)


def _aligned(b: Builder, x: Node, image: tuple[int, ...]) -> Node:
    """An operand of an image as an operand of its rows."""
    while x.op is shape.EXPAND:
        x = x.inputs[0]
    if x.size == 1:
        return b.reshape(x, ())
    full = (*(1,) * (len(image) - x.ndim), *x.shape)
    if full == image:
        return rows_of(b, b.reshape(x, full))
    if x.size == full[1]:
        return b.reshape(x, (1, x.size))
    if full[:2] == image[:2] and x.size == full[0] * full[1]:
        return _repeated(b, b.reshape(x, full[:2]), image)
    return rows_of(b, b.expand(x, image))


def _repeated(b: Builder, values: Node, image: tuple[int, ...]) -> Node:
    """One value for each channel of each image, at all of its places: in rows."""
    size, ones, none = _triple(image[2:], 1), (1, 1, 1), (0, 0, 0)
    at = Windows(image[0], size, ones, size, ones, ones, none)
    return b.make(SPREAD, values, at=at)


def times_reciprocal(b: Builder, node: Node) -> Node | None:
    """x / v = x (1 / v), for many rows x and one v for each column: one division a column."""
    x, v = node.inputs
    tall = node.ndim == 2 and v.shape == (1, node.shape[1]) and node.shape[0] >= _MANY_ROWS
    if not tall or x.shape != node.shape or not node.dtype.is_float or scalar_of(v) is not None:
        return None
    return b.make(e.MUL, x, b.make(e.DIV, b.constant(1, node.dtype), v))


def reduction_of_rows(b: Builder, node: Node) -> Node | None:
    """A reduction of P(a) over all but the channels, over the channels or over each image = one of
    the rows."""
    x, axes = node.inputs[0], tuple(sorted(node.attrs["axes"]))
    rows = matrix_of(x)
    if rows is None or not node.attrs["keepdims"] or not x.size:
        return None
    space = tuple(range(2, x.ndim))
    if axes == (0, *space):
        return b.reshape(_reduced(b, node, rows, 0), node.shape)
    if axes == (1,):
        return image_of(b, _reduced(b, node, rows, 1), node.shape)
    if axes == space:
        parted = b.reshape(rows, (x.shape[0], prod(x.shape[2:]), x.shape[1]))
        return b.reshape(_reduced(b, node, parted, 1), node.shape)
    if axes == tuple(range(x.ndim)):
        made = b.make(node.op, rows, axes=(0, 1), keepdims=True)
        return b.reshape(made, node.shape)
    return None


def _reduced(b: Builder, node: Node, x: Node, axis: int) -> Node:
    return b.make(node.op, x, axes=(axis,), keepdims=True)


WINDOW_REWRITES = {
    "convolution": (of_nothing, convolution_of_rows),
    "convolution_input": (of_nothing, transposed_of_rows),
    "convolution_weight": (of_nothing, weight_of_rows),
    "max_pool": (max_pool_of_rows,),
    "max_pool_index": (places_of_rows,),
    "max_pool_input": (max_pool_back_of_rows,),
    "window_sum": (window_sum_of_rows,),
    "window_spread": (window_spread_of_rows,),
}
