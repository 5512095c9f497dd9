"""Inputs with their labels and the names that go with them: what tables and bundled sets become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..errors import OptionError, ShapeError
from ..tensor import Tensor
from ._dataset import TensorDataset

_BAD_SHARE = "share must lie between 0 and 1, the ends excluded.\n  given: {share!r}"
_BAD_NAMES = (
    "feature_names must name every input column.\n"
    "  given: {given} names\n  expected: {expected} (the inputs have shape {shape})"
)


class LabelledDataset(TensorDataset):
    """A `TensorDataset` of inputs and targets that knows what its columns and classes are called.

    Args:
        inputs: shape (examples, ...).
        targets: shape (examples,) or (examples, outputs); integers are class numbers.
        feature_names: what the columns of `inputs` (examples, features) are called.
        class_names: what the classes are called; class k is `class_names[k]`.
        image_shape: (height, width) where a row of `inputs` is an unrolled image.
        name: what the set is called, for messages and reports.

    Raises:
        ShapeError: when lengths differ or names are missing.

    Example:
        >>> import numpy as np
        >>> pets = LabelledDataset(np.eye(2, dtype="float32"), np.array([0, 1]),
        ...                        feature_names=["weight", "age"], class_names=["cat", "dog"])
        >>> len(pets), pets.class_names[pets.targets[1]]
        (2, 'dog')
        >>> x, y = pets.arrays()
    """

    def __init__(
        self,
        inputs: npt.NDArray[Any],
        targets: npt.NDArray[Any],
        *,
        feature_names: Sequence[str] = (),
        class_names: Sequence[str] = (),
        image_shape: tuple[int, int] | None = None,
        name: str = "data",
    ) -> None:
        super().__init__(Tensor(inputs), Tensor(targets))
        if feature_names and len(feature_names) != inputs.shape[1]:
            text = _BAD_NAMES.format(
                given=len(feature_names), expected=inputs.shape[1], shape=inputs.shape
            )
            raise ShapeError(text)
        self.inputs = inputs
        self.targets = targets
        self.feature_names = tuple(feature_names)
        self.class_names = tuple(class_names)
        self.image_shape = image_shape
        self.name = name

    def arrays(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Give `(inputs, targets)` as NumPy arrays, to unpack."""
        return self.inputs, self.targets

    def rows(self, which: npt.NDArray[Any]) -> Self:
        """Give the data set of the named examples (positions or a mask), with the same names."""
        return type(self)(
            self.inputs[which],
            self.targets[which],
            feature_names=self.feature_names,
            class_names=self.class_names,
            image_shape=self.image_shape,
            name=self.name,
        )

    def split(self, share: float, *, seed: int = 0) -> tuple[Self, Self]:
        """Split off a share of the examples for validation, each class in equal measure.

        Args:
            share: the part that the second data set gets, between 0 and 1.
            seed: of the shuffle.

        Returns:
            (the larger rest, the share), in shuffled order.

        Raises:
            OptionError: when the share is not between 0 and 1.

        Example:
            >>> import numpy as np
            >>> data = LabelledDataset(np.zeros((10, 1)), np.repeat([0, 1], 5))
            >>> train, validation = data.split(0.2)
            >>> len(train), sorted(validation.targets.tolist())
            (8, [0, 1])
        """
        rest, part = split_positions(self.targets, share, seed)
        return self.rows(rest), self.rows(part)


def split_positions(
    targets: npt.NDArray[Any], share: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give the positions of the rest and of the share; integer targets are split class by class.

    Every class with two examples or more has one in each part.

    Example:
        >>> import numpy as np
        >>> rest, part = split_positions(np.array([0, 0, 0, 0, 1, 1]), 0.25, seed=1)
        >>> len(rest), len(part)
        (4, 2)
    """
    if not 0 < share < 1:
        raise OptionError(_BAD_SHARE.format(share=share))
    draw = np.random.Generator(np.random.Philox(seed))
    order = draw.permutation(len(targets))
    if targets.ndim == 1 and targets.dtype.kind in "iub":
        groups = [order[targets[order] == label] for label in np.unique(targets)]
    else:
        groups = [order]
    chosen = [group[: _count(len(group), share)] for group in groups]
    mask = np.zeros(len(targets), dtype=bool)
    mask[np.concatenate(chosen)] = True
    return order[~mask[order]], order[mask[order]]


def _count(size: int, share: float) -> int:
    """Give how many of `size` examples make the share; none of a lone example."""
    return min(max(round(size * share), 1), size - 1) if size > 1 else 0
