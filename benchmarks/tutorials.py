"""The tutorials in `examples/`, as they are, in chainrule and PyTorch: seconds of the whole script.

MNIST is read from IDX files: `$CHAINRULE_TEST_DATA/mnist`, or `../shared/data/mnist`. PyTorch's
data set is the few lines below, which do what torchvision's does.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np
import torch

from chainrule.interop.torch_names import serving

from ._measure import duration, interleaved, table

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = {
    "linear_regression": "500",
    "logistic_regression": "600",
    "feedforward_network": "600",
    "recurrent_network": "300",
    "lstm_network": "100",
}


class MNIST:
    """Handwritten digits for PyTorch: each example is transformed when it is asked for."""

    def __init__(self, root: str, train: bool = True, transform: Any = None, **_: Any) -> None:
        part = "train" if train else "t10k"
        self.images = _read(f"{root}/{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
        self.labels = _read(f"{root}/{part}-labels-idx1-ubyte.gz", 8)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def _read(path: str, offset: int) -> Any:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


class ToTensor:
    """Grey levels as numbers from 0 to 1."""

    def __call__(self, image: Any) -> Any:
        """Convert one image."""
        return torch.from_numpy(image[None].copy()).float().div(255)


@contextlib.contextmanager
def with_vision() -> Iterator[None]:
    """Let PyTorch find the data set above as torchvision's."""
    parts = {"": {}, ".datasets": {"MNIST": MNIST}, ".transforms": {"ToTensor": ToTensor}}
    for suffix, names in parts.items():
        module = ModuleType(f"torchvision{suffix}")
        module.__dict__.update(names)
        sys.modules[module.__name__] = module
    sys.modules["torchvision"].__dict__.update(
        datasets=sys.modules["torchvision.datasets"],
        transforms=sys.modules["torchvision.transforms"],
    )
    try:
        yield
    finally:
        for suffix in parts:
            del sys.modules[f"torchvision{suffix}"]


def job(code: CodeType, argument: str, library: Callable[[], Any]) -> Callable[[], int]:
    """Run a script once, its printing swallowed."""

    def run_once() -> int:
        with library(), contextlib.redirect_stdout(io.StringIO()):
            sys.argv = [code.co_filename, argument]
            exec(code, {"__name__": "__main__"})  # noqa: S102 - our own example
        return 1

    return run_once


def run() -> str:
    """Measure; returns the table."""
    data = Path(os.environ.get("CHAINRULE_TEST_DATA", ROOT.parent / "shared" / "data")) / "mnist"
    rows: list[tuple[str, ...]] = [("tutorial, median (least)", "chainrule", "PyTorch", "ratio")]
    before, arguments = Path.cwd(), sys.argv
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(data.resolve(), Path(folder, "data"))
        os.chdir(folder)
        try:
            for name, argument in SCRIPTS.items():
                path = ROOT / "examples" / f"{name}.py"
                code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
                libraries = {"chainrule": serving, "PyTorch": with_vision}
                found = interleaved(
                    {who: job(code, argument, library) for who, library in libraries.items()}, 3
                )
                times = [f"{duration(m)} ({duration(b)})" for m, b in found.values()]
                ratio = found["PyTorch"][0] / found["chainrule"][0]
                rows.append((name, *times, f"{ratio:.2f}"))
        finally:
            os.chdir(before)
            sys.argv = arguments
    return table(rows)
