"""`explain.curves`: what a run's record says, epoch by epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OptionError
from ._charts import Series, beside, line_chart, table_text
from ._drawing import Drawing
from ._numbers import show
from ._view import View

PREFIX = "validation_"
NO_HISTORY = (
    "explain.curves needs a run with at least one finished epoch.\n"
    "  given: {run}\n"
    "  fix: run = trainer.fit(data, epochs=10); cr.explain.curves(run)"
)
MOST_ROWS = 12


def curves(run: Any) -> View:
    """Show a run's loss and metrics by epoch, training and validation in one picture each.

    Args:
        run: A `Run`, or anything with a `history` of one number an epoch by name.

    Returns:
        A view; `.data["history"]` has the numbers, `.data["best"]` the best epoch of each.

    Raises:
        OptionError: The run has no finished epoch.

    Example:
        >>> import numpy as np
        >>> from chainrule.train import Run
        >>> run = Run(history={"loss": np.array([2.0, 1.0]), "accuracy": np.array([0.5, 0.8])})
        >>> print(curves(run).text())
        epoch  loss  accuracy
            1     2       0.5
            2     1       0.8
    """
    history = {key: np.asarray(series, float) for key, series in run.history.items()}
    if not any(len(series) for series in history.values()):
        raise OptionError(NO_HISTORY.format(run=run))
    names = [key for key in history if not key.startswith(PREFIX)]
    title = f"Curves of {len(next(iter(history.values())))} epochs"
    return View(
        title,
        {"history": history, "best": {key: _best(key, series) for key, series in history.items()}},
        lambda: _lines(history),
        lambda: beside([chart(name, history) for name in names], title),
        lambda: _figure(names, history, title),
    )


def _lower_is_better(name: str) -> bool:
    return "loss" in name or "error" in name


def _best(name: str, series: np.ndarray[Any, Any]) -> dict[str, float]:
    if not np.isfinite(series).any():
        return {"epoch": float("nan"), "value": float("nan")}
    index = int(np.nanargmin(series) if _lower_is_better(name) else np.nanargmax(series))
    return {"epoch": index + 1, "value": float(series[index])}


def chart(name: str, history: dict[str, np.ndarray[Any, Any]], width: float = 500) -> Drawing:
    """Draw one number by epoch: training, and validation where there is some."""
    epochs = np.arange(1, len(history[name]) + 1)
    series = [Series("training", epochs, history[name])]
    validation = history.get(PREFIX + name)
    if validation is not None:
        series.append(Series("validation", np.arange(1, len(validation) + 1), validation))
    label = "cost J" if name == "loss" else name
    best = "min" if _lower_is_better(name) else "max"
    last = ", ".join(f"{one.name} ends at {show(one.y[-1], 4)}" for one in series if len(one.y))
    return line_chart(
        series, title=f"{label} by epoch", x_label="epoch", y_label=label, width=width,
        zero=_lower_is_better(name), description=f"{label} by epoch: {last}.", mark_best=best,
    )  # fmt: skip


def _lines(history: dict[str, np.ndarray[Any, Any]]) -> list[str]:
    count = max(len(series) for series in history.values())
    rows = np.unique(np.linspace(0, count - 1, min(count, MOST_ROWS)).round().astype(int))
    table = [["epoch", *history]]
    for row in rows:
        cells = [show(s[row], 4) if row < len(s) else "" for s in history.values()]
        table.append([str(row + 1), *cells])
    return table_text(table, dict.fromkeys(range(len(table[0])), True))


def _figure(names: list[str], history: dict[str, np.ndarray[Any, Any]], title: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0 * len(names), 3.4), layout="constrained")
    figure.suptitle(title)
    for axes, name in zip(np.ravel(figure.subplots(1, len(names))), names, strict=True):
        for key, label in ((name, "training"), (PREFIX + name, "validation")):
            if key in history:
                axes.plot(np.arange(1, len(history[key]) + 1), history[key], label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel("cost J" if name == "loss" else name)
        axes.legend()
    return figure
