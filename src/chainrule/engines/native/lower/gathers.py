"""Gathering the rows of a batch from the data arrays, by index."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ....dtypes import int32, of_numpy
from ....errors import DTypeError, ShapeError
from ....graph.node import Node
from ..emit.ir import Module
from ..kernels.common import Operand
from ..kernels.indexed import gather_rows
from .buffers import Buffer
from .tasks import Argument, Task
from .views import dense

_SHAPES = (
    "a data array does not have the rows that the step was traced with.\n"
    "  given: data array {number} with rows of shape {given}\n"
    "  expected: rows of shape {expected}, as {node}\n"
    "  fix: trace the step with a batch of this data"
)


def data_buffer(array: np.ndarray[Any, Any], number: int) -> Buffer:
    """Outside memory that a data array is."""
    dtype = of_numpy(array.dtype)
    if dtype.np != array.dtype:
        raise DTypeError(
            f"the native engine reads data of its own types in place.\n  given: {array.dtype}\n"
            f'  fix: array.astype("{dtype.name}")'
        )
    return Buffer(f"data {number}", array.shape, dtype, dense(array.shape), pointer=f"data{number}")


def gather_task(
    module: Module, node: Node, number: int, data: Buffer, indices: Buffer, out: Buffer
) -> Task:
    """The task that fills a batch input from a data array.

    Args:
        module: where the kernel goes.
        node: the batch input.
        number: which data array it is.
        data: the array.
        indices: this step's indices.
        out: the input's buffer.

    Raises:
        ShapeError: when the rows differ in shape.
    """
    if data.shape[1:] != node.shape[1:]:
        raise ShapeError(
            _SHAPES.format(
                number=number, given=data.shape[1:], expected=node.shape[1:], node=node.describe()
            )
        )
    rows, columns = node.shape[0], prod(node.shape[1:])
    dtype = out.dtype
    kernel = gather_rows(
        module,
        cols=columns,
        size=data.shape[0],
        data=Operand(data.dtype, (columns, 1)),
        index=int32,
        outputs=[Operand(dtype, (columns, 1))],
        body=lambda e, x: e.cast(x, dtype),
    )
    arguments = [
        Argument(data, 0, 0),
        Argument(indices, 0, 1),
        Argument(out, 0, columns, (), ((1, columns),), True, False),
    ]
    return Task(f"gather {rows} rows of {columns}", kernel, arguments, (), rows)
