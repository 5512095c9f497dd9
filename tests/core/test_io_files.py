"""Files are whole or not there: whatever fails on the way, an older file stays as it was."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from chainrule.errors import StoreError
from chainrule.io import StorageError, atomic_write, remove_leftovers, sha256, write_bytes


def test_content_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"old")
    write_bytes(path, b"new and longer")
    assert path.read_bytes() == b"new and longer"
    assert os.listdir(tmp_path) == ["a"]


def test_an_error_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"")
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_full_disk_says_so_and_loses_nothing(small_disk: Path) -> None:
    path = small_disk / "weights"
    write_bytes(path, b"old" * 1000)
    with pytest.raises(StorageError, match="the disk is full") as caught:
        write_bytes(path, bytes(2_000_000))
    assert caught.value.errno == errno.ENOSPC
    assert "The file that was there before is unchanged." in str(caught.value)
    assert "fix: free some space" in str(caught.value)
    assert path.read_bytes() == b"old" * 1000
    assert os.listdir(small_disk) == ["weights"]
    write_bytes(path, b"new")  # the room that the failed attempt took is free again


@pytest.mark.skipif(os.name == "nt", reason="needs file size limits")
def test_a_size_limit_is_met_like_a_full_disk(tmp_path: Path) -> None:
    program = """
        import resource, signal, sys
        from chainrule.io import StorageError, write_bytes
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        write_bytes(sys.argv[1], b"old")
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            write_bytes(sys.argv[1], bytes(100_000))
        except StorageError as error:
            print(error)
    """
    path = tmp_path / "a"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "a size limit was reached" in done.stdout
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"there is no folder .*absent") as caught:
        write_bytes(tmp_path / "absent" / "a", b"")
    assert "fix: create it" in str(caught.value)
    assert isinstance(caught.value, StoreError)


def test_a_folder_without_write_permission_is_named(
    tmp_path: Path, unwritable: Callable[[Path], AbstractContextManager[None]]
) -> None:
    with (
        unwritable(tmp_path),
        pytest.raises(StorageError, match=r"the folder is not writable.*\n.*write permission"),
    ):
        write_bytes(tmp_path / "a", b"")


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"0" * 50_000)
    seen: set[bytes] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            content = path.read_bytes()
            seen.add(content[:1] + content[-1:] + str(len(content)).encode())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(40):
        write_bytes(path, str(turn % 10).encode() * 50_000)
    stop.set()
    reader.join()
    assert seen <= {f"{digit}{digit}50000".encode() for digit in range(10)}


def test_killed_while_writing_leaves_the_old_file_and_a_leftover(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"old")
    program = """
        import os, signal, sys
        from chainrule.io import atomic_write
        with atomic_write(sys.argv[1]) as file:
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(path)], check=False)
    assert path.read_bytes() == b"old"
    assert remove_leftovers(tmp_path) == 1
    assert os.listdir(tmp_path) == ["a"]


def test_hash_is_that_of_the_content(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256(tmp_path / "a") == empty
