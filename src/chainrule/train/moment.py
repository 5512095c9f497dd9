"""A past step of a training, made again: from the nearest checkpoint, on copies, to the bit."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data import DataLoader
from ..errors import OptionError, StoreError
from ..io.arrays import Array
from ..io.files import StorageError
from ..optim.lr_scheduler import ReduceLROnPlateau
from ..random import stream_key
from ..tensor import Tensor
from ..tensor._grad import no_grad
from ..tensor._random import default_generator
from .checkpoint import Tree, read_checkpoint
from .course import Course
from .examples import Batching, Examples, read_examples
from .ledger import Ledger
from .settings import check_same
from .state import restore_state
from .weights import WeightedExamples, each_of, weighted_examples


class MomentWarning(UserWarning):
    """A training was made again, and its losses are not the recorded ones."""


@dataclass(frozen=True)
class Source:
    """What a run was fitted with: `examples` hold the weights, if there were any."""

    trainer: Any
    examples: Examples
    batching: Batching


@dataclass(frozen=True)
class Moment:
    """A training at one of its steps.

    Attributes:
        step: steps done.
        epoch: epochs finished.
        model: a copy with the weights and buffers of that moment, in training mode.
        optimizer: a copy over that model's parameters, with its state and learning rates.
        indices: int64 (batch,): which examples of the training data the next step takes.
        batch: their arrays: the inputs, then the target (with weights: before the target).
        output: the model's output for the batch; None for a step of the user without a loss.
        loss: float64 (batch,): the loss of each of these examples; None likewise.
    """

    step: int
    epoch: int
    model: Any
    optimizer: Any
    indices: Array
    batch: tuple[Array, ...] = field(repr=False)
    output: Array | None = field(repr=False)
    loss: Array | None = field(repr=False)

    def text(self, most: int = 10) -> str:
        """The examples of the batch by their loss, the largest first, as lines.

        Args:
            most: how many are listed.
        """
        count = len(self.indices)
        head = f"step {self.step} (epoch {self.epoch}): {count} examples"
        if self.loss is None:
            return f"{head}; the loss of each is not known to a step of your own"
        total = float(self.loss.sum())
        lines = [f"{head}, mean loss {total / count:.6g}", "  example        loss  of it  target"]
        for place in np.argsort(-np.nan_to_num(self.loss, nan=np.inf), kind="stable")[:most]:
            loss = float(self.loss[place])
            share = f"{100 * loss / total:.1f} %" if total > 0 and np.isfinite(total) else ""
            target = np.array2string(self.batch[-1][place], precision=4, threshold=6)
            lines.append(f"  {self.indices[place]:>7}  {loss:10.5g}  {share:>6}  {target}")
        if count > most:
            lines.append(f"  and {count - most} more")
        return "\n".join(lines)


def source_of(run: Any, trainer: Any, train: Any, sample_weight: Any, class_weight: Any) -> Source:
    """What a run was fitted with, from a trainer and data made anew.

    Raises:
        OptionError: there is no data.
        StoreError: it is not what the run was fitted with.
    """
    if train is None:
        raise OptionError("run.at(step, trainer=...) also needs the training data: train=(x, y)")
    floating = trainer._floating()
    own = isinstance(train, DataLoader)
    size, shuffle = run.config.get("batch size"), run.config.get("shuffle")
    examples, batching = read_examples(
        train, None if own else size, None if own else shuffle, floating
    )
    examples = weighted_examples(examples, sample_weight, class_weight, floating.np)
    now = trainer._settings(examples, batching) | {"seed": run.seed}
    check_same(run.config, now, run.name or "in memory")
    return Source(trainer, examples, batching)


def rebuild(run: Any, source: Source, step: int) -> Moment:
    """Make a moment of a run again; see :meth:`Run.at`."""
    if not 0 <= step <= run.steps:
        raise OptionError(
            f"there is no step {step} in this run.\n  expected: from 0 to {run.steps}"
        )
    tree = _nearest(run, step)
    model, loss, optimizer, scheduler = copy.deepcopy(
        (source.trainer.model, source.trainer.loss, source.trainer.optimizer,
         source.trainer.scheduler)
    )  # fmt: skip
    engine = run.config.get("engine", "auto")
    twin = source.trainer._twin(model, loss, optimizer, scheduler, engine, run.seed)
    twin._step.expect_weights(isinstance(source.examples, WeightedExamples))
    with _own_randomness():
        replay = _Replay(run, source, twin, tree)
        replay.go_to(step)
        indices, batch = replay.next_batch()
        output, losses = _losses(twin, batch, isinstance(source.examples, WeightedExamples))
    return Moment(step, replay.epoch, model, optimizer, indices, batch, output, losses)


def _nearest(run: Any, step: int) -> Tree:
    """The newest state of the run that is not after `step`."""
    known = [place for place in run._trees if place <= step]
    if known:
        found: Tree = run._trees[max(known)]
        return found
    faults = []
    for record in reversed(run.checkpoints):
        if record.step <= step:
            try:
                return read_checkpoint(record)
            except StorageError as error:
                faults.append(f"\n  {error}")
    raise StoreError(
        f"no checkpoint at or before step {step} is whole, so it cannot be made again."
        f"{''.join(faults)}"
    )


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Put the default generator back as it was."""
    before = default_generator().get_state()
    try:
        yield
    finally:
        default_generator().set_state(before)


class _Replay:
    """A training that is done again, step by step, on copies."""

    def __init__(self, run: Any, source: Source, twin: Any, tree: Tree) -> None:
        self._run, self._twin = run, twin
        self._course = Course(source.examples, source.batching, None)
        restore_state(tree, twin.model, twin.optimizer)
        twin.model.train()
        if twin.scheduler is not None and tree["scheduler"] is not None:
            twin.scheduler.load_state_dict(tree["scheduler"])
        loop = tree["loop"]
        self.epoch: int = loop["epoch"]
        self._steps: int = loop["steps"]
        self._counter: int = loop["counter"]
        self._key = stream_key(run.seed, "shuffle")
        self._ledger = Ledger(twin._step.layout, source.batching)
        self._ledger.resume({}, loop["step_in_epoch"], loop["carry"], loop.get("rows", ()))
        self._noted = False
        if self._ledger.step == source.batching.steps:
            # It was taken while the validation data was measured.
            self._ledger.finish()
            self._end_epoch()

    def go_to(self, step: int) -> None:
        """Do the steps up to `step`."""
        if step == self._steps:
            return
        runner = self._twin._silent_runner(self._course, self._run)
        try:
            while self._steps < step:
                self._do(runner, step)
            runner.sync()
        finally:
            runner.close()

    def _do(self, runner: Any, step: int) -> None:
        """Run to the end of the epoch, or to `step`."""
        course, first = self._course, self._ledger.step
        last = min(course.training, first + step - self._steps)
        order = course.orders(self._key, self._counter, 1)[0]
        outcome = runner.run(course.part(order, first, last))
        self._steps += len(outcome.trained)
        if self._ledger.add(outcome.trained, outcome.trained_rows):
            self._end_epoch()

    def _end_epoch(self) -> None:
        history, scheduler = self._run.history, self._twin.scheduler
        self._counter += self._course.batching.blocks
        self._compare(history)
        if isinstance(scheduler, ReduceLROnPlateau):
            watched = history.get("validation_loss", history["loss"])
            scheduler.step(float(watched[self.epoch]))
        elif scheduler is not None:
            scheduler.step()
        self.epoch += 1

    def _compare(self, history: dict[str, Array]) -> None:
        """Say once when the recorded loss was another: the past is not what is shown."""
        recorded = history.get("loss", np.zeros(0))
        if self._noted or self.epoch >= len(recorded):
            return
        again = self._ledger.newest()["loss"]
        if again != recorded[self.epoch] and not np.isnan(recorded[self.epoch]):
            self._noted = True
            warnings.warn(
                f"made again, epoch {self.epoch + 1} has the loss {again:.9g}; recorded is "
                f"{recorded[self.epoch]:.9g}. A callback may have changed the training, or the "
                "data set, the model's code or the machine is another",
                MomentWarning,
                stacklevel=6,
            )

    def next_batch(self) -> tuple[Array, tuple[Array, ...]]:
        """Positions in the training data, and the arrays, of the step that comes next."""
        batching = self._course.batching
        first = self._ledger.step * batching.size
        order = batching.orders(self._key, self._counter, 1, None)[0]
        indices = order[first : first + batching.size].astype(np.int64)
        examples = self._course.examples
        rows = examples.rows
        return indices, examples.gather(indices if rows is None else rows[indices])


def _losses(twin: Any, batch: tuple[Array, ...], weighted: bool) -> tuple[Any, Any]:
    """The output and the loss of each example, on another copy: buffers and masks move on."""
    if twin.loss is None:
        return None, None
    model, loss = copy.deepcopy((twin.model, twin.loss))
    *inputs, target = (Tensor(array) for array in batch)
    with no_grad(), np.errstate(all="ignore"):
        output = model(*(inputs[:-1] if weighted else inputs))
        return output.numpy().copy(), example_losses(loss, output, target)


def example_losses(loss: Any, output: Tensor, target: Tensor) -> Array:
    """The loss of each example of a batch: float64 (batch,).

    A loss that has no `reduction` is asked example by example.

    Example:
        >>> import chainrule as cr
        >>> output, target = cr.tensor([[1.0], [3.0]]), cr.tensor([[0.0], [0.0]])
        >>> example_losses(cr.nn.MSELoss(), output, target).tolist()
        [1.0, 9.0]
        >>> example_losses(lambda o, t: (o - t).abs().mean(), output, target).tolist()
        [1.0, 3.0]
    """
    count = output.shape[0]
    each = each_of(loss)
    if each is not None:
        losses = each(output, target)
        if losses.ndim and losses.shape[0] == count:
            array: Array = losses.numpy().astype(np.float64).reshape(count, -1)
            added = getattr(loss, "reduction", "mean") == "sum"
            total: Array = array.sum(1) if added else array.mean(1)
            return total
    rows = [loss(output[k : k + 1], target[k : k + 1]).item() for k in range(count)]
    return np.array(rows, np.float64)
