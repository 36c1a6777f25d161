"""Files that are complete or not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from skymap_scanner.atomic_file import write_atomically
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


def test_files_have_the_mode_that_the_umask_allows(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "a", b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
