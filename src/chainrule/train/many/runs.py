"""`Runs`: what many trainings gave."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import OptionError, StoreError
from ...io.arrays import Array, read_arrays, write_arrays

FORMAT = "chainrule runs 1"
LISTED = 12  # trainings that a text lists


@dataclass(frozen=True)
class Spread:
    """A number over seeds, for each of the other settings.

    Attributes:
        name: which number.
        settings: the other settings, one entry for each row.
        count: how many trainings each row has, without those that diverged.
        diverged: how many diverged.
        median, low, high: of those that did not; NaN where all did.
        level: the part of them that lies between low and high.
    """

    name: str
    settings: dict[str, Array]
    count: Array
    diverged: Array
    median: Array
    low: Array
    high: Array
    level: float

    def text(self) -> str:
        """A line for each of the settings."""
        lines = []
        for row in range(len(self.median)):
            named = ", ".join(f"{k}={_short(v[row])}" for k, v in self.settings.items())
            lost = f", {self.diverged[row]} diverged" if self.diverged[row] else ""
            lines.append(
                f"{named + ': ' if named else ''}{self.name} {self.median[row]:.4g} "
                f"({self.low[row]:.4g} to {self.high[row]:.4g}), {self.count[row]} trainings{lost}"
            )
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


@dataclass(repr=False)
class Runs:
    """Many trainings: how each was set, its history, its weights.

    Attributes:
        settings: for each name in which trainings differ (options of the optimizer, "seed"), an
            array with the value of each training; "start" is the place in a list of initial
            weights.
        fixed: what all were given.
        axes: the multiplied lists, in order, where it was a grid.
        shape: their lengths; (trainings,) where it was none.
        history: float64 (trainings, kept epochs) by name: "loss", metrics, "validation_...".
        epochs: int64 (kept epochs,), counted from 1.
        finished: bool (trainings,); False for those that Ctrl-C left out, whose history is NaN.
        weights: the final state of the models by name, (trainings, ...).
        way: how they were trained, and why.
        seconds: all of it; `compile_seconds` of them compiling.
        notes: what there is to say.
        status: "running", "finished" or "interrupted".

    Example:
        >>> runs = Runs({"lr": np.array([0.1, 0.2])}, {}, {}, (2,))
        >>> runs.history = {"loss": np.array([[2.0, 1.0], [2.0, np.nan]])}
        >>> len(runs), runs.best("loss"), runs.diverged.tolist()
        (2, 0, [False, True])
    """

    settings: dict[str, Array]
    fixed: dict[str, Any]
    axes: dict[str, Any]
    shape: tuple[int, ...]
    history: dict[str, Array] = field(default_factory=dict)
    epochs: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    finished: Array = field(default_factory=lambda: np.zeros(0, bool))
    weights: dict[str, Array] = field(default_factory=dict)
    way: str = ""
    seconds: float = 0.0
    compile_seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    status: str = "running"
    model_like: Any = None

    def __len__(self) -> int:
        return len(next(iter(self.settings.values())))

    @property
    def diverged(self) -> Array:
        """bool (trainings,): whose last loss is not finite (and which were not left out)."""
        lost = ~np.isfinite(self.last("loss"))
        return lost & self.finished if len(self.finished) else lost

    def last(self, name: str) -> Array:
        """float64 (trainings,): a number of the history at the last epoch.

        Raises:
            OptionError: it was not measured.
        """
        if name not in self.history:
            known = ", ".join(self.history) or "nothing"
            raise OptionError(f"these runs have no {name!r}.\n  expected: one of {known}")
        series: Array = self.history[name][:, -1]
        return series

    def grid(self, name: str) -> Array:
        """The last numbers in the shape of the multiplied lists."""
        return self.last(name).reshape(self.shape)

    def best(self, name: str = "loss", largest: bool | None = None) -> int:
        """The training with the best last number; those that diverged do not count.

        Args:
            name: a number of the history.
            largest: whether more is better; None: less is, for losses and errors (loss, mae,
                rmse), more for every other.

        Raises:
            OptionError: all diverged, or it was not measured.
        """
        values = self.last(name)
        if not np.isfinite(values).any():
            raise OptionError(
                f"no training has a finite {name!r}: all {len(values)} diverged.\n"
                "  fix: smaller learning rates"
            )
        more = not _less_is_better(name) if largest is None else largest
        kept = np.where(np.isfinite(values), values, -np.inf if more else np.inf)
        return int(kept.argmax() if more else kept.argmin())

    def of(self, number: int) -> dict[str, Any]:
        """The settings of one training.

        Example:
            >>> Runs({"lr": np.array([0.1, 0.2])}, {"momentum": 0.5}, {}, (2,)).of(1)
            {'momentum': 0.5, 'lr': 0.2}
        """
        place = self._place(number)
        return {**self.fixed, **{k: v[place].tolist() for k, v in self.settings.items()}}

    def model(self, number: int) -> Any:
        """A copy of the model with the final weights of one training, in evaluation mode.

        Raises:
            OptionError: there is no such training, or it did not come to its end.
            StoreError: the runs were loaded without a model.
        """
        place = self._place(number)
        if len(self.finished) and not self.finished[place]:
            raise OptionError(f"training {number} was not finished: Ctrl-C ended it before")
        if self.model_like is None:
            raise StoreError(
                "runs that were loaded from a file do not know the model's code.\n"
                "  fix: Runs.load(path, model=...), with the model made as it was"
            )
        model = copy.deepcopy(self.model_like)
        model.load_state_dict(self.state_dict(place))
        return model.eval()

    def state_dict(self, number: int) -> dict[str, Array]:
        """The final weights and buffers of one training, by name."""
        place = self._place(number)
        return {name: values[place].copy() for name, values in self.weights.items()}

    def frame(self) -> dict[str, Array]:
        """A table as columns, one row for each training: settings, last numbers, "diverged".

        ``polars.DataFrame(runs.frame())`` and ``pandas.DataFrame(runs.frame())`` take it.
        """
        flat = {
            name: values if values.ndim == 1 else np.array([str(tuple(v)) for v in values.tolist()])
            for name, values in self.settings.items()
        }
        return {
            **flat,
            **{name: self.last(name).copy() for name in self.history},
            "diverged": self.diverged,
        }

    def spread(self, name: str = "loss", level: float = 0.9) -> Spread:
        """Median and interval of a last number over seeds (and listed starts).

        Args:
            name: a number of the history.
            level: the part of the trainings between the interval's ends.

        Returns:
            A row for each of the other settings; those that diverged are counted apart.

        Raises:
            OptionError: neither seeds nor starts differ, or a level outside 0 to 1.
        """
        if not 0 < level < 1:
            raise OptionError(f"level must lie between 0 and 1.\n  given: {level}")
        if not {"seed", "start"} & self.settings.keys():
            raise OptionError(
                "these runs have one seed, so there is no spread over seeds.\n"
                "  fix: fit_many(..., seed=range(20))"
            )
        others = {k: v for k, v in self.settings.items() if k not in ("seed", "start")}
        rows, place = _distinct(others, len(self))
        values = self.last(name)
        table = np.full((len(rows), 5), np.nan)
        for row in range(len(rows)):
            mine = values[place == row]
            fine = mine[np.isfinite(mine)]
            table[row, :2] = len(fine), len(mine) - len(fine)
            if len(fine):
                edges = [0.5, (1 - level) / 2, (1 + level) / 2]
                table[row, 2:] = np.quantile(fine, edges)
        settings = {k: v[rows] for k, v in others.items()}
        counts = table[:, :2].astype(np.int64)
        median, low, high = table[:, 2:].T
        return Spread(name, settings, counts[:, 0], counts[:, 1], median, low, high, level)

    def save(self, path: str | Path) -> Path:
        """Write everything but the model's code to a safetensors file.

        Raises:
            StorageError: full disk, no permission, no folder.
        """
        arrays = {f"weights/{k}": v for k, v in self.weights.items()}
        arrays |= {f"history/{k}": np.ascontiguousarray(v) for k, v in self.history.items()}
        arrays |= {"epochs": self.epochs, "finished": self.finished}
        words = {}
        for name, values in self.settings.items():
            if values.dtype.kind == "U":
                words[name] = values.tolist()
            else:
                arrays[f"settings/{name}"] = values
        about = {
            "fixed": self.fixed, "axes": self.axes, "shape": self.shape, "way": self.way,
            "seconds": self.seconds, "compile_seconds": self.compile_seconds, "notes": self.notes,
            "status": self.status, "words": words, "order": list(self.settings),
        }  # fmt: skip
        write_arrays(path, arrays, {"format": FORMAT, "about": json.dumps(about)})
        return Path(path)

    @staticmethod
    def load(path: str | Path, model: Any = None) -> Runs:
        """Read what :meth:`save` wrote.

        Args:
            path: the file.
            model: a model made as the trainings' was, for :meth:`model`.

        Raises:
            StorageError: the file is cut short or no safetensors.
            StoreError: it holds something else.
        """
        arrays, metadata = read_arrays(path)
        if metadata.get("format") != FORMAT:
            raise StoreError(f"{str(path)!r} holds no runs.\n  expected: what Runs.save wrote")
        about = json.loads(metadata["about"])

        def part(prefix: str) -> dict[str, Array]:
            start = prefix + "/"
            return {k[len(start) :]: v for k, v in arrays.items() if k.startswith(start)}

        columns = part("settings") | {k: np.array(v) for k, v in about["words"].items()}
        return Runs(
            {name: columns[name] for name in about["order"]}, about["fixed"], about["axes"],
            tuple(about["shape"]), part("history"), arrays["epochs"], arrays["finished"],
            part("weights"), about["way"], about["seconds"], about["compile_seconds"],
            about["notes"], about["status"], model,
        )  # fmt: skip

    def text(self, name: str = "loss", most: int = LISTED) -> str:
        """The trainings as lines, the best first.

        Args:
            name: by which number they are ordered.
            most: how many are listed.
        """
        values = self.last(name)
        ordered = values if _less_is_better(name) else -values
        order = np.argsort(np.where(np.isfinite(values), ordered, np.inf), kind="stable")
        head = [*self.settings, *self.history]
        frame = self.frame()
        rows = [[_short(frame[key][row]) for key in head] for row in order[:most]]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [str(self)]
        for cells in (head, *rows):
            pairs = zip(cells, widths, strict=True)
            lines.append("  ".join(cell.rjust(width) for cell, width in pairs))
        if len(self) > most:
            lines.append(f"and {len(self) - most:,} more")
        return "\n".join(lines)

    def _place(self, number: int) -> int:
        if not -len(self) <= number < len(self):
            raise OptionError(f"there is no training {number}.\n  expected: 0 to {len(self) - 1}")
        return int(number) % len(self)

    def __str__(self) -> str:
        names = ", ".join(self.settings)
        lost = int(self.diverged.sum()) if self.history else 0
        epochs = f"{self.epochs[-1]:,} epochs" if len(self.epochs) else "no epoch"
        ends = f", {lost:,} diverged" if lost else ""
        return f"{len(self):,} trainings over {names}: {self.status}, {epochs}{ends}"

    def __repr__(self) -> str:
        return f"<{self}>"


def _less_is_better(name: str) -> bool:
    return any(word in name for word in ("loss", "error", "mae", "rmse", "mse"))


def _short(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:.4g}"
    return str(value)


def _distinct(columns: dict[str, Array], count: int) -> tuple[Sequence[int], Array]:
    """The first training of each combination of values, and which combination each has."""
    code = np.zeros(count, np.int64)
    for values in columns.values():
        _, inverse = np.unique(values, axis=0, return_inverse=True)
        code = code * (int(inverse.max()) + 1) + inverse.reshape(-1)
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return first[order].tolist(), rank[place]
