"""The native engine's way to run training steps: many at a time, in one compiled loop.

Training and validation are variants of one loop over one state, so that whole epochs, and many of
them, need no return to Python.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..config import VERSION
from ..engines import native
from ..graph.trace import Traced
from ..io.arrays import Array
from ..tensor._handle import array_leaf
from ..tensor._watch import watch
from .compiled import Part, TracedLoop, signature, trace_parts
from .course import Course, Outcome, Plan
from .eager import Step, evaluating, joined
from .feed import Feed
from .guard import guard
from .layout import Layout, Reading
from .watching import Columns, Watch

# Rows that a metric collects are read after so many steps, or a few more if batches are small: long
# enough that Python costs little, short enough that moving the rows along does.
REGISTER_STEPS = 8
REGISTER_ROWS = 1024


@dataclass
class Compiled:
    """A compiled loop and the trace that it runs.

    Attributes:
        loop: the engine's loop.
        key: what it was compiled for.
        traced: the steps and the tensors that its state stands for.
        placed: the node that each of these tensors held when the loop's state was that of the
            tensors; a tensor that holds another one has been changed by the user.
        seconds: what a unit of work took the last time; 0 where it has not run.
    """

    loop: Any
    key: Any
    traced: TracedLoop
    placed: list[Any] = field(default_factory=list)
    seconds: float = 0.0

    def load(self) -> None:
        """Write the tensors' values into the loop where they have changed."""
        for place, handle in enumerate(self.traced.handles):
            if handle._node is not self.placed[place]:
                self.loop.write(place, handle._node.value())
                self.placed[place] = handle._node

    def store(self) -> None:
        """Let the tensors hold the loop's state."""
        for place, handle in enumerate(self.traced.handles):
            if self.traced.written[place]:
                handle._rebind(array_leaf(self.loop.read(place)))
                self.placed[place] = handle._node


class _Key:
    """A loop's key with its hash at hand: it is a large structure."""

    __slots__ = ("_hash", "content")

    def __init__(self, content: Any) -> None:
        self.content = content
        self._hash = hash(content)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, _Key) and self.content == other.content)


class LoopPool:
    """Compiled loops that wait for the next training of their kind, in this process.

    A sweep over learning rates and seeds compiles once, and so does a second fit. A loop in use is
    taken out, so that two trainings at a time never share one.
    """

    LIMIT = 16

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[Any, list[Compiled]] = {}

    def take(
        self, traced: TracedLoop, arrays: tuple[Array, ...], threads: int | None, key: Any = None
    ) -> Compiled:
        """A loop for these steps and this data, with the tensors' values in it.

        Args:
            traced: the steps.
            arrays: the data.
            threads: how many threads run it; None lets the engine choose.
            key: the key of a loop that was taken before for these steps and data of these kinds.

        Raises:
            EngineError: the engine does not support an op; it is named.
        """
        if key is None:
            kinds = tuple((array.shape, array.dtype.name) for array in arrays)
            key = _Key((signature(traced), kinds, threads))
        with self._lock:
            waiting = self._idle.get(key)
            found = waiting.pop() if waiting else None
        if found is None:
            loop = native.compile_loop(traced.steps, arrays, threads=threads)
            found = Compiled(loop, key, traced)
        else:
            found.loop.bind(arrays)
            found.traced = traced
        # Nothing is known of what the tensors did since the loop last ran: take all of them over.
        found.placed = [None] * len(traced.handles)
        found.load()
        return found

    def give(self, compiled: Compiled) -> None:
        """Put a loop back; the data and the tensors that it worked on are let go of."""
        compiled.loop.release()
        compiled.traced = replace(compiled.traced, handles=(), getters=())
        compiled.placed = []
        with self._lock:
            waiting = self._idle.pop(compiled.key, [])
            self._idle[compiled.key] = [*waiting, compiled]  # the newest key stands last
            while sum(map(len, self._idle.values())) > self.LIMIT:
                oldest = next(iter(self._idle))
                self._idle[oldest].pop(0)
                if not self._idle[oldest]:
                    del self._idle[oldest]


POOL = LoopPool()


@dataclass(frozen=True)
class Prepared:
    """The traced steps of a course, and what tracing settled.

    Attributes:
        traced: the steps.
        columns: what a look reports.
        layouts: of the training and of the validation step: what they report.
        settled: the readings and registers of these layouts.
        output_shape: of the model's output for a batch.
        key: what their loop is found by.
    """

    traced: TracedLoop
    columns: Columns
    layouts: tuple[Layout, ...]
    settled: tuple[tuple[tuple[Reading, ...], list[Any]], ...]
    output_shape: tuple[int, ...] | None
    key: Any

    def settle(self, step: Any) -> None:
        """Set the steps to what they were when they were traced."""
        for layout, (readings, registers) in zip(self.layouts, self.settled, strict=True):
            layout.readings, layout.registers = readings, registers
        step.output_shape = self.output_shape


class Traces:
    """The traced steps of a trainer, kept as long as what they depend on stays the same.

    Args:
        step: the training step.
        evaluation: the same without training.
        model: its mode is set before each trace.
        optimizer: what the training step updates by.
        read: what else the steps read: loss, metrics, the user's functions.
        strict: whether the user's functions may call modules of their own.
        watch: what looks report of; None for nothing.
    """

    LIMIT = 8

    def __init__(
        self, step: Step, evaluation: Step, model: Any, optimizer: Any, read: Sequence[Any],
        strict: bool, watch: Watch | None,
    ) -> None:  # fmt: skip
        self.step, self.evaluation = step, evaluation
        self.model, self.optimizer = model, optimizer
        self._read, self._strict, self._watch = read, strict, watch
        self.columns: Columns = ()
        self._known: list[tuple[Any, Prepared]] = []
        self._parts: tuple[int, list[Any], list[Any]] | None = None
        self.traced = 0  # how often steps were traced

    def find(self, course: Course, options: Any) -> Prepared | None:
        """What was prepared for such a course, if nothing that it depends on has changed."""
        key = self._key(course, options)
        for number, (known, prepared) in enumerate(self._known):
            if known == key:
                self._known.append(self._known.pop(number))
                prepared.settle(self.step)
                self.columns = prepared.columns
                return prepared
        return None

    def trace(self, course: Course) -> TracedLoop:
        """Trace the steps of a course.

        Raises:
            TraceError: a step asks for values while it runs.
        """
        self.traced += 1
        sizes = course.batching.sizes
        self.step.layout.reset(max(REGISTER_STEPS * max(sizes), REGISTER_ROWS))
        parts = [Part(self.step, course.examples, sizes)]
        if course.validation is not None and course.checks is not None:
            checks = course.checks.sizes
            layout = self.evaluation.layout
            layout.reset(max(REGISTER_STEPS * max(checks), REGISTER_ROWS))
            parts.append(
                Part(
                    self.evaluation, course.validation, checks, data=len(course.examples.arrays),
                    keeps=lambda: layout.registers,
                )
            )  # fmt: skip
        return trace_parts(parts, self._mode, None if self._watch is None else self._look)

    def _look(self, traced: Traced) -> Traced:
        """The graph of a look at a step."""
        assert self._watch is not None
        names = {id(handle): name for name, handle in self.model.named_parameters()}
        found = watch(traced, names, self._watch.nodes)
        self.columns = found.names
        return found.traced

    def keep(self, course: Course, options: Any, traced: TracedLoop, key: Any) -> None:
        """Remember traced steps and their loop's key."""
        steps = (self.step, self.evaluation)[: 1 if course.validation is None else 2]
        layouts = tuple(step.layout for step in steps)
        settled = tuple((layout.readings, layout.registers) for layout in layouts)
        shape = getattr(self.step, "output_shape", None)
        prepared = Prepared(traced, self.columns, layouts, settled, shape, key)
        # The key of the next fit: what was made while tracing is there already.
        self._known = [*self._known[1 - self.LIMIT :], (self._key(course, options), prepared)]

    def _mode(self, part: Part) -> AbstractContextManager[None]:
        checks = part.function is self.evaluation
        return evaluating(self.model) if checks else contextlib.nullcontext()

    def _key(self, course: Course, options: Any) -> Any:
        data = [course.examples] if course.validation is None else [
            course.examples, course.validation
        ]  # fmt: skip
        kinds = [(array.shape, array.dtype) for each in data for array in each.arrays]
        counts = [(len(each), each.in_memory, type(each)) for each in data]
        sizes = course.sizes.tolist(), course.first_check
        if self._parts is None or self._parts[0] != VERSION.structure:
            modules = list(self.model.modules()) if hasattr(self.model, "modules") else []
            own = [module for module in modules if not getattr(module, "_fixed", False)]
            self._parts = VERSION.structure, own, list(self.model.parameters())
        read = [*self._parts[1], *self._read]
        seen = guard(self._parts[2], self.optimizer, read, self._strict)
        return kinds, counts, sizes, options, seen


class NativeRunner:
    """Runs the steps in one compiled loop.

    Args:
        traces: the steps.
        course: how an epoch is cut into them, and their data.
        threads: how many threads; None lets the engine choose.

    Raises:
        EngineError: the engine does not support an op; it is named.
        TraceError: the step asks for values while it runs.
    """

    engine = "native"
    foresees = True
    first_steps = 8

    def __init__(self, traces: Traces, course: Course, threads: int | None) -> None:
        self._course, self._stopped = course, False
        self._ran = False  # since the tensors held what the loop holds
        self._feed = Feed(course)
        self.compile_seconds = 0.0
        self._compiled = self._prepare(traces, threads)
        self.columns = traces.columns
        handles = self._compiled.traced.handles
        layouts = [traces.step.layout]
        layouts += [traces.evaluation.layout] if course.validation is not None else []
        self._registers = [
            [place for register in layout.registers for place, handle in enumerate(handles)
             if handle is register]
            for layout in layouts
        ]  # fmt: skip
        self._feed.limit([self._length(places) for places in self._registers])

    def _prepare(self, traces: Traces, threads: int | None) -> Compiled:
        """The loop for the steps, traced and compiled where that is needed."""
        arrays = self._feed.arrays
        options = threads, tuple(array.shape for array in arrays)
        found = traces.find(self._course, options)
        if found is not None:
            return POOL.take(found.traced, arrays, threads, found.key)
        traced = traces.trace(self._course)
        begun = time.perf_counter()
        compiled = POOL.take(traced, arrays, threads)
        self.compile_seconds = time.perf_counter() - begun
        traces.keep(self._course, options, traced, compiled.key)
        return compiled

    def _length(self, places: list[int]) -> int | None:
        """How many rows the registers at these places hold; None where there are none."""
        handles = self._compiled.traced.handles
        return min((handles[place].shape[0] for place in places), default=None)

    @property
    def loop(self) -> Any:
        """The compiled loop."""
        return self._compiled.loop

    @property
    def seconds(self) -> float:
        """What a unit of work took the last time that this loop ran; 0 if it has not."""
        return self._compiled.seconds

    def learn(self, seconds: float) -> None:
        """Remember what a unit of work takes, for the next training by this loop too."""
        self._compiled.seconds = seconds

    @property
    def chunk_factor(self) -> int:
        """How many times as long as usual a chunk should be."""
        return 5 if self._feed.streams else 1

    def close(self) -> None:
        """Give the loop back for the next training of the same kind."""
        self._feed.close()
        POOL.give(self._compiled)

    def numbers(self) -> list[float]:
        """The present run-time numbers."""
        return self._compiled.traced.scalars()

    def run(self, plan: Plan) -> Outcome:
        """Run steps; see :class:`session.Runner`."""
        numbers = [self.numbers()] if plan.numbers is None else plan.numbers
        table = np.asarray(numbers, np.float64)
        turns = np.zeros_like(plan.turns) if plan.numbers is None else plan.turns
        parts = []
        self._ran = True
        for rows, steps in self._feed.pieces(plan):
            variants = plan.variants[steps]
            done, reports = self.loop.reports(rows, variants, table, turns[steps])
            parts.append(self._outcome(variants[:done], reports))
            if self._stopped or done < len(variants):
                break
        return _together(parts)

    def _outcome(self, variants: Array, reports: list[Array]) -> Outcome:
        """What the steps of a piece gave."""
        first, last = self._course.first_check, len(self._course.sizes) - 1
        rows = []
        for kind, places in enumerate(self._registers):
            count = 0
            if places:
                mine = variants[self._course.kinds[variants] == kind]
                count = int(self._course.sizes[mine].sum())
            rows.append([self.loop.read(place)[-count:] if count else self.loop.read(place)[:0]
                         for place in places])  # fmt: skip
        trained = _in_order(variants, reports[:first], 0)
        checked = _in_order(variants, reports[first:last], first)
        watched = reports[last] if last < len(reports) else np.zeros((0, 0))
        return Outcome(trained, checked, rows[0], rows[1] if len(rows) > 1 else [], watched)

    def profile(self, plan: Plan) -> Any:
        """Where the time of steps goes; those of the plan's first piece are run, on a copy."""
        rows, steps = next(iter(self._feed.pieces(plan)))
        return self.loop.profile(rows, plan.variants[steps], self.numbers())

    def stop(self) -> None:
        """End after the present step."""
        self._stopped = True
        self._feed.stop()
        self.loop.stop()

    def sync(self) -> None:
        """Let the user's tensors hold the state that the steps have reached."""
        self._compiled.store()
        self._ran = False

    def snapshot(self) -> list[Any]:
        """The state that the steps have reached, for :meth:`restore`."""
        if self._ran:
            self.sync()
        return [handle._node for handle in self._compiled.traced.handles]

    def restore(self, snapshot: list[Any]) -> None:
        """Go back to a snapshot."""
        compiled = self._compiled
        for handle, node in zip(compiled.traced.handles, snapshot, strict=True):
            handle._rebind(node)
        # The loop has gone on since the tensors held these, so all of them are written.
        compiled.placed = [None] * len(snapshot)
        compiled.load()

    def is_finite(self) -> bool:
        """Whether all numbers that the steps write are finite."""
        traced = self._compiled.traced
        return all(
            self.loop.is_finite(place)
            for place, handle in enumerate(traced.handles)
            if traced.written[place] and handle.dtype.is_float
        )

    def settle(self) -> None:
        """Nothing is looked at; see ``nonfinite``."""

    def refresh(self) -> None:
        """Take over tensors that the user has changed."""
        self._compiled.load()


def _in_order(variants: Array, reports: list[Array], first: int) -> Array:
    """What steps of the variants from number `first` on reported, in the order of the steps."""
    if len(reports) < 2:
        return reports[0] if reports else np.zeros((0, 0))
    own = variants[(variants >= first) & (variants < first + len(reports))]
    found = np.empty((len(own), reports[0].shape[1]))
    for number, report in enumerate(reports, first):
        found[own == number] = report
    return found


def _together(parts: list[Outcome]) -> Outcome:
    """The outcomes of a plan's pieces as one."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        none = np.zeros((0, 0))
        return Outcome(none, none, [], [], none)
    return Outcome(
        np.concatenate([part.trained for part in parts]),
        np.concatenate([part.checked for part in parts]),
        joined([part.trained_rows for part in parts]),
        joined([part.checked_rows for part in parts]),
        np.concatenate([part.watched for part in parts]),
    )
