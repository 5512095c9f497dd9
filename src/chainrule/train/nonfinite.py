"""``check="nan"``: at the first NaN or infinity stop, and say which node made it and from what.

Compiled steps are not checked from inside. All losses are looked at, and weights now and then, and
before they are written anywhere. Then the steps since the last copy of the state are run again to
find the first bad one; that one is run eagerly, with every value at hand, and followed back from
what is not finite to what still was.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import autodiff
from ..config import set_state
from ..errors import NonFiniteError
from ..io.arrays import Array
from ..tensor import Tensor
from ..tensor._nonfinite import HINT, describe, find_origin
from .course import LOOKS, Course, Outcome, Plan
from .progress import Progress
from .run import Run

SNAPSHOT_SECONDS = 1.0  # between two copies of the state
SHARE = 0.005  # of the time that looking at the state, and copying it, may take each
_OTHER = (
    "a loss or a weight is not finite after {steps} steps or before, and the steps give finite"
    " numbers when they are run again: the data set gives other examples each time.\n"
    "  fix: give arrays, or a data set whose examples stay the same\n"
    "  The model holds the weights of the second run."
)


class CheckedRunner:
    """An engine's runner that stops at the first step whose numbers are not finite.

    Args:
        runner: runs the steps; has ``snapshot``, ``restore`` and ``arrays``.
        step: the training step, to run eagerly.
        model: to name its parameters.
        optimizer: to tell its learning rate.
        course: the steps of an epoch and their data.
        done: steps done before.
    """

    def __init__(
        self, runner: Any, step: Any, model: Any, optimizer: Any, course: Course, done: int
    ) -> None:
        self._runner, self._step = runner, step
        self._model, self._optimizer = model, optimizer
        self._course = course
        self._done = done
        self._before: Any = None  # the state at some moment, and the plans that were run since:
        self._since: list[tuple[Plan, int]] = []  # and how many steps were done before
        self._copy_after = self._look_after = 0.0  # when that is due again
        self._looked = True  # since the last steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def run(self, plan: Plan) -> Outcome:
        """Run steps; see :class:`session.Runner`.

        Raises:
            NonFiniteError: names the node, its layer and its line. The model holds the weights from
                before that step.
        """
        course, runner = self._course, self._runner
        if plan.numbers is None and runner.foresees:
            plan = replace(plan, numbers=np.array([runner.numbers()]), turns=plan.turns * 0)
        begun = time.monotonic()
        if self._before is None or not runner.foresees or begun > self._copy_after:
            self.settle()
            begun = time.monotonic()
            self._before, self._since = runner.snapshot(), []
            ended = time.monotonic()
            self._copy_after = ended + max(SNAPSHOT_SECONDS, (ended - begun) / SHARE)
        outcome: Outcome = runner.run(plan)
        steps = plan
        if course.every is not None:
            steps = plan.only(course.kinds[plan.variants] != LOOKS)
        steps = steps.head(len(outcome.trained) + len(outcome.checked))
        self._since.append((steps, self._done))
        if not np.isfinite(outcome.trained[:, 0]).all():
            raise self._find()
        self._done += len(outcome.trained)
        self._looked = False
        if not runner.foresees or time.monotonic() > self._look_after:
            self.settle()
        return outcome

    def settle(self) -> None:
        """Look at the weights that the steps have reached.

        Raises:
            NonFiniteError: a step made them not finite.
        """
        if self._looked:
            return
        begun = time.monotonic()
        if not self._runner.is_finite():
            raise self._find()
        self._looked = True
        ended = time.monotonic()
        self._look_after = ended + (ended - begun) / SHARE

    def refresh(self) -> None:
        """Take over tensors that the user has changed."""
        self.settle()
        self._before = None
        self._runner.refresh()

    def _is_finite(self, outcome: Outcome) -> bool:
        if not np.isfinite(outcome.trained[:, 0]).all():
            return False
        finite: bool = self._runner.is_finite()
        return finite

    def _find(self) -> NonFiniteError:
        """The error for the first bad step since the copy; leaves the state before that step."""
        self._looked = True
        self._runner.restore(self._before)
        before = self._before
        for plan, done in self._since:
            if not self._is_finite(self._runner.run(plan)):
                return self._find_in(plan, before, done)
            before = self._runner.snapshot()
        self._runner.sync()
        return NonFiniteError(_OTHER.format(steps=self._done))

    def _find_in(self, plan: Plan, before: Any, done: int) -> NonFiniteError:
        """The error for the first bad step of a plan."""
        course = self._course
        ends = np.concatenate([[0], np.cumsum(course.sizes[plan.variants])])

        def replay(count: int) -> bool:
            """Run so many steps from the beginning; whether all is finite after them."""
            self._runner.restore(before)
            return not count or self._is_finite(self._runner.run(plan.head(count)))

        good, bad = 0, len(plan.variants)
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if replay(middle) else (good, middle)
        replay(good)
        self._runner.sync()
        if plan.go_to is not None:
            plan.go_to(int(plan.turns[good]))
        rows = plan.order[ends[good] : ends[bad]]
        batch = course.examples.gather(rows)
        number = done + int((plan.variants[:good] < course.first_check).sum())
        place = f"step {number} (epoch {number // course.training})"
        return NonFiniteError(self._examine(batch, rows, place))

    def _examine(self, arrays: Sequence[Array], rows: Array, place: str) -> str:
        """Run one step eagerly and say what made its first number that is not finite."""
        tensors = [Tensor(array) for array in arrays]
        names = {parameter.node: name for name, parameter in self._model.named_parameters()}
        for position, tensor in enumerate(tensors):
            names[tensor.node] = "the target" if position == len(tensors) - 1 else "the inputs"
        with set_state(recording=True), np.errstate(all="ignore"):
            loss = self._step.loss_of(*tensors).node
            origin = find_origin(loss)
            what = f"the loss is {loss.value()}"
            if origin is None and loss.requires_grad:
                sweep = autodiff.sweep(loss)
                for node, name in list(names.items()):
                    gradient = sweep[node] if node.requires_grad else None
                    origin = None if gradient is None else find_origin(gradient)
                    if origin is not None:
                        what = f"the loss is finite, and the gradient of {name} is not"
                        break
        end = "  The model holds the weights from before that step."
        if origin is None:
            return f"{place} is the first after which a weight is not finite.\n" + self._update(end)

        def where(name: str, bad: Array) -> str | None:
            if name not in ("the inputs", "the target"):
                return None
            return (
                f"  where: example {int(rows[bad[0]])} of the training data\n"
                "  fix: fill or leave out missing values before the training"
            )

        return f"{what} at {place}.\n{describe(origin, names, where=where)}\n{end}"

    def _update(self, end: str) -> str:
        rates = ", ".join(f"{group['lr']:g}" for group in self._optimizer.param_groups)
        return (
            f"  the loss and its gradients are finite, so the update made it: "
            f"{type(self._optimizer).__name__} with learning rate {rates}\n  fix: {HINT}\n{end}"
        )


def note_what_is_not_finite(run: Run, progress: Progress) -> None:
    """Say in the run and on the screen in which epoch the loss stopped being a number."""
    losses = run.history.get("loss", np.zeros(0))
    if not np.isfinite(losses).all():
        epoch = int(np.flatnonzero(~np.isfinite(losses))[0])
        note = (
            f"the loss is {losses[epoch]} in epoch {epoch + 1}. "
            "Trainer(..., check='nan') stops there and names the node that made it"
        )
        run.notes.append(note)
        progress.note(note)
