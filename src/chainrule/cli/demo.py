"""`chainrule demo`, the main job behind `make demo`: real digits, trained fast, shown whole."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import nn, optim
from ..data import LabelledDataset, load
from ..diagnose import diagnose
from ..explain import layers
from ..report import report
from ..tensor._random import manual_seed
from ..train import Run, Trainer
from .say import findings_text, next_commands, say

SEED = 1
TEST_SHARE = 0.2
BATCH = 50
TIMED_STEPS = {"native": 2_000, "numpy": 100}
"""About how many steps each of the engine's rounds has."""
ROUNDS = 3
"""How often the step time is measured; the least is told, as another process can only add."""


@dataclass(frozen=True)
class StepTime:
    """What a training step takes on one engine."""

    engine: str
    seconds: float


def run_demo(out: Path, *, epochs: int = 60, seed: int = SEED) -> Run:
    """Train on scikit-learn's handwritten digits, print what came of it and write the report.

    Args:
        out: where the report goes.
        epochs: passes over the training digits.
        seed: of the split, the weights and the shuffle.
    """
    digits = load("digits")
    train, test = digits.split(TEST_SHARE, seed=seed)
    say(
        f"{len(digits):,} handwritten digits of 8 x 8 pixels, real ones: "
        f"{len(train):,} to train on, {len(test)} kept aside for the test"
    )
    model = build(seed)
    trainer = make_trainer(model, seed, "native")
    start = time.perf_counter()
    run = trainer.fit(train, validation=test, epochs=epochs, batch_size=BATCH)
    spent = time.perf_counter() - start
    compiling = f"of it {trainer.compile_seconds:.2f} s compiling"
    say(f"\n{epochs} epochs, {run.steps:,} steps in {spent:.2f} s, {compiling}")
    say(f"test accuracy {100 * accuracy(trainer, test):.2f} %\n")
    say(step_table([step_time(train, seed, engine) for engine in TIMED_STEPS]))
    say("")
    say(layers(model, test.inputs[:1]).text())
    say("")
    say(findings_text(diagnose(run, model=model, train=train, validation=test)))
    path = report(run, model=model, train=train, validation=test).save(out)
    say(f"\nreport: {path.resolve()}  ({path.stat().st_size / 1e6:.1f} MB, opens without network)")
    next_commands(suggestions(path))
    return run


def build(seed: int) -> nn.Sequential:
    """Build the demo's network: two hidden layers, reproducible from the seed."""
    manual_seed(seed)
    return nn.Sequential(
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def make_trainer(model: nn.Module, seed: int, engine: str, *, progress: bool = True) -> Trainer:
    """Give the demo's trainer: cross-entropy and Adam."""
    return Trainer(
        model,
        nn.CrossEntropyLoss(),
        optim.Adam(model.parameters(), lr=0.002),
        seed=seed,
        engine=engine,
        progress=progress,
    )


def accuracy(trainer: Trainer, data: LabelledDataset) -> float:
    """Give the share of examples whose largest score is that of their class."""
    scores = np.asarray(trainer.predict(data.inputs))
    return float((scores.argmax(axis=1) == data.targets).mean())


def step_time(train: LabelledDataset, seed: int, engine: str) -> StepTime:
    """Measure a training step on one engine: a fresh network, already compiled."""
    trainer = make_trainer(build(seed), seed, engine, progress=False)
    epochs = max(TIMED_STEPS[engine] * BATCH // len(train), 1)
    trainer.fit(train, epochs=1, batch_size=BATCH)
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run = trainer.fit(train, epochs=epochs, batch_size=BATCH)
        times.append((time.perf_counter() - start) / run.steps)
    return StepTime(engine, min(times))


def step_table(times: list[StepTime]) -> str:
    """Write the engines' step times side by side.

    Example:
        >>> print(step_table([StepTime("native", 2e-5), StepTime("numpy", 4e-4)]))
        a training step (forward, backward, Adam; a batch of 50)
          native      20.0 us   20.0 times as fast as eager
          numpy      400.0 us   eager: every number kept and seen
    """
    eager = next(each.seconds for each in times if each.engine == "numpy")
    lines = [f"a training step (forward, backward, Adam; a batch of {BATCH})"]
    for each in times:
        words = f"{eager / each.seconds:.1f} times as fast as eager"
        if each.engine == "numpy":
            words = "eager: every number kept and seen"
        lines.append(f"  {each.engine:<8} {each.seconds * 1e6:7.1f} us   {words}")
    return "\n".join(lines)


def suggestions(report_path: Path) -> list[tuple[str, str]]:
    """Give what to try next."""
    opener = {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")
    return [
        (f"{opener} {os.path.relpath(report_path)}", "one digit, forward and backward"),
        ('chainrule derive "3*(a + b*c)" a=5 b=3 c=2', "the chain rule on a formula of yours"),
        ("chainrule train FILE.csv --target COLUMN", "a network for a table of yours"),
    ]
