"""Recording what a command writes below a folder: `record` gives the changes in their order, for `testing.power.disk`.

The C compiler builds ``recorder.c``, which is preloaded into the command and its children (``ld.so(8)``, Linux).
"""

from __future__ import annotations

import os
import shlex
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from testing.power.disk import (
    Change,
    Created,
    FileSynced,
    FolderMade,
    FolderSynced,
    Removed,
    Renamed,
    Resized,
    Written,
)

SOURCE = Path(__file__).with_name("recorder.c")

#: ``struct record``: the kind (a letter), lengths of both paths, padding, inode, offset or size of the file, data.
RECORD = struct.Struct("=4I3Q")


def compiler() -> str:
    """Return the C compiler; skips the test where there is none, unless ``CI`` is set."""
    found = shutil.which("cc")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("cc, the C compiler, is missing: install gcc", pytrace=False)
        pytest.skip("needs cc, the C compiler, to record what a scan writes")
    return found


def record(command: Sequence[str], folder: Path, scratch: Path, environment: Mapping[str, str]) -> list[Change]:
    """Run the command to its end; return its changes below ``folder`` (paths relative to it).

    ``scratch`` is an empty folder elsewhere. Raises RuntimeError if the command fails.
    """
    library, log = scratch / "recorder.so", scratch / "changes"
    subprocess.run([compiler(), "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)], check=True)
    watched = {"LD_PRELOAD": str(library), "POWER_FOLDER": str(folder.resolve()), "POWER_LOG": str(log)}
    done = subprocess.run(
        command, env={**environment, **watched}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed: {done.stderr}")
    return list(changes(log.read_bytes(), folder.resolve()))


def changes(log: bytes, folder: Path) -> Iterator[Change]:
    """Decode the recorder's log; raises ValueError for a call that the model of the disk does not know."""
    at = 0
    while at < len(log):
        kind, path_size, other_size, _, inode, offset, size = RECORD.unpack_from(log, at)
        at += RECORD.size
        path = os.fsdecode(log[at : at + path_size])
        at += path_size
        other = os.fsdecode(log[at : at + other_size])
        at += other_size
        data = b""
        if chr(kind) == "w":
            data = log[at : at + size]
            at += size
        yield _change(chr(kind), os.path.relpath(path, folder), other, folder, inode, offset, data)


def _change(kind: str, path: str, other: str, folder: Path, inode: int, offset: int, data: bytes) -> Change:
    made: dict[str, Callable[[], Change]] = {
        "c": lambda: Created(path, inode),
        "d": lambda: FolderMade(path),
        "u": lambda: Removed(path),
        "x": lambda: Removed(path),
        "r": lambda: Renamed(path, os.path.relpath(other, folder)),
        "w": lambda: Written(inode, offset, data),
        "t": lambda: Resized(inode, offset),
        "s": lambda: FileSynced(inode),
        "S": lambda: FolderSynced(path),
    }
    if kind in made:
        return made[kind]()
    raise ValueError(f"{path}: {other} was called, which the recorder does not follow")
