"""Parameter groups: the numbers a user may change at any time, and how update rules read them.

A rule never reads a number as a constant: inside a trace it gets a 0-d input that is filled anew at
each call, so a schedule that changes the learning rate acts on compiled code and recompiles
nothing. Only whether a number is exactly 0 (then its term is left out), flags and the list of
parameters are part of the compiled structure; changing those bumps the version that compiled
functions compare.
"""

from __future__ import annotations

from typing import Any

from ..config import VERSION
from ..dtypes import DType, float64
from ..ops import runtime


class ParamGroup(dict[str, Any]):
    """One group of parameters with its settings; a dict, as in PyTorch.

    >>> group = ParamGroup(lr=0.1, params=[])
    >>> group["lr"] = 0.01
    >>> group["lr"]
    0.01
    """

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self or _structure(self[name]) != _structure(value):
            VERSION.bump()
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        VERSION.bump()
        super().__delitem__(name)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take over several settings."""
        for name, value in dict(*args, **kwargs).items():
            self[name] = value


def _structure(value: Any) -> Any:
    """What of a setting shapes the graph: for numbers whether they are 0, for the rest all."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return value == 0
    if isinstance(value, tuple | list):
        return tuple(map(_structure, value))
    return id(value)


class Settings:
    """One group's settings as an update rule reads them, for the time of one step.

    >>> settings = Settings(ParamGroup(lr=0.5, momentum=0.0, params=[]))
    >>> settings.has("momentum"), settings.number("lr").value().item()
    (False, 0.5)
    """

    __slots__ = ("_casts", "group")

    def __init__(self, group: dict[str, Any]) -> None:
        self.group = group
        self._casts: dict[Any, Any] = {}

    def has(self, name: str) -> bool:
        """Return whether a setting is on: a flag that is set, a number that is not exactly 0."""
        return bool(self.group[name])

    def number(self, name: str, dtype: DType = float64, position: int | None = None) -> Any:
        """Return a setting as a 0-d node of `dtype`; `position` picks from a tuple of numbers."""
        key = (name, position, dtype)
        found = self._casts.get(key)
        if found is None:
            found = self._casts[key] = self._read(name, position).cast(dtype)
        return found

    def _read(self, name: str, position: int | None) -> Any:
        group = self.group
        if position is None:
            return runtime(lambda: float(group[name]), float64, (id(group), name))
        where = (id(group), name, position)
        return runtime(lambda: float(group[name][position]), float64, where)

    def once(self, key: Any, make: Any) -> Any:
        """Return what `make()` gives, computed once a step: for numbers that parameters share."""
        found = self._casts.get(key)
        if found is None:
            found = self._casts[key] = make()
        return found
