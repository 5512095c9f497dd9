"""Data sets, samplers, collating, loaders, splits: what they give, and what they refuse."""

import threading
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import data
from chainrule.errors import DataError, OptionError, ShapeError

torch = pytest.importorskip("torch")


class Squares(data.Dataset):
    """Examples made one at a time: (float vector, class number, name)."""

    def __init__(self, length: int = 10) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return np.full(2, index, np.float32), index % 3, f"n{index}"


def pairs(length: int = 10) -> data.TensorDataset:
    return data.TensorDataset(cr.arange(2.0 * length).reshape(length, 2), cr.arange(length))


@given(
    length=st.integers(1, 23),
    size=st.integers(1, 9),
    drop_last=st.booleans(),
    workers=st.sampled_from([0, 2]),
    kind=st.sampled_from(["tensors", "examples", "subset"]),
)
def test_batches_in_order(length: int, size: int, drop_last: bool, workers: int, kind: str) -> None:
    whole = Squares(length) if kind == "examples" else pairs(length)
    chosen = data.Subset(whole, range(length)) if kind == "subset" else whole
    loader = data.DataLoader(chosen, size, drop_last=drop_last, num_workers=workers)
    batches = list(loader)
    wanted = list(torch.utils.data.DataLoader(range(length), batch_size=size, drop_last=drop_last))
    assert len(batches) == len(loader) == len(wanted)
    for mine, numbers in zip(batches, wanted, strict=True):
        first, second = mine[0], mine[1]
        assert tuple(first.shape) == (len(numbers), 2)
        remainder = 3 if kind == "examples" else length + 1
        assert second.tolist() == [int(n) % remainder for n in numbers]
    if kind == "examples":
        assert [name for batch in batches for name in batch[2]] == [
            f"n{int(n)}" for batch in wanted for n in batch
        ]


def test_shuffle_visits_all_once_in_a_new_order_each_epoch_and_repeats_with_the_seed() -> None:
    def epochs(seed: int) -> list[list[int]]:
        loader = data.DataLoader(
            pairs(20), 6, shuffle=True, generator=cr.Generator().manual_seed(seed)
        )
        return [[n for _, y in loader for n in y.tolist()] for _ in range(2)]

    first, second = epochs(0)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second != list(range(20))
    assert epochs(0) == [first, second]
    assert epochs(1) != [first, second]
    cr.manual_seed(3)
    once = [y.tolist() for _, y in data.DataLoader(pairs(), 3, shuffle=True)]
    cr.manual_seed(3)
    assert [y.tolist() for _, y in data.DataLoader(pairs(), 3, shuffle=True)] == once


def test_workers_give_the_same_batches() -> None:
    def all_of(workers: int) -> list[Any]:
        cr.manual_seed(1)
        loader = data.DataLoader(Squares(50), 4, shuffle=True, num_workers=workers)
        return [[x.tolist(), y.tolist(), names] for x, y, names in loader]

    assert all_of(3) == all_of(0)


def test_workers_start_once_and_end_with_the_loop() -> None:
    started: list[int] = []
    loader = data.DataLoader(
        Squares(50), 2, num_workers=2, worker_init_fn=started.append, prefetch_factor=3
    )
    for _ in loader:
        break
    assert sorted(started) in ([0], [0, 1])
    assert not [t for t in threading.enumerate() if t.name.startswith("chainrule-loader")]


def test_errors_and_silence_of_workers_reach_the_loop() -> None:
    class Broken(Squares):
        def __getitem__(self, index: int) -> Any:
            if index == 5:
                raise ValueError("example 5 is torn")
            return super().__getitem__(index)

    with pytest.raises(ValueError, match="example 5 is torn"):
        list(data.DataLoader(Broken(), 2, num_workers=2))

    release = threading.Event()

    class Stuck(Squares):
        def __getitem__(self, index: int) -> Any:
            release.wait(5)
            return super().__getitem__(index)

    loader = iter(data.DataLoader(Stuck(), 2, num_workers=1, timeout=0.05))
    with pytest.raises(DataError, match=r"no batch within timeout=0.05 seconds") as error:
        next(loader)
    release.set()
    assert "raise timeout" in str(error.value)


def test_workers_use_the_callers_default_dtype() -> None:
    class Made(Squares):
        def __getitem__(self, index: int) -> Any:
            return cr.tensor([1.5])

    cr.set_default_dtype(cr.float64)
    try:
        (batch, *_) = data.DataLoader(Made(), 2, num_workers=1)
    finally:
        cr.set_default_dtype(cr.float32)
    assert batch.dtype is cr.float64


def test_single_examples_without_batches() -> None:
    x, y = next(iter(data.DataLoader(pairs(), batch_size=None)))
    assert x.tolist() == [0.0, 1.0] and y.item() == 0
    doubled = data.DataLoader([1, 2], batch_size=None, collate_fn=lambda one: one * 2)
    assert list(doubled) == [2, 4] and len(doubled) == 2


def test_a_stream() -> None:
    class Stream(data.IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            return iter([(float(n), n) for n in range(5)])

    batches = list(data.DataLoader(Stream(), 2))
    assert [y.tolist() for _, y in batches] == [[0, 1], [2, 3], [4]]
    assert len(list(data.DataLoader(Stream(), 2, drop_last=True))) == 2
    assert list(data.DataLoader(Stream(), None))[1] == (1.0, 1)
    with pytest.raises(OptionError, match="an IterableDataset cannot be combined with shuffle"):
        data.DataLoader(Stream(), 2, shuffle=True)


def test_collate_makes_what_pytorch_makes() -> None:
    Point = namedtuple("Point", "x y")
    batch = [
        {"a": (1.5, 2), "b": [np.float32(1), "text"], "c": Point(np.ones(2), True), "d": b"raw"},
        {"a": (2.5, 3), "b": [np.float32(2), "more"], "c": Point(np.zeros(2), False), "d": b"x"},
    ]
    mine = data.default_collate(batch)
    theirs = torch.utils.data.default_collate(batch)
    for ours, other in (
        (mine["a"][0], theirs["a"][0]),
        (mine["a"][1], theirs["a"][1]),
        (mine["b"][0], theirs["b"][0]),
        (mine["c"].x, theirs["c"].x),
        (mine["c"].y, theirs["c"].y),
    ):
        assert ours.tolist() == other.tolist()
        assert str(ours.dtype).split(".")[1] == str(other.dtype).split(".")[1]
    assert mine["b"][1] == list(theirs["b"][1]) == ["text", "more"] and mine["d"] == [b"raw", b"x"]


def test_collate_refuses_with_the_fix() -> None:
    with pytest.raises(ShapeError, match=r"(?s)example 0 has \(2,\), example 1 has \(3,\).*pad"):
        data.default_collate([np.ones(2), np.ones(3)])
    with pytest.raises(DataError, match=r"(?s)examples of type object.*collate_fn="):
        data.default_collate([object()])
    with pytest.raises(DataError, match=r"different numbers of parts: \[1, 2\]"):
        data.default_collate([(1,), (1, 2)])


def test_batches_are_copies_or_whole_rows_of_their_tensors() -> None:
    whole = pairs()
    x, _ = next(iter(data.DataLoader(whole, 4)))
    x += 100
    assert whole.tensors[0][0].tolist() == [0.0, 1.0]


def test_subclasses_that_change_examples_are_asked() -> None:
    class Negated(data.TensorDataset):
        def __getitem__(self, index: Any) -> Any:
            return tuple(-one for one in super().__getitem__(index))

    (batch,) = data.DataLoader(Negated(cr.arange(3)), 3)
    assert batch[0].tolist() == [0, -1, -2]
    assert data.as_tensors(Negated(cr.arange(3))) is None
    assert data.as_tensors([1, 2]) is None


def test_concatenation() -> None:
    both = pairs(2) + pairs(3)
    assert len(both) == 5 and both[-1][1].item() == 2 and both[2][1].item() == 0
    with pytest.raises(IndexError, match="example 5 does not exist: there are 5"):
        both[5]
    with pytest.raises(DataError, match="one or more data sets"):
        data.ConcatDataset([])


def test_samplers() -> None:
    generator = cr.Generator(0)
    often = list(data.RandomSampler(range(4), True, 1000, generator))
    assert set(often) == {0, 1, 2, 3} and 180 < often.count(0) < 320
    twice = list(data.RandomSampler(range(4), num_samples=8, generator=generator))
    assert sorted(twice) == [0, 0, 1, 1, 2, 2, 3, 3]
    weighted = list(data.WeightedRandomSampler([1, 0, 3], 4000, generator=generator))
    assert weighted.count(1) == 0 and weighted.count(2) / weighted.count(0) == pytest.approx(
        3, rel=0.15
    )
    few = list(data.WeightedRandomSampler([1, 0, 3], 2, False, generator))
    assert sorted(few) == [0, 2]
    loader = data.DataLoader(pairs(), 2, sampler=data.SubsetRandomSampler([1, 5, 7]))
    assert sorted(n for _, y in loader for n in y.tolist()) == [1, 5, 7] and len(loader) == 2
    batches = data.DataLoader(pairs(), batch_sampler=[[0, 9], [4]])
    assert [y.tolist() for _, y in batches] == [[0, 9], [4]] and len(batches) == 2


def test_errors_of_samplers() -> None:
    with pytest.raises(OptionError, match="num_samples must be 0 or more; -1"):
        data.RandomSampler([1], num_samples=-1)
    with pytest.raises(OptionError, match="non-negative number an example, not all zero"):
        data.WeightedRandomSampler([0.0, 0.0], 1)
    with pytest.raises(OptionError, match="3 samples without replacement need as many"):
        data.WeightedRandomSampler([1.0, 1.0, 0.0], 3, replacement=False)


@pytest.mark.filterwarnings("ignore:Length of split at index:UserWarning")
@given(length=st.integers(1, 50), share=st.floats(0.05, 0.95))
def test_random_split(length: int, share: float) -> None:
    parts = data.random_split(range(length), [share, 1 - share])
    assert sorted([*parts[0], *parts[1]]) == list(range(length))
    theirs = torch.utils.data.random_split(range(length), [share, 1 - share])
    assert [len(part) for part in parts] == [len(part) for part in theirs]


def test_random_split_of_counts_and_errors() -> None:
    train, test = data.random_split(pairs(), [7, 3], generator=cr.Generator(1))
    again, _ = data.random_split(pairs(), [7, 3], generator=cr.Generator(1))
    assert len(train) == 7 and len(test) == 3 and train.indices == again.indices
    with pytest.raises(OptionError, match=r"(?s)their sum is 9.*whose sum is 10, or fractions"):
        data.random_split(pairs(), [7, 2])
    with pytest.raises(OptionError, match="do not add up"):
        data.random_split(pairs(), [0.7, 0.7])
    with pytest.raises(OptionError, match="do not add up"):
        data.random_split(pairs(), [11, -1])


def test_errors_of_datasets() -> None:
    with pytest.raises(ShapeError, match=r"(?s)given: \(3, 2\), \(2,\).*first axes are equal"):
        data.TensorDataset(cr.zeros(3, 2), cr.zeros(2))
    with pytest.raises(DataError, match=r"(?s)argument 0 is a list.*cr.tensor\(value\)"):
        data.TensorDataset([1.0, 2.0])
    with pytest.raises(DataError, match="none was given"):
        data.TensorDataset()
    with pytest.raises(ShapeError, match="a 0-d tensor has no examples"):
        data.TensorDataset(cr.tensor(1.0))
    with pytest.raises(NotImplementedError, match="Dataset has no __getitem__"):
        data.Dataset()[0]
    with pytest.raises(TypeError, match="Dataset has no __len__"):
        len(data.Dataset())
    with pytest.raises(NotImplementedError, match="IterableDataset has no __iter__"):
        iter(data.IterableDataset())
    with pytest.raises(NotImplementedError, match="Sampler has no __iter__"):
        iter(data.Sampler())


@pytest.mark.parametrize(
    "options, text",
    [
        ({"batch_size": 0}, "batch_size must be 1 or more; 0 was given"),
        ({"batch_size": 2.5}, "batch_size must be 1 or more; 2.5 was given"),
        ({"num_workers": -1}, "num_workers must be 0 or more; -1"),
        ({"timeout": -1}, "timeout must be 0 or more; -1"),
        ({"prefetch_factor": 0}, "prefetch_factor must be 1 or more; 0"),
        ({"sampler": [0], "shuffle": True}, "sampler cannot be combined with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler cannot be combined with"),
        ({"batch_size": None, "drop_last": True}, "batch_size=None cannot be combined"),
    ],
)
def test_errors_of_loaders(options: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError) as error:
        data.DataLoader(pairs(), **options)
    assert text in str(error.value)
