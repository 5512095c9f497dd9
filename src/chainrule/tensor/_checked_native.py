"""``cr.compile(check="nan")`` on the native engine, where state stays in the engine's memory.

What a call returns is looked at each time. What it changes (parameters, moments) is looked at now
and then, for a two-hundredth of the time; from a copy of it, made as seldom, the calls since then
are run again to find the first bad one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import NonFiniteError
from ..graph.graph import Graph
from ..graph.trace import Traced
from ._checked import Calls, labels_of, names_of, report
from ._nonfinite import all_finite
from ._resident import Resident
from ._tensor import Tensor

Array = np.ndarray[Any, Any]
SHARE = 0.005  # of the time that looking at the state, and copying it, may take each
COPY_SECONDS = 1.0  # between two copies, unless much is remembered
MOST_CALLS = 10_000  # that are remembered
MOST_BYTES = 1 << 26  # of their arguments
_SMALL = 1 << 14  # arguments that are copied, since a program copies them too

_LATE = (
    "{what} is not finite since call {call} of {name} or a call before it, which give finite"
    " numbers when they are run again.\n"
    "  fix: do not write into the arrays of arguments between calls; NaN may come from there"
)
_OUTSIDE = (
    "{what} holds numbers that are not finite before call {call} of {name}, and no call made them."
    "\n  fix: look at what writes to it outside of the compiled function"
)


class CheckedResident(Resident):
    """Runs a step on the native engine, and finds the call that made what is not finite."""

    def __init__(self, traced: Traced, look: Graph | None, calls: Calls) -> None:
        super().__init__(traced, look)
        self._calls = calls
        self._places = [number for _, number in self._state]
        self._before: list[Array] | None = None  # the state when the journal began
        self._journal: list[tuple[list[Array], tuple[Any, ...]]] = []
        self._arguments: Sequence[Tensor] = ()
        self._first = 0  # the number of the journal's first call
        self._bytes = 0
        self._looked = self._copied = -np.inf  # when it may be done again

    def __call__(self, tensors: Sequence[Tensor]) -> Any:
        """Run it; see :class:`Resident`.

        Raises:
            NonFiniteError: this call, or one before it, gave what is not finite.
        """
        self._settle_last()
        return super().__call__(tensors)

    def again(self, tensors: Sequence[Tensor]) -> Any:
        """Run it on other arguments; raises as a call does."""
        self._settle_last()
        return super().again(tensors)

    def _settle_last(self) -> None:
        last, self._calls.runner = self._calls.runner, self
        if last is not None and last is not self:
            last.settle()

    def _give(self, tensors: Sequence[Tensor]) -> None:
        super()._give(tensors)
        self._arguments = tensors

    def _run(self) -> Any:
        self._remember()
        try:
            arrays = self.program.run()
        except BaseException:
            # A call that was interrupted may have been done, or not.
            self._journal, self._changed = [], True
            raise
        if not all(map(all_finite, arrays)):
            raise self._find(arrays)
        return self._given(arrays)

    def settle(self) -> None:
        """Look at the state.

        Raises:
            NonFiniteError: a call made it not finite.
        """
        with self.program.lock:
            if self._journal and self._bad_state() is not None:
                raise self._find(())

    def _remember(self) -> None:
        """Note a call's arguments; look at the state and copy it where that is due."""
        now = time.monotonic()
        full = len(self._journal) >= MOST_CALLS or self._bytes > MOST_BYTES
        copies = self._changed or full or now > self._copied or not self._places
        if copies or now > self._looked:
            if self._bad_state() is not None:
                raise self._find(())
            done = time.monotonic()
            self._looked = done + (done - now) / SHARE
            if copies:
                self._copy()
                ended = time.monotonic()
                self._copied = ended + max(COPY_SECONDS, (ended - done) / SHARE)
        arrays = []
        for tensor in self._arguments:
            array = tensor._node.value()
            size = array.nbytes
            self._bytes += size
            arrays.append(array.copy() if size <= _SMALL else array)
        self._journal.append((arrays, tuple(self._known)))

    def _copy(self) -> None:
        self._before = [self.program.view(number).copy() for number in self._places]
        self._journal = []
        self._first, self._bytes, self._changed = self._calls.count, 0, False

    def _bad_state(self) -> int | None:
        """The first part of the state that is not finite."""
        for k, number in enumerate(self._places):
            if not all_finite(self.program.view(number)):
                return k
        return None

    def _write_state(self, arrays: Sequence[Array]) -> None:
        for number, array in zip(self._places, arrays, strict=True):
            self.program.write(number, array)

    def _find(self, given: Sequence[Array]) -> NonFiniteError:
        """The error for the first bad call of the journal; leaves the state before that call.

        Args:
            given: what the newest call gave.
        """
        program = self.program
        now = [program.view(number).copy() for number in self._places]
        if self._before is None:
            return self._untraceable(given, now)
        self._write_state(self._before)
        for position, (arrays, numbers) in enumerate(self._journal):
            before = [program.view(number).copy() for number in self._places]
            outputs = self._again(arrays, numbers)
            if all(map(all_finite, outputs)) and self._bad_state() is None:
                continue
            whole = self._outputs(outputs)
            self._write_state(before)
            inputs = self._inputs(arrays, numbers)
            calls = Calls(self._calls.name, self._first + position)
            self._journal = []
            self._changed = True
            return NonFiniteError(report(self.traced, inputs, whole, calls))
        self._write_state(now)
        return self._untraceable(given, now)

    def _again(self, arrays: Sequence[Array], numbers: Sequence[Any]) -> list[Array]:
        """Run a call of the journal again."""
        for number, array in enumerate(arrays):
            self.program.write(number, array)
        for (_, number), value in zip(self._numbers, numbers, strict=True):
            self.program.write(number, np.asarray(value))
        self._known = list(numbers)
        return self.program.run()

    def _inputs(self, arrays: Sequence[Array], numbers: Sequence[Any]) -> list[Array]:
        """The inputs of the graph, in order, for the state as it lies in the program."""
        found = dict(enumerate(arrays))
        found |= {number: handle._node.value() for handle, number in self._read}
        found |= {number: self.program.view(number).copy() for number in self._places}
        places = (number for _, number in self._numbers)
        found |= {n: np.asarray(v, np.float64) for n, v in zip(places, numbers, strict=True)}
        return [found[number] for number in range(len(found))]

    def _outputs(self, arrays: Sequence[Array]) -> list[Array]:
        """The outputs of the graph, in order."""
        written = dict(self._pairs)
        rest = iter(arrays)
        return [
            self.program.view(written[k]).copy() if k in written else next(rest)
            for k in range(len(self.traced.graph.outputs))
        ]

    def _untraceable(self, given: Sequence[Array], state: Sequence[Array]) -> NonFiniteError:
        """The error where running calls again shows nothing."""
        labels, names = labels_of(self.traced), names_of(self.traced)
        call, name = self._calls.count, self._calls.name
        for k, array in enumerate(state):
            if not all_finite(array):
                node = self.traced.graph.inputs[self._places[k]]
                what = names.get(node, "a tensor that it changes")
                text = _OUTSIDE if self._changed else _LATE
                return NonFiniteError(text.format(what=what, call=call, name=name))
        bad = next((k for k, array in enumerate(given) if not all_finite(array)), 0)
        return NonFiniteError(_LATE.format(what=labels[bad], call=call, name=name))
