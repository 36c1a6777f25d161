"""The files in the folder of a local scan: those that it works with, and those of an earlier scan."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from skymap_api.resource import Simulation
from skymap_scanner.atomic_file import make_folder, sync_folder
from skymap_scanner.cli.broker_options import BrokerOptions
from skymap_scanner.cli.notice_options import discard_unsent
from skymap_scanner.errors import InputError
from skymap_scanner.event.model import Event
from skymap_scanner.event.sources import CHOICE_KEY, NAME_KEY
from skymap_scanner.i3 import FrameWriter, I3String
from skymap_scanner.roles.full_disk import is_disk_full
from skymap_scanner.roles.local.local import BROKER_FILE
from skymap_scanner.roles.local.record import FILE as RECORD_FILE
from skymap_scanner.roles.local.record import Record, read_record, write_record
from skymap_scanner.roles.saver.progress_reporter import PARTIAL
from skymap_scanner.roles.scans import delete_scan

log = logging.getLogger(__name__)

#: Locked by the `run` that uses the folder.
LOCK_FILE = ".lock"
#: The event as it was read, kept until the scan is finished, so that a resumed scan fits the same bytes.
EVENT_FILE = "event.i3.zst"
#: How the names of result files begin: the event, and the nside of each level.
RESULT_NAME = re.compile(r"run\d{8}\.evt\d{12}[^/]*?(_\d+)+\.")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and lock it; the operating system releases the lock at the end of the process.

    Folder and lock file are removed if they were made here, and nothing else was. Nothing keeps two runs apart on a
    network file system without locks. A folder that cannot be written to needs no lock. Raises InputError if another
    run has locked the folder, or it cannot be made.
    """
    made, before = True, set[str]()
    try:
        made = not folder.exists()
        before = set() if made else _names(folder)
        make_folder(folder)
        lock = _open_lock(folder / LOCK_FILE)
    except OSError as error:
        raise InputError(f"cannot {'create' if made else 'use'} the folder {folder}: {error.strerror}") from error
    if lock is None:
        yield
        return
    with lock:
        if not _lock(lock, folder):
            raise InputError(f"{folder} is in use by another run: wait for it, or choose another folder")
        try:
            yield
        finally:
            with suppress(OSError):
                if _names(folder) - before == {LOCK_FILE}:
                    (folder / LOCK_FILE).unlink()
                    if made:
                        folder.rmdir()


def _open_lock(path: Path) -> BinaryIO | None:
    """Open the lock file; None if there is none and its folder is read-only.

    That of somebody else may only be read, which is enough to lock it.
    """
    try:
        return path.open("ab")
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EROFS}:
            raise
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _lock(lock: BinaryIO, folder: Path) -> bool:
    """Lock the file; False if another run has locked it, or has just removed it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        log.warning("%s: cannot be locked (%s): do not start another run there", folder, error.strerror)
    return os.fstat(lock.fileno()).st_nlink > 0


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def keep_event(folder: Path, event: Event) -> None:
    """Write the event into the folder."""
    with FrameWriter(folder / EVENT_FILE) as writer:
        for stop, frame in event.frames.items():
            kept = frame.copy()
            if stop == "P":
                kept[NAME_KEY] = I3String(event.name)
                if event.choice:
                    kept[CHOICE_KEY] = I3String(event.choice)
            writer.write(kept)


def size_replaced(folder: Path, event: str | Simulation, *, restart: bool) -> int:
    """Return the size (bytes) of the files that ``--restart`` will delete, or that a resumed scan writes again."""
    found = [folder / PARTIAL]
    if _earlier_scan(folder) is not None:
        found += _result_files(folder, event)
    if restart:
        for path in working_files(folder):
            found += path.rglob("*") if path.is_dir() else [path]
    return sum(map(_size, found))


def _size(path: Path) -> int:
    """Return the size (bytes) of a file; 0 if there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def discard_scan(folder: Path, event: str | Simulation, broker: BrokerOptions | None) -> None:
    """Delete the scan of the locked folder, including its topics on a shared broker; scans of other folders stay.

    The record goes last, and counts as unfinished from the start: whenever this ends, by a power cut too, the folder
    holds that scan, which can be resumed or deleted, and never a part of it under the record of another.
    """
    found = _earlier_scan(folder)
    if found is not None and found.broker is not None:
        if broker is None or found.broker != broker.url:
            raise InputError(
                f"the scan of {folder} is on {found.broker}: give the same --broker, so that --restart can delete "
                "its topics there, or choose another folder"
            )
        with broker.open() as opened:
            delete_scan(opened, found.name)
    discard_unsent(folder)
    if found is not None:
        _mark_unfinished(folder, found)
        for path in _result_files(folder, event):
            path.unlink()
    remove_working_files(folder)
    sync_folder(folder)
    (folder / RECORD_FILE).unlink(missing_ok=True)
    sync_folder(folder)


def _mark_unfinished(folder: Path, record: Record) -> None:
    """Note that the results are no longer complete, unless the disk is full: deleting them makes room."""
    try:
        write_record(folder, replace(record, finished=False))
    except InputError as error:
        if not is_disk_full(error):
            raise


def _earlier_scan(folder: Path) -> Record | None:
    """Return the record of the scan in a folder; None without one, or if it is not of ours."""
    try:
        return read_record(folder)
    except InputError:
        return None


def _result_files(folder: Path, event: str | Simulation) -> list[Path]:
    """Return the result files in the folder: they are named after the event and the levels, ``run…_4_8.json``."""
    given = Path(event).resolve() if isinstance(event, str) else None
    found = folder.glob("run*.evt*_*.*")
    return [path for path in found if RESULT_NAME.match(path.name) and path.resolve() != given]


def result_names(folder: Path) -> list[str]:
    """Return the names of the files in the folder without hidden ones, the record and the working files."""
    others = {RECORD_FILE, *(path.name for path in working_files(folder))}
    found = (path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return [name for name in found if name not in others]


def working_files(folder: Path) -> list[Path]:
    """Return what is there of the kept event and the scan's own broker, files or folders."""
    return [*folder.glob(EVENT_FILE), *folder.glob(f"{BROKER_FILE}*")]


def remove_working_files(folder: Path) -> None:
    """Delete the working files, which a finished scan does not need."""
    (folder / BROKER_FILE).unlink(missing_ok=True)
    sync_folder(folder)  # without its -wal file beside it, a database may be damaged
    for path in working_files(folder):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
