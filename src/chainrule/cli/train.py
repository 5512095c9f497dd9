"""`chainrule train FILE.csv --target COLUMN`: a network for a table, and what is wrong with it."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from .. import nn, optim
from ..data import LabelledDataset, Table, TableEncoder, Task, split_table
from ..diagnose import diagnose
from ..errors import OptionError, StoreError
from ..tensor._random import manual_seed
from ..train import Finding, Run, Trainer
from ..train import list_runs as stored_runs
from .recipe import Recipe
from .say import findings_text, next_commands, say
from .tables import read_table

VALIDATION_SHARE = 0.2
_BAD_HIDDEN = (
    "--hidden takes the units of the hidden layers, such as 32 or 64,32; none for none.\n"
    "  given: {hidden}"
)


_TAKEN = (
    "there is already a run {name!r}.\n"
    "  fix: `chainrule resume {word}` goes on with it; or choose another name for --run"
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
    table = read_table(Path(recipe.file))
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
    recipe: Recipe,
    *,
    name: str | None = None,
    resume: bool = False,
    report: Path | None = None,
    model: Path | None = None,
) -> dict[str, Any]:
    """Train on a table and print its summary, the result, the findings and what to try next.

    Args:
        recipe: what to train.
        name: keep the run under this name.
        resume: go on with the kept run of that name.
        report: where to write a report.
        model: where to write the trained model, whole in one file.

    Returns:
        What came of it, as plain data.

    Raises:
        StoreError: the name is taken.
    """
    from .table_model import keep_encoder, of_network

    if name is not None and not resume and any(run.name == name for run in stored_runs()):
        # Said before the recipe is kept: that of the run which has the name must not change.
        raise StoreError(_TAKEN.format(name=name, word=shlex.quote(name)))
    made = prepare(recipe)
    say(data_text(made, recipe))
    if name is not None:
        if not resume:
            recipe.save(name)
        keep_encoder(name, made.encoder, made.table.names, again=not resume)
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
    if model is not None:
        of_network(made.model, made.encoder, made.table.names).write(model)
        say(f"model: {model}")
    commands = suggestions(recipe, found, made.encoder, name, report)
    next_commands(commands)
    return summary(recipe, made, run, found) | {
        "report": None if report is None else str(report),
        "model": None if model is None else str(model),
        "next": [command for command, _ in commands],
    }


def summary(recipe: Recipe, made: Prepared, run: Run, found: list[Finding]) -> dict[str, Any]:
    """Give what came of a training as plain data: settings, data, result, findings."""
    goal = made.encoder.target
    return {
        "run": run.name,
        "status": run.status,
        "settings": asdict(recipe),
        "rows": {
            "all": len(made.table),
            "train": len(made.train),
            "validation": len(made.validation),
        },
        "task": goal.task,
        "classes": list(goal.classes),
        "features": made.encoder.feature_names,
        "left_out": dict(made.encoder.left_out),
        "parameters": sum(parameter.numel() for parameter in made.model.parameters()),
        "epochs": run.epochs,
        "steps": run.steps,
        "seconds": run.seconds,
        "last": {name: float(series[-1]) for name, series in run.history.items() if len(series)},
        "validation": quality(made),
        "findings": [asdict(each) for each in found],
    }


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


def quality(made: Prepared) -> dict[str, Any]:
    """Measure the network on the validation rows, beside the best constant answer."""
    data, goal = made.validation, made.encoder.target
    output = np.asarray(made.trainer.predict(data.inputs))
    if goal.task == "classification":
        counts = np.bincount(data.targets, minlength=len(goal.classes))
        return {
            "accuracy": float((output.argmax(axis=1) == data.targets).mean()),
            "constant_answer": goal.classes[int(counts.argmax())],
            "constant_accuracy": float(counts.max() / counts.sum()),
        }
    error = (output - data.targets) * goal.spread
    return {
        "root_mean_square_error": _root_mean_square(error),
        "mean_absolute_error": float(np.abs(error).mean()),
        "constant_answer": goal.mean,
        "constant_root_mean_square_error": _root_mean_square(data.targets * goal.spread),
    }


def result_text(made: Prepared) -> str:
    """Say how good the network is on the validation rows, beside the best constant answer."""
    good, goal = quality(made), made.encoder.target
    if goal.task == "classification":
        return (
            f"validation accuracy {100 * good['accuracy']:.2f} %"
            f"   (always answering {good['constant_answer']!r}: "
            f"{100 * good['constant_accuracy']:.2f} %)"
        )
    return (
        f"validation error of {goal.column}: {good['root_mean_square_error']:.4g} "
        f"root mean square, {good['mean_absolute_error']:.4g} mean absolute"
        f"   (always answering {goal.mean:.4g}: "
        f"{good['constant_root_mean_square_error']:.4g} root mean square)"
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
        word = shlex.quote(name)
        commands.append(
            (f"chainrule predict {word} NEW.csv", "answers for the rows of a new table")
        )
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
