"""Readers given anything at all: they read it or raise a DataError, soon and in little memory.

CHAINRULE_FUZZ=20000 runs that many examples of each test.
"""

import gzip
import io
import os
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainrule.data import (
    ArrayFile,
    Vocabulary,
    read_csv,
    read_idx,
    read_npy,
    read_npz,
    read_text,
    read_wav,
    split_table,
    stream_table,
)
from chainrule.data.datasets import SoundFolder
from chainrule.errors import ChainruleError, DataError

MOST_MEMORY = 24 << 20
"""Bytes a reader may take for the small files here."""

EXAMPLES = int(os.environ.get("CHAINRULE_FUZZ", "150"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=20_000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def csv_seed() -> bytes:
    lines = ["name;size;when;says"]
    lines += [f'"n{k % 3}";{k / 3:.3f};2024-01-{k % 28 + 1:02};"a ""b"" c"' for k in range(12)]
    return "\n".join(lines).encode()


def idx_seed() -> bytes:
    return bytes([0, 0, 11, 2, 0, 0, 0, 3, 0, 0, 0, 5]) + bytes(range(30))


def wav_seed() -> bytes:
    head = struct.pack("<HHIIHH", 1, 2, 8000, 32000, 4, 16)
    body = b"fmt " + struct.pack("<I", 16) + head + b"LIST\2\0\0\0ab"
    body += b"data" + struct.pack("<I", 80) + bytes(80)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def npy_seed() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.arange(24.0).reshape(4, 6))
    return stream.getvalue()


def npz_seed() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.arange(24.0), y=np.eye(3))
    return stream.getvalue()


@st.composite
def damaged(draw: Any, seed: bytes) -> bytes:
    """Bytes of any kind, or a good file cut short, with bytes changed, put in or taken out."""
    if draw(st.integers(0, 4)) == 0:
        start = draw(st.sampled_from([b"", seed[:2], seed[:8], seed[: len(seed) // 2]]))
        return start + draw(st.binary(max_size=300))
    content = bytearray(seed)
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        change = draw(st.sampled_from(["set", "word", "drop", "insert", "cut", "repeat"]))
        if change == "set":
            content[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif change == "word":
            value = draw(st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**16]))
            content[place : place + 4] = struct.pack(draw(st.sampled_from("<>")) + "I", value)
        elif change == "drop":
            del content[place : place + draw(st.integers(1, 20))]
        elif change == "insert":
            content[place:place] = draw(st.binary(max_size=20))
        elif change == "cut":
            del content[place:]
        else:
            content[place:place] = content[place : place + draw(st.integers(1, 60))] * 3
    return bytes(content)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "file"


def read_or_refuse(reader: Callable[..., Any], *arguments: Any) -> Any:
    """Call a reader; only our own errors may come out, and little memory may be taken."""
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return reader(*arguments)
    except ChainruleError as error:
        assert isinstance(error, DataError), error
        assert str(error).strip()
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_MEMORY, f"{peak:,} bytes"


@fuzz
@given(content=damaged(csv_seed()))
def test_csv(place: Path, content: bytes) -> None:
    path = place.with_suffix(".csv")
    path.write_bytes(content)
    table = read_or_refuse(read_csv, path)
    if table is not None:
        assert str(table) and all(len(column.values) == len(table) for column in table.columns)
        target = table.names[0]
        made = read_or_refuse(split_table, table, target)
        if made is not None:
            assert np.isfinite(made[0].inputs).all() and np.isfinite(made[1].inputs).all()
            plain = made[2].to_plain()
            assert type(made[2]).from_plain(plain).to_plain() == plain


@fuzz
@given(content=damaged(csv_seed()))
def test_csv_streams(place: Path, content: bytes) -> None:
    path = place.with_suffix(".csv")
    path.write_bytes(content)

    def walk() -> int:
        train, validation, _ = stream_table(path, "size", rows=5)
        return sum(len(x) for stream in (train, validation) for x, _ in stream.batches(4))

    read_or_refuse(walk)


@fuzz
@given(
    text=st.text(alphabet=st.sampled_from(list("a1-,;\t|\"'\n\r .é\u2028_eE+/:T")), max_size=200)
)
def test_csv_of_telling_characters(place: Path, text: str) -> None:
    path = place.with_suffix(".csv")
    path.write_bytes(text.encode())
    table = read_or_refuse(read_csv, path)
    if table is not None:
        assert table.lines.max() <= text.count("\n") + text.count("\r") + 1


@fuzz
@given(content=damaged(idx_seed()), compress=st.booleans())
def test_idx(place: Path, content: bytes, compress: bool) -> None:
    place.write_bytes(gzip.compress(content) if compress else content)
    read_or_refuse(read_idx, place)
    read_or_refuse(ArrayFile, place)


@fuzz
@given(content=damaged(gzip.compress(idx_seed())))
def test_compressed_idx(place: Path, content: bytes) -> None:
    place.write_bytes(content)
    read_or_refuse(read_idx, place)


@fuzz
@given(content=damaged(wav_seed()))
def test_wav(content: bytes) -> None:
    sound = read_or_refuse(read_wav, content)
    if sound is not None:
        assert np.isfinite(sound.samples).all() and sound.rate > 0


def zip_seed() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("yes/1.wav", wav_seed())
        archive.writestr("no/1.wav", wav_seed())
    return stream.getvalue()


@fuzz
@given(content=damaged(zip_seed()))
def test_zip_of_wav(place: Path, content: bytes) -> None:
    path = place.with_suffix(".zip")
    path.write_bytes(content)
    sounds = read_or_refuse(SoundFolder, path)
    for index in range(len(sounds) if sounds is not None else 0):
        read_or_refuse(sounds.sound, index)


@fuzz
@given(content=damaged(npy_seed()))
def test_npy(place: Path, content: bytes) -> None:
    path = place.with_suffix(".npy")
    path.write_bytes(content)
    read_or_refuse(read_npy, path)
    read_or_refuse(lambda: np.asarray(read_npy(path, memory_map=True)).sum())
    rows = read_or_refuse(ArrayFile, path)
    if rows is not None and len(rows):
        read_or_refuse(rows.read, np.array([0, len(rows) - 1]))


@fuzz
@given(header=st.text(max_size=80), size=st.integers(0, 200))
def test_npy_headers(place: Path, header: str, size: int) -> None:
    content = header.encode()
    path = place.with_suffix(".npy")
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(content)) + content + bytes(size))
    read_or_refuse(read_npy, path)


NUMBERS = st.sampled_from(["0", "-1", "3", "10**9", "9" * 30, "2.5", "'x'", "None", "()", "True"])


@fuzz
@given(
    kind=st.sampled_from(
        ["'<f8'", "'|O'", "'V0'", "'<U0'", "[('a', '<f4')]", "'M8[s]'", "3", "'f'"]
    ),
    order=st.sampled_from(["True", "False", "1"]),
    shape=st.lists(NUMBERS, max_size=70),
)
def test_npy_headers_that_look_right(place: Path, kind: str, order: str, shape: list[str]) -> None:
    axes = ", ".join(shape) + ("," if len(shape) == 1 else "")
    header = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': ({axes}), }}\n".encode()
    path = place.with_suffix(".npy")
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(48))
    read_or_refuse(read_npy, path)
    read_or_refuse(ArrayFile, path)


@fuzz
@given(content=damaged(npz_seed()))
def test_npz(place: Path, content: bytes) -> None:
    path = place.with_suffix(".npz")
    path.write_bytes(content)
    read_or_refuse(read_npz, path)


@fuzz
@given(content=damaged("Größe, and\r\nmore “words”.".encode()))
def test_text(place: Path, content: bytes) -> None:
    path = place.with_suffix(".txt")
    path.write_bytes(content)
    text = read_or_refuse(read_text, path)
    if text is not None:
        letters = Vocabulary.of(text)
        assert letters.decode(letters.encode(text)) == text
        words = read_or_refuse(Vocabulary.of, text, "word")
        if words is not None:
            once = words.decode(words.encode(text))
            assert words.decode(words.encode(once)) == once
    read_or_refuse(Vocabulary.load, path)


@fuzz
@given(content=damaged(b'{"by": "character", "tokens": ["a", "b"]}'))
def test_saved_vocabularies(place: Path, content: bytes) -> None:
    path = place.with_suffix(".json")
    path.write_bytes(content)
    try:
        Vocabulary.load(path)
    except ChainruleError as error:
        assert str(error)


def test_bombs(tmp_path: Path) -> None:
    """Small files that unpack to far more than they say."""
    bomb = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 9]) + bytes(64 << 20))
    (tmp_path / "a").write_bytes(bomb)
    assert read_or_refuse(read_idx, tmp_path / "a") is None
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy_seed() + bytes(64 << 20))
    read_or_refuse(read_npz, tmp_path / "a.npz")
    (tmp_path / "a.csv").write_text('a,b\n"' + "x" * (8 << 20))
    assert read_or_refuse(stream_table, tmp_path / "a.csv", "a") is None
