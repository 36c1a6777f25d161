"""What a worker has in hand, written down outside the process, so that its death is noticed by the next.

Every worker keeps a small file of its own, locked (``flock``) while it lives: the kernel lets go however it ends. A
file that nobody locks and that names a task is the death of a worker with that task. Only the death of processes
matters here, so nothing is forced to the disk, and a task costs a few microseconds.

A fit that takes too long ends its process: native code may hold Python's lock for ever, so nothing written in Python
could stop it, but the alarm signal does, and where the worker was is written to the file on the way out.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import hashlib
import logging
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from skymap_scanner.errors import InputError, SkymapError
from skymap_scanner.roles.crash_reports import CrashReport, decode_crash_report

log = logging.getLogger(__name__)

#: The file: a line of JSON (empty: nothing in hand), and from this offset on the traceback of an attempt that hung.
TRACEBACK = 4096
#: Of a traceback, the innermost frames matter.
LONGEST_TRACEBACK = 4096


def scan_folder(state: Path | None, broker_url: str, topic: str) -> Path:
    """Return the folder of one scan's files under ``state``; None: under the system's temporary folder.

    ``topic`` is the scan's topic of tasks. Two scans share a folder only if they share broker and topic.

    Raises
    ------
    InputError
        If the folder in the temporary folder belongs to somebody else.
    """
    digest = hashlib.blake2b(f"{broker_url}\n{topic}".encode(), digest_size=12).hexdigest()
    return (state or _default_state()) / digest


def _default_state() -> Path:
    folder = Path(tempfile.gettempdir()) / f"skymap-scanner-{os.getuid()}"
    with _explained(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise InputError(f"{folder} belongs to somebody else: choose another folder with --state")
    return folder


class InFlightFile:
    """A worker's file in ``folder``, and its look at those that dead workers have left there.

    ``alarm``: end the process when an attempt takes too long. The alarm belongs to the whole process, so there may be
    one such worker in it.

    Raises
    ------
    InputError
        If the folder cannot be used.
    """

    def __init__(self, folder: Path, *, alarm: bool) -> None:
        self._folder = folder
        self._alarm = alarm
        self._recorded = False
        self._attempts = 0
        with _explained(folder):
            self._path, self._file = _make_file(folder)
            try:
                os.pwrite(self._file, b"\n" * TRACEBACK, 0)  # room for every line to come, should the disk fill up
                os.lseek(self._file, TRACEBACK, os.SEEK_SET)
            except OSError:
                self.close()
                raise
        if alarm:  # written by the handler itself, in C, at the file's position; then the signal's default: the end
            faulthandler.register(signal.SIGALRM, file=self._file, all_threads=False, chain=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def task(self, task: str, name: str, seconds: float) -> Iterator[None]:
        """Have a task in hand, for at most ``seconds``.

        An error that was not raised on purpose counts as the worker's death: it would come again with the task.
        """
        self._attempts += 1
        report = CrashReport(task=task, name=name, attempt=f"{self._path.name}-{self._attempts}", limit=seconds)
        with _explained(self._path):
            os.pwrite(self._file, report.encode() + b"\n", 0)
        self._recorded = True
        try:
            if self._alarm:
                signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        except SkymapError:
            self._clear()
            raise
        else:
            self._clear()
        finally:
            if self._alarm:
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _clear(self) -> None:
        if self._alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
        os.pwrite(self._file, b"\n", 0)
        self._recorded = False

    def report_crashes(self, publish: Callable[[CrashReport], None]) -> None:
        """Send the deaths of all workers that have left their file here; it goes when ``send`` has returned."""
        with _explained(self._folder):
            for path in self._folder.iterdir() if self._folder.is_dir() else ():
                if path == self._path:
                    continue
                with _abandoned(path) as file:
                    if file is not None:
                        report = read_in_flight_file(_content(file))
                        if report is not None:
                            log.warning("%s", report)
                            publish(report)
                        path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the file, unless an attempt has failed with it; safe to repeat."""
        if self._file < 0:
            return
        if self._alarm:
            faulthandler.unregister(signal.SIGALRM)
        if not self._recorded:
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others are at work
                self._folder.rmdir()
        os.close(self._file)
        self._file = -1


def read_in_flight_file(content: bytes) -> CrashReport | None:
    """Read what a dead worker's file says; None if it had nothing in hand."""
    report = decode_crash_report(content.partition(b"\n")[0])
    if report is None:
        return None
    trace = content[TRACEBACK : TRACEBACK + LONGEST_TRACEBACK].decode(errors="replace").strip("\n\0")
    return report.model_copy(update={"hung_at": trace})


def _make_file(folder: Path) -> tuple[Path, int]:
    """Make and lock a file of a new name."""
    while True:
        path = folder / uuid4().hex
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except (FileExistsError, FileNotFoundError):  # the last worker has just removed the folder
            if folder.is_file():
                raise
            continue
        if _locked(file) and os.fstat(file).st_nlink:
            return path, file
        os.close(file)  # another worker has taken it for abandoned before the lock was there


@contextmanager
def _abandoned(path: Path) -> Iterator[int | None]:
    """Open and lock the file of a dead worker; None where the worker lives, or another has seen to its file."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        yield file if _locked(file) and os.fstat(file).st_nlink else None
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _content(file: int) -> bytes:
    return os.pread(file, TRACEBACK + LONGEST_TRACEBACK, 0)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or path}: {error.strerror}; a worker must be able to write there, or choose another "
            "folder with --state"
        ) from error
