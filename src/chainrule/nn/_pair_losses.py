"""Losses that compare examples with each other, and distances, as modules."""

from __future__ import annotations

from .. import functional as F
from ..tensor import Tensor
from ._losses import _Loss, _WeightedLoss
from ._module import Module


class CosineSimilarity(Module):
    """The cosine of the angle between vectors; see `functional.cosine_similarity`.

    Shapes: two of one shape; the axis `dim` goes away.

    >>> import chainrule as cr
    >>> cr.nn.CosineSimilarity()(cr.tensor([[1.0, 0.0]]), cr.tensor([[0.0, 2.0]])).tolist()
    [0.0]
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Return the cosines."""
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of the difference of vectors; see `functional.pairwise_distance`.

    Shapes: two of (N, D) or (D,); the last axis goes away.

    >>> import chainrule as cr
    >>> x, y = cr.tensor([[3.0, 0.0]]), cr.tensor([[0.0, 4.0]])
    >>> cr.nn.PairwiseDistance(eps=0.0)(x, y).tolist()
    [5.0]
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Return the distances."""
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class MarginRankingLoss(_Loss):
    """What one score lacks to lie `margin` above the other; see `functional.margin_ranking_loss`.

    >>> import chainrule as cr
    >>> one = cr.tensor([1.0])
    >>> cr.nn.MarginRankingLoss(0.5)(one, one, one).item()
    0.5
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(_Loss):
    """`1 - cos` for like pairs, `max(0, cos - margin)` for unlike ones.

    See `functional.cosine_embedding_loss`.

    >>> import chainrule as cr
    >>> x = cr.tensor([[1.0, 0.0]])
    >>> cr.nn.CosineEmbeddingLoss()(x, x, cr.tensor([-1])).item()
    1.0
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.cosine_embedding_loss(
            input1, input2, target, self.margin, reduction=self.reduction
        )


class TripletMarginLoss(_Loss):
    """What a negative lacks to be farther than a positive; see `functional.triplet_margin_loss`.

    Shapes: three of (N, D) or (D,).

    >>> import chainrule as cr
    >>> a, b = cr.tensor([[0.0, 0.0]]), cr.tensor([[3.0, 4.0]])
    >>> cr.nn.TripletMarginLoss(eps=0.0)(a, a, b).item()
    0.0
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss."""
        settings = (self.margin, self.p, self.eps, self.swap)
        return F.triplet_margin_loss(
            anchor, positive, negative, *settings, reduction=self.reduction
        )


class MultiMarginLoss(_WeightedLoss):
    """What the right class lacks to lie `margin` above each other; `functional.multi_margin_loss`.

    Shapes: input (N, C), target (N,) whole numbers.

    >>> import chainrule as cr
    >>> cr.nn.MultiMarginLoss()(cr.tensor([[2.0, 0.0]]), cr.tensor([1])).item()
    1.5
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.p = p
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.multi_margin_loss(
            input, target, self.p, self.margin, self.weight, reduction=self.reduction
        )


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """Binary cross-entropy averaged over labels; see `functional.multilabel_soft_margin_loss`.

    Shapes: input and target (N, C).

    >>> import chainrule as cr
    >>> round(cr.nn.MultiLabelSoftMarginLoss()(cr.zeros(1, 3), cr.ones(1, 3)).item(), 6)
    0.693147
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class GaussianNLLLoss(_Loss):
    """Negative log-likelihood under normal distributions; see `functional.gaussian_nll_loss`.

    Shapes: input, target and var alike.

    >>> import chainrule as cr
    >>> one = cr.tensor([1.0])
    >>> cr.nn.GaussianNLLLoss()(one, cr.tensor([3.0]), one).item()
    2.0
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        """Return the loss."""
        return F.gaussian_nll_loss(
            input, target, var, full=self.full, eps=self.eps, reduction=self.reduction
        )
