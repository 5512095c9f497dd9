"""Recurrent layers: one or more layers of states that move on with each step of a sequence.

The input's share of all gates at all steps is one product before the loop over time; the loop
itself is `scan`, so that a compiled layer is one op whatever its length, and an eager one can be
seen step by step.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from .. import functional as F
from ..errors import OptionError, ShapeError
from ..functional._common import float_node, located, warn_caller
from ..functional._recurrent import gru_step, lstm_step, simple_step
from ..graph.node import make_aval
from ..tensor import Tensor, cat, tensor, zeros
from ..tensor._create import arange
from ..tensor._functions import stack, where
from ..tensor._scan import scan
from . import init
from ._module import Module
from ._parameter import Parameter
from .utils.rnn import (
    PackedSequence,
    check_lengths,
    lengths_of,
    pack_padded_sequence,
    pad_packed_sequence,
)

WRONG_RANK = (
    "{layer}: the input must have 2 axes (one sequence) or 3 (a batch).\n  given: {shape}\n"
    "  expected: ({order}, {width}), or ({steps}, {width}) without a batch"
)
WRONG_WIDTH = (
    "{layer}: the input has {given} features, the layer takes {width}.\n  given: {shape}\n"
    "  expected: ({order}, {width})\n  fix: {fix}"
)
WRONG_STATE = (
    "{layer}: the initial {name} does not fit.\n  given: {given}\n  expected: {expected}"
    " (layers x directions{batch}, width)"
)
NOT_A_PAIR = "{layer}: the initial state is a pair of tensors, (h, c).\n  given: a {given}"
NO_BATCH_TO_MASK = "{layer}: lengths= is for batches; cut a single sequence to its length"


class _Recurrent(Module):
    """What RNN, LSTM and GRU share: parameters, layers, directions, masks."""

    gates: ClassVar[int] = 1
    states: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check()
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                for name, shape in self._shapes(layer).items():
                    blank = Parameter(init.blank(shape, device, dtype))
                    self.register_parameter(f"{name}_{suffix}", blank)
        self.reset_parameters()

    def _check(self) -> None:
        name = type(self).__name__
        if self.input_size < 1 or self.hidden_size < 1 or self.num_layers < 1:
            raise OptionError(
                f"{name}: input_size, hidden_size and num_layers must be 1 or more; "
                f"{self.input_size}, {self.hidden_size} and {self.num_layers} were given"
            )
        if not 0.0 <= self.dropout <= 1.0:
            raise OptionError(f"{name}: dropout must be from 0 to 1; {self.dropout} was given")
        if not 0 <= self.proj_size < self.hidden_size:
            raise OptionError(
                f"{name}: proj_size must be 0, for none, or below hidden_size="
                f"{self.hidden_size}; {self.proj_size} was given"
            )
        if self.dropout and self.num_layers == 1:
            warn_caller(
                f"{name}: dropout acts between layers, and num_layers is 1; it has no effect"
            )

    @property
    def _width(self) -> int:
        """The length of h: what one direction gives at each step."""
        return self.proj_size or self.hidden_size

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: self._directions]

    def _shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        rows = self.gates * self.hidden_size
        inputs = self._width * self._directions if layer else self.input_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, inputs),
            "weight_hh": (rows, self._width),
        }
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        return shapes

    def reset_parameters(self) -> None:
        """Draw all weights and biases anew, uniform within `1 / sqrt(hidden_size)` of zero."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: PyTorch lays the weights out anew here, for its GPU library."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [
            [self._parameters[f"{name}_{suffix}"] for name in self._shapes(layer)]  # type: ignore[misc]
            for layer in range(self.num_layers)
            for suffix in self._suffixes(layer)
        ]

    # ------------------------------------------------------------------ forward

    def forward(
        self, input: Any, hx: Any = None, lengths: Any = None
    ) -> tuple[Any, Tensor | tuple[Tensor, ...]]:
        """Run over all steps; returns the outputs and the last state.

        Args:
            input: a tensor as the class says, or a `PackedSequence`.
            hx: the initial state; zeros unless given.
            lengths: of the sequences of a padded batch, (N,): whole numbers from 0. Behind the end
                of a sequence outputs are 0, and its state stays as it was at its end.
        """
        if isinstance(input, PackedSequence):
            return self._of_packed(input, hx)
        float_node(input, type(self).__name__)
        single = self._check_input(input)
        x = input.unsqueeze(1) if single else input
        if self.batch_first and not single:
            x = x.transpose(0, 1)
        states = self._initial(hx, x, single)
        if single and lengths is not None:
            raise located(OptionError, NO_BATCH_TO_MASK.format(layer=type(self).__name__))
        x, last = self._layers(x, states, None if lengths is None else self._mask(lengths, x))
        if single:
            x, last = x.squeeze(1), [one.squeeze(1) for one in last]
        elif self.batch_first:
            x = x.transpose(0, 1)
        return x, self._given_back(last)

    def _given_back(self, last: list[Tensor]) -> Tensor | tuple[Tensor, ...]:
        return last[0] if len(self.states) == 1 else tuple(last)

    def _of_packed(self, packed: PackedSequence, hx: Any) -> tuple[Any, Any]:
        lengths = lengths_of(packed)
        padded, _ = pad_packed_sequence(packed, batch_first=self.batch_first)
        output, last = self.forward(padded, hx, tensor(lengths))
        again = pack_padded_sequence(
            output, lengths, self.batch_first, enforce_sorted=packed.sorted_indices is None
        )
        return again, last

    def _check_input(self, input: Tensor) -> bool:
        """Refuse what does not fit; say whether it is one sequence without a batch."""
        shape, width = tuple(input.shape), self.input_size
        layer, order = type(self).__name__, "N, T" if self.batch_first else "T, N"
        if len(shape) not in (2, 3):
            text = WRONG_RANK.format(layer=layer, shape=shape, order=order, width=width, steps="T")
            raise located(ShapeError, text)
        if shape[-1] != width:
            fix = f"{layer}({shape[-1]}, {self.hidden_size}), or reshape the input"
            text = WRONG_WIDTH.format(
                layer=layer, given=shape[-1], shape=shape, order=order, width=width, fix=fix
            )
            raise located(ShapeError, text)
        return len(shape) == 2

    def state_shapes(self, batch: int) -> list[tuple[int, int, int]]:
        """Return the shapes of the states, (layers x directions, batch, width): of h, then c."""
        rows = self.num_layers * self._directions
        widths = {"h": self._width, "c": self.hidden_size}
        return [(rows, batch, widths[name]) for name in self.states]

    def _initial(self, hx: Any, x: Tensor, single: bool) -> list[Tensor]:
        """The initial states, each (layers x directions, N, width)."""
        shapes = self.state_shapes(x.shape[1])
        if hx is None:
            return [zeros(shape, dtype=x.dtype) for shape in shapes]
        given = [hx] if len(self.states) == 1 else hx
        layer = type(self).__name__
        if isinstance(given, Tensor) or len(given) != len(self.states):
            raise located(OptionError, NOT_A_PAIR.format(layer=layer, given=type(hx).__name__))
        found = []
        for name, state, expected in zip(self.states, given, shapes, strict=True):
            state = state.unsqueeze(1) if single and state.ndim == 2 else state
            if tuple(state.shape) != expected:
                text = WRONG_STATE.format(
                    layer=layer,
                    name=name,
                    given=tuple(state.shape),
                    expected=expected[::2] if single else expected,
                    batch="" if single else ", batch",
                )
                raise located(ShapeError, text)
            found.append(state)
        return found

    def _mask(self, lengths: Any, x: Tensor) -> Tensor:
        """Whether each sequence has each step, (T, N, 1)."""
        steps, batch = x.shape[:2]
        if not isinstance(lengths, Tensor) or lengths.node.has_value:
            lengths = tensor(check_lengths(lengths, batch, steps, type(self).__name__, 0))
        elif lengths.node.aval is not make_aval((batch,), lengths.dtype):
            raise located(
                ShapeError, f"lengths= must be ({batch},), one for each sequence of the batch"
            )
        mask: Tensor = arange(steps).reshape(steps, 1, 1) < lengths.reshape(1, batch, 1)
        return mask

    def _layers(self, x: Tensor, states: list[Tensor], mask: Any) -> tuple[Tensor, list[Tensor]]:
        """All layers, on (T, N, features)."""
        last: list[list[Tensor]] = [[] for _ in states]
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                x = F.dropout(x, self.dropout)
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                row = layer * self._directions + direction
                carry = tuple(state[row] for state in states)
                carry, y = self._run(x, carry, suffix, mask, direction == 1)
                outputs.append(y)
                for column, state in zip(last, carry, strict=True):
                    column.append(state)
            x = outputs[0] if len(outputs) == 1 else cat(outputs, 2)
        return x, [stack(column) for column in last]

    def _run(
        self, x: Tensor, carry: tuple[Tensor, ...], suffix: str, mask: Any, reverse: bool
    ) -> tuple[Any, Tensor]:
        """One layer in one direction: the last state and the outputs."""
        projected = F.linear(x, self._held("weight_ih", suffix), self._bias_before(suffix))

        def body(carry: tuple[Tensor, ...], step: Any) -> tuple[tuple[Tensor, ...], Tensor]:
            p, present = step if mask is not None else (step, None)
            new = self._step([one.node for one in carry], p.node, suffix)
            after = tuple(Tensor(one) for one in new)
            if present is None:
                return after, after[0]
            kept = tuple(map(lambda a, b: where(present, a, b), after, carry))
            return kept, where(present, after[0], 0.0)

        return scan(body, carry, projected if mask is None else (projected, mask), reverse=reverse)

    def _held(self, name: str, suffix: str) -> Any:
        return self._parameters.get(f"{name}_{suffix}")

    def _node(self, name: str, suffix: str) -> Any:
        held = self._held(name, suffix)
        return None if held is None else held.node

    def _bias_before(self, suffix: str) -> Tensor | None:
        """What is added before the loop: both biases, which are only ever added together."""
        if not self.bias:
            return None
        both: Tensor = self._held("bias_ih", suffix) + self._held("bias_hh", suffix)
        return both

    def _step(self, carry: list[Any], p: Any, suffix: str) -> tuple[Any, ...]:
        """The states after one step, as nodes; the first is the output."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Name the settings that are not the usual ones."""
        usual: dict[str, float] = {"proj_size": 0, "num_layers": 1, "bias": True}
        usual |= {"batch_first": False, "dropout": 0.0, "bidirectional": False}
        parts = [f"{self.input_size}, {self.hidden_size}"]
        parts += [
            f"{name}={getattr(self, name)}"
            for name, value in usual.items()
            if getattr(self, name) != value
        ]
        return ", ".join(parts)


class RNN(_Recurrent):
    """A simple recurrent network: `h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)`.

    Args:
        input_size: the features of each step.
        hidden_size: the length of the state.
        num_layers: how many layers; each takes the outputs of the one before.
        nonlinearity: "tanh" or "relu".
        bias: whether there are b_ih and b_hh.
        batch_first: whether inputs and outputs are (N, T, features) instead of (T, N, features).
        dropout: in training, the share of each layer's outputs, but the last one's, set to zero.
        bidirectional: whether a second network reads from the end; the outputs stand side by side.
        device, dtype: of the parameters.

    Shapes: input (T, N, input_size), or (T, input_size) without a batch; state h (layers x
    directions, N, hidden_size), or without N. Returns the outputs of the last layer,
    (T, N, directions x hidden_size), and the last h.

    Raises:
        OptionError: for another nonlinearity, and for settings out of range.
        ShapeError: for inputs and states that do not fit.

    Source: Elman, Finding structure in time (1990).

    >>> import chainrule as cr
    >>> rnn = cr.nn.RNN(3, 5, batch_first=True)
    >>> output, h = rnn(cr.zeros(2, 7, 3))
    >>> tuple(output.shape), tuple(h.shape)
    ((2, 7, 5), (1, 2, 5))
    """

    _summary = "h(t) = tanh(x(t) @ w_ihᵀ + b_ih + h(t-1) @ w_hhᵀ + b_hh)"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_nonlinearity("RNN", nonlinearity)
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0,
            device, dtype,
        )  # fmt: skip
        self.nonlinearity = nonlinearity
        if nonlinearity != "tanh":
            object.__setattr__(self, "_summary", type(self)._summary.replace("tanh", nonlinearity))

    def _step(self, carry: list[Any], p: Any, suffix: str) -> tuple[Any, ...]:
        w = self._node("weight_hh", suffix)
        return (simple_step(carry[0], p, w, self.nonlinearity == "relu"),)


class LSTM(_Recurrent):
    """Long short-term memory: a cell state c that gates write to, keep and show.

    `i, f, o = σ(...)`, `g = tanh(...)` of `W_ih x_t + b_ih + W_hh h_{t-1} + b_hh`, then
    `c_t = f c_{t-1} + i g` and `h_t = o tanh(c_t)`.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device,
            dtype: as for `RNN`.
        proj_size: a length below hidden_size to which h is shrunk by a further weight; 0 for none.

    Shapes: as for `RNN`, with the pair (h, c) as the state; h has the length proj_size where that
    is given.

    Raises:
        OptionError, ShapeError: as for `RNN`.

    Sources: Hochreiter and Schmidhuber (1997), Gers et al. (2000), Sak et al. (2014, projection).

    >>> import chainrule as cr
    >>> lstm = cr.nn.LSTM(3, 5, num_layers=2)
    >>> output, (h, c) = lstm(cr.zeros(7, 2, 3))
    >>> tuple(output.shape), tuple(h.shape), tuple(c.shape)
    ((7, 2, 5), (2, 2, 5), (2, 2, 5))
    """

    _summary = "i, f, g, o of x(t), h(t-1); c(t) = f · c(t-1) + i · g; h(t) = o · tanh(c(t))"

    gates = 4
    states = ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            proj_size, device, dtype,
        )  # fmt: skip

    def _step(self, carry: list[Any], p: Any, suffix: str) -> tuple[Any, ...]:
        w, shrink = self._node("weight_hh", suffix), self._node("weight_hr", suffix)
        h, c = carry
        return lstm_step(h, c, p, w, shrink)


class GRU(_Recurrent):
    """Gated recurrent units: gates mix the old state with a new one.

    `r, z = σ(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)`,
    `n = tanh(W_in x_t + b_in + r (W_hn h_{t-1} + b_hn))`, then `h_t = (1 - z) n + z h_{t-1}`.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device,
            dtype: as for `RNN`.

    Shapes: as for `RNN`.

    Raises:
        OptionError, ShapeError: as for `RNN`.

    Source: Cho et al., Learning phrase representations (2014).

    >>> import chainrule as cr
    >>> output, h = cr.nn.GRU(3, 5, bidirectional=True)(cr.zeros(7, 2, 3))
    >>> tuple(output.shape), tuple(h.shape)
    ((7, 2, 10), (2, 2, 5))
    """

    _summary = "r, z, n of x(t), h(t-1); h(t) = (1 - z) · n + z · h(t-1)"

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0,
            device, dtype,
        )  # fmt: skip

    def _bias_before(self, suffix: str) -> Tensor | None:
        # b_hh stays in the loop: its part of n is multiplied by r.
        held: Tensor | None = self._held("bias_ih", suffix)
        return held

    def _step(self, carry: list[Any], p: Any, suffix: str) -> tuple[Any, ...]:
        w, b = self._node("weight_hh", suffix), self._node("bias_hh", suffix)
        return (gru_step(carry[0], p, w, b),)


def check_nonlinearity(layer: str, nonlinearity: str) -> None:
    """Refuse what is neither tanh nor relu."""
    if nonlinearity not in ("tanh", "relu"):
        raise OptionError(
            f"{layer}: nonlinearity={nonlinearity!r} does not exist.\n  expected: 'tanh' or 'relu'"
        )
