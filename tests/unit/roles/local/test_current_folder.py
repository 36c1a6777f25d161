"""Scans started in a folder whose files have the names of modules: none of them is ever imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from tests.unit.roles.conftest import Command

from skymap_scanner.cli.role_process import start_role
from skymap_scanner.errors import InputError
from skymap_scanner.roles.local.local_role import PACKAGE, STARTED_BY

HOSTILE = "import os; os.write(2, b'imported from the current folder'); os._exit(99)\n"
OURS = ("skymap_scanner", "skymap_api")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a file for every module of Python and of what is installed, and packages of our name."""
    for name in {*sys.stdlib_module_names, *packages_distributions()} - {*OURS}:
        (tmp_path / f"{name}.py").write_text(HOSTILE)
    for name in OURS:
        (tmp_path / name).mkdir()
        for file in ("__init__.py", "__main__.py"):
            (tmp_path / name / file).write_text(HOSTILE)
    return tmp_path


def test_scan_imports_nothing_from_the_current_folder(
    folder: Path, event_file: Path, command: Callable[..., Command]
) -> None:
    words = ["--reconstruction", "dummy", "--levels", "1:0", "--seeds", "1", "--workers", "1", "--format", "json"]
    done = command("run", event_file, "-o", "out", *words).run()
    assert done.returncode == 0, done.stderr
    assert (folder / "random.py").exists()
    assert [path.name for path in (folder / "out").glob("*.json") if path.name != "scan.json"]
    assert not [path for path in (folder / "out/logs").iterdir() if "current folder" in path.read_text()]


def test_role_of_another_installation_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STARTED_BY, "/other/skymap_scanner")
    with pytest.raises(InputError, match=rf"run is the scanner of /other/skymap_scanner, but .* of {PACKAGE}"):
        start_role(end_with_parent=True)


def test_command_and_roles_of_two_installations_do_not_scan(
    tmp_path: Path, event_file: Path, command: Callable[..., Command]
) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(PACKAGE, clone / "skymap_scanner")
    words = ["--reconstruction", "dummy", "--levels", "1:0", "--seeds", "1", "--workers", "1", "--format", "json"]
    one = command("run", event_file, "-o", tmp_path / "out", *words)
    # Without -P, as a user may type it: the package in the current folder is the command
    done = subprocess.run(
        [sys.executable, "-m", "skymap_scanner", *one.words], cwd=clone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"run is the scanner of {clone / 'skymap_scanner'}, but Python finds that of {PACKAGE}" in done.stderr
