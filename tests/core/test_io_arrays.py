"""safetensors files: what is written is read back bit for bit; damaged files are refused early."""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule.errors import DTypeError
from chainrule.io import (
    StorageError,
    decode_arrays,
    decode_tree,
    encode_arrays,
    encode_tree,
    read_arrays,
    read_header,
    write_arrays,
)

STORED = ["float32", "float64", "float16", "int8", "int64", "uint8", "uint32", "bool", ">f4", ">i8"]
arrays = st.sampled_from(STORED).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))
)
names = st.text(max_size=8).filter(lambda name: name != "__metadata__")


@given(st.dictionaries(names, arrays, max_size=4), st.dictionaries(st.text(), st.text()))
def test_arrays_come_back_bit_for_bit(
    given_arrays: dict[str, np.ndarray], metadata: dict[str, str]
) -> None:
    read, read_metadata = decode_arrays(encode_arrays(given_arrays, metadata))
    assert read.keys() == given_arrays.keys()
    assert read_metadata == metadata
    for name, array in given_arrays.items():
        assert read[name].shape == array.shape
        assert read[name].dtype == array.dtype.newbyteorder("=")
        expected = array.astype(array.dtype.newbyteorder("=")).tobytes()
        assert read[name].tobytes() == expected
        assert read[name].flags.writeable


def test_what_is_not_contiguous_is_written_in_order(tmp_path: Path) -> None:
    array = np.arange(24.0).reshape(4, 6)[::2, ::-1].T
    write_arrays(tmp_path / "a", {"x": array})
    np.testing.assert_array_equal(read_arrays(tmp_path / "a")[0]["x"], array)


def test_other_readers_see_the_same(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", {"w": np.eye(3, dtype=np.float32)}, {"by": "us"})
    np.testing.assert_array_equal(safetensors.numpy.load_file(tmp_path / "a")["w"], np.eye(3))
    assert read_header(tmp_path / "a")["w"]["dtype"] == "F32"


@pytest.mark.parametrize("dtype", ["O", "U3", "datetime64[s]", "complex128"])
def test_arrays_that_cannot_be_held_are_refused(dtype: str) -> None:
    with pytest.raises(DTypeError, match=r"cannot hold 'x'.*\n.*given") as caught:
        encode_arrays({"x": np.zeros(2, dtype)})
    assert "fix: convert it to numbers first" in str(caught.value)


def test_every_shorter_file_is_refused(tmp_path: Path) -> None:
    content = encode_arrays({"w": np.arange(5), "b": np.zeros((2, 2), np.float32)})
    path = tmp_path / "cut"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(StorageError, match="is not a whole safetensors file"):
            read_arrays(path)
        with pytest.raises(StorageError):
            decode_arrays(content[:length])


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_in_the_header_never_does_worse_than_an_error(place: int, byte: int) -> None:
    content = bytearray(encode_arrays({"w": np.arange(5), "b": np.zeros((2, 2), np.float32)}))
    content[place % len(content)] = byte
    try:
        read, _ = decode_arrays(bytes(content))
    except StorageError:
        return
    assert sum(array.nbytes for array in read.values()) <= len(content)


def _with_header(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 64,
        (1 << 62).to_bytes(8, "little") + b"{}",
        _with_header([1, 2]),
        _with_header({"w": 3}),
        _with_header({"w": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4]}}, b"abcd"),
        _with_header({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4 * 10**12]}}),
        _with_header({"w": {"dtype": "F32", "shape": [1], "data_offsets": "ab"}}, b"abcd"),
        b"\x80\x04\x95pickle, which is never loaded",
    ],
)
def test_hostile_headers_are_refused_before_anything_is_allocated(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(StorageError):
        read_arrays(tmp_path / "a")
    with pytest.raises(StorageError):
        decode_arrays(content)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_arrays(tmp_path / "absent")
    with pytest.raises(StorageError, match="is a folder"):
        read_arrays(tmp_path)


# save and load

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
nestings = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(nestings)
def test_nestings_come_back(tree: object) -> None:
    assert decode_tree(encode_tree(tree)) == tree


def test_a_state_dict_comes_back_in_order(tmp_path: Path) -> None:
    state = OrderedDict(
        [("1.weight", cr.randn(2, 3)), ("0.bias", cr.zeros(2)), ("n", cr.tensor(3))]
    )
    cr.save(state, tmp_path / "net.ckpt")
    loaded = cr.load(tmp_path / "net.ckpt")
    assert list(loaded) == list(state)
    for name, tensor in state.items():
        assert isinstance(loaded[name], cr.Tensor)
        assert loaded[name].dtype is tensor.dtype
        np.testing.assert_array_equal(loaded[name].numpy(), tensor.numpy())


def test_nested_checkpoints_have_readable_names(tmp_path: Path) -> None:
    content = {"epoch": 3, "model": {"0.weight": cr.ones(2)}, "state": {0: {"m": np.zeros(2)}}}
    cr.save(content, str(tmp_path / "a"))
    assert {"model.0.weight", "state.0.m"} <= read_header(tmp_path / "a").keys()
    loaded = cr.load(str(tmp_path / "a"))
    assert loaded["epoch"] == 3
    assert isinstance(loaded["state"][0]["m"], np.ndarray)


def test_names_that_would_meet_are_kept_apart() -> None:
    tree = {"a.b": np.ones(1), "a": {"b": np.zeros(2)}, "__metadata__": np.zeros(3)}
    loaded = decode_tree(encode_tree(tree))
    assert loaded["a.b"].shape == (1,)
    assert loaded["a"]["b"].shape == (2,)
    assert loaded["__metadata__"].shape == (3,)


def test_files_open_for_writing_and_reading_work() -> None:
    file = io.BytesIO()
    cr.save({"w": cr.arange(3)}, file)
    assert cr.load(io.BytesIO(file.getvalue()))["w"].tolist() == [0, 1, 2]


def test_files_of_others_load_as_tensors(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"w": np.ones((2, 2), np.float32)}, tmp_path / "other.safetensors")
    assert cr.load(tmp_path / "other.safetensors")["w"].tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_a_module_is_refused_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(DTypeError, match=r"given: Linear\n.*fix: save its state_dict\(\)"):
        cr.save(cr.nn.Linear(2, 2), tmp_path / "a")
    with pytest.raises(DTypeError, match=r"what is at 'model.f'"):
        cr.save({"model": {"f": object()}}, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_nesting_that_lies_is_an_error() -> None:
    for nesting in ('{"array":"absent"}', "{", '{"dict":[["a"]]}', '{"a":1,"b":2}'):
        content = encode_arrays({"x": np.zeros(1)}, {"chainrule.nesting": nesting})
        with pytest.raises(StorageError, match="does not say how its arrays nest"):
            decode_tree(content)
