"""Which engine runs a training, and what is said when it is not the one that was hoped for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ..errors import EngineError, TraceError
from .course import Course
from .eager import EagerRunner
from .progress import Progress

NOTICEABLE = 0.5  # seconds of compiling from which on it is mentioned


class EngineWarning(UserWarning):
    """The engine that was asked for by "auto" cannot run this; a slower one does."""


class ResumeWarning(UserWarning):
    """A resumed run may not give the bits of an unbroken one."""


def choose_runner(trainer: Any, course: Course, run: Any, progress: Progress) -> Any:
    """The runner of a trainer's engine; "auto" falls back to numpy and says why.

    Args:
        trainer: says which engine, and has the steps.
        course: the steps of an epoch and their data.
        run: the record, in which the engine is noted.
        progress: is told when compiling took long.

    Raises:
        EngineError, TraceError: the engine that was asked for cannot run the step.
    """
    common = (trainer._step, trainer._evaluation, trainer.model, trainer.optimizer, course)
    runner: Any
    if trainer.engine == "numpy":
        runner = EagerRunner(*common, trainer.watch)
    else:
        # llvmlite is loaded by those who compile.
        from .native import NativeRunner

        try:
            runner = NativeRunner(trainer._traces(), course, trainer.threads)
            if runner.compile_seconds > NOTICEABLE:
                progress.note(f"compiled in {runner.compile_seconds:.1f} s")
        except (EngineError, TraceError) as error:
            if trainer.engine == "native":
                raise
            runner = EagerRunner(*common, trainer.watch)
            note = f"the numpy engine is used, which is slower: {error}"
            run.notes.append(note)
            warnings.warn(note, EngineWarning, stacklevel=5)
    before = run.config.get("engine", runner.engine)
    if before != runner.engine:
        warn_of_other_bits(run, [f"the engine was {before} and is {runner.engine}"])
    run.config["engine"] = runner.engine
    return runner


def warn_of_other_bits(run: Any, changed: Sequence[str]) -> None:
    """Say at a resume what cannot be promised."""
    warnings.warn(
        f"run {run.name!r} goes on, but its bits may differ from those of an unbroken run: "
        f"{'; '.join(changed)}",
        ResumeWarning,
        stacklevel=6,
    )
