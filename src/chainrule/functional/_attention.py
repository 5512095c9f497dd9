"""Attention: each query takes the mean of all values, weighted by how its key matches.

`softmax(Q Kᵀ / √d + mask) V`; Vaswani et al., Attention is all you need (2017), section 3.2.
"""

from __future__ import annotations

import math
from typing import Any

from ..dtypes import bool_, int32
from ..errors import OptionError, ShapeError
from ..ops import apply
from ..ops.shape import IOTA
from ..tensor import Tensor
from ._common import float_node, located, node_of
from ._layers import dropout

WRONG_SHAPES = (
    "{function}: query, key and value do not fit together.\n"
    "  given: query {query}, key {key}, value {value}\n"
    "  expected: query (..., L, d), key (..., S, d), value (..., S, d_v) with equal axes in front"
)
WRONG_MASK = (
    "{function}: the mask does not broadcast to the scores.\n  given: mask {mask}\n"
    "  expected: (..., L, S), here {scores}"
)
BOTH_MASKS = (
    "{function}: give attn_mask or is_causal=True, not both.\n"
    "  fix: attn_mask & cr.ones(L, S, dtype=cr.bool).tril()"
)


def causal(rows: int, columns: int) -> Any:
    """Return a node of booleans, (rows, columns): whether a query may look at a key, none later."""
    shape = (rows, columns)
    before: Any = apply(IOTA, shape=shape, axis=0, dtype=int32)
    return before >= apply(IOTA, shape=shape, axis=1, dtype=int32)


def masked(scores: Any, mask: Any, function: str) -> Any:
    """Return scores with -inf where a boolean mask says no, or with another mask added."""
    if mask is None:
        return scores
    rank = scores.ndim
    fits = mask.ndim <= rank and all(
        a in (1, b) for a, b in zip(mask.shape, scores.shape[rank - mask.ndim :], strict=True)
    )
    if not fits:
        text = WRONG_MASK.format(function=function, mask=mask.shape, scores=scores.shape)
        raise located(ShapeError, text)
    if mask.dtype is bool_:
        return mask.where(scores, -math.inf)
    return scores + mask.cast(scores.dtype)


def shares(scores: Any) -> Any:
    """Return the softmax over the last axis, 0 where all scores of a row are -inf."""
    axis = (scores.ndim - 1,)
    top = scores.detach().amax(axis, True)
    powers = (scores - top.eq(-math.inf).where(0, top)).exp()
    total = powers.sum(axis, True)
    return powers * (1 / total.eq(0).where(1, total))


def attend(
    q: Any, k: Any, v: Any, mask: Any, dropout_p: float, scale: float | None, function: str
) -> tuple[Any, Any]:
    """Return what the queries get, (..., L, d_v), and the weights, (..., L, S), as nodes."""
    fit = (
        q.ndim == k.ndim == v.ndim >= 2
        and q.shape[-1] == k.shape[-1]
        and k.shape[-2] == v.shape[-2]
        and k.shape[:-2] == v.shape[:-2] == q.shape[:-2]
    )
    if not fit:
        text = WRONG_SHAPES.format(function=function, query=q.shape, key=k.shape, value=v.shape)
        raise located(ShapeError, text)
    factor = 1 / math.sqrt(max(q.shape[-1], 1)) if scale is None else scale
    # The scores are scaled, not the queries: that is part of the kernel of a compiled softmax.
    scores = q.matmul(k, False, True) * factor
    if mask is None:
        # No row is empty. A row is multiplied by one reciprocal, and so is its derivative.
        powers = (scores - scores.detach().amax((scores.ndim - 1,), True)).exp()
        weights = powers * (1 / powers.sum((scores.ndim - 1,), True))
    else:
        weights = shares(masked(scores, mask, function))
    if dropout_p:
        weights = dropout(Tensor(weights), dropout_p).node
    return weights.matmul(v, False, False), weights


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return `softmax(Q Kᵀ scale + mask) V`.

    Args:
        query: (..., L, d).
        key: (..., S, d).
        value: (..., S, d_v).
        attn_mask: broadcasts to (..., L, S): True where a query may look, or numbers to be added
            to the scores.
        dropout_p: the share of the weights set to zero. It is applied whatever the mode is, as in
            PyTorch: give 0.0 in evaluation.
        is_causal: whether query number i sees the keys 0 to i alone.
        scale: what the scores are multiplied by; None is `1 / √d`.
        enable_gqa: whether there may be fewer heads of keys and values (axis -3) than of queries,
            each of which then serves several.

    Returns:
        (..., L, d_v); 0 for a query that may look at nothing.

    Raises:
        ShapeError: when the tensors or the mask do not fit.
        OptionError: for a mask with `is_causal=True`.

    Source: Vaswani et al., Attention is all you need (2017).

    >>> import chainrule as cr
    >>> q, k = cr.tensor([[1.0, 0.0]]), cr.tensor([[9.0, 0.0], [0.0, 9.0]])
    >>> scaled_dot_product_attention(q, k, cr.tensor([[1.0], [2.0]]), scale=100.0).tolist()
    [[1.0]]
    """
    function = "scaled_dot_product_attention"
    q = float_node(query, function, "query")
    k, v = float_node(key, function, "key"), float_node(value, function, "value")
    if not 0.0 <= dropout_p <= 1.0:
        raise located(
            OptionError, f"{function}: dropout_p must be from 0 to 1; {dropout_p} was given"
        )
    mask = None if attn_mask is None else node_of(attn_mask, function, "attn_mask")
    if is_causal:
        if mask is not None:
            raise located(OptionError, BOTH_MASKS.format(function=function))
        mask = causal(q.shape[-2], k.shape[-2])
    if enable_gqa and q.ndim > 2 and k.shape[-3]:
        k, v = (_repeated(one, q.shape[-3] // k.shape[-3]) for one in (k, v))
    return Tensor(attend(q, k, v, mask, dropout_p, scale, function)[0])


def _repeated(node: Any, times: int) -> Any:
    """Each head (axis -3) several times in a row."""
    *front, heads, length, width = node.shape
    wide = node.reshape((*front, heads, 1, length, width))
    wide = wide.expand((*front, heads, times, length, width))
    return wide.reshape((*front, heads * times, length, width))
