"""Row clusters: reductions along the last axis and everything around them, a row at a time.

The members are put into phases. Even phases run over the elements of a row, odd ones once a row; a
reduction belongs to the phase that computes what it reduces, and its result can be used from the
next phase on. Softmax with cross-entropy and its derivative come to three passes over a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ....graph.node import Node
from ..kernels.common import Operand
from ..kernels.rows import Phase, row_program
from .buffers import Place
from .cluster import Cluster
from .context import Context
from .formula import (
    Reader,
    Source,
    Step,
    encoded,
    encoded_source,
    evaluate,
    fetch,
    steps_of,
)
from .support import form
from .tasks import Argument, Task, argument, describe, nest, operand

_FOLD = {"sum": "sum", "amax": "max", "argmax": "argmax"}


@dataclass
class _Stage:
    """One phase while it is gathered.

    Attributes:
        steps: elementwise nodes, in order.
        folds: (reduction, what it reduces).
    """

    steps: list[Step] = field(default_factory=list)
    folds: list[tuple[Node, Source]] = field(default_factory=list)

    def needs(self) -> list[Any]:
        """Keys that come from outside of this phase, in order of use."""
        made = {step.node for step in self.steps}
        keys = [key for step in self.steps for key in step.needs]
        keys += [what for _, (kind, what) in self.folds if kind == "value"]
        keys += [what[0] for _, (kind, what) in self.folds if kind == "cast"]
        return list(dict.fromkeys(key for key in keys if key not in made))


class _Program:
    """Assigns the members of a row cluster to phases and names their values."""

    def __init__(self, context: Context, cluster: Cluster, reader: Reader) -> None:
        self.context, self.cluster, self.reader = context, cluster, reader
        self.when: dict[Any, int] = {}
        self.stages: dict[int, _Stage] = {}
        self.kind: dict[Node, str] = {}
        for node in cluster.axes:
            if form(node) == "map":
                self._add_step(steps_of(reader, [node])[0])
            else:
                self._add_fold(node)

    def _is_row(self, node: Node) -> bool:
        return self.cluster.reduced not in self.cluster.level(self.cluster.axes[node])

    def _after(self, keys: Sequence[Any], odd: bool) -> int:
        """The first phase of the right parity that comes late enough for these values."""
        time = 1 if odd else 0
        for key in keys:
            if not isinstance(key, Node):
                continue
            available = self.when[key] + (1 if self.kind[key] == "fold" else 0)
            time = max(time, available)
        return time if time % 2 == int(odd) else time + 1

    def _add_step(self, step: Step) -> None:
        odd = self._is_row(step.node)
        time = self._after(step.needs, odd)
        self.when[step.node], self.kind[step.node] = time, "step"
        self.stages.setdefault(time, _Stage()).steps.append(step)

    def _add_fold(self, node: Node) -> None:
        source = self.reader.source(node.inputs[0], self.cluster.source_axes[node])
        kind, what = source
        keys = [what] if kind == "value" else []
        time = self._after(keys, False)
        self.when[node], self.kind[node] = time, "fold"
        self.stages.setdefault(time, _Stage()).folds.append((node, source))

    def name(self, key: Any) -> str:
        """The name of a value: of a place in memory or of a node."""
        if isinstance(key, Node):
            return f"v{list(self.cluster.axes).index(key)}"
        return f"x{list(self.reader.places).index(key)}"

    def phases(self, dummy: Any) -> list[Phase]:
        """The phases in order; ``dummy`` is the key of an operand that varies along the row."""
        order = sorted(self.stages)
        needed: set[Any] = {n for n in self.cluster.axes if n in self.context.stored}
        made: list[Phase] = []
        for time in reversed(order):
            stage = self.stages[time]
            made.append(self._phase(time, stage, needed, dummy))
            needed |= {key for key in stage.needs() if isinstance(key, Node)}
        return made[::-1]

    def _phase(self, time: int, stage: _Stage, needed: set[Any], dummy: Any) -> Phase:
        keys = stage.needs()
        if time % 2 == 0 and dummy is not None and not any(self._varies(key) for key in keys):
            keys.append(dummy)
        keeps = [step.node for step in stage.steps if step.node in needed]
        return Phase(
            body=_phase_body(keys, stage, keeps),
            reads=tuple(self.name(key) for key in keys),
            keeps=tuple(self.name(node) for node in keeps),
            folds=tuple((_FOLD[node.op.name], self.name(node)) for node, _ in stage.folds),
        )

    def code(self) -> Any:
        """What the phases compute, as plain data."""
        names: dict[Any, Any] = {key: ("in", self.name(key)) for key in self.reader.places}
        names |= {node: ("row", self.name(node)) for node in self.cluster.axes}
        return tuple(
            (
                time,
                encoded(stage.steps, names),
                tuple(
                    (node.op, self.name(node), encoded_source(source, names))
                    for node, source in stage.folds
                ),
                tuple(self.name(step.node) for step in stage.steps),
            )
            for time, stage in sorted(self.stages.items())
        )

    def _varies(self, key: Any) -> bool:
        """Whether a value differs along the row."""
        assert self.cluster.reduced is not None
        if isinstance(key, Node):
            return self.kind[key] == "step" and not self._is_row(key)
        return self.reader.places[key].strides[self.cluster.reduced] != 0


def _phase_body(keys: Sequence[Any], stage: _Stage, keeps: Sequence[Node]) -> Callable[..., Any]:
    def body(e: Any, *values: Any) -> list[Any]:
        known = dict(zip(keys, values, strict=True))
        evaluate(e, stage.steps, known)
        return [known[node] for node in keeps] + [
            fetch(e, source, known) for _, source in stage.folds
        ]

    return body


def _needs_dummy(program: _Program) -> bool:
    return any(
        time % 2 == 0 and not any(program._varies(key) for key in stage.needs())
        for time, stage in program.stages.items()
    )


def _dummy(context: Context, program: _Program, cluster: Cluster) -> Any:
    """A key of an operand that varies along the row: a phase without one would run once a row."""
    if not _needs_dummy(program):
        return None
    assert cluster.reduced is not None
    table = context.table(cluster.space[cluster.reduced])
    strides = tuple(int(axis == cluster.reduced) for axis in range(len(cluster.space)))
    key = (id(table), 0, strides)
    program.reader.places.setdefault(key, Place(table, 0, strides))
    return key


def lower_row(context: Context, cluster: Cluster) -> list[Task]:
    """One row program."""
    space, columns = cluster.space, cluster.reduced
    assert columns is not None
    around = [axis for axis in range(len(space)) if axis != columns]
    index_axis = {columns: 1}
    if len(around) == 1:
        index_axis[around[0]] = 0
    reader = context.reader(cluster, set(_folds(cluster)), index_axis)
    program = _Program(context, cluster, reader)
    dummy = _dummy(context, program, cluster)
    outputs = context.outputs(cluster)
    targets = [reader.output(node) for node in outputs]
    places = list(reader.places.values())
    rows = nest([*places, *targets], space, around)
    lie = (rows.rows[-1] if rows.rows else None, columns)
    kernel = context.kernel(
        row_program,
        program.code(),
        cols=space[columns],
        operands={program.name(key): operand(place, lie) for key, place in reader.places.items()},
        phases=program.phases(dummy),
        outputs={
            program.name(node): Operand(node.dtype, _row_strides(target, lie, program, node))
            for node, target in zip(outputs, targets, strict=True)
        },
    )
    arguments: list[Argument] = [argument(p, space, rows.rows, rows.outer) for p in places]
    arguments += [argument(p, space, rows.rows, rows.outer, True) for p in targets]
    return [
        Task(
            describe(cluster),
            kernel,
            arguments,
            (),
            rows.length(space),
            tuple(space[axis] for axis in rows.outer),
            len(cluster.axes) * prod(space),
        )
    ]


def _folds(cluster: Cluster) -> list[Node]:
    return [node for node in cluster.axes if form(node) == "reduce"]


def _row_strides(
    target: Place, lie: Sequence[int | None], program: _Program, node: Node
) -> tuple[int, int]:
    row, column = lie
    assert column is not None
    return (
        target.strides[row] if row is not None else 0,
        0 if program._is_row(node) else target.strides[column],
    )
