"""How the trainings differ: lists of settings, side by side or multiplied."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from ...errors import OptionError
from ...io.arrays import Array

NOTHING_DIFFERS = (
    "fit_many was given nothing in which the trainings differ.\n"
    "  expected: at least one list, such as lr=[0.01, 0.1] or seed=range(20)\n"
    "  fix: fit(...) trains once"
)


@dataclass(frozen=True)
class Settings:
    """What each training is given.

    Attributes:
        columns: for each name in which trainings differ, the value of each training.
        fixed: what all trainings are given.
        axes: the lists that were multiplied, in their order; empty where they stand side by side.
        count: how many trainings there are.
    """

    columns: dict[str, list[Any]]
    fixed: dict[str, Any]
    axes: dict[str, list[Any]] = field(default_factory=dict)
    count: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the multiplied lists, or the number of trainings alone."""
        return tuple(map(len, self.axes.values())) or (self.count,)


def read_settings(
    optimizer: Any, options: Mapping[str, Any], seed: Any, starts: int | None, grid: bool
) -> Settings:
    """The settings of all trainings.

    Args:
        optimizer: whose options may differ.
        options: numbers, or lists of them, by name.
        seed: a number, a list, or None.
        starts: how many initial weights were listed; None where they were not.
        grid: multiply the lists instead of putting them side by side.

    Raises:
        OptionError: an option that the optimizer does not have, a value out of its range, lists of
            different lengths, or nothing that differs.

    Example:
        >>> import chainrule as cr
        >>> optimizer = cr.optim.SGD([cr.ones(1)], lr=0.1)
        >>> options = {"lr": [0.1, 0.2], "momentum": [0, 0.5]}
        >>> found = read_settings(optimizer, options, None, None, True)
        >>> found.shape, found.columns["lr"], found.columns["momentum"]
        ((2, 2), [0.1, 0.1, 0.2, 0.2], [0.0, 0.5, 0.0, 0.5])
    """
    lists, fixed = {}, {}
    for name, given in options.items():
        values = _read_option(optimizer, name, given)
        if isinstance(values, list):
            lists[name] = values
        else:
            fixed[name] = values
    if seed is not None:
        seeds = _read_seeds(seed)
        if isinstance(seeds, list):
            lists["seed"] = seeds
        else:
            fixed["seed"] = seeds
    for name, values in lists.items():
        if not values:
            raise OptionError(f"{name} was given an empty list.\n  expected: one value or more")
    if starts is not None:
        lists["start"] = list(range(starts))
    if not lists:
        raise OptionError(NOTHING_DIFFERS)
    found = _multiplied(lists) if grid else _side_by_side(lists)
    made = Settings(found[0], fixed, found[1], len(next(iter(found[0].values()))))
    _check_values(optimizer, lists, fixed)
    return made


def _read_option(optimizer: Any, name: str, given: Any) -> Any:
    """An option's list of values, or its one value."""
    if name not in optimizer.defaults:
        known = [*optimizer.defaults, "seed", "initialize"]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"\n  fix: {near[0]}=..." if near else ""
        raise OptionError(
            f"{type(optimizer).__name__} has no option {name!r}, so trainings cannot differ in it."
            f"\n  expected: seed, initialize, or one of {', '.join(optimizer.defaults)}{hint}"
        )
    several = isinstance(optimizer.defaults[name], tuple)
    if several and isinstance(given, tuple):
        return tuple(float(number) for number in given)
    if isinstance(given, (list, tuple, range, np.ndarray)):
        return [_plain(value, several) for value in given]
    return _plain(given, several)


def _plain(value: Any, several: bool) -> Any:
    if several:
        return tuple(float(number) for number in value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if value is None or isinstance(value, str):
        return value
    if np.ndim(value) != 0:
        raise OptionError(
            f"each training takes one number of an option.\n  given: {value!r}\n"
            "  fix: give a flat list; grid=True multiplies several lists"
        )
    return float(value)


def _read_seeds(seed: Any) -> Any:
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        return int(seed)
    try:
        seeds = [int(number) for number in seed]
        whole = all(one == int(one) for one in seed)
    except (TypeError, ValueError):
        whole, seeds = False, []
    if not whole or any(not 0 <= number < 2**64 for number in seeds):
        raise OptionError(
            f"seed must be whole numbers from 0 to 2**64 - 1.\n  given: {seed!r}\n"
            "  fix: seed=range(20)"
        )
    return seeds


def _side_by_side(
    lists: dict[str, list[Any]],
) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{length} of {name}" for name, length in lengths.items())
        raise OptionError(
            f"lists of different lengths cannot stand side by side.\n  given: {listed}\n"
            f"  fix: lists of one length, or grid=True for all {prod(lengths.values()):,} "
            "combinations"
        )
    return lists, {}


def _multiplied(
    lists: dict[str, list[Any]],
) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """All combinations; the last list changes fastest."""
    lengths = [len(values) for values in lists.values()]
    places = np.indices(lengths).reshape(len(lengths), -1)
    columns = {
        name: [values[place] for place in row]
        for (name, values), row in zip(lists.items(), places.tolist(), strict=True)
    }
    return columns, lists


def _check_values(
    optimizer: Any, lists: Mapping[str, Sequence[Any]], fixed: Mapping[str, Any]
) -> None:
    """Let the optimizer refuse what is out of range, each value once."""
    own = {name: value for name, value in fixed.items() if name in optimizer.defaults}
    for group in optimizer.param_groups:
        common = {name: value for name, value in group.items() if name != "params"} | own
        optimizer.check(common)
        for name, values in lists.items():
            if name in optimizer.defaults:
                for value in dict.fromkeys(values):
                    optimizer.check({**common, name: value})


def as_array(values: Sequence[Any]) -> Array:
    """A column of settings as an array: numbers where they are numbers."""
    kinds = {type(value) for value in values}
    if kinds == {int} and max(values) >= 2**63:
        return np.array(values, np.uint64)
    if kinds <= {int, float} or kinds <= {bool}:
        return np.array(values)
    if kinds == {tuple}:
        return np.array(values)
    return np.array(values, dtype=str)
