"""Image folders: a folder for each class, the images in it. Needs pillow (extra `data`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import DataError, require
from ._dataset import Dataset
from .transforms import Transform

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif"}
)
"""Endings of the files that are taken for images."""

_NO_CLASSES = (
    "{root} has no folders, one for each class.\n"
    "  expected: {root}/CLASS/IMAGE.png for every image\n  given: {given}"
)
_EMPTY_CLASS = (
    "{root}: no images for {names}.\n  expected: files that end in {endings}\n"
    "  fix: remove the empty folders, or pass is_valid_file="
)
_BROKEN = "{path}: the image cannot be read ({why}).\n  fix: replace or remove the file"


def load_image(path: str | os.PathLike[str]) -> Any:
    """Read an image file as a PIL image of red, green and blue.

    Raises:
        DataError: the file is damaged or no image.
        MissingExtraError: pillow is not installed.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> path = Path(tempfile.mkdtemp(), "dot.png")
        >>> Image.new("L", (2, 3)).save(path)
        >>> load_image(path).mode, load_image(path).size
        ('RGB', (2, 3))
    """
    image = require("PIL.Image", "data", "reading image files")
    try:
        with open(path, "rb") as file, image.open(file) as opened:
            return opened.convert("RGB")
    except FileNotFoundError:
        raise
    except Exception as error:  # pillow raises many kinds for a damaged file
        raise DataError(_BROKEN.format(path=path, why=error)) from error


class ImageFolder(Dataset):
    """Images sorted into one folder for each class: `root/cat/1.png`, `root/dog/a/2.jpg`.

    Args:
        root: the folder of the class folders.
        transform: applied to each PIL image; `transforms.ToTensor()` makes it a float32 tensor
            (3, height, width) from 0 to 1.
        target_transform: applied to each class number.
        loader: reads a file; `load_image` by default.
        is_valid_file: says whether a file is an image, instead of the file's ending.

    Attributes:
        classes: the folders' names, sorted.
        class_to_idx: name to class number.
        samples: (path, class number) of every image; also `imgs`.
        targets: the class numbers.

    Raises:
        DataError: no class folders, one without images, or (when it is fetched) a damaged image.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("cat", "dog"):
        ...     (root / name).mkdir()
        ...     Image.new("RGB", (4, 4)).save(root / name / "1.png")
        >>> pets = ImageFolder(root)
        >>> len(pets), pets.classes, pets[1][1]
        (2, ['cat', 'dog'], 1)
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Transform | None = None,
        target_transform: Callable[[int], Any] | None = None,
        loader: Callable[[str], Any] = load_image,
        is_valid_file: Callable[[str], bool] | None = None,
    ) -> None:
        self.root = root
        self.transform = transform
        self.target_transform = target_transform
        self.loader = loader
        folder = Path(root)
        if not folder.is_dir():
            raise DataError(_NO_CLASSES.format(root=root, given="no such folder"))
        self.classes = sorted(each.name for each in folder.iterdir() if each.is_dir())
        if not self.classes:
            count = sum(1 for _ in folder.iterdir())
            raise DataError(_NO_CLASSES.format(root=root, given=f"{count} files and no folders"))
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}
        self.samples = [
            (str(path), number)
            for name, number in self.class_to_idx.items()
            for path in _images(folder / name, is_valid_file)
        ]
        self.imgs = self.samples
        self.targets = [number for _, number in self.samples]
        empty = [name for name, k in self.class_to_idx.items() if k not in set(self.targets)]
        if empty:
            endings = ", ".join(sorted(EXTENSIONS))
            names = ", ".join(map(repr, empty))
            raise DataError(_EMPTY_CLASS.format(root=root, names=names, endings=endings))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Give an image and its class number."""
        path, label = self.samples[index]
        image = self.loader(path)
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            return image, self.target_transform(label)
        return image, label


def _images(folder: Path, is_valid: Callable[[str], bool] | None) -> list[Path]:
    def wanted(path: Path) -> bool:
        if is_valid is not None:
            return is_valid(str(path))
        return path.suffix.lower() in EXTENSIONS

    return sorted(path for path in folder.rglob("*") if path.is_file() and wanted(path))
