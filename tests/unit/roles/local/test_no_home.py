"""Processes with neither HOME nor an entry in the user database, as batch systems and containers start them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.roles.conftest import Command

from skymap_scanner.reconstruction.millipede.compiled import FOLDER

#: Makes Python, with all its children, find no user.
NOBODY = """
import pwd

def unknown(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")

pwd.getpwuid = unknown
"""
WORDS = ["--reconstruction", "dummy", "--levels", "1:0", "--seeds", "1", "--workers", "1"]


@pytest.fixture(autouse=True)
def no_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    site, temporary = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("tmp")
    (site / "sitecustomize.py").write_text(NOBODY)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(FOLDER.parent))  # filled already
    for name in ("HOME", "USER", "LOGNAME", "KUBECONFIG", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)


def test_scan_needs_no_home(event_file: Path, tmp_path: Path, command: Callable[..., Command]) -> None:
    done = command("run", event_file, "-o", "out", *WORDS).run()
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").glob("*.plot_allsky.png"))
    result = next((tmp_path / "out").glob("run*.npz"))
    drawn = command("plot", result, "-o", "drawn").run()
    assert drawn.returncode == 0, drawn.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["submit", "https://example.org/event.json", "--dry-run"],
        ["simulate", "event.i3", "--topology", "cascade", "--seed", "1"],
        ["compile"],
    ],
)
def test_commands_need_no_home(command: Callable[..., Command], words: list[str]) -> None:
    done = command(*words).run()
    assert done.returncode == 0, done.stderr


def test_operator_needs_no_home(tmp_path: Path) -> None:
    """Kubernetes' client looks for the home when it is imported; the missing settings come after that."""
    words = [sys.executable, "-P", "-c", "from skymap_operator.start import main; main()"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "SKYMAP_OPERATOR_IMAGE: Field required" in done.stderr
