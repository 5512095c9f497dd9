"""What is told about a training at each epoch, and may end it: stopping early, keeping the best."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import OptionError
from ..io import save
from ..io.arrays import Array
from .state import plain

MODES = ("auto", "min", "max")
_SMALLER_IS_BETTER = ("loss", "mae", "rmse")


@dataclass(frozen=True)
class View:
    """A training at the end of an epoch, to look at.

    Attributes:
        run: the record so far; its history ends with this epoch.
        epoch: epochs finished.
        step: steps done.
        numbers: the newest numbers by name: "loss", the metrics, "validation_loss" and so on.
        model: holds the weights that the steps have reached.
        optimizer: with its groups, whose learning rate may be set.
    """

    run: Any
    epoch: int
    step: int
    numbers: Mapping[str, float]
    model: Any
    optimizer: Any


class Callback:
    """Base of objects that are told about a training; override what is of interest.

    A callback that has ``state_dict`` and ``load_state_dict`` is kept in checkpoints.

    Example:
        >>> class Halve(Callback):
        ...     def on_epoch_end(self, view):
        ...         for group in view.optimizer.param_groups:
        ...             group["lr"] /= 2
        >>> import numpy as np
        >>> import chainrule as cr
        >>> model = cr.nn.Linear(1, 1)
        >>> optimizer = cr.optim.SGD(model.parameters(), lr=0.8)
        >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), optimizer)
        >>> _ = trainer.fit((np.ones((4, 1)), np.ones((4, 1))), epochs=3, callbacks=[Halve()])
        >>> optimizer.param_groups[0]["lr"]
        0.1
    """

    def on_fit_begin(self, view: View) -> None:
        """Called before the first step, and before the state of a resumed run is put back."""

    def on_epoch_end(self, view: View) -> object:
        """Called after each epoch and its validation; True ends the training."""
        return None

    def on_fit_end(self, view: View) -> None:
        """Called when the training has finished and is recorded; not when it was interrupted."""


class _Monitor(Callback):
    """Follows one number and knows its best."""

    def __init__(self, monitor: str | None, min_delta: float, mode: str) -> None:
        if mode not in MODES:
            raise OptionError(f"there is no mode {mode!r}.\n  expected: one of {', '.join(MODES)}")
        if not min_delta >= 0:
            raise OptionError(f"min_delta must be 0 or more.\n  given: {min_delta}")
        self.monitor, self.min_delta, self.mode = monitor, min_delta, mode
        self._reset()

    def _reset(self) -> None:
        self.best = math.nan
        self.best_epoch = 0

    def on_fit_begin(self, view: View) -> None:
        """Forget earlier trainings."""
        self._reset()

    def _improved(self, view: View) -> bool:
        """Whether the number is the best so far; then it is kept as such."""
        name = self.monitor
        if name is None:
            name = "validation_loss" if "validation_loss" in view.numbers else "loss"
        if name not in view.numbers:
            raise OptionError(
                f"{type(self).__name__} cannot follow {name!r}: it is not measured.\n"
                f"  expected: one of {', '.join(view.numbers)}\n"
                "  fix: name one of these, or give fit validation data or the Trainer the metric"
            )
        number = view.numbers[name]
        smaller = self.mode == "min"
        if self.mode == "auto":
            smaller = name.removeprefix("validation_").endswith(_SMALLER_IS_BETTER)
        ahead = self.best - number if smaller else number - self.best
        # The first number is better than none; NaN is never better.
        if math.isnan(number) or not (math.isnan(self.best) or ahead > self.min_delta):
            return False
        self.best, self.best_epoch = number, view.epoch
        return True


class EarlyStopping(_Monitor):
    """Ends a training that no longer gets better, and gives the model its best weights back.

    Args:
        monitor: what to follow, such as "validation_accuracy"; None is the validation loss, or the
            loss where there is no validation data.
        patience: how many epochs without a better number are waited for.
        min_delta: a number must be better by more than this.
        restore_best: when the training has finished, whether stopped early or not, the model gets
            the weights of its best epoch. Checkpoints keep both: those that the training would go
            on from, and the best (``run.state_dict("best")``).
        mode: "min" or "max", whether small or large is better; "auto" takes "min" for losses and
            errors, "max" for all else.

    Attributes:
        best, best_epoch: the best number and its epoch, from 1.
        best_weights: the model's state dict of that epoch.
        stopped_epoch: the epoch after which it ended the training; None if it did not.

    Raises:
        OptionError: a mode, patience or number that does not exist.

    Example:
        >>> import numpy as np
        >>> import chainrule as cr
        >>> _ = cr.manual_seed(0)
        >>> model = cr.nn.Linear(1, 1)
        >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), cr.optim.SGD(model.parameters(), lr=0.5))
        >>> x = np.linspace(0, 1, 20)[:, None]
        >>> stop = cr.train.EarlyStopping(patience=3, min_delta=1e-4)
        >>> run = trainer.fit((x, 2 * x), epochs=1000, callbacks=[stop])
        >>> run.epochs == stop.stopped_epoch == stop.best_epoch + 3
        True
    """

    def __init__(
        self,
        monitor: str | None = None,
        *,
        patience: int = 10,
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: str = "auto",
    ) -> None:
        if patience < 0:
            raise OptionError(f"patience must be 0 or more.\n  given: {patience}")
        self.patience, self.restore_best = patience, restore_best
        super().__init__(monitor, min_delta, mode)

    def _reset(self) -> None:
        super()._reset()
        self.waited = 0
        self.stopped_epoch: int | None = None
        self.best_weights: dict[str, Array] = {}

    def on_epoch_end(self, view: View) -> object:
        """Compare the number with the best one."""
        if self._improved(view):
            self.waited = 0
            self.best_weights = plain(dict(view.model.state_dict()))
            return False
        self.waited += 1
        if self.waited < max(self.patience, 1):
            return False
        self.stopped_epoch = view.epoch
        return True

    def on_fit_end(self, view: View) -> None:
        """Give the best weights back."""
        if self.restore_best and self.best_weights:
            view.model.load_state_dict(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training goes on with."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_weights": dict(self.best_weights),
            "waited": self.waited,
            "stopped_epoch": self.stopped_epoch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.best_weights, self.waited = dict(state["best_weights"]), state["waited"]
        self.stopped_epoch = state["stopped_epoch"]


class ModelCheckpoint(_Monitor):
    """Writes the model's weights into a file whenever a number is the best so far.

    The run store keeps what a training needs to go on; this keeps weights to use elsewhere, in one
    safetensors file that is always whole.

    Args:
        path: the file; ``{epoch}`` in it is replaced by the epoch's number.
        monitor, min_delta, mode: as for :class:`EarlyStopping`.

    Raises:
        StorageError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> import chainrule as cr
        >>> model = cr.nn.Linear(1, 1)
        >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), cr.optim.SGD(model.parameters(), lr=0.1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     keep = cr.train.ModelCheckpoint(f"{folder}/best.safetensors")
        ...     _ = trainer.fit((np.ones((4, 1)), np.ones((4, 1))), callbacks=[keep])
        ...     sorted(cr.load(keep.newest))
        ['bias', 'weight']
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str | None = None,
        *,
        min_delta: float = 0.0,
        mode: str = "auto",
    ) -> None:
        self.path = Path(path)
        self.newest: Path | None = None
        super().__init__(monitor, min_delta, mode)

    def on_epoch_end(self, view: View) -> object:
        """Write if this is the best."""
        if self._improved(view):
            self.newest = Path(str(self.path).replace("{epoch}", str(view.epoch)))
            save(dict(view.model.state_dict()), self.newest)
        return None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training goes on with."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]


def view_of(run: Any, numbers: Mapping[str, float], model: Any, optimizer: Any) -> View:
    """What a callback is shown."""
    shown = MappingProxyType(dict(numbers))
    return View(run, run.epochs, run.steps, shown, model, optimizer)


def tell(callback: Any, view: View) -> object:
    """Tell a callback of the end of an epoch; a plain function gets the run."""
    told = getattr(callback, "on_epoch_end", None)
    return callback(view.run) if told is None else told(view)
