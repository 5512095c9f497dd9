"""What is watched, how often, and what was seen; for trainings and for compiled functions.

Every so many steps the values of a step are looked at: it is computed without being taken, and
statistics of its values are reported. The step itself is the one that an unwatched program takes,
so watching changes no bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OptionError

Array = np.ndarray[Any, Any]

EVERY = 100
EVERY_SMALL = 1000
SMALL = 10_000  # numbers that a step of a small network reads: parameters and inputs

Columns = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Watch:
    """What a training watches, and how often; for ``Trainer(watch=...)``.

    Args:
        nodes: names, or patterns with ``*`` and ``?``, of layers (as in ``named_modules``) and of
            parameters (as in ``named_parameters``); True for all.
        every: steps from one look to the next. A look costs about two steps, but twenty of a very
            small network, whose statistics are more work than itself; None is 100, or 1,000 for a
            network so small, which keeps the cost under 3 %.

    Raises:
        OptionError: `every` below 1, or nodes that are no names.

    Example:
        >>> import numpy as np
        >>> import chainrule as cr
        >>> _ = cr.manual_seed(0)
        >>> model = cr.nn.Sequential(cr.nn.Linear(1, 8), cr.nn.ReLU(), cr.nn.Linear(8, 1))
        >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
        >>> watch = cr.train.Watch(["1", "*.weight"], every=2)
        >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), optimizer, watch=watch, engine="numpy")
        >>> x = np.linspace(0, 1, 8)[:, None]
        >>> watched = trainer.fit((x, 2 * x), epochs=4, batch_size=4).watched
        >>> watched.steps.tolist(), list(watched)
        ([0, 2, 4, 6], ['1', '0.weight', '2.weight'])
        >>> sorted(watched["0.weight"]), watched["1"]["zeros"].shape
        (['gradient_norm', 'mean', 'std', 'update_ratio'], (4,))
    """

    nodes: bool | Sequence[str] = True
    every: int | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.every, (int, np.integer)) and not isinstance(self.every, bool)
        if self.every is not None and not (whole and self.every >= 1):
            raise OptionError(
                f"Watch: every must be a whole number of 1 or more.\n  given: {self.every!r}"
            )
        nodes: Any = self.nodes
        listed = isinstance(nodes, (list, tuple, set)) and len(nodes) > 0
        if nodes is not True and not (listed and all(isinstance(name, str) for name in nodes)):
            raise OptionError(
                "watch takes True, or names or patterns of layers and parameters.\n"
                f"  given: {self.nodes!r}\n  fix: watch=True, or watch=['0', '*.weight']"
            )


def as_watch(given: Any) -> Watch | None:
    """What ``Trainer(watch=...)`` was given: None and False are nothing, True is all.

    Example:
        >>> as_watch(["*.weight"])
        Watch(nodes=('*.weight',), every=None)
    """
    if given is None or given is False or isinstance(given, Watch):
        return given or None
    return Watch(tuple(given) if isinstance(given, (list, tuple, set)) else given)


def interval_of(watch: Watch, size: int) -> int:
    """Calls from one look to the next, for a step that reads so many numbers.

    Example:
        >>> interval_of(Watch(), 100), interval_of(Watch(), 100_000), interval_of(Watch(every=7), 1)
        (1000, 100, 7)
    """
    if watch.every is not None:
        return watch.every
    return EVERY_SMALL if size < SMALL else EVERY


class Watched(Mapping[str, Mapping[str, Array]]):
    """What a training has watched: by layer or parameter, then by statistic, float64 arrays.

    A layer's output has "mean", "std" and "zeros" (the share that is exactly 0); a parameter has
    "mean", "std", "gradient_norm" (before any clipping) and "update_ratio" (the norm of its change
    in the step, divided by its own). There is one number for each of :attr:`steps`: NaN where it
    was not watched then.

    Example:
        >>> watched = Watched()
        >>> watched.add((("0", "mean"),), [0, 100], np.array([[1.0], [2.0]]))
        >>> watched["0"]["mean"].tolist(), watched.steps.tolist()
        ([1.0, 2.0], [0, 100])
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Columns, Array, Array]] = []
        self._columns: dict[tuple[str, str], None] = {}

    @property
    def steps(self) -> Array:
        """int64: the steps that were looked at, counted from 0."""
        none = np.zeros(0, np.int64)
        return np.concatenate([none, *(steps for _, steps, _ in self._parts)])

    def add(self, names: Columns, steps: Sequence[int] | Array, numbers: Array) -> None:
        """Add looks: their steps, and float64[steps, names]."""
        if len(steps):
            self._parts.append((names, np.asarray(steps, np.int64), numbers))
            self._columns |= dict.fromkeys(names)

    def parts(self, after: int = 0) -> list[tuple[Columns, Array, Array]]:
        """What was added, from part number `after` on: names, steps, numbers."""
        return self._parts[after:]

    def __getitem__(self, name: str) -> Mapping[str, Array]:
        statistics = [column for column in self._columns if column[0] == name]
        if not statistics:
            raise KeyError(f"{name!r} was not watched; there are: {', '.join(self) or 'none'}")
        return {column[1]: self._series(column) for column in statistics}

    def _series(self, column: tuple[str, str]) -> Array:
        return np.concatenate(
            [
                numbers[:, names.index(column)] if column in names else np.full(len(steps), np.nan)
                for names, steps, numbers in self._parts
            ]
        )

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._columns))

    def __len__(self) -> int:
        return len({name for name, _ in self._columns})

    def __repr__(self) -> str:
        return f"<watched: {len(self)} layers and parameters at {len(self.steps)} steps>"
