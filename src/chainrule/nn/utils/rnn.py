"""Sequences of different lengths in one batch: padded, and packed as PyTorch packs them.

A packed sequence holds the elements of a batch time step by time step, without padding: first all
first elements, then all second ones of those sequences that have one, longest sequence first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import OptionError, ShapeError, TraceError
from ...tensor import Tensor, cat, tensor
from ...tensor._functions import stack, where

NOT_SORTED = (
    "pack_padded_sequence: the lengths are not in falling order.\n  given: {given}\n"
    "  fix: enforce_sorted=False"
)
WRONG_LENGTHS = (
    "{function}: the lengths do not fit the batch.\n  given: {given}\n"
    "  expected: {batch} whole numbers from {least} to {steps}"
)
UNKNOWN = (
    "{function}: a compiled function does not know the values of {name}, on which shapes would"
    " depend.\n  fix: give the padded tensor with lengths= to the layer: rnn(x, lengths=lengths)"
)


class PackedSequence(NamedTuple):
    """A batch of sequences without padding; made by `pack_padded_sequence` or `pack_sequence`.

    Attributes:
        data: the elements, (sum of the lengths, ...), in the order of time.
        batch_sizes: int64, (longest,): how many sequences have an element at each time.
        sorted_indices: the sequences from the longest to the shortest; None if given so.
        unsorted_indices: where each sequence stands in that order.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


def _whole(values: Any, function: str, name: str) -> np.ndarray[Any, Any]:
    """Return whole numbers whose values are known."""
    if isinstance(values, Tensor):
        if not values.node.has_value:
            raise TraceError(UNKNOWN.format(function=function, name=name))
        values = values.node.value()
    return np.asarray(values).astype(np.int64)


def check_lengths(
    lengths: Any, batch: int, steps: int, function: str, least: int = 1
) -> np.ndarray[Any, Any]:
    """Return the lengths as an array.

    Raises:
        ShapeError: when there is not one from `least` to `steps` for each of the `batch` sequences.
        TraceError: when their values are not known, in a compiled function.

    >>> check_lengths([3, 1], 2, 4, "here").tolist()
    [3, 1]
    """
    array = _whole(lengths, function, "the lengths")
    if array.shape != (batch,) or (batch and (array.min() < least or array.max() > steps)):
        text = WRONG_LENGTHS.format(
            function=function, given=array.tolist(), batch=batch, least=least, steps=steps
        )
        raise ShapeError(text)
    return array


def _packed(padded: Tensor, lengths: np.ndarray[Any, Any], order: Any) -> PackedSequence:
    """Pack (T, N, ...), the sequences in the order given; None leaves it."""
    batch = len(lengths)
    steps = int(lengths.max(initial=0))
    places = np.arange(batch) if order is None else order
    present = np.arange(steps)[:, None] < lengths[places][None, :]
    time, place = np.nonzero(present)
    flat = padded.reshape(-1, *padded.shape[2:])
    data = flat.index_select(0, tensor(time * batch + places[place]))
    sizes = tensor(present.sum(1, dtype=np.int64))
    if order is None:
        return PackedSequence(data, sizes)
    return PackedSequence(data, sizes, tensor(order), tensor(np.argsort(order, kind="stable")))


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Leave the padding out of a batch.

    Args:
        input: (T, N, ...), with `batch_first` (N, T, ...).
        lengths: of the N sequences: numbers, an array or a tensor.
        batch_first: whether the first axis is the batch.
        enforce_sorted: whether the lengths must fall; False sorts, and remembers the order.

    Raises:
        ShapeError: for lengths that do not fit.
        OptionError: for lengths that rise where they must fall.

    >>> import chainrule as cr
    >>> x = cr.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]])
    >>> packed = pack_padded_sequence(x, [3, 2], batch_first=True)
    >>> packed.data.tolist(), packed.batch_sizes.tolist()
    ([1.0, 4.0, 2.0, 5.0, 3.0], [2, 2, 1])
    """
    padded = input.transpose(0, 1) if batch_first else input
    steps, batch = padded.shape[:2]
    array = check_lengths(lengths, batch, steps, "pack_padded_sequence")
    if not enforce_sorted:
        return _packed(padded, array, np.argsort(-array, kind="stable"))
    if (np.diff(array) > 0).any():
        raise OptionError(NOT_SORTED.format(given=array.tolist()))
    return _packed(padded, array, None)


def lengths_of(packed: PackedSequence) -> np.ndarray[Any, Any]:
    """Return the lengths of the sequences, in their first order.

    >>> import chainrule as cr
    >>> lengths_of(pack_sequence([cr.ones(1), cr.ones(3)], enforce_sorted=False)).tolist()
    [1, 3]
    """
    sizes = _whole(packed.batch_sizes, "pad_packed_sequence", "the batch sizes")
    batch = int(sizes[0]) if sizes.size else 0
    lengths: np.ndarray[Any, Any] = (sizes[:, None] > np.arange(batch)).sum(0, dtype=np.int64)
    if packed.unsorted_indices is None:
        return lengths
    order = _whole(packed.unsorted_indices, "pad_packed_sequence", "the order")
    unsorted: np.ndarray[Any, Any] = lengths[order]
    return unsorted


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Put a packed batch back into one padded tensor.

    Args:
        sequence: the packed batch.
        batch_first: whether the batch comes first in the result.
        padding_value: what stands behind the end of a shorter sequence.
        total_length: pad up to this length, the longest one or more.

    Returns:
        The padded tensor, (T, N, ...) or (N, T, ...), and the lengths, int64 (N,).

    Raises:
        OptionError: when `total_length` is below the longest sequence.

    >>> import chainrule as cr
    >>> packed = pack_sequence([cr.tensor([1.0, 2.0]), cr.tensor([3.0])])
    >>> padded, lengths = pad_packed_sequence(packed, batch_first=True)
    >>> padded.tolist(), lengths.tolist()
    ([[1.0, 2.0], [3.0, 0.0]], [2, 1])
    """
    lengths = lengths_of(sequence)
    sizes = _whole(sequence.batch_sizes, "pad_packed_sequence", "the batch sizes")
    longest = len(sizes)
    if total_length is not None and total_length < longest:
        raise OptionError(
            f"pad_packed_sequence: total_length={total_length} is below the longest sequence, of"
            f" {longest}"
        )
    steps = longest if total_length is None else total_length
    place = np.arange(len(lengths))
    if sequence.unsorted_indices is not None:
        place = _whole(sequence.unsorted_indices, "pad_packed_sequence", "the order")
    starts = np.zeros(steps, np.int64)
    starts[:longest] = np.cumsum(sizes) - sizes
    present = np.arange(steps)[:, None] < lengths
    index = np.where(present, starts[:, None] + place, 0)
    data = sequence.data
    rest = tuple(data.shape[1:])
    found = data.index_select(0, tensor(index.reshape(-1))).reshape(steps, len(lengths), *rest)
    mask = tensor(present.reshape(*present.shape, *(1,) * len(rest)))
    padded = where(mask, found, padding_value)
    return (padded.transpose(0, 1) if batch_first else padded), tensor(lengths)


def pad_sequence(
    sequences: Sequence[Tensor] | Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Join sequences of different lengths into one padded tensor.

    Args:
        sequences: tensors (length, ...), alike but for their lengths.
        batch_first: (N, T, ...) instead of (T, N, ...).
        padding_value: what fills the shorter ones.
        padding_side: "right", behind their ends, or "left".

    Raises:
        OptionError: for no sequences, or another side.

    >>> import chainrule as cr
    >>> pad_sequence([cr.tensor([1.0, 2.0]), cr.tensor([3.0])], batch_first=True).tolist()
    [[1.0, 2.0], [3.0, 0.0]]
    """
    given = list(sequences)
    if not given:
        raise OptionError("pad_sequence: there are no sequences to pad")
    if padding_side not in ("left", "right"):
        raise OptionError(
            f"pad_sequence: padding_side={padding_side!r} does not exist.\n"
            "  expected: 'right' or 'left'"
        )
    longest = max(one.shape[0] for one in given)
    padded = []
    for one in given:
        missing = longest - one.shape[0]
        if missing:
            fill = one.new_full((missing, *one.shape[1:]), padding_value)
            one = cat([one, fill] if padding_side == "right" else [fill, one], 0)
        padded.append(one)
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Any, batch_first: bool = False
) -> list[Tensor]:
    """Cut a padded batch into its sequences: the reverse of `pad_sequence`.

    >>> import chainrule as cr
    >>> [one.tolist() for one in unpad_sequence(cr.tensor([[1.0, 2.0], [3.0, 0.0]]), [2, 1], True)]
    [[1.0, 2.0], [3.0]]
    """
    padded = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    array = check_lengths(lengths, padded.shape[0], padded.shape[1], "unpad_sequence", 0)
    return [padded[place, : int(length)] for place, length in enumerate(array)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences of different lengths; see `pack_padded_sequence`.

    >>> import chainrule as cr
    >>> pack_sequence([cr.tensor([1.0, 2.0]), cr.tensor([3.0])]).data.tolist()
    [1.0, 3.0, 2.0]
    """
    lengths = [one.shape[0] for one in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Return the sequences of a packed batch.

    >>> import chainrule as cr
    >>> [one.tolist() for one in unpack_sequence(pack_sequence([cr.ones(2), cr.zeros(1)]))]
    [[1.0, 1.0], [0.0]]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
