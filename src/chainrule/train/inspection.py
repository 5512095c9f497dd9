"""What the native engine made of a fit, to be read and timed: ``trainer.compiled``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import EngineError, OptionError
from .course import Course, Plan

_NOT_YET = "nothing is compiled yet.\n  fix: trainer.fit(...) first"
_EAGER = (
    "the last fit ran step by step on the {engine} engine, which compiles nothing.\n"
    "  fix: Trainer(..., engine='native'), which says what it cannot compile"
)


class CompiledFit:
    """The compiled loop of a trainer's newest fit.

    Args:
        loop: the engine's loop.
        course: the steps of an epoch, and their data.
        make_runner: takes a loop of this kind, with the data and the present weights in it.

    Example:
        >>> import chainrule as cr
        >>> model = cr.nn.Linear(3, 1)
        >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), optimizer, engine="native")
        >>> _ = trainer.fit((np.ones((8, 3)), np.ones((8, 1))))
        >>> print(trainer.compiled.explain())  # doctest: +ELLIPSIS
        step 0: 8 rows, ...
        >>> trainer.compiled.llvm_ir().count("define ") > 3
        True
    """

    def __init__(self, loop: Any, course: Course, make_runner: Callable[[], Any]) -> None:
        self.loop = loop
        self._course = course
        self._make_runner = make_runner

    def explain(self) -> str:
        """What was fused, which kernels run, how much memory and compiling time they take."""
        text: str = self.loop.explain()
        return text

    def llvm_ir(self) -> str:
        """The text that LLVM compiled."""
        text: str = self.loop.llvm_ir()
        return text

    def profile(self, steps: int = 100) -> Any:
        """Where the time of a training step goes: time, GFLOP/s and share of the measured peak.

        The steps run on the data of the fit and on a copy of the weights; nothing changes.

        Args:
            steps: how many steps are run; fewer where metrics or computed examples need room.

        Returns:
            A profile, with a line for each task; printed, it is a table.

        Raises:
            OptionError: `steps` below 1.
            EngineError: on processors whose clock programs may not read.

        Example:
            >>> import chainrule as cr
            >>> model = cr.nn.Linear(3, 1)
            >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
            >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), optimizer, engine="native")
            >>> _ = trainer.fit((np.ones((8, 3)), np.ones((8, 1))))
            >>> print(trainer.compiled.profile())  # doctest: +SKIP
            0.2 us a step on 1 thread, 0.9 of 104 GFLOP/s (1%)
            ...
        """
        if steps < 1:
            raise OptionError(f"steps must be 1 or more.\n  given: {steps}")
        runner = self._make_runner()
        try:
            return runner.profile(self._plan(steps))
        finally:
            runner.close()

    def _plan(self, steps: int) -> Plan:
        """So many training steps, of one epoch after the other."""
        course = self._course
        epochs = -(-steps // course.training)
        orders = course.orders(np.zeros(2, np.uint32), 0, epochs)
        parts = [course.part(order, 0, course.training) for order in orders]
        variants = np.concatenate([part.variants for part in parts])[:steps]
        rows = np.concatenate([part.order for part in parts])[: course.sizes[variants].sum()]
        return Plan(rows, variants, np.zeros(steps, np.int32))


def compiled_fit(found: CompiledFit | None, run: Any) -> CompiledFit:
    """What was compiled for the newest fit.

    Raises:
        EngineError: nothing was; it says why.
    """
    if found is not None:
        return found
    if run is None:
        raise EngineError(_NOT_YET)
    raise EngineError(_EAGER.format(engine=run.config.get("engine", "numpy")))
