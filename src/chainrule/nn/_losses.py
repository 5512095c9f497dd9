"""Losses as modules: what they are set to, and the function that computes them."""

from __future__ import annotations

from .. import functional as F
from ..functional import older_reduction
from ..tensor import Tensor
from ._module import Module


class _Loss(Module):
    """A loss with a reduction; `size_average` and `reduce` are PyTorch's older spelling of it."""

    reduction: str

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.reduction = older_reduction(size_average, reduce, reduction)


class _WeightedLoss(_Loss):
    """A loss with a weight, kept as a buffer."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class MSELoss(_Loss):
    """Mean squared error; see `functional.mse_loss`.

    Shapes: input and target alike; the result is 0-d, or of that shape with reduction "none".

    >>> import chainrule as cr
    >>> cr.nn.MSELoss()(cr.tensor([1.0, 3.0]), cr.tensor([1.0, 1.0])).item()
    2.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """Mean absolute error; see `functional.l1_loss`.

    Shapes: input and target alike; the result is 0-d, or of that shape with reduction "none".

    >>> import chainrule as cr
    >>> cr.nn.L1Loss()(cr.tensor([1.0, 3.0]), cr.tensor([1.0, 1.0])).item()
    1.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """Squared near zero, absolute beyond `beta`; see `functional.smooth_l1_loss`.

    Shapes: input and target alike; the result is 0-d, or of that shape with reduction "none".

    >>> import chainrule as cr
    >>> cr.nn.SmoothL1Loss()(cr.tensor([3.0]), cr.tensor([0.0])).item()
    2.5
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """Huber's loss: squared up to `delta`, linear beyond; see `functional.huber_loss`.

    Shapes: input and target alike; the result is 0-d, or of that shape with reduction "none".

    >>> import chainrule as cr
    >>> cr.nn.HuberLoss()(cr.tensor([3.0]), cr.tensor([0.0])).item()
    2.5
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class _LabelLoss(_WeightedLoss):
    """A loss of yes-or-no labels, which can be checked before any training."""

    def check_targets(self, shape: tuple[int, ...], target: Tensor) -> None:
        """Refuse targets below 0 or above 1; see `CrossEntropyLoss.check_targets`.

        >>> import chainrule as cr
        >>> cr.nn.BCEWithLogitsLoss().check_targets((2, 1), cr.tensor([[0.0], [1.0]]))
        """
        F.check_labels(target.node, type(self).__name__)


class BCELoss(_LabelLoss):
    """Binary cross-entropy of probabilities; see `functional.binary_cross_entropy`.

    Prefer `BCEWithLogitsLoss`, which takes the scores before the sigmoid and stays exact.

    Shapes: input and target alike; the result is 0-d, or of that shape with reduction "none".

    >>> import chainrule as cr
    >>> round(cr.nn.BCELoss()(cr.tensor([0.5]), cr.tensor([1.0])).item(), 6)
    0.693147
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_LabelLoss):
    """Binary cross-entropy of `sigmoid(input)` in one stable form.

    See `functional.binary_cross_entropy_with_logits`.

    Shapes: input and target alike; the result is 0-d, or of that shape with reduction "none".

    >>> import chainrule as cr
    >>> cr.nn.BCEWithLogitsLoss()(cr.tensor([100.0]), cr.tensor([0.0])).item()
    100.0
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class _ClassLoss(_WeightedLoss):
    """A loss of class numbers, which can be checked before any training."""

    ignore_index: int

    def check_targets(self, shape: tuple[int, ...], target: Tensor) -> None:
        """Refuse targets that scores of a shape cannot be compared with.

        Compiled steps cannot raise: whoever runs many of them checks all targets once, by this.

        Args:
            shape: of the scores for all these targets, (N, C) or (N, C, d1, ...).
            target: class numbers, (N,) or (N, d1, ...).

        Raises:
            ShapeError, DTypeError, IndexRangeError: naming the first target that does not fit.

        >>> import chainrule as cr
        >>> cr.nn.CrossEntropyLoss().check_targets((2, 3), cr.tensor([0, 2]))
        """
        if not (target.dtype.is_float and tuple(target.shape) == shape):
            F.check_classes(shape, target.node, self.ignore_index, type(self).__name__)


class CrossEntropyLoss(_ClassLoss):
    """Cross-entropy between class numbers and the softmax of scores.

    It takes scores (logits): no softmax goes before it. See `functional.cross_entropy`.

    Shapes: input (N, C), (N, C, d1, ...) or (C,); target (N,), (N, d1, ...) or 0-d whole numbers,
    or probabilities in the input's shape; the result is 0-d, or of the shape of the class numbers
    with reduction "none".

    >>> import chainrule as cr
    >>> loss = cr.nn.CrossEntropyLoss()
    >>> round(loss(cr.zeros(5, 10), cr.tensor([0, 1, 2, 3, 4])).item(), 4)
    2.3026
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_ClassLoss):
    """Negative log-likelihood of class numbers under log-probabilities; see `functional.nll_loss`.

    Shapes: input (N, C), (N, C, d1, ...) or (C,); target (N,), (N, d1, ...) or 0-d whole numbers.

    >>> import chainrule as cr
    >>> cr.nn.NLLLoss()(cr.tensor([[-0.5, -1.0]]), cr.tensor([1])).item()
    1.0
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence from log-probabilities; see `functional.kl_div`.

    Reduction "batchmean" is the divergence itself; "mean" divides by all elements, as in PyTorch.

    Shapes: input and target alike.

    >>> import chainrule as cr
    >>> p = cr.tensor([[0.5, 0.5]])
    >>> cr.nn.KLDivLoss(reduction="batchmean")(p.log(), p).item()
    0.0
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class HingeEmbeddingLoss(_Loss):
    """Distances of like pairs, and what unlike pairs lack to `margin`.

    See `functional.hinge_embedding_loss`.

    Shapes: input and target alike; targets are 1 and -1.

    >>> import chainrule as cr
    >>> cr.nn.HingeEmbeddingLoss()(cr.tensor([0.25]), cr.tensor([-1.0])).item()
    0.75
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class SoftMarginLoss(_Loss):
    """`log(1 + e^(-y x))` for targets of 1 and -1; see `functional.soft_margin_loss`.

    Shapes: input and target alike.

    >>> import chainrule as cr
    >>> round(cr.nn.SoftMarginLoss()(cr.tensor([0.0]), cr.tensor([1.0])).item(), 6)
    0.693147
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class PoissonNLLLoss(_Loss):
    """Negative log-likelihood of counts; see `functional.poisson_nll_loss`.

    Shapes: input and target alike.

    >>> import chainrule as cr
    >>> cr.nn.PoissonNLLLoss()(cr.tensor([0.0]), cr.tensor([3.0])).item()
    1.0
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return F.poisson_nll_loss(
            input,
            target,
            self.log_input,
            self.full,
            eps=self.eps,
            reduction=self.reduction,
        )
