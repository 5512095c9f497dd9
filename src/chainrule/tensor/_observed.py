"""What a compiled function does besides its work: it looks at values, and counts its calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OptionError
from ..graph.graph import Graph
from ..graph.trace import Traced
from ._checked import Calls
from ._runner import UNFIT
from ._tensor import Tensor
from ._watch import watch as describe
from ._watching import Columns, Watch, Watched, as_watch, interval_of

CHECKS = ("nan",)


@dataclass(frozen=True)
class Looks:
    """How the calls of one graph are looked at.

    Attributes:
        graph: the statistics; None where there are none.
        columns: their names.
        every: calls from one look to the next.
    """

    graph: Graph | None
    columns: Columns
    every: int


class Observer:
    """What is seen of a compiled function, all of its graphs together.

    Args:
        name: the function's.
        watch: what is watched.
        check: whether calls are checked.
    """

    def __init__(self, name: str, watch: Watch | None, check: bool) -> None:
        self.watch = watch
        self.watched = Watched()
        self.count = Calls(name)
        self.calls = self.count if check else None

    def looks(self, traced: Traced) -> Looks:
        """How the calls of a graph are looked at.

        Raises:
            OptionError: a watched name that fits nothing.
        """
        if self.watch is None:
            return Looks(None, (), 1)
        found = describe(traced, traced.names, self.watch.nodes)
        size = sum(node.size for node in traced.graph.inputs[: traced.arguments])
        size += sum(h.numel() for h in traced.captured if h._node.requires_grad)
        graph = found.traced.graph if found.names else None
        return Looks(graph, found.names, interval_of(self.watch, size))

    def around(self, runner: Any, looks: Looks) -> Observed:
        """A runner whose calls are looked at."""
        return Observed(runner, looks, self)


class Observed:
    """Runs what another runner runs, and looks at it now and then."""

    def __init__(self, runner: Any, looks: Looks, observer: Observer) -> None:
        self._runner, self._observer = runner, observer
        self._every = looks.every if looks.graph is not None else 0
        self._columns = looks.columns
        self.traced, self.program = runner.traced, runner.program
        self.fits: Callable[[], bool] = runner.fits
        self.profile: Callable[..., Any] | None = getattr(runner, "profile", None)

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        """Run it on the arguments."""
        return self._call(self._runner, tensors)

    def again(self, tensors: Sequence[Tensor]) -> Any:
        """Run it on other arguments of the same kinds; :data:`UNFIT` where it does not fit."""
        return self._call(self._runner.again, tensors)

    def _call(self, run: Callable[[Sequence[Tensor]], Any], tensors: Sequence[Tensor]) -> Any:
        calls = self._observer.count
        seen = None
        if self._every and calls.count % self._every == 0 and self.fits():
            seen = self._runner.look(tensors)
        result = run(tensors)
        if result is UNFIT:
            return result
        if seen is not None:
            numbers = np.array([[float(number) for number in seen]])
            self._observer.watched.add(self._columns, [calls.count], numbers)
        calls.count += 1
        return result


def observer_of(function: Any, watch: Any, check: Any) -> Observer:
    """What observes a function.

    Raises:
        OptionError: a check that does not exist, or something that cannot be watched.
    """
    if check is not None and check not in CHECKS:
        raise OptionError(f"there is no check {check!r}.\n  expected: 'nan', or None")
    name = getattr(function, "__qualname__", type(function).__name__)
    return Observer(name, as_watch(watch), check is not None)
