"""Tells which consumers are alive: each holds an OS lock on a file of its own, which the kernel releases at its end.

The lock (flock) belongs to the open file and ends with its last descriptor, even after ``kill -9``. It needs neither
heartbeats nor process ids, which are reused and differ between containers. A check takes a shared lock, so that two
checks at the same time do not disturb each other. Creating, checking before removal, and removing happen in a write
transaction of the database, so they take turns.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Collection
from pathlib import Path
from uuid import uuid4


class ConsumerLock:
    """A lock on ``folder/token``, held until `release` or the end of this process.

    Raises OSError if the file cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.token = uuid4().hex
        self._path = folder / self.token
        self._file = self._path.open("xb", buffering=0)  # Python opens with O_CLOEXEC: a subprocess does not inherit it
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _held.add(self)

    def release(self) -> None:
        """Release the lock. In a forked child this changes nothing, since the parent has the file open."""
        self._file.close()

    def remove_file(self) -> None:
        """Remove the file, and the folder if it is empty."""
        self._path.unlink(missing_ok=True)
        _remove_if_empty(self._path.parent)


def is_locked(folder: Path, token: str) -> bool:
    """Return whether the consumer with this ``token`` is alive; without a file it is not."""
    try:
        file = (folder / token).open("rb", buffering=0)
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def remove_stale_files(folder: Path, known: Collection[str]) -> None:
    """Remove the files that are neither ``known`` nor locked, then the folder if it is empty."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name not in known and not is_locked(folder, path.name):
            path.unlink(missing_ok=True)
    _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # not empty: other consumers are alive


# A forked child shares the open files of its parent, and would keep the locks after the parent's end.
_held: weakref.WeakSet[ConsumerLock] = weakref.WeakSet()


def _release_all() -> None:
    for lock in list(_held):
        lock.release()
    _held.clear()


os.register_at_fork(after_in_child=_release_all)
