"""Attention of several heads, each with its own projections of queries, keys and values."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from ..dtypes import bool_
from ..errors import OptionError, ShapeError
from ..functional._attention import attend, causal
from ..functional._common import float_node, located, node_of
from ..tensor import Tensor, cat, zeros
from . import init
from ._linear import Linear
from ._module import Module
from ._parameter import Parameter

WRONG_HEADS = (
    "MultiheadAttention: {heads} heads do not divide embed_dim={width}.\n"
    "  expected: each head gets embed_dim / num_heads of the width"
)
WRONG_INPUT = (
    "MultiheadAttention: {name} does not fit.\n  given: {given}\n  expected: ({order}, {width}), or"
    " ({length}, {width}) without a batch"
)
WRONG_MASK = "MultiheadAttention: {name} does not fit.\n  given: {given}\n  expected: {expected}"


class MultiheadAttention(Module):
    """Attention by several heads side by side, their results joined and mixed by a linear layer.

    Args:
        embed_dim: the width of queries and results, shared out among the heads.
        num_heads: how many heads there are.
        dropout: in training, the share of attention weights set to zero.
        bias: whether the projections have biases.
        add_bias_kv: add one trained key and value to each sequence.
        add_zero_attn: add one key and value of zeros to each sequence.
        kdim, vdim: the widths of keys and values, where they are not embed_dim.
        batch_first: whether tensors are (N, L, width) instead of (L, N, width).
        device, dtype: of the parameters.

    Shapes: query (L, N, embed_dim), key (S, N, kdim), value (S, N, vdim), all also without N.

    Raises:
        OptionError: when the heads do not divide embed_dim.
        ShapeError: for inputs and masks that do not fit.

    Source: Vaswani et al., Attention is all you need (2017), section 3.2.2.

    >>> import chainrule as cr
    >>> attention = cr.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = cr.ones(3, 5, 8)
    >>> output, weights = attention(x, x, x)
    >>> tuple(output.shape), tuple(weights.shape)
    ((3, 5, 8), (3, 5, 5))
    """

    _summary = "softmax(q @ kᵀ / sqrt(d)) @ v for each head, joined, @ wᵀ + b"

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            raise OptionError(WRONG_HEADS.format(heads=num_heads, width=embed_dim))
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        self._same = self.kdim == self.vdim == embed_dim
        together = {"in_proj_weight": (3 * embed_dim, embed_dim)}
        apart = {
            "q_proj_weight": (embed_dim, embed_dim),
            "k_proj_weight": (embed_dim, self.kdim),
            "v_proj_weight": (embed_dim, self.vdim),
        }
        shapes: dict[str, tuple[int, ...]] = dict(together if self._same else apart)
        if bias:
            shapes["in_proj_bias"] = (3 * embed_dim,)
        if add_bias_kv:
            shapes |= {"bias_k": (1, 1, embed_dim), "bias_v": (1, 1, embed_dim)}
        for name in (*together, *apart, "in_proj_bias", "bias_k", "bias_v"):
            shape = shapes.get(name)
            held = None if shape is None else Parameter(init.blank(shape, device, dtype))
            self.register_parameter(name, held)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew, by Glorot's rule; biases start at 0."""
        for name, parameter in self.named_parameters(recurse=False):
            if name == "in_proj_bias":
                init.zeros_(parameter)
            elif name in ("bias_k", "bias_v"):
                init.xavier_normal_(parameter)
            else:
                init.xavier_uniform_(parameter)
        self.out_proj.reset_parameters()
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the mixed results of the heads, and the weights with which they were taken.

        Args:
            query, key, value: as the class says.
            key_padding_mask: (N, S): True where a key is padding and to be left out, or numbers to
                be added to its scores.
            need_weights: whether the weights are returned; None stands for them otherwise.
            attn_mask: (L, S) or (N heads, L, S): True where a query must **not** look (as in
                PyTorch; the mask of `scaled_dot_product_attention` is the other way round), or
                numbers to be added.
            average_attn_weights: return weights averaged over the heads, (N, L, S), instead of
                (N, heads, L, S).
            is_causal: query i sees the keys 0 to i alone; with `attn_mask` given it says only that
                the mask is such a one.

        A query that may look at nothing gets weights of 0, where PyTorch gives NaN.
        """
        function = "MultiheadAttention"
        for one, name in ((query, "query"), (key, "key"), (value, "value")):
            float_node(one, function, name)
        single = query.ndim == 2
        self._check(query, key, value)
        same = query is key, key is value
        if single:
            axis = 0 if self.batch_first else 1
            query, key, value = (one.unsqueeze(axis) for one in (query, key, value))
        q, k, v = self._projected(query, key, value, *same)
        k, v = self._with_extra(k, self.bias_k), self._with_extra(v, self.bias_v)
        q, k, v = (self._heads(one) for one in (q, k, v))
        mask = self._mask(attn_mask, key_padding_mask, q, k, is_causal)
        dropout = self.dropout if self.training else 0.0
        found, weights = attend(q, k, v, mask, dropout, None, function)
        batch, heads, length, width = found.shape
        order = (0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3)
        sizes = (batch, length) if self.batch_first else (length, batch)
        output = self.out_proj(Tensor(found.permute(order).reshape((*sizes, heads * width))))
        if single:
            output = output.squeeze(0 if self.batch_first else 1)
        if not need_weights:
            return output, None
        if average_attn_weights:
            weights = weights.sum((1,), False) / heads
        return output, Tensor(weights.reshape(weights.shape[1:]) if single else weights)

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Refuse inputs that do not fit the layer or each other."""
        order = "N, {0}" if self.batch_first else "{0}, N"
        batch, time = (0, 1) if self.batch_first else (1, 0)
        for one, name, width, length in (
            (query, "query", self.embed_dim, "L"),
            (key, "key", self.kdim, "S"),
            (value, "value", self.vdim, "S"),
        ):
            shape = tuple(one.shape)
            fits = len(shape) == query.ndim and len(shape) in (2, 3) and shape[-1] == width
            if fits and len(shape) == 3:
                fits = shape[batch] == query.shape[batch]
            if fits and one is value:
                fits = (
                    shape[time if len(shape) == 3 else 0]
                    == key.shape[time if len(shape) == 3 else 0]
                )
            if not fits:
                text = WRONG_INPUT.format(
                    name=name, given=shape, order=order.format(length), width=width, length=length
                )
                raise located(ShapeError, text)

    def _projected(
        self, query: Tensor, key: Tensor, value: Tensor, one_source: bool, one_memory: bool
    ) -> list[Tensor]:
        """Queries, keys and values of all heads; as few products as the inputs allow."""
        width = self.embed_dim
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if weight is None:
            weights: list[Any] = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
            biases: list[Any] = [None] * 3 if bias is None else list(bias.chunk(3))
            inputs = (query, key, value)
            return [F.linear(*each) for each in zip(inputs, weights, biases, strict=True)]
        if one_source and one_memory:
            return list(F.linear(query, weight, bias).chunk(3, -1))

        def part(x: Tensor, start: int, stop: int) -> Tensor:
            rows = slice(start * width, stop * width)
            return F.linear(x, weight[rows], None if bias is None else bias[rows])

        if one_memory:
            return [part(query, 0, 1), *part(key, 1, 3).chunk(2, -1)]
        return [part(query, 0, 1), part(key, 1, 2), part(value, 2, 3)]

    def _with_extra(self, x: Tensor, extra: Parameter | None) -> Tensor:
        """Keys or values with the trained one, and with zeros, behind them."""
        axis = 1 if self.batch_first else 0
        batch = x.shape[1 - axis]
        shape = (batch, 1, self.embed_dim) if self.batch_first else (1, batch, self.embed_dim)
        if extra is not None:
            x = cat([x, extra.expand(*shape)], axis)
        if self.add_zero_attn:
            x = cat([x, zeros(shape, dtype=x.dtype)], axis)
        return x

    def _heads(self, x: Tensor) -> Any:
        """(L, N, width) or (N, L, width) as a node (N, heads, L, width of a head)."""
        shape = (*x.shape[:2], self.num_heads, self.head_dim)
        return x.node.reshape(shape).permute((0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3))

    def _mask(
        self, attn_mask: Tensor | None, padding: Tensor | None, q: Any, k: Any, is_causal: bool
    ) -> Any:
        """One mask for (N, heads, L, S), True where a query may look or numbers; None for none."""
        batch, heads, rows = q.shape[:3]
        columns = k.shape[2]
        extra = (self.bias_k is not None) + self.add_zero_attn
        asked = columns - extra
        masks = []
        if attn_mask is not None:
            mask = node_of(attn_mask, "MultiheadAttention", "attn_mask")
            if mask.shape == (batch * heads, rows, asked) and mask.ndim == 3:
                mask = mask.reshape((batch, heads, rows, asked))
            elif mask.shape != (rows, asked):
                expected = f"{(rows, asked)} or {(batch * heads, rows, asked)}"
                raise self._wrong("attn_mask", mask, expected)
            masks.append(_allowing(mask, extra))
        elif is_causal:
            masks.append(_widened(causal(rows, asked), extra))
        if padding is not None:
            mask = node_of(padding, "MultiheadAttention", "key_padding_mask")
            if mask.shape == (asked,) and batch == 1:
                mask = mask.reshape((1, asked))
            if mask.shape != (batch, asked):
                raise self._wrong("key_padding_mask", mask, str((batch, asked)))
            masks.append(_allowing(mask.reshape((batch, 1, 1, asked)), extra))
        return _joined(masks)

    def _wrong(self, name: str, mask: Any, expected: str) -> Exception:
        text = WRONG_MASK.format(name=name, given=mask.shape, expected=expected)
        return located(ShapeError, text)


def _allowing(mask: Any, extra: int) -> Any:
    """A mask of the layer's as one of the scores': booleans the other way round."""
    return _widened(mask.eq(False) if mask.dtype is bool_ else mask, extra)


def _widened(mask: Any, extra: int) -> Any:
    """The mask with keys behind it at which every query may look."""
    if not extra:
        return mask
    shape = (*mask.shape[:-1], extra)
    free: Any = (
        Tensor(mask).new_ones(shape) if mask.dtype is bool_ else Tensor(mask).new_zeros(shape)
    )
    return cat([Tensor(mask), free], -1).node


def _joined(masks: list[Any]) -> Any:
    if len(masks) < 2:
        return masks[0] if masks else None
    if all(mask.dtype is bool_ for mask in masks):
        return (Tensor(masks[0]) & Tensor(masks[1])).node
    first, second = (_as_numbers(mask) for mask in masks)
    return first + second


def _as_numbers(mask: Any) -> Any:
    if mask.dtype is not bool_:
        return mask
    return mask.where(zeros(()).node, -math.inf)
