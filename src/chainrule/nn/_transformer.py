"""Transformers: layers of attention and of two linear maps, each added to its input.

Vaswani et al., Attention is all you need (2017), figure 1; with `norm_first` the norms stand before
the parts instead of behind the sums (Xiong et al., On layer normalization in the transformer
architecture, 2020).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, ClassVar

from .. import functional as F
from ..errors import OptionError
from ..tensor import Tensor, full
from . import init
from ._attention import MultiheadAttention
from ._containers import ModuleList
from ._linear import Dropout, Linear
from ._module import Module
from ._normalization import LayerNorm

Activation = str | Callable[[Tensor], Tensor]


def _activation(activation: Activation, layer: str) -> Callable[[Tensor], Tensor]:
    if callable(activation):
        return activation
    if activation not in ("relu", "gelu"):
        raise OptionError(
            f"{layer}: activation={activation!r} does not exist.\n"
            "  expected: 'relu', 'gelu', or a function of a tensor"
        )
    found: Callable[[Tensor], Tensor] = getattr(F, activation)
    return found


class _Layer(Module):
    """What encoder and decoder layers share: all but which attentions there are."""

    attentions: ClassVar[tuple[str, ...]] = ("self_attn",)

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        for name in self.attentions:
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype
            )
            self.add_module(name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)
        self.norm_first = norm_first
        # The attentions and the two linear maps are parts; behind each is a dropout, and a norm.
        parts = range(1, len(self.attentions) + 2)
        for number in parts:
            norm = LayerNorm(d_model, layer_norm_eps, True, bias, device, dtype)
            self.add_module(f"norm{number}", norm)
        for number in parts:
            self.add_module(f"dropout{number}", Dropout(dropout))
        self.activation = _activation(activation, type(self).__name__)

    def _plus(self, number: int, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        """Return x with a part of it added, dropped out and normalised as the layer does."""
        norm, dropout = self._modules[f"norm{number}"], self._modules[f"dropout{number}"]
        assert norm is not None and dropout is not None
        if self.norm_first:
            before: Tensor = x + dropout(part(norm(x)))
            return before
        after: Tensor = norm(x + dropout(part(x)))
        return after

    def _feed(self, x: Tensor) -> Tensor:
        found: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return found


class TransformerEncoderLayer(_Layer):
    """Self-attention and two linear maps, each added to its input and normalised.

    Args:
        d_model: the width of inputs and outputs.
        nhead: the heads of the attention; they divide d_model.
        dim_feedforward: the width between the two linear maps.
        dropout: the share set to zero in training, in attention weights and behind each part.
        activation: "relu", "gelu" or a function, between the two linear maps.
        layer_norm_eps: of the norms.
        batch_first: whether tensors are (N, T, d_model) instead of (T, N, d_model).
        norm_first: whether the norms stand before the parts instead of behind the sums.
        bias: whether linear maps and norms have biases.
        device, dtype: of the parameters.

    Shapes: (T, N, d_model) or (T, d_model), and the same out.

    Raises:
        OptionError: for an activation that does not exist, or heads that do not divide d_model.

    >>> import chainrule as cr
    >>> layer = cr.nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> tuple(layer(cr.ones(3, 5, 8), is_causal=True).shape)
    (3, 5, 8)
    """

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return the layer's output.

        Args:
            src: the input.
            src_mask, src_key_padding_mask, is_causal: the masks of `MultiheadAttention`; without
                `src_mask`, `is_causal=True` hides later steps by itself.
        """

        def attention(x: Tensor) -> Tensor:
            return self.self_attn(  # type: ignore[no-any-return]
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal
            )[0]

        return self._plus(2, self._plus(1, src, attention), self._feed)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's outputs, and two linear maps.

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, device, dtype: as for `TransformerEncoderLayer`.

    Shapes: target (T, N, d_model), memory (S, N, d_model); returns the target's shape.

    Raises:
        OptionError: as for `TransformerEncoderLayer`.

    >>> import chainrule as cr
    >>> layer = cr.nn.TransformerDecoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> tuple(layer(cr.ones(3, 5, 8), cr.ones(3, 7, 8), tgt_is_causal=True).shape)
    (3, 5, 8)
    """

    attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return the layer's output.

        Args:
            tgt: the input.
            memory: what the encoder gave.
            tgt_mask, tgt_key_padding_mask, tgt_is_causal: masks of the attention to the input.
            memory_mask, memory_key_padding_mask, memory_is_causal: of that to the memory.
        """

        def itself(x: Tensor) -> Tensor:
            return self.self_attn(  # type: ignore[no-any-return]
                x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal
            )[0]

        def other(x: Tensor) -> Tensor:
            return self.multihead_attn(  # type: ignore[no-any-return]
                x, memory, memory, memory_key_padding_mask, False, memory_mask,
                is_causal=memory_is_causal,
            )[0]  # fmt: skip

        return self._plus(3, self._plus(2, self._plus(1, tgt, itself), other), self._feed)


class _Stack(Module):
    """Copies of a layer, one on the other, and perhaps a norm behind the last."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def _through(self, x: Tensor, *arguments: Any) -> Tensor:
        for layer in self.layers:
            x = layer(x, *arguments)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """Encoder layers one on the other.

    Args:
        encoder_layer: the layer; the encoder is made of copies of it, which start alike.
        num_layers: how many.
        norm: a module behind the last layer, or None.
        enable_nested_tensor, mask_check: accepted for PyTorch's sake; they have no effect.

    Shapes: those of the layer.

    >>> import chainrule as cr
    >>> layer = cr.nn.TransformerEncoderLayer(8, 2, dim_feedforward=16)
    >>> tuple(cr.nn.TransformerEncoder(layer, 2)(cr.ones(5, 3, 8)).shape)
    (5, 3, 8)
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Return the last layer's output; the masks go to every layer."""
        return self._through(src, mask, src_key_padding_mask, bool(is_causal))


class TransformerDecoder(_Stack):
    """Decoder layers one on the other.

    Args:
        decoder_layer, num_layers, norm: as for `TransformerEncoder`.

    Shapes: those of the layer.

    >>> import chainrule as cr
    >>> layer = cr.nn.TransformerDecoderLayer(8, 2, dim_feedforward=16)
    >>> tuple(cr.nn.TransformerDecoder(layer, 2)(cr.ones(5, 3, 8), cr.ones(7, 3, 8)).shape)
    (5, 3, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return the last layer's output; memory and masks go to every layer."""
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        return self._through(tgt, memory, *masks, bool(tgt_is_causal), memory_is_causal)


class Transformer(Module):
    """An encoder, and a decoder that attends to what it gives.

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, device, dtype: as for `TransformerEncoderLayer`.
        num_encoder_layers, num_decoder_layers: how many layers each has.
        custom_encoder, custom_decoder: modules in their places.

    Shapes: source (S, N, d_model), target (T, N, d_model); returns the target's shape.

    >>> import chainrule as cr
    >>> model = cr.nn.Transformer(8, 2, 1, 1, dim_feedforward=16)
    >>> tuple(model(cr.ones(7, 3, 8), cr.ones(5, 3, 8)).shape)
    (5, 3, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        shared = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, device, dtype,
        )  # fmt: skip

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, True, bias, device, dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*shared), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*shared), num_decoder_layers, norm()
        )
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return the decoder's output for the target, given the source."""
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        found: Tensor = self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
            tgt_is_causal, memory_is_causal,
        )  # fmt: skip
        return found

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """Return the mask (sz, sz) that hides later steps: -inf above the diagonal, else 0."""
        mask: Tensor = full((sz, sz), -math.inf, dtype=dtype, device=device).triu(1)
        return mask
