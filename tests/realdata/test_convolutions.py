"""Convolutions on real signals: spoken digits, heartbeats, and digits that move."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn, optim
from chainrule.data.datasets import MNIST, SoundFolder
from chainrule.optim.lr_scheduler import CosineAnnealingLR

Find = Callable[[str], Path]
BANDS, FRAMES = 40, 80  # of a spectrogram: mel bands, steps of 12.5 ms
WINDOW, HOP, POINTS, RATE = 256, 100, 512, 8000


def bands() -> np.ndarray:
    """Triangles on the mel scale (O'Shaughnessy 1987): (bands, frequencies)."""
    mels = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1) / (RATE / 2) * (POINTS // 2)
    low, middle, high = (edges[k : k + BANDS, None] for k in range(3))
    at = np.arange(POINTS // 2 + 1)
    return np.maximum(0, np.minimum((at - low) / (middle - low), (high - at) / (high - middle)))


def spectrogram(sound: Any) -> np.ndarray:
    """The logarithm of a recording's power: (bands, frames), silence behind its end."""
    samples = np.pad(sound.numpy()[0], (0, WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP][:FRAMES]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), POINTS)) ** 2
    made = np.full((BANDS, FRAMES), np.log(1e-6), np.float32)
    made[:, : len(windows)] = np.log(power @ bands().T + 1e-6).T
    return made


def takes(archive: Path, wanted: Callable[[int], bool]) -> tuple[np.ndarray, np.ndarray]:
    """Spectrograms and digits of the recordings whose take is wanted."""
    found = SoundFolder(archive, keep=lambda name: wanted(int(name[:-4].split("_")[-1])))
    return np.stack([spectrogram(found[k][0]) for k in range(len(found))]), np.array(found.targets)


def moved(x: np.ndarray, y: np.ndarray, copies: int) -> tuple[np.ndarray, np.ndarray]:
    """Copies of sounds that begin up to 0.1 s earlier or later, with a little noise."""
    draw = np.random.default_rng(0)
    made = [x]
    for _ in range(copies):
        shifted = [np.roll(one, draw.integers(-8, 9), 1) for one in x]
        made.append(np.stack(shifted) + draw.normal(0, 0.15, x.shape).astype(np.float32))
    return np.concatenate(made), np.tile(y, copies + 1)


def test_one_dimensional_convolutions_hear_spoken_digits(shared_data: Find) -> None:
    """Six speakers, the official split: takes 0 to 4 are for testing."""
    archive = shared_data("audio/fsdd-6speakers-10digits-10takes.zip")
    (x, y), (test_x, test_y) = (
        takes(archive, wanted) for wanted in (lambda take: take >= 5, lambda take: take < 5)
    )
    assert len(x) == len(test_x) == 300
    center, width = x.mean((0, 2), keepdims=True), x.std((0, 2), keepdims=True)
    cr.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(BANDS, 48, 5, padding=2),
        nn.BatchNorm1d(48),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Dropout(0.3),
        nn.Conv1d(48, 64, 5, padding=2),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    trainer = cr.Trainer(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        scheduler=CosineAnnealingLR(optimizer, 12),
        engine="native",
        progress=False,
        seed=0,
    )
    trainer.fit(moved((x - center) / width, y, 5), epochs=12, batch_size=50)
    found = trainer.evaluate(((test_x - center) / width, test_y))
    assert found["accuracy"] >= 0.9


def test_heartbeats_are_told_apart(shared_data: Find) -> None:
    """ECG200: 100 beats to learn from, 100 for testing, 64 % of them normal."""

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        table = np.loadtxt(shared_data(f"timeseries/{name}"), np.float32)
        return table[:, None, 1:], (table[:, 0] > 0).astype(np.int64)

    train, test = read("ECG200_TRAIN.txt"), read("ECG200_TEST.txt")
    cr.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(1, 16, 9, padding=4),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Conv1d(16, 32, 5, padding=2),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(32, 2),
    )
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    trainer = cr.Trainer(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        scheduler=CosineAnnealingLR(optimizer, 100),
        engine="native",
        progress=False,
        seed=0,
    )
    trainer.fit(train, epochs=100, batch_size=20)
    assert trainer.evaluate(test)["accuracy"] >= 0.8  # five seeds: 0.84 to 0.87; chance: 0.64


STEPS, SIDE = 6, 16


def clips(images: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits that move one of four ways over a torus: (clips, 1, steps, side, side), the way.

    A digit starts anywhere, so that every single frame looks the same for all four ways.
    """
    draw = np.random.default_rng(seed)
    small = images[:, ::2, ::2].astype(np.float32) / 255  # 14 x 14
    picked = draw.integers(0, len(small), count)
    ways = draw.integers(0, 4, count)
    made = np.zeros((count, 1, STEPS, SIDE, SIDE), np.float32)
    made[:, 0, 0, :14, :14] = small[picked]
    for clip, way in zip(made, ways, strict=True):
        clip[0, 0] = np.roll(clip[0, 0], draw.integers(0, SIDE, 2), (0, 1))
        for step in range(1, STEPS):
            sign, axis = (1, -1)[way % 2], way // 2
            clip[0, step] = np.roll(clip[0, step - 1], 2 * sign, axis)
    return made, ways


class Frames(nn.Module):
    """A network of images, asked of every frame by itself; its answers are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(16, 4),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        frames = x.permute(0, 2, 1, 3, 4).reshape(-1, 1, SIDE, SIDE)
        return self.one(frames).reshape(-1, STEPS, 4).mean(1)


def volumes() -> Any:
    """The like of it for volumes: the kernel moves through time too."""
    return nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(8, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1),
        nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip


def test_motion_is_seen_by_volumes_and_not_by_frames(shared_data: Find) -> None:
    digits = MNIST(str(shared_data("mnist")), train=False).data.numpy()
    train, test = clips(digits[:8000], 2400, 0), clips(digits[8000:], 600, 1)
    found = {}
    for name, make in (("frames", Frames), ("volumes", volumes)):
        cr.manual_seed(0)
        model = make()
        trainer = cr.Trainer(
            model,
            nn.CrossEntropyLoss(),
            optim.Adam(model.parameters(), lr=0.01),
            engine="native",
            progress=False,
            seed=0,
        )
        trainer.fit(train, epochs=8, batch_size=40)
        found[name] = trainer.evaluate(test)["accuracy"]
    assert found["volumes"] >= 0.95
    assert 0.18 <= found["frames"] <= 0.32  # one of four
