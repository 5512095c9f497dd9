"""IDX files, MNIST's classes, transforms, image folders: values beside torch, and refusals."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
import chainrule.data.datasets as dsets
import chainrule.data.transforms as transforms
from chainrule.data import DataLoader, Subset, read_idx
from chainrule.data._fetch import batch_reader
from chainrule.errors import DataError, DTypeError, OptionError, ShapeError

torch = pytest.importorskip("torch")

CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def idx_bytes(array: Any) -> bytes:
    """The array as an IDX file."""
    head = bytes([0, 0, CODES[array.dtype.name], array.ndim])
    lengths = struct.pack(f">{array.ndim}I", *array.shape)
    return head + lengths + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_mnist(folder: Path, count: int = 30, name: str = "t10k", compress: bool = False) -> Any:
    """Write a small MNIST; give its images and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (count, 28, 28)).astype(np.uint8)
    labels = draw.integers(0, 10, count).astype(np.uint8)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        content = idx_bytes(array)
        path = folder / f"{name}-{kind}-ubyte"
        if compress:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
        else:
            path.write_bytes(content)
    return images, labels


@given(
    name=st.sampled_from(sorted(CODES)),
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    compress=st.booleans(),
)
def test_idx_files_of_every_kind_come_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, shape: list[int], compress: bool
) -> None:
    array = np.random.default_rng(1).normal(0, 40, shape).astype(name)
    path = tmp_path_factory.mktemp("idx") / "x"
    path.write_bytes(gzip.compress(idx_bytes(array)) if compress else idx_bytes(array))
    read = read_idx(path)
    assert read.dtype == array.dtype and read.dtype.isnative and read.flags.writeable
    np.testing.assert_array_equal(read, array)


def test_idx_refusals(tmp_path: Path) -> None:
    path = tmp_path / "bad"

    def refused(content: bytes, text: str) -> None:
        path.write_bytes(content)
        with pytest.raises(DataError, match=text):
            read_idx(path)

    good = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))
    refused(b"", "bad is not an IDX file(.|\n)*starts with nothing")
    refused(b"PK\3\4aaaa", "starts with 50 4b 03 04(.|\n)*expected: 00 00")
    refused(good[:-1], r"(?s)shape \(3, 4\), 12 bytes.*at most 11 bytes")
    refused(good + b"x", r"bytes follow after the \(3, 4\) numbers")
    refused(good[:9], "ends too early, in its header")
    refused(gzip.compress(good)[:-9], "compressed file is damaged or incomplete")
    refused(gzip.compress(good[:-2]), r"(?s)ends too early.*10 bytes.*12 bytes.*incomplete")
    huge = bytes([0, 0, 14, 3]) + b"\xff" * 12
    refused(huge, "more than the file can hold")
    refused(gzip.compress(huge), "more than the file can hold")
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "none")


@pytest.mark.parametrize("place", ["MNIST/raw", "raw", "."])
@pytest.mark.parametrize("compress", [False, True])
def test_mnist_is_found_where_torchvision_puts_it(
    tmp_path: Path, place: str, compress: bool
) -> None:
    images, labels = write_mnist(tmp_path / place, compress=compress)
    data = dsets.MNIST(root=str(tmp_path), train=False, download=True)
    assert len(data) == 30 and data.data.shape == (30, 28, 28) and data.data.dtype is cr.uint8
    assert data.targets.dtype is cr.int64 and data.targets.tolist() == labels.tolist()
    image, label = data[3]
    assert (image == images[3]).all() and label == labels[3] and isinstance(label, int)
    assert data.classes[7] == "7 - seven" and data.class_to_idx["7 - seven"] == 7
    assert "test, 30 images" in repr(data)


def test_a_missing_mnist_says_which_files_go_where(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        dsets.MNIST(tmp_path, train=True, download=True)
    text = str(error.value)
    assert "train-images-idx3-ubyte and train-labels-idx1-ubyte (each also as .gz)" in text
    assert "chainrule downloads nothing (download=True has no effect)" in text
    assert f"put these files into {tmp_path / 'MNIST' / 'raw'}" in text
    with pytest.raises(DataError, match="FashionMNIST: the files are not there"):
        dsets.FashionMNIST(tmp_path)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.zeros(29, np.uint8)))
    with pytest.raises(DataError, match=r"(?s)does not belong to.*shape \(29,\).*shape \(30,\)"):
        dsets.MNIST(tmp_path, train=False)
    labels.write_bytes(idx_bytes(np.full(30, 10, np.uint8)))
    with pytest.raises(DataError, match="example 0 has the label 10"):
        dsets.MNIST(tmp_path, train=False)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros(30, np.uint8)))
    with pytest.raises(DataError, match="holds no images"):
        dsets.MNIST(tmp_path, train=False)


STANDARD = [
    transforms.ToTensor(),
    transforms.Compose([transforms.ToTensor()]),
    transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]),
    transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.25)]),
]


@pytest.mark.parametrize("transform", STANDARD, ids=repr)
@pytest.mark.parametrize("workers", [0, 2])
def test_whole_batches_have_the_values_of_single_examples(
    tmp_path: Path, transform: Any, workers: int
) -> None:
    write_mnist(tmp_path)
    data = dsets.MNIST(tmp_path, train=False, transform=transform)
    assert batch_reader(data) is not None
    part = Subset(Subset(data, [5, 2, 9, 17, 3]), [4, 0, 1])
    for chosen in (data, part):
        one_by_one = DataLoader(chosen, 8, collate_fn=lambda b: cr.data.default_collate(b))
        for fast, slow in zip(DataLoader(chosen, 8, num_workers=workers), one_by_one, strict=True):
            assert fast[0].dtype is cr.float32 and fast[1].dtype is cr.int64
            assert fast[0].shape == slow[0].shape and fast[0].shape[1:] == (1, 28, 28)
            np.testing.assert_array_equal(fast[0].numpy(), slow[0].numpy())
            assert fast[1].tolist() == slow[1].tolist()


def test_transforms_with_code_of_the_users_are_called_for_each_image(tmp_path: Path) -> None:
    write_mnist(tmp_path)

    class Double(transforms.ToTensor):
        def __call__(self, image: Any) -> Any:
            return super().__call__(image) * 2

    class Numbered(dsets.MNIST):
        def __getitem__(self, index: int) -> Any:
            return index

    calls = []
    own = transforms.Lambda(lambda image: calls.append(1) or transforms.ToTensor()(image))
    data = dsets.MNIST(tmp_path, train=False, transform=own)
    (batch,) = DataLoader(data, 30)
    assert len(calls) == 30 and batch[0].shape == (30, 1, 28, 28)
    doubled = dsets.MNIST(tmp_path, train=False, transform=Double())
    assert next(iter(DataLoader(doubled, 30)))[0].max().item() == 2.0
    labelled = dsets.MNIST(
        tmp_path, train=False, transform=STANDARD[0], target_transform=lambda k: k + 100
    )
    assert next(iter(DataLoader(labelled, 4)))[1].min().item() >= 100
    numbered = Numbered(tmp_path, train=False, transform=STANDARD[0])
    assert next(iter(DataLoader(numbered, 3))).tolist() == [0, 1, 2]


def test_an_error_says_which_example(tmp_path: Path) -> None:
    write_mnist(tmp_path)

    def torn(image: Any) -> Any:
        raise ValueError("torn")

    for workers in (0, 2):
        data = Subset(dsets.MNIST(tmp_path, train=False, transform=torn), [7])
        with pytest.raises(ValueError, match="torn") as error:
            list(DataLoader(data, 2, num_workers=workers))
        assert error.value.__notes__ == ["while fetching example 0 of a Subset"]


@given(
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    channels=st.sampled_from([None, 1, 3]),
    dtype=st.sampled_from([np.uint8, np.float32, np.float64, np.int32]),
)
def test_to_tensor_and_normalize_as_torch_computes_them(
    height: int, width: int, channels: int | None, dtype: Any
) -> None:
    draw = np.random.default_rng(height * 10 + width)
    shape = (height, width) if channels is None else (height, width, channels)
    image = draw.integers(0, 256, shape).astype(dtype)
    mine = transforms.ToTensor()(image)
    theirs = torch.from_numpy(image if image.ndim == 3 else image[:, :, None]).permute(2, 0, 1)
    theirs = theirs.float() / 255 if dtype is np.uint8 else theirs
    np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    if not mine.dtype.is_float:
        return
    mean, std = [0.1, 0.2, 0.3][: channels or 1], [0.5, 0.25, 0.3][: channels or 1]
    normal = transforms.Normalize(mean, std)(mine)
    shaped = [torch.tensor(v, dtype=theirs.dtype).view(-1, 1, 1) for v in (mean, std)]
    np.testing.assert_array_equal(normal.numpy(), ((theirs - shaped[0]) / shaped[1]).numpy())
    np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    again = mine.clone()
    assert transforms.Normalize(mean, std, inplace=True)(again) is again
    np.testing.assert_array_equal(again.numpy(), normal.numpy())


def test_refusals_of_transforms() -> None:
    with pytest.raises(DTypeError, match=r"(?s)ToTensor takes an image.*given: Tensor"):
        transforms.ToTensor()(cr.zeros(2, 2))
    with pytest.raises(ShapeError, match=r"an array of shape \(3,\)"):
        transforms.ToTensor()(np.zeros(3))
    with pytest.raises(DTypeError, match=r"(?s)given: ndarray.*put ToTensor\(\) before it"):
        transforms.Normalize(0.5, 0.5)(np.zeros((1, 2, 2)))
    with pytest.raises(DTypeError, match="uint8"):
        transforms.Normalize(0.5, 0.5)(cr.zeros(1, 2, 2, dtype=cr.uint8))
    with pytest.raises(ShapeError, match="put ToTensor"):
        transforms.Normalize(0.5, 0.5)(cr.zeros(2, 2))
    with pytest.raises(ShapeError, match=r"2 means, 2 deviations, images of shape \(1, 3, 2, 2\)"):
        transforms.Normalize((0.5, 0.5), (1, 1))(cr.zeros(1, 3, 2, 2))
    with pytest.raises(OptionError, match="std must not be zero"):
        transforms.Normalize((0.5,), (0.0,))
    with pytest.raises(OptionError, match="Lambda takes a function"):
        transforms.Lambda(3)  # type: ignore[arg-type]
    assert repr(STANDARD[3]) == "Compose([ToTensor(), Normalize(mean=0.5, std=0.25)])"


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    for k, name in enumerate(("cat", "dog")):
        folder = tmp_path / name / "more"
        folder.mkdir(parents=True)
        for j in range(2):
            pixels = np.full((4, 6, 3), 100 * k + j, np.uint8)
            image.fromarray(pixels).save(folder.parent / f"{j}.png")
        image.new("L", (6, 4), 255).save(folder / "grey.png")
        (tmp_path / name / "notes.txt").write_text("not an image")
    return tmp_path


def test_image_folders(pets: Path) -> None:
    data = dsets.ImageFolder(pets, transform=transforms.ToTensor())
    assert data.classes == ["cat", "dog"] and data.targets == [0, 0, 0, 1, 1, 1]
    assert data.class_to_idx == {"cat": 0, "dog": 1} and data.imgs[0][0].endswith("0.png")
    (x, y), *_ = DataLoader(data, 6, num_workers=2)
    assert x.shape == (6, 3, 4, 6) and y.tolist() == data.targets
    assert x[4].numpy().max() == np.float32(101 / 255) and x[2].min().item() == 1.0
    assert dsets.ImageFolder(pets, target_transform=str)[0][1] == "0"
    grey = dsets.ImageFolder(pets, is_valid_file=lambda path: path.endswith("grey.png"))
    assert len(grey) == 2


def test_image_folders_that_cannot_be_used(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        dsets.ImageFolder(pets / "none")
    flat = tmp_path / "cat" / "more" / "flat"
    flat.mkdir()
    with pytest.raises(DataError, match=r"(?s)has no folders, one for each class.*0 files"):
        dsets.ImageFolder(flat)
    (pets / "empty").mkdir()
    with pytest.raises(DataError, match="no images for 'empty'"):
        dsets.ImageFolder(pets)
    (pets / "empty" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    with pytest.raises(DataError, match=r"torn.png: the image cannot be read"):
        dsets.ImageFolder(pets)[-1]
    whole = (pets / "cat" / "0.png").read_bytes()
    (pets / "empty" / "torn.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cannot be read"):
        dsets.ImageFolder(pets)[-1]
    assert len(dsets.ImageFolder(pets)) == 7


def test_pil_images_of_every_mode_become_tensors() -> None:
    image = pytest.importorskip("PIL.Image")
    for mode, dtype in (
        ("L", cr.float32),
        ("RGB", cr.float32),
        ("RGBA", cr.float32),
        ("1", cr.float32),
        ("I", cr.int32),
        ("F", cr.float32),
    ):
        tensor = transforms.ToTensor()(image.new(mode, (3, 2)))
        assert tensor.shape == (len(mode) if mode.startswith("RGB") else 1, 2, 3)
        assert tensor.dtype is dtype
    assert transforms.ToTensor()(image.new("1", (2, 2), 1)).tolist() == [[[1, 1], [1, 1]]]


def test_mnist_of_the_real_files(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("mnist/t10k-images-idx3-ubyte.gz").parent
    data = dsets.MNIST(root, train=False, transform=transforms.ToTensor())
    assert len(data) == 10000 and data.targets[:5].tolist() == [7, 2, 1, 0, 4]
    assert abs(float(data.data.numpy().mean()) / 255 - 0.1325) < 1e-4
    x, y = next(iter(DataLoader(data, 100)))
    assert x.shape == (100, 1, 28, 28) and y.shape == (100,)


def test_transforms_of_pil_images() -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 255, (30, 50, 3)).astype(np.uint8)
    picture = image.fromarray(pixels)
    assert transforms.Resize(15)(picture).size == (25, 15)
    assert transforms.Resize(20)(picture.transpose(2)).size == (20, 33)
    assert transforms.Resize((7, 9))(picture).size == (9, 7)
    cut = np.asarray(transforms.CenterCrop(10)(picture))
    np.testing.assert_array_equal(cut, pixels[10:20, 20:30])
    padded = np.asarray(transforms.CenterCrop((40, 50))(picture))
    np.testing.assert_array_equal(padded[5:35], pixels)
    assert not padded[:5].any()
    assert transforms.Grayscale(3)(picture).mode == "RGB"
    steps = [transforms.Resize(12), transforms.CenterCrop(12), transforms.Grayscale()]
    all_of = transforms.Compose([*steps, transforms.ToTensor()])
    assert all_of(picture).shape == (1, 12, 12)
    assert repr(all_of).startswith("Compose([Resize(12), CenterCrop((12, 12)), Grayscale(1)")
    for step in steps:
        with pytest.raises(DTypeError, match=r"takes a PIL image(.|\n)*before ToTensor\(\)"):
            step(cr.zeros(1, 2, 2))
    with pytest.raises(OptionError, match="Resize takes a size of 1 or more"):
        transforms.Resize(0)
    with pytest.raises(OptionError, match="Grayscale gives 1 or 3 channels"):
        transforms.Grayscale(2)


def test_images_without_to_tensor_say_so(pets: Path) -> None:
    with pytest.raises(DataError, match=r"type Image(.|\n)*transform=transforms\.ToTensor\(\)"):
        next(iter(DataLoader(dsets.ImageFolder(pets), 2)))
