"""WAV, text and NumPy files: what comes back, and what is refused."""

import io
import json
import struct
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.data import (
    DataLoader,
    TextWindows,
    Vocabulary,
    read_npy,
    read_npz,
    read_text,
    read_wav,
    resample,
    split_text,
)
from chainrule.data.datasets import SoundFolder
from chainrule.errors import DataError, OptionError, ShapeError

signal = pytest.importorskip("scipy.signal")
wavfile = pytest.importorskip("scipy.io.wavfile")


def wav_bytes(
    content: bytes, kind: int, bits: int, channels: int = 1, rate: int = 8000, extra: bytes = b""
) -> bytes:
    """A WAV file with one chunk before the samples that readers have to pass over."""
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", kind, channels, rate, rate * block, block, bits) + extra
    chunks = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    for name, body in ((b"fmt ", head), (b"data", content)):
        chunks += name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def plain(array: Any, kind: int, bits: int) -> bytes:
    """Samples (frames, channels) as the bytes of that encoding."""
    if kind == 3:
        return array.astype(f"<f{bits // 8}").tobytes()
    whole = np.clip(np.round(array * 2.0 ** (bits - 1)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if bits == 8:
        return (whole + 128).astype(np.uint8).tobytes()
    if bits == 24:
        return whole.astype("<i4").reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return whole.astype(f"<i{bits // 8}").tobytes()


@pytest.mark.parametrize("kind, bits", [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("extensible", [False, True])
def test_wav_of_every_encoding(kind: int, bits: int, channels: int, extensible: bool) -> None:
    array = np.random.default_rng(bits).uniform(-1, 1, (37, channels))
    content = plain(array, kind, bits)
    if extensible:
        extra = (
            struct.pack("<HHIH", 22, bits, 0, kind) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
        )
        sound = read_wav(wav_bytes(content, 0xFFFE, bits, channels, 44100, extra))
    else:
        sound = read_wav(wav_bytes(content, kind, bits, channels, 44100))
    assert sound.rate == 44100 and sound.samples.shape == (channels, 37)
    assert sound.samples.dtype == np.float32
    rounding = 2.0 ** (1 - bits) if kind == 1 else 0
    np.testing.assert_allclose(sound.samples, array.T, atol=max(rounding, 1e-7))
    mono = read_wav(wav_bytes(content, kind, bits, channels), mono=True).samples
    np.testing.assert_allclose(mono[0], sound.samples.mean(axis=0), atol=1e-7)


def test_wav_files_as_other_programs_write_and_read_them(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    samples = (np.random.default_rng(0).uniform(-1, 1, (50, 2)) * 32767).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    sound = read_wav(path)
    assert sound.rate == 16000
    np.testing.assert_array_equal(sound.samples, samples.T.astype(np.float32) / 32768)
    assert wavfile.read(path)[0] == 16000
    streamed = bytearray(path.read_bytes())
    streamed[40:44] = b"\xff" * 4  # programs that do not know the length yet write this
    np.testing.assert_array_equal(read_wav(bytes(streamed)).samples, sound.samples)
    with path.open("rb") as file:
        assert read_wav(file).rate == 16000


def test_wav_refusals(tmp_path: Path) -> None:
    good = wav_bytes(b"\0\0" * 10, 1, 16)

    def refused(content: bytes, text: str) -> None:
        with pytest.raises(DataError, match=text):
            read_wav(content, name="a.wav")

    refused(b"", r"a.wav is not a WAV file(.|\n)*expected: RIFF")
    refused(b"OggS" + good, "starts with b'OggS'")
    refused(good[:-3], r"(?s)ends too early, in its samples.*17 bytes.*20 bytes")
    refused(good[:40], "ends too early, in its format")
    refused(good[:48], "holds no samples")
    refused(wav_bytes(b"\0" * 8, 0x55, 16), "(?s)MP3 of 16 bits.*convert the file")
    refused(wav_bytes(b"\0" * 8, 1, 12), "PCM of 12 bits")
    refused(wav_bytes(b"\0" * 8, 1, 16, rate=0), "contradicts itself")
    refused(wav_bytes(b"\0" * 8, 1, 16, channels=0), "contradicts itself")
    refused(wav_bytes(b"\0" * 7, 1, 16), "end in the middle of a frame")
    refused(wav_bytes(struct.pack("<f", np.nan), 3, 32), "not all finite")
    with pytest.raises(OptionError, match="rates must be 1 or more"):
        read_wav(good, rate=0)
    with pytest.raises(OptionError, match="choose a rate with a larger common divisor"):
        read_wav(good, rate=7_654_321)
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "none.wav")


@pytest.mark.parametrize(
    "rate, wanted", [(8000, 16000), (16000, 8000), (44100, 16000), (8000, 11025), (22050, 44100)]
)
def test_resampling(rate: int, wanted: int) -> None:
    lower = min(rate, wanted)
    times, others = np.arange(rate) / rate, np.arange(wanted) / wanted
    for frequency in (0.05, 0.2, 0.42):
        wave_of = lambda t, f=frequency * lower: np.sin(2 * np.pi * f * t + 1)  # noqa: E731
        error = resample(wave_of(times), rate, wanted)[200:-200] - wave_of(others)[200:-200]
        assert abs(error).max() < 1e-3
    # What the lower rate cannot hold is gone, not folded back.
    if wanted < rate:
        high = np.sin(2 * np.pi * 0.6 * wanted * times)
        assert abs(resample(high, rate, wanted)[200:-200]).max() < 1e-3
    noise = np.random.default_rng(0).normal(size=(2, rate // 4)).astype(np.float32)
    mine = resample(noise, rate, wanted)
    frames = rate // 4
    assert mine.shape == (2, -(-frames * wanted // rate))
    np.testing.assert_allclose(mine[1], resample(noise[1], rate, wanted), atol=1e-6)
    theirs = signal.resample_poly(noise, wanted, rate, axis=1)
    assert np.corrcoef(mine[0][50:-50], theirs[0][50 : mine.shape[1] - 50])[0, 1] > 0.98


@pytest.mark.parametrize("packed", [False, True])
def test_folders_and_zip_files_of_sounds(tmp_path: Path, packed: bool) -> None:
    root = tmp_path / ("words.zip" if packed else "words")
    contents = {
        f"{word}_{k}.wav": wav_bytes(struct.pack("<h", 1000 * k) * (5 + k), 1, 16)
        for word in ("no", "yes")
        for k in range(3)
    }
    if packed:
        with zipfile.ZipFile(root, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
            archive.writestr("readme.txt", "not a sound")
    else:
        root.mkdir()
        for name, content in contents.items():
            (root / name).write_bytes(content)
    data = SoundFolder(root, length=6)
    assert data.classes == ["no", "yes"] and data.targets == [0, 0, 0, 1, 1, 1]
    (x, y), *_ = DataLoader(data, 6, num_workers=3)
    assert x.shape == (6, 1, 6) and y.tolist() == data.targets
    np.testing.assert_allclose(x[1].numpy(), np.full((1, 6), 1000 / 32768))
    assert data.sound(5).samples.shape == (1, 7)
    faster = SoundFolder(root, rate=16000, keep=lambda name: name.startswith("yes"))
    assert len(faster) == 3 and faster.sound(0).samples.shape == (1, 10)
    by_number = SoundFolder(root, label=lambda name: name[-5], transform=lambda s: s.numel())
    assert by_number.classes == ["0", "1", "2"] and by_number[0] == (5, 0)


def test_sound_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist(.|\n)*a folder or a zip file"):
        SoundFolder(tmp_path / "none")
    with pytest.raises(DataError, match=r"holds no WAV files(.|\n)*end in \.wav"):
        SoundFolder(tmp_path)
    with pytest.raises(OptionError, match="length must be 1 or more"):
        SoundFolder(tmp_path, length=0)
    path = tmp_path / "a.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"a\.zip is not a zip file"):
        SoundFolder(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/torn.wav", wav_bytes(b"\0" * 100, 1, 16)[:-4])
    with pytest.raises(DataError, match=r"x/torn\.wav in a\.zip: the file ends too early"):
        SoundFolder(path)[0]
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x/torn\.wav cannot be unpacked \(Bad CRC"):
        SoundFolder(path)[0]


def test_digits_that_are_spoken(shared_data: Callable[[str], Path]) -> None:
    data = SoundFolder(shared_data("audio/fsdd-6speakers-10digits-10takes.zip"), length=4000)
    assert len(data) == 600 and data.classes == [str(k) for k in range(10)]
    sound = data.sound(0)
    assert sound.rate == 8000 and 0.01 < abs(sound.samples).max() <= 1
    x, y = next(iter(DataLoader(data, 32, shuffle=True)))
    assert x.shape == (32, 1, 4000) and y.dtype is cr.int64


@given(text=st.text(min_size=1, max_size=60))
def test_characters_come_back(text: str) -> None:
    letters = Vocabulary.of(text)
    numbers = letters.encode(text)
    assert numbers.dtype is cr.int64 and letters.decode(numbers) == text
    assert list(letters.tokens) == sorted(set(text))
    assert (
        Vocabulary.from_plain(json.loads(json.dumps(letters.to_plain()))).tokens == letters.tokens
    )


def test_words_and_rare_words(tmp_path: Path) -> None:
    text = 'He said: "stop, it\'s late!" (It was.)\nThe end.'
    words = Vocabulary.of(text, by="word")
    assert "it's" in words and "\n" in words and len(words) == len(set(split_text(text, "word")))
    assert words.decode(words.encode("He said: stop, it's late!\nThe end.")) == (
        "He said: stop, it's late!\nThe end."
    )
    few = Vocabulary.of(["a a b", "a c"], by="word", most=2)
    assert few.tokens == ("<unknown>", "a", "b")
    assert few.encode("a zebra b").tolist() == [1, 0, 2]
    assert Vocabulary.of("aab", least=2).tokens == ("<unknown>", "a")
    few.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json").tokens == few.tokens and "3 words" in repr(few)


def test_refusals_of_text(tmp_path: Path) -> None:
    letters = Vocabulary.of("abc")
    with pytest.raises(DataError, match=r"does not have the character 'd'(.|\n)*unknown=True"):
        letters.encode("abcd")
    with pytest.raises(DataError, match=r"no character number 3(.|\n)*expected: 0 to 2"):
        letters.decode([0, 3])
    with pytest.raises(DataError, match="the text is empty"):
        Vocabulary.of("")
    with pytest.raises(DataError, match="has 'a' twice"):
        Vocabulary(["a", "a"])
    with pytest.raises(OptionError, match='by must be "character" or "word"'):
        Vocabulary.of("abc", by="line")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="least and most must be 1 or more"):
        Vocabulary.of("abc", most=0)
    path = tmp_path / "t.txt"
    path.write_bytes(b"one\ntw\xffo")
    with pytest.raises(DataError, match=r"t\.txt, line 2: byte 0xff is not utf-8 text"):
        read_text(path)
    assert read_text(path, "latin-1") == "one\ntwÿo"
    with pytest.raises(OptionError, match="no encoding 'klingon'"):
        read_text(path, "klingon")
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"t\.txt is empty"):
        read_text(path)
    path.write_text('{"by": "character", "tokens": [1]}')
    with pytest.raises(DataError, match="not a vocabulary that was saved"):
        Vocabulary.load(path)


@given(count=st.integers(3, 40), length=st.integers(1, 9), stride=st.integers(1, 5))
def test_windows(count: int, length: int, stride: int) -> None:
    numbers = np.arange(count)
    if count < length + 1:
        with pytest.raises(DataError, match=f"at least {length + 1}"):
            TextWindows(numbers, length, stride)
        return
    data = TextWindows(numbers, length, stride)
    assert len(data) == len(range(0, count - length, stride))
    rows = [(x.tolist(), y.tolist()) for x, y in data]
    assert rows[-1][1][-1] == (len(data) - 1) * stride + length <= count - 1
    for (x, y), first in zip(rows, range(0, count, stride), strict=False):
        assert x == list(range(first, first + length)) and y == [k + 1 for k in x]
    batches = [(x, y) for a, b in DataLoader(data, 4) for x, y in zip(a.tolist(), b.tolist())]  # noqa: B905
    assert batches == rows


def test_refusals_of_windows() -> None:
    with pytest.raises(
        ShapeError, match=r"one sequence of whole numbers(.|\n)*float64, shape \(5,"
    ):
        TextWindows(np.ones(5), 2)
    with pytest.raises(OptionError, match="length and stride must be 1 or more"):
        TextWindows(np.arange(5), 0)
    with pytest.raises(IndexError, match="window 3 does not exist: there are 3"):
        TextWindows(np.arange(5), 2)[3]


def test_names_of_real_people(shared_data: Callable[[str], Path]) -> None:
    names = read_text(shared_data("text/names.txt")).split("\n")
    letters = Vocabulary.of(names)
    assert len(names) == 32033 and "".join(letters.tokens) == "abcdefghijklmnopqrstuvwxyz"
    table, lengths = letters.encode_all(names[:3])
    assert letters.decode(table[0][: lengths[0].item()]) == names[0] == "emma"


def test_shakespeare(shared_data: Callable[[str], Path]) -> None:
    text = read_text(shared_data("text/tinyshakespeare.txt"))
    letters = Vocabulary.of(text)
    assert len(text) == 1_115_394 and len(letters) == 65
    data = TextWindows(letters.encode(text), 64)
    x, y = next(iter(DataLoader(data, 32, shuffle=True)))
    assert x.shape == y.shape == (32, 64) and (x.numpy()[:, 1:] == y.numpy()[:, :-1]).all()
    assert letters.decode(letters.encode(text)) == text


@given(
    dtype=st.sampled_from(["f4", ">f8", "i2", "?", "U3", "c8"]),
    shape=st.lists(st.integers(0, 3), max_size=3),
    fortran=st.booleans(),
)
def test_numpy_files_come_back(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, shape: list[int], fortran: bool
) -> None:
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    array = np.asfortranarray(array) if fortran else array
    np.save(path, array)
    for memory_map in (False, True):
        read = read_npy(path, memory_map=memory_map)
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype
    np.savez_compressed(path.with_suffix(".npz"), a=array, b=np.arange(2))
    both = read_npz(path.with_suffix(".npz"))
    assert set(both) == {"a", "b"}
    np.testing.assert_array_equal(both["a"], array)


class Trap:
    """What a pickle could run: reading must not."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("code of the file was run",))


def test_numpy_refusals(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"(?s)a\.npy holds Python objects.*astype\(float\)"):
        read_npy(path)
    np.savez(tmp_path / "a.npz", x=np.array([Trap()], dtype=object))
    with pytest.raises(DataError, match=r"x\.npy in a\.npz holds Python objects"):
        read_npz(tmp_path / "a.npz")
    path.write_bytes(b"hello")
    with pytest.raises(DataError, match=r"a\.npy is not a NumPy file"):
        read_npy(path)
    with pytest.raises(DataError, match=r"a\.npy is not a NumPy file"):
        read_npz(path)
    np.save(path, np.arange(10.0))
    content = path.read_bytes()
    path.write_bytes(content[:-8])
    with pytest.raises(DataError, match=r"ends too early|more than the file holds"):
        read_npy(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 8)}
    )
    path.write_bytes(header.getvalue())
    with pytest.raises(DataError, match=r"(?s)more than the file holds.*1000000000000"):
        read_npy(path)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    with pytest.raises(DataError, match="more than the file holds"):
        read_npz(tmp_path / "a.npz")
    for reader in (read_npy, read_npz):
        with pytest.raises(FileNotFoundError):
            reader(tmp_path / "none")
