"""WAV files: PCM of 8, 16, 24 and 32 bits and floats, and changing the sampling rate.

The format: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0" (1991)
and Microsoft's WAVEFORMATEXTENSIBLE.
"""

from __future__ import annotations

import io
import math
import os
import struct
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import DataError, OptionError
from ._binary import read_exactly

Samples = npt.NDArray[np.float32]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_HIGHEST_RATE = 10_000_000
_CROSSINGS = 32
"""Zero crossings of the sinc on each side of a resampled point: with this window it is flat up to
0.42 of the lower rate, and nothing passes from 0.52 on."""
_BETA = 9.0
"""Of the Kaiser window: side lobes of about -90 dB."""
_ROLL_OFF = 0.945
_MOST_PHASES = 1 << 16
_NAMES = {2: "ADPCM", 6: "A-law", 7: "mu-law", 0x55: "MP3"}


class Sound(NamedTuple):
    """Samples, float32 (channels, frames) from -1 to 1, and how many frames a second there are."""

    samples: Samples
    rate: int


def read_wav(
    file: str | os.PathLike[str] | bytes | IO[bytes],
    *,
    rate: int | None = None,
    mono: bool = False,
    name: str | None = None,
) -> Sound:
    """Read a WAV file.

    Args:
        file: a path, the file's bytes, or an open binary file.
        rate: frames a second to resample to; None keeps the file's.
        mono: give the mean of the channels as one channel.
        name: what to call the file in messages.

    Returns:
        (samples, rate): float32 (channels, frames) from -1 to 1, and the frames a second.

    Raises:
        DataError: no WAV file, one that ends too early, or an encoding other than PCM of 8, 16, 24
            or 32 bits and floats of 32 or 64.
        OptionError: a rate below 1.
        FileNotFoundError: when there is no such file.

    Example:
        >>> header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 42, b"WAVE", b"fmt ", 16,
        ...                      1, 1, 8000, 16000, 2, 16, b"data", 6)
        >>> sound = read_wav(header + struct.pack("<3h", 0, 16384, -32768))
        >>> sound.samples.tolist(), sound.rate
        ([[0.0, 0.5, -1.0]], 8000)
    """
    if isinstance(file, bytes):
        stream: IO[bytes] = io.BytesIO(file)
        sound = _read(stream, name or "the WAV file")
    elif isinstance(file, str | os.PathLike):
        with Path(file).open("rb") as stream:
            sound = _read(stream, name or Path(file).name)
    else:
        sound = _read(file, name or getattr(file, "name", None) or "the WAV file")
    samples = sound.samples.mean(axis=0, keepdims=True) if mono else sound.samples
    if rate is None or rate == sound.rate:
        return Sound(samples, sound.rate)
    return Sound(resample(samples, sound.rate, rate), rate)


def _read(stream: IO[bytes], source: str) -> Sound:
    start = stream.read(12)
    if len(start) < 12 or start[:4] != b"RIFF" or start[8:] != b"WAVE":
        raise DataError(
            f"{source} is not a WAV file.\n  given: it starts with {start[:4]!r}\n"
            "  expected: RIFF, then WAVE"
        )
    encoding = None
    while len(head := stream.read(8)) == 8:
        kind, size = struct.unpack("<4sI", head)
        if kind == b"fmt ":
            encoding = _encoding(read_exactly(stream, size, source, "its format"), source)
        elif kind == b"data":
            if encoding is None:
                raise DataError(f"{source}: the samples come before their format.")
            content = _content(stream, size, source)
            return Sound(_decode(content, *encoding[1:], source), encoding[0])
        else:
            _skip(stream, size)
        if size % 2:
            stream.read(1)  # chunks start at even places
    raise DataError(
        f"{source} holds no samples.\n  expected: a chunk called 'data' after the format"
    )


def _skip(stream: IO[bytes], size: int) -> None:
    while size > 0 and (piece := stream.read(min(size, 1 << 16))):
        size -= len(piece)


def _content(stream: IO[bytes], size: int, source: str) -> bytes:
    if size == 0xFFFFFFFF:  # written by programs that stream: up to the end of the file
        return stream.read()
    return read_exactly(stream, size, source, "its samples")


def _encoding(head: bytes, source: str) -> tuple[int, int, int, int]:
    """Give rate, channels, kind (PCM or float) and bits of a sample."""
    if len(head) < 16:
        raise DataError(f"{source}: its format has {len(head)} bytes; expected 16 or more")
    kind, channels, rate, _, block, bits = struct.unpack("<HHIIHH", head[:16])
    if kind == _EXTENSIBLE and len(head) >= 26:
        kind = struct.unpack("<H", head[24:26])[0]
    if (kind, bits) not in {(_PCM, b) for b in (8, 16, 24, 32)} | {(_FLOAT, 32), (_FLOAT, 64)}:
        given = {_PCM: "PCM", _FLOAT: "float"}.get(kind) or _NAMES.get(kind) or f"encoding {kind}"
        raise DataError(
            f"{source}: its encoding is not supported.\n  given: {given} of {bits} bits\n"
            "  expected: PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64\n"
            "  fix: convert the file, for example with ffmpeg -i IN -c:a pcm_s16le OUT.wav"
        )
    if not channels or not 1 <= rate <= _HIGHEST_RATE or block != channels * bits // 8:
        raise DataError(
            f"{source}: its format contradicts itself.\n"
            f"  given: {channels} channels of {bits} bits in {block} bytes, {rate} frames a second"
        )
    return rate, channels, kind, bits


def _decode(content: bytes, channels: int, kind: int, bits: int, source: str) -> Samples:
    """Turn bytes into float32 (channels, frames)."""
    frame = channels * bits // 8
    if len(content) % frame:
        raise DataError(
            f"{source}: the samples end in the middle of a frame.\n"
            f"  given: {len(content):,} bytes\n  expected: a multiple of {frame}"
        )
    if kind == _FLOAT:
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.frombuffer(content, f"<f{bits // 8}").astype(np.float32)
        if not np.isfinite(values).all():
            raise DataError(f"{source}: its samples are not all finite numbers.")
    else:
        values = _integers(content, bits)
    return np.ascontiguousarray(values.reshape(-1, channels).T)


def _integers(content: bytes, bits: int) -> Samples:
    if bits == 8:  # the only width without a sign
        unsigned = np.frombuffer(content, np.uint8).astype(np.float32)
        return (unsigned - np.float32(128)) / np.float32(128)
    if bits == 24:
        wide = np.zeros((len(content) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        whole: npt.NDArray[Any] = wide.view("<i4")[:, 0]
        bits = 32
    else:
        whole = np.frombuffer(content, f"<i{bits // 8}")
    return whole.astype(np.float32) * np.float32(2.0 ** (1 - bits))


def resample(samples: npt.NDArray[Any], rate: int, wanted: int) -> Samples:
    """Change how many samples a second there are, by interpolation with a windowed sinc.

    What lies above half the lower rate is filtered out (Smith, "Digital Audio Resampling", 2002;
    Kaiser window). Samples beyond the ends count as zero.

    Args:
        samples: shape (..., frames).
        rate: frames a second now.
        wanted: frames a second wanted.

    Returns:
        float32 (..., ceil(frames * wanted / rate)).

    Raises:
        OptionError: rates below 1, or whose ratio has more than 65,536 different phases.

    Example:
        >>> second = np.sin(2 * np.pi * 100 * np.arange(8000) / 8000)
        >>> faster = resample(second, 8000, 16000)
        >>> exact = np.sin(2 * np.pi * 100 * np.arange(16000) / 16000)
        >>> bool(abs(faster - exact)[100:-100].max() < 1e-4)
        True
    """
    if min(rate, wanted) < 1:
        raise OptionError(f"resample: rates must be 1 or more.\n  given: {rate} and {wanted}")
    divisor = math.gcd(rate, wanted)
    up, down = wanted // divisor, rate // divisor
    if up > _MOST_PHASES:
        raise OptionError(
            f"resample: {rate} to {wanted} frames a second is a ratio of {up}:{down}.\n"
            f"  expected: a ratio of whole numbers up to {_MOST_PHASES}\n"
            "  fix: choose a rate with a larger common divisor"
        )
    samples = np.asarray(samples, np.float32)
    frames = samples.shape[-1]
    if up == down or frames == 0:
        return samples.copy()
    kernels, half = _kernels(up, down)
    count = -(-frames * up // down)
    padded = np.zeros((*samples.shape[:-1], frames + 2 * half + 1), np.float32)
    padded[..., half : half + frames] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=-1)
    result = np.empty((*samples.shape[:-1], count), np.float32)
    # A piece at a time: the gathered windows are some tens of times the samples.
    for start in range(0, count, 1 << 14):
        place = np.arange(start, min(start + (1 << 14), count)) * down
        here = windows[..., place // up, :]
        result[..., start : start + len(place)] = np.einsum(
            "...nk,nk->...n", here, kernels[place % up]
        )
    return result


def _kernels(up: int, down: int) -> tuple[Samples, int]:
    """Give the filter of each phase, float32 (up, 2 * half + 1), and `half`."""
    cutoff = _ROLL_OFF * min(1.0, up / down)
    half = math.ceil(_CROSSINGS / cutoff)
    if up * (2 * half + 1) > 1 << 26:
        raise OptionError(f"resample: the ratio {up}:{down} needs too large a filter.")
    offsets = np.arange(-half, half + 1) - (np.arange(up) / up)[:, None]
    inside = np.clip(1 - (offsets * cutoff / _CROSSINGS) ** 2, 0, None)
    kernels = cutoff * np.sinc(offsets * cutoff) * np.i0(_BETA * np.sqrt(inside)) / np.i0(_BETA)
    kernels[inside == 0] = 0
    kernels /= kernels.sum(axis=1, keepdims=True)  # a constant stays that constant
    return kernels.astype(np.float32), half
