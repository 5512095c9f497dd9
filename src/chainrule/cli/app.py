"""The commands and their options. Each imports what it runs only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from .run_script import SETTINGS, run
from .table_commands import AsJson, data, predict, runs

app = typer.Typer(
    name="chainrule",
    help="Deep learning in which every number can be seen.",
    epilog="Exit codes: 0 done, 1 failed, 2 asked for wrongly, 130 stopped with Ctrl+C.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunName = Annotated[str, typer.Argument(help="The run's name; `chainrule runs` lists them.")]


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"chainrule {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    pass


# A formula may begin with a minus sign, so what is no known option is taken for the formula.
@app.command(context_settings={"ignore_unknown_options": True})
def derive(
    formula: Annotated[str, typer.Argument(help='What to derive: "3*(a + b*c)".')],
    values: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads the older form in every version
        typer.Argument(help="The variables: a=5 b=3 c=2, or arrays: a=[1,2,3]."),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Draw the graph and open it.")] = False,
    save: Annotated[
        Path | None, typer.Option(help="Draw the graph into FILE.svg (or .html, .txt, .json).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a formula's values and every partial derivative, as the chain rule gives them."""
    from .derive import derive as derive_formula
    from .derive import draw
    from .expression import parse, parse_values
    from .say import document

    with document(as_json) as write:
        result = derive_formula(parse(formula), parse_values(values or []))
        typer.echo(result.text())
        path = draw(result, save, open_it=open_it)
        if path is not None:
            typer.echo(f"\ndrawn in {path}")
        write(result.document() | {"drawn": None if path is None else str(path)})


@app.command()
def train(
    file: Annotated[Path | None, typer.Argument(help="A CSV or Parquet file.")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training rows.", show_default="100")
    ] = None,
    hidden: Annotated[
        str | None, typer.Option(help="Units of the hidden layers: 64,32.", show_default="32")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate of Adam.", show_default="0.003")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Rows in a step.", show_default="32")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of the split, the weights, the shuffle.", show_default="0"),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="classification or regression, if the guess is wrong.")
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="A column to leave out; may be given again.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="Keep the run under this name.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="auto, native or numpy.", show_default="auto")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report into FILE.html.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Write the model into FILE.safetensors, for predict.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Take settings from FILE.toml; options here win over it.")
    ] = None,
    save_config: Annotated[
        Path | None, typer.Option(help="Write all settings into FILE.toml before training.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a network on a table, and say what is wrong with the data and the training."""
    from .say import document
    from .settings import gather
    from .train import train_table

    given = {
        "file": file, "target": target, "epochs": epochs, "hidden": hidden, "lr": lr,
        "batch_size": batch_size, "seed": seed, "task": task, "drop": drop, "engine": engine,
        "run": run, "report": report, "model": model,
    }  # fmt: skip
    with document(as_json) as write:
        settings = gather(given, config, save_config)
        write(train_table(**settings))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where to write the report.")] = Path("report.html"),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training digits.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the weights, the shuffle.")] = 1,
) -> None:
    """Train on real handwritten digits and write a report that shows every number of it."""
    from .demo import run_demo

    run_demo(out, epochs=epochs, seed=seed)


@app.command()
def resume(
    name: RunName,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs in all, if more than at first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was stopped, to the same bits that an unbroken run gives."""
    from .runs import resume_run
    from .say import document

    with document(as_json) as write:
        write(resume_run(name, epochs))


@app.command()
def report(
    name: RunName,
    out: Annotated[Path, typer.Option(help="Where to write the page.")] = Path("report.html"),
    step: Annotated[
        int | None,
        typer.Option(min=0, help="Show instead which examples this step took, and their losses."),
    ] = None,
) -> None:
    """Write one self-contained page that shows a run, or show one step of it."""
    if step is not None:
        from .moment import report_step

        report_step(name, step)
        return
    from .runs import report_run

    report_run(name, out)


app.command(context_settings=SETTINGS)(run)
app.command()(predict)
app.command()(data)
app.add_typer(runs)
