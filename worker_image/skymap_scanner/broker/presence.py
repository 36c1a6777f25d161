"""Who is alive: a consumer holds an OS lock on a small file of its own, and the kernel lets go when it dies.

The lock (flock) belongs to the open file. It ends with the last descriptor of it, so with ``kill -9`` too, and needs
neither heartbeats nor process ids, which are reused and differ between containers. Others ask with a shared lock, so
that two who ask at once do not disturb each other. Making, asking before cleaning, and removing are done inside a
write transaction of the database, which makes them take turns.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Collection
from pathlib import Path
from uuid import uuid4


class Presence:
    """A lock on ``folder/token``, held until `close` or the end of this process. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.token = uuid4().hex
        self._path = folder / self.token
        self._file = self._path.open("xb", buffering=0)  # Python opens with O_CLOEXEC: a subprocess does not inherit it
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _held.add(self)

    def leave(self) -> None:
        """Let go of the lock. In a forked child, whose parent still has the file open, this changes nothing."""
        self._file.close()

    def remove(self) -> None:
        """Remove the file, and the folder when it was the last."""
        self._path.unlink(missing_ok=True)
        _remove_if_empty(self._path.parent)


def is_present(folder: Path, token: str) -> bool:
    """Whether the holder of ``token`` is alive. A missing file means that it is not."""
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


def remove_leftovers(folder: Path, known: Collection[str]) -> None:
    """Remove the files that are not ``known`` and that nobody holds, then the folder if that leaves it empty."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name not in known and not is_present(folder, path.name):
            path.unlink(missing_ok=True)
    _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # not empty: others are alive


# A forked child shares its parent's open files, and so would keep a dead parent's locks.
_held: weakref.WeakSet[Presence] = weakref.WeakSet()


def _leave_all() -> None:
    for presence in list(_held):
        presence.leave()
    _held.clear()


os.register_at_fork(after_in_child=_leave_all)
