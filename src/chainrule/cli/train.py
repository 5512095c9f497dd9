"""`chainrule train FILE.csv --target COLUMN`: a network for a table, and what is wrong with it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from .. import nn, optim
from ..data import LabelledDataset, Table, TableEncoder, Task, read_csv, split_table
from ..diagnose import diagnose
from ..errors import OptionError
from ..tensor._random import manual_seed
from ..train import Finding, Run, Trainer
from .recipe import Recipe
from .say import findings_text, next_commands, say

VALIDATION_SHARE = 0.2
_BAD_HIDDEN = (
    "--hidden takes the units of the hidden layers, such as 32 or 64,32; none for none.\n"
    "  given: {hidden}"
)


@dataclass(frozen=True)
class Prepared:
    """A recipe made real: the data, the network and its trainer, all before the first step."""

    table: Table
    train: LabelledDataset
    validation: LabelledDataset
    encoder: TableEncoder
    model: nn.Sequential
    trainer: Trainer


def hidden_units(text: str) -> list[int]:
    """Read `--hidden`.

    Raises:
        OptionError: when it is not a list of counts.

    Example:
        >>> hidden_units("64,32"), hidden_units("none")
        ([64, 32], [])
    """
    if text.strip().lower() in ("none", "0", ""):
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise OptionError(_BAD_HIDDEN.format(hidden=text))
    return [int(part) for part in parts]


def build(inputs: int, hidden: list[int], outputs: int) -> nn.Sequential:
    """Build a feed-forward network: ReLU after every hidden layer, plain outputs."""
    sizes = [inputs, *hidden]
    layers: list[nn.Module] = []
    for before, after in zip(sizes, hidden, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


def prepare(recipe: Recipe) -> Prepared:
    """Read and split the table, and build the network.

    Raises:
        DataError: a file or a target that cannot be used.
        OptionError: a setting that does not exist.
    """
    table = read_csv(recipe.file)
    table[recipe.target]  # a wrong name is said before anything else
    hidden = hidden_units(recipe.hidden)
    train, validation, encoder = split_table(
        table.without(*recipe.drop),
        recipe.target,
        share=VALIDATION_SHARE,
        seed=recipe.seed,
        task=cast("Task | None", recipe.task),
    )
    manual_seed(recipe.seed)
    classes = len(encoder.target.classes)
    model = build(train.inputs.shape[1], hidden, classes or 1)
    trainer = Trainer(
        model,
        nn.CrossEntropyLoss() if classes else nn.MSELoss(),
        optim.Adam(model.parameters(), lr=recipe.lr),
        seed=recipe.seed,
        engine=recipe.engine,
    )
    return Prepared(table, train, validation, encoder, model, trainer)


def train_table(
    recipe: Recipe, *, name: str | None = None, resume: bool = False, report: Path | None = None
) -> Run:
    """Train on a table and print its summary, the result, the findings and what to try next.

    Args:
        recipe: what to train.
        name: keep the run under this name.
        resume: go on with the kept run of that name.
        report: where to write a report.
    """
    made = prepare(recipe)
    say(data_text(made, recipe))
    if name is not None and not resume:
        recipe.save(name)
    try:
        run = made.trainer.fit(
            made.train,
            validation=made.validation,
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            run=name,
            resume=resume,
        )
    except KeyboardInterrupt:
        if name is not None:
            next_commands([(f"chainrule resume {shlex.quote(name)}", "go on where it stopped")])
        raise
    say(result_text(made))
    found = diagnose(run, model=made.model, train=made.train, validation=made.validation)
    say(findings_text(found))
    if report is not None:
        say(f"report: {write_report(made, run, report)}")
    next_commands(suggestions(recipe, found, made.encoder, name, report))
    return run


def write_report(made: Prepared, run: Run, path: Path) -> Path:
    """Write the report of a run; returns where."""
    from ..report import report

    page = report(run, model=made.model, train=made.train, validation=made.validation)
    return page.save(path)


def data_text(made: Prepared, recipe: Recipe) -> str:
    """Say what was read, what each column is used for, and how the rows are divided."""
    table, encoder = made.table, made.encoder
    width = max(len(name) for name in table.names)
    lines = [f"{table.source}: {len(table)} rows, {len(table.columns)} columns"]
    for column in table.columns:
        use = ""
        if column.name == recipe.target:
            use = f"  <- target, {encoder.target.task}"
        elif column.name in recipe.drop:
            use = "  left out: --drop"
        elif column.name in encoder.left_out:
            use = f"  left out: {encoder.left_out[column.name]}"
        elif column.name in encoder.said:
            use = f"  {encoder.said[column.name]}"
        lines.append(f"  {column.name:<{width}}  {column.describe()}{use}")
    unlabelled = int(table[recipe.target].missing.sum())
    if unlabelled:
        lines.append(f"{unlabelled} rows have no {recipe.target} and are left out")
    sizes = f"{len(made.train)} rows to train on, {len(made.validation)} to validate"
    parameters = sum(parameter.numel() for parameter in made.model.parameters())
    shape = [made.train.inputs.shape[1], *hidden_units(recipe.hidden)]
    shape.append(len(encoder.target.classes) or 1)
    lines.append(f"{sizes}; network {' -> '.join(map(str, shape))}, {parameters:,} parameters")
    return "\n".join(lines)


def result_text(made: Prepared) -> str:
    """Say how good the network is on the validation rows, beside the best constant answer."""
    data, goal = made.validation, made.encoder.target
    output = np.asarray(made.trainer.predict(data.inputs))
    if goal.task == "classification":
        right = float((output.argmax(axis=1) == data.targets).mean())
        counts = np.bincount(data.targets, minlength=len(goal.classes))
        usual = goal.classes[int(counts.argmax())]
        return (
            f"validation accuracy {100 * right:.2f} %"
            f"   (always answering {usual!r}: {100 * counts.max() / counts.sum():.2f} %)"
        )
    error = (output - data.targets) * goal.spread
    constant = _root_mean_square(data.targets * goal.spread)
    return (
        f"validation error of {goal.column}: {_root_mean_square(error):.4g} root mean square, "
        f"{np.abs(error).mean():.4g} mean absolute"
        f"   (always answering {goal.mean:.4g}: {constant:.4g} root mean square)"
    )


def _root_mean_square(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def suggestions(
    recipe: Recipe,
    found: list[Finding],
    encoder: TableEncoder,
    name: str | None,
    report: Path | None,
) -> list[tuple[str, str]]:
    """Give the next commands to try, each with the reason."""
    file = _short(Path(recipe.file))
    base = f"chainrule train {shlex.quote(file)} --target {shlex.quote(recipe.target)}"
    for column in recipe.drop:
        base += f" --drop {shlex.quote(column)}"
    commands = []
    leaking = leaking_columns(found, encoder)
    if leaking:
        drops = " ".join(f"--drop {shlex.quote(column)}" for column in leaking)
        commands.append((f"{base} {drops}", f"without {', '.join(leaking)}"))
    if report is None:
        commands.append((f"{base} --report report.html", "a page that shows this training"))
    if name is None:
        commands.append((f"{base} --run first", "keep the run, to resume and compare it"))
    else:
        commands.append(("chainrule runs", "the runs that are kept"))
    return commands


def _short(path: Path) -> str:
    """Write a path as the user would from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def leaking_columns(found: list[Finding], encoder: TableEncoder) -> list[str]:
    """Name the columns of the table that leak the target, as the findings say."""
    columns = {name: each.column for each in encoder.features for name in each.names}
    places = [each.where for each in found if each.kind == "leaking-feature"]
    return list(dict.fromkeys(columns.get(place, place) for place in places))
