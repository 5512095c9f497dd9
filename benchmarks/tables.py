"""Tables beside scikit-learn's MLPClassifier and MLPRegressor with equal settings, in one run.

    python benchmarks/tables.py [--seeds 5] [--json FILE]

Both sides get the same float32 columns (numbers scaled and categories spread by the training rows),
the same layers, Adam with the same rates, the same batch size and number of epochs, weights drawn
from the same distribution (Glorot's, as scikit-learn does), no penalty and no early stopping. Each
seed is another split, other weights and another shuffle; the two take turns. Times are those of
``fit`` alone; chainrule's first fit of a table, which compiles, is reported apart.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import chainrule as cr
from benchmarks._measure import heading, table
from chainrule import nn, optim
from chainrule.data import read_csv
from chainrule.data import split_table as split

DATA = Path(os.environ.get("CHAINRULE_TEST_DATA", "../shared/data")) / "tabular"


@dataclass(frozen=True)
class Case:
    """One table and how it is trained."""

    name: str
    file: str
    target: str
    drop: tuple[str, ...] = ()
    epochs: int = 100
    batch: int = 32
    rate: float = 0.003
    hidden: tuple[int, ...] = (32,)


CASES = (
    Case("titanic, without alive", "titanic.csv", "survived", ("alive",)),
    Case("penguins", "penguins_palmer.csv", "species"),
    Case("red wine", "winequality-red.csv", "quality"),
    Case("california housing", "california_housing.csv", "median_house_value", epochs=30, batch=64),
)


@dataclass
class Row:
    """One line of the table: for each seed, accuracy or R2 on the rows held out, and seconds."""

    name: str
    measure: str = ""
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    ours_seconds: list[float] = field(default_factory=list)
    peer_seconds: list[float] = field(default_factory=list)
    first_seconds: float = math.nan

    @property
    def ratio(self) -> float:
        """How many of our fits take as long as one of the peer's."""
        return statistics.median(self.peer_seconds) / statistics.median(self.ours_seconds)


def glorot(model: Any) -> None:
    """Draw weights and biases as scikit-learn does."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            bound = math.sqrt(6 / (layer.in_features + layer.out_features))
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -bound, bound)


def network(inputs: int, hidden: tuple[int, ...], outputs: int) -> Any:
    """Linear layers with ReLU between them."""
    layers: list[Any] = []
    for before, after in zip((inputs, *hidden), hidden, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear((inputs, *hidden)[-1], outputs))


def ours(case: Case, train: Any, held: Any, classes: int, seed: int) -> tuple[float, float]:
    """chainrule's accuracy or R2 on the rows held out, and the seconds of its fit."""
    cr.manual_seed(seed)
    two = classes == 2
    model = network(train.inputs.shape[1], case.hidden, classes if classes > 2 else 1)
    glorot(model)
    loss = nn.BCEWithLogitsLoss() if two else nn.CrossEntropyLoss() if classes else nn.MSELoss()
    measure = "accuracy" if classes else "r2"
    trainer = cr.Trainer(
        model, loss, optim.Adam(model.parameters(), lr=case.rate), metrics=[], seed=seed,
        engine="native", progress=False,
    )  # fmt: skip

    def target(data: Any) -> Any:
        return data.targets.reshape(-1, 1).astype(np.float32) if classes < 3 else data.targets

    pair = train.inputs, target(train)
    begun = time.perf_counter()
    trainer.fit(pair, epochs=case.epochs, batch_size=case.batch)
    seconds = time.perf_counter() - begun
    judge = cr.Trainer(model, loss, trainer.optimizer, metrics=[measure], engine="numpy")
    return judge.evaluate((held.inputs, target(held)))[measure], seconds


def peer(case: Case, train: Any, held: Any, classes: int, seed: int) -> tuple[float, float]:
    """scikit-learn's."""
    kind = MLPClassifier if classes else MLPRegressor
    made = kind(
        hidden_layer_sizes=case.hidden, activation="relu", solver="adam", alpha=0.0,
        batch_size=case.batch, learning_rate_init=case.rate, max_iter=case.epochs, tol=0.0,
        n_iter_no_change=case.epochs + 1, shuffle=True, random_state=seed,
    )  # fmt: skip
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is what is asked
        made.fit(train.inputs, train.targets.reshape(-1))
    seconds = time.perf_counter() - begun
    return float(made.score(held.inputs, held.targets.reshape(-1))), seconds


def measure(case: Case, seeds: int) -> Row:
    """One table, the two sides taking turns."""
    whole = read_csv(DATA / case.file).without(*case.drop)
    row = Row(case.name)
    for seed in range(seeds):
        train, held, encoder = split(whole, case.target, seed=seed)
        classes = len(encoder.target.classes)
        row.measure = "accuracy" if classes else "R2"
        if not seed:
            row.first_seconds = ours(case, train, held, classes, seed)[1]
        score, seconds = ours(case, train, held, classes, seed)
        row.ours.append(score)
        row.ours_seconds.append(seconds)
        score, seconds = peer(case, train, held, classes, seed)
        row.peer.append(score)
        row.peer_seconds.append(seconds)
    return row


def spread(numbers: list[float], digits: int = 3) -> str:
    """Median, smallest and largest."""
    low, middle, high = min(numbers), statistics.median(numbers), max(numbers)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def run(seeds: int = 5, path: Path | None = None) -> str:
    """Measure all tables; returns the text, and writes JSON where asked."""
    rows = [measure(case, seeds) for case in CASES]
    if path is not None:
        path.write_text(json.dumps([asdict(row) | {"ratio": row.ratio} for row in rows], indent=2))
    head = (
        "table", "measure", "chainrule", f"scikit-learn {sklearn.__version__}", "chainrule, s",
        "scikit-learn, s", "ratio", "first fit, s",
    )  # fmt: skip
    lines = [
        (
            row.name, row.measure, spread(row.ours), spread(row.peer), spread(row.ours_seconds),
            spread(row.peer_seconds), f"{row.ratio:.1f}", f"{row.first_seconds:.3f}",
        )
        for row in rows
    ]  # fmt: skip
    return table([head, *lines])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(heading())
    print(run(options.seeds, options.json))


if __name__ == "__main__":
    main()
