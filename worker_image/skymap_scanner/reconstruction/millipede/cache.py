"""The folder of compiled kernels: filled by a process of its own, one at a time, and marked when complete.

A kernel that others call has a copy in each of them, and which copy runs depends on what was loaded first. A process
that has compiled could so give other bits (of the order of 1e-8) than one that loads. Hence no process fits with what
it has compiled: where the folder is not complete, a child process fills it and ends, and everybody loads.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from skymap_scanner.errors import ReconstructionError

log = logging.getLogger(__name__)

#: The file that marks a folder in which nothing is missing.
COMPLETE = "complete"
#: The program that fills the folder.
COMPILER = "skymap_scanner.reconstruction.millipede.compile_all"
#: How the names of the variables begin that choose the target; `machine_code` knows them.
TARGET = "NUMBA_CPU_"
#: So many lines of a compiler that failed are shown.
LAST_WORDS = 5


def ensure_complete(folder: Path) -> None:
    """Return when ``folder`` holds all compiled kernels; a complete one costs one stat and is never written to.

    Who comes first has them compiled; others wait for that, by a lock file beside the folder.

    Raises
    ------
    ReconstructionError
        When the folder is not complete and cannot be written, or the compiler fails.
    """
    if is_complete(folder):
        return
    with _unwritable_explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f"{folder.name}.lock").open("a")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_complete(folder):
            return
        with _unwritable_explained(folder):
            if folder.exists():  # what a compiler left that was stopped halfway
                shutil.rmtree(folder)
            folder.mkdir()
        _compile(folder, lock)


def is_complete(folder: Path) -> bool:
    """Say whether all kernels have been compiled into ``folder``."""
    try:
        return (folder / COMPLETE).exists()
    except OSError:  # a folder that cannot be looked into
        return False


def mark_complete(folder: Path) -> None:
    """Say that all kernels have been compiled into ``folder``."""
    (folder / COMPLETE).touch()  # an empty file is there or not, never half


@contextmanager
def _unwritable_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReconstructionError(
            f"the kernels are not compiled yet, and the cache folder {folder} cannot be written ({error.strerror}): set"
            " NUMBA_CACHE_DIR to a folder that can be, or to one that 'skymap-scanner compile' has filled"
        ) from error


def _without_numba_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the user's settings of numba, such as NUMBA_OPT, but for the target.

    The folder's name knows nothing of them, and other processes load what is compiled here.
    """
    return {
        name: value for name, value in environment.items() if not name.startswith("NUMBA_") or name.startswith(TARGET)
    }


def _compile(folder: Path, lock: IO[str]) -> None:
    """Run the compiler. It holds the lock too: it may outlive this process, and nobody else begins until it ends."""
    log.info("compiling the kernels into %s, once for this version", folder)
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", COMPILER],
        env=_without_numba_settings(os.environ) | {"NUMBA_CACHE_DIR": str(folder.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(lock.fileno(),),
        check=False,
    )
    if done.returncode != 0:
        ended = f"exit code {done.returncode}" if done.returncode > 0 else signal.Signals(-done.returncode).name
        words = "\n".join(done.stdout.strip().splitlines()[-LAST_WORDS:]) or "it said nothing"
        raise ReconstructionError(f"the kernels could not be compiled into {folder} ({ended}):\n{words}")
    if not is_complete(folder):
        raise ReconstructionError(
            f"the kernels were compiled, but not into {folder}: the sources or the environment of this process have"
            " changed since it began; start it again"
        )
