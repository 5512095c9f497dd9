"""Real files through readers, loaders and trainings: images, sounds, text, heartbeats, tables."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
import chainrule.data.datasets as dsets
import chainrule.data.transforms as transforms
import chainrule.nn as nn
from chainrule.data import DataLoader, TextWindows, Vocabulary, read_csv, read_text, stream_table

Find = Callable[[str], Path]


def test_mnist_in_a_loop_and_faster_than_pytorch_loads_it(shared_data: Find) -> None:
    torch = pytest.importorskip("torch")
    root = shared_data("mnist/train-images-idx3-ubyte.gz").parent
    cr.manual_seed(0)
    train = dsets.MNIST(root=root, train=True, transform=transforms.ToTensor(), download=True)
    test = dsets.MNIST(root=root, train=False, transform=transforms.ToTensor())
    loader = DataLoader(dataset=train, batch_size=100, shuffle=True)
    model = nn.Linear(784, 10)
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images.view(-1, 784)), labels)
        loss.backward()
        optimizer.step()
    correct = 0
    with cr.no_grad():
        for images, labels in DataLoader(test, batch_size=1000):
            _, predicted = cr.max(model(images.view(-1, 784)).data, 1)
            correct += (predicted == labels).sum().item()
    assert correct / len(test) > 0.89

    class Peer(torch.utils.data.Dataset):
        """What torchvision does with each image, without its detour over pillow."""

        images, labels = torch.from_numpy(train.data.numpy()), train.targets.tolist()

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, index: int) -> object:
            return self.images[index][None].to(torch.float32).div(255), self.labels[index]

    def microseconds(batches: object) -> float:
        start, count = time.perf_counter(), 0
        for x, _ in batches:  # type: ignore[attr-defined]
            count += len(x)
            if count >= 10_000:
                break
        return (time.perf_counter() - start) / count * 1e6

    theirs = microseconds(torch.utils.data.DataLoader(Peer(), 100, shuffle=True))
    ours = min(microseconds(loader) for _ in range(3))
    print(f"a shuffled batch of 100: {ours:.2f} us an image, PyTorch's loader {theirs:.2f}")
    assert ours < theirs / 4


def test_spoken_digits_are_told_apart(shared_data: Find) -> None:
    path = shared_data("audio/fsdd-6speakers-10digits-10takes.zip")
    rows = {}
    for part, takes in (("train", "56789"), ("test", "01234")):
        sounds = dsets.SoundFolder(path, length=5120, keep=lambda n, t=takes: n[-5] in t)
        frames = np.stack([sounds[k][0].numpy()[0] for k in range(len(sounds))])
        pieces = frames.reshape(len(frames), 20, 256) * np.hanning(256)
        loud = np.log(1e-3 + abs(np.fft.rfft(pieces)[:, :, :96]).reshape(-1, 20, 24, 4).sum(-1))
        rows[part] = loud.reshape(len(frames), -1), np.array(sounds.targets)
    cr.manual_seed(0)
    scale = cr.data.Standardize.fit(rows["train"][0])
    model = nn.Sequential(scale, nn.Linear(480, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))
    optimizer = cr.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1)
    trainer = cr.Trainer(model, nn.CrossEntropyLoss(), optimizer, progress=False, seed=0)
    trainer.fit(rows["train"], epochs=60, batch_size=32)
    said = np.asarray(trainer.predict(rows["test"][0].astype(np.float32))).argmax(axis=1)
    assert (said == rows["test"][1]).mean() > 0.8


def test_the_next_character_of_shakespeare(shared_data: Find) -> None:
    text = read_text(shared_data("text/tinyshakespeare.txt"))[:200_000]
    letters = Vocabulary.of(text)
    windows = TextWindows(letters.encode(text), 8, stride=8)
    cr.manual_seed(0)
    model = nn.Sequential(nn.Embedding(len(letters), 32), nn.Linear(32, len(letters)))
    optimizer = cr.optim.Adam(model.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    losses = []
    for x, y in DataLoader(windows, 128, shuffle=True):
        loss = criterion(model(x).reshape(-1, len(letters)), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < 2.75 < 4.0 < losses[0]


def test_heartbeats_of_a_file_with_spaces(shared_data: Find) -> None:
    train = read_csv(shared_data("timeseries/ECG200_TRAIN.txt"))
    test = read_csv(shared_data("timeseries/ECG200_TEST.txt"))
    encoder = cr.data.TableEncoder.fit(train, "column_1")
    assert encoder.target.classes == ("-1", "1") and encoder.inputs(test).shape == (100, 96)
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(96, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = cr.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    trainer = cr.Trainer(model, nn.CrossEntropyLoss(), optimizer, progress=False, seed=0)
    trainer.fit(encoder.dataset(train), epochs=60, batch_size=20)
    said = np.asarray(trainer.predict(encoder.inputs(test))).argmax(axis=1)
    assert (said == encoder.targets(test)).mean() > 0.8


def test_house_prices_from_a_stream(shared_data: Find, tmp_path: Path) -> None:
    path = shared_data("tabular/california_housing.csv")
    train, validation, encoder = stream_table(path, "median_house_value", shuffle=4096)
    assert len(train) + len(validation) == 20640
    assert "ocean_proximity=INLAND" in encoder.feature_names
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(len(encoder.feature_names), 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = cr.optim.Adam(model.parameters(), lr=0.01)
    for x, y in DataLoader(train, 64, num_workers=1):
        loss = nn.MSELoss()(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with cr.no_grad():
        errors = [((model(x) - y) ** 2).numpy() for x, y in DataLoader(validation, 1000)]
    assert np.concatenate(errors).mean() < 0.4  # of a variance of 1
    files = train.to_files(tmp_path)
    trainer = cr.Trainer(model, nn.MSELoss(), optimizer, progress=False, seed=0)
    run = trainer.fit(files, epochs=2, batch_size=64)
    assert float(run.history["loss"][-1]) < 0.4


@pytest.mark.parametrize(
    "name, target, kinds",
    [
        ("titanic", "survived", {"number", "category"}),
        ("penguins_palmer", "species", {"number", "category"}),
        ("winequality-red", "quality", {"number"}),
        ("mpg", "mpg", {"number", "category"}),
    ],
)
def test_tables_by_every_way_of_reading(
    shared_data: Find, tmp_path: Path, name: str, target: str, kinds: set[str]
) -> None:
    """CSV, a data frame, a Parquet file and a stream of the same table agree."""
    polars = pytest.importorskip("polars")
    path = shared_data(f"tabular/{name}.csv")
    table = read_csv(path)
    assert {column.kind for column in table.columns} == kinds
    separator = ";" if name.startswith("wine") else ","
    frame = polars.read_csv(path, null_values=["NA"], separator=separator, infer_schema_length=None)
    frame.write_parquet(tmp_path / "t.parquet")
    encoder = cr.data.TableEncoder.fit(table, target)
    for other in (cr.data.from_frame(frame), cr.data.read_parquet(tmp_path / "t.parquet")):
        assert other.names == table.names and len(other) == len(table)
        for column in table.columns:
            np.testing.assert_array_equal(other[column.name].missing, column.missing)
            if column.kind == "number":
                np.testing.assert_allclose(other[column.name].values, column.values)
        known = ~table[target].missing
        if set(map(len, (c.categories for c in table.columns))) == {0}:
            np.testing.assert_allclose(
                encoder.inputs(other.rows(known)), encoder.inputs(table.rows(known))
            )
    train, validation, _ = stream_table(path, target)
    assert len(train) + len(validation) == int((~table[target].missing).sum())
