"""The embedding layer: a trained table of vectors."""

from __future__ import annotations

from typing import Any, Self

from .. import functional as F
from ..config import set_state
from ..errors import OptionError, ShapeError
from ..tensor import Tensor
from . import init
from ._module import Module
from ._parameter import Parameter


class Embedding(Module):
    """A trained vector for each of a number of things, such as letters.

    The vectors start standard normal, as in PyTorch.

    Args:
        num_embeddings: how many things there are.
        embedding_dim: the vectors' length.
        padding_idx: a number whose vector starts at zero and is not trained.
        device, dtype: of the table.

    Shapes: whole numbers of any shape (...) become (..., embedding_dim).

    Raises:
        OptionError: when padding_idx is none of the numbers.

    >>> import chainrule as cr
    >>> letters = cr.nn.Embedding(26, 8)
    >>> tuple(letters(cr.tensor([[0, 1, 25]])).shape)
    (1, 3, 8)
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise OptionError(
                f"Embedding: padding_idx={padding_idx} is none of the {num_embeddings} numbers"
            )
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = Parameter(init.blank((num_embeddings, embedding_dim), device, dtype))
        self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None
    ) -> Self:
        """Make a layer of a given table, (num_embeddings, embedding_dim)."""
        if embeddings.ndim != 2:
            raise ShapeError(
                f"from_pretrained takes a table (rows, width); given {tuple(embeddings.shape)}"
            )
        rows, width = embeddings.shape
        layer = cls(rows, width, padding_idx, dtype=embeddings.dtype)
        layer.weight.data = embeddings.detach().clone()
        layer.weight.requires_grad_(not freeze)
        return layer

    def reset_parameters(self) -> None:
        """Draw the vectors anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with set_state(grad_enabled=False):
                self.weight[self.padding_idx] = 0.0

    def forward(self, input: Tensor) -> Tensor:
        """Return the vectors of the numbers in `input`."""
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """Name the sizes."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        return text if self.padding_idx is None else f"{text}, padding_idx={self.padding_idx}"
