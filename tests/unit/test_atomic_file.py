"""Files that are complete or not there."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import BinaryIO

import pytest

from skymap_scanner.atomic_file import AtomicFile, make_folder, sync_folder, write_atomically
from skymap_scanner.errors import InputError


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    with pytest.raises(InputError, match="choose another folder"):
        write_atomically(tmp_path / "no" / "a.json", b"")


def test_next_writer_removes_leftovers_of_a_killed_one(tmp_path: Path) -> None:
    (tmp_path / ".a.json.0123abcd.part").write_bytes(b"half")
    (tmp_path / ".b.json.0123abcd.part").touch()
    write_atomically(tmp_path / "a.json", b"whole")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".b.json.0123abcd.part", "a.json"]


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    first, second = AtomicFile(path), AtomicFile(path)
    for file, content in ((first, b"first"), (second, b"second")):
        file.stream.write(content)
    first.commit()
    assert path.read_bytes() == b"first"
    second.commit()
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_file_removed_before_it_is_locked_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, removed = fcntl.flock, []

    def late(file: BinaryIO, operation: int) -> None:
        if not removed:
            removed.extend(tmp_path.glob(".a.*.part"))
            removed[0].unlink()
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    assert write_atomically(tmp_path / "a", b"x").read_bytes() == b"x"
    assert len(removed) == 1


def test_file_system_without_locks_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    other = tmp_path / ".a.0123abcd.part"
    other.touch()  # it may be a live writer's
    assert write_atomically(tmp_path / "a", b"x").read_bytes() == b"x"
    assert other.exists()


def test_files_have_the_mode_that_the_umask_allows(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "a", b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_name_of_every_new_folder_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    make_folder(tmp_path / "a/b")
    assert set(synced) == {tmp_path, tmp_path / "a"}
    synced.clear()
    make_folder(tmp_path / "a/b")
    assert synced == []


@pytest.mark.parametrize(("number", "raised"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_file_system_without_synced_folders_is_accepted(
    number: int, raised: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    if raised:
        with pytest.raises(OSError, match="Input/output error"):
            sync_folder(tmp_path)
    else:
        sync_folder(tmp_path)
