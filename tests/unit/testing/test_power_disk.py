"""The model of a disk that loses what was not synced."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from testing.power.disk import (
    SECTOR,
    Change,
    Created,
    Cut,
    Disk,
    FileSynced,
    FolderMade,
    FolderSynced,
    Found,
    Removed,
    Renamed,
    Resized,
    Written,
    cuts,
    found,
    kept,
    lay_out,
    lost,
    torn,
)
from testing.power.recording import RECORD, changes

ALL, NONE, NAMES, CONTENT, TORN = cuts(0)
EMPTY = (Created("a", 1), FolderSynced("."))


def after(cut: Cut, *done: Change, before: dict[str, Found] | None = None) -> dict[str, bytes | None]:
    disk = Disk(before)
    for change in done:
        disk.apply(change)
    return disk.after(cut)


def test_content_survives_after_the_file_is_synced() -> None:
    written = (*EMPTY, Written(1, 0, b"one"), FileSynced(1), Written(1, 1, b"IX"))
    assert after(ALL, *written) == {"a": b"oIX"}
    assert after(NONE, *written) == {"a": b"one"}


def test_name_survives_after_its_folder_is_synced() -> None:
    made = (Created("a", 1), Written(1, 0, b"one"), FileSynced(1))
    assert after(NONE, *made) == {}
    assert after(NAMES, *made, Written(1, 0, b"two")) == {"a": b"one"}
    assert after(NONE, *made, FolderSynced(".")) == {"a": b"one"}


def test_unsynced_rename_may_lose_content_or_name() -> None:
    renamed = (*EMPTY, Written(1, 0, b"new"), Renamed("a", "b"))
    assert after(NAMES, *renamed) == {"b": b""}
    assert after(CONTENT, *renamed) == {"a": b"new"}


def test_rename_is_atomic_and_replaces() -> None:
    before = {"b": Found(2, b"old")}
    renamed = (*EMPTY, Written(1, 0, b"new"), FileSynced(1), Renamed("a", "b"))
    for seed in range(20):
        assert after(torn(seed), *renamed, before=before) in ({"b": b"new"}, {"a": b"new", "b": b"old"})


def test_removed_name_may_come_back_until_its_folder_is_synced() -> None:
    before = {"a": Found(1, b"one")}
    assert after(NONE, Removed("a"), before=before) == {"a": b"one"}
    assert after(NONE, Removed("a"), FolderSynced("."), before=before) == {}


def test_files_are_lost_with_the_name_of_their_folder() -> None:
    made = (FolderMade("d"), Created("d/a", 1), Written(1, 0, b"one"), FileSynced(1), FolderSynced("d"))
    assert after(NONE, *made) == {}
    assert after(NONE, *made, FolderSynced(".")) == {"d": None, "d/a": b"one"}


def test_inode_that_is_used_again_is_another_file() -> None:
    again = (*EMPTY, Written(1, 0, b"one"), FileSynced(1), Removed("a"), Created("b", 1), FolderSynced("."))
    assert after(NONE, *again) == {"b": b""}


def test_cut_file_may_keep_its_length() -> None:
    cut = (*EMPTY, Written(1, 0, b"12345"), FileSynced(1), Resized(1, 2))
    assert after(ALL, *cut) == {"a": b"12"}
    assert after(NONE, *cut) == {"a": b"12345"}


@given(st.integers(0, 3 * SECTOR), st.binary(min_size=1, max_size=4 * SECTOR), st.integers(0, 10**6))
def test_torn_write_keeps_or_loses_each_sector(offset: int, data: bytes, seed: int) -> None:
    old = bytes([0xFF]) * (8 * SECTOR)
    torn_file = after(torn(seed), Written(1, offset, data), before={"a": Found(1, old)})["a"]
    assert torn_file is not None
    new = old[:offset] + data + old[offset + len(data) :]
    sectors = [slice(at, at + SECTOR) for at in range(0, len(old), SECTOR)]
    assert all(torn_file[one] in (old[one], new[one]) for one in sectors)


@given(st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=900)), max_size=8))
def test_kept_writes_are_those_of_a_file(writes: list[tuple[int, bytes]]) -> None:
    expected = bytearray()
    for offset, data in writes:
        expected.extend(bytes(max(offset + len(data) - len(expected), 0) if data else 0))
        expected[offset : offset + len(data)] = data
    assert after(ALL, *EMPTY, *(Written(1, offset, data) for offset, data in writes))["a"] == expected


def test_changes_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ValueError, match="never made"):
        Disk().apply(Removed("a"))
    disk = Disk()
    disk.apply(FolderMade("d"))
    with pytest.raises(ValueError, match="a folder was renamed"):
        disk.apply(Renamed("d", "e"))


def test_folder_is_found_and_laid_out_again(tmp_path: Path) -> None:
    (tmp_path / "from/d").mkdir(parents=True)
    (tmp_path / "from/d/a").write_bytes(b"one")
    content = Disk(found(tmp_path / "from")).after(Cut("all", kept, lost))
    (tmp_path / "to").mkdir()
    (tmp_path / "to/other").touch()
    lay_out(content, tmp_path / "to")
    assert [path.name for path in (tmp_path / "to").rglob("*")] == ["d", "a"]
    assert (tmp_path / "to/d/a").read_bytes() == b"one"


def logged(kind: str, path: str, other: str = "", data: bytes = b"") -> bytes:
    return RECORD.pack(ord(kind), len(path), len(other), 0, 7, 3, len(data)) + path.encode() + other.encode() + data


def test_log_is_decoded() -> None:
    log = [
        logged("c", "/r/a"),
        logged("w", "/r/a", data=b"xyz"),
        logged("t", "/r/a"),
        logged("s", "/r/a"),
        logged("r", "/r/a", "/r/b"),
        logged("S", "/r"),
        logged("d", "/r/d"),
        logged("x", "/r/d"),
        logged("u", "/r/b"),
    ]
    assert list(changes(b"".join(log), Path("/r"))) == [
        Created("a", 7),
        Written(7, 3, b"xyz"),
        Resized(7, 3),
        FileSynced(7),
        Renamed("a", "b"),
        FolderSynced("."),
        FolderMade("d"),
        Removed("d"),
        Removed("b"),
    ]
    with pytest.raises(ValueError, match="sendfile was called"):
        list(changes(logged("!", "/r/a", "sendfile"), Path("/r")))
