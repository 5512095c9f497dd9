"""Training from easy examples to hard ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data import easiest
from ..errors import OptionError
from ..io.arrays import Array
from ..tensor import Tensor
from ..tensor._grad import no_grad
from .run import Run
from .trainer import Trainer


def example_losses(trainer: Trainer, data: tuple[Any, ...]) -> Array:
    """The loss of each example under the trainer's model as it is: a score of how hard it is.

    Args:
        trainer: its loss must have `reduction`, as the losses in `nn` do.
        data: inputs and target, (x, ..., y).

    Returns:
        float64 (examples,); several numbers an example are averaged.

    Raises:
        OptionError: for a loss that cannot be taken of each example.

    Example:
        >>> import chainrule as cr
        >>> model = cr.nn.Identity()
        >>> weight = cr.tensor([1.0], requires_grad=True)
        >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), cr.optim.SGD([weight]), progress=False)
        >>> example_losses(trainer, (np.array([[1.0], [3.0]]), np.zeros((2, 1)))).tolist()
        [1.0, 9.0]
    """
    loss = trainer.loss
    if not hasattr(loss, "reduction"):
        raise OptionError(
            f"a {type(loss).__name__} is not a loss of each example.\n"
            "  fix: a loss module with reduction=, or scores of your own"
        )
    outputs = Tensor(trainer.predict(data[:-1] if len(data) > 2 else data[0]))
    target = data[-1] if isinstance(data[-1], Tensor) else Tensor(np.asarray(data[-1]))
    if target.dtype.is_float:
        target = target.to(outputs.dtype)
    kept = loss.reduction
    try:
        loss.reduction = "none"
        with no_grad():
            each = loss(outputs, target).numpy().astype(np.float64)
    finally:
        loss.reduction = kept
    scores: Array = each.reshape(len(each), -1).mean(axis=1)
    return scores


def fit_curriculum(
    trainer: Trainer,
    train: tuple[Any, ...],
    scores: Any,
    *,
    shares: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
    epochs: int | Sequence[int] = 1,
    hardest_first: bool = False,
    **options: Any,
) -> list[Run]:
    """Fit in stages, each on a larger share of the examples, the easiest first.

    Source: Bengio et al., Curriculum learning (2009); Hacohen and Weinshall, On the power of
    curriculum learning in training deep networks (2019), for the pacing in stages.

    Args:
        trainer: fits each stage; model and optimizer go on from one to the next.
        train: arrays or tensors (x, ..., y).
        scores: how hard each example is, (examples,); see `example_losses`.
        shares: of the examples, one for each stage.
        epochs: passes over the examples of a stage: a number, or one for each stage.
        hardest_first: from hard to easy instead.
        **options: as for :meth:`Trainer.fit`: batch_size, validation and so on.

    Returns:
        The record of each stage.

    Raises:
        OptionError: for scores, shares or epochs that do not fit.

    Example:
        >>> import chainrule as cr
        >>> model = cr.nn.Linear(1, 1)
        >>> trainer = cr.Trainer(
        ...     model, cr.nn.MSELoss(), cr.optim.SGD(model.parameters()), progress=False
        ... )
        >>> x = np.linspace(0, 1, 8)[:, None]
        >>> runs = fit_curriculum(trainer, (x, 2 * x), abs(x[:, 0]), shares=(0.5, 1.0), epochs=2)
        >>> [run.epochs for run in runs]
        [2, 2]
    """
    arrays = [one.detach().numpy() if isinstance(one, Tensor) else np.asarray(one) for one in train]
    if len(scores) != len(arrays[0]):
        raise OptionError(
            f"fit_curriculum: {len(scores)} scores were given for {len(arrays[0])} examples"
        )
    passes = [epochs] * len(shares) if isinstance(epochs, int) else list(epochs)
    if len(passes) != len(shares):
        raise OptionError(
            f"fit_curriculum: {len(passes)} epochs were given for {len(shares)} stages"
        )
    runs = []
    for share, count in zip(shares, passes, strict=True):
        chosen = easiest(scores, share, hardest_first)
        runs.append(trainer.fit(tuple(one[chosen] for one in arrays), epochs=count, **options))
    return runs
