"""Files that appear under their name only when they are complete, and folders that survive a power cut.

The content goes to a hidden file beside it (``.NAME.xxxxxxxx.part``), which is synced to the disk and takes the name at
the end. A crash leaves the old file or the new one. The hidden file is locked (``flock``) while its writer lives, so
that the next writer of the file removes what a killed one left, and nothing of one that still writes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from skymap_scanner.errors import InputError


class AtomicFile:
    """One file being written: ``stream`` takes the content, then call ``commit`` or ``discard``.

    Raises InputError when the folder does not exist or cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._part, self.stream = _make_part(path)
        except OSError as error:
            message = f"{path}: cannot be written: {error.strerror}; choose another folder"
            raise InputError(message) from error

    def commit(self) -> None:
        """Give the file its name; raises InputError, and leaves the old file, when the file system refuses."""
        try:
            self.stream.flush()
            os.fsync(self.stream.fileno())
            self._part.replace(self.path)  # still locked: nobody removes it before
            self.stream.close()
            for left in self.path.parent.glob(f".{glob.escape(self.path.name)}.????????.part"):
                _remove_abandoned(left)
            sync_folder(self.path.parent)
        except OSError as error:
            self.discard()
            raise self.error(error) from error

    def discard(self) -> None:
        """Remove what has been written; a file that had the name before stays."""
        self.stream.close()
        self._part.unlink(missing_ok=True)

    def error(self, error: OSError) -> InputError:
        """Return the error for a file system that refuses the content."""
        return InputError(f"{self.path}: cannot be written: {error.strerror}; is the disk full?")


def write_atomically(path: Path, content: bytes | Iterable[bytes]) -> Path:
    """Write a whole file, given in one piece or in pieces of which only one is held at a time; return its path.

    Raises InputError when the file system refuses; a file that had the name before stays.
    """
    file = AtomicFile(path)
    try:
        file.stream.writelines([content] if isinstance(content, bytes) else content)
    except OSError as error:
        file.discard()
        raise file.error(error) from error
    except BaseException:
        file.discard()
        raise
    file.commit()
    return path


def _make_part(path: Path) -> tuple[Path, BinaryIO]:
    """Create and lock a hidden file beside ``path``; raises OSError."""
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        stream = part.open("xb")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kept = os.fstat(stream.fileno()).st_nlink > 0
        except BlockingIOError:
            kept = False
        except OSError:  # a file system without locks, where nobody removes the files of others
            kept = True
        if kept:
            return part, stream
        stream.close()  # another writer has taken it for abandoned, before it was locked


def _remove_abandoned(part: Path) -> None:
    """Remove the hidden file of a writer that was killed; one that is locked, or cannot be, stays."""
    with contextlib.suppress(OSError):
        descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
        finally:
            os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless they exist, and let their names survive a power cut; raises OSError."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in made:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder survive a power cut: those created, and that removed ones are gone; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot do this for folders
            raise
    finally:
        os.close(descriptor)
