"""`chainrule runs`, `resume`, `report`: what is kept in the run store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..train import Run, open_run, store_folder
from ..train import list_runs as stored_runs
from .recipe import Recipe
from .say import next_commands, say
from .train import prepare, train_table, write_report

_HEAD = ("run", "status", "epochs", "steps", "seconds", "loss", "validation", "findings")


def list_runs() -> None:
    """Print one line for each stored run."""
    found = stored_runs()
    if not found:
        say(f"no runs in {store_folder()}.")
        next_commands([("chainrule train FILE.csv --target COLUMN --run NAME", "keep a run")])
        return
    rows = [_HEAD, *(_row(run) for run in found)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(_HEAD))]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        say("  ".join(cells).rstrip())


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


def resume_run(name: str, epochs: int | None) -> None:
    """Go on with a kept run, to the epochs it was meant for or to more."""
    recipe = Recipe.load(name, "resumed")
    if epochs is not None:
        recipe = replace(recipe, epochs=epochs)
        recipe.save(name)
    train_table(recipe, name=name, resume=True)


def report_run(name: str, out: Path) -> None:
    """Write the report of a kept run."""
    made = prepare(Recipe.load(name, "reported"))
    run = open_run(name)
    made.model.load_state_dict(run.state_dict())
    say(f"report: {write_report(made, run, out)}")
