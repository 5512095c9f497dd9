"""Where a step stands in its sequence, added to it: attention itself does not see the order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import functional as F
from ..errors import OptionError, ShapeError
from ..functional._common import located
from ..tensor import Tensor, tensor
from . import init
from ._module import Module
from ._parameter import Parameter

TOO_LONG = (
    "{layer}: the input does not fit.\n  given: {given}\n"
    "  expected: ({order}, {width}) with at most {most} steps\n  fix: {layer}({width}, {fix})"
)


class _Positions(Module):
    """What both kinds share: a row for each place is added, and dropout acts on the sum."""

    def __init__(self, width: int, max_length: int, batch_first: bool, dropout: float) -> None:
        super().__init__()
        name = type(self).__name__
        if width < 1 or max_length < 1:
            raise OptionError(
                f"{name}: width and max_length must be 1 or more; {width} and {max_length} were"
                " given"
            )
        if not 0.0 <= dropout <= 1.0:
            raise OptionError(f"{name}: dropout must be from 0 to 1; {dropout} was given")
        self.width = width
        self.max_length = max_length
        self.batch_first = batch_first
        self.dropout = dropout

    def _rows(self) -> Tensor:
        raise NotImplementedError

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` with the row of each step added."""
        shape = tuple(input.shape)
        axis = 1 if self.batch_first and len(shape) == 3 else 0
        if len(shape) not in (2, 3) or shape[-1] != self.width or shape[axis] > self.max_length:
            text = TOO_LONG.format(
                layer=type(self).__name__,
                given=shape,
                order="N, T" if self.batch_first else "T, N",
                width=self.width,
                most=self.max_length,
                fix=f"max_length={shape[axis] if shape else 1}",
            )
            raise located(ShapeError, text)
        rows = self._rows()[: shape[axis]]
        if len(shape) == 3 and axis == 0:
            rows = rows.unsqueeze(1)
        return F.dropout(input + rows.to(input.dtype), self.dropout, self.training)

    def extra_repr(self) -> str:
        """Name the settings."""
        text = f"{self.width}, max_length={self.max_length}, batch_first={self.batch_first}"
        return f"{text}, dropout={self.dropout}" if self.dropout else text


class SinusoidalPositions(_Positions):
    """Waves of different lengths tell where a step stands; nothing is trained.

    Row t is `sin(t / 10000^(2i / width))` at column 2i and the cosine of the same at 2i + 1.

    Args:
        width: the features of each step.
        max_length: the longest sequence.
        batch_first: whether inputs are (N, T, width) instead of (T, N, width).
        dropout: the share of the sums set to zero in training.

    Shapes: (T, N, width) or (T, width), and the same out.

    Raises:
        OptionError: for settings out of range.
        ShapeError: for inputs of another width, or longer ones.

    Source: Vaswani et al., Attention is all you need (2017), section 3.5.

    >>> import chainrule as cr
    >>> cr.nn.SinusoidalPositions(2)(cr.zeros(1, 2)).tolist()
    [[0.0, 1.0]]
    """

    rows: Tensor

    def __init__(
        self,
        width: int,
        max_length: int = 5000,
        batch_first: bool = False,
        dropout: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(width, max_length, batch_first, dropout)
        column = np.arange(width)
        rate = np.exp((column // 2 * 2) * (-math.log(10000.0) / width))
        angle = np.arange(max_length)[:, None] * rate
        waves = np.where(column % 2, np.cos(angle), np.sin(angle))
        held = init.blank((max_length, width), device, dtype)
        self.register_buffer("rows", tensor(waves.astype(held.dtype.np)), persistent=False)

    def _rows(self) -> Tensor:
        return self.rows


class LearnedPositions(_Positions):
    """A trained row for each place in the sequence.

    Args:
        width: the features of each step.
        max_length: the longest sequence: how many rows there are.
        batch_first, dropout: as for `SinusoidalPositions`.
        device, dtype: of the rows.

    Shapes: (T, N, width) or (T, width), and the same out.

    Raises:
        OptionError, ShapeError: as for `SinusoidalPositions`.

    Source: Gehring et al., Convolutional sequence to sequence learning (2017); rows start normal
    with a spread of 0.02, as in Radford et al. (2018).

    >>> import chainrule as cr
    >>> tuple(cr.nn.LearnedPositions(4, 10, batch_first=True)(cr.zeros(2, 3, 4)).shape)
    (2, 3, 4)
    """

    weight: Parameter

    def __init__(
        self,
        width: int,
        max_length: int,
        batch_first: bool = False,
        dropout: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(width, max_length, batch_first, dropout)
        self.weight = Parameter(init.blank((max_length, width), device, dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the rows anew."""
        init.normal_(self.weight, std=0.02)

    def _rows(self) -> Tensor:
        return self.weight
