"""Who takes part: each library trains a case, and is asked for one round at a time."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .cases import Arrays, Case, data_of

Weights = dict[str, np.ndarray]
# A peer that is slow at a case runs fewer steps of a round: about so many seconds' worth.
ROUND_SECONDS = 0.4


class Side:
    """One library on one case. A subclass trains in :meth:`_train`.

    Attributes:
        label: how the library and its mode are called.
        first_seconds: what the first round took, compiling included, less what its steps take.
    """

    label = ""

    def __init__(self, case: Case, start: Weights, data: Arrays) -> None:
        self.case, self.start, self.data = case, start, data
        self.first_seconds = math.nan
        self._steps = case.steps

    def warm(self) -> None:
        """The first round: compile, warm up, and see how many steps fit into a round."""
        short = min(self.case.steps, self._few())
        begun = time.perf_counter()
        self._train(short)
        first = time.perf_counter() - begun
        begun = time.perf_counter()
        self._train(short)
        again = time.perf_counter() - begun
        self.first_seconds = max(0.0, first - again)
        if self.adapts:
            each = again / short
            self._steps = max(short, min(self.case.steps, int(ROUND_SECONDS / each)))

    adapts = True

    def _few(self) -> int:
        return min(20, self.case.steps)

    def turn(self) -> float:
        """Train one round; returns seconds a step."""
        begun = time.perf_counter()
        self._train(self._steps)
        return (time.perf_counter() - begun) / self._steps

    def losses(self, steps: int) -> float:
        """The mean loss of the first steps from the starting weights, batches in order."""
        raise NotImplementedError

    def _train(self, steps: int) -> None:
        raise NotImplementedError


def module(case: Case, nn: Any) -> Any:
    """The network, of PyTorch's or chainrule's modules: the same lines."""
    makers: dict[str, Callable[..., Any]] = {
        "linear": nn.Linear,
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "batch norm": nn.BatchNorm1d,
        "dropout": nn.Dropout,
    }
    return nn.Sequential(*(makers[kind](*sizes) for kind, *sizes in case.layers))


def start_of(case: Case) -> Weights:
    """The weights that everybody starts from: PyTorch's initial ones."""
    import torch

    torch.manual_seed(0)
    return {
        name: value.numpy().copy() for name, value in module(case, torch.nn).state_dict().items()
    }


def loss_of(case: Case, nn: Any) -> Any:
    """The loss, of PyTorch's or chainrule's modules."""
    return nn.BCEWithLogitsLoss() if case.outputs == 1 else nn.CrossEntropyLoss()


class _Loop(Side):
    """A plain Python loop over steps on slices: PyTorch, or chainrule's compiled step."""

    def _make(self) -> tuple[Any, Callable[[Any, Any], Any]]:
        """The data as tensors and the step."""
        raise NotImplementedError

    def _train(self, steps: int) -> None:
        if not hasattr(self, "_made"):
            self._made = self._make()
        (x, y), step = self._made
        batch, batches = self.case.batch, len(x) // self.case.batch
        for number in range(steps):
            at = number % batches * batch
            value = step(x[at : at + batch], y[at : at + batch])
        float(value)

    def losses(self, steps: int) -> float:
        """The mean loss of the first steps."""
        (x, y), step = self._make()
        batch, batches = self.case.batch, len(x) // self.case.batch
        found = []
        for number in range(steps):
            at = number % batches * batch
            found.append(float(step(x[at : at + batch], y[at : at + batch])))
        return float(np.mean(found))


class Torch(_Loop):
    """PyTorch's eager loop."""

    label = "PyTorch eager"

    def _make(self) -> Any:
        import torch

        model = module(self.case, torch.nn)
        model.load_state_dict({name: torch.from_numpy(v.copy()) for name, v in self.start.items()})
        loss = loss_of(self.case, torch.nn)
        rule = self.case.rule.make(torch, model.parameters())
        forward = self._forward(lambda x, y: loss(model(x), y))

        def step(x: Any, y: Any) -> Any:
            rule.zero_grad()
            value = forward(x, y)
            value.backward()
            rule.step()
            return value.detach()

        return tuple(map(torch.from_numpy, self.data)), step

    def _forward(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function


class TorchCompiled(Torch):
    """PyTorch with the forward and backward pass through torch.compile."""

    label = "torch.compile"

    def _forward(self, function: Callable[..., Any]) -> Callable[..., Any]:
        import torch

        return torch.compile(function)


class Step(_Loop):
    """chainrule: the same loop, with the one line ``step = cr.compile(step)``."""

    label = "chainrule step"

    def _make(self) -> Any:
        import chainrule as cr

        cr.manual_seed(0)
        model = module(self.case, cr.nn)
        model.load_state_dict({name: cr.tensor(value) for name, value in self.start.items()})
        loss = loss_of(self.case, cr.nn)
        rule = self.case.rule.make(cr, model.parameters())

        def step(x: Any, y: Any) -> Any:
            rule.zero_grad()
            value = loss(model(x), y)
            value.backward()
            rule.step()
            return value

        return tuple(map(cr.from_numpy, self.data)), cr.compile(step, engine="native")


class Fit(Side):
    """chainrule's ``Trainer.fit``, with shuffling and metrics."""

    label = "chainrule fit"
    adapts = False

    def __init__(self, case: Case, start: Weights, data: Arrays, threads: int | None) -> None:
        super().__init__(case, start, data)
        self.trainer = self._trainer()

    def _trainer(self) -> Any:
        import chainrule as cr

        cr.manual_seed(0)
        model = module(self.case, cr.nn)
        model.load_state_dict({name: cr.tensor(value) for name, value in self.start.items()})
        loss = loss_of(self.case, cr.nn)
        rule = self.case.rule.make(cr, model.parameters())
        return cr.Trainer(model, loss, rule, engine="native", progress=False)

    def _few(self) -> int:
        return self.case.steps

    def _train(self, steps: int) -> None:
        epochs = max(1, steps * self.case.batch // len(self.data[0]))
        self.trainer.fit(self.data, epochs=epochs, batch_size=self.case.batch)

    def losses(self, steps: int) -> float:
        """The mean loss of the first steps."""
        x, y = self.data
        rows = min(len(x), steps * self.case.batch)
        run = self._trainer().fit(
            (x[:rows], y[:rows]),
            epochs=max(1, steps * self.case.batch // rows),
            batch_size=self.case.batch,
            shuffle=False,
        )
        return float(np.mean(run.history["loss"]))


class SklearnFit(Side):
    """scikit-learn's MLPClassifier, where it has such a network and rule."""

    label = "scikit-learn"

    @staticmethod
    def can(case: Case) -> bool:
        """Whether the case can be said in its terms: one activation, classes, plain layers."""
        kinds = {layer[0] for layer in case.layers} - {"linear"}
        return len(kinds) == 1 and kinds <= {"relu", "tanh"} and case.outputs > 1

    def _train(self, steps: int) -> None:
        from sklearn.neural_network import MLPClassifier

        case, rule = self.case, self.case.rule
        x, y = self.data
        rows = min(len(x), steps * case.batch)
        hidden = [layer[2] for layer in case.layers if layer[0] == "linear"][:-1]
        kind = next(layer[0] for layer in case.layers if layer[0] != "linear")
        solver = MLPClassifier(
            hidden,
            activation=kind,
            solver="adam" if rule.name == "adam" else "sgd",
            alpha=rule.decay,
            batch_size=case.batch,
            learning_rate_init=rule.lr,
            momentum=rule.momentum,
            nesterovs_momentum=False,
            max_iter=max(1, round(steps * case.batch / rows)),
            tol=0.0,
            n_iter_no_change=1_000_000,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            solver.fit(x[:rows], y[:rows])

    def losses(self, steps: int) -> float:
        """The mean loss of the first steps."""
        return math.nan  # it draws its own weights


def sides(case: Case, threads: int | None, names: Iterable[str]) -> list[Side]:
    """Those who take part in a case, by label."""
    from .jax_side import JaxLoop, JaxStep

    start, data = start_of(case), data_of(case)
    made: list[Side] = []
    for kind in (Torch, TorchCompiled, JaxStep, JaxLoop, Step):
        if kind.label in names:
            made.append(kind(case, start, data))
    if SklearnFit.label in names and SklearnFit.can(case):
        made.append(SklearnFit(case, start, data))
    if Fit.label in names:
        made.append(Fit(case, start, data, threads))
    return made
