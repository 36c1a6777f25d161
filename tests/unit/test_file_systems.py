"""Folders on network file systems, where SQLite's files would be damaged, are recognised and refused with advice."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from skymap_scanner import cli, file_systems
from skymap_scanner.broker.sqlite import SqliteBroker
from skymap_scanner.cli.run import command as run
from skymap_scanner.cli.scan_folder import locked
from skymap_scanner.errors import InputError
from skymap_scanner.file_systems import NETWORK_TYPES, check_local, type_of

MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:5 / /proc rw - proc proc rw
40 22 0:44 / /home rw,relatime shared:20 master:3 - nfs4 server:/home rw,vers=4.2,local_lock=none
41 40 254:1 /scratch /home/ada/local rw - xfs /dev/vdb rw
42 22 0:45 / /lustre/scratch rw,flock - lustre 10.0.0.1@o2ib:/work rw,flock
43 22 0:46 / /mnt/with\040blank rw - cifs //server/share rw
44 22 0:47 / /mnt/a rw - nfs server:/a rw
45 44 0:48 / /mnt/a rw - tmpfs tmpfs rw
46 22 0:49 / /mnt/ssh rw - fuse.sshfs ada@server: rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/result", "ext4"),
        ("/homes/ada", "ext4"),
        ("/home/ada/result", "nfs4"),
        ("/home/ada/local", "xfs"),
        ("/home/ada/local/result", "xfs"),
        ("/lustre/scratch/ada", "lustre"),
        ("/lustre", "ext4"),
        ("/mnt/with blank/result", "cifs"),
        ("/mnt/a/result", "tmpfs"),
        ("/mnt/ssh", "fuse.sshfs"),
    ],
)
def test_type_is_that_of_the_innermost_and_last_mount(path: str, kind: str) -> None:
    assert type_of(Path(path), MOUNTS) == kind


@pytest.mark.parametrize("mounts", ["", "\n", "1 2 3", " - ", "22 1 254:0 / / rw -", "22 1 0:1 / /other rw - nfs a rw"])
def test_unknown_mounts_have_no_type(mounts: str) -> None:
    assert type_of(Path("/result"), mounts) is None


def test_this_machine_knows_the_type_of_a_folder(tmp_path: Path) -> None:
    mounts = Path("/proc/self/mountinfo")
    if not mounts.exists():
        pytest.skip("only Linux has a table of mounts in a file")
    assert type_of(Path("/proc/self"), mounts.read_text()) == "proc"
    assert type_of(tmp_path.resolve(), mounts.read_text()) not in {None, *NETWORK_TYPES}
    check_local(tmp_path / "scan.sqlite")


@pytest.fixture
def on_nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that the table of mounts calls one of NFS."""
    table, folder = tmp_path / "mountinfo", tmp_path / "nfs"
    folder.mkdir()
    table.write_text(f"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:9 / {folder.resolve()} rw - nfs4 server:/ rw\n")
    monkeypatch.setattr(file_systems, "_MOUNTS", table)
    return folder


def test_broker_on_a_network_file_system_is_refused(on_nfs: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(on_nfs)
    for path in (on_nfs / "scan.sqlite", tmp_path / "link" / "scan.sqlite"):
        with pytest.raises(InputError, match=r"network file system \(nfs4\).*--broker sqlite:////tmp/scan\.sqlite"):
            SqliteBroker(path)
        assert list(on_nfs.iterdir()) == []
    with SqliteBroker(tmp_path / "scan.sqlite") as broker:
        assert broker.usable


def test_run_refuses_before_it_reads_or_deletes_anything(on_nfs: Path, tmp_path: Path) -> None:
    (on_nfs / "mine.txt").write_text("kept")
    for more in ([], ["--restart"]):
        done = CliRunner().invoke(run, [str(tmp_path / "missing.i3"), "-o", str(on_nfs), *more])
        assert isinstance(done.exception, InputError)
        assert "choose a folder on a local disk" in str(done.exception)
    assert [path.name for path in on_nfs.iterdir()] == ["mine.txt"]


def test_systems_without_a_table_of_mounts_accept_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_systems, "_MOUNTS", tmp_path / "missing")
    check_local(tmp_path / "scan.sqlite")


def test_folder_without_locks_is_used_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked(tmp_path):
        assert "cannot be locked (Function not implemented): do not start another run there" in caplog.text


def test_folder_locked_by_another_run_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InputError, match="in use by another run"), locked(tmp_path):
        pass


@pytest.mark.parametrize("exists", [False, True])
def test_lock_of_a_folder_that_stays_unused_is_removed(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "out"
    if exists:
        folder.mkdir()
    with locked(folder):
        assert (folder / ".lock").exists()
    assert list(tmp_path.rglob("*")) == [folder] * exists
    with locked(folder):
        (folder / "event.i3.zst").touch()
    assert {path.name for path in folder.iterdir()} == {".lock", "event.i3.zst"}


def test_lock_that_another_run_removes_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: (tmp_path / ".lock").unlink())
    with pytest.raises(InputError, match="in use by another run"), locked(tmp_path):
        pass


def test_lock_of_somebody_else_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(tmp_path):
        _deny_writing(monkeypatch)
        with pytest.raises(InputError, match="in use by another run"), locked(tmp_path):
            pass


def test_folder_that_cannot_be_written_needs_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _deny_writing(monkeypatch)
    with locked(tmp_path):
        assert list(tmp_path.iterdir()) == []


def _deny_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files be opened for reading only, as those of somebody else; tests may run as root."""
    open_file = Path.open

    def denied(path: Path, mode: str = "r", **options: Any) -> Any:
        if mode == "ab":
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_file(path, mode, **options)

    monkeypatch.setattr(Path, "open", denied)


@pytest.mark.parametrize("words", [["run", "demo"], ["save", "-n", "scan", "--broker", "sqlite:///scan.sqlite"]])
def test_folder_whose_name_is_too_long_is_named(words: list[str]) -> None:
    done = CliRunner().invoke(cli.group, [*words, "-o", "x" * 300])
    assert isinstance(done.exception, InputError)
    assert "x: File name too long" in str(done.exception)


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"cannot create the folder .*file/out: Not a directory"),
        locked(tmp_path / "file/out"),
    ):
        pass
