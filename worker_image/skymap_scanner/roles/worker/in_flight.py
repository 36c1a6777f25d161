"""Records the in-flight task of a worker outside its process, so that the next worker notices a crash.

Every worker keeps a small file, locked (``flock``) while the worker lives; the kernel releases the lock however it
ends. A file that nobody locks and that names a task means that a worker crashed on that task. The files only need to
survive processes, not the machine, so nothing is synchronised to disk and a task costs a few microseconds.

A worker that ends with its `run` has not crashed: the next `run` forgets the files that are left (`forget_crashes`).

A fit that takes too long ends its process. Native code may hold Python's global lock for ever, so Python code cannot
stop it; the alarm signal can, and its handler writes the traceback of the worker to the file.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import hashlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from skymap_api.home import private_folder
from skymap_scanner.broker.protocol import Closing
from skymap_scanner.errors import InputError, SkymapError
from skymap_scanner.roles.worker.crash_reports import CrashReport, decode_crash_report

log = logging.getLogger(__name__)

#: The file holds a line of JSON (empty: no task in flight), and at this offset the traceback of a hung attempt.
TRACEBACK_OFFSET = 4096
#: Bytes kept of a traceback: the innermost frames matter.
LONGEST_TRACEBACK = 4096


def scan_folder(state: Path | None, broker_url: str, topic: str) -> Path:
    """Return the folder of a scan's files in ``state`` (None: in the system's temporary folder).

    ``broker_url`` is `Broker.url`, ``topic`` the scan's topic of tasks: scans share a folder only if both are the same.
    Raises InputError if the folder in the temporary folder is not this user's alone.
    """
    identity = os.fsencode(f"{broker_url}\n{topic}")  # the URL of an embedded broker is a path
    digest = hashlib.blake2b(identity, digest_size=12).hexdigest()
    with _as_input_error("the folder for temporary files"):
        return (state or private_folder()) / digest


class InFlightFile(Closing):
    """The file of one worker in ``folder``; also reads the files that crashed workers have left there.

    ``alarm``: end the process when an attempt takes too long. The alarm belongs to the whole process, so only one such
    worker may run in it. Raises InputError if the folder cannot be used.
    """

    def __init__(self, folder: Path, *, alarm: bool) -> None:
        self._folder = folder
        self._alarm = alarm
        self._recorded = False
        self._attempts = 0
        with _as_input_error(folder):
            self._path, self._file = _make_file(folder)
            try:
                # Reserve space for all lines, in case the disk fills up.
                os.pwrite(self._file, b"\n" * TRACEBACK_OFFSET, 0)
                os.lseek(self._file, TRACEBACK_OFFSET, os.SEEK_SET)
            except OSError:
                self.close()
                raise
        if alarm:  # the C handler writes at the file's position; the default action then ends the process
            faulthandler.register(signal.SIGALRM, file=self._file, all_threads=False, chain=True)

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """End the process if this takes longer than ``seconds``; no task is recorded, so no crash is reported."""
        try:
            if self._alarm:
                signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        finally:
            self._stop_alarm()

    @contextmanager
    def task(self, task: str, name: str, seconds: float) -> Iterator[None]:
        """Record a task as in flight, for at most ``seconds``.

        An unexpected error counts as a crash of the worker, since it would recur with the task.
        """
        self._attempts += 1
        report = CrashReport(task=task, name=name, attempt=f"{self._path.name}-{self._attempts}", limit=seconds)
        with _as_input_error(self._path):
            os.pwrite(self._file, report.encode() + b"\n", 0)
        self._recorded = True
        with self.limit(seconds):
            try:
                yield
            except SkymapError:
                self._clear()
                raise
            else:
                self._clear()

    def _stop_alarm(self) -> None:
        if self._alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _clear(self) -> None:
        self._stop_alarm()
        os.pwrite(self._file, b"\n", 0)
        self._recorded = False

    def report_crashes(self, publish: Callable[[CrashReport], None]) -> None:
        """Publish the crashes of all workers that left a file here; a file is removed once ``publish`` has returned."""

        def handle(content: bytes) -> None:
            report = read_in_flight_file(content)
            if report is not None:
                log.warning("%s", report)
                publish(report)

        _take_abandoned(self._folder, handle)

    def close(self) -> None:
        """Remove the file, unless a task is still recorded, which then counts as a crash; safe to repeat."""
        if self._file < 0:
            return
        if self._alarm:
            faulthandler.unregister(signal.SIGALRM)
        if not self._recorded:
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # other workers use it
                self._folder.rmdir()
        os.close(self._file)
        self._file = -1


def forget_crashes(folder: Path) -> None:
    """Remove the files that workers have left in ``folder``, without a report; raises InputError if it cannot be."""
    _take_abandoned(folder, lambda _: None)
    with contextlib.suppress(OSError):  # workers use it, or it is not there
        folder.rmdir()


def read_in_flight_file(content: bytes) -> CrashReport | None:
    """Return the crash report in the file of a crashed worker; None if no task was in flight."""
    report = decode_crash_report(content.partition(b"\n")[0])
    if report is None:
        return None
    trace = content[TRACEBACK_OFFSET : TRACEBACK_OFFSET + LONGEST_TRACEBACK].decode(errors="replace").strip("\n\0")
    return report.model_copy(update={"hung_at": trace})


def _make_file(folder: Path) -> tuple[Path, int]:
    """Create and lock a file with a new name."""
    while True:
        path = folder / uuid4().hex
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except (FileExistsError, FileNotFoundError):  # another worker has just removed the folder
            if folder.is_file():
                raise
            continue
        if _locked(file) and os.fstat(file).st_nlink:
            return path, file
        os.close(file)  # another worker has removed it as abandoned, before it was locked


def _take_abandoned(folder: Path, handle: Callable[[bytes], None]) -> None:
    """Call ``handle`` with the content of each file whose worker has ended, and remove the file after that."""
    with _as_input_error(folder):
        for path in folder.iterdir() if folder.is_dir() else ():
            with _abandoned(path) as file:
                if file is not None:
                    handle(os.pread(file, TRACEBACK_OFFSET + LONGEST_TRACEBACK, 0))
                    path.unlink(missing_ok=True)


@contextmanager
def _abandoned(path: Path) -> Iterator[int | None]:
    """Open and lock the file of a crashed worker; None if the worker is alive, or another has removed the file."""
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


@contextmanager
def _as_input_error(path: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or path}: {error.strerror}; a worker must be able to write there. Choose another "
            "folder with --state (SKYMAP_STATE)"
        ) from error
