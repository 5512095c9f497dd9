"""A generator trained on MNIST's digits, judged by a network that reads 99 % of real ones.

    python -m benchmarks drawing

Which digits does it draw, how sure is the reader of them, how far are drawings from the nearest
real example, and is any a copy of one? A picture of drawings, each beside the nearest of the
training images, goes to build/drawn_digits.png where matplotlib is there.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn, optim

from ._measure import table
from .mnist import digits, lenet

EPOCHS, NOISE, DRAWN = 25, 64, 10_000
PICTURE = Path("build") / "drawn_digits.png"


def reader(train: Any, test: Any) -> tuple[Any, float]:
    """A network that reads digits from -1 to 1, and its accuracy on test images."""
    cr.manual_seed(0)
    model, optimizer, scheduler = lenet()
    trainer = cr.Trainer(
        model, nn.CrossEntropyLoss(), optimizer, scheduler=scheduler, seed=0, progress=False
    )
    trainer.fit(train, epochs=4, batch_size=100)
    return trainer, trainer.evaluate(test)["accuracy"]


def networks() -> tuple[Any, Any]:
    """A generator and a discriminator of dense layers."""
    draws = nn.Sequential(
        nn.Linear(NOISE, 256), nn.BatchNorm1d(256), nn.ReLU(),
        nn.Linear(256, 512), nn.BatchNorm1d(512), nn.ReLU(),
        nn.Linear(512, 784), nn.Tanh(),
    )  # fmt: skip
    tells = nn.Sequential(
        nn.Linear(784, 512), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Linear(512, 256), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Linear(256, 1),
    )  # fmt: skip
    return draws, tells


def nearest(drawn: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each drawing the place of the nearest real image, and its distance."""
    squares = (real**2).sum(1)
    places, distances = [], []
    for part in np.array_split(drawn, max(1, len(drawn) // 250)):
        far = squares - 2 * part @ real.T + (part**2).sum(1)[:, None]
        places.append(far.argmin(1))
        distances.append(np.sqrt(np.maximum(far.min(1), 0)))
    return np.concatenate(places), np.concatenate(distances)


def run(epochs: int = EPOCHS, drawings: int = DRAWN) -> str:
    """Train, draw, judge; returns the table."""
    (x, y), (test_x, test_y) = (
        (2 * part[0] - 1, part[1]) for part in map(digits, ("train", "t10k"))
    )
    judge, accuracy = reader((x, y), (test_x, test_y))
    cr.manual_seed(0)
    draws, tells = networks()
    rules = (optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (draws, tells))
    gan = cr.train.Adversarial(draws, tells, *rules, noise=NOISE, smoothing=0.1)
    begun = time.perf_counter()
    history = gan.fit(x, epochs=epochs, batch_size=100)
    seconds = time.perf_counter() - begun
    drawn = gan.draw(drawings)
    scores = judge.predict(drawn)
    chances = np.exp(scores - scores.max(1, keepdims=True))
    sure = (chances / chances.sum(1, keepdims=True)).max(1)
    shares = np.bincount(scores.argmax(1), minlength=10) / drawings
    few = drawn[:500]
    places, distances = nearest(few, x)
    between = nearest(test_x[:500], x)[1]
    save(few, x[places])
    rows = [("digit", *map(str, range(10)))]
    rows.append(("share of drawings", *(f"{100 * share:.1f} %" for share in shares)))
    lines = [
        f"reader: {100 * accuracy:.2f} % of test images; GAN: {epochs} epochs in {seconds:.0f} s",
        f"losses at the end: generator {history['generator_loss'][-1]:.3f},"
        f" discriminator {history['discriminator_loss'][-1]:.3f}",
        table(rows),
        f"least share {100 * shares.min():.1f} % of {drawings:,} drawings;"
        f" the reader is surer than 0.9 of {100 * (sure > 0.9).mean():.0f} %",
        f"distance to the nearest training image, median: drawings {np.median(distances):.2f},"
        f" test images {np.median(between):.2f}; least of a drawing {distances.min():.2f}",
    ]
    return "\n".join(lines)


def save(drawn: np.ndarray, real: np.ndarray) -> None:
    """Draw pairs: a drawing above the training image that is nearest."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    rows, columns = 4, 12
    sheet = np.ones((rows * 60, columns * 30))
    for k in range(rows * columns):
        top, left = k // columns * 60, k % columns * 30
        for place, image in ((top, drawn[k]), (top + 28, real[k])):
            sheet[place : place + 28, left : left + 28] = -image.reshape(28, 28)
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(sheet, cmap="gray", vmin=-1, vmax=1)
    axes.set_title("Drawn digits, each above the nearest of the 60,000 training images")
    axes.set_axis_off()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
