"""A folder, or a zip file, of WAV files as a data set."""

from __future__ import annotations

import io
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..errors import DataError, OptionError
from ..tensor import from_numpy
from ._binary import check_member
from ._dataset import Dataset
from ._wav import Sound, read_wav


class SoundFolder(Dataset):
    """WAV files of a folder or a zip file, each with the number of its class.

    Args:
        root: the folder, or the zip file.
        label: from a file's path inside root ("seven/3.wav") to its class; by default the folder
            that it lies in, or, where it lies in none, its name up to the first "_" or the ending.
        rate: frames a second to resample to; None keeps each file's.
        mono: give the mean of the channels as one channel.
        length: frames of every example: longer ones are cut, shorter ones get zeros at their end.
        transform: applied to each sound, a float32 tensor (channels, frames).
        keep: says by a file's path whether it belongs.

    Attributes:
        names: the files' paths inside root, sorted.
        classes: the classes, sorted.
        targets: the number of each file's class.

    Raises:
        DataError: no WAV files there; when it is fetched, a file that cannot be read.

    Example:
        >>> import struct, tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 38, b"WAVE", b"fmt ", 16,
        ...                    1, 1, 8000, 8000, 1, 8, b"data", 2)
        >>> for name in ("yes_1.wav", "no_1.wav"):
        ...     _ = (root / name).write_bytes(head + bytes([128, 255]))
        >>> words = SoundFolder(root, length=4)
        >>> words.classes, words[0]
        (['no', 'yes'], (tensor([[0.    , 0.9922, 0.    , 0.    ]]), 0))
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        label: Callable[[str], str] | None = None,
        rate: int | None = None,
        mono: bool = True,
        length: int | None = None,
        transform: Callable[[Any], Any] | None = None,
        keep: Callable[[str], bool] | None = None,
    ) -> None:
        if length is not None and length < 1:
            raise OptionError(f"SoundFolder: length must be 1 or more.\n  given: {length}")
        self.root = Path(root)
        self.rate, self.mono, self.length, self.transform = rate, mono, length, transform
        self._zip = None if self.root.is_dir() else _open_zip(self.root)
        self._size = self.root.stat().st_size
        # A zip file has one position, which workers of a loader would move at the same time.
        self._lock = threading.Lock()
        found = self._zip.namelist() if self._zip else _files(self.root)
        self.names = sorted(
            name for name in found if name.lower().endswith(".wav") and (keep is None or keep(name))
        )
        if not self.names:
            raise DataError(f"{root} holds no WAV files.\n  expected: files that end in .wav")
        labels = [(label or _label)(name) for name in self.names]
        self.classes = sorted(set(labels))
        number = {name: k for k, name in enumerate(self.classes)}
        self.targets = [number[each] for each in labels]

    def __len__(self) -> int:
        return len(self.names)

    def sound(self, index: int) -> Sound:
        """Give one file's samples (channels, frames) and rate, before length and transform."""
        name = self.names[index]
        if self._zip is None:
            return read_wav(self.root / name, rate=self.rate, mono=self.mono, name=name)
        with self._lock:
            content = _member(self._zip, name, self._size, self.root.name)
        where = f"{name} in {self.root.name}"
        return read_wav(io.BytesIO(content), rate=self.rate, mono=self.mono, name=where)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Give a sound, tensor (channels, frames), and the number of its class."""
        samples = self.sound(index).samples
        if self.length is not None:
            fixed = np.zeros((len(samples), self.length), np.float32)
            part = samples[:, : self.length]
            fixed[:, : part.shape[1]] = part
            samples = fixed
        sound: Any = from_numpy(samples)
        return (self.transform(sound) if self.transform else sound), self.targets[index]


def _files(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]


def _label(name: str) -> str:
    path = PurePosixPath(name)
    return path.parent.name or path.stem.split("_")[0]


def _open_zip(path: Path) -> zipfile.ZipFile:
    if not path.exists():
        raise DataError(f"{path} does not exist.\n  expected: a folder or a zip file of WAV files")
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
        raise DataError(f"{path.name} is not a zip file, or a damaged one ({error}).") from None


def _member(archive: zipfile.ZipFile, name: str, size: int, source: str) -> bytes:
    info = archive.getinfo(name)
    check_member(info, size, source)
    try:
        return archive.read(info)
    except (
        ValueError,  # a name that is no text
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,  # a place outside the file
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise DataError(f"{source}: {name} cannot be unpacked ({error}).") from None
