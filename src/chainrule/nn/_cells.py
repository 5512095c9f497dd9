"""One step of a recurrent network as a module, for loops of the user's own."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from .. import functional as F
from ..errors import OptionError, ShapeError
from ..functional._common import float_node, located
from ..functional._recurrent import gru_step, lstm_step, simple_step
from ..tensor import Tensor, zeros
from . import init
from ._module import Module
from ._parameter import Parameter
from ._recurrent import NOT_A_PAIR, check_nonlinearity

WRONG_INPUT = (
    "{layer}: the input must be (N, {width}), or ({width},) without a batch.\n  given: {given}"
)
WRONG_STATE = "{layer}: the state must be {expected}, as the input has it.\n  given: {given}"


class _Cell(Module):
    """What the cells share: parameters, and inputs with and without a batch."""

    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1

    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, device: Any, dtype: Any
    ) -> None:
        super().__init__()
        if input_size < 1 or hidden_size < 1:
            raise OptionError(
                f"{type(self).__name__}: input_size and hidden_size must be 1 or more; "
                f"{input_size} and {hidden_size} were given"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = self.gates * hidden_size
        self.weight_ih = Parameter(init.blank((rows, input_size), device, dtype))
        self.weight_hh = Parameter(init.blank((rows, hidden_size), device, dtype))
        for name in ("bias_ih", "bias_hh"):
            held = Parameter(init.blank((rows,), device, dtype)) if bias else None
            self.register_parameter(name, held)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases anew, uniform within `1 / sqrt(hidden_size)` of zero."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Return the state after this step; `hx` is the one before, zeros unless given."""
        layer = type(self).__name__
        x = float_node(input, layer)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            text = WRONG_INPUT.format(layer=layer, width=self.input_size, given=x.shape)
            raise located(ShapeError, text)
        expected = (*x.shape[:-1], self.hidden_size)
        if hx is None:
            hx = tuple(zeros(expected, dtype=x.dtype) for _ in range(self.states))
        elif self.states == 1:
            hx = (hx,)
        if isinstance(hx, Tensor) or len(hx) != self.states:
            raise located(OptionError, NOT_A_PAIR.format(layer=layer, given=type(hx).__name__))
        for state in hx:
            if tuple(state.shape) != expected:
                text = WRONG_STATE.format(layer=layer, expected=expected, given=tuple(state.shape))
                raise located(ShapeError, text)
        rows = 1 if x.ndim == 1 else x.shape[0]
        carry = [state.node.reshape((rows, self.hidden_size)) for state in hx]
        p = F.linear(input, self.weight_ih, self.bias_ih).node
        new = self._step(carry, p.reshape((rows, p.shape[-1])))
        found = tuple(Tensor(node.reshape(expected)) for node in new)
        return found[0] if self.states == 1 else found

    def _step(self, carry: list[Any], p: Any) -> tuple[Any, ...]:
        raise NotImplementedError

    def _with_bias(self, p: Any) -> Any:
        return p if self.bias_hh is None else p + self.bias_hh.node

    def extra_repr(self) -> str:
        """Name the sizes."""
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias else f"{text}, bias=False"


class RNNCell(_Cell):
    """One step of an `RNN`: `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`.

    Args:
        input_size: the features of the input.
        hidden_size: the length of the state.
        bias: whether there are b_ih and b_hh.
        nonlinearity: "tanh" or "relu".
        device, dtype: of the parameters.

    Shapes: input (N, input_size) and state (N, hidden_size), both also without N; returns the next
    state.

    Raises:
        OptionError, ShapeError: as for `RNN`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.RNNCell(3, 5)(cr.zeros(2, 3)).shape)
    (2, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_nonlinearity("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def _step(self, carry: list[Any], p: Any) -> tuple[Any, ...]:
        relu = self.nonlinearity == "relu"
        return (simple_step(carry[0], self._with_bias(p), self.weight_hh.node, relu),)

    def extra_repr(self) -> str:
        """Name the sizes and the nonlinearity."""
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity=relu"


class LSTMCell(_Cell):
    """One step of an `LSTM`.

    Args:
        input_size, hidden_size, bias, device, dtype: as for `RNNCell`.

    Shapes: input (N, input_size), state a pair (h, c) of (N, hidden_size); returns the next pair.

    Raises:
        OptionError, ShapeError: as for `LSTM`.

    >>> import chainrule as cr
    >>> h, c = cr.nn.LSTMCell(3, 5)(cr.zeros(2, 3))
    >>> tuple(h.shape), tuple(c.shape)
    ((2, 5), (2, 5))
    """

    gates = 4
    states = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def _step(self, carry: list[Any], p: Any) -> tuple[Any, ...]:
        h, c = carry
        return lstm_step(h, c, self._with_bias(p), self.weight_hh.node)


class GRUCell(_Cell):
    """One step of a `GRU`.

    Args:
        input_size, hidden_size, bias, device, dtype: as for `RNNCell`.

    Shapes: as for `RNNCell`.

    Raises:
        OptionError, ShapeError: as for `GRU`.

    >>> import chainrule as cr
    >>> tuple(cr.nn.GRUCell(3, 5)(cr.zeros(3)).shape)
    (5,)
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def _step(self, carry: list[Any], p: Any) -> tuple[Any, ...]:
        bias = None if self.bias_hh is None else self.bias_hh.node
        return (gru_step(carry[0], p, self.weight_hh.node, bias),)
