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
from ..random import manual_seed
from ..train import Finding, Run, Trainer
from .say import findings_text, next_commands, say

VALIDATION_SHARE = 0.2
_BAD_HIDDEN = (
    "--hidden takes the units of the hidden layers, such as 32 or 64,32; none for none.\n"
    "  given: {hidden}"
)


@dataclass(frozen=True)
class Settings:
    """What the command line asked for; the names are those of its options."""

    target: str
    epochs: int = 100
    hidden: str = "32"
    lr: float = 0.003
    batch_size: int = 32
    seed: int = 0
    task: str | None = None
    drop: tuple[str, ...] = ()
    run: str | None = None
    engine: str = "auto"
    report: Path | None = None


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


def train_table(file: Path, settings: Settings) -> Run:
    """Train on a table and print its summary, the result, the findings and what to try next."""
    table = read_csv(file)
    table[settings.target]  # a name that is wrong is said before anything else
    table = table.without(*settings.drop)
    train, validation, encoder = split_table(
        table,
        settings.target,
        share=VALIDATION_SHARE,
        seed=settings.seed,
        task=cast("Task | None", settings.task),
    )
    hidden = hidden_units(settings.hidden)
    say(data_text(table, encoder, train, validation))
    manual_seed(settings.seed)
    classes = len(encoder.target.classes)
    model = build(train.inputs.shape[1], hidden, classes or 1)
    trainer = Trainer(
        model,
        nn.CrossEntropyLoss() if classes else nn.MSELoss(),
        optim.Adam(model.parameters(), lr=settings.lr),
        metrics=["accuracy"] if classes else [],
        seed=settings.seed,
        engine=settings.engine,
    )
    run = trainer.fit(
        train,
        validation=validation,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        run=settings.run,
    )
    say(result_text(trainer, validation, encoder))
    found = diagnose(run, model=model, train=train, validation=validation)
    say(findings_text(found))
    if settings.report is not None:
        from ..report import report

        say(
            f"report: {report(run, model=model, train=train, validation=validation).save(settings.report)}"
        )
    next_commands(suggestions(file, settings, found, encoder))
    return run


def data_text(
    table: Table, encoder: TableEncoder, train: LabelledDataset, validation: LabelledDataset
) -> str:
    """Say what was read, what each column is used for, and how the rows are divided."""
    width = max(len(name) for name in table.names)
    lines = [f"{table.source}: {len(table)} rows, {len(table.columns)} columns"]
    for column in table.columns:
        use = ""
        if column.name == encoder.target.column:
            use = f"  <- target, {encoder.target.task}"
        elif column.name in encoder.left_out:
            use = f"  left out: {encoder.left_out[column.name]}"
        lines.append(f"  {column.name:<{width}}  {column.describe()}{use}")
    lines.append(
        f"{len(train)} rows to train on, {len(validation)} to validate, "
        f"{train.inputs.shape[1]} inputs"
    )
    unlabelled = len(table) - len(train) - len(validation)
    if unlabelled:
        lines.append(f"{unlabelled} rows have no {encoder.target.column} and are left out")
    return "\n".join(lines)


def result_text(trainer: Trainer, validation: LabelledDataset, encoder: TableEncoder) -> str:
    """Say how good the network is on the validation rows, beside the best constant answer."""
    output = np.asarray(trainer.predict(validation.inputs).numpy())
    goal = encoder.target
    if goal.task == "classification":
        right = float((output.argmax(axis=1) == validation.targets).mean())
        counts = np.bincount(validation.targets, minlength=len(goal.classes))
        usual = goal.classes[int(counts.argmax())]
        return (
            f"validation accuracy {100 * right:.2f} %"
            f"   (always answering {usual!r}: {100 * counts.max() / counts.sum():.2f} %)"
        )
    error = (output - validation.targets) * goal.spread
    usual_error = validation.targets * goal.spread
    return (
        f"validation error of {goal.column}: {_root_mean_square(error):.4g} root mean square, "
        f"{np.abs(error).mean():.4g} mean absolute"
        f"   (always answering {goal.mean:.4g}: {_root_mean_square(usual_error):.4g})"
    )


def _root_mean_square(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def suggestions(
    file: Path, settings: Settings, found: list[Finding], encoder: TableEncoder
) -> list[tuple[str, str]]:
    """Give the next commands to try, each with the reason."""
    base = f"chainrule train {shlex.quote(str(file))} --target {shlex.quote(settings.target)}"
    for column in settings.drop:
        base += f" --drop {shlex.quote(column)}"
    commands = []
    leaking = leaking_columns(found, encoder)
    if leaking:
        drops = " ".join(f"--drop {shlex.quote(name)}" for name in leaking)
        commands.append((f"{base} {drops}", f"without {', '.join(leaking)}"))
    if settings.report is None:
        commands.append((f"{base} --report report.html", "a page that shows this training"))
    if settings.run is None:
        commands.append((f"{base} --run first", "keep the run, to resume and compare it"))
    else:
        commands.append(("chainrule runs", "the runs that are kept"))
    return commands


def leaking_columns(found: list[Finding], encoder: TableEncoder) -> list[str]:
    """Name the columns of the table that leak the target, as the findings say."""
    columns = {name: each.column for each in encoder.features for name in each.names}
    places = [each.where for each in found if each.kind == "leaking-feature"]
    return list(dict.fromkeys(columns.get(place, place) for place in places))
