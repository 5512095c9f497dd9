"""One kind of trainings that run together: the same graph, other numbers in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...io.arrays import Array
from ...nn._state_dict import state_handles
from ...optim._settings import _structure
from ...tensor._random import default_generator
from .settings import Settings
from .starts import Starts, streams_of
from .tracing import Passes


@dataclass(frozen=True)
class Initial:
    """The first values of one state.

    Attributes:
        values: (several, ...) of them.
        index: int64 (trainings,), which of them each training begins with; None for the one value
            that all share.
    """

    values: Array
    index: Array | None = None


@dataclass
class Job:
    """Trainings that differ in numbers alone.

    Attributes:
        runs: int64 (trainings,), their numbers among all.
        passes: what they do.
        initial: the first values of each state.
        numbers: float64 (trainings, numbers), the run-time numbers.
        starts: seeds and streams of all trainings.
        epochs: how many epochs.
        slots: int32 (epochs,), each epoch's place in the history; -1 for none.
        table: float64 (all trainings, slots, names), the history to be filled.
        finished: bool (all trainings,), to be set.
        threads: how many threads.
        watch: told a few times a second which part is done.
        stop: int64 (1,), set to end all.
    """

    runs: Array
    passes: Passes
    initial: list[Initial]
    numbers: Array
    starts: Starts
    epochs: int
    slots: Array
    table: Array
    finished: Array
    threads: int
    watch: Callable[[float], None]
    stop: Array
    weights: dict[str, Array] = field(default_factory=dict)

    @property
    def seeds(self) -> Array:
        """int64 (trainings,): which of the seeds each has."""
        found: Array = self.starts.of_run[self.runs]
        return found

    @property
    def names(self) -> list[str]:
        """What the history holds, in its order."""
        found = list(self.passes.train.layout.names)
        if self.passes.check is not None:
            found += [f"validation_{name}" for name in self.passes.check.layout.names]
        return found


def structures(settings: Settings) -> list[tuple[dict[str, Any], Array]]:
    """The trainings apart by what shapes their graph: flags, and which numbers are exactly 0.

    Returns:
        For each kind the varied settings of its first training, and the numbers of its trainings.

    Example:
        >>> kinds = structures(Settings({"momentum": [0.0, 0.5, 0.9]}, {}, {}, 3))
        >>> [runs.tolist() for _, runs in kinds]
        [[0], [1, 2]]
    """
    columns = {k: v for k, v in settings.columns.items() if k not in ("seed", "start")}
    codes = np.zeros(settings.count, np.int64)
    for values in columns.values():
        known: dict[Any, int] = {}
        each = [known.setdefault(_structure(value), len(known)) for value in values]
        codes = codes * len(known) + np.array(each)
    kinds = []
    for code in dict.fromkeys(codes.tolist()):
        runs = np.flatnonzero(codes == code)
        kinds.append(({name: values[runs[0]] for name, values in columns.items()}, runs))
    return kinds


def numbers_of(optimizer: Any, passes: Passes, settings: Settings, runs: Array) -> Array:
    """The run-time numbers of each training: float64 (trainings, numbers).

    Each of them is one option of one group, so it is enough to try every value of an option once.
    """
    present = np.array([getter() for getter in passes.getters], np.float64)
    table = np.tile(present, (len(runs), 1))
    for name, values in settings.columns.items():
        if name not in optimizer.defaults:
            continue
        chosen = [values[run] for run in runs]
        seen = {value: number for number, value in enumerate(dict.fromkeys(chosen))}
        found = np.array([_read(optimizer, passes, {name: value}) for value in seen])
        moved = (found != present).any(axis=0)
        place = np.array([seen[value] for value in chosen])
        table[:, moved] = found[place][:, moved]
    return table


def _read(optimizer: Any, passes: Passes, options: Mapping[str, Any]) -> list[float]:
    before = apply_options(optimizer, options)
    try:
        return [getter() for getter in passes.getters]
    finally:
        restore_options(optimizer, before)


def apply_options(optimizer: Any, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Set options in all groups; returns what they were."""
    before = [{name: group[name] for name in options} for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group.update(options)
    return before


def restore_options(optimizer: Any, before: Sequence[Mapping[str, Any]]) -> None:
    """Put options back."""
    for group, options in zip(optimizer.param_groups, before, strict=True):
        group.update(options)


def initial_of(passes: Passes, model: Any, starts: Starts, runs: Array) -> list[Initial]:
    """The first values of each state."""
    generator = default_generator()
    names = {id(handle): name for name, handle in state_handles(model)}
    keys, counter = streams_of(starts.seeds)
    found = []
    for handle in passes.handles:
        own = np.asarray(handle._node.value())
        name = names.get(id(handle))
        if starts.streams and handle is generator.key:
            found.append(Initial(keys, starts.of_run[runs]))
        elif starts.streams and handle is generator.counter:
            found.append(Initial(counter[None]))
        elif starts.weights is not None and name in starts.weights:
            found.append(Initial(starts.weights[name], starts.start_of_run[runs]))
        else:
            found.append(Initial(own[None]))
    return found


def model_states(passes: Passes, model: Any) -> dict[str, int | Array]:
    """For each name of the model's state dict its place in the state, or the value that stays."""
    places = {id(handle): number for number, handle in enumerate(passes.handles)}
    return {
        name: places.get(id(handle), handle.detach().numpy())
        for name, handle in state_handles(model)
    }


def pieces(epochs: int, most: int) -> list[tuple[int, int]]:
    """Epochs in pieces of at most so many.

    Example:
        >>> pieces(5, 2)
        [(0, 2), (2, 4), (4, 5)]
    """
    ends = [*range(0, epochs, max(1, most)), epochs]
    return list(itertools.pairwise(ends))
