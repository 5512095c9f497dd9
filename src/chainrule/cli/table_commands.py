"""The commands around tables and runs: `predict`, `data`, `runs`; each imports what it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

AsJson = Annotated[
    bool, typer.Option("--json", help="Write one JSON document; messages go to standard error.")
]
RunName = Annotated[str, typer.Argument(help="The run's name.")]


def predict(
    model: Annotated[
        str, typer.Argument(metavar="RUN_OR_MODEL", help="A run, or FILE.safetensors of --model.")
    ],
    file: Annotated[Path, typer.Argument(help="A CSV or Parquet file with the same columns.")],
    out: Annotated[
        Path | None, typer.Option(help="Write the answers into FILE.csv, not to the output.")
    ] = None,
    drop: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads the older form in every version
        typer.Option(help="A column that training did not have, to leave out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict the rows of a table: labels and probabilities, or numbers in their own unit."""
    from ..io import write_bytes
    from .predict import predict_file
    from .say import document, say, warn
    from .table_model import open_model

    with document(as_json) as write:
        found = predict_file(open_model(model), file, tuple(drop or ()))
        for note in found.notes:
            warn(note)
        if out is not None:
            write_bytes(out, found.csv().encode())
            say(f"{len(found.values):,} rows predicted: {out}")
        elif not as_json:
            typer.echo(found.csv(), nl=False)
        if found.score:
            warn(found.score_text())
        if as_json:  # a document of many rows is made for those who read it
            write(found.document() | {"out": None if out is None else str(out)})


def data(
    file: Annotated[Path, typer.Argument(help="A CSV or Parquet file.")],
    target: Annotated[
        str | None, typer.Option(help="The column to predict: its classes, and what repeats it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a table holds: rows, columns, types, gaps, and what is wrong with it."""
    from .holdings import look
    from .say import document, next_commands, say

    with document(as_json) as write:
        found = look(file, target)
        say(found.text())
        next_commands(found.suggestions(file))
        write(found.document())


runs = typer.Typer(
    name="runs", help="List, compare, delete and restore the runs in the store.",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


@runs.callback(invoke_without_command=True)
def _list(context: typer.Context, as_json: AsJson = False) -> None:
    """List the runs in the store (./chainrule-runs or $CHAINRULE_HOME), or do more with them."""
    if context.invoked_subcommand is not None:
        if as_json:
            raise typer.BadParameter("write it behind the command: runs COMMAND ... --json")
        return
    from .runs import list_runs
    from .say import document

    with document(as_json) as write:
        write(list_runs())


@runs.command("list")
def _list_too(as_json: AsJson = False) -> None:
    """List the runs, as `chainrule runs` does."""
    from .runs import list_runs
    from .say import document

    with document(as_json) as write:
        write(list_runs())


@runs.command()
def compare(
    names: Annotated[list[str], typer.Argument(help="Two runs or more.")], as_json: AsJson = False
) -> None:
    """Show what differs in the settings of runs, and their last numbers side by side."""
    from .runs import compare_runs
    from .say import document

    if len(names) < 2:
        raise typer.BadParameter("name two runs or more: chainrule runs compare A B")
    with document(as_json) as write:
        write(compare_runs(names))


@runs.command()
def delete(name: RunName, as_json: AsJson = False) -> None:
    """Move a run to the trash of the store; `restore` brings it back."""
    from .runs import delete as delete_run
    from .say import document

    with document(as_json) as write:
        write(delete_run(name))


@runs.command()
def restore(
    name: RunName,
    new_name: Annotated[str | None, typer.Option("--as", help="Give it this name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring a deleted run back."""
    from .runs import restore as restore_run
    from .say import document

    with document(as_json) as write:
        write(restore_run(name, new_name))
