"""Examples from easy to hard: which ones come first, and a sampler that visits them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import OptionError
from ..tensor import Generator
from ._samplers import RandomSampler, Sampler


def easiest(scores: Any, share: float, hardest_first: bool = False) -> np.ndarray[Any, Any]:
    """Return the numbers of the easiest examples, the easiest first.

    Args:
        scores: how hard each example is, (examples,): the loss of another model, a length.
        share: how many of all, above 0 to 1; one at least.
        hardest_first: the hardest instead.

    Returns:
        int64; equal scores keep their order.

    Raises:
        OptionError: for scores that are no numbers in a row, and shares out of range.

    Example:
        >>> easiest([3.0, 1.0, 2.0, 9.0], 0.5).tolist()
        [1, 2]
    """
    array = np.asarray(scores, np.float64)
    if array.ndim != 1 or not array.size or np.isnan(array).any():
        raise OptionError(
            "scores must be one number for each example, and none of them NaN; their shape is"
            f" {array.shape}"
        )
    if not 0 < share <= 1:
        raise OptionError(f"a share must be above 0 and at most 1; {share} was given")
    order = np.argsort(-array if hardest_first else array, kind="stable")
    return order[: max(1, math.ceil(share * len(array)))].astype(np.int64)


class CurriculumSampler(Sampler):
    """The easiest examples in a random order; `share` is raised as the training goes on.

    For loops over a DataLoader; `train.fit_curriculum` does the same with a Trainer.

    Args:
        scores: how hard each example is.
        share: how many of all are visited; may be set between two visits.
        hardest_first: the hardest instead.
        generator: where the random numbers come from; None is the global generator.

    Raises:
        OptionError: as for `easiest`.

    Source: Bengio et al., Curriculum learning (2009).

    >>> sampler = CurriculumSampler([3.0, 1.0, 2.0, 9.0], share=0.5)
    >>> sorted(sampler)
    [1, 2]
    >>> sampler.share = 1.0
    >>> len(sampler)
    4
    """

    def __init__(
        self,
        scores: Sequence[float],
        share: float = 1.0,
        hardest_first: bool = False,
        generator: Generator | None = None,
    ) -> None:
        self.scores = np.asarray(scores, np.float64)
        self.share = share
        self.hardest_first = hardest_first
        self.generator = generator
        self._chosen()

    def _chosen(self) -> np.ndarray[Any, Any]:
        return easiest(self.scores, self.share, self.hardest_first)

    def __iter__(self) -> Iterator[int]:
        chosen = self._chosen()
        order = RandomSampler(chosen, generator=self.generator).order()
        return iter(chosen[order].tolist())

    def __len__(self) -> int:
        return len(self._chosen())
