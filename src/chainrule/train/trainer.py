"""`Trainer`: fits a model to data, on the engine that serves it best, and keeps a record."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..config import VERSION, get_default_dtype
from ..dtypes import DType
from ..errors import OptionError, StoreError
from ..io.arrays import Array
from ..random import stream_key
from ..tensor import Tensor
from ..tensor._grad import no_grad
from ..tensor._random import default_generator
from .callbacks import tell, view_of
from .checkpoint import Tree
from .choice import choose_runner, warn_of_other_bits
from .course import EVALUATION_ROWS, Course
from .eager import evaluate_eagerly, evaluating
from .environment import differences
from .examples import Batching, Examples, read_examples
from .inspection import CompiledFit, compiled_fit
from .interrupts import Interrupts
from .ledger import Ledger, training_apart
from .many import ManyTrainings
from .metrics import choose_metrics
from .moment import Moment, Source
from .nonfinite import CheckedRunner, note_what_is_not_finite
from .options import check_options
from .progress import Progress, make_progress
from .randomness import OwnRandomness
from .recorder import Opened, Recorder
from .run import Run
from .session import Callback, Runner, Session
from .settings import check_same, description, settings_of
from .state import collect_state, plain, restore_callbacks, restore_state
from .step import CustomStep, EvaluationStep, TrainingStep
from .targets import check_targets
from .watching import as_watch, interval
from .weights import WeightedExamples, weighted_examples


class Trainer(ManyTrainings):
    """Fits a model to data.

    Args:
        model: a module, called with the inputs of a batch.
        loss: a loss module or function of (output, target) that returns one number.
        optimizer: an optimizer over the model's parameters.
        metrics: names ("accuracy", "precision", "recall", "f1", "auc", "mae", "rmse", "r2"), what
            the functions of those names in ``train.measures`` give, and functions of (output,
            target) that return a mean over the batch; None is accuracy where the loss is one of
            classification. They are taken of the outputs before each update.
        scheduler: a schedule of the learning rate (``optim.lr_scheduler``), moved on after each
            epoch; ReduceLROnPlateau is given the validation loss, or else the loss.
        clip: the largest norm that all gradients together may have; larger ones are scaled down.
        penalty: a function of the model that returns one number, which is minimised with the loss;
            the history holds the loss alone.
        step: a function (trainer, batch) in the place of model and loss: batch is the tuple of
            inputs and target, and it returns the loss, or a dict with "loss" and other numbers for
            the history; "output" in it is what metrics are taken of. A loss that requires grad is
            minimised; a step that does its own backward passes and updates returns it detached
            (the native engine compiles one update of each parameter in a step).
            Checkpoints hold `model` and `optimizer`, nothing else that it may change. It is
            compiled like any other. With ``loss=None`` it measures validation data too.
        engine: "native" compiles the training loop, "numpy" runs step by step in Python with every
            value at hand; "auto" takes native where it supports every op, and otherwise says which
            op is missing.
        device: "cpu" or None: there is no other yet.
        precision: "float32" or "float64", to be sure that the model has it; None takes the dtype of
            its parameters.
        watch: statistics of layers, parameters and gradients, in the run's ``watched``: True for
            all, names or patterns of some (``["0", "*.weight"]``), or a
            :class:`~chainrule.train.Watch` that also says how often. It changes no bits.
        check: "nan" ends the training at the first loss or weight that is not finite, with an error
            that names the node which made it, its layer, its line and its inputs.
        threads: threads of the native engine; None lets it choose. The bits are the same.
        seed: of the shuffle and of what is drawn while training (dropout); None is the seed given
            to ``cr.manual_seed``.
        progress: show a bar on the terminal.

    Raises:
        OptionError: an option or a value that does not exist.

    Example:
        >>> import numpy as np
        >>> import chainrule as cr
        >>> _ = cr.manual_seed(0)
        >>> model = cr.nn.Linear(1, 1)
        >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.5)
        >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), optimizer, engine="numpy", seed=0)
        >>> x = np.linspace(0, 1, 20)[:, None]
        >>> run = trainer.fit((x, 2 * x + 1), epochs=100, batch_size=10)
        >>> bool(run.history["loss"][-1] < 1e-3)
        True
        >>> trainer.predict(np.array([[0.0], [1.0]])).round(1).tolist()
        [[1.0], [3.0]]
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        optimizer: Any,
        *,
        metrics: Sequence[Any] | None = None,
        scheduler: Any = None,
        clip: float | None = None,
        penalty: Callable[[Any], Any] | None = None,
        step: CustomStep | None = None,
        engine: str = "auto",
        device: Any = None,
        precision: Any = None,
        watch: Any = None,
        check: str | None = None,
        threads: int | None = None,
        seed: int | None = None,
        progress: bool = True,
    ) -> None:
        check_options(
            model, engine=engine, threads=threads, clip=clip, device=device, precision=precision,
            watch=watch, check=check, step=step, loss=loss,
        )  # fmt: skip
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = choose_metrics(metrics, loss)
        self.scheduler = scheduler
        self.clip = clip
        self.penalty = penalty
        self.engine = engine
        self.threads = threads
        self.seed = seed
        self.progress = progress
        self.check, self.step, self.watch = check, step, as_watch(watch)
        self.run: Run | None = None
        self._step = TrainingStep(model, loss, optimizer, self.metrics, clip, penalty, step, self)
        self._evaluation = EvaluationStep(model, loss, self.metrics, step, self)
        self._compiled: CompiledFit | None = None  # of the newest fit
        self.compile_seconds = 0.0  # spent compiling training loops so far
        self._session: Session | None = None  # while a fit runs
        self._counter = 0  # the shuffle's next block
        self._random = OwnRandomness(seed)
        self._known_traces: Any = None  # made by those who compile
        self._description: tuple[Any, dict[str, Any]] | None = None

    def fit(
        self,
        train: Any,
        validation: Any = None,
        *,
        epochs: int = 1,
        batch_size: int | None = None,
        shuffle: bool | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        callbacks: Iterable[Callback] = (),
        run: str | None = None,
        resume: bool = False,
    ) -> Run:
        """Train for `epochs` passes over the data.

        Args:
            train: a pair (x, y) of arrays or tensors, a Dataset of such pairs (its examples are
                fetched as they are needed), or a DataLoader, whose batch_size, shuffle, drop_last
                and collate_fn are taken over.
            validation: data of the same kind, evaluated after each epoch.
            epochs: how many passes; a resumed run counts those that it has done.
            batch_size: examples in a step; None is the loader's, or 32. A remainder is a smaller
                batch.
            shuffle: visit the examples in a new random order each epoch; None is the loader's
                choice, or True.
            sample_weight: a number for each training example: one of weight 2 counts in the loss
                as if it were there twice. Metrics and validation count every example once.
            class_weight: a number for each class (a dict, or in order), or "balanced", by which its
                examples are weighted; with both, they are multiplied.
            callbacks: told after each epoch: functions of the run, and
                :class:`~chainrule.train.Callback` objects such as
                :class:`~chainrule.train.EarlyStopping`; when one returns True the training ends.
            run: a name to store the record under; None keeps it in memory.
            resume: go on with the stored run of that name; where there is none, begin it.

        Returns:
            The record; its history has one number for each epoch.

        Raises:
            StoreError: the name is taken and `resume` is False, or the store cannot be used.
            EngineError: the engine that was asked for does not support an op.
            NonFiniteError: with ``check="nan"``, at the first number that is not finite.
            KeyboardInterrupt: Ctrl-C; the step under way was finished, or, where one takes long on
                the native engine, left undone. The model holds what the last whole step gave, and
                a stored run can be resumed.
        """
        if epochs < 0:
            raise OptionError(f"epochs must be 0 or more.\n  given: {epochs}")
        if resume and run is None:
            raise OptionError(
                "resume=True needs the name of a run.\n  fix: fit(..., run='a-name', resume=True)"
            )
        floating = self._floating()
        examples, batching = read_examples(train, batch_size, shuffle, floating)
        examples = weighted_examples(examples, sample_weight, class_weight, floating.np)
        self._step.expect_weights(isinstance(examples, WeightedExamples))
        checked = None
        if validation is not None:
            checked, _ = read_examples(validation, None, None, floating)
        settings = self._settings(examples, batching)
        called = tuple(callbacks)
        with Opened(run, resume, self._describe(settings)) as opened, self._random.active():
            return self._fit(opened, settings, examples, batching, checked, epochs, called)

    def evaluate(self, data: Any) -> dict[str, float]:
        """The loss and the metrics over data, as ``fit`` takes it; nothing is trained.

        Example:
            >>> import numpy as np
            >>> import chainrule as cr
            >>> model = cr.nn.Linear(1, 1)
            >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
            >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), optimizer)
            >>> list(trainer.evaluate((np.zeros((4, 1)), np.zeros((4, 1)))))
            ['loss']
        """
        examples, _ = read_examples(data, None, None, self._floating())
        with evaluating(self.model):
            return evaluate_eagerly(self._evaluation, examples)

    def predict(self, x: Any) -> Array:
        """The model's outputs for inputs `x` (examples, ...): an array (examples, ...)."""
        inputs = x if isinstance(x, (tuple, list)) and isinstance(x[0], np.ndarray) else (x,)
        examples, _ = read_examples((*inputs, inputs[0]), None, None, self._floating())
        arrays = examples.arrays[:-1]
        with evaluating(self.model), no_grad():
            parts = [
                self.model(*(Tensor(array[start : start + EVALUATION_ROWS]) for array in arrays))
                for start in range(0, len(examples), EVALUATION_ROWS)
            ]
        return np.concatenate([part.numpy() for part in parts])

    def at(self, step: int) -> Moment:
        """The newest run at one of its steps; see :meth:`Run.at`."""
        if self.run is None:
            raise OptionError("there is no run to look into.\n  fix: fit first")
        return self.run.at(step)

    @property
    def compiled(self) -> CompiledFit:
        """What the native engine made of the newest fit.

        ``print(trainer.compiled.explain())``, ``.llvm_ir()``, ``print(trainer.compiled.profile())``

        Raises:
            EngineError: there was no fit yet, or it ran on the numpy engine.
        """
        return compiled_fit(self._compiled, self.run)

    def stop(self) -> None:
        """End the fit under way after its present step; may be called from any thread.

        The fit returns its record with the status "interrupted"; a stored one can be resumed.

        Example:
            >>> import numpy as np
            >>> import chainrule as cr
            >>> model = cr.nn.Linear(1, 1)
            >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
            >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), optimizer)
            >>> data = np.zeros((4, 1)), np.zeros((4, 1))
            >>> trainer.fit(data, epochs=9, callbacks=[lambda run: trainer.stop()]).epochs
            1
        """
        session = self._session
        if session is not None:
            session.stop()

    def _twin(
        self, model: Any, loss: Any, optimizer: Any, scheduler: Any, engine: str, seed: int
    ) -> Trainer:
        """A trainer of the same kind on copies."""
        return Trainer(
            model, loss, optimizer, metrics=self.metrics, scheduler=scheduler, clip=self.clip,
            penalty=self.penalty, step=self.step, engine=engine, threads=self.threads, seed=seed,
            progress=False,
        )  # fmt: skip

    def _silent_runner(self, course: Course, run: Run) -> Runner:
        """The runner of a twin; the run's engine is given, so nothing is chosen or noted."""
        return self._runner(course, run, make_progress(False, 0))

    # One fit

    def _fit(
        self,
        opened: Opened,
        settings: dict[str, Any],
        examples: Examples,
        batching: Batching,
        validation: Examples | None,
        epochs: int,
        callbacks: tuple[Callback, ...],
    ) -> Run:
        run = opened.run
        self.run = run
        run._source = Source(self, examples, batching)
        numbers = batching.size * sum(array[:1].size for array in examples.arrays[:-1])
        course = Course(examples, batching, validation, interval(self.watch, self.model, numbers))
        ledger = Ledger(self._step.layout, batching)
        checks = Ledger(self._evaluation.layout, course.checks or batching)
        for callback in callbacks:
            if hasattr(callback, "on_fit_begin"):
                callback.on_fit_begin(view_of(run, {}, self.model, self.optimizer))
        steps = self._begin(opened, settings, ledger, checks, callbacks, examples)
        progress = make_progress(self.progress, epochs)
        recorder = Recorder(run, opened.store)
        try:
            self.model.train()
            runner = self._runner(course, run, progress)
            if self.check == "nan":
                runner = CheckedRunner(
                    runner, self._step, self.model, self.optimizer, course, steps
                )
            check_targets(self.loss, self._step.output_shape, examples, validation)
            recorder.describe()
            session = Session(
                runner=runner,
                course=course,
                key=stream_key(run.seed, "shuffle"),
                counter=self._counter,
                ledger=ledger,
                checks=checks,
                recorder=recorder,
                progress=progress,
                epochs=epochs,
                steps=steps,
                scheduler=self.scheduler,
                callbacks=callbacks,
                tell=lambda callback, numbers: tell(
                    callback, view_of(run, numbers, self.model, self.optimizer)
                ),
                pause=self._random.paused,
                tree=self._tree,
            )
            self._train(session, opened)
        except BaseException as error:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            # What went wrong matters more than whether a full disk lets it be recorded.
            with contextlib.suppress(StoreError):
                recorder.end(status)
            raise
        finally:
            progress.close()
        return run

    def _train(self, session: Session, opened: Opened) -> None:
        """Run the session and write its end."""
        recorder = session.recorder
        if opened.tree is None:
            tree = self._tree(session)
            recorder.write(tree)
            # A stored run reads its states back from the disk.
            recorder.run._trees = {} if opened.store is not None else {session.steps: tree}
        self._session = session
        try:
            with Interrupts(session.stop) as interrupts:
                status = session.run()
        finally:
            # Whatever happened, the user's tensors hold what the steps have reached.
            self._session = None
            self._counter = session.counter
            session.publish()
            session.runner.sync()
            session.runner.close()
        tree = self._tree(session)
        if not recorder.has_checkpoint_here:
            recorder.write(tree)
        if opened.store is None:
            recorder.run._trees[session.steps] = tree
        note_what_is_not_finite(recorder.run, session.progress)
        recorder.end(status)
        if status == "finished":
            self._tell_of_the_end(session)
        if interrupts.asked:
            raise KeyboardInterrupt

    def _tell_of_the_end(self, session: Session) -> None:
        if not session.callbacks:
            return
        view = view_of(session.recorder.run, session.newest(), self.model, self.optimizer)
        with self._random.paused():
            for callback in session.callbacks:
                if hasattr(callback, "on_fit_end"):
                    callback.on_fit_end(view)

    def _begin(
        self,
        opened: Opened,
        settings: dict[str, Any],
        ledger: Ledger,
        checks: Ledger,
        callbacks: tuple[Callback, ...],
        examples: Examples,
    ) -> int:
        """Set model, optimizer, streams and ledger to where the run stands; returns steps done."""
        run, tree = opened.run, opened.tree
        if tree is None:
            return 0
        assert run.name is not None
        check_same(run.config, settings, run.name)
        changed = differences(run.versions, run.processor)
        if not examples.in_memory:
            changed.append("the data set computes its examples, perhaps with randomness of its own")
        if changed:
            warn_of_other_bits(run, changed)
        restore_state(tree, self.model, self.optimizer)
        if self.scheduler is not None and tree["scheduler"] is not None:
            self.scheduler.load_state_dict(tree["scheduler"])
        restore_callbacks(callbacks, tree["callbacks"])
        loop = tree["loop"]
        past, measured = training_apart(run.history, loop["epoch"])
        ledger.resume(past, loop["step_in_epoch"], loop["carry"], loop.get("rows", ()))
        checks.resume(measured, 0, np.zeros(0), epochs=ledger.epochs)
        self._counter = loop["counter"]
        steps: int = loop["steps"]
        return steps

    def _tree(self, session: Session) -> Tree:
        """A checkpoint's content."""
        ledger = session.ledger
        states = [
            callback.state_dict() if hasattr(callback, "state_dict") else None
            for callback in session.callbacks
        ]
        return {
            **collect_state(self.model, self.optimizer),
            "loop": {
                "epoch": ledger.epochs,
                "steps": session.steps,
                "step_in_epoch": ledger.step,
                "carry": ledger.carry.copy(),
                "rows": [part.copy() for part in ledger.rows],
                "counter": session.counter,
            },
            "scheduler": None if self.scheduler is None else plain(self.scheduler.state_dict()),
            "callbacks": states,
        }

    def _runner(self, course: Course, run: Run, progress: Progress) -> Runner:
        runner = choose_runner(self, course, run, progress)
        self._compiled = None
        if runner.engine == "native":
            kind: Callable[..., Any] = type(runner)
            make = functools.partial(kind, self._traces(), course, self.threads)
            self._compiled = CompiledFit(runner.loop, course, make)
            self.compile_seconds += runner.compile_seconds
        return runner  # type: ignore[no-any-return]

    # What a run is

    def _describe(self, settings: dict[str, Any]) -> Run:
        """The record of a fit that begins; its words are made anew when something has changed."""
        groups = self.optimizer.param_groups
        rates = [v for group in groups for k, v in group.items() if k != "params"]
        state = VERSION.count, rates, type(self.scheduler), self.clip
        if self._description is None or self._description[0] != state:
            self._description = state, description(self)
        return Run(seed=self._seed(), config={**settings, **self._description[1]})

    def _traces(self) -> Any:
        """The traced steps, to be used by the next fit too."""
        if self._known_traces is None:
            from .native import Traces

            own = [self.step, self.penalty]
            self._known_traces = Traces(
                self._step, self._evaluation, self.model, self.optimizer,
                [self.loss, *(metric.measure for metric in self.metrics), *own],
                strict=any(each is not None for each in own), watch=self.watch,
            )  # fmt: skip
        return self._known_traces

    def _settings(self, examples: Examples, batching: Batching) -> dict[str, Any]:
        return settings_of(self._seed(), examples, batching)

    def _seed(self) -> int:
        return default_generator().initial_seed() if self.seed is None else self.seed

    def _floating(self) -> DType:
        """The dtype of the model's parameters, to which data is brought."""
        for parameter in self.model.parameters():
            if parameter.dtype.is_float:
                found: DType = parameter.dtype
                return found
        return get_default_dtype()
