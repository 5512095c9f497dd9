"""Looking up rows of a table by number."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import int64
from ..errors import DTypeError, IndexRangeError, OptionError, ShapeError
from ..tensor import Tensor
from ._common import float_node, located, node_of

OUTSIDE = (
    "embedding: a number has no row.\n"
    "  given: {value}\n"
    "  expected: from 0 to {last}, as the table has {rows} rows\n"
    "  fix: num_embeddings={more} or more, or other numbers for rare tokens"
)


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Return the rows of a table with the given numbers.

    Args:
        input: whole numbers, any shape.
        weight: the table, (rows, width).
        padding_idx: a row that gets no gradient; negative counts from the end.

    Returns:
        (*input.shape, width).

    Raises:
        IndexRangeError: when a number has no row (checked where values are known).

    >>> import chainrule as cr
    >>> table = cr.tensor([[0.0, 1.0], [2.0, 3.0]])
    >>> embedding(cr.tensor([1, 0, 1]), table).tolist()
    [[2.0, 3.0], [0.0, 1.0], [2.0, 3.0]]
    """
    numbers, table = node_of(input, "embedding"), float_node(weight, "embedding", "weight")
    if table.ndim != 2:
        raise located(ShapeError, f"embedding: weight must be (rows, width); it is {table.shape}")
    if not numbers.dtype.is_int:
        raise located(
            DTypeError,
            f"embedding: the input must be whole numbers, its dtype is {numbers.dtype.name}.\n"
            "  fix: input.long()",
        )
    rows = table.shape[0]
    _check_rows(numbers, rows)
    found = table.take(numbers, 0)
    if padding_idx is None:
        return Tensor(found)
    if not -rows <= padding_idx < rows:
        raise located(
            OptionError, f"embedding: padding_idx={padding_idx} is none of the {rows} rows"
        )
    kept = numbers.ne(padding_idx % rows).reshape((*numbers.shape, 1)).expand(found.shape)
    return Tensor(kept.where(found, found.detach()))


def _check_rows(numbers: Any, rows: int) -> None:
    if not numbers.has_value or numbers.size == 0:
        return
    value = numbers.value()
    low, high = int(value.min()), int(value.max())
    if low < 0 or high >= rows:
        wrong = low if low < 0 else high
        text = OUTSIDE.format(value=wrong, last=rows - 1, rows=rows, more=max(high + 1, rows))
        raise located(IndexRangeError, text)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return 1 at each number's place and 0 elsewhere, on a new last axis.

    Args:
        tensor: whole numbers from 0, any shape.
        num_classes: length of the new axis; -1 takes the largest number plus 1.

    Returns:
        int64, (*tensor.shape, num_classes).

    >>> import chainrule as cr
    >>> one_hot(cr.tensor([0, 2])).tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    numbers = node_of(tensor, "one_hot")
    if not numbers.dtype.is_int:
        raise located(DTypeError, f"one_hot: whole numbers are expected, not {numbers.dtype.name}")
    if num_classes == -1:
        num_classes = int(numbers.value().max()) + 1 if numbers.size else 0
    _check_rows(numbers, num_classes)
    classes = Tensor(np.arange(num_classes, dtype=np.int64)).node
    same = numbers.cast(int64).reshape((*numbers.shape, 1)).eq(classes)
    return Tensor(same.cast(int64))
