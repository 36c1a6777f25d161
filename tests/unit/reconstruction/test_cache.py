"""Who compiles when, with a small program in the place of the compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skymap_scanner.errors import ReconstructionError
from skymap_scanner.reconstruction.millipede import cache
from skymap_scanner.reconstruction.millipede.cache import ensure_complete, is_complete

FILL = """
import os, pathlib
base = pathlib.Path(os.environ["NUMBA_CACHE_DIR"])
with (base / "runs").open("a") as runs:
    runs.write("x")
(base / "kernels" / "kernel").touch()
"""
MARK = """
(base / "kernels" / "complete").touch()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that does not exist yet, to be filled by the module ``compiler`` in its parent."""
    monkeypatch.setattr(cache, "COMPILER", "compiler")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    return tmp_path / "caches" / "kernels"


def write_compiler(folder: Path, program: str) -> None:
    (folder.parents[1] / "compiler.py").write_text(program)


def runs(folder: Path) -> int:
    return len((folder.parent / "runs").read_text())


def test_many_at_once_are_served_by_one_compiler(folder: Path) -> None:
    write_compiler(folder, FILL + MARK)
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(ensure_complete, [folder] * 6))
    assert is_complete(folder)
    assert runs(folder) == 1


def test_compiler_is_not_that_of_the_current_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = tmp_path_factory.mktemp("current")
    for name in ("compiler", "pathlib"):
        (current / f"{name}.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(current)
    write_compiler(folder, FILL + MARK)
    ensure_complete(folder)
    assert is_complete(folder)


def test_compiler_sees_the_target_but_no_other_setting_of_numba(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NUMBA_OPT", "NUMBA_CPU_NAME", "NUMBA_BOUNDSCHECK"):
        monkeypatch.setenv(name, "1")
    seen = "import os\n(base / 'seen').write_text(' '.join(sorted(n for n in os.environ if n.startswith('NUMBA_'))))\n"
    write_compiler(folder, FILL + seen + MARK)
    ensure_complete(folder)
    assert (folder.parent / "seen").read_text() == "NUMBA_CACHE_DIR NUMBA_CPU_NAME"


def test_leftovers_of_a_stopped_compiler_are_removed(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "half").touch()
    write_compiler(folder, FILL + MARK)
    ensure_complete(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["complete", "kernel"]


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("print('\\n'.join(map(str, range(9)))); raise SystemExit(3)", r"\(exit code 3\):\n4\n5\n6\n7\n8$"),
        ("raise ValueError('no memory for this')", r"\(exit code 1\):(.|\n)*ValueError: no memory for this$"),
        ("import os; os.kill(os.getpid(), 9)", r"\(SIGKILL\):\nit said nothing$"),
        (FILL, "not into .*kernels: the sources or the environment of this process have changed"),
    ],
)
def test_failed_compiler_is_an_error_with_its_last_output(folder: Path, program: str, words: str) -> None:
    write_compiler(folder, program)
    with pytest.raises(ReconstructionError, match=words):
        ensure_complete(folder)
    assert not is_complete(folder)
    write_compiler(folder, FILL + MARK)
    ensure_complete(folder)  # the next one may succeed


def test_unwritable_cache_folder_is_named_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "kernels"
    with pytest.raises(ReconstructionError, match=rf"{folder} cannot be written \(.+\): set NUMBA_CACHE_DIR"):
        ensure_complete(folder)


def test_other_processes_wait_for_an_orphaned_compiler(folder: Path) -> None:
    go, started = folder.parents[1] / "go", folder.parents[1] / "started"
    os.mkfifo(go)
    os.mkfifo(started)
    wait = f"\nopen({str(started)!r}, 'w').close()\nopen({str(go)!r}).read()\n"
    write_compiler(folder, FILL + wait + MARK)
    program = (
        "import pathlib, sys; from skymap_scanner.reconstruction.millipede import cache; "
        "cache.COMPILER = 'compiler'; cache.ensure_complete(pathlib.Path(sys.argv[1]))"
    )
    starter = subprocess.Popen([sys.executable, "-c", program, str(folder)])
    started.read_text()  # the compiler runs
    starter.kill()
    starter.wait()
    with ThreadPoolExecutor(1) as threads:
        second = threads.submit(ensure_complete, folder)
        go.write_text("")  # the compiler may end
        second.result()
    assert is_complete(folder)
    assert runs(folder) == 1
