"""Scaling of inputs as a layer: learned from the training part, kept with the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError, ShapeError
from ..nn import Module
from ..tensor import Tensor, tensor

_NOT_FINITE = (
    "Standardize.fit: the inputs hold {count} values that are not finite numbers, the first in "
    "example {row}.\n  fix: leave those examples out, or fill the values in"
)
_NO_FEATURES = (
    "Standardize.fit takes inputs of shape (examples, ...) with two axes or more.\n"
    "  given: shape {shape}"
)


class Standardize(Module):
    """A first layer that subtracts each feature's mean and divides by its standard deviation.

    Its numbers are buffers: they are saved, loaded and exported with the model, so that what
    predicts scales as what was trained. Training does not change them.

    Args:
        mean: shape (...): of each feature.
        spread: shape (...): standard deviations, none of them 0.

    Raises:
        DataError: a spread that is 0 or negative, or shapes that differ.

    Example:
        >>> import chainrule as cr
        >>> x = np.array([[0.0, 5.0], [2.0, 5.0]])
        >>> scale = Standardize.fit(x)
        >>> scale(cr.tensor(x)).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
        >>> model = cr.nn.Sequential(scale, cr.nn.Linear(2, 1))
        >>> list(model.state_dict())
        ['0.mean', '0.spread', '1.weight', '1.bias']
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, mean: Any, spread: Any) -> None:
        super().__init__()
        mean, spread = np.asarray(mean, np.float64), np.asarray(spread, np.float64)
        if mean.shape != spread.shape or not (spread > 0).all():
            raise DataError(
                "Standardize takes a mean and a positive spread for each feature.\n"
                f"  given: shapes {mean.shape} and {spread.shape}, smallest spread "
                f"{spread.min(initial=np.inf):g}"
            )
        self.register_buffer("mean", tensor(mean.astype(np.float32)))
        self.register_buffer("spread", tensor(spread.astype(np.float32)))

    @classmethod
    def fit(cls, inputs: Any) -> Standardize:
        """Learn the scaling; give it the training inputs only.

        Args:
            inputs: array or tensor (examples, ...). A feature that never changes keeps its size.

        Raises:
            ShapeError: inputs of fewer than two axes, or without examples.
            DataError: values that are not finite.
        """
        array = inputs.detach().numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
        if array.ndim < 2 or not len(array):
            raise ShapeError(_NO_FEATURES.format(shape=array.shape))
        wrong = ~np.isfinite(array.reshape(len(array), -1))
        if wrong.any():
            row = int(wrong.any(axis=1).argmax())
            raise DataError(_NOT_FINITE.format(count=int(wrong.sum()), row=row))
        mean, spread = array.mean(axis=0, dtype=np.float64), array.std(axis=0, dtype=np.float64)
        return cls(mean, np.where(spread > 0, spread, 1.0))

    def forward(self, inputs: Tensor) -> Tensor:
        """Scale inputs (..., features): the same shape."""
        scaled: Tensor = (inputs - self.mean) / self.spread
        return scaled

    def extra_repr(self) -> str:
        """What is shown between the brackets."""
        return f"{tuple(self.mean.shape)}"
