"""Data larger than memory: streams of tables, rows on disk, and the memory they take."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.data import ArrayFile, ArrayFiles, DataLoader, read_csv, stream_table, transforms
from chainrule.errors import DataError, OptionError


def write_csv(path: Path, rows: int = 5000, seed: int = 0) -> Path:
    draw = np.random.default_rng(seed)
    x = draw.normal(3, 2, rows)
    kinds = draw.choice(["red", "green", "blue"], rows)
    lines = [
        f"{value:.4f},{kind},{'' if k % 50 == 0 else k % 7},{'yes' if value > 3 else 'no'}"
        for k, (value, kind) in enumerate(zip(x, kinds, strict=True))
    ]
    path.write_text("x,colour,count,big\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_stream_has_every_row_once_with_the_values_of_the_whole_table(
    tmp_path: Path, kind: str
) -> None:
    path = write_csv(tmp_path / "t.csv")
    if kind == "parquet":
        polars = pytest.importorskip("polars")
        polars.read_csv(path).write_parquet(tmp_path / "t.parquet", row_group_size=900)
        path = tmp_path / "t.parquet"
    train, validation, encoder = stream_table(path, "big", sample=10_000, rows=700)
    assert len(train) + len(validation) == 5000 and 850 < len(validation) < 1150
    assert encoder.target.classes == ("no", "yes")
    table = read_csv(tmp_path / "t.csv")
    whole = encoder.inputs(table)
    for stream in (train, validation):
        batches = list(DataLoader(stream, 64))
        assert len(batches) == len(DataLoader(stream, 64)) == -(-len(stream) // 64)
        inputs = np.concatenate([x.numpy() for x, _ in batches])
        labels = np.concatenate([y.numpy() for _, y in batches])
        assert len(inputs) == len(stream) and labels.dtype == np.int64
        rows = {tuple(row) for row in whole.tolist()}
        assert all(tuple(row) in rows for row in inputs.tolist())
        ones = list(stream)
        np.testing.assert_array_equal(np.stack([x.numpy() for x, _ in ones]), inputs)
    # The sample held every training row, so the scaling is that of the training rows.
    inputs = np.concatenate([x for x, _ in train.batches(64)])
    np.testing.assert_allclose(inputs[:, 0].mean(), 0, atol=1e-5)
    np.testing.assert_allclose(inputs[:, 0].std(), 1, atol=1e-5)


def test_streams_are_shuffled_in_blocks_read_ahead_and_cut_to_size(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", 1000)
    plain = stream_table(path, "x")[0]
    mixed = stream_table(path, "x", shuffle=300)[0]

    def epoch(stream: Any, **options: Any) -> list[float]:
        return [v for _, y in DataLoader(stream, 32, **options) for v in y.numpy()[:, 0].tolist()]

    first, second = epoch(mixed), epoch(mixed)
    assert first != second and sorted(first) == sorted(second) == sorted(epoch(plain))
    again = stream_table(path, "x", shuffle=300)[0]
    assert epoch(again) == first
    assert epoch(plain, num_workers=2) == epoch(plain)
    assert len(epoch(plain, drop_last=True)) == len(plain) // 32 * 32
    for _ in DataLoader(plain, 8, num_workers=1):
        break
    assert not [t for t in threading.enumerate() if t.name.startswith("chainrule-loader")]


def test_files_made_of_a_stream_train(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv")
    train, validation, _ = stream_table(path, "big", drop=["count"])
    data = train.to_files(tmp_path / "train")
    assert data.files[0].shape == (len(train), 4) and data[0][1].dtype is cr.int64
    model = cr.nn.Sequential(cr.nn.Linear(4, 2))
    optimizer = cr.optim.Adam(model.parameters(), lr=0.05)
    trainer = cr.Trainer(model, cr.nn.CrossEntropyLoss(), optimizer, progress=False, engine="numpy")
    trainer.fit(data, epochs=3, batch_size=50)
    x, y = next(validation.batches(len(validation)))
    assert (np.asarray(trainer.predict(x)).argmax(axis=1) == y).mean() > 0.95


def test_refusals_of_streams(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", 200)
    with pytest.raises(DataError, match=r"t\.csv is a stream(.|\n)*stream\.to_files\(folder\)"):
        stream_table(path, "big")[0][0]
    with pytest.raises(DataError, match=r"(?s)no column 'bgi'.*did you mean 'big'"):
        stream_table(path, "bgi")
    with pytest.raises(DataError, match=r"(?s)no column 'colou'.*did you mean 'colour'"):
        stream_table(path, "big", drop=["colou"])
    with pytest.raises(OptionError, match="'big' is the target and among the columns to drop"):
        stream_table(path, "big", drop=["big"])
    for name, value in (("share", 1.0), ("sample", 1), ("rows", 0), ("shuffle", -1)):
        with pytest.raises(OptionError, match=f"stream_table: {name} must be"):
            stream_table(path, "big", **{name: value})
    text = path.read_text()
    path.write_text(text + "1.0,red\n")
    with pytest.raises(DataError, match=r"(?s)t.csv, line 202: .* it has 2 cells"):
        stream_table(path, "big")
    path.write_text("x,y\n1,2\n" + "a" * (1 << 20))
    with pytest.raises(DataError, match="line 3: more than 1,048,576 characters"):
        stream_table(path, "y")
    path.write_text("")
    with pytest.raises(DataError, match=r"t\.csv is empty"):
        stream_table(path, "y")
    path.write_bytes(b"x,y\n1,\xff\xfe\n")
    with pytest.raises(DataError, match=r"(?s)byte 0xff is not utf-8 text.*latin-1"):
        stream_table(path, "y")
    path.write_text("x,y\n" + "".join(f"{k},c{k}\n" for k in range(1500)))
    with pytest.raises(DataError, match="more than 1,000 different texts"):
        stream_table(path, "y")
    path.write_text(text)
    train = stream_table(path, "big", kinds={"x": "number"})[0]
    path.write_text(text.replace(text.splitlines()[50], "what,red,1,yes"))
    with pytest.raises(DataError, match="line 51: column 'x' holds numbers, and 'what'"):
        list(train)
    path.write_text(text + text.split("\n", 1)[1])
    with pytest.raises(DataError, match=r"t\.csv has changed"):
        train.to_files(tmp_path / "made")


@given(
    dtype=st.sampled_from(["uint8", "int16", "<f4", ">f4", ">i8", "float16", "bool"]),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    rows=st.lists(st.integers(-1, 0), max_size=5),
)
def test_rows_on_disk(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, shape: list[int], rows: list[int]
) -> None:
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    path = tmp_path_factory.mktemp("disk") / "a.npy"
    np.save(path, array)
    file = ArrayFile(path)
    chosen = np.array([*rows, *range(shape[0]), 0], np.int64)
    np.testing.assert_array_equal(file.read(chosen), array[chosen])
    assert file.read(chosen).dtype.isnative
    with pytest.raises(IndexError, match=f"has rows 0 to {shape[0] - 1}"):
        file.read(np.array([shape[0]]))


def test_files_as_a_data_set(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (20, 4, 5)).astype(np.uint8)
    idx = tmp_path / "images.idx"
    idx.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 4, 0, 0, 0, 5]) + images.tobytes())
    np.save(tmp_path / "y.npy", np.arange(20))
    both = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    data = ArrayFiles(idx, tmp_path / "y.npy", transform=both)
    slow = DataLoader(data, 6, collate_fn=lambda batch: cr.data.default_collate(batch))
    for fast, one in zip(DataLoader(data, 6, num_workers=2), slow, strict=True):
        assert fast[0].shape[1:] == (1, 4, 5)
        np.testing.assert_array_equal(fast[0].numpy(), one[0].numpy())
        assert fast[1].tolist() == one[1].tolist()
    assert data[-1][1].item() == 19
    with pytest.raises(IndexError, match="example 20 does not exist"):
        data[20]


def test_files_that_cannot_be_read_by_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"

    def refused(array: Any, text: str) -> None:
        np.save(path, array)
        with pytest.raises(DataError, match=text):
            ArrayFile(path)

    refused(np.asfortranarray(np.ones((3, 2))), "stored column by column")
    refused(np.array(3.0), "has no rows")
    refused(np.array(["text"]), "holds <U4, not numbers")
    np.save(path, np.ones(100))
    content = path.read_bytes()
    path.write_bytes(content[:-8])
    with pytest.raises(DataError, match="more than the file holds"):
        ArrayFile(path)
    path.write_bytes(b"\x1f\x8b....")
    with pytest.raises(DataError, match="is compressed, so its rows cannot be read"):
        ArrayFile(path)
    np.save(path, np.ones(3))
    np.save(tmp_path / "b.npy", np.ones(4))
    with pytest.raises(DataError, match=r"different numbers of examples(.|\n)*a.npy \(3,\)"):
        ArrayFiles(path, tmp_path / "b.npy")
    np.save(path, np.ones(1000))
    file = ArrayFile(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="has become shorter"):
        file.read(np.array([900]))


# The child limits its own memory to what it has after importing and 32 MB more, makes a file three
# times that limit, and walks through it.
LIMITED = """
import json, os, resource, sys
from pathlib import Path
import numpy as np
from chainrule.data import ArrayFiles, DataLoader, stream_table
kind, folder = sys.argv[1], Path(sys.argv[2])
status = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Vm"))
limit = int(status["VmSize"].split()[0]) * 1024 + (32 << 20)
path, size = folder / f"big.{kind}", 3 * limit
if kind == "csv":
    draw = np.random.default_rng(0)
    line = lambda k: ",".join(f"{v:.5f}" for v in draw.normal(size=6)) + "," + "some words " * 360
    block = "".join(f"{line(k)},{'ab'[k % 2]}\\n" for k in range(600))
    with path.open("w") as file:
        file.write("a,b,c,d,e,f,notes,y\\n")
        for _ in range(size // len(block) + 1):
            file.write(block)
elif kind == "npy":
    rows = size // (28 * 28 * 4) + 1
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, 28, 28)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + rows * 28 * 28 * 4)
else:
    rows = size // (28 * 28) + 1
    with path.open("wb") as file:
        file.write(bytes([0, 0, 8, 3]) + np.array([rows, 28, 28], ">u4").tobytes())
        file.truncate(16 + rows * 28 * 28)
assert path.stat().st_size >= size
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    path.read_bytes()
except MemoryError:
    pass
else:
    raise SystemExit("the limit does not hold")
if kind == "csv":
    data = stream_table(path, "y", drop=["notes"], sample=1000, rows=1000)[0]
else:
    data = ArrayFiles(path)
count = sum(len(batch[0]) for batch in DataLoader(data, 500))
assert count == len(data), (count, len(data))
status = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Vm"))
print(json.dumps({"limit": limit, "file": path.stat().st_size, "rows": count,
                  "resident": int(status["VmHWM"].split()[0]) * 1024}))
path.unlink()
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is limited on Linux")
@pytest.mark.parametrize("kind", ["csv", "npy", "idx"])
def test_a_file_three_times_the_memory_streams(tmp_path: Path, kind: str) -> None:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, kind, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
