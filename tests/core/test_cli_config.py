"""Settings in TOML: there and back exactly, errors with their line; and readers under fire."""

import json
import string
import time
import tomllib
import tracemalloc
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chainrule.cli.config import (
    LARGEST,
    SETTINGS,
    config_text,
    line_of,
    parse_config,
    read_config,
    save_config,
)
from chainrule.cli.recipe import Recipe
from chainrule.cli.settings import gather
from chainrule.cli.table_model import KEY, open_model
from chainrule.errors import ChainruleError, OptionError
from chainrule.io import StorageError, decode_arrays, encode_arrays, load, read_arrays, read_header

texts = st.text(st.characters(codec="utf-8"), max_size=12)
wholes = st.integers(1, 2**63 - 1)
settings = st.fixed_dictionaries(
    {
        "file": texts,
        "target": texts,
        "epochs": wholes,
        "hidden": texts,
        "lr": st.floats(0, allow_infinity=False, allow_nan=False),
        "batch_size": wholes,
        "seed": st.integers(0, 2**63 - 1),
        "drop": st.lists(texts, max_size=3).map(tuple),
        "engine": texts,
    },
    optional={"task": texts, "run": texts, "report": texts, "model": texts},
)


@given(settings)
@example({"target": "a\x7f\x00\u2028\"'\\\r\nlr = 2", "lr": 5e-324})
def test_every_setting_comes_back_exactly(given_settings):
    text = config_text(given_settings)
    assert parse_config(text.encode(), "a.toml") == given_settings


def test_every_setting_of_a_training_is_in_the_file():
    kept = {field.name for field in fields(Recipe)}
    assert set(SETTINGS) == kept | {"run", "report", "model"}
    written = config_text(asdict(Recipe("a.csv", "kind", task="regression")))
    assert {line.split(" = ")[0] for line in written.splitlines()[1:]} == kept


def test_a_whole_training_comes_back_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("set").mkdir()
    given_options = {
        "file": Path("set/t.csv"), "target": "kind", "drop": ["a", 'b"'], "lr": 1e-05,
        "hidden": "8,4", "run": "first", "model": Path("set/m.safetensors"), "epochs": None,
    }  # fmt: skip
    made = gather(given_options, None, Path("set/s.toml"))
    text = Path("set/s.toml").read_text()
    assert 'file = "t.csv"' in text  # the folder can move
    assert "epochs = 100" in text
    monkeypatch.chdir("/")
    again = gather({}, tmp_path / "set/s.toml", None)
    assert again["recipe"] == made["recipe"]
    assert again["name"] == "first"
    assert again["model"] == tmp_path / "set/m.safetensors"


def test_options_of_the_command_line_win(command, tmp_path):
    rows = [f"{k % 9},{'b' if k % 9 > 4 else 'a'}" for k in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["x,kind", *rows]) + "\n")
    config = tmp_path / "s.toml"
    config.write_text(
        'file = "t.csv"\ntarget = "kind"\nepochs = 3\nlr = 1\nhidden = [4, 2]\nengine = "numpy"\n'
    )
    status, out, err = command("train", "--config", config, "--epochs", 2, "--json")
    assert status == 0, err
    found = json.loads(out)["settings"]
    assert (found["epochs"], found["lr"], found["hidden"]) == (2, 1, "4,2")
    assert "2 rows" not in out
    saved = tmp_path / "all.toml"
    words = ("train", "--config", config, "--lr", "0.25", "--save-config", saved)
    assert command(*words)[0] == 0
    assert read_config(saved) == read_config(config) | {
        "lr": 0.25, "batch_size": 32, "seed": 0, "drop": (),
    }  # fmt: skip


WRONG = [
    ('target = "a"\nepoch = 3\n', ["s.toml, line 2: there is no setting 'epoch'", "'epochs'?"]),
    ("batch-size = 3\n", ["line 1", "did you mean 'batch_size'?"]),
    ('"odd key" = 1\n', ["line 1: there is no setting 'odd key'", "settings: file, target"]),
    ("\n[train]\nlr = 1\n", ["line 2: there is no setting 'train'"]),
    ("[[drop]]\na = 1\n", ["line 1: drop must be a list of columns"]),
    ('epochs = "ten"\n', ["line 1: epochs must be a whole number of 1 or more", "given: 'ten'"]),
    ("epochs = 0\n", ["given: 0"]),
    ("epochs = true\n", ["epochs must be a whole number", "given: True"]),
    ("epochs = 2.0\n", ["given: 2.0"]),
    ("epochs.a = 1\n", ["line 1: epochs must be"]),
    ("seed = -1\n", ["seed must be a whole number of 0 or more"]),
    ("lr = nan\n", ["lr must be a number of 0 or more", "given: nan"]),
    ("lr = -1e-3\n", ["given: -0.001"]),
    ("target = 3\n", ["target must be the name of a column, in quotes"]),
    ('drop = "a"\n', ["drop must be a list of columns", "given: 'a'"]),
    ('drop = ["a", 1]\n', ["given: ['a', 1]"]),
    ("hidden = [8, -4]\n", ['hidden must be "64,32" or [64, 32]']),
    ('target = """\nlr = 1\n"""\nlr = ""\n', ["line 4: lr must be"]),
    ('drop = [\n"a",\n]\n\nrun = 3\n', ["line 5: run must be"]),
    ("lr = 1\nlr = 2\n", ["cannot be read", "line 2"]),
    ("lr 0.1\n", ["cannot be read", "line 1", "expected: TOML"]),
    ("lr = 2024-01-01\n", ["lr must be"]),
    (f"lr = {'[' * 9000}\n", ["cannot be read"]),
    (f"seed = {'9' * 5000}\n", ["cannot be read"]),
    (f"seed = {'9' * 400}\n", ["seed must be", "a huge number"]),
    (f"lr = {'9' * 400}\n", ["lr must be"]),
    ("x" * (LARGEST + 1), ["more than 32,768 bytes"]),
]


@pytest.mark.parametrize(("text", "expected"), WRONG, ids=range(len(WRONG)))
def test_wrong_settings_name_line_and_nearest_key(text, expected):
    with pytest.raises(OptionError) as caught:
        parse_config(text.encode(), "s.toml")
    for part in expected:
        assert part in str(caught.value)
    assert len(str(caught.value)) < 500


def test_bytes_that_are_no_text_name_their_line():
    with pytest.raises(OptionError, match=r"s.toml, line 2: this is not UTF-8 text"):
        parse_config(b"lr = 1\nrun = '\xff'\n", "s.toml")


def test_settings_that_are_missing_are_named(command, tmp_path):
    status, _, err = command("train")
    assert status == 2
    assert "which table to train on" in err
    config = tmp_path / "s.toml"
    config.write_text('file = "t.csv"\n')
    status, _, err = command("train", "--config", config)
    assert status == 2
    assert "which column to predict (--target)" in err
    assert command("train", "--config", tmp_path / "none.toml")[0] == 2
    assert command("train", "--config", tmp_path)[0] == 2
    status, _, err = command("train", "t.csv", "--target", "x", "--model", "m.bin")
    assert status == 2
    assert "ends in .safetensors" in err


# What cannot be written


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "t.csv"
    rows = [f"{k % 9},{'b' if k % 9 > 4 else 'a'}" for k in range(40)]
    path.write_text("\n".join(["x,kind", *rows]) + "\n")
    return path


OUTPUTS = ["--save-config", "--model", "--report"]


@pytest.mark.parametrize("option", OUTPUTS)
def test_a_place_that_is_not_there_is_said_before_training(command, table, option):
    place = table.parent / "none" / "m.safetensors"
    status, out, err = command("train", table, "--target", "kind", option, place)
    assert (status, out) == (2, "")
    assert f"cannot write {place}: there is no folder" in err


@pytest.mark.parametrize("option", OUTPUTS)
def test_a_read_only_folder_is_said_before_training(command, table, unwritable, option):
    place = table.parent / "shut" / "m.safetensors"
    place.parent.mkdir()
    place.write_text("old")
    with unwritable(place.parent):
        status, out, err = command("train", table, "--target", "kind", option, place)
    assert (status, out) == (1, "")
    assert "the folder is not writable" in err
    assert place.read_text() == "old"


def _fill(folder: Path) -> None:
    try:
        with open(folder / "filling", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        pass


def test_a_full_disk_leaves_the_old_files(command, table, small_disk, monkeypatch):
    monkeypatch.chdir(table.parent)
    train = ("train", table, "--target", "kind", "--epochs", 1, "--engine", "numpy")
    assert command(*train, "--model", "m.safetensors")[0] == 0
    places = [small_disk / name for name in ("a.csv", "s.toml", "m.safetensors", "d.svg")]
    for place in places:
        place.write_text("old")
    _fill(small_disk)
    for words in (
        ("predict", "m.safetensors", table, "--out", places[0]),
        (*train, "--save-config", places[1]),
        (*train, "--model", places[2]),
        ("derive", "3*x", "x=2", "--save", places[3]),
    ):
        status, _, err = command(*words)
        assert status == 1
        assert "the disk is full" in err
        assert "The file that was there before is unchanged." in err
    assert [place.read_text() for place in places] == ["old"] * 4
    assert len(list(small_disk.iterdir())) == 5  # and nothing half-written beside them


def test_an_output_that_is_full_is_an_error_and_not_a_trace(table, tmp_path):
    import os
    import subprocess
    import sys

    import chainrule

    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    program = "from chainrule.cli import main; main()"
    here = os.environ | {"PYTHONPATH": str(Path(chainrule.__file__).parents[1])}
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-c", program, "data", str(table)]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, env=here, check=False)
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr


# Fuzz: the worst that a file does is an error, soon


pieces = st.one_of(
    st.sampled_from([*SETTINGS, "=", "[", "]", "[[", "]]", '"', "'", '"""', "'''", "\n", "{", "}"]),
    st.sampled_from(
        ["1e999", "-inf", "0x", "1_0", "2024-01-01T00:00:00Z", "\\u0000", "#", ".", ","]
    ),
    st.text(string.printable, max_size=6),
    st.text(max_size=4),
)


@given(st.lists(pieces, max_size=40).map("".join) | st.binary(max_size=200).map(bytes))
def test_any_file_of_settings_is_read_or_refused(content):
    content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    try:
        found = parse_config(content, "s.toml")
    except OptionError as error:
        assert len(str(error)) < 2000
        return
    assert set(found) <= set(SETTINGS)


@pytest.mark.parametrize(
    "content",
    [
        "a." * 30_000 + "b = 1",
        "[" + "a." * 30_000 + "b]",
        '"a".' * 8_000 + "b = 1",
        "''." * 10_000 + "b = 1",
        "\n".join(f"a{k} = {{b = 1}}" for k in range(4000)),
        "\n".join("[[a]]" for _ in range(10_000)),
        "a = " + "[" * 30_000 + "]" * 30_000,
        "a = " + "{a = " * 12_000,
        "lr = '''\n" + "lr = 1\n" * 9_000 + "'''\nlr = []",
        'a = "' + "\\n" * 30_000 + '"',
    ],
    ids=range(10),
)
def test_the_worst_files_of_settings_take_no_time_and_no_memory(content):
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(OptionError):
        parse_config(content.encode()[:LARGEST], "s.toml")
    seconds, (_, most) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5
    assert most < 50e6


@given(st.text(max_size=60), st.sampled_from([*SETTINGS, "epoch", "a.b", '"']))
def test_the_line_of_a_key_is_one_of_the_text(text, key):
    line = line_of(key, text)
    assert line is None or 1 <= line <= text.count("\n") + 1


def test_a_config_that_cannot_be_text_is_refused(tmp_path):
    with pytest.raises(OptionError, match="cannot be written as text"):
        save_config(tmp_path / "s.toml", {"target": "\ud800"})
    assert not (tmp_path / "s.toml").exists()


def _safetensors(header: object, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def _as_long_as_promised(header, data):
    """Give data of the length that the header wants where it can be, to get past that check."""
    wanted = 0
    for entry in header.values() if isinstance(header, dict) else ():
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        if isinstance(offsets, list) and len(offsets) > 1 and isinstance(offsets[1], int):
            wanted = max(wanted, offsets[1])
    return (data + bytes(1000))[:wanted] if wanted < 1000 else data


numbers = st.integers(-(2**70), 2**70) | st.integers(0, 40)
odd = st.none() | st.booleans() | numbers | st.floats() | st.text(max_size=5)
entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F64", "I64", "BF16", "BOOL", "F8_E4M3", "X"]) | odd,
        "shape": st.lists(numbers, max_size=4) | odd,
        "data_offsets": st.lists(st.integers(0, 64), min_size=2, max_size=2).map(sorted)
        | st.lists(numbers, max_size=3)
        | odd,
        "more": odd,
    },
)
headers = st.dictionaries(
    st.text(max_size=4) | st.just("__metadata__"),
    entries | odd | st.dictionaries(st.text(max_size=3), odd | st.lists(odd, max_size=2)),
    max_size=4,
)


@given(headers | st.binary(max_size=60), st.binary(max_size=64))
@example({"w": {"dtype": "F32", "shape": [2**40, 0], "data_offsets": [0, 0]}}, b"")
@example(
    {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "__metadata__": [1]}, b"abcd"
)
@example({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "__metadata__": 3}, b"abcd")
@example(b"[" * 50_000, b"")
@example(b'{"w":' * 20_000, b"")
@example(b'{"w": {"data_offsets": [0, ' + b"9" * 5000 + b"]}}", b"")
def test_any_safetensors_file_is_read_or_refused(tmp_path_factory, header, data):
    content = _safetensors(header, _as_long_as_promised(header, data))
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    path.write_bytes(content)
    for read in (
        lambda: decode_arrays(content)[0],
        lambda: read_arrays(path)[0],
        lambda: read_header(path) and {},
        lambda: load(path) and {},
        lambda: open_model(str(path)) and {},
    ):
        try:
            arrays = read()
        except ChainruleError:
            continue
        assert sum(array.nbytes for array in arrays.values()) <= len(content)


whole = encode_arrays(
    {"w": np.arange(5), "b": np.zeros((2, 2), np.float32)}, {KEY: "{}", "chainrule.nesting": "{}"}
)


@given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=6))
def test_a_safetensors_file_with_changed_bytes_is_read_or_refused(changes):
    content = bytearray(whole)
    for place, byte in changes:
        content[place] = byte
    try:
        arrays, metadata = decode_arrays(bytes(content))
    except StorageError:
        return
    assert sum(array.nbytes for array in arrays.values()) <= len(content)
    assert all(isinstance(text, str) for text in metadata.values())


def test_what_is_written_is_toml_for_others():
    assert tomllib.loads(config_text({"drop": ("a", "b\x7f")}))["drop"] == ["a", "b\x7f"]
