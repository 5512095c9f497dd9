"""`chainrule runs` and its commands, `resume`, `report`: what is kept in the run store."""

from __future__ import annotations

import difflib
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..train import Run, open_run, store_folder
from ..train import list_runs as stored_runs
from ..train.trash import delete_run, restore_run, trash_folder, trashed_runs
from .recipe import KEPT, Recipe, kept_path
from .say import next_commands, say
from .train import prepare, train_table, write_report

_HEAD = ("run", "status", "epochs", "steps", "seconds", "loss", "validation", "findings")


def find_run(name: str) -> Run:
    """Open a stored run.

    Raises:
        StoreError: there is none of that name; the text names the nearest.
    """
    names = [run.name or "" for run in stored_runs()]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?\n  " if near else ""
        raise StoreError(
            f"there is no run {name!r} in {store_folder()}.\n"
            f"  {hint}there are: {', '.join(map(repr, names)) or 'none'}"
        )
    return open_run(name)


def list_runs() -> dict[str, Any]:
    """Print one line for each stored run; returns them as plain data."""
    found = stored_runs()
    deleted = [record.name for record in trashed_runs()]
    plain = {
        "folder": str(store_folder()),
        "runs": [run_data(run) for run in found],
        "deleted": deleted,
    }
    if not found:
        say(f"no runs in {store_folder()}.")
        next_commands([("chainrule train FILE.csv --target COLUMN --run NAME", "keep a run")])
        return plain
    say_table([_HEAD, *(_row(run) for run in found)])
    if deleted:
        say(f"deleted: {', '.join(deleted)}; `chainrule runs restore NAME` brings one back")
    return plain


def say_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells in columns."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        say("  ".join(cells).rstrip())


def run_data(run: Run) -> dict[str, Any]:
    """Give a run as plain data: how far it came, its settings and the last of its numbers."""
    return {
        "name": run.name,
        "status": run.status,
        "epochs": run.epochs,
        "steps": run.steps,
        "seconds": run.seconds,
        "seed": run.seed,
        "config": settings_of(run),
        "last": {name: float(series[-1]) for name, series in run.history.items() if len(series)},
        "findings": [asdict(found) for found in run.findings()],
    }


def settings_of(run: Run) -> dict[str, Any]:
    """Give a run's settings by dotted names, with those of the command line where it made it."""
    settings = {"seed": run.seed, **_dotted(run.config)}
    if kept_path("recipes", run.name or "").is_file():
        recipe = asdict(Recipe.load(run.name or "", "compared"))
        settings |= {name: recipe[name] for name in ("file", "target", "task", "drop", "hidden")}
    return settings


def _dotted(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= _dotted(value, f"{prefix}{name}.")
        elif isinstance(value, str) and "\n" in value:
            found |= _lines(f"{prefix}{name}", value)
        else:
            found[f"{prefix}{name}"] = value
    return found


def _lines(name: str, text: str) -> dict[str, str]:
    """Take the text of a module or an optimizer apart, so that only what differs is shown.

    Example:
        >>> _lines("optimizer", "Adam (\\nParameter Group 0\\n    eps: 1e-08\\n    lr: 0.1\\n)")
        {'optimizer': 'Adam', 'optimizer.eps': '1e-08', 'optimizer.lr': '0.1'}
    """
    first, *rest = text.split("\n")
    found = {name: first.rstrip(" (")}
    for line in rest:
        key, colon, value = line.strip().partition(": ")
        if colon:
            place = f"{name}.{key.strip('()')}"
            while place in found:  # of another group, or of a module inside
                place += "'"
            found[place] = value
    return found


def compare_runs(names: Sequence[str]) -> dict[str, Any]:
    """Print what differs in the settings of runs, and their last numbers side by side.

    Returns:
        The same as plain data.

    Raises:
        StoreError: there is no run of one of the names.
    """
    chosen = [run_data(find_run(name)) for name in names]
    settings = list(dict.fromkeys(key for run in chosen for key in run["config"]))
    rows = {key: [run["config"].get(key) for run in chosen] for key in settings}
    differ = {key: row for key, row in rows.items() if any(value != row[0] for value in row)}
    series = list(dict.fromkeys(key for run in chosen for key in run["last"]))
    numbers = {key: [run["last"].get(key) for run in chosen] for key in series}
    course = {key: [run[key] for run in chosen] for key in ("status", "epochs", "steps", "seconds")}
    table = [["", *names]]
    table += [[key, *map(_cell, row)] for key, row in differ.items()]
    table += [["no setting differs", *[""] * len(names)]] if not differ else []
    table += [[""] * (len(names) + 1)]
    table += [[key, *map(_cell, row)] for key, row in (course | numbers).items()]
    say_table(table)
    return {"runs": list(names), "settings": differ, **course, "last": numbers}


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.5g}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def delete(name: str) -> dict[str, Any]:
    """Move a run to the trash, and say how it comes back.

    Raises:
        StoreError: there is no such run, or it is being trained.
    """
    find_run(name)
    trashed = delete_run(name)
    _move_kept(store_folder(), name, trash_folder(), trashed)
    say(f"deleted {name!r}; it is in {trash_folder()}.")
    next_commands([(f"chainrule runs restore {shlex.quote(trashed)}", "bring it back")])
    return {"deleted": name, "restore": trashed, "folder": str(trash_folder())}


def restore(name: str, new_name: str | None) -> dict[str, Any]:
    """Bring a deleted run back.

    Raises:
        StoreError: none of that name was deleted, or the name is taken.
    """
    names = [record.name for record in trashed_runs()]
    if name not in names:
        raise StoreError(
            f"no run {name!r} was deleted here.\n"
            f"  there are: {', '.join(map(repr, names)) or 'none'}"
        )
    wanted = new_name or name
    if any(run.name == wanted for run in stored_runs()):
        raise StoreError(
            f"there is a run {wanted!r} already.\n"
            f"  fix: chainrule runs restore {shlex.quote(name)} --as NEW-NAME"
        )
    restored = restore_run(name, new_name)
    _move_kept(trash_folder(), name, store_folder(), restored)
    say(f"restored {restored!r}.")
    return {"restored": restored}


def _move_kept(source: Path, name: str, target: Path, new_name: str) -> None:
    """Move what the command line keeps beside a run."""
    for folder in KEPT:
        path = kept_path(folder, name, source)
        if path.is_file():
            goal = kept_path(folder, new_name, target)
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, goal)


def _row(run: Run) -> tuple[str, ...]:
    def last(name: str) -> str:
        series = run.history.get(name)
        return f"{series[-1]:.4g}" if series is not None and len(series) else ""

    share = last("validation_accuracy")
    validation = f"{100 * float(share):.2f} %" if share else last("validation_loss")
    found = ", ".join(finding.kind for finding in run.findings())
    return (
        run.name or "",
        run.status,
        str(run.epochs),
        str(run.steps),
        f"{run.seconds:.2f}",
        last("loss"),
        validation,
        found,
    )


def resume_run(name: str, epochs: int | None) -> dict[str, Any]:
    """Go on with a kept run, to the epochs it was meant for or to more."""
    recipe = Recipe.load(name, "resumed")
    if epochs is not None:
        recipe = replace(recipe, epochs=epochs)
        recipe.save(name)
    return train_table(recipe, name=name, resume=True)


def report_run(name: str, out: Path) -> None:
    """Write the report of a kept run."""
    made = prepare(Recipe.load(name, "reported"))
    run = open_run(name)
    made.model.load_state_dict(run.state_dict())
    say(f"report: {write_report(made, run, out)}")
