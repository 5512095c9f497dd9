"""MNIST and its relatives from IDX files on disk, with torchvision's arguments and attributes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..tensor import Tensor, from_numpy
from ._dataset import Dataset
from ._fetch import BatchReader
from ._idx import read_idx
from .transforms import Transform, for_batches

_FILES = {
    True: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    False: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_MISSING = (
    "{kind}: the files are not there.\n"
    "  looked in: {folders}\n"
    "  expected: {files} (each also as .gz)\n"
    "  fix: {download}put these files into {best}; {source}"
)
_NO_DOWNLOAD = "chainrule downloads nothing (download=True has no effect). "


class MNIST(Dataset):
    """Handwritten digits: 60,000 to train on, 10,000 to test, 28 x 28 grey levels, classes 0 to 9.

    The files are read from `root/MNIST/raw` (where torchvision puts them), `root/raw` or `root`.

    Args:
        root: the folder.
        train: the training images, or the test images.
        transform: applied to each image, a uint8 array (28, 28); `transforms.ToTensor()` makes it
            a float32 tensor (1, 28, 28) from 0 to 1.
        target_transform: applied to each label.
        download: accepted for torchvision's sake; nothing is downloaded.

    Attributes:
        data: uint8 tensor (images, 28, 28).
        targets: int64 tensor (images,).
        classes: the names of the classes.

    Raises:
        DataError: files that are missing, damaged, or do not belong together.

    Example:
        >>> from chainrule.data import datasets, transforms
        >>> MNIST is datasets.MNIST
        True
        >>> MNIST("no-such-folder")
        Traceback (most recent call last):
        chainrule.errors.DataError: MNIST: the files are not there...
    """

    classes: ClassVar[list[str]] = [
        "0 - zero",
        "1 - one",
        "2 - two",
        "3 - three",
        "4 - four",
        "5 - five",
        "6 - six",
        "7 - seven",
        "8 - eight",
        "9 - nine",
    ]
    source: ClassVar[str] = "torchvision downloads the same files"

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Callable[[int], Any] | None = None,
        download: bool = False,
    ) -> None:
        self.root = root
        self.train = train
        self.transform = transform
        self.target_transform = target_transform
        images_path, labels_path = self._find(Path(root), download)
        self._images, self._labels = _pair(images_path, labels_path, len(self.classes))
        self.data: Tensor = from_numpy(self._images)
        self.targets: Tensor = from_numpy(self._labels)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Each class's name and number."""
        return {name: number for number, name in enumerate(self.classes)}

    def _find(self, root: Path, download: bool) -> list[Path]:
        kind = type(self).__name__
        folders = [root / kind / "raw", root / "raw", root]
        names = _FILES[bool(self.train)]
        for folder in folders:
            found = [_one_of(folder, name) for name in names]
            if all(found):
                return [path for path in found if path]
        raise DataError(
            _MISSING.format(
                kind=kind,
                folders=", ".join(map(str, folders)),
                files=" and ".join(names),
                download=_NO_DOWNLOAD if download else "",
                best=folders[0],
                source=self.source,
            )
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Give an image and its label."""
        image: Any = self._images[index]
        label: Any = int(self._labels[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return image, label

    def batch_reader(self) -> BatchReader | None:
        """Give the function that reads whole batches, where the transform allows it."""
        transform = for_batches(self.transform)
        if transform is None or self.target_transform is not None:
            return None
        images, labels = self._images, self._labels
        return lambda indices: (transform(images[indices]), labels[indices])

    def __repr__(self) -> str:
        part = "train" if self.train else "test"
        return f"{type(self).__name__}({str(self.root)!r}, {part}, {len(self)} images)"


class FashionMNIST(MNIST):
    """Pictures of clothes, in MNIST's format: files in `root/FashionMNIST/raw`.

    Arguments and attributes are those of `MNIST`.

    Example:
        >>> FashionMNIST.classes[9]
        'Ankle boot'
    """

    classes: ClassVar[list[str]] = [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ]


class KMNIST(MNIST):
    """Cursive Japanese characters, in MNIST's format: files in `root/KMNIST/raw`.

    Arguments and attributes are those of `MNIST`.

    Example:
        >>> KMNIST.classes[:3]
        ['o', 'ki', 'su']
    """

    classes: ClassVar[list[str]] = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]


def _one_of(folder: Path, name: str) -> Path | None:
    dotted = name.replace("-idx", ".idx")  # as some archives spell it
    for spelling in (name, f"{name}.gz", dotted, f"{dotted}.gz"):
        if (folder / spelling).is_file():
            return folder / spelling
    return None


def _pair(
    images_path: Path, labels_path: Path, classes: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Read images and labels, and check that they belong together."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.ndim != 3 or images.size == 0:
        raise DataError(
            f"{images_path.name} holds no images.\n"
            f"  given: {images.dtype}, shape {images.shape}\n"
            "  expected: uint8, shape (images, height, width)"
        )
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{labels_path.name} does not belong to {images_path.name}.\n"
            f"  given: {labels.dtype} labels of shape {labels.shape}\n"
            f"  expected: uint8, shape ({len(images)},)"
        )
    if int(labels.max()) >= classes:
        raise DataError(
            f"{labels_path.name}: example {int(labels.argmax())} has the label {labels.max()}.\n"
            f"  expected: labels from 0 to {classes - 1}"
        )
    return images, labels.astype(np.int64)
