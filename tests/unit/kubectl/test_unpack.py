"""Unpacking what the pod sends, over pipes on this machine: the same bytes arrive, and nothing outside the folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.unit.security.conftest import at_most

from skymap_scanner.errors import ClusterError, InputError
from skymap_scanner.kubectl import fetch_program
from skymap_scanner.kubectl.fetch_program import DIGESTS, FILES, INDEX
from skymap_scanner.kubectl.unpack import Transferred, Unpacked, checked_name, unpack

LIMIT = 10**9


def sent(folder: Path) -> bytes:
    """Return the stream that the program of the pod writes for a folder."""
    command = [sys.executable, "-I", Path(fetch_program.__file__), "send", folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        data = process.stdout.read()
    assert process.returncode == 0
    return data


def take(data: bytes, folder: Path, limit: int = LIMIT) -> Unpacked:
    return unpack(io.BytesIO(data), folder, limit, lambda _: None)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    (folder / "inner" / "deep").mkdir(parents=True)
    (folder / "a.json").write_text("{}")
    (folder / "empty").touch()
    (folder / "inner/deep/large").write_bytes(os.urandom(3_000_000))
    for odd in (b"odd \xff\n\x1b[31m", "ünï code".encode(), b"-rf", b"x" * 255):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + odd)).write_bytes(odd)
    return folder


def test_files_arrive_byte_for_byte_with_their_times(results: Path, tmp_path: Path) -> None:
    os.utime(results / "a.json", (1e9, 1e9))
    shown: list[Transferred] = []
    came = unpack(io.BytesIO(sent(results)), tmp_path / "here", LIMIT, shown.append)
    assert tree(tmp_path / "here") == tree(results)
    assert set(came.files) == set(tree(results))
    assert (came.exists, came.skipped) == (True, ())
    assert (tmp_path / "here/a.json").stat().st_mtime == 1e9
    total = sum(map(len, tree(results).values()))
    assert shown[-1] == Transferred(total, total)
    assert take(sent(results), tmp_path / "here").files == came.files, "again, over what is there"


def test_links_and_pipes_are_skipped_and_hidden_files_ignored(results: Path, tmp_path: Path) -> None:
    for name in ("link", "inner/folderlink"):
        (results / name).symlink_to("/etc")
    os.mkfifo(results / "pipe")
    (results / ".a.json.x2y").write_text("half")
    came = take(sent(results), tmp_path / "here")
    assert came.skipped == ("link", "pipe", "inner/folderlink")
    assert not [path for path in (tmp_path / "here").rglob("*") if path.is_symlink() or path.name.startswith(".")]


@pytest.mark.parametrize("there", [True, False])
def test_missing_and_empty_folders_are_distinguished(there: bool, tmp_path: Path) -> None:
    if there:
        (tmp_path / "results").mkdir()
    assert take(sent(tmp_path / "results"), tmp_path / "here") == Unpacked(there, ())
    assert list((tmp_path / "here").iterdir()) == []


def test_truncated_stream_leaves_no_files(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/a").write_bytes(os.urandom(1500))
    data = sent(tmp_path / "results")
    end = data.rindex(b"}")
    for length in [*range(0, end, 97), end]:
        with pytest.raises(ClusterError, match="cut short"):
            take(data[:length], tmp_path / "here")
        assert list((tmp_path / "here").iterdir()) == [], length


def archive(
    *members: tuple[str, bytes] | tarfile.TarInfo, files: dict[str, int] | None = None, **digests: str
) -> bytes:
    """Return a stream that a hostile pod could send."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w|") as tar:

        def add(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))

        add(INDEX, json.dumps({"exists": True, "files": files or {}, "skipped": []}).encode())
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                add(*member)
        add(DIGESTS, json.dumps(digests).encode())
    return out.getvalue()


def raw(index: object, digests: object, *members: tarfile.TarInfo) -> bytes:
    """Return a stream with an index and digests of any content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w|") as tar:
        for name, content in ((INDEX, index), (DIGESTS, digests)):
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            tar.addfile(member(name, size=len(data)), io.BytesIO(data))
    return out.getvalue()


VALID = {"exists": True, "files": {}, "skipped": []}


@pytest.mark.parametrize(
    ("index", "digests", "message"),
    [
        ({"exists": True, "skipped": []}, {}, r"invalid index\.json"),
        ({"exists": True, "files": None, "skipped": []}, {}, r"invalid index\.json"),
        ({"exists": True, "files": ["a"], "skipped": []}, {}, r"invalid index\.json"),
        ({"exists": True, "files": {"a": -1}, "skipped": []}, {}, r"invalid index\.json"),
        ({"exists": True, "files": {"a": "many"}, "skipped": []}, {}, r"invalid index\.json"),
        ({"exists": True, "files": {}, "skipped": [1]}, {}, r"invalid index\.json"),
        ({"files": {}, "skipped": []}, {}, r"invalid index\.json"),
        ([], {}, r"invalid index\.json"),
        (b"[" * 100_000, {}, r"invalid index\.json"),
        (b"", {}, r"invalid index\.json"),
        (b"\xff\0", {}, r"invalid index\.json"),
        (VALID, [], r"invalid digests\.json"),
        (VALID, b"null", r"invalid digests\.json"),
    ],
)
def test_invalid_index_and_digests_are_one_error(index: object, digests: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=message):
        take(raw(index, digests), tmp_path)


def test_announced_file_that_is_not_sent_is_reported(tmp_path: Path) -> None:
    assert take(archive(files={"a": 4}), tmp_path).skipped == ("a (not sent)",)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE])
def test_endless_headers_are_not_read_into_memory(kind: bytes, tmp_path: Path) -> None:
    header = member("x", kind, size=6 << 30).tobuf()
    for start in (b"", archive()[:1024]):
        stream = io.BytesIO(start + header + bytes(50 << 20))
        with at_most(8), pytest.raises(ClusterError, match=r"beside the files|cut short|not announced|regular file"):
            unpack(stream, tmp_path, LIMIT, lambda _: None)
        assert stream.tell() < 4 << 20


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for field, value in fields.items():
        setattr(made, field, value)
    return made


@pytest.mark.parametrize(
    "bad",
    [
        member(f"{FILES}../x"),
        member(f"{FILES}a/../../x"),
        member(f"{FILES}/etc/x"),
        member("elsewhere/x"),
        member("/etc/x"),
        member(f"{FILES}a//b"),
        member(f"{FILES}./a"),
        member(FILES + "a\0b"),
        member(FILES),
        member(f"{FILES}x", tarfile.SYMTYPE, linkname="/etc/passwd"),
        member(f"{FILES}x", tarfile.LNKTYPE, linkname="/etc/passwd"),
        member(f"{FILES}x", tarfile.CHRTYPE),
        member(f"{FILES}x", tarfile.FIFOTYPE),
        member(f"{FILES}x", tarfile.DIRTYPE),
    ],
    ids=lambda one: f"{one.name!r} {one.type!r}",
)
def test_members_other_than_regular_files_inside_are_rejected(bad: tarfile.TarInfo, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="not a regular file in the folder"):
        checked_name(bad)
    if "\0" in bad.name:
        return  # tar cannot store such a name
    good = hashlib.sha256(b"data").hexdigest()
    data = archive((f"{FILES}a", b"data"), bad, files={"a": 4, "x": 0, "../x": 0, "a/../../x": 0}, a=good)
    with pytest.raises(ClusterError):
        take(data, tmp_path / "here")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["here"]


def test_unannounced_and_repeated_members_are_rejected(tmp_path: Path) -> None:
    good = hashlib.sha256(b"data").hexdigest()
    one = (f"{FILES}a", b"data")
    for data in (archive(one, a=good), archive(one, one, files={"a": 4}, a=good)):
        with pytest.raises(ClusterError, match="a, which it had not announced"):
            take(data, tmp_path / "here")


def test_wrong_digest_leaves_existing_files_unchanged(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(ClusterError, match=r"a arrived damaged \(sha256\)"):
        take(archive((f"{FILES}a", b"data"), files={"a": 4}, a="0" * 64), tmp_path)
    assert tree(tmp_path) == {"a": b"old"}


def test_too_many_bytes_are_rejected_before_and_during_the_copy(tmp_path: Path) -> None:
    good = hashlib.sha256(b"data").hexdigest()
    for files in ({"a": 4}, {"a": 0}):
        data = archive((f"{FILES}a", b"data"), files=files, a=good)
        with pytest.raises(InputError, match="more than the limit of 0 MB: raise --limit"):
            take(data, tmp_path / "here", limit=3)
        assert take(data, tmp_path / "there", limit=4).files == ("a",)
    with pytest.raises(InputError, match="10001 files, and at most 10000"):
        take(archive(files={str(number): 0 for number in range(10_001)}), tmp_path / "here")
    with pytest.raises(InputError, match="has room for"):
        take(archive(files={"a": 10**18}), tmp_path / "here", limit=10**19)


def test_file_deleted_during_the_copy_is_reported(tmp_path: Path) -> None:
    came = take(archive(files={"a": 4}, a="No such file or directory"), tmp_path)
    assert came == Unpacked(True, (), ("a (No such file or directory)",))


def test_unwritable_folder_is_named(results: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "here" / "a.json").mkdir(parents=True)
    for folder in ("file", "here"):
        with pytest.raises(InputError, match=f"{folder}.*cannot be written"):
            take(sent(results), tmp_path / folder)


def test_second_copy_is_rejected_and_leftovers_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".fetch").mkdir()
    (tmp_path / ".fetch/0").write_text("remains of a killed copy")

    def show(_: Transferred) -> None:
        with pytest.raises(InputError, match="another fetch writes there"):
            take(b"", tmp_path)

    good = hashlib.sha256(b"data").hexdigest()
    unpack(io.BytesIO(archive((f"{FILES}a", b"data"), files={"a": 4}, a=good)), tmp_path, LIMIT, show)
    assert tree(tmp_path) == {"a": b"data"}


def test_sender_ends_when_the_connection_closes(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(10_000_000))
    command = [sys.executable, "-I", Path(fetch_program.__file__), "send", tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.read(1000)
        process.stdin.close()
        assert process.wait(timeout=60) == 1
