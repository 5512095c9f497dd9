"""A recurrent layer whose state goes on from one batch to the next."""

from __future__ import annotations

from typing import Any

from ..config import set_state
from ..errors import OptionError, ShapeError
from ..functional._common import located
from ..tensor import Tensor
from ..tensor._functions import where
from . import init
from ._module import Module
from ._recurrent import _Recurrent

WRONG_BATCH = (
    "Carried: the batch does not have one sequence for each state that is carried.\n"
    "  given: input {given}, and {batch} states\n"
    "  fix: batches of {batch} (batch_size={batch}, drop_last=True), or Carried(layer, {found})"
)


class Carried(Module):
    """A recurrent layer that begins each batch with the states that the batch before ended with.

    Gradients stop at the border between two batches: a long sequence cut into chunks, learned one
    chunk a step, is truncated backpropagation through time (Williams and Peng, An efficient
    gradient-based algorithm for on-line training, 1990). Its data come from
    `data.cut_sequence`, in batches that are not shuffled.

    Args:
        layer: an RNN, LSTM or GRU.
        batch: how many sequences are followed side by side: the size of every batch.

    Shapes: inputs and outputs of the layer; `start`, (batch,), is not 0 where a new sequence
    begins, which starts with a state of zeros.

    Raises:
        OptionError: for another kind of layer, or no batch.
        ShapeError: for a batch of another size.

    >>> import chainrule as cr
    >>> layer = cr.nn.Carried(cr.nn.RNN(1, 2), batch=3)
    >>> first, second = layer(cr.ones(5, 3, 1)), layer(cr.ones(5, 3, 1))
    >>> bool((first[0] == second[0]).any()), list(layer.state_dict())[-1]
    (False, 'layer.bias_hh_l0')
    """

    def __init__(self, layer: Module, batch: int) -> None:
        super().__init__()
        if not isinstance(layer, _Recurrent) or batch < 1:
            raise OptionError(
                "Carried takes an RNN, LSTM or GRU, and a batch of 1 or more.\n"
                f"  given: a {type(layer).__name__} and {batch!r}"
            )
        self.batch = batch
        self.layer = layer
        dtype = next(layer.parameters()).dtype
        for name, shape in zip(layer.states, layer.state_shapes(batch), strict=True):
            self.register_buffer(name, init.blank(shape, dtype=dtype))

    def reset(self) -> None:
        """Start anew: states of zeros."""
        for state in self.buffers():
            init.zeros_(state)

    def forward(self, input: Tensor, start: Tensor | None = None) -> Any:
        """Return the layer's outputs, and carry on its states."""
        axis = 0 if self.layer.batch_first else 1
        if input.ndim != 3 or input.shape[axis] != self.batch:
            found = input.shape[axis] if input.ndim == 3 else 1
            text = WRONG_BATCH.format(given=tuple(input.shape), batch=self.batch, found=found)
            raise located(ShapeError, text)
        held = list(self._buffers.values())
        begun: list[Any] = held
        if start is not None:
            fresh = (start != 0).reshape(1, self.batch, 1)
            begun = [where(fresh, 0.0, state) for state in held]
        output, last = self.layer(input, begun[0] if len(begun) == 1 else tuple(begun))
        with set_state(grad_enabled=False):
            for state, new in zip(held, [last] if len(held) == 1 else last, strict=True):
                state.copy_(new.detach())  # type: ignore[union-attr]
        return output

    def extra_repr(self) -> str:
        """Name the batch."""
        return f"batch={self.batch}"
