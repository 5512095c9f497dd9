"""The tutorials in `examples/`, three ways: as they are through `chainrule run`, with their import
lines changed, and by PyTorch; what they print is compared."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
IMPORTS = {
    "import torch": "import chainrule as torch",
    "import torch.nn as nn": "import chainrule.nn as nn",
    "import torchvision.datasets as dsets": "import chainrule.data.datasets as dsets",
    "import torchvision.transforms as transforms": "import chainrule.data.transforms as transforms",
    "from torch.autograd import Variable": "from chainrule.autograd import Variable",
}
# Small products on many threads are at the mercy of whatever else the machine does.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
RUN = "from chainrule.cli import main; main()"

# torchvision itself is not needed for tests: the two things that the tutorials take from it.
SHIM_DATASETS = """
import gzip
import numpy as np


def read(root, name, offset):
    with gzip.open(f"{root}/{name}.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


class MNIST:
    def __init__(self, root, train=True, transform=None, download=False):
        part = "train" if train else "t10k"
        self.images = read(root, f"{part}-images-idx3-ubyte", 16).reshape(-1, 28, 28)
        self.labels = read(root, f"{part}-labels-idx1-ubyte", 8)
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.transform(self.images[index]), int(self.labels[index])
"""
SHIM_TRANSFORMS = """
import torch


class ToTensor:
    def __call__(self, image):
        return torch.from_numpy(image[None].copy()).float().div(255)
"""

Shell = Callable[..., str]


@pytest.fixture
def shell(tmp_path: Path, shared_data: Callable[[str], Path]) -> Shell:
    """Run Python in a folder that has MNIST under `./data`."""
    os.symlink(shared_data("mnist"), tmp_path / "data")
    shim = tmp_path / "shim" / "torchvision"
    shim.mkdir(parents=True)
    (shim / "__init__.py").write_text("")
    (shim / "datasets.py").write_text(SHIM_DATASETS)
    (shim / "transforms.py").write_text(SHIM_TRANSFORMS)

    def run(*arguments: str, path: Path | None = None) -> str:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | ONE_THREAD | {"PYTHONPATH": str(path or ROOT / "src")},
        )
        assert done.returncode == 0, done.stderr
        print(f"{arguments[-2:]}: {time.perf_counter() - start:.1f} s")
        return done.stdout

    return run


def with_changed_imports(script: Path, folder: Path) -> Path:
    """The script with only its import lines replaced."""
    lines = script.read_text(encoding="utf-8").splitlines()
    new = [IMPORTS.get(line, line) for line in lines]
    changed = [line for line, other in zip(lines, new, strict=True) if line != other]
    assert changed and all(line.startswith(("import ", "from ")) for line in changed)
    code = [line for line in new if line.startswith(("import ", "from "))]
    assert not any(re.search(r"(import|from) torch", line) for line in code)
    place = folder / script.name
    place.write_text("\n".join(new), encoding="utf-8")
    return place


NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def numbers(text: str) -> list[float]:
    return [float(one) for one in NUMBER.findall(text)]


def words(text: str) -> str:
    return NUMBER.sub("#", text.replace("chainrule.Size", "torch.Size"))


def ours(shell: Shell, name: str, folder: Path, *arguments: str) -> str:
    """What the script prints through `chainrule run`, which is what it prints with new imports."""
    through_run = shell("-c", RUN, "run", str(EXAMPLES / name), *arguments)
    assert shell(str(with_changed_imports(EXAMPLES / name, folder)), *arguments) == through_run
    return through_run


def by_torch(shell: Shell, name: str, folder: Path, *arguments: str) -> str:
    pytest.importorskip("torch")
    return shell(str(EXAMPLES / name), *arguments, path=folder / "shim")


@pytest.mark.parametrize("name", ["matrices.py", "gradients.py"])
def test_the_same_numbers_as_torch(name: str, shell: Shell, tmp_path: Path) -> None:
    found = ours(shell, name, tmp_path)
    expected = by_torch(shell, name, tmp_path)
    assert words(found) == words(expected)
    assert numbers(found) == pytest.approx(numbers(expected), rel=1e-5, abs=1e-6)


def test_linear_regression_recovers_the_line(shell: Shell, tmp_path: Path) -> None:
    found = ours(shell, "linear_regression.py", tmp_path, "2000")
    expected = by_torch(shell, "linear_regression.py", tmp_path, "2000")
    assert words(found) == words(expected)
    # The first weights are other random numbers; what is learned from them is the same.
    assert numbers(found)[-3:] == pytest.approx(numbers(expected)[-3:], abs=0.01)
    assert numbers(found)[-3:] == pytest.approx([2.0, 1.0, 0.0], abs=0.01)
    assert found.endswith("loaded again: True\n")


@pytest.mark.parametrize(
    ("name", "steps", "accuracy", "apart", "loss_apart"),
    [
        ("logistic_regression.py", "600", 65.0, 3.0, 0.25),
        ("feedforward_network.py", "600", 90.0, 3.0, 0.25),
        # After so few steps the first weights still tell: thousands of them would take minutes.
        ("recurrent_network.py", "300", 45.0, 25.0, 0.4),
    ],
)
def test_digits_are_read_as_well_as_by_torch(
    name: str,
    steps: str,
    accuracy: float,
    apart: float,
    loss_apart: float,
    shell: Shell,
    tmp_path: Path,
) -> None:
    found = ours(shell, name, tmp_path, steps)
    expected = by_torch(shell, name, tmp_path, steps)
    assert words(found) == words(expected)
    print(found, expected)
    assert numbers(found)[-1] > accuracy
    assert numbers(found)[-1] == pytest.approx(numbers(expected)[-1], abs=apart)
    assert numbers(found)[-2] == pytest.approx(numbers(expected)[-2], abs=loss_apart)


def test_an_lstm_begins_to_learn_as_in_torch(shell: Shell, tmp_path: Path) -> None:
    found = ours(shell, "lstm_network.py", tmp_path, "100")
    expected = by_torch(shell, "lstm_network.py", tmp_path, "100")
    assert words(found) == words(expected)
    # Its loss stays near ln 10, that of guessing, for hundreds of steps; by now it is below.
    for text in (found, expected):
        assert 2.25 < numbers(text)[-2] < 2.3016


def test_the_map_of_trainings_is_drawn(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "map_of_trainings.py"), "24", "300"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    assert done.stdout.startswith("576 trainings over lr, momentum: finished, 300 epochs")
    svg = (tmp_path / "map_of_trainings.svg").read_text(encoding="utf-8")
    assert "576 trainings: loss after 300 epochs, by lr and momentum" in svg
    assert (tmp_path / "map_of_trainings.png").stat().st_size > 10_000


def test_a_convolutional_network_reads_digits_as_well_as_that_of_torch(
    shell: Shell, tmp_path: Path
) -> None:
    found = ours(shell, "convolutional_network.py", tmp_path, "80")
    expected = by_torch(shell, "convolutional_network.py", tmp_path, "80")
    assert words(found) == words(expected)
    print(found, expected)
    assert numbers(found)[:-2] == numbers(expected)[:-2]
    # The first weights are other random numbers.
    assert numbers(found)[-1] > 80
    assert numbers(found)[-1] == pytest.approx(numbers(expected)[-1], abs=6.0)


def test_every_example_is_tested() -> None:
    tested = {"matrices", "gradients", "linear_regression", "logistic_regression"}
    tested |= {"feedforward_network", "convolutional_network"}
    tested |= {"recurrent_network", "lstm_network", "map_of_trainings"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested
