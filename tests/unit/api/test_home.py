"""The home folder of a process that has none."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from skymap_api.home import ensure_home


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Take HOME and the entry in the user database away; return where the folder for this user is made."""

    def unknown(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    monkeypatch.setenv("HOME", "")  # restored after the test, whatever it is then
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"skymap-scanner-{os.getuid()}"


def test_missing_home_becomes_a_private_folder(homeless: Path) -> None:
    for _ in range(2):
        os.environ.pop("HOME", None)
        ensure_home()
        assert Path.home() == homeless
        assert homeless.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("home", ["/nonexistent", "/"])
def test_given_home_stays(homeless: Path, home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    ensure_home()
    assert os.environ["HOME"] == home
    assert not homeless.exists()


def test_home_of_the_user_database_is_found(homeless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.delenv("HOME")
    ensure_home()
    assert "HOME" not in os.environ
    assert not homeless.exists()


@pytest.mark.parametrize("found", ["writable by others", "link", "file", "of another user"])
def test_folder_of_somebody_else_is_never_the_home(
    homeless: Path, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if found == "file":
        homeless.touch()
    elif found == "link":
        (tmp_path / "own").mkdir(0o700)
        homeless.symlink_to(tmp_path / "own")
    else:
        homeless.mkdir()
        homeless.chmod(0o777 if found == "writable by others" else 0o700)
    if found == "of another user":
        other = SimpleNamespace(st_mode=homeless.stat().st_mode, st_uid=os.getuid() + 1)
        monkeypatch.setattr(Path, "lstat", lambda _: other)
    ensure_home()
    assert Path.home() == Path("/")
