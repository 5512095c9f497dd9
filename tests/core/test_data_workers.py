"""Workers of a loader: Ctrl-C and errors leave nothing running, and slow data sets gain."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chainrule import data
from chainrule.errors import DataError

SLOW = """
import time, threading
import chainrule as cr

class Slow(cr.data.Dataset):
    def __len__(self):
        return 10000
    def __getitem__(self, index):
        time.sleep(0.05)
        return float(index)

print("started", flush=True)
try:
    for batch in cr.data.DataLoader(Slow(), batch_size=1000, num_workers=3):
        pass
except KeyboardInterrupt:
    print("interrupted", len(threading.enumerate()), flush=True)
    raise
"""


@pytest.mark.skipif(os.name == "nt", reason="signals to one process are POSIX")
def test_ctrl_c_ends_the_workers_within_an_example() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "started\n"
        time.sleep(0.5)  # a batch takes 50 s
        child.send_signal(signal.SIGINT)
        start = time.monotonic()
        output, error = child.communicate(timeout=20)
    finally:
        child.kill()
    assert time.monotonic() - start < 10
    assert output.strip() == "interrupted 1", error
    assert "KeyboardInterrupt" in error and "Exception ignored" not in error


class Waiting(data.Dataset):
    """Examples that take a while to come, as from a disk far away."""

    def __init__(self, seconds: float, broken: int = -1) -> None:
        self.seconds, self.broken = seconds, broken

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        time.sleep(self.seconds)
        if index == self.broken:
            raise DataError(f"no example {index}")
        return np.full(3, index)


def test_workers_overlap_what_waits() -> None:
    def seconds(workers: int) -> float:
        start = time.perf_counter()
        rows = [b.tolist() for b in data.DataLoader(Waiting(0.004), 8, num_workers=workers)]
        assert [row[0] for batch in rows for row in batch] == list(range(64))
        return time.perf_counter() - start

    assert seconds(4) < 0.7 * seconds(0)


def test_an_error_stops_the_others() -> None:
    loader = data.DataLoader(Waiting(0.02, broken=1), 16, num_workers=4)
    with pytest.raises(DataError, match="no example 1") as error:
        list(loader)
    assert error.value.__notes__ == ["while fetching example 1 of a Waiting"]
    deadline = time.monotonic() + 5
    while any(t.name.startswith("chainrule-loader") for t in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_stream_is_read_ahead_once() -> None:
    class Stream(data.IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            for index in range(25):
                yield np.array([index])
            if torn:
                raise ValueError("the stream broke")

    torn = False
    for workers in (0, 1, 3):
        loader = data.DataLoader(Stream(), 4, num_workers=workers, persistent_workers=workers > 0)
        assert [n for batch in loader for n in batch.numpy()[:, 0].tolist()] == list(range(25))
    torn = True
    with pytest.raises(ValueError, match="the stream broke"):
        list(data.DataLoader(Stream(), 5, num_workers=2))
