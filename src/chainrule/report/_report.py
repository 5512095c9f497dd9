"""`report`: everything about one training in one file that opens without network."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import nn, optim
from ..errors import OptionError
from ..explain._drawing import Array
from ..explain._forward import arrays_of
from ..io import write_bytes
from ._page import page
from ._sections import Facts, gather

NO_DATA = (
    "a report needs examples to show.\n"
    "  given: neither train nor validation\n"
    "  fix: cr.report(run, model, train=(x, y), validation=(x, y))"
)
NO_LOSS = (
    "the report does not know the loss to differentiate.\n"
    "  given: a run whose record names {name!r}\n"
    "  fix: cr.report(run, model, ..., loss=your_loss)"
)


@dataclass(frozen=True)
class Report:
    """One page that shows a training; it loads nothing and runs anywhere.

    Attributes:
        title: The page's title.
        data: The numbers on it, as plain data.
    """

    title: str
    data: dict[str, Any] = field(repr=False)
    _html: str = field(repr=False)

    def html(self) -> str:
        """Return the page."""
        return self._html

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, whole or not at all, and return its path.

        Raises:
            StorageError: the disk is full, the folder is missing or not writable.
        """
        target = Path(path)
        write_bytes(target, self._html.encode())
        return target


def report(
    run: Any,
    model: Any,
    train: Any = None,
    validation: Any = None,
    path: str | Path | None = None,
    *,
    loss: Any = None,
    optimizer: Any = None,
    example: int | None = None,
    title: str | None = None,
) -> Report:
    """Make a page of a training: one example forward and backward, and what came of the whole.

    The page shows the graph of one example stepped forward and backward with value and partial
    derivative at every node, the three factors of any weight, the way of the error back through
    the layers, curves, confusion matrix, worst mistakes, findings and the layer table. All numbers
    are computed here, on copies of the model.

    Args:
        run: The `Run` of the training.
        model: The trained module; it is left as it is.
        train: Examples it was trained on, in any form that `Trainer.fit` takes.
        validation: Examples kept aside; the example and the mistakes are taken from here.
        path: Where to write the page; it can also be saved later.
        loss: `loss(output, target)`; made anew from the run's record where left out.
        optimizer: The optimizer for the shares of a step; made anew from the run's record, with
            its state, where left out.
        example: Which example to step through; left out, one that the model finds hard.
        title: The page's title.

    Returns:
        The report; `.save(path)` writes it, `.data` has its numbers.

    Raises:
        OptionError: There are no examples, or the run's record does not tell the loss.
    """
    shown = validation if validation is not None else train
    if shown is None:
        raise OptionError(NO_DATA)
    criterion = loss if loss is not None else _loss_of(run)
    stepper = optimizer if optimizer is not None else _optimizer_of(run, model)
    facts = gather(Facts(
        run, model, criterion, stepper, train, shown, _arrays(shown, model), example,
        title or _title(shown, model),
    ))  # fmt: skip
    made = Report(facts["title"], facts, page(facts))
    if path is not None:
        made.save(path)
    return made


def _arrays(data: Any, model: Any) -> tuple[Array, Array]:
    return arrays_of(data, model)


def _title(data: Any, model: Any) -> str:
    name = getattr(data, "name", None) or "Training"
    widths = [str(m.weight.shape[1]) for m in model.modules() if isinstance(m, nn.Linear)]
    last = [str(m.weight.shape[0]) for m in model.modules() if isinstance(m, nn.Linear)][-1:]
    shape = "-".join(widths + last)
    kind = type(model).__name__
    return f"{str(name).capitalize()}: a {shape} network" if shape else f"{name}: {kind}"


def _loss_of(run: Any) -> Any:
    """Make the loss that the run's record names, when it is one of ours."""
    written = str(run.config.get("loss", "")) if run is not None and run.config else ""
    name = re.match(r"\w*", written)
    kind = getattr(nn, name[0], None) if name and name[0].endswith("Loss") else None
    if kind is None:
        raise OptionError(NO_LOSS.format(name=written or "no loss"))
    return kind()


def _optimizer_of(run: Any, model: Any) -> Any:
    """Make the optimizer that the run's record names, in the state it ended in; None if unknown."""
    written = str(run.config.get("optimizer", "")) if run is not None and run.config else ""
    name = re.match(r"\w*", written)
    kind: Any = getattr(optim, name[0], None) if name and name[0] else None
    if not (isinstance(kind, type) and issubclass(kind, optim.Optimizer)):
        return None
    make: Any = kind
    made = make(model.parameters())
    try:
        made.load_state_dict(run.state()["optimizer"])
    except (KeyError, ValueError, OSError):
        rate = re.search(r"\blr: ([-+.\de]+)", written)
        for group in made.param_groups:
            group["lr"] = float(rate[1]) if rate else group["lr"]
    return made
