"""A look at all targets before any step: compiled steps cannot say what is wrong with one."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ..tensor._handle import array_leaf
from .examples import Examples


def check_targets(loss: Any, output_shape: tuple[int, ...] | None, *sets: Examples | None) -> None:
    """Let a loss that can do so (`check_targets`) refuse targets that do not fit the model.

    Args:
        loss: the loss; one without `check_targets` is content with all targets.
        output_shape: of the model's output for some batch; None where no step was traced yet (then
            the steps run eagerly, and the loss itself raises).
        *sets: training and validation data; None, empty and computed ones are passed over.

    Raises:
        ShapeError, DTypeError, IndexRangeError: naming the target, from the loss.

    Example:
        >>> import numpy as np
        >>> import chainrule as cr
        >>> examples = Examples((np.zeros((2, 3), np.float32), np.array([0, 4])))
        >>> check_targets(cr.nn.CrossEntropyLoss(), (1, 4), examples)
        Traceback (most recent call last):
        ...
        chainrule.errors.IndexRangeError: CrossEntropyLoss: a target is no class number.
          given: 4 at target[1]
          expected: from 0 to 3, as the input has 4 classes (axis 1), or ignore_index=-100
          fix: number the classes from 0, or give the network 5 outputs
          where: ...
    """
    check = getattr(loss, "check_targets", None)
    if check is None or output_shape is None or len(output_shape) < 2:
        return
    for examples in sets:
        if examples is not None and len(examples) > 0 and examples.in_memory:
            targets = examples.arrays[-1]
            chosen = targets if examples.rows is None else targets[examples.rows]
            check((len(chosen), *output_shape[1:]), Tensor(array_leaf(chosen)))
