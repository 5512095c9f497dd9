"""`Trainer.fit_many`: independent trainings that differ in numbers, seeds and initial weights."""

from __future__ import annotations

from typing import Any

from ...errors import OptionError
from ..examples import read_examples
from ..weights import WeightedExamples, weighted_examples
from .runs import Runs
from .settings import read_settings
from .starts import listed, read_starts

WAYS = ("lanes", "arenas")


class ManyTrainings:
    """The part of a Trainer that trains many times at once."""

    model: Any
    loss: Any
    optimizer: Any
    scheduler: Any
    engine: str
    threads: int | None
    seed: int | None
    check: str | None
    watch: Any
    progress: bool
    runs: Runs | None = None

    def fit_many(
        self,
        train: Any,
        validation: Any = None,
        *,
        epochs: int = 1,
        batch_size: int | None = None,
        shuffle: bool | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        seed: Any = None,
        initialize: Any = None,
        grid: bool = False,
        history: Any = None,
        way: str | None = None,
        **options: Any,
    ) -> Runs:
        """Train many times, each with its own settings, in compiled code on all threads.

        Every training has the history that a single ``fit`` gives which begins at the model's
        present weights (or those of `initialize`), with an optimizer that has not stepped yet. The
        trainer's model and optimizer are not changed.

        Small networks are trained by lanes: a vector's lanes hold as many trainings side by side,
        which round otherwise than ``fit`` does, by a few units in the last place a step. Large
        ones are trained one by one on each thread, with the bits of ``fit``. ``runs.way`` says
        which was taken. The bits do not depend on the number of threads, nor on the other
        trainings.

        Args:
            train, validation: as for ``fit``; validation data is evaluated at the epochs that the
                history keeps, the last always among them.
            epochs, batch_size, shuffle, sample_weight, class_weight: as for ``fit``.
            seed: a whole number, or one for each training: of the shuffle, of what is drawn while
                training, and of `initialize`: what ``cr.manual_seed(seed)`` and
                ``Trainer(..., seed=seed)`` mean. None is the trainer's.
            initialize: a function without arguments that makes the model anew, called after
                ``cr.manual_seed(seed)`` for each seed; or a list of models or state dicts. None is
                the model's present weights for all.
            grid: multiply the lists; the last one changes fastest. Otherwise they have one length
                and stand side by side.
            history: "all" epochs, the "last", or a number k for every k-th; None keeps all of them
                up to 256 MB, and beyond that every k-th.
            way: "lanes" or "arenas" (one by one on each thread); None takes the faster by an
                estimate.
            options: the optimizer's, by name: numbers, or lists of them. They go into all
                parameter groups.

        Returns:
            The trainings: settings, history, weights.

        Raises:
            OptionError: an option that does not exist, lists of different lengths, or something
                that only ``fit`` can do.
            EngineError: the native engine does not support an op.
            MemoryError: the history or the weights would not fit into memory; says how large.
            KeyboardInterrupt: Ctrl-C; ``trainer.runs`` holds the trainings that were finished.

        Example:
            >>> import numpy as np
            >>> import chainrule as cr
            >>> _ = cr.manual_seed(0)
            >>> model = cr.nn.Linear(1, 1)
            >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
            >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), optimizer, progress=False)
            >>> x = np.linspace(0, 1, 8)[:, None]
            >>> runs = trainer.fit_many((x, 2 * x + 1), epochs=50, lr=[0.01, 0.1, 0.5])
            >>> runs.history["loss"].shape, runs.settings["lr"][runs.best("loss")].item()
            ((3, 50), 0.5)
        """
        _check_trainer(self, epochs, way)
        settings = read_settings(self.optimizer, options, seed, listed(initialize), grid)
        floating = self._floating()  # type: ignore[attr-defined]
        examples, batching = read_examples(train, batch_size, shuffle, floating)
        examples = weighted_examples(examples, sample_weight, class_weight, floating.np)
        self._step.expect_weights(isinstance(examples, WeightedExamples))  # type: ignore[attr-defined]
        checked = None
        if validation is not None:
            checked, _ = read_examples(validation, None, None, floating)
        for given in (examples, checked):
            if given is not None and not given.in_memory:
                raise OptionError(
                    "fit_many takes data that is in memory: every training reads it in its own "
                    "order.\n  given: a data set that computes its examples\n"
                    "  fix: fit_many((x, y)) with arrays"
                )
        starts = read_starts(settings, initialize, self.model, self.seed)
        # llvmlite is loaded by those who compile.
        from .several import Several

        several = Several(self, settings, starts, epochs, history, way)
        self.runs = several.runs
        several.run(examples, batching, checked)
        return several.runs


def _check_trainer(trainer: Any, epochs: int, way: str | None) -> None:
    """Refuse what many trainings cannot do."""
    if isinstance(epochs, bool) or epochs < 1:
        raise OptionError(f"epochs must be 1 or more.\n  given: {epochs}")
    if way is not None and way not in WAYS:
        raise OptionError(f"there is no way {way!r}.\n  expected: 'lanes', 'arenas', or None")
    if trainer.engine == "numpy":
        raise OptionError(
            "fit_many runs on the native engine.\n  given: Trainer(..., engine='numpy')\n"
            "  fix: engine='native', or a loop over fit"
        )
    if trainer.scheduler is not None:
        raise OptionError(
            "fit_many trains with learning rates that stay as they are.\n"
            f"  given: a schedule, {type(trainer.scheduler).__name__}\n"
            "  fix: Trainer(...) without scheduler, or a loop over fit"
        )
    if trainer.check is not None:
        raise OptionError(
            f"fit_many goes on where a training diverges, check={trainer.check!r} would stop.\n"
            "  fix: Trainer(...) without check; runs.diverged says which did"
        )
    if trainer.watch is not None:
        raise OptionError(
            "fit_many keeps no statistics of layers.\n  given: Trainer(..., watch=...)\n"
            "  fix: Trainer(...) without watch, and watch one training with fit"
        )
